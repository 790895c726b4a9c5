"""What nodes do with the overlays of the library: values in the DHT, circuits, and blocks that two of them sign."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from ...attestation.trustchain.community import TrustChainCommunity
from ...configuration import Strategy, WalkerDefinition
from ...dht import DHTError
from ...dht.discovery import DHTDiscoveryCommunity
from ...messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ...messaging.anonymization.tunnel import (
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_EXIT_IPV8,
    PEER_FLAG_RELAY,
    PEER_FLAG_SPEED_TEST,
)
from ...peerdiscovery.community import DiscoveryCommunity
from .activity import Activity, random_walk
from .network import ALIAS, PEERS_WANTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeVar

    from ...configuration import BootstrapperDefinition, ConfigBuilder
    from ...overlay import Overlay
    from ...service import IPv8
    from .network import LocalNetwork

    OverlayT = TypeVar("OverlayT", bound=Overlay[Any])

__all__ = ["LibraryOverlays"]

SOON, LATER = 0.3, 3.0
"""Seconds between two attempts of the nodes to do something, before and after it was done once."""

MOST_HOPS = 3
BLOCK_TYPE = b"hours"
ANSWER_SECONDS = 5.0
TEST_BYTES = 700
"""Bytes of a request, and of a response, that are sent through a circuit now and then."""

FLAGS = [PEER_FLAG_RELAY, PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8, PEER_FLAG_SPEED_TEST]
SETTINGS: dict[str, dict[str, Any]] = {
    "DHTDiscoveryCommunity": {"session_after": 1},
    "HiddenTunnelCommunity": {"peer_flags": FLAGS, "max_circuits": 1},
    "TrustChainCommunity": {"working_directory": ":memory:", "trust_graph": True, "trust_walks": 2000},
}

MORE_WALKERS = {"DHTDiscoveryCommunity": [WalkerDefinition(Strategy.PingChurn, -1, {})]}
CHURN = {"sample_size": 8, "ping_interval": 5.0, "inactive_time": 10.0, "drop_time": 30.0}


class LibraryOverlays(Activity):
    """The nodes store and find values, build circuits, and sign blocks with one another."""

    watched = DiscoveryCommunity
    columns = ("values", "circuits", "blocks")
    legend = "values: in its DHT table"

    def __init__(self) -> None:
        self._found = self._built = self._signed = 0

    def configure(self, builder: ConfigBuilder, servers: Iterable[BootstrapperDefinition]) -> None:
        """Add the overlays, with encrypted sessions and a trust graph."""
        for name, settings in SETTINGS.items():
            walkers = [random_walk(PEERS_WANTED), *MORE_WALKERS.get(name, ())]
            builder.add_overlay(name, ALIAS, walkers, servers, settings, [])
        builder.set_sessions(overlays={"DHTDiscoveryCommunity": "prefer", "TrustChainCommunity": "prefer"})
        builder.config["trust"] = {}

    def walkers(self, peers: int) -> list[WalkerDefinition]:
        """Those of the default configuration, so that peers that are gone are dropped."""
        return [random_walk(peers), WalkerDefinition(Strategy.RandomChurn, -1, CHURN),
                WalkerDefinition(Strategy.PeriodicSimilarity, -1, {})]

    def figures(self, node: IPv8) -> tuple[int, ...]:
        """The values that a node stores, its circuits, and its blocks."""
        chain = _overlay(node, TrustChainCommunity)
        latest = chain.persistence.get_latest(chain.my_key_bin)
        return (sum(len(storage.items) for storage in _overlay(node, DHTDiscoveryCommunity).storages.values()),
                len(_overlay(node, HiddenTunnelCommunity).find_circuits()),
                0 if latest is None else latest.sequence_number)

    async def run(self, network: LocalNetwork) -> None:
        """Let all of it go on at the same time."""
        for node in network.nodes.values():
            _overlay(node, TrustChainCommunity).on_block(BLOCK_TYPE, sign=True)(lambda _: None)
        await asyncio.gather(
            _again(lambda: self._find(network), lambda: self._found),
            _again(lambda: self._sign(network), lambda: self._signed),
            _again(lambda: self._build(network), lambda: self._built >= network.size))

    def is_done(self, network: LocalNetwork) -> bool:
        """Whether a value was found, every node has a circuit, and a block was signed."""
        return bool(self._found and self._signed and self._built >= network.size)

    def summary(self, network: LocalNetwork) -> str:  # noqa: ARG002 - of the base
        """How often each of it was done."""
        return (f"Values found in the DHT: {self._found}, nodes with a circuit: {self._built}, "
                f"blocks signed by two: {self._signed}.")

    async def _find(self, network: LocalNetwork) -> None:
        """One node stores a value, and another one finds it."""
        (writer, first), (reader, second) = random.sample(sorted(network.nodes.items()), 2)
        key = f"greeting of {writer}".encode()
        try:
            await _overlay(first, DHTDiscoveryCommunity).store_value(key, f"hello from {writer}".encode(), sign=True)
            values = await _overlay(second, DHTDiscoveryCommunity).find_values(key)
        except DHTError:  # nobody is known yet
            return
        if values:
            self._found += 1
            network.tell("did", f"{writer} stored a value in the DHT, and {reader} found it")

    async def _sign(self, network: LocalNetwork) -> None:
        """Two nodes that have met sign a block."""
        name, node = random.choice(sorted(network.nodes.items()))  # noqa: S311 - any of them
        chain = _overlay(node, TrustChainCommunity)
        peers = chain.get_peers()
        if not peers:
            return
        peer = random.choice(peers)  # noqa: S311 - any of them
        try:
            await chain.propose(peer, BLOCK_TYPE, {"worked": self._signed % 8 + 1}, timeout=ANSWER_SECONDS)
        except (RuntimeError, asyncio.TimeoutError):  # the other node has not heard of this one yet
            return
        self._signed += 1
        network.tell("did", f"{name} and {network.name_of(peer.mid)} signed a block that says who worked for whom")

    async def _build(self, network: LocalNetwork) -> None:
        """All nodes keep circuits, and send something through them."""
        built = 0
        for number, (name, node) in enumerate(network.nodes.items()):
            tunnels = _overlay(node, HiddenTunnelCommunity)
            hops = min(number % MOST_HOPS + 1, network.size - 1)
            if hops not in tunnels.circuits_needed:
                tunnels.build_tunnels(hops)
            circuits = tunnels.find_circuits()
            if not circuits:
                tunnels.do_circuits()
            built += bool(circuits)
            for circuit in circuits:
                way = ", ".join(network.name_of(hop.mid) for hop in circuit.hops)
                network.tell("did", f"{name} built a circuit by way of {way}")
                tunnels.send_test_request(circuit, TEST_BYTES, TEST_BYTES)
        self._built = built


async def _again(do: Callable[[], Awaitable[None]], is_done: Callable[[], object]) -> None:
    """Do something again and again."""
    while True:
        await do()
        await asyncio.sleep(LATER if is_done() else SOON)


def _overlay(node: IPv8, overlay_class: type[OverlayT]) -> OverlayT:
    overlay = node.get_overlay(overlay_class)
    assert overlay is not None, "each node was configured to have it"
    return overlay
