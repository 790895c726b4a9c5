"""The self-describing text format of TrustChain transactions (doc/protocol/trustchain.md, section 4).

A stream is the byte ``a`` and one value. A value is a count in decimal digits, a tag of one byte, and a body: text for
numbers, bytes for strings, further values for containers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MalformedEncodingError", "decode", "decode_strictly", "encode"]

VERSION = b"a"

MAX_DEPTH = 32
"""How deep values may stand in one another where the stream comes from the network."""

MAX_NUMBER = 4096
"""Digits of a number, likewise."""

_DIGITS = frozenset(b"0123456789")


class MalformedEncodingError(ValueError, KeyError, IndexError, AssertionError):
    """A stream that is not the encoding of a value.

    It is one of each class of error that programs catch around :func:`decode`.
    """

    __str__ = ValueError.__str__


# Encoding


def _number(tag: bytes) -> Callable[[Any, list[bytes]], None]:
    def encode_number(value: Any, out: list[bytes]) -> None:
        body = str(value).encode()
        out += (b"%d" % len(body), tag, body)

    return encode_number


def _encode_text(value: str, out: list[bytes]) -> None:
    body = value.encode()
    out += (b"%d" % len(body), b"s", body)


def _encode_bytes(value: bytes, out: list[bytes]) -> None:
    out += (b"%d" % len(value), b"b", value)


def _sequence(tag: bytes) -> Callable[[Any, list[bytes]], None]:
    def encode_sequence(value: Any, out: list[bytes]) -> None:
        out += (b"%d" % len(value), tag)
        for item in value:
            _encoder_of(item)(item, out)

    return encode_sequence


def _encode_dict(value: dict[Any, Any], out: list[bytes]) -> None:
    out += (b"%d" % len(value), b"d")
    for pair in value.items():
        for item in pair:
            if type(item).__name__ not in _ENCODERS:
                raise AssertionError(f"a {type(item).__name__} in a dictionary cannot be encoded")
            _encoder_of(item)(item, out)


def _constant(code: bytes) -> Callable[[Any, list[bytes]], None]:
    return lambda _, out: out.append(code)


def _encode_bool(value: bool, out: list[bytes]) -> None:
    out.append(b"0T" if value else b"0F")


_ENCODERS: dict[str, Callable[[Any, list[bytes]], None]] = {
    "int": _number(b"i"),
    "float": _number(b"f"),
    "str": _encode_text,
    "bytes": _encode_bytes,
    "list": _sequence(b"l"),
    "tuple": _sequence(b"t"),
    "set": _sequence(b"L"),
    "OrderedSet": _sequence(b"L"),
    "dict": _encode_dict,
    "OrderedDict": _encode_dict,
    "NoneType": _constant(b"0n"),
    "bool": _encode_bool,
}


def _encoder_of(value: object) -> Callable[[Any, list[bytes]], None]:
    return _ENCODERS[type(value).__name__]


def encode(data: Any, version: str = "a") -> bytes:
    """The stream of a value.

    Values are numbers, text, bytes, lists, tuples, sets, dictionaries, ``None`` and truth values; by the name of their
    class, so those of a subclass with another name are none. The order of sets and dictionaries is that of the
    container.

    :param version: ``"a"``, the only version that there is.
    :raises ValueError: for another version.
    :raises AssertionError: if the version is no ``str``, or something in a dictionary is of another class.
    :raises KeyError: if anything else is of another class.
    """
    if not isinstance(version, str):
        raise AssertionError(  # noqa: TRY004 - the specified class
            f"the version of an encoding is a str, not {type(version).__name__}")
    if version != "a":
        raise ValueError(f"the only version of this encoding is 'a', not {version!r}")
    out = [VERSION]
    _encoder_of(data)(data, out)
    return b"".join(out)


# Decoding


class _Decoder:
    """Reads values of one stream, which is trusted not to be large.

    :param cast_utf8: give bytes as text of one character a byte.
    """

    #: What reads the body of a value, by its tag: given the decoder, where the body starts, and the count.
    bodies: ClassVar[dict[int, Callable[[Any, int, int], tuple[int, Any]]]] = {}

    def __init__(self, stream: bytes, cast_utf8: bool) -> None:
        self.stream = stream
        self.cast_utf8 = cast_utf8

    def value(self, offset: int) -> tuple[int, Any]:
        """The offset behind the value at ``offset``, and the value."""
        stream, start = self.stream, offset
        while stream[offset] in _DIGITS:
            offset += 1
        return self.bodies[stream[offset]](self, offset + 1, int(stream[start:offset]))

    def _integer(self, start: int, count: int) -> tuple[int, int]:
        return start + count, int(self.stream[start:start + count])

    def _float(self, start: int, count: int) -> tuple[int, float]:
        return start + count, float(self.stream[start:start + count])

    def _raw(self, start: int, count: int) -> bytes:
        body = self.stream[start:start + count]
        if len(body) != count:
            raise ValueError(f"the stream ends within a string of {count} bytes")
        return body

    def _text(self, start: int, count: int) -> tuple[int, str]:
        return start + count, self._raw(start, count).decode()

    def _bytes(self, start: int, count: int) -> tuple[int, bytes | str]:
        body = self._raw(start, count)
        return start + count, body.decode("latin-1") if self.cast_utf8 else body

    def _items(self, offset: int, count: int) -> tuple[int, list[Any]]:
        items = []
        for _ in range(count):
            offset, item = self.value(offset)
            items.append(item)
        return offset, items

    _list = _items

    def _tuple(self, offset: int, count: int) -> tuple[int, tuple[Any, ...]]:
        offset, items = self._items(offset, count)
        return offset, tuple(items)

    def _set(self, offset: int, count: int) -> tuple[int, set[Any]]:
        offset, items = self._items(offset, count)
        return offset, set(items)

    def _dict(self, offset: int, count: int) -> tuple[int, dict[Any, Any]]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            offset, key = self.value(offset)
            offset, value = self.value(offset)
            if key in found:
                raise ValueError(f"a dictionary has the key {key!r} twice")
            found[key] = value
        return offset, found

    @classmethod
    def read_bodies(cls) -> dict[int, Callable[[Any, int, int], tuple[int, Any]]]:
        """The methods of this class by the tags of what they read."""
        return {ord("i"): cls._integer, ord("J"): cls._integer, ord("f"): cls._float, ord("s"): cls._text,
                ord("b"): cls._bytes, ord("l"): cls._list, ord("t"): cls._tuple, ord("L"): cls._set,
                ord("d"): cls._dict, ord("n"): _reader_of(None), ord("T"): _reader_of(True),
                ord("F"): _reader_of(False)}


def _reader_of(value: object) -> Callable[[Any, int, int], tuple[int, Any]]:
    def read(_: Any, start: int, count: int) -> tuple[int, Any]:
        if count:
            raise AssertionError("a value without a body has the count 0")
        return start, value

    return read


_Decoder.bodies = _Decoder.read_bodies()


def decode(stream: bytes, offset: int = 0, cast_utf8: bool = False) -> tuple[int, Any]:
    """The offset behind the value that starts at ``offset``, and the value.

    This accepts what nodes have always accepted, among others numbers that the end of the stream cuts off, in which
    case the offset lies behind it. What comes from the network is read by :func:`decode_strictly`.

    :param cast_utf8: give bytes as text of one character a byte.
    :raises AssertionError: if the stream is no ``bytes``, or a constant has a body.
    :raises ValueError: if the version is unknown, a string is cut off, or text, numbers or keys are wrong.
    :raises KeyError: for an unknown tag.
    :raises IndexError: if the stream ends within a value.
    :raises TypeError: for members of sets and keys that cannot be hashed.
    :raises RecursionError: if values are nested too deep.
    """
    if not isinstance(stream, bytes):
        raise AssertionError(f"a stream is bytes, not {type(stream).__name__}")  # noqa: TRY004 - the specified class
    if stream[offset:offset + 1] != VERSION:
        raise ValueError("the stream does not start with the version 'a'")
    return _Decoder(stream, cast_utf8).value(offset + 1)


_BYTES, _INTEGER = b"bi"

SHORT_NUMBER = 20
"""Digits of numbers that are read in the shortest way."""


class _StrictDecoder(_Decoder):
    """Reads values of strangers: nothing takes longer than the stream is long, and every value has one form."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream, False)
        self.depth = 0
        self.size = len(stream)
        self.longest_count = len(str(self.size))

    def value(self, offset: int) -> tuple[int, Any]:
        stream, start = self.stream, offset
        while stream[offset] in _DIGITS:
            offset += 1
            if offset - start > self.longest_count:
                raise ValueError("a count is larger than the stream")
        count = int(stream[start:offset])
        if count > self.size - offset:
            raise ValueError("a count is larger than the rest of the stream")
        if self.depth >= MAX_DEPTH:
            raise ValueError(f"values are nested deeper than {MAX_DEPTH} levels")
        if stream[offset] == _BYTES:  # most values are bytes and short numbers
            end = offset + 1 + count
            if end > self.size:
                raise ValueError(f"the stream ends within a string of {count} bytes")
            return end, stream[offset + 1:end]
        if stream[offset] == _INTEGER and 0 < count <= SHORT_NUMBER:
            end = offset + 1 + count
            digits = stream[offset + 1:end]
            if len(digits) == count and digits.isdigit():
                return end, int(digits)
        self.depth += 1
        result = self.bodies[stream[offset]](self, offset + 1, count)
        self.depth -= 1
        return result

    def _digits(self, start: int, count: int) -> bytes:
        body = self._raw(start, count)
        if count > MAX_NUMBER:
            raise ValueError(f"a number has more than {MAX_NUMBER} digits")
        return body

    def _integer(self, start: int, count: int) -> tuple[int, int]:
        body = self._digits(start, count)
        digits = body[1:] if body.startswith(b"-") else body
        if not digits.isdigit():
            raise ValueError("a number is written in decimal digits")
        return start + count, int(body)

    def _float(self, start: int, count: int) -> tuple[int, float]:
        body = self._digits(start, count)
        value = float(body)
        if math.isfinite(value) and not _DIGITS.issuperset(body.translate(None, b"+-.eE")):
            raise ValueError("a number is written in decimal digits")
        return start + count, value


_StrictDecoder.bodies = _StrictDecoder.read_bodies()


def decode_strictly(stream: bytes) -> Any:
    """The value of a stream from the network, which holds nothing else.

    Containers may be nested 32 deep, and numbers have at most 4096 digits.

    :raises MalformedEncodingError: if it is anything else.
    """
    if not isinstance(stream, bytes) or not stream.startswith(VERSION):
        raise MalformedEncodingError("the stream does not start with the version 'a'")
    try:
        offset, value = _StrictDecoder(stream).value(1)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as e:
        raise MalformedEncodingError(f"the stream is malformed: {e}") from e
    if offset != len(stream):
        raise MalformedEncodingError(f"{len(stream) - offset} bytes follow the value")
    return value
