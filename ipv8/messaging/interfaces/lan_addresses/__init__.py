"""Discovery of the addresses of this machine (spec 03 section 7)."""
