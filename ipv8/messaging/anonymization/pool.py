"""Circuits that are kept ready for programs that ask for one (doc/anonymity.md)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ... import clock
from ...limits import ExpiringDict
from .settings import own_setting
from .tunnel import CIRCUIT_STATE_CLOSING, CIRCUIT_STATE_READY, DESTROY_REASON_UNNEEDED

if TYPE_CHECKING:
    from .community import TunnelCommunity
    from .tunnel import Circuit

__all__ = ["CircuitPool"]

WANTED_TIME = 600.0
"""Seconds for which circuits are kept ready after a program has asked for one of their kind."""
MAX_KINDS = 8
"""Kinds of circuits that are kept ready; the one that was not asked for longest is evicted first."""

RETRY_INTERVAL = 0.5
"""Seconds until another circuit is begun after one that could not be begun, or that was closed before it was ready."""


class Kind(NamedTuple):
    """A kind of circuit that programs ask for."""

    hops: int
    exit_flags: tuple[int, ...]


class CircuitPool:
    """The circuits that are kept ready, and those that programs have taken.

    :param community: builds the circuits. Its setting ``ready_circuits`` is how many of each kind are kept.
    """

    def __init__(self, community: TunnelCommunity) -> None:
        self._community = community
        self._wanted: ExpiringDict[Kind, None] = ExpiringDict(MAX_KINDS, WANTED_TIME)
        self._spare: dict[Kind, list[Circuit]] = {}

    async def take(self, hops: int, exit_flags: tuple[int, ...], timeout: float) -> Circuit:
        """A circuit that is ready, for one program only.

        :param timeout: in seconds.
        :raises TimeoutError: if none was ready in time, or before the overlay was unloaded.
        :raises ValueError: if there can be no circuit of that length.
        """
        if not 1 <= hops <= 8:
            raise ValueError(f"a circuit has 1 to 8 hops, not {hops}")
        kind = Kind(hops, tuple(sorted(exit_flags)))
        self._wanted[kind] = None
        deadline = clock.monotonic() + timeout
        circuit = self._take_spare(kind)
        has_begun = False
        while circuit is None or circuit.state != CIRCUIT_STATE_READY:
            remaining = deadline - clock.monotonic()
            if self._community.is_unloading:
                raise TimeoutError("the overlay was unloaded before a circuit was ready")
            if remaining <= 0:
                self.give_back(circuit)
                raise TimeoutError(f"no circuit of {hops} hops was ready within {timeout:g} seconds")
            try:
                if circuit is not None and circuit.state != CIRCUIT_STATE_CLOSING:
                    await asyncio.wait([circuit.ready], timeout=remaining)
                    continue
                if has_begun:  # whoever refuses circuits at once does not make this node build them without a pause
                    await asyncio.sleep(min(RETRY_INTERVAL, remaining))
            except asyncio.CancelledError:
                self.give_back(circuit)
                raise
            circuit, has_begun = self._begin(kind), True
        self.refill()
        return circuit

    def _take_spare(self, kind: Kind) -> Circuit | None:
        """One of the circuits that are kept: one that is ready, or else one that is being built."""
        spare = self._usable(kind)
        first = spare[0] if spare else None
        chosen = next((circuit for circuit in spare if circuit.state == CIRCUIT_STATE_READY), first)
        if chosen is not None:
            self._spare[kind].remove(chosen)
        return chosen

    def _usable(self, kind: Kind) -> list[Circuit]:
        """The circuits of a kind that are kept; those that are gone are forgotten."""
        circuits = self._community.circuits
        kept = self._spare[kind] = [circuit for circuit in self._spare.get(kind, ())
                                    if circuit.state != CIRCUIT_STATE_CLOSING
                                    and circuits.get(circuit.circuit_id) is circuit]
        return kept

    def _begin(self, kind: Kind) -> Circuit | None:
        circuit = self._community.create_circuit(kind.hops, exit_flags=kind.exit_flags or None)
        if circuit is not None:
            circuit.reserved = True
        return circuit

    def give_back(self, circuit: Circuit | None) -> None:
        """Close a circuit that was taken: it is never used for something else."""
        if circuit is not None and circuit.state != CIRCUIT_STATE_CLOSING:
            self._community.remove_circuit(circuit.circuit_id, "not needed any more", destroy=DESTROY_REASON_UNNEEDED)

    def refill(self) -> None:
        """Begin to build the circuits that are missing, and close those of kinds that nobody asks for any more."""
        wanted = list(self._wanted)
        for kind in [kind for kind in self._spare if kind not in wanted]:
            for circuit in self._spare.pop(kind):
                self.give_back(circuit)
        for kind in wanted:
            for _ in range(own_setting(self._community.settings, "ready_circuits") - len(self._usable(kind))):
                further = self._begin(kind)
                if further is None:
                    break
                self._spare[kind].append(further)
