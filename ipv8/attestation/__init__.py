"""Statements that others sign: attested identity and TrustChain."""
