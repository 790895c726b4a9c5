"""The endpoint that sends the packets of anonymous overlays through circuits (doc/anonymity.md)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...fill import Fill
from ...limits import ExpiringDict
from ...reexports import reexports
from ..interfaces.network_stats import DropCounter
from ..interfaces.routes import Route
from ..interfaces.wrapping import WrappingEndpoint
from .tunnel import CIRCUIT_STATE_READY, PEER_FLAG_EXIT_IPV8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..address import Address
    from .community import TunnelCommunity
    from .tunnel import Circuit

__all__ = ["TunnelEndpoint"]

QUEUE_LENGTH = 100
"""Packets that wait for a circuit; the oldest is dropped first."""

MAX_ADDRESSES = 1024
ADDRESS_LIFETIME = 600.0
"""Addresses for which the circuit is remembered that leads there, the one used longest ago evicted first, and for how
many seconds."""

QUEUE_TIME = 10.0
"""Seconds after which a packet that waits is dropped."""

ZERO = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire


class TunnelEndpoint(WrappingEndpoint):
    """Sends the packets of chosen overlays through circuits, and everything else by another endpoint.

    What those overlays get from a socket, and not from a circuit, is dropped. So nobody can contact them past the
    tunnels. Several such endpoints may use one tunnel community, each for a pseudonym. No circuit is used by two of
    them: both would be seen to come from the same exit, and answers could not be told apart.

    :param endpoint: the other endpoint.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.hops = 0
        self.tunnel_community: TunnelCommunity | None = None
        #: Whether the overlay with this prefix is anonymous.
        self.settings: dict[bytes, bool] = {}
        self.send_queue: deque[tuple[Any, bytes]] = deque(maxlen=QUEUE_LENGTH)
        self._queued_at: deque[float] = deque(maxlen=QUEUE_LENGTH)
        self._used: ExpiringDict[Any, int] = ExpiringDict(MAX_ADDRESSES, ADDRESS_LIFETIME)
        self._user = object()  # circuits hold it, and not the endpoint, which they may outlive

    # Tunnels

    def set_tunnel_community(self, tunnel_community: TunnelCommunity | None, hops: int = 1) -> None:
        """Use the circuits of a tunnel community.

        :param tunnel_community: ``None``: packets of anonymous overlays are dropped.
        :param hops: how many hops the circuits have.
        """
        self.hops = hops
        if self.tunnel_community is not None:
            self.tunnel_community.anonymous_endpoints.discard(self)
        self.tunnel_community = tunnel_community
        if tunnel_community is None:
            self.send_queue.clear()
        else:
            tunnel_community.anonymous_endpoints.add(self)

    def set_anonymity(self, prefix: bytes, enable: bool) -> bool | None:
        """Send the packets that start with ``prefix`` through circuits from now on, or no longer."""
        was_enabled = self.settings.get(prefix, False)
        self.settings[prefix] = enable
        if enable:
            self.endpoint.accept_routes(prefix, Route.CIRCUIT)
        elif was_enabled:
            self.endpoint.accept_routes(prefix, Route.SOCKET | Route.RELAY)
        return True

    def may_use(self, circuit: Circuit) -> bool:
        """Whether no other endpoint has sent by this circuit."""
        return circuit.user is None or circuit.user is self._user

    def send(self, address: Address, packet: bytes, *args: Any) -> None:
        """Send ``packet`` by a circuit if its overlay is anonymous, or else by the other endpoint."""
        if not self.settings.get(packet[:22], False):
            self.endpoint.send(address, packet, *args)
            return
        kind = type(address)
        if kind in self.routes:
            # Only the routes that are circuits themselves; a peer that carries packets would see who sends them.
            if self.routes.route_to(address) is Route.CIRCUIT:
                self._count_inside(packet)
                self.routes[kind](address, packet)
            else:
                self.endpoint.drops.count(DropCounter.SEND_NO_ROUTE)
            return
        community = self.tunnel_community
        if community is None:
            self.endpoint.drops.count(DropCounter.SEND_NO_ROUTE)
            return
        circuits = self._find_circuits(community)
        if circuits:
            self._send_by(circuits, address, packet)
            self.flush()
            return
        self.send_queue.append((address, packet))
        self._queued_at.append(clock.monotonic())
        building = [circuit for circuit in community.find_circuits(state=None, hops=self.hops)
                    if circuit.state != CIRCUIT_STATE_READY and self.may_use(circuit)
                    and circuit.required_exit is not None
                    and PEER_FLAG_EXIT_IPV8 in (community.candidates.get(circuit.required_exit) or ())]
        if not building:
            circuit = community.create_circuit(self.hops, exit_flags=[PEER_FLAG_EXIT_IPV8])
            if circuit is not None:
                circuit.user = self._user
                circuit.ready.add_done_callback(lambda _: self.flush())

    def send_many(self, socket_address: Address, packets: Sequence[bytes]) -> None:
        """Send several packets to the same address, in order."""
        if any(self.settings.values()) and any(self.settings.get(packet[:22], False) for packet in packets):
            super().send_many(socket_address, packets)
        else:
            self.endpoint.send_many(socket_address, packets)

    def _find_circuits(self, community: TunnelCommunity) -> list[Circuit]:
        return [circuit for circuit in community.find_circuits(exit_flags=[PEER_FLAG_EXIT_IPV8], hops=self.hops)
                if self.may_use(circuit)]

    def flush(self) -> None:
        """Send what waits, if there is a circuit."""
        community = self.tunnel_community
        if community is None or not self.send_queue:
            return
        circuits = self._find_circuits(community)
        if not circuits:
            return
        oldest = clock.monotonic() - QUEUE_TIME
        while self.send_queue:
            address, packet = self.send_queue.popleft()
            queued_at = self._queued_at.popleft() if self._queued_at else oldest
            if queued_at < oldest:
                self.endpoint.drops.count(DropCounter.SEND_NO_ROUTE)
            else:
                self._send_by(circuits, address, packet)

    def _send_by(self, circuits: Sequence[Circuit], address: Address, packet: bytes) -> None:
        """Send by the circuit that was used for this address before, so that it always sees the same exit."""
        used = self._used.get(address)
        circuit = next((known for known in circuits if known.circuit_id == used), None) or entropy.choice(circuits)
        self._used[address] = circuit.circuit_id
        circuit.user = self._user
        self._count_inside(packet)
        if self.tunnel_community is not None and circuit.hop is not None:
            self.tunnel_community.send_data(circuit.hop.address, circuit.circuit_id, address, ZERO, packet)

    def _count_inside(self, packet: bytes) -> None:
        meter = self.gate.meter
        if meter is not None:
            meter.count_inside(packet[:self.prefixlen + 1], len(packet))

    def notify_listeners(self, packet: tuple[Address, bytes], from_tunnel: bool = False) -> None:
        """Deliver a packet that a socket brought or, with ``from_tunnel``, one that came out of a circuit.

        What came out of a circuit is for anonymous overlays, as others would answer it by a socket. General listeners
        get it if they have an attribute ``anonymize`` that is true.
        """
        if not from_tunnel:
            self.endpoint.notify_listeners(packet)
            return
        if not self.endpoint.is_open():
            return
        prefix = packet[1][:self.prefixlen]
        is_wanted = self.settings.get(prefix, False)
        if is_wanted:
            self.gate.receive(packet, Route.CIRCUIT)
        reached = self.endpoint.prefix_listeners(prefix)
        for listener in self.endpoint._listeners:
            if getattr(listener, "anonymize", False) and listener not in reached:
                is_wanted = True
                try:
                    listener.on_packet(packet)
                except Exception as e:  # noqa: BLE001 - whatever a listener raises, the next one gets its packet
                    self.endpoint._on_listener_error(listener, e)
        if not is_wanted:
            self.endpoint.drops.count(DropCounter.WRONG_ROUTE)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("send_queue", len(self.send_queue), QUEUE_LENGTH, "queue", rule="the oldest goes first")


if TYPE_CHECKING:  # programs import these from here
    from ..interfaces.endpoint import Endpoint as Endpoint, EndpointListener as EndpointListener
else:
    __getattr__, __dir__ = reexports(__name__, {"..interfaces.endpoint": "Endpoint EndpointListener"})
