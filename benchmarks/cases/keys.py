"""Keys of each kind: generating, signing, verifying, loading, and getting the public key."""

from __future__ import annotations

from os import urandom
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure, microseconds, microseconds_in_turn
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE = b"m" * 200
MANY_KEYS = 20_000


def measure() -> Iterator[Figure]:
    """Yield the cost of each operation for each kind of key, on messages of 200 bytes."""
    for level in ("curve25519", "very-low", "low", "medium", "high"):
        private = default_eccrypto.generate_key(level)
        public = private.pub()
        private_bin, public_bin = private.key_to_bin(), public.key_to_bin()
        signature = private.signature(MESSAGE)
        operations: dict[str, tuple[Any, ...]] = {
            "generate": (default_eccrypto.generate_key, level),
            "sign": (private.signature, MESSAGE),
            "verify": (public.verify, signature, MESSAGE),
            "load public again": (default_eccrypto.key_from_public_bin, public_bin),
            "load private": (default_eccrypto.key_from_private_bin, private_bin),
            "public half": (private.pub,),
            "public to bytes": (public.key_to_bin,),
            "hash": (public.key_to_hash,),
        }
        for name, operation in operations.items():
            yield Figure(f"{level} {name}", microseconds(*operation))

    strangers = [b"LibNaCLPK:" + urandom(64) for _ in range(MANY_KEYS)]
    yield Figure("curve25519 load public of a stranger",
                 microseconds_in_turn(default_eccrypto.key_from_public_bin, strangers))
    ours, theirs = (default_eccrypto.generate_key("curve25519") for _ in range(2))
    yield Figure("curve25519 shared secret", microseconds(ours.diffie_hellman, theirs.get_crypt_pk()))
