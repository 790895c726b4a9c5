"""What an overlay remembers to get through address translators: plain state, no sockets (spec 05 sections 6 and 15)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .. import clock
from ..messaging.address import UDPv4Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address

__all__ = [
    "PUNCTURE_DELAYS",
    "AddressMapping",
    "Detours",
    "ExpectedPunctures",
    "MappingDetector",
    "PeerPath",
    "predicted_addresses",
]

PUNCTURE_DELAYS = (0.05, 0.2)
"""Seconds after the first puncture at which it is repeated: the walker's own NAT may let in the later ones only."""

PREDICTED_PORTS = 3
"""Ports above the introduced one that a peer is tried at: translators often give out one after the other."""

LAST_PORT = 65535

EXPECTED_LIMIT = 256
EXPECTED_LIFETIME = 10.0
"""Introductions whose punctures are waited for: so many, the oldest go first, and for so many seconds."""

SOURCES_PER_INTRODUCTION = 2
"""Addresses that are walked to because a puncture came from there, for each introduction."""

DETOUR_LIMIT = 256
"""Addresses that nobody told about; the oldest ones are forgotten first."""

OBSERVER_LIMIT = 9
OBSERVER_LIFETIME = 300.0
"""The last so many who told where they see us are compared, if that was not longer ago than so many seconds."""

OBSERVERS_NEEDED = 3
"""Observers whose word is needed to tell how our addresses are translated."""


class ExpectedPunctures:
    """Which punctures are answers to requests of ours.

    Whoever is asked to puncture learns the identifier of the request, which was chosen at random, and its address was
    told in the response. A translator may give the puncture another source port than the one that was told, and only
    there the peer can be reached.
    """

    def __init__(self) -> None:
        self._expected: dict[int, tuple[float, tuple[Address, ...], list[Address]]] = {}

    def note(self, identifier: int, addresses: Iterable[Address]) -> None:
        """The answer to our request with ``identifier`` introduced the peer with these ``addresses``."""
        self._expected.pop(identifier, None)
        self._expected[identifier] = (clock.monotonic(), tuple(addresses), [])
        if len(self._expected) > EXPECTED_LIMIT:
            del self._expected[next(iter(self._expected))]

    def reveals(self, identifier: int, source: Address) -> bool:
        """Whether a puncture shows that the introduced peer is not where it was said to be, but at ``source``.

        That is so for an address at an introduced IP, and once for each address.
        """
        stamp, introduced, seen = self._expected.get(identifier, (0.0, (), []))
        if (not introduced or stamp + EXPECTED_LIFETIME < clock.monotonic() or source in introduced or source in seen
                or len(seen) >= SOURCES_PER_INTRODUCTION or all(source[0] != address[0] for address in introduced)):
            return False
        seen.append(source)
        return True


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


class Detours:
    """Which addresses were not told by anybody, and where they come from."""

    def __init__(self) -> None:
        self._paths: dict[Address, str] = {}

    def note(self, address: Address, path: str) -> None:
        """``address`` was found by this ``path``."""
        self._paths.pop(address, None)
        self._paths[address] = path
        if len(self._paths) > DETOUR_LIMIT:
            del self._paths[next(iter(self._paths))]

    def path(self, address: Address, is_lan: bool) -> str:
        """How the way to ``address`` was found."""
        return PeerPath.LAN if is_lan else self._paths.get(address, PeerPath.DIRECT)


class AddressMapping:
    """How the addresses of this node are translated, by the terms of RFC 4787 section 4.1."""

    UNKNOWN = "unknown"
    NONE = "none"
    """Others see the address that this node has itself."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """All others see the same address, which is not the one that this node has itself."""
    ENDPOINT_DEPENDENT = "endpoint-dependent"
    """Different observers see different ports."""


class MappingDetector:
    """Compares what observers in different networks see; it takes most of them to be believed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, Address]] = {}

    def observe(self, observer: Address, address: Address) -> None:
        """Hear that ``observer`` sees us at ``address``."""
        network = observer[0].rpartition("." if "." in observer[0] else ":")[0]
        self._seen.pop(network, None)
        self._seen[network] = (clock.monotonic(), address)
        if len(self._seen) > OBSERVER_LIMIT:
            del self._seen[next(iter(self._seen))]

    def mapping(self, own: Address) -> str:
        """One of the values of :class:`AddressMapping`, for a node that has the address ``own``."""
        horizon = clock.monotonic() - OBSERVER_LIFETIME
        seen = [address for stamp, address in self._seen.values() if stamp >= horizon]
        if len(seen) < OBSERVERS_NEEDED:
            return AddressMapping.UNKNOWN
        host, _ = Counter(address[0] for address in seen).most_common(1)[0]
        there = [address for address in seen if address[0] == host]
        address, count = Counter(there).most_common(1)[0]
        if len(there) < OBSERVERS_NEEDED:
            return AddressMapping.UNKNOWN
        if 2 * count < len(there):
            return AddressMapping.ENDPOINT_DEPENDENT
        return AddressMapping.NONE if address == own else AddressMapping.ENDPOINT_INDEPENDENT


def predicted_addresses(address: Address) -> list[Address]:
    """Where a peer may be that was seen at ``address``, if its NAT gives out consecutive ports, one a destination."""
    if not isinstance(address, UDPv4Address):
        return []
    host, port = address
    return [UDPv4Address(host, other) for other in range(port + 1, min(port + PREDICTED_PORTS, LAST_PORT) + 1)]
