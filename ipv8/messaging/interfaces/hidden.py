"""Connections to and from hidden services, as endpoints and overlays see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ...keyvault.keys import PrivateKey
    from ..address import HiddenAddress
    from .endpoint import Endpoint

__all__ = ["HiddenProvider", "HiddenService"]


class HiddenService(Protocol):
    """A hidden service of this node, until it is closed."""

    @property
    def service_key(self) -> bytes:
        """The serialized public key that others connect to."""

    @property
    def info_hash(self) -> bytes:
        """The swarm of the service, 20 bytes."""

    async def close(self) -> None:
        """Stop to be reachable, and close all connections of the service."""

    async def __aenter__(self) -> HiddenService: ...  # noqa: PYI034 - Self is newer than Python 3.10

    async def __aexit__(self, *_: object) -> None: ...


class HiddenProvider(Protocol):
    """What makes the connections: a tunnel overlay."""

    async def connect(self, endpoint: Endpoint, prefix: bytes, service_key: bytes, hops: int,
                      timeout: float) -> HiddenAddress:
        """Connect to a service, for the packets with ``prefix``."""

    async def serve(self, endpoint: Endpoint, prefix: bytes, key: PrivateKey, hops: int, introduction_points: int,
                    timeout: float) -> HiddenService:
        """Be reachable as a service, for the packets with ``prefix``."""

    def send(self, address: HiddenAddress, packet: bytes) -> bool:
        """Send a packet to the other end of a connection; ``False`` if there is none."""

    def leave(self, prefix: bytes) -> None:
        """Close everything that there is for the packets with ``prefix``."""
