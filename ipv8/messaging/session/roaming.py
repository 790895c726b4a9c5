"""Which address the other side of a session has (doc/protocol/sessions.md section 7.4).

A datagram from another address may have been copied there by somebody else. So the address is probed, and what comes
from the address in use during the next seconds is evidence that the other side did not move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..address import has_network_address
from .wire import Frame

if TYPE_CHECKING:
    from ..address import Address
    from .channel import Channel

__all__ = ["Roaming"]

PROBE_INTERVAL: Final = 1.0
"""Seconds between two probes."""

EVIDENCE_TIME: Final = 3.0
"""How many seconds after a probe a datagram from the address in use before counts as evidence."""

REFUSED_TIME: Final = 5.0
"""How many seconds an address is refused that turned out to be somebody else's."""

RECENT_TIME: Final = 60.0
"""How many seconds a change of the address counts as recent."""

DIRECT_TIME: Final = 15.0
"""A relay is not used instead of a direct address that was heard from in so many seconds."""

SMALLEST_SIGN: Final = 60
"""Bytes of the smallest datagram that causes a probe, so that the probe is no larger."""


class Roaming:
    """The address of a session, the one before it, and the probe of another one."""

    __slots__ = (
        "_candidate",
        "_moved_at",
        "_noted",
        "_previous",
        "_probed_at",
        "_refused",
        "_refused_until",
        "_token",
        "_token_at",
        "address",
        "direct_at",
        "former",
        "is_direct",
        "is_probing",
    )

    def __init__(self, address: Address, now: float) -> None:
        self.address = address
        #: The address before it, to which pings go as well.
        self.former: Address | None = None
        self._candidate: Address | None = None
        self._token = b""
        self._token_at = -EVIDENCE_TIME
        self._noted = 0
        self._probed_at = -PROBE_INTERVAL
        self._moved_at = -RECENT_TIME
        self._previous: Address | None = None
        self._refused: Address | None = None
        self._refused_until = 0.0
        #: Whether :meth:`is_evidence` may be true.
        self.is_probing = False
        #: Whether the address names a place on a network, and when a datagram last came from such an address in use.
        self.is_direct = has_network_address(address)
        self.direct_at = now if self.is_direct else -DIRECT_TIME

    def is_evidence(self, counter: int, address: Address, now: float) -> bool:
        """Whether an authentic datagram with this counter from there, even a repeated one, tells where the peer is."""
        previous = self._previous
        return (previous is not None and now < self._probed_at + EVIDENCE_TIME and counter >= self._noted
                and address == previous)

    def stay(self, now: float) -> Address | None:
        """Note such evidence: the candidate is refused. Return the address that was given up, if there is one."""
        left = self.address if self.address != self._previous else None
        self._refused, self._refused_until = self._candidate, now + REFUSED_TIME
        if left is not None and self._previous is not None:
            self._use(self._previous)
        self._candidate = self._previous = None
        self.is_probing = False
        self._token = b""
        return left

    def inherit(self, other: Roaming) -> None:
        """Know where the other side was before, from another session with it that has the same address."""
        if self.address == other.address and self.former is None:
            self.former, self._moved_at = other.former, other._moved_at

    def moved_lately(self, now: float) -> bool:
        """Whether the address changed so recently that the change may have been a mistake."""
        return now < self._moved_at + RECENT_TIME

    def _use(self, address: Address) -> None:
        self.former, self.address = self.address, address
        self.is_direct = has_network_address(address)

    def consider(self, channel: Channel, counter: int, address: Address, size: int, now: float) -> None:
        """Probe ``address``, from which an authentic datagram with a new highest counter came, if it is to be."""
        if size < SMALLEST_SIGN or now < self._probed_at + PROBE_INTERVAL:
            return
        if address == self._refused and now < self._refused_until:
            return
        if not has_network_address(address) and now < self.direct_at + DIRECT_TIME:
            return
        if not self._token or address != self._candidate or now >= self._token_at + EVIDENCE_TIME:
            # Each address gets a token of its own: a copy of what one of them answers proves nothing of the other. It
            # stays the same for some probes, as an answer may take longer than it takes to the next one.
            self._token, self._token_at = channel.machine.random(8), now
        self._probed_at, self._noted = now, counter
        self._candidate, self._previous = address, self.address
        self.is_probing = True
        channel.transmit(bytes((Frame.PING,)) + self._token, address)
        channel.transmit(bytes((Frame.PING,)) + channel.machine.random(8), self.address)

    def answered(self, token: bytes, address: Address, now: float) -> Address | None:
        """Take a PONG; if it came from the candidate, use it, and return the address that was in use."""
        if not self._token or token != self._token or address != self._candidate:
            return None
        self._token = b""
        self._use(address)
        self._moved_at = now
        return self.former
