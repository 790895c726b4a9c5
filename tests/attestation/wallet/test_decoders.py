"""Everything that is read from the network: round trips, truncation, changed bytes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.schema.manager import SchemaManager
from ipv8.attestation.wallet.base import BAD_ATTESTATION
from ipv8.attestation.wallet.bonehexact.structs import BonehAttestation
from ipv8.attestation.wallet.chunks import MAX_CHUNK_BYTES, MAX_CHUNKS, ChunkAssembly, chunks_of
from ipv8.attestation.wallet.enrolment import EnrolmentProtocol
from ipv8.attestation.wallet.payload import (
    AttestationChunkPayload,
    ChallengePayload,
    ChallengeResponsePayload,
    RequestAttestationPayload,
    VerifyAttestationRequestPayload,
)
from ipv8.attestation.wallet.pengbaorange.boudot import EL, SQR
from ipv8.attestation.wallet.pengbaorange.structs import (
    PengBaoAttestation,
    PengBaoCommitment,
    PengBaoCommitmentPrivate,
    PengBaoPublicData,
)
from ipv8.attestation.wallet.questions import challenge_hash
from ipv8.attestation.wallet.validation import KeyRefusedError, check_public_key
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.serialization import PackError, default_serializer

from .vectors import SAMPLES, VECTORS, secret_key

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = {cls.msg_id: cls for cls in (
    VerifyAttestationRequestPayload, AttestationChunkPayload, ChallengePayload, ChallengeResponsePayload,
    RequestAttestationPayload)}

quick = settings(deadline=None, max_examples=150)


# Messages

@pytest.mark.parametrize("case", VECTORS["packets"]["cases"], ids=lambda case: case["name"])
def test_packets_of_the_vectors(case: dict[str, Any]) -> None:
    packet = bytes.fromhex(case["packet"])
    kind = MESSAGES[case["msg_id"]]
    assert kind.__name__ == case["name"]
    key = default_eccrypto.key_from_private_bin(bytes.fromhex(VECTORS["packets"]["private_key"]))
    header = packet[:23] + b"\x00\x4a" + key.pub().key_to_bin() + case["global_time"].to_bytes(8, "big")
    assert packet.startswith(header)
    assert packet[:23].hex() == "0002b42c93d167a0fc4a0843f917d4bf1e9ebb340ec4" + f"{case['msg_id']:02x}"
    body, signature = packet[len(header):-64], packet[-64:]
    assert default_eccrypto.is_valid_signature(key.pub(), packet[:-64], signature)
    payload, end = default_serializer.unpack_serializable(kind, body)
    assert end == len(body)
    for name, expected in case["fields"].items():
        found = getattr(payload, name)
        if isinstance(found, int):
            assert found == int(expected)
        else:
            assert expected in (found.hex(), found.decode("latin-1"))
    assert default_serializer.pack_serializable(payload) == body


hashes = st.binary(min_size=20, max_size=20)
messages = st.one_of(
    st.builds(VerifyAttestationRequestPayload, hashes),
    st.builds(AttestationChunkPayload, hashes, st.integers(0, 65535), st.binary(max_size=900)),
    st.builds(ChallengePayload, hashes, st.binary(max_size=300)),
    st.builds(ChallengeResponsePayload, hashes, st.binary(max_size=300)),
    st.builds(RequestAttestationPayload, st.binary(max_size=300)))


@given(messages)
@quick
def test_messages_round_trip(message: Any) -> None:
    packed = default_serializer.pack_serializable(message)
    again, end = default_serializer.unpack_serializable(type(message), packed)
    assert end == len(packed)
    assert vars(again) == vars(message)


@given(st.sampled_from(list(MESSAGES.values())), st.binary(max_size=60))
@quick
def test_any_bytes_as_messages(kind: Any, data: bytes) -> None:
    try:
        message, end = default_serializer.unpack_serializable(kind, data)
    except PackError:
        assert len(data) < 22
        return
    assert default_serializer.pack_serializable(message) == data[:end]


class Reader:
    """What is needed to read a request."""

    def get_id_algorithm(self, id_format: str) -> Any:
        return make(id_format)


names = st.text(max_size=10) | st.sampled_from(list(FORMATS))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)
requests = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("attribute", "public_key", "id_format", "more"), json_values))


@given(st.binary(max_size=100) | (json_values | requests).map(lambda found: json.dumps(found).encode()))
@quick
def test_any_request(content: bytes) -> None:
    reader: Any = Reader()
    with suppress(*BAD_ATTESTATION):
        pytest.fail(f"accepted: {EnrolmentProtocol._read_request(reader, content)}")


def test_hash_of_a_challenge() -> None:
    challenge = bytes.fromhex(VECTORS["bonehexact"][0]["pairs"][0]["challenge"])
    assert challenge_hash(challenge).hex() == "0f68413e100cc06ce60cbd59df6732bd80c8e97a"


# Chunks

@given(st.binary(max_size=5000), st.randoms(use_true_random=False))
@quick
def test_chunks_in_any_order_and_several_times(blob: bytes, rng: Any) -> None:
    chunks = list(enumerate(chunks_of(blob)))
    rng.shuffle(chunks)
    assembly = ChunkAssembly(challenge_hash(blob))
    complete: list[bytes | None] = []
    for number, data in chunks:
        complete.extend(assembly.add(number, data) for _ in range(rng.randint(1, 2)))
    assert complete.count(blob) == (1 if chunks else 0)
    assert not chunks or blob in complete[-2:]


def test_wrong_chunks_never_complete_anything() -> None:
    blob = bytes(2000)
    assembly = ChunkAssembly(challenge_hash(blob))
    one, two, three = chunks_of(blob)
    assert assembly.add(0, one) is None
    assert assembly.add(1, b"x" * 800) is None
    assert assembly.add(1, two) is None, "the first one counts"
    assert assembly.add(2, three) is None


def test_limits_of_chunks() -> None:
    assembly = ChunkAssembly(bytes(20))
    with pytest.raises(ValueError, match="too long"):
        assembly.add(MAX_CHUNKS, b"")
    assembly.add(0, bytes(MAX_CHUNK_BYTES))
    with pytest.raises(ValueError, match="too long"):
        assembly.add(1, b"x")
    assert list(assembly.chunks) == [0]
    for number in range(1, MAX_CHUNKS):
        assembly.add(number, b"")
    assert len(assembly.chunks) == MAX_CHUNKS


# Attestations, proofs and keys

DECODERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    **{name: (bytes.fromhex(SAMPLES[name]["blob"]), BonehAttestation.unserialize)
       for name in FORMATS if "range" not in name},
    "range": (bytes.fromhex(SAMPLES["id_metadata_range_18plus"]["public_blob"]), PengBaoAttestation.unserialize),
    "public data": (bytes.fromhex(VECTORS["pengbaorange"][0]["public_blob"]),
                    lambda data: PengBaoPublicData.unserialize(data)[0]),
    "private numbers": (bytes.fromhex(VECTORS["pengbaorange"][0]["private_serialized"]),
                        lambda data: PengBaoCommitmentPrivate.unserialize(data)[0]),
    "EL": (bytes.fromhex(VECTORS["pengbaorange"][0]["el_serialized"]), lambda data: EL.unserialize(data)[0]),
    "SQR": (bytes.fromhex(VECTORS["pengbaorange"][0]["sqr1_serialized"]), lambda data: SQR.unserialize(data)[0]),
    "commitments": (PengBaoPublicData.unserialize(bytes.fromhex(
        VECTORS["pengbaorange"][0]["public_blob"]))[0].commitment.serialize(),
        lambda data: PengBaoCommitment.unserialize(data)[0]),
}


def decoded(decode: Callable[[bytes], Any], data: bytes) -> bytes | None:
    """What is decoded, encoded again; ``None`` if it is refused in a way that the overlay knows."""
    try:
        encoded: bytes = decode(data).serialize()
    except BAD_ATTESTATION:
        return None
    return encoded


@pytest.mark.parametrize("name", DECODERS)
def test_round_trip(name: str) -> None:
    data, decode = DECODERS[name]
    assert decoded(decode, data) == data


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in ("id_metadata_big", "id_metadata_huge")])
@given(data=st.data())
@quick
def test_truncated_and_changed(name: str, data: Any) -> None:
    whole, decode = DECODERS[name]
    changed = bytearray(whole[:data.draw(st.integers(0, len(whole)))])
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        if position < len(changed):
            changed[position] = data.draw(st.integers(0, 255))
    decoded(decode, bytes(changed))


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=300))
@quick
def test_any_bytes(name: str, data: bytes) -> None:
    decoded(DECODERS[name][1], data)


@pytest.mark.parametrize("name", ["range"])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_changed_range_attestations_are_never_proved(name: str, data: Any) -> None:
    """Whatever is changed in the public form, the proof fails, and nothing is raised."""
    whole, decode = DECODERS[name]
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:position] + bytes((whole[position] ^ data.draw(st.integers(1, 255)),)) + whole[position + 1:]
    algorithm: Any = make("id_metadata_range_18plus")
    key = secret_key(bytes.fromhex(SAMPLES["id_metadata_range_18plus"]["secret_key"]))
    private = PengBaoAttestation.unserialize_private(
        key, bytes.fromhex(SAMPLES["id_metadata_range_18plus"]["blob"]))
    try:
        attestation = decode(changed)
        algorithm.check_public_key(attestation.PK)
    except BAD_ATTESTATION:
        return
    if attestation.serialize() == whole or attestation.publicdata.bitspace != 32:
        return  # lengths have several forms, and the bits are not part of the proof
    aggregate = algorithm.create_certainty_aggregate(attestation)
    challenge, = algorithm.create_challenges(attestation.PK, attestation)
    response = algorithm.create_challenge_response(key, private, challenge)
    algorithm.process_challenge_response(aggregate, challenge, response)
    assert algorithm.certainty(b"\x01", aggregate) == 0


def make(id_format: str) -> Any:
    schemas = SchemaManager()
    schemas.register_default_schemas()
    return schemas.get_algorithm_instance(id_format)


@pytest.mark.parametrize("id_format", FORMATS)
@given(challenge=st.binary(max_size=80))
@quick
def test_any_challenge(id_format: str, challenge: bytes) -> None:
    algorithm = make(id_format)
    sample = SAMPLES[id_format]
    key = algorithm.load_secret_key(bytes.fromhex(sample["secret_key"]))
    attestation = algorithm.get_attestation_class().unserialize_private(key, bytes.fromhex(sample["blob"]), id_format)
    try:
        response = algorithm.create_challenge_response(key, attestation, challenge)
    except BAD_ATTESTATION:
        return
    assert response


# Keys from the network

def test_the_keys_of_all_formats_are_accepted() -> None:
    for id_format in FORMATS:
        algorithm = make(id_format)
        for _ in range(5):
            algorithm.check_public_key(algorithm.generate_secret_key().public_key())


def changed_key(**changes: Any) -> Any:
    key = secret_key().public_key()
    for name, number in changes.items():
        setattr(key, name, number)
    return key


def test_keys_that_are_refused() -> None:
    from ipv8.attestation.wallet.primitives.value import FP2Value

    key = secret_key()
    larger = make("id_metadata_big").generate_secret_key().public_key()
    with pytest.raises(KeyRefusedError, match="too long"):
        check_public_key(larger, 32)
    check_public_key(key, 64)  # programs use short keys in their tests
    one = FP2Value(key.p, 1)
    for changes in ({"g": one}, {"h": one}, {"g": FP2Value(key.p, 5, 6)}, {"h": FP2Value(key.p)}):
        with pytest.raises(KeyRefusedError, match="norm 1"):
            check_public_key(changed_key(**changes), 32)
    x = FP2Value(key.p - 2, 0, 1)  # of norm 1 for any modulus
    for modulus in (key.p - 2, key.p + 2):
        with pytest.raises(KeyRefusedError, match="prime"):
            check_public_key(changed_key(p=modulus, g=FP2Value(modulus, x.a, x.b), h=FP2Value(modulus, 0, 1)), 32)
