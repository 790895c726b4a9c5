"""The identity formats that every node knows (doc/protocol/attestation.md, section 7)."""

from __future__ import annotations

from typing import Any

__all__ = ["FORMATS", "STRONGER_FORMATS"]

FORMATS: dict[str, dict[str, Any]] = {
    "id_metadata": {"algorithm": "bonehexact", "key_size": 32, "hash": "sha256_4"},
    "id_metadata_big": {"algorithm": "bonehexact", "key_size": 64, "hash": "sha256"},
    "id_metadata_huge": {"algorithm": "bonehexact", "key_size": 96, "hash": "sha512"},
    "id_metadata_range_18plus": {"algorithm": "pengbaorange", "key_size": 32, "min": 18, "max": 200},
}
"""The parameters of the formats of all nodes. All of them are weak (doc/attestation.md)."""

STRONGER_FORMATS: dict[str, dict[str, Any]] = {
    "id_metadata_512": {"algorithm": "bonehexact", "key_size": 512, "hash": "sha256"},
}
"""Formats whose keys are not broken easily, for nodes that agree on them. Their other weaknesses are the same."""
