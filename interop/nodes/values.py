"""Events as lines, and the values of messages as JSON."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

import json
from typing import Any

from ipv8.messaging.interfaces.udp.endpoint import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile

__all__ = ["Inner", "decode", "encode", "tell"]

ADDRESSES: dict[str, Any] = {cls.__name__: cls for cls in (UDPv4Address, UDPv6Address, DomainAddress)}


@vp_compile
class Inner(VariablePayload):
    """The payload of nested formats."""

    number: int
    rest: bytes
    format_list = ["H", "raw"]
    names = ["number", "rest"]


def encode(value: Any) -> Any:
    """Convert ``value`` to JSON types; :func:`decode` reverses it."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if type(value).__name__ in ADDRESSES:
        return {type(value).__name__: list(value)}
    if isinstance(value, Inner):
        return {"inner": [encode(value.number), encode(value.rest)]}
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    return value


def decode(value: Any) -> Any:
    """Reverse :func:`encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), = value.items()
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "inner":
        return Inner(*decode(content))
    if kind == "tuple":
        return tuple(decode(content))
    return ADDRESSES[kind](*content)


def tell(event: str, **details: Any) -> None:
    """Write one event."""
    print(json.dumps({"event": event, **details}), flush=True)
