"""What is secret is not in the text of an object, which may get into a log or a traceback."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from inspect import isclass
from pathlib import Path
from typing import Any

import ipv8
from ipv8.cli.rest import RestOptions
from ipv8.cli.top import TopOptions
from ipv8.cli.tunnel import ProxyOptions
from ipv8.keyvault.encoding import PrivateParts
from ipv8.messaging.session.noise import Transcript
from ipv8.messaging.session.quic import Certificate

ROOT = Path(ipv8.__file__).parent
SECRET = {"api_key", "chaining_key", "dh_secret", "passphrase", "password", "passwords", "private_key",
          "secret", "secret_key", "secrets"}
SHOWS_NO_SECRET = {("ipv8.messaging.anonymization.tunnel", "Hop"): "the text of a private key is its member id"}


def classes() -> set[type[Any]]:
    """The classes of the library that can be imported here."""
    found = set()
    for module in pkgutil.walk_packages(ipv8.__path__, "ipv8."):
        if module.name.endswith("__main__"):
            continue
        try:
            imported = importlib.import_module(module.name)
        except ImportError:  # of a package that is optional
            continue
        found |= {value for value in vars(imported).values()
                  if isclass(value) and getattr(value, "__module__", "").startswith("ipv8.")}
    return found


def shown(cls: type[Any]) -> set[str]:
    """The fields in the text that Python makes for a class; none if the class makes it itself."""
    code = getattr(cls.__repr__, "__code__", None)
    if code is None or ROOT in Path(code.co_filename).parents:
        return set()
    if is_dataclass(cls):
        return {field.name for field in fields(cls) if field.repr}
    return set(getattr(cls, "_fields", ()))


def test_no_class_shows_a_field_that_is_secret() -> None:
    found = {(cls.__module__, cls.__name__): names for cls in classes() if (names := shown(cls) & SECRET)}
    assert found.keys() == SHOWS_NO_SECRET.keys()


def test_texts_of_what_has_secrets() -> None:
    for thing in (RestOptions(80, api_key="horse"), TopOptions("http://node", "horse"),
                  ProxyOptions(passwords={"me": "horse"}), PrivateParts(b"", b"horse", None),
                  Certificate(b"", b"horse"), Transcript(b"", b"horse", b"horse")):
        assert "horse" not in f"{thing!r} {thing}"
        assert type(thing).__name__ in repr(thing)
