"""TrustChain between nodes: signing, broadcasting and crawling."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from ipv8.attestation.trustchain.block import EMPTY_PK, TrustChainBlock, ValidationResult, sign_number
from ipv8.attestation.trustchain.caches import CrawlRequestCache
from ipv8.attestation.trustchain.community import UNIVERSAL_BLOCK_LISTENER, UNKNOWN_SEQ, TrustChainCommunity
from ipv8.attestation.trustchain.listener import BlockListener
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.database import DatabaseException
from ipv8.events import EventBus
from ipv8.limits import TokenBuckets
from ipv8.requestcache import NumberCache
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8

LONG = 30.0
"""Seconds that nothing here takes, even on a busy machine."""


class DummyBlock(TrustChainBlock):
    pass


class Listener(BlockListener):
    BLOCK_CLASS = DummyBlock

    def __init__(self, sign: bool = True) -> None:
        self.sign = sign
        self.blocks: list[TrustChainBlock] = []

    def should_sign(self, block: TrustChainBlock) -> bool:
        return self.sign

    def received_block(self, block: TrustChainBlock) -> None:
        self.blocks.append(block)


class TrustChainTestBase(TestBase[Any]):
    count = 2

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TrustChainCommunity, self.count)
        self.listeners: list[Any] = [Listener() for _ in self.nodes]
        for node, listener in zip(self.nodes, self.listeners, strict=True):
            node.overlay.add_listener(listener, [b"test"])

    def create_node(self, *args: Any) -> MockIPv8:
        return MockIPv8("curve25519", TrustChainCommunity, working_directory=":memory:")

    def db(self, i: int) -> Any:
        return self.overlay(i).persistence

    async def settle(self) -> None:
        """Deliver all messages, also on a busy machine."""
        await self.deliver_messages(2)

    async def until(self, fact: Any) -> None:
        """Wait for a fact, which takes long on a busy machine."""
        for _ in range(1000):
            if fact():
                return
            await asyncio.sleep(0.005)
        pytest.fail("it does not come true")

    def propose(self, i: int = 0, j: int = 1, transaction: Any = None) -> Any:
        return self.overlay(i).sign_block(self.peer(j), public_key=self.key_bin(j), block_type=b"test",
                                          transaction=transaction or {b"id": 42})

    def raw_block(self, i: int, link_pk: bytes = EMPTY_PK, transaction: Any = None, store: bool = True,
                  block_type: bytes = b"test") -> TrustChainBlock:
        """The next block of a node, which nobody is told of."""
        block = TrustChainBlock.create(block_type, transaction or {b"id": 1}, self.db(i), self.key_bin(i),
                                       link_pk=link_pk)
        block.sign(self.private_key(i))
        if store:
            self.db(i).add_block(block)
        return block


class TestEvents(TrustChainTestBase):
    async def test_stored_blocks_are_told(self) -> None:
        await self.introduce_nodes()
        bus = self.overlay(0).event_bus = EventBus()
        with bus.subscribe(["trustchain.block"]) as subscription:
            agreement, proposal = await self.propose()
            told = [event.data for event in subscription.take_nowait()]
            self.overlay(0).validate_persist_block(agreement)
            assert not subscription.take_nowait(), "a block is stored once"
        assert told == [
            {"hash": block.hash.hex(), "type": "test", "public_key": self.key_bin(i).hex(),
             "link_public_key": self.key_bin(1 - i).hex(), "sequence_number": 1, "is_own": i == 0}
            for i, block in enumerate((proposal, agreement))]

    async def test_the_type_of_a_block_may_be_no_text(self) -> None:
        bus = self.overlay(0).event_bus = EventBus()
        with bus.subscribe() as subscription:
            self.overlay(0).validate_persist_block(self.raw_block(1, block_type=b"\xff\n"))
            (event,) = subscription.take_nowait()
        assert event.data["type"] == "\\xff\n"
        assert event.text


class TestSigning(TrustChainTestBase):
    async def test_proposal_and_counter_signature(self) -> None:
        future = self.propose()
        own = self.db(0).get(self.key_bin(0), 1)
        assert own is not None, "it is stored before the method returns"
        answer, proposal = await future
        assert proposal == own
        assert (answer.public_key, answer.link_public_key) == (self.key_bin(1), self.key_bin(0))
        assert answer.link_sequence_number == 1
        assert answer.transaction == {b"id": 42}
        for i in range(2):
            assert self.db(i).get_linked(proposal) == answer
            assert self.db(i).get_linked(answer) == proposal
        assert type(self.db(1).get(self.key_bin(0), 1)) is DummyBlock
        assert [len(listener.blocks) for listener in self.listeners] == [2, 2]

    async def test_not_signed_without_a_listener_that_wants_it(self) -> None:
        self.listeners[1].sign = False
        future = self.propose()
        await self.settle()
        assert not future.done()
        assert self.db(1).get_number_of_known_blocks() == 1
        future.cancel()
        await asyncio.sleep(0)
        assert not self.overlay(0).request_cache._identifiers

    async def test_should_sign_may_be_asynchronous_and_may_fail(self) -> None:
        async def should_sign(block: TrustChainBlock) -> bool:
            await asyncio.sleep(0)
            return True

        self.listeners[1].should_sign = should_sign
        await self.propose()

        def fail(block: TrustChainBlock) -> bool:
            raise ValueError("no")

        self.listeners[1].should_sign = fail
        future = self.propose()
        await self.settle()
        assert not future.done()

    async def test_should_sign_of_the_overlay_may_be_a_plain_function(self) -> None:
        self.overlay(1).should_sign = lambda _: False
        future = self.propose()
        await self.settle()
        assert not future.done()
        self.overlay(1).should_sign = lambda _: True
        assert await self.propose()

    async def test_proposals_back_to_back(self) -> None:
        futures = [self.propose(transaction={b"n": n}) for n in range(5)]
        results = await asyncio.gather(*futures)
        assert sorted(answer.sequence_number for answer, _ in results) == [1, 2, 3, 4, 5]
        for answer, proposal in results:
            assert answer.link_sequence_number == proposal.sequence_number
        assert self.db(0).get_number_of_known_blocks() == 10

    async def test_block_that_another_program_stores_meanwhile(self) -> None:
        block = self.raw_block(1, store=False)
        database = self.db(0)
        contains = database.contains

        def store_meanwhile(wanted: TrustChainBlock) -> bool:
            known: bool = contains(wanted)
            if not known:
                database.add_block(wanted)
            return known

        database.contains = store_meanwhile
        assert self.overlay(0).validate_persist_block(block) == (ValidationResult.partial_next, [])
        assert self.listeners[0].blocks == []

    async def test_answer_that_cannot_be_committed(self) -> None:
        """It completes the proposal when it arrives again and can be."""
        flush = self.db(0).flush
        errors: list[Exception] = [sqlite3.OperationalError("database or disk is full"),
                                   DatabaseException("the connection is lost")]

        def fail_twice() -> None:
            if errors:
                raise errors.pop()
            flush()

        self.db(0).flush = fail_twice
        signed = self.propose()
        with self.assertLogs("TrustChainCommunity", "ERROR") as logged:
            await self.settle()
            answer = self.db(0).get(self.key_bin(1), 1)
            assert not signed.done()
            self.overlay(1).send_block(answer, self.address(0))
            await self.settle()
            assert not signed.done()
        assert "the connection is lost" in "".join(logged.output)
        assert "disk is full" in "".join(logged.output)
        self.overlay(1).send_block(answer, self.address(0))
        assert (await signed)[0] == answer

    async def test_blocks_of_a_crawl_that_cannot_be_committed(self) -> None:
        def fail() -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.raw_block(1)
        self.db(0).flush = fail
        with self.assertLogs("TrustChainCommunity", "ERROR"):
            assert await self.overlay(0).send_crawl_request(self.peer(1), self.key_bin(1), 1, 1) == []

    async def test_closed_endpoint(self) -> None:
        self.nodes[0].endpoint.close()
        future = self.propose()
        self.overlay(0).self_sign_block(b"test", {})
        await self.settle()
        assert self.db(0).get_number_of_known_blocks() == 2
        assert self.db(1).get_number_of_known_blocks() == 0
        assert not future.done()

    async def test_lost_proposal_is_sent_again(self) -> None:
        self.overlay(0).settings.sign_attempt_delay = 0.02
        self.nodes[1].endpoint.close()
        future = self.propose()
        await self.deliver_messages(0.01)
        self.nodes[1].endpoint.open()
        assert await future

    async def test_proposal_fails_after_the_number_of_attempts(self) -> None:
        self.overlay(0).settings.sign_attempt_delay = 0.01
        self.overlay(0).settings.sign_timeout = 2
        self.listeners[1].sign = False
        with pytest.raises(RuntimeError, match="in time"):
            await self.propose()

    async def test_proposal_fails_after_the_number_of_seconds(self) -> None:
        """W19: the attempts are 3600 s otherwise."""
        self.overlay(0).settings.sign_timeout_seconds = 0.03
        self.listeners[1].sign = False
        with pytest.raises(RuntimeError, match="in time"):
            await asyncio.wait_for(self.propose(), LONG)

    async def test_propose(self) -> None:
        answer, proposal = await self.overlay(0).propose(self.peer(1), b"test", {"a": 1}, timeout=LONG)
        assert answer.link_sequence_number == proposal.sequence_number
        self.listeners[1].sign = False
        with pytest.raises(asyncio.TimeoutError):
            await self.overlay(0).propose(self.peer(1), b"test", {"a": 1}, timeout=0.01)
        assert not self.overlay(0).request_cache._identifiers

    async def test_on_block(self) -> None:
        seen: list[Any] = []

        signer: TrustChainCommunity = self.overlay(1)

        @signer.on_block(b"other", sign=lambda block: block.transaction["a"] == 1)
        def received(block: TrustChainBlock) -> None:
            seen.append(block)

        await self.overlay(0).propose(self.peer(1), b"other", {"a": 1}, timeout=LONG)
        assert len(seen) == 2

    async def test_source_block_and_links(self) -> None:
        block, nothing = await self.overlay(0).create_source_block(b"test", {b"all": 1})
        assert nothing is None
        assert block.is_source
        await self.settle()
        source = self.db(1).get(self.key_bin(0), 1)
        assert source == block
        link, linked = await self.overlay(1).create_link(source, b"link", {b"mine": 2})
        assert linked == source
        assert (link.type, link.transaction) == (b"link", {b"mine": 2})
        await self.settle()
        assert self.db(0).get_all_linked(block) == [link]

    async def test_own_source_block_stays_valid_with_a_link(self) -> None:
        """W27: an honest link made the source block invalid, so that the next proposal removed it."""
        block, _ = await self.overlay(0).create_source_block(b"test", {b"all": 1})
        await self.settle()
        await self.overlay(1).create_link(self.db(1).get(self.key_bin(0), 1), b"test")
        await self.settle()
        assert block.validate(self.db(0))[0] == ValidationResult.partial_next
        _, proposal = await self.propose()
        assert proposal.sequence_number == 2
        assert self.db(0).get(self.key_bin(0), 1) == block
        assert not self.db(1).did_double_spend(self.key_bin(0))

    async def test_self_signed_block_is_broadcast_once_and_not_sent_to_ourselves(self) -> None:
        """W18: it was broadcast twice, and sent to the own address."""
        sent: list[Any] = []
        send = self.nodes[0].endpoint.send

        def record(address: Any, packet: bytes) -> None:
            sent.append(address)
            send(address, packet)

        self.nodes[0].endpoint.send = record
        block, linked = await self.overlay(0).self_sign_block(b"test", {b"id": 1})
        assert linked is None
        await self.settle()
        assert sent == [self.address(1)]
        assert self.db(1).get(self.key_bin(0), 1) == block

    async def test_broadcast_disabled(self) -> None:
        self.overlay(0).settings.block_types_bc_disabled.add(b"test")
        await self.overlay(0).self_sign_block(b"test", {})
        await self.settle()
        assert self.db(1).get_number_of_known_blocks() == 0
        assert TrustChainSettings().block_types_bc_disabled == set()

    async def test_arguments_that_do_not_belong_together(self) -> None:
        overlay, peer = self.overlay(0), self.peer(1)
        for_other = self.raw_block(1, link_pk=self.key_bin(1))
        source = self.raw_block(1)
        wrong: list[dict[str, Any]] = [
            {"peer": None, "transaction": {}, "public_key": self.key_bin(1)},
            {"peer": None, "linked": source},
            {"peer": peer},
            {"peer": peer, "transaction": {}, "linked": source},
            {"peer": peer, "transaction": {}, "additional_info": {}},
            {"peer": peer, "linked": source, "additional_info": {}, "public_key": source.public_key},
            {"peer": self.my_peer(0), "linked": source, "additional_info": {}, "public_key": b"x"},
            {"peer": self.my_peer(0), "linked": source, "additional_info": 5, "public_key": source.public_key},
            {"peer": peer, "transaction": []},
            {"peer": peer, "linked": for_other},
        ]
        for arguments in wrong:
            with pytest.raises(AssertionError):
                overlay.sign_block(**arguments)
        assert self.db(0).get_number_of_known_blocks() == 0

    async def test_transaction_that_is_not_valid(self) -> None:
        class Refusing(TrustChainBlock):
            def validate_transaction(self, database: Any) -> Any:
                return ValidationResult.invalid, ["no"]

        self.listeners[0].BLOCK_CLASS = Refusing
        with pytest.raises(RuntimeError, match="no"):
            await self.propose()
        assert self.db(0).get_number_of_known_blocks() == 0

    async def test_block_that_fits_into_no_packet(self) -> None:
        """Others could never have it, and with it none of the blocks above."""
        with pytest.raises(RuntimeError, match="make the transaction smaller"):
            await self.propose(transaction={b"x": bytes(65_507)})
        assert self.overlay(0).get_chain_length() == 0

    async def test_block_that_others_refuse(self) -> None:
        nested: Any = {}
        for _ in range(40):
            nested = {b"x": nested}
        with self.assertLogs("TrustChainCommunity", "WARNING") as logged:
            self.propose(transaction={b"x": bytes(1200)}).cancel()
            self.propose(transaction=nested).cancel()
        assert len(logged.output) == 2
        assert "max_block_size" in logged.output[0]
        assert "nested too deep" in logged.output[1]
        assert self.overlay(0).get_chain_length() == 2

    async def test_damaged_tip_that_was_never_signed_here(self) -> None:
        block = self.raw_block(0, self.key_bin(1), store=False)
        block.signature = b"x" * 64
        self.db(0).add_block(block)
        _, proposal = await self.propose()
        assert proposal.sequence_number == 1
        assert self.db(0).get(self.key_bin(0), 1) == proposal == self.db(1).get(self.key_bin(0), 1)

    async def test_double_sign_is_detected_and_told_once(self) -> None:
        told: list[Any] = []
        self.overlay(1).add_fraud_callback(lambda *evidence: told.append(evidence))
        _, first = await self.propose()
        self.db(0).remove_block(first)
        self.propose(transaction={b"id": 43})
        await self.settle()
        assert self.db(1).did_double_spend(self.key_bin(0))
        assert not self.db(1).did_double_spend(self.key_bin(1))
        (public_key, one, other), = told
        assert public_key == self.key_bin(0)
        assert one == first
        assert other.sequence_number == 1
        assert other.transaction == {b"id": 43}
        self.propose(transaction={b"id": 44})
        await self.settle()
        assert len(told) == 1

    async def test_function_that_fails_when_it_is_told_of_a_double_sign(self) -> None:
        told: list[Any] = []

        def fail(*_: Any) -> None:
            raise KeyError("a bug of the program")

        self.overlay(1).add_fraud_callback(fail)
        self.overlay(1).add_fraud_callback(lambda *args: told.append(args))
        with self.assertLogs("TrustChainCommunity", "ERROR") as logged:
            for number in (1, 2):
                self.overlay(1).validate_persist_block(self.raw_block(0, transaction={b"id": number}, store=False))
        assert len(told) == 1
        assert "a bug of the program" in logged.output[0]

    async def test_no_dealings_with_cheaters(self) -> None:
        """W13: proven cheaters were dealt with."""
        first = self.raw_block(0, self.key_bin(1), store=False)
        second = self.raw_block(0, self.key_bin(1), store=False, transaction={b"id": 2})
        self.db(1).add_double_spend(first, second)
        assert await self.overlay(1).process_half_block(first, self.peer(0)) is None
        with pytest.raises(RuntimeError, match="refuse_cheaters"):
            await self.overlay(1).propose(self.peer(0), b"test", {})
        self.overlay(1).settings.refuse_cheaters = False
        assert await self.overlay(1).process_half_block(first, self.peer(0))

    async def test_number_of_a_proposal_that_is_in_use(self) -> None:
        self.listeners[1].sign = False
        block_id = b"%s.1" % self.key_bin(0).hex().encode()
        taken = NumberCache(self.overlay(0).request_cache, "sign", sign_number(block_id))
        self.overlay(0).request_cache.add(taken)
        with pytest.raises(RuntimeError, match="in use"):
            await self.propose()

    async def test_proposal_after_the_end_of_the_requests(self) -> None:
        await self.overlay(0).request_cache.shutdown()
        with pytest.raises(RuntimeError, match="does not wait"):
            await self.propose()

    async def test_unloading(self) -> None:
        future = self.propose()
        await self.overlay(0).unload()
        assert future.done()
        assert self.db(0).get_latest(self.key_bin(0)) is None, "it is closed"

    async def test_process_half_block(self) -> None:
        foreign = self.raw_block(0, EMPTY_PK)
        assert await self.overlay(1).process_half_block(foreign, self.peer(0)) is None
        proposal = self.raw_block(0, self.key_bin(1))
        result = await self.overlay(1).process_half_block(proposal, self.peer(0))
        assert result
        assert result[0] == proposal
        bad = self.raw_block(0, self.key_bin(1), store=False)
        bad.signature = b"1" * 64
        with pytest.raises(RuntimeError, match="signature"):
            await self.overlay(1).process_half_block(bad, self.peer(0))

    async def test_predecessors_are_crawled_before_signing(self) -> None:
        for _ in range(3):
            self.raw_block(0, EMPTY_PK)
        proposal = self.raw_block(0, self.key_bin(1))
        result = await self.overlay(1).process_half_block(proposal, self.peer(0))
        assert result
        assert self.db(1).get_number_of_known_blocks(self.key_bin(0)) == 4

    async def test_no_crawling_before_signing_without_a_range(self) -> None:
        self.raw_block(0, EMPTY_PK)
        proposal = self.raw_block(0, self.key_bin(1))
        self.overlay(1).settings.validation_range = 0
        assert await self.overlay(1).process_half_block(proposal, self.peer(0))
        assert self.db(1).get_number_of_known_blocks(self.key_bin(0)) == 1

    async def test_opaque_block_is_kept_and_not_answered(self) -> None:
        block = self.raw_block(0, self.key_bin(1), store=False)
        block._transaction = b"a1dgarbage"
        block.sign(self.private_key(0))
        self.overlay(0).send_block(block, self.address(1))
        await self.settle()
        stored = self.db(1).get(self.key_bin(0), 1)
        assert stored == block
        assert stored.transaction == {}
        assert self.overlay(1).get_chain_length() == 0

    async def test_listeners(self) -> None:
        universal, other = Listener(), Listener()
        self.overlay(1).add_listener(universal, [UNIVERSAL_BLOCK_LISTENER])
        self.overlay(1).add_listener(other, [b"test"])
        await self.propose()
        assert len(universal.blocks) == len(other.blocks) == 2
        universal_type = self.raw_block(0, block_type=UNIVERSAL_BLOCK_LISTENER)
        self.overlay(0).send_block(universal_type, self.address(1))
        await self.settle()
        assert len(universal.blocks) == 3

    async def test_listeners_that_fail(self) -> None:
        """Other ones are told nevertheless, and a block of our own is sent."""
        class Failing(Listener):
            def received_block(self, block: TrustChainBlock) -> None:
                raise KeyError("a bug of the program")

        for i in range(2):
            self.overlay(i).add_listener(Failing(), [UNIVERSAL_BLOCK_LISTENER])
        with self.assertLogs("TrustChainCommunity", "ERROR") as logged:
            answer, own = await self.propose()
        for i in range(2):
            assert {block.hash for block in self.listeners[i].blocks} == {answer.hash, own.hash}
        assert "a bug of the program" in logged.output[0]

    async def test_removed_listener_leaves_the_class_of_the_others(self) -> None:
        """W22: the class of blocks was forgotten although other listeners remained."""
        other = Listener()
        self.overlay(0).add_listener(other, [b"test"])
        self.overlay(0).remove_listener(other, [b"test", b"unknown"])
        assert self.db(0).get_block_class(b"test") is DummyBlock
        self.overlay(0).remove_listener(self.listeners[0], [b"test"])
        assert self.db(0).get_block_class(b"test") is self.overlay(0).get_block_class(b"test") is TrustChainBlock

    async def test_nobody_is_told_during_the_shutdown(self) -> None:
        """W22: listeners of all types were told, the others not."""
        universal = Listener()
        self.overlay(0).add_listener(universal, [UNIVERSAL_BLOCK_LISTENER])
        self.overlay(0).shutting_down = True
        self.overlay(0).notify_listeners(self.raw_block(0))
        assert universal.blocks == self.listeners[0].blocks == []
        self.overlay(0).shutting_down = False


class TestBroadcast(TrustChainTestBase):
    count = 4

    def line_up(self) -> None:
        """Let each node know its neighbours only."""
        for i, node in enumerate(self.nodes):
            for j in range(self.count):
                if abs(i - j) > 1:
                    node.network.remove_peer(next(p for p in node.network.verified_peers if p.mid == self.mid(j)))

    async def test_ttl(self) -> None:
        self.line_up()
        for ttl in (1, 2, 3):
            block = self.raw_block(0)
            self.overlay(0).send_block(block, ttl=ttl)
            await self.settle()
            for i in range(self.count):
                assert (self.db(i).get(self.key_bin(0), ttl) is not None) == (i <= ttl)
                assert (block.block_id in self.overlay(i).relayed_broadcasts) == (i < ttl)

    async def test_pair_with_ttl(self) -> None:
        self.line_up()
        one = self.raw_block(0, self.key_bin(1))
        other = TrustChainBlock.create(b"test", None, self.db(1), self.key_bin(1), link=one)
        other.sign(self.private_key(1))
        self.overlay(0).send_block_pair(one, other, ttl=3)
        await self.settle()
        for i in range(1, self.count):
            assert self.db(i).get_linked(one) == other
            assert (one.block_id in self.overlay(i).relayed_broadcasts) == (i < 3)

    async def test_pair_to_an_address(self) -> None:
        one = self.raw_block(0, self.key_bin(1))
        other = TrustChainBlock.create(b"test", None, self.db(1), self.key_bin(1), link=one)
        other.sign(self.private_key(1))
        self.overlay(0).send_block_pair(one, other, self.address(2))
        await self.settle()
        assert self.db(2).get_number_of_known_blocks() == 2
        assert self.db(3).get_number_of_known_blocks() == 0

    async def test_fanout(self) -> None:
        self.overlay(0).settings.broadcast_fanout = 1
        await self.overlay(0).self_sign_block(b"test", {})
        await self.settle()
        assert sum(self.db(i).get_number_of_known_blocks() for i in range(1, 4)) == 1

    async def test_invalid_blocks_are_not_relayed_and_ttl_is_bounded(self) -> None:
        """W4: invalid blocks were relayed, and the number of hops had no limit."""
        self.line_up()
        bad = self.raw_block(0, store=False)
        bad.signature = b"1" * 64
        self.overlay(0).send_block(bad, ttl=3)
        await self.settle()
        assert bad.block_id not in self.overlay(1).relayed_broadcasts
        sent: list[Any] = []
        self.overlay(1)._broadcast = lambda payload, exclude=None: sent.append((payload.ttl, exclude))
        good = self.raw_block(0)
        self.overlay(0).send_block(good, ttl=0xffffffff)
        await self.settle()
        assert sent == [(9, self.address(0))]

    async def test_known_blocks_are_not_relayed(self) -> None:
        self.line_up()
        block = self.raw_block(0)
        self.db(1).add_block(block)
        self.overlay(0).send_block(block, ttl=3)
        await self.settle()
        assert self.db(2).get_number_of_known_blocks() == 0

    async def test_flood_of_broadcasts_is_bounded(self) -> None:
        overlay = self.overlay(1)
        sent: list[Any] = []
        overlay._broadcast = lambda payload, exclude=None: sent.append(payload)
        blocks = [self.raw_block(0) for _ in range(600)]
        for block in blocks:
            overlay._relay(object(), block.block_id, self.address(0))
        assert len(sent) <= 201
        assert len(overlay._relays) <= 256

    async def test_waiting_relays_are_sent_later(self) -> None:
        self.line_up()
        self.overlay(1)._relay_budget = TokenBuckets(rate=100, burst=1, capacity=1)
        for _ in range(4):
            self.overlay(0).send_block(self.raw_block(0), ttl=2)
        await self.until(lambda: self.db(2).get_number_of_known_blocks() == 4)
        await self.until(lambda: not self.overlay(1).is_pending_task_active("relay"))

    async def test_fraud_is_told_to_others(self) -> None:
        """W13: the proof was kept, and nobody was told."""
        self.line_up()
        one = self.raw_block(0, store=False, transaction={b"id": 1})
        other = self.raw_block(0, store=False, transaction={b"id": 2})
        self.overlay(0).send_block(one, self.address(1))
        self.overlay(0).send_block(other, self.address(1))
        await self.settle()
        assert [self.db(i).did_double_spend(self.key_bin(0)) for i in range(4)] == [True, True, True, True]

    async def test_history_with_a_repeated_id(self) -> None:
        """W17: an id that was added twice led to a KeyError when it was evicted."""
        overlay = self.overlay(0)
        overlay.settings.broadcast_history_size = 3
        for block_id in (b"a", b"b", b"a", b"c"):
            overlay._add_broadcasted_blockid(block_id)
        assert overlay.relayed_broadcasts == {b"a", b"b", b"c"}
        overlay._add_broadcasted_blockid(b"d")
        assert overlay.relayed_broadcasts == {b"b", b"c", b"d"}
        assert list(overlay.relayed_broadcasts_order) == [b"b", b"c", b"d"]


class TestCrawling(TrustChainTestBase):
    count = 3

    async def test_proposal_in_the_answer_to_a_crawl_is_answered(self) -> None:
        proposal = self.raw_block(0, self.key_bin(1))
        await self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 1)
        await self.until(lambda: self.db(0).get_linked(proposal) is not None)

    async def test_requests_beyond_the_end_of_the_overlay(self) -> None:
        await self.overlay(2).request_cache.shutdown()
        assert await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(0), 1, 1) == []

    async def test_third_node_gets_both_halves(self) -> None:
        self.overlay(0).settings.block_types_bc_disabled.add(b"test")
        self.overlay(1).settings.block_types_bc_disabled.add(b"test")
        await self.propose()
        assert self.db(2).get_number_of_known_blocks() == 0
        blocks = await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(0), 1, 1)
        assert len(blocks) == 2
        assert self.db(2).get_number_of_known_blocks() == 2
        blocks = await self.overlay(2).send_crawl_request(self.peer(1), self.key_bin(0), -1, -1)
        assert len(blocks) == 2

    async def test_nothing_known(self) -> None:
        assert await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(1), 1, 10) == []

    async def test_silence(self) -> None:
        self.nodes[0].endpoint.close()
        timeout, CrawlRequestCache.CRAWL_TIMEOUT = CrawlRequestCache.CRAWL_TIMEOUT, 0.05
        try:
            assert await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(0), 1, 10) == []
        finally:
            CrawlRequestCache.CRAWL_TIMEOUT = timeout

    async def test_negative_range(self) -> None:
        for _ in range(5):
            self.raw_block(0)
        blocks = await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(0), -2, -1)
        assert [block.sequence_number for block in blocks] == [4, 5]
        blocks = await self.overlay(2).send_crawl_request(self.peer(0), self.key_bin(0), -(2 ** 40), 1)
        assert [block.sequence_number for block in blocks] == [1]

    async def test_introduction_brings_the_lowest_unknown_block_once(self) -> None:
        for _ in range(2):
            self.raw_block(0)
        await self.introduce_nodes()
        await self.until(lambda: self.db(1).get_number_of_known_blocks() == 1)
        await self.introduce_nodes()
        await self.settle()
        assert self.db(1).get_number_of_known_blocks() == 1

    async def test_introduction_of_a_crawler(self) -> None:
        for _ in range(25):
            self.raw_block(0)
        self.overlay(1).settings.crawler = True
        await self.introduce_nodes()
        await self.until(lambda: self.db(1).get_number_of_known_blocks(self.key_bin(0)) == 25)
        await self.until(lambda: self.db(2).get_number_of_known_blocks(self.key_bin(0)) == 1)

    async def test_introduction_of_a_tracker(self) -> None:
        self.raw_block(0)
        self.network(1).blacklist.append(self.address(0))
        await self.introduce_nodes()
        assert self.db(1).get_number_of_known_blocks(self.key_bin(0)) == 0

    async def test_chain_with_gaps(self) -> None:
        blocks = [self.raw_block(0) for _ in range(30)]
        for number in (2, 3, 7, 20):
            self.db(1).add_block(blocks[number])
        await asyncio.wait_for(self.overlay(1).crawl_chain(self.peer(0), 30), LONG)
        assert self.db(1).get_lowest_sequence_number_unknown(self.key_bin(0)) == 31

    async def test_chain_of_unknown_length(self) -> None:
        for _ in range(12):
            self.raw_block(0)
        await asyncio.wait_for(self.overlay(1).crawl_chain(self.peer(0)), LONG)
        assert self.db(1).get_number_of_known_blocks() == 12
        await asyncio.wait_for(self.overlay(1).crawl_chain(self.peer(2)), LONG)

    async def test_crawled_at_most_once_at_a_time(self) -> None:
        self.raw_block(0)
        first = self.overlay(1).crawl_chain(self.peer(0), 1)
        assert self.overlay(1).crawl_chain(self.peer(0), 1).done()
        await first

    async def test_crawl_in_order(self) -> None:
        blocks = [self.raw_block(0) for _ in range(25)]
        self.db(1).add_block(blocks[4])
        assert [block async for block in self.overlay(1).crawl(self.peer(0))] == blocks

    async def test_lowest_unknown_asks_for_nothing_known(self) -> None:
        for _ in range(2):
            self.db(1).add_block(self.raw_block(0))
        for announced in (0, 1, 2):
            assert self.overlay(1).crawl_lowest_unknown(self.peer(0), announced) == []
        self.raw_block(0)
        blocks = await self.overlay(1).crawl_lowest_unknown(self.peer(0), 3)
        assert [block.sequence_number for block in blocks] == [3]

    async def test_cleanup(self) -> None:
        for _ in range(5):
            self.db(1).add_block(self.raw_block(0))
        self.overlay(1).settings.max_db_blocks = 2
        self.overlay(1).do_db_cleanup()
        assert self.db(1).get_number_of_known_blocks() == 2

    async def test_chain_length(self) -> None:
        assert self.overlay(0).get_chain_length() == 0
        self.raw_block(0)
        assert self.overlay(0).get_chain_length() == 1
        assert UNKNOWN_SEQ == 0
