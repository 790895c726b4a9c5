"""The mathematics of the historic attestations, without a network (doc/protocol/attestation.md, sections 2 to 4)."""
