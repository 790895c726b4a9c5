"""Wallets between nodes: attestations are requested, made, proved and verified."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.wallet import base, caches
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.community import AttestationCommunity, AttestationSettings, synchronized
from ipv8.attestation.wallet.database import AttestationsDB
from ipv8.attestation.wallet.payload import (
    AttestationChunkPayload,
    ChallengePayload,
    ChallengeResponsePayload,
    RequestAttestationPayload,
)
from ipv8.database import CorruptDatabaseException
from ipv8.messaging.interfaces.endpoint import DataTooBigException
from ipv8.test.mocking.ipv8 import MockIPv8
from ipv8.util import succeed

from .base import HASH, VALUE, WalletTestBase
from .vectors import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from ipv8.requestcache import NumberCache


class TestEnrolment(WalletTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.completed: list[list[tuple[Any, ...]]] = [[], []]
        for i in range(2):
            self.overlay(i).set_attestation_request_complete_callback(
                lambda *arguments, i=i: self.completed[i].append(arguments))
        self.asked: list[tuple[Any, ...]] = []

    def answer_with(self, answer: Any) -> None:
        def callback(*arguments: Any) -> Any:
            self.asked.append(arguments)
            return answer() if callable(answer) else answer

        self.overlay(1).set_attestation_request_callback(callback)

    async def test_all_formats(self) -> None:
        for id_format in FORMATS:
            self.answer_with(b"\x20")
            metadata = {"id_format": id_format, "birth": "yesterday"}
            found = await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key(id_format), metadata)
            assert metadata == {"id_format": id_format, "birth": "yesterday"}, "it is not changed"
            assert self.asked.pop() == (self.my_peer(0), "name", {"birth": "yesterday"})
            assert self.completed[1].pop() == (self.my_peer(0), "name", found, id_format, None)
            assert self.completed[0].pop() == (self.my_peer(0), "name", found, id_format, self.my_peer(1))
            assert self.overlay(0).attestation_keys[found][1] == id_format
            assert len(self.overlay(0).database.get_attestation_by_hash(found)) == 1
        assert len(self.overlay(0).database.get_all()) == len(FORMATS)
        assert not self.overlay(0).allowed_attestations
        assert not self.overlay(0).request_cache._identifiers

    async def test_without_a_future(self) -> None:
        self.answer_with(VALUE)
        assert self.overlay(0).request_attestation(self.peer(1), "name", self.key()) is None
        moment, = self.overlay(0).allowed_attestations[self.mid(1)]
        assert moment.decode().isdigit()
        await self.deliver_messages()
        assert [done[1:] for done in self.completed[0]] == [("name", self.completed[1][0][2], "id_metadata",
                                                            self.my_peer(1))]

    async def test_answers_of_all_kinds(self) -> None:
        async def coroutine() -> bytes:
            await asyncio.sleep(0)
            return VALUE

        for answer in (VALUE, lambda: succeed(VALUE), coroutine):
            self.answer_with(answer)
            assert await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key())

    async def test_callbacks_may_be_asynchronous(self) -> None:
        done = []

        async def complete(*arguments: Any) -> None:
            await asyncio.sleep(0)
            done.append(arguments)

        self.overlay(0).set_attestation_request_complete_callback(complete)
        self.answer_with(VALUE)
        await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key())
        await self.until(lambda: done)

    async def test_refused(self) -> None:
        self.overlay(0).request_attestation(self.peer(1), "name", self.key())  # by default, nothing is attested
        await self.deliver_messages()
        self.answer_with(lambda: succeed(None))
        self.overlay(0).request_attestation(self.peer(1), "name", self.key())
        await self.deliver_messages()
        assert self.completed == [[], []]
        assert len(self.asked) == 1

    async def test_two_requests_for_one_attribute(self) -> None:
        self.answer_with(VALUE)
        found = await asyncio.gather(*(self.overlay(0).request_attestation_async(self.peer(1), "name", self.key())
                                       for _ in range(2)))
        assert len(set(found)) == 2

    async def test_a_value_that_cannot_be_attested(self) -> None:
        self.answer_with(b"\x05")
        waiting = self.overlay(0).request_cache.passthrough(timeout=0.2)
        with waiting, pytest.raises(TimeoutError, match="did not attest"):
            await self.overlay(0).request_attestation_async(
                self.peer(1), "name", self.key("id_metadata_range_18plus"), {"id_format": "id_metadata_range_18plus"})
        assert self.completed == [[], []]

    async def test_a_database_that_fails(self) -> None:
        self.answer_with(VALUE)
        self.overlay(0).message_table.strict = False

        def fail(*_: Any) -> None:
            raise OSError("no space")

        self.overlay(0).database.insert_attestation = fail
        with pytest.raises(OSError, match="no space"):
            await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key())
        assert not self.overlay(0).attestation_keys

    async def test_time_outs_end_requests_cleanly(self) -> None:
        with self.overlay(0).request_cache.passthrough(timeout=0.01):
            with pytest.raises(TimeoutError):
                await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key())
            self.overlay(0).request_attestation(self.peer(1), "name", self.key())
            await self.until(lambda: not self.overlay(0).request_cache._identifiers)
        assert not self.overlay(0).allowed_attestations

    async def test_unloading_ends_what_waits(self) -> None:
        self.answer_with(lambda: asyncio.get_running_loop().create_future())
        task = asyncio.ensure_future(self.overlay(0).request_attestation_async(self.peer(1), "name", self.key()))
        await self.deliver_messages()
        for i in range(2):
            await self.overlay(i).unload()
            await self.overlay(i).unload()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_mistakes_of_the_program(self) -> None:
        with pytest.raises(KeyError):
            self.overlay(0).request_attestation(self.peer(1), "name", self.key(), {"id_format": "unknown"})
        for reserved in ("attribute", "public_key"):
            with pytest.raises(ValueError, match=reserved):
                self.overlay(0).request_attestation(self.peer(1), "name", self.key(), {reserved: "x"})
        wrong: Any
        for wrong, metadata, error, text in (
                (b"name", {}, TypeError, "is text"), (None, {}, TypeError, "is text"),
                ("name", {"a": float("nan")}, ValueError, "NaN"), ("name", {"a": object()}, TypeError, "JSON"),
                ("name", {"a": json.loads("[" * 70 + "]" * 70)}, ValueError, "too deep"),
                ("n" * 70_000, {}, DataTooBigException, "never be sent")):
            with pytest.raises(error, match=text):
                await self.overlay(0).request_attestation_async(self.peer(1), wrong, self.key(), metadata)
        assert not self.overlay(0).request_cache._identifiers
        assert not self.overlay(0).allowed_attestations

    async def test_imported_attestations(self) -> None:
        class Importing(BonehExactAlgorithm):
            def import_blob(self, blob: bytes) -> tuple[bytes, Any]:
                sample = SAMPLES["id_metadata"]
                assert blob == b"from elsewhere"
                return bytes.fromhex(sample["blob"]), self.load_secret_key(bytes.fromhex(sample["secret_key"]))

        with pytest.raises(NotImplementedError):
            self.overlay(0).dump_blob("name", "id_metadata", b"x")
        self.overlay(0).schema_manager.algorithms["bonehexact"] = Importing
        for _ in range(2):  # the second time, it is stored already
            self.overlay(0).dump_blob("name", "id_metadata", b"from elsewhere", {})
        assert self.completed[0] == [(self.my_peer(0), "name", HASH, "id_metadata", self.my_peer(0))] * 2
        assert len(self.overlay(0).database.get_all()) == 1

    async def test_keys_are_made_without_blocking(self) -> None:
        key = await self.overlay(0).generate_secret_key("id_metadata")
        assert key.public_key()

    async def test_attestations_that_take_a_while_to_open(self) -> None:
        self.answer_with(b"\x20")
        for overlay in (self.overlay(0), self.overlay(1)):
            overlay.schema_manager.register_schema("long", "pengbaorange", {"key_size": 128, "min": 18, "max": 200})
        found = await self.overlay(0).request_attestation_async(self.peer(1), "name", self.key("long"),
                                                                {"id_format": "long"})
        assert await self.overlay(1).verify_async(self.address(0), found, [b"\x01"], "long") == [1.0]
        task = asyncio.ensure_future(self.overlay(0).request_attestation_async(
            self.peer(1), "name", self.key("long"), {"id_format": "long"}))
        await asyncio.sleep(0)
        cache, = (cache for cache in self.overlay(0).request_cache._identifiers.values())
        cache.key = self.key("long")
        with pytest.raises(ValueError, match="is none"):
            await task

    async def test_nothing_secret_is_logged(self) -> None:
        records: list[str] = []

        class Collector(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                records.append(self.format(record))

        collector, root = Collector(), logging.getLogger()
        level = root.level
        root.addHandler(collector)
        root.setLevel(logging.DEBUG)
        try:
            self.answer_with(VALUE)
            key = self.key()
            found = await self.overlay(0).request_attestation_async(self.peer(1), "name", key)
            await self.overlay(1).verify_async(self.address(0), found, [VALUE], "id_metadata")
            self.overlay(0).logger.debug("%r %s", key, key)
        finally:
            root.removeHandler(collector)
            root.setLevel(level)
        assert records
        text = "\n".join(records)
        for secret in (str(key.t1), str(key.n), key.serialize().hex(), VALUE.decode(), VALUE.hex()):
            assert secret not in text


class TestVerification(WalletTestBase):
    count = 3

    async def verify(self, values: list[bytes], id_format: str = "id_metadata", i: int = 1) -> list[float]:
        certainties: list[float] = await self.overlay(i).verify_async(
            self.address(0), bytes.fromhex(SAMPLES[id_format]["attestation_hash"]), values, id_format)
        return certainties

    async def test_attestations_that_were_stored_before(self) -> None:
        for id_format in FORMATS:
            self.give(0, id_format)
            value = b"\x01" if "range" in id_format else bytes.fromhex(SAMPLES[id_format]["value"])
            right, wrong = await self.verify([value, b"\x00"], id_format)
            assert right > 0.9999
            assert wrong == 0

    async def test_the_callback_is_called_once(self) -> None:
        results = []
        self.give()
        with self.assertReceivedBy(1, [AttestationChunkPayload] * 2 + [ChallengeResponsePayload] * 32):
            self.overlay(1).verify_attestation_values(self.address(0), HASH, [VALUE, b"x"],
                                                      lambda *result: results.append(result), "id_metadata")
            await self.deliver_messages()
        assert results == [(HASH, [1 - 0.5 ** 16, 0.0])]
        assert not self.overlay(1).request_cache._identifiers
        assert self.drops(0) == self.drops(1) == {}

    async def test_the_program_decides(self) -> None:
        self.give()
        asked = []

        def decide(*arguments: Any) -> Any:
            asked.append(arguments)
            return succeed(arguments[0] == self.my_peer(1))

        self.overlay(0).set_verify_request_callback(decide)
        assert (await self.verify([VALUE]))[0] > 0.99
        with self.overlay(2).request_cache.passthrough(timeout=0.05), pytest.raises(TimeoutError):
            await self.verify([VALUE], i=2)
        await self.deliver_messages()
        assert asked == [(self.my_peer(1), HASH), (self.my_peer(2), HASH)]
        for answer in (False, None, 0):
            self.overlay(0).set_verify_request_callback(lambda *_, answer=answer: answer)
            with self.overlay(1).request_cache.passthrough(timeout=0.05), pytest.raises(TimeoutError):
                await self.verify([VALUE])

    async def test_values_that_cannot_be_compared(self) -> None:
        self.give()
        wrong: Any
        for wrong in (None, [None], [VALUE, 5]):
            with pytest.raises(TypeError):
                await self.verify(wrong)
        assert not self.overlay(1).request_cache._identifiers
        values = [VALUE]
        task = asyncio.ensure_future(self.verify(values))
        await asyncio.sleep(0)
        values.clear()
        assert await task == [1 - 0.5 ** 16]

    async def test_two_verifications_at_a_time(self) -> None:
        self.give()
        both = await asyncio.gather(self.verify([VALUE]), self.verify([VALUE], i=2))
        assert list(both) == [[1 - 0.5 ** 16]] * 2
        self.overlay(1).verify_attestation_values(self.address(0), HASH, [VALUE], lambda *_: None, "id_metadata")
        with pytest.raises(RuntimeError):
            self.overlay(1).verify_attestation_values(self.address(0), HASH, [VALUE], lambda *_: None, "id_metadata")

    async def test_a_failed_start_leaves_nothing_behind(self) -> None:
        overlay = self.overlay(1)
        overlay.create_verify_attestation_request(self.address(0), HASH, "id_metadata")
        with pytest.raises(RuntimeError):
            overlay.verify_attestation_values(self.address(0), HASH, [VALUE], lambda *_: None, "id_metadata")
        assert list(overlay.request_cache._identifiers) == [
            f"receive-verify-attestation:{int.from_bytes(HASH, 'big')}"]
        with pytest.raises(KeyError):
            overlay.verify_attestation_values(self.address(0), bytes(20), [VALUE], lambda *_: None, "unknown")

    async def test_an_attestation_that_does_not_arrive(self) -> None:
        timed_out: list[bytes] = []
        with self.overlay(1).request_cache.passthrough(timeout=0.05):
            self.overlay(1).verify_attestation_values(self.address(0), HASH, [VALUE], lambda *_: pytest.fail("called"),
                                                      "id_metadata", timed_out.append)
            await self.until(lambda: timed_out)
        assert timed_out == [HASH]
        assert not self.overlay(1).request_cache._identifiers

    async def test_a_prover_that_stops_to_answer(self) -> None:
        self.give()
        self.overlay(0).message_table.handlers[ChallengePayload.msg_id] = lambda *_: None
        waiting = self.overlay(1).request_cache.passthrough(caches.PendingChallengeCache, timeout=0.05)
        with waiting, pytest.raises(TimeoutError, match="was not proved"):
            await self.verify([VALUE])
        assert not self.overlay(1).request_cache._identifiers

    async def test_removed_attestations_are_not_proved(self) -> None:
        self.give()
        assert (await self.verify([VALUE]))[0] > 0.99
        self.overlay(0).remove_attestation(b"SHA-1" + bytes(7) + HASH)
        assert not self.overlay(0).attestation_keys
        assert not self.overlay(0).cached_attestation_blobs
        assert self.overlay(0).database.get_all() == []
        with self.overlay(1).request_cache.passthrough(timeout=0.05), pytest.raises(TimeoutError):
            await self.verify([VALUE])

    async def test_a_row_that_is_gone(self) -> None:
        self.give()
        self.overlay(0).database.remove_attestation(HASH)
        with self.overlay(1).request_cache.passthrough(timeout=0.05), pytest.raises(TimeoutError):
            await self.verify([VALUE])

    async def test_on_received_attestation_without_a_verification(self) -> None:
        algorithm = self.overlay(1).get_id_algorithm("id_metadata")
        attestation = algorithm.get_attestation_class().unserialize(bytes.fromhex(SAMPLES["id_metadata"]["blob"]))
        assert attestation.id_format is None
        self.overlay(1).on_received_attestation(self.peer(0), attestation, HASH)
        attestation.id_format = "id_metadata"
        self.overlay(1).on_received_attestation(self.peer(0), attestation, HASH)
        assert self.drops(1) == {"unsolicited": 1}


class TestState(WalletTestBase):
    async def test_wallets_that_are_made_again(self) -> None:
        """Programs and tests call the constructor a second time."""
        self.give()
        overlay = self.overlay(0)
        overlay.attestation_keys.clear()
        overlay.__init__(AttestationSettings(my_peer=overlay.my_peer, endpoint=overlay.endpoint,
                                             network=overlay.network, working_directory=":memory:"))
        assert {name: known[1] for name, known in overlay.attestation_keys.items()} == {HASH: "id_metadata"}

    async def test_rows_that_cannot_be_used(self) -> None:
        self.give()
        database = self.overlay(0).database
        for i, (key, id_format) in enumerate(((b"", b"id_metadata"), (b"\x01\x01\x05", b"id_irma_nijmegen"),
                                              (b"\xff", b"\xff"))):
            database.execute("INSERT INTO attestations VALUES(?, ?, ?, ?)", (bytes((i,)), b"", key, id_format))
        database.execute("INSERT INTO attestations VALUES(?, ?, ?, ?)", (b"null", None, None, None))
        database.execute("INSERT INTO attestations VALUES(?, ?, ?, ?)", (b"numbers", 1, 2, 3))
        overlay = self.overlay(0)
        overlay.__init__(AttestationSettings(my_peer=overlay.my_peer, endpoint=overlay.endpoint,
                                             network=overlay.network, working_directory=":memory:"))
        assert list(overlay.attestation_keys) == [HASH]

    async def test_settings(self) -> None:
        settings = AttestationSettings()
        assert (settings.working_directory, settings.db_name) == ("", "attestations")
        assert AttestationCommunity.community_id.hex() == "b42c93d167a0fc4a0843f917d4bf1e9ebb340ec4"
        assert AttestationCommunity.settings_class is AttestationSettings
        assert self.overlay(0).get_prefix().hex() == "0002" + AttestationCommunity.community_id.hex()

    async def test_methods_of_programs_hold_the_lock(self) -> None:
        held = []

        class Mine(AttestationCommunity):
            @synchronized
            def locked(self, number: int) -> int:
                lock: Any = self.receive_block_lock
                held.append(lock._is_owned())
                return number + 1

        node = MockIPv8("curve25519", Mine, AttestationSettings(working_directory=":memory:"))
        self.nodes.append(node)
        assert node.overlay.locked(1) == 2
        assert held == [True]

    async def test_numbers_of_caches(self) -> None:
        community = self.overlay(0)
        assert caches.HashCache.id_from_hash("p", b"\x01\x00") == ("p", 256)
        assert caches.PeerCache.id_from_address("p", b"\x01\x01") == ("p", 257)
        made: list[tuple[NumberCache, str, int, float]] = [
            (caches.ReceiveAttestationVerifyCache(community, b"\x01", "f"), "receive-verify-attestation", 1, 120),
            (caches.ReceiveAttestationRequestCache(community, b"\x02", None, "n", "f"), "receive-request-attestation",
             2, 120),
            (caches.ProvingAttestationCache(community, b"\x03", "f"), "proving-attestation", 3, 120)]
        proving: Any = made[-1][0]
        made.append((caches.PendingChallengeCache(community, b"\x04", proving, "f", 2), "proving-hash", 4, 10))
        for cache, prefix, number, delay in made:
            assert (cache.prefix, cache.number, cache.timeout_delay) == (prefix, number, delay)
            cache.on_timeout()
        assert (proving.hash, proving.relativity_map, proving.challenges, proving.hashed_challenges) == (
            b"\x03", {}, [], [])
        proving.attestation_callbacks(b"\x03", {})
        pending: Any = made[-1][0]
        assert (pending.honesty_check, pending.proving_cache, pending.id_format) == (2, proving, "f")
        received: Any = made[1][0]
        received.assembly_of(bytes(20)).add(3, b"data")
        assert received.attestation_map == {(3, b"data")}
        shown: Any = made[0][0]
        shown.assembly.add(1, b"x")
        assert shown.attestation_map == {(1, b"x")}


async def test_a_database_that_cannot_be_read_leaves_no_overlay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Damaged(AttestationsDB):
        def get_all(self) -> Any:
            raise CorruptDatabaseException("damaged")

        def close(self, commit: bool = True) -> bool:
            closed.append(commit)
            return super().close(commit)

    monkeypatch.setattr(base, "AttestationsDB", Damaged)
    with pytest.raises(CorruptDatabaseException):
        MockIPv8("curve25519", AttestationCommunity, AttestationSettings(working_directory=":memory:"))
    assert closed


async def test_wallets_on_disk(tmp_path: Path) -> None:
    for passphrase in ("secret", b"secret"):
        node = MockIPv8("curve25519", AttestationCommunity,
                        AttestationSettings(working_directory=str(tmp_path), passphrase=passphrase))
        known = dict(node.overlay.attestation_keys)
        if not known:
            case = WalletTestBase()
            case.nodes = [node]
            case.give(0)
        await node.stop()
    assert list(known) == [HASH]
    assert RequestAttestationPayload.msg_id == 5
