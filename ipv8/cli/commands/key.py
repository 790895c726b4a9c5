"""``ipv8 key``."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import click

from ..framework import Group
from ..options import CURVE, FilePath, json_option

if TYPE_CHECKING:
    from ...keyvault.keys import PrivateKey

__all__ = ["key"]


@click.group(cls=Group, examples=(
    ("ipv8 key generate my_key.pem", "make a key"),
    ("ipv8 key show my_key.pem --json", "print what others know of it, for a program"),
))
def key() -> None:
    """Make keys, and show their public part."""


@key.command("generate", short_help="Make a key in a new file.", examples=(
    ("ipv8 key generate my_key.pem", "make a key on curve25519"),
    ("ipv8 key generate old.pem --curve medium", "make a key as old overlays used them"),
))
@click.argument("file", type=FilePath("a new key"))
@click.option("--curve", type=CURVE, default="curve25519", show_default=True,
              help="very-low, low, medium, high or curve25519.")
@json_option
def generate(file: str, curve: str, as_json: bool) -> None:
    """Make a key, and store it in a new FILE that only its owner can read.

    An existing file is never replaced.
    """
    from ...keyvault.crypto import default_eccrypto
    from ...keyvault.files import store_private_key

    if os.path.lexists(file):
        raise FileExistsError(f"{file} exists: move it away first")
    private_key = default_eccrypto.generate_key(curve)
    store_private_key(file, private_key)
    _show(file, private_key, as_json)


@key.command("show", examples=(("ipv8 key show my_key.pem", "print the public key and the mid"),))
@click.argument("file", type=FilePath("a key"))
@json_option
def show(file: str, as_json: bool) -> None:
    """Show the public key and the mid of the private key in FILE."""
    from ...keyvault.files import load_private_key

    try:
        private_key = load_private_key(file)
    except FileNotFoundError as e:
        raise FileNotFoundError(f"there is no file {file}: make it with 'ipv8 key generate {file}', or give another "
                                "one") from e
    _show(file, private_key, as_json)


def _show(file: str, private_key: PrivateKey, as_json: bool) -> None:
    public_key = private_key.pub()
    mid = public_key.key_to_hash()
    facts = {"public key": public_key.key_to_bin().hex(), "mid": mid.hex(),
             "mid base64": base64.b64encode(mid).decode()}
    if as_json:
        import json

        print(json.dumps({"file": file, "curve": public_key.curve_name(),
                          **{name.replace(" ", "_"): value for name, value in facts.items()}}))
    else:
        for name, value in facts.items():
            print(f"{name:12}{value}")
