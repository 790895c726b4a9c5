"""The methods of a community that have to do with tunnels and hidden services (doc/anonymity.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .overlay import SettingsClass
from .peer import Peer
from .secure_overlay import SecureOverlay

if TYPE_CHECKING:
    from .keyvault.keys import Key
    from .messaging.interfaces.hidden import HiddenService

__all__ = ["AnonymousOverlay"]


class AnonymousOverlay(SecureOverlay[SettingsClass]):
    """An overlay that can be anonymous, be a hidden service, and connect to one."""

    def _set_anonymity(self) -> None:
        """Ask the endpoint to send the packets of this overlay through tunnels."""
        if self.endpoint.set_anonymity(self.get_prefix(), True) is False:
            self.logger.warning("%s asks for anonymity, but its endpoint has no tunnels: it is not anonymous",
                                type(self).__name__)

    async def serve_hidden(self, hops: int = 3, introduction_points: int = 3, timeout: float = 60.0) -> HiddenService:
        """Let others reach this overlay without knowing where it is, by the public key of ``my_peer``.

        Whoever knows both the key and where it is used otherwise knows where the service is. So the overlay should have
        a key of its own, which must be of the curve ``curve25519``, and be anonymous.

        :param hops: of the circuits that are built for the service.
        :param introduction_points: how many nodes are asked to introduce clients.
        :param timeout: seconds until one of them must have agreed.
        :raises RuntimeError: if there is no tunnel overlay on the endpoint.
        :raises TimeoutError: if no node has agreed in time.
        """
        key: Any = self.my_peer.key
        if not hasattr(key, "signature") or key.curve_name() != "curve25519":
            raise RuntimeError("a hidden service needs the private key of my_peer, of the curve curve25519")
        provider = self.endpoint.routes.hidden.provider
        return await provider.serve(self.endpoint, self.get_prefix(), key, hops, introduction_points, timeout)

    async def connect_hidden(self, service_key: Key | bytes, hops: int = 3, timeout: float = 60.0) -> Peer:
        """Connect to a node that serves this overlay by :meth:`serve_hidden`.

        Messages to the returned peer go through the connection. Neither side learns where the other one is. Messages
        that are signed tell the service the key of this node.

        :param service_key: the public key of the service.
        :param hops: of the circuits that are built for the connection.
        :param timeout: seconds until the service must have answered.
        :raises RuntimeError: if there is no tunnel overlay on the endpoint.
        :raises ValueError: if ``service_key`` is no public key of the curve ``curve25519``.
        :raises TimeoutError: if the service has not answered in time.
        """
        service = Peer(service_key)
        if service.public_key.curve_name() != "curve25519":
            raise ValueError("the key of a hidden service is of the curve curve25519")
        provider = self.endpoint.routes.hidden.provider
        service.add_address(await provider.connect(self.endpoint, self.get_prefix(), service.key_bin, hops, timeout))
        return service
