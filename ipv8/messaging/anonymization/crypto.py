"""Key agreement with other nodes, and what sends and receives cells (doc/protocol/tunnels.md)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ... import entropy
from ...keyvault.crypto import ECCrypto
from ...keyvault.keys import PrivateKey
from ...reexports import reexports
from . import handshake
from .session_keys import CryptoException, SessionKeys

if TYPE_CHECKING:
    from ...keyvault.keys import PublicKey
    from ..address import Address
    from .cells import CellPayload
    from .community import TunnelCommunity, TunnelSettings
    from .exit_socket import TunnelExitSocket
    from .tunnel import Circuit, RelayRoute

__all__ = ["CryptoEndpoint", "CryptoException", "PythonCryptoEndpoint", "SessionKeys", "TunnelCrypto",
           "scatter_counters"]

FIRST_COUNTER = 16
"""The lowest counter that this node begins with. Nodes of other releases seal their list of candidates with 2, with
the key of the other side."""

SCATTER_BITS = 30
"""Random bits of the first counter. Half of the 32 bits that some nodes keep are left for use."""


def scatter_counters(keys: SessionKeys) -> None:
    """Begin each direction of new session keys with a random counter.

    Counters are sent in clear. Otherwise those of all hops of a circuit would run in step, and tell observers which
    links belong together.
    """
    keys.salt_explicit_forward = FIRST_COUNTER + entropy.randbits(SCATTER_BITS)
    keys.salt_explicit_backward = FIRST_COUNTER + entropy.randbits(SCATTER_BITS)


class TunnelCrypto(ECCrypto):
    """The key agreement of circuits, with the key of this node."""

    def __init__(self) -> None:
        super().__init__()
        self.key: PrivateKey | None = None

    def initialize(self, key: PrivateKey) -> None:
        """Use ``key`` as the key that this node is known by."""
        if not isinstance(key, PrivateKey):
            raise AssertionError(f"not a private key: {type(key).__name__}")  # noqa: TRY004 - the specified type
        self.key = key

    def is_key_compatible(self, key: PublicKey) -> bool:
        """Whether the owner of ``key`` can be a hop."""
        return key.curve_name() == "curve25519"

    def generate_diffie_secret(self) -> tuple[PrivateKey, bytes]:
        """A new key for one circuit, and its X25519 public key."""
        secret = self.generate_key("curve25519")
        return secret, secret.get_crypt_pk()

    def generate_diffie_shared_secret(self, dh_received: bytes,
                                      key: PrivateKey | None = None) -> tuple[bytes, bytes, bytes]:
        """The joining side of the key agreement.

        :param dh_received: what the other side made by :meth:`generate_diffie_secret`.
        :param key: the key that this side is known by; by default that of :meth:`initialize`.
        :returns: the shared secret, 64 bytes; what to answer, 32 bytes; and the proof for it, 32 bytes.
        :raises CryptoException: if there is no key, or ``dh_received`` is no X25519 key.
        """
        identity = self.key if key is None else key
        if identity is None:
            raise CryptoException("this node has no key yet: call initialize, or give a key")
        ephemeral, half = self.generate_diffie_secret()
        secret, auth = handshake.accept(dh_received, ephemeral, half, identity)
        return secret, half, auth

    @staticmethod
    def verify_and_generate_shared_secret(dh_secret: PrivateKey, dh_received: bytes, auth: bytes, b: bytes) -> bytes:
        """The initiating side of the key agreement: the shared secret, 64 bytes.

        :param dh_secret: what :meth:`generate_diffie_secret` made.
        :param dh_received: what the other side answered, and ``auth`` the proof for it.
        :param b: the X25519 half of the public key that the other side is known by.
        :raises CryptoException: if the proof is wrong, or one of the keys is no X25519 key.
        """
        return handshake.complete(dh_secret, dh_received, auth, b)

    @staticmethod
    def generate_session_keys(shared_secret: bytes) -> SessionKeys:
        """The session keys of a shared secret."""
        return handshake.derive_keys(shared_secret)

    @staticmethod
    def encrypt_str(content: bytes, keys: SessionKeys, direction: int) -> bytes:
        """See :meth:`SessionKeys.encrypt_str`."""
        return keys.encrypt_str(content, direction)

    @staticmethod
    def decrypt_str(content: bytes, keys: SessionKeys, direction: int) -> bytes:
        """See :meth:`SessionKeys.decrypt_str`."""
        return keys.decrypt_str(content, direction)


class CryptoEndpoint(ABC):
    """Sends and receives cells, and encrypts and decrypts them, by three tables that the tunnel community fills.

    The keys of the tables are circuit ids of cells that arrive.
    """

    settings: TunnelSettings | None = None
    prefix: bytes = bytes(22)

    def __init__(self) -> None:
        self.settings = None
        self.prefix = bytes(22)
        #: The circuits of this node.
        self.circuits: dict[int, Circuit] = {}
        #: Where the cells go that are passed on.
        self.relays: dict[int, RelayRoute] = {}
        #: The circuits of others that end at this node.
        self.exit_sockets: dict[int, TunnelExitSocket] = {}
        self.logger = logging.getLogger(type(self).__name__)

    @abstractmethod
    def setup_tunnels(self, tunnel_community: TunnelCommunity, settings: TunnelSettings) -> None:
        """Handle the cells of a tunnel community from now on. May be called again."""

    @abstractmethod
    def send_cell(self, target_addr: Address, cell: CellPayload) -> None:
        """Encrypt a cell, as its circuit id demands, and send it."""

    def flush(self) -> None:  # noqa: B027 - with most endpoints no cells wait
        """Send the cells that wait for others, if any do."""


if TYPE_CHECKING:  # programs import these from here
    from ...keyvault.keys import PublicKey as PublicKey
    from ...keyvault.private.openssl import OpenSSLSK as OpenSSLSK
    from ..interfaces.endpoint import Endpoint as Endpoint, EndpointListener as EndpointListener
    from .cells import CellPayload as CellPayload
    from .data_plane import PythonCryptoEndpoint as PythonCryptoEndpoint
    from .payload import NO_CRYPTO_PACKETS as NO_CRYPTO_PACKETS
    from .tunnel import (
        BACKWARD as BACKWARD,
        CIRCUIT_TYPE_RP_DOWNLOADER as CIRCUIT_TYPE_RP_DOWNLOADER,
        CIRCUIT_TYPE_RP_SEEDER as CIRCUIT_TYPE_RP_SEEDER,
        FORWARD as FORWARD,
        Circuit as Circuit,
        Hop as Hop,
        RelayRoute as RelayRoute,
    )
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...keyvault.keys": "PublicKey",
        "...keyvault.private.openssl": "OpenSSLSK",
        "..interfaces.endpoint": "Endpoint EndpointListener",
        ".cells": "CellPayload",
        ".data_plane": "PythonCryptoEndpoint",
        ".payload": "NO_CRYPTO_PACKETS",
        ".tunnel": "BACKWARD CIRCUIT_TYPE_RP_DOWNLOADER CIRCUIT_TYPE_RP_SEEDER FORWARD Circuit Hop RelayRoute",
    })
