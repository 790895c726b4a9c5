"""What a rendezvous point knows: the circuits that wait to be joined (doc/protocol/hidden_services.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...fill import Fill

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RendezvousRegistry"]

MAX_COOKIES = 256
"""Circuits that wait at one rendezvous point; further ones are refused."""

MAX_COOKIES_PER_CIRCUIT = 2
"""Cookies of one circuit; further ones are refused."""

COOKIE_LIFETIME = 60.0
"""Seconds for which a circuit waits to be joined."""


class RendezvousRegistry:
    """The circuits that wait for another one at a rendezvous point."""

    def __init__(self) -> None:
        #: For each cookie, the end of the circuit that waits; the oldest first.
        self.waiting: dict[bytes, Any] = {}
        self._since: dict[bytes, float] = {}

    def establish(self, cookie: bytes, exit_socket: Any, now: float) -> bool:
        """Let the circuit of ``exit_socket`` wait for ``cookie``; ``False`` if it may not.

        A cookie that another circuit has is refused: it is not random, or was seen by others.
        """
        other = self.find(cookie, now)
        if other is not None:
            return bool(other.circuit_id == exit_socket.circuit_id)
        own = sum(known.circuit_id == exit_socket.circuit_id for known in self.waiting.values())
        if len(self.waiting) >= MAX_COOKIES or own >= MAX_COOKIES_PER_CIRCUIT:
            return False
        self.waiting[cookie] = exit_socket
        self._since[cookie] = now
        return True

    def find(self, cookie: bytes, now: float) -> Any:
        """The end of the circuit that waits for ``cookie``, or ``None``; those that have waited too long are gone."""
        for known in [known for known, since in self._since.items() if since + COOKIE_LIFETIME <= now]:
            self._forget(known)
        return self.waiting.get(cookie)

    def _forget(self, cookie: bytes) -> None:
        self.waiting.pop(cookie, None)
        self._since.pop(cookie, None)

    def remove_circuit(self, circuit_id: int) -> None:
        """Forget the cookies of a circuit that has gone."""
        for cookie, exit_socket in tuple(self.waiting.items()):
            if exit_socket.circuit_id == circuit_id:
                self._forget(cookie)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("cookies", len(self.waiting), MAX_COOKIES, rule="further ones are refused")
