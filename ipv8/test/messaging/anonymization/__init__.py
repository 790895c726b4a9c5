"""Helpers for tests of tunnels and hidden services."""
