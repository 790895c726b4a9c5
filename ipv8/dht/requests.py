"""Requests in flight (spec 07 section 10.2), and receiving requests and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .. import clock
from ..lazy_community import MessageHandler, raising, try_receive
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.readers import Refusal
from ..peer import Peer
from ..requestcache import RandomNumberCache
from ..util import current_loop
from ..verification import NotAdmittedError
from . import DHTError
from .diversity import budget_key

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from .node import DHTNode
    from .routing import Node

__all__ = ["Request", "receive_request", "receive_response"]

REQUEST_TIMEOUT = 5.0
"""Seconds until a request counts as not answered."""

IDENTIFIER_SIZE = 4


class Request(RandomNumberCache):
    """A request that was not answered yet.

    :param msg_type: ``"ping"``, ``"store"``, ``"find"``, ``"store-peer"`` or ``"connect-peer"``.
    :param node: who was asked; only the owner of its key can answer.
    :param params: what is needed to understand the answer.
    :param consume_errors: whether the result is ``None``, instead of a ``DHTError``, if there is no answer.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(self, community: DHTNode, msg_type: str, node: Node, params: list[Any] | None = None,
                 consume_errors: bool = False, timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(community.request_cache, msg_type)
        self.msg_type = msg_type
        self.node = node
        self.address: Address = node.address
        self.params = params
        self.future: Future[Any] = current_loop().create_future()
        self.start_time = clock.time()
        self.consume_errors = consume_errors
        self.timeout = timeout
        self.packet = b""
        self.register_future(self.future)

    @property
    def timeout_delay(self) -> float:
        """Seconds to wait for an answer."""
        return self.timeout

    def on_timeout(self) -> None:
        """Hold it against the node that it did not answer."""
        if self.future.done():
            return
        self.node.failed += 1
        if self.consume_errors:
            self.future.set_result(None)
        else:
            self.future.set_exception(DHTError(f"Timeout for {self.msg_type} to {self.node}"))

    def on_complete(self) -> None:
        """Note in the node's favour that it has answered."""
        now = clock.time()
        self.node.last_response = now
        self.node.failed = 0
        self.node.rtt = max(0.0, now - self.start_time)

    def resolve(self, result: Any) -> None:
        """Hand the result to whoever waits for it."""
        if not self.future.done():
            self.future.set_result(result)


def _seen_at(peer: Peer, source_address: Address) -> Peer:
    """The sender of a packet at the address that it came from.

    A known peer may prefer another address, but what is asked from this one is answered there (spec 07 B13).
    """
    return peer if peer.address == source_address else Peer(peer.public_key, source_address)


def _admit_request(overlay: DHTNode, source_address: Address, _data: bytes, key_bin: bytes, _start: int) -> bool:
    if (overlay.request_budget.holds(budget_key(source_address[0]))
            and not overlay.is_blocked(key_bin, source_address)):
        return True
    overlay.drops.count(DropCounter.RATE_LIMITED)
    return False


def receive_request(payload_class: type[Payload]) -> Callable[[Callable[..., None]], MessageHandler]:
    """Receive requests, within the budget of their source: ``handler(self, peer, payload, data)``.

    A source that is over its budget, or a key that is blocked, does not even get its signature verified.
    """
    classes = (payload_class,)

    def decorator(handler: Callable[..., None]) -> MessageHandler:
        def attempt(self: DHTNode, source_address: Address, data: bytes) -> Refusal | None:
            received = try_receive(self, classes, source_address, data, _admit_request)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            peer, payload = received
            self.request_budget.take(budget_key(source_address[0]))
            handler(self, _seen_at(peer, source_address), payload, data)
            return None
        return raising(attempt, handler)
    return decorator


def receive_response(payload_class: type[Payload], msg_type: str) -> Callable[[Callable[..., None]], MessageHandler]:
    """Receive answers to requests of ``msg_type`` from whom was asked only: ``handler(self, request, payload)``.

    What was not asked for does not even get its signature verified. The request is popped and completed.
    """
    def admit(overlay: DHTNode, _source_address: Address, data: bytes, key_bin: bytes, start: int) -> bool:
        request = overlay.request_cache.get(msg_type, _identifier(data, start))
        if isinstance(request, Request) and request.node.key_bin == key_bin:
            return True
        overlay.drops.count(DropCounter.UNSOLICITED)
        return False

    classes = (payload_class,)

    def decorator(handler: Callable[..., None]) -> MessageHandler:
        def attempt(self: DHTNode, source_address: Address, data: bytes) -> Refusal | None:
            received = try_receive(self, classes, source_address, data, admit)
            if isinstance(received, Refusal):
                return None if isinstance(received, NotAdmittedError) else received
            _, payload = received
            request = cast("Request", self.request_cache.pop(msg_type, payload.identifier))
            request.on_complete()
            self.on_answer(request, source_address)
            handler(self, request, payload)
            return None
        return raising(attempt, handler)
    return decorator


def _identifier(data: bytes, start: int) -> int:
    """What all messages of the DHT begin with."""
    return int.from_bytes(data[start:start + IDENTIFIER_SIZE], "big")
