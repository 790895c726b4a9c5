"""The endpoint of ``ipv8_rust_tunnels``, which handles cells in threads of its own.

It is optional: ``pip install ipv8[tunnels-rust]``. A tunnel community uses it if it is given one as its endpoint, see
:func:`make_native_endpoint`. The library gets copies of session keys, with their counters, when a
circuit is added to a table or is read from it after a change, and never gives counters back. A copy that is made later
would make it use counters again. So counters are advanced before each copy, past all that it can have used.

Keys are copied only, so hybrid keys are not agreed on while this endpoint is used, and replays are not told apart.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .session_keys import CryptoException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["COUNTER_STEP", "AdvancingTable", "advance", "guard_counters", "make_native_endpoint"]

COUNTER_STEP = 1 << 20
"""How far counters are advanced for each copy, in addition to what the traffic tells."""

LAST_NATIVE_COUNTER = (1 << 32) - 1
"""The library keeps counters in 32 bits."""

SMALLEST_CELL = 53
"""Bytes of a cell with an empty message: no counter is used for fewer."""

T = TypeVar("T")


def advance(keys: Any, traffic: int) -> None:
    """Advance both counters of session keys past those that were used for some traffic.

    :param traffic: bytes of cells.
    :raises CryptoException: if the counters are used up.
    """
    step = COUNTER_STEP + traffic // SMALLEST_CELL
    for name in ("salt_explicit_forward", "salt_explicit_backward"):
        counter = getattr(keys, name) + step
        if counter > LAST_NATIVE_COUNTER - COUNTER_STEP:
            raise CryptoException("all counters of these keys were used; build a new circuit")
        setattr(keys, name, counter)


def _keys_of_circuit(circuit: Any) -> Iterator[Any]:
    for hop in circuit._hops:
        yield hop.keys
    yield circuit.hs_session_keys


def _keys_of_hop(entry: Any) -> Iterator[Any]:
    yield entry.hop.keys


class AdvancingTable(MutableMapping[int, T], Generic[T]):
    """A table of the library, whose copies of session keys never repeat a counter.

    :param table: copies what is set, and what is read if its attribute ``dirty`` is true.
    :param keys_of: the session keys of an entry; they may be ``None``.
    :param before: entries of another table, that had the same keys before.
    """

    def __init__(self, table: UserDict[int, T], keys_of: Callable[[Any], Iterable[Any]],
                 before: AdvancingTable[Any] | None = None) -> None:
        self._table = table
        self._keys_of = keys_of
        self._before = before

    def peek(self, key: int) -> T | None:
        """An entry, which is not copied."""
        return self._table.data.get(key)

    def _prepare(self, key: int, entry: Any) -> None:
        former: Any = None if self._before is None else self._before.peek(key)
        traffic = sum(other.bytes_up + other.bytes_down for other in (entry, former) if other is not None)
        for keys in self._keys_of(entry):
            if keys is not None:
                advance(keys, traffic)

    def __getitem__(self, key: int) -> T:
        entry: Any = self._table.data[key]
        if getattr(entry, "dirty", False):
            self._prepare(key, entry)
        return self._table[key]

    def __setitem__(self, key: int, entry: T) -> None:
        self._prepare(key, entry)
        self._table[key] = entry

    def __delitem__(self, key: int) -> None:
        del self._table[key]

    def __contains__(self, key: object) -> bool:
        return key in self._table.data

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._table.data))

    def __len__(self) -> int:
        return len(self._table.data)


def guard_counters(endpoint: Any) -> None:
    """Replace the tables of an endpoint of the library by :class:`AdvancingTable` objects, once."""
    if not isinstance(endpoint.circuits, UserDict):
        return
    exit_sockets: AdvancingTable[Any] = AdvancingTable(endpoint.exit_sockets, _keys_of_hop)
    endpoint.circuits = AdvancingTable(endpoint.circuits, _keys_of_circuit)
    endpoint.relays = AdvancingTable(endpoint.relays, _keys_of_hop, exit_sockets)
    endpoint.exit_sockets = exit_sockets


def make_native_endpoint(port: int = 0, ip: str = "0.0.0.0", worker_threads: int = 4) -> Any:  # noqa: S104 - as UDPEndpoint
    """An endpoint of ``ipv8_rust_tunnels`` for a tunnel community, to be given to it in place of a ``UDPEndpoint``.

    It needs a running event loop.

    :param port: the port to bind, 0 for any.
    :param ip: the address of the interface to bind, ``0.0.0.0`` for all.
    :param worker_threads: how many threads handle cells.
    :raises ImportError: if the library is not installed.
    """
    try:
        from ipv8_rust_tunnels import Endpoint  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as e:
        raise ImportError("the native endpoint needs ipv8_rust_tunnels: pip install ipv8[tunnels-rust]") from e
    endpoint: Any = Endpoint(port, ip, worker_threads)
    guard_counters(endpoint)
    return endpoint
