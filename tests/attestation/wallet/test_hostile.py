"""Peers that forge, replay, truncate, mix up and flood."""

from __future__ import annotations

import asyncio
import json
from base64 import encodebytes
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.wallet import base, consents, sending
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.bonehexact.structs import BonehAttestation
from ipv8.attestation.wallet.chunks import MAX_CHUNKS, chunks_of
from ipv8.attestation.wallet.payload import (
    AttestationChunkPayload,
    ChallengePayload,
    ChallengeResponsePayload,
    RequestAttestationPayload,
    VerifyAttestationRequestPayload,
)
from ipv8.attestation.wallet.pengbaorange.structs import PengBaoPublicData
from ipv8.attestation.wallet.primitives.boneh import generate_keypair
from ipv8.attestation.wallet.primitives.structs import BonehPublicKey, pack_pair
from ipv8.attestation.wallet.primitives.value import FP2Value
from ipv8.attestation.wallet.questions import challenge_hash
from ipv8.limits import TokenBuckets
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload

from .base import HASH, VALUE, WalletTestBase
from .vectors import SAMPLES, secret_key

if TYPE_CHECKING:
    from ipv8.messaging.serialization import Payload

BLOB = bytes.fromhex(SAMPLES["id_metadata"]["blob"])


class HostileTestBase(WalletTestBase):
    count = 3

    def send(self, i: int, j: int, payload: Payload, global_time: int = 7) -> bytes:
        """Let node ``i`` send a message to node ``j``; the packet."""
        overlay = self.overlay(i)
        packet: bytes = overlay.ezr_pack(payload.msg_id, GlobalTimeDistributionPayload(global_time), payload)
        overlay.endpoint.send(self.address(j), packet)
        return packet

    def record(self, i: int, message: int) -> list[bytes]:
        """What node ``i`` sends of a message, from now on."""
        overlay, sent = self.overlay(i), []
        send = overlay.endpoint.send

        def recording(address: Any, packet: bytes) -> None:
            if packet[22] == message:
                sent.append(packet)
            send(address, packet)

        overlay.endpoint.send = recording
        return sent


def nested(depth: int) -> Any:
    """An array in an array in an array."""
    content: Any = []
    for _ in range(depth - 1):
        content = [content]
    return content


def request(**changes: Any) -> bytes:
    """The content of a request for an attestation."""
    fields = {"attribute": "name", "public_key": encodebytes(secret_key().public_key().serialize()).decode(),
              "id_format": "id_metadata", "more": 1, **changes}
    return json.dumps({name: field for name, field in fields.items() if field is not None}).encode()


class TestRequests(HostileTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Any] = []
        self.value: Any = VALUE

        def callback(*arguments: Any) -> Any:
            self.asked.append(arguments)
            return self.value

        self.overlay(1).set_attestation_request_callback(callback)

    async def test_a_request_as_it_should_be(self) -> None:
        sent = self.record(1, AttestationChunkPayload.msg_id)
        self.send(0, 1, RequestAttestationPayload(request()))
        await self.deliver_messages()
        assert self.asked == [(self.my_peer(0), "name", {"more": 1})]
        assert len(sent) == 2

    async def test_contents_that_are_refused(self) -> None:
        key = encodebytes(generate_keypair(512)[0].serialize()).decode()
        contents = [
            b"", b"{", b"\xff", b"null", b"[]", b'"text"', b"1", b"{}", b"[" * 50_000, b'{"a":' * 20_000,
            request(attribute=None), request(public_key=None), request(id_format=None), request(attribute=5),
            request(public_key=[1]), request(id_format={}), request(id_format="unknown"), request(public_key=""),
            request(public_key="!!!"), request(public_key="AAAA"), request(public_key="ü"), request(public_key=key),
            request(public_key=encodebytes(b"\x02\xff\xff" + b"\x01" * 60_000).decode()[:40_000]),
            b"1" * 10_000, request()[:-1], request(more=nested(64)),
            request(more=float("nan")), request(more=[{"a": float("-inf")}]), request()[:-1] + b', "m": 1e999}']
        for number, content in enumerate(contents):
            self.overlay(1).drops.clear()
            self.overlay(1)._request_budget = TokenBuckets(1, 10)
            self.send(0, 1, RequestAttestationPayload(content), number)
            await self.deliver_messages()
            assert self.drops(1) == {"undecodable": 1}, content[:80]
        assert not self.asked

    async def test_contents_that_are_nested_as_deep_as_possible(self) -> None:
        self.send(0, 1, RequestAttestationPayload(request(more=nested(63))))
        await self.deliver_messages()
        assert len(self.asked) == 1

    async def test_keys_that_are_none_are_refused(self) -> None:
        key = secret_key().public_key()
        for p, g in ((key.p, FP2Value(key.p, 1)), (key.p - 2, FP2Value(key.p - 2, 0, 1)), (key.p, FP2Value(key.p))):
            bad = type(key)(p, g, g)
            content = request(public_key=encodebytes(bad.serialize()).decode())
            self.send(0, 1, RequestAttestationPayload(content), p % 100)
            await self.deliver_messages()
        assert self.drops(1) == {"undecodable": 3}
        assert not self.asked

    async def test_keys_that_are_too_small_are_refused(self) -> None:
        """The random numbers that hide something were drawn for ever."""
        for number, (p, id_format) in enumerate(((2, "id_metadata"), (5, "id_metadata"),
                                                 (29, "id_metadata_range_18plus"))):
            tiny = BonehPublicKey(p, FP2Value(p, 0, 1), FP2Value(p, p - 1))
            content = request(public_key=encodebytes(tiny.serialize()).decode(), id_format=id_format)
            self.send(0, 1, RequestAttestationPayload(content), number)
            await self.deliver_messages()
        assert self.drops(1) == {"undecodable": 3}
        assert not self.asked

    async def test_only_so_much_is_sent_to_addresses_that_are_not_proven(self) -> None:
        """A request may have a false source address, and the attestation may be a hundred times as long."""
        before, sending.INTRODUCTION_SECONDS = sending.INTRODUCTION_SECONDS, 0.05
        try:
            walked: list[Any] = []
            self.overlay(1).walk_to = walked.append
            self.overlay(1).shipping._unproven_budget = TokenBuckets(0.001, 2000)
            sent = self.record(1, AttestationChunkPayload.msg_id)
            for number in range(3):
                self.send(0, 1, RequestAttestationPayload(request()), number)
            await self.until(lambda: self.drops(1).get("rate_limited") == 2)
            assert len(sent) == 2
            assert walked == [self.address(0)] * 2
            known = self.network(1).get_verified_by_public_key_bin(self.key_bin(0))
            assert known is not None
            self.network(1).mark_proven(known)
            self.send(0, 1, RequestAttestationPayload(request()), 3)
            await self.until(lambda: len(sent) == 4)
        finally:
            sending.INTRODUCTION_SECONDS = before

    async def test_a_replay_does_not_ask_again(self) -> None:
        packet = self.send(0, 1, RequestAttestationPayload(request()))
        sent = self.record(1, AttestationChunkPayload.msg_id)
        for i in (0, 2, 2):
            self.overlay(i).endpoint.send(self.address(1), packet)
        await self.deliver_messages()
        assert len(self.asked) == 1
        assert len(sent) == 2
        assert self.drops(1) == {"replayed": 3}
        self.send(0, 1, RequestAttestationPayload(request()), 8)  # at another time it is another request
        await self.deliver_messages()
        assert len(self.asked) == 2

    async def test_floods(self) -> None:
        self.use_clock()
        self.value = asyncio.get_running_loop().create_future()
        for number in range(base.MAX_PROMPTS_PER_PEER + 5):
            self.send(0, 1, RequestAttestationPayload(request()), number)
        await self.deliver_messages()
        assert len(self.asked) == base.MAX_PROMPTS_PER_PEER
        assert self.drops(1) == {"rate_limited": 5}
        self.send(2, 1, RequestAttestationPayload(request()), 1)  # others are asked about
        await self.deliver_messages()
        assert len(self.asked) == base.MAX_PROMPTS_PER_PEER + 1
        self.value.set_result(None)
        await self.deliver_messages()
        assert not self.overlay(1).prompts._of_peers
        self.value = None
        for number in range(100, 140):
            self.send(0, 1, RequestAttestationPayload(request()), number)
        await self.deliver_messages()
        assert len(self.asked) < 40, "a peer may ask so often in a while"

    async def test_a_program_that_does_not_answer(self) -> None:
        before, base.PROMPT_LIFETIME = base.PROMPT_LIFETIME, 0.05
        try:
            self.value = asyncio.get_running_loop().create_future()
            self.send(0, 1, RequestAttestationPayload(request()))
            await self.until(lambda: self.asked)
            assert self.overlay(1).prompts._of_peers
            await self.until(lambda: not self.overlay(1).prompts._of_peers)
            assert not self.value.done(), "it belongs to the program"
            ended = []

            async def slow() -> None:
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    ended.append(True)

            self.value = slow()
            self.send(0, 1, RequestAttestationPayload(request()), 8)
            await self.until(lambda: ended)
        finally:
            base.PROMPT_LIFETIME = before


class TestReceiving(HostileTestBase):
    """Chunks of a requested attestation."""

    def ask(self) -> tuple[Any, int]:
        key = secret_key()
        self.overlay(0).request_attestation(self.peer(1), "name", key)
        moment, = self.overlay(0).allowed_attestations[self.mid(1)]
        return key, int(moment)

    def chunk(self, i: int, moment: int, number: int, data: bytes, blob: bytes = BLOB) -> None:
        self.send(i, 0, AttestationChunkPayload(challenge_hash(blob), number, data), moment)

    async def test_in_any_order_with_repetitions(self) -> None:
        _, moment = self.ask()
        for number, data in reversed(list(enumerate(chunks_of(BLOB)))):
            self.chunk(1, moment, number, data)
            self.chunk(1, moment, number, data)
        await self.deliver_messages()
        assert list(self.overlay(0).attestation_keys) == [HASH]
        assert self.drops(0) == {"unsolicited": 1}  # the repetition of the last one

    async def test_from_somebody_else_or_at_another_time(self) -> None:
        _, moment = self.ask()
        for number, data in enumerate(chunks_of(BLOB)):
            self.chunk(2, moment, number, data)
            self.chunk(1, moment + 1, number, data)
        await self.deliver_messages()
        assert not self.overlay(0).attestation_keys
        assert self.drops(0) == {"unsolicited": 4}

    async def test_too_many(self) -> None:
        _, moment = self.ask()
        self.chunk(1, moment, MAX_CHUNKS, b"x")
        self.chunk(1, moment, 65535, b"x")
        await self.deliver_messages()
        assert self.drops(0) == {"undecodable": 2}

    async def test_attestations_of_several_hashes_are_kept_apart(self) -> None:
        _, moment = self.ask()
        other = bytes(2000)
        for number, data in enumerate(chunks_of(other)[:2]):
            self.chunk(1, moment, number, data, other)
        for number, data in enumerate(chunks_of(BLOB)):
            self.chunk(1, moment, number, data)
        await self.deliver_messages()
        assert list(self.overlay(0).attestation_keys) == [HASH]

    async def test_what_is_none_ends_the_request(self) -> None:
        for blob in (b"garbage", b"\x00", BLOB[:300], b""):
            if not blob:
                continue
            task = asyncio.ensure_future(self.overlay(0).request_attestation_async(self.peer(1), "name", secret_key()))
            await asyncio.sleep(0)
            moment = int(self.overlay(0).allowed_attestations[self.mid(1)][0])
            self.chunk(1, moment, 0, blob, blob)
            with pytest.raises(ValueError, match="is none"):
                await task
            assert not self.overlay(0).allowed_attestations
        assert not self.overlay(0).attestation_keys

    async def test_an_attestation_for_another_key(self) -> None:
        task = asyncio.ensure_future(self.overlay(0).request_attestation_async(
            self.peer(1), "name", generate_keypair(32)[1]))
        await asyncio.sleep(0)
        moment = int(self.overlay(0).allowed_attestations[self.mid(1)][0])
        for number, data in enumerate(chunks_of(BLOB)):
            self.chunk(1, moment, number, data)
        with pytest.raises(ValueError, match="another key"):
            await task
        assert not self.overlay(0).attestation_keys


class TestProver(HostileTestBase):
    async def test_challenges_of_those_who_may_not_ask(self) -> None:
        self.give()
        algorithm = self.overlay(1).get_id_algorithm("id_metadata")
        challenge = algorithm.create_honesty_challenge(secret_key(), 1)
        sent = self.record(0, ChallengeResponsePayload.msg_id)
        self.send(1, 0, ChallengePayload(HASH, challenge))
        await self.deliver_messages()
        await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
        answered = len(sent)
        self.send(2, 0, ChallengePayload(HASH, challenge))  # the attestation is open now, but not for this one
        self.send(1, 0, ChallengePayload(bytes(20), challenge))
        await self.deliver_messages()
        assert len(sent) == answered == 32
        assert self.drops(0) == {"unsolicited": 3}

    async def test_a_verifier_that_asks_too_much(self) -> None:
        self.give()
        await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
        algorithm = self.overlay(1).get_id_algorithm("id_metadata")
        challenge = algorithm.create_honesty_challenge(secret_key(), 1)
        sent = self.record(0, ChallengeResponsePayload.msg_id)
        limit = consents.ANSWERS_PER_CHALLENGE * 16 + consents.SPARE_ANSWERS_LIMIT
        for _ in range(limit):
            self.send(1, 0, ChallengePayload(HASH, challenge))
        await self.deliver_messages()
        assert len(sent) == limit - 32
        assert self.drops(0) == {"unsolicited": 32}

    async def test_consents_end(self) -> None:
        clock = self.use_clock()
        self.give()
        await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
        challenge = self.overlay(1).get_id_algorithm("id_metadata").create_honesty_challenge(secret_key(), 1)
        sent = self.record(0, ChallengeResponsePayload.msg_id)
        clock.advance(consents.CONSENT_LIFETIME - 1)
        self.send(1, 0, ChallengePayload(HASH, challenge))
        await self.deliver_messages()
        clock.advance(1)
        self.send(1, 0, ChallengePayload(HASH, challenge))
        await self.deliver_messages()
        assert len(sent) == 1

    async def test_challenges_that_are_none(self) -> None:
        self.give()
        await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
        for challenge in (b"", b"\x01", b"\x01\x01\x05"):
            self.send(1, 0, ChallengePayload(HASH, challenge))
        await self.deliver_messages()
        assert self.drops(0) == {"undecodable": 3}
        sent = self.record(0, ChallengeResponsePayload.msg_id)
        self.send(1, 0, ChallengePayload(HASH, pack_pair(2 ** 4000, 2 ** 4000)))
        await self.deliver_messages()
        assert [packet[-65:-64] for packet in sent] == [b"\x03"], "what is no code gets the answer for that"

    async def test_an_attestation_that_is_damaged_in_the_database(self) -> None:
        self.give()
        self.overlay(0).database.execute("UPDATE attestations SET blob = ?", (BLOB[:-1] + b"\x05\x01",))
        shown = self.record(0, AttestationChunkPayload.msg_id)
        with self.assertLogs(self.overlay(0).logger, "WARNING") as logged:
            self.send(1, 0, VerifyAttestationRequestPayload(HASH))
            await self.deliver_messages()
        assert "damaged" in logged.output[0]
        assert not shown

    async def test_an_attestation_that_is_removed_while_it_is_opened(self) -> None:
        self.give()
        overlay, opening, go_on = self.overlay(0), asyncio.Event(), asyncio.Event()
        open_attestation = overlay.workshop.open

        async def slow(*arguments: Any) -> Any:
            opening.set()
            await go_on.wait()
            return await open_attestation(*arguments)

        overlay.workshop.open = slow
        shown = self.record(0, AttestationChunkPayload.msg_id)
        self.send(1, 0, VerifyAttestationRequestPayload(HASH))
        await opening.wait()
        overlay.remove_attestation(HASH)
        go_on.set()
        await self.deliver_messages()
        assert not shown
        assert not overlay.cached_attestation_blobs
        assert not overlay.consents.is_given(self.my_peer(1), HASH)

    async def test_replayed_requests_do_not_ask_the_program_again(self) -> None:
        self.give()
        asked = []

        def decide(*arguments: Any) -> bool:
            asked.append(arguments)
            return True

        self.overlay(0).set_verify_request_callback(decide)
        shown = self.record(0, AttestationChunkPayload.msg_id)
        packet = self.send(1, 0, VerifyAttestationRequestPayload(HASH))
        await self.deliver_messages()
        assert (len(asked), len(shown)) == (1, 2)
        self.overlay(1).endpoint.send(self.address(0), packet)
        await self.deliver_messages()
        assert (len(asked), len(shown)) == (1, 4), "it is shown again to whom it was shown, as it may have been lost"
        self.overlay(0).consents.forget(HASH)
        self.overlay(1).endpoint.send(self.address(0), packet)
        await self.deliver_messages()
        assert (len(asked), len(shown)) == (1, 4)
        assert self.drops(0) == {"replayed": 1}

    async def test_unknown_attestations(self) -> None:
        self.send(1, 0, VerifyAttestationRequestPayload(HASH))
        await self.deliver_messages()
        assert self.drops(0) == {"unsolicited": 1}

    async def test_floods_of_requests_for_proofs(self) -> None:
        self.use_clock()
        asked = []
        self.give()
        self.overlay(0).set_verify_request_callback(lambda *arguments: asked.append(arguments))
        for number in range(50):
            self.send(1, 0, VerifyAttestationRequestPayload(HASH), number)
        await self.deliver_messages()
        assert len(asked) == base.REQUESTS_AT_ONCE
        assert self.drops(0)["rate_limited"] == 20

    async def test_floods_by_many_keys(self) -> None:
        self.overlay(0)._budget_of_all = TokenBuckets(0.001, 2)
        self.give()
        for i in (1, 2, 1, 2):
            self.send(i, 0, VerifyAttestationRequestPayload(bytes(20)))
        await self.deliver_messages()
        assert self.drops(0) == {"unsolicited": 2, "rate_limited": 2}

    async def test_only_so_much_is_sent_to_addresses_that_are_not_proven(self) -> None:
        """A recorded request could be sent in the name of any address, and the answer is up to 270 times as long."""
        self.use_clock()
        attestation_hash = self.give(0, "id_metadata_huge")
        asked: list[Any] = []
        self.overlay(0).walk_to = asked.append
        shown = self.record(0, AttestationChunkPayload.msg_id)
        for number in range(5):
            before = len(shown)
            self.send(1, 0, VerifyAttestationRequestPayload(attestation_hash), number)
            await self.until(lambda before=before: asked or (len(shown) > before
                                                             and not self.overlay(0).shipping._running))
        assert sum(map(len, shown)) <= sending.UNPROVEN_BYTES_AT_ONCE
        assert self.address(1) in asked
        before = len(shown)
        known = self.network(0).get_verified_by_public_key_bin(self.key_bin(1))
        assert known is not None
        self.network(0).mark_proven(known)
        await self.until(lambda: len(shown) > before and not self.overlay(0).shipping._running)

    async def test_the_verifier_proves_its_address_when_it_is_asked_to(self) -> None:
        attestation_hash = self.give(0, "id_metadata_big")
        self.overlay(0).shipping._unproven_budget = TokenBuckets(1, 1)
        value = bytes.fromhex(SAMPLES["id_metadata_big"]["value"])
        verified = await self.overlay(1).verify_async(self.address(0), attestation_hash, [value], "id_metadata_big")
        assert verified == [1.0]

    async def test_who_does_not_prove_its_address_gets_nothing(self) -> None:
        before, sending.INTRODUCTION_SECONDS = sending.INTRODUCTION_SECONDS, 0.05
        try:
            self.give()
            self.overlay(0).shipping._unproven_budget = TokenBuckets(1, 1)
            self.overlay(0).walk_to = lambda _: None
            shown = self.record(0, AttestationChunkPayload.msg_id)
            self.send(1, 0, VerifyAttestationRequestPayload(HASH))
            await self.until(lambda: self.drops(0))
            assert not shown
            assert self.drops(0) == {"rate_limited": 1}
        finally:
            sending.INTRODUCTION_SECONDS = before

    async def test_one_transfer_at_a_time(self) -> None:
        attestation_hash = self.give(0, "id_metadata_huge")
        shown = self.record(0, AttestationChunkPayload.msg_id)
        for number in range(4):
            self.send(1, 0, VerifyAttestationRequestPayload(attestation_hash), number)
        await self.deliver_messages()
        assert len(shown) == len(chunks_of(bytes.fromhex(SAMPLES["id_metadata_huge"]["public_blob"])))
        assert self.drops(0) == {"rate_limited": 3}


class TestVerifier(HostileTestBase):
    def begin(self, id_format: str = "id_metadata") -> list[Any]:
        """Begin to verify the sample of a format, which nobody has yet; what the callback gets."""
        results: list[Any] = []
        sample = SAMPLES[id_format]
        self.overlay(1).verify_attestation_values(
            self.address(0), bytes.fromhex(sample["attestation_hash"]), [bytes.fromhex(sample["value"])],
            lambda *result: results.append(result), id_format)
        return results

    def show(self, i: int, blob: bytes = BLOB, attestation_hash: bytes | None = None) -> None:
        for number, data in enumerate(chunks_of(blob)):
            self.send(i, 1, AttestationChunkPayload(attestation_hash or challenge_hash(blob), number, data))

    async def test_chunks_of_somebody_else(self) -> None:
        self.begin()
        asked = self.record(1, ChallengePayload.msg_id)
        self.show(2)
        await self.deliver_messages()
        assert not asked
        assert self.drops(1) == {"unsolicited": 2}
        self.show(0)
        await self.deliver_messages()
        assert len(asked) == 10

    async def test_too_long_chunks(self) -> None:
        self.begin()
        self.send(0, 1, AttestationChunkPayload(HASH, MAX_CHUNKS, b"x"))
        await self.deliver_messages()
        assert self.drops(1) == {"undecodable": 1}

    async def test_answers_of_somebody_else_and_to_nothing(self) -> None:
        results = self.begin()
        asked = self.record(1, ChallengePayload.msg_id)
        self.show(0)
        await self.deliver_messages()
        for packet in asked:
            challenge = packet[23 + 76 + 8 + 20:-64]
            self.send(2, 1, ChallengeResponsePayload(challenge_hash(challenge), b"\x01"))
        self.send(0, 1, ChallengeResponsePayload(bytes(20), b"\x01"))
        await self.deliver_messages()
        assert self.drops(1) == {"unsolicited": 11}
        assert not results
        assert len(asked) == 10

    async def test_one_wrong_byte_does_not_block_anything(self) -> None:
        """A single response of 4 or more used to hold a lock for ever."""
        for response in (b"\x04", b"\xff", b"", b"\x00\x00", bytes(1000)):
            results = self.begin()
            asked = self.record(1, ChallengePayload.msg_id)
            self.show(0)
            await self.until(lambda asked=asked: asked)
            for packet in list(asked):
                self.send(0, 1, ChallengeResponsePayload(challenge_hash(packet[127:-64]), response))
            await self.until(lambda results=results, asked=asked: results or len(asked) > 10)
            if not results:  # it counted as an answer to genuine questions only
                self.overlay(1).request_cache.clear()
        self.give()
        self.overlay(1).request_cache.clear()
        assert (await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata"))[0] > 0.99

    async def test_a_liar_is_reported_once_and_not_asked_any_more(self) -> None:
        self.give()
        prover = self.overlay(0)
        prover.get_id_algorithm = lambda id_format: Liar(id_format, prover.schema_manager.formats)
        for _ in range(5):
            asked = self.record(1, ChallengePayload.msg_id)
            results = self.begin()
            await self.deliver_messages()
            assert results == [(HASH, [0.0])]
            assert len(asked) < 32
            assert not self.overlay(1).request_cache._identifiers

    async def test_attestations_that_are_none(self) -> None:
        for blob in (b"garbage", BLOB[:200], b"\x01\x01\x00" * 5):
            results: list[Any] = []
            self.overlay(1).verify_attestation_values(self.address(0), challenge_hash(blob), [VALUE, b"x"],
                                                      lambda *result, results=results: results.append(result),
                                                      "id_metadata")
            self.show(0, blob)
            await self.deliver_messages()
            assert results == [(challenge_hash(blob), [0.0, 0.0])]
        assert not self.overlay(1).request_cache._identifiers

    async def test_attestations_with_a_key_that_is_refused(self) -> None:
        weak = BonehAttestation.unserialize(BLOB)
        weak.PK.h = FP2Value(weak.PK.p, 1)  # with this, the codes would hide nothing
        blob, results = weak.serialize(), []
        self.overlay(1).verify_attestation_values(self.address(0), challenge_hash(blob), [VALUE],
                                                  lambda *result: results.append(result), "id_metadata")
        self.show(0, blob)
        await self.deliver_messages()
        assert results == [(challenge_hash(blob), [0.0])]

    async def test_ranges_with_a_key_that_is_too_small(self) -> None:
        """A verifier looked for random numbers for ever that such keys do not have. Nothing is proved, in no way."""
        id_format = "id_metadata_range_18plus"
        data = PengBaoPublicData.unserialize(bytes.fromhex(SAMPLES[id_format]["blob"]))[0]
        data.PK = BonehPublicKey(29, FP2Value(29, 0, 1), FP2Value(29, 28))
        blob, results = data.serialize(), []
        self.overlay(1).verify_attestation_values(self.address(0), challenge_hash(blob), [b"\x01", b"\x00"],
                                                  lambda *result: results.append(result), id_format)
        self.show(0, blob)
        await self.deliver_messages()
        assert results == [(challenge_hash(blob), [0.0, 0.0])]

    async def test_algorithms_that_can_make_no_challenges(self) -> None:
        overlay = self.overlay(1)

        class Failing(BonehExactAlgorithm):
            microseconds = 0.0

            def challenge_steps(self, *_: Any) -> Any:
                raise ValueError("there are none")

            def estimate(self, _: str) -> float:
                return self.microseconds

        overlay.schema_manager.algorithms["bonehexact"] = Failing
        for Failing.microseconds in (0.0, 1e6):  # at once, and in a task of its own
            results = self.begin()
            self.show(0)
            await self.until(lambda results=results: results)
            assert results == [(HASH, [0.0])]

    async def test_unloading_ends_a_verification(self) -> None:
        waiting = asyncio.ensure_future(self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata"))
        await asyncio.sleep(0)
        await self.overlay(1).unload()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
        with pytest.raises(asyncio.CancelledError):
            await self.overlay(1).request_attestation_async(self.peer(0), "name", secret_key())

    async def test_attestations_with_a_wrong_number_of_pairs(self) -> None:
        asked = self.record(1, ChallengePayload.msg_id)
        for count in (0, 1, 15, 17):
            attestation = BonehAttestation.unserialize(BLOB)
            attestation.bitpairs = [*attestation.bitpairs, attestation.bitpairs[0]][:count]
            blob = attestation.serialize()
            results: list[Any] = []
            self.overlay(1).verify_attestation_values(self.address(0), challenge_hash(blob), [VALUE],
                                                      lambda *result, results=results: results.append(result),
                                                      "id_metadata")
            self.show(0, blob)
            await self.deliver_messages()
            assert results == [(challenge_hash(blob), [0.0])]
        assert not asked

    async def test_more_bytes_than_an_attestation_of_the_format_has(self) -> None:
        self.begin()
        for number in range(5):
            self.send(0, 1, AttestationChunkPayload(HASH, number, bytes(800)))
        await self.deliver_messages()
        assert self.drops(1) == {"undecodable": 3}

    async def test_packets_that_are_truncated(self) -> None:
        self.give()
        for kind in (VerifyAttestationRequestPayload(HASH), AttestationChunkPayload(HASH, 0, b"data"),
                     ChallengePayload(HASH, b"x"), ChallengeResponsePayload(HASH, b"x"),
                     RequestAttestationPayload(request())):
            overlay = self.overlay(1)
            packet: Any = overlay.ezr_pack(kind.msg_id, GlobalTimeDistributionPayload(1), kind)
            for size in (23, 24, 90, 107, len(packet) - 65, len(packet) - 1):
                overlay.endpoint.send(self.address(0), packet[:size])
            unsigned = overlay.ezr_pack(kind.msg_id, kind, sig=False)
            overlay.endpoint.send(self.address(0), unsigned)
        self.overlay(0).message_table.strict = False
        await self.deliver_messages()
        assert set(self.drops(0)) <= {"undecodable", "bad_signature", "short", "rate_limited"}
        assert sum(self.drops(0).values()) == 35


def make_liar() -> Any:
    from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm

    class Lying(BonehExactAlgorithm):
        """Says 0 where it should say something else."""

        def create_challenge_response(self, *arguments: Any) -> bytes:
            return b"\x00"

    return Lying


Liar = make_liar()
