"""The additions of this library against their vectors (tests/vectors/tunnel_additions.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipv8.keyvault import ml_kem
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization import build, hybrid
from ipv8.messaging.anonymization.handshake import accept, complete, derive_keys

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "tunnel_additions.json").read_text())
BUILD, HYBRID = VECTORS["build"], VECTORS["hybrid"]


def key(private_bin: str) -> Any:
    return default_eccrypto.key_from_private_bin(bytes.fromhex(private_bin))


def test_blocks() -> None:
    plan = []
    for hop, address in zip(BUILD["hops"], BUILD["addresses"], strict=True):
        ephemeral, identity = key(hop["initiator_ephemeral"]), key(hop["identity"])
        plan.append(build.PlannedHop(identity.pub().key_to_bin(), tuple(address), ephemeral.get_crypt_pk(),
                                     ephemeral.diffie_hellman(identity.get_crypt_pk())))
    block = build.make_block(plan, bytes.fromhex(BUILD["filling"]))
    for hop in BUILD["hops"]:
        assert block.hex() == hop["block"]
        half, identity = bytes.fromhex(hop["key"]), key(hop["identity"])
        step = build.read_block(identity.diffie_hellman(half), half, identity.pub().key_to_bin(), block)
        if hop["step"] is None:
            assert step is None
            break
        assert step is not None
        expected = hop["step"]
        assert (step.public_key.hex(), list(step.address), step.half.hex(), step.wait) == (
            expected["public_key"], expected["address"], expected["key"], expected["wait"])
        block = step.block


def test_answers() -> None:
    following = None
    for hop in reversed(BUILD["hops"]):
        expected, joiner = hop["answer"], key(hop["joiner_ephemeral"])
        secret, auth = accept(bytes.fromhex(hop["key"]), joiner, joiner.get_crypt_pk(), key(hop["identity"]))
        assert secret.hex() == expected["shared_secret"]
        sealed = build.seal_answer(derive_keys(secret), secret, expected["chance"], following,
                                   bytes.fromhex(expected["filling"]))
        following = build.Answer(joiner.get_crypt_pk(), auth, sealed)
        assert [part.hex() for part in following] == [expected["key"], expected["auth"], expected["candidates_enc"]]
    answer = following
    for hop in BUILD["hops"]:
        assert answer is not None
        secret = complete(key(hop["initiator_ephemeral"]), answer.key, answer.auth, key(hop["identity"]).get_crypt_pk())
        assert secret.hex() == hop["answer"]["shared_secret"]
        candidates, answer = build.open_answer(derive_keys(secret), secret, answer.sealed)
        assert candidates == []


@pytest.mark.skipif(not ml_kem.is_available(), reason="cryptography has no ML-KEM-768")
def test_hybrid_keys() -> None:
    kem = ml_kem.make_key(bytes.fromhex(HYBRID["ml_kem_seed"]))
    offer = hybrid.Offer(derive_keys(bytes.fromhex(HYBRID["shared_secret"])), kem)
    assert [message.hex() for message in offer.messages] == HYBRID["offer"]
    first, second = (hybrid.read_part(bytes.fromhex(message)) for message in HYBRID["reply"])
    assert offer.receive(first) is None
    keys = offer.receive(second)
    assert keys is not None
    assert {name: getattr(keys, name).hex() for name in HYBRID["keys"]} == HYBRID["keys"]


def test_the_other_side_of_hybrid_keys() -> None:
    first, second = (hybrid.read_part(bytes.fromhex(message)) for message in HYBRID["offer"])
    ciphertext = b"".join(hybrid.read_part(bytes.fromhex(message)).content for message in HYBRID["reply"])
    keys, reply = hybrid.reply_to(derive_keys(bytes.fromhex(HYBRID["shared_secret"])), first.name,
                                  first.content + second.content, (bytes(32), ciphertext))
    assert [message.hex() for message in reply] == HYBRID["reply"]
    assert keys.key_forward.hex() != HYBRID["keys"]["key_forward"], "the secret counts"
