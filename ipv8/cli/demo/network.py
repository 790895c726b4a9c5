"""A tracker and nodes on the loopback interface, and views of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from socket import AF_INET, SOCK_DGRAM, socket
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ...configuration import Bootstrapper, BootstrapperDefinition, ConfigBuilder
from ...messaging.interfaces.udp.endpoint import UDPEndpoint
from ...peerdiscovery.network import PeerObserver
from ...peerdiscovery.tracker import EndpointServer
from ...service import IPv8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from ...community import Community
    from ...messaging.address import Address
    from ...peer import Peer
    from .activity import Activity

__all__ = ["Event", "LocalNetwork", "NodeView", "Outcome", "end"]

LOOPBACK = "127.0.0.1"

PEERS_WANTED, PEERS_ALLOWED = 20, 30
"""The number of peers that a node looks for, and the number that it sends messages to."""

SPARE_FILES = 8
"""The number of files besides the sockets of the nodes: that of the tracker, and some of the system."""

INTRODUCTION_RESPONSES = (245, 233)
PUNCTURES = (249, 231)
"""Message ids, in the old and the new style."""

ALIAS = "me"
WALK_INTERVAL = 0.2
WATCHED = "the watched overlay"

MOST_EVENTS = 10_000
"""Events that are kept; later ones are not told."""


class NodeView(NamedTuple):
    """The state of a node: the peers that it met, counts of messages, and the figures of the activity."""

    name: str
    address: str
    mid: str
    peers: int
    introductions: int
    punctures: int
    figures: tuple[int, ...]


class Event(NamedTuple):
    """An event that happened for the first time, ``seconds`` after the start; ``kind`` is a word for it."""

    seconds: float
    kind: str
    text: str


class Outcome(NamedTuple):
    """The result: when all nodes had met (``None``: never), whether all was done, and how long it took."""

    met_after: float | None
    done: bool
    seconds: float

    @property
    def good(self) -> bool:
        """Whether all nodes have met, and did what they should."""
        return self.met_after is not None and self.done


class _Watching(PeerObserver):
    """Reports what peer discovery does in an overlay; a base of :func:`_watched`, in front of the overlay's class."""

    tell: Callable[..., None]

    def started(self: Any) -> Any:
        """Begin to report, when the sockets are open."""
        self.my_estimated_lan = self.endpoint.get_address()
        self.network.add_peer_observer(self)
        started = getattr(super(), "started", None)
        return None if started is None else started()

    def on_peer_added(self, peer: Peer) -> None:
        """Tell that peers have met."""
        self.tell("met", "{me} met {0}", peer.address)

    def on_peer_removed(self, peer: Peer) -> None:
        """Tell that a peer is gone."""
        self.tell("lost", "{me} lost {0}", peer.address)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        """Tell of an introduction."""
        super().introduction_response_callback(peer, dist, payload)  # type: ignore[misc]  # of the overlay
        if payload.wan_introduction_address[1]:
            self.tell("introduced", "{0} introduced {1} to {me}", peer.address, payload.wan_introduction_address)

    def create_puncture(self, lan_walker: Address, wan_walker: Address, identifier: int,
                        new_style: bool = False) -> bytes:
        """Tell of a puncture."""
        self.tell("puncture", "{me} opened the way for {0} with a puncture", wan_walker)
        packet: bytes = super().create_puncture(lan_walker, wan_walker, identifier,  # type: ignore[misc]  # as above
                                                new_style=new_style)
        return packet


def _watched(overlay_class: type[Community]) -> type[Any]:
    """A class of an overlay that also reports what peer discovery does in it."""
    return type(overlay_class.__name__, (_Watching, overlay_class), {})


class LocalNetwork:
    """A tracker and some nodes, running inside an ``async with`` block; ``events`` grows meanwhile.

    :param size: how many nodes.
    :param activity: what they do.
    :param directory: each node gets a working directory below it; without one, nodes store nothing.
    """

    def __init__(self, size: int, activity: Activity, directory: Path | None = None) -> None:
        self.size = size
        self._directory = directory
        self.activity = activity
        self.peers_wanted = min(size - 1, PEERS_WANTED)
        self.events: list[Event] = []
        self.started_at = monotonic()
        self.tracker_address = ""
        self._seen: set[str] = set()
        self._names: dict[int, str] = {}
        self._tracker_endpoint = UDPEndpoint(0, LOOPBACK)
        self._tracker: EndpointServer | None = None
        self._watched = _watched(activity.watched)
        self._nodes: dict[str, IPv8] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> dict[str, IPv8]:
        """The nodes by their names, in the order in which they started."""
        return self._nodes

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the tracker, then the nodes.

        :raises OSError: if there are too few sockets.
        """
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
        self._task = asyncio.get_running_loop().create_task(self.activity.run(self))

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

    async def _start_node(self, name: str, tracker: tuple[str, int]) -> None:
        """Start a node that knows only the address of the tracker."""
        servers = [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
            "ip_addresses": [tracker], "dns_addresses": [], "bootstrap_timeout": 1.0})]
        builder = ConfigBuilder().clear_keys().clear_overlays()
        builder.set_address(LOOPBACK).set_port(0).set_walker_interval(WALK_INTERVAL)
        builder.set_log_level("ERROR")  # there are warnings about requests while all nodes stop at once
        builder.add_ephemeral_key(ALIAS)
        builder.add_overlay(WATCHED, ALIAS, self.activity.walkers(self.peers_wanted), servers,
                            {"max_peers": PEERS_ALLOWED}, [("started",)])
        if self._directory is not None:
            (self._directory / name).mkdir()
            builder.set_working_directory(self._directory / name)
        self.activity.configure(builder, servers)
        node = IPv8(builder.finalize(), enable_statistics=True, extra_communities={WATCHED: self._watched})
        overlay = self._overlay(node)
        overlay.tell = self._teller(name)
        node.endpoint.enable_community_statistics(overlay.get_prefix(), True)
        self._nodes[name] = node
        await node.start()
        self._names[node.endpoint.get_address()[1]] = name

    def _overlay(self, node: IPv8) -> Any:
        overlay = node.get_overlay(self._watched)
        assert overlay is not None, "each node was configured to have it"
        return overlay

    def name_of(self, mid: bytes) -> str:
        """The name of a node by its mid; the beginning of the mid if it is of somebody else."""
        return next((name for name, node in self._nodes.items() if node.keys[ALIAS].mid == mid), mid.hex()[:8])

    def tell(self, kind: str, sentence: str) -> None:
        """Add an event."""
        if sentence not in self._seen and len(self._seen) < MOST_EVENTS:
            self._seen.add(sentence)
            self.events.append(Event(monotonic() - self.started_at, kind, sentence))

    def _teller(self, name: str) -> Callable[..., None]:
        """The function by which a node reports events; ports in addresses are replaced by names."""
        def tell(kind: str, text: str, *addresses: Address) -> None:
            names = [self._names.get(address[1], f"{address[0]}:{address[1]}") for address in addresses]
            if kind == "puncture" and names == ["the tracker"]:
                return  # answers to the tracker, which asks whether nodes are still there
            self.tell(kind, text.format(*names, me=name))
        return tell

    def views(self) -> list[NodeView]:
        """The current state of all nodes."""
        return [self._view(name, node) for name, node in self._nodes.items()]

    def _view(self, name: str, node: IPv8) -> NodeView:
        overlay = self._overlay(node)
        statistics = node.endpoint.get_statistics(overlay.get_prefix())

        def count(direction: str, identifiers: tuple[int, ...]) -> int:
            return sum(getattr(statistics[number], direction) for number in identifiers if number in statistics)

        host, port = node.endpoint.get_address()[:2]
        return NodeView(name, f"{host}:{port}", overlay.my_peer.mid.hex()[:8], len(overlay.get_peers()),
                        count("num_down", INTRODUCTION_RESPONSES), count("num_up", PUNCTURES),
                        self.activity.figures(node))

    def have_met(self) -> bool:
        """Whether every node met as many others as it looks for."""
        return all(view.peers >= self.peers_wanted for view in self.views())

    def is_done(self) -> bool:
        """Whether the nodes did what the activity is about. If that has failed, its exception is raised."""
        if self._task is not None and self._task.done():
            self._task.result()
        return self.activity.is_done(self)

    async def stop(self) -> None:
        """Stop what the nodes do, then all nodes, then the tracker."""
        task, self._task = self._task, None
        tracker, self._tracker = self._tracker, None
        await end(task)
        await asyncio.gather(*(node.stop() for node in self._nodes.values()))
        if tracker is not None:
            await tracker.unload()
            self._tracker_endpoint.close()


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task if it runs. If it has failed, log why."""
    if task is not None:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Exception):
            logging.getLogger("LocalNetwork").error("What the nodes did has failed", exc_info=result)
