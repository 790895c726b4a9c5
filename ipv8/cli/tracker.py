"""The tracker as a program: a bootstrap server, which introduces the peers of any overlay to one another."""

from __future__ import annotations

import errno
import logging
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_DGRAM, socket
from typing import TYPE_CHECKING, Any

from ..messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ..peer import Peer
from ..peerdiscovery.tracker import EndpointServer, TrackerLimits
from ..util import maybe_coroutine
from .serving import print_event, serve_until_stopped
from .tracker_api import start_site

if TYPE_CHECKING:
    from ..messaging.interfaces.endpoint import Endpoint

__all__ = ["ANY_IPV4", "TrackerService", "serve"]

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - a tracker listens on all interfaces unless told otherwise


def _check_address(host: str, port: int) -> None:
    """Check that a tracker can listen there, as an endpoint would take the next free port instead.

    :raises OSError: if it cannot; the message says why.
    """
    family = AF_INET6 if ":" in host else AF_INET
    try:
        with socket(family, SOCK_DGRAM) as probe:
            if family == AF_INET6:
                probe.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as e:
        reason = {errno.EADDRINUSE: f"UDP port {port} of {host} is in use by another program",
                  errno.EACCES: f"programs of this user may not use UDP port {port}"}.get(e.errno or 0)
        raise OSError(reason or f"the tracker cannot listen on {host}: is that an address of this machine?") from e


class TrackerService:
    """A tracker with its sockets and an optional HTTP interface.

    :param limits: the limits of the tracker.
    :param key_file: the file with its key, which is made if it does not exist; by default a new key is made at each
        start.
    """

    def __init__(self, limits: TrackerLimits | None = None, key_file: str | None = None) -> None:
        self.limits = limits
        self.key_file = key_file
        self.endpoint: Endpoint | None = None
        self.overlay: EndpointServer | None = None
        self.site: Any = None

    def create_endpoint_server(self) -> EndpointServer:
        """The tracker on ``self.endpoint``; subclasses may return another one."""
        assert self.endpoint is not None, "the endpoint is made by start_tracker()"
        my_peer = None
        if self.key_file:
            from ..keyvault.files import load_or_create_private_key
            my_peer = Peer(load_or_create_private_key(self.key_file, "curve25519"))
        return EndpointServer(self.endpoint, self.limits, my_peer)

    async def start_tracker(self, listen_port: int, address: str = ANY_IPV4, ipv6_address: str | None = None) -> None:
        """Open the sockets and serve.

        :param listen_port: the UDP port; 0 for any free one.
        :param address: the IPv4 address to listen on.
        :param ipv6_address: the IPv6 address to listen on as well.
        :raises OSError: if the port cannot be used. No other one is tried, as clients know the tracker by its port.
        :raises ValueError: if there is no such port.
        """
        interfaces = {"UDPIPv4": {"port": listen_port, "ip": address}}
        if ipv6_address is not None:
            interfaces["UDPIPv6"] = {"port": listen_port, "ip": ipv6_address}
        endpoint = DispatcherEndpoint(list(interfaces), **interfaces)
        for interface in interfaces.values():
            _check_address(str(interface["ip"]), listen_port)
        self.endpoint = endpoint
        self.overlay = self.create_endpoint_server()
        try:
            await endpoint.open()
            for name, part in endpoint.interfaces.items():
                port = part.get_address()[1]
                if not part.is_open() or listen_port not in {0, port}:
                    raise OSError(f"UDP port {listen_port} of {interfaces[name]['ip']} is in use by another program")
                logging.getLogger(type(self).__name__).info("The tracker listens on %s, UDP port %d",
                                                            interfaces[name]["ip"], port)
        except BaseException:
            await self.shutdown()
            raise

    async def start_api(self, listen_port: int, api_key: str | None = None, cert_file: str | None = None) -> None:
        """Serve the list of services and the metrics by HTTP (with ``cert_file`` by HTTPS) on a TCP port.

        :raises ModuleNotFoundError: if ``aiohttp`` is not installed.
        """
        assert self.overlay is not None, "call start_tracker() first"
        self.site = await start_site(self.overlay, listen_port, api_key, cert_file)

    async def shutdown(self) -> None:
        """Stop everything that was started."""
        site, self.site = self.site, None
        endpoint, self.endpoint = self.endpoint, None
        overlay, self.overlay = self.overlay, None
        try:
            if site is not None:
                await site.cleanup()
        finally:
            if endpoint is not None:
                await maybe_coroutine(endpoint.close)
            if overlay is not None:
                await overlay.unload()


async def serve(service: TrackerService, listen_port: int = 8090, listen_address: str = ANY_IPV4,
                listen_address_ipv6: str | None = None, api_port: int | None = None, api_key: str | None = None,
                cert_file: str | None = None, as_json: bool = False) -> None:
    """Run a tracker until SIGINT or SIGTERM.

    :param api_port: the TCP port of the HTTP interface; without one there is none.
    :param as_json: whether to print what happens, as lines of JSON. It is logged in any case.
    """
    async def start() -> None:
        await service.start_tracker(listen_port, listen_address, listen_address_ipv6)
        if api_port is not None:
            await service.start_api(api_port, api_key, cert_file)
        if as_json:
            print_event("started", **_event(service))

    await serve_until_stopped(start, service.shutdown)
    if as_json:
        print_event("stopped")


def _event(service: TrackerService) -> dict[str, Any]:
    """Addresses and identity of a running tracker, for programs."""
    assert service.endpoint is not None
    assert service.overlay is not None
    key = service.overlay.my_peer.public_key
    return {
        "addresses": [dict(zip(("host", "port"), part.get_address()[:2], strict=True))
                      for part in service.endpoint.interfaces.values()],
        "http": service.site and dict(zip(("host", "port"), service.site.addresses[0][:2], strict=True)),
        "mid": key.key_to_hash().hex(),
        "public_key": key.key_to_bin().hex(),
    }
