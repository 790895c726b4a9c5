"""The identities of a node: the keys of its configuration, and other nodes that have one of them."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from .configuration import ConfigurationError, EphemeralKey
from .keyvault.crypto import default_eccrypto
from .keyvault.files import load_or_create_private_key, load_private_key, store_private_key
from .messaging.address import UDPv4Address, UDPv6Address
from .messaging.inet import is_global
from .peer import Peer

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping, Sequence

    from .keyvault.keys import PrivateKey

__all__ = ["OwnKeyWatch", "make_peer", "release"]

_ephemeral: WeakValueDictionary[str, Peer] = WeakValueDictionary()  # the keys of this kind that nodes have now


def make_peer(block: Mapping[str, Any]) -> Peer:
    """The identity that a block of the configuration describes.

    :raises ConfigurationError: if there is no such key.
    :raises OSError: if its file cannot be read or written.
    :raises ValueError: if its file has no private key.
    """
    peer = Peer(_load_key(block))
    if isinstance(block.get("bin"), EphemeralKey):
        _ephemeral.setdefault(block["bin"], peer)
    return peer


def release(peers: Iterable[Peer]) -> None:
    """Let other nodes have the ephemeral keys of a node that was stopped."""
    stopped = set(map(id, peers))
    for text in [text for text, peer in _ephemeral.items() if id(peer) in stopped]:
        del _ephemeral[text]


def _load_key(block: Mapping[str, Any]) -> PrivateKey:
    """The key of a block of the configuration: that of an existing file, else the one in the block, else a new one."""
    path, curve = os.fspath(block.get("file") or ""), block.get("generation")
    if path and os.path.exists(path):
        return load_private_key(path)
    if isinstance(block.get("bin"), EphemeralKey) and block["bin"] in _ephemeral:
        return default_eccrypto.generate_key("curve25519")
    if block.get("bin"):
        try:
            key = default_eccrypto.key_from_private_bin(_decode_base64(block["bin"]))
        except (TypeError, ValueError):
            # From None: the cause may show the private key.
            raise ConfigurationError(f"the 'bin' of the key {block['alias']!r} is not the base64 form of "
                                     "a private key") from None
        if path:
            try:
                store_private_key(path, key)
            except FileExistsError:  # another program has made it meanwhile
                return load_private_key(path)
        return key
    if not curve:
        raise ConfigurationError(f"the file {path!r} of the key {block['alias']!r} does not exist: restore it, or "
                                 "configure a 'generation' (a curve) to have a new key made")
    return load_or_create_private_key(path, curve) if path else default_eccrypto.generate_key(curve)


def _decode_base64(text: str | bytes) -> bytes:
    """Decode base64 text that may contain white space, such as line breaks, and nothing else that is not base64."""
    encoded = text.encode("ascii") if isinstance(text, str) else bytes(text)
    return base64.b64decode(b"".join(encoded.split()), validate=True)


class _Node(Protocol):
    @property
    def endpoint(self) -> Any: ...

    @property
    def overlays(self) -> Sequence[Any]: ...


class OwnKeyWatch:
    """Warns, once, of a packet that is signed with a key of a node and comes from somewhere else.

    It is an observer of the network of the node (:attr:`ipv8.peerdiscovery.network.Network.own_key_observer`).
    """

    def __init__(self, node: _Node, logger: logging.Logger) -> None:
        self._node = node
        self._logger = logger
        self._told = False

    def __call__(self, peer: Peer) -> None:
        """Warn if ``peer``, which has a key of the node, is not the node itself."""
        if self._told or all(self._is_own(address) for address in peer.addresses.values()):
            return
        self._told = True
        host, port = peer.address[:2]
        self._logger.warning("A packet that was signed with the key of this node (mid %s) came from %s port %d. If "
                             "another node has this key, give it a key of its own: the two never meet, and others take "
                             "them for one that moves. If not, somebody sent a packet of this node again.",
                             peer.mid.hex(), host, port)

    def _is_own(self, address: Any) -> bool:
        """Whether this node can have sent from ``address``, as far as is known."""
        if not isinstance(address, (UDPv4Address, UDPv6Address)):
            return True
        endpoint = self._node.endpoint
        parts = [*getattr(endpoint, "interfaces", {}).values(), endpoint]
        ports = {part.get_address()[1] for part in parts if part.is_open()}
        outside = {wan[0] for overlay in self._node.overlays if (wan := getattr(overlay, "my_estimated_wan", None))}
        if endpoint.mapped_address is not None:
            outside.add(endpoint.mapped_address[0])
        # A NAT may choose another port for each destination.
        return address.port in ports or (is_global(address.ip) and address.ip in outside)
