"""Proofs that a number is in a range (doc/protocol/attestation.md, section 6)."""
