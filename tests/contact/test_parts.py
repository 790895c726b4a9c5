"""The object that holds the parts by which an overlay meets its peers."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ipv8.contact.parts import Contact
from ipv8.contact.targets import Targets
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipv8.messaging.address import Address


class Club:
    """All that a contact needs of an overlay."""

    community_id = b"s" * 20
    max_peers = 30
    my_estimated_wan: Address = UDPv4Address("9.9.9.9", 9)
    my_estimated_lan: Address = UDPv4Address("192.168.1.5", 9)

    def __init__(self) -> None:
        self.network = Network()
        self.my_peer = Peer(default_eccrypto.generate_key("curve25519"))

    def get_peers(self) -> list[Peer]:
        return self.network.get_peers_for_service(self.community_id)


class Listener:
    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Nothing."""


def test_parts_are_made_once() -> None:
    contact = Contact(Club())
    assert contact.introductions is contact.introductions
    assert contact.nat is contact.nat
    assert contact.relaying is contact.relaying
    assert contact.observers is contact.observers


def test_parts_share_what_is_sent_to_addresses_that_others_named() -> None:
    targets, there = Targets(), UDPv4Address("8.8.8.8", 8)
    contact = Contact(Club(), targets)
    assert contact.targets is targets
    while targets.may_answer(there, 0.0):
        pass
    assert not contact.introductions.may_confirm(there, 0.0)
    assert not contact.nat.punctures.allow(UDPv4Address("5.5.5.5", 5), there, True, 45, 0.0)


def test_observers_are_kept_as_long_as_somebody_holds_them() -> None:
    contact, kept, lost = Contact(Club()), Listener(), Listener()
    contact.observers[kept] = None
    contact.observers[lost] = None
    assert list(contact.observers) == [kept, lost]
    del lost
    gc.collect()
    assert list(contact.observers) == [kept]
