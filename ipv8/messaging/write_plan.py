"""How the serializer writes payloads: format lists compiled into closures (the counterpart of ``read_plan``).

A plan serves the payloads whose pack list is not hand-written: their values are taken at once, and neighbouring fixed
fields and the length of a following body are written by one ``struct`` call. All else goes through ``to_pack_list`` and
the packers one by one, as do values that a plan stumbles over: so the error that the caller sees names the item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from .decoders import MESSAGE_LIMIT
from .packers import (
    PACKED_BITS,
    PACKED_IP_ADDRESSES,
    PACKED_IPV4,
    Address,
    Bits,
    DefaultStruct,
    IPv4,
    ListOf,
    NestedPayload,
    PackError,
    Raw,
    VarLen,
    VarLenUtf8,
)
from .read_plan import resolve
from .serializable import FlatPayload

if TYPE_CHECKING:
    from .serializable import FormatListType, Serializable
    from .serialization import Serializer

__all__ = ["Encoder", "compile_encoder"]

Encoder = Callable[[Any], bytes]
"""``encode(payload)`` gives its bytes."""

_BODY: Any = object()  # a tail: the length of a value, then the value
_REST: Any = object()  # a tail: a value as it is
_LENGTH = Struct(">H")


class _InnerError(PackError):
    """A payload inside of this payload can't be packed: trying again item by item would not help."""


def _failure(item: tuple[Any, ...], error: BaseException, kind: type[PackError] = PackError) -> PackError:
    shown = repr(item)
    if len(shown) > MESSAGE_LIMIT // 2:
        shown = shown[: MESSAGE_LIMIT // 2] + "…"
    return kind(f"Could not pack item: {shown}\n{type(error).__name__}: {error}"[:MESSAGE_LIMIT])


class Segment(NamedTuple):
    """A run of fixed fields, one variable field, or the former and then the latter."""

    pack: Callable[..., bytes] | None
    span: slice  # values of the run
    behind: int  # the value after them, for the tail
    tail: Callable[[Any], bytes] | None


class _Plan:
    """Collects neighbouring fields into segments and conversions."""

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer
        self.slots = 0  # values as the payload has them
        self._segments: list[Segment] = []
        self._maps: list[tuple[int, Callable[[Any], Any]]] = []
        self._flags: list[int] = []
        self._position = 0  # values after flags were put together into bytes
        self._first = 0
        self._run = ">"

    def add(self, entry: FormatListType) -> None:
        """Take one more field in."""
        name, _ = resolve(entry)
        packer = self.serializer.get_packer_for(name)
        add = _BUILT_IN.get(type(packer))
        if add is None or not add(self, packer):
            if name == "bits":
                raise LookupError("flags go to eight arguments only of their own packer")
            self.variable(packer.pack)

    def fixed(self, code: str, slots: int = 1) -> None:
        """Add a field of fixed size that takes ``slots`` values of the payload and becomes one value for ``struct``."""
        self._run += code
        self.slots += slots
        self._position += 1

    def variable(self, tail: Callable[[Any], bytes], header: str = "") -> None:
        """Add a field of variable size; ``header`` is the format of the length in front of it."""
        self._run += header
        self._close(tail)
        self._position += 1
        self._first = self._position
        self.slots += 1

    def map_next(self, convert: Callable[[Any], Any]) -> None:
        """Let ``convert`` make the next value."""
        self._maps.append((self.slots, convert))

    def flags_next(self) -> None:
        """Put the next eight values into a byte."""
        self._flags.append(self.slots)

    def _close(self, tail: Callable[[Any], bytes] | None) -> None:
        pack = Struct(self._run).pack if len(self._run) > 1 else None
        if pack is not None or tail is not None:
            self._segments.append(Segment(pack, slice(self._first, self._position), self._position, tail))
        self._run = ">"

    def encoder(self, values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
        """The function that writes a payload; ``itemwise`` is for values that it can't cope with."""
        self._close(None)
        plain = not self._maps and not self._flags
        if plain and not self._segments:
            return lambda _: b""
        if plain and len(self._segments) == 1:
            only = self._segments[0]
            if only.tail is None:
                return _encode_run(only, values_of, itemwise)
            if only.tail is _BODY:
                return _encode_body(only, values_of, itemwise)
        flags = [slice(first, first + 8) for first in reversed(self._flags)]
        return _encode_any(self._segments, self._maps, flags, values_of, itemwise)


def _encode_run(segment: Segment, values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
    """One run of fixed fields and nothing else."""
    pack = segment.pack
    assert pack is not None

    def encode(payload: Any) -> bytes:
        try:
            return pack(*values_of(payload))
        except Exception:  # noqa: BLE001 - the slow way repeats the error, with the name of the item
            return itemwise(payload)

    return encode


def _encode_body(segment: Segment, values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
    """Fixed fields, maybe none, and one body."""
    pack = segment.pack
    assert pack is not None

    def encode(payload: Any) -> bytes:
        try:
            values = [*values_of(payload)]
            body: bytes = values[-1]
            values[-1] = len(body)
            return pack(*values) + body
        except Exception:  # noqa: BLE001 - the slow way repeats the error, with the name of the item
            return itemwise(payload)

    return encode


def _encode_any(
    segments: list[Segment],
    maps: list[tuple[int, Callable[[Any], Any]]],
    flags: list[slice],
    values_of: Callable[[Any], Sequence[Any]],
    itemwise: Encoder,
) -> Encoder:
    is_body, is_rest, converts = _BODY, _REST, bool(maps or flags)

    def encode(payload: Any) -> bytes:
        try:
            values = values_of(payload)
            if converts:
                values = [*values]
                for index, convert in maps:
                    values[index] = convert(values[index])
                for span in flags:
                    values[span] = [PACKED_BITS[tuple(values[span])]]
            parts: list[bytes] = []
            for pack, span, behind, tail in segments:
                if tail is is_body:
                    body = values[behind]
                    parts.append(pack(*values[span], len(body)))  # type: ignore[misc]  # a body has its length in front
                    parts.append(body)
                    continue
                if pack is not None:
                    parts.append(pack(*values[span]))
                if tail is not None:
                    parts.append(values[behind] if tail is is_rest else tail(values[behind]))
            return b"".join(parts)
        except _InnerError:
            raise
        except Exception:  # noqa: BLE001 - the slow way repeats the error, with the name of the item
            return itemwise(payload)

    return encode


def _add_struct(plan: _Plan, packer: DefaultStruct) -> bool:
    if packer.format_str[:1] not in {">", "!"} or packer.values != 1:
        return False
    plan.fixed(packer.format_str[1:])
    return True


def _add_bits(plan: _Plan, _packer: Bits) -> bool:
    plan.flags_next()
    plan.fixed("B", 8)
    return True


def _add_ipv4(plan: _Plan, _packer: IPv4) -> bool:
    plan.map_next(PACKED_IPV4.__getitem__)
    plan.fixed("6s")
    return True


def _add_raw(plan: _Plan, _packer: Raw) -> bool:
    plan.variable(_REST)
    return True


def _add_varlen(plan: _Plan, packer: VarLen) -> bool:
    if packer.length_format[0] not in {">", "!"} or packer.base != 1:
        return False
    plan.variable(_BODY, packer.length_format[1:])
    return True


def _add_text(plan: _Plan, packer: VarLenUtf8) -> bool:
    if packer.length_format[0] not in {">", "!"} or packer.base != 1:
        return False
    plan.map_next(str.encode)
    plan.variable(_BODY, packer.length_format[1:])
    return True


def _add_address(plan: _Plan, packer: Address) -> bool:
    plan.variable(PACKED_IP_ADDRESSES.__getitem__ if packer.ip_only else packer.pack)
    return True


def _add_nested(plan: _Plan, packer: NestedPayload) -> bool:
    if packer.serializer is not plan.serializer:
        return False
    encoders = plan.serializer._encoders

    def write(payload: Any) -> bytes:
        return _framed(encoders, payload)

    plan.variable(write)
    return True


def _framed(encoders: dict[type, Encoder], payload: Any) -> bytes:
    try:
        packed = encoders[type(payload)](payload)
        return _LENGTH.pack(len(packed)) + packed
    except (PackError, RecursionError) as error:
        raise _failure(("payload", payload), error, _InnerError) from error


def _add_list(plan: _Plan, packer: ListOf) -> bool:
    item = packer.packer
    if type(item) is not NestedPayload or item.serializer is not plan.serializer:
        return False
    encoders, count, length = plan.serializer._encoders, Struct(packer.length_format), _LENGTH.pack

    def write(payloads: Sequence[Any]) -> bytes:
        parts = [count.pack(len(payloads))]
        for payload in payloads:
            try:
                packed = encoders[type(payload)](payload)
            except (PackError, RecursionError) as error:
                raise _failure(("payload", payload), error, _InnerError) from error
            parts += (length(len(packed)), packed)
        return b"".join(parts)

    plan.variable(write)
    return True


_BUILT_IN: dict[type, Callable[..., bool]] = {
    Address: _add_address,
    Bits: _add_bits,
    DefaultStruct: _add_struct,
    IPv4: _add_ipv4,
    ListOf: _add_list,
    NestedPayload: _add_nested,
    Raw: _add_raw,
    VarLen: _add_varlen,
    VarLenUtf8: _add_text,
}


def _itemwise(serializer: Serializer) -> Encoder:
    """Write payloads by their pack lists."""

    def encode(payload: Serializable) -> bytes:
        packed = bytearray()
        pack_list = payload.to_pack_list()
        item: tuple[Any, ...] = ()
        try:
            for item in pack_list:
                packed += serializer.get_packer_for(item[0]).pack(*item[1:])
        except Exception as error:
            raise _failure(item, error) from error
        return bytes(packed)

    return encode


def compile_encoder(serializer: Serializer, payload_class: type) -> Encoder:
    """How to write one class of payloads."""
    itemwise = _itemwise(serializer)
    if not issubclass(payload_class, FlatPayload) or payload_class.to_pack_list is not FlatPayload.to_pack_list:
        return itemwise
    plan = _Plan(serializer)
    try:
        for entry in payload_class.format_list:
            plan.add(entry)
    except LookupError:
        return itemwise
    if len(getattr(payload_class, "names", range(plan.slots))) != plan.slots:
        return itemwise
    return plan.encoder(payload_class._wire_getter(), itemwise)
