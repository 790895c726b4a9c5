"""What a node knows of a swarm: its introduction points, and its connections to services."""

from __future__ import annotations

import asyncio
import logging
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from ... import clock, entropy
from ...dht.introduction_point import PEER_SOURCE_DHT, PEER_SOURCE_PEX, IntroductionPoint
from ...limits import BoundedDict
from ...util import current_loop

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Iterable

    from ...keyvault.keys import PrivateKey
    from ..address import Address
    from .tunnel import Circuit

    Lookup = Callable[[bytes, IntroductionPoint | None, int], Awaitable[list[IntroductionPoint]]]

__all__ = ["IntroductionPoint", "RendezvousPoint", "Swarm"]

logger = logging.getLogger(__name__)

MAX_INTRO_POINTS = 64
"""Introduction points that are kept for a swarm; the one that was seen longest ago is evicted first."""

MAX_FAILURES = 256
"""Introduction points of a swarm whose failures are remembered; the oldest is evicted first."""

FIRST_BACK_OFF = 10.0
"""Seconds for which an introduction point is not tried after a connection by it failed; doubled each time."""

LONGEST_BACK_OFF = 600.0
"""Seconds for which it is not tried, at most."""


def _seen_at(intro_point: IntroductionPoint) -> float:
    """When an introduction point was seen by the monotonic clock; programs have classes of their own for them."""
    seen_at: float | None = getattr(intro_point, "seen_at", None)
    return clock.monotonic_of(intro_point.last_seen) if seen_at is None else seen_at


class RendezvousPoint:
    """The end of a circuit of a service, where the circuit of a client is joined to it.

    :param circuit: the circuit to it.
    :param cookie: 20 bytes that only the client is told.
    """

    def __init__(self, circuit: Circuit, cookie: bytes) -> None:
        self.circuit = circuit
        self.cookie = cookie
        #: What it says its address is.
        self.address: Address | None = None

    @cached_property
    def ready(self) -> Future[RendezvousPoint | None]:
        """Resolved with this object when the rendezvous point has agreed, or with ``None`` when it does not."""
        return current_loop().create_future()


class Swarm:
    """The peers that have an interest in one info hash: services that seed it, and those that connect to them.

    :param info_hash: 20 bytes.
    :param hops: the number of hops of circuits for this swarm.
    :param lookup_func: ``lookup_func(info_hash, target, hops)``: asks ``target``, or the last node of a circuit if it
        is ``None``, for introduction points.
    :param seeder_sk: the key of this node as a service of the swarm; ``None`` for one that connects to services.
    :param max_ip_age: seconds for which an introduction point is kept that nobody mentions any more.
    :param min_dht_lookup_interval: seconds between two lookups in the DHT while introduction points are known.
    :param max_dht_lookup_interval: seconds between two lookups in the DHT while none is known.
    :param service_pk: the only service of interest; introduction points of all others are left out.
    """

    #: When the last lookup began, in seconds since the Unix epoch; 0 if none did.
    last_lookup = clock.WallTime("_looked_up_at")
    #: When a lookup last found something in the DHT, likewise.
    last_dht_response = clock.WallTime("_dht_responded_at")

    def __init__(self, info_hash: bytes, hops: int, lookup_func: Lookup, seeder_sk: PrivateKey | None = None,
                 max_ip_age: float = 180.0, min_dht_lookup_interval: float = 300.0,
                 max_dht_lookup_interval: float = 120.0, service_pk: bytes | None = None) -> None:
        self.info_hash = info_hash
        self.hops = hops
        self.lookup_func = lookup_func
        self.seeder_sk = seeder_sk
        self.max_ip_age = max_ip_age
        self.min_dht_lookup_interval = min_dht_lookup_interval
        self.max_dht_lookup_interval = max_dht_lookup_interval
        self.service_pk = service_pk

        self.intro_points: list[IntroductionPoint] = []
        self.connections: dict[int, tuple[Circuit, IntroductionPoint]] = {}
        self.transfer_history = [0, 0]
        #: The introduction point by which each service is being asked for a connection.
        self.attempts: dict[bytes, IntroductionPoint] = {}
        self._failures: BoundedDict[IntroductionPoint, tuple[int, float]] = BoundedDict(MAX_FAILURES)
        self._looked_up_at = -inf
        self._dht_responded_at = -inf

    @property
    def seeding(self) -> bool:
        """Whether this node is a service of the swarm."""
        return self.seeder_sk is not None

    # Connections

    @property
    def _active_circuits(self) -> list[Circuit]:
        from .tunnel import CIRCUIT_STATE_READY

        return [circuit for circuit, _ in self.connections.values()
                if circuit.state == CIRCUIT_STATE_READY and circuit.e2e]

    def add_connection(self, rp_circuit: Circuit, intro_point_used: IntroductionPoint) -> None:
        """Note that a circuit is for a connection by an introduction point; a known circuit is left as it is."""
        self.connections.setdefault(rp_circuit.circuit_id, (rp_circuit, intro_point_used))

    def remove_connection(self, rp_circuit: Circuit) -> bool:
        """Forget a connection, but not what was transferred; whether it was known."""
        connection = self.connections.pop(rp_circuit.circuit_id, None)
        if connection is None:
            return False
        self.transfer_history[0] += connection[0].bytes_up
        self.transfer_history[1] += connection[0].bytes_down
        return True

    def has_connection(self, seeder_pk: bytes) -> bool:
        """Whether there is a connection to the service with this key, complete or not."""
        return any(intro_point.seeder_pk == seeder_pk for _, intro_point in self.connections.values())

    def get_num_connections(self) -> int:
        """The number of complete connections."""
        return len(self._active_circuits)

    def get_num_connections_incomplete(self) -> int:
        """The number of other connections."""
        return len(self.connections) - self.get_num_connections()

    def get_total_up(self) -> int:
        """Bytes sent on complete connections and on those that are gone."""
        return sum(circuit.bytes_up for circuit in self._active_circuits) + self.transfer_history[0]

    def get_total_down(self) -> int:
        """Bytes received on complete connections and on those that are gone."""
        return sum(circuit.bytes_down for circuit in self._active_circuits) + self.transfer_history[1]

    # Introduction points

    def add_intro_point(self, ip: IntroductionPoint) -> IntroductionPoint:
        """Keep an introduction point, and return it; if an equal one is known, note that it was seen and return that.

        Above :data:`MAX_INTRO_POINTS`, the one that was seen longest ago and has no connection is forgotten.
        """
        for known in self.intro_points:
            if known == ip:
                known.last_seen = int(clock.time())
                return known
        now = int(clock.time())
        ip.last_seen = min(getattr(ip, "last_seen", now), now)  # others have clocks of their own, and some tell no time
        self.intro_points.append(ip)
        if len(self.intro_points) > MAX_INTRO_POINTS:
            in_use = self._in_use()
            unused = [known for known in self.intro_points[:-1] if known not in in_use]
            self.remove_intro_point(min(unused or self.intro_points[:-1], key=_seen_at))
        return ip

    def remove_intro_point(self, ip: IntroductionPoint) -> None:
        """Forget an introduction point; an unknown one is ignored."""
        if ip in self.intro_points:
            self.intro_points.remove(ip)

    def remove_old_intro_points(self) -> None:
        """Forget those that were not seen lately and have no complete connection."""
        horizon = clock.monotonic() - self.max_ip_age
        in_use = self._in_use(complete=True)
        self.intro_points = [known for known in self.intro_points if _seen_at(known) >= horizon or known in in_use]

    def _in_use(self, complete: bool = False) -> set[IntroductionPoint]:
        active = {circuit.circuit_id for circuit in self._active_circuits}
        return {intro_point for circuit_id, (_, intro_point) in self.connections.items()
                if not complete or circuit_id in active}

    def get_num_seeders(self) -> int:
        """The number of different services among introduction points and connections."""
        return len({known.seeder_pk for known in self.intro_points}
                   | {intro_point.seeder_pk for _, intro_point in self.connections.values()})

    def is_wanted(self, intro_point: IntroductionPoint) -> bool:
        """Whether an introduction point is for a service of interest."""
        return self.service_pk is None or intro_point.seeder_pk == self.service_pk

    # Attempts to connect

    def note_failure(self, intro_point: IntroductionPoint) -> None:
        """Do not try ``intro_point`` for a while, which doubles with each failure."""
        self.attempts.pop(intro_point.seeder_pk, None)
        count = self._failures.get(intro_point, (0, 0.0))[0]
        pause = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ** min(count, 16))
        self._failures[intro_point] = count + 1, clock.monotonic() + pause

    def note_success(self, intro_point: IntroductionPoint) -> None:
        """A connection by ``intro_point`` is complete: its failures are forgotten."""
        self.attempts.pop(intro_point.seeder_pk, None)
        self._failures.pop(intro_point, None)

    def untried(self) -> list[IntroductionPoint]:
        """One introduction point, which has not failed lately, for each service that is neither connected nor asked.

        Those with the fewest failures come before others.
        """
        now = clock.monotonic()
        chosen: dict[bytes, tuple[int, IntroductionPoint]] = {}
        for known in self.intro_points:
            count, until = self._failures.get(known, (0, -inf))
            best = chosen.get(known.seeder_pk)
            if until <= now and (best is None or count < best[0]):
                chosen[known.seeder_pk] = count, known
        return [known for seeder_pk, (_, known) in chosen.items()
                if seeder_pk not in self.attempts and not self.has_connection(seeder_pk)]

    # Looking for introduction points

    async def lookup(self, target: IntroductionPoint | None = None) -> list[IntroductionPoint] | None:
        """Ask for introduction points.

        :param target: whom to ask. By default, the DHT is asked if that was not done lately, and otherwise all known
            introduction points.
        :returns: what was found; ``None`` if there was nobody to ask.
        :raises Exception: what ``lookup_func`` raises, unless several introduction points were asked.
        """
        if target is not None:
            return self._note_found(await self.lookup_func(self.info_hash, target, self.hops))
        self.remove_old_intro_points()
        self.last_lookup = clock.time()
        since_dht = clock.monotonic() - self._dht_responded_at
        interval = self.min_dht_lookup_interval if self.intro_points else min(self.min_dht_lookup_interval,
                                                                              self.max_dht_lookup_interval)
        if since_dht > interval:
            return self._note_found(await self.lookup_func(self.info_hash, None, self.hops))
        if not self.intro_points:
            return None
        answers = await asyncio.gather(*(self._ask(known) for known in tuple(self.intro_points)))
        return self._note_found([found for answer in answers for found in answer])

    async def count_services(self, max_requests: int) -> int:
        """Ask introduction points for others, and these again; the number of services that they tell of.

        :param max_requests: how many are asked, the DHT included.
        """
        found: dict[IntroductionPoint | None, None] = {None: None}  # the DHT first
        asked: set[IntroductionPoint | None] = set()
        while len(asked) < max_requests:
            untried = [target for target in found if target not in asked]
            targets = entropy.sample(untried, min(len(untried), max_requests - len(asked)))
            if not targets:
                break
            asked.update(targets)
            answers = await asyncio.gather(*map(self.lookup, targets), return_exceptions=True)
            found.update((known, None) for answer in answers if isinstance(answer, list) for known in answer)
        return len({known.seeder_pk for known in found if known is not None and known.source == PEER_SOURCE_PEX})

    async def _ask(self, target: IntroductionPoint) -> Iterable[IntroductionPoint]:
        try:
            return await self.lookup_func(self.info_hash, target, self.hops)
        except Exception as e:  # noqa: BLE001 - whatever is wrong with one of them, the answers of the others count
            logger.debug("%s did not tell of introduction points: %s: %s", target, type(e).__name__, e)
            return ()

    def _note_found(self, found: list[IntroductionPoint]) -> list[IntroductionPoint]:
        if found and any(known.source == PEER_SOURCE_DHT for known in found):
            self.last_dht_response = clock.time()
        return found
