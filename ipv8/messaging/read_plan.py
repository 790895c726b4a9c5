"""How payloads are read: the layouts of their fields become one function.

Neighbouring fields of a fixed size, and the header of a variable field after them, are read by one call of ``struct``.
Values are converted afterwards. No field is read beyond the end of the data, so cut or false data are refused, and
nothing larger than the data is ever allocated.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from .errors import Label, PackError, UnpackError
from .layouts import (
    MAX_NESTING,
    REFUSED,
    WHOLE,
    Body,
    Build,
    Converted,
    Decoder,
    Fixed,
    Formats,
    Group,
    Layout,
    Many,
    Maybe,
    Nested,
    Own,
    ReadField,
    ReadPayload,
    Rest,
    Types,
    Variant,
)
from .readers import BODY, REST, Conversion, Segment, read_any, read_bodies, read_body, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["compile_decoder", "field_reader"]

_LENGTH = Struct(">H")


class ReadPlan:
    """Collects the fields of a payload, and gives the function that reads them."""

    def __init__(self) -> None:
        #: The number of values of the fields so far.
        self.values = 0
        self._segments: list[Segment] = []
        self._conversions: list[Conversion] = []
        self._spreads: list[Conversion] = []
        self._fields = 0  # each gives one value before the spreads
        self._run = ">"
        self._labels: list[tuple[int, Label]] = []

    def add(self, layout: Layout, label: Label) -> None:
        """Add one field."""
        if isinstance(layout, Converted):
            self.add(layout.layout, label)
            index, labels = self._fields - 1, ((0, label),)
            if layout.values == 1:
                self._conversions.append((index, layout.decode, labels))
            else:
                self._spreads.append((index, layout.decode, labels))
                self.values += layout.values - 1
            return
        self._fields += 1
        self.values += 1
        if isinstance(layout, Fixed):
            self._extend(layout.code, label)
            return
        header, read = _variable_reader(layout)
        if header:
            self._extend(header, label)
        else:
            self._labels.append((0, label))
        self._close(read, layout.types if isinstance(layout, Variant) else None)

    def _extend(self, code: str, label: Label) -> None:
        self._run += code
        self._labels.append((Struct(self._run).size, label))

    def _close(self, variable: ReadField | None, types: Types | None = None) -> None:
        """End the segment, with a variable field or without one."""
        if self._labels:
            run = Struct(self._run)
            self._segments.append(Segment(run.unpack_from, run.size, variable, tuple(self._labels), types))
        self._run = ">"
        self._labels = []

    def reader(self) -> ReadPayload:
        """The function that reads all fields."""
        self._close(None)
        if not self._segments:
            return lambda _data, offset, _depth: ((), offset)
        if not self._conversions and not self._spreads:
            kinds = [segment.variable for segment in self._segments]
            if kinds == [None]:
                return read_run(self._segments[0])
            if kinds == [BODY]:
                return read_body(self._segments[0])
            if all(kind is BODY for kind in kinds[:-1]) and kinds[-1] in {None, BODY}:
                return read_bodies(self._segments)
        return read_any(self._segments, self._conversions, self._spreads[::-1])


def _variable_reader(layout: Layout) -> tuple[str, ReadField]:
    """The header of a variable field, and the function that reads the field after it."""
    if isinstance(layout, Body):
        return layout.length, BODY if layout.unit == 1 else _read_body(layout.unit)
    if isinstance(layout, Rest):
        return "", REST
    if isinstance(layout, Variant):
        return "B", _read_variant(layout.types)
    if isinstance(layout, Nested):
        return "H", _read_nested(layout)
    if isinstance(layout, Many):
        return layout.number, _read_many(layout.item)
    if isinstance(layout, Maybe):
        return "B", _read_maybe(layout.item)
    if isinstance(layout, Group):
        return "", _read_group(layout.items)
    assert isinstance(layout, Own)
    return layout.header, layout.read


def field_reader(layout: Layout) -> ReadField:
    """The function that reads one field of a layout, its header included."""
    if isinstance(layout, Converted):
        return _read_converted(layout)
    if isinstance(layout, Fixed):
        return _read_fixed(layout.code)
    header, read = _variable_reader(layout)
    if read is REST:
        return _read_rest
    if read is BODY:
        read = _read_body(1)
    return _read_behind(header, read) if header else read


def _read_behind(header: str, read: ReadField) -> ReadField:
    run = Struct(">" + header)
    unpack_from, size = run.unpack_from, run.size

    def read_behind(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        start = offset + size
        if start > len(data):
            return start
        values += unpack_from(data, offset)
        return read(data, start, values, depth)

    return read_behind


def _read_fixed(code: str) -> ReadField:
    run = Struct(">" + code)
    unpack_from, size = run.unpack_from, run.size

    def read_fixed(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        stop = offset + size
        if stop <= len(data):
            values += unpack_from(data, offset)
        return stop

    return read_fixed


def _read_rest(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
    values.append(data[offset:])
    return len(data)


def _read_body(unit: int) -> ReadField:
    def read_body(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        stop: int = offset + values[-1] * unit
        values[-1] = data[offset:stop]
        return stop

    return read_body


def _read_variant(types: Types) -> ReadField:
    def read_variant(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        if values[-1] not in types:
            return REFUSED
        size, meanings = types[values[-1]]
        stop = offset + size
        if stop <= len(data):
            values[-1] = meanings[data[offset:stop]]
        return stop

    return read_variant


def _read_converted(layout: Converted) -> ReadField:
    read, decode = field_reader(layout.layout), layout.decode

    def read_converted(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        stop = read(data, offset, values, depth)
        if 0 <= stop <= len(data):
            values[-1] = decode(values[-1])
        return stop

    return read_converted


def _read_maybe(item: Layout) -> ReadField:
    read = field_reader(item)

    def read_maybe(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        present = values[-1]
        if present == 1:
            values.pop()
            return read(data, offset, values, depth)
        if present:
            return REFUSED
        values[-1] = None
        return offset

    return read_maybe


def _read_group(items: Sequence[Layout]) -> ReadField:
    readers = [field_reader(item) for item in items]

    def read_group(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        group: list[Any] = []
        for read in readers:
            offset = read(data, offset, group, depth)
            if offset < 0:
                values.append(group[-1])
                return REFUSED
            if offset > len(data):
                return offset
        values.append(tuple(group))
        return offset

    return read_group


def _read_nested(layout: Nested) -> ReadField:
    decoders, payload_class = layout.formats.decoders, layout.payload_class

    def read_nested(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        stop: int = offset + values[-1]
        if stop > len(data):
            return stop
        read, build = decoders[payload_class]  # only now: a class may contain itself
        found, end = read(data[offset:stop], 0, _deeper(depth))
        if end < 0:
            values[-1] = found
            return REFUSED
        values[-1] = build(*found)
        return stop

    return read_nested


def _deeper(depth: int) -> int:
    if depth >= MAX_NESTING:
        raise PackError(f"payloads are nested deeper than {MAX_NESTING} levels")
    return 1 if depth == WHOLE else depth + 1


def _read_many(item: Layout) -> ReadField:
    if isinstance(item, Nested):
        return _read_payloads(item)
    body, decode = (item.layout, item.decode) if isinstance(item, Converted) else (item, None)
    if isinstance(body, Body):
        return _read_bodies(body, decode)
    read = field_reader(item)

    def read_many(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        items: list[Any] = []
        end = len(data)
        for _ in range(values[-1]):
            stop = read(data, offset, items, depth)
            if stop > end:
                return stop
            if stop <= offset:  # an item without a byte would cost its sender nothing
                values[-1] = items[-1] if stop < 0 else ValueError("an item without a byte")
                return REFUSED
            offset = stop
        values[-1] = items
        return offset

    return read_many


def _read_payloads(item: Nested) -> ReadField:
    decoders, payload_class, read_length = item.formats.decoders, item.payload_class, _LENGTH.unpack_from

    def read_payloads(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        count: int = values[-1]
        items: list[Any] = []
        values[-1] = items
        if not count:
            return offset
        read, build = decoders[payload_class]
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

    return read_payloads


def _read_bodies(body: Body, decode: Callable[[Any], Any] | None) -> ReadField:
    header, unit = Struct(">" + body.length), body.unit
    read_length, size = header.unpack_from, header.size

    def read_bodies(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        items: list[Any] = []
        end = len(data)
        for _ in range(values[-1]):
            start = offset + size
            if start > end:
                return start
            (length,) = read_length(data, offset)
            offset = start + length * unit
            if offset > end:
                return offset
            items.append(data[start:offset])
        values[-1] = items if decode is None else [decode(item) for item in items]
        return offset

    return read_bodies


def _read_by_packer(formats: Formats, entry: Any, label: Label) -> ReadField:
    """Read a field by its packer, which sees all values so far and may append any number."""
    labels = ((0, label),)
    try:
        field = formats.field(entry)
    except KeyError as error:
        missing = error

        def refuse(*_: Any) -> int:
            raise PackError(str(UnpackError(labels, 0, missing))) from missing  # a mistake of the program

        return refuse
    packer, arguments = field.packer, field.arguments

    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        try:
            stop: int = packer.unpack(data, offset, values, *arguments)
            if stop <= len(data):
                return stop
            refusal = UnpackError(labels, len(data) - offset, None)
        except Exception as error:  # noqa: BLE001 - returned to the caller
            refusal = UnpackError(labels, len(data) - offset, error)
            refusal.__cause__ = error
        values.append(refusal)
        return REFUSED

    return read


def _read_by_plan(plan: ReadPlan) -> ReadField:
    read = plan.reader()

    def read_on(data: bytes, offset: int, values: list[Any], depth: int) -> int:
        found, offset = read(data, offset, depth)
        if offset < 0:
            values.append(found)
        else:
            values += found
        return offset

    return read_on


def compile_decoder(formats: Formats, what: type[Any] | tuple[type[Any], ...]) -> Decoder:
    """How to read one payload of a class, or a list with one payload of each of several classes."""
    return _compile_list(formats, what) if isinstance(what, tuple) else _compile_one(formats, what)


def _layout_of(formats: Formats, entry: Any) -> Layout | None:
    try:
        return formats.field(entry).reading
    except KeyError:  # reported when it is needed
        return None


def _compile_one(formats: Formats, payload_class: type[Any]) -> Decoder:
    description = formats.describe(payload_class)
    steps: list[ReadField] = []
    plan = ReadPlan()
    for index, entry in enumerate(description.entries):
        layout, label = _layout_of(formats, entry), description.label(index)
        if layout is not None:
            plan.add(layout, label)
        else:
            steps += [_read_by_plan(plan), _read_by_packer(formats, entry, label)]
            plan = ReadPlan()
    if not steps:
        return plan.reader(), description.build
    steps.append(_read_by_plan(plan))

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        for step in steps:
            offset = step(data, offset, values, depth)
            if offset < 0:
                return values[-1], REFUSED
        return values, offset

    return read, description.build


def _compile_list(formats: Formats, classes: tuple[type[Any], ...]) -> Decoder:
    """The fields of all classes are read as if they were those of one class."""
    plan = ReadPlan()
    parts: list[tuple[Build, int, int]] = []
    for payload_class in classes:
        description = formats.describe(payload_class)
        first = plan.values
        for index, entry in enumerate(description.entries):
            layout = _layout_of(formats, entry)
            if layout is None:
                return _compile_chain(formats, classes)
            plan.add(layout, description.label(index))
        parts.append((description.build, first, plan.values))

    def build_all(*values: Any) -> list[Any]:
        return [build(*values[first:stop]) for build, first, stop in parts]

    return plan.reader(), build_all


def _compile_chain(formats: Formats, classes: tuple[type[Any], ...]) -> Decoder:
    """Each class by itself, because packers see the values of their own class only."""
    decoders = formats.decoders

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
