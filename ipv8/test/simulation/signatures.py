"""A stand-in for Ed25519 that costs a hash: for large simulations only.

Signer and verifier live in one process, so the verifier may look the signer's secret up. Packets keep their lengths,
other people's keys and altered packets are rejected, but a signature means nothing outside of the simulation.
"""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from ...keyvault.backend import provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...keyvault.backend.provider import Provider, Signer

__all__ = ["StandInProvider", "stand_in_signatures"]

SIGNATURE_SIZE = 64


class _StandInSigner:
    """A secret that signs by keyed hash."""

    __slots__ = ("_seed", "verify_key")

    def __init__(self, seed: bytes, verify_key: bytes) -> None:
        self._seed = seed
        self.verify_key = verify_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte keyed hash."""
        return blake2b(message, digest_size=SIGNATURE_SIZE, key=self._seed).digest()


class StandInProvider:
    """Keys are the real ones, X25519 is the real one, signatures are not.

    What a key that was made elsewhere signs is verified for real. Once closed, no stand-in is accepted any more.
    """

    def __init__(self, real: Provider) -> None:
        self.name = "stand-in"
        self._real = real
        self._seeds: dict[bytes, bytes] = {}
        self._open = True

    def signer(self, seed: bytes) -> Signer:
        """A signer that stays with what it was made as: a real one once the provider is closed."""
        real = self._real.signer(seed)
        if not self._open:
            return real
        self._seeds[real.verify_key] = seed
        return _StandInSigner(seed, real.verify_key)

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether a signer of this provider made the signature, or a real one did."""
        seed = self._seeds.get(verify_key)
        if seed is None:
            return self._real.verify(verify_key, signature, message)
        return blake2b(message, digest_size=SIGNATURE_SIZE, key=seed).digest() == signature

    def crypt_public(self, secret: bytes) -> bytes:
        """The real X25519 public key."""
        return self._real.crypt_public(secret)

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """The real shared secret."""
        return self._real.shared(secret, peer)

    def close(self) -> None:
        """Forget all signers, and verify for real from now on."""
        self._open = False
        self._seeds.clear()


@contextmanager
def stand_in_signatures() -> Iterator[StandInProvider]:
    """Let curve25519 keys that are made inside a ``with`` block sign with the stand-in."""
    stand_in = StandInProvider(provider.current())
    try:
        with provider.use(stand_in):
            yield stand_in
    finally:
        stand_in.close()
