"""The wire format of tunnels against the vectors of the ecosystem (tests/vectors/tunnels.json)."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization import handshake, payload as payload_module
from ipv8.messaging.anonymization.cells import CellPayload, message_of, peel, wrap
from ipv8.messaging.anonymization.crypto import TunnelCrypto
from ipv8.messaging.anonymization.payload import NO_CRYPTO_PACKETS, CellablePayload, Flags
from ipv8.messaging.anonymization.session_keys import BACKWARD, FORWARD
from tests.messaging.anonymization.helpers import PREFIX, VECTORS, keys_of, private_key, serializer, value_of


@pytest.mark.parametrize("name", VECTORS["keys"])
def test_keys(name: str) -> None:
    vector = VECTORS["keys"][name]
    key = private_key(name)
    assert key.pub().key_to_bin().hex() == vector["public_bin"]
    assert key.get_crypt_pk().hex() == vector["x25519_public"]
    assert key.pub().key_to_hash().hex() == vector["mid"]
    assert TunnelCrypto().is_key_compatible(key.pub())


@pytest.mark.parametrize("vector", VECTORS["dh"])
def test_key_agreement(vector: dict[str, str]) -> None:
    peer = private_key(vector["public"]).get_crypt_pk()
    assert private_key(vector["private"]).diffie_hellman(peer).hex() == vector["shared"]


@pytest.mark.parametrize("vector", VECTORS["crypto_auth"])
def test_authentication(vector: dict[str, str]) -> None:
    key, message, tag = (bytes.fromhex(vector[name]) for name in ("key", "message", "tag"))
    assert handshake.authenticate(key, message) == tag
    assert handshake.is_authentic(tag, key, message)
    assert not handshake.is_authentic(tag[:-1], key, message)
    assert not handshake.is_authentic(tag, key, message + b"\0")


@pytest.mark.parametrize("vector", VECTORS["session_keys"])
def test_session_keys(vector: dict[str, Any]) -> None:
    keys = TunnelCrypto.generate_session_keys(bytes.fromhex(vector["shared_secret"]))
    for name, value in vector["keys"].items():
        assert getattr(keys, name) == (value if isinstance(value, int) else bytes.fromhex(value)), name


def test_layers() -> None:
    senders: dict[tuple[str, int], Any] = {}
    for vector in VECTORS["aead"]:
        keys = senders.setdefault((vector["shared_secret"], vector["direction"]), keys_of(vector["shared_secret"]))
        content = bytes.fromhex(vector["plaintext"])
        sealed = keys.encrypt_str(content, vector["direction"])
        assert sealed.hex() == vector["ciphertext"]
        counters = keys.salt_explicit_forward, keys.salt_explicit_backward
        assert counters[vector["direction"]] == vector["counter"]
        assert keys_of(vector["shared_secret"]).decrypt_str(sealed, vector["direction"]) == content


def test_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = VECTORS["handshake"]
    crypto = TunnelCrypto()
    crypto.initialize(private_key(vector["joiner_identity"]))
    monkeypatch.setattr(crypto, "generate_key", lambda _: private_key(vector["joiner_ephemeral"]))
    half = bytes.fromhex(vector["X"])
    assert private_key(vector["initiator_ephemeral"]).get_crypt_pk() == half
    secret, answer, auth = crypto.generate_diffie_shared_secret(half)
    assert (answer.hex(), auth.hex(), secret.hex()) == (vector["Y"], vector["auth"], vector["shared_secret"])
    identity = private_key(vector["joiner_identity"]).pub().get_crypt_pk()
    initiator = private_key(vector["initiator_ephemeral"])
    assert crypto.verify_and_generate_shared_secret(initiator, answer, auth, identity) == secret
    keys = crypto.generate_session_keys(secret)
    assert (keys.key_forward.hex(), keys.salt_backward.hex()) == (vector["keys"]["key_forward"],
                                                                   vector["keys"]["salt_backward"])


@pytest.mark.parametrize("vector", VECTORS["flags"])
def test_flags(vector: dict[str, Any]) -> None:
    packer = Flags()
    for flags in (vector["flags"], set(vector["flags"]), dict.fromkeys(vector["flags"]).keys()):
        assert packer.pack(flags).hex() == vector["packed"]
    for offset in (0, 3):
        unpacked: list[Any] = []
        assert packer.unpack(bytes(offset) + bytes.fromhex(vector["packed"]), offset, unpacked) == offset + 2
        assert unpacked == [vector["flags"]]


@pytest.mark.parametrize("vector", VECTORS["addresses"])
def test_addresses(vector: dict[str, Any]) -> None:
    address, packed = value_of(vector), bytes.fromhex(vector["packed"])
    assert serializer().pack("address", address) == packed
    unpacked, stop = serializer().unpack("address", packed)
    assert (type(unpacked), unpacked, stop) == (type(address), address, len(packed))


@pytest.mark.parametrize("vector", VECTORS["payloads"], ids=lambda vector: vector["class"])
def test_payloads(vector: dict[str, Any]) -> None:
    payload_class = getattr(payload_module, vector["class"])
    body = bytes.fromhex(vector["body"])
    unpacked, stop = serializer().unpack_serializable(payload_class, body)
    assert stop == len(body)
    assert serializer().pack_serializable(unpacked) == body
    assert getattr(unpacked, "msg_id", None) == vector.get("msg_id")
    for name, field in vector["fields"].items():
        if isinstance(field, list) and field and isinstance(field[0], dict):
            found = [{key: getattr(item, key) for key in item.names} for item in getattr(unpacked, name)]
            assert found == [{key: value_of(entry) for key, entry in item.items()} for item in field]
        else:
            assert getattr(unpacked, name) == value_of(field), name
    if "cell_message" in vector:
        message = message_of(body, vector["msg_id"])
        cell = CellPayload(unpacked.circuit_id, message)
        cell.plaintext = vector["msg_id"] in NO_CRYPTO_PACKETS
        assert message.hex() == vector["cell_message"]
        assert cell.to_bin(PREFIX).hex() == vector["cell_unencrypted"]
        assert cell.unwrap(PREFIX).hex() == vector["unwrapped"]
        assert issubclass(payload_class, CellablePayload)
    if "nested" in vector:
        assert serializer().pack("payload", unpacked).hex() == vector["nested"]


@pytest.mark.parametrize("vector", VECTORS["cells"])
def test_cells(vector: dict[str, Any]) -> None:
    prefix = bytes.fromhex(vector["prefix"])
    cell = CellPayload(vector["circuit_id"], bytes.fromhex(vector["message"]), vector["plaintext"],
                       vector["relay_early"])
    assert cell.to_bin(prefix).hex() == vector["to_bin"]
    assert cell.unwrap(prefix).hex() == vector["unwrap"]
    read = CellPayload.from_bin(bytes.fromhex(vector["to_bin"]))
    for name in ("circuit_id", "message", "plaintext", "relay_early"):
        assert getattr(read, name) == getattr(cell, name)


def test_candidate_list() -> None:
    vector = VECTORS["candidate_list"]
    keys = [bytes.fromhex(key) for key in vector["keys"]]
    packed = bytes.fromhex(vector["packed"])
    assert handshake.CandidateList(keys).pack() == packed
    assert handshake.CandidateList.unpack(packed) == (keys, b"")


@pytest.mark.parametrize("vector", VECTORS["onion"])
def test_onions(vector: dict[str, Any]) -> None:
    origin = [keys_of(secret) for secret in vector["hop_shared_secrets"]]
    hops = [keys_of(secret) for secret in vector["hop_shared_secrets"]]
    message = bytes.fromhex(vector["message"])
    stages = [bytes.fromhex(stage) for stage in vector["stages"]]
    if vector["direction"] == FORWARD:
        assert wrap(message, [keys.forward for keys in origin]) == stages[0]
        for keys, before, after in zip(hops, stages, stages[1:], strict=False):
            assert keys.forward.open(before) == after
    else:
        travelling = message
        for keys, stage in zip(reversed(hops), stages, strict=False):
            travelling = keys.backward.seal(travelling)
            assert travelling == stage
        assert peel(travelling, [keys.backward for keys in origin]) == stages[-1] == message


def test_end_to_end_layers() -> None:
    vector = VECTORS["rendezvous"]
    message = bytes.fromhex(vector["message"])
    for sender, receiver, inner in (("downloader", "seeder", BACKWARD), ("seeder", "downloader", FORWARD)):
        stages = [bytes.fromhex(stage) for stage in vector[f"{sender}_to_{receiver}"]]
        shared = keys_of(vector["hs_shared_secret"])
        ends = shared.backward if inner else shared.forward
        own = [keys_of(secret) for secret in vector[f"{sender}_hops"]]
        assert wrap(message, [*(keys.forward for keys in own), ends]) == stages[0]
        travelling = stages[0]
        seen = [travelling]
        for secret in vector[f"{sender}_hops"]:
            travelling = keys_of(secret).forward.open(travelling)
            seen.append(travelling)
        far = [keys_of(secret) for secret in vector[f"{receiver}_hops"]]
        for keys in reversed(far):
            travelling = keys.backward.seal(travelling)
            seen.append(travelling)
        shared = keys_of(vector["hs_shared_secret"])
        read = peel(travelling, [*(keys_of(secret).backward for secret in vector[f"{receiver}_hops"]),
                                 shared.backward if inner else shared.forward])
        assert [*seen, read] == stages
        assert read == message


def test_crypto_needs_a_private_key() -> None:
    with pytest.raises(AssertionError, match="not a private key"):
        TunnelCrypto().initialize(default_eccrypto.generate_key("curve25519").pub())  # type: ignore[arg-type]
    with pytest.raises(handshake.CryptoException, match="no key yet"):
        TunnelCrypto().generate_diffie_shared_secret(bytes(32))
