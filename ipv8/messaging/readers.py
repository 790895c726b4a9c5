"""The shapes of functions that read payloads, from one run of fixed fields to everything that there is.

A reader starts at an offset, and gives the values of a whole payload and the offset behind it, or the
:class:`UnpackError` that the data deserve and :data:`REFUSED`. It does not raise that error: to raise and to catch one
takes longer than to read a payload, and nobody should make us do that by sending nonsense. Nor does it make an object
of the values: its caller does, who may have found by then that the data are not worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .packers import ADDRESS_TYPE_IPV4, ADDRESS_TYPE_IPV6, IPV4_ADDRESSES, IPV6_ADDRESSES, PackError

__all__ = [
    "BODY",
    "HEX_LIMIT",
    "IP_ADDRESS",
    "IP_ADDRESSES",
    "MESSAGE_LIMIT",
    "REFUSED",
    "REST",
    "WHOLE",
    "Build",
    "Decoder",
    "Labels",
    "Read",
    "Refusal",
    "Segment",
    "SurplusError",
    "Tail",
    "UnpackError",
    "read_any",
    "read_bodies",
    "read_body",
    "read_run",
]

MESSAGE_LIMIT = 512
"""Characters of one error message."""

HEX_LIMIT = 64
"""Bytes that an error message shows."""

_PREFIX = "Could not unpack item: "

WHOLE = -1
"""In place of a depth: the caller refuses data that are longer than the payload. A reader may spare the values then."""

Read = Callable[[bytes, int, int], tuple[Any, int]]
"""``read(data, offset, depth)`` gives a sequence of values and the offset behind them, or an error and ``REFUSED``.

The depth is how many payloads the one that is read stands in.
"""

Build = Callable[..., Any]
"""Takes all values as arguments and makes of them what was to be read."""

Decoder = tuple[Read, Build]
"""How the payloads of one class are read, and how they are made of what was read."""

Tail = Callable[[bytes, int, list[Any], int], int]
"""``tail(data, offset, values, depth)`` reads a variable field, for which the last of ``values`` may be its length.

It gives the offset behind the field, which lies behind the end of the data where they are cut off, or ``REFUSED`` with
the error in ``values``, as their last one.
"""

REFUSED = -1
"""In place of an offset: what stands in place of a payload is an error."""

UnpackFrom = Callable[[bytes, int], tuple[Any, ...]]
Labels = tuple[tuple[int, str], ...]
"""Where in a run each field ends, and its format; before them the format of the field in front of the run."""

BODY: Any = object()  # a tail: as many bytes as the length says that was just read
REST: Any = object()  # a tail: all bytes that are left
IP_ADDRESS: Any = object()  # a tail: an IP address of the type that was just read

IP_ADDRESSES: dict[int, tuple[int, Mapping[bytes, Any]]] = {
    ADDRESS_TYPE_IPV4: (6, IPV4_ADDRESSES),
    ADDRESS_TYPE_IPV6: (18, IPV6_ADDRESSES),
}
"""For each type of IP address the number of bytes behind the type, and what they mean."""


class Segment(NamedTuple):
    """A run of fixed fields, one variable field, or the former and then the latter."""

    unpack_from: UnpackFrom
    size: int
    tail: Tail | None
    labels: Labels


class Refusal(RuntimeError):  # noqa: N818 - refused data are no error of ours
    """What is wrong with data that their sender should not have sent."""

    #: The drop counter that it belongs to.
    reason = "undecodable"


class UnpackError(PackError, Refusal):
    """Bytes are not what they should be.

    Whoever sends such bytes makes us raise this, and most are only counted: the text is made when it is read. It names
    the format of the field, inside of payloads with the formats of those around it.

    The arguments are the labels of the fields that were being read, how many bytes there were for them, and what went
    wrong: ``None`` where the data end too early, an error, or the number of a type of address that there is not.
    """

    def __str__(self) -> str:
        labels, available, error = self.args
        if error is None:
            cause = f"\nthe data end after {available} bytes"
        elif isinstance(error, UnpackError):
            cause = f" > {str(error)[len(_PREFIX):]}"
        elif isinstance(error, int):
            cause = f"\nthere are no addresses of type {error}"
        else:
            cause = f"\n{type(error).__name__}: {error}"
        return f"{_PREFIX}{_culprit(labels, available)}{cause}"[:MESSAGE_LIMIT]


class SurplusError(UnpackError):
    """The data are longer than the payloads of these classes that were read from them, up to an offset."""

    def __str__(self) -> str:
        classes, data, offset = self.args
        names = [payload_class.__name__ for payload_class in classes]
        if offset > len(data):
            return f"{names}: nothing at offset {offset} of {len(data)} bytes"
        rest = data[offset:offset + HEX_LIMIT].hex() + ("" if len(data) - offset <= HEX_LIMIT else "…")
        return f"{names}: extra data: {len(data) - offset} of {len(data)} bytes: {rest}"


def _culprit(labels: Labels, available: int) -> str:
    """Format of the first field that does not fit into ``available`` bytes, else of the last field."""
    for end, label in labels:
        if end > available:
            return label
    return labels[-1][1]


def _refusal(labels: Labels, available: int, error: Exception) -> UnpackError:
    """What to say about fields that made reading raise ``error``."""
    refusal = UnpackError(labels, available, error)
    refusal.__cause__ = error
    return refusal


def read_run(segment: Segment) -> Read:
    """One run of fixed fields and nothing else."""
    unpack_from, size, _, labels = segment

    def read(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        if len(data) - offset < size:
            return UnpackError(labels, len(data) - offset, None), REFUSED
        try:
            values = unpack_from(data, offset)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return _refusal(labels, len(data) - offset, error), REFUSED
        return values, offset + size

    return read


def read_body(segment: Segment) -> Read:
    """Fixed fields, maybe none, and one body."""
    unpack_from, size, _, labels = segment

    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        end = len(data)
        start = offset + size
        if start > end:
            return UnpackError(labels, end - offset, None), REFUSED
        try:
            values = [*unpack_from(data, offset)]
        except Exception as error:  # noqa: BLE001 - handed to the caller
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


def read_bodies(segments: list[Segment]) -> Read:
    """Bodies with fixed fields in front of, between and behind them."""
    bodies = [(segment.unpack_from, segment.size, segment.labels) for segment in segments if segment.tail is BODY]
    last, last_size, last_tail, last_labels = segments[-1]
    has_more = last_tail is not BODY

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
                values += last(data, offset)
                offset += last_size
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return _refusal(labels, end - offset, error), REFUSED
        return values, offset

    return read


def read_any(  # noqa: C901 - see the comment on its loop
    segments: list[Segment],
    maps: list[tuple[int, Callable[[Any], Any], Labels]],
    reshapes: list[tuple[int, int, Callable[[list[Any]], Sequence[Any]]]],
) -> Read:
    """Anything: after the reading ``maps`` replace values, and then ``reshapes`` slices of values."""
    body, rest, ip_address, types = BODY, REST, IP_ADDRESS, IP_ADDRESSES
    # Plain tuples are taken apart faster than named ones.
    steps = [(segment.unpack_from, segment.size, segment.tail, segment.labels) for segment in segments]

    # Most fields of most messages come by here: a call for each kind would cost more than what it did.
    def read(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        values: list[Any] = []
        labels: Labels = ()
        end = len(data)
        try:
            for unpack_from, size, tail, labels in steps:
                stop = start = offset + size
                if start > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                if tail is ip_address and data[start - 1] not in types:
                    return UnpackError(labels, end - offset, data[start - 1]), REFUSED
                values += unpack_from(data, offset)
                if tail is body:
                    stop += values[-1]
                    values[-1] = data[start:stop]
                elif tail is ip_address:
                    length, addresses = types[values[-1]]
                    stop += length
                    if stop <= end:
                        values[-1] = addresses[data[start:stop]]
                elif tail is rest:
                    stop = end
                    values.append(data[start:stop])
                elif tail is not None:
                    stop = tail(data, start, values, depth)
                    if stop < 0:
                        return UnpackError(labels, end - offset, values[-1]), REFUSED
                if stop > end:
                    return UnpackError(labels, end - offset, None), REFUSED
                offset = stop
            for index, convert, labels in maps:  # noqa: B007 - the labels are for the error
                values[index] = convert(values[index])
            for first, behind, reshape in reshapes:
                values[first:behind] = reshape(values[first:behind])
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return _refusal(labels, end - offset, error), REFUSED
        return values, offset

    return read
