"""Chains of signed tokens (doc/protocol/identity.md section 3)."""
