"""Historic attestations: keys, attestations, proofs, and how long the event loop waits meanwhile.

gmpy2 is not used, also where it is installed, so that libraries are compared that have nothing but Python.
"""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure
from ipv8.attestation.schema.manager import SchemaManager
from ipv8.attestation.wallet.community import AttestationCommunity, AttestationSettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5
KEYS = 12
PATIENCE = 60.0
RANGE = "id_metadata_range_18plus"
VALUE = b"\x20"


def milliseconds(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The best of several calls."""
    best = float("inf")
    for _ in range(rounds):
        begin = perf_counter()
        function()
        best = min(best, perf_counter() - begin)
    return best * 1e3


def mean_milliseconds(function: Callable[[], object], rounds: int) -> float:
    """The mean of several calls, for what depends on chance."""
    begin = perf_counter()
    for _ in range(rounds):
        function()
    return (perf_counter() - begin) / rounds * 1e3


def calculations(id_format: str) -> Iterator[Figure]:
    """The calculations for one attestation of a format."""
    schemas = SchemaManager()
    schemas.register_default_schemas()
    algorithm: Any = schemas.get_algorithm_instance(id_format)
    kind = algorithm.get_attestation_class()
    yield Figure(f"{id_format}: generate a key", mean_milliseconds(algorithm.generate_secret_key, KEYS), "ms")
    private = algorithm.generate_secret_key()
    serialized_key = private.serialize()
    public = private.public_key().serialize()
    yield Figure(f"{id_format}: attest", milliseconds(
        lambda: algorithm.attest(algorithm.load_public_key(public), VALUE)), "ms")
    blob = algorithm.attest(private.public_key(), VALUE)
    yield Figure(f"{id_format}: open the private form", milliseconds(
        lambda: kind.unserialize_private(algorithm.load_secret_key(serialized_key), blob, id_format)), "ms")
    attestation = kind.unserialize_private(private, blob, id_format)
    shown = attestation.serialize()

    def create_challenges() -> list[bytes]:
        received = kind.unserialize(shown, id_format)
        challenges: list[bytes] = algorithm.create_challenges(received.PK, received)
        return challenges

    yield Figure(f"{id_format}: create all challenges", milliseconds(create_challenges), "ms")
    challenges = create_challenges()

    def respond() -> list[bytes]:
        return [algorithm.create_challenge_response(private, attestation, challenge) for challenge in challenges]

    yield Figure(f"{id_format}: respond to all challenges", milliseconds(respond), "ms")
    responses = respond()
    received = kind.unserialize(shown, id_format)

    def check() -> None:
        aggregate = algorithm.create_certainty_aggregate(received)
        for challenge, response in zip(challenges, responses, strict=True):
            aggregate = algorithm.process_challenge_response(aggregate, challenge, response)

    yield Figure(f"{id_format}: check all responses", milliseconds(check), "ms")


class Lag:
    """Measures for how long the event loop is busy between two of its turns, at most.

    That is processor time, as other programs may keep it waiting as well.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        last = thread_time()
        while True:
            await asyncio.sleep(0)
            now = thread_time()
            self.longest, last = max(self.longest, now - last), now

    def stop(self) -> float:
        """The longest time in milliseconds."""
        self._task.cancel()
        return self.longest * 1e3


async def make_node() -> Any:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    return AttestationCommunity(AttestationSettings(
        my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=Network(),
        working_directory=":memory:"))


async def proofs(id_format: str) -> list[Figure]:
    """An attestation is requested, made and proved by two nodes that share an event loop."""
    subject, authority = await make_node(), await make_node()
    try:
        for node, other in ((subject, authority), (authority, subject)):
            node.network.add_verified_peer(Peer(other.my_peer.public_key, other.endpoint.get_address()))
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        authority.set_attestation_request_callback(lambda *_: value_of())

        async def value_of() -> bytes:
            return VALUE

        def complete(for_peer: Any, name: str, attestation_hash: bytes, *_: Any) -> None:  # noqa: ARG001 - its shape
            if not received.done():
                received.set_result(attestation_hash)

        subject.set_attestation_request_complete_callback(complete)
        key = subject.get_id_algorithm(id_format).generate_secret_key()
        peer = Peer(authority.my_peer.public_key, authority.endpoint.get_address())
        begin, lag = perf_counter(), Lag()
        subject.request_attestation(peer, "name", key, {"id_format": id_format})
        attestation_hash = await asyncio.wait_for(received, PATIENCE)
        enrolled, enrolment_lag = perf_counter() - begin, lag.stop()
        proved: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        begin, lag = perf_counter(), Lag()
        authority.verify_attestation_values(
            subject.endpoint.get_address(), attestation_hash, [VALUE],
            lambda *result: None if proved.done() else proved.set_result(result), id_format)
        await asyncio.wait_for(proved, PATIENCE)
        verified, verification_lag = perf_counter() - begin, lag.stop()
    finally:
        for node in (subject, authority):
            await node.unload()
            node.endpoint.close()
    return [Figure(f"{id_format}: enrolment of two nodes", enrolled * 1e3, "ms"),
            Figure(f"{id_format}: longest callback of the enrolment", enrolment_lag, "ms"),
            Figure(f"{id_format}: verification of two nodes", verified * 1e3, "ms"),
            Figure(f"{id_format}: longest callback of the verification", verification_lag, "ms")]


def measure() -> Iterator[Figure]:
    """All figures."""
    warnings.filterwarnings("ignore", "The identity format")
    get_providers().clear()
    with suppress(ImportError):
        from ipv8.attestation.wallet.primitives.integers import use_gmpy2

        use_gmpy2(False)
    for id_format in ("id_metadata", "id_metadata_big", "id_metadata_huge", RANGE):
        yield from calculations(id_format)
    for id_format in ("id_metadata", "id_metadata_huge", RANGE):
        yield from asyncio.run(proofs(id_format))
