"""A SOCKS5 proxy whose connections go through circuits, and what carries them (doc/anonymity.md)."""
