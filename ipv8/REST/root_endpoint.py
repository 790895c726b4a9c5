"""All endpoints of a node under one root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..service import IPv8
from .asyncio_endpoint import AsyncioEndpoint
from .base_endpoint import BaseEndpoint
from .dht_endpoint import DHTEndpoint
from .events_endpoint import EventsEndpoint
from .identity_endpoint import IdentityEndpoint
from .isolation_endpoint import IsolationEndpoint
from .network_endpoint import NetworkEndpoint
from .noblock_dht_endpoint import NoBlockDHTEndpoint
from .node_endpoint import NodeEndpoint
from .overlays_endpoint import OverlaysEndpoint
from .sessions_endpoint import SessionsEndpoint
from .trust_endpoint import TrustEndpoint
from .trustchain_endpoint import TrustchainEndpoint
from .tunnel_endpoint import TunnelEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RootEndpoint"]


class RootEndpoint(BaseEndpoint[IPv8]):
    """The endpoint that has all others below it. Programs subclass it to add theirs in ``setup_routes``.

    :param middlewares: of the application.
    """

    def __init__(self, middlewares: Iterable[Any] = ()) -> None:
        BaseEndpoint.__init__(self, middlewares)  # the next class may be one of the program, see there

    def setup_routes(self) -> None:
        """Add all endpoints."""
        endpoints: dict[str, type[BaseEndpoint[Any]]] = {
            "/asyncio": AsyncioEndpoint,
            "/dht": DHTEndpoint,
            "/identity": IdentityEndpoint,
            "/isolation": IsolationEndpoint,
            "/network": NetworkEndpoint,
            "/noblockdht": NoBlockDHTEndpoint,
            "/overlays": OverlaysEndpoint,
            "/tunnel": TunnelEndpoint,
            "/events": EventsEndpoint,
            "/sessions": SessionsEndpoint,
            "/trust": TrustEndpoint,
            "/trustchain": TrustchainEndpoint,
            "/node": NodeEndpoint,
        }
        for prefix, endpoint_class in endpoints.items():
            self.add_endpoint(prefix, endpoint_class())
