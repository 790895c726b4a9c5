"""Write tokens: proof that whoever stores something here received our answer at that address (spec 07 section 3.4)."""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..peer import Peer

__all__ = ["SECRET_SIZE", "TOKEN_SIZE", "ReceivedTokens", "make_token", "matches"]

SECRET_SIZE = 16
TOKEN_SIZE = 20

TOKEN_USE_TIME = 280.0
"""Seconds for which a received token is used: its issuer may forget the secret 300 s after it made the token."""
MAX_RECEIVED_TOKENS = 10_000
"""Tokens kept; the one that was received first is forgotten first."""


def make_token(node: Peer, secret: bytes) -> bytes:
    """The 20 bytes that only ``node`` can know, if ``secret`` is kept: bound to its address and key."""
    host, port = node.address[0], node.address[1]
    return blake2b(f"{host} {port} ".encode() + node.mid, key=secret, digest_size=TOKEN_SIZE).digest()


def matches(node: Peer, token: bytes, secrets: Iterable[bytes]) -> bool:
    """Whether ``token`` was made for ``node`` with one of ``secrets``; takes the same time for every wrong token."""
    verdicts = [compare_digest(make_token(node, secret), token) for secret in secrets]
    return any(verdicts)


class ReceivedTokens(dict[bytes, tuple[float, bytes]]):
    """When which token was received, by the id of the node that issued it."""

    __slots__ = ()

    def note(self, node_id: bytes, now: float, token: bytes) -> None:
        """Keep a token that arrived ``now``."""
        self.pop(node_id, None)
        self[node_id] = now, token
        if len(self) > MAX_RECEIVED_TOKENS:
            del self[next(iter(self))]

    def usable(self, node_id: bytes, now: float) -> bytes | None:
        """The token to use with a node, unless there is none or it is too old."""
        received, token = self.get(node_id, (0.0, b""))
        return token if token and now - received < TOKEN_USE_TIME else None

    def drop_older(self, horizon: float) -> None:
        """Forget the tokens that arrived before ``horizon``."""
        for node_id in [node_id for node_id, (received, _) in self.items() if received < horizon]:
            del self[node_id]
