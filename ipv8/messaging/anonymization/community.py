"""The overlay whose nodes build circuits through one another (doc/anonymity.md, doc/protocol/tunnels.md)."""

from __future__ import annotations

from asyncio import gather
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...limits import TokenBuckets
from ...reexports import reexports
from ..address import TunnelledAddress
from ..interfaces.network_stats import DropCounter
from .base import unpack_cell
from .caches import PingRequestCache, TestRequestCache
from .endpoint import TunnelEndpoint
from .exit_policy import DataChecker
from .payload import DataPayload, PingPayload, PongPayload, TestRequestPayload, TestResponsePayload
from .pool import CircuitPool
from .serving import CircuitServing
from .settings import TunnelSettings, own_setting
from .socks5.streams import CircuitStreams
from .tunnel import (
    CIRCUIT_STATE_EXTENDING,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_DATA,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    DESTROY_REASON_SHUTDOWN,
    PEER_FLAG_SPEED_TEST,
    PING_INTERVAL,
    Circuit,
)

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncIterator, Collection, Iterable

    from ..address import Address

__all__ = ["TunnelCommunity", "TunnelSettings", "unpack_cell"]

CIRCUITS_INTERVAL = 5.0
"""Seconds between two looks at which circuits are missing, and which have come to their end."""

MAX_TEST_RESPONSE = 1400
"""Bytes of data in the largest answer to a test request that came from an exit."""
TEST_BYTES = (1 << 20, 16 << 20)
"""Bytes of answers to test requests, each second and at once, for one circuit."""
MAX_TESTED_CIRCUITS = 256
"""Circuits whose test requests are counted; the least recently used is evicted first."""

END_TO_END = (CIRCUIT_TYPE_RP_DOWNLOADER, CIRCUIT_TYPE_RP_SEEDER)


class TunnelCommunity(CircuitServing):
    """Builds circuits, takes part in those of others, and sends data through them."""

    def __init__(self, settings: TunnelSettings) -> None:
        super().__init__(settings)
        #: Circuits that are kept ready.
        self.pool = CircuitPool(self)
        #: TCP connections through circuits.
        self.streams = CircuitStreams(self)
        self._too_few: set[int] = set()  # lengths of circuits
        self._test_budget = TokenBuckets(*TEST_BYTES, capacity=MAX_TESTED_CIRCUITS)
        self.add_cell_handler(DataPayload, self.on_data)
        self.add_cell_handler(PingPayload, self.on_ping)
        self.add_cell_handler(PongPayload, self.on_pong)
        self.add_cell_handler(TestRequestPayload, self.on_test_request)
        self.add_cell_handler(TestResponsePayload, self.on_test_response)
        self.register_task("do_circuits", self.do_circuits, interval=CIRCUITS_INTERVAL, delay=0)
        self.register_task("do_ping", self.do_ping, interval=PING_INTERVAL)

    async def unload(self) -> None:
        """Close all tunnels, tell the neighbours, and stop."""
        reason = DESTROY_REASON_SHUTDOWN
        self.is_unloading = True
        streams: CircuitStreams | None = getattr(self, "streams", None)
        if streams is not None:
            await streams.close()
        crypto_endpoint: Any = getattr(self, "crypto_endpoint", None)
        if crypto_endpoint is not None and crypto_endpoint is not self.endpoint:
            self.endpoint.remove_listener(crypto_endpoint)
        await gather(
            *(self.remove_circuit(circuit_id, "unload", True, reason) for circuit_id in list(self.circuits)),
            *(self.remove_relay(circuit_id, "unload", True, reason) for circuit_id in list(self.relay_from_to)),
            *(self.remove_exit_socket(circuit_id, "unload", True, reason) for circuit_id in list(self.exit_sockets)),
            return_exceptions=True)
        await super().unload()

    # Circuits that are kept

    def build_tunnels(self, hops: int) -> None:
        """Keep as many circuits of this length as ``max_circuits`` says, from now on."""
        if hops > 0:
            self.circuits_needed[hops] = self.settings.max_circuits
            self.do_circuits()

    def tunnels_ready(self, hops: int) -> float:
        """Which part of the wanted circuits of this length are ready; 1 if none are wanted."""
        needed = self.circuits_needed.get(hops, 0) if hops > 0 else 0
        if not needed:
            return 1.0
        return len(self.find_circuits(hops=hops)) / needed

    def do_circuits(self) -> None:
        """Build the circuits that are missing, and remove what has come to its end."""
        for length, needed in list(self.circuits_needed.items()):
            missing = needed - len(self.find_circuits(state=None, hops=length))
            for _ in range(missing):
                if self.create_circuit(length) is None:
                    if length not in self._too_few:  # this is tried again every few seconds
                        self.logger.info("Fewer circuits than wanted can be built now (hops: %d)", length)
                    self._too_few.add(length)
                    break
            else:
                self._too_few.discard(length)
        self.pool.refill()
        self.do_remove()

    def find_circuits(self, ctype: str | None = CIRCUIT_TYPE_DATA, state: str | None = CIRCUIT_STATE_READY,
                      exit_flags: Collection[int] | None = None, hops: int | None = None) -> list[Circuit]:
        """The circuits of this node of a type, in a state, whose last hop offers something, and of a length.

        ``None`` stands for any. Circuits that one program has for itself are left out.
        """
        return [circuit for circuit in self.circuits.values()
                if (ctype is None or circuit.ctype == ctype)
                and (state is None or circuit.state == state)
                and (hops is None or circuit.goal_hops == hops)
                and not circuit.reserved
                and (exit_flags is None or set(exit_flags) <= set(circuit.exit_flags))]

    @asynccontextmanager
    async def circuit(self, hops: int = 1, exit_flags: Iterable[int] | None = None,
                      timeout: float | None = None) -> AsyncIterator[Circuit]:
        """A circuit for data that nobody else uses. It is closed at the end of the block.

        ::

            async with community.circuit(hops=3) as circuit:
                community.send_data(circuit.hop.address, circuit.circuit_id, destination, ("0.0.0.0", 0), data)

        Another one is kept ready for the next call with the same arguments.

        :param hops: how many hops it has.
        :param exit_flags: what the last hop must offer, as ``PEER_FLAG_*``.
        :param timeout: in seconds; by default ``circuit_timeout`` of the settings.
        :raises TimeoutError: if no circuit was ready in time.
        :raises ValueError: if there can be no circuit of that length.
        """
        circuit = await self.pool.take(hops, tuple(exit_flags or ()),
                                       self.settings.circuit_timeout if timeout is None else timeout)
        try:
            yield circuit
        finally:
            self.pool.give_back(circuit)

    def on_circuit_ready(self, circuit: Circuit) -> None:
        """Prove to the last hop that the circuit is in use, so that it is not evicted there, and agree on more keys."""
        self._ping(circuit)
        if own_setting(self.settings, "hybrid_keys"):
            self.renewal.start(circuit)

    # Data

    def on_data(self, sock_addr: Address, data: bytes, circuit_id: int | None = None) -> None:
        """Handle data that came out of an own circuit, or that shall leave by a circuit which ends here."""
        payload = self.read_cell(DataPayload, data)
        if payload is None or circuit_id is None:
            return
        circuit = self.circuits.get(circuit_id)
        hop = None if circuit is None else circuit.hop
        if circuit is not None and hop is not None and payload.org_address and sock_addr == hop.address:
            circuit.beat_heart()
            self.on_own_data(circuit, payload.org_address, payload.data)
        elif payload.dest_address == ("0.0.0.0", 0):  # noqa: S104 - stands for "no address" on the wire
            self.drops.count(DropCounter.BAD_TARGET)
        else:
            self.exit_data(circuit_id, sock_addr, payload.dest_address, payload.data)

    def on_own_data(self, circuit: Circuit, origin: Address, data: bytes) -> None:
        """Hand on data that came out of a circuit of this node.

        :param origin: where the exit had them from.
        """
        if circuit.ctype in END_TO_END or not DataChecker.could_be_ipv8(data):
            self._on_foreign_data(circuit, origin, data)
        elif data.startswith(self._prefix):
            # Anybody may have sent it to the exit. The class of the source says that only answers are let in. No socket
            # sends to that class.
            self.on_packet_from_circuit(TunnelledAddress(*origin), data, circuit.circuit_id)
        elif circuit.receiver is not None:
            circuit.receiver(origin, data)
        else:
            self._notify_anonymous(circuit, origin, data)

    def _notify_anonymous(self, circuit: Circuit, origin: Address, data: bytes) -> None:
        """Deliver a packet of another overlay, at the endpoint where that overlay is anonymous and uses the circuit."""
        prefix = data[:22]
        for endpoint in self.anonymous_endpoints:
            if endpoint.settings.get(prefix, False) and endpoint.is_open() and endpoint.may_use(circuit):
                endpoint.notify_listeners((origin, data), from_tunnel=True)
                return
        if isinstance(self.endpoint, TunnelEndpoint) and self.endpoint.may_use(circuit):
            self.endpoint.notify_listeners((origin, data), from_tunnel=True)
        else:
            self.drops.count(DropCounter.UNKNOWN_PREFIX)

    def _on_foreign_data(self, circuit: Circuit, origin: Address, data: bytes) -> None:
        if circuit.receiver is not None:
            circuit.receiver(origin, data)
        else:
            self.on_raw_data(circuit, origin, data)

    def on_raw_data(self, circuit: Circuit, origin: Address, data: bytes) -> None:
        """Handle data that came out of a circuit and are of no overlay; for subclasses."""

    # Signs of life

    def do_ping(self, exclude: Collection[int] | None = None) -> None:
        """Ping the last hop of each circuit.

        :param exclude: ids of circuits that are not pinged.
        """
        for circuit_id, circuit in list(self.circuits.items()):
            if (circuit.state in {CIRCUIT_STATE_READY, CIRCUIT_STATE_EXTENDING} and circuit.hops
                    and circuit_id not in (exclude or ())):
                self._ping(circuit)

    def _ping(self, circuit: Circuit) -> None:
        hop = circuit.hop
        cache = self.request_cache.add(PingRequestCache(self, circuit))
        if hop is not None and cache is not None:
            self.send_cell(hop.address, PingPayload(circuit.circuit_id, cache.number))

    @unpack_cell(PingPayload)
    def on_ping(self, source_address: Address, payload: PingPayload, circuit_id: int) -> None:
        """Answer a ping, to the neighbour on the circuit that it came by."""
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is not None:
            exit_socket.beat_heart()
        if exit_socket is not None or circuit_id in self.circuits or circuit_id in self.relay_from_to:
            self.send_cell(self._neighbour(circuit_id, source_address), PongPayload(circuit_id, payload.identifier))

    @unpack_cell(PongPayload)
    def on_pong(self, source_address: Address, payload: PongPayload, circuit_id: int) -> None:
        """Note that a circuit is alive."""
        cache = self.request_cache.get(PingRequestCache, payload.identifier)
        if cache is None or (cache.circuit is not None and cache.circuit.circuit_id != circuit_id):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(PingRequestCache, payload.identifier)
        circuit = self.circuits.get(circuit_id)
        if circuit is not None:
            circuit.beat_heart()
            if circuit.hops and circuit.active - circuit.created > PING_INTERVAL:
                self.path.back_off.note_alive(circuit.hops[0].public_key_bin)

    def _neighbour(self, circuit_id: int, source_address: Address) -> Address:
        """Where answers to cells of a circuit go: to the neighbour, whatever the source of the cell."""
        circuit = self.circuits.get(circuit_id)
        entry = self.exit_sockets.get(circuit_id)
        hop = circuit.hop if circuit is not None else None if entry is None else entry.hop
        return source_address if hop is None else hop.address

    # Speed tests

    def send_test_request(self, circuit: Circuit, request_size: int = 0,
                          response_size: int = 0) -> Future[tuple[bytes, float] | None]:
        """Measure how long a request and its answer take.

        :param request_size: bytes that are sent.
        :param response_size: bytes that are asked for.
        :returns: a future of the answer and the seconds that it took, or of ``None`` if there is none.
        """
        cache = TestRequestCache(self, circuit)
        hop = circuit.hop
        if self.request_cache.add(cache) is not None and hop is not None:
            self.send_cell(hop.address, TestRequestPayload(circuit.circuit_id, cache.number, response_size,
                                                           entropy.randbytes(request_size)))
        return cache.future

    def on_test_request(self, source_address: Address, data: bytes, circuit_id: int | None) -> None:
        """Answer a test request that came from the origin of a circuit, or from the other end of an own one."""
        payload = self.read_cell(TestRequestPayload, data)
        if payload is None or PEER_FLAG_SPEED_TEST not in self.settings.peer_flags or circuit_id is None:
            return
        circuit, exit_socket = self.circuits.get(circuit_id), self.exit_sockets.get(circuit_id)
        if exit_socket is None and (circuit is None or circuit.ctype not in END_TO_END):
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        size = min(payload.response_size, max(MAX_TEST_RESPONSE, len(payload.data)))
        if not self._test_budget.take(circuit_id, size):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        if exit_socket is not None:
            exit_socket.beat_heart()
        self.send_cell(self._neighbour(circuit_id, source_address),
                       TestResponsePayload(circuit_id, payload.identifier, entropy.randbytes(size)))

    @unpack_cell(TestResponsePayload)
    def on_test_response(self, source_address: Address, payload: TestResponsePayload,
                         circuit_id: int) -> None:
        """Note the answer to a test request."""
        cache = self.request_cache.get(TestRequestCache, payload.identifier)
        if cache is None or cache.circuit.circuit_id != circuit_id:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(TestRequestCache, payload.identifier)
        if not cache.future.done():
            cache.future.set_result((payload.data, clock.monotonic() - cache.started))


if TYPE_CHECKING:  # programs import these from here
    from ...community import Community as Community, CommunitySettings as CommunitySettings
    from ...dht.provider import DHTCommunityProvider as DHTCommunityProvider
    from ...lazy_community import lazy_wrapper as lazy_wrapper
    from ...peer import Peer as Peer
    from ...requestcache import RequestCache as RequestCache
    from ...taskmanager import task as task
    from ..interfaces.dispatcher.endpoint import DispatcherEndpoint as DispatcherEndpoint
    from .caches import (
        CreatedRequestCache as CreatedRequestCache,
        CreateRequestCache as CreateRequestCache,
        RetryRequestCache as RetryRequestCache,
    )
    from .crypto import (
        CryptoEndpoint as CryptoEndpoint,
        CryptoException as CryptoException,
        PythonCryptoEndpoint as PythonCryptoEndpoint,
        TunnelCrypto as TunnelCrypto,
    )
    from .exit_socket import TunnelExitSocket as TunnelExitSocket
    from .payload import (
        NO_CRYPTO_PACKETS as NO_CRYPTO_PACKETS,
        CellablePayload as CellablePayload,
        CellPayload as CellPayload,
        CreatedPayload as CreatedPayload,
        CreatePayload as CreatePayload,
        DestroyPayload as DestroyPayload,
        ExtendedPayload as ExtendedPayload,
        ExtendPayload as ExtendPayload,
        ExtraIntroductionPayload as ExtraIntroductionPayload,
        Flags as Flags,
    )
    from .tunnel import (
        BACKWARD as BACKWARD,
        CIRCUIT_TYPE_IP_SEEDER as CIRCUIT_TYPE_IP_SEEDER,
        FORWARD as FORWARD,
        PEER_FLAG_EXIT_BT as PEER_FLAG_EXIT_BT,
        PEER_FLAG_EXIT_IPV8 as PEER_FLAG_EXIT_IPV8,
        PEER_FLAG_RELAY as PEER_FLAG_RELAY,
        Hop as Hop,
        RelayRoute as RelayRoute,
    )
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...community": "Community CommunitySettings",
        "...dht.provider": "DHTCommunityProvider",
        "...lazy_community": "lazy_wrapper",
        "...peer": "Peer",
        "...requestcache": "RequestCache",
        "..interfaces.dispatcher.endpoint": "DispatcherEndpoint",
        "...taskmanager": "task",
        ".caches": "CreatedRequestCache CreateRequestCache RetryRequestCache",
        ".crypto": "CryptoEndpoint CryptoException PythonCryptoEndpoint TunnelCrypto",
        ".exit_socket": "TunnelExitSocket",
        ".payload": "NO_CRYPTO_PACKETS CellablePayload CellPayload CreatedPayload CreatePayload DestroyPayload "
                    "ExtendedPayload ExtendPayload ExtraIntroductionPayload Flags",
        ".tunnel": "BACKWARD CIRCUIT_TYPE_IP_SEEDER FORWARD PEER_FLAG_EXIT_BT PEER_FLAG_EXIT_IPV8 PEER_FLAG_RELAY Hop "
                   "RelayRoute",
    })
