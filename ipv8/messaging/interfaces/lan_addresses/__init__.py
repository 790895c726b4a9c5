"""Discovery of the addresses of this machine."""
