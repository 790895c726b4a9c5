"""The test vectors of attestations (tests/vectors/attestation.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipv8.attestation.wallet.primitives.structs import BonehPrivateKey
from ipv8.attestation.wallet.primitives.value import FP2Value

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "attestation.json").read_text())

SECRET_KEY = bytes.fromhex(VECTORS["secret_keys"][0]["serialized"])
SAMPLES = {sample["id_format"]: sample for sample in VECTORS["samples"]}

TOY_KEY = bytes.fromhex("01011d01011401011101011c01011c01010f010103")
"""A private key modulo 29."""


def secret_key(serialized: bytes = SECRET_KEY) -> BonehPrivateKey:
    key = BonehPrivateKey.unserialize(serialized)
    assert key is not None
    return key


def value(modulus: Any, numbers: Any) -> FP2Value:
    """A value of two coefficients."""
    return FP2Value(int(modulus), int(numbers[0]), int(numbers[1]))


def fraction(modulus: Any, numbers: Any) -> FP2Value:
    """A value of the six coefficients in the order of the constructor."""
    return FP2Value(int(modulus), *map(int, numbers))


def coefficients(result: FP2Value) -> list[int]:
    return [result.a, result.b, result.c, result.aC, result.bC, result.cC]
