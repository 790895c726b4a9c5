"""Introduction points: nodes through which a hidden service is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import clock

if TYPE_CHECKING:
    from ..peer import Peer

__all__ = ["PEER_SOURCE_DHT", "PEER_SOURCE_PEX", "PEER_SOURCE_UNKNOWN", "IntroductionPoint"]

PEER_SOURCE_UNKNOWN = 0
PEER_SOURCE_DHT = 1
PEER_SOURCE_PEX = 2


class IntroductionPoint:
    """A node that introduces peers to a hidden service. Two are equal if node and service are.

    :param peer: the node.
    :param seeder_pk: the public key of the hidden service.
    :param source: how it was found, as one of the constants ``PEER_SOURCE_*``.
    :param last_seen: when, in whole seconds since the Unix epoch; by default now.
    """

    last_seen = clock.WallTime("seen_at")

    def __init__(self, peer: Peer, seeder_pk: bytes, source: int = PEER_SOURCE_UNKNOWN,
                 last_seen: int | None = None) -> None:
        self.peer = peer
        self.seeder_pk = seeder_pk
        self.source = source
        #: As ``last_seen``, in seconds by the monotonic clock.
        self.seen_at: float
        self.last_seen = int(clock.time()) if last_seen is None else last_seen

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntroductionPoint):
            return NotImplemented
        return self.peer == other.peer and self.seeder_pk == other.seeder_pk

    def __hash__(self) -> int:
        return hash((self.peer, self.seeder_pk))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer} for {self.seeder_pk.hex()}>"

    def to_dict(self) -> dict[str, Any]:
        """The introduction point as JSON has it."""
        ip, port = self.peer.address[:2]
        return {"address": {"ip": ip, "port": port, "public_key": self.peer.public_key.key_to_bin().hex()},
                "seeder_pk": self.seeder_pk.hex(), "source": self.source}
