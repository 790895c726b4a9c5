"""Decorated handlers, request caches in handlers, packing."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import weakref
from types import MethodType
from typing import Any
from unittest.mock import Mock

import pytest

from ipv8.community import Community
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import (
    lazy_wrapper,
    lazy_wrapper_unsigned,
    lazy_wrapper_unsigned_wd,
    lazy_wrapper_wd,
    retrieve_cache,
)
from ipv8.message_table import REMARKS
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import PackError
from ipv8.peer import Peer
from ipv8.requestcache import NumberCacheWithName, RequestCache
from ipv8.verification import (
    COSTLIEST_SECONDS_PER_SIGNATURE,
    COSTLY_SECONDS_AT_ONCE,
    BadSignatureError,
    PacketDecodingError,
    RateLimitedError,
)

SOURCE = UDPv4Address("1.2.3.4", 5)


class First(VariablePayload):
    msg_id = 1
    format_list = ["I"]
    names = ["identifier"]


class Second(VariablePayload):
    msg_id = 2
    format_list = ["varlenH"]
    names = ["text"]


class Waiting(NumberCacheWithName):
    name = "waiting"


class Plain(Community):
    community_id = b"plain".ljust(20, b"\x00")


@pytest.fixture
def overlay(make_overlay: Any) -> Any:
    return make_overlay(Plain)


def test_each_decorator_has_its_arguments(overlay: Any) -> None:
    payloads = (First(5), Second(b"x"))
    signed, unsigned = overlay.ezr_pack(9, *payloads), overlay.ezr_pack(9, *payloads, sig=False)
    calls: list[Any] = []

    def handler(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return "result"

    result: Any = lazy_wrapper(First, Second)(handler)(overlay, SOURCE, signed)
    assert result == "result"
    lazy_wrapper_wd(First, Second)(handler)(overlay, SOURCE, signed)
    lazy_wrapper_unsigned(First, Second)(handler)(overlay, SOURCE, unsigned)
    lazy_wrapper_unsigned_wd(First, Second)(handler)(overlay, SOURCE, unsigned)
    shapes = [([type(argument).__name__ for argument in args], kwargs) for args, kwargs in calls]
    assert shapes == [
        (["Plain", "Peer", "First", "Second"], {}),
        (["Plain", "Peer", "First", "Second", "bytes"], {}),
        (["Plain", "UDPv4Address", "First", "Second"], {}),
        (["Plain", "UDPv4Address", "First", "Second"], {"data": unsigned}),
    ]
    assert calls[1][0][-1] == signed


def test_the_decorated_function_is_kept() -> None:
    def handler() -> None:
        """Text."""

    for decorate in (lazy_wrapper, lazy_wrapper_wd, lazy_wrapper_unsigned, lazy_wrapper_unsigned_wd):
        decorated: Any = decorate(First)(handler)
        assert decorated.__wrapped__ is handler
        assert (decorated.__name__, decorated.__doc__) == ("handler", "Text.")


def test_signed_and_unsigned_packets_are_not_mixed_up(overlay: Any) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("must not be called")

    with pytest.raises(PacketDecodingError):
        lazy_wrapper(First)(refuse)(overlay, SOURCE, overlay.ezr_pack(1, First(5), sig=False))
    with pytest.raises(PackError):
        lazy_wrapper_unsigned(First)(refuse)(overlay, SOURCE, overlay.ezr_pack(1, First(5)))


def test_the_last_payload_gives_the_id(overlay: Any) -> None:
    overlay.endpoint.deliver = False
    overlay._ez_senda(SOURCE, First(5), Second(b"x"))
    assert overlay.endpoint.sent[0][1][22] == 2
    with pytest.raises(IndexError):
        overlay._ez_senda(SOURCE)
    with pytest.raises(ValueError, match="range"):
        overlay.ezr_pack(256, First(5))


def test_packing_by_hand(overlay: Any) -> None:
    author = BinMemberAuthenticationPayload(overlay.my_peer.public_key.key_to_bin())
    packet = overlay._ez_pack(overlay.get_prefix(), 1, (author, GlobalTimeDistributionPayload(3), First(5)))
    got_author, got_time, got = overlay._ez_unpack_auth(First, packet)
    assert (got_author.public_key_bin, got_time.global_time, got.identifier) == (author.public_key_bin, 3, 5)
    with pytest.raises(PacketDecodingError, match="invalid signature"):
        overlay._ez_unpack_auth(First, packet[:-1] + bytes((packet[-1] ^ 1,)))
    unsigned = overlay._ez_pack(b"", 1, (GlobalTimeDistributionPayload(3), First(5)), sig=False)
    assert unsigned == b"\x01" + bytes(7) + b"\x03" + b"\x00\x00\x00\x05"
    assert overlay._ez_unpack_noauth(First, overlay.ezr_pack(1, First(7), sig=False), global_time=False).identifier == 7


class TestRetrieveCache:
    @pytest.fixture
    def waiting(self, overlay: Any) -> Any:
        overlay.request_cache = RequestCache()
        yield overlay
        overlay.request_cache.clear()

    @pytest.mark.parametrize("decorate", [lazy_wrapper, lazy_wrapper_wd, lazy_wrapper_unsigned,
                                          lazy_wrapper_unsigned_wd])
    async def test_it_works_below_each_decorator(self, overlay: Any, decorate: Any) -> None:
        overlay.request_cache = RequestCache()
        got: list[Any] = []
        handler = decorate(First)(retrieve_cache(Waiting)(lambda *args, cache, **kwargs: got.append(cache)))
        packet = overlay.ezr_pack(1, First(5), sig="unsigned" not in decorate.__name__)
        handler(overlay, SOURCE, packet)
        assert got == []
        cache = overlay.request_cache.add(Waiting(overlay.request_cache, Waiting.name, 5))
        handler(overlay, SOURCE, packet)
        handler(overlay, SOURCE, packet)
        assert got == [cache], "a second answer finds no cache"
        await overlay.request_cache.shutdown()

    async def test_a_key_error_of_the_handler_is_not_hidden(self, overlay: Any) -> None:
        overlay.request_cache = RequestCache()
        overlay.request_cache.add(Waiting(overlay.request_cache, Waiting.name, 5))
        handler = lazy_wrapper(First)(retrieve_cache(Waiting)(lambda *_, cache: dict[str, int]()["missing"]))
        with pytest.raises(KeyError, match="missing"):
            handler(overlay, SOURCE, overlay.ezr_pack(1, First(5)))
        await overlay.request_cache.shutdown()


class Strict(Community):
    """Has a message of each kind, and messages that come in a roundabout way."""

    community_id = b"strict".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []
        for msg_id, handler in enumerate((self.signed, self.signed_wd, self.unsigned, self.unsigned_wd, self.pair)):
            self.add_message_handler(msg_id, handler)
        self.add_message_handler(10, self.either)

    @lazy_wrapper(First)
    def signed(self, _peer: Any, payload: First) -> None:
        self.got.append(payload)

    @lazy_wrapper_wd(First)
    def signed_wd(self, _peer: Any, payload: First, _data: bytes) -> None:
        self.got.append(payload)

    @lazy_wrapper_unsigned(First)
    def unsigned(self, _address: Any, payload: First) -> None:
        self.got.append(payload)

    @lazy_wrapper_unsigned_wd(First)
    def unsigned_wd(self, _address: Any, payload: First, data: bytes) -> None:
        self.got.append(payload)

    @lazy_wrapper_unsigned(First, Second)
    def pair(self, _address: Any, *payloads: Any) -> None:
        self.got.extend(payloads)

    def either(self, source_address: Any, data: bytes) -> None:
        """Try one form of a message after the other, as programs do that support two."""
        for form in (self.signed, self.pair, self.unsigned):
            try:
                form(source_address, data)
            except (PackError, PacketDecodingError):
                continue
            return


@pytest.fixture
def strict(make_overlay: Any) -> Any:
    return make_overlay(Strict)


MESSAGES: list[tuple[int, bool, list[Any]]] = [
    (0, True, [First(5)]), (1, True, [First(5)]), (2, False, [First(5)]), (3, False, [First(5)]),
    (4, False, [First(5), Second(b"x")]),
]


@pytest.mark.parametrize(("msg_id", "signed", "payloads"), MESSAGES)
def test_malformed_packets_raise_for_a_caller_and_are_counted_by_the_overlay(
    strict: Any, msg_id: int, signed: bool, payloads: list[Any],
) -> None:
    packet = strict.ezr_pack(msg_id, *payloads, sig=signed)
    handler = strict.decode_map[msg_id]
    wrong = [packet[:-1], packet[:24], strict.ezr_pack(msg_id, *payloads, First(6), sig=signed)]
    for number, data in enumerate(wrong, 1):
        strict.on_packet((SOURCE, data))
        assert sum(strict.drops.values()) == number
        with pytest.raises((PackError, PacketDecodingError)):
            handler(SOURCE, data)
    assert sum(strict.drops.values()) == len(wrong), "who calls a handler himself counts himself"
    assert strict.got == []
    strict.on_packet((SOURCE, packet))
    handler(SOURCE, packet)
    assert len(strict.got) == 2 * len(payloads)


def test_a_handler_may_try_others(strict: Any) -> None:
    strict.on_packet((SOURCE, strict.ezr_pack(10, First(5), sig=False)))
    strict.on_packet((SOURCE, strict.ezr_pack(10, First(6))))
    strict.on_packet((SOURCE, strict.ezr_pack(10, First(7), Second(b"x"), sig=False)))
    assert [vars(payload) for payload in strict.got if isinstance(payload, First)] == [
        {"identifier": number} for number in (5, 6, 7)]
    assert not strict.drops


def test_a_decorator_around_a_decorated_handler_sees_the_error(strict: Any) -> None:
    seen: list[Exception] = []

    def outer(source_address: Any, data: bytes) -> None:
        try:
            strict.unsigned(source_address, data)
        except PackError as e:
            seen.append(e)

    strict.decode_map[2] = outer
    strict.on_packet((SOURCE, strict.ezr_pack(2, Second(b"too long"), sig=False)))
    assert len(seen) == 1
    assert not strict.drops


def test_a_decorated_handler_may_be_decorated_again(strict: Any) -> None:
    calls: list[str] = []

    @functools.wraps(Strict.unsigned)
    def counted(self: Any, source_address: Any, data: bytes) -> None:
        calls.append("before")
        Strict.unsigned(self, source_address, data)
        calls.append("behind")

    strict.add_message_handler(20, MethodType(counted, strict))
    strict.on_packet((SOURCE, strict.ezr_pack(20, First(5), sig=False)))
    assert calls == ["before", "behind"]
    strict.on_packet((SOURCE, strict.ezr_pack(20, Second(b"too long"), sig=False)))
    assert calls == ["before", "behind", "before"], "what is refused is raised there"
    assert strict.drops == {"undecodable": 1}


def test_the_last_handler_in_the_table_is_called(strict: Any) -> None:
    """Programs put handlers into ``decode_map`` themselves, and take them out."""
    packet = strict.ezr_pack(2, First(5), sig=False)
    got: list[Any] = []
    strict.decode_map[2] = lambda *args: got.append(args)
    strict.on_packet((SOURCE, packet))
    assert got == [(SOURCE, packet)]
    strict.decode_map[2] = None
    strict.on_packet((SOURCE, packet))
    assert strict.drops == {"unknown_id": 1}
    strict.decode_map[2] = strict.unsigned
    strict.on_packet((SOURCE, packet))
    assert len(strict.got) == 1


def test_a_handler_may_be_a_method_of_another_overlay(strict: Any, make_overlay: Any) -> None:
    other = make_overlay(Strict)
    strict.add_message_handler(20, other.unsigned)
    strict.on_packet((SOURCE, strict.ezr_pack(20, First(5), sig=False)))
    assert (len(strict.got), len(other.got)) == (0, 1)
    strict.on_packet((SOURCE, strict.ezr_pack(20, Second(b"too long"), sig=False)))
    assert strict.drops == {"undecodable": 1}


def test_no_overlay_lives_on_for_its_handlers(make_overlay: Any) -> None:
    def make() -> weakref.ref[Any]:
        class Closed(Strict):
            @lazy_wrapper_unsigned(First)
            def unsigned(self, source_address: Any, payload: First) -> None:
                overlays.append(self)
                super().get_prefix()

        overlays: list[Any] = [Closed]
        return weakref.ref(Closed)

    made = make()
    gc.collect()
    assert made() is None


@pytest.mark.parametrize("wrap", [staticmethod, functools.partial, lambda function: Mock(wraps=function)])
def test_a_handler_may_be_anything_that_can_be_called(strict: Any, wrap: Any) -> None:
    got: list[Any] = []
    strict.add_message_handler(20, wrap(lambda source, data: got.append((source, data))))
    packet = strict.ezr_pack(20, First(5), sig=False)
    strict.on_packet((SOURCE, packet))
    assert got == [(SOURCE, packet)]


async def test_what_an_async_handler_refuses_is_counted(strict: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def classic(source_address: Any, data: bytes) -> None:
        strict._ez_unpack_auth(First, data)

    strict.add_message_handler(20, classic)
    key = b"no key".rjust(40)
    for body in (b"\x00" + bytes((len(key),)) + key + bytes(100), b"\xff"):
        strict.on_packet((SOURCE, strict.get_prefix() + bytes((20,)) + body))
    for _ in range(5):
        await asyncio.sleep(0)
    assert strict.drops == {"undecodable": 2}
    assert not caplog.records


def test_an_overlay_may_be_stricter_about_signatures(make_overlay: Any) -> None:
    class Stricter(Strict):
        def _verify_signature(self, auth: Any, data: bytes) -> tuple[bool, bytes]:
            valid, rest = super()._verify_signature(auth, data)
            return valid and auth.public_key_bin == allowed, rest

    overlay, friend, stranger = make_overlay(Stricter), make_overlay(Strict), make_overlay(Strict)
    allowed = friend.my_peer.public_key.key_to_bin()
    for sender in (friend, stranger):
        overlay.on_packet((SOURCE, sender.ezr_pack(0, First(5))))
    assert len(overlay.got) == 1
    assert overlay.drops == {"bad_signature": 1}


def test_classic_handlers_have_a_budget_for_costly_keys_too(strict: Any, make_overlay: Any,
                                                            manual_clock: Any) -> None:
    sender = make_overlay(Strict)
    sender.my_peer = Peer(default_eccrypto.generate_key("high"))
    author = BinMemberAuthenticationPayload(sender.my_peer.public_key.key_to_bin())
    packet = sender._ez_pack(sender.get_prefix(), 1, (author, GlobalTimeDistributionPayload(7), First(5)))
    strict._ez_unpack_auth(First, packet)
    strict.signature_guard.costly.take(None, COSTLY_SECONDS_AT_ONCE - COSTLIEST_SECONDS_PER_SIGNATURE)
    with pytest.raises(RateLimitedError):
        strict._ez_unpack_auth(First, packet)


@pytest.mark.parametrize("classes", [(First,), (First, Second)])
def test_a_mistake_in_a_payload_class_is_no_fault_of_the_sender(strict: Any, classes: tuple[type[Any], ...],
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    class Mistaken(First):
        @classmethod
        def fix_unpack_identifier(cls, value: int) -> int:
            return value.undefined  # type: ignore[attr-defined, no-any-return]  # the mistake

    class Unknown(First):
        format_list = ["no such format"]

    payloads = [First(5), Second(b"x")][:len(classes)]
    for msg_id, mistaken in enumerate((Mistaken, Unknown), 20):
        receive: Any = lazy_wrapper_unsigned(mistaken, *classes[1:])(lambda *_: None)
        strict.add_message_handler(msg_id, receive.__get__(strict))
        strict.on_packet((SOURCE, strict.ezr_pack(msg_id, *payloads, sig=False)))
    assert not strict.drops
    assert ["undefined" in caplog.text, "no such format" in caplog.text, len(caplog.records)] == [True, True, 2]


def test_a_packet_that_cannot_be_read_moves_nobody(strict: Any, make_overlay: Any) -> None:
    sender = make_overlay(Strict)
    known = Peer(sender.my_peer.public_key, SOURCE)
    strict.network.add_verified_peer(known)
    strict.on_packet((UDPv4Address("9.9.9.9", 9), sender.ezr_pack(0, First(5), First(6))))
    assert strict.drops == {"undecodable": 1}
    assert known.address == SOURCE
    strict.on_packet((UDPv4Address("9.9.9.9", 9), sender.ezr_pack(0, First(5))))
    assert known.address == UDPv4Address("9.9.9.9", 9)


def test_an_exception_as_a_result_is_a_refusal_or_nothing(strict: Any, caplog: pytest.LogCaptureFixture) -> None:
    results = iter([BadSignatureError("forged"), ValueError("the handler's own business"), "text"])
    strict.decode_map[2] = lambda *_: next(results)
    for _ in range(3):
        strict.on_packet((SOURCE, strict.ezr_pack(2, sig=False)))
    assert strict.drops == {"bad_signature": 1}
    assert not caplog.records


def test_a_debug_log_stays_readable(strict: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="Strict")
    malformed = strict.ezr_pack(2, Second(b"too long"), sig=False)
    for _ in range(3 * REMARKS):
        strict.on_packet((SOURCE, malformed))
    assert len(caplog.records) == REMARKS + 2, "the first ones, and then one in so many"
    assert "extra data" in caplog.text
    strict.on_packet((SOURCE, strict.ezr_pack(0)[:-1] + b"x"))
    assert "signature" in caplog.records[-1].getMessage(), "others are not drowned"


@pytest.mark.parametrize("classes", [(First,), (First, Second)])
def test_no_payload_is_made_of_a_packet_that_is_refused(strict: Any, classes: tuple[type[Any], ...]) -> None:
    class Noted(First):
        made = 0

        @classmethod
        def fix_unpack_identifier(cls, value: int) -> int:
            cls.made += 1
            return value

    payloads = [First(5), Second(b"x")][:len(classes)]
    receive: Any = lazy_wrapper_unsigned(Noted, *classes[1:])(lambda *_: None)
    packet = strict.ezr_pack(30, *payloads, sig=False)
    for data in (packet[:-1], packet + b"x"):
        with pytest.raises(PackError):
            receive(strict, SOURCE, data)
    assert Noted.made == 0
    receive(strict, SOURCE, packet)
    assert Noted.made == 1


def test_what_a_payload_class_raises_is_the_sender_s_mistake(strict: Any) -> None:
    class Picky(First):
        @classmethod
        def fix_unpack_identifier(cls, value: int) -> int:
            return 1 // value

    received: list[Any] = []
    for msg_id, classes in enumerate([(Picky,), (Picky, Second)], 20):
        receive: Any = lazy_wrapper_unsigned(*classes)(lambda _self, _address, *payloads: received.extend(payloads))
        strict.decode_map[msg_id] = receive.__get__(strict)
        packet = strict.ezr_pack(msg_id, First(0), *[Second(b"x")][:len(classes) - 1], sig=False)
        strict.on_packet((SOURCE, packet))
        with pytest.raises(PackError, match="division") as caught:
            receive(strict, SOURCE, packet)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert strict.drops == {"undecodable": 2}
    assert not received
