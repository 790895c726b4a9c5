"""A distributed hash table for values and for the addresses of peers (doc/protocol/dht.md)."""

from __future__ import annotations

__all__ = ["DHTError"]


class DHTError(Exception):
    """Something could not be found or stored; its only argument says what."""


from . import routing as routing  # noqa: E402 - its modules import the error; it completes ``payload.NodePacker``
