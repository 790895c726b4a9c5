"""A tracker and nodes on the loopback interface, and views of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from socket import AF_INET, SOCK_DGRAM, socket
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ipv8 import (
    Bootstrapper,
    BootstrapperDefinition,
    ConfigBuilder,
    IPv8,
    Peer,
    PeerObserver,
    Strategy,
    WalkerDefinition,
)
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peerdiscovery.tracker import EndpointServer

from .overlay import ClockCommunity

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from ipv8 import Address

LOOPBACK = "127.0.0.1"

PEERS_WANTED, PEERS_ALLOWED = 20, 30
"""The number of peers that a node looks for, and the number that it sends messages to."""

SPARE_FILES = 8
"""The number of files besides the sockets of the nodes: that of the tracker, and some of the system."""

INTRODUCTION_RESPONSES = (245, 233)
PUNCTURES = (249, 231)
CLOCKS = (1,)
"""Message ids; those of introductions are in the old and the new style."""


class NodeView(NamedTuple):
    """The state of a node: the peers that it met, and counts of messages."""

    name: str
    address: str
    mid: str
    peers: int
    introductions: int
    punctures: int
    told: int
    clock: int


class Event(NamedTuple):
    """An event that happened for the first time, ``seconds`` after the start; ``kind`` is a word for it."""

    seconds: float
    kind: str
    text: str


class Outcome(NamedTuple):
    """The result: when all nodes had met (``None``: never), whether their clocks agree, and how long it took."""

    met_after: float | None
    in_step: bool
    seconds: float

    @property
    def good(self) -> bool:
        """Whether all nodes have met and their clocks agree."""
        return self.met_after is not None and self.in_step


class WatchedCommunity(ClockCommunity, PeerObserver):
    """The overlay of the tutorial, which also reports what peer discovery does."""

    tell: Callable[..., None]

    def started(self) -> None:
        self.my_estimated_lan = self.endpoint.get_address()
        self.network.add_peer_observer(self)
        super().started()

    def on_peer_added(self, peer: Peer) -> None:
        self.tell("met", "{me} met {0}", peer.address)

    def on_peer_removed(self, peer: Peer) -> None:
        self.tell("lost", "{me} lost {0}", peer.address)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        if payload.wan_introduction_address[1]:
            self.tell("introduced", "{0} introduced {1} to {me}", peer.address, payload.wan_introduction_address)

    def create_puncture(self, lan_walker: Address, wan_walker: Address, identifier: int,
                        new_style: bool = False) -> bytes:
        self.tell("puncture", "{me} opened the way for {0} with a puncture", wan_walker)
        return super().create_puncture(lan_walker, wan_walker, identifier, new_style=new_style)


class LocalNetwork:
    """A tracker and ``size`` nodes, running inside an ``async with`` block; ``events`` grows meanwhile."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.peers_wanted = min(size - 1, PEERS_WANTED)
        self.events: list[Event] = []
        self.started_at = monotonic()
        self.tracker_address = ""
        self._seen: set[str] = set()
        self._names: dict[int, str] = {}
        self._tracker_endpoint = UDPEndpoint(0, LOOPBACK)
        self._tracker: EndpointServer | None = None
        self._nodes: dict[str, tuple[IPv8, WatchedCommunity]] = {}

    async def __aenter__(self) -> Self:
        self._check_open_files()
        if not await self._tracker_endpoint.open():
            msg = f"no UDP socket can be opened on {LOOPBACK}"
            raise OSError(msg)
        self._tracker = EndpointServer(self._tracker_endpoint)
        tracker_address = self._tracker_endpoint.get_address()
        self._names[tracker_address[1]] = "the tracker"
        self.tracker_address = "{}:{}".format(*tracker_address)
        try:
            for number in range(1, self.size + 1):
                await self._start_node(f"node {number}", tracker_address)
        except BaseException:
            await self.stop()
            raise
        return self

    def _check_open_files(self) -> None:
        """Check that enough sockets may be opened. Later, an error would not show the reason."""
        needed = self.size + SPARE_FILES
        try:
            with ExitStack() as opened:
                for _ in range(needed):
                    opened.enter_context(socket(AF_INET, SOCK_DGRAM))
        except OSError as e:
            msg = (f"{self.size} nodes need {needed} more open files, which the system refuses ({e.strerror}): raise "
                   "the limit (ulimit -n), or ask for fewer --nodes")
            raise OSError(msg) from e

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def _start_node(self, name: str, tracker: Address) -> None:
        """Start a node that knows only the address of the tracker."""
        builder = ConfigBuilder().clear_keys().clear_overlays()
        builder.set_address(LOOPBACK).set_port(0).set_walker_interval(0.2).set_log_level("WARNING")
        builder.add_ephemeral_key("me")
        builder.add_overlay("WatchedCommunity", "me",
                            [WalkerDefinition(Strategy.RandomWalk, self.peers_wanted, {"timeout": 1.0})],
                            [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
                                "ip_addresses": [tracker], "dns_addresses": [], "bootstrap_timeout": 1.0})],
                            {"max_peers": PEERS_ALLOWED}, [("started",)])
        node = IPv8(builder.finalize(), enable_statistics=True,
                    extra_communities={"WatchedCommunity": WatchedCommunity})
        overlay = node.get_overlay(WatchedCommunity)
        assert overlay is not None
        overlay.tell = self._teller(name)
        node.endpoint.enable_community_statistics(overlay.get_prefix(), True)
        self._nodes[name] = (node, overlay)
        await node.start()
        self._names[node.endpoint.get_address()[1]] = name

    def _teller(self, name: str) -> Callable[..., None]:
        """The function by which a node reports events; ports in addresses are replaced by names."""
        def tell(kind: str, text: str, *addresses: Address) -> None:
            names = [self._names.get(address[1], f"{address[0]}:{address[1]}") for address in addresses]
            if kind == "puncture" and names == ["the tracker"]:
                return  # answers to the tracker, which asks whether nodes are still there
            sentence = text.format(*names, me=name)
            if sentence not in self._seen:
                self._seen.add(sentence)
                self.events.append(Event(monotonic() - self.started_at, kind, sentence))
        return tell

    def views(self) -> list[NodeView]:
        """The current state of all nodes."""
        return [self._view(name, node, overlay) for name, (node, overlay) in self._nodes.items()]

    def _view(self, name: str, node: IPv8, overlay: WatchedCommunity) -> NodeView:
        statistics = node.endpoint.get_statistics(overlay.get_prefix())

        def count(direction: str, identifiers: tuple[int, ...]) -> int:
            return sum(getattr(statistics[number], direction) for number in identifiers if number in statistics)

        host, port = node.endpoint.get_address()[:2]
        return NodeView(name, f"{host}:{port}", overlay.my_peer.mid.hex()[:8], len(overlay.get_peers()),
                        count("num_down", INTRODUCTION_RESPONSES), count("num_up", PUNCTURES),
                        count("num_up", CLOCKS), overlay.lamport_clock)

    def have_met(self) -> bool:
        """Whether every node met as many others as it looks for."""
        return all(view.peers >= self.peers_wanted for view in self.views())

    def is_in_step(self) -> bool:
        """Whether every node sent its clock, and all clocks are as close as messages in flight allow."""
        views = self.views()
        clocks = [view.clock for view in views]
        return all(view.told for view in views) and max(clocks) - min(clocks) <= self.size

    async def stop(self) -> None:
        """Stop all nodes, then the tracker."""
        await asyncio.gather(*(node.stop() for node, _ in self._nodes.values()))
        if self._tracker is not None:
            await self._tracker.unload()
        self._tracker_endpoint.close()
