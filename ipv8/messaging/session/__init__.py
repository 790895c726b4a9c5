"""Encrypted channels and streams between two keys, as bytes only."""
