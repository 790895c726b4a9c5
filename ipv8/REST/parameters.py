"""Reads what a request brings. What is not as it should be becomes a response with status 400 or 404."""

from __future__ import annotations

import base64
import json
import math
from binascii import unhexlify
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.web import Request

__all__ = ["BadRequest", "Conflict", "NotFound", "boolean", "hexadecimal", "json_object", "limited", "number", "text"]

ID_BYTES = 20
"""Bytes of keys in the DHT, of hashes of public keys, and of info hashes."""


class BadRequest(web.HTTPBadRequest):
    """The request is not as it should be.

    :param message: what has to be changed.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        error = {"code": "BadRequest", "message": message}
        super().__init__(text=json.dumps({"success": False, "error": error}), content_type="application/json")


class NotFound(web.HTTPNotFound):
    """What the request names does not exist.

    :param message: what does not exist.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(text=json.dumps({"success": False, "error": message}), content_type="application/json")


class Conflict(web.HTTPConflict):
    """What the request is about has changed since the client has looked at it.

    :param message: what to do.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(text=json.dumps({"success": False, "error": message}), content_type="application/json")


async def json_value(request: Request) -> Any:
    """The body of a request, which must be JSON."""
    try:
        return await request.json()
    except (RecursionError, ValueError, LookupError) as e:  # LookupError: an encoding that does not exist
        raise BadRequest("the body must be JSON") from e


async def json_object(request: Request) -> dict[str, Any]:
    """The body of a request, which must be a JSON object."""
    value = await json_value(request)
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object") from TypeError(f"argument of type {type(value).__name__!r}")
    return value


def hexadecimal(request: Request, name: str, size: int | None = ID_BYTES) -> bytes:
    """The bytes that a part of the path is the hexadecimal digits of.

    :param size: how many there must be; ``None`` for at least one.
    """
    return unhexadecimal(request.match_info[name], name, size)


def unhexadecimal(value: Any, name: str, size: int | None = None) -> bytes:
    """The bytes that a value is the hexadecimal digits of."""
    try:
        result = unhexlify(value)
    except (TypeError, ValueError) as e:
        raise BadRequest(f"{name} must be an even number of hexadecimal digits") from e
    if len(result) != size and (size is not None or not result):
        wanted = "more" if size is None else f"{2 * size}"
        raise BadRequest(f"{name} must have {wanted} hexadecimal digits") from ValueError("wrong length")
    return result


def unbase64(value: str, name: str) -> bytes:
    """The bytes that a value is the base64 of."""
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as e:
        raise BadRequest(f"{name} must be base64") from e


def text(values: dict[str, Any], name: str) -> str:
    """The text that a JSON object has under a name."""
    value = values[name]
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text") from TypeError(f"not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise BadRequest(f"{name} must be text that can be encoded as UTF-8") from e
    return value


def boolean(values: dict[str, Any], name: str) -> bool:
    """The truth value that a JSON object has under a name: true or false, or 1 or 0, also as text."""
    value = values[name]
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if found is None or not isinstance(value, (bool, int, str)):
        raise BadRequest(f"{name} must be true or false") from TypeError(f"not {type(value).__name__}")
    return found


def number(values: dict[str, Any], name: str, low: float, high: float) -> float:
    """The finite number that a JSON object has under a name."""
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRequest(f"{name} must be a number") from TypeError(f"not {type(value).__name__}")
    if not (low <= value <= high and math.isfinite(value)):
        raise BadRequest(f"{name} must be from {low:g} to {high:g}") from ValueError("out of range")
    return value


def limited(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number in the query."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and low <= int(value) <= high):
        raise BadRequest(f"{name} must be a whole number from {low} to {high}") from ValueError(name)
    return int(value)


def missing(values: dict[str, Any], names: Iterable[str]) -> bool:
    """Whether a JSON object lacks any of these names."""
    return any(name not in values for name in names)
