"""The test vectors of the ecosystem, as blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.keyvault.crypto import default_eccrypto

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "trustchain.json").read_text())
KEYS = {name: bytes.fromhex(key["public"]) for name, key in VECTORS["keys"].items()}


def private_key(name: str) -> Any:
    return default_eccrypto.key_from_private_bin(bytes.fromhex(VECTORS["keys"][name]["private"]))


def make(spec: dict[str, Any]) -> TrustChainBlock:
    raw = {name: bytes.fromhex(spec[name]) for name in ("type", "transaction_raw", "public_key", "link_public_key",
                                                        "previous_hash", "signature")}
    return TrustChainBlock(TrustChainBlock.Data(
        raw["type"], raw["transaction_raw"], raw["public_key"], spec["sequence_number"], raw["link_public_key"],
        spec["link_sequence_number"], raw["previous_hash"], raw["signature"], spec["timestamp"], None))


BLOCKS = {name: make(spec) for name, spec in VECTORS["blocks"].items()}


def block(name: str) -> TrustChainBlock:
    """A block of the vectors, which a test may change."""
    return make(VECTORS["blocks"][name])


NAMES = {known.pack(): name for name, known in BLOCKS.items()}


def name_of(found: TrustChainBlock | None) -> str | None:
    return None if found is None else NAMES[found.pack()]


def value_of(spec: dict[str, Any]) -> Any:
    """A value as the vectors describe it."""
    kind: str = spec["type"]
    value: Any = spec.get("value")
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind in {"list", "tuple", "set"}:
        return {"list": list, "tuple": tuple, "set": set}[kind](value_of(item) for item in value)
    if kind == "dict":
        return {value_of(key): value_of(item) for key, item in value}
    if kind in {"None", "NoneType", "none"}:
        return None
    return value
