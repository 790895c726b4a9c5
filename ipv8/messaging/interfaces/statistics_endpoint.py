"""Counts the traffic of overlays per message id (doc/endpoints.md)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ... import clock
from .endpoint import Endpoint, EndpointListener
from .network_stats import NetworkStat
from .wrapping import WrappingEndpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..address import Address

__all__ = ["IDS_DEPRECATED", "IDS_INTRODUCTION", "IDS_PUNCTURE", "StatisticsEndpoint"]

IDS_INTRODUCTION = [245, 246]
IDS_PUNCTURE = [249, 250]
IDS_DEPRECATED = [*range(235, 245), 247, 248, *range(251, 256)]

_ID_AT = 22
"""Where the message id is: behind the prefix."""


class StatisticsEndpoint(WrappingEndpoint, EndpointListener):  # type: ignore[misc]  # both have drops, as others assign it
    """Wraps another endpoint, and counts what the overlays for which it is enabled send and receive.

    :param endpoint: the endpoint that does the work; attributes that are not here are taken from it.
    """

    IDS_INTRODUCTION = IDS_INTRODUCTION
    IDS_PUNCTURE = IDS_PUNCTURE
    IDS_DEPRECATED = IDS_DEPRECATED

    observes_only = True

    def __init__(self, endpoint: Endpoint) -> None:
        WrappingEndpoint.__init__(self, endpoint)
        EndpointListener.__init__(self, endpoint)
        self._logger = logging.getLogger(type(self).__name__)
        self.statistics: dict[bytes, dict[int, NetworkStat]] = {}
        endpoint.add_listener(self)

    # Counting

    def send(self, socket_address: Address, packet: bytes, *args: Any) -> None:
        """Send by the other endpoint, and count; takes what its ``send`` takes."""
        self.endpoint.send(socket_address, packet, *args)
        self._count_sent(packet)

    def send_many(self, socket_address: Address, packets: Sequence[bytes]) -> None:
        """Send several packets by the other endpoint, and count them."""
        self.endpoint.send_many(socket_address, packets)
        for packet in packets:
            self._count_sent(packet)

    def _count_sent(self, packet: bytes) -> None:
        stats = self.statistics.get(packet[:_ID_AT])
        if stats is not None and len(packet) > _ID_AT:
            _stat(stats, packet[_ID_AT]).add_sent_stat(clock.time(), len(packet))

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Count a received packet."""
        data = packet[1]
        stats = self.statistics.get(data[:_ID_AT])
        if stats is not None and len(data) > _ID_AT:
            _stat(stats, data[_ID_AT]).add_received_stat(clock.time(), len(data))

    def count_inside(self, prefix: bytes, identifier: int, num_bytes: int, is_sent: bool) -> None:
        """Count a message that travels in an encrypted session, if the statistics of its overlay are enabled."""
        stats = self.statistics.get(prefix)
        if stats is not None:
            stat = _stat(stats, identifier)
            (stat.add_sent_stat if is_sent else stat.add_received_stat)(clock.time(), num_bytes)

    def enable_community_statistics(self, community_prefix: bytes, enabled: bool) -> None:
        """Begin to count the traffic of an overlay, or stop and forget what was counted."""
        if enabled:
            self.statistics.setdefault(community_prefix, {})
        else:
            self.statistics.pop(community_prefix, None)

    def add_sent_stat(self, prefix: bytes, identifier: int, num_bytes: int, timestamp: float | None = None) -> None:
        """Count a sent packet by hand, whether the prefix is enabled or not; ``timestamp`` defaults to now."""
        stat = _stat(self.statistics.setdefault(prefix, {}), identifier)
        stat.add_sent_stat(clock.time() if timestamp is None else timestamp, num_bytes)

    def add_received_stat(self, prefix: bytes, identifier: int, num_bytes: int,
                          timestamp: float | None = None) -> None:
        """Count a received packet by hand, whether the prefix is enabled or not; ``timestamp`` defaults to now."""
        stat = _stat(self.statistics.setdefault(prefix, {}), identifier)
        stat.add_received_stat(clock.time() if timestamp is None else timestamp, num_bytes)

    # Reading

    def get_statistics(self, prefix: bytes) -> dict[int, NetworkStat]:
        """The counters of an overlay by message id; empty if it is not enabled."""
        return self.statistics.get(prefix, {})

    def get_aggregate_statistics(self, prefix: bytes) -> dict[str, int | float]:
        """The sums of an overlay's counters, and as ``diff_time`` the seconds between its first and last packet."""
        stats = self.get_statistics(prefix).values()
        first = min((moment for stat in stats for moment in (stat.first_measured_up, stat.first_measured_down)
                     if moment > 0), default=0)
        last = max((moment for stat in stats for moment in (stat.last_measured_up, stat.last_measured_down)), default=0)
        return {**{name: sum(getattr(stat, name) for stat in stats)
                   for name in ("num_up", "num_down", "bytes_up", "bytes_down")},
                "diff_time": max(0, last) - first}

    def get_message_sent(self, prefix: bytes, include_introduction: bool = False, include_puncture: bool = False,
                         include_deprecated: bool = False) -> int:
        """How many application messages were sent; the flags add those of peer discovery and of unused ids."""
        return self._sum("num_up", prefix, include_introduction, include_puncture, include_deprecated)

    def get_message_received(self, prefix: bytes, include_introduction: bool = False, include_puncture: bool = False,
                             include_deprecated: bool = False) -> int:
        """How many application messages were received; the flags add those of peer discovery and of unused ids."""
        return self._sum("num_down", prefix, include_introduction, include_puncture, include_deprecated)

    def get_bytes_sent(self, prefix: bytes, include_introduction: bool = False, include_puncture: bool = False,
                       include_deprecated: bool = False) -> int:
        """The bytes of what ``get_message_sent`` counts."""
        return self._sum("bytes_up", prefix, include_introduction, include_puncture, include_deprecated)

    def get_bytes_received(self, prefix: bytes, include_introduction: bool = False, include_puncture: bool = False,
                           include_deprecated: bool = False) -> int:
        """The bytes of what ``get_message_received`` counts."""
        return self._sum("bytes_down", prefix, include_introduction, include_puncture, include_deprecated)

    def _sum(self, counter: str, prefix: bytes, *include: bool) -> int:
        return sum(getattr(stat, counter) for identifier, stat in self.get_statistics(prefix).items()
                   if not self.is_excluded(identifier, *include))

    def is_excluded(self, identifier: int, include_introduction: bool, include_puncture: bool,
                    include_deprecated: bool) -> bool:
        """Whether a message id belongs to a group whose flag is not set."""
        groups = ((self.IDS_INTRODUCTION, include_introduction), (self.IDS_PUNCTURE, include_puncture),
                  (self.IDS_DEPRECATED, include_deprecated))
        return any(identifier in ids and not included for ids, included in groups)


def _stat(stats: dict[int, NetworkStat], identifier: int) -> NetworkStat:
    stat = stats.get(identifier)
    if stat is None:
        stat = stats[identifier] = NetworkStat(identifier)
    return stat
