"""Find-requests that show that nobody repeats them (doc/protocol/dht.md section 3.1)."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from ..messaging.address import UDPv4Address
from .routing import calc_node_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..peer import Peer
    from .payload import FindRequestPayload
    from .routing import Node
    from .tokens import ReceivedTokens

__all__ = ["FIND_SIZE", "Freshness"]

MARK_SIZE = 2
"""The first bytes of the payload, which show that the request is new: those of the identifier that count the most."""

FIND_SIZE = 4 + 7 + 20 + 4 + 1
"""Bytes of the payload of a find-request with an IPv4 address."""


class Freshness:
    """Marks find-requests for the node that they are for, and tells whether others did so for this node.

    :param received: the tokens that other nodes gave us.
    :param make_token: makes the token that we would give to a node.
    :param pack: makes the bytes of a payload.
    """

    def __init__(self, received: ReceivedTokens, make_token: Callable[[Peer], bytes],
                 pack: Callable[[FindRequestPayload], bytes]) -> None:
        self._received = received
        self._make_token = make_token
        self._pack = pack

    def mark(self, node: Node, payload: FindRequestPayload) -> int:
        """The upper 16 bits of the identifier of a request to ``node``; 0 if it cannot be marked."""
        # Over IPv6, some nodes cannot forward an identifier of more than 16 bits.
        if not isinstance(node.address, UDPv4Address) or ":" in payload.lan_address[0]:
            return 0
        return int.from_bytes(_mark_of(self._pack(payload), self._make_token(node)), "big")

    def is_marked(self, address: Address, mid: bytes, request: bytes | FindRequestPayload) -> bool:
        """Whether the node with ``mid`` at ``address`` has marked a request for us, lately.

        :param request: the payload, or its bytes.
        """
        token = self._received.usable(calc_node_id(address, mid))
        if token is None:
            return False
        packed = request if isinstance(request, bytes) else self._pack(request)
        return packed[:MARK_SIZE] == _mark_of(packed, token)


def _mark_of(request: bytes, token: bytes) -> bytes:
    """What only the author of a token and its owner can tell about ``request``; the mark itself is left out."""
    return blake2b(request[MARK_SIZE:], key=token, digest_size=MARK_SIZE).digest()
