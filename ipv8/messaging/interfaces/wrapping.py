"""An endpoint that does by another one whatever a subclass does not do itself."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from .endpoint import Endpoint

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Mapping

    from ...limits import TokenBuckets
    from ..address import Address
    from .endpoint import EndpointListener
    from .gate import Gate
    from .network_stats import DropCounter
    from .routes import Route, RouteTable

__all__ = ["WrappingEndpoint"]


class WrappingEndpoint(Endpoint):
    """Wraps another endpoint. The gate, the routes and the counters are those of the other one.

    :param endpoint: the endpoint that does the work; attributes that are not here are taken from it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        # The constructor of the base class is not called: it would make another gate, and other routes and counters.
        self.endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        if name == "endpoint":  # not there yet, so there is nothing to ask
            raise AttributeError(name)
        return getattr(self.endpoint, name)

    @property
    def gate(self) -> Gate:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.gate

    @property
    def routes(self) -> RouteTable:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.routes

    @property
    def _log_budget(self) -> TokenBuckets:  # type: ignore[override]  # others assign it
        return self.endpoint._log_budget

    @property
    def listener_update_lock(self) -> threading.RLock:
        """The other endpoint's."""
        return self.endpoint.listener_update_lock

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
    def max_packet_size(self) -> int:  # type: ignore[override]  # others assign it
        """The other endpoint's."""
        return self.endpoint.max_packet_size

    @property
    def SOCKET_FAMILY(self) -> int | None:  # type: ignore[override]  # noqa: N802 - a name of the ecosystem
        """The other endpoint's."""
        return self.endpoint.SOCKET_FAMILY

    @property
    def keeps_ways_open(self) -> bool:  # type: ignore[override]  # others assign it
        """Whether peers behind the other endpoint are asked for signs of life."""
        return self.endpoint.keeps_ways_open

    @property
    def _sends_bursts(self) -> bool:  # type: ignore[override]  # others assign it
        """Whether the other endpoint sends several packets in less time than each of them."""
        return self.endpoint._sends_bursts

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

    def send(self, socket_address: Address, packet: bytes, *args: Any) -> None:
        """Send by the other endpoint; takes what its ``send`` takes."""
        self.endpoint.send(socket_address, packet, *args)

    def _has_sent_to(self, address: Address) -> bool:
        """Whether the other endpoint sent a packet to ``address`` lately."""
        return self.endpoint._has_sent_to(address)

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

    async def open_late(self) -> None:
        """Open what the other endpoint can open by now."""
        if isinstance(self.endpoint, Endpoint):
            await self.endpoint.open_late()

    def close(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Close the other endpoint; takes what its ``close`` takes."""
        return self.endpoint.close(*args, **kwargs)

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes of the other endpoint from 0 again."""
        self.endpoint.reset_byte_counters()
