"""What others may send to a TrustChain node, and what must not come of it."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from ipv8 import clock
from ipv8.attestation.trustchain import admission, broadcast, community as community_module, crawl_protocol, crawling
from ipv8.attestation.trustchain.admission import Admission
from ipv8.attestation.trustchain.block import EMPTY_PK, TrustChainBlock, ValidationResult
from ipv8.attestation.trustchain.broadcast import RelayQueue
from ipv8.attestation.trustchain.caches import ChainCrawlCache, CrawlRequestCache
from ipv8.attestation.trustchain.community import TrustChainCommunity, synchronized
from ipv8.attestation.trustchain.crawling import AnswerBudget, ChainCrawl, CrawlTarget, Step, absolute_range
from ipv8.attestation.trustchain.payload import (
    CrawlRequestPayload,
    CrawlResponsePayload,
    EmptyCrawlResponsePayload,
    HalfBlockBroadcastPayload,
    HalfBlockPairBroadcastPayload,
    HalfBlockPairPayload,
    HalfBlockPayload,
    LongCrawlRequestPayload,
)
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.attestation.trustchain.validation import is_double_sign
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.limits import TokenBuckets
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
from ipv8.peer import Peer
from tests.attestation.trustchain.test_community import LONG, DummyBlock, Listener, TrustChainTestBase
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS, private_key


class Outside:
    """Makes blocks of a key that has no node."""

    def __init__(self) -> None:
        self.key = default_eccrypto.generate_key("curve25519")
        self.key_bin = self.key.pub().key_to_bin()
        self.latest: TrustChainBlock | None = None

    def get_latest(self, public_key: bytes) -> TrustChainBlock | None:
        return self.latest

    def block(self, link: TrustChainBlock | None = None, link_pk: bytes = EMPTY_PK, keep: bool = True,
              transaction: Any = None, **values: Any) -> TrustChainBlock:
        made = TrustChainBlock.create(b"test", None if link else transaction or {b"id": 1}, self, self.key_bin,
                                      link=link, link_pk=link_pk)
        for name, value in values.items():
            setattr(made, name, value)
        made.sign(self.key)
        if keep:
            self.latest = made
        return made


class HostileTestBase(TrustChainTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.sent: list[tuple[int, Any, bytes]] = []
        self.record(1)

    def record(self, i: int) -> None:
        endpoint = self.nodes[i].endpoint
        send = endpoint.send

        def record(address: Any, packet: bytes) -> None:
            self.sent.append((packet[22], address, packet))
            send(address, packet)

        endpoint.send = record

    def sent_messages(self, message: int) -> int:
        return sum(number == message for number, _, _ in self.sent)

    def packet(self, payload: Any) -> bytes:
        overlay = self.overlay(0)
        packet: bytes = overlay.ezr_pack(
            payload.msg_id, GlobalTimeDistributionPayload(overlay.claim_global_time()), payload, sig=False)
        return packet

    def send(self, payload: Any) -> None:
        """Let node 0 send something to node 1."""
        self.nodes[0].endpoint.send(self.address(1), self.packet(payload))

    def receive(self, payload: Any, source: Any = ("9.9.9.9", 9)) -> Any:
        """Let node 1 receive something from somewhere."""
        packet = self.packet(payload)
        return self.overlay(1).decode_map[packet[22]](source, packet)


class TestHostile(HostileTestBase):
    async def test_nobody_else_can_make_us_sign_a_height_again(self) -> None:
        """W1: blocks of others made the tip of our own chain invalid, which was then removed and signed again."""
        attacker, accomplice = Outside(), Outside()
        a1 = attacker.block(link_pk=self.key_bin(1), timestamp=1000)
        await self.overlay(1).process_half_block(a1, Peer(attacker.key_bin, self.address(0)))
        x = self.db(1).get(self.key_bin(1), 1)
        assert x is not None
        accomplice_first = accomplice.block(link=a1, timestamp=0)
        a2 = attacker.block(link_pk=accomplice.key_bin, link_sequence_number=1, timestamp=999)
        for made in (a2, accomplice_first):
            self.overlay(1).validate_persist_block(made)
        self.overlay(1).sign_block(self.peer(0), public_key=self.key_bin(0), block_type=b"test", transaction={b"n": 1})
        assert self.db(1).get(self.key_bin(1), 1) == x
        assert self.overlay(1).get_chain_length() == 2

    async def test_only_damage_makes_us_remove_blocks_of_our_own(self) -> None:
        """W1, W26: a tip that was not valid any more for whatever reason was removed, and its height signed again."""
        _, tip = await self.propose()

        class Changed(TrustChainBlock):
            def validate_transaction(self, database: Any) -> Any:
                return ValidationResult.invalid, ["the partner says something else"]

        self.db(0).block_types[b"test"] = Changed
        self.overlay(0).persistence_integrity_check()
        assert self.db(0).get(self.key_bin(0), 1) == tip

    async def test_proposal_without_predecessors_does_not_make_us_crawl_forever(self) -> None:
        """W2: each empty answer led to the next request, and each time-out too."""
        attacker = Outside()
        for _ in range(3):
            attacker.block()
        proposal = attacker.block(link_pk=self.key_bin(1))
        requests: list[Any] = []

        def crawl(*arguments: Any) -> Any:
            requests.append(arguments)
            future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            future.set_result([])
            return future

        self.overlay(1).send_crawl_request = crawl
        assert await self.overlay(1).process_half_block(proposal, Peer(attacker.key_bin, ("9.9.9.9", 9))) is None
        assert len(requests) == 1

    async def test_crawls_for_proposals_have_a_budget(self) -> None:
        requests: list[Any] = []
        begin = clock.monotonic()

        def crawl(*arguments: Any) -> Any:
            requests.append(arguments)
            future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            future.set_result([])
            return future

        self.overlay(1).send_crawl_request = crawl
        for _ in range(30):
            attacker = Outside()
            attacker.block()
            await self.overlay(1).process_half_block(attacker.block(link_pk=self.key_bin(1)),
                                                     Peer(attacker.key_bin, ("9.9.9.9", 9)))
        assert len(requests) <= admission.CRAWLS_AT_ONCE + admission.CRAWLS_PER_SECOND * (clock.monotonic() - begin)

    async def test_author_that_always_gives_one_more_block(self) -> None:
        attacker = Outside()
        chain = [attacker.block() for _ in range(10)]
        proposal = attacker.block(link_pk=self.key_bin(1))
        requests: list[Any] = []

        def crawl(*arguments: Any) -> Any:
            self.db(1).add_block(chain[5 + len(requests)])
            requests.append(arguments)
            future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            future.set_result([])
            return future

        self.overlay(1).send_crawl_request = crawl
        await self.overlay(1).process_half_block(proposal, Peer(attacker.key_bin, ("9.9.9.9", 9)))
        assert len(requests) == community_module.MAX_CRAWL_ROUNDS

    async def test_answers_from_elsewhere_do_not_count(self) -> None:
        """W3: any address could answer, and end, any crawl."""
        self.nodes[0].endpoint.close()
        future = self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 5)
        crawl_id = next(iter(self.overlay(1).request_cache._identifiers.values())).number
        self.receive(EmptyCrawlResponsePayload(crawl_id))
        self.receive(CrawlResponsePayload.from_crawl(Outside().block(), crawl_id, 1, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not future.done()
        assert self.overlay(1).drops[DropCounter.UNSOLICITED] == 1

    async def test_only_blocks_that_were_asked_for_count(self) -> None:
        """W3: any block counted, invalid and repeated ones too."""
        self.nodes[0].endpoint.close()
        wanted = [self.raw_block(0, transaction={b"n": n}) for n in range(3)]
        future = self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 2)
        crawl_id = next(iter(self.overlay(1).request_cache._identifiers.values())).number
        invalid = self.raw_block(0, store=False)
        invalid.signature = b"x" * 64
        foreign = Outside().block()
        for made in (foreign, invalid, wanted[2], wanted[0], wanted[0]):
            self.receive(CrawlResponsePayload.from_crawl(made, crawl_id, 1, 2), self.address(0))
        await asyncio.sleep(0.01)
        assert not future.done()
        self.receive(CrawlResponsePayload.from_crawl(wanted[1], crawl_id, 2, 2), self.address(0))
        assert await future == wanted[:2]

    async def test_ids_of_crawls_cannot_be_guessed(self) -> None:
        """W3: those for proposals were derived from the hash of the block."""
        block = self.raw_block(0)
        self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 1, for_half_block=block)
        assert not self.overlay(1).request_cache.has("crawl", block.hash_number)

    async def test_incomplete_answer_ends_before_the_time_out(self) -> None:
        """W23: who lost a packet waited for 20 s."""
        timeout, CrawlRequestCache.CRAWL_TIMEOUT = CrawlRequestCache.CRAWL_TIMEOUT, 100 * LONG
        share, crawl_protocol.SILENCE_SHARE = crawl_protocol.SILENCE_SHARE, 0.001 / LONG
        try:
            self.nodes[0].endpoint.close()
            wanted = self.raw_block(0)
            future = self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 2)
            cache: Any = next(iter(self.overlay(1).request_cache._identifiers.values()))
            self.receive(CrawlResponsePayload.from_crawl(wanted, cache.number, 1, 2), self.address(0))
            assert await asyncio.wait_for(future, LONG) == [wanted]
        finally:
            CrawlRequestCache.CRAWL_TIMEOUT, crawl_protocol.SILENCE_SHARE = timeout, share

    async def test_unanswered_request_is_sent_again_in_the_other_form(self) -> None:
        """W25, W23: neither form was understood by all, and lost requests were not sent again."""
        timeout, CrawlRequestCache.CRAWL_TIMEOUT = CrawlRequestCache.CRAWL_TIMEOUT, 1.0
        try:
            self.nodes[0].endpoint.close()
            assert await self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 2) == []
        finally:
            CrawlRequestCache.CRAWL_TIMEOUT = timeout
        assert [len(packet) for message, _, packet in self.sent if message == 2] == [257, 265]

    async def test_requests_of_both_forms_are_answered(self) -> None:
        self.raw_block(1)
        for number, form in enumerate((CrawlRequestPayload, LongCrawlRequestPayload), 1):
            self.overlay(0).ez_send(self.peer(1), GlobalTimeDistributionPayload(number),
                                    form(self.key_bin(1), 1, 1, 7))
            await self.settle()
            assert self.sent_messages(3) == number
            assert self.overlay(1).long_dialects[self.mid(0)] == (form is LongCrawlRequestPayload)
        with pytest.raises(Exception, match="crawl request"):
            self.overlay(1).decode_map[2](self.address(0), self.overlay(0).ezr_pack(
                2, GlobalTimeDistributionPayload(3), CrawlRequestPayload(self.key_bin(1), 1, 1, 7),
                EmptyCrawlResponsePayload(1)))

    async def test_vector_of_a_request_in_the_long_form(self) -> None:
        self.db(1).add_block(BLOCKS["a1"])
        packet = bytes.fromhex(VECTORS["kotlin_crawl_request"]["packet"])
        self.overlay(1).decode_map[2](self.address(0), packet)
        assert self.sent_messages(3) == 1

    async def test_request_for_a_huge_range_of_our_own_chain(self) -> None:
        """W5: the range was enumerated, and the limit of blocks did not hold for our own chain."""
        for _ in range(30):
            self.raw_block(1)
        self.nodes[0].overlay.my_peer.address_frozen = True
        for message, form in ((1, CrawlRequestPayload), (2, LongCrawlRequestPayload)):
            end = 2 ** 31 - 1 if message == 1 else 2 ** 63 - 1
            self.overlay(0).ez_send(self.peer(1), GlobalTimeDistributionPayload(message),
                                    form(self.key_bin(1), 1, end, 7))
        await self.settle()
        assert self.sent_messages(3) <= 2 * self.overlay(1).settings.max_crawl_batch

    def ten_blocks(self, i: int) -> None:
        """Give a node blocks whose answer to a crawl is much longer than the request."""
        for number in range(10):
            self.raw_block(i, transaction={b"x": b"y" * 300, b"n": number})

    def stranger_asks(self, stranger: Peer, number: int = 1, end: int = 100) -> bytes:
        """Let node 1 receive a crawl request of somebody that it does not know."""
        mine, self.overlay(0).my_peer = self.overlay(0).my_peer, stranger
        packet: bytes = self.overlay(0).ezr_pack(2, GlobalTimeDistributionPayload(number),
                                                 CrawlRequestPayload(self.key_bin(1), 1, end, number))
        self.overlay(0).my_peer = mine
        self.nodes[1].endpoint.send = lambda address, data: self.sent.append((data[22], address, data))
        self.overlay(1).decode_map[2](stranger.address, packet)
        return packet

    def stranger_answers(self, stranger: Peer, source: Any, asked: bytes) -> None:
        """Let node 1 receive the answer of a stranger to the introduction request ``asked``."""
        (identifier,) = struct.unpack(">H", asked[-70:-68])
        mine, self.overlay(0).my_peer = self.overlay(0).my_peer, stranger
        packet = self.overlay(0).create_introduction_response(self.address(0), self.address(1), identifier)
        self.overlay(0).my_peer = mine
        self.overlay(1).decode_map[245](source, packet)

    def sent_to(self, address: Any, message: int) -> list[bytes]:
        return [data for number, place, data in self.sent if place == address and number == message]

    def counts(self, responses: list[bytes]) -> list[tuple[int, int]]:
        payloads = [self.overlay(0).serializer.unpack_serializable_list(
            [GlobalTimeDistributionPayload, CrawlResponsePayload], data, 23)[1] for data in responses]
        return [(payload.cur_count, payload.total_count) for payload in payloads]

    async def test_answer_to_an_unproven_address_is_small(self) -> None:
        """W6: a request with a forged source was answered with any number of bytes."""
        await self.check_answer_without_a_proof(0, 1)

    async def test_answer_of_large_blocks_to_an_unproven_address(self) -> None:
        await self.check_answer_without_a_proof(400, 0)

    async def check_answer_without_a_proof(self, size: int, expected: int) -> None:
        for number in range(20):
            self.raw_block(1, transaction={b"x": b"y" * size, b"n": number})
        self.overlay(1).settings.max_crawl_batch = 100
        victim = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("9.9.9.9", 9))
        packet = self.stranger_asks(victim)
        assert not self.sent_to(victim.address, 3)
        (cache,) = self.overlay(1)._unproven_crawlers.values()
        self.overlay(1).request_cache.pop(cache.prefix, cache.number)
        cache.on_timeout()
        assert sum(len(data) for _, address, data in self.sent if address == victim.address) <= 3 * len(packet)
        responses = self.sent_to(victim.address, 3)
        assert self.counts(responses) == [(number, expected) for number in range(1, expected + 1)]
        assert self.overlay(1).drops[DropCounter.RATE_LIMITED] == 1

    async def test_short_answer_to_an_unproven_address_needs_no_proof(self) -> None:
        self.raw_block(1)
        self.raw_block(1)
        stranger = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("9.9.9.9", 9))
        packet = self.stranger_asks(stranger)
        responses = self.sent_to(stranger.address, 3)
        assert self.counts(responses) == [(1, 2), (2, 2)]
        assert sum(map(len, responses)) <= 3 * len(packet)
        assert not self.sent_to(stranger.address, 246)

    async def test_whole_answer_to_an_address_that_is_proved(self) -> None:
        await self.check_answer_with_a_proof(30)

    async def test_proof_of_somebody_for_whom_there_is_no_place(self) -> None:
        """It counts for a while also for those who do not become peers."""
        await self.check_answer_with_a_proof(0)

    async def check_answer_with_a_proof(self, max_peers: int) -> None:
        self.ten_blocks(1)
        self.overlay(1).max_peers = max_peers
        stranger = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("9.9.9.9", 9))
        self.stranger_asks(stranger, 1)
        self.stranger_asks(stranger, 2, end=3)
        (asked,) = self.sent_to(stranger.address, 246)
        assert not self.sent_to(stranger.address, 3)
        self.stranger_answers(stranger, stranger.address, asked)
        assert self.counts(self.sent_to(stranger.address, 3)) == [
            *[(number, 10) for number in range(1, 11)], (1, 3), (2, 3), (3, 3)]
        self.sent.clear()
        self.stranger_asks(stranger, 3)
        assert len(self.sent_to(stranger.address, 3)) == 10
        assert not self.sent_to(stranger.address, 246)
        await self.overlay(1).request_cache.shutdown()
        assert len(self.sent_to(stranger.address, 3)) == 10

    async def test_proof_by_another_message(self) -> None:
        self.ten_blocks(1)
        stranger = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("9.9.9.9", 9))
        self.stranger_asks(stranger)
        self.network(1).add_verified_peer(stranger)
        self.network(1).mark_proven(stranger)
        (cache,) = self.overlay(1)._unproven_crawlers.values()
        self.overlay(1).request_cache.pop(cache.prefix, cache.number)
        cache.on_timeout()
        assert len(self.sent_to(stranger.address, 3)) == 10

    async def test_proof_counts_for_one_key_at_one_address(self) -> None:
        self.ten_blocks(1)
        key = default_eccrypto.generate_key("curve25519")
        here, there = UDPv4Address("9.9.9.9", 9), UDPv4Address("8.8.8.8", 8)
        self.stranger_asks(Peer(key, here))
        (asked,) = self.sent_to(here, 246)
        self.stranger_answers(Peer(key, here), here, asked)
        self.sent.clear()
        self.stranger_asks(Peer(key, there), 2)
        self.stranger_asks(Peer(default_eccrypto.generate_key("curve25519"), here), 3)
        assert not self.sent_to(there, 3)
        assert not self.sent_to(here, 3)

    async def test_local_address_that_a_peer_names_is_not_proved(self) -> None:
        """Anybody could name an address as that in the own network, and have answers sent there."""
        self.ten_blocks(1)
        key = default_eccrypto.generate_key("curve25519")
        here, victim = UDPv4Address("9.9.9.9", 9), UDPv4Address("8.8.8.8", 8)
        self.stranger_asks(Peer(key, here))
        (asked,) = self.sent_to(here, 246)
        self.stranger_answers(Peer(key, here), here, asked)
        known = self.network(1).get_verified_by_public_key_bin(key.pub().key_to_bin())
        assert known is not None
        known.address = UDPv4LANAddress(*victim)
        self.stranger_asks(Peer(key, victim), 2)
        assert not self.sent_to(victim, 3)
        assert tuple(known.address) == tuple(here)

    async def test_number_of_unproven_crawlers(self) -> None:
        """Those for whom there is no room get what needs no proof."""
        for number in range(3):
            self.raw_block(1, transaction={b"x": b"y" * 300, b"n": number})
        for host in range(crawl_protocol.MAX_UNPROVEN_CRAWLERS + 1):
            last = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address(f"9.{host}.9.9", 9))
            self.stranger_asks(last, host)
        assert len(self.overlay(1)._unproven_crawlers) == crawl_protocol.MAX_UNPROVEN_CRAWLERS
        assert [address for message, address, _ in self.sent if message == 3] == [last.address]

    async def test_number_of_requests_that_wait_for_a_proof(self) -> None:
        for number in range(3):
            self.raw_block(1, transaction={b"x": b"y" * 300, b"n": number})
        stranger = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("9.0.9.9", 10))
        for number in range(crawl_protocol.MAX_UNPROVEN_REQUESTS + 3):
            self.stranger_asks(stranger, number)
        assert self.overlay(1).drops[DropCounter.RATE_LIMITED] == 3
        (asked,) = self.sent_to(stranger.address, 246)
        self.stranger_answers(stranger, stranger.address, asked)
        assert len(self.sent_to(stranger.address, 3)) == 3 * crawl_protocol.MAX_UNPROVEN_REQUESTS

    async def test_flood_of_requests_costs_no_look_ups(self) -> None:
        """W6: requests that cannot be answered any more are dropped before the database is asked."""
        for _ in range(20):
            self.raw_block(1)
        looked_up = 0
        database = self.db(1)
        crawl = database.crawl

        def count(*args: Any, **kwargs: Any) -> Any:
            nonlocal looked_up
            looked_up += 1
            return crawl(*args, **kwargs)

        database.crawl = count
        budget = self.overlay(1).answer_budget
        budget.each = TokenBuckets(0.001, 5 * 10 * 330)
        for number in range(50):
            self.overlay(0).ez_send(self.peer(1), GlobalTimeDistributionPayload(number),
                                    CrawlRequestPayload(self.key_bin(1), 1, 20, number))
        await self.settle()
        assert 5 <= looked_up < 10
        assert self.overlay(1).drops[DropCounter.RATE_LIMITED] > 40

    async def test_replayed_request_is_not_answered(self) -> None:
        """W7: a captured request could be sent again for ever, from anywhere."""
        self.raw_block(1)
        packet = self.overlay(0).ezr_pack(2, GlobalTimeDistributionPayload(1),
                                          CrawlRequestPayload(self.key_bin(1), 1, 1, 7))
        for _ in range(5):
            self.overlay(1).decode_map[2](self.address(0), packet)
        assert self.sent_messages(3) == 1
        assert self.overlay(1).drops[DropCounter.REPLAYED] == 4

    async def test_large_and_future_blocks_are_refused(self) -> None:
        """W8: there were no limits."""
        author = Outside()
        now = int(clock.time() * 1000)
        large = author.block(keep=False, transaction={b"x": b"y" * 1200})
        late = author.block(keep=False, timestamp=now + 90_000_000)
        beyond = author.block(keep=False, timestamp=1 << 63)
        good = author.block(keep=False, timestamp=now + 80_000_000)
        for made in (large, late, beyond, good):
            self.send(HalfBlockPayload.from_half_block(made))
        await self.settle()
        assert self.db(1).get_all_blocks() == [good]
        assert self.overlay(1).drops[DropCounter.UNDECODABLE] == 3

    async def test_links_to_one_source_block_are_limited(self) -> None:
        """W8: an author could link to a source block without end."""
        author = Outside()
        source = self.raw_block(1)
        for _ in range(25):
            self.send(HalfBlockPayload.from_half_block(author.block(link=source)))
        await self.settle()
        assert len(self.db(1).get_all_linked(source)) == 20

    async def test_flood_of_blocks_is_bounded(self) -> None:
        """W9: whatever came was verified and stored."""
        author = Outside()
        payload = HalfBlockPayload.from_half_block(author.block())
        seen: list[Any] = []
        packet = self.packet(payload)
        begin = clock.monotonic()
        for _ in range(3000):
            outcome = self.overlay(1).decode_map[1](("9.9.9.9", 9), packet)
            if outcome is not None:
                outcome.close()
                seen.append(outcome)
        allowed = admission.BLOCKS_AT_ONCE + admission.BLOCKS_PER_SECOND * (clock.monotonic() - begin)
        assert len(seen) <= allowed + 1
        assert self.overlay(1).drops[DropCounter.RATE_LIMITED] == 3000 - len(seen)

    async def test_flood_of_forgeries_is_bounded(self) -> None:
        author = Outside()
        checks: list[Any] = []
        begin = clock.monotonic()

        def check(block: TrustChainBlock) -> Any:
            checks.append(block)
            return TrustChainCommunity.validate_persist_block(self.overlay(1), block)

        self.overlay(1).validate_persist_block = check
        for number in range(500):
            forged = author.block(keep=False, transaction={b"n": number})
            forged.signature = b"x" * 64
            outcome = self.overlay(1).decode_map[1](("9.9.9.9", 9), self.packet(
                HalfBlockPayload.from_half_block(forged)))
            if outcome is not None:
                await outcome
        assert len(checks) <= admission.INVALID_AT_ONCE + admission.INVALID_PER_SECOND * (clock.monotonic() - begin) + 1
        other = author.block()
        self.send(HalfBlockPayload.from_half_block(other))
        await self.settle()
        assert self.db(1).get_all_blocks() == [other], "others are not affected"

    async def test_database_does_not_outgrow_its_size_between_cleanups(self) -> None:
        """W9: between two cleanups there was no limit."""
        self.overlay(1).settings.max_db_blocks = 10
        author = Outside()
        for _ in range(1100):
            self.overlay(1).validate_persist_block(author.block())
        assert self.db(1).get_number_of_known_blocks() <= 110

    async def test_kotlin_self_signed_block(self) -> None:
        author = Outside()
        made = author.block(link_pk=author.key_bin)
        self.send(HalfBlockPayload.from_half_block(made))
        await self.settle()
        assert self.db(1).get_all_blocks() == []
        self.overlay(1).settings.accept_self_linked = True
        self.send(HalfBlockPayload.from_half_block(made))
        await self.settle()
        assert self.db(1).get_all_blocks() == [made]
        assert self.listeners[1].blocks == []

    async def test_class_that_cannot_take_a_block(self) -> None:
        class Strict(TrustChainBlock):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.amount = self.transaction["amount"]

        self.listeners[1].BLOCK_CLASS = Strict
        self.send(HalfBlockPayload.from_half_block(Outside().block()))
        self.send(HalfBlockPairPayload.from_half_blocks(Outside().block(), Outside().block()))
        await self.settle()
        assert self.db(1).get_all_blocks() == []
        assert self.overlay(1).drops[DropCounter.UNDECODABLE] == 2

    async def test_class_that_cannot_validate_a_transaction(self) -> None:
        """Blocks that arrived together with such a one are not lost, and a double-sign is detected nevertheless."""
        class Loan(DummyBlock):
            def validate_transaction(self, database: Any) -> Any:
                return (ValidationResult.valid if self.transaction.get("amount", 0) > 0 else ValidationResult.invalid,
                        [])

        class LoanListener(Listener):
            BLOCK_CLASS = Loan

        self.overlay(1).add_listener(LoanListener(), [b"loan"])
        for encoded in (b"a0n", b"a0l", b"a1sx", b"a1i5", b"a1d6samount1sx"):
            author, other = Outside(), Outside()
            bad, good = author.block(type=b"loan", _transaction=encoded, keep=False), other.block()
            with self.assertLogs("TrustChainBlock", "ERROR") as logged:
                for block in (bad, good):
                    self.receive(CrawlResponsePayload.from_crawl(block, 5, 1, 2))
                self.receive(HalfBlockBroadcastPayload.from_half_block(bad, 2))
                self.receive(HalfBlockPairPayload.from_half_blocks(other.block(), bad))
                await self.receive(HalfBlockPayload.from_half_block(bad))
                await self.settle()
                assert self.db(1).get_number_of_known_blocks(author.key_bin) == 0
                assert self.db(1).get_number_of_known_blocks(other.key_bin) == 2
                self.overlay(1).validate_persist_block(author.block(keep=False))
                await self.receive(HalfBlockPayload.from_half_block(bad))
            assert all("could not be validated" in line for line in logged.output)
            assert self.db(1).did_double_spend(author.key_bin)

    async def test_class_that_fails_in_another_method(self) -> None:
        class Failing(DummyBlock):
            def update_chain_consistency(self, *_: Any) -> None:
                raise KeyError("a bug of the program")

        class FailingListener(Listener):
            BLOCK_CLASS = Failing

        self.overlay(1).add_listener(FailingListener(), [b"failing"])
        bad, good = Outside().block(type=b"failing"), Outside().block()
        with self.assertLogs("TrustChainCommunity", "ERROR") as logged:
            for block in (bad, good):
                self.receive(CrawlResponsePayload.from_crawl(block, 5, 1, 2))
            await self.settle()
        assert self.db(1).contains(good)
        assert "a bug of the program" in logged.output[0]

    async def test_pairs_of_which_one_is_bad(self) -> None:
        author, other = Outside(), Outside()
        good = author.block(link_pk=other.key_bin)
        forged = other.block(link=good, keep=False)
        forged.signature = b"x" * 64
        large = other.block(keep=False, transaction={b"x": b"y" * 1200})
        for bad in (forged, large):
            self.send(HalfBlockPairBroadcastPayload.from_half_blocks(good, bad, 5))
        await self.settle()
        assert self.sent_messages(6) == 0
        assert self.db(1).get_all_blocks() == [good]

    async def test_flood_of_pairs_is_bounded(self) -> None:
        author, other = Outside(), Outside()
        good = author.block(link_pk=other.key_bin)
        packet = self.packet(HalfBlockPairPayload.from_half_blocks(good, other.block(link=good)))
        for _ in range(1500):
            self.overlay(1).decode_map[4](("9.9.9.9", 9), packet)
        assert self.overlay(1).drops[DropCounter.RATE_LIMITED] > 0

    async def test_endless_answer_to_a_crawl_is_bounded(self) -> None:
        self.nodes[0].endpoint.close()
        self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 2)
        cache: Any = next(iter(self.overlay(1).request_cache._identifiers.values()))
        forged = self.raw_block(0, store=False)
        forged.signature = b"x" * 64
        for _ in range(crawling.MAX_ANSWER_BLOCKS + 300):
            self.receive(CrawlResponsePayload.from_crawl(forged, cache.number, 1, 2), self.address(0))
            self.overlay(1)._process_crawled()
        assert self.overlay(1).drops[DropCounter.BAD_SIGNATURE] <= crawling.MAX_ANSWER_BLOCKS + 10
        await self.settle()

    async def test_proof_of_fraud_does_not_count_against_who_sends_it(self) -> None:
        author = Outside()
        one, other = (author.block(keep=False, transaction={b"n": n}) for n in range(2))
        self.send(HalfBlockPairBroadcastPayload.from_half_blocks(one, other, 1))
        await self.settle()
        assert self.db(1).did_double_spend(author.key_bin)
        assert self.overlay(1).drops == {}

    async def test_proof_of_fraud_of_which_no_block_fits_to_what_is_known(self) -> None:
        """Two blocks of one height are a proof by themselves: on a branch that is not ours, or not valid otherwise."""
        forker, nonsense, itself = Outside(), Outside(), Outside()
        first = forker.block()
        forker.block()
        known = [first, forker.latest]
        forker.latest = first
        forker.block(transaction={b"id": 2})
        proofs = [
            (forker.block(keep=False, transaction={b"id": 3}), forker.block(keep=False, transaction={b"id": 4})),
            (nonsense.block(previous_hash=b"1" * 32), nonsense.block(previous_hash=b"2" * 32, sequence_number=1)),
            (itself.block(keep=False, link_pk=itself.key_bin), itself.block(link_pk=itself.key_bin, timestamp=1)),
        ]
        for block in known:
            assert block is not None
            self.overlay(1).validate_persist_block(block)
        told: list[bytes] = []
        self.overlay(1).add_fraud_callback(lambda key, *_: told.append(key))
        for number, pair in enumerate(proofs):
            message = (HalfBlockPairBroadcastPayload.from_half_blocks(*pair, 1) if number % 2
                       else HalfBlockPairPayload.from_half_blocks(*pair))
            self.receive(message)
            self.receive(message)
        assert told == [forker.key_bin, nonsense.key_bin, itself.key_bin]
        assert all(self.db(1).did_double_spend(key) for key in told)
        assert self.overlay(1).admission.invalid.fill(("9.9.9.0", 24)) == pytest.approx(1.0, abs=0.01)

    async def test_what_is_no_proof_of_fraud(self) -> None:
        author, other = Outside(), Outside()
        one, two = author.block(keep=False), author.block(keep=False, transaction={b"id": 2})
        forged = author.block(keep=False, transaction={b"id": 3})
        forged.signature = one.signature
        forged.hash = forged.calculate_hash()
        late = author.block(keep=False, timestamp=1 << 63)
        zero = [author.block(keep=False, sequence_number=0, transaction={b"id": number}) for number in (4, 5)]
        author.latest = one
        for pair in ((one, one), (one, forged), (one, late), zero, (one, other.block()), (one, author.block())):
            assert not is_double_sign(*pair)
        assert is_double_sign(one, two)

    async def test_flood_of_frauds_is_bounded(self) -> None:
        """Each proof is told to others, so that telling needs a budget."""
        told: list[Any] = []
        self.overlay(1)._broadcast = lambda payload, exclude=None: told.append(payload)
        for number in range(400):
            self.overlay(1)._on_fraud(b"%d" % number, BLOCKS["a1"], BLOCKS["a1_fork"])
        assert len(told) <= broadcast.RELAYS_AT_ONCE + 50
        assert len(self.overlay(1)._relays) <= broadcast.MAX_WAITING_RELAYS

    async def test_answer_that_arrives_after_the_end(self) -> None:
        self.nodes[0].endpoint.close()
        self.overlay(1).send_crawl_request(self.peer(0), self.key_bin(0), 1, 2)
        cache: Any = next(iter(self.overlay(1).request_cache._identifiers.values()))
        self.receive(CrawlResponsePayload.from_crawl(self.raw_block(0), cache.number, 1, 2), self.address(0))
        self.overlay(1).shutting_down = True
        await self.settle()
        self.overlay(1).shutting_down = False
        assert self.db(1).get_all_blocks() == []

    async def test_counter_signature_of_somebody_else_does_not_count(self) -> None:
        self.listeners[1].sign = False
        future = self.propose()
        await self.settle()
        proposal = self.db(0).get(self.key_bin(0), 1)
        stranger = Outside()
        with pytest.raises(RuntimeError):
            await self.overlay(0).process_half_block(stranger.block(link=proposal),
                                                     Peer(stranger.key_bin, ("9.9.9.9", 9)))
        assert not future.done()

    async def test_two_copies_of_a_proposal_are_answered_once(self) -> None:
        proposal = self.raw_block(0, self.key_bin(1))
        gate = asyncio.Event()

        async def should_sign(_: TrustChainBlock) -> bool:
            await gate.wait()
            return True

        self.overlay(1).should_sign = should_sign
        both = [asyncio.ensure_future(self.overlay(1).process_half_block(proposal, self.peer(0))) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*both)
        assert sum(result is not None for result in results) == 1
        assert self.overlay(1).get_chain_length() == 1

    async def test_future_of_a_chain_crawl_is_always_done(self) -> None:
        """W19: after a time-out or an error it stayed open for ever."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.overlay(1).request_cache.passthrough():
            self.overlay(1).request_cache.add(ChainCrawlCache(self.overlay(1), self.peer(0), future))
        await asyncio.wait_for(future, LONG)

        async def fail(_: Any) -> None:
            raise ValueError("broken")

        self.overlay(1).send_next_partial_chain_crawl_request = fail
        self.loop.set_exception_handler(lambda *_: None)
        await asyncio.wait_for(self.overlay(1).crawl_chain(self.peer(0), 5), LONG)

    async def test_chain_that_is_said_to_be_endless(self) -> None:
        self.raw_block(0)
        await asyncio.wait_for(self.overlay(1).crawl_chain(self.peer(0), 2 ** 31 - 1), LONG)
        assert sum(message == 2 for message, _, _ in self.sent) <= 5

    async def test_lost_tip_is_not_signed_again(self) -> None:
        """W26: after the loss of blocks the same height was signed again."""
        _, first = await self.propose()
        self.db(0).discard_block(first)
        assert self.overlay(0).get_chain_length() == 0
        _, second = await self.propose()
        assert (second.sequence_number, second.previous_hash) == (2, first.hash)
        assert not self.db(1).did_double_spend(self.key_bin(0))

    async def test_damaged_tip_is_removed_and_its_height_not_signed_again(self) -> None:
        _, first = await self.propose()
        self.db(0).execute("UPDATE trustchain_blocks SET signature = ? WHERE sequence_number = 1 AND author = "
                           "(SELECT id FROM trustchain_keys WHERE key = ?)", (b"x" * 64, self.key_bin(0)))
        _, second = await self.propose()
        assert (second.sequence_number, second.previous_hash) == (2, first.hash)
        assert not self.db(1).did_double_spend(self.key_bin(0))

    async def test_synchronized_holds_its_lock_while_a_coroutine_runs(self) -> None:
        """W21: it was released when the coroutine had been made."""
        running: list[str] = []

        class Synchronous(TrustChainCommunity):
            @synchronized
            async def outer(self) -> None:
                running.append("begin")
                await Synchronous.inner(self)
                await asyncio.sleep(0)
                running.append("end")

            @synchronized
            async def inner(self) -> None:
                await asyncio.sleep(0)

            @synchronized
            def plain(self) -> int:
                with self.receive_block_lock:
                    return 5

        overlay: Any = self.overlay(0)
        await asyncio.gather(*(Synchronous.outer(overlay) for _ in range(3)))
        assert running == ["begin", "end"] * 3
        assert Synchronous.plain(overlay) == 5

    async def test_introduction_with_other_extra_bytes(self) -> None:
        for extra in (b"", b"\0", b"\0" * 5, b"\xff" * 4):
            peer = Peer(default_eccrypto.generate_key("curve25519"), self.address(0))
            payload: Any = type("Payload", (), {"extra_bytes": extra})()
            self.overlay(1).introduction_response_callback(peer, None, payload)
            assert self.overlay(1).long_dialects.get(peer.mid, False) == (len(extra) != 4)

    async def test_chain_length_in_introductions(self) -> None:
        for vector in VECTORS["chain_length_extra_bytes"]:
            self.overlay(1).get_chain_length = lambda vector=vector: vector["length"]
            assert self.overlay(1).get_chain_length_bytes().hex() == vector["bytes"]
            request = self.overlay(1).create_introduction_request(self.address(0), b"ignored")
            assert bytes.fromhex(vector["bytes"]) == request[:-64][-4:]

    async def test_random_and_damaged_packets(self) -> None:
        overlay = self.overlay(1)
        good = [self.packet(HalfBlockPayload.from_half_block(Outside().block())),
                self.overlay(0).ezr_pack(2, GlobalTimeDistributionPayload(1),
                                         CrawlRequestPayload(self.key_bin(1), 1, 1, 7))]
        receive = TrustChainCommunity.on_packet
        overlay.message_table.strict = False

        @hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.integers(1, 7), st.binary(max_size=400), st.sampled_from(good), st.integers(0, 10 ** 6))
        def check(number: int, noise: bytes, packet: bytes, position: int) -> None:
            receive(overlay, (("9.9.9.9", 9), overlay.get_prefix() + bytes((number,)) + noise))
            damaged = bytearray(packet)
            damaged[22 + position % (len(packet) - 22)] ^= 1 + position % 255
            receive(overlay, (("9.9.9.9", 9), bytes(damaged)))
            receive(overlay, (("9.9.9.9", 9), packet[:23 + position % (len(packet) - 23)]))

        check()
        await self.settle()


# Decisions without a network


def test_ranges() -> None:
    assert absolute_range(1, 5, 10) == (1, 5)
    assert absolute_range(0, 50, 10) == (1, 10)
    assert absolute_range(-1, -1, 10) == (10, 10)
    assert absolute_range(-3, -2, 10) == (8, 9)
    assert absolute_range(-50, -20, 10) == (1, 1)
    assert absolute_range(-1, -1, 0) == (1, 0)


def test_what_a_request_covers() -> None:
    target = CrawlTarget(KEYS["alice"], 1, 2)
    assert [name for name in ("a1", "a2", "a3", "b1", "b2", "c1") if target.covers(BLOCKS[name])] == ["a1", "a2", "b1"]
    assert CrawlTarget(KEYS["alice"], -1, -1).covers(BLOCKS["a3"])


def test_steps_of_a_chain_crawl() -> None:
    assert ChainCrawl(5).next_step(6, 5, 6) is None
    assert ChainCrawl(5).next_step(1, 0, 1) == Step(1, 5)
    assert ChainCrawl(5).next_step(4, 3, 4) == Step(4, 5)
    assert ChainCrawl(9).next_step(2, 5, 3) == Step(2, 3)
    unknown = ChainCrawl()
    assert unknown.next_step(1, 0, 1) == Step(-1, -1)
    assert not unknown.answered([])
    assert unknown.answered([7])
    assert unknown.announced == 7
    stuck = ChainCrawl(5)
    assert [stuck.next_step(1, 0, 1) for _ in range(4)] == [Step(1, 5)] * 3 + [None]


def test_number_of_requests_of_a_chain_crawl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawling, "MAX_CHAIN_REQUESTS", 4)
    crawl = ChainCrawl(100)
    assert [crawl.next_step(n, n - 1, n) is not None for n in range(1, 7)] == [True] * 4 + [False] * 2


def test_answer_budget() -> None:
    budget = AnswerBudget(TrustChainSettings(crawl_bytes_per_second=100, total_crawl_bytes_per_second=250))
    assert budget.affordable([100] * 3, "1.1.1.1", 250) == 2
    assert budget.affordable([100] * 3, "1.1.1.1") == 2
    assert budget.affordable([100] * 9, "2.2.2.2") == 4
    assert budget.affordable([100] * 9, "3.3.3.3") == 2


def test_relay_queue() -> None:
    queue: RelayQueue[str] = RelayQueue(3)
    for name, is_pair in (("one", False), ("pair", True), ("two", False)):
        assert queue.push(name, is_pair) is None
    assert queue.push("second pair", True) == "one"
    assert [queue.pop() for _ in range(len(queue))] == ["pair", "second pair", "two"]
    assert broadcast.MAX_TTL == 10


def test_admission_of_keys_that_cannot_sign() -> None:
    admitted = Admission(TrustChainSettings())
    made = TrustChainBlock()
    assert admitted.objection(made) is not None
    made.public_key = KEYS["alice"]
    made.sign(private_key("alice"))
    assert admitted.objection(made) is None
