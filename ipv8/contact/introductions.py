"""What an overlay remembers about introductions: plain state, no sockets (spec 05 sections 4 to 6)."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING

from .. import clock, entropy
from ..limits import TokenBuckets
from ..messaging.address import UDPv4Address, has_network_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messaging.address import Address
    from ..peer import Peer

__all__ = [
    "NOWHERE",
    "IntroductionLedger",
    "OwnAddressVotes",
    "PendingIntroductions",
    "PunctureBudget",
    "ipv4_or_none",
    "is_sendable",
    "is_somewhere",
    "sample_peers",
]

PENDING_LIMIT = 1024
PENDING_LIFETIME = 30.0
"""Requests that were not answered are forgotten after this many seconds, or, oldest first, beyond that many."""

PUNCTURES_PER_SECOND, PUNCTURES_AT_ONCE = 20.0, 60.0
"""Punctures for the requests of one acquaintance."""

PUNCTURES_PER_SECOND_PER_TARGET, PUNCTURES_AT_ONCE_PER_TARGET = 2.0, 10.0
"""Punctures to one address, whoever asks for them."""

PUNCTURE_SIZE = 200
"""Bytes that strangers must have sent for each puncture: more than one has, so that nothing is amplified."""

CANDIDATES = 32
"""How many peers are considered, at most, for an introduction."""

SAMPLE = 64
"""How many peers are looked at, at most, to find those who may be considered."""

NOWHERE = UDPv4Address("0.0.0.0", 0)  # noqa: S104 - what the wire says for "no address"

LEDGER_LIMIT = 4096
"""Introductions that are remembered; the oldest ones are forgotten first."""

WITNESS_LIMIT = 9
"""The last so many responders, each from another network, are heard on our own address."""


class PendingIntroductions:
    """The introduction requests that were sent and not answered: what makes a response a solicited one."""

    def __init__(self) -> None:
        self._pending: dict[int, tuple[Address, float]] = {}
        self._relayed: set[int] = set()
        self._waiting: Counter[Address] = Counter()

    def __len__(self) -> int:
        return len(self._pending)

    def new(self, address: Address) -> int:
        """A fresh random identifier (16 bits) for a request to ``address``."""
        now = clock.monotonic()
        self._forget_before(now - PENDING_LIFETIME)
        if len(self._pending) >= PENDING_LIMIT:
            self._forget(next(iter(self._pending)))
        identifier = entropy.randbits(16)
        while identifier in self._pending:
            identifier = entropy.randbits(16)
        self._pending[identifier] = (address, now)
        self._waiting[address] += 1
        return identifier

    def note_relayed(self, address: Address) -> None:
        """The newest request, if it is one to ``address``, goes by relay, and is answered by the same way."""
        identifier = next(reversed(self._pending), None)
        if identifier is not None and self.asked(identifier) == address:
            self._relayed.add(identifier)

    def waits_for(self, address: Address) -> bool:
        """Whether a request to ``address`` has not been answered yet."""
        self._forget_before(clock.monotonic() - PENDING_LIFETIME)
        return address in self._waiting

    def asked(self, identifier: int) -> Address | None:
        """The address that the request with ``identifier`` went to, if it has not been answered yet."""
        address, _ = self._pending.get(identifier, (None, 0.0))
        return address

    def take(self, identifier: int, source_address: Address, peer: Peer) -> bool:
        """Whether a response answers one of the requests, which can be answered once only.

        It must come from where the request went, or from a peer that is known at that address: a peer with several
        addresses answers from the one that it prefers. Who was asked by relay is known by another address than then.
        """
        self._forget_before(clock.monotonic() - PENDING_LIFETIME)
        address = self.asked(identifier)
        if address is None:
            return False
        by_relay = identifier in self._relayed and not has_network_address(source_address)
        if address != source_address and address not in peer.addresses.values() and not by_relay:
            return False
        self._forget(identifier)
        return True

    def _forget_before(self, horizon: float) -> None:
        """Forget the requests that were sent at ``horizon`` or earlier: the oldest ones come first."""
        while self._pending:
            identifier, (_, sent) = next(iter(self._pending.items()))
            if sent > horizon:
                break
            self._forget(identifier)

    def _forget(self, identifier: int) -> None:
        address, _ = self._pending.pop(identifier)
        self._relayed.discard(identifier)
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]


class IntroductionLedger:
    """Who was introduced to whom: so that nobody hears the same twice, and all peers are found equally often."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], None] = {}
        self._counts: dict[int, int] = {}

    def choose(self, candidates: Sequence[Peer], requester: Peer | None) -> Peer:
        """One of ``candidates``: if possible somebody new to ``requester``, and who was introduced the least often."""
        sampled = entropy.sample(candidates, min(len(candidates), CANDIDATES))
        mine = 0 if requester is None else hash(requester)
        chosen = min(sampled, key=lambda peer: ((mine, hash(peer)) in self._pairs,
                                                self._counts.get(hash(peer), 0)))
        theirs = hash(chosen)
        for pair in ((mine, theirs), (theirs, mine)):
            self._pairs.pop(pair, None)
            self._pairs[pair] = None
        while len(self._pairs) > LEDGER_LIMIT:
            del self._pairs[next(iter(self._pairs))]
        self._counts[theirs] = self._counts.pop(theirs, 0) + 1
        if len(self._counts) > LEDGER_LIMIT:
            del self._counts[next(iter(self._counts))]
        return chosen


class OwnAddressVotes:
    """Where others see us, by majority of the latest witnesses from different networks.

    A single liar, or many in one network, change nothing once others have been heard; when opinions are even, the
    latest one counts, as it does when we really moved.
    """

    def __init__(self) -> None:
        self._votes: dict[str, Address] = {}

    def vote(self, witness: Address, address: Address) -> Address:
        """Hear that ``witness`` sees us at ``address``; returns where we are by now believed to be."""
        network = _network_of(witness)
        self._votes.pop(network, None)
        self._votes[network] = address
        if len(self._votes) > WITNESS_LIMIT:
            del self._votes[next(iter(self._votes))]
        newest_first = list(reversed(self._votes.values()))
        host = Counter(vote[0] for vote in newest_first).most_common(1)[0][0]
        return Counter(vote for vote in newest_first if vote[0] == host).most_common(1)[0][0]


def _network_of(address: Address) -> str:
    """The /16 of an IPv4 address and the first two groups (about a /32) of an IPv6 address."""
    host = address[0]
    separator = ":" if ":" in host else "."
    return separator.join(host.split(separator, 2)[:2])


class PunctureBudget:
    """For whom, and how often, packets go to third parties: puncture requests are not signed."""

    def __init__(self) -> None:
        self._acquaintances = TokenBuckets(PUNCTURES_PER_SECOND, PUNCTURES_AT_ONCE)
        self._targets = TokenBuckets(PUNCTURES_PER_SECOND_PER_TARGET, PUNCTURES_AT_ONCE_PER_TARGET)
        self._credit = 0

    def allow(self, source_host: str, target: Address, acquainted: bool, size: int) -> bool:
        """Whether to serve a request of ``size`` bytes; peers and trackers are ``acquainted``, strangers pay first."""
        if acquainted:
            return self._acquaintances.take(source_host) and self._targets.take(target[0])
        self._credit = min(self._credit + size, 10 * PUNCTURE_SIZE)
        if self._credit < PUNCTURE_SIZE or not self._targets.take(target[0]):
            return False
        self._credit -= PUNCTURE_SIZE
        return True


def is_somewhere(address: Address) -> bool:
    """Whether ``address`` may be that of a node at all."""
    return address[1] != 0 and address[0] not in {"0.0.0.0", "255.255.255.255", "::"}  # noqa: S104 - not a bind


def ipv4_or_none(address: Address) -> Address:
    """What a field for an IPv4 address says of ``address``: itself, or 0.0.0.0:0 if it is of another family."""
    return NOWHERE if ":" in address[0] else address


def sample_peers(peers: Sequence[Peer]) -> Sequence[Peer]:
    """Some of ``peers``, at random, or all if they are few: so that what is done for each does not take long."""
    return peers if len(peers) <= SAMPLE else entropy.sample(peers, SAMPLE)


def is_sendable(address: Address, own_lan: Address, source: Address) -> bool:
    """Whether ``source`` may make us send to ``address``: somebody else's unicast address.

    Addresses of the loopback network are for those who are on it themselves.
    """
    host, port = address[:2]
    if not 0 < port < 65536 or address == own_lan:
        return False
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    if ip.is_loopback:
        return ip_address(source[0]).is_loopback
    return not (ip.is_multicast or ip.is_unspecified or (ip.is_reserved and ip.version == 4))
