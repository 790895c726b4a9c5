"""A stand-in for Ed25519 that costs as much as a hash, for large simulations.

Signer and verifier are in the same process, so the verifier can look up the secret of the signer. Packets keep their
lengths; packets that were altered or signed with another key are rejected. Outside of the simulation, the signatures
are not valid.
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
    """A secret that signs with a keyed hash."""

    __slots__ = ("_seed", "verify_key")

    def __init__(self, seed: bytes, verify_key: bytes) -> None:
        self._seed = seed
        self.verify_key = verify_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte keyed hash."""
        return blake2b(message, digest_size=SIGNATURE_SIZE, key=self._seed).digest()


class StandInProvider:
    """A provider of cryptography with real keys, real X25519, and stand-in signatures.

    Signatures by keys that were made elsewhere are verified as Ed25519. After :meth:`close`, no stand-in is accepted.
    """

    def __init__(self, real: Provider) -> None:
        self.name = "stand-in"
        self._real = real
        self._seeds: dict[bytes, bytes] = {}
        self._open = True

    def signer(self, seed: bytes) -> Signer:
        """A signer for a key. One that is made after :meth:`close` makes Ed25519 signatures."""
        real = self._real.signer(seed)
        if not self._open:
            return real
        self._seeds[real.verify_key] = seed
        return _StandInSigner(seed, real.verify_key)

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the signature is valid, as a stand-in or as Ed25519."""
        seed = self._seeds.get(verify_key)
        if seed is None:
            return self._real.verify(verify_key, signature, message)
        return blake2b(message, digest_size=SIGNATURE_SIZE, key=seed).digest() == signature

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key."""
        return self._real.crypt_public(secret)

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """The X25519 shared secret."""
        return self._real.shared(secret, peer)

    def close(self) -> None:
        """Remove all signers. From now on, only Ed25519 signatures are valid."""
        self._open = False
        self._seeds.clear()


@contextmanager
def stand_in_signatures() -> Iterator[StandInProvider]:
    """Let curve25519 keys that are made inside a ``with`` block sign with stand-in signatures."""
    stand_in = StandInProvider(provider.current())
    try:
        with provider.use(stand_in):
            yield stand_in
    finally:
        stand_in.close()
