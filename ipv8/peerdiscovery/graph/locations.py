"""Which verified peers have an address, kept up to date when the peers change their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...messaging.address import UDPv4LANAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["PeerLocations", "PeersByAddress"]


class PeersByAddress(dict["Address", Any]):
    """The peers at each address, those that have had it longest first.

    The value is a single peer, as at most addresses, or a dictionary of several, which takes more memory.
    """

    __slots__ = ()

    def at(self, address: Address) -> Iterable[Peer]:
        """All peers at ``address``."""
        found = self.get(address)
        if found is None:
            return ()
        return found if type(found) is dict else (found,)

    def add(self, address: Address, peer: Peer) -> None:
        """Note that ``peer``, which was not at ``address``, is there."""
        found = self.setdefault(address, peer)
        if found is peer:
            return
        if type(found) is not dict:
            found = self[address] = {found: None}
        found[peer] = None

    def remove(self, address: Address, peer: Peer) -> None:
        """Note that ``peer``, which was at ``address``, is not there any more."""
        found = self[address]
        if type(found) is dict:
            del found[peer]
        if not found or type(found) is not dict:
            del self[address]


class _Location:
    """Where one peer is; called when the peer changes its addresses."""

    __slots__ = ("contacts", "lan", "locations", "peer")

    def __init__(self, locations: PeerLocations, peer: Peer) -> None:
        self.locations = locations
        self.peer = peer
        self.contacts: tuple[Address, ...] = ()
        self.lan: tuple[Address, ...] = ()

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
        self.contacts = PeersByAddress()
        #: The peers that have each address in their LAN; read-only.
        self.lan = PeersByAddress()

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
        self._replace(location, (), ())
        return location.peer

    def addresses(self, peer: Peer) -> list[Address]:
        """The addresses of ``peer``, as they were given to ``on_move``; none if it is absent."""
        location = self._locations.get(peer.key_bin)
        return [] if location is None else [*location.contacts, *location.lan]

    def contacted_at(self, address: Address) -> list[Peer]:
        """The peers whose packets go to ``address``: not those that merely have it in their LAN."""
        peers = list(self.contacts.at(address))
        return peers + [peer for peer in self.lan.at(address) if peer.address == address and peer not in peers]

    def is_shared(self, address: Address, peer: Peer | None) -> bool:
        """Whether another peer than ``peer`` has ``address``."""
        for index in (self.contacts, self.lan):
            for other in index.at(address):
                if other is not peer:
                    return True
        return False

    def _update(self, location: _Location) -> None:
        items = location.peer.addresses.items()
        # Equal addresses of two classes are one contact.
        contacts = tuple(dict.fromkeys([address for kind, address in items if kind is not UDPv4LANAddress]))
        lan = tuple([address for kind, address in items if kind is UDPv4LANAddress])
        if (contacts, lan) != (location.contacts, location.lan):
            self._replace(location, contacts, lan)

    def _replace(self, location: _Location, contacts: tuple[Address, ...], lan: tuple[Address, ...]) -> None:
        peer = location.peer
        changes = (self.contacts, location.contacts, contacts), (self.lan, location.lan, lan)
        location.contacts, location.lan = contacts, lan
        lost, gained = [], []
        for index, before, after in changes:
            for address in before:
                if address not in after:
                    index.remove(address, peer)
                    lost.append(address)
            for address in after:
                if address not in before:
                    index.add(address, peer)
                    gained.append(address)
        self._on_move(peer, lost, gained)
