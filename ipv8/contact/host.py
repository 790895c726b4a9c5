"""What the parts of a contact need to know of the overlay that they belong to, and of its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..messaging.interfaces.endpoint import Endpoint
    from ..peer import Peer
    from ..peerdiscovery.network import Network

__all__ = ["Members", "other_interface"]


class Members(Protocol):
    """The peers of an overlay, and how many of them it wants.

    All of it may change at any time, so it is read again whenever it is needed.
    """

    network: Network
    community_id: bytes

    #: How many peers the overlay wants; one more is let in. A negative number is no limit.
    max_peers: int

    def get_peers(self) -> list[Peer]:
        """The verified peers of the overlay."""


def other_interface(endpoint: Endpoint, in_use: Address, told: Address) -> str | None:
    """The name of the interface by which a peer can be reached at another address than the one in use.

    :param endpoint: our own endpoint.
    :param in_use: the address at which the peer is reached now.
    :param told: the address that the peer says it has.
    :returns: ``None`` if ``told`` is nothing new or we have no interface for it.
    """
    name = FAST_ADDR_TO_INTERFACE.get(type(told))
    if type(told) is type(in_use) or told == in_use or name not in endpoint.interfaces:
        return None
    return name
