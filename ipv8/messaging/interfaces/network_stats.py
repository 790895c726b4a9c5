"""Counters: traffic per message id (doc/endpoints.md) and dropped packets per reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DropCounter", "NetworkStat"]


_START: dict[str, int | float] = {
    "num_up": 0, "num_down": 0, "bytes_up": 0, "bytes_down": 0,
    **dict.fromkeys(("first_measured_up", "first_measured_down", "last_measured_up", "last_measured_down"), 0.0),
}
"""What is measured of a message id, in the order in which it is shown, and where it starts."""


class NetworkStat:
    """Traffic of one message id.

    :param identifier: the message id, 0 to 255.

    Counters and timestamps (seconds since the Unix epoch) start at 0; a timestamp of 0 means that nothing was measured.
    Endpoints outside this library assign the counters directly.
    """

    __slots__ = ("identifier", *_START)

    num_up: int
    num_down: int
    bytes_up: int
    bytes_down: int
    first_measured_up: float
    first_measured_down: float
    last_measured_up: float
    last_measured_down: float

    def __init__(self, identifier: int) -> None:
        self.identifier = identifier
        for name, value in _START.items():
            setattr(self, name, value)

    def add_sent_stat(self, timestamp: float, num_bytes: int) -> None:
        """Count one sent packet of ``num_bytes`` bytes."""
        self.num_up += 1
        self.bytes_up += num_bytes
        self.last_measured_up = timestamp
        if not self.first_measured_up:
            self.first_measured_up = timestamp

    def add_received_stat(self, timestamp: float, num_bytes: int) -> None:
        """Count one received packet of ``num_bytes`` bytes."""
        self.num_down += 1
        self.bytes_down += num_bytes
        self.last_measured_down = timestamp
        if not self.first_measured_down:
            self.first_measured_down = timestamp

    def to_dict(self) -> dict[str, int | float]:
        """All values by attribute name, ready for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return (f"NetworkStat{{num_up:{self.num_up}, num_down:{self.num_down}, "
                f"bytes_up:{self.bytes_up}, bytes_down:{self.bytes_down}, ...}}")

    __repr__ = __str__


class DropCounter(dict[str, int]):
    """How many packets were dropped, by reason; a reason that never occurred counts 0.

    The reasons that the library itself uses are the constants below. They are local names, never taken from a packet,
    so the table stays small whatever arrives.
    """

    __slots__ = ()

    # Received, dropped by an endpoint.
    SHORT: Final = "short"  # has no message id behind the prefix
    UNKNOWN_PREFIX: Final = "unknown_prefix"  # nobody listens to it
    WRONG_ROUTE: Final = "wrong_route"  # came by a route that its overlay does not accept
    BAD_SOURCE: Final = "bad_source"  # a source that cannot be answered: port 0, multicast, broadcast, "this network"
    BANNED: Final = "banned"  # the source is banned (see ``SourceFilter``)
    RATE_LIMITED: Final = "rate_limited"  # the sender is over its budget
    RECEIVE_FAILED: Final = "receive_failed"  # the operating system reported an error instead of a packet
    LISTENER_ERROR: Final = "listener_error"  # a listener raised: a bug on this side

    # Received, dropped by an overlay.
    UNKNOWN_ID: Final = "unknown_id"
    BAD_SIGNATURE: Final = "bad_signature"
    UNDECODABLE: Final = "undecodable"
    UNSOLICITED: Final = "unsolicited"  # answers a question that was not asked
    BAD_TARGET: Final = "bad_target"  # names an address to send to, to which no packet may go
    NOT_CONFIDENTIAL: Final = "not_confidential"  # in clear, although its handler wants an encrypted session
    REPLAYED: Final = "replayed"  # was received before
    NO_ROUTE: Final = "no_route"  # for somebody whom this node, or its carrier, does not know, or too big to be carried

    # Received, or about to be sent, and dropped by a tunnel.
    UNKNOWN_CIRCUIT: Final = "unknown_circuit"
    WRONG_NEIGHBOUR: Final = "wrong_neighbour"  # not from the node at the other end of the link
    NOT_AUTHENTIC: Final = "not_authentic"  # made with other keys, or changed on the way
    NO_KEYS: Final = "no_keys"  # a hop has no keys yet
    NOT_ADMITTED: Final = "not_admitted"  # a message that may not arrive in this way
    EXIT_REFUSED: Final = "exit_refused"  # data of a kind that this exit does not pass
    RELAY_FULL: Final = "relay_full"  # too many cells of the circuit wait to be passed on
    RELAY_LIMITED: Final = "relay_limited"  # over the bandwidth that the settings allow

    # Not sent.
    SEND_MALFORMED: Final = "send_malformed"  # not an (ip text, port) address or not bytes
    SEND_UNRESOLVED: Final = "send_unresolved"  # a DNS name: endpoints never wait for DNS
    SEND_NO_INTERFACE: Final = "send_no_interface"  # no interface for this kind of address
    SEND_NO_ROUTE: Final = "send_no_route"  # to the address of a key (2001:20::/28), and no peer carries it there
    SEND_TOO_BIG: Final = "send_too_big"  # more bytes than a datagram can have
    SEND_FAILED: Final = "send_failed"  # refused by the operating system: unreachable, not permitted
    SEND_QUEUE_FULL: Final = "send_queue_full"
    PLAINTEXT_BLOCKED: Final = "plaintext_blocked"  # there is no session, and the overlay sends nothing in clear
    SEND_CLOSED: Final = "send_closed"  # the endpoint is not open

    def __missing__(self, reason: str) -> int:
        return 0

    def count(self, reason: str, n: int = 1) -> None:
        """Count ``n`` more packets dropped for ``reason``."""
        self[reason] += n

    def merge(self, other: Mapping[str, int]) -> None:
        """Add the counts of ``other``."""
        for reason, n in other.items():
            self[reason] += n
