"""Keys, signatures and shared secrets (spec 01)."""
