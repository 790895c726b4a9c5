"""The description of a blob and the requests for its parts (doc/protocol/blobs.md)."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from .wire import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CHUNK_SIZE", "HASH_SIZE", "LARGEST_BLOB", "MAX_MANIFEST", "STREAM_NAME", "Answer", "Manifest", "Request",
           "hash_of"]

STREAM_NAME: Final = "blob/1"
"""The name of the streams on which blobs are asked for."""

CHUNK_SIZE: Final = 1 << 20
HASH_SIZE: Final = 32
MAX_MANIFEST: Final = 32 << 20
"""Bytes of a manifest, at most."""

_MANIFEST, _CHUNKS = range(2)
"""The first byte of a request."""

_SIZE: Final = Struct(">Q")
_RANGE: Final = Struct(">II")
_LENGTH: Final = Struct(">I")

LARGEST_BLOB: Final = (MAX_MANIFEST - _SIZE.size) // HASH_SIZE * CHUNK_SIZE
"""Bytes of the largest blob that a manifest can describe."""


def hash_of(data: bytes | memoryview) -> bytes:
    """The hash of a chunk or of a manifest: BLAKE2b with 32 bytes of output (RFC 7693)."""
    return blake2b(data, digest_size=HASH_SIZE).digest()


class Manifest(NamedTuple):
    """The size of a blob, and the hashes of its chunks, one after the other.

    All chunks have :data:`CHUNK_SIZE` bytes, except for the last one, which has the rest.
    """

    size: int
    hashes: bytes

    @classmethod
    def of(cls, size: int, hashes: Iterable[bytes]) -> Manifest:
        """The manifest of a blob of ``size`` bytes, whose chunks have these hashes.

        :raises ValueError: if the blob is too large.
        """
        if size > LARGEST_BLOB:
            raise ValueError(f"a blob has at most {LARGEST_BLOB} bytes, not {size}")
        return cls(size, b"".join(hashes))

    @classmethod
    def read(cls, binary: bytes) -> Manifest:
        """Read what :attr:`binary` has made.

        :raises MalformedError: if the size and the number of hashes do not fit, or it is too long.
        """
        if not _SIZE.size <= len(binary) <= MAX_MANIFEST:
            raise MalformedError("size of the manifest")
        manifest = cls(_SIZE.unpack_from(binary)[0], binary[_SIZE.size :])
        if len(manifest.hashes) != HASH_SIZE * manifest.chunks:
            raise MalformedError("number of hashes")
        return manifest

    @property
    def binary(self) -> bytes:
        """The bytes that are sent, and that the id is made of."""
        return _SIZE.pack(self.size) + self.hashes

    @property
    def id(self) -> bytes:
        """The id of the blob: 32 bytes."""
        return hash_of(self.binary)

    @property
    def chunks(self) -> int:
        """The number of chunks; none for an empty blob."""
        return _chunks_of(self.size)

    def size_of(self, chunk: int) -> int:
        """Bytes of a chunk, given by its number."""
        return min(CHUNK_SIZE, self.size - chunk * CHUNK_SIZE)

    def is_right(self, chunk: int, data: bytes | memoryview) -> bool:
        """Whether these are the bytes of the chunk with that number."""
        return hash_of(data) == self.hashes[chunk * HASH_SIZE : (chunk + 1) * HASH_SIZE]


def _chunks_of(size: int) -> int:
    return -(-size // CHUNK_SIZE)


class Answer:
    """The first byte of an answer."""

    HERE: Final = b"\x00"
    NOT_HERE: Final = b"\x01"

    LENGTH: Final = _LENGTH
    """What follows :attr:`HERE` in the answer to a request for a manifest: its size."""


class Request(NamedTuple):
    """A request for the manifest of a blob, or for some of its chunks.

    ``number`` is 0 in a request for a manifest.
    """

    blob: bytes
    first: int = 0
    number: int = 0

    @property
    def binary(self) -> bytes:
        """The bytes that are sent."""
        if not self.number:
            return bytes((_MANIFEST,)) + self.blob
        return bytes((_CHUNKS,)) + self.blob + _RANGE.pack(self.first, self.number)

    @staticmethod
    def size_after(kind: int) -> int:
        """The bytes that follow the first byte of a request.

        :raises MalformedError: if there is no such request.
        """
        if kind not in {_MANIFEST, _CHUNKS}:
            raise MalformedError("kind of request")
        return HASH_SIZE + (_RANGE.size if kind == _CHUNKS else 0)

    @classmethod
    def read(cls, kind: int, rest: bytes) -> Request:
        """Read a request, given by its first byte and what follows.

        :raises MalformedError: if it has another size, or asks for no chunk.
        """
        if len(rest) != cls.size_after(kind):
            raise MalformedError("size of the request")
        if kind == _MANIFEST:
            return cls(rest)
        request = cls(rest[:HASH_SIZE], *_RANGE.unpack_from(rest, HASH_SIZE))
        if not request.number:
            raise MalformedError("no chunks")
        return request
