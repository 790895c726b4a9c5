"""The historic attestations: values that an authority attests and a subject proves later (doc/attestation.md)."""
