"""Helpers for tests of tunnels."""
