"""Tests with nodes of ``pyipv8`` and of this library, each in a process of its own."""
