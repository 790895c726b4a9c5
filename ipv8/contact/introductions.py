"""Introductions as a state machine: pending requests, which peers are let in, which peers are introduced to which.

There are no sockets and no clock here. Methods take values and ``now``, a time of ``clock.monotonic``, and return what
is to be done; :mod:`ipv8.contact.protocol` does it.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import entropy
from ..limits import BoundedDict, ExpiringDict, TokenBuckets
from ..messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address, has_network_address
from ..messaging.inet import HOST_BITS, network_of
from ..messaging.payload import NewIntroductionRequestPayload, NewIntroductionResponsePayload
from ..peerdiscovery.graph.neighborhoods import neighborhood_of
from ..reputation import is_refused, score_of
from .targets import LINK_BITS, Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

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
    "is_somewhere",
    "response_size",
    "sample_peers",
    "told_addresses",
    "walk_order",
    "wants_new_style",
]

PENDING_LIMIT = 1024
"""Introduction requests that wait for an answer; the oldest is evicted first."""

PENDING_LIFETIME = 30.0
"""Seconds for which a request waits for its answer."""

UNPROVEN_GRACE = 5.0
"""Seconds for which a peer that has not answered us yet keeps its place."""

RESPONSES_PER_SECOND, RESPONSES_AT_ONCE = 20.0, 100.0
"""Introduction responses to peers on one host that have not proved to be there."""

CLAIMS = 64
"""How often another identifier is claimed, at most, because a pending request has the one before."""

SAMPLE = 64
"""How many peers are considered, at most, for an introduction."""

LEDGER_LIMIT = 4096
"""Introductions that are remembered, and peers whose introductions are counted; the oldest is evicted first."""

UNPROVEN_CHANCE = 0.5
"""How often a peer that has not answered us yet is asked for an introduction: its answer proves where it is."""

EXPLORED = 0.2
"""The part of the introductions that are made without a look at trust, where it is looked at."""

NOWHERE = UDPv4Address("0.0.0.0", 0)  # noqa: S104 - what the wire says for "no address"


class PendingIntroductions:
    """The introduction requests that were sent and not answered: they tell which responses were asked for."""

    __slots__ = ("_newest", "_pending", "_relayed", "_waiting")

    def __init__(self) -> None:
        self._pending: ExpiringDict[int, Address] = ExpiringDict(PENDING_LIMIT, PENDING_LIFETIME, self._stop_waiting)
        self._newest: int | None = None
        self._relayed: set[int] = set()
        self._waiting: Counter[Address] = Counter()

    def new(self, address: Address, claim: Callable[[], int], now: float) -> int:
        """The identifier (16 bits) of a request to ``address``, which no other pending request has.

        :param claim: returns another identifier at each call.
        """
        self._pending.expire(now)
        identifier = claim()
        for _ in range(CLAIMS):
            if self._pending.get(identifier, now=now) is None:
                break
            identifier = claim()
        replaced = self._pending.pop(identifier, now=now)
        if replaced is not None:
            self._stop_waiting(identifier, replaced)
        self._pending.set(identifier, address, now)
        self._newest = identifier
        self._waiting[address] += 1
        return identifier

    def withdraw(self, now: float) -> None:
        """The newest request is not sent after all."""
        newest = self._newest
        if newest is not None:
            address = self._pending.pop(newest, now=now)
            if address is not None:
                self._stop_waiting(newest, address)

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
    """Which peers were introduced to which: an introduction should be new to its requester, and all get their share.

    Networks get equal shares, then the hosts of a network, and then the peers of a host. So a node with many keys is
    not introduced more often than one with one key.
    """

    __slots__ = ("_counts", "_pairs")

    def __init__(self) -> None:
        self._pairs: BoundedDict[int, int] = BoundedDict(LEDGER_LIMIT)
        self._counts: BoundedDict[int, int] = BoundedDict(LEDGER_LIMIT)

    def choose(self, candidates: Sequence[Peer], requester: Peer | None) -> Peer:
        """One of ``candidates``: preferably one that is new to ``requester``, then one that was introduced least."""
        left: Sequence[Peer] = entropy.sample(candidates, len(candidates))  # of equals, any one is chosen
        mine = 0 if requester is None else hash(requester)
        for level in LEVELS:
            groups: dict[int, list[Peer]] = {}
            for peer in left:
                groups.setdefault(hash((level, level(peer))), []).append(peer)
            chosen = min(groups, key=lambda group: (self._pairs.get(hash((mine, group)), 0),
                                                    self._counts.get(group, 0)))
            left = groups[chosen]
            self._count(self._counts, chosen)
            self._count(self._pairs, hash((mine, chosen)))
        (peer,) = left[:1]
        if requester is not None:
            for level in LEVELS:
                self._count(self._pairs, hash((hash(peer), hash((level, level(requester))))))
        return peer

    def _count(self, counts: BoundedDict[int, int], key: int) -> None:
        counts[key] = counts.get(key, 0) + 1


def _network(peer: Peer) -> Hashable:
    return neighborhood_of(peer.address)


def _host(peer: Peer) -> Hashable:
    # On one machine, and in a home network, every node counts.
    network = neighborhood_of(peer.address)
    return network if network == peer.address else network_of(peer.address[0], *HOST_BITS)


LEVELS: tuple[Callable[[Peer], Hashable], ...] = (_network, _host, hash)
"""By what peers are chosen for introductions, one after another."""


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

    __slots__ = ("_ledger", "_members", "_pending", "_responses", "_targets")

    def __init__(self, members: Members, targets: Targets | None = None) -> None:
        self._members = members
        self._targets = targets or Targets()
        self._pending = PendingIntroductions()
        self._ledger = IntroductionLedger()
        self._responses = TokenBuckets(RESPONSES_PER_SECOND, RESPONSES_AT_ONCE)

    # Requests of ours

    def ask(self, address: Address, claim: Callable[[], int], now: float) -> int:
        """The identifier (16 bits) of a new request to ``address``, whose answer is expected from now on.

        :param claim: returns another identifier at each call; the first one that is free is used.
        """
        return self._pending.new(address, claim, now)

    def waits_for(self, address: Address, now: float) -> bool:
        """Whether a request to ``address`` has not been answered yet."""
        return self._pending.waits_for(address, now)

    def withdraw(self, now: float) -> None:
        """The newest request is not sent after all."""
        self._pending.withdraw(now)

    def note_relayed(self, address: Address, now: float) -> None:
        """The newest request, if it is one to ``address``, goes by relay."""
        self._pending.note_relayed(address, now)

    def may_confirm(self, address: Address, now: float) -> bool:
        """Whether to send a request to ``address`` to find out who is there: not if one is on its way already."""
        return not self.waits_for(address, now) and self._targets.may_answer(address, now)

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
        victim = None
        if self.is_full() and not self.is_member(peer):
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
        return self._unproven_member_but(peer) if self.is_full() and not self.is_member(peer) else None

    def may_join(self, peer: Peer) -> bool:
        """Whether ``peer``, which answered a request of ours, is a member or becomes one: there may be no place."""
        return not self.is_full() or self.is_member(peer)

    def is_member(self, peer: Peer) -> bool:
        """Whether ``peer`` is a verified peer of the overlay."""
        network = self._members.network
        known = network.get_verified_by_public_key_bin(peer.key_bin)
        return known is not None and self._members.community_id in network.get_services_for_peer(known)

    def _unproven_member_but(self, peer: Peer) -> Peer | None:
        """The member that is the first to leave for ``peer``."""
        victim = self._members.network.unproven_peer_to_drop(self._members.community_id, UNPROVEN_GRACE)
        return None if victim == peer else victim

    # Requests of others

    def choose_introduction(self, requester: Peer | None, new_style: bool, trust: Any = None) -> Peer | None:
        """The peer to introduce to ``requester``: if possible one that has proved to be where it is.

        :param new_style: whether the requester understands addresses that are not IPv4 ones.
        :param trust: if given, trusted peers are preferred, and those that are refused are not introduced.
        """
        available = [peer for peer in self._sample_members()
                     if peer != requester and (new_style or isinstance(peer.address, UDPv4Address))
                     and has_network_address(peer.address)]
        proven = [peer for peer in available if peer.proven]
        candidates: Sequence[Peer] = proven or available
        if trust is not None:
            candidates = _preferred(candidates, trust)
        return self._ledger.choose(candidates, requester) if candidates else None

    def _sample_members(self) -> Sequence[Peer]:
        """Some peers of the overlay: of many, some of each network."""
        network, service, members = self._members.network, self._members.community_id, self._members.get_peers()
        # Programs may choose among the peers of the network.
        if len(members) <= SAMPLE or members is not network.get_peers_for_service(service):
            return sample_peers(members)
        return list(dict.fromkeys(peer for _, peer in network.draw_peers(service, SAMPLE)))


def _preferred(peers: Sequence[Peer], trust: Any) -> Sequence[Peer]:
    """The peers to introduce one of: mostly those with a score, and sometimes any, so that strangers have a way in."""
    accepted = [peer for peer in peers if not is_refused(trust, peer.key_bin)]
    if entropy.random() < EXPLORED:
        return accepted
    return [peer for peer in accepted if score_of(trust, peer.key_bin)] or accepted


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


def walk_order(targets: Sequence[Address], lan: Address, own_lan: Address) -> list[Address]:
    """Which of the ``targets`` of an introduction to walk to at once, the most promising one first.

    An address ``lan`` that was told as one in a LAN is left out if there are others and it cannot be in ours. It stays
    walkable.
    """
    others = [address for address in targets if address != lan]
    if len(others) == len(targets) or not others:
        return list(targets)
    is_ours = network_of(lan[0], *LINK_BITS) == network_of(own_lan[0], *LINK_BITS)
    return [*others, lan] if is_ours else others


def wants_new_style(request: Any) -> bool:
    """Whether an introduction request is to be answered in the new style."""
    return isinstance(request, NewIntroductionRequestPayload) or bool(request.supports_new_style)


def response_size(peer: Peer, response: Any) -> int:
    """The bytes of the packet in which ``peer`` sent an introduction response."""
    fixed = 23 + 2 + len(peer.key_bin) + 8 + peer.public_key.get_signature_length()  # doc/protocol/packets.md
    if not isinstance(response, NewIntroductionResponsePayload):
        return fixed + 33 + len(response.extra_bytes)
    addresses = (response.destination_address, response.source_lan_address, response.source_wan_address,
                 response.lan_introduction_address, response.wan_introduction_address)
    return fixed + 3 + len(response.extra_bytes) + sum(19 if ":" in address[0] else 7 for address in addresses)
