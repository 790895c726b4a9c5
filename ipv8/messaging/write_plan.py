"""How the serializer writes payloads: format lists compiled into closures (the counterpart of ``read_plan``).

A plan serves the payloads whose pack list is not hand-written: their values are taken at once, and neighbouring fixed
fields and the length of a following body are written by one ``struct`` call. All else goes through ``to_pack_list`` and
the packers one by one, as do values that a plan stumbles over: so the error that the caller sees names the item.

Payloads in payloads are limited in depth as they are for whoever reads them: what can be packed can be unpacked. How
deep a payload stands is known to the plan and not asked for when it runs: each depth has plans of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from .packers import (
    PACKED_BITS,
    PACKED_IP_ADDRESSES,
    PACKED_IPV4,
    Address,
    Bits,
    Cache,
    DefaultStruct,
    IPv4,
    ListOf,
    NestedPayload,
    PackError,
    Raw,
    VarLen,
    VarLenUtf8,
)
from .read_plan import MAX_NESTING, resolve
from .readers import MESSAGE_LIMIT
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
_PREFIX = "Could not pack item: "


def _failure(item: str, error: BaseException, advice: str = "") -> PackError:
    """The error that names an item, and for an item of a payload inside of this one also those around it."""
    half = MESSAGE_LIMIT // 2
    if len(item) > half:
        item = item[:half] + "…"
    text = f"{_PREFIX}{item}\n{type(error).__name__}: {_shown(str, error).removeprefix(_PREFIX)}{advice}"
    if len(text) > MESSAGE_LIMIT:
        # Among payloads in payloads the innermost error, at the end, is the one that explains the others.
        text = text[: half - 1] + "…" + text[-half:]
    return PackError(text)


def _names_its_item(error: BaseException) -> bool:
    """Whether an error is one of :func:`_failure`: then to try again, item by item, would say no more."""
    return isinstance(error, PackError) and str(error).startswith(_PREFIX)


def _shown(show: Callable[[Any], str], value: object) -> str:
    """The value as text, even when it is of a class that can't show it, or holds too much of itself to be shown."""
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - what went wrong before must not get lost
        return f"<{type(value).__name__}>"


class _Depth:
    """How payloads are written that stand in ``depth`` others."""

    def __init__(self, serializer: Serializer, depth: int) -> None:
        self.serializer = serializer
        self.depth = depth

    @cached_property
    def inner(self) -> dict[type, Encoder]:
        """For each class the function that writes its payloads in payloads of this depth."""
        if self.depth >= MAX_NESTING:
            return Cache(lambda _: _refuse)
        return Cache(partial(_compile, _Depth(self.serializer, self.depth + 1)))

    @cached_property
    def packs(self) -> dict[str, Callable[..., bytes]]:
        """For each format the function that writes its values in payloads of this depth."""
        return Cache(self._pack)

    def _pack(self, name: str) -> Callable[..., bytes]:
        packer = self.serializer.get_packer_for(name)
        return self.nested(packer) or packer.pack

    def nested(self, packer: Any) -> Callable[[Any], bytes] | None:
        """The function that writes payloads in a payload; ``None`` for any other format."""
        if type(packer) is NestedPayload and packer.serializer is self.serializer:
            return partial(_framed, self.inner)
        if type(packer) is ListOf:
            item = packer.packer
            if type(item) is NestedPayload and item.serializer is self.serializer:
                return _framed_list(self.inner, Struct(packer.length_format))
        return None


def _refuse(_payload: Any) -> bytes:
    raise PackError(f"payloads are nested deeper than {MAX_NESTING} levels")


def _framed(encoders: dict[type, Encoder], payload: Any) -> bytes:
    try:
        packed = encoders[type(payload)](payload)
    except (PackError, RecursionError) as error:
        raise _failure(f"('payload', {type(payload).__name__})", error) from error
    return _LENGTH.pack(len(packed)) + packed


def _framed_list(encoders: dict[type, Encoder], count: Struct) -> Callable[[Sequence[Any]], bytes]:
    length = _LENGTH.pack

    def write(payloads: Sequence[Any]) -> bytes:
        parts = [count.pack(len(payloads))]
        for payload in payloads:
            try:
                packed = encoders[type(payload)](payload)
            except (PackError, RecursionError) as error:
                raise _failure(f"('payload', {type(payload).__name__})", error) from error
            parts += (length(len(packed)), packed)
        return b"".join(parts)

    return write


class Segment(NamedTuple):
    """A run of fixed fields, one variable field, or the former and then the latter."""

    pack: Callable[..., bytes] | None
    span: slice  # values of the run
    behind: int  # the value after them, for the tail
    tail: Callable[[Any], bytes] | None


class _Plan:
    """Collects neighbouring fields into segments and conversions."""

    def __init__(self, depth: _Depth) -> None:
        self.depth = depth
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
        packer = self.depth.serializer.get_packer_for(name)
        add = _BUILT_IN.get(type(packer))
        if add is None or not add(self, packer):
            if name == "bits":
                raise LookupError("flags go to eight arguments only of their own packer")
            self.variable(self.depth.packs[name])

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
        except Exception as error:
            if _names_its_item(error):
                raise
            return itemwise(payload)  # repeats the error, with the name of the item

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


_BUILT_IN: dict[type, Callable[..., bool]] = {
    Address: _add_address,
    Bits: _add_bits,
    DefaultStruct: _add_struct,
    IPv4: _add_ipv4,
    Raw: _add_raw,
    VarLen: _add_varlen,
    VarLenUtf8: _add_text,
}


def _itemwise(depth: _Depth) -> Encoder:
    """Write payloads by their pack lists."""
    packs = depth.packs

    def encode(payload: Serializable) -> bytes:
        packed = bytearray()
        pack_list = payload.to_pack_list()
        item: tuple[Any, ...] = ()
        try:
            for item in pack_list:
                packed += packs[item[0]](*item[1:])
        except Exception as error:
            if _names_its_item(error):
                raise
            known = not item or item[0] in depth.serializer.get_available_formats()
            raise _failure(_shown(repr, item), error, "" if known else _unknown(payload, item[0])) from error
        return bytes(packed)

    return encode


def _unknown(payload: Serializable, name: Any) -> str:
    """What to say of a format that the serializer does not have."""
    paired = zip(getattr(payload, "names", ()), payload.format_list, strict=False)
    fields = ", ".join(f"{type(payload).__name__}.{field}" for field, entry in paired if entry == name)
    text = f" is no format of this serializer{': see ' if fields else ''}{fields}"
    if str(name).startswith("arrayH-"):
        text += "; the elements of a list can be bool, int, float, bytes or payloads"
    return text


def compile_encoder(serializer: Serializer, payload_class: type) -> Encoder:
    """How to write the payloads of one class that stand in no others."""
    return _compile(_Depth(serializer, 0), payload_class)


def _compile(depth: _Depth, payload_class: type) -> Encoder:
    itemwise = _itemwise(depth)
    if not issubclass(payload_class, FlatPayload) or payload_class.to_pack_list is not FlatPayload.to_pack_list:
        return itemwise
    plan = _Plan(depth)
    try:
        for entry in payload_class.format_list:
            plan.add(entry)
    except LookupError:
        return itemwise
    if len(getattr(payload_class, "names", range(plan.slots))) != plan.slots:
        return itemwise
    return plan.encoder(payload_class._wire_getter(), itemwise)
