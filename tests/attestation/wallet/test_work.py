"""The event loop is never blocked for long.

Work is counted in reductions modulo p, of which a multiplication of elements has two.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.default_identity_formats import FORMATS, STRONGER_FORMATS
from ipv8.attestation.schema.manager import SchemaManager
from ipv8.attestation.wallet import work
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.primitives import integers
from ipv8.attestation.wallet.primitives.field import _field_of
from ipv8.attestation.wallet.primitives.steps import microseconds
from ipv8.attestation.wallet.work import SLICE_MICROSECONDS, ProcessPool, ProcessPoolError, Workshop, in_slices
from ipv8.attestation.wallet.worker import DONE, FAILED, REFUSED, run_job
from ipv8.taskmanager import TaskManager

from .base import WalletTestBase
from .vectors import SAMPLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ipv8.attestation.wallet.primitives.steps import Steps

CALLBACK_LIMIT = 20_000.0
"""Microseconds."""


class Modulus(int):
    """An integer that counts the reductions modulo it."""

    reductions = 0

    def __rmod__(self, other: int) -> int:
        Modulus.reductions += 1
        return other % int(self)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The work of each callback of the event loop, in microseconds that it is reckoned to take."""
    monkeypatch.setattr(integers, "_make", Modulus)
    _field_of.cache_clear()
    spent: list[float] = []
    run = asyncio.events.Handle._run

    def run_and_count(self: asyncio.events.Handle) -> None:
        before = Modulus.reductions
        run(self)
        if Modulus.reductions > before:
            spent.append(microseconds(200, (Modulus.reductions - before) / 2))

    monkeypatch.setattr(asyncio.events.Handle, "_run", run_and_count)
    yield spent
    _field_of.cache_clear()


@pytest.mark.usefixtures("counted")
def test_the_reckoned_times_are_about_right() -> None:
    """What the steps say is what is counted, within a factor of two."""
    for id_format in FORMATS:
        algorithm: Any = schemas().get_algorithm_instance(id_format)
        key = algorithm.load_secret_key(bytes.fromhex(SAMPLES[id_format]["secret_key"]))
        bits = key.p.bit_length()
        before = Modulus.reductions
        said = run_all(algorithm.attest_steps(key.public_key(), b"\x20"))
        assert 0.5 < said / microseconds(bits, (Modulus.reductions - before) / 2) < 2
        assert 0.5 < algorithm.estimate("attest") / said < (4 if "range" in id_format else 2)
        if "range" in id_format:
            continue
        blob = bytes.fromhex(SAMPLES[id_format]["blob"])
        attestation = algorithm.get_attestation_class().unserialize(blob, id_format)
        before = Modulus.reductions
        said = run_all(algorithm.challenge_steps(attestation.PK, attestation))
        assert 0.5 < said / microseconds(bits, (Modulus.reductions - before) / 2) < 2.5
        assert 0.4 < algorithm.estimate("challenges") / said < 2.5


def run_all(steps: Steps[Any]) -> float:
    return sum(steps)


def schemas() -> SchemaManager:
    manager = SchemaManager()
    manager.register_default_schemas()
    manager.register_stronger_schemas()
    return manager


class TestCallbacks(WalletTestBase):
    @pytest.fixture(autouse=True)
    def _counted(self, counted: list[float]) -> None:
        self.spent = counted

    async def test_no_callback_is_long_while_attestations_are_made_and_proved(self) -> None:
        for id_format in FORMATS:
            value = b"\x20" if "range" in id_format else b"v"
            self.overlay(1).set_attestation_request_callback(lambda *_, value=value: value)
            self.spent.clear()
            key = self.key(id_format)
            found = await self.overlay(0).request_attestation_async(self.peer(1), "name", key,
                                                                    {"id_format": id_format})
            wanted = b"\x01" if "range" in id_format else b"v"
            certainty, = await self.overlay(1).verify_async(self.address(0), found, [wanted], id_format)
            assert certainty > 0.9999
            assert 0 < max(self.spent) < CALLBACK_LIMIT / 2, (id_format, max(self.spent))
        assert sum(self.spent) > 0

    async def test_no_callback_is_long_with_large_keys(self) -> None:
        for overlay in (self.overlay(0), self.overlay(1)):
            overlay.schema_manager.register_stronger_schemas()
        self.overlay(1).set_attestation_request_callback(lambda *_: b"v")
        key = await self.overlay(0).generate_secret_key("id_metadata_512")
        self.spent.clear()
        found = await self.overlay(0).request_attestation_async(self.peer(1), "name", key,
                                                                {"id_format": "id_metadata_512"})
        assert await self.overlay(1).verify_async(self.address(0), found, [b"v"], "id_metadata_512") == [1.0]
        larger = microseconds(1032) / microseconds(200)
        assert 0 < max(self.spent) * larger < CALLBACK_LIMIT

    async def test_the_counter_sees_a_long_callback(self) -> None:
        algorithm = self.overlay(0).get_id_algorithm("id_metadata_huge")
        key = self.key("id_metadata_huge").public_key()
        self.spent.clear()
        algorithm.attest(key, b"v")
        await asyncio.sleep(0)
        assert max(self.spent) > CALLBACK_LIMIT


async def test_slices() -> None:
    turns: list[str] = []

    def steps() -> Steps[str]:
        for _ in range(10):
            turns.append("step")
            yield SLICE_MICROSECONDS / 2
        return "result"

    async def other() -> None:
        while True:
            turns.append("other")
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    assert await in_slices(steps()) == "result"
    task.cancel()
    assert turns.count("step") == 10
    assert "".join(turn[0] for turn in turns).startswith("ssossossosso")


# Other processes

@pytest.fixture
async def timers() -> AsyncIterator[TaskManager]:
    """Starts timers."""
    manager = TaskManager()
    yield manager
    await manager.shutdown_task_manager()


@pytest.fixture
async def workshop(timers: TaskManager) -> AsyncIterator[Workshop]:
    made = Workshop(1, timers.start_timer)
    yield made
    made.close()


def parameters(name: str) -> dict[str, Any]:
    return (FORMATS | STRONGER_FORMATS)[name]


def stronger() -> Any:
    return schemas().get_algorithm_instance("id_metadata_512")


async def test_long_calculations_are_done_in_another_process(workshop: Workshop,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a long calculation was begun in this process")

    monkeypatch.setattr(workshop, "_here", refuse)
    algorithm = stronger()
    key = await workshop.generate(algorithm, parameters("id_metadata_512"))
    blob = await workshop.attest(algorithm, parameters("id_metadata_512"), key.public_key(), b"value")
    attestation = algorithm.get_attestation_class().unserialize(blob, "id_metadata_512")
    challenges = await workshop.challenges(algorithm, parameters("id_metadata_512"), attestation)
    assert workshop.pool is not None
    process, = workshop.pool._all
    aggregate = algorithm.create_certainty_aggregate(attestation)
    for challenge in challenges:
        algorithm.process_challenge_response(aggregate, challenge,
                                             algorithm.create_challenge_response(key, attestation, challenge))
    assert algorithm.certainty(b"value", aggregate) == 1
    assert process.poll() is None, "one process did all"
    workshop.close()
    assert process.poll() is not None


async def test_small_calculations_start_no_process(workshop: Workshop) -> None:
    for id_format in FORMATS:
        algorithm: Any = schemas().get_algorithm_instance(id_format)
        key = await workshop.generate(algorithm, parameters(id_format))
        blob = await workshop.attest(algorithm, parameters(id_format), key.public_key(), b"\x20")
        opened = await workshop.open(algorithm, key, blob)
        assert await workshop.challenges(algorithm, parameters(id_format), opened)
    assert workshop.pool is not None
    assert not workshop.pool._all


async def test_without_processes_all_is_done_in_slices(monkeypatch: pytest.MonkeyPatch, timers: TaskManager) -> None:
    monkeypatch.setattr(work, "PROCESS_MICROSECONDS", 0.0)
    algorithm: Any = schemas().get_algorithm_instance("id_metadata")
    key = algorithm.generate_secret_key()
    for made in (Workshop(0, timers.start_timer), Workshop(1, timers.start_timer)):
        if made.pool is not None:
            monkeypatch.setattr("sys.executable", "/nowhere/python")
        blob = await made.attest(algorithm, parameters("id_metadata"), key.public_key(), b"v")
        assert algorithm.get_attestation_class().unserialize(blob).bitpairs
        made.close()


async def test_a_process_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, workshop: Workshop) -> None:
    monkeypatch.setattr(work, "PROCESS_MICROSECONDS", 0.0)
    algorithm: Any = schemas().get_algorithm_instance("id_metadata_range_18plus")
    key = algorithm.generate_secret_key().public_key()
    with pytest.raises(ValueError, match="not in the range"):
        await workshop.attest(algorithm, parameters("id_metadata_range_18plus"), key, b"\x01")
    assert await workshop.attest(algorithm, parameters("id_metadata_range_18plus"), key, b"\x20")


async def test_a_process_that_ends_is_replaced(monkeypatch: pytest.MonkeyPatch, workshop: Workshop) -> None:
    monkeypatch.setattr(work, "PROCESS_MICROSECONDS", 0.0)
    algorithm: Any = schemas().get_algorithm_instance("id_metadata")
    assert await workshop.generate(algorithm, parameters("id_metadata"))
    assert workshop.pool is not None
    first, = workshop.pool._all
    first.kill()
    first.wait()
    assert await workshop.generate(algorithm, parameters("id_metadata")), "it is done here"
    assert await workshop.generate(algorithm, parameters("id_metadata"))
    second, = workshop.pool._all
    assert second is not first
    workshop.pool._dismiss()
    assert second.poll() is not None, "a process without work is ended"
    assert not workshop.pool._all


async def test_a_closed_pool(timers: TaskManager) -> None:
    pool = ProcessPool(1, timers.start_timer)
    waiting = asyncio.ensure_future(pool.call(b"generate", b"id_metadata_512", b'{"algorithm": "bonehexact", '
                                              b'"key_size": 512, "hash": "sha256"}'))
    while not pool._all:  # noqa: ASYNC110 - a thread starts the process
        await asyncio.sleep(0.01)
    pool.close()
    with pytest.raises(ProcessPoolError):
        await waiting
    with pytest.raises(ProcessPoolError, match="closed"):
        await pool.call(b"generate")
    pool.close()


async def test_a_job_that_begins_while_the_pool_is_closed(timers: TaskManager) -> None:
    """Its thread is not waited for until a process has done the work."""
    pool = ProcessPool(1, timers.start_timer)
    with pytest.raises(ValueError, match="no operation"):
        await pool.call(b"unknown", b"f", b'{"algorithm": "bonehexact", "key_size": 32, "hash": "sha256"}')
    pool.closed = True
    with pytest.raises(ProcessPoolError, match="closed"):
        pool._run((b"generate",))
    pool.close()
    assert not pool._all


async def test_unknown_jobs(timers: TaskManager) -> None:
    pool = ProcessPool(1, timers.start_timer)
    with pytest.raises(ValueError, match="no operation"):
        await pool.call(b"unknown", b"f", b'{"algorithm": "bonehexact", "key_size": 32, "hash": "sha256"}')
    with pytest.raises(ProcessPoolError, match="KeyError"):
        await pool.call(b"attest", b"f", b"{}", b"", b"")
    pool.close()
    with pytest.raises(KeyError):
        run_job(b"attest", b"f", b"{}")
    assert len({DONE, REFUSED, FAILED}) == 3


async def test_algorithms_of_programs_stay_in_this_process(monkeypatch: pytest.MonkeyPatch,
                                                           workshop: Workshop) -> None:
    class Mine(BonehExactAlgorithm):
        pass

    monkeypatch.setattr(work, "PROCESS_MICROSECONDS", 0.0)
    algorithm = Mine("id_metadata", FORMATS)
    key = await workshop.generate(algorithm, parameters("id_metadata"))
    assert await workshop.attest(algorithm, parameters("id_metadata"), key.public_key(), b"v")
    assert workshop.pool is not None
    assert not workshop.pool._all
