"""How a verifier lets attestations be proved (doc/protocol/attestation.md, sections 8.2 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import clock
from ...messaging.interfaces.network_stats import DropCounter
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...util import current_loop
from .base import BAD_ATTESTATION, WalletBase
from .caches import HashCache, PendingChallengeCache, ProvingAttestationCache, ReceiveAttestationVerifyCache
from .payload import ChallengePayload, VerifyAttestationRequestPayload
from .primitives.steps import finish
from .questions import Question, Questioning, challenge_hash
from .work import SLICE_MICROSECONDS

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ...messaging.address import Address
    from ...peer import Peer
    from ...requestcache import NumberCache
    from ..identity_formats import Attestation, IdentityAlgorithm
    from .payload import AttestationChunkPayload, ChallengeResponsePayload

__all__ = ["VerificationProtocol"]

MAX_IN_FLIGHT = 10
"""Questions of a verification that wait for answers at a time."""

RESEND_SECONDS = 2.0
"""Seconds after which a question without an answer is asked again, and an attestation that does not arrive."""

PROVING, RECEIVING, PENDING = "proving-attestation", "receive-verify-attestation", "proving-hash"


class VerificationProtocol(WalletBase):
    """Gets attestations of others, asks questions about them, and tells the program what the answers mean."""

    def verify_attestation_values(self, socket_address: Address, attestation_hash: bytes, values: list[bytes],
                                  callback: Callable[[bytes, list[float]], Any], id_format: str,
                                  on_timeout: Callable[[bytes], Any] | None = None) -> None:
        """Let a subject prove an attestation.

        :param socket_address: where the subject is.
        :param values: what may have been attested.
        :param callback: called once with the hash, and how certain it is that each of the values was attested: 0 to 1,
            and 0 for all if the subject lied.
        :param on_timeout: called with the hash, if the subject does not prove it in time.
        :raises KeyError: if there is no such format.
        :raises RuntimeError: if the same attestation is being proved to us already.
        """
        self._warn(id_format)
        self._verify(socket_address, attestation_hash, values, callback, id_format, on_timeout)

    def _verify(self, socket_address: Address, attestation_hash: bytes, values: list[bytes],
                callback: Callable[[bytes, list[float]], Any], id_format: str,
                on_timeout: Callable[[bytes], Any] | None, future: Future[Any] | None = None) -> None:
        """What :meth:`verify_attestation_values` does.

        :param future: is cancelled if the overlay is unloaded meanwhile; gets what the algorithm raises for a value.
        """
        algorithm, candidates = self.get_id_algorithm(id_format), list(values)

        def on_complete(attestation_hash: bytes, aggregate: dict[Any, Any]) -> None:
            try:
                certainties = [0.0 if proving.is_refuted else algorithm.certainty(value, aggregate)
                               for value in candidates]
            except Exception as e:
                if future is None or future.done():
                    raise
                future.set_exception(e)
            else:
                self._tell_program(callback, attestation_hash, certainties)

        proving = ProvingAttestationCache(self, attestation_hash, id_format, on_complete=on_complete)
        proving.timeout_callback = lambda: self._end_in_silence(proving, on_timeout)
        if future is not None:
            proving.register_future(future)
        if self.request_cache.add(proving) is None:
            self.logger.warning("Nothing is verified: too many requests wait, or the overlay is being unloaded")
            self._end_in_silence(proving, on_timeout)
            return
        try:
            self.create_verify_attestation_request(socket_address, attestation_hash, id_format)
        except BaseException:
            self._forget(proving)
            raise

    async def verify_async(self, socket_address: Address, attestation_hash: bytes, values: list[bytes],
                           id_format: str) -> list[float]:
        """Do what :meth:`verify_attestation_values` does, and wait for the certainties.

        :raises TimeoutError: if the subject does not prove the attestation in time.
        :raises TypeError: also if a value is not what the format compares with.
        """
        future: Future[list[float]] = current_loop().create_future()

        def on_timeout(_: bytes) -> None:
            if not future.done():
                future.set_exception(TimeoutError("the attestation was not proved in time"))

        def on_complete(_: bytes, certainties: list[float]) -> None:
            if not future.done():
                future.set_result(certainties)

        self._warn(id_format)
        self._verify(socket_address, attestation_hash, values, on_complete, id_format, on_timeout, future)
        return await future

    def create_verify_attestation_request(self, socket_address: Address, attestation_hash: bytes,
                                          id_format: str) -> None:
        """Ask a subject for the public form of an attestation."""
        cache = ReceiveAttestationVerifyCache(self, attestation_hash, id_format, socket_address,
                                              self.get_id_algorithm(id_format).largest_blob)
        cache.timeout_callback = lambda: self._time_out(attestation_hash)
        self.request_cache.add(cache)
        packet = self.ezr_pack(VerifyAttestationRequestPayload.msg_id,
                               GlobalTimeDistributionPayload(self.claim_global_time()),
                               VerifyAttestationRequestPayload(attestation_hash))
        cache.send_again = lambda: self.endpoint.send(socket_address, packet)
        cache.send_again()
        self.start_timer(RESEND_SECONDS, self._request_again, cache)

    def _request_again(self, cache: ReceiveAttestationVerifyCache) -> None:
        """Send a request a second time, if nothing has arrived for a while: the same packet, so that it is known.

        Subjects of other implementations ask their program again. So this is done once, and again only if something
        arrives after that.
        """
        if self.request_cache.get(cache.prefix, cache.number) is not cache:
            return
        wait = cache.last_arrival + RESEND_SECONDS - clock.monotonic()
        if wait > 0:
            self.start_timer(wait, self._request_again, cache)
            return
        cache.asked_again = True
        cache.send_again()

    def _time_out(self, attestation_hash: bytes) -> None:
        """End a verification, as the attestation did not arrive."""
        proving = self.request_cache.get(*HashCache.id_from_hash(PROVING, attestation_hash))
        if isinstance(proving, ProvingAttestationCache):
            self._remove(proving)
            proving.timeout_callback()

    def _remove(self, proving: ProvingAttestationCache) -> None:
        """Forget a verification, all its questions, and that the attestation was asked for."""
        self._forget(proving)
        for pending in proving.pending.values():
            self._forget(pending)
        proving.pending.clear()
        receiving = self.request_cache.get(RECEIVING, proving.number)
        if receiving is not None:
            self._forget(receiving)

    def _forget(self, cache: NumberCache) -> None:
        if self.request_cache.get(cache.prefix, cache.number) is cache:
            self.request_cache.pop(cache.prefix, cache.number)

    def _end_in_silence(self, proving: ProvingAttestationCache, on_timeout: Callable[[bytes], Any] | None) -> None:
        self._remove(proving)
        if on_timeout is not None:
            self._tell_program(on_timeout, proving.hash)

    def _end(self, proving: ProvingAttestationCache, aggregate: dict[Any, Any]) -> None:
        """Tell the program the result of a verification, once."""
        if self.request_cache.get(proving.prefix, proving.number) is proving:
            self._remove(proving)
            proving.attestation_callbacks(proving.hash, aggregate)

    def _end_as_failed(self, proving: ProvingAttestationCache) -> None:
        proving.is_refuted = True
        self._end(proving, self.get_id_algorithm(proving.id_format).create_certainty_aggregate(None))

    # The attestation arrives

    def _receive_shown(self, source_address: Address, peer: Peer, cache: ReceiveAttestationVerifyCache,
                       payload: AttestationChunkPayload) -> None:
        """Take a chunk of an attestation that was asked for."""
        if not self._was_asked(cache, source_address, peer):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        try:
            blob = cache.assembly.add(payload.sequence_number, payload.data)
        except ValueError:
            self.drops.count(DropCounter.UNDECODABLE)
            return
        cache.last_arrival = clock.monotonic()
        if blob is None:
            if cache.asked_again:
                cache.asked_again = False
                self.start_timer(RESEND_SECONDS, self._request_again, cache)
            return
        self.request_cache.pop(cache.prefix, cache.number)
        algorithm = self.get_id_algorithm(cache.id_format)
        try:
            attestation = algorithm.get_attestation_class().unserialize(blob, cache.id_format)
        except BAD_ATTESTATION as e:
            self.drops.count(DropCounter.UNDECODABLE)
            self.logger.info("The attestation %s of %s is none: %s", payload.attestation_hash.hex(), peer, e)
            proving = self.request_cache.get(*HashCache.id_from_hash(PROVING, payload.attestation_hash))
            if isinstance(proving, ProvingAttestationCache):
                self._end_as_failed(proving)
            return
        self.on_received_attestation(peer, attestation, payload.attestation_hash)

    def _was_asked(self, cache: ReceiveAttestationVerifyCache, source_address: Address, peer: Peer) -> bool:
        """Whether an attestation comes from whom it was asked for."""
        if cache.address is None or source_address == cache.address:
            return True
        known = self.network.get_verified_by_public_key_bin(peer.public_key.key_to_bin())
        return known is not None and cache.address in known.addresses.values()

    def on_received_attestation(self, peer: Peer, attestation: Attestation, attestation_hash: bytes) -> None:
        """Begin to ask questions about an attestation, in its public form, that is to be proved to us."""
        if attestation.id_format is None:
            self.logger.info("The attestation %s has no format", attestation_hash.hex())
            return
        proving = self.request_cache.get(*HashCache.id_from_hash(PROVING, attestation_hash))
        if not isinstance(proving, ProvingAttestationCache):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        algorithm = self.get_id_algorithm(attestation.id_format)
        try:
            algorithm.check_attestation(attestation)
        except ValueError as e:
            self._refuse_shown(proving, e)
            return
        proving.prover, proving.address = peer.mid, peer.address
        proving.public_key = attestation.PK
        proving.relativity_map = algorithm.create_certainty_aggregate(attestation)
        if algorithm.estimate("challenges") >= SLICE_MICROSECONDS:
            self.register_anonymous_task("verification", self._begin_later, proving, algorithm, attestation)
            return
        try:
            challenges = finish(algorithm.challenge_steps(attestation.PK, attestation))
        except BAD_ATTESTATION as e:
            self._refuse_shown(proving, e)
        else:
            self._begin(proving, algorithm, attestation, challenges)

    async def _begin_later(self, proving: ProvingAttestationCache, algorithm: IdentityAlgorithm[Any],
                           attestation: Attestation) -> None:
        try:
            challenges = await self.workshop.challenges(algorithm, self.schema_manager.formats[algorithm.id_format],
                                                        attestation)
        except BAD_ATTESTATION as e:
            self._refuse_shown(proving, e)
        else:
            self._begin(proving, algorithm, attestation, challenges)

    def _refuse_shown(self, proving: ProvingAttestationCache, error: Exception) -> None:
        self.logger.info("The attestation %s cannot be proved: %s", proving.hash.hex(), error)
        self._end_as_failed(proving)

    def _begin(self, proving: ProvingAttestationCache, algorithm: IdentityAlgorithm[Any], attestation: Attestation,
               challenges: list[bytes]) -> None:
        proving.challenges = list(challenges)
        proving.hashed_challenges = [challenge_hash(challenge) for challenge in challenges]
        proving.questioning = Questioning(algorithm, attestation, challenges)
        self.start_timer(RESEND_SECONDS, self._ask_again, proving)
        self._ask(proving)

    # Questions and answers

    def _ask(self, proving: ProvingAttestationCache) -> None:
        """Ask as many questions as may wait for answers; end the verification if there are none left."""
        questioning = proving.questioning
        if questioning is None or self.request_cache.get(proving.prefix, proving.number) is not proving:
            return
        while len(proving.pending) < MAX_IN_FLIGHT:
            question = questioning.draw()
            if question is None:
                break
            hashed = challenge_hash(question.challenge)
            if self.request_cache.has(*HashCache.id_from_hash(PENDING, hashed)):
                questioning.postpone(question)  # only keys of a few bits have the same challenge twice
                break
            pending = PendingChallengeCache(self, hashed, proving, proving.id_format, question.honesty, question)
            pending.timeout_callback = lambda: self._time_out(proving.hash)
            self.request_cache.add(pending)
            proving.pending[hashed] = pending
            self._send_question(proving, question)
            if questioning.costly:
                self.start_timer(0, self._ask, proving)  # the next question in a callback of its own
                break
        if questioning.is_over:
            self._end(proving, proving.relativity_map)

    def _send_question(self, proving: ProvingAttestationCache, question: Question) -> None:
        if proving.address is not None:
            self._send_payload(proving.address, ChallengePayload(proving.hash, question.challenge))

    def _ask_again(self, proving: ProvingAttestationCache) -> None:
        """Send the questions again whose answers should have arrived."""
        if self.request_cache.get(proving.prefix, proving.number) is not proving:
            return
        now = clock.monotonic()
        for pending in proving.pending.values():
            if pending.question is not None and pending.last_sent + RESEND_SECONDS <= now:
                pending.last_sent = now
                self._send_question(proving, pending.question)
        oldest = min((pending.last_sent for pending in proving.pending.values() if pending.question is not None),
                     default=now)
        self.start_timer(oldest + RESEND_SECONDS - now, self._ask_again, proving)

    def _receive_response(self, peer: Peer, payload: ChallengeResponsePayload) -> None:
        """Take the answer to a question."""
        pending = self.request_cache.get(*HashCache.id_from_hash(PENDING, payload.challenge_hash))
        if not isinstance(pending, PendingChallengeCache) or pending.question is None or (
                pending.proving_cache.questioning is None or pending.proving_cache.prover != peer.mid):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        proving, question = pending.proving_cache, pending.question
        self.request_cache.pop(pending.prefix, pending.number)
        proving.pending.pop(payload.challenge_hash, None)
        if question.place >= 0:
            proving.challenges.remove(question.challenge)
            proving.hashed_challenges.remove(payload.challenge_hash)
        assert proving.questioning is not None
        if proving.questioning.take(question, payload.response, proving.relativity_map):
            self._ask(proving)
        else:
            self.logger.info("%s lied about the attestation %s", peer, proving.hash.hex())
            self._end_as_failed(proving)
