"""Machines of sessions on a network whose time, loss and addresses a test decides."""

from __future__ import annotations

import heapq
from random import Random
from typing import TYPE_CHECKING, Any

from ipv8.keyvault import ml_kem
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.session import wire
from ipv8.messaging.session.events import Closed, Event, Failed, Moved, Opened, Received, Unsent
from ipv8.messaging.session.handshake import OwnKey
from ipv8.messaging.session.machine import Machine, MachineSettings
from ipv8.messaging.session.noise import KeyPair
from ipv8.messaging.session.wire import Flag

if TYPE_CHECKING:
    from ipv8.messaging.session.channel import Channel

TAG = bytes(8)


def private_key(number: int) -> Any:
    """A key of its own for each number, the same in each run."""
    seed = number.to_bytes(32, "big")
    return default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + seed[::-1] + seed)


class Chance:
    """Randomness with a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def secret(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def token(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def kem_seed(self) -> bytes | None:
        return self.random.randbytes(64)


class Keys:
    """Loads keys as a node does, and knows which addresses are proven."""

    def __init__(self, own: bytes) -> None:
        self.own = own
        self.proven: set[Any] = set()

    def load(self, public_key: bytes) -> Any:
        if public_key == self.own:
            raise ValueError("this is a key of this node")
        return default_eccrypto.key_from_network(public_key)

    def is_proven(self, address: Any) -> bool:
        return address in self.proven


class Node:
    """A machine with an address, and all that it told."""

    def __init__(self, network: Network, number: int, **settings: Any) -> None:
        self.network = network
        self.number = number
        self.settings = MachineSettings(**{"hybrid": "off", **settings})
        self.address = UDPv4Address(f"1.0.0.{number}", 1000 + number)
        self.key = private_key(number)
        self.public = self.key.pub().key_to_bin()
        self.events: list[Event] = []
        self.sent: list[tuple[Any, bytes]] = []
        self.restart()
        network.nodes[self.address] = self

    def restart(self) -> None:
        """Begin without any state."""
        flags = Flag.ML_KEM if ml_kem.is_available() and self.settings.hybrid != "off" else 0
        self.keys = Keys(self.public)
        chance = Chance(self.network.random.getrandbits(32))
        self.machine = Machine(self.settings, self.keys, chance, self.network.now)
        self.own = OwnKey(self.key, KeyPair(chance.secret(32)), flags)
        self.machine.add_key(self.own)

    def receive(self, datagram: bytes, source: Any) -> None:
        self.note(self.machine.receive(datagram, source, self.network.now))

    def note(self, events: list[Event]) -> None:
        self.events += events
        self.flush()

    def flush(self) -> None:
        for address, datagram in self.machine.datagrams():
            self.sent.append((address, datagram))
            self.network.carry(self, address, datagram)

    def open(self, other: Node) -> None:
        self.machine.open(self.own, other.public, other.address, self.network.now)
        self.flush()

    def channel(self, other: Node) -> Channel | None:
        return self.machine.selected(self.own, other.public)

    def say(self, other: Node, content: bytes) -> None:
        """Send a message in a session, and open one if there is none."""
        frame = bytes((wire.Frame.MESSAGE,)) + TAG + b"\x01" + content
        channel = self.channel(other)
        now = self.network.now
        if channel is not None and self.machine.can_carry(channel):
            channel.transmit(frame)
        else:
            self.machine.hold(self.own, other.public, frame, now + 10, content)
            if channel is None:
                self.machine.open(self.own, other.public, other.address, now)
        self.note(self.machine.take_events())

    def heard(self) -> list[bytes]:
        """The contents of all messages that came."""
        return [event.frame[10:] for event in self.events if isinstance(event, Received)]

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Network:
    """Carries datagrams between nodes in virtual time."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self.nodes: dict[Any, Node] = {}
        self.delay, self.jitter, self.loss, self.repeats = 0.05, 0.0, 0.0, 0.0
        self.taps: list[Any] = []
        self._queue: list[tuple[float, int, Any, Any, bytes]] = []
        self._count = 0
        #: Where datagrams to an address go in its place, and which address those from a node seem to come from.
        self.rewritten: dict[Any, Any] = {}

    def carry(self, sender: Node, address: Any, datagram: bytes) -> None:
        source = self.rewritten.get(sender.address, sender.address)
        for tap in self.taps:
            tap(source, address, datagram)
        for _ in range(1 + (self.random.random() < self.repeats)):
            if self.random.random() >= self.loss:
                self.inject(source, address, datagram)

    def inject(self, source: Any, address: Any, datagram: bytes, delay: float | None = None) -> None:
        self._count += 1
        late = self.delay + self.random.uniform(0, self.jitter) if delay is None else delay
        heapq.heappush(self._queue, (self.now + late, self._count, source, address, datagram))

    def receiver(self, address: Any) -> Node | None:
        for node in self.nodes.values():
            if self.rewritten.get(node.address, node.address) == address:
                return node
        return None

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            deadlines = [(node.machine.deadline(), node) for node in self.nodes.values()]
            timers = [(when, node) for when, node in deadlines if when is not None]
            timer = min(timers, key=lambda item: item[0], default=None)
            arrival = self._queue[0][0] if self._queue else None
            times = [when for when in (arrival, timer and timer[0]) if when is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            if arrival is not None and arrival <= self.now:
                _, _, source, address, datagram = heapq.heappop(self._queue)
                node = self.receiver(address)
                if node is not None:
                    node.receive(datagram, source)
            elif timer is not None:
                timer[1].note(timer[1].machine.tick(self.now))
        self.now = end


__all__ = ["Chance", "Closed", "Failed", "Moved", "Network", "Node", "Opened", "Received", "Unsent", "private_key"]
