"""Nodes that send through anonymizing tunnels, or are part of those of others."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ..configuration import Strategy, WalkerDefinition, default_bootstrap_defs
from ..messaging.session.quic import available_library
from ..runner import bootstrappers_of
from .overlay_node import NodeOptions, builder_for
from .service import IPV8Service, addresses_of
from .serving import print_event, serve_until_stopped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ..messaging.anonymization.hidden_services import HiddenTunnelCommunity

__all__ = ["ExitOptions", "NodeOptions", "ProxyOptions", "Server", "report_status", "serve_exit", "serve_proxy"]

FOUND, NOT_FOUND = 0, 1

ALIAS = "tunnels"
WALK_TIMEOUT = 3.0
"""Seconds after which the walker treats a contacted address as unreachable."""
PEERS = 30
"""Peers that the node looks for."""
WALK_INTERVAL = 0.2
"""Seconds between two steps of the walk."""
READY_TIMEOUT = 60.0
"""Seconds of one try to build the first circuit."""
POLL_INTERVAL = 0.1
"""Seconds between two looks at how many nodes are known."""


class ProxyOptions(NamedTuple):
    """What a proxy does.

    :param hops: the length of its circuits.
    :param socks_address: the IP address that clients connect to.
    :param socks_port: the TCP port; 0 for any.
    :param passwords: passwords by user name; without any, all clients are served.
    :param guards_file: where the first hops are kept; ``None`` for where the platform keeps the data of programs.
    :param client_only: do nothing for others.
    :param api_port: the TCP port of the HTTP interface; ``None`` for none.
    """

    hops: int = 3
    socks_address: str = "127.0.0.1"
    socks_port: int = 1080
    passwords: Mapping[str, str] | None = None
    guards_file: str | None = None
    client_only: bool = False
    api_port: int | None = None

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__} {self.socks_address}:{self.socks_port}>"


class ExitOptions(NamedTuple):
    """What a node does for others, besides being a relay.

    :param tcp: it opens TCP connections.
    :param bittorrent: it passes on packets of BitTorrent.
    :param overlays: it passes on packets of overlays.
    :param exit_bandwidth: bytes a second by which it is an exit; 0 for any number.
    :param relay_bandwidth: bytes a second that it relays; 0 for any number.
    :param api_port: the TCP port of the HTTP interface; ``None`` for none.
    """

    tcp: bool = True
    bittorrent: bool = True
    overlays: bool = True
    exit_bandwidth: float = 0
    relay_bandwidth: float = 0
    api_port: int | None = None


def default_guards_file() -> Path:
    """Where the platform keeps the data of programs for a user."""
    from platformdirs import user_data_path

    return user_data_path("ipv8", appauthor=False) / "guards.json"


def _configuration(node: NodeOptions, settings: dict[str, Any]) -> dict[str, Any]:
    builder = builder_for(node, ALIAS, WALK_INTERVAL)
    bootstrappers = bootstrappers_of(node.bootstrap) if node.bootstrap else default_bootstrap_defs
    walkers = [WalkerDefinition(Strategy.RandomWalk, PEERS, {"timeout": WALK_TIMEOUT})]
    builder.add_overlay("HiddenTunnelCommunity", ALIAS, walkers, bootstrappers, settings, [])
    return builder.finalize()


class Server(IPV8Service):
    """A node with tunnels that runs until it is stopped.

    :param node: how it takes part.
    :param settings: those of the tunnel overlay.
    :param api_port: the TCP port of its HTTP interface; ``None`` for none.
    """

    def __init__(self, node: NodeOptions, settings: dict[str, Any], api_port: int | None = None) -> None:
        super().__init__(_configuration(node, settings))
        self._api_port = api_port

    async def start(self) -> None:
        """Start the node.

        :raises OSError: if it cannot listen where it should.
        """
        await self.start_ipv8(no_rest_api=self._api_port is None, api_port=self._api_port,
                              api_key=os.environ.get("IPV8_API_KEY") or None)

    async def stop(self) -> None:
        """Stop the node if it runs."""
        await self.stop_ipv8()

    @property
    def tunnels(self) -> HiddenTunnelCommunity:
        """The tunnel overlay of the running node."""
        from ..messaging.anonymization.hidden_services import HiddenTunnelCommunity

        assert self.ipv8 is not None, "the node runs"
        tunnels = self.ipv8.get_overlay(HiddenTunnelCommunity)
        assert tunnels is not None, "the configuration has it"
        return tunnels

    def description(self) -> dict[str, Any]:
        """The node as programs are told of it."""
        assert self.ipv8 is not None, "the node runs"
        peer = self.ipv8.keys[ALIAS]
        return {"addresses": [{"host": host, "port": port} for host, port in addresses_of(self.ipv8)],
                "mid": peer.mid.hex(), "public_key": peer.public_key.key_to_bin().hex(), **self.http_interface()}


def _require_streams() -> None:
    """Check that TCP can be carried.

    :raises ImportError: if not; the message says what to install.
    """
    if available_library() is None:
        raise ImportError("TCP through tunnels needs the package qh3 or aioquic. This command installs it:\n"
                          '  pip install "ipv8[streams]"')


async def serve_proxy(node: NodeOptions, options: ProxyOptions, as_json: bool = False) -> None:
    """Run a SOCKS5 proxy until SIGINT or SIGTERM.

    :param as_json: whether to print what happens, as lines of JSON. It is logged in any case.
    """
    from ..messaging.anonymization.socks5.server import Socks5Server
    from ..messaging.anonymization.tunnel import PEER_FLAG_EXIT_STREAMS

    _require_streams()
    guards = default_guards_file() if options.guards_file is None else options.guards_file
    if options.guards_file is None:
        default_guards_file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings: dict[str, Any] = {"guards_file": os.fspath(guards)}
    if options.client_only:
        settings["peer_flags"] = set()
    server = Server(node, settings, options.api_port)
    logger = logging.getLogger("ipv8.cli.tunnel")
    proxy: Socks5Server | None = None
    waiting: asyncio.Future[None] | None = None

    async def wait_ready() -> None:
        """Say when the first circuit was built."""
        pool = server.tunnels.pool
        while True:
            with suppress(TimeoutError):
                pool.give_back(await pool.take(options.hops, (PEER_FLAG_EXIT_STREAMS,), READY_TIMEOUT))
                break
            logger.warning("There are too few nodes for a circuit of %d hops to an exit: %d are known", options.hops,
                           len(server.tunnels.candidates))
        logger.info("The proxy is ready")
        if as_json:
            print_event("ready")

    async def start() -> None:
        nonlocal proxy, waiting
        await server.start()
        proxy = Socks5Server(server.tunnels, options.hops, options.passwords)
        port = await proxy.start(options.socks_port, options.socks_address)
        logger.info("The SOCKS5 proxy listens on %s, TCP port %d. Let clients resolve names through it, as with curl "
                    "--socks5-hostname", options.socks_address, port)
        if as_json:
            print_event("started", **server.description(), hops=options.hops,
                        socks5={"host": options.socks_address, "port": port})
        waiting = asyncio.ensure_future(wait_ready())

    async def stop() -> None:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        if proxy is not None:
            await proxy.close()
        await server.stop()

    await serve_until_stopped(start, stop)
    if as_json:
        print_event("stopped")


async def serve_exit(node: NodeOptions, options: ExitOptions, as_json: bool = False) -> None:
    """Run a relay, which may be an exit, until SIGINT or SIGTERM.

    :param as_json: whether to print what happens, as lines of JSON. It is logged in any case.
    """
    from ..messaging.anonymization import tunnel

    if options.tcp:
        _require_streams()
    offered = {"tcp": (options.tcp, tunnel.PEER_FLAG_EXIT_STREAMS),
               "bittorrent": (options.bittorrent, tunnel.PEER_FLAG_EXIT_BT),
               "overlays": (options.overlays, tunnel.PEER_FLAG_EXIT_IPV8)}
    flags = {flag for wanted, flag in offered.values() if wanted}
    server = Server(node, {
        "peer_flags": {tunnel.PEER_FLAG_RELAY, tunnel.PEER_FLAG_SPEED_TEST, *flags},
        "max_relay_bandwidth": options.relay_bandwidth, "max_exit_bandwidth": options.exit_bandwidth}, options.api_port)
    names = [name for name, (wanted, _) in offered.items() if wanted]

    async def start() -> None:
        await server.start()
        logging.getLogger("ipv8.cli.tunnel").info("The node is a relay%s", _listing(names))
        if as_json:
            print_event("started", **server.description(), exits=names)

    await serve_until_stopped(start, server.stop)
    if as_json:
        print_event("stopped")


def _listing(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return f", and an exit for {text}" if text else ", and no exit"


async def report_status(node: NodeOptions, hops: int, wait: float) -> dict[str, Any]:
    """Find out which nodes there are, and how long it takes to build a circuit.

    :param wait: seconds until a circuit must have been built.
    :returns: how many ``relays`` and ``exits`` of which kind are known, and the ``seconds`` that a circuit took to
        build, or ``None`` if there was none.
    """
    from .. import clock
    from ..messaging.anonymization import tunnel

    server = Server(node, {"peer_flags": set(), "ready_circuits": 0})
    await server.start()
    try:
        tunnels, began = server.tunnels, clock.monotonic()
        seconds = None
        while seconds is None and clock.monotonic() < began + wait:
            if len(tunnels.get_candidates(tunnel.PEER_FLAG_RELAY)) < hops:
                await asyncio.sleep(POLL_INTERVAL)
                continue
            with suppress(TimeoutError):
                trying = clock.monotonic()
                tunnels.pool.give_back(await tunnels.pool.take(hops, (), max(0.1, began + wait - trying)))
                seconds = clock.monotonic() - trying
        kinds = {"tcp": tunnel.PEER_FLAG_EXIT_STREAMS, "bittorrent": tunnel.PEER_FLAG_EXIT_BT,
                 "overlays": tunnel.PEER_FLAG_EXIT_IPV8}
        return {"found": seconds is not None, "hops": hops, "seconds": seconds, "peers": len(tunnels.candidates),
                "relays": len(tunnels.get_candidates(tunnel.PEER_FLAG_RELAY)),
                "exits": {name: len(tunnels.get_candidates(flag)) for name, flag in kinds.items()},
                "streams": available_library()}
    finally:
        await server.stop()
