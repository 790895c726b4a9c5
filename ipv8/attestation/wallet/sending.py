"""How attestations are sent: at what pace, and how much to whom."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from ... import clock
from ...fill import Fill
from ...limits import TokenBuckets
from ...verification import is_met_at
from .chunks import CHUNK_SIZE
from .payload import AttestationChunkPayload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...messaging.address import Address
    from ...peer import Peer
    from ...peerdiscovery.network import Network

__all__ = ["Shipping"]

CHUNKS_AT_ONCE = 10
CHUNK_PAUSE = 0.01
"""Seconds between two groups of :data:`CHUNKS_AT_ONCE` chunks."""

PACKET_OVERHEAD = 193
"""Bytes of a chunk that are not data."""

PROOF_BYTES_PER_SECOND, PROOF_BYTES_AT_ONCE = 1 << 20, 4 << 20
"""Attestations that are sent to verifiers and subjects, to all together."""

UNPROVEN_BYTES_PER_SECOND, UNPROVEN_BYTES_AT_ONCE = 4096, 131072
"""The same for peers that have not proved that they are at their address."""

MAX_TRANSFERS = 64
"""Attestations that are being sent to verifiers at a time; further ones are refused."""

INTRODUCTION_SECONDS = 5.0
"""For how long a peer is waited for that is asked to prove its address."""

INTRODUCTION_INTERVAL = 0.1


class Shipping:
    """Sends attestations.

    :param send: sends a chunk, given an address, a global time and a payload.
    """

    def __init__(self, network: Network, send: Callable[[Address, int, AttestationChunkPayload], None]) -> None:
        self._network = network
        self._send = send
        self._budget = TokenBuckets(PROOF_BYTES_PER_SECOND, PROOF_BYTES_AT_ONCE, capacity=1)
        self._unproven_budget = TokenBuckets(UNPROVEN_BYTES_PER_SECOND, UNPROVEN_BYTES_AT_ONCE, capacity=1)
        self._running: set[tuple[bytes, bytes]] = set()

    def send_group(self, address: Address, blob_hash: bytes, chunks: list[bytes], start: int, global_time: int) -> int:
        """Send the chunks of a group; the number of the first one of the next group."""
        end = min(start + CHUNKS_AT_ONCE, len(chunks))
        for number in range(start, end):
            self._send(address, global_time, AttestationChunkPayload(blob_hash, number, chunks[number]))
        return end

    async def send_rest(self, address: Address, blob_hash: bytes, chunks: list[bytes], start: int,
                        global_time: int) -> None:
        """Send the chunks from a number on, with pauses."""
        while start < len(chunks):
            await asyncio.sleep(CHUNK_PAUSE)
            start = self.send_group(address, blob_hash, chunks, start, global_time)

    # Who may get how much

    def begin(self, peer: Peer, attestation_hash: bytes) -> bool:
        """Note that an attestation is being sent to a verifier; ``False`` if it is so already, or too many are."""
        transfer = (peer.mid, attestation_hash)
        if transfer in self._running or len(self._running) >= MAX_TRANSFERS:
            return False
        self._running.add(transfer)
        return True

    def end(self, peer: Peer, attestation_hash: bytes) -> None:
        """Note that it is not any more."""
        self._running.discard((peer.mid, attestation_hash))

    def _is_proven(self, peer: Peer) -> bool:
        """Whether a peer has answered a request of ours at its address."""
        known = self._network.get_verified_by_public_key_bin(peer.public_key.key_to_bin())
        return known is not None and known.proven and is_met_at(known, peer.address)

    async def admits(self, peer: Peer, blob: bytes, introduce: Callable[[], None]) -> bool:
        """Whether a blob may be sent to a peer that has asked for it.

        The request may have been sent in the name of another address, also by somebody who has recorded it. So little
        is sent to an address that is not proven; beyond that, the peer is asked to prove it, and once more if the
        first packet may have been lost.

        :param introduce: asks for an introduction response.
        """
        size = len(blob) + len(range(0, len(blob), CHUNK_SIZE)) * PACKET_OVERHEAD
        if not self._is_proven(peer) and not self._unproven_budget.take(cost=size):
            introduce()
            deadline = clock.monotonic() + INTRODUCTION_SECONDS
            again = deadline - INTRODUCTION_SECONDS / 2
            while not self._is_proven(peer):
                now = clock.monotonic()
                if now >= deadline:
                    return False
                if now >= again:
                    again = inf
                    introduce()
                await asyncio.sleep(INTRODUCTION_INTERVAL)
        return self._budget.take(cost=size)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("transfers", len(self._running), MAX_TRANSFERS, rule="further requests are dropped")
