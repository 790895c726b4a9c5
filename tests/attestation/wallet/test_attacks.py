"""Attacks on the historic formats, and how they end (doc/attestation.md).

Those that no other implementation would notice the cure of are cured. The others succeed here as well, which is why
these formats have a warning.
"""

from __future__ import annotations

import random
from math import gcd
from typing import Any

import pytest

from ipv8 import entropy
from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.bonehexact.attestation import binary_relativity_sha256_4, create_challenge_response
from ipv8.attestation.wallet.bonehexact.structs import BonehAttestation
from ipv8.attestation.wallet.payload import (
    ChallengePayload,
    ChallengeResponsePayload,
    VerifyAttestationRequestPayload,
)
from ipv8.attestation.wallet.pengbaorange.algorithm import PengBaoRangeAlgorithm
from ipv8.attestation.wallet.pengbaorange.structs import PengBaoPublicData
from ipv8.attestation.wallet.primitives.boneh import generate_keypair
from ipv8.attestation.wallet.primitives.primes import SMALL_PRIMES, is_prime
from ipv8.attestation.wallet.primitives.structs import BonehPrivateKey, BonehPublicKey
from ipv8.attestation.wallet.questions import challenge_hash

from .base import HASH, VALUE, WalletTestBase
from .vectors import SAMPLES, VECTORS

BLOB = bytes.fromhex(SAMPLES["id_metadata"]["blob"])


# Succeeds: keys are broken

def factor(number: int, limit: int) -> int | None:
    """A factor, by the rho method of J. M. Pollard; ``None`` if none is found in ``limit`` steps."""
    for increment in range(1, 20):
        slow = fast = 2
        product, steps = 1, 0
        while steps < limit:
            for _ in range(200):
                slow = (slow * slow + increment) % number
                fast = (fast * fast + increment) % number
                fast = (fast * fast + increment) % number
                product = product * (slow - fast) % number
            steps += 200
            found = gcd(product, number)
            if 1 < found < number:
                return found
            if found == number:
                break
    return None


def break_key(public: BonehPublicKey, limit: int = 400_000) -> BonehPrivateKey | None:
    """The private key, found from the public one alone."""
    n = public.p + 1
    for prime in SMALL_PRIMES:
        while n % prime == 0:
            n //= prime
    found = None if is_prime(n) else factor(n, limit)
    if found is None:
        return None
    for t1 in (found, n // found):
        if public.h.intpow(t1).wp_compress().to_element() == (1, 0):
            return BonehPrivateKey(public.p, public.g, public.h, n, t1)
    return None


def test_the_keys_of_id_metadata_are_broken_in_a_moment() -> None:
    attestation = BonehAttestation.unserialize(BLOB)
    broken = break_key(attestation.PK)
    assert broken is not None
    assert broken.t1 == int(VECTORS["secret_keys"][0]["t1"])
    sums = [create_challenge_response(broken, pair.compress()) for pair in attestation.bitpairs]
    assert {k: sums.count(k) for k in range(4)} == binary_relativity_sha256_4(VALUE), "all is read without a question"


def test_this_way_does_not_break_larger_keys() -> None:
    """Better ways break those of ``id_metadata_big`` and ``id_metadata_huge`` as well."""
    assert break_key(generate_keypair(96)[0], 20_000) is None


# Succeeds: only counts are proved

def test_other_values_with_the_same_counts_are_accepted() -> None:
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    counts = binary_relativity_sha256_4(VALUE)
    others = [b"other %d" % i for i in range(1000) if binary_relativity_sha256_4(b"other %d" % i) == counts]
    assert 5 < len(others) < 60, "about one of 36 values"
    assert all(algorithm.certainty(other, counts) == algorithm.certainty(VALUE, counts) > 0.9999 for other in others)


def test_values_that_are_easily_guessed_are_guessed() -> None:
    """Whoever may verify tries all values, as there is nothing random in what is attested."""
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    counts = binary_relativity_sha256_4(b"1987-04-21")
    years = [b"%d-04-21" % year for year in range(1900, 2020)]
    assert b"1987-04-21" in [year for year in years if algorithm.certainty(year, counts) > 0.9]


# Cured: range proofs give the number away

def extracted(data: PengBaoPublicData, last: int) -> int:
    return last + 1 - data.el.D // data.el.c


def test_numbers_are_read_from_range_proofs_of_other_implementations_and_not_from_ours() -> None:
    for case in VECTORS["pengbaorange"]:
        data = PengBaoPublicData.unserialize(bytes.fromhex(case["public_blob"]))[0]
        assert extracted(data, case["max"]) == case["value"]
    algorithm = PengBaoRangeAlgorithm("id_metadata_range_18plus", FORMATS)
    for number in range(18, 200, 9):
        key = algorithm.generate_secret_key().public_key()
        data = PengBaoPublicData.unserialize(algorithm.attest(key, bytes((number,))))[0]
        assert not 18 <= extracted(data, 200) <= 200
        for proof in (data.el, data.sqr1.el, data.sqr2.el):
            for hidden in (proof.D, proof.D1, proof.D2):
                assert abs(hidden) // proof.c > 1 << 100, "nothing that is hidden is a quotient"


# Cured: a prover lies in the beginning, where it was never checked. Statistics are in test_questions.py.

class TestAttacks(WalletTestBase):
    count = 3

    async def test_lies_about_the_first_ten_questions(self) -> None:
        self.give()
        caught = 0
        for seed in range(20):
            answered = [0]

            class Forger(BonehExactAlgorithm):
                def create_challenge_response(self, SK: Any, attestation: Any, challenge: bytes,
                                              answered: list[int] = answered) -> bytes:
                    true = super().create_challenge_response(SK, attestation, challenge)
                    answered[0] += 1
                    return bytes(((true[0] + 1) % 3,)) if answered[0] <= 10 else true

            prover = self.overlay(0)
            prover.get_id_algorithm = lambda id_format, kind=Forger: kind(id_format, FORMATS)
            with entropy.use(random.Random(seed)):
                certainty, = await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata")
            caught += certainty == 0
        assert caught == 20

    async def test_one_packet_does_not_stop_a_verifier(self) -> None:
        """A response of 4 used to leave a lock taken, on which the next response waited for ever."""
        self.give()
        self.overlay(0).get_id_algorithm = lambda id_format: Four(id_format, FORMATS)
        assert await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata") == [0.0]
        del self.overlay(0).get_id_algorithm
        assert (await self.overlay(1).verify_async(self.address(0), HASH, [VALUE], "id_metadata"))[0] > 0.99

    # Succeeds: proofs are passed on

    async def test_a_verifier_passes_a_proof_on_as_its_own(self) -> None:
        """Node 2 has nothing, but node 0 proves something to it, and it proves just that to node 1."""
        self.give()
        relay = self.overlay(2)
        waiting: dict[bytes, Any] = {}

        async def obtain(peer: Any, attestation_hash: bytes) -> None:
            relay.create_verify_attestation_request(self.address(0), attestation_hash, "id_metadata")
            await self.until(lambda: shown)
            relay.send_attestation(peer.address, shown[0].serialize())

        shown: list[Any] = []
        relay.on_received_attestation = lambda peer, attestation, attestation_hash: shown.append(attestation)
        relay._handle_verification = lambda peer, global_time, attestation_hash: obtain(peer, attestation_hash)

        def pass_question(peer: Any, payload: Any) -> None:
            waiting[challenge_hash(payload.challenge)] = peer.address
            relay._send_payload(self.address(0), ChallengePayload(HASH, payload.challenge))

        def pass_answer(peer: Any, payload: Any) -> None:
            relay._send_payload(waiting[payload.challenge_hash],
                                ChallengeResponsePayload(payload.challenge_hash, payload.response))

        relay._answer, relay._receive_response = pass_question, pass_answer
        certainty, = await self.overlay(1).verify_async(self.address(2), HASH, [VALUE], "id_metadata")
        assert certainty > 0.9999
        assert VerifyAttestationRequestPayload.msg_id == 1


class Four(BonehExactAlgorithm):
    """Answers what is no answer."""

    def create_challenge_response(self, *arguments: Any) -> bytes:
        return b"\x04"


@pytest.mark.parametrize("id_format", FORMATS)
def test_all_default_formats_say_that_they_are_weak(id_format: str) -> None:
    kind: Any = PengBaoRangeAlgorithm if "range" in id_format else BonehExactAlgorithm
    assert kind.weakness
