"""Write tokens: proof that the sender of a store-request received an answer at its address.

See doc/protocol/dht.md section 5.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING

from .. import entropy
from ..limits import BoundedDict
from .moments import Moment, age

if TYPE_CHECKING:
    from ..peer import Peer

__all__ = ["SECRET_SIZE", "TOKEN_SIZE", "ReceivedTokens", "TokenIssuer"]

SECRET_SIZE = 16
TOKEN_SIZE = 20
SECRETS = 2
"""Secrets whose tokens are accepted: the present one and the one before it."""

TOKEN_USE_TIME = 280.0
"""Seconds for which a received token is used: its issuer may drop the secret 300 s after it made the token."""
TOKEN_EXPIRATION_TIME = 600
"""Seconds for which a received token is kept."""
MAX_RECEIVED_TOKENS = 10_000
"""Received tokens that are kept; the oldest is evicted first."""


class TokenIssuer:
    """Makes and checks tokens, which are bound to the address and the key of a peer and to a secret.

    It can do so after the first :meth:`renew`.
    """

    def __init__(self) -> None:
        self.secrets: deque[bytes] = deque(maxlen=SECRETS)

    def renew(self) -> None:
        """Make tokens with a new secret from now on; those made with the one before are still accepted."""
        self.secrets.append(entropy.randbytes(SECRET_SIZE))

    def make(self, peer: Peer) -> bytes:
        """A token of 20 bytes for ``peer``."""
        return self._token(peer, self.secrets[-1])

    def accepts(self, peer: Peer, token: bytes) -> bool:
        """Whether ``token`` was made for ``peer``; takes the same time for every wrong token."""
        verdicts = [compare_digest(self._token(peer, secret), token) for secret in self.secrets]
        return any(verdicts)

    @staticmethod
    def _token(peer: Peer, secret: bytes) -> bytes:
        host, port = peer.address[0], peer.address[1]
        return blake2b(f"{host} {port} ".encode() + peer.mid, key=secret, digest_size=TOKEN_SIZE).digest()


class ReceivedTokens(BoundedDict[bytes, tuple[float, bytes]]):
    """The tokens of other nodes, by the id of the node: when each was received, and its 20 bytes."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(MAX_RECEIVED_TOKENS)

    def note(self, node_id: bytes, token: bytes) -> None:
        """Keep a token that was received now."""
        self[node_id] = Moment.now(), token

    def usable(self, node_id: bytes) -> bytes | None:
        """The token to use with a node; ``None`` if there is none or it is too old."""
        received, token = self.get(node_id, (0.0, b""))
        return token if token and age(received) < TOKEN_USE_TIME else None

    def drop_expired(self) -> None:
        """Drop the tokens that are too old to be kept."""
        for node_id in [node_id for node_id, (received, _) in self.items() if age(received) > TOKEN_EXPIRATION_TIME]:
            del self[node_id]
