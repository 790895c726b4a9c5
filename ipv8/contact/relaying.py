"""Packets between two peers that cannot reach each other, carried by a peer of both: message 230.

An envelope goes from its author to the carrier, and from there, byte by byte the same, to its destination. Both check
the signature of the author, and that they have not seen the envelope before, so a carrier can neither make one up nor
change one, nor send it twice; what it carries is as big as what it was sent. Nodes that do not know the message drop
it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from .. import clock
from ..lazy_community import EZPackOverlay, raising, try_decode
from ..messaging.address import RelayedAddress, has_network_address
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.interfaces.routes import Route
from ..messaging.payload_relay import RelayPayload
from ..messaging.readers import Refusal
from ..overlay import SettingsClass
from ..verification import MESSAGE_ID_OFFSET, try_verify
from .carriage import RELAYED_PORT, RelayState, is_overlay_host, overlay_host

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["MAX_RELAYED_SIZE", "RelayProtocol"]

MAX_RELAYED_SIZE = 1500
"""Bytes of a packet that is carried: what fits into an Ethernet frame."""

RELAYED_PEERS = 8
RELAYED_PEERS_PER_CARRIER = 4
"""Peers of one overlay that are reached through others: so many newcomers are admitted, and so many by one carrier."""


class RelayProtocol(EZPackOverlay[SettingsClass]):
    """Carries packets for others, and sends and receives packets that others carry.

    ``contact.carriage`` says whether it does; the setting of the same name switches it off.
    """

    #: Whether the overlay can do with peers that have no address on any network.
    relayable: ClassVar[bool] = True

    #: Whether packets are carried, for others and for this overlay.
    relay: bool = False

    _relayed_prefix: bytes | None = None

    def __init__(self, settings: SettingsClass) -> None:
        super().__init__(settings)
        self.relay = (self.relayable and getattr(settings, "relay", True)
                      and not getattr(settings, "anonymize", False))

    @cached_property
    def _relay_state(self) -> RelayState:
        return RelayState()

    def accepts_route(self, route: Route) -> bool:
        """Whether packets that come by ``route`` are handled: those that peers carry are, while ``relay`` is set."""
        return route is not Route.RELAY or bool(self.relay)

    def _start_relaying(self, prefix: bytes) -> None:
        """Send the packets with ``prefix`` that are for relayed addresses."""
        self._relayed_prefix = prefix
        self.endpoint.routes.carriers.register(prefix, self._have_carried)

    def _stop_relaying(self) -> None:
        """Carry nothing any more."""
        self.relay = False
        if self._relayed_prefix is not None:
            self.endpoint.routes.carriers.unregister(self._relayed_prefix, self._have_carried)
            self._relayed_prefix = None

    async def unload(self) -> None:
        """Carry nothing any more, stop listening and end all tasks."""
        self._stop_relaying()
        await super().unload()

    @raising
    def on_relay(self, source_address: Address, data: bytes) -> Refusal | None:
        """Message 230: take in what is for us, and carry what is for somebody else."""
        neighbour = self.network.get_verified_by_address(source_address)
        if not self.relay or neighbour is None or not has_network_address(source_address):
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        signer = try_verify(self, source_address, data)
        if isinstance(signer, Refusal):
            return signer
        key, start, end = signer
        decoded = try_decode(self, (RelayPayload,), data[:end], start)
        if isinstance(decoded, Refusal):
            return decoded
        (payload,) = decoded
        mid = key.key_to_hash()
        if len(payload.packet) > MAX_RELAYED_SIZE or payload.packet[MESSAGE_ID_OFFSET:][:1] == bytes((payload.msg_id,)):
            self.drops.count(DropCounter.UNDECODABLE)
        elif not self._relay_state.counters.accept(mid, payload.counter):
            self.drops.count(DropCounter.REPLAYED)
        elif mid == neighbour.mid:
            self._carry_on(neighbour, payload.destination, data)
        else:
            self._take_in(neighbour, mid, payload)
        return None

    def _carry_on(self, author: Peer, destination: Address, envelope: bytes) -> None:
        """Send an envelope on, to a peer that is known to receive what it is sent."""
        self._relay_state.routes.note((overlay_host(author.mid), RELAYED_PORT), author)
        target = self._relay_state.routes.hop(destination) or self._find_target(destination)
        if (target is None or target == author or not target.proven or target not in self.network.verified_peers
                or not has_network_address(target.address)):
            self.drops.count(DropCounter.NO_ROUTE)
        elif self._relay_state.budget.allow(author.mid, target.mid, len(envelope)):
            self.endpoint.send(target.address, envelope)
        else:
            self.drops.count(DropCounter.RATE_LIMITED)

    def _find_target(self, destination: Address) -> Peer | None:
        """The peer whom others know as ``destination``."""
        host = destination[0]
        if is_overlay_host(host):
            return next((peer for peer in self.get_peers() if overlay_host(peer.mid) == host), None)
        return self.network.get_verified_by_address(destination)

    def _take_in(self, carrier: Peer, author: bytes, payload: RelayPayload) -> None:
        """Deliver the packet of an envelope that ``carrier`` brought, as if its author had sent it to us."""
        host = payload.destination[0]
        if is_overlay_host(host) and host != overlay_host(self.my_peer.mid):
            self.drops.count(DropCounter.NO_ROUTE)
            return
        source = RelayedAddress(overlay_host(author), RELAYED_PORT)
        self._relay_state.routes.note(source, carrier)
        self.endpoint.gate.receive((source, payload.packet), Route.RELAY)

    def _have_carried(self, address: Address, packet: bytes) -> bool:
        """Ask the peer by which the relayed ``address`` is reached to carry ``packet`` there; whether there is one."""
        carrier = self._relay_state.routes.hop(address)
        if carrier is None or carrier not in self.network.verified_peers or len(packet) > MAX_RELAYED_SIZE:
            return False
        return self._send_envelope(carrier, address, packet)

    def _send_envelope(self, carrier: Peer, destination: Address, packet: bytes) -> bool:
        """Ask ``carrier`` to carry ``packet`` to ``destination``; whether that could be done."""
        if not (self.relay and has_network_address(carrier.address)):
            return False
        state = self._relay_state
        state.last_counter = max(state.last_counter + 1, int(clock.time() * 1e6))
        payload = RelayPayload(destination, state.last_counter, packet)
        self.endpoint.send(carrier.address, self.ezr_pack(RelayPayload.msg_id, payload))
        return True

    def _may_ask_to_carry(self, introducer: Peer, address: Address) -> bool:
        """Whether who introduced a stranger at ``address`` may be asked to carry a first request there."""
        return (bool(self.relay) and has_network_address(introducer.address)
                and self._relay_state.budget.may_attempt(introducer.mid, address))

    def _has_room_for_relayed(self, address: Address) -> bool:
        """Whether somebody new may become a peer who can be reached through others only."""
        relayed = [peer.address for peer in self.get_peers() if not has_network_address(peer.address)]
        routes = self._relay_state.routes
        carrier = routes.hop(address)
        return (len(relayed) < RELAYED_PEERS
                and sum(routes.hop(other) == carrier for other in relayed) < RELAYED_PEERS_PER_CARRIER)
