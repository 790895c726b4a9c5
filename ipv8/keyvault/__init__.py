"""Keys, signatures and shared secrets (doc/protocol/keys.md)."""
