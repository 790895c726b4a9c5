"""Encrypted sessions between two public keys, as code without sockets, clocks and tasks (doc/protocol/sessions.md).

Bytes and times go in, bytes and events come out. :mod:`ipv8.sessions` connects it to endpoints and overlays.
"""
