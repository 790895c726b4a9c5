"""What an introduction point knows: the services that it introduces, and how much it does for strangers.

See doc/protocol/hidden_services.md section 4.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ...fill import Fill
from ..inet import HOST_BITS, network_of
from .budgets import Rate, SourceBudget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .exit_socket import TunnelExitSocket

__all__ = ["IntroductionRegistry", "Registration", "points_in_answer"]

MAX_REGISTRATIONS = 64
"""Registrations at one introduction point. They end with their circuits. A further one takes the place of the newest
one of the neighbour with the most, if that one has at least two more than the neighbour of the new one."""

MAX_REGISTRATIONS_PER_CIRCUIT = 2
"""Registrations by one circuit; further ones are refused."""

MAX_REGISTRATIONS_PER_KEY = 3
"""Registrations for one key of a service; further ones are refused. Anybody can register any key. What arrives for the
key is sent to all of them, and only the owner of the key can answer."""

MAX_PEX_OVERLAYS = 32
"""Overlays in which introduction points tell each other of services. There are none for further info hashes."""

INTRODUCTIONS_PER_SECOND_PER_HOST, INTRODUCTIONS_AT_ONCE_PER_HOST = 1.0, 10.0
"""Requests for a connection that are forwarded for one host."""

INTRODUCTIONS_PER_SECOND, INTRODUCTIONS_AT_ONCE = 20.0, 40.0
"""Requests for a connection that are forwarded for all hosts."""

LOOKUPS_PER_SECOND_PER_HOST, LOOKUPS_AT_ONCE_PER_HOST = 0.5, 10.0
"""Requests for introduction points that are answered to one host."""

LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE = 20.0, 40.0
"""Requests for introduction points that are answered to all hosts."""

MAX_POINTS_IN_ANSWER = 7
"""Introduction points in one answer, chosen at random."""

MAX_POINTS_IN_SHORT_ANSWER = 2
"""The same in an answer by the socket to an address that is not proven, if the request was so short that an answer with
more of them had more than ``AMPLIFICATION`` times its bytes. Nodes of other releases only make short requests."""

AMPLIFICATION = 3
"""How many times as long as a request from an unknown address an answer with more introduction points may be."""

REQUEST_SIZE, ANSWER_SIZE, POINT_SIZE = 49, 50, 174
"""Bytes of a request, of an answer without introduction points, and of one of them with an IPv6 address."""

PADDED_REQUEST_SIZE = -(-(ANSWER_SIZE + MAX_POINTS_IN_ANSWER * POINT_SIZE) // AMPLIFICATION)
"""Bytes of a request that is answered in full, wherever it comes from."""


def points_in_answer(request_size: int, is_known: bool) -> int:
    """How many introduction points the answer to a request by the socket may have.

    :param request_size: bytes of the packet.
    :param is_known: whether it came from the address of a peer that was proved to be there.
    """
    if is_known:
        return MAX_POINTS_IN_ANSWER
    fitting = (AMPLIFICATION * request_size - ANSWER_SIZE) // POINT_SIZE
    return min(max(fitting, MAX_POINTS_IN_SHORT_ANSWER), MAX_POINTS_IN_ANSWER)


class Registration(NamedTuple):
    """A service that has asked to be introduced.

    :param exit_socket: the end of its circuit.
    :param info_hash: the swarm that it belongs to.
    :param seeder_pk: its public key.
    :param neighbour: the host from which the cells of the circuit come.
    """

    exit_socket: TunnelExitSocket
    info_hash: bytes
    seeder_pk: bytes
    neighbour: bytes

    @property
    def circuit_id(self) -> int:
        """The id of the circuit."""
        return self.exit_socket.circuit_id


class IntroductionRegistry:
    """The services that a node introduces, and the budgets for what it does for them."""

    def __init__(self) -> None:
        #: For each key of a service, the exit socket and the info hash of its oldest registration.
        self.first: dict[bytes, tuple[TunnelExitSocket, bytes]] = {}
        self._registrations: list[Registration] = []  # the oldest first
        self.introductions = SourceBudget(Rate(INTRODUCTIONS_PER_SECOND_PER_HOST, INTRODUCTIONS_AT_ONCE_PER_HOST),
                                          Rate(INTRODUCTIONS_PER_SECOND, INTRODUCTIONS_AT_ONCE))
        self.lookups = SourceBudget(Rate(LOOKUPS_PER_SECOND_PER_HOST, LOOKUPS_AT_ONCE_PER_HOST),
                                    Rate(LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE))

    def __len__(self) -> int:
        return len(self._registrations)

    def __iter__(self) -> Iterator[Registration]:
        return iter(tuple(self._registrations))

    def of_key(self, seeder_pk: bytes) -> list[Registration]:
        """The registrations for the key of a service."""
        return [known for known in self._registrations if known.seeder_pk == seeder_pk]

    def of_circuit(self, circuit_id: int) -> list[Registration]:
        """The registrations by a circuit."""
        return [known for known in self._registrations if known.circuit_id == circuit_id]

    def of_info_hash(self, info_hash: bytes) -> list[Registration]:
        """The registrations for a swarm."""
        return [known for known in self._registrations if known.info_hash == info_hash]

    def register(self, exit_socket: Any, info_hash: bytes, seeder_pk: bytes) -> tuple[bool, Registration | None]:
        """Register a service.

        :returns: whether it is registered now, and the registration that was removed to make room for it.
        """
        same_circuit = self.of_circuit(exit_socket.circuit_id)
        for known in same_circuit:
            if known.seeder_pk == seeder_pk:
                return known.info_hash == info_hash, None
        if (len(same_circuit) >= MAX_REGISTRATIONS_PER_CIRCUIT
                or len(self.of_key(seeder_pk)) >= MAX_REGISTRATIONS_PER_KEY):
            return False, None
        new = Registration(exit_socket, info_hash, seeder_pk, network_of(exit_socket.hop.address[0], *HOST_BITS))
        removed = None
        if len(self._registrations) >= MAX_REGISTRATIONS:
            removed = self._surplus(new.neighbour)
            if removed is None:
                return False, None
            self._remove(removed)
        self._registrations.append(new)
        self.first.setdefault(seeder_pk, (exit_socket, info_hash))
        return True, removed

    def _surplus(self, neighbour: bytes) -> Registration | None:
        """The registration that makes room for one of ``neighbour``, if there is one."""
        counts = Counter(known.neighbour for known in self._registrations)
        heaviest, count = counts.most_common(1)[0]
        if count < counts[neighbour] + 2:
            return None
        return next(known for known in reversed(self._registrations) if known.neighbour == heaviest)

    def _remove(self, registration: Registration) -> None:
        self._registrations.remove(registration)
        others = self.of_key(registration.seeder_pk)
        if others:
            self.first[registration.seeder_pk] = others[0].exit_socket, others[0].info_hash
        else:
            self.first.pop(registration.seeder_pk, None)

    def remove_circuit(self, circuit_id: int) -> list[Registration]:
        """Remove the registrations by a circuit that has gone, and return them."""
        gone = self.of_circuit(circuit_id)
        for registration in gone:
            self._remove(registration)
        return gone

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("registrations", len(self._registrations), MAX_REGISTRATIONS,
                   rule="a further one takes the place of one of the neighbour with the most")
