"""Messages that are answered: the handler returns the answer (doc/request_cache.md).

.. code-block:: python

    class Adder(Community):
        @request(1, answer=2)
        def add(self, peer: Peer, a: int, b: int) -> int:
            return a + b

        async def example(self, peer: Peer) -> None:
            print(await self.ask(peer, self.add, 2, 3))

A request is a signed packet with a header of 12 bytes, an identifier (4 bytes) and a token (8 bytes), and then the
fields as in any message. The answer has the same header, and then what the handler returned. A request that is sent
again is the same packet, and its handler is not called again.

An answer of more than :data:`AMPLIFICATION` times the size of the question goes only to a peer that is known to be at
the address of the question. Any other one is sent a header with a token and nothing else, and sends its question again
with that token. So nobody can direct large answers to the address of somebody else.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from hashlib import blake2b
from inspect import Parameter, isawaitable, signature
from types import MethodType
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from . import clock, entropy
from .declaration import Message, checked_id, is_payload_class
from .lazy_community import raising, try_decode, try_receive
from .limits import ExpiringDict
from .messaging.interfaces.network_stats import DropCounter
from .messaging.payload_dataclass import DataClassPayload, type_from_format
from .messaging.readers import Refusal
from .peer import Peer
from .requestcache import NumberCache
from .util import current_loop
from .verification import HEADER_SIZE, KEY_OFFSET

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Coroutine

    from .messaging.address import Address
    from .messaging.serialization import Payload
    from .taskmanager import Timer

__all__ = ["Answer", "BoundRequest", "Question", "Request", "request"]

DEFAULT_TIMEOUT = 5.0
"""Seconds for which an answer is waited for."""
DEFAULT_RETRIES = 2
"""How often a question is sent again in this time."""
IDENTIFIER_BITS = 32
IDENTIFIER_SIZE = 4
TOKEN_SIZE = 8
NO_TOKEN = 0
SECRET_SIZE = 16

AMPLIFICATION = 3
"""How many times the size of a question its answer may have, unless the peer is known to be at its address."""
TOKEN_LIFETIME = 60.0
"""Seconds for which a token is accepted, at least; at most twice that."""
MAX_ANSWERS = 128
"""Answers to one message that are kept, for questions that are sent again; the oldest is evicted first."""
ANSWER_LIFETIME = 10.0
"""Seconds for which they are kept."""

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass
class Header(DataClassPayload):
    """What is in front of the fields of a question, and in front of an answer."""

    identifier: Annotated[int, type_from_format("I")]
    token: Annotated[int, type_from_format("Q")] = NO_TOKEN


@dataclass
class Body(DataClassPayload):
    """An answer that is not decoded yet: it depends on the question what it is."""

    data: Annotated[bytes, type_from_format("raw")]


class Answer:
    """The answer to a request, as a message: its id, and the classes of its payloads."""

    def __init__(self, msg_id: int, payload_class: type[Payload], whole: bool) -> None:
        self.msg_id = msg_id
        self.payload_class = payload_class
        self._whole = whole

    @property
    def payload_classes(self) -> tuple[type[Payload], ...]:
        """The classes of all payloads of a packet; the last one is ``payload_class``."""
        return (Header, self.payload_class)

    def make(self, value: Any) -> Payload:
        """The payload that carries what a handler returned; ``TypeError`` if that is of another class."""
        if self._whole:
            if not isinstance(value, self.payload_class):
                raise TypeError(f"the answer must be a {self.payload_class.__name__}, not {value!r:.80}")
            return value
        made: Any = self.payload_class
        return cast("Payload", made(value) if made.names else made())

    def value_of(self, payload: Payload) -> Any:
        """What the handler of the other peer returned."""
        if self._whole:
            return payload
        return getattr(payload, "value", None)


class Question(NumberCache):
    """A question to a peer that waits for its answer.

    :param message: what is asked.
    :param peer: who is asked. Only its key can answer.
    :param body: the fields.
    :raises RuntimeError: if no free identifier is found.
    """

    timed_by_task = False

    def __init__(self, message: BoundRequest[Any, Any], peer: Peer, body: Payload) -> None:
        overlay = message.overlay
        prefix = message.declaration.prefix
        super().__init__(overlay.request_cache, prefix, _free_identifier(overlay.request_cache, prefix))
        self.peer = peer
        self.answer: Future[Any] = current_loop().create_future()
        self._message = message
        self._overlay = overlay
        self._body = body
        self._token = NO_TOKEN
        self._packet = self._pack()
        self._left = message.retries
        self._timer: Timer | None = None
        self.register_future(self.answer, TimeoutError(
            f"{peer} did not answer {message.declaration.__name__} in {message.timeout:g} s "
            f"(the question was sent {message.retries + 1} times)"))

    @property
    def timeout_delay(self) -> float:
        """Seconds for which the answer is waited for."""
        return self._message.timeout

    def _pack(self) -> bytes:
        packet: bytes = self._overlay.ezr_pack(self._message.declaration.msg_id, Header(self.number, self._token),
                                               self._body)
        return packet

    async def ask(self) -> Any:
        """Send the question until it is answered, and return the answer; see :meth:`ipv8.community.Community.ask`."""
        request_cache = self._overlay.request_cache
        if request_cache.add(self) is None:
            raise RuntimeError(f"{self._message.declaration.__name__} cannot be asked: the overlay is unloaded, or too "
                               "many requests wait for answers")
        try:
            self._send()
            return await self.answer
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if request_cache.get(self.prefix, self.number) is self:
                request_cache.pop(self.prefix, self.number)

    def _send(self) -> None:
        self._overlay._ez_send_packed(self.peer, self._packet)
        if self._left:
            self._left -= 1
            pause = self._message.timeout / (self._message.retries + 1)
            self._timer = self._overlay.request_cache.start_timer(pause, self._send)

    def use_token(self, token: int) -> None:
        """Send the question with the token that the peer asks for, and from now on. Only the first one is used."""
        if self._token == NO_TOKEN:
            self._token = token
            self._packet = self._pack()
            self._overlay._ez_send_packed(self.peer, self._packet)


def _free_identifier(request_cache: Any, prefix: str) -> int:
    """A random identifier that no open question has."""
    while True:  # there are far fewer questions than identifiers
        number = entropy.randbits(IDENTIFIER_BITS)
        if not request_cache.has(prefix, number):
            return number


class _Answering:
    """Answers the questions of one message of one overlay."""

    def __init__(self, declaration: Request[Any, Any, Any], overlay: Any) -> None:
        self._declaration = declaration
        self._overlay = overlay
        self._call = declaration.unfold()
        self._classes = declaration.payload_classes
        self._secret = entropy.randbytes(SECRET_SIZE)
        # By the content of a question: the packet that answers it, or nothing while its handler runs.
        self._answers: ExpiringDict[bytes, bytes] = ExpiringDict(MAX_ANSWERS, ANSWER_LIFETIME)

    def receive(self, overlay: Any, source_address: Address, data: bytes) -> Any:
        """Handle a question; what is wrong with it is returned."""
        received = try_receive(overlay, self._classes, source_address, data)
        if not isinstance(received, list):
            return received
        peer, header, body = received
        asked = _Asked(peer, source_address, header, len(data), _content(data, peer))
        packet = self._answers.get(asked.content)
        if packet is not None:
            if packet:
                self._reply(asked, packet)
            return None
        self._answers[asked.content] = b""
        try:
            outcome = self._call(overlay, peer, body)
        except BaseException:
            self._forget(asked)
            raise
        if isawaitable(outcome):
            return self._finish(asked, outcome)
        return self._give(asked, outcome)

    async def _finish(self, asked: _Asked, running: Any) -> None:
        try:
            outcome = await running
        except BaseException:
            self._forget(asked)
            raise
        refusal = self._give(asked, outcome)
        if refusal is not None:
            raise refusal

    def _give(self, asked: _Asked, value: Any) -> Refusal | None:
        """Answer with what the handler returned, unless it refused the question."""
        if isinstance(value, Refusal):
            self._forget(asked)
            return value
        try:
            packet = self._pack(Header(asked.header.identifier), self._declaration.answer.make(value))
        except BaseException:
            self._forget(asked)
            raise
        self._answers[asked.content] = packet
        self._reply(asked, packet)
        return None

    def _forget(self, asked: _Asked) -> None:
        if asked.content in self._answers:
            del self._answers[asked.content]

    def _pack(self, *payloads: Payload) -> bytes:
        packet: bytes = self._overlay.ezr_pack(self._declaration.answer.msg_id, *payloads)
        return packet

    def _reply(self, asked: _Asked, packet: bytes) -> None:
        if len(packet) > AMPLIFICATION * asked.size and not self._is_at_its_address(asked):
            packet = self._pack(Header(asked.header.identifier, self._token(asked, self._period())))
        self._overlay._ez_send_packed(asked.source_address, packet)

    def _is_at_its_address(self, asked: _Asked) -> bool:
        if asked.peer.proven and asked.source_address in asked.peer.addresses.values():
            return True
        now = self._period()
        return asked.header.token in {self._token(asked, period) for period in (now, now - 1)}

    @staticmethod
    def _period() -> int:
        return int(clock.monotonic() // TOKEN_LIFETIME)

    def _token(self, asked: _Asked, period: int) -> int:
        place = f"{asked.source_address} {period} ".encode()
        digest = blake2b(place + asked.peer.mid, key=self._secret, digest_size=TOKEN_SIZE).digest()
        return int.from_bytes(digest, "big") or 1  # 0 is no token


@dataclass
class _Asked:
    """A question that was received."""

    peer: Peer
    source_address: Address
    header: Any
    size: int
    content: bytes


def _content(data: bytes, peer: Peer) -> bytes:
    """What is the same in a question, with and without a token, and different in every other question."""
    start = KEY_OFFSET + int.from_bytes(data[HEADER_SIZE:KEY_OFFSET], "big") + IDENTIFIER_SIZE
    end = len(data) - peer.public_key.get_signature_length()
    return blake2b(data[:start] + data[start + TOKEN_SIZE:end], digest_size=20).digest()


class Request(Message[S, Peer, P], Generic[S, P, T_co]):
    """A message of a class of overlays that is answered, which is declared by its handler."""

    def __init__(self, handler: Callable[Concatenate[S, Peer, P], Any], msg_id: int, answer_id: int, timeout: float,
                 retries: int) -> None:
        super().__init__(handler, msg_id, signed=True)
        if self.retrieval is not None:
            raise TypeError(f"{self.__name__} is a question, which no cache waits for: use @retrieve_cache with "
                            "@message")
        self.timeout = timeout
        self.retries = retries
        self._answer_id = answer_id
        self._answer: Answer | None = None
        self._returned = signature(handler).return_annotation
        if self._returned is Parameter.empty:
            raise TypeError(f"{self.__name__} must annotate what it returns, which is the answer; None if there is "
                            "nothing to say but that the question was handled")

    @overload  # type: ignore[override]  # a message is sent, a request is asked
    def __get__(self, instance: None, owner: type) -> Request[S, P, T_co]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> BoundRequest[P, T_co]: ...

    def __get__(self, instance: object | None, owner: type) -> Request[S, P, T_co] | BoundRequest[P, T_co]:
        return self if instance is None else BoundRequest(self, instance, self.timeout, self.retries)

    @property
    def payload_classes(self) -> tuple[type[Payload], ...]:
        """The classes of all payloads of a question; the last one is ``payload_class``."""
        return (Header, self.payload_class)

    @property
    def answer(self) -> Answer:
        """The answer; ``TypeError`` if there is no format for what the handler returns."""
        if self._answer is None:
            self._answer = self._describe_answer()
        return self._answer

    @property
    def prefix(self) -> str:
        """The prefix of the caches of open questions."""
        return f"question {self.msg_id}"

    def _describe_answer(self) -> Answer:
        kind = self.hint("return", self._returned)
        if is_payload_class(kind):
            return Answer(self._answer_id, kind, whole=True)
        fields: list[tuple[str, Any, Any]] = []
        if kind is not type(None):
            self.check_format(kind, "the answer")
            fields.append(("value", kind, dataclasses.field()))
        return Answer(self._answer_id, self.make_class("Answer", fields, self._answer_id), whole=False)

    def receivers(self, overlay: Any) -> list[tuple[int, MethodType]]:
        """The ids of the messages that an overlay receives, question and answer, and what handles their packets."""
        declared = self.answer  # whatever is wrong with it is found here
        answering = _Answering(self, overlay)

        def receive_question(overlay: Any, source_address: Address, data: bytes) -> Any:
            return answering.receive(overlay, source_address, data)

        def receive_answer(overlay: Any, source_address: Address, data: bytes) -> Any:
            return self._receive_answer(declared, overlay, source_address, data)

        return [(self.msg_id, MethodType(self.guard(raising(receive_question, self.handler, signed=True)), overlay)),
                (declared.msg_id, MethodType(raising(receive_answer, signed=True), overlay))]

    def _receive_answer(self, declared: Answer, overlay: Any, source_address: Address, data: bytes) -> Refusal | None:
        received = try_receive(overlay, (Header, Body), source_address, data)
        if not isinstance(received, list):
            return received
        peer, header, body = received
        question = overlay.request_cache.get(self.prefix, header.identifier)
        if not isinstance(question, Question) or question.peer.public_key != peer.public_key:
            # Also the answer to a question that was sent again, and answered twice.
            overlay.drops.count(DropCounter.UNSOLICITED)
            return None
        if header.token != NO_TOKEN:
            question.use_token(header.token)
            return None
        payloads = try_decode(overlay, (declared.payload_class,), body.data, 0)
        if not isinstance(payloads, list):
            return payloads
        overlay.request_cache.pop(self.prefix, header.identifier)
        if not question.answer.done():
            question.answer.set_result(declared.value_of(payloads[0]))
        return None


class BoundRequest(Generic[P, T_co]):
    """A request of one overlay object; see :meth:`ipv8.community.Community.ask`. It can be called like any method.

    :param declaration: the request of the class of the overlay.
    :param overlay: the overlay object.
    :param timeout: seconds for which an answer is waited for.
    :param retries: how often the question is sent again in this time, at equal distances.
    """

    __slots__ = ("declaration", "overlay", "retries", "timeout")

    def __init__(self, declaration: Request[Any, P, T_co], overlay: Any, timeout: float, retries: int) -> None:
        self.declaration = declaration
        self.overlay = overlay
        self.timeout = timeout
        self.retries = retries

    @property
    def payload_class(self) -> type[Payload]:
        """The class of the payload with the fields of the question."""
        return self.declaration.payload_class

    @property
    def answer(self) -> Answer:
        """The answer, as a message."""
        return self.declaration.answer

    def within(self, timeout: float, retries: int | None = None) -> BoundRequest[P, T_co]:
        """The same request, with other limits than those of its declaration.

        :param timeout: seconds for which an answer is waited for.
        :param retries: how often the question is sent again; by default as often as declared.
        """
        retries = self.retries if retries is None else retries
        _check_limits(timeout, retries)
        return BoundRequest(self.declaration, self.overlay, timeout, retries)

    def question(self, peer: Peer, /, *args: P.args, **kwargs: P.kwargs) -> Question:
        """A question to a peer, which is not sent yet.

        :raises TypeError: if ``peer`` is no peer, or the fields are not those of the request.
        """
        if not isinstance(peer, Peer):
            raise TypeError(f"only a Peer can be asked, as only its key can answer, not {peer!r:.80}")
        return Question(self, peer, self.declaration.make(*args, **kwargs))

    def __call__(self, peer: Peer, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the handler, as if ``peer`` had asked; the result is that of the handler, which may be a coroutine."""
        return self.declaration.call(self.overlay, peer, *args, **kwargs)


class RequestDecorator(Protocol):
    """What :func:`request` returns."""

    @overload
    def __call__(self, handler: Callable[Concatenate[S, Peer, P], Coroutine[Any, Any, T]], /) -> Request[S, P, T]: ...

    @overload
    def __call__(self, handler: Callable[Concatenate[S, Peer, P], T], /) -> Request[S, P, T]: ...


def _check_limits(timeout: Any, retries: Any) -> None:
    if not isinstance(timeout, (int, float)) or not (math.isfinite(timeout) and timeout > 0):
        raise ValueError(f"a timeout is a number of seconds greater than zero, not {timeout!r}")
    if not isinstance(retries, int) or retries < 0:
        raise ValueError(f"the number of retries is 0 or more, not {retries!r}")


def request(declared: int, *, answer: int, timeout: float = DEFAULT_TIMEOUT,
            retries: int = DEFAULT_RETRIES) -> RequestDecorator:
    """Declare a message that is answered, by the method that receives it and returns the answer.

    The method may be asynchronous. What it returns has one of the types of fields, or is a payload, or is ``None``.
    If it raises an exception, there is no answer.

    :param declared: the id of the question, 0 to 230.
    :param answer: the id of the answer, another number of 0 to 230.
    :param timeout: seconds for which :meth:`ipv8.community.Community.ask` waits for an answer.
    :param retries: how often the question is sent again in this time, at equal distances.
    """
    question_id, answer_id = checked_id(declared), checked_id(answer)
    if question_id == answer_id:
        raise TypeError(f"question and answer need different ids, not both {question_id}")
    _check_limits(timeout, retries)

    def decorate(handler: Callable[..., Any]) -> Request[Any, Any, Any]:
        return Request(handler, question_id, answer_id, timeout, retries)

    return cast("RequestDecorator", decorate)
