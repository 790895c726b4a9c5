"""The table of messages: which handler is called, and what becomes of refusals, bugs and unknown messages."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned, raising
from ipv8.message_table import REMARKS, WARNINGS_AT_ONCE, WARNINGS_PER_SECOND, MessageTable, message_id_of
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.readers import Refusal
from ipv8.messaging.serialization import default_serializer
from ipv8.taskmanager import TaskManager
from ipv8.verification import BadSignatureError, RateLimitedError

SOURCE = UDPv4Address("1.2.3.4", 5)
PREFIX = bytes(22)


class Number(VariablePayload):
    msg_id = 7
    format_list = ["H"]
    names = ["number"]
    number: int


class Owner(TaskManager):
    """What a table needs, and a few methods that handle messages: no endpoint, no network."""

    serializer = default_serializer

    def __init__(self) -> None:
        super().__init__()
        self.drops = DropCounter()
        self.logger = logging.getLogger("Owner")
        self.got: list[Any] = []

    @lazy_wrapper_unsigned(Number)
    def on_number(self, source_address: Any, payload: Number) -> None:
        self.got.append((source_address, payload.number))

    @lazy_wrapper(Number)
    def on_signed(self, peer: Any, payload: Number) -> None:
        """Never called here."""

    def on_plain(self, source_address: Any, data: bytes) -> None:
        self.got.append((source_address, data))


def packet(msg_id: int, body: bytes = b"") -> bytes:
    return PREFIX + bytes((msg_id,)) + body


@pytest.fixture
async def owner() -> Any:
    async with Owner() as owner:
        yield owner


@pytest.fixture
def table(owner: Owner) -> MessageTable:
    return MessageTable(owner)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# Which handler


def test_an_id_is_a_byte_or_that_of_a_class() -> None:
    assert [message_id_of(message) for message in (0, 255, Number)] == [0, 255, 7]
    for number in (-1, 256):
        with pytest.raises(RuntimeError, match=f"0 to 255, which {number} is not"):
            message_id_of(number)
    with pytest.raises(RuntimeError, match="has no msg_id: give it one"):
        message_id_of(VariablePayload)


async def test_handlers_by_number_and_by_class(owner: Owner, table: MessageTable) -> None:
    assert table.handlers == [None] * 256
    assert table.add(3, owner.on_plain) == 3
    assert table.add(Number, owner.on_number) == 7
    table.receive(SOURCE, packet(3, b"body"))
    table.receive(SOURCE, packet(7, b"\x00\x05"))
    assert owner.got == [(SOURCE, packet(3, b"body")), (SOURCE, 5)]
    assert not owner.drops


async def test_a_message_has_one_handler(owner: Owner, table: MessageTable) -> None:
    table.add(3, owner.on_plain)
    with pytest.raises(RuntimeError, match=r"message 3 cannot be handled by <built-in function print>: .*on_plain"):
        table.add(3, print)
    table.handlers[3] = None
    table.add(3, print)


async def test_the_list_may_be_changed_and_replaced(owner: Owner, table: MessageTable) -> None:
    table.add(Number, owner.on_number)
    table.receive(SOURCE, packet(7, b"\x00\x05"))
    table.handlers[7] = owner.on_plain
    table.receive(SOURCE, packet(7))
    others: list[Any] = [None] * 256
    others[8] = owner.on_number
    table.handlers = others
    table.receive(SOURCE, packet(7))
    table.receive(SOURCE, packet(8, b"\x00\x06"))
    assert owner.got == [(SOURCE, 5), (SOURCE, packet(7)), (SOURCE, 6)]
    assert owner.drops == {"unknown_id": 1}
    with pytest.raises(RuntimeError, match="does so already"):
        table.add(8, print)


@pytest.mark.parametrize("into", ["add", "assign"])
async def test_the_attempt_of_a_decorated_method_is_called(owner: Owner, table: MessageTable, into: str) -> None:
    """To raise and to catch an error takes longer than all else that is done for a refused packet."""
    called: list[str] = []

    def attempt(self: Any, source_address: Any, data: bytes) -> Any:
        called.append("attempt")
        return Refusal()

    def handler(self: Any, source_address: Any, data: bytes) -> None:
        """Never called."""

    receive: Any = raising(attempt, handler)
    method = receive.__get__(owner)
    if into == "add":
        table.add(1, method)
    else:
        table.handlers[1] = method
    for _ in range(2):
        table.receive(SOURCE, packet(1))
    assert called == ["attempt"] * 2
    assert owner.drops == {"undecodable": 2}
    with pytest.raises(Refusal):
        method(SOURCE, packet(1))


async def test_how_a_handler_receives(owner: Owner, table: MessageTable) -> None:
    handlers: list[Any] = [owner.on_number, owner.on_signed, owner.on_plain, Owner.on_number]
    for msg_id, handler in enumerate(handlers):
        table.add(msg_id, handler)
    receptions = [table.reception(msg_id) for msg_id in range(5)]
    assert [reception and reception.signed for reception in receptions] == [False, True, None, None, None]


async def test_a_table_keeps_nobody_alive() -> None:
    class Temporary(Owner):
        pass

    def make() -> Any:
        owner = Temporary()
        table = MessageTable(owner)
        table.add(Number, owner.on_number)
        table.receive(SOURCE, packet(7, b"\x00\x05"))
        owner.cancel_all_pending_tasks()
        return weakref.ref(owner)

    reference = make()
    await settle()
    gc.collect()
    assert reference() is None


# What is wrong with a packet


async def test_short_and_unknown_packets_are_counted(owner: Owner, table: MessageTable, caplog: Any) -> None:
    for data in (b"", PREFIX[:10], PREFIX):
        table.receive(SOURCE, data)
    table.receive(SOURCE, packet(9), warn_unknown=False)
    assert owner.drops == {"short": 3, "unknown_id": 1}
    assert not caplog.records
    table.receive(SOURCE, packet(9))
    assert [record.getMessage() for record in caplog.records] == ["Nothing handles message 9, sent by 1.2.3.4:5"]


async def test_warnings_have_a_budget(table: MessageTable, owner: Owner, caplog: Any, manual_clock: Any) -> None:
    for msg_id in range(100):
        table.receive(SOURCE, packet(msg_id))
    assert len(caplog.records) == WARNINGS_AT_ONCE
    assert table.may_warn("something else"), "each kind has a budget of its own"
    manual_clock.advance(1 / WARNINGS_PER_SECOND)
    table.receive(SOURCE, packet(1))
    table.receive(SOURCE, packet(1))
    assert len(caplog.records) == WARNINGS_AT_ONCE + 1
    assert owner.drops == {"unknown_id": 102}


async def test_refusals_are_counted_by_their_reason(owner: Owner, table: MessageTable, caplog: Any) -> None:
    def refuse(*_: Any) -> None:
        raise RateLimitedError("1.2.3.4")

    table.add(1, lambda *_: BadSignatureError("forged"))
    table.add(2, refuse)
    table.add(Number, owner.on_number)
    for data in (packet(1), packet(1), packet(2), packet(7, b"\x05"), packet(7, b"\x00\x05\x00")):
        table.receive(SOURCE, data)
    assert owner.drops == {"bad_signature": 2, "rate_limited": 1, "undecodable": 2}
    assert not caplog.records
    assert owner.got == []


async def test_refusals_are_thinned_in_a_debug_log(owner: Owner, table: MessageTable, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, logger="Owner")
    table.add(1, lambda *_: BadSignatureError("forged"))
    table.add(2, lambda *_: RateLimitedError("1.2.3.4"))
    for _ in range(3 * REMARKS):
        table.receive(SOURCE, packet(1))
    assert len(caplog.records) == REMARKS + 2
    table.receive(SOURCE, packet(2))
    assert "Message 2, sent by UDPv4Address" in caplog.records[-1].getMessage()


async def test_a_bug_is_logged_with_its_traceback(owner: Owner, table: MessageTable, caplog: Any) -> None:
    table.add(1, lambda *_: 1 / 0)
    table.receive(SOURCE, packet(1))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("Owner", logging.ERROR)
    assert "could not be handled" in record.getMessage()
    assert "ZeroDivisionError" in caplog.text
    assert not owner.drops


async def test_other_results_mean_nothing(owner: Owner, table: MessageTable, caplog: Any) -> None:
    results = iter(["text", ValueError("not raised"), 0])
    table.add(1, lambda *_: next(results))
    for _ in range(3):
        table.receive(SOURCE, packet(1))
    assert not owner.drops
    assert not caplog.records


async def test_the_counter_and_the_logger_may_be_replaced(owner: Owner, table: MessageTable, caplog: Any) -> None:
    table.add(1, lambda *_: 1 / 0)
    owner.logger, owner.drops = logging.getLogger("Other"), DropCounter()
    table.receive(SOURCE, packet(1))
    table.receive(SOURCE, packet(2), warn_unknown=False)
    assert [record.name for record in caplog.records] == ["Other"]
    assert owner.drops == {"unknown_id": 1}


# Asynchronous handlers


async def test_asynchronous_handlers_are_tasks_of_the_owner(owner: Owner, caplog: Any) -> None:
    table = MessageTable(owner, "on_cell")

    async def handle(source_address: Any, data: bytes) -> None:
        await asyncio.sleep(0)
        owner.got.append(data)

    async def refuse(*_: Any) -> None:
        await asyncio.sleep(0)
        raise BadSignatureError("forged")

    async def fail(*_: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    for msg_id, handler in enumerate((handle, refuse, fail)):
        table.add(msg_id, handler)
        table.receive(SOURCE, packet(msg_id))
    assert len(owner.get_anonymous_tasks("on_cell")) == 3
    await settle()
    assert owner.get_tasks() == []
    assert owner.got == [packet(0)]
    assert owner.drops == {"bad_signature": 1}
    assert "a bug" in caplog.text
    assert len(caplog.records) == 1


# Messages that are not packets, as in a tunnel cell


async def test_handlers_with_other_arguments(owner: Owner, table: MessageTable, caplog: Any) -> None:
    async def later(circuit_id: int) -> None:
        owner.got.append(circuit_id)

    calls: list[tuple[Any, ...]] = [
        (lambda source, data, circuit_id: owner.got.append((source, data, circuit_id)), SOURCE, b"body", 17),
        (lambda circuit_id: BadSignatureError("forged"), 17),
        (later, 18),
        (lambda: 1 / 0,),
    ]
    for call, *arguments in calls:
        table.run(14, SOURCE, call, *arguments)
    await settle()
    assert owner.got == [(SOURCE, b"body", 17), 18]
    assert owner.drops == {"bad_signature": 1}
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["Message 14"]


# For tests


async def test_a_strict_table_raises(owner: Owner, table: MessageTable, failures: Any, caplog: Any) -> None:
    table.strict = True

    async def refuse(*_: Any) -> None:
        raise BadSignatureError("later")

    table.add(Number, owner.on_number)
    table.add(1, lambda *_: 1 / 0)
    table.add(2, refuse)
    table.receive(SOURCE, packet(7, b"\x00\x05"))
    with pytest.raises(AssertionError, match="Owner has no handler for message 9"):
        table.receive(SOURCE, packet(9))
    with pytest.raises(Refusal):
        table.receive(SOURCE, packet(7))
    with pytest.raises(ZeroDivisionError):
        table.receive(SOURCE, packet(1))
    with pytest.raises(ZeroDivisionError):
        table.run(1, SOURCE, lambda: 1 / 0)
    table.receive(SOURCE, packet(2))
    await settle()
    assert [type(context["exception"]) for context in failures] == [BadSignatureError]
    assert owner.got == [(SOURCE, 5)]
    assert not owner.drops
    assert not caplog.records


async def test_a_handler_that_is_cancelled_before_it_began_is_closed(owner: Owner, table: MessageTable) -> None:
    async def slow(_: Any, __: bytes) -> None:
        await asyncio.sleep(10)

    table.add(1, slow)
    table.receive(SOURCE, PREFIX + b"\x01")
    await owner.shutdown_task_manager()
    gc.collect()  # a coroutine that nobody has awaited would warn
