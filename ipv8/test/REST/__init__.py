"""Helpers for tests of HTTP endpoints."""
