"""Tickets: keys for a single request, for what browsers request without headers (doc/rest_api.md)."""

from __future__ import annotations

import hmac
import secrets

from aiohttp import web

from ..limits import ExpiringDict

__all__ = ["TICKETS", "TICKET_SECONDS", "Tickets"]

MAX_TICKETS = 64
"""Tickets that have not been used; the oldest is evicted first."""

TICKET_SECONDS = 30
"""Seconds for which a ticket can be used."""


class Tickets:
    """Issues tickets, each of which can be used once."""

    def __init__(self) -> None:
        self._issued: ExpiringDict[bytes, None] = ExpiringDict(MAX_TICKETS, TICKET_SECONDS)

    def issue(self) -> str:
        """A new ticket."""
        ticket = secrets.token_urlsafe(32)
        self._issued[ticket.encode()] = None
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Whether this is a ticket that can be used; it cannot be used any more afterwards."""
        candidate = ticket.encode("utf-8", "surrogatepass")
        # All are compared, so that the time says nothing about them.
        found = [issued for issued in self._issued if hmac.compare_digest(issued, candidate)]
        for issued in found:
            del self._issued[issued]
        return bool(found)


TICKETS = web.AppKey("tickets", Tickets)
"""Where an application has those that its checks accept."""
