"""The overlay in which authorities attest values of subjects, who prove them to verifiers.

See doc/attestation.md, and doc/protocol/attestation.md for what is sent.
"""

from __future__ import annotations

from binascii import unhexlify
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...lazy_community import lazy_wrapper, receive_from
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...reexports import reexports
from .caches import HashCache, ReceiveAttestationVerifyCache
from .database import AttestationsDB
from .enrolment import EnrolmentProtocol
from .payload import (
    AttestationChunkPayload,
    ChallengePayload,
    ChallengeResponsePayload,
    RequestAttestationPayload,
    VerifyAttestationRequestPayload,
)
from .proving import ProvingProtocol
from .settings import AttestationSettings
from .verifying import RECEIVING, VerificationProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address
    from ...peer import Peer
    from .base import WalletBase

__all__ = ["AttestationCommunity", "AttestationSettings", "AttestationsDB", "synchronized"]

Function = TypeVar("Function", bound="Callable[..., Any]")


def synchronized(f: Function) -> Function:
    """Decorator for methods of programs, which hold ``receive_block_lock`` while they run."""
    @wraps(f)
    def run(self: WalletBase, *args: Any, **kwargs: Any) -> Any:
        with self.receive_block_lock:
            return f(self, *args, **kwargs)

    return run  # type: ignore[return-value]  # it has the signature of the method


class AttestationCommunity(EnrolmentProtocol, ProvingProtocol, VerificationProtocol):
    """Requests, makes, proves and verifies attestations."""

    community_id: ClassVar[bytes] = unhexlify("b42c93d167a0fc4a0843f917d4bf1e9ebb340ec4")  # type: ignore[misc] # as in subclasses of programs

    def __init__(self, settings: AttestationSettings) -> None:
        super().__init__(settings)
        self.add_message_handler(VerifyAttestationRequestPayload, self.on_verify_attestation_request)
        self.add_message_handler(AttestationChunkPayload, self.on_attestation_chunk)
        self.add_message_handler(ChallengePayload, self.on_challenge)
        self.add_message_handler(ChallengeResponsePayload, self.on_challenge_response)
        self.add_message_handler(RequestAttestationPayload, self.on_request_attestation)

    @lazy_wrapper(GlobalTimeDistributionPayload, VerifyAttestationRequestPayload)
    def on_verify_attestation_request(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: VerifyAttestationRequestPayload) -> Any:
        """Message 1: a verifier wants an attestation of ours to be proved."""
        return self._handle_verification(peer, dist.global_time, payload.attestation_hash)

    @receive_from(GlobalTimeDistributionPayload, AttestationChunkPayload)
    def on_attestation_chunk(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                             payload: AttestationChunkPayload) -> Any:
        """Message 2: a part of an attestation that is to be proved to us, or that we requested."""
        cache = self.request_cache.get(*HashCache.id_from_hash(RECEIVING, payload.attestation_hash))
        if isinstance(cache, ReceiveAttestationVerifyCache):
            self._receive_shown(source_address, peer, cache, payload)
            return None
        return self._receive_requested(peer, dist.global_time, payload)

    @lazy_wrapper(GlobalTimeDistributionPayload, ChallengePayload)
    def on_challenge(self, peer: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - what the message brings
                     payload: ChallengePayload) -> Any:
        """Message 3: a question about an attestation of ours."""
        return self._answer(peer, payload)

    @lazy_wrapper(GlobalTimeDistributionPayload, ChallengeResponsePayload)
    def on_challenge_response(self, peer: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as above
                              payload: ChallengeResponsePayload) -> None:
        """Message 4: the answer to a question of ours."""
        self._receive_response(peer, payload)

    @lazy_wrapper(GlobalTimeDistributionPayload, RequestAttestationPayload)
    def on_request_attestation(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                               payload: RequestAttestationPayload) -> Any:
        """Message 5: a subject wants a value to be attested."""
        return self._handle_request(peer, dist.global_time, payload.metadata)


if TYPE_CHECKING:  # programs import these from here
    from ...community import Community as Community, CommunitySettings as CommunitySettings
    from ...messaging.payload_headers import BinMemberAuthenticationPayload as BinMemberAuthenticationPayload
    from ...requestcache import RequestCache as RequestCache
    from ...util import maybe_coroutine as maybe_coroutine, succeed as succeed
    from ..schema.manager import SchemaManager as SchemaManager
    from .caches import (
        PeerCache as PeerCache,
        PendingChallengeCache as PendingChallengeCache,
        ProvingAttestationCache as ProvingAttestationCache,
        ReceiveAttestationRequestCache as ReceiveAttestationRequestCache,
    )
    from .database import SecretKeyProtocol as SecretKeyProtocol
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...community": "Community CommunitySettings",
        "...messaging.payload_headers": "BinMemberAuthenticationPayload",
        "...requestcache": "RequestCache",
        "...util": "maybe_coroutine succeed",
        "..schema.manager": "SchemaManager",
        ".caches": "PeerCache PendingChallengeCache ProvingAttestationCache ReceiveAttestationRequestCache",
        ".database": "SecretKeyProtocol"})
