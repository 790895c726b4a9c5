"""What the tests of tunnels have in common: vectors, keys, and nodes that only have a data plane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization.handshake import derive_keys
from ipv8.messaging.anonymization.payload import Flags
from ipv8.messaging.serialization import Serializer

if TYPE_CHECKING:
    from ipv8.messaging.anonymization.session_keys import SessionKeys

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "tunnels.json").read_text())
PREFIX = bytes.fromhex("000281ded07332bdc775aa5a46f96de9f8f390bbc9f3")
ADDRESSES = {"UDPv4Address": UDPv4Address, "UDPv6Address": UDPv6Address, "DomainAddress": DomainAddress}


def serializer() -> Serializer:
    """A serializer as that of tunnel communities."""
    made = Serializer()
    made.add_packer("flags", Flags())
    return made


def value_of(field: Any) -> Any:
    """The value of a field of a vector."""
    if isinstance(field, dict) and "hex" in field:
        return bytes.fromhex(field["hex"])
    if isinstance(field, dict) and "address" in field and "type" in field:
        return ADDRESSES[field["type"]](*field["address"])
    return field


def private_key(name: str) -> Any:
    """A named key pair of the vectors."""
    return default_eccrypto.key_from_private_bin(bytes.fromhex(VECTORS["keys"][name]["private_bin"]))


def keys_of(secret: str) -> SessionKeys:
    """The session keys of a shared secret in hex."""
    return derive_keys(bytes.fromhex(secret))


def numbered_keys(number: int) -> SessionKeys:
    """Session keys that are different for each number."""
    return derive_keys(bytes([number]) * 64)
