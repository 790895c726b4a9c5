"""A peer: its public key, its addresses and when it was heard of (doc/protocol/packets.md section 6)."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from . import clock
from .keyvault.crypto import default_eccrypto
from .messaging.address import HiddenAddress, RelayedAddress, UDPv4Address, UDPv6Address, plain_address
from .reexports import reexports

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keyvault.keys import Key, PublicKey
    from .messaging.address import Address

__all__ = ["DirtyDict", "Peer", "PeerSession"]

K = TypeVar("K")
V = TypeVar("V")

PING_SAMPLES = 5
PRIVATE_KEY_MARKS = (b"-----BEGIN EC PRIVATE KEY-----", b"LibNaCLSK:")
NO_ADDRESS = UDPv4Address("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire, nothing is bound to it


class DirtyDict(dict[K, V]):
    """A dictionary that notices changes.

    ``dirty`` is ``True`` after construction and after every change; code that has read the dictionary may set it to
    ``False``. Watchers are called without arguments after every change.
    """

    __slots__ = ("_watchers", "dirty")

    def __init__(self, **kwargs: V) -> None:
        if kwargs:
            super().__init__(**kwargs)
        self.dirty = True
        self._watchers: tuple[Callable[[], None], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy has the items, not the watchers.
        return type(self), (), None, None, iter(self.items())

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` after every change from now on."""
        self._watchers += (watcher,)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Stop calling ``watcher``."""
        self._watchers = tuple([other for other in self._watchers if other is not watcher])

    def _changed(self) -> None:
        self.dirty = True
        for watcher in self._watchers:
            watcher()

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: K) -> None:
        super().__delitem__(key)
        self._changed()

    def __ior__(self, other: Any) -> DirtyDict[K, V]:  # type: ignore[override,misc]  # mappings and pairs, as dict
        self.update(other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over the items of a mapping, or pairs, and the keywords."""
        super().update(*args, **kwargs)
        self._changed()

    def setdefault(self, key: K, default: V) -> V:
        """The value of ``key``, set to ``default`` first if it is absent."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: K, *default: Any) -> Any:
        """Remove ``key`` and return its value; if it is absent return ``default`` or else raise ``KeyError``."""
        if default and key not in self:
            return default[0]
        value = super().pop(key)
        self._changed()
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove and return the newest item."""
        item = super().popitem()
        self._changed()
        return item

    def clear(self) -> None:
        """Remove all items."""
        super().clear()
        self._changed()


class PeerSession(Protocol):
    """What a peer tells of the encrypted session with it, which is an :class:`ipv8.sessions.Session`."""

    @property
    def address(self) -> Address:
        """Where the other side is."""

    @property
    def is_open(self) -> bool:
        """Whether the session can be used."""


class Peer:
    """A public key with the addresses, the Lamport clock and the round trip times of its owner.

    Peers with the same public key are equal and have the same hash.

    ``creation_time`` and ``last_response`` are in seconds since the Unix epoch, for programs to read and assign.
    ``known_since`` and ``last_heard`` are the same two times by the monotonic clock, from which ages are computed. They
    follow each assignment to the former two and are not assigned themselves.

    :param key: a key object, or a serialized *public* key.
    :param address: an address of the peer, if one is known, in any form that :meth:`add_address` takes.
    :param intro: ``False`` if a message of the peer itself was received just now, ``True`` if it is known from others.
    :raises ValueError: for private key material as bytes, and for bytes that are not a public key.
    """

    #: Classes of addresses, the preferred one first.
    INTERFACE_ORDER: ClassVar[list[type]] = [UDPv6Address, UDPv4Address, tuple, RelayedAddress, HiddenAddress]

    #: When a message of the peer was last received, in seconds since the Unix epoch; 0 if none was.
    last_response = clock.WallTime("last_heard")
    #: When this object was made, in seconds since the Unix epoch.
    creation_time = clock.WallTime("known_since")

    #: Whether the peer answered a request of ours, which shows that it can be reached at its address.
    proven: bool = False
    #: The encrypted session with the peer, of the endpoint that met it first; ``None`` if there is none.
    session: PeerSession | None = None
    #: Until when, by the monotonic clock, the peer is known to answer encrypted sessions.
    session_capable_until: float = 0.0
    #: Whether :meth:`add_address` changes nothing.
    address_frozen: bool = False

    def __init__(self, key: Key | bytes, address: Address | None = None, intro: bool = True) -> None:
        if isinstance(key, bytes):
            if key.startswith(PRIVATE_KEY_MARKS):
                raise ValueError("a private key must be given as a key object, for instance by "
                                 "default_eccrypto.key_from_private_bin(...), not as bytes")
            key = default_eccrypto.key_from_public_bin(key)
        public_key = key.pub()
        mid = public_key.key_to_hash()
        # Attributes that are set here take less memory than those that are added to the object later.
        self.key: Key = key
        self.public_key: PublicKey = public_key
        #: The serialized public key.
        self.key_bin: bytes = public_key.key_to_bin()
        #: SHA-1 of the serialized public key, 20 bytes.
        self.mid: bytes = mid
        # As assigning creation_time, but faster: a peer is made for each packet of an unknown sender.
        self._creation_time = clock.time()
        #: When this object was made, in seconds by the monotonic clock.
        self.known_since: float = clock.monotonic()
        self._last_response: float = 0
        #: When a message of the peer was last received, in seconds by the monotonic clock; ``-inf`` if none was.
        self.last_heard: float = -inf
        #: Whether the peer may be sent new-style discovery messages.
        self.new_style_intro: bool = False
        #: How the peer was reached when it last answered: a value of ``ipv8.contact.nat.PeerPath``.
        self.path: str = "unknown"
        self._pings: deque[float] | None = None
        self._lamport_timestamp = 0
        if not intro:
            self.heard_now()
        self._hash = int.from_bytes(mid[:8], "big")
        self._addresses: DirtyDict[type, Address] = DirtyDict()
        self._address: Address = NO_ADDRESS
        if address is not None:
            if not isinstance(address, tuple) or len(address) != 2 or "%" in address[0]:
                address = plain_address(address)
            self._addresses[type(address)] = address
            self._address = address

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if max(self.known_since, self.last_heard) > clock.monotonic():
            # The peer was pickled before the machine was restarted, when monotonic time was another one.
            self.creation_time, self.last_response = self._creation_time, self._last_response

    @property
    def pings(self) -> deque[float]:
        """The last round trip times in seconds, at most 5, the newest at the end."""
        pings = self._pings
        if pings is None:
            pings = self._pings = deque(maxlen=PING_SAMPLES)
        return pings

    @pings.setter
    def pings(self, samples: deque[float]) -> None:
        self._pings = samples

    @property
    def addresses(self) -> DirtyDict[type, Address]:
        """The known addresses by their class; changes take effect at once."""
        return self._addresses

    @property
    def address(self) -> Address:
        """The preferred address, ``("0.0.0.0", 0)`` if there is none; assigning it calls :meth:`add_address`."""
        if self._addresses.dirty:
            self._choose_address()
        return self._address

    @address.setter
    def address(self, value: Address) -> None:
        self.add_address(value)

    def add_address(self, value: Address) -> None:
        """Make ``value`` the address of its class, unless the addresses are frozen.

        Of an IPv6 socket address with four elements, host and port are taken; a zone in its text is left out.
        """
        if len(value) != 2 or "%" in value[0]:
            value = plain_address(value)
        if not self.address_frozen and self._addresses.get(type(value)) != value:
            self._addresses[type(value)] = value
            self._choose_address()

    def _choose_address(self) -> None:
        addresses = self._addresses
        for kind in self.INTERFACE_ORDER:
            if kind in addresses:
                self._address = addresses[kind]
                break
        addresses.dirty = False

    def get_median_ping(self) -> float | None:
        """The median of the last round trip times in seconds, ``None`` if there is none."""
        if not self.pings:
            return None
        ordered, middle = sorted(self.pings), len(self.pings) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

    def get_average_ping(self) -> float | None:
        """The mean of the last round trip times in seconds, ``None`` if there is none."""
        return sum(self.pings) / len(self.pings) if self.pings else None

    def update_clock(self, timestamp: int) -> None:
        """Move the Lamport clock forward to ``timestamp`` and call :meth:`heard_now`."""
        self._lamport_timestamp = max(self._lamport_timestamp, timestamp)
        self.heard_now()

    def heard_now(self) -> None:
        """Set ``last_response`` and ``last_heard`` to the present time."""
        # As assigning last_response, but faster: this is done for each packet.
        self._last_response = clock.time()
        self.last_heard = clock.monotonic()

    @property
    def silent_since(self) -> float:
        """When the peer was last heard of or, if it never was, when this object was made; by the monotonic clock."""
        last_heard = self.last_heard
        return self.known_since if last_heard == -inf else last_heard

    def get_lamport_timestamp(self) -> int:
        """The Lamport clock."""
        return self._lamport_timestamp

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Peer):
            return self.key_bin == other.key_bin
        return NotImplemented

    def __str__(self) -> str:
        host, port = self.address
        return f"Peer<{host}:{port}, {b64encode(self.mid).decode()}>"

    __repr__ = __str__


if TYPE_CHECKING:  # programs import these from here
    from .keyvault.keys import Key as Key
    from .messaging.address import Address as Address
else:
    __getattr__, __dir__ = reexports(__name__, {".keyvault.keys": "Key", ".messaging.address": "Address"})
