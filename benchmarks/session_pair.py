"""Machines of sessions without a network, for measurements and for changed bytes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.session import wire
from ipv8.messaging.session.handshake import HalfOpen, Opening, OwnKey
from ipv8.messaging.session.machine import Machine, MachineSettings
from ipv8.messaging.session.noise import KeyPair
from ipv8.messaging.session.wire import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Chance", "Judge", "SessionPair"]


class Chance:
    """Random numbers of a machine."""

    def __init__(self, randbytes: Callable[[int], bytes]) -> None:
        self.secret = self.token = randbytes
        self.uniform = Random(1).uniform

    def kem_seed(self) -> bytes:
        """64 bytes for a key of ML-KEM."""
        return self.secret(64)


class Judge:
    """Accepts all keys."""

    load = staticmethod(default_eccrypto.key_from_network)

    def is_proven(self, address: Any) -> bool:  # noqa: ARG002 - part of the interface
        """All addresses are proven."""
        return True


class SessionPair:
    """Two nodes with a session, and the datagrams by which it was opened."""

    def __init__(self, randbytes: Callable[[int], bytes]) -> None:
        self.addresses = UDPv4Address("1.0.0.1", 1), UDPv4Address("1.0.0.2", 2)
        self._randbytes = randbytes
        self.machines: list[Machine] = []
        self.owns: list[OwnKey] = []
        for _ in range(2):
            machine = Machine(MachineSettings(hybrid="off"), Judge(), Chance(randbytes), 0.0)
            own = OwnKey(default_eccrypto.generate_key("curve25519"), KeyPair(randbytes(32)), 0)
            machine.add_key(own)
            self.machines.append(machine)
            self.owns.append(own)
        self.datagrams: list[tuple[int, bytes]] = []
        self.machines[0].open(self.owns[0], self.owns[1].public_bin, self.addresses[1], 0.0)
        for _ in range(6):
            self.carry()
        for machine in self.machines:
            machine.take_events()

    def carry(self) -> None:
        """Take what each side sends to the other one."""
        for sender, machine in enumerate(self.machines):
            for _, datagram in machine.datagrams():
                self.datagrams.append((1 - sender, datagram))
                self.machines[1 - sender].receive(datagram, self.addresses[sender], 0.0)

    # One side of a handshake

    def prepare(self) -> None:
        """Make the handshake that :meth:`initiate` and :meth:`respond` repeat, each for its side."""
        first, second = self.owns
        self._opening = Opening(first, second.public_bin, b"abcd", KeyPair(self._randbytes(32)))
        self._half = HalfOpen(second, second.public_bin, self._opening.init, b"efgh", KeyPair(self._randbytes(32)))
        self._finish, _ = self._opening.finish(self._opening.read(self._half.response, Judge()), b"")

    def initiate(self) -> None:
        """All that the initiator does in a handshake."""
        Opening(self.owns[0], self.owns[1].public_bin, b"abcd", KeyPair(self._randbytes(32)))
        self._opening.finish(self._opening.read(self._half.response, Judge()), b"")

    def respond(self) -> None:
        """All that the responder does in a handshake."""
        own = self.owns[1]
        HalfOpen(own, own.public_bin, self._opening.init, b"efgh", KeyPair(self._randbytes(32)))
        self._half.read(self._finish, Judge())

    # What is refused

    def receive(self, datagram: bytes) -> None:
        """Give a datagram of the first node to the second one."""
        self.machines[1].receive(datagram, self.addresses[0], 0.0)
        self.machines[1].datagrams()

    def refused(self) -> tuple[bytes, bytes, bytes, bytes]:
        """A forged DATA, a repeated one, one of a session that does not exist, and an INIT for another key."""
        channel = self.machines[0].channels()[0]
        genuine = channel.seal(bytes((Frame.MESSAGE,)) + bytes(109))
        self.receive(genuine)
        forged = channel.seal(bytes((Frame.MESSAGE,)) + bytes(109))[:-1] + b"?"
        unknown = genuine[:23] + b"none" + genuine[27:]
        init = wire.write_init(b"abcd", self._randbytes(32), wire.mac_key(b"somebody else"))
        self.machines[1]._started = -1e9  # it knows its sessions, so it gives no hints
        return forged, genuine, unknown, init

    def open_sessions(self, count: int) -> None:
        """Give the second node sessions with that many others."""
        machine, own = self.machines[1], self.owns[1]
        machine.settings = machine.settings._replace(max_sessions=10 * count)
        for number in range(count):
            other = OwnKey(default_eccrypto.generate_key("curve25519"), KeyPair(self._randbytes(32)), 0)
            address = UDPv4Address(f"2.{number // 250}.{number % 250}.1", 1000 + number)
            opening = Opening(other, own.public_bin, self._randbytes(4), KeyPair(self._randbytes(32)))
            machine.receive(opening.init, address, 10.0 * number)
            ((_, response),) = machine.datagrams()
            finish, _ = opening.finish(opening.read(response, Judge()), b"")
            machine.receive(finish, address, 10.0 * number)
            machine.datagrams()
