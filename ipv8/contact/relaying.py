"""Packets between two peers that cannot reach each other, carried by a peer of both: message 230.

An envelope goes from its author to the carrier, and from there, byte by byte the same, to its destination. Both check
the signature of the author, and that they have not seen the envelope before, so a carrier can neither make one up nor
change one, nor send it twice; what it carries is as big as what it was sent. Nodes that do not know the message drop
it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakMethod

from .. import clock
from ..lazy_community import EZPackOverlay, raising, try_decode
from ..messaging.address import RelayedAddress
from ..messaging.interfaces.network_stats import DropCounter
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

    def __init__(self, settings: SettingsClass) -> None:
        super().__init__(settings)
        self.relay = (self.relayable and getattr(settings, "relay", True)
                      and not getattr(settings, "anonymize", False))

    @cached_property
    def _relay_state(self) -> RelayState:
        return RelayState()

    async def unload(self) -> None:
        """Carry nothing any more, stop listening and end all tasks."""
        self.relay = False
        await super().unload()

    @raising
    def on_relay(self, source_address: Address, data: bytes) -> Refusal | None:
        """Message 230: take in what is for us, and carry what is for somebody else."""
        neighbour = self.network.get_verified_by_address(source_address)
        if not self.relay or neighbour is None or isinstance(source_address, RelayedAddress):
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
                or isinstance(target.address, RelayedAddress)):
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
        source = self._relayed_address(overlay_host(author), RELAYED_PORT)
        self._relay_state.routes.note(source, carrier)
        for listener in self.endpoint.prefix_listeners(payload.packet[:MESSAGE_ID_OFFSET]):
            if getattr(listener, "relay", False):
                listener.on_packet((source, payload.packet))

    def _relayed_address(self, host: str, port: int) -> RelayedAddress:
        """An address to which :meth:`_send_by_relay` sends, as long as this overlay exists."""
        carrier = WeakMethod(self._send_by_relay)

        def carry(address: RelayedAddress, packet: bytes) -> None:
            send = carrier()
            if send is not None:
                send(address, packet)
        return RelayedAddress.by(carry, host, port)

    def _send_by_relay(self, address: Address, packet: bytes) -> None:
        """Ask the peer by which ``address`` is reached to carry ``packet`` there."""
        carrier = self._relay_state.routes.hop(address)
        if (not self.relay or carrier is None or carrier not in self.network.verified_peers
                or isinstance(carrier.address, RelayedAddress) or len(packet) > MAX_RELAYED_SIZE):
            self.drops.count(DropCounter.NO_ROUTE)
            return
        state = self._relay_state
        state.last_counter = max(state.last_counter + 1, int(clock.time() * 1e6))
        payload = RelayPayload(address, state.last_counter, packet)
        self.endpoint.send(carrier.address, self.ezr_pack(RelayPayload.msg_id, payload))

    def _way_by_relay(self, introducer: Peer, address: Address) -> RelayedAddress | None:
        """How a stranger at ``address`` may be reached through who introduced it; ``None`` if that may not be tried."""
        if (not self.relay or isinstance(introducer.address, RelayedAddress)
                or not self._relay_state.budget.may_attempt(introducer.mid, address)):
            return None
        way = self._relayed_address(*address)
        self._relay_state.routes.note(way, introducer)
        return way

    def _has_room_for_relayed(self, address: RelayedAddress) -> bool:
        """Whether somebody new may become a peer who can be reached through others only."""
        relayed = [peer.address for peer in self.get_peers() if isinstance(peer.address, RelayedAddress)]
        routes = self._relay_state.routes
        carrier = routes.hop(address)
        return (len(relayed) < RELAYED_PEERS
                and sum(routes.hop(other) == carrier for other in relayed) < RELAYED_PEERS_PER_CARRIER)
