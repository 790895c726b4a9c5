"""Receives the messages by which nodes learn whether others are there, for all keepers of an endpoint.

A node may have several networks behind one endpoint, as a DHT has one of its own. A message is for the keepers
(:mod:`ipv8.contact.keeper`) whose networks have its author. It is answered once, and dropped if there is none. The
bytes and rules are in doc/protocol/liveness.md.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .. import clock
from ..lazy_community import try_decode
from ..limits import TokenBuckets
from ..message_table import MessageTable
from ..messaging.inet import HOST_BITS, network_of
from ..messaging.interfaces.endpoint import Endpoint, EndpointListener
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload_liveness import GoodbyePayload, LivenessPingPayload, LivenessPongPayload
from ..messaging.readers import Refusal
from ..messaging.serialization import default_serializer
from ..verification import HEADER_SIZE, NotAdmittedError, try_verify
from .liveness import Departures

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peerdiscovery.network import Network
    from .keeper import PeerKeeper

__all__ = ["LIVENESS_PREFIX", "Keepers", "LivenessListener", "pack"]

LIVENESS_PREFIX = b"\x00\x02" + bytes.fromhex("a2367e5408cd58810b188144c09c3f8acdfe5854")
"""The 22 bytes in front of these messages: those of version 2, and the SHA-1 of ``IPv8 liveness of peers``."""

ANSWERS_PER_SECOND, ANSWERS_AT_ONCE = 2.0, 10.0
"""Pongs to one host. Only peers are answered at all."""


def pack(*payloads: Payload) -> bytes:
    """A message, without a signature; the last payload says which one."""
    return LIVENESS_PREFIX + bytes((payloads[-1].msg_id,)) + default_serializer.pack_serializable_list(payloads)


class Keepers:
    """The keepers of an endpoint, by network, and what receives for them."""

    def __init__(self) -> None:
        self.by_network: dict[Network, PeerKeeper] = {}
        self.listener: LivenessListener | None = None

    def listen(self, endpoint: Endpoint) -> None:
        """Receive what arrives at ``endpoint``, which one of the keepers has."""
        if self.listener is None:
            self.listener = LivenessListener(endpoint, self)
        if not endpoint.gate.knows(self.listener):
            endpoint.add_prefix_listener(self.listener, LIVENESS_PREFIX)

    def remove(self, keeper: PeerKeeper) -> None:
        """Forget a keeper, and receive nothing more at an endpoint that no other one has."""
        self.by_network.pop(keeper.network, None)
        if self.listener is not None and not any(other.endpoint.gate is keeper.endpoint.gate
                                                 for other in self.by_network.values()):
            keeper.endpoint.remove_listener(self.listener)
        if not self.by_network:
            self.listener = None

    def release(self) -> None:
        """Nothing is to be given up when the endpoint closes."""


class LivenessListener(EndpointListener):
    """Receives liveness messages, and tells the keepers that they are for.

    :param endpoint: the endpoint of one of the keepers.
    """

    def __init__(self, endpoint: Endpoint, keepers: Keepers) -> None:
        super().__init__(endpoint)
        self.logger = logging.getLogger(type(self).__name__)
        self.drops: DropCounter = DropCounter()
        self.serializer = default_serializer
        self._keepers = keepers
        self._departures: Departures | None = None
        self._answers: TokenBuckets | None = None
        self._table: MessageTable | None = None

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Handle a message."""
        if self._table is None:  # made for the first of them, as many nodes get none
            self._table = MessageTable(self)
            self._table.add(LivenessPingPayload, self.on_ping)
            self._table.add(LivenessPongPayload, self.on_pong)
            self._table.add(GoodbyePayload, self.on_goodbye)
        self._table.receive(*packet)

    def register_anonymous_task(self, basename: str, user_task: Any, *args: Any, **kwargs: Any) -> Any:
        """Not used: no handler is asynchronous."""
        raise NotImplementedError

    def _all(self) -> tuple[PeerKeeper, ...]:
        return tuple(self._keepers.by_network.values())

    def _decode(self, payload_class: type[Payload], data: bytes, start: int = HEADER_SIZE) -> Any:
        """The payload, or a ``Refusal``."""
        decoded = try_decode(self, (payload_class,), data, start)
        return decoded if isinstance(decoded, Refusal) else decoded[0]

    def on_ping(self, source_address: Address, data: bytes) -> Refusal | None:
        """Answer a peer."""
        payload = self._decode(LivenessPingPayload, data)
        if isinstance(payload, Refusal):
            return payload
        if self._answers is None:
            self._answers = TokenBuckets(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE)
        pinged = [(keeper, peer) for keeper in self._all()
                  if (peer := keeper.network.get_verified_by_address(source_address)) is not None]
        if not pinged:
            self.drops.count(DropCounter.UNSOLICITED)
        elif not self._answers.take(network_of(source_address[0], *HOST_BITS)):
            self.drops.count(DropCounter.RATE_LIMITED)
        else:
            for keeper, peer in pinged:
                keeper.pinged_by(peer)
            pinged[0][0].endpoint.send(source_address, pack(LivenessPongPayload(payload.nonce)))
        return None

    def on_pong(self, source_address: Address, data: bytes) -> Refusal | None:
        """Note the answer of a peer."""
        payload = self._decode(LivenessPongPayload, data)
        if isinstance(payload, Refusal):
            return payload
        if not any(keeper.answered(payload.nonce, source_address) for keeper in self._all()):
            self.drops.count(DropCounter.UNSOLICITED)
        return None

    def on_goodbye(self, source_address: Address, data: bytes) -> Refusal | None:
        """Remove a peer that says that it leaves."""
        if self._departures is None:
            self._departures = Departures()
        signer: Any = NotAdmittedError()
        for keeper in self._all():  # the first one that knows the author verifies, others are not asked
            signer = try_verify(keeper, source_address, data, _is_for_us)
            if not isinstance(signer, NotAdmittedError):
                break
        if isinstance(signer, NotAdmittedError):
            self._departures.overlook(data)
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        if isinstance(signer, Refusal):
            return signer
        key, start, end = signer
        payload = self._decode(GoodbyePayload, data[:end], start)
        if isinstance(payload, Refusal):
            return payload
        if (self._departures.was_overlooked(data)
                or not self._departures.accept(key.key_to_hash(), payload.receiver, payload.time, clock.time())):
            self._departures.overlook(data)
            self.drops.count(DropCounter.REPLAYED)
            return None
        for keeper in self._all():
            if keeper.knows(payload.receiver):
                keeper.departed(key.key_to_bin())
        return None


def _is_for_us(keeper: Any, _: Address, data: bytes, key_bin: bytes, start: int) -> bool:
    """Whether a goodbye names a peer and a key of this node; others are not worth a verification."""
    return keeper.network.get_verified_by_public_key_bin(key_bin) is not None and keeper.knows(data[start:start + 20])
