"""Attestations in transit: cut into chunks, and put together again."""

from __future__ import annotations

from hashlib import sha1

__all__ = ["CHUNK_SIZE", "ChunkAssembly", "chunks_of"]

CHUNK_SIZE = 800
"""Bytes of a chunk."""

MAX_CHUNKS = 256
"""Chunks of an attestation; further ones are refused."""

MAX_CHUNK_BYTES = 256 * 1024
"""Bytes of the chunks of an attestation together; further ones are refused."""


def chunks_of(blob: bytes) -> list[bytes]:
    """The chunks of a blob."""
    return [blob[i:i + CHUNK_SIZE] for i in range(0, len(blob), CHUNK_SIZE)]


class ChunkAssembly:
    """Chunks that arrive in any order. The number of chunks is not known: all are there when the hash is right.

    Each byte is hashed once.

    :param blob_hash: the SHA-1 of the blob.
    :param largest: the bytes of the largest blob that is accepted, :data:`MAX_CHUNK_BYTES` at most.
    """

    def __init__(self, blob_hash: bytes, largest: int = MAX_CHUNK_BYTES) -> None:
        self.blob_hash = blob_hash
        self.largest = min(largest, MAX_CHUNK_BYTES)
        self.chunks: dict[int, bytes] = {}
        self._hash = sha1(usedforsecurity=False)
        self._hashed = 0
        self._size = 0

    def add(self, sequence_number: int, data: bytes) -> bytes | None:
        """Take a chunk, unless there is one with that number; the blob if it is complete now.

        :raises ValueError: if there are too many chunks or bytes.
        """
        if sequence_number in self.chunks:
            return None
        if sequence_number >= MAX_CHUNKS or self._size + len(data) > self.largest:
            raise ValueError("the attestation is too long")
        self.chunks[sequence_number] = data
        self._size += len(data)
        while self._hashed in self.chunks:
            self._hash.update(self.chunks[self._hashed])
            self._hashed += 1
        if self._hashed < len(self.chunks) or self._hash.digest() != self.blob_hash:
            return None
        return b"".join(self.chunks[number] for number in range(self._hashed))
