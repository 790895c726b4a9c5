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
from .moments import Moment, age
from .payload import FindRequestPayload, PingRequestPayload, StoreRequestPayload

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..requestcache import RequestCache
    from .admission import Admission
    from .community import DHTCommunity
    from .routing import Node
    from .timing import Measurements

__all__ = ["Request", "Requester", "receive_request", "receive_response"]

REQUEST_TIMEOUT = 5.0
"""Seconds until a request counts as not answered."""
FIND_TIMEOUT = 2.0
"""The same for a find-request."""

IDENTIFIER_SIZE = 4


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
    """

    def __init__(self, overlay: Sender, measurements: Measurements, admission: Admission) -> None:
        self._overlay = overlay
        self._measurements = measurements
        self._admission = admission

    def send(self, request: Request, payload: Payload) -> Future[Any]:
        """Send ``payload``, which has the number of ``request``; the future of the answer."""
        request.payload = payload
        if self._overlay.request_cache.add(request) is not None:
            self._deliver(request, payload)
        return request.future

    def send_again(self, request: Request) -> None:
        """Send the same packet again, unless it has been answered."""
        if request.payload is not None and not request.future.done():
            self._deliver(request, request.payload)

    def _deliver(self, request: Request, payload: Payload) -> None:
        self._measurements.pacer.note(request.node, clock.monotonic())
        self._overlay.ez_send(request.node, payload)

    def ping(self, node: Node) -> Future[Node | None]:
        """Ask ``node`` whether it is there."""
        request = Request(self._overlay, "ping", node, consume_errors=True)
        node.last_ping_sent = Moment.now()
        return self.send(request, PingRequestPayload(request.number))

    def find(self, node: Node, target: bytes, force_nodes: bool, offset: int = 0) -> Request:
        """Ask ``node`` for the values of ``target``, or the nodes near to it; the result is a response or ``None``."""
        request = Request(self._overlay, "find", node, [force_nodes], consume_errors=True, timeout=FIND_TIMEOUT)
        self.send(request, FindRequestPayload(request.number, self._overlay.my_estimated_lan, target, offset,
                                              force_nodes))
        return request

    def store(self, node: Node, token: bytes, key: bytes, values: list[bytes]) -> Future[Node]:
        """Ask ``node`` to store values."""
        request = Request(self._overlay, "store", node)
        return self.send(request, StoreRequestPayload(request.number, token, key, values))

    def waits_for(self, msg_type: str, number: int, key_bin: bytes) -> bool:
        """Whether the owner of ``key_bin`` was sent a request with this number, and has not answered it."""
        request = self._overlay.request_cache.get(msg_type, number)
        return isinstance(request, Request) and request.node.key_bin == key_bin

    def complete(self, msg_type: str, number: int, source_address: Address) -> Request:
        """Take the request that an answer from ``source_address`` belongs to, and learn from it."""
        request = cast("Request", self._overlay.request_cache.pop(msg_type, number))
        request.on_complete()
        if source_address == request.address:
            self._admission.prove(source_address)
            self._measurements.open_ways.heard(source_address, clock.monotonic())
        self._measurements.round_trips.add(request.node.rtt)
        return request


def _seen_at(peer: Peer, source_address: Address) -> Peer:
    """The sender of a packet at the address that the packet came from.

    A known peer may prefer another address, but a request is answered where it came from.
    """
    return peer if peer.address == source_address else Peer(peer.public_key, source_address)


def _allows_request(overlay: DHTCommunity, source_address: Address, _data: bytes, key_bin: bytes, _start: int) -> bool:
    if overlay.admission.allows(key_bin, source_address, overlay.routing_tables.get(type(source_address))):
        return True
    overlay.drops.count(DropCounter.RATE_LIMITED)
    return False


def receive_request(payload_class: type[Payload]) -> Callable[[Callable[..., None]], MessageHandler]:
    """Receive requests within the limits of their sender: ``handler(self, peer, payload, data)``.

    The signature of a request over these limits is not verified.
    """
    classes = (payload_class,)

    def decorator(handler: Callable[..., None]) -> MessageHandler:
        def attempt(self: DHTCommunity, source_address: Address, data: bytes) -> Refusal | None:
            received = try_receive(self, classes, source_address, data, _allows_request)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            peer, payload = received
            self.admission.charge(source_address)
            handler(self, _seen_at(peer, source_address), payload, data)
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
            received = try_receive(self, classes, source_address, data, admit)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            _, payload = received
            handler(self, self.requester.complete(msg_type, payload.identifier, source_address), payload)
            return None
        return raising(attempt, handler)
    return decorator
