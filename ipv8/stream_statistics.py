"""What went through streams, counted."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["StreamCounters", "StreamStatistics"]


class StreamCounters:
    """What went through the streams of connections that count together, from the beginning."""

    __slots__ = ("bytes_down", "bytes_up", "packets_down", "packets_up", "stalls")

    def __init__(self) -> None:
        #: Packets of QUIC, with those that were sent again.
        self.packets_up = self.packets_down = 0
        #: Bytes that were written, and bytes that arrived in order.
        self.bytes_up = self.bytes_down = 0
        #: How often a writer waited, because too much of what it wrote was not read at the other end.
        self.stalls = 0


class StreamStatistics(NamedTuple):
    """The streams of a node.

    The QUIC libraries do not tell how many packets were lost.

    :param connections: connections that are open; there is one for each session with streams.
    :param streams: streams that are open.
    :param opened: streams that were opened here.
    :param accepted: streams that others have opened and that a handler has served.
    :param refused: streams that others have opened and that no handler has served.
    :param packets_up: QUIC packets that were sent, with those that were sent again.
    :param packets_down: QUIC packets that were received.
    :param bytes_up: bytes that were written to streams.
    :param bytes_down: bytes that arrived in order in streams.
    :param stalls: how often a writer waited, because too much of what it wrote was not read at the other end.
    :param waiting_here: bytes that have arrived and were not read.
    :param waiting_there: bytes that were written and not read at the other end.
    """

    connections: int
    streams: int
    opened: int
    accepted: int
    refused: int
    packets_up: int
    packets_down: int
    bytes_up: int
    bytes_down: int
    stalls: int
    waiting_here: int
    waiting_there: int
