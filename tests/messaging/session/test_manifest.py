"""The description of blobs, and requests for them (doc/protocol/blobs.md)."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from benchmarks.fuzz import run
from ipv8.messaging.session.manifest import (
    CHUNK_SIZE,
    HASH_SIZE,
    LARGEST_BLOB,
    MAX_MANIFEST,
    Manifest,
    Request,
    hash_of,
)
from ipv8.messaging.session.wire import MalformedError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sessions.json").read_text())["blobs"]


def manifests() -> st.SearchStrategy[Manifest]:
    return st.integers(0, 5 * CHUNK_SIZE).map(
        lambda size: Manifest.of(size, (hash_of(b"%d" % chunk) for chunk in range(-(-size // CHUNK_SIZE)))))


@pytest.mark.parametrize("vector", VECTORS, ids=[str(vector["size"]) for vector in VECTORS])
def test_vectors(vector: dict[str, Any]) -> None:
    manifest = Manifest.read(bytes.fromhex(vector["manifest"]))
    assert manifest.size == vector["size"]
    assert manifest.binary.hex() == vector["manifest"]
    assert manifest.id.hex() == vector["id"]
    content = bytes(7 * number % 251 for number in range(251)) * (vector["size"] // 251 + 1)
    for chunk in range(manifest.chunks):
        start = chunk * CHUNK_SIZE
        assert manifest.is_right(chunk, content[start : start + manifest.size_of(chunk)])


@given(manifests())
def test_what_is_written_is_read(manifest: Manifest) -> None:
    assert Manifest.read(manifest.binary) == manifest
    assert sum(map(manifest.size_of, range(manifest.chunks))) == manifest.size


@given(manifests(), st.integers(1, 200))
def test_a_manifest_with_a_part_of_a_hash_or_too_few_is_refused(manifest: Manifest, cut: int) -> None:
    with pytest.raises(MalformedError):
        Manifest.read(manifest.binary[:-cut])
    with pytest.raises(MalformedError):
        Manifest.read(manifest.binary + bytes(cut))


@given(st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_a_size_that_does_not_fit_is_refused(size: int, hashes: int) -> None:
    binary = size.to_bytes(8, "big") + bytes(HASH_SIZE * hashes)
    if -(-size // CHUNK_SIZE) == hashes:
        assert Manifest.read(binary).size == size
    else:
        with pytest.raises(MalformedError):
            Manifest.read(binary)


def test_the_largest_blob() -> None:
    largest = Manifest.of(LARGEST_BLOB, [bytes(HASH_SIZE * (LARGEST_BLOB // CHUNK_SIZE))])
    assert len(largest.binary) <= MAX_MANIFEST
    assert Manifest.read(largest.binary).chunks == 2**20 - 1
    with pytest.raises(ValueError, match="at most"):
        Manifest.of(LARGEST_BLOB + 1, [])
    with pytest.raises(MalformedError):
        Manifest.read(largest.binary + bytes(HASH_SIZE))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_requests_are_read(blob: bytes, first: int, count: int) -> None:
    for request in (Request(blob), Request(blob, first, count)):
        binary = request.binary
        assert len(binary) == 1 + Request.size_after(binary[0])
        assert Request.read(binary[0], binary[1:]) == request
        for wrong in (binary[1:-1], binary[1:] + b"\0"):
            with pytest.raises(MalformedError):
                Request.read(binary[0], wrong)


def test_the_bytes_of_requests() -> None:
    blob = bytes(range(32))
    assert Request(blob).binary == b"\0" + blob
    assert Request(blob, 1, 258).binary == b"\1" + blob + bytes.fromhex("0000000100000102")


@pytest.mark.parametrize("kind", range(2, 256))
def test_there_are_no_other_requests(kind: int) -> None:
    with pytest.raises(MalformedError):
        Request.read(kind, bytes(32))


def test_a_request_for_no_chunk_is_refused() -> None:
    with pytest.raises(MalformedError):
        Request.read(1, bytes(40))


def test_random_changes() -> None:
    said: list[str] = []
    assert run("manifest", 2000, Random(1).getrandbits(32), said.append), said
