"""An attacker with many identities that tries to become all peers of honest nodes (a Sybil attack)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import entropy
from ...community import Community, CommunitySettings
from ...peer import Peer

if TYPE_CHECKING:
    from ...messaging.address import Address
    from .node import Node
    from .simulation import Simulation

__all__ = ["SybilAttacker", "sybil_class"]

FIRST_OCTET = 150
"""The subnets of the attacker are 150.0.0.0/24, 150.1.0.0/24, ...; an ``AddressPlan`` does not use these."""

MAX_HOSTS = 250
"""The maximum number of addresses in each /24."""


class SybilSettings(CommunitySettings):
    """The settings of an identity of the attacker."""

    attacker: SybilAttacker
    max_peers: int = -1


class SybilAttacker:
    """Many identities on a few subnets. They follow the protocol, but introduce only each other.

    They answer all requests, so they count as proven. They ask all trackers, and each of them keeps sending
    introduction requests to every honest node that any of them knows.

    :param sim: the simulation; trackers must have been added before.
    :param overlay_class: the overlay that is attacked.
    :param count: the number of identities.
    :param subnets: the number of /24 networks that they are on.
    :param hosts: the number of addresses in each of these.
    :param interval: the seconds between two rounds of requests of one identity.
    """

    def __init__(self, sim: Simulation, overlay_class: type[Community], count: int, subnets: int = 3, hosts: int = 50,
                 interval: float = 60.0) -> None:
        if not 0 < hosts <= MAX_HOSTS:
            raise ValueError(f"hosts is the number of addresses in a subnet: give 1 to {MAX_HOSTS}, not {hosts}")
        self.interval = interval
        self.peers: list[Peer] = []
        #: Where honest nodes are.
        self.victims: dict[Address, None] = {}
        self.nodes: list[Node] = []
        self._own: set[Address] = set()
        self._keys: set[bytes] = set()
        self.trackers = [address for tracker in sim.trackers for address in tracker.addresses]
        machines = [sim.add_host(ipv4=f"{FIRST_OCTET}.{subnet}.0.{number + 1}", name=f"sybil {subnet}.{number + 1}")
                    for number in range(hosts) for subnet in range(subnets)][:count]
        sybil = sybil_class(overlay_class)
        for number in range(count):
            node = sim.add_node(sybil, host=machines[number % len(machines)], port=1024 + number // len(machines),
                                walkers=(), bootstrap=False, attacker=self)
            self.nodes.append(node)
            self._own.add(node.address)
            self._keys.add(node.my_peer.key_bin)
            self.peers.append(Peer(node.my_peer.public_key, node.address))

    def hear_of(self, address: Address) -> None:
        """Attack the node at an address, unless it belongs to the attacker or is a tracker."""
        if address not in self._own and address not in self.trackers and address[1]:
            self.victims[address] = None

    def honest(self, node: Node) -> list[Peer]:
        """The peers of ``node`` that do not belong to the attacker."""
        return [peer for peer in node.get_peers() if peer.key_bin not in self._keys]


def sybil_class(overlay_class: type[Community]) -> type[Community]:
    """A subclass of an overlay for the identities of a :class:`SybilAttacker`."""

    class Sybil(overlay_class):  # type: ignore[misc,valid-type]  # a class that is known only now
        settings_class = SybilSettings

        def __init__(self, settings: SybilSettings) -> None:
            super().__init__(settings)
            self.attacker = settings.attacker
            self.register_task("join", self.join)
            self.register_task("attack", self.attack, interval=self.attacker.interval,
                               delay=entropy.random() * self.attacker.interval)

        def join(self) -> None:
            """Send an introduction request to all trackers."""
            for address in self.attacker.trackers:
                self.walk_to(address)

        def attack(self) -> None:
            """Send an introduction request to all trackers and all honest nodes that are known."""
            for address in (*self.attacker.trackers, *self.attacker.victims):
                self.walk_to(address)

        def get_peer_for_introduction(self, exclude: Peer | None = None,  # noqa: ARG002 - in the base
                                      new_style: bool = False) -> Peer | None:  # noqa: ARG002 - in the base
            """A random identity of the attacker."""
            return entropy.choice(self.attacker.peers) if self.attacker.peers else None

        def on_introduction_request(self, peer: Peer, dist: Any, payload: Any) -> None:
            """Answer, and remember the address of the sender."""
            self.attacker.hear_of(peer.address)
            super().on_introduction_request(peer, dist, payload)

        def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
            """Remember the address of the sender and the introduced address."""
            super().introduction_response_callback(peer, dist, payload)
            self.attacker.hear_of(payload.wan_introduction_address)

    return Sybil
