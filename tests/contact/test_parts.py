"""The object that holds the parts by which an overlay meets its peers."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ipv8.contact.parts import Contact
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipv8.messaging.address import Address
    from ipv8.peer import Peer

class Club:
    """All that a contact needs of an overlay."""

    community_id = b"s" * 20
    max_peers = 30

    def __init__(self) -> None:
        self.network = Network()

    def get_peers(self) -> list[Peer]:
        return self.network.get_peers_for_service(self.community_id)


class Listener:
    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Nothing."""


def test_parts_are_made_once() -> None:
    contact = Contact(Club())
    assert contact.introductions is contact.introductions
    assert contact.nat is contact.nat
    assert contact.observers is contact.observers


def test_observers_are_kept_as_long_as_somebody_holds_them() -> None:
    contact, kept, lost = Contact(Club()), Listener(), Listener()
    contact.observers[kept] = None
    contact.observers[lost] = None
    assert list(contact.observers) == [kept, lost]
    del lost
    gc.collect()
    assert list(contact.observers) == [kept]
