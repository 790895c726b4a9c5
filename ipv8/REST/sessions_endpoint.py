"""``/sessions``: the encrypted sessions of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Boolean, Float, Integer, String

from ..service import IPv8
from .apidocs import docs, response_schema
from .base_endpoint import BaseEndpoint, Response
from .schema import Address, schema

if TYPE_CHECKING:
    from aiohttp.web import Request

    from ..sessions import Session

__all__ = ["SessionsEndpoint"]

SESSION = schema(Session={
    "mid": (String, "SHA-1 of the public key of the peer"), "public_key": String, "address": Address,
    "initiator": (Boolean, "whether this node opened it"),
    "hybrid": (Boolean, "whether its keys are also made of a post-quantum key agreement"),
    "cipher": String, "is_open": Boolean,
    "opened_at": (Float, "seconds since the Unix epoch"),
    "round_trip": Float(allow_none=True, metadata={"description": "seconds of the last ping; null without one"}),
    "bytes_up": Integer, "bytes_down": Integer, "datagrams_up": Integer, "datagrams_down": Integer,
    "malformed": Integer, "moves": Integer, "rekeys": Integer})
COUNTERS = ("bytes_up", "bytes_down", "datagrams_up", "datagrams_down", "malformed", "moves", "rekeys")


class SessionsEndpoint(BaseEndpoint[IPv8]):
    """Shows the sessions, without their keys."""

    def setup_routes(self) -> None:
        """Add the route."""
        self.app.add_routes([web.get("", self.get_sessions)])

    @docs(tags=["Sessions"], summary="The encrypted sessions of the node.")
    @response_schema(schema(SessionsResponse={"enabled": (Boolean, "whether the node has sessions"),
                                              "sessions": [SESSION]}))
    async def get_sessions(self, _: Request) -> Response:
        """All sessions, in the order in which they were opened."""
        service = getattr(self.session, "sessions", None)
        sessions = () if service is None else service.sessions()
        return Response({"enabled": service is not None, "sessions": [_describe(session) for session in sessions]})


def _describe(session: Session) -> dict[str, Any]:
    ip, port = session.address[:2]
    stats = session.stats
    return {"mid": session.peer.mid.hex(), "public_key": session.peer.public_key.key_to_bin().hex(),
            "address": {"ip": ip, "port": port}, "initiator": session.initiator, "hybrid": session.hybrid,
            "cipher": session.cipher, "is_open": session.is_open, "opened_at": session.opened_at,
            "round_trip": stats.round_trip, **{name: getattr(stats, name) for name in COUNTERS}}
