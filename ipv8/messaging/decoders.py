"""The shapes of functions that read payloads, from one run of fixed fields to everything that there is.

A decoder reads at an offset, and either gives a whole payload and the offset behind it, or raises :class:`PackError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .packers import PackError

__all__ = [
    "BODY",
    "HEX_LIMIT",
    "MESSAGE_LIMIT",
    "REST",
    "CutOffError",
    "Decoder",
    "Finish",
    "Labels",
    "Segment",
    "SurplusError",
    "Tail",
    "UnpackError",
    "decode_any",
    "decode_bodies",
    "decode_body",
    "decode_run",
]

MESSAGE_LIMIT = 512
"""Characters of one error message."""

HEX_LIMIT = 64
"""Bytes that an error message shows."""

_PREFIX = "Could not unpack item: "

Finish = Callable[..., Any]
"""Takes all values as arguments and makes of them what was to be read."""

Decoder = Callable[[bytes, int, int], tuple[Any, int]]
"""``decode(data, offset, depth)`` gives what the finish made, and the offset behind it."""

Tail = Callable[[bytes, int, list[Any], int], int]
"""``tail(data, offset, values, depth)`` reads a variable field, for which the last of ``values`` may be its length."""

UnpackFrom = Callable[[bytes, int], tuple[Any, ...]]
Labels = tuple[tuple[int, str], ...]
"""Where in a run each field ends, and its format; before them the format of the field in front of the run."""

BODY: Any = object()  # a tail: as many bytes as the length says that was just read
REST: Any = object()  # a tail: all bytes that are left


class Segment(NamedTuple):
    """A run of fixed fields, one variable field, or the former and then the latter."""

    unpack_from: UnpackFrom | None
    size: int
    tail: Tail | None
    labels: Labels


class UnpackError(PackError):
    """Bytes are not what they should be.

    Whoever sends such bytes makes us raise this, and most are only counted: the text is made when it is read. It names
    the format of the field, inside of payloads with the formats of those around it. ``reason`` is the name of the drop
    counter that it belongs to.
    """

    reason = "undecodable"

    def __str__(self) -> str:
        label, error = self.args
        inside = type(error) is UnpackError
        cause = f" > {str(error)[len(_PREFIX):]}" if inside else f"\n{type(error).__name__}: {error}"
        return f"{_PREFIX}{label}{cause}"[:MESSAGE_LIMIT]


class CutOffError(PackError):
    """The data are shorter than they say, by so many bytes."""

    def __str__(self) -> str:
        return f"the data end {self.args[0]} bytes too early"


class SurplusError(UnpackError):
    """The data are longer than the payloads of these classes that were read from them, up to an offset."""

    def __str__(self) -> str:
        classes, data, offset = self.args
        names = [payload_class.__name__ for payload_class in classes]
        if offset > len(data):
            return f"{names}: nothing at offset {offset} of {len(data)} bytes"
        rest = data[offset:offset + HEX_LIMIT].hex() + ("" if len(data) - offset <= HEX_LIMIT else "…")
        return f"{names}: extra data: {len(data) - offset} of {len(data)} bytes: {rest}"


def _too_short(labels: Labels, available: int) -> UnpackError:
    """The error about data that do not even hold the first fixed fields: no parsing need fail to see that."""
    return UnpackError(_culprit(labels, available), CutOffError(labels[-1][0] - available))


def _culprit(labels: Labels, available: int) -> str:
    """Format of the first field that does not fit into ``available`` bytes, else of the last field."""
    for end, label in labels:
        if end > available:
            return label
    return labels[-1][1]


def decode_run(segment: Segment, finish: Finish) -> Decoder:
    """One run of fixed fields and nothing else."""
    unpack_from, size, _, labels = segment
    assert unpack_from is not None

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < size:
            raise _too_short(labels, len(data) - offset)
        try:
            values = unpack_from(data, offset)
        except Exception as error:
            raise UnpackError(_culprit(labels, len(data) - offset), error) from error
        return finish(*values), offset + size

    return decode


def decode_body(segment: Segment, finish: Finish) -> Decoder:
    """Fixed fields, maybe none, and one body."""
    unpack_from, size, _, labels = segment
    assert unpack_from is not None
    if len(labels) == 1:
        return _decode_only_body(unpack_from, size, labels, finish)

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < size:
            raise _too_short(labels, len(data) - offset)
        try:
            values = [*unpack_from(data, offset)]
            start = offset + size
            stop = start + values[-1]
            if stop > len(data):
                raise CutOffError(stop - len(data))
            values[-1] = data[start:stop]
        except Exception as error:
            raise UnpackError(_culprit(labels, len(data) - offset), error) from error
        return finish(*values), stop

    return decode


def _decode_only_body(unpack_from: UnpackFrom, size: int, labels: Labels, finish: Finish) -> Decoder:
    """One body and nothing else: the public key in front of every signed message is that."""

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < size:
            raise _too_short(labels, len(data) - offset)
        try:
            (length,) = unpack_from(data, offset)
            start = offset + size
            stop = start + length
            if stop > len(data):
                raise CutOffError(stop - len(data))
        except Exception as error:
            raise UnpackError(_culprit(labels, len(data) - offset), error) from error
        return finish(data[start:stop]), stop

    return decode


def decode_bodies(segments: list[Segment], finish: Finish) -> Decoder:
    """Bodies with fixed fields in front of, between and behind them."""
    bodies = [(segment.unpack_from, segment.size, segment.labels) for segment in segments if segment.tail is BODY]
    last, last_size, last_tail, last_labels = segments[-1]
    if last_tail is BODY:
        last = None

    _, minimum, _, first_labels = segments[0]

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < minimum:
            raise _too_short(first_labels, len(data) - offset)
        values: list[Any] = []
        labels: Labels = ()
        try:
            # A body that is cut off takes the offset beyond the end, where nothing else can be read.
            for unpack_from, size, labels in bodies:  # noqa: B007 - the labels are for the error
                values += unpack_from(data, offset)  # type: ignore[misc]  # a body has its length in front
                start = offset + size
                offset = start + values[-1]
                values[-1] = data[start:offset]
            if last is not None:
                labels = last_labels
                values += last(data, offset)
                offset += last_size
            elif offset > len(data):
                labels = labels[-1:]
                raise CutOffError(offset - len(data))
        except Exception as error:
            raise UnpackError(_culprit(labels, len(data) - offset), error) from error
        return finish(*values), offset

    return decode


def decode_any(
    segments: list[Segment],
    maps: list[tuple[int, Callable[[Any], Any], Labels]],
    reshapes: list[tuple[int, int, Callable[[list[Any]], Sequence[Any]]]],
    finish: Finish,
) -> Decoder:
    """Anything: after the reading ``maps`` replace values, and then ``reshapes`` slices of values."""
    body, rest = BODY, REST

    minimum, first_labels = (segments[0].size, segments[0].labels) if segments else (0, ())

    def decode(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        labels: Labels = ()
        end = len(data)
        if end - offset < minimum:
            raise _too_short(first_labels, end - offset)
        try:
            for unpack_from, size, tail, labels in segments:  # noqa: B007 - the labels are for the error
                if unpack_from is not None:
                    values += unpack_from(data, offset)
                stop = start = offset + size
                if tail is body:
                    stop += values[-1]
                    values[-1] = data[start:stop]
                elif tail is rest:
                    stop = max(start, end)
                    values.append(data[start:stop])
                elif tail is not None:
                    stop = tail(data, start, values, depth)
                if stop > end:
                    raise CutOffError(stop - end)
                offset = stop
            for index, convert, labels in maps:  # noqa: B007 - the labels are for the error
                values[index] = convert(values[index])
            for first, behind, reshape in reshapes:
                values[first:behind] = reshape(values[first:behind])
        except Exception as error:
            raise UnpackError(_culprit(labels, end - offset), error) from error
        return finish(*values), offset

    return decode
