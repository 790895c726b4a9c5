"""What crypto endpoints offer of the proxy (doc/anonymity.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...interfaces.endpoint import EndpointClosedException

if TYPE_CHECKING:
    from ...address import Address
    from .association import Association
    from .server import Socks5Server

__all__ = ["Socks5Provider"]


class Socks5Provider:
    """Starts SOCKS5 proxies for the tunnel community of a crypto endpoint, and tells about them."""

    endpoint: Any
    tunnel_community: Any

    def create_socks5_server(self, port: int, hops: int) -> int:
        """Start a proxy on a TCP port of 127.0.0.1, whose circuits have ``hops`` hops.

        :param port: 0 for any.
        :returns: the port.
        :raises EndpointClosedException: if the endpoint is closed, or has no tunnel community, or that is unloaded.
        :raises OSError: if the port cannot be used.
        """
        from .server import Socks5Server

        if self.tunnel_community is None or self.tunnel_community.is_unloading or not self.endpoint.is_open():
            raise EndpointClosedException(self.endpoint)
        server = Socks5Server(self.tunnel_community, hops)
        bound = server.listen(port)
        self._servers[bound] = server
        self.tunnel_community.register_shutdown_task(self._close_server, bound)
        return bound

    async def _close_server(self, port: int) -> None:
        await self._servers.pop(port).close()

    @property
    def _servers(self) -> dict[int, Socks5Server]:
        servers: dict[int, Socks5Server] = vars(self).setdefault("_socks5_servers", {})
        return servers

    def set_udp_associate_default_remote(self, addr: Address, hops: int) -> None:
        """Set where data for new associations of proxies with ``hops`` hops go before their client sends something."""
        for server in self._servers.values():
            if server.hops == hops:
                server.default_client = addr

    def get_associated_circuits(self, port: int) -> tuple[int, ...]:
        """The ids of the circuits that associations of the proxy on ``port`` use."""
        server = self._servers.get(port)
        return () if server is None else tuple(circuit.circuit_id for association in server.associations
                                               for circuit in association.circuits)

    def get_peers_for_circuit(self, circuit_id: int) -> list[tuple[str, int]]:
        """Where datagrams were sent through a circuit that an association uses."""
        return [destination for association in self._associations()
                if circuit_id in {circuit.circuit_id for circuit in association.circuits}
                for destination in association.destinations]

    def get_socks5_statistics(self) -> list[dict[str, int]]:
        """For each proxy its ``port``, the ``hops`` of its circuits, and how many ``associates`` there are."""
        return [{"port": port, "hops": server.hops, "associates": len(server.associations)}
                for port, server in self._servers.items()]

    def _associations(self) -> list[Association]:
        return [association for server in self._servers.values() for association in server.associations]
