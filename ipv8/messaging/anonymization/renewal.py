"""Asks the hops of a circuit for keys that a quantum computer cannot find either.

See doc/protocol/tunnels.md section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ...keyvault import ml_kem
from ...limits import BoundedDict
from ...requestcache import NumberCacheWithName
from ..interfaces.network_stats import DropCounter
from . import hybrid
from .cells import CellPayload
from .crypto import scatter_counters
from .data_plane import PythonCryptoEndpoint
from .session_keys import CryptoException, SessionKeys
from .settings import own_setting
from .tunnel import CIRCUIT_STATE_READY

if TYPE_CHECKING:
    from ...requestcache import RequestCache
    from ..address import Address
    from .exit_socket import TunnelExitSocket
    from .tunnel import Circuit, RelayRoute

__all__ = ["PEER_FLAG_HYBRID", "KeyOfferCache", "KeyRenewal"]

PEER_FLAG_HYBRID = 1024
"""What a node offers that answers such requests."""

REPEAT_SECONDS = 1.0
"""After how long an offer without an answer is repeated."""

MAX_OFFERS_SENT = 5
"""How often an offer is sent."""

KEEP_SECONDS = 10.0
"""How long messages with the keys before are accepted."""

MAX_OFFERS_KEPT = 256
"""Circuits of others whose last offer is remembered, so that it is answered in the same way again; the oldest is
evicted first."""

MAX_HOPS = 16
"""More than any circuit has."""


class RenewalOwner(Protocol):
    """What is needed of a tunnel community."""

    circuits: dict[int, Circuit]
    exit_sockets: dict[int, TunnelExitSocket]
    relay_from_to: dict[int, RelayRoute]
    crypto_endpoint: Any
    request_cache: RequestCache
    drops: DropCounter
    settings: Any

    def register_anonymous_task(self, basename: str, user_task: Any, *args: Any, **kwargs: Any) -> Any:
        """As in :class:`ipv8.taskmanager.TaskManager`."""


class KeyOfferCache(NumberCacheWithName):
    """Offered a key to a hop, which may have to be repeated.

    :param hop: the number of the hop, 0 for the first one.
    :param tries: how often it may still be sent.
    """

    name = "key-offer"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, renewal: KeyRenewal, circuit: Circuit, hop: int, offer: hybrid.Offer, tries: int) -> None:
        super().__init__(renewal.owner.request_cache, self.name, circuit.circuit_id * MAX_HOPS + hop)
        self.renewal = renewal
        self.circuit = circuit
        self.hop = hop
        self.offer = offer
        self.tries = tries

    @property
    def timeout_delay(self) -> float:
        """After this the offer is repeated."""
        return REPEAT_SECONDS

    def on_timeout(self) -> None:
        """Repeat the offer, or go on with the keys that there are."""
        if self.tries > 0 and self.circuit.state == CIRCUIT_STATE_READY:
            self.renewal.send(KeyOfferCache(self.renewal, self.circuit, self.hop, self.offer, self.tries - 1))


class _Answered:
    """What one circuit of another node has offered."""

    __slots__ = ("parts", "reply")

    def __init__(self, parts: hybrid.Parts) -> None:
        self.parts = parts
        self.reply: list[bytes] = []


class KeyRenewal:
    """Offers keys to the hops of own circuits, and answers the offers of other nodes.

    :param owner: the tunnel community.
    """

    def __init__(self, owner: RenewalOwner) -> None:
        self.owner = owner
        self._answered: BoundedDict[int, _Answered] = BoundedDict(MAX_OFFERS_KEPT)

    def start(self, circuit: Circuit) -> None:
        """Offer a key to each hop of a circuit that knows about this; nobody waits for that."""
        if (not own_setting(self.owner.settings, "hybrid_keys") or not ml_kem.is_available()
                or not isinstance(self.owner.crypto_endpoint, PythonCryptoEndpoint)):
            return
        for number, hop in enumerate(circuit.hops):
            if PEER_FLAG_HYBRID in (hop.flags or ()) and isinstance(hop.keys, SessionKeys):
                self.send(KeyOfferCache(self, circuit, number, hybrid.Offer(hop.keys), MAX_OFFERS_SENT - 1))

    def send(self, cache: KeyOfferCache) -> None:
        """Send an offer, and wait for the answer."""
        if self.owner.request_cache.add(cache) is not None:
            for message in cache.offer.messages:
                self.owner.crypto_endpoint.send_to_hop(cache.circuit, cache.hop, message)

    def on_message(self, circuit_id: int, hop: int | None, message: bytes) -> None:
        """Handle a message between the builder of a circuit and one hop.

        :param hop: the number of the hop that sent it; ``None`` if the builder did.
        """
        if hop is None and message[0] == hybrid.DONE:
            return
        try:
            part = hybrid.read_part(message)
            if hop is not None:
                self._on_reply(circuit_id, hop, part)
            elif (part.msg_id == hybrid.OFFER and ml_kem.is_available()
                    and own_setting(self.owner.settings, "hybrid_keys")):
                self._on_offer(circuit_id, part)
            else:
                self.owner.drops.count(DropCounter.NOT_ADMITTED)
        except CryptoException:
            self.owner.drops.count(DropCounter.UNDECODABLE)

    def _on_reply(self, circuit_id: int, hop: int, part: hybrid.Part) -> None:
        number = circuit_id * MAX_HOPS + hop
        cache = self.owner.request_cache.get(KeyOfferCache, number)
        circuit = self.owner.circuits.get(circuit_id)
        if cache is None or circuit is not cache.circuit:
            self.owner.drops.count(DropCounter.UNSOLICITED)
            return
        keys = circuit.hops[hop].keys
        newer = cache.offer.receive(part)
        if newer is not None and keys is not None:
            self.owner.request_cache.pop(KeyOfferCache, number)
            self._change(keys, newer, is_builder=True)
            circuit.onion = None
            circuit.hops[hop].is_hybrid = True
            self.owner.crypto_endpoint.send_to_hop(circuit, hop, bytes((hybrid.DONE,)))

    def _on_offer(self, circuit_id: int, part: hybrid.Part) -> None:
        keys, address = self._session(circuit_id)
        if keys is None or address is None:
            self.owner.drops.count(DropCounter.UNKNOWN_CIRCUIT)
            return
        answered = self._answered.get(circuit_id)
        if answered is None:
            answered = self._answered[circuit_id] = _Answered(hybrid.Parts(part.name))
        if answered.parts.name != part.name:
            self.owner.drops.count(DropCounter.RATE_LIMITED)  # one offer for each circuit
            return
        if not answered.reply:
            public_key = answered.parts.add(part)
            if public_key is None:
                return
            newer, answered.reply = hybrid.reply_to(keys, part.name, public_key)
            self._change(keys, newer, is_builder=False)
        elif part.number:
            return  # the offer is repeated in two parts, and needs one reply
        for message in answered.reply:
            self.owner.crypto_endpoint.send_cell(address, CellPayload(circuit_id, message))

    def _session(self, circuit_id: int) -> tuple[SessionKeys | None, Address | None]:
        """The keys that are shared with the builder of a circuit, and where cells to him go."""
        exit_socket = self.owner.exit_sockets.get(circuit_id)
        hop = None if exit_socket is None else exit_socket.hop
        route = self.owner.relay_from_to.get(circuit_id)
        if route is not None:
            back = self.owner.relay_from_to.get(route.circuit_id)
            hop = None if back is None or route.rendezvous_relay else back.hop
        if hop is None or not isinstance(hop.keys, SessionKeys):
            return None, None
        return hop.keys, hop.address

    def _change(self, keys: SessionKeys, newer: SessionKeys, is_builder: bool) -> None:
        scatter_counters(newer)
        keys.change(newer, is_builder)
        self.owner.register_anonymous_task("forget_keys", keys.forget, delay=KEEP_SECONDS)

    def forget(self, circuit_id: int) -> None:
        """Forget the offers of a circuit that is gone."""
        self._answered.pop(circuit_id, None)
