"""Which verified peers have an address, kept up to date when the peers change their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messaging.address import UDPv4LANAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["PeerLocations"]


class _Location:
    """The entries of one peer; called when the peer changes its addresses.

    An entry is whether the address is one in the LAN of the peer, and the address.
    """

    __slots__ = ("entries", "locations", "peer")

    def __init__(self, locations: PeerLocations, peer: Peer) -> None:
        self.locations = locations
        self.peer = peer
        self.entries: tuple[tuple[bool, Address], ...] = ()

    def __call__(self) -> None:
        self.locations._update(self)


class PeerLocations:
    """The peers at each address.

    LAN addresses are kept apart from the addresses at which peers are contacted: equal ones may belong to different
    LANs.

    :param on_move: called with a peer, the addresses that it lost and those that it got, after each change. An address
        that the peer has both as a contact and in its LAN is given twice.
    """

    def __init__(self, on_move: Callable[[Peer, list[Address], list[Address]], None]) -> None:
        self._on_move = on_move
        self._locations: dict[bytes, _Location] = {}
        #: The peers that are contacted at each address; read-only.
        self.contacts: dict[Address, dict[Peer, None]] = {}
        #: The peers that have each address in their LAN; read-only.
        self.lan: dict[Address, dict[Peer, None]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._locations

    def add(self, peer: Peer) -> None:
        """Index ``peer``, which is absent, and follow the changes of its addresses."""
        location = self._locations[peer.key_bin] = _Location(self, peer)
        peer.addresses.watch(location)
        self._update(location)

    def remove(self, key: bytes) -> Peer:
        """Remove and return the peer with a serialized public key; ``KeyError`` if it is absent."""
        location = self._locations.pop(key)
        location.peer.addresses.unwatch(location)
        self._replace_entries(location, ())
        return location.peer

    def addresses(self, peer: Peer) -> list[Address]:
        """The addresses of ``peer``, as they were given to ``on_move``; none if it is absent."""
        location = self._locations.get(peer.key_bin)
        return [] if location is None else [address for _, address in location.entries]

    def contacted_at(self, address: Address) -> list[Peer]:
        """The peers whose packets go to ``address``: not those that merely have it in their LAN."""
        peers = list(self.contacts.get(address, ()))
        return peers + [peer for peer in self.lan.get(address, ()) if peer.address == address and peer not in peers]

    def is_shared(self, address: Address, peer: Peer | None) -> bool:
        """Whether another peer than ``peer`` has ``address``."""
        for index in (self.contacts, self.lan):
            for other in index.get(address, ()):
                if other is not peer:
                    return True
        return False

    def _update(self, location: _Location) -> None:
        # Equal addresses of two classes are one contact.
        current = tuple(dict.fromkeys([(kind is UDPv4LANAddress, address)
                                       for kind, address in location.peer.addresses.items()]))
        if current != location.entries:
            self._replace_entries(location, current)

    def _replace_entries(self, location: _Location, current: tuple[tuple[bool, Address], ...]) -> None:
        peer, previous = location.peer, location.entries
        location.entries = current
        lost, gained = [], []
        for entry in previous:
            if entry not in current:
                is_lan, address = entry
                index = self.lan if is_lan else self.contacts
                peers = index[address]
                del peers[peer]
                if not peers:
                    del index[address]
                lost.append(address)
        for entry in current:
            if entry not in previous:
                is_lan, address = entry
                index = self.lan if is_lan else self.contacts
                index.setdefault(address, {})[peer] = None
                gained.append(address)
        self._on_move(peer, lost, gained)
