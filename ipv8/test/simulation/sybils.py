"""One attacker with many identities, who wants to be all that honest nodes know of their overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import entropy
from ...community import Community, CommunitySettings
from ...peer import Peer

if TYPE_CHECKING:
    from ...messaging.address import Address
    from .node import Node
    from .simulation import Simulation

__all__ = ["Swarm", "sybil_class"]

FIRST_OCTET = 150
"""The attacker rents subnets 150.0.0.0/24, 150.1.0.0/24, ...: no host of an ``AddressPlan`` is near."""

MAX_HOSTS = 250
"""Addresses that are used in each /24."""


class SybilSettings(CommunitySettings):
    """What an identity needs to know."""

    swarm: Swarm
    max_peers: int = -1


class Swarm:
    """Many identities on a few subnets, which keep all rules of the protocol but one: they introduce only each other.

    They answer, so they are proven everywhere; they ask all trackers; and each of them keeps sending introduction
    requests to every honest node that any of them has heard of.

    :param sim: where they live; the trackers must be there already.
    :param overlay_class: the overlay that is attacked.
    :param count: identities.
    :param subnets: /24 networks that they are on.
    :param hosts: addresses in each of these.
    :param interval: seconds between two rounds of requests of one identity.
    """

    def __init__(self, sim: Simulation, overlay_class: type[Community], count: int, subnets: int = 3, hosts: int = 50,
                 interval: float = 60.0) -> None:
        if not 0 < hosts <= MAX_HOSTS:
            raise ValueError(f"a subnet has room for 1 to {MAX_HOSTS} hosts, not {hosts}")
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
                                walkers=(), bootstrap=False, swarm=self)
            self.nodes.append(node)
            self._own.add(node.address)
            self._keys.add(node.my_peer.key_bin)
            self.peers.append(Peer(node.my_peer.public_key, node.address))

    def hear_of(self, address: Address) -> None:
        """Attack whoever is there, unless it is one of us or a tracker."""
        if address not in self._own and address not in self.trackers and address[1]:
            self.victims[address] = None

    def honest(self, node: Node) -> list[Peer]:
        """The peers of ``node`` that are not ours."""
        return [peer for peer in node.get_peers() if peer.key_bin not in self._keys]


def sybil_class(overlay_class: type[Community]) -> type[Community]:
    """An overlay that speaks the protocol of another one in the interest of a :class:`Swarm`."""

    class Sybil(overlay_class):  # type: ignore[misc,valid-type]  # a class that is known only now
        settings_class = SybilSettings

        def __init__(self, settings: SybilSettings) -> None:
            super().__init__(settings)
            self.swarm = settings.swarm
            self.register_task("join", self.join)
            self.register_task("attack", self.attack, interval=self.swarm.interval,
                               delay=entropy.random() * self.swarm.interval)

        def join(self) -> None:
            """Become known to the trackers."""
            for address in self.swarm.trackers:
                self.walk_to(address)

        def attack(self) -> None:
            """Ask everybody to be let in."""
            for address in (*self.swarm.trackers, *self.swarm.victims):
                self.walk_to(address)

        def get_peer_for_introduction(self, exclude: Peer | None = None,  # noqa: ARG002 - in the base
                                      new_style: bool = False) -> Peer | None:  # noqa: ARG002 - in the base
            """Anybody of the swarm."""
            return entropy.choice(self.swarm.peers) if self.swarm.peers else None

        def on_introduction_request(self, peer: Peer, dist: Any, payload: Any) -> None:
            """Answer, and remember who is there."""
            self.swarm.hear_of(peer.address)
            super().on_introduction_request(peer, dist, payload)

        def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
            """Remember who is there, and who was introduced."""
            super().introduction_response_callback(peer, dist, payload)
            self.swarm.hear_of(payload.wan_introduction_address)

    return Sybil
