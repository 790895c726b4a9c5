"""The vectors of doc/protocol/credentials.md, computed again from what the page says, without the library."""

from __future__ import annotations

import base64
import json
import struct
from hashlib import sha3_256, sha256
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.credentials.credential import HeldCredential
from ipv8.attestation.credentials.policy import Policy
from ipv8.attestation.credentials.ranges import Bound
from ipv8.attestation.credentials.sdjwt import bind
from ipv8.attestation.credentials.status import StatusList
from ipv8.attestation.credentials.verifying import verify_presentation
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.sealing import open_sealed

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def vectors(load_vectors: Callable[[str], Any]) -> Any:
    return load_vectors("credentials")


def private(vectors: Any, name: str) -> Any:
    return default_eccrypto.key_from_private_bin(bytes.fromhex(vectors["keys"][name]["private"]))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact_json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


# By hand

def test_leaves_and_digests(vectors: Any) -> None:
    for claim in vectors["claims"]:
        encoded = claim["encoded"].encode()
        assert json.loads(encoded)[1:] == [claim["name"], claim["value"]]
        assert sha3_256(b"\x00" + encoded).hexdigest() == claim["leaf"]
        assert b64(sha256(b64(encoded).encode()).digest()) == claim["digest"]


def test_tree(vectors: Any) -> None:
    level = sorted([bytes.fromhex(claim["leaf"]) for claim in vectors["claims"]]
                   + [bytes.fromhex(filler) for filler in vectors["fillers"]])
    assert len(level) == 1 << vectors["credential"]["depth"]
    while len(level) > 1:
        level = [sha3_256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    assert level[0].hex() == vectors["credential"]["root"]


def test_credential(vectors: Any) -> None:
    vector = vectors["credential"]
    keys = [bytes.fromhex(vectors["keys"][name]["public"])[10:] for name in ("authority", "holder")]
    type_ = vector["type"].encode()
    body = struct.pack(">BB64s64sQQQB", 1, vector["depth"], *keys, vector["issued"], vector["expires"],
                       vector["status"], len(type_)) + type_ + bytes.fromhex(vector["root"])
    signed = body + private(vectors, "authority").signature(b"ipv8-sd-credential-v1" + body)
    assert signed.hex() == vector["bytes"]
    assert sha3_256(signed).hexdigest() == vector["id"]


def test_sd_jwt(vectors: Any) -> None:
    vector, authority = vectors["credential"], vectors["keys"]["authority"]
    digests = sorted([claim["digest"] for claim in vectors["claims"]]
                     + [b64(bytes.fromhex(filler)) for filler in vectors["fillers"]])
    payload = {"_sd": digests, "_sd_alg": "sha-256", "cnf": {"jwk": vectors["keys"]["holder"]["jwk"]},
               "exp": vector["expires"], "iat": vector["issued"], "iss": authority["did"],
               "status": {"status_list": {"idx": vector["status"] % 4096,
                                          "uri": f"urn:ipv8:status:{authority['did']}/{vector['status'] // 4096}"}},
               "vct": vector["type"]}
    header = {"alg": "EdDSA", "kid": f"{authority['did']}#{authority['did'][8:]}", "typ": "dc+sd-jwt"}
    signed = f"{b64(compact_json(header))}.{b64(compact_json(payload))}"
    token = f"{signed}.{b64(private(vectors, 'authority').signature(signed.encode()))}"
    assert "~".join((token, *[b64(claim["encoded"].encode()) for claim in vectors["claims"]], "")) == vectors["sd_jwt"]


def test_ranges(vectors: Any) -> None:
    vector = vectors["range"]
    value = next(claim["value"] for claim in vectors["claims"] if claim["name"] == vector["claim"])

    def advance(element: bytes, steps: int) -> bytes:
        for _ in range(steps):
            element = sha256(b"ipv8-range-v1:" + element).digest()
        return element

    low, high = bytes.fromhex(vector["secret_at_least"]), bytes.fromhex(vector["secret_at_most"])
    assert b64(advance(low, vector["number"] - vector["min"] + 1)) == value["ge"]
    assert b64(advance(high, vector["max"] - vector["number"] + 1)) == value["le"]
    for proof in vector["proofs"]:
        element = bytes.fromhex(proof["proof"])
        if proof["is_minimum"]:
            assert element == advance(low, vector["number"] - proof["threshold"])
            assert b64(advance(element, proof["threshold"] - vector["min"] + 1)) == value["ge"]
        else:
            assert element == advance(high, proof["threshold"] - vector["number"])
            assert b64(advance(element, vector["max"] - proof["threshold"] + 1)) == value["le"]


def test_status_list(vectors: Any) -> None:
    vector = vectors["status_list"]
    bits = bytearray(512)
    for status in vector["revoked"]:
        bits[status % 4096 // 8] |= 0x80 >> status % 8
    body = struct.pack(">B64sQQQ512s", 1, bytes.fromhex(vectors["keys"]["authority"]["public"])[10:],
                       vector["number"], vector["issued"], vector["expires"], bytes(bits))
    signature = private(vectors, "authority").signature(b"ipv8-status-list-v1" + body)
    assert (body + signature).hex() == vector["bytes"]


# By the library

def test_held_credential(vectors: Any) -> None:
    held = HeldCredential.from_bytes(bytes.fromhex(vectors["held"]))
    held.check()
    assert held.to_bytes().hex() == vectors["held"]
    assert held.to_sd_jwt() == vectors["sd_jwt"]
    assert [[node.hex() for node in level] for level in held._levels] == vectors["tree"]


def test_presentation(vectors: Any) -> None:
    vector = vectors["presentation"]
    held = HeldCredential.from_bytes(bytes.fromhex(vectors["held"]))
    bounds = [Bound("age", True, 18), Bound("age", False, 65)]
    nonce = bytes.fromhex(vector["nonce"])
    data = held.present(private(vectors, "holder"), nonce, vector["audience"], vector["claims"], bounds,
                        vector["time"])
    assert data.hex() == vector["bytes"]
    lists = StatusList.from_bytes(bytes.fromhex(vectors["status_list"]["bytes"]))
    policy = Policy([private(vectors, "authority").pub()], status_lists=lambda *_: lists)
    proven = verify_presentation(data, nonce, vector["audience"], policy, vector["time"])
    assert proven.claims == {"citizen": True}
    assert list(map(str, proven.bounds)) == vector["bounds"]


def test_sd_jwt_presentation(vectors: Any) -> None:
    vector = vectors["sd_jwt_presentation"]
    held = HeldCredential.from_bytes(bytes.fromhex(vectors["held"]))
    assert bind(held.to_sd_jwt(vector["claims"]), private(vectors, "holder"), vector["nonce"], vector["audience"],
                vector["time"]) == vector["text"]


def test_sealed_message(vectors: Any) -> None:
    vector = vectors["sealed"]
    assert open_sealed(private(vectors, vector["receiver"]), bytes.fromhex(vector["bytes"]),
                       bytes.fromhex(vector["context"])).hex() == vector["plaintext"]
