"""Signatures of blocks that were verified already, and verifying many of them in several threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ...keyvault.crypto import default_eccrypto
from ...limits import BoundedDict
from ...messaging.serialization import PackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .block import TrustChainBlock

__all__ = ["SignatureCache", "signatures", "verify_ahead"]

MAX_VERIFIED = 16384
"""How many signatures are remembered; the oldest is forgotten first."""

AHEAD_MINIMUM = 8
"""Fewer blocks than this are not worth handing to other threads."""

THREADS = 4


class SignatureCache:
    """Remembers signatures that are valid, so that a block which arrives again is not verified again.

    :param capacity: how many are remembered.
    """

    def __init__(self, capacity: int = MAX_VERIFIED) -> None:
        self._valid: BoundedDict[bytes, None] = BoundedDict(capacity)

    def __len__(self) -> int:
        return len(self._valid)

    @property
    def capacity(self) -> int:
        """How many are remembered."""
        return self._valid.capacity

    def __contains__(self, digest: bytes) -> bool:
        """Whether the signature of the block with this SHA-256 was found to be valid."""
        return digest in self._valid

    def clear(self) -> None:
        """Forget all of them."""
        self._valid.clear()

    def remember(self, digest: bytes) -> None:
        """Note that the signature of the block with this SHA-256 is valid."""
        self._valid[digest] = None


signatures = SignatureCache()
"""The cache of the process. What it holds depends on nothing but the bytes of blocks."""


def _verify(signed: list[tuple[bytes, bytes, bytes]]) -> list[bool]:
    verdicts = []
    for public_key, data, signature in signed:
        try:
            key = default_eccrypto.key_from_network(public_key)
        except ValueError:
            verdicts.append(False)
            continue
        verdicts.append(default_eccrypto.is_valid_signature(key, data, signature))
    return verdicts


_pool: ThreadPoolExecutor | None = None


def verify_ahead(blocks: Sequence[TrustChainBlock]) -> None:
    """Verify the signatures of blocks on all cores, so that their validation finds the valid ones in the cache."""
    global _pool  # noqa: PLW0603 - made once, when it is needed first
    digests, signed = [], []
    for block in blocks:
        try:
            digest, data = block.signed_bytes()
        except PackError:
            continue
        if digest not in signatures:
            digests.append(digest)
            signed.append((block.public_key, data, block.signature))
    threads = min(THREADS, os.cpu_count() or 1)
    if threads < 2 or len(signed) < AHEAD_MINIMUM:
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(THREADS - 1, "trustchain-signatures")
    share = -(-len(signed) // threads)
    others = [_pool.submit(_verify, signed[start:start + share]) for start in range(share, len(signed), share)]
    verdicts = _verify(signed[:share])
    for other in others:
        verdicts += other.result()
    for digest, valid in zip(digests, verdicts, strict=True):
        if valid:
            signatures.remember(digest)
