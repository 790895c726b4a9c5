"""The shapes of functions that read payloads, from one run of fixed fields to everything that there is.

A decoder reads at an offset, and either gives a whole payload and the offset behind it, or raises :class:`PackError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .packers import PackError

__all__ = [
    "BODY",
    "MESSAGE_LIMIT",
    "REST",
    "Decoder",
    "Finish",
    "Labels",
    "Segment",
    "Tail",
    "cut_off",
    "decode_any",
    "decode_bodies",
    "decode_body",
    "decode_run",
    "failure",
]

MESSAGE_LIMIT = 512
"""Characters of one error message."""

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


def failure(label: str, error: Exception) -> PackError:
    """An error that names the format of the field, inside of payloads with the formats of those around it."""
    text = str(error)
    inside = text.startswith(_PREFIX)
    cause = f" > {text[len(_PREFIX) :]}" if inside else f"\n{type(error).__name__}: {text}"
    return PackError(f"{_PREFIX}{label}{cause}"[:MESSAGE_LIMIT])


def cut_off(missing: int) -> PackError:
    """An error about data that are shorter than they say."""
    return PackError(f"the data end {missing} bytes too early")


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
        try:
            values = unpack_from(data, offset)
        except Exception as error:
            raise failure(_culprit(labels, len(data) - offset), error) from error
        return finish(*values), offset + size

    return decode


def decode_body(segment: Segment, finish: Finish) -> Decoder:
    """Fixed fields, maybe none, and one body."""
    unpack_from, size, _, labels = segment
    assert unpack_from is not None
    if len(labels) == 1:
        return _decode_only_body(unpack_from, size, labels, finish)

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        try:
            values = [*unpack_from(data, offset)]
            start = offset + size
            stop = start + values[-1]
            if stop > len(data):
                raise cut_off(stop - len(data))
            values[-1] = data[start:stop]
        except Exception as error:
            raise failure(_culprit(labels, len(data) - offset), error) from error
        return finish(*values), stop

    return decode


def _decode_only_body(unpack_from: UnpackFrom, size: int, labels: Labels, finish: Finish) -> Decoder:
    """One body and nothing else: the public key in front of every signed message is that."""

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        try:
            (length,) = unpack_from(data, offset)
            start = offset + size
            stop = start + length
            if stop > len(data):
                raise cut_off(stop - len(data))
        except Exception as error:
            raise failure(_culprit(labels, len(data) - offset), error) from error
        return finish(data[start:stop]), stop

    return decode


def decode_bodies(segments: list[Segment], finish: Finish) -> Decoder:
    """Bodies with fixed fields in front of, between and behind them."""
    bodies = [(segment.unpack_from, segment.size, segment.labels) for segment in segments if segment.tail is BODY]
    last, last_size, last_tail, last_labels = segments[-1]
    if last_tail is BODY:
        last = None

    def decode(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
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
                raise cut_off(offset - len(data))
        except Exception as error:
            raise failure(_culprit(labels, len(data) - offset), error) from error
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

    def decode(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        labels: Labels = ()
        end = len(data)
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
                    raise cut_off(stop - end)
                offset = stop
            for index, convert, labels in maps:  # noqa: B007 - the labels are for the error
                values[index] = convert(values[index])
            for first, behind, reshape in reshapes:
                values[first:behind] = reshape(values[first:behind])
        except Exception as error:
            raise failure(_culprit(labels, end - offset), error) from error
        return finish(*values), offset

    return decode
