"""Requests that wait for an answer (doc/protocol/dht.md section 3.1), and receiving requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from .. import clock
from ..lazy_community import MessageHandler, raising, try_receive
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.readers import Refusal
from ..peer import Peer
from ..requestcache import RandomNumberCache
from ..util import current_loop
from ..verification import NotAdmittedError
from . import DHTError
from .freshness import FIND_SIZE
from .moments import Moment, age
from .payload import FindRequestPayload, PingRequestPayload, StoreRequestPayload
from .routing import Node
from .tokens import TOKEN_SIZE

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..messaging.lazy_payload import VariablePayload
    from ..messaging.serialization import Payload
    from ..requestcache import RequestCache
    from ..verification import Admit
    from .admission import Admission
    from .community import DHTCommunity
    from .crawl import Response
    from .freshness import Freshness
    from .routing import RoutingTable
    from .timing import Measurements

__all__ = ["Request", "Requester", "receive_request", "receive_response"]

REQUEST_TIMEOUT = 5.0
"""Seconds until a request counts as not answered."""
FIND_TIMEOUT = 2.0
"""The same for a find-request."""

IDENTIFIER_SIZE = 4
NUMBER_BITS = 16
NUMBER_MASK = (1 << NUMBER_BITS) - 1
"""The bits of an identifier by which the request is found; the others may show that it is new."""


class Sender(Protocol):
    """What requests need of an overlay."""

    @property
    def request_cache(self) -> RequestCache:
        """The requests that have not been answered."""

    @property
    def my_estimated_lan(self) -> Address:
        """The address of this node in its local network."""

    def ez_send(self, peer: Peer, *payloads: Payload) -> None:
        """Send a signed packet."""


class Request(RandomNumberCache):
    """A request that has not been answered yet.

    :param msg_type: ``"ping"``, ``"store"``, ``"find"``, ``"store-peer"`` or ``"connect-peer"``.
    :param node: the node that is asked; only the owner of its key can answer.
    :param params: what is needed to understand the answer.
    :param consume_errors: whether the result is ``None``, instead of a ``DHTError``, if there is no answer.
    :param timeout: seconds to wait for an answer.
    """

    timed_by_task = False

    def __init__(self, community: Sender, msg_type: str, node: Node, params: list[Any] | None = None,
                 consume_errors: bool = False, timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(community.request_cache, msg_type)
        self.msg_type = msg_type
        self.node = node
        self.address: Address = node.address
        self.params = params
        self.future: Future[Any] = current_loop().create_future()
        #: Seconds since the Unix epoch.
        self.start_time: float = Moment.now()
        self.consume_errors = consume_errors
        self.timeout = timeout
        #: What the answer repeats: the number, and more bits in front of it.
        self._identifier = self.number
        self.payload: Payload | None = None
        self.register_future(self.future)

    @property
    def timeout_delay(self) -> float:
        """Seconds to wait for an answer."""
        return self.timeout

    def on_timeout(self) -> None:
        """Count a failure of the node, and end the future."""
        if self.future.done():
            return
        self.node.failed += 1
        if self.consume_errors:
            self.future.set_result(None)
        else:
            self.future.set_exception(DHTError(f"Timeout for {self.msg_type} to {self.node}"))

    def on_complete(self) -> None:
        """Note that the node has answered, and how long that took."""
        self.node.last_response = Moment.now()
        self.node.failed = 0
        self.node.rtt = max(0.0, age(self.start_time))

    def resolve(self, result: Any) -> None:
        """End the future with ``result``."""
        if not self.future.done():
            self.future.set_result(result)


class Requester:
    """Sends requests, and takes their answers.

    :param overlay: what packs, signs and sends them.
    :param measurements: learns from the answers.
    :param admission: learns which addresses are proven by them.
    :param freshness: marks find-requests as new, and tells whether those of others are.
    """

    def __init__(self, overlay: Sender, measurements: Measurements, admission: Admission, freshness: Freshness) -> None:
        self._overlay = overlay
        self._measurements = measurements
        self._admission = admission
        self.freshness = freshness
        self._waiting: dict[Future[Any], Request] = {}

    def send(self, request: Request, payload: Payload) -> Future[Any]:
        """Send ``payload``, which has the number of ``request``; the future of the answer."""
        request.payload = payload
        if self._overlay.request_cache.add(request) is not None:
            self._waiting[request.future] = request
            request.future.add_done_callback(self._waiting.pop)
            self._deliver(request, payload)
        return request.future

    def send_again(self, future: Future[Any]) -> None:
        """Send the packet again to which ``future`` is the answer, unless it has been answered."""
        request = self._waiting.get(future)
        if request is not None and request.payload is not None and not future.done():
            self._deliver(request, request.payload)

    def _deliver(self, request: Request, payload: Payload) -> None:
        self._measurements.pacer.note(request.node, clock.monotonic())
        self._overlay.ez_send(request.node, payload)

    def ping(self, node: Node) -> Future[Node | None]:
        """Ask ``node`` whether it is there."""
        request = Request(self._overlay, "ping", node, consume_errors=True)
        node.last_ping_sent = Moment.now()
        return self.send(request, PingRequestPayload(request.number))

    def find(self, node: Node, target: bytes, force_nodes: bool, offset: int = 0) -> Future[Response | None]:
        """Ask ``node`` for the values of ``target``, or the nodes near to it; the result is a response or ``None``."""
        request = Request(self._overlay, "find", node, [force_nodes], consume_errors=True, timeout=FIND_TIMEOUT)
        payload = FindRequestPayload(request.number, self._overlay.my_estimated_lan, target, offset, force_nodes)
        payload.identifier = request._identifier = request.number | self.freshness.mark(node, payload) << NUMBER_BITS
        return self.send(request, payload)

    def store(self, node: Node, token: bytes, key: bytes, values: list[bytes]) -> Future[Node]:
        """Ask ``node`` to store values."""
        request = Request(self._overlay, "store", node)
        return self.send(request, StoreRequestPayload(request.number, token, key, values))

    def on_held_up(self, key_bin: bytes, address: Address, table: RoutingTable | None) -> None:
        """Ask a node for a token whose find-request was dropped, as it had sent too many: somebody may repeat them."""
        if self._admission.wants_proof(key_bin, address, table):
            node = Node(key_bin, address)
            self.find(node, node.id, force_nodes=True)

    def waits_for(self, msg_type: str, number: int, key_bin: bytes) -> bool:
        """Whether the owner of ``key_bin`` was sent a request with this identifier, and has not answered it."""
        request = self._overlay.request_cache.get(msg_type, number & NUMBER_MASK)
        return isinstance(request, Request) and request._identifier == number and request.node.key_bin == key_bin

    def complete(self, msg_type: str, number: int, source_address: Address) -> Request:
        """Take the request that an answer from ``source_address`` belongs to, and learn from it."""
        request = cast("Request", self._overlay.request_cache.pop(msg_type, number & NUMBER_MASK))
        request.on_complete()
        if source_address == request.address:
            self._admission.prove(source_address, request.node.key_bin)
            self._measurements.open_ways.heard(source_address, clock.monotonic())
        self._measurements.round_trips.add(request.node.rtt)
        return request


def _seen_at(peer: Peer, source_address: Address) -> Peer:
    """The sender of a packet at the address that the packet came from.

    A known peer may prefer another address, but a request is answered where it came from.
    """
    return peer if peer.address == source_address else Peer(peer.public_key, source_address)


TOKEN_START, TOKEN_END = IDENTIFIER_SIZE, IDENTIFIER_SIZE + TOKEN_SIZE
"""Where the token is in the messages that have one."""


def _admit_request(has_token: bool, is_find: bool) -> Admit:
    """What decides about requests before their signatures are verified.

    :param has_token: whether the requests have a token.
    :param is_find: whether they are find-requests, which may show that they are new.
    """
    def admit(overlay: DHTCommunity, source_address: Address, data: bytes, key_bin: bytes, start: int) -> bool:
        def is_new(mid: bytes) -> bool:
            if is_find:
                return overlay.requester.freshness.is_marked(source_address, mid, data[start:start + FIND_SIZE])
            token = data[start + TOKEN_START:start + TOKEN_END]
            return has_token and overlay.token_issuer.accepts(source_address, mid, token)

        table = overlay.routing_tables.get(type(source_address))
        reason = overlay.admission.refusal(key_bin, source_address, data, table, is_new)
        if reason is not None:
            overlay.drops.count(reason)
        if reason == DropCounter.RATE_LIMITED and is_find:
            overlay.requester.on_held_up(key_bin, source_address, table)
        return reason is None

    return admit


def receive_request(payload_class: type[VariablePayload]) -> Callable[[Callable[..., None]], MessageHandler]:
    """Receive requests within the limits of their sender: ``handler(self, peer, payload, data)``.

    The signature of a request over these limits is not verified, nor is that of one that was received before.
    """
    classes = (payload_class,)
    admit = _admit_request("token" in payload_class.names, payload_class is FindRequestPayload)

    def decorator(handler: Callable[..., None]) -> MessageHandler:
        def attempt(self: DHTCommunity, source_address: Address, data: bytes) -> Refusal | None:
            received = try_receive(self, classes, source_address, data, admit)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            peer, payload = received
            try:
                handler(self, _seen_at(peer, source_address), payload, data)
            finally:
                self.admission.charge(peer.key_bin, source_address, data)
            return None
        return raising(attempt, handler)
    return decorator


def receive_response(payload_class: type[Payload], msg_type: str) -> Callable[[Callable[..., None]], MessageHandler]:
    """Receive answers to requests of ``msg_type`` from the node that was asked: ``handler(self, request, payload)``.

    The signature of any other answer is not verified. The request is completed before the handler is called.
    """
    def admit(overlay: DHTCommunity, _source_address: Address, data: bytes, key_bin: bytes, start: int) -> bool:
        number = int.from_bytes(data[start:start + IDENTIFIER_SIZE], "big")  # the first field of all messages
        if overlay.requester.waits_for(msg_type, number, key_bin):
            return True
        overlay.drops.count(DropCounter.UNSOLICITED)
        return False

    classes = (payload_class,)

    def decorator(handler: Callable[..., None]) -> MessageHandler:
        def attempt(self: DHTCommunity, source_address: Address, data: bytes) -> Refusal | None:
            received = try_receive(self, classes, source_address, data, admit, solicited=True)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            _, payload = received
            handler(self, self.requester.complete(msg_type, payload.identifier, source_address), payload)
            return None
        return raising(attempt, handler)
    return decorator
