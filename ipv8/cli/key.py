"""Make keys, and show their public part."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from ..keyvault.keys import PrivateKey

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``ipv8 key``."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    generate = actions.add_parser("generate", help="make a key and store it in a new file that only its owner can read")
    generate.add_argument("file", help="the new file; an existing one is never replaced")
    generate.add_argument("--curve", default="curve25519", help="very-low, low, medium, high or (default) curve25519")
    show = actions.add_parser("show", help="show the public key and the mid of a stored private key")
    show.add_argument("file", help="the file with the private key")


def run(arguments: argparse.Namespace) -> int:
    """Run ``ipv8 key``."""
    from ..configuration import CURVES, did_you_mean
    from ..keyvault.crypto import default_eccrypto
    from ..keyvault.files import load_private_key, store_private_key

    if arguments.action == "show":
        try:
            _show(load_private_key(arguments.file))
        except FileNotFoundError as e:
            raise FileNotFoundError(f"there is no file {arguments.file}: make it with 'ipv8 key generate "
                                    f"{arguments.file}', or give another one") from e
        return 0
    if arguments.curve not in CURVES:
        raise ValueError(f"there is no curve {arguments.curve!r}{did_you_mean(arguments.curve, CURVES)}")
    if os.path.lexists(arguments.file):
        raise FileExistsError(f"{arguments.file} exists: move it away first")
    key = default_eccrypto.generate_key(arguments.curve)
    store_private_key(arguments.file, key)
    _show(key)
    return 0


def _show(key: PrivateKey) -> None:
    public_key = key.pub()
    mid = public_key.key_to_hash()
    print(f"public key  {public_key.key_to_bin().hex()}")
    print(f"mid         {mid.hex()}")
    print(f"mid base64  {base64.b64encode(mid).decode()}")
