"""Run a bootstrap server, which introduces the peers of any overlay to one another."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_DGRAM, socket
from typing import TYPE_CHECKING, Any

from ..messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ..peer import Peer
from ..peerdiscovery.tracker import EndpointServer, TrackerLimits
from ..util import maybe_coroutine, run_forever
from .tracker_api import start_site

if TYPE_CHECKING:
    import argparse

    from ..messaging.interfaces.endpoint import Endpoint

__all__ = ["TrackerService", "add_arguments", "run", "serve"]

API_KEY_VARIABLE = "IPV8_TRACKER_API_KEY"
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``ipv8 tracker``."""
    limits = TrackerLimits()
    parser.add_argument("-p", "--port", "--listen_port", dest="listen_port", type=int, default=8090,
                        metavar="PORT",
                        help="UDP port (default 8090)")
    parser.add_argument("--listen-address", metavar="IP", default=ANY_IPV4, help="IPv4 address (default: all)")
    parser.add_argument("--listen-address-ipv6", metavar="IP", help="IPv6 address to listen on as well; :: for all")
    parser.add_argument("-a", "--api-port", "--listen_port_api", dest="listen_port_api", type=int, default=-1,
                        metavar="PORT",
                        help="TCP port of the HTTP interface (default: none); needs aiohttp")
    parser.add_argument("-k", "--api-key", "--api_key", dest="api_key", metavar="KEY",
                        default=os.environ.get(API_KEY_VARIABLE),
                        help="the key that HTTP clients need. Other users of this machine see arguments: better set "
                             f"the environment variable {API_KEY_VARIABLE}")
    parser.add_argument("-c", "--cert-file", "--cert_file", dest="cert_file", metavar="FILE",
                        help="certificate and private key (PEM): speak HTTPS")
    parser.add_argument("--key-file", metavar="FILE", help="where the tracker's key is kept (default: a new one)")
    parser.add_argument("--max-peers", type=int, default=limits.peers, metavar="N",
                        help=f"how many peers to remember (default {limits.peers})")
    parser.add_argument("--requests-per-address", type=float, default=limits.requests_per_address, metavar="N",
                        help=f"packets a second from one address (default {limits.requests_per_address:g})")


async def serve(arguments: argparse.Namespace, service: TrackerService | None = None) -> None:
    """Run a tracker until SIGINT or SIGTERM."""
    if service is None:
        service = TrackerService(TrackerLimits(
            peers=arguments.max_peers, requests_per_address=arguments.requests_per_address,
            requests_per_subnet=5 * arguments.requests_per_address), arguments.key_file)
    await service.start_tracker(arguments.listen_port, arguments.listen_address, arguments.listen_address_ipv6)
    try:
        if arguments.listen_port_api >= 0:
            await service.start_api(arguments.listen_port_api, arguments.api_key, arguments.cert_file)
        await run_forever()
    finally:
        await service.shutdown()


def run(arguments: argparse.Namespace) -> int:
    """Run ``ipv8 tracker``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(arguments))
    return 0
