"""Messages that are answered: declarations, time limits, retries, cancellation, and who may answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from ipv8.asking import ANSWER_LIFETIME, MAX_ANSWERS, TOKEN_LIFETIME, Header, Question, request
from ipv8.community import Community
from ipv8.declaration import message
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.serialization import PackError, UnpackError
from ipv8.peer import Peer
from ipv8.requestcache import RandomNumberCacheWithName
from ipv8.test.base import TestBase


@dataclass
class Sum(DataClassPayload):
    total: int
    terms: list[int]


@dataclass
class Terms(DataClassPayload):
    terms: list[int]


class Sign(Enum):
    MINUS = -1
    PLUS = 1


class Calculator(Community):
    community_id = b"calculator".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.calls: list[Any] = []
        self.may_go_on = asyncio.Event()

    @request(1, answer=2)
    def add(self, peer: Peer, a: int, b: int = 1) -> int:
        """The sum."""
        self.calls.append((peer.mid, a, b))
        return a + b

    @request(3, answer=4, timeout=0.2, retries=3)
    async def slowly(self, peer: Peer, *, text: str) -> str | None:
        self.calls.append(text)
        await self.may_go_on.wait()
        return text or None

    @request(5, answer=6)
    def total(self, peer: Peer, terms: Terms) -> Sum:
        return Sum(sum(terms.terms), terms.terms)

    @request(7, answer=8)
    def note(self, peer: Peer, signs: list[Sign]) -> None:
        self.calls.append(signs)

    @request(9, answer=10, timeout=0.05, retries=0)
    def fail(self, peer: Peer, kind: str) -> int:
        self.calls.append(kind)
        if kind == "refuse":
            raise UnpackError((((0, ("x", "y")),), 0, None))
        if kind == "return":
            return UnpackError((((0, ("x", "y")),), 0, None))  # type: ignore[return-value]  # refuses as well
        if kind == "type":
            return "text"  # type: ignore[return-value]  # the mistake
        raise LookupError(kind)

    @request(11, answer=12)
    def big(self, peer: Peer, size: int) -> bytes:
        self.calls.append(size)
        return bytes(size)

    @request(13, answer=14)
    async def wrong(self, peer: Peer) -> Sum:
        return 5  # type: ignore[return-value]  # the mistake


def where(overlay: Any) -> Peer:
    return Peer(overlay.my_peer.public_key, overlay.endpoint.wan_address)


@pytest.fixture
def pair(make_overlay: Any, virtual_time: None) -> tuple[Any, Any]:
    return make_overlay(Calculator), make_overlay(Calculator)


def sent(overlay: Any) -> Counter[int]:
    """How many packets of each message an overlay has sent."""
    return Counter(packet[22] for _, packet in overlay.endpoint.sent)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# -- what is said ----------------------------------------------------------------------------------------------------

async def test_the_handler_returns_the_answer(pair: Any) -> None:
    ours, theirs = pair
    assert await ours.ask(where(theirs), ours.add, 2, 3) == 5
    assert await ours.ask(where(theirs), ours.add, 2) == 3
    assert await ours.ask(where(theirs), ours.add, b=7, a=1) == 8
    assert theirs.calls == [(ours.my_peer.mid, 2, 3), (ours.my_peer.mid, 2, 1), (ours.my_peer.mid, 1, 7)]
    assert not ours.request_cache._identifiers
    assert not ours.request_cache._timers


async def test_asynchronous_handlers_and_optional_answers(pair: Any) -> None:
    ours, theirs = pair
    theirs.may_go_on.set()
    assert await ours.ask(where(theirs), ours.slowly, text="a") == "a"
    assert await ours.ask(where(theirs), ours.slowly, text="") is None


async def test_payload_classes(pair: Any) -> None:
    ours, theirs = pair
    assert await ours.ask(where(theirs), ours.total, Terms([1, 2])) == Sum(3, [1, 2])


async def test_an_answer_may_say_nothing(pair: Any) -> None:
    ours, theirs = pair
    assert await ours.ask(where(theirs), ours.note, [Sign.PLUS, Sign.MINUS]) is None
    assert theirs.calls == [[Sign.PLUS, Sign.MINUS]]


def test_a_request_can_be_called(pair: Any) -> None:
    ours, _ = pair
    assert ours.add(ours.my_peer, 4, 5) == 9
    assert ours.total(ours.my_peer, Terms([4])) == Sum(4, [4])


def test_the_class_shows_what_it_declares(pair: Any) -> None:
    assert (Calculator.add.msg_id, Calculator.add.answer.msg_id) == (1, 2)
    assert Calculator.add.__doc__ == "The sum."
    assert Calculator.total.payload_class is pair[0].total.payload_class is Terms
    assert Calculator.total.answer.payload_class is Sum
    assert pair[0].total.answer is Calculator.total.answer


async def test_the_bytes_on_the_wire(pair: Any) -> None:
    ours, theirs = pair
    await ours.ask(where(theirs), ours.add, 2, 3)
    (_, question), (_, answer) = ours.endpoint.sent[-1], theirs.endpoint.sent[-1]
    body = slice(23 + 2 + 74, -64)
    identifier = question[body][:4]
    assert question[body] == identifier + bytes(8) + (2).to_bytes(8, "big") + (3).to_bytes(8, "big")
    assert answer[body] == identifier + bytes(8) + (5).to_bytes(8, "big")


# -- limits ----------------------------------------------------------------------------------------------------------

async def test_nobody_answers(pair: Any) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError, match=r"did not answer slowly in 0\.2 s \(the question was sent 4 times\)"):
        await ours.ask(where(theirs), ours.slowly, text="a")
    assert sent(ours)[3] == 4
    assert len({packet for _, packet in ours.endpoint.sent}) == 1
    assert theirs.calls == ["a"]  # although it was asked four times
    assert not ours.request_cache._timers


async def test_a_lost_question_is_sent_again(pair: Any) -> None:
    ours, theirs = pair
    send = ours.endpoint.send
    lost: list[Any] = []
    ours.endpoint.send = lambda *packet: lost.append(packet) if len(lost) < 2 else send(*packet)
    assert await ours.ask(where(theirs), ours.add.within(0.3, retries=2), 1, 1) == 2
    assert len(theirs.calls) == 1


async def test_a_lost_answer_is_given_again(pair: Any) -> None:
    ours, theirs = pair
    send = theirs.endpoint.send
    lost: list[Any] = []
    theirs.endpoint.send = lambda *packet: lost.append(packet) if not lost else send(*packet)
    assert await ours.ask(where(theirs), ours.add.within(0.2, retries=1), 1, 1) == 2
    assert len(theirs.calls) == 1
    assert len(lost) == 1


async def test_limits_of_one_call(pair: Any) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError, match=r"in 0\.01 s \(the question was sent 1 times\)"):
        await ours.ask(where(theirs), ours.slowly.within(0.01, retries=0), text="a")
    assert ours.slowly.within(7.0).retries == 3
    for limits in ((0,), (-1.0,), (float("nan"),), (float("inf"),), ("1",), (1.0, -1), (1.0, 0.5)):
        with pytest.raises(ValueError, match=r"greater than zero|0 or more"):
            ours.slowly.within(*limits)


async def test_cancellation_ends_the_question(pair: Any) -> None:
    ours, theirs = pair
    asking = asyncio.ensure_future(ours.ask(where(theirs), ours.slowly, text="a"))
    await settle()
    assert len(ours.request_cache._identifiers) == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not ours.request_cache._identifiers
    assert not ours.request_cache._timers
    theirs.may_go_on.set()
    await settle()
    assert ours.drops == {DropCounter.UNSOLICITED: 1}


async def test_unloading_ends_the_question(pair: Any) -> None:
    ours, theirs = pair
    asking = asyncio.ensure_future(ours.ask(where(theirs), ours.slowly, text="a"))
    await settle()
    await ours.unload()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(RuntimeError, match="add cannot be asked: the overlay is unloaded"):
        await ours.ask(where(theirs), ours.add, 1, 2)


async def test_timeouts_of_tests(pair: Any) -> None:
    ours, theirs = pair
    with ours.request_cache.passthrough(Question), pytest.raises(TimeoutError):
        await ours.ask(where(theirs), ours.slowly.within(1000.0), text="a")


# -- mistakes --------------------------------------------------------------------------------------------------------

async def test_handlers_that_raise_do_not_answer(pair: Any, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair
    for kind in ("refuse", "return", "bug", "type", "bug"):
        with pytest.raises(TimeoutError):
            await ours.ask(where(theirs), ours.fail, kind)
    assert theirs.calls == ["refuse", "return", "bug", "type", "bug"]
    assert theirs.drops["undecodable"] == 2
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        LookupError, PackError, LookupError]


async def test_answers_of_another_class_are_bugs(pair: Any, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError):
        await ours.ask(where(theirs), ours.wrong.within(0.05, retries=0))
    assert "the answer must be a Sum, not 5" in caplog.text


async def test_a_handler_that_failed_is_called_again(pair: Any) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError):
        await ours.ask(where(theirs), ours.fail.within(0.1, retries=2), "bug")
    assert theirs.calls == ["bug"] * 3


@pytest.mark.parametrize("fields", [("x", 1), (1, 2, 3), (2**63, 1)])
async def test_wrong_fields_raise_at_once(pair: Any, fields: Any) -> None:
    ours, theirs = pair
    with pytest.raises((TypeError, PackError)):
        await ours.ask(where(theirs), ours.add, *fields)
    assert not ours.endpoint.sent


async def test_errors_name_message_and_field(pair: Any) -> None:
    ours, theirs = pair
    with pytest.raises(PackError, match=r"field: AddPayload\.b"):
        await ours.ask(where(theirs), ours.add, 1, "x")


async def test_only_peers_can_be_asked(pair: Any) -> None:
    ours, theirs = pair
    with pytest.raises(TypeError, match="only a Peer can be asked"):
        await ours.ask(theirs.endpoint.wan_address, ours.add, 1, 2)


def unsaid(self: Any, peer: Peer, number: int): ...  # type: ignore[no-untyped-def]  # the mistake


def either(self: Any, peer: Peer, number: int) -> int | str: ...  # type: ignore[empty-body]  # never called


def unknown(self: Any, peer: Peer, number: int) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821 - the mistake


def good(self: Any, peer: Peer, number: int) -> int:
    return number


def test_declarations_that_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="unsaid must annotate what it returns"):
        request(1, answer=2)(unsaid)
    with pytest.raises(TypeError, match="need different ids, not both 1"):
        request(1, answer=1)(good)
    with pytest.raises(TypeError, match="a number from 0 to 230"):
        request(1, answer=231)(good)
    with pytest.raises(TypeError, match="a number from 0 to 230"):
        request(good, answer=1)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="greater than zero"):
        request(1, answer=2, timeout=0)
    with pytest.raises(ValueError, match="0 or more"):
        request(1, answer=2, retries=-1)


@pytest.mark.parametrize(("handler", "advice"), [
    (either, r"either: no format for the type int \| str of the answer: use bool, int"),
    (unknown, "unknown names a type for return that its module does not define: name 'Nowhere'"),
])
def test_an_overlay_with_such_an_answer_is_not_made(make_overlay: Any, handler: Any, advice: str) -> None:
    overlay = type("Vague", (Community,), {"community_id": bytes(20), "asked": request(1, answer=2)(handler)})
    with pytest.raises(TypeError, match=advice):
        make_overlay(overlay)


def test_ids_that_are_taken(make_overlay: Any) -> None:
    class Double(Calculator):
        @message(2)
        def also(self, peer: Peer, text: str) -> None: ...

    with pytest.raises(RuntimeError, match="message 2 cannot be handled"):
        make_overlay(Double)


# -- who answers, and where ------------------------------------------------------------------------------------------

async def test_only_the_peer_that_was_asked_answers(pair: Any, make_overlay: Any) -> None:
    ours, theirs = pair
    other = make_overlay(Calculator)
    asking = asyncio.ensure_future(ours.ask(where(theirs), ours.slowly.within(5.0, retries=0), text="a"))
    await settle()
    (question,) = ours.request_cache._identifiers.values()
    assert isinstance(question, Question)
    answer = Calculator.slowly.answer
    header, body = Header(question.number), answer.make("forged")
    ours.on_packet((theirs.endpoint.wan_address, other.ezr_pack(answer.msg_id, header, body)))
    ours.on_packet((theirs.endpoint.wan_address, theirs.ezr_pack(answer.msg_id, header)))  # nothing in it
    await settle()
    assert not asking.done()
    assert ours.drops == {DropCounter.UNSOLICITED: 1, "undecodable": 1}
    theirs.may_go_on.set()
    assert await asking == "a"
    ours.on_packet((theirs.endpoint.wan_address, theirs.ezr_pack(answer.msg_id, header, body)))  # a second answer
    assert ours.drops[DropCounter.UNSOLICITED] == 2


async def test_large_answers_need_a_peer_at_its_address(pair: Any) -> None:
    ours, theirs = pair
    assert await ours.ask(where(theirs), ours.big, 100) == bytes(100)
    assert (sent(ours)[11], sent(theirs)[12]) == (1, 1)
    assert await ours.ask(where(theirs), ours.big, 10_000) == bytes(10_000)
    assert (sent(ours)[11], sent(theirs)[12]) == (3, 3)  # a token came first
    assert theirs.calls == [100, 10_000]
    (_, question), (_, token) = ours.endpoint.sent[-2], theirs.endpoint.sent[-2]
    assert len(token) <= len(question)
    assert all(len(packet) <= 3 * len(question) for _, packet in theirs.endpoint.sent[:-1])


async def test_a_proven_peer_needs_no_token(pair: Any) -> None:
    ours, theirs = pair
    asker = where(ours)
    theirs.network.add_verified_peer(asker)
    theirs.network.mark_proven(asker)
    assert await ours.ask(where(theirs), ours.big, 10_000) == bytes(10_000)
    assert sent(theirs)[12] == 1


async def test_a_replayed_question_directs_nothing_large_elsewhere(pair: Any) -> None:
    ours, theirs = pair
    await ours.ask(where(theirs), ours.big, 10_000)
    (_, without), (_, with_token) = ours.endpoint.sent[-2:]
    theirs.endpoint.deliver = False
    for packet in (without, with_token):
        theirs.endpoint.sent.clear()
        theirs.on_packet((("9.9.9.9", 9), packet))
        (target, reply), = theirs.endpoint.sent
        assert target == ("9.9.9.9", 9)
        assert len(reply) <= len(packet)
    assert theirs.calls == [10_000]


async def test_tokens_expire(pair: Any, manual_clock: Any) -> None:
    ours, theirs = pair
    await ours.ask(where(theirs), ours.big, 10_000)
    _, with_token = ours.endpoint.sent[-1]
    for seconds, is_answered in ((TOKEN_LIFETIME - 1, True), (TOKEN_LIFETIME + 2, False)):
        manual_clock.advance(seconds)
        theirs.endpoint.sent.clear()
        theirs.on_packet((ours.endpoint.wan_address, with_token))
        assert (len(theirs.endpoint.sent[0][1]) > 10_000) == is_answered


async def test_a_second_token_is_not_followed(pair: Any) -> None:
    ours, theirs = pair
    asking = asyncio.ensure_future(ours.ask(where(theirs), ours.slowly.within(0.1, retries=0), text="a"))
    await settle()
    (question,) = ours.request_cache._identifiers.values()
    for token in (1, 2, 1):
        ours.on_packet((theirs.endpoint.wan_address, theirs.ezr_pack(4, Header(question.number, token))))
    assert sent(ours)[3] == 2
    with pytest.raises(TimeoutError):
        await asking


async def test_answers_are_kept_within_limits(pair: Any, manual_clock: Any) -> None:
    ours, theirs = pair
    for number in range(MAX_ANSWERS + 1):
        await ours.ask(where(theirs), ours.add, number)
    questions = [packet for _, packet in ours.endpoint.sent]
    theirs.calls.clear()
    theirs.on_packet((ours.endpoint.wan_address, questions[-1]))
    assert theirs.calls == []
    theirs.on_packet((ours.endpoint.wan_address, questions[0]))
    assert len(theirs.calls) == 1  # its answer had to make room
    manual_clock.advance(ANSWER_LIFETIME + 1)
    theirs.on_packet((ours.endpoint.wan_address, questions[-1]))
    assert len(theirs.calls) == 2


async def test_forged_and_malformed_questions_are_counted(pair: Any) -> None:
    ours, theirs = pair
    await ours.ask(where(theirs), ours.add, 1)
    _, packet = ours.endpoint.sent[-1]
    theirs.on_packet((ours.endpoint.wan_address, packet[:-1] + bytes([packet[-1] ^ 1])))
    theirs.on_packet((ours.endpoint.wan_address, ours.ezr_pack(1)))
    theirs.on_packet((ours.endpoint.wan_address, packet[:30]))
    assert sum(theirs.drops.values()) == 3
    assert len(theirs.calls) == 1
    ours.on_packet((theirs.endpoint.wan_address, theirs.ezr_pack(2)))
    assert sum(ours.drops.values()) == 1


# -- in the test kit -------------------------------------------------------------------------------------------------

class TestInTheKit(TestBase[Calculator]):
    """Questions between the nodes of a test case."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(Calculator, 2)

    async def test_received(self) -> None:
        with self.assertReceivedBy(1, [Calculator.add]) as questions, \
                self.assertReceivedBy(0, [Calculator.add.answer]) as answers:
            assert await self.overlay(0).ask(self.peer(1), self.overlay(0).add, 1, 2) == 3
        assert [(question.a, question.b) for question in questions] == [(1, 2)]  # type: ignore[attr-defined]
        assert [answer.value for answer in answers] == [3]  # type: ignore[attr-defined]

    async def test_filtered_and_unordered(self) -> None:
        with self.assertReceivedBy(1, [Calculator.note, Calculator.add], ordered=False,
                                   message_filter=[Calculator.add, Calculator.note]):
            await self.overlay(0).ask(self.peer(1), self.overlay(0).add, 1, 2)
            await self.overlay(0).ask(self.peer(1), self.overlay(0).note, [])

    async def test_not_received(self) -> None:
        with pytest.raises(AssertionError), self.assertReceivedBy(1, [Calculator.add]):
            pass

    async def test_large_answers(self) -> None:
        assert len(await self.overlay(0).ask(self.peer(1), self.overlay(0).big, 20_000)) == 20_000


def test_no_cache_for_questions() -> None:
    from ipv8.lazy_community import retrieve_cache

    class Cache(RandomNumberCacheWithName):
        name = "cache"

    @retrieve_cache(Cache)
    def answered(self: Any, peer: Peer, identifier: int, cache: Cache) -> int:
        return identifier

    with pytest.raises(TypeError, match="answered is a question, which no cache waits for"):
        request(1, answer=2)(answered)
