"""Introductions as a state machine: pending requests, which peers are let in, which peers are introduced to which.

There are no sockets and no clock here. Methods take values and ``now``, a time of ``clock.monotonic``, and return what
is to be done; :mod:`ipv8.contact.protocol` does it.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from .. import entropy
from ..limits import BoundedDict, ExpiringDict, TokenBuckets
from ..messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address, has_network_address
from ..messaging.inet import HOST_BITS, network_of, parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messaging.address import Address
    from ..peer import Peer
    from .host import Members

__all__ = [
    "NOWHERE",
    "Admission",
    "Decision",
    "IntroductionLedger",
    "Introductions",
    "PendingIntroductions",
    "addresses_to_try",
    "ipv4_or_none",
    "is_sendable",
    "is_somewhere",
    "sample_peers",
    "told_addresses",
]

PENDING_LIMIT = 1024
"""Introduction requests that wait for an answer; the oldest is evicted first."""

PENDING_LIFETIME = 30.0
"""Seconds for which a request waits for its answer."""

UNPROVEN_GRACE = 5.0
"""Seconds for which a peer that has not answered us yet keeps its place."""

RESPONSES_PER_SECOND, RESPONSES_AT_ONCE = 20.0, 100.0
"""Introduction responses to peers on one host that have not proved to be there."""

CONFIRMATIONS_PER_SECOND, CONFIRMATIONS_AT_ONCE = 2.0, 10.0
"""Introduction requests to one host, to find out whether a peer is there."""

CANDIDATES = 32
"""How many peers are considered, at most, for an introduction."""

SAMPLE = 64
"""How many peers are looked at, at most, to find those that may be considered."""

LEDGER_LIMIT = 4096
"""Introductions that are remembered, and peers whose introductions are counted; the oldest is evicted first."""

UNPROVEN_CHANCE = 0.5
"""How often a peer that has not answered us yet is asked for an introduction: its answer proves where it is."""

NOWHERE = UDPv4Address("0.0.0.0", 0)  # noqa: S104 - what the wire says for "no address"


class PendingIntroductions:
    """The introduction requests that were sent and not answered: they tell which responses were asked for."""

    __slots__ = ("_newest", "_pending", "_relayed", "_waiting")

    def __init__(self) -> None:
        self._pending: ExpiringDict[int, Address] = ExpiringDict(PENDING_LIMIT, PENDING_LIFETIME, self._stop_waiting)
        self._newest: int | None = None
        self._relayed: set[int] = set()
        self._waiting: Counter[Address] = Counter()

    def new(self, address: Address, now: float) -> int:
        """A random identifier (16 bits) for a request to ``address``, which no other pending request has."""
        self._pending.expire(now)
        identifier = entropy.randbits(16)
        while self._pending.get(identifier, now=now) is not None:
            identifier = entropy.randbits(16)
        self._pending.set(identifier, address, now)
        self._newest = identifier
        self._waiting[address] += 1
        return identifier

    def note_relayed(self, address: Address, now: float) -> None:
        """The newest request, if it is one to ``address``, goes by relay, and is answered by the same way."""
        newest = self._newest
        if newest is not None and self._pending.get(newest, now=now) == address:
            self._relayed.add(newest)

    def waits_for(self, address: Address, now: float) -> bool:
        """Whether a request to ``address`` has not been answered yet."""
        self._pending.expire(now)
        return address in self._waiting

    def settle(self, identifier: int, source_address: Address, peer: Peer, now: float) -> Address | None:
        """Match a response of ``peer`` with the request that it answers. Each request can be answered once.

        The response must come from where the request went, or from a peer that is known at that address: a peer with
        several addresses answers from the one that it prefers. A peer that was asked by relay answers from another
        relayed address.

        :returns: where the request went, or ``None`` if the response answers none of them.
        """
        address = self._pending.get(identifier, now=now)
        if address is None:
            return None
        by_relay = identifier in self._relayed and not has_network_address(source_address)
        if address != source_address and address not in peer.addresses.values() and not by_relay:
            return None
        self._pending.pop(identifier, now=now)
        self._stop_waiting(identifier, address)
        return address

    def _stop_waiting(self, identifier: int, address: Address) -> None:
        self._relayed.discard(identifier)
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]


class IntroductionLedger:
    """Which peers were introduced to which: an introduction should be new to its requester, and all get their share."""

    __slots__ = ("_counts", "_pairs")

    def __init__(self) -> None:
        self._pairs: BoundedDict[tuple[int, int], None] = BoundedDict(LEDGER_LIMIT)
        self._counts: BoundedDict[int, int] = BoundedDict(LEDGER_LIMIT)

    def choose(self, candidates: Sequence[Peer], requester: Peer | None) -> Peer:
        """One of ``candidates``: preferably one that is new to ``requester``, then one that was introduced least."""
        sampled = entropy.sample(candidates, min(len(candidates), CANDIDATES))
        mine = 0 if requester is None else hash(requester)
        chosen = min(sampled, key=lambda peer: ((mine, hash(peer)) in self._pairs, self._counts.get(hash(peer), 0)))
        theirs = hash(chosen)
        self._pairs[mine, theirs] = self._pairs[theirs, mine] = None
        self._counts[theirs] = self._counts.get(theirs, 0) + 1
        return chosen


class Decision(Enum):
    """What to do with an introduction request."""

    ADMIT = "admit"
    """Its sender becomes a peer, if it is none yet, and is answered."""
    CONFIRM = "confirm"
    """There is no room now. The sender is asked whether it is where it seems to be; it gets a place if it answers."""
    REFUSE = "refuse"
    """There is no room."""
    OVER_BUDGET = "over budget"
    """Too many unproven peers on that host are answered already."""


class Admission(NamedTuple):
    """A decision, and the peer whose place the sender gets, if there is no other place."""

    decision: Decision
    victim: Peer | None = None


class Introductions:
    """The introductions of an overlay, its own and those of others.

    Peers are admitted in two tiers. The sender of a signed introduction request is a peer at once. A peer that answers
    a request of ours is *proven*: it receives what is sent to its address. When the overlay has more peers than it
    wants, an unproven peer gives its place to a proven one.
    """

    __slots__ = ("_confirmations", "_ledger", "_members", "_pending", "_responses")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._pending = PendingIntroductions()
        self._ledger = IntroductionLedger()
        self._responses = TokenBuckets(RESPONSES_PER_SECOND, RESPONSES_AT_ONCE)
        self._confirmations = TokenBuckets(CONFIRMATIONS_PER_SECOND, CONFIRMATIONS_AT_ONCE)

    # Requests of ours

    def ask(self, address: Address, now: float) -> int:
        """The identifier (16 bits) of a new request to ``address``, whose answer is expected from now on."""
        return self._pending.new(address, now)

    def waits_for(self, address: Address, now: float) -> bool:
        """Whether a request to ``address`` has not been answered yet."""
        return self._pending.waits_for(address, now)

    def note_relayed(self, address: Address, now: float) -> None:
        """The newest request, if it is one to ``address``, goes by relay."""
        self._pending.note_relayed(address, now)

    def may_confirm(self, address: Address, now: float) -> bool:
        """Whether to send a request to ``address`` to find out who is there: not if one is on its way already."""
        return (self._confirmations.take(network_of(address[0], *HOST_BITS), now=now)
                and not self.waits_for(address, now))

    def choose_to_ask(self, peers: Sequence[Peer], now: float) -> Peer:
        """Which of ``peers`` to ask for an introduction: often one that has not proved yet to be where it seems to be.

        :raises IndexError: if there are none.
        """
        unproven = [peer for peer in sample_peers(peers)
                    if not (peer.proven or self._pending.waits_for(peer.address, now))]
        ask_unproven = unproven and entropy.random() < UNPROVEN_CHANCE
        return entropy.choice(unproven if ask_unproven else peers)

    def settle(self, identifier: int, source_address: Address, peer: Peer, now: float) -> Address | None:
        """Where the request went that a response of ``peer`` answers; ``None`` if it answers no request of ours."""
        return self._pending.settle(identifier, source_address, peer, now)

    # Who is a peer

    def has_enough(self) -> bool:
        """Whether the overlay has as many peers as it wants."""
        return 0 <= self._members.max_peers <= len(self._members.get_peers())

    def is_full(self) -> bool:
        """Whether a newcomer is let in only if another peer leaves."""
        return 0 <= self._members.max_peers < len(self._members.get_peers())

    def admit(self, peer: Peer, now: float) -> Admission:
        """Whether to let in and to answer ``peer``, which sent an introduction request. Members are always answered."""
        network = self._members.network
        known = network.get_verified_by_public_key_bin(peer.key_bin)
        is_member = known is not None and self._members.community_id in network.get_services_for_peer(known)
        victim = None
        if not is_member and self.is_full():
            victim = self._unproven_member_but(peer)
            if victim is None:
                return Admission(Decision.REFUSE)
            if not peer.proven:
                return Admission(Decision.CONFIRM)
        if not peer.proven and not self._responses.take(network_of(peer.address[0], *HOST_BITS), now=now):
            return Admission(Decision.OVER_BUDGET)
        return Admission(Decision.ADMIT, victim)

    def give_place(self, peer: Peer) -> Peer | None:
        """The member that has to leave because ``peer`` has just proved to be where it is; ``None`` if none has to."""
        return self._unproven_member_but(peer) if self.is_full() and peer not in self._members.network.verified_peers \
            else None

    def _unproven_member_but(self, peer: Peer) -> Peer | None:
        """The member that is the first to leave for ``peer``."""
        victim = self._members.network.unproven_peer_to_drop(self._members.community_id, UNPROVEN_GRACE)
        return None if victim == peer else victim

    # Requests of others

    def choose_introduction(self, requester: Peer | None, new_style: bool) -> Peer | None:
        """The peer to introduce to ``requester``: if possible one that has proved to be where it is.

        :param new_style: whether the requester understands addresses that are not IPv4 ones.
        """
        available = [peer for peer in sample_peers(self._members.get_peers())
                     if peer != requester and (new_style or isinstance(peer.address, UDPv4Address))
                     and has_network_address(peer.address)]
        proven = [peer for peer in available if peer.proven]
        return self._ledger.choose(proven or available, requester) if available else None


# What the addresses in the messages mean


def told_addresses(peer: Peer, own_wan: Address, is_own_host: Callable[[str], bool]) -> tuple[Address, Address]:
    """The LAN and the WAN address under which others are told of ``peer``.

    :param own_wan: where others see this node.
    :param is_own_host: tells whether an interface of this very machine has an IP address.
    """
    address = peer.address
    if isinstance(address, UDPv4Address) and ":" not in own_wan[0] and is_own_host(address[0]):
        return address, UDPv4Address(own_wan[0], address[1])
    return peer.addresses.get(UDPv4LANAddress, NOWHERE), address


def addresses_to_try(lan: Address, wan: Address, own_lan: Address, own_wan: Address) -> list[Address]:
    """The addresses at which an introduced peer is tried, in order (doc/protocol/discovery.md section 5.3).

    :param lan: its LAN address, as a response says it; ``wan`` likewise.
    :param own_lan: our own LAN address; ``own_wan`` is where others see us. A peer that is seen at the same host as we
        are is behind the same NAT, and is tried within the LAN.
    """
    if wan == NOWHERE:
        return []
    if wan[0] != own_wan[0] or isinstance(wan, UDPv6Address):
        return [wan] if lan == NOWHERE else [lan, wan]
    if lan != NOWHERE:
        return [lan]
    return [wan] if ":" in own_lan[0] else [wan, UDPv4Address(own_lan[0], wan[1])]


def is_somewhere(address: Address) -> bool:
    """Whether ``address`` may be that of a node at all."""
    return address[1] != 0 and address[0] not in {"0.0.0.0", "255.255.255.255", "::"}  # noqa: S104 - not a bind


def ipv4_or_none(address: Address) -> Address:
    """What a field for an IPv4 address says of ``address``: itself, or 0.0.0.0:0 if it is of another family."""
    return NOWHERE if ":" in address[0] else address


def sample_peers(peers: Sequence[Peer]) -> Sequence[Peer]:
    """A random sample of ``peers``, or all if they are few, so that work for each of them does not take long."""
    return peers if len(peers) <= SAMPLE else entropy.sample(peers, SAMPLE)


def is_sendable(address: Address, own_lan: Address, source: Address) -> bool:
    """Whether ``source`` may make us send to ``address``: a unicast address, and not our own LAN address.

    Addresses of the loopback network are only for sources on the loopback network.
    """
    host, port = address[:2]
    if not 0 < port < 65536 or address == own_lan:
        return False
    ip = parse_host(host)
    if ip is None:
        return False
    if ip.is_loopback:
        asker = parse_host(source[0])
        return asker is not None and asker.is_loopback
    return not (ip.is_multicast or ip.is_unspecified or (ip.is_reserved and ip.version == 4))
