"""Credentials with selective disclosure, bound to their holder (doc/credentials.md)."""
