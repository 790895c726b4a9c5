"""Tunnels in a simulated network with hostile relays: what circuits and hidden services get through, and what not.

The code of all nodes is that of the library; hostile ones change what they send. Used by ``benchmarks.simulation``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipv8 import entropy
from ipv8.asking import request
from ipv8.community import Community
from ipv8.messaging.anonymization.handshake import MAX_CANDIDATES
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_STATE_READY,
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_RELAY,
    PEER_FLAG_SPEED_TEST,
)
from ipv8.messaging.inet import network_of
from ipv8.peer import Peer  # noqa: TC001 - the type of a field of a message is read when the overlay is made
from ipv8.test.messaging.anonymization.mock import MockDHTProvider, global_dht_services
from ipv8.test.simulation import Link, Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipv8.messaging.anonymization.community import TunnelCommunity
    from ipv8.messaging.anonymization.tunnel import Circuit
    from ipv8.test.simulation import Node

HOPS = 3
LATENCY = 0.02
"""Seconds that a line takes; a packet takes two."""
FORMATION = 60.0
"""Virtual seconds that nodes have to know each other before circuits are built."""
UPTIME, DOWNTIME = 600.0, 120.0
"""Mean seconds that nodes are there, and are not, while there is churn."""
EXIT_SHARE = 0.25
HOSTILE_SHARE = 0.1
"""Parts of the nodes that are exits, and that are hostile, for each way to be hostile."""
CROWD_SHARE = 0.15
"""Part of the nodes that are in one /24."""
REQUESTS = 20
"""Messages that are sent by each circuit, one a second, each of which is answered."""
HARMLESS = 4
"""Cells of a circuit that a hostile relay passes on as they are, so that the circuit is built."""
TIDE = 10
"""A relay that tags or replays does so with one cell in this many."""
KINDS = ("tags", "drops", "replays", "lies")
"""What hostile relays do: change bits of cells; drop cells; send them twice; extend circuits to accomplices only."""
CASES = (("none", (), False, False), ("none, churn", (), False, True),
         ("change bits", ("tags",), False, False), ("drop cells", ("drops",), False, False),
         ("send cells again", ("replays",), False, False), ("extend to accomplices only", ("lies",), False, False),
         ("are in one /24", (), True, False), ("all of these, churn", KINDS, True, True))
"""Name, kinds of hostile relays, whether there is a crowded /24, and whether there is churn."""
ORIGINS, CIRCUITS, CLIENTS = 20, 10, 10
"""Nodes that build circuits, circuits of each, and clients that connect to a hidden service."""
CONNECT_SECONDS = 120.0


class Honest(HiddenTunnelCommunity):
    """Counts what reaches the ends of circuits more than once."""

    kind = "honest"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.seen: Counter[tuple[int | None, bytes]] = Counter()

    def on_test_request(self, source_address: Any, data: bytes, circuit_id: int | None = None) -> None:
        """Count a request, and answer it."""
        self.seen[circuit_id, data] += 1
        super().on_test_request(source_address, data, circuit_id)


class Conspiracy:
    """Who belongs to the attacker. All hostile nodes share one such object: settings that are data would be copied."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()


class Hostile(Honest):
    """A relay that changes, drops or repeats what it passes on."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.kind = settings.kind
        self.accomplices: set[bytes] = settings.conspiracy.keys
        self.accomplices.add(self.my_peer.key_bin)
        self.harmed = 0
        self._passed: Counter[int] = Counter()
        if self.kind != "lies":
            endpoint: Any = self.endpoint
            self._true_send = endpoint.send
            endpoint.send = self._send

    def _send(self, address: Any, packet: bytes, *rest: Any) -> None:
        if not self._is_relayed(packet):
            self._true_send(address, packet, *rest)
            return
        number = int.from_bytes(packet[23:27], "big")
        self._passed[number] += 1
        if self._passed[number] <= HARMLESS or (self.kind != "drops" and self._passed[number] % TIDE):
            self._true_send(address, packet, *rest)
            return
        self.harmed += 1
        if self.kind == "tags":
            position = entropy.randint(37, len(packet) - 1)
            self._true_send(address, packet[:position] + bytes((packet[position] ^ 1,)) + packet[position + 1:])
        elif self.kind == "replays":
            for delay in (0.0, 0.1, 5.0):
                self.register_anonymous_task("replay", self._true_send, address, packet, delay=delay)

    def _is_relayed(self, packet: bytes) -> bool:
        return (len(packet) > 37 and packet[:22] == self._prefix and not packet[22] and not packet[27]
                and int.from_bytes(packet[23:27], "big") in self.relay_from_to)

    def _candidates_to_propose(self, previous: Any, *rest: Any) -> Any:
        """A relay that lies proposes its accomplices only."""
        if self.kind != "lies":
            return super()._candidates_to_propose(previous, *rest)
        peers = [peer for peer in self.get_candidates(PEER_FLAG_RELAY) if peer.key_bin in self.accomplices]
        return peers[:MAX_CANDIDATES], []

    def _extension_target(self, previous: Any, proposed: Any, key_bin: bytes, address: Any) -> Any:
        """A relay that lies extends circuits to accomplices only."""
        if self.kind == "lies" and key_bin not in self.accomplices:
            self.harmed += 1
            return None
        return super()._extension_target(previous, proposed, key_bin, address)


class Greeter(Community):
    """What the hidden service offers."""

    community_id = b"simulated greetings."

    @request(1, answer=2)
    def greet(self, peer: Peer, number: int) -> int:  # noqa: ARG002 - as all handlers
        """Answer something that shows that the question was read."""
        return 2 * number


@dataclass
class Outcome:
    """What came of the circuits of all origins."""

    begun: int = 0
    ready: int = 0
    asked: int = 0
    answered: int = 0
    captured: int = 0
    both_ends: int = 0
    same_network: int = 0
    crowd: int = 0
    most_first_hops: int = 0
    first_hops: dict[str, set[bytes]] = field(default_factory=dict)


class TunnelNetwork:
    """Nodes that relay for one another, some of which are hostile.

    :param sim: the simulation.
    :param count: how many nodes there are.
    :param kinds: what the hostile ones do; a part :data:`HOSTILE_SHARE` of all nodes for each.
    :param crowd: whether a part of the nodes is in one /24. They are hostile: what they see is counted.
    """

    def __init__(self, sim: Simulation, count: int, kinds: Sequence[str] = (), crowd: bool = False) -> None:
        self.sim = sim
        self.conspiracy = Conspiracy()
        global_dht_services.clear()
        sim.add_tracker()
        hostile = [kind for kind in kinds for _ in range(round(HOSTILE_SHARE * count))]
        in_crowd = min(250, round(CROWD_SHARE * count)) if crowd else 0
        self.nodes: list[Node] = []
        self.crowd: set[bytes] = set()
        for number in range(count):
            flags = {PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST}
            if entropy.random() < EXIT_SHARE:
                flags.add(PEER_FLAG_EXIT_BT)
            address: bool | str = f"5.6.7.{number + 1}" if number < in_crowd else True
            kind = hostile[number - in_crowd] if 0 <= number - in_crowd < len(hostile) else "honest"
            options: dict[str, Any] = {"peer_flags": flags, "remove_tunnel_delay": 0, "max_circuits": 0}
            if kind == "honest":
                node = sim.add_node(Honest, ipv4=address, **options)
            else:
                node = sim.add_node(Hostile, ipv4=address, kind=kind, conspiracy=self.conspiracy, **options)
            self.nodes.append(node)
            if number < in_crowd:
                self.crowd.add(node.my_peer.key_bin)
        self.honest = self.nodes[in_crowd + len(hostile):]
        sim.run(FORMATION)

    def hostile_keys(self) -> set[bytes]:
        """The keys of all hostile nodes."""
        return self.conspiracy.keys | self.crowd

    def damage(self) -> int:
        """Cells that were changed, dropped or repeated."""
        return sum(getattr(node.overlay, "harmed", 0) for node in self.nodes if node.running)

    def repeated(self) -> int:
        """Messages that an end of a circuit has accepted more than once."""
        return sum(count - 1 for node in self.nodes if node.running for count in node.overlay.seen.values())

    # Circuits

    def use_circuits(self, origins: int, circuits: int) -> Outcome:
        """Let some honest nodes build circuits one after another, and send messages through each."""
        outcome = Outcome()
        chosen = self.honest[:origins]
        self.sim.wait_for(_gather(self._use(node, circuits, outcome) for node in chosen))
        outcome.most_first_hops = max((len(keys) for keys in outcome.first_hops.values()), default=0)
        return outcome

    async def _use(self, node: Node, circuits: int, outcome: Outcome) -> None:
        for _ in range(circuits):
            overlay: TunnelCommunity | None = node.overlay if node.running else None
            circuit = None if overlay is None else overlay.create_circuit(HOPS)
            if overlay is None or circuit is None:
                await asyncio.sleep(5.0)
                continue
            outcome.begun += 1
            await asyncio.wait([circuit.ready], timeout=overlay.settings.circuit_timeout)
            if circuit.state == CIRCUIT_STATE_READY:
                self._look_at(node, circuit, outcome)
                await self._ask(overlay, circuit, outcome)
            if node.running and node.overlay is overlay:
                overlay.remove_circuit(circuit.circuit_id, destroy=True)

    def _look_at(self, node: Node, circuit: Circuit, outcome: Outcome) -> None:
        outcome.ready += 1
        keys = [hop.public_key_bin for hop in circuit.hops]
        hostile = self.hostile_keys()
        outcome.captured += all(key in hostile for key in keys)
        outcome.both_ends += keys[0] in hostile and keys[-1] in hostile
        outcome.crowd += sum(key in self.crowd for key in keys) > 1
        where = {other.my_peer.key_bin: network_of(other.address[0], 16, 32) for other in self.nodes}
        networks = [where[key] for key in keys]
        outcome.same_network += len(set(networks)) < len(networks)
        outcome.first_hops.setdefault(node.name, set()).add(keys[0])

    @staticmethod
    async def _ask(overlay: TunnelCommunity, circuit: Circuit, outcome: Outcome) -> None:
        for _ in range(REQUESTS):
            if circuit.state != CIRCUIT_STATE_READY:
                return
            outcome.asked += 1
            answer = overlay.send_test_request(circuit, 200, 200)
            done, _ = await asyncio.wait([answer], timeout=1.0)
            outcome.answered += bool(done) and not answer.cancelled() and answer.result() is not None

    # Hidden services

    def use_services(self, clients: int) -> tuple[int, list[float]]:
        """Let one honest node be a service, and others connect to it; how many do, and after how many seconds."""
        service, *others = self.honest[:clients + 1]
        for node in self.nodes:
            if node.running:
                node.overlay.dht_provider = MockDHTProvider(node.my_peer)
        seconds: list[float] = []
        for node in (service, *others):
            node.add_overlay(Greeter, walkers=())
        self.sim.wait_for(_alone(service.overlays[-1].serve_hidden(HOPS - 1, timeout=CONNECT_SECONDS)))
        self.sim.wait_for(_gather(self._connect(node, service.my_peer.key_bin, seconds) for node in others))
        return len(others), seconds

    async def _connect(self, node: Node, service_key: bytes, seconds: list[float]) -> None:
        begin, greeter = self.sim.time, node.overlays[-1]
        while (left := begin + CONNECT_SECONDS - self.sim.time) > 0:
            with suppress(TimeoutError):
                peer = await greeter.connect_hidden(service_key, HOPS - 1, left)
                if await greeter.ask(peer, greeter.greet, 21) == 42:
                    seconds.append(self.sim.time - begin)
                    return


async def _alone(coroutine: Any) -> None:
    with suppress(TimeoutError):
        await coroutine


async def _gather(coroutines: Any) -> None:
    await asyncio.gather(*coroutines)


def run(count: int, kinds: Sequence[str], crowd: bool, churn: bool, origins: int = ORIGINS, circuits: int = CIRCUITS,
        clients: int = CLIENTS) -> dict[str, Any]:
    """The outcome of one network."""
    with Simulation(1, link=Link(latency=LATENCY), stand_in_signatures=True, strict=True) as sim:
        network = TunnelNetwork(sim, count, kinds, crowd)
        if churn:
            staying = network.honest[:max(origins, clients + 1)]
            sim.start_churn([node for node in network.nodes if node not in staying], mean_uptime=UPTIME,
                            mean_downtime=DOWNTIME)
        outcome = network.use_circuits(origins, circuits)
        asked, seconds = network.use_services(clients) if clients else (0, [])
        return {"ready": outcome.ready / max(1, outcome.begun), "begun": outcome.begun,
                "answered": outcome.answered / max(1, outcome.asked), "captured": outcome.captured,
                "both ends": outcome.both_ends, "same network": outcome.same_network, "crowd": outcome.crowd,
                "first hops": outcome.most_first_hops, "harmed cells": network.damage(),
                "accepted twice": network.repeated(), "clients": asked, "connected": len(seconds),
                "seconds": sorted(seconds), "virtual seconds": sim.time}
