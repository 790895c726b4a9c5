"""Functions that read the values of a whole payload, from one run of fixed fields to any combination.

A reader does not raise the error for wrong data, but returns it. Raising and catching an error takes longer than
reading a payload, and senders of wrong data must not cause more work than others. A reader does not make the payload
either: the caller does, who may have found a reason to refuse the data before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import Labels, Refusal, SurplusError, UnpackError
from .layouts import REFUSED, WHOLE, ReadField, ReadPayload, Types

__all__ = [
    "BODY",
    "REST",
    "WHOLE",
    "Conversion",
    "Refusal",
    "Segment",
    "SurplusError",
    "read_any",
    "read_bodies",
    "read_body",
    "read_run",
]

BODY: Any = object()
"""In place of a :data:`~.layouts.ReadField`: as many bytes as the last value says."""

REST: Any = object()
"""In place of a :data:`~.layouts.ReadField`: all bytes that are left."""


class Segment(NamedTuple):
    """Neighbouring fields of a fixed size, and a field of a variable size after them; one of both may be missing.

    :param unpack_from: reads the fixed fields, and the header of the variable one.
    :param size: the number of bytes that this reads.
    :param variable: reads the variable field; ``None`` if there is none.
    :param labels: the labels of the fields.
    :param types: the types of a :class:`~.layouts.Variant`, if this is the variable field.
    """

    unpack_from: Callable[[bytes, int], tuple[Any, ...]]
    size: int
    variable: ReadField | None
    labels: Labels
    types: Types | None = None


Conversion = tuple[int, Callable[[Any], Any], Labels]
"""The number of a value, the function that returns what it is replaced by, and the labels of its field."""


def _refusal(labels: Labels, available: int, error: Exception) -> UnpackError:
    """The error for fields that could not be read because of ``error``."""
    refusal = UnpackError(labels, available, error)
    refusal.__cause__ = error
    return refusal


def read_run(segment: Segment) -> ReadPayload:
    """The reader of fixed fields and nothing else."""
    unpack_from, size, labels = segment.unpack_from, segment.size, segment.labels

    def read(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < size:
            return UnpackError(labels, len(data) - offset, None), REFUSED
        try:
            values = unpack_from(data, offset)
        except Exception as error:  # noqa: BLE001 - returned to the caller
            return _refusal(labels, len(data) - offset, error), REFUSED
        return values, offset + size

    return read


def read_body(segment: Segment) -> ReadPayload:
    """The reader of fixed fields, if any, and one body."""
    unpack_from, size, labels = segment.unpack_from, segment.size, segment.labels

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        end = len(data)
        start = offset + size
        if start > end:
            return UnpackError(labels, end - offset, None), REFUSED
        try:
            values = [*unpack_from(data, offset)]
        except Exception as error:  # noqa: BLE001 - returned to the caller
            return _refusal(labels, end - offset, error), REFUSED
        stop = start + values.pop()
        if stop != end:
            if stop > end:
                return UnpackError(labels, end - offset, None), REFUSED
            if depth == WHOLE:
                return (), stop
        values.append(data[start:stop])
        return values, stop

    return read


def read_bodies(segments: list[Segment]) -> ReadPayload:
    """The reader of several bodies with fixed fields before, between and after them."""
    bodies = [(segment.unpack_from, segment.size, segment.labels) for segment in segments if segment.variable is BODY]
    last = segments[-1]
    last_unpack_from, last_size, last_labels = last.unpack_from, last.size, last.labels
    has_more = last.variable is not BODY

    def read(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        end = len(data)
        values: list[Any] = []
        labels: Labels = ()
        try:
            for unpack_from, size, labels in bodies:
                start = offset + size
                if start > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                values += unpack_from(data, offset)
                stop = start + values.pop()
                if stop > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                values.append(data[start:stop])
                offset = stop
            if has_more:
                labels = last_labels
                if offset + last_size > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                values += last_unpack_from(data, offset)
                offset += last_size
        except Exception as error:  # noqa: BLE001 - returned to the caller
            return _refusal(labels, end - offset, error), REFUSED
        return values, offset

    return read


def read_any(  # noqa: C901 - most fields of most messages are read here, and a call for each kind would be slower
    segments: list[Segment],
    conversions: list[Conversion],
    spreads: list[Conversion],
) -> ReadPayload:
    """The reader of any fields.

    :param conversions: which values are replaced after the reading.
    :param spreads: which values are replaced by sequences of values after that. The last one must come first, so that
        none changes the number of the next one.
    """
    body, rest = BODY, REST
    steps = [(segment.unpack_from, segment.size, segment.variable, segment.types, segment.labels)
             for segment in segments]  # plain tuples are unpacked faster than named ones

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        labels: Labels = ()
        end = len(data)
        try:
            for unpack_from, size, variable, types, labels in steps:
                stop = start = offset + size
                if start > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                if types is not None and data[start - 1] not in types:
                    return UnpackError(labels, end - offset, data[start - 1]), REFUSED
                values += unpack_from(data, offset)
                if variable is body:
                    stop += values[-1]
                    values[-1] = data[start:stop]
                elif types is not None:
                    length, meanings = types[values[-1]]
                    stop += length
                    if stop <= end:
                        values[-1] = meanings[data[start:stop]]
                elif variable is rest:
                    stop = end
                    values.append(data[start:stop])
                elif variable is not None:
                    stop = variable(data, start, values, depth)
                    if stop < 0:
                        return UnpackError(labels, end - offset, values[-1]), REFUSED
                if stop > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                offset = stop
            for index, convert, labels in conversions:  # noqa: B007 - the labels are for the error
                values[index] = convert(values[index])
            for index, convert, labels in spreads:  # noqa: B007 - as above
                values[index:index + 1] = convert(values[index])
        except Exception as error:  # noqa: BLE001 - returned to the caller
            return _refusal(labels, end - offset, error), REFUSED
        return values, offset

    return read
