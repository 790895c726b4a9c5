"""What the machine of sessions tells whoever drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..address import Address
    from .channel import Channel
    from .handshake import OwnKey

__all__ = ["Answered", "Closed", "Event", "Failed", "Moved", "Opened", "Received", "Unsent"]


class Opened(NamedTuple):
    """A session is ready."""

    channel: Channel


class Closed(NamedTuple):
    """A session that was ready has ended."""

    channel: Channel
    reason: str


class Failed(NamedTuple):
    """An attempt to open a session was given up."""

    own: OwnKey
    target: bytes | Address
    """The public key of the other side, or the address if its key is not known."""

    reason: str


class Moved(NamedTuple):
    """A session has another address."""

    channel: Channel
    former: Address


class Answered(NamedTuple):
    """A ping was answered."""

    channel: Channel
    token: bytes


class Received(NamedTuple):
    """A frame for the overlays came."""

    channel: Channel
    address: Address
    """Where the datagram came from."""

    frame: bytes
    """The type and the content; the bit that says that another frame follows is not set."""


class Unsent(NamedTuple):
    """Frames that waited for a session in vain. Each comes with what it was handed in with."""

    own: OwnKey
    target: bytes | Address
    contexts: list[Any]


Event = Answered | Opened | Closed | Failed | Moved | Received | Unsent
