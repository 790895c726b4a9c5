"""Proofs that a value is equal to a given one (doc/protocol/attestation.md, section 5)."""
