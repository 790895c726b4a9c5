"""Broadcasts in the local network."""
