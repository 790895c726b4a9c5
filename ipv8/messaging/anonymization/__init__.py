"""Circuits through other nodes, and hidden services (doc/anonymity.md)."""
