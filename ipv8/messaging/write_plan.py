"""How payloads are written: the layouts of their fields become one function (the counterpart of :mod:`.read_plan`).

A plan serves the payloads whose pack list follows from their formats and values. It takes all values at once.
Neighbouring fields of a fixed size, and the length of a body after them, are written by one call of ``struct``. All
other payloads are written item by item, as ``to_pack_list`` says. So are values that a plan fails on, for an error that
names the item.

Payloads can be nested as deep as readers accept, so what can be packed can be unpacked. Each depth has plans of its
own, so that the depth need not be counted when they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from struct import Struct
from typing import Any, NamedTuple

from .cache import Cache
from .errors import PackError, add_field, names_its_item, pack_error, shown
from .layouts import (
    MAX_NESTING,
    Body,
    Converted,
    Description,
    Fixed,
    Formats,
    Group,
    Layout,
    Many,
    Maybe,
    Nested,
    Own,
    Rest,
    Variant,
    number_of_values,
    values_of_entry,
)

__all__ = ["Encoder", "compile_encoder", "field_writer"]

Encoder = Callable[[Any], bytes]
"""``encode(payload)`` returns the bytes of a payload."""

Encoders = dict[type, Encoder]
"""For each class, the function that writes its payloads. It is made when it is first used."""

WriteField = Callable[[Any], bytes]
"""``write(value)`` returns the bytes of a field."""

_BODY: Any = object()  # in place of a WriteField: the value as it is, after its length
_REST: Any = object()  # in place of a WriteField: the value as it is
_LENGTH = Struct(">H")


class Depth:
    """How a serializer writes payloads that are inside of ``depth`` others."""

    def __init__(self, formats: Formats, depth: int = 0) -> None:
        self.formats = formats
        self.depth = depth

    @cached_property
    def encoders(self) -> Encoders:
        """For each class, the function that writes its payloads at this depth."""
        return Cache((lambda _: _refuse) if self.depth > MAX_NESTING else partial(_compile, self))

    @cached_property
    def _deeper(self) -> Depth:
        return Depth(self.formats, self.depth + 1)

    def inside(self, formats: Formats) -> Encoders:
        """How ``formats`` writes the payloads that are inside of those of this depth."""
        return (self._deeper if formats is self.formats else Depth(formats, self.depth + 1)).encoders

    @cached_property
    def writers(self) -> dict[Any, Callable[..., bytes]]:
        """For each entry of a format list, the function that writes such fields of payloads at this depth."""
        return Cache(self._writer)

    def _writer(self, entry: Any) -> Callable[..., bytes]:
        field = self.formats.field(entry)
        if field.writing is not None and (field.packer is None or _has_payloads(field.writing)):
            return field_writer(field.writing, self.inside)
        write: Callable[..., bytes] = field.packer.pack
        return write


def _refuse(_payload: Any) -> bytes:
    raise PackError(f"payloads are nested deeper than {MAX_NESTING} levels")


def _has_payloads(layout: Layout) -> bool:
    if isinstance(layout, Group):
        return any(map(_has_payloads, layout.items))
    if isinstance(layout, (Many, Maybe)):
        return _has_payloads(layout.item)
    return _has_payloads(layout.layout) if isinstance(layout, Converted) else isinstance(layout, Nested)


def alone(formats: Formats) -> Encoders:
    """How ``formats`` writes the payloads that are inside of a field which is written by itself."""
    return Depth(formats, 1).encoders


def field_writer(layout: Layout, inside: Callable[[Formats], Encoders] = alone) -> WriteField:
    """The function that writes one field of a layout, its header included.

    :param inside: returns for a serializer the functions that write the payloads inside of the field.
    """
    if isinstance(layout, Fixed):
        return Struct(">" + layout.code).pack
    if isinstance(layout, Body):
        return _write_body(layout)
    if isinstance(layout, Rest):
        return _write_rest
    if isinstance(layout, Variant):
        return layout.encode
    if isinstance(layout, Own):
        return layout.write
    if isinstance(layout, Converted):
        return _write_converted(field_writer(layout.layout, inside), layout.encode)
    if isinstance(layout, Nested):
        return partial(_write_nested, inside(layout.formats))
    if isinstance(layout, Maybe):
        return _write_maybe(field_writer(layout.item, inside))
    if isinstance(layout, Group):
        return _write_group([field_writer(item, inside) for item in layout.items])
    count = Struct(">" + layout.number)
    if isinstance(layout.item, Nested):
        return _write_payloads(inside(layout.item.formats), count)
    return _write_many(field_writer(layout.item, inside), count)


def _write_rest(value: Any) -> Any:
    return value


def _write_body(layout: Body) -> WriteField:
    pack_length, unit = Struct(">" + layout.length).pack, layout.unit

    def write(value: Any) -> bytes:
        body: bytes = pack_length(len(value) // unit) + value
        return body

    return write


def _write_converted(write_field: WriteField, encode: Callable[[Any], Any]) -> WriteField:
    def write(value: Any) -> bytes:
        return write_field(encode(value))

    return write


def _write_maybe(write_item: WriteField) -> WriteField:
    def write(value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + write_item(value)

    return write


def _write_group(writers: Sequence[WriteField]) -> WriteField:
    def write(values: Sequence[Any]) -> bytes:
        if len(values) != len(writers):
            raise ValueError(f"there must be {len(writers)} values, not {len(values)}")
        return b"".join([write_item(value) for write_item, value in zip(writers, values, strict=True)])

    return write


def _write_many(write_item: WriteField, count: Struct) -> WriteField:
    pack_count = count.pack

    def write(values: Sequence[Any]) -> bytes:
        return pack_count(len(values)) + b"".join([write_item(value) for value in values])

    return write


def _write_nested(encoders: Encoders, payload: Any) -> bytes:
    try:
        packed = encoders[type(payload)](payload)
    except (PackError, RecursionError) as error:
        if names_its_item(error):
            raise
        raise pack_error(f"('payload', {type(payload).__name__})", error) from error
    return _LENGTH.pack(len(packed)) + packed


def _write_payloads(encoders: Encoders, count: Struct) -> WriteField:
    pack_length = _LENGTH.pack

    def write(payloads: Sequence[Any]) -> bytes:
        parts = [count.pack(len(payloads))]
        for payload in payloads:
            try:
                packed = encoders[type(payload)](payload)
            except (PackError, RecursionError) as error:
                place = f"[{len(parts) // 2}]"
                if names_its_item(error):
                    add_field(error, place)
                    raise
                raise pack_error(f"('payload', {type(payload).__name__})", error, place) from error
            parts += (pack_length(len(packed)), packed)
        return b"".join(parts)

    return write


class Segment(NamedTuple):
    """Neighbouring fields of a fixed size, and a field of a variable size after them; one of both may be missing.

    :param pack: packs the fixed fields, and the length of a body.
    :param span: which values are those of the fixed fields.
    :param position: which value is that of the variable field.
    :param variable: writes the variable field; ``None`` if there is none.
    :param field: the variable field, for errors.
    """

    pack: Callable[..., bytes] | None
    span: slice
    position: int
    variable: WriteField | None
    field: str


class WritePlan:
    """Collects the fields of a payload, and gives the function that writes them."""

    def __init__(self, depth: Depth) -> None:
        self.depth = depth
        #: The number of values of the fields so far.
        self.values = 0
        self._segments: list[Segment] = []
        self._conversions: list[tuple[int, Callable[[Any], Any]]] = []
        self._joins: list[tuple[slice, Callable[[Any], Any]]] = []
        self._fields = 0  # each takes one value after the joins
        self._first = 0
        self._run = ">"

    def add(self, entry: Any, name: str) -> None:
        """Add the field of an entry; ``name`` is for errors. ``LookupError`` if it must be written item by item."""
        field = self.depth.formats.field(entry)
        expected = values_of_entry(entry)
        if field.writing is not None and number_of_values(field.writing) == expected:
            self._add(field.writing, name)
        elif expected == 1:
            self._variable(field.packer.pack, name)
        else:
            raise LookupError("the packer takes several values")

    def _add(self, layout: Layout, name: str) -> None:
        if isinstance(layout, Converted):
            if layout.values == 1:
                self._conversions.append((self.values, layout.encode))
            else:
                self._joins.append((slice(self.values, self.values + layout.values), layout.encode))
                self.values += layout.values - 1
            self._add(layout.layout, name)
        elif isinstance(layout, Fixed):
            self._run += layout.code
            self._fields += 1
            self.values += 1
        elif isinstance(layout, Body) and layout.unit == 1:
            self._variable(_BODY, name, layout.length)
        else:
            self._variable(_REST if isinstance(layout, Rest) else field_writer(layout, self.depth.inside), name)

    def _variable(self, write: WriteField, name: str, header: str = "") -> None:
        self._run += header
        self._close(write, name)
        self._fields += 1
        self._first = self._fields
        self.values += 1

    def _close(self, write: WriteField | None, name: str = "") -> None:
        """End the segment, with a variable field or without one."""
        pack = Struct(self._run).pack if len(self._run) > 1 else None
        if pack is not None or write is not None:
            self._segments.append(Segment(pack, slice(self._first, self._fields), self._fields, write, name))
        self._run = ">"

    def encoder(self, values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
        """The function that writes a payload. It leaves values that it fails on to ``itemwise``."""
        self._close(None)
        if not self._conversions and not self._joins:
            if not self._segments:
                return lambda _: b""
            first = self._segments[0]
            if len(self._segments) == 1 and first.pack is not None:
                if first.variable is None:
                    return _encode_run(first.pack, values_of, itemwise)
                if first.variable is _BODY:
                    return _encode_body(first.pack, values_of, itemwise)
        return _encode_any(self._segments, self._conversions, self._joins[::-1], values_of, itemwise)


def _encode_run(pack: Callable[..., bytes], values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
    """Fixed fields and nothing else."""
    def encode(payload: Any) -> bytes:
        try:
            return pack(*values_of(payload))
        except Exception:  # noqa: BLE001 - raised again with the name of the item
            return itemwise(payload)

    return encode


def _encode_body(pack: Callable[..., bytes], values_of: Callable[[Any], Sequence[Any]], itemwise: Encoder) -> Encoder:
    """Fixed fields, if any, and one body."""
    def encode(payload: Any) -> bytes:
        try:
            values = [*values_of(payload)]
            body: bytes = values[-1]
            values[-1] = len(body)
            return pack(*values) + body
        except Exception:  # noqa: BLE001 - raised again with the name of the item
            return itemwise(payload)

    return encode


def _encode_any(
    segments: list[Segment],
    conversions: list[tuple[int, Callable[[Any], Any]]],
    joins: list[tuple[slice, Callable[[Any], Any]]],
    values_of: Callable[[Any], Sequence[Any]],
    itemwise: Encoder,
) -> Encoder:
    is_body, is_rest, converts = _BODY, _REST, bool(conversions or joins)
    steps = [(segment.pack, segment.span, segment.position, segment.variable, segment.field)
             for segment in segments]  # plain tuples are unpacked faster than named ones

    def encode(payload: Any) -> bytes:
        field = ""
        try:
            values = values_of(payload)
            if converts:
                values = [*values]
                for index, convert in conversions:
                    values[index] = convert(values[index])
                for span, join in joins:
                    values[span] = [join(tuple(values[span]))]
            parts: list[bytes] = []
            for pack, span, index, variable, field in steps:  # noqa: B007 - the field is for the error
                if variable is is_body:
                    body = values[index]
                    parts.append(pack(*values[span], len(body)))  # type: ignore[misc]  # a body has its length in front
                    parts.append(body)
                    continue
                if pack is not None:
                    parts.append(pack(*values[span]))
                if variable is not None:
                    parts.append(values[index] if variable is is_rest else variable(values[index]))
            return b"".join(parts)
        except Exception as error:
            if names_its_item(error):
                add_field(error, field)
                raise
            return itemwise(payload)  # raises it again with the name of the item

    return encode


def _itemwise(depth: Depth, description: Description) -> Encoder:
    """Write payloads item by item."""
    writers, items_of, known = depth.writers, description.items, depth.formats

    def encode(payload: Any) -> bytes:
        packed = bytearray()
        items = items_of(payload)
        index = 0
        item: tuple[Any, ...] = ()
        try:
            for index, item in enumerate(items):  # noqa: B007 - for the error
                packed += writers[item[0]](*item[1:])
        except Exception as error:
            field = description.field(index)
            if names_its_item(error):
                add_field(error, field)
                raise
            advice = _advice(known, item[0]) if item else ""
            raise pack_error(shown(repr, item), error, field, advice) from error
        return bytes(packed)

    return encode


def _advice(formats: Formats, entry: Any) -> str:
    try:
        formats.field(entry)
    except KeyError:
        return " is no format of this serializer: add it with add_packer"
    except Exception:  # noqa: BLE001 - an entry of a wrong type
        return ""
    return ""


def compile_encoder(formats: Formats, payload_class: type[Any]) -> Encoder:
    """How to write the payloads of one class that are not inside of others."""
    return _compile(Depth(formats), payload_class)


def _compile(depth: Depth, payload_class: type[Any]) -> Encoder:
    description = depth.formats.describe(payload_class)
    itemwise = _itemwise(depth, description)
    if description.values is None:
        return itemwise
    plan = WritePlan(depth)
    try:
        for index, entry in enumerate(description.entries):
            plan.add(entry, description.field(index))
    except LookupError:
        return itemwise
    if description.names is not None and len(description.names) != plan.values:
        return itemwise
    return plan.encoder(description.values, itemwise)
