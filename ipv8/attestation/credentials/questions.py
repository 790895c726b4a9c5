"""Questions to peers whose answers may need several packets, and which the peer may take minutes to answer.

See doc/protocol/credentials.md section 8. What a question is about is not known here.
"""

from __future__ import annotations

import asyncio
from types import MethodType
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...fill import Fill
from ...keyvault.sealing import SEAL_OVERHEAD, NotSealedForUsError, open_sealed, seal
from ...lazy_community import lazy_wrapper
from ...limits import ExpiringDict, TokenBuckets
from ...messaging.interfaces.network_stats import DropCounter
from ...verification import where_proven
from .claims import read_json, write_json
from .errors import CredentialError, RefusedError
from .payload import AnswerPartPayload, AskPayload, WantedPartsPayload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ...community import Community
    from ...keyvault.keys import PrivateKey
    from ...peer import Peer

__all__ = ["Questions"]

IDENTIFIER_SIZE = 20

PART_SIZE = 1000
"""Bytes of a part of an answer."""

MAX_PARTS = 64
MAX_ANSWER_SIZE = PART_SIZE * MAX_PARTS - SEAL_OVERHEAD - 1

MAX_QUESTION_SIZE = 1000
"""Bytes of a question."""

QUESTION_LIFETIME = 300.0
"""Seconds by which the time in a question may differ from ours, and for which an answer is kept."""

DECISION_LIFETIME = 300.0
"""Seconds that the program has to answer a question. Then it is refused, as whoever asked does not wait any more."""

MAX_QUESTIONS = 256
"""Questions of ours that wait for an answer; further ones are refused."""

MAX_ANSWERS = 256
"""Answers that are kept to be sent again; the oldest is forgotten first."""

MAX_UNDECIDED = 64
MAX_UNDECIDED_OF_PEER = 4
"""Questions that the program has not answered yet, of all peers and of one; further ones are dropped."""

QUESTIONS_PER_SECOND, QUESTIONS_AT_ONCE = 2.0, 20.0
"""Questions of one peer that are read."""

PARTS_PER_SECOND, PARTS_AT_ONCE = 50.0, 200.0
"""Parts of answers that are sent to one peer."""

MAX_PEERS_WITH_BUDGETS = 1024
"""Peers for which budgets are kept; the one that was heard of least recently is forgotten first."""

FIRST_RESEND, LONGEST_RESEND = 1.0, 30.0
"""Seconds after which a question is sent again, doubled from the first to the last."""

PART_PATIENCE = 0.5
"""Seconds after which parts that did not arrive are asked for."""

BURST = 10
"""Parts that are sent at once."""

BURST_PAUSE = 0.01

REFUSED, GIVEN = b"\x00", b"\x01"


class _Question:
    """A question of ours."""

    def __init__(self, peer: Peer, kind: int, identifier: bytes) -> None:
        self.peer = peer
        self.kind = kind
        self.identifier = identifier
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.parts: dict[int, bytes] = {}
        self.total = 0

    def wanted(self) -> int:
        """The parts that are missing, as bits."""
        return sum(1 << part for part in range(self.total) if part not in self.parts)


class Questions:
    """The questions that an overlay asks and answers.

    :param overlay: which sends and receives the messages.
    """

    def __init__(self, overlay: Community) -> None:
        self._overlay = overlay
        self._open: dict[bytes, _Question] = {}
        self._answers: ExpiringDict[tuple[bytes, bytes], bytes | None] = ExpiringDict(MAX_ANSWERS, QUESTION_LIFETIME)
        self._undecided: dict[bytes, int] = {}
        self._answerers: dict[int, Callable[[Peer, dict[str, Any]], Awaitable[bytes | None]]] = {}
        self._question_budget = TokenBuckets(QUESTIONS_PER_SECOND, QUESTIONS_AT_ONCE, MAX_PEERS_WITH_BUDGETS)
        self._part_budget = TokenBuckets(PARTS_PER_SECOND, PARTS_AT_ONCE, MAX_PEERS_WITH_BUDGETS)
        for payload_class, handler in ((AskPayload, self._on_ask), (AnswerPartPayload, self._on_part),
                                       (WantedPartsPayload, self._on_wanted)):
            overlay.add_message_handler(payload_class, _receiver(overlay, payload_class, handler))

    def answer_by(self, kind: int, answerer: Callable[[Peer, dict[str, Any]], Awaitable[bytes | None]]) -> None:
        """Answer questions of a kind by a function; it returns ``None`` to refuse."""
        self._answerers[kind] = answerer

    def give_up(self) -> None:
        """Cancel all questions of ours."""
        for question in self._open.values():
            question.answer.cancel()

    # Asking

    async def ask(self, peer: Peer, kind: int, content: dict[str, Any], timeout: float) -> bytes:
        """Ask a peer, and wait for its answer.

        :raises TimeoutError: if no answer came within ``timeout`` seconds.
        :raises RefusedError: if the peer refuses.
        :raises ValueError: if the question is too long.
        :raises RuntimeError: if too many questions wait for answers.
        """
        text = write_json({**content, "time": int(clock.time())})
        if len(text) > MAX_QUESTION_SIZE:
            raise ValueError(f"the question has {len(text)} bytes, and {MAX_QUESTION_SIZE} are possible: ask for less")
        if len(self._open) >= MAX_QUESTIONS:
            raise RuntimeError(f"{MAX_QUESTIONS} questions wait for answers already")
        identifier = entropy.randbytes(IDENTIFIER_SIZE)
        sealed = seal(peer.public_key, text, _context(b"ask", kind, identifier, self._my_key_bin))
        question = self._open[identifier] = _Question(peer, kind, identifier)
        try:
            return await self._wait(question, AskPayload(identifier, kind, sealed), clock.monotonic() + timeout)
        finally:
            del self._open[identifier]

    async def _wait(self, question: _Question, message: AskPayload, deadline: float) -> bytes:
        delay = FIRST_RESEND
        self._overlay.ez_send(question.peer, message)
        while True:
            pause = min(PART_PATIENCE if question.total else delay, deadline - clock.monotonic())
            if pause <= 0:
                raise TimeoutError(f"{question.peer} has not answered in time")
            await asyncio.wait([question.answer], timeout=pause)
            if question.answer.done():
                return question.answer.result()
            if question.total:
                self._overlay.ez_send(question.peer, WantedPartsPayload(question.identifier, question.wanted()))
            elif pause >= delay:
                self._overlay.ez_send(question.peer, message)
                delay = min(2 * delay, LONGEST_RESEND)

    def _on_part(self, peer: Peer, payload: AnswerPartPayload) -> None:
        question = self._open.get(payload.identifier)
        if question is None or question.peer != peer or question.answer.done():
            self._overlay.drops.count(DropCounter.UNSOLICITED)
            return
        if (not payload.part < payload.parts <= MAX_PARTS or question.total not in {0, payload.parts}
                or len(payload.data) > PART_SIZE):
            self._overlay.drops.count(DropCounter.UNDECODABLE)
            return
        question.total = payload.parts
        question.parts.setdefault(payload.part, payload.data)
        if len(question.parts) == question.total:
            self._complete(question)

    def _complete(self, question: _Question) -> None:
        sealed = b"".join(question.parts[part] for part in range(question.total))
        context = _context(b"answer", question.kind, question.identifier, question.peer.public_key.key_to_bin())
        try:
            answer = open_sealed(self.my_key, sealed, context)
        except NotSealedForUsError as e:
            question.answer.set_exception(CredentialError(str(e)))
            return
        if answer[:1] == GIVEN:
            question.answer.set_result(answer[1:])
        else:
            question.answer.set_exception(RefusedError(f"{question.peer} refuses"))

    # Answering

    def _on_ask(self, peer: Peer, payload: AskPayload) -> None:
        asker = peer.public_key.key_to_bin()
        known = where_proven(self._overlay.network, peer)
        if known is None:  # the answer may be larger than the question: it goes only to where the peer proved to be
            self._overlay.drops.count(DropCounter.UNSOLICITED)
            return
        if not self._question_budget.take(asker):
            self._overlay.drops.count(DropCounter.RATE_LIMITED)
            return
        key = asker, payload.identifier
        if key in self._answers:
            answer = self._answers[key]
            if answer is not None:
                self._start(known, payload.identifier, answer)
            return
        content = self._read(payload, asker)
        answerer = self._answerers.get(payload.kind)
        if content is None or answerer is None or peer.public_key.is_costly:  # nothing can be sealed for other curves
            self._overlay.drops.count(DropCounter.UNDECODABLE)
            return
        undecided = self._undecided.get(asker, 0)
        if undecided >= MAX_UNDECIDED_OF_PEER or sum(self._undecided.values()) >= MAX_UNDECIDED:
            self._overlay.drops.count(DropCounter.RATE_LIMITED)
            return
        self._undecided[asker] = undecided + 1
        self._answers[key] = None
        self._overlay.register_anonymous_task("credential answer", self._answer, known, payload, content, answerer)

    def _read(self, payload: AskPayload, asker: bytes) -> dict[str, Any] | None:
        """The content of a question; ``None`` if it is malformed, or too old."""
        if len(payload.question) > MAX_QUESTION_SIZE + SEAL_OVERHEAD:
            return None
        try:
            text = open_sealed(self.my_key, payload.question,
                               _context(b"ask", payload.kind, payload.identifier, asker))
            content = read_json(text)
        except ValueError:
            return None
        if not isinstance(content, dict) or type(content.get("time")) is not int:
            return None
        return content if abs(content["time"] - clock.time()) <= QUESTION_LIFETIME else None

    async def _answer(self, peer: Peer, payload: AskPayload, content: dict[str, Any],
                      answerer: Callable[[Peer, dict[str, Any]], Awaitable[bytes | None]]) -> None:
        asker = peer.public_key.key_to_bin()
        deciding = asyncio.ensure_future(answerer(peer, content))
        given = None
        try:
            done, _ = await asyncio.wait((deciding,), timeout=DECISION_LIFETIME)
            if done:
                given = deciding.result()
            else:
                self._overlay.logger.info("The program has not answered a question of %s: it is refused", peer)
        except CredentialError as e:
            self._overlay.logger.debug("A question of %s is refused: %s", peer, e)
        except Exception:
            self._overlay.logger.exception("A question of %s is refused, as the program failed to answer it", peer)
        finally:
            deciding.cancel()
            left = self._undecided.pop(asker) - 1
            if left:
                self._undecided[asker] = left
        if given is not None and len(given) > MAX_ANSWER_SIZE:
            self._overlay.logger.warning("An answer for %s has %d bytes: it is too large to be sent", peer, len(given))
            given = None
        answer = REFUSED if given is None else GIVEN + given
        sealed = seal(peer.public_key, answer,
                      _context(b"answer", payload.kind, payload.identifier, self._my_key_bin))
        self._answers[asker, payload.identifier] = sealed
        await self._send(peer, payload.identifier, sealed, -1)

    def _on_wanted(self, peer: Peer, payload: WantedPartsPayload) -> None:
        key = peer.public_key.key_to_bin(), payload.identifier
        known = where_proven(self._overlay.network, peer)
        sealed = self._answers.get(key)
        if sealed is None or known is None:
            self._overlay.drops.count(DropCounter.UNSOLICITED)
            return
        self._start(known, payload.identifier, sealed, payload.wanted)

    def _start(self, peer: Peer, identifier: bytes, sealed: bytes, wanted: int = -1) -> None:
        self._overlay.register_anonymous_task("credential parts", self._send, peer, identifier, sealed, wanted)

    async def _send(self, peer: Peer, identifier: bytes, sealed: bytes, wanted: int) -> None:
        """Send the parts whose bits are set in ``wanted``."""
        parts = [sealed[start:start + PART_SIZE] for start in range(0, len(sealed), PART_SIZE)]
        sent = 0
        for number, part in enumerate(parts):
            if not wanted >> number & 1:
                continue
            if not self._part_budget.take(peer.public_key.key_to_bin()):
                return  # the asker asks for the rest later
            self._overlay.ez_send(peer, AnswerPartPayload(identifier, number, len(parts), part))
            sent += 1
            if sent % BURST == 0:
                await asyncio.sleep(BURST_PAUSE)

    @property
    def my_key(self) -> PrivateKey:
        """The private key of the overlay."""
        key: Any = self._overlay.my_peer.key
        return key  # type: ignore[no-any-return]  # our own peer has the private key

    @property
    def _my_key_bin(self) -> bytes:
        return self._overlay.my_peer.public_key.key_to_bin()

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("questions", len(self._open), MAX_QUESTIONS, rule="further ones are refused")
        yield Fill("undecided questions", sum(self._undecided.values()), MAX_UNDECIDED, rule="further ones are dropped")


def _context(direction: bytes, kind: int, identifier: bytes, sender: bytes) -> bytes:
    """What a sealed message is about, and who says it."""
    return b"ipv8-credentials-v1:" + direction + bytes((kind,)) + identifier + sender


def _receiver(overlay: Community, payload_class: type[Any], handler: Callable[[Peer, Any], None]) -> Any:
    """The handler of a signed message, for the message table of ``overlay``."""
    return MethodType(lazy_wrapper(payload_class)(lambda _, peer, payload: handler(peer, payload)), overlay)
