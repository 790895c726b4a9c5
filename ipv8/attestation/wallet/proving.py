"""How a subject proves its attestations (doc/protocol/attestation.md, section 8.2)."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Any

from ...messaging.interfaces.network_stats import DropCounter
from .base import BAD_ATTESTATION, WalletBase
from .chunks import chunks_of
from .payload import ChallengeResponsePayload
from .questions import challenge_hash
from .work import COSTLY_MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ...peer import Peer
    from ..identity_formats import IdentityAlgorithm
    from .payload import ChallengePayload

__all__ = ["ProvingProtocol"]


class ProvingProtocol(WalletBase):
    """Shows attestations to verifiers, and answers their challenges."""

    def _handle_verification(self, peer: Peer, global_time: int,
                             attestation_hash: bytes) -> Coroutine[Any, Any, None] | None:
        """What is to be done about a request for a proof; ``None`` if nothing is."""
        if not self._admits_request(peer):
            return None
        if attestation_hash not in self.attestation_keys:
            self.drops.count(DropCounter.UNSOLICITED)
            self.logger.debug("%s wants a proof of the unknown attestation %s", peer, attestation_hash.hex())
            return None
        if self._is_new_request(peer, global_time, attestation_hash):
            return self._prove_to(peer, attestation_hash)
        if self.consents.is_given(peer, attestation_hash):  # the attestation may have been lost on its way
            return self._show(peer, attestation_hash)
        self.drops.count(DropCounter.REPLAYED)
        return None

    async def _prove_to(self, peer: Peer, attestation_hash: bytes) -> None:
        """Ask the program whether to prove an attestation to a verifier, and begin to do so."""
        allowed = await self._ask_program(peer, self.verify_request_callback, attestation_hash)
        known = self.attestation_keys.get(attestation_hash)
        blobs = self.database.get_attestation_by_hash(attestation_hash)
        if not allowed or known is None:
            return
        if not blobs or not blobs[0]:
            self.logger.warning("The attestation %s is not in the database any more", attestation_hash.hex())
            return
        secret_key, id_format = known
        algorithm = self.get_id_algorithm(id_format)
        try:
            attestation = await self.workshop.open(algorithm, secret_key, blobs[0])
        except BAD_ATTESTATION as e:
            self.logger.warning("The attestation %s in the database is damaged: %s", attestation_hash.hex(), e)
            return
        if attestation_hash not in self.attestation_keys:
            return  # it was removed meanwhile
        self.consents.opened[attestation_hash] = attestation
        self.consents.give(peer, attestation_hash, algorithm.count_challenges(attestation))
        await self._show(peer, attestation_hash)

    async def _show(self, peer: Peer, attestation_hash: bytes) -> None:
        """Send the public form of an opened attestation to a verifier."""
        attestation = self.consents.opened.get(attestation_hash)
        if attestation is None or not self.shipping.begin(peer, attestation_hash):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        try:
            blob = attestation.serialize()
            if not await self.shipping.admits(peer, blob, lambda: self.walk_to(peer.address)):
                self.drops.count(DropCounter.RATE_LIMITED)
                return
            chunks, blob_hash = chunks_of(blob), sha1(blob, usedforsecurity=False).digest()
            global_time = self.claim_global_time()
            start = self.shipping.send_group(peer.address, blob_hash, chunks, 0, global_time)
            await self.shipping.send_rest(peer.address, blob_hash, chunks, start, global_time)
        finally:
            self.shipping.end(peer, attestation_hash)

    def _answer(self, peer: Peer, payload: ChallengePayload) -> Coroutine[Any, Any, None] | None:
        """Answer a challenge of a verifier that may ask; a coroutine if that takes long."""
        attestation = self.consents.opened.get(payload.attestation_hash)
        known = self.attestation_keys.get(payload.attestation_hash)
        if attestation is None or known is None or not self.consents.use(peer, payload.attestation_hash):
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        secret_key, id_format = known
        algorithm = self.get_id_algorithm(id_format)
        if algorithm.estimate("response") >= COSTLY_MICROSECONDS:
            return self._respond_later(peer, payload, algorithm, secret_key, attestation)
        self._respond(peer, payload, algorithm, secret_key, attestation)
        return None

    async def _respond_later(self, peer: Peer, payload: ChallengePayload, algorithm: IdentityAlgorithm[Any],
                             secret_key: Any, attestation: Any) -> None:
        """Answer a challenge in a callback of its own, as many may arrive at once."""
        self._respond(peer, payload, algorithm, secret_key, attestation)

    def _respond(self, peer: Peer, payload: ChallengePayload, algorithm: IdentityAlgorithm[Any], secret_key: Any,
                 attestation: Any) -> None:
        try:
            response = algorithm.create_challenge_response(secret_key, attestation, payload.challenge)
        except BAD_ATTESTATION as e:
            self.drops.count(DropCounter.UNDECODABLE)
            self.logger.debug("A challenge of %s is none: %s", peer, e)
            return
        self._send_payload(peer.address, ChallengeResponsePayload(challenge_hash(payload.challenge), response))
