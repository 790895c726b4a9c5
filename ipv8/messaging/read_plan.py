"""How the serializer reads payloads: format lists compiled into closures.

Neighbouring fields of a fixed size, and the length in front of a variable field, are read by one ``struct`` call. What
``struct`` can't give directly (addresses, flags, text, tuples) is put in place afterwards. Every field is checked
against the end of the data before anything is made of it, so that truncated or lying data end in :class:`PackError`,
and nothing larger than the data is ever allocated (spec 02 section 11, numbers 2, 4 and 10).
"""

from __future__ import annotations

import sys
from array import array
from struct import Struct
from typing import TYPE_CHECKING, Any

from .address import DomainAddress
from .packers import (
    ADDRESS_TYPE_DOMAIN_NAME,
    IPV4_ADDRESSES,
    UNPACKED_BITS,
    Address,
    Bits,
    DefaultArray,
    DefaultStruct,
    IPv4,
    ListOf,
    NestedPayload,
    PackError,
    Raw,
    VarLen,
    VarLenUtf8,
)
from .readers import (
    BODY,
    IP_ADDRESS,
    IP_ADDRESSES,
    REFUSED,
    REST,
    WHOLE,
    Build,
    Decoder,
    Labels,
    Read,
    Segment,
    Tail,
    UnpackError,
    read_any,
    read_bodies,
    read_body,
    read_run,
)
from .serializable import FlatPayload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .serializable import FormatListType, Serializable
    from .serialization import Serializer

__all__ = ["MAX_NESTING", "compile_decoder", "resolve"]

MAX_NESTING = 16
"""How deep payloads may stand in one another when they are read."""

_LENGTH = Struct(">H")


def resolve(entry: Any) -> tuple[str, tuple[Any, ...]]:
    """Name of the packer and extra arguments for it, for an entry of a format list."""
    if isinstance(entry, str):
        return entry, ()
    if isinstance(entry, type):
        return "payload", (entry,)
    (item,) = entry
    return "payload-list", (item,)


def _label(entry: FormatListType) -> str:
    name, inner = resolve(entry)
    return f"{name} {inner[0].__name__}" if inner else name


class _Plan:
    """Collects neighbouring fields of the built-in formats into segments and corrections."""

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer
        self._segments: list[Segment] = []
        self._maps: list[tuple[int, Callable[[Any], Any], Labels]] = []
        self._reshapes: list[tuple[int, int, Callable[[list[Any]], Sequence[Any]]]] = []
        self._slots = 0  # values as they are read
        self.values = 0  # values as they are given
        self._run = ">"
        self._labels: list[tuple[int, str]] = []

    def add(self, entry: FormatListType) -> bool:
        """Take one more field in; ``False``, and nothing done, if its packer is not a built-in one."""
        name, inner = resolve(entry)
        packer = self.serializer._packers.get(name)
        add = _BUILT_IN.get(type(packer))
        return add is not None and add(self, packer, inner, _label(entry))

    def fixed(self, code: str, label: str, slots: int = 1) -> None:
        """Add a field of fixed size that ``struct`` gives as ``slots`` values."""
        self._run += code
        self._slots += slots
        self.values += slots
        self._labels.append((Struct(self._run).size, label))

    def variable(self, tail: Tail, label: str, header: str = "") -> None:
        """Add a field of variable size; ``header`` is the format of the length in front of it."""
        if header:
            self.fixed(header, label)
        else:
            self._slots += 1
            self.values += 1
            self._labels.append((0, label))
        self._close(tail)
        self._labels.append((0, label))

    def map_last(self, convert: Callable[[Any], Any], label: str) -> None:
        """Replace the last value by what ``convert`` makes of it."""
        self._maps.append((self._slots - 1, convert, ((0, label),)))

    def reshape_last(self, slots: int, count: int, reshape: Callable[[list[Any]], Sequence[Any]]) -> None:
        """Replace the last ``slots`` values by ``count`` other values."""
        self.values += count - slots
        self._reshapes.append((self._slots - slots, self._slots, reshape))

    def _close(self, tail: Tail | None) -> None:
        run = Struct(self._run)
        if len(self._run) > 1 or tail is not None:
            self._segments.append(Segment(run.unpack_from, run.size, tail, tuple(self._labels)))
        self._run = ">"
        self._labels = []

    def reader(self) -> Read:
        """The function that reads what was added."""
        self._close(None)
        if not self._segments:
            return lambda _data, offset, _depth: ((), offset)
        if not self._maps and not self._reshapes:
            tails = [segment.tail for segment in self._segments]
            if tails == [None]:
                return read_run(self._segments[0])
            if tails == [BODY]:
                return read_body(self._segments[0])
            if all(tail is BODY for tail in tails[:-1]) and tails[-1] in {None, BODY}:
                return read_bodies(self._segments)
        # From the last to the first, so that a change of the number of values does not move those still to come.
        return read_any(self._segments, self._maps, self._reshapes[::-1])


def _add_struct(plan: _Plan, packer: DefaultStruct, _inner: tuple[Any, ...], label: str) -> bool:
    order, code = packer.format_str[:1], packer.format_str[1:]
    if order not in {">", "!"}:
        return False
    plan.fixed(code, label, packer.values)
    if packer.values != 1:
        plan.reshape_last(packer.values, 1, lambda values: (tuple(values),))
    return True


def _add_bits(plan: _Plan, _packer: Bits, _inner: tuple[Any, ...], label: str) -> bool:
    plan.fixed("B", label)
    plan.reshape_last(1, 8, lambda values: UNPACKED_BITS[values[0]])
    return True


def _add_ipv4(plan: _Plan, _packer: IPv4, _inner: tuple[Any, ...], label: str) -> bool:
    plan.fixed("6s", label)
    plan.map_last(IPV4_ADDRESSES.__getitem__, label)
    return True


def _add_raw(plan: _Plan, _packer: Raw, _inner: tuple[Any, ...], label: str) -> bool:
    plan.variable(REST, label)
    return True


def _add_varlen(plan: _Plan, packer: VarLen, _inner: tuple[Any, ...], label: str) -> bool:
    if packer.length_format[0] not in {">", "!"}:
        return False
    plan.variable(BODY if packer.base == 1 else _scaled_body(packer.base), label, packer.length_format[1:])
    return True


def _scaled_body(base: int) -> Tail:
    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        stop: int = offset + values[-1] * base
        values[-1] = data[offset:stop]
        return stop

    return read


def _add_text(plan: _Plan, packer: VarLenUtf8, inner: tuple[Any, ...], label: str) -> bool:
    added = _add_varlen(plan, packer, inner, label)
    if added:
        plan.map_last(bytes.decode, label)
    return added


def _add_address(plan: _Plan, packer: Address, _inner: tuple[Any, ...], label: str) -> bool:
    plan.variable(IP_ADDRESS if packer.ip_only else _read_address, label, "B")
    return True


def _read_address(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
    kind = values[-1]
    if kind in IP_ADDRESSES:
        length, addresses = IP_ADDRESSES[kind]
        stop: int = offset + length
        if stop <= len(data):
            values[-1] = addresses[data[offset:stop]]
        return stop
    if kind != ADDRESS_TYPE_DOMAIN_NAME:
        return REFUSED
    start = offset + 2
    if start > len(data):
        return start
    (length,) = _LENGTH.unpack_from(data, offset)
    stop = start + length
    if stop + 2 <= len(data):
        (port,) = _LENGTH.unpack_from(data, stop)
        values[-1] = DomainAddress(data[start:stop].decode(), port)
    return stop + 2


def _add_array(plan: _Plan, packer: DefaultArray, _inner: tuple[Any, ...], label: str) -> bool:
    header = Struct("<" + packer.length_format)
    code, base, truth = packer.real_format_str, packer.base, packer.format_str == "?"

    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        start = offset + header.size
        if start > len(data):
            return start
        (count,) = header.unpack_from(data, offset)
        stop: int = start + count * base
        if stop > len(data):
            return stop
        items = array(code, data[start:stop])
        if sys.byteorder == "big":
            items.byteswap()
        values.append([item != 0 for item in items] if truth else items.tolist())
        return stop

    plan.variable(read, label)
    return True


def _add_nested(plan: _Plan, packer: NestedPayload, inner: tuple[Any, ...], label: str) -> bool:
    if packer.serializer is not plan.serializer or not inner:
        return False
    decoders, payload_class = plan.serializer.decoders, inner[0]

    def read_nested(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        stop: int = offset + values[-1]
        if stop > len(data):
            return stop
        # Looked up only now: a class may contain itself.
        read, build = decoders[payload_class]
        found, end = read(data[offset:stop], 0, _deeper(depth))
        if end < 0:
            values[-1] = found
            return REFUSED
        values[-1] = build(*found)
        return stop

    plan.variable(read_nested, label, "H")
    return True


def _deeper(depth: int) -> int:
    if depth >= MAX_NESTING:
        raise PackError(f"payloads are nested deeper than {MAX_NESTING} levels")
    return 1 if depth == WHOLE else depth + 1


def _add_list(plan: _Plan, packer: ListOf, inner: tuple[Any, ...], label: str) -> bool:
    if packer.length_format[0] not in {">", "!"}:
        return False
    item = packer.packer
    if type(item) is NestedPayload and item.serializer is plan.serializer and inner:
        tail = _list_of_payloads(plan.serializer, inner[0])
    elif type(item) is VarLen or type(item) is VarLenUtf8:
        tail = _list_of_bodies(item)
    else:
        return False
    plan.variable(tail, label, packer.length_format[1:])
    return True


def _list_of_payloads(serializer: Serializer, inner: type[Serializable]) -> Tail:
    decoders, read_length = serializer.decoders, _LENGTH.unpack_from

    def read_list(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        count: int = values[-1]
        items: list[Any] = []
        values[-1] = items
        if not count:
            return offset
        read, build = decoders[inner]
        depth, end = _deeper(depth), len(data)
        for _ in range(count):
            start = offset + 2
            if start > end:
                return start
            (length,) = read_length(data, offset)
            offset = start + length
            if offset > end:
                return offset
            found, stop = read(data[start:offset], 0, depth)
            if stop < 0:
                values[-1] = found
                return REFUSED
            items.append(build(*found))
        return offset

    return read_list


def _list_of_bodies(packer: VarLen) -> Tail:
    header, base, text = Struct(packer.length_format), packer.base, type(packer) is VarLenUtf8

    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        items: list[Any] = []
        end = len(data)
        for _ in range(values[-1]):
            start = offset + header.size
            if start > end:
                return start
            (length,) = header.unpack_from(data, offset)
            offset = start + length * base
            if offset > end:
                return offset
            items.append(data[start:offset])
        values[-1] = [item.decode() for item in items] if text else items
        return offset

    return read


_BUILT_IN: dict[type, Callable[..., bool]] = {
    Address: _add_address,
    Bits: _add_bits,
    DefaultArray: _add_array,
    DefaultStruct: _add_struct,
    IPv4: _add_ipv4,
    ListOf: _add_list,
    NestedPayload: _add_nested,
    Raw: _add_raw,
    VarLen: _add_varlen,
    VarLenUtf8: _add_text,
}


def _custom_reader(serializer: Serializer, entry: FormatListType) -> Tail:
    """Read one field by its packer, which sees all values so far and may append any number."""
    name, inner = resolve(entry)
    labels = ((0, _label(entry)),)

    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        try:
            packer = serializer.get_packer_for(name)
        except KeyError as error:  # a mistake of the program, whatever the data are
            raise PackError(str(UnpackError(labels, 0, error))) from error
        try:
            stop = packer.unpack(data, offset, values, *inner)
            if stop <= len(data):
                return stop
            refusal = UnpackError(labels, len(data) - offset, None)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            refusal = UnpackError(labels, len(data) - offset, error)
            refusal.__cause__ = error
        values.append(refusal)
        return REFUSED

    return read


def _built_in_reader(plan: _Plan) -> Tail:
    read = plan.reader()

    def read_on(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        found, offset = read(data, offset, depth)
        if offset < 0:
            values.append(found)
        else:
            values += found
        return offset

    return read_on


def compile_decoder(serializer: Serializer, what: type[Serializable] | tuple[type[Serializable], ...]) -> Decoder:
    """How to read one payload of a class, or a list of payloads, one of each of several classes in turn."""
    return _compile_list(serializer, what) if isinstance(what, tuple) else _compile_one(serializer, what)


def _compile_one(serializer: Serializer, payload_class: type[Serializable]) -> Decoder:
    steps: list[Tail] = []
    plan = _Plan(serializer)
    for entry in payload_class.format_list:
        if not plan.add(entry):
            steps += [_built_in_reader(plan), _custom_reader(serializer, entry)]
            plan = _Plan(serializer)
    if not steps:
        return plan.reader(), _builder(payload_class)
    steps.append(_built_in_reader(plan))

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        for step in steps:
            offset = step(data, offset, values, depth)
            if offset < 0:
                return values[-1], REFUSED
        return values, offset

    return read, _builder(payload_class)


def _builder(payload_class: type[Serializable]) -> Build:
    return payload_class._wire_factory() if issubclass(payload_class, FlatPayload) else payload_class.from_unpack_list


def _compile_list(serializer: Serializer, classes: tuple[type[Serializable], ...]) -> Decoder:
    """The fields of all classes are read as if they were those of one."""
    plan = _Plan(serializer)
    parts: list[tuple[Build, int, int]] = []
    for payload_class in classes:
        first = plan.values
        if not all(plan.add(entry) for entry in payload_class.format_list):
            return _compile_chain(serializer, classes)
        parts.append((_builder(payload_class), first, plan.values))

    def build_all(*values: Any) -> list[Any]:
        return [build(*values[first:behind]) for build, first, behind in parts]

    return plan.reader(), build_all


def _compile_chain(serializer: Serializer, classes: tuple[type[Serializable], ...]) -> Decoder:
    """Each class by itself, as custom formats see the values of their own class only."""
    decoders = serializer.decoders

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        groups = []
        for payload_class in classes:
            values, offset = decoders[payload_class][0](data, offset, depth)
            if offset < 0:
                return values, REFUSED
            groups.append(values)
        return groups, offset

    def build_all(*groups: Any) -> list[Any]:
        return [decoders[payload_class][1](*values) for payload_class, values in zip(classes, groups, strict=True)]

    return read, build_all
