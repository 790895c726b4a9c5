"""A simulated machine that runs overlays, set up as the service does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from ...bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ...checks import argument_problem, did_you_mean, setting_names, setting_problem
from ...community import Community
from ...keyvault.crypto import default_eccrypto
from ...messaging.address import UDPv6Address
from ...messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ...peer import Peer
from ...peerdiscovery.discovery import RandomWalk
from ...peerdiscovery.network import Network
from ...peerdiscovery.tracker import EndpointServer, TrackerLimits
from ..copying import copy_data
from .arguments import check_kind, check_number
from .endpoint import SimulatedEndpoint, SimulatedIPv6Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...keyvault.keys import PrivateKey
    from ...messaging.address import Address
    from ...overlay import Overlay
    from ...peerdiscovery.discovery import DiscoveryStrategy
    from .host import Host
    from .links import Link

__all__ = ["DEFAULT_WALKERS", "Bootstrapping", "Node", "Tracker", "Walker"]

DEFAULT_PORT = 8090


def check_settings(where: str, overlay_class: type[Overlay[Any]], settings: Mapping[str, Any],
                   others: Iterable[str] = ()) -> None:
    """Check settings by what the class of settings of an overlay declares.

    :param where: what was called, for the message.
    :param others: other arguments which may have been meant.
    :raises TypeError: if a name is not declared, or a value does not fit.
    """
    settings_class = overlay_class.settings_class
    known = setting_names(settings_class)
    for name, value in settings.items():
        if name not in known and not getattr(settings_class, "allow_unknown", False):
            raise TypeError(f"{where} has no argument {name!r}, and {overlay_class.__name__} no setting of that name"
                            f"{did_you_mean(name, {*known, *others})}")
        problem = setting_problem(settings_class, name, value)
        if problem is not None:
            raise TypeError(f"the setting {name!r} of {overlay_class.__name__} {problem}")


class Walker:
    """How a node makes a discovery strategy for its overlay.

    :param strategy: the class of the strategy, or a function that makes one for an overlay.
    :param peers: the number of peers from which on the strategy takes no steps; -1 for never.
    :param arguments: further arguments of the strategy.
    :raises TypeError: if the strategy cannot be made with these arguments, or ``peers`` is no number.
    """

    def __init__(self, strategy: Callable[..., DiscoveryStrategy[Any]], peers: int = 20, **arguments: Any) -> None:
        check_number("peers", 0 if peers == inf else peers)
        problem = argument_problem(strategy, arguments, passed=1)
        if problem is not None:
            raise TypeError(f"{getattr(strategy, '__name__', strategy)} {problem}")
        self.strategy = strategy
        self.peers = peers
        self.arguments = arguments


DEFAULT_WALKERS = (Walker(RandomWalk, 20, timeout=3.0),)
"""The walker that the default configuration of the service has for every overlay."""


def check_walkers(walkers: Sequence[Walker]) -> None:
    """Check the walkers of a node.

    :raises TypeError: if one of them is something else.
    """
    check_kind("walkers", walkers, Sequence, "a sequence of Walker objects")
    for walker in walkers:
        check_kind("a walker", walker, Walker, "a Walker, such as Walker(RandomWalk, 20)")


class Bootstrapping:
    """How nodes find their first peers.

    :param addresses: the addresses of trackers. The list may grow.
    :param interval: the seconds between two rounds.
    """

    def __init__(self, addresses: list[Address], interval: float) -> None:
        self.addresses = addresses
        self.interval = interval


class Node:
    """A host with an endpoint, a key, a network, overlays and their walkers.

    :meth:`start` makes ``endpoint``, ``network``, ``my_peer``, ``overlays`` and ``strategies`` anew. ``key`` and
    ``host`` stay the same.

    :param host: the machine.
    :param key: the private key; by default a new one.
    :param port: the UDP port to bind.
    :param tick: the seconds between two steps of each walker.
    :param phase: the seconds from the start until the first step.
    :param bootstrapping: how communities find their first peers; ``None`` for not at all.
    """

    def __init__(self, host: Host, key: PrivateKey | None = None, port: int = DEFAULT_PORT, tick: float = 0.5,
                 phase: float = 0.0, bootstrapping: Bootstrapping | None = None) -> None:
        self.host = host
        self.key = key or default_eccrypto.generate_key("curve25519")
        self.my_peer = Peer(self.key)
        self.port = port
        self.tick = tick
        self.phase = phase
        self.running = False
        self.endpoint: Any = None
        self.network = Network()
        self.overlays: list[Any] = []
        self.strategies: list[tuple[DiscoveryStrategy[Any], int]] = []
        self._bootstrapping = bootstrapping
        self._specifications: list[tuple[type[Overlay[Any]], Sequence[Walker], dict[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host.name}>"

    @property
    def name(self) -> str:
        """The name of the host."""
        return self.host.name

    @property
    def overlay(self) -> Any:
        """The first overlay; ``LookupError`` if there is none, or if the node is not running."""
        if not self.overlays:
            raise LookupError(f"{self.name} has no overlay: " + ("add one" if self.running else "start it first"))
        return self.overlays[0]

    @property
    def address(self) -> Address:
        """The IPv4 address of the node on the Internet, or else its IPv6 address. A NAT may drop what is sent there."""
        return self.host.public_address(self.port, ipv6=self.host.ipv4 is None)

    @property
    def addresses(self) -> list[Address]:
        """The addresses of the node on the Internet, IPv4 before IPv6."""
        return [self.host.public_address(self.port, ipv6=interface is self.host.ipv6)
                for interface in self.host.interfaces]

    def get_peers(self) -> list[Peer]:
        """The peers of the first overlay; an empty list while the node is not running."""
        peers: list[Peer] = self.overlay.get_peers() if self.running else []
        return peers

    def knows(self, other: Node) -> bool:
        """Whether ``other`` is among the peers of the first overlay."""
        return any(peer == other.my_peer for peer in self.get_peers())

    def set_link(self, link: Link) -> None:
        """Change the line of the node, or of its outermost router, to the Internet."""
        for interface in self.host.outer_interfaces:
            interface.access.change(link)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` on this machine, so that it sees this machine's addresses and wall clock."""
        return self.host.run(function, *args)

    # Life cycle. ``Simulation`` calls these with the event loop running.

    def add_overlay(self, overlay_class: type[Overlay[Any]], walkers: Sequence[Walker] = DEFAULT_WALKERS,
                    **settings: Any) -> None:
        """Add an overlay. It runs at once if the node is running, and again after each start.

        :param settings: its settings besides peer, endpoint and network. Data in them is copied at each start, see
            :func:`~ipv8.test.copying.copy_data`.
        :raises TypeError: if the class of settings does not declare one of them, or its value does not fit.
        """
        check_settings("add_overlay()", overlay_class, settings)
        check_walkers(walkers)
        specification = (overlay_class, walkers, settings)
        self._specifications.append(specification)
        if self.running:
            self.host.run(self._load, *specification)

    def start(self) -> None:
        """Start, or start again with the same key and an empty network; ``RuntimeError`` if the node is running."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already: stop it first")
        self.host.reconnect()
        self.host.run(self._start)

    async def stop(self) -> None:
        """Unload the overlays, then close the port. Does nothing if the node is not running."""
        if self.running:
            endpoint = self.endpoint
            try:
                await self.host.run(asyncio.get_running_loop().create_task, _unload(self._let_go()))
            finally:
                await endpoint.close()

    def crash(self) -> None:
        """Disconnect the machine without notice to peers. Does nothing if the node is not running."""
        if self.running:
            self.host.disconnect()
            self._close_endpoint()
            self.host.run(self._unload_later, self._let_go())

    def _close_endpoint(self) -> None:
        if self.endpoint is not None:
            for interface in self.endpoint.interfaces.values():
                interface.close()

    def _start(self) -> None:
        self._close_endpoint()  # of the previous run, which may still be stopping
        self.endpoint = DispatcherEndpoint([])
        if self.host.ipv4 is not None:
            self.endpoint.add_interface("UDPIPv4", SimulatedEndpoint(self.host, self.port))
        if self.host.ipv6 is not None:
            self.endpoint.add_interface("UDPIPv6", SimulatedIPv6Endpoint(self.host, self.port))
        self.network = Network()
        self.my_peer = Peer(self.key)
        self._load_all()
        for interface in self.endpoint.interfaces.values():
            interface.open_now()
        self.running = True
        self._timer = asyncio.get_running_loop().call_later(self.phase, self._take_steps)

    def _load_all(self) -> None:
        for specification in self._specifications:
            self._load(*specification)

    def _load(self, overlay_class: type[Overlay[Any]], walkers: Sequence[Walker], settings: dict[str, Any]) -> None:
        overlay: Any = overlay_class(overlay_class.settings_class(
            my_peer=self.my_peer, endpoint=self.endpoint, network=self.network, **copy_data(settings)))
        self.overlays.append(overlay)
        if isinstance(overlay, Community) and self._bootstrapping is not None:
            families = {type(address) is UDPv6Address for address in self.addresses}
            reachable = [address for address in self._bootstrapping.addresses
                         if (type(address) is UDPv6Address) in families]
            overlay.bootstrappers.append(DispersyBootstrapper(reachable, [], self._bootstrapping.interval))
        for walker in walkers:
            self.strategies.append((walker.strategy(overlay, **walker.arguments), walker.peers))

    def _take_steps(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.tick, self._take_steps)
        for strategy, target in tuple(self.strategies):
            if target == -1 or strategy.get_peer_count() < target:
                strategy.take_step()

    def _let_go(self) -> list[Any]:
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
        overlays = list(self.overlays)
        self.overlays.clear()
        self.strategies.clear()
        return overlays

    def _unload_later(self, overlays: list[Any]) -> None:
        task = asyncio.get_running_loop().create_task(_unload(overlays))
        task.add_done_callback(_report)


class Tracker(Node):
    """A bootstrap server, which introduces the peers of any overlay to each other."""

    limits: TrackerLimits | None = None

    def _load_all(self) -> None:
        self.overlays.append(EndpointServer(self.endpoint, self.limits, self.my_peer))
        super()._load_all()


async def _unload(overlays: list[Any]) -> None:
    outcomes = await asyncio.gather(*(overlay.unload() for overlay in overlays), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "an overlay could not be unloaded", "exception": error})
