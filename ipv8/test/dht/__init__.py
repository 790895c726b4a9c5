"""Helpers for tests of the DHT."""
