"""Serialization, payloads and endpoints."""
