"""Metadata and attestations: the vectors, and what others may have made of them."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.identity.attestation import Attestation, IdentityAttestation
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.identity.payload import (
    AttestPayload,
    DisclosePayload,
    MissingResponsePayload,
    RequestMissingPayload,
)
from ipv8.attestation.tokentree.token import Token
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload
from ipv8.messaging.serialization import default_serializer

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = default_eccrypto.generate_key("curve25519")
PREFIX = b"\x00\x02" + bytes.fromhex("d5889074c1e4c50423cdb6e9307ee0ca5695ead7")


@pytest.fixture
def vectors(load_vectors: Callable[[str], Any]) -> Any:
    return load_vectors("identity")


def keys(vectors: Any) -> tuple[Any, Any]:
    loaded = [default_eccrypto.key_from_private_bin(bytes.fromhex(key["private_bin"])) for key in vectors["keys"]]
    return loaded[vectors["roles"]["owner"]], loaded[vectors["roles"]["authority"]]


def test_metadata_vector(vectors: Any) -> None:
    owner, _ = keys(vectors)
    vector = vectors["metadata"]
    metadata = Metadata(bytes.fromhex(vector["token_pointer"]), vector["json"].encode(), owner)
    assert metadata.get_plaintext_signed().hex() == vector["serialized"]
    assert metadata.get_hash().hex() == vector["hash"]
    assert str(metadata) == vector["str"]
    assert Metadata.unserialize(bytes.fromhex(vector["serialized"]), owner.pub()) == metadata
    assert metadata.get_dict() == json.loads(vector["json"])


def test_attestation_vector(vectors: Any) -> None:
    _, authority = keys(vectors)
    vector = vectors["attestation"]
    attestation = Attestation(bytes.fromhex(vector["metadata_pointer"]), authority)
    assert attestation.get_plaintext_signed().hex() == vector["serialized"]
    assert attestation.get_hash().hex() == vector["hash"]
    assert str(attestation) == vector["str"]
    assert Attestation.unserialize(bytes.fromhex(vector["serialized"]), authority.pub()) == attestation
    assert IdentityAttestation is Attestation


@pytest.mark.parametrize("payload_class", [DisclosePayload, AttestPayload, RequestMissingPayload,
                                           MissingResponsePayload])
def test_packet_vectors(vectors: Any, payload_class: Any) -> None:
    vector = next(packet for packet in vectors["packets"] if packet["name"] == payload_class.__name__)
    signer = default_eccrypto.key_from_private_bin(bytes.fromhex(vectors["keys"][vector["signer"]]["private_bin"]))
    fields = {name: value if isinstance(value, int) else bytes.fromhex(value)
              for name, value in vector["fields"].items()}
    payload = payload_class(**fields)
    assert payload.msg_id == vector["msg_id"]
    packet = PREFIX + bytes([payload.msg_id]) + default_serializer.pack_serializable_list(
        [BinMemberAuthenticationPayload(signer.pub().key_to_bin()), payload])
    complete = bytes.fromhex(next(value for name, value in vector.items() if name in {"packet", "hex", "data"}))
    assert packet + signer.signature(packet) == complete


def test_metadata_describes_a_token() -> None:
    token = Token(bytes(32), content=b"a", private_key=KEY)
    metadata = Metadata.create(token, {"name": "ü", "n": 1}, KEY)
    assert metadata.token_pointer == token.get_hash()
    assert metadata.serialized_json_dict == b'{"name": "\\u00fc", "n": 1}'
    assert Metadata.from_database_tuple(*metadata.to_database_tuple()) == metadata
    attestation = Attestation.create(metadata, KEY)
    assert attestation.verify(KEY.pub())
    assert Attestation.from_database_tuple(*attestation.to_database_tuple()) == attestation


def test_metadata_has_no_offset() -> None:
    with pytest.raises(RuntimeError, match="Offset"):
        Metadata.unserialize(bytes(200), KEY.pub(), 1)


@pytest.mark.parametrize("text", [
    b"[1]", b"1", b"", b"\xff", b"{", b"[" * 100_000, b'{"a":' * 65 + b"1" + b"}" * 65,
    b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", b'{"a":NaN}', b'{"a":[-Infinity]}', b'{"a":{"b":1e999}}'])
def test_metadata_that_is_no_object_is_an_empty_dict(text: bytes) -> None:
    assert Metadata(bytes(32), text, KEY).get_dict() == {}


def test_metadata_that_is_nested_as_deep_as_possible() -> None:
    assert Metadata(bytes(32), b'{"a":' + b"[" * 63 + b"]" * 63 + b"}", KEY).get_dict()


@given(data=st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_are_metadata_of_a_key_that_did_not_sign_them(data: bytes) -> None:
    metadata = Metadata.unserialize(data, KEY.pub())
    assert not metadata.verify(KEY.pub())
    metadata.get_dict()


@given(data=st.binary(max_size=120))
@settings(deadline=None)
def test_truncated_attestations(data: bytes) -> None:
    if len(data) < 96:
        with pytest.raises(struct.error):
            Attestation.unserialize(data, KEY.pub())
    else:
        assert not Attestation.unserialize(data, KEY.pub()).verify(KEY.pub())


@given(metadata=st.binary(max_size=50), tokens=st.binary(max_size=50), attestations=st.binary(max_size=50),
       authorities=st.binary(max_size=50))
@settings(deadline=None)
def test_disclosures_round_trip(metadata: bytes, tokens: bytes, attestations: bytes, authorities: bytes) -> None:
    packed = default_serializer.pack_serializable(DisclosePayload(metadata, tokens, attestations, authorities))
    read, _ = default_serializer.unpack_serializable(DisclosePayload, packed)
    assert (read.metadata, read.tokens, read.attestations, read.authorities) == (metadata, tokens, attestations,
                                                                                authorities)
