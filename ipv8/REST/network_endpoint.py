"""``/network``: the peers of the node."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from aiohttp import web
from marshmallow.fields import Dict, Integer, Nested, String

from ..service import IPv8
from .apidocs import docs, response_schema
from .base_endpoint import BaseEndpoint, Response
from .paging import PAGE_SIZE, PAGE_START, page
from .schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from aiohttp.web import Request

    from ..peer import Peer

__all__ = ["NetworkEndpoint"]

PEER = schema(Peer={"ip": String, "port": Integer, "public_key": String, "services": [String]})


class NetworkEndpoint(BaseEndpoint[IPv8]):
    """Shows which peers the node knows, and which overlays they run.

    :param middlewares: of the application.
    """

    def __init__(self, middlewares: Iterable[Any] = ()) -> None:
        super().__init__(middlewares)

    def setup_routes(self) -> None:
        """Add the route."""
        self.app.add_routes([web.get("", self.retrieve_peers)])

    @docs(tags=["Network"], summary="The verified peers of the node, by the base64 of the SHA-1 of their public keys.",
          parameters=[PAGE_SIZE, PAGE_START])
    @response_schema(schema(PeersResponse={"peers": Dict(keys=String(), values=Nested(PEER))}))
    async def retrieve_peers(self, request: Request) -> Response:
        """The verified peers."""
        if self.session is None:
            return Response({"peers": {}})
        network = self.session.network
        return Response({"peers": {_base64(peer.mid): self._describe(peer)
                                   for peer in page(request, tuple(network.verified_peers))}})

    def _describe(self, peer: Peer) -> dict[str, Any]:
        assert self.session is not None, "asked for a peer of the node"
        ip, port = (peer.address or ("0.0.0.0", 0))[:2]  # noqa: S104 - says that there is no address
        return {"ip": ip, "port": port, "public_key": _base64(peer.public_key.key_to_bin()),
                "services": [_base64(service) for service in self.session.network.get_services_for_peer(peer)]}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
