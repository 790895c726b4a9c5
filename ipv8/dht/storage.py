"""The values that a node stores, and limits on them (doc/protocol/dht.md section 9.4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from hashlib import sha1
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import clock
from ..fill import Fill
from .accounts import Accounts
from .diversity import PlaceCounter, Source, source_of
from .lookup import TARGET_NODES
from .moments import Moment, age
from .routing import distance
from .values import MAX_ENTRY_AGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .routing import RoutingTable

__all__ = ["MAX_BYTES", "MAX_BYTES_PER_SOURCE", "MAX_KEYS", "MAX_VALUES_PER_KEY", "Claim", "Storage", "Value",
           "lifetime"]

DEFAULT_MAX_AGE = 86400.0
"""Lifetime of a value in seconds, unless another one is given."""
MAX_KEYS = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""Over these limits, expired values are evicted first, then those of the network that has stored the most bytes."""
MAX_VALUES_PER_KEY = 64
"""Over this limit, expired values are evicted first, then those of the network with the most values of the key."""
MAX_BYTES_PER_SOURCE = MAX_BYTES // 16
"""Bytes that one network may store: a /24 of IPv4 or a /48 of IPv6. Over this limit, new values of the host that has
stored the most of it are refused; those of its other hosts replace the oldest of that host."""
MAX_CLAIMS = 8
"""Sources that one value is kept for; over this limit, the one that stored it the longest ago is dropped."""
ENTRY_OVERHEAD = 128
"""Bytes that each value counts for in addition to its data."""
CROWD = 20
"""Nodes nearest to a key among which those are counted that are nearer than this one."""
SWEEP_PAUSE = 1.0
"""Seconds between two searches for expired values to make room."""


def lifetime(key: bytes, table: RoutingTable) -> int:
    """Seconds that a value lives on a node: fewer, the more nodes are nearer to its key than the node itself.

    Of one network, only a few are counted. Otherwise somebody with many nodes could have all others drop a value.

    :param table: the nodes that the node knows.
    """
    own_distance = distance(table.my_node_id, key)
    places = PlaceCounter.for_places()
    nearer = sum(node.distance(key) < own_distance and places.take(node.address[0])
                 for node in table.closest_nodes(key, max_nodes=CROWD))
    return MAX_ENTRY_AGE >> max(0, nearer - TARGET_NODES + 1)


class Claim(NamedTuple):
    """When somebody stored a value, and for how many seconds."""

    stored: float
    max_age: float

    @property
    def remaining(self) -> float:
        """Seconds until it is over."""
        return self.max_age - age(self.stored)


class Value:
    """One stored value; values are equal when their ids are.

    :param id_: a value replaces the one with the same id.
    :param max_age: its lifetime in seconds.
    :param version: only a value with the same or a higher version replaces it.
    """

    __slots__ = ("claims", "data", "id", "last_update", "max_age", "version")

    def __init__(self, id_: Any, data: bytes, max_age: float, version: int) -> None:
        self.id = id_
        self.data = data
        #: Seconds since the Unix epoch; programs may write a plain number.
        self.last_update: float = Moment.now()
        self.max_age = max_age
        self.version = version
        #: Who stored it, the latest last: the host is empty for this node.
        self.claims: dict[str, Claim] = {}

    @property
    def source(self) -> str:
        """The first of the hosts that stored it; empty for this node."""
        return next(iter(self.claims), "")

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return age(self.last_update)

    @property
    def expired(self) -> bool:
        """Whether its lifetime is over."""
        return self.age > self.max_age

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.data) + ENTRY_OVERHEAD

    def follow_claims(self) -> None:
        """Live as long as the claim that lasts the longest."""
        self.last_update, self.max_age = max(self.claims.values(), key=lambda claim: claim.remaining)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and bool(self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)


class _Items(defaultdict[bytes, list[Value]]):
    """Values by key; clearing it resets the accounts too."""

    def __init__(self, on_clear: Callable[[], None]) -> None:
        super().__init__(list)
        self._on_clear = on_clear

    def clear(self) -> None:
        """Remove everything."""
        super().clear()
        self._on_clear()


class Storage:
    """Values by key, the newest first and the one of the key's owner (whose id is the key) last.

    A value that several hosts have stored is kept for each of them, and counts for each of them, until its time for
    that host is over. So nobody's values cost somebody else, or are lost with those of somebody else.

    :param my_node_id: the values of keys near to it are evicted last.
    """

    def __init__(self, my_node_id: bytes = b"\x00") -> None:
        self.my_node_id = my_node_id
        self.items: defaultdict[bytes, list[Value]] = _Items(self._reset)
        self._source = ""
        self._reset()

    def _reset(self) -> None:
        self._bytes = 0
        self._accounts = Accounts(self.my_node_id)
        self._swept = -inf

    @contextmanager
    def charged_to(self, source: str) -> Iterator[None]:
        """Inside the block, values that are put count for the host ``source``; outside they count for this node."""
        before, self._source = self._source, source
        try:
            yield
        finally:
            self._source = before

    # Storing

    def put(self, key: bytes, data: bytes, id_: Any = None, max_age: float = DEFAULT_MAX_AGE,
            version: int = 0) -> bool:
        """Store ``data``, in place of a value with the same id if that has no higher version.

        :param id_: SHA-1 of the data if not given.
        :returns: whether it is stored.
        """
        value = Value(id_ or sha1(data, usedforsecurity=False).digest(), data, max_age, version)
        known = self._find(key, value.id)
        if known is not None and version < known.version:
            return False
        if known is None or known.data != data or self._source not in known.claims:
            is_new = known is None or known.data != data
            freed = known.size if known is not None and is_new and self._source in known.claims else 0
            if not self._make_room(key, value.size - freed, is_another=known is None):
                return False
            known = self._find(key, value.id)  # what made room may have been this one
            if known is not None and is_new:
                self._remove(key, known)
                known = None
        if known is not None:
            value, known.version = known, version
            values = self.items[key]
            values[:] = [other for other in values if other is not value]
        else:
            self._bytes += value.size
            values = self.items[key]
        self._claim(key, value, max_age)
        values.insert(0, value)
        values.sort(key=lambda other: bool(other.id == key))
        return True

    def _find(self, key: bytes, id_: Any) -> Value | None:
        return next((value for value in self.items.get(key, ()) if value.id == id_), None)

    def _claim(self, key: bytes, value: Value, max_age: float) -> None:
        """Note that the present source has stored a value."""
        source = source_of(self._source)
        if value.claims.pop(self._source, None) is None:
            for host in list(value.claims)[:max(0, len(value.claims) - MAX_CLAIMS + 1)]:
                self._drop(key, value, host)
            self._accounts.charge(source, (key, value.id, self._source), value.size)
        else:
            self._accounts.renew(source, (key, value.id, self._source))
        value.claims[self._source] = Claim(Moment.now(), max_age)
        value.follow_claims()

    def _drop(self, key: bytes, value: Value, host: str) -> None:
        """Do not keep a value for ``host`` any more; nothing else happens to it."""
        value.claims.pop(host, None)
        self._accounts.release(source_of(host), (key, value.id, host))

    def _give_up(self, key: bytes, value: Value, host: str) -> None:
        """Do not keep a value for ``host`` any more; remove it if it is kept for nobody else."""
        self._drop(key, value, host)
        if value.claims:
            value.follow_claims()
        else:
            self._remove(key, value)

    def _remove(self, key: bytes, value: Value) -> None:
        for host in list(value.claims):
            self._drop(key, value, host)
        values = self.items.get(key, [])
        if any(other is value for other in values):
            values[:] = [other for other in values if other is not value]
            self._bytes -= value.size
        if not values:
            self.items.pop(key, None)

    # Making room

    def _make_room(self, key: bytes, size: int, is_another: bool) -> bool:
        """Evict values for one of ``key`` from the present source; ``False`` if it may not be stored.

        :param size: the bytes that it adds to those of the source.
        :param is_another: whether it adds a value to those of the key.
        """
        source = source_of(self._source)
        heaviest = self._heaviest_rival(source, size)
        if heaviest == source or not self._shrink(key, source, size, is_another):
            return False
        while heaviest is not None:
            self._evict(heaviest)
            heaviest = self._heaviest_rival(source, size)
            if heaviest == source:
                return False
        if is_another and len(self.items.get(key, ())) >= MAX_VALUES_PER_KEY:
            self._thin_out(key, source)
        return True

    def _heaviest_rival(self, source: Source, size: int) -> Source | None:
        """Whose value must go so that ``source`` can store ``size`` bytes more within the limit of its network.

        It is ``source`` itself if it would have the most; ``None`` if there is room.
        """
        if not self._source or self._accounts.size_of_network(source.network) + size <= MAX_BYTES_PER_SOURCE:
            return None
        rival = self._accounts.heaviest_host(source.network)
        if rival is None or self._accounts.size_of_host(source) + size > self._accounts.size_of_host(rival):
            return source
        return rival

    def _evict(self, source: Source) -> None:
        """Give up the value that a host stored the longest ago."""
        key, id_, host = self._accounts.oldest(source)
        value = self._find(key, id_)
        if value is None:  # a program has removed it
            self._accounts.release(source, (key, id_, host))
        else:
            self._give_up(key, value, host)

    def _is_full(self, key: bytes) -> bool:
        return (len(self.items) >= MAX_KEYS and key not in self.items) or self._bytes >= MAX_BYTES

    def _shrink(self, key: bytes, source: Source, size: int, is_another: bool) -> bool:
        """Evict values while the storage is full; ``False`` if the one to be stored should go first."""
        while is_another and self._is_full(key):
            now = clock.monotonic()
            if now - self._swept > SWEEP_PAUSE:
                self._swept = now
                self.clean()
                continue
            network = self._accounts.heaviest_network()
            farthest = None if network is None else self._accounts.farthest_key(network)
            if network is None or farthest is None:
                return False
            own = self._accounts.farthest_key(source.network)
            own_size = self._accounts.size_of_network(source.network) + size
            if own is not None and own_size > self._accounts.size_of_network(network):
                if self._distance(own) <= self._distance(key):
                    return False
                network, farthest = source.network, own
            self._forget(network, farthest)
        return True

    def _forget(self, network: bytes, key: bytes) -> None:
        """Give up all values under a key that a network has stored."""
        for value in list(self.items.get(key, ())):
            for host in [host for host in value.claims if source_of(host).network == network]:
                self._give_up(key, value, host)
        for source, claim in self._accounts.claims_under(network, key):
            self._accounts.release(source, claim)  # a program has removed the value

    def _thin_out(self, key: bytes, newcomer: Source) -> None:
        """Give up values of a key until there is room for one of ``newcomer``.

        First those that have expired, then those of the network with the most values, and of its host with the most,
        the oldest first.
        """
        for value in [value for value in self.items[key] if value.expired]:
            self._remove(key, value)
        while len(self.items.get(key, ())) >= MAX_VALUES_PER_KEY:
            claims = [(value, host, source_of(host)) for value in self.items[key] if value.id != key
                      for host in value.claims]
            if not claims:
                return
            networks, hosts = Counter([newcomer.network]), Counter([newcomer.host])
            for _, _, source in claims:
                networks[source.network] += 1
                hosts[source.host] += 1
            weights = [(networks[source.network], hosts[source.host]) for _, _, source in claims]
            heaviest = max(weights)
            value, host, _ = max((claim for claim, weight in zip(claims, weights, strict=True) if weight == heaviest),
                                 key=lambda claim: age(claim[0].claims[claim[1]].stored))
            self._give_up(key, value, host)

    def _distance(self, key: bytes) -> int:
        return distance(key or b"\x00", self.my_node_id)

    # Reading

    def get(self, key: bytes, starting_point: int = 0, limit: int | None = None) -> list[bytes]:
        """The data of at most ``limit`` values that have not expired, without the first ``starting_point`` of them."""
        live = [value.data for value in self.items.get(key, ()) if not value.expired]
        return live[starting_point:None if limit is None else starting_point + limit]

    def holds(self, key: bytes, data: bytes) -> bool:
        """Whether this value is stored, and has not expired."""
        return any(value.data == data and not value.expired for value in self.items.get(key, ()))

    def page(self, key: bytes, starting_point: int, limit: int, size: int) -> list[bytes]:
        """As :meth:`get`, but at most ``size`` bytes (each value counts two more), in an order that is fair.

        The value of the key's owner is the first one. Then there is one value of each network that has stored some,
        then a second one of each, and so on.
        """
        live = [value for value in self.items.get(key, ()) if not value.expired]
        if starting_point or len(live) > limit or sum(len(value.data) + 2 for value in live) > size:
            live = _fairly(live)
        live.sort(key=lambda value: bool(value.id != key))
        page: list[bytes] = []
        for value in live[starting_point:starting_point + limit]:
            size -= len(value.data) + 2
            if size < 0:
                break
            page.append(value.data)
        return page

    def items_older_than(self, min_age: float) -> list[tuple[bytes, bytes]]:
        """Key and data of every value that was stored more than ``min_age`` seconds ago."""
        return [(key, value.data) for key, values in self.items.items() for value in values if value.age > min_age]

    # Maintenance

    def clean(self) -> None:
        """Remove the values that have expired."""
        for key in list(self.items):
            for value in list(self.items[key]):
                if value.expired:
                    self._remove(key, value)
                elif len(value.claims) > 1:
                    for host in [host for host, claim in value.claims.items() if claim.remaining < 0]:
                        self._give_up(key, value, host)
            if not self.items.get(key, True):
                del self.items[key]

    def move(self, my_node_id: bytes) -> None:
        """Take another id for that of this node."""
        if my_node_id != self.my_node_id:
            self.my_node_id = my_node_id
            self._accounts.move(my_node_id)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("keys", len(self.items), MAX_KEYS,
                   rule="expired values go first, then those of the network with the most bytes")
        yield Fill("bytes of values", self._bytes, MAX_BYTES,
                   rule="expired values go first, then those of the network with the most bytes")


def _fairly(values: Sequence[Value]) -> list[Value]:
    """The values in turn: one of each network, then a second one of each, and so on; likewise the hosts of a network.

    A value that several hosts have stored takes the earliest of their places.
    """
    claims = [(source_of(host), number) for number, value in enumerate(values) for host in value.claims or ("",)]
    for group in (1, 0):  # the hosts of a source, then the networks
        places: dict[bytes, int] = {}
        ranks: list[tuple[int, int]] = []
        for position, (source, _) in enumerate(claims):
            rank = places[source[group]] = places.get(source[group], -1) + 1
            ranks.append((rank, position))
        ranks.sort()
        claims = [claims[position] for _, position in ranks]
    return [values[number] for number in dict.fromkeys(number for _, number in claims)]
