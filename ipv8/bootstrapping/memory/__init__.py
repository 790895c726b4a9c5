"""Peers that were there the last time."""
