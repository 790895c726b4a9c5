"""How handshakes of others are answered (doc/protocol/sessions.md sections 4.4, 7.1 and 10).

An INIT costs one keyed hash until its checksum fits. Nothing is stored and no key exchange is made before all budgets
agree, and what is sent to an address that has proved nothing is never more than what came from there.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, Final

from ...limits import BoundedDict, TokenBuckets
from ..inet import HOST_BITS, is_global, network_of, parse_host
from . import wire
from .handshake import HalfOpen
from .noise import DH_SIZE, KeyPair
from .wire import BODY, INDEX_SIZE, INIT_SIZE

if TYPE_CHECKING:
    from ..address import Address
    from .handshake import Established, OwnKey
    from .machine import Machine

__all__ = ["Answering"]

HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE = 100, 50
"""Handshakes with strangers; as many again with addresses of proven peers."""

HANDSHAKES_PER_SOURCE, HANDSHAKES_PER_SOURCE_AT_ONCE = 5, 20
"""Handshakes with one host, an IPv4 address or an IPv6 /64."""

LOCAL_FACTOR = 10
"""Hosts with private addresses have a budget that is larger by this factor."""

HALF_OPEN, HALF_OPEN_TIME = 256, 10.0
"""Handshakes that were answered and wait for FINISH; the oldest is evicted first."""

EARLY_DATA = 4
"""Datagrams kept that came before the FINISH of their session."""

FINISHES_TRIED = 4
"""FINISHes with a wrong key that are tried for one handshake."""

PRESSURE_HALF_OPEN = 64
PRESSURE_BUDGET = 0.5
"""From so many half-open handshakes on, or below this part of a handshake budget, a cookie has to be shown first."""

COOKIE_TIME: Final = 120.0
"""Seconds after which the secret of cookies changes; those made with the one before are still good."""


class _Entry:
    """A handshake that was answered.

    :param address: where the RESPONSE went. The FINISH proves that it came there, wherever the FINISH comes from.
    """

    __slots__ = ("address", "early", "half", "key", "made", "tried")

    def __init__(self, half: HalfOpen, address: Address, key: tuple[Address, bytes], now: float) -> None:
        self.half, self.address, self.key, self.made = half, address, key, now
        self.tried = 0
        #: Datagrams that came before FINISH, and where from.
        self.early: list[tuple[bytes, Address]] = []


class Answering:
    """The responder's side of all handshakes of a node."""

    def __init__(self, machine: Machine, now: float) -> None:
        self._machine = machine
        self._entries: BoundedDict[bytes, _Entry] = BoundedDict(HALF_OPEN, self._on_evict)
        self._by_init: dict[tuple[Address, bytes], _Entry] = {}
        self._strangers = TokenBuckets(HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE, capacity=1)
        self._proven = TokenBuckets(HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE, capacity=1)
        self._sources = TokenBuckets(HANDSHAKES_PER_SOURCE, HANDSHAKES_PER_SOURCE_AT_ONCE)
        self._secrets = [machine.secret(32), machine.secret(32)]
        self._secret_at = now
        #: Whether the loop of the driver is late, so that cookies are asked for.
        self.is_late = False

    def __len__(self) -> int:
        return len(self._entries)

    def _on_evict(self, _: bytes, entry: _Entry) -> None:
        self._by_init.pop(entry.key, None)

    def has(self, index: bytes) -> bool:
        """Whether a handshake with this index on our side waits for FINISH."""
        return index in self._entries

    def on_init(self, datagram: bytes, address: Address, now: float) -> None:
        """Take an INIT."""
        machine = self._machine
        if len(datagram) != INIT_SIZE:
            machine.drops["short"] += 1
            return
        match = self._match(datagram)
        if match is None:
            machine.drops["mac1"] += 1
            return
        key = (address, datagram[BODY + INDEX_SIZE : BODY + INDEX_SIZE + DH_SIZE])
        known = self._by_init.get(key)
        if known is not None:
            machine.send(address, known.half.response)
        elif self._admits(datagram, address, now):
            self._answer(match, datagram, address, key, now)

    def _match(self, datagram: bytes) -> tuple[OwnKey, bytes] | None:
        """The own key that an INIT is for, and the target in its prologue."""
        machine = self._machine
        own = [key for key in machine.own_keys.values() if wire.is_for(datagram, key.mac_key)]
        if own:
            return own[0], own[0].public_bin
        if machine.settings.answer_unknown and machine.own_keys and wire.is_for(datagram, machine.unknown_mac_key):
            return next(iter(machine.own_keys.values())), b""
        return None

    def _admits(self, datagram: bytes, address: Address, now: float) -> bool:
        """Whether there is a budget for a handshake; under pressure, ask for a cookie first."""
        machine = self._machine
        proven = machine.judge.is_proven(address)
        budget = self._proven if proven else self._strangers
        pressure = (len(self._entries) >= PRESSURE_HALF_OPEN or self.is_late
                    or budget.fill(None, now) < PRESSURE_BUDGET)
        if pressure:
            if not self._has_cookie(datagram, address, now):
                machine.drops["mac2"] += 1
                machine.cookies += 1
                machine.send(address, wire.write_cookie(datagram, self._cookie(0, address, now)))
                return False
            host = address[0]
            cost = 1.0 if is_global(host) or parse_host(host) is None else 1 / LOCAL_FACTOR
            if not self._sources.take(network_of(host, *HOST_BITS), cost, now):
                machine.drops["rate"] += 1
                return False
        if not budget.take(None, 1.0, now) or not machine.has_room(address, now):
            machine.drops["rate"] += 1
            return False
        return True

    def _answer(self, match: tuple[OwnKey, bytes], datagram: bytes, address: Address, key: tuple[Address, bytes],
                now: float) -> None:
        machine = self._machine
        own, target = match
        index = machine.new_index()
        try:
            half = HalfOpen(own, target, datagram, index, KeyPair(machine.secret(32)))
        except ValueError:
            machine.drops["identity"] += 1
            return
        entry = _Entry(half, address, key, now)
        self._entries[index] = self._by_init[key] = entry
        machine.keep_ticking()
        machine.handshakes["answered"] += 1
        machine.send(address, half.response)

    # Cookies

    def _cookie(self, age: int, address: Address, now: float) -> bytes:
        if now >= self._secret_at + COOKIE_TIME:
            fresh = self._machine.secret(32)
            self._secrets = [fresh, self._secrets[0] if now < self._secret_at + 2 * COOKIE_TIME else fresh]
            self._secret_at = now
        host = parse_host(address[0])
        packed = blake2s(str(address).encode()).digest()[:16] if host is None else host.packed
        return wire.make_cookie(self._secrets[age], packed + address[1].to_bytes(2, "big"))

    def _has_cookie(self, datagram: bytes, address: Address, now: float) -> bool:
        return any(wire.has_cookie(datagram, self._cookie(age, address, now)) for age in (0, 1))

    # The end of a handshake

    def keep_early(self, index: bytes, datagram: bytes, address: Address) -> None:
        """Keep a DATA for a session whose FINISH did not come yet."""
        early = self._entries[index].early
        if len(early) < EARLY_DATA:
            early.append((datagram, address))

    def on_finish(self, index: bytes, datagram: bytes, now: float) -> tuple[_Entry, Established, bytes] | None:
        """Take a FINISH.

        :returns: the handshake, what it has shown, and the first frames; ``None`` if it is not accepted.
        """
        entry = self._entries.get(index)
        if entry is None or now >= entry.made + HALF_OPEN_TIME or entry.tried >= FINISHES_TRIED:
            self._machine.drops["index"] += 1
            return None
        entry.tried += 1
        try:
            established, frames = entry.half.read(datagram, self._machine.judge)
        except ValueError:
            self._machine.drops["identity"] += 1
            return None
        del self._entries[index]
        self._by_init.pop(entry.key, None)
        return entry, established, frames

    def expire(self, now: float) -> None:
        """Forget handshakes that were not finished in time."""
        entries = self._entries
        while entries and now >= next(iter(entries.values())).made + HALF_OPEN_TIME:
            entries.evict_oldest()

    def forget(self, own: OwnKey) -> None:
        """Forget the handshakes that were answered for a key of this node."""
        for index in [index for index, entry in self._entries.items() if entry.half.own is own]:
            self._by_init.pop(self._entries.pop(index).key, None)

    def clear(self) -> None:
        """Forget everything, and all cookies."""
        self._entries.clear()
        self._by_init.clear()
        self._secrets = [self._machine.secret(32), self._machine.secret(32)]
