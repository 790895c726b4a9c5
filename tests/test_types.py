from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from ipv8 import types
from ipv8.keyvault.keys import Key
from ipv8.messaging.address import Address

OF_2_X = ["Address", "Community", "ConfigBuilder", "DHTCommunity", "Database", "Endpoint", "IPv8", "Key",
          "LazyWrappedHandler", "LazyWrappedUnsignedHandler", "LazyWrappedWDataHandler",
          "LazyWrappedWDataUnsignedHandler", "MessageHandlerFunction", "Network", "NumberCache", "Overlay", "Payload",
          "Peer", "PrivateKey", "PublicKey"]
"""Those of its names that belong to what this release has."""


def test_names_are_those_of_their_own_modules() -> None:
    assert types.Key is Key
    assert types.Address is Address
    assert get_args(types.MessageHandlerFunction) == ([Address, bytes], object)


@pytest.mark.parametrize("name", OF_2_X)
def test_every_name_is_there(name: str) -> None:
    assert getattr(types, name) is not None
    assert name in dir(types)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        types.Nothing  # type: ignore[attr-defined]  # noqa: B018 - the look-up is what is tested


def test_importing_the_module_loads_no_classes() -> None:
    """So it cannot be part of a circle of imports."""
    program = "import sys, ipv8.types; print(*(m for m in sys.modules if m.startswith('ipv8.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {*loaded.stdout.split()} == {"ipv8.types", "ipv8.messaging", "ipv8.messaging.address", "ipv8.reexports"}
