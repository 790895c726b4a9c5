"""How a client and a service agree on keys, and how much a service does for clients that it does not know.

See doc/protocol/hidden_services.md sections 5 and 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ...keyvault.crypto import default_eccrypto
from ...limits import ExpiringDict, TokenBuckets
from ...peer import Peer
from ..serialization import PackError
from .budgets import Rate, SourceBudget
from .hidden_payload import CreatedE2EPayload, RendezvousInfo
from .tunnel import FORWARD

if TYPE_CHECKING:
    from ...keyvault.keys import PrivateKey
    from ..serialization import Serializer
    from .crypto import SessionKeys, TunnelCrypto
    from .tunnel import Hop

__all__ = ["Offer", "ServiceBudget", "accept_connection", "open_answer"]

CONNECTIONS_PER_SECOND_PER_HOST, CONNECTIONS_AT_ONCE_PER_HOST = 0.2, 5.0
"""Requests for a connection that a service takes from one host, as introduction points tell it."""

CONNECTIONS_PER_SECOND_PER_CIRCUIT, CONNECTIONS_AT_ONCE_PER_CIRCUIT = 0.5, 15.0
"""Requests for a connection that a service takes from one introduction point."""

CONNECTIONS_PER_SECOND, CONNECTIONS_AT_ONCE = 1.0, 30.0
"""Requests for a connection that a service takes in total."""

MAX_KEYS_SEEN = 1024
"""Ephemeral keys of clients that are remembered, so that a request which is sent again makes no work."""

KEY_SEEN_LIFETIME = 600.0
"""Seconds for which they are remembered."""

MAX_CIRCUITS_OF_SERVICE = 256
"""Introduction points of which it is known how much they have sent; the least recently used is evicted first."""


class Offer(NamedTuple):
    """What a service answers to a client.

    :param keys: the keys that both share.
    :param payload: the answer.
    """

    keys: SessionKeys
    payload: CreatedE2EPayload


def accept_connection(crypto: TunnelCrypto, serializer: Serializer, seeder_sk: PrivateKey, client_key: bytes,
                      identifier: int, rendezvous: RendezvousInfo) -> Offer:
    """Agree on keys with a client, and tell it where to meet.

    :param client_key: the ephemeral key of the client.
    :raises ValueError: if ``client_key`` is no X25519 key.
    """
    secret, own_key, auth = crypto.generate_diffie_shared_secret(client_key, seeder_sk)
    keys = crypto.generate_session_keys(secret)
    sealed = keys.encrypt_str(serializer.pack("payload", rendezvous), FORWARD)
    return Offer(keys, CreatedE2EPayload(identifier, own_key, auth, sealed))


def open_answer(crypto: TunnelCrypto, serializer: Serializer, hop: Hop,
                payload: CreatedE2EPayload) -> tuple[SessionKeys, RendezvousInfo] | None:
    """The keys that a client and a service share, and where they meet; ``None`` if the service has not answered that.

    Only the owner of the key of the service can make an answer that opens.

    :param hop: the service, with the ephemeral key of the client.
    """
    if hop.dh_secret is None:
        return None
    try:
        secret = crypto.verify_and_generate_shared_secret(hop.dh_secret, payload.key, payload.auth,
                                                          hop.public_key.get_crypt_pk())
        keys = crypto.generate_session_keys(secret)
        opened = keys.decrypt_str(payload.rp_info_enc, FORWARD)
        rendezvous, _ = serializer.unpack(RendezvousInfo, opened)
    except (PackError, ValueError, struct.error):  # the second one is the base of CryptoException
        return None
    return keys, rendezvous


def tunnel_peer(key: bytes, address: tuple[str, int]) -> Peer | None:
    """The node with a public key that can be a hop; ``None`` if the key is no such key."""
    try:
        public_key = default_eccrypto.key_from_network(key)
    except ValueError:
        return None
    return Peer(public_key, address) if public_key.curve_name() == "curve25519" else None


class ServiceBudget:
    """How many requests for a connection a service takes.

    The hosts are what introduction points say, so a dishonest one can name any. It can use up its own budget only.
    """

    def __init__(self) -> None:
        self._sources = SourceBudget(Rate(CONNECTIONS_PER_SECOND_PER_HOST, CONNECTIONS_AT_ONCE_PER_HOST),
                                     Rate(CONNECTIONS_PER_SECOND, CONNECTIONS_AT_ONCE))
        self._circuits = TokenBuckets(CONNECTIONS_PER_SECOND_PER_CIRCUIT, CONNECTIONS_AT_ONCE_PER_CIRCUIT,
                                      capacity=MAX_CIRCUITS_OF_SERVICE)
        self._seen: ExpiringDict[bytes, None] = ExpiringDict(MAX_KEYS_SEEN, KEY_SEEN_LIFETIME)

    def admits(self, circuit_id: int, ip: str, client_key: bytes, now: float) -> bool:
        """Whether to answer a request; if so, it is charged.

        :param circuit_id: the circuit to the introduction point that it came by.
        :param ip: the host that the introduction point says it came from.
        :param client_key: the ephemeral key of the client.
        """
        left = self._circuits.fill(circuit_id, now) * CONNECTIONS_AT_ONCE_PER_CIRCUIT
        if self._seen.age(client_key, now) is not None or left < 1:
            return False
        if not self._sources.admits(ip, now) or not self._circuits.take(circuit_id, now=now):
            return False
        self._seen.set(client_key, None, now)
        return True
