"""Which circuit a client of the proxy uses: clients with different credentials have different circuits."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from .... import clock
from ..tunnel import CIRCUIT_STATE_READY, PEER_FLAG_EXIT_STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....streams import Stream
    from ..tunnel import Circuit
    from .host import Streams, TunnelHost
    from .protocol import Destination

__all__ = ["Isolation"]

MAX_GROUPS = 64
"""Groups of clients that have a circuit each; the least recently used one without streams is evicted first."""
MAX_AGE = 600.0
"""Seconds for which a circuit is used for new streams. Its streams go on, and it is closed after the last one."""
MAX_ATTEMPTS = 3
"""Circuits that are tried for one stream."""
FIRST_ANSWER = 20.0
"""Seconds until a circuit that did not answer is replaced by another one."""


class _Group:
    """The circuit of clients with the same credentials."""

    def __init__(self) -> None:
        self.circuit: Circuit | None = None
        self.since = 0.0
        self.lock = asyncio.Lock()
        self.users = 0


class Isolation:
    """Gives each group of clients a circuit of its own.

    :param community: has the circuits.
    :param streams: carries the streams through them.
    :param hops: the length of the circuits.
    :param timeout: seconds that a client waits for a circuit.
    """

    def __init__(self, community: TunnelHost, streams: Streams, hops: int, timeout: float) -> None:
        self._community = community
        self._streams = streams
        self._hops = hops
        self._timeout = timeout
        self._groups: OrderedDict[Hashable, _Group] = OrderedDict()
        self._users: dict[int, int] = {}
        self._retired: set[int] = set()

    @property
    def circuits(self) -> list[Circuit]:
        """The circuits that new streams go through."""
        return [group.circuit for group in self._groups.values() if group.circuit is not None]

    async def connect(self, key: Hashable, destination: Destination) -> tuple[Stream, Callable[[], None]]:
        """A stream to ``destination`` through the circuit of a group of clients.

        :param key: what the clients of the group have in common.
        :returns: the stream, and what to call when it is not used any more.
        :raises TimeoutError: if no circuit was ready in time.
        :raises ConnectionError: as ``CircuitStreams.connect``.
        """
        group = self._group(key)
        group.users += 1
        try:
            attempts = MAX_ATTEMPTS
            while True:
                attempts -= 1
                circuit = await self._circuit_of(group, clock.monotonic() + self._timeout)
                circuit_id = circuit.circuit_id
                self._users[circuit_id] = self._users.get(circuit_id, 0) + 1
                is_proven = self._is_proven(circuit)
                try:
                    stream = await self._connect(circuit, destination, is_proven)
                except BaseException as e:
                    self._leave(circuit)
                    if isinstance(e, (asyncio.TimeoutError, ConnectionError)) and not self._is_proven(circuit):
                        self._blame_exit(circuit)
                        self._replace(group, circuit)
                        if attempts:
                            continue
                    raise
                return stream, partial(self._leave, circuit)
        finally:
            group.users -= 1

    async def _connect(self, circuit: Circuit, destination: Destination, is_proven: bool) -> Stream:
        if is_proven:
            return await self._streams.connect(circuit, destination)
        connecting = asyncio.ensure_future(self._streams.connect(circuit, destination))
        try:
            await asyncio.wait([connecting], timeout=FIRST_ANSWER)
            if not connecting.done() and not self._is_proven(circuit):
                raise asyncio.TimeoutError("the exit does not answer")
            return await connecting
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    def _is_proven(self, circuit: Circuit) -> bool:
        """Whether the last hop has shown that it takes part in streams."""
        connection = self._streams.clients.get(circuit.circuit_id)
        return connection is not None and connection.is_connected

    def _blame_exit(self, circuit: Circuit) -> None:
        """Leave out an exit for a while that did not answer although the circuit is there."""
        if circuit.state == CIRCUIT_STATE_READY:
            self._community.path.back_off.note_failure(circuit.hops[-1].public_key_bin, clock.monotonic())

    def _is_full(self, circuit: Circuit) -> bool:
        connection = self._streams.clients.get(circuit.circuit_id)
        return connection is not None and connection.is_full

    def close(self) -> None:
        """Close all circuits."""
        for group in self._groups.values():
            if group.circuit is not None:
                self._community.pool.give_back(group.circuit)
        self._groups.clear()

    def _group(self, key: Hashable) -> _Group:
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self._evict()
            group = self._groups[key] = _Group()
        self._groups.move_to_end(key)
        return group

    def _evict(self) -> None:
        for key, group in self._groups.items():
            circuit = group.circuit
            if not group.users and (circuit is None or not self._users.get(circuit.circuit_id)):
                if circuit is not None:
                    self._community.pool.give_back(circuit)
                del self._groups[key]
                return
        raise ConnectionError(f"there are streams of {MAX_GROUPS} groups of clients")

    async def _circuit_of(self, group: _Group, deadline: float) -> Circuit:
        """The circuit of a group. Clients that ask together wait for it together: none waits for the others first."""
        async with group.lock:
            circuit = group.circuit
            if (circuit is not None and circuit.state == CIRCUIT_STATE_READY
                    and clock.monotonic() - group.since < MAX_AGE and not self._is_full(circuit)):
                return circuit
            if circuit is not None:
                self._replace(group, circuit)
            group.circuit = await self._community.pool.take(self._hops, (PEER_FLAG_EXIT_STREAMS,),
                                                            max(deadline - clock.monotonic(), 0.0))
            group.since = clock.monotonic()
            return group.circuit

    def _replace(self, group: _Group, circuit: Circuit) -> None:
        """Use another circuit for new streams."""
        if group.circuit is circuit:
            group.circuit = None
            if self._users.get(circuit.circuit_id):
                self._retired.add(circuit.circuit_id)
            else:
                self._community.pool.give_back(circuit)

    def _leave(self, circuit: Circuit) -> None:
        """A stream of a circuit has ended."""
        circuit_id = circuit.circuit_id
        self._users[circuit_id] -= 1
        if not self._users[circuit_id]:
            del self._users[circuit_id]
            if circuit_id in self._retired:
                self._retired.remove(circuit_id)
                self._community.pool.give_back(circuit)
