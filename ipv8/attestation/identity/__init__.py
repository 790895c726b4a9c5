"""Attributes of people and programs, and who attests them (doc/identity.md)."""
