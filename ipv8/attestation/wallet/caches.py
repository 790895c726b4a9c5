"""Requests of the wallet that wait for an answer."""

from __future__ import annotations

from abc import ABCMeta
from typing import TYPE_CHECKING, Any

from ... import clock
from ...limits import BoundedDict
from ...requestcache import NumberCache, RequestCache
from .chunks import MAX_CHUNK_BYTES, ChunkAssembly

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address
    from .questions import Question, Questioning

__all__ = ["HashCache", "PeerCache", "PendingChallengeCache", "ProvingAttestationCache",
           "ReceiveAttestationRequestCache", "ReceiveAttestationVerifyCache"]

REQUEST_SECONDS = 120.0
"""Seconds for which an attestation or a proof is waited for."""

CHALLENGE_SECONDS = 10.0
"""Seconds for which the answer to a question is waited for."""

MAX_ASSEMBLIES = 2
"""Attestations that are put together at a time for one request; the oldest is dropped first."""


def _nothing(*_: Any) -> None:
    """Do nothing."""


class _WaitingCache(NumberCache, metaclass=ABCMeta):
    """A request that says when it has timed out.

    :param id_format: the format of the attestation.
    """

    def __init__(self, request_cache: RequestCache, prefix: str, number: int, id_format: str) -> None:
        super().__init__(request_cache, prefix, number)
        self.id_format = id_format
        #: Called when the request has timed out.
        self.timeout_callback: Callable[[], object] = _nothing

    def on_timeout(self) -> None:
        """Tell whoever waits."""
        self._logger.info("No answer in time: %s", self.prefix)
        self.timeout_callback()


class HashCache(_WaitingCache):
    """A request that is known by a hash."""

    def __init__(self, request_cache: RequestCache, prefix: str, cache_hash: bytes, id_format: str) -> None:
        super().__init__(request_cache, *self.id_from_hash(prefix, cache_hash), id_format)

    @classmethod
    def id_from_hash(cls, prefix: str, cache_hash: bytes) -> tuple[str, int]:
        """The prefix, and the hash as a number."""
        return prefix, int.from_bytes(cache_hash, "big")


class PeerCache(_WaitingCache):
    """A request that is known by the mid of a peer, and maybe more bytes."""

    def __init__(self, request_cache: RequestCache, prefix: str, mid: bytes, id_format: str) -> None:
        super().__init__(request_cache, *self.id_from_address(prefix, mid), id_format)

    @classmethod
    def id_from_address(cls, prefix: str, mid: bytes) -> tuple[str, int]:
        """The prefix, and the bytes as a number."""
        return prefix, int.from_bytes(mid, "big")


class ReceiveAttestationVerifyCache(HashCache):
    """A verifier that waits for the attestation with a hash.

    :param address: where it was asked for; ``None`` if anybody may send it.
    :param largest: the bytes of the largest attestation of the format.
    """

    def __init__(self, community: Any, cache_hash: bytes, id_format: str, address: Address | None = None,
                 largest: int = MAX_CHUNK_BYTES) -> None:
        super().__init__(community.request_cache, "receive-verify-attestation", cache_hash, id_format)
        self.address = address
        self.assembly = ChunkAssembly(cache_hash, largest)
        self.last_arrival = clock.monotonic()
        #: Sends the same request again.
        self.send_again: Callable[[], object] = _nothing
        #: Whether nothing has arrived since it was sent again.
        self.asked_again = False

    @property
    def attestation_map(self) -> set[tuple[int, bytes]]:
        """The chunks that arrived, with their numbers."""
        return set(self.assembly.chunks.items())

    @property
    def timeout_delay(self) -> float:
        """Two minutes."""
        return REQUEST_SECONDS


class ReceiveAttestationRequestCache(PeerCache):
    """A subject that waits for an attestation.

    :param mid: the mid of the authority, and the global time of the request as text.
    :param key: the private key for the attestation.
    :param name: the name of the attribute.
    :param largest: the bytes of the largest attestation of the format.
    """

    def __init__(self, community: Any, mid: bytes, key: Any, name: str, id_format: str,
                 largest: int = MAX_CHUNK_BYTES) -> None:
        super().__init__(community.request_cache, "receive-request-attestation", mid, id_format)
        self.key = key
        self.name = name
        self.largest = largest
        #: What the authority is told besides the name.
        self.metadata: dict[str, Any] | None = None
        #: Sends the same request again.
        self.send_again: Callable[[], object] = _nothing
        self.last_arrival = clock.monotonic()
        #: Whether a timer runs that sends the request again.
        self.is_watched = False
        self.may_ask_again = True
        #: The hashes of the attestations that parts had arrived of when it was sent again.
        self.known_hashes: frozenset[bytes] = frozenset()
        self.assemblies: BoundedDict[bytes, ChunkAssembly] = BoundedDict(MAX_ASSEMBLIES)

    def assembly_of(self, blob_hash: bytes) -> ChunkAssembly:
        """The chunks of the attestation with a hash."""
        if blob_hash not in self.assemblies:
            self.assemblies[blob_hash] = ChunkAssembly(blob_hash, self.largest)
        return self.assemblies[blob_hash]

    @property
    def attestation_map(self) -> set[tuple[int, bytes]]:
        """The chunks that arrived, with their numbers."""
        return {chunk for assembly in self.assemblies.values() for chunk in assembly.chunks.items()}

    @property
    def timeout_delay(self) -> float:
        """Two minutes."""
        return REQUEST_SECONDS


class ProvingAttestationCache(HashCache):
    """A verifier that lets an attestation be proved.

    :param public_key: the key of the subject, as soon as it is known.
    :param on_complete: called with the hash and what the algorithm collected, once.
    """

    def __init__(self, community: Any, cache_hash: bytes, id_format: str, public_key: Any = None,
                 on_complete: Callable[[bytes, dict[Any, Any]], object] = _nothing) -> None:
        super().__init__(community.request_cache, "proving-attestation", cache_hash, id_format)
        self.hash = cache_hash
        self.public_key = public_key
        #: What the algorithm collected.
        self.relativity_map: dict[Any, Any] = {}
        #: The challenges of the attestation that are not answered, and their hashes.
        self.challenges: list[bytes] = []
        self.hashed_challenges: list[bytes] = []
        self.attestation_callbacks = on_complete
        self.questioning: Questioning | None = None
        #: The mid of the peer that sent the attestation.
        self.prover: bytes | None = None
        self.address: Address | None = None
        #: Whether the subject lied, or what it sent is no attestation of the format.
        self.is_refuted = False
        #: The questions that wait for an answer, by hash.
        self.pending: dict[bytes, PendingChallengeCache] = {}

    @property
    def timeout_delay(self) -> float:
        """Two minutes."""
        return REQUEST_SECONDS


class PendingChallengeCache(HashCache):
    """A question that waits for its answer.

    :param cache_hash: the hash of the challenge.
    :param proving_cache: what it belongs to.
    :param honesty_check: the number that is asked for, if it is known; -1 if it is not.
    :param question: the question.
    """

    def __init__(self, community: Any, cache_hash: bytes, proving_cache: ProvingAttestationCache, id_format: str,
                 honesty_check: int = -1, question: Question | None = None) -> None:
        super().__init__(community.request_cache, "proving-hash", cache_hash, id_format)
        self.proving_cache = proving_cache
        self.honesty_check = honesty_check
        self.question = question
        self.last_sent = clock.monotonic()

    @property
    def timeout_delay(self) -> float:
        """Ten seconds."""
        return CHALLENGE_SECONDS
