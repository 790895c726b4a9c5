"""Counts the traffic of overlays per message id (doc/endpoints.md)."""

from __future__ import annotations

import logging
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ... import clock
from .endpoint import Endpoint, EndpointListener
from .network_stats import DropCounter, NetworkStat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from ..address import Address
    from .gate import Gate
    from .routes import Route

__all__ = ["IDS_DEPRECATED", "IDS_INTRODUCTION", "IDS_PUNCTURE", "StatisticsEndpoint"]

IDS_INTRODUCTION = [245, 246]
IDS_PUNCTURE = [249, 250]
IDS_DEPRECATED = [*range(235, 245), 247, 248, *range(251, 256)]

_ID_AT = 22
"""Where the message id is: behind the prefix."""


class StatisticsEndpoint(EndpointListener, Endpoint):
    """Wraps another endpoint, and counts what the overlays for which it is enabled send and receive.

    :param endpoint: the endpoint that does the work; attributes that are not here are taken from it.
    """

    IDS_INTRODUCTION = IDS_INTRODUCTION
    IDS_PUNCTURE = IDS_PUNCTURE
    IDS_DEPRECATED = IDS_DEPRECATED

    observes_only = True

    def __init__(self, endpoint: Endpoint) -> None:
        # Endpoint's own constructor is not called: the gate, the routes and the drop counters are the other endpoint's.
        EndpointListener.__init__(self, endpoint)
        self._logger = logging.getLogger(type(self).__name__)
        self.statistics: dict[bytes, dict[int, NetworkStat]] = {}
        endpoint.add_listener(self)

    def __getattr__(self, name: str) -> Any:
        if name == "endpoint":  # not there yet, so there is nothing to ask
            raise AttributeError(name)
        return getattr(self.endpoint, name)

    # What the other endpoint does

    def add_listener(self, listener: EndpointListener) -> None:
        """Register with the other endpoint."""
        self.endpoint.add_listener(listener)

    def add_prefix_listener(self, listener: EndpointListener, prefix: bytes) -> None:
        """Register with the other endpoint."""
        self.endpoint.add_prefix_listener(listener, prefix)

    def remove_listener(self, listener: EndpointListener) -> None:
        """Remove from the other endpoint."""
        self.endpoint.remove_listener(listener)

    def copy_listeners(self, other: Endpoint) -> None:
        """Register all listeners of ``other`` with the other endpoint."""
        self.endpoint.copy_listeners(other)

    def prefix_listeners(self, prefix: bytes) -> list[EndpointListener]:
        """The listeners registered for ``prefix``, without the general ones."""
        return self.endpoint.prefix_listeners(prefix)

    def _own_gate(self) -> Gate:
        return self.endpoint._own_gate()

    def accept_routes(self, prefix: bytes, routes: Route, base_routes: Route | None = None) -> None:
        """Deliver packets of the other endpoint with ``prefix`` only if they come by one of ``routes``."""
        self.endpoint.accept_routes(prefix, routes, base_routes)

    def set_anonymity(self, prefix: bytes, enable: bool) -> bool | None:
        """Have the other endpoint send packets through tunnels, or no longer; ``False`` if it has no tunnels."""
        return self.endpoint.set_anonymity(prefix, enable)

    @property
    def mapped_address(self) -> Address | None:
        """The other endpoint's."""
        return self.endpoint.mapped_address

    @mapped_address.setter
    def mapped_address(self, value: Address | None) -> None:
        self.endpoint.mapped_address = value

    @property
    def SOCKET_FAMILY(self) -> int | None:  # type: ignore[override]  # noqa: N802 - a name of the ecosystem
        """The other endpoint's."""
        return self.endpoint.SOCKET_FAMILY

    @property
    def keeps_ways_open(self) -> bool:  # type: ignore[override]  # others assign it
        """Whether peers behind the other endpoint are asked for signs of life."""
        return self.endpoint.keeps_ways_open

    @property
    def interfaces(self) -> Mapping[str, Endpoint]:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.interfaces

    @property
    def bytes_up(self) -> int:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.bytes_up

    @property
    def bytes_down(self) -> int:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.bytes_down

    @property
    def drops(self) -> DropCounter:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.drops

    def notify_listeners(self, packet: tuple[Address, bytes]) -> None:
        """Deliver ``packet`` to all listeners, among them this one."""
        self.endpoint.notify_listeners(packet)

    def _deliver_later(self, listener: EndpointListener, packet: tuple[Address, bytes]) -> None:
        self.endpoint._deliver_later(listener, packet)

    def get_drops(self, prefix: bytes | None = None) -> dict[str, int]:
        """How many packets were dropped, by reason (see ``DropCounter``).

        :param prefix: also add what the overlays that listen to this prefix have dropped.
        """
        return self.endpoint.get_drops(prefix)

    def assert_open(self) -> None:
        """Raise if the other endpoint is not open."""
        self.endpoint.assert_open()

    def is_open(self) -> bool:
        """Whether the other endpoint is open."""
        return self.endpoint.is_open()

    def get_address(self, *args: Any, **kwargs: Any) -> Address:
        """The address that the other endpoint is bound to; takes what its ``get_address`` takes."""
        return self.endpoint.get_address(*args, **kwargs)

    async def open(self) -> bool:
        """Open the other endpoint; whether that worked."""
        result: Any = self.endpoint.open()
        if isawaitable(result):
            result = await result
        return self.is_open() if result is None else bool(result)

    def close(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Close the other endpoint; takes what its ``close`` takes."""
        return self.endpoint.close(*args, **kwargs)

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes of the other endpoint from 0 again."""
        self.endpoint.reset_byte_counters()

    # Counting

    def send(self, socket_address: Address, packet: bytes, *args: Any) -> None:
        """Send by the other endpoint, and count; takes what its ``send`` takes."""
        self.endpoint.send(socket_address, packet, *args)
        stats = self.statistics.get(packet[:_ID_AT])
        if stats is not None and len(packet) > _ID_AT:
            _stat(stats, packet[_ID_AT]).add_sent_stat(clock.time(), len(packet))

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Count a received packet."""
        data = packet[1]
        stats = self.statistics.get(data[:_ID_AT])
        if stats is not None and len(data) > _ID_AT:
            _stat(stats, data[_ID_AT]).add_received_stat(clock.time(), len(data))

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
