"""What an overlay knows of address translators (NATs): where others see it, and where punctures show peers to be.

There are no sockets and no clock here. Methods take values and ``now``, a time of ``clock.monotonic``, and return what
is to be done; :mod:`ipv8.contact.protocol` does it. The terms are those of RFC 4787, and ``doc/nat.md`` has the whole
procedure.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ..limits import BoundedDict, ExpiringDict, TokenBuckets
from ..messaging.address import RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ..messaging.inet import HOST_BITS, is_overlay_host, network_of
from .introductions import is_somewhere
from .targets import Targets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address
    from ..peer import Peer

__all__ = [
    "PUNCTURE_DELAYS",
    "AddressMapping",
    "Nat",
    "OwnAddressVote",
    "PeerPath",
    "PunctureBudget",
    "Tally",
    "Trackers",
    "is_open",
    "predicted_addresses",
    "puncture_target",
    "witness_address",
]

PUNCTURE_DELAYS = (0.05, 0.2)
"""Seconds after the first puncture at which it is repeated: the NAT of the other side may let in the later ones only.
"""

PREDICTED_PORTS = 3
"""Ports above the introduced one that a peer is tried at: some NATs give out one port after the other."""

LAST_PORT = 65535

EXPECTED_LIMIT = 256
"""Introductions whose punctures are expected; the oldest is evicted first."""

EXPECTED_LIFETIME = 10.0
"""Seconds for which a puncture is expected."""

SOURCES_PER_INTRODUCTION = 2
"""Addresses that are walked to because a puncture came from there, for each introduction."""

DETOUR_LIMIT = 256
"""Addresses that were not told by a peer, and whose origin is remembered; the oldest is evicted first."""

WITNESS_LIMIT = 9
"""Witnesses of our own address that are heard, one for each network; the oldest is evicted first."""

WITNESS_LIFETIME = 300.0
"""Seconds for which a witness counts for how our address is translated."""

WITNESS_BITS = (16, 48)
"""Prefix lengths of a network that is one witness, for IPv4 and IPv6.

An IPv4 /16 is what Bitcoin nodes count as one group of addresses, since one operator often has many addresses in it
(Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015). An IPv6 /48 is the largest
prefix that one site usually gets (RFC 6177), which may divide it into any number of subnets and hosts.
"""

WITNESSES_NEEDED = 3
"""Witnesses that must agree on our host before it is said how our address is translated."""

PUNCTURES_PER_SECOND, PUNCTURES_AT_ONCE = 3.0, 30.0
"""Punctures for the requests of one acquaintance. Its address may be forged, so there are not many."""

PUNCTURE_SIZE = 200
"""Bytes that strangers must have sent for each puncture. No puncture has more, so nothing is amplified."""

TRACKER_LIMIT = 64
"""Bootstrap servers whose keys are known, because they answered; the oldest is evicted first."""

TRACKER_LIFETIME = 300.0
"""Seconds after the last packet of a bootstrap server for which its puncture requests are those of an acquaintance."""

OPEN_FOR = 15.0
"""Seconds since the last packet of a peer in which the way to it is open and needs no puncture."""


class PeerPath:
    """How the way to a peer was found."""

    UNKNOWN = "unknown"
    LAN = "LAN"
    DIRECT = "direct"
    """The peer is at the address that was told."""
    OBSERVED = "observed"
    """It is where its puncture came from."""
    PREDICTED = "predicted"
    """It is at one of the ports above the one that was told."""
    MAPPED = "mapped"
    """It came by itself, while a port of this node's NAT was mapped for everybody."""
    RELAYED = "relayed"
    """It cannot be reached, and a peer of both carries the packets."""


class AddressMapping:
    """How the addresses of this node are translated, by the terms of RFC 4787 section 4.1."""

    UNKNOWN = "unknown"
    NONE = "none"
    """Others see the address that this node has itself."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """All others see the same address, which is not the one that this node has itself."""
    ENDPOINT_DEPENDENT = "endpoint-dependent"
    """Different observers see different ports."""


CONNECTION_TYPES = {AddressMapping.NONE: "public", AddressMapping.ENDPOINT_DEPENDENT: "symmetric-NAT"}
"""What requests call a mapping, as far as there is a word for it."""


class Tally(NamedTuple):
    """The result of a vote.

    :param address: the address that most witnesses see, at the host that most witnesses see.
    :param votes: how many see this address.
    :param votes_for_host: how many see this host, whatever the port.
    """

    address: Address
    votes: int
    votes_for_host: int


class OwnAddressVote:
    """Where others see this node, by majority of witnesses in different networks.

    Each network has one vote, its latest. So one liar changes nothing once others have been heard, and neither do many
    liars in one network. When votes are even, the latest one decides, which is right after this node has moved.

    :param capacity: how many networks are remembered; the one that was heard longest ago is evicted first.
    :param bits: the prefix lengths of a network, for IPv4 and IPv6.
    """

    __slots__ = ("_bits", "_votes")

    def __init__(self, capacity: int = WITNESS_LIMIT, bits: tuple[int, int] = WITNESS_BITS) -> None:
        self._bits = bits
        self._votes: BoundedDict[bytes, tuple[float, Address]] = BoundedDict(capacity)

    def __len__(self) -> int:
        return len(self._votes)

    def hear(self, witness: Address, seen: Address, now: float) -> None:
        """Note that a node at the address ``witness`` sees us at ``seen``."""
        self._votes[network_of(witness[0], *self._bits)] = now, seen

    def tally(self, since: float = -inf) -> Tally | None:
        """The result among the votes that were given at ``since`` or later; ``None`` if there are none."""
        newest_first = [seen for given, seen in reversed(self._votes.values()) if given >= since]
        if not newest_first:
            return None
        hosts = [seen[0] for seen in newest_first]
        host = max(hosts, key=hosts.count)  # of equals the first one, which is the newest
        there = [seen for seen in newest_first if seen[0] == host]
        address = max(there, key=there.count)
        return Tally(address, there.count(address), len(there))


class PunctureBudget:
    """At whose request, and how often, packets are sent to third parties: puncture requests are not signed.

    :param targets: how much is sent to each of these third parties.
    """

    __slots__ = ("_acquaintances", "_credit", "_targets")

    def __init__(self, targets: Targets | None = None) -> None:
        self._acquaintances = TokenBuckets(PUNCTURES_PER_SECOND, PUNCTURES_AT_ONCE)
        self._targets = targets or Targets()
        self._credit = 0

    def allow(self, source: Address, target: Address, acquainted: bool, size: int, now: float) -> bool:
        """Whether to send a puncture to ``target`` for a request of ``size`` bytes from ``source``.

        :param acquainted: whether the source is known, such as a peer or a tracker. All unknown sources together get
            one puncture for each ``PUNCTURE_SIZE`` bytes that they send.
        """
        if acquainted:
            return (self._acquaintances.take(network_of(source[0], *HOST_BITS), now=now)
                    and self._targets.may_answer(target, now))
        self._credit = min(self._credit + size, 10 * PUNCTURE_SIZE)
        if self._credit < PUNCTURE_SIZE or not self._targets.may_answer(target, now):
            return False
        self._credit -= PUNCTURE_SIZE
        return True


class Trackers:
    """Which bootstrap servers are in contact with this node, so that their puncture requests are expected.

    Their addresses are public, so anybody can forge them. A server is in contact if it answered a request of this node
    not long ago. While it is, its own signed requests keep it so, if they are addressed to this node: servers ask those
    whom they introduce whether they are still there.
    """

    __slots__ = ("_heard", "_keys")

    def __init__(self) -> None:
        self._keys: BoundedDict[Address, bytes] = BoundedDict(TRACKER_LIMIT)
        self._heard: ExpiringDict[Address, None] = ExpiringDict(TRACKER_LIMIT, TRACKER_LIFETIME)

    def note_answer(self, address: Address, key: bytes, now: float) -> None:
        """Note that the server at ``address``, which has the serialized public key, answered a request of ours."""
        self._keys[address] = key
        self._heard.set(address, None, now)

    def note_request(self, address: Address, key: bytes, sent_to: Address, own_wan: Address, now: float) -> None:
        """Note a signed request from ``address`` that says that it was ``sent_to`` some address."""
        if self._keys.get(address) == key and sent_to[0] == own_wan[0]:
            self._heard.set(address, None, now)

    def is_in_contact(self, address: Address, now: float) -> bool:
        """Whether the server at ``address`` answered, or asked, not long ago."""
        return self._heard.age(address, now) is not None


class _Expected(NamedTuple):
    """An introduced peer whose puncture is expected: its addresses, and others that punctures came from."""

    introduced: tuple[Address, ...]
    observed: list[Address]


class Nat:
    """What one overlay knows of the NATs between it and its peers."""

    __slots__ = ("_detours", "_expected", "_ipv4", "_ipv6", "_unheard", "punctures", "trackers")

    def __init__(self, targets: Targets | None = None) -> None:
        self._ipv4 = OwnAddressVote()
        self._ipv6 = OwnAddressVote()
        self._expected: ExpiringDict[int, _Expected] = ExpiringDict(EXPECTED_LIMIT, EXPECTED_LIFETIME)
        self._detours: BoundedDict[Address, str] = BoundedDict(DETOUR_LIMIT)
        self._unheard: ExpiringDict[Address, None] = ExpiringDict(EXPECTED_LIMIT, EXPECTED_LIFETIME)
        self.punctures = PunctureBudget(targets)
        self.trackers = Trackers()

    # Our own address

    def learn_own_address(self, witness: Peer, seen: Address, is_lan: bool, now: float) -> Address | None:
        """Hear that ``witness`` says that it sees us at ``seen``.

        :param is_lan: whether ``seen`` is one of a private network: there is no vote on these, as each holds in its own
            network only.
        :returns: our address of the same family as ``seen``, as far as is known now; ``None`` if ``witness`` cannot
            see us at ``seen``, or if no node can be there.
        """
        voter = witness_address(witness, seen)
        if voter is None or is_overlay_host(seen[0]) or not is_somewhere(seen):
            return None
        if is_lan:
            return seen
        vote = self._ipv6 if ":" in seen[0] else self._ipv4
        vote.hear(voter, seen, now)
        result = vote.tally()
        return None if result is None else result.address

    def mapping(self, own: Address, now: float) -> str:
        """How our IPv4 address ``own`` is translated: a value of :class:`AddressMapping`."""
        if len(self._ipv4) < WITNESSES_NEEDED:
            return AddressMapping.UNKNOWN
        result = self._ipv4.tally(now - WITNESS_LIFETIME)
        if result is None or result.votes_for_host < WITNESSES_NEEDED:
            return AddressMapping.UNKNOWN
        if 2 * result.votes < result.votes_for_host:
            return AddressMapping.ENDPOINT_DEPENDENT
        return AddressMapping.NONE if result.address == own else AddressMapping.ENDPOINT_INDEPENDENT

    def connection_type(self, own: Address, now: float) -> str:
        """What requests tell of the mapping: "unknown", "public" or "symmetric-NAT".

        See doc/protocol/discovery.md section 3.1.
        """
        return CONNECTION_TYPES.get(self.mapping(own, now), "unknown")

    # Where peers are

    def second_tries(self, address: Address, own_lan: Address, own_wan: Address, is_lan: bool,
                     now: float) -> list[Address]:
        """Where to send a second request to a peer that did not answer at ``address``.

        That is the same address and, if the puncture that was expected from there has not come, those that the NAT of
        the peer may have given it for us. Nothing is sent without a NAT on our side: then the punctures of the other
        side show the way.

        :param is_lan: whether ``address`` is one of a private network.
        """
        if own_lan == own_wan:
            return []
        if (is_lan or self._unheard.age(address, now) is None
                or self.mapping(own_lan, now) == AddressMapping.ENDPOINT_DEPENDENT):
            return [address]
        return [address, *predicted_addresses(address)]

    def expect_puncture(self, identifier: int, addresses: Iterable[Address], now: float) -> None:
        """Note that the answer to our request with ``identifier`` introduced the peer with these ``addresses``.

        The peer that is asked to puncture learns the identifier, which was chosen at random.
        """
        expected = _Expected(tuple(addresses), [])
        self._expected.set(identifier, expected, now)
        for address in expected.introduced:
            self._unheard.set(address, None, now)

    def learn_from_puncture(self, identifier: int, source: Address, now: float) -> Address | None:
        """Note a puncture, which may show that an introduced peer is not where it was said to be, but at ``source``.

        A NAT may give the puncture another source port than the one that was told, and the peer can be reached only
        there. So the source must be at an introduced host. Each source is learned once.

        :returns: where the peer was said to be; ``None`` if nothing is learned.
        """
        expected = self._expected.get(identifier, now=now)
        told = None if expected is None else next(
            (address for address in expected.introduced if address[0] == source[0]), None)
        if expected is None or told is None:
            return None
        for address in expected.introduced:
            self._unheard.pop(address, None, now)
        if (source in expected.introduced or source in expected.observed
                or len(expected.observed) >= SOURCES_PER_INTRODUCTION):
            return None
        expected.observed.append(source)
        return told

    def note_path(self, address: Address, path: str) -> None:
        """Note that ``address`` was found by this ``path``, a value of :class:`PeerPath`."""
        self._detours[address] = path

    def path_to(self, address: Address, is_lan: bool) -> str:
        """How the way to ``address`` was found."""
        return PeerPath.LAN if is_lan else self._detours.get(address, PeerPath.DIRECT)


def witness_address(peer: Peer, seen: Address) -> Address | None:
    """The address of ``peer`` that counts when it says that it sees us at ``seen``: one of the same family.

    ``None`` if it has none: then it cannot have got a packet from there. Neither LAN addresses, which a peer tells
    itself, nor those of relayed peers count.
    """
    address = peer.addresses.get(UDPv6Address if ":" in seen[0] else UDPv4Address, peer.address)
    if (":" in address[0]) != (":" in seen[0]) or isinstance(address, (RelayedAddress, UDPv4LANAddress)):
        return None
    return address


def is_open(peer: Peer | None, now: float) -> bool:
    """Whether ``peer`` has just sent something, so that the way to it needs no puncture."""
    return peer is not None and peer.proven and now < peer.last_heard + OPEN_FOR


def puncture_target(lan_walker: Address, wan_walker: Address, own_wan: Address) -> Address:
    """Where a puncture goes: to the LAN address of a walker that is behind our own NAT, else to its WAN address."""
    return lan_walker if wan_walker[0] == own_wan[0] else wan_walker


def predicted_addresses(address: Address) -> list[Address]:
    """Where a peer may be that was seen at ``address``, if its NAT gives out consecutive ports, one a destination."""
    if not isinstance(address, UDPv4Address):
        return []
    host, port = address
    return [UDPv4Address(host, other) for other in range(port + 1, min(port + PREDICTED_PORTS, LAST_PORT) + 1)]
