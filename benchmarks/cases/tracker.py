"""A tracker under load: how many introduction requests a second it answers, and the processor time of each.

The tracker runs in a process of its own. Here are its clients, each with a key and a socket of its own, spread over
some overlays, who answer when the tracker asks whether they are there. Requests are signed beforehand, all different,
and a fixed number is in flight, so that the tracker is always busy and never overrun. Newcomers are clients whose first
request it is.

``pyipv8`` installs no tracker: what runs against it is the stand-in of ``benchmarks.tracker_node``, this project's own
program on the classes that are installed, not the reference's program. It introduces as the rules say and keeps no
watch over who is still there, so it does less than a real tracker. In particular, newcomers cost this library's tracker
a question, an answer and two signatures more, by which it knows that they are where they seem to be.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.library import Library
from benchmarks.measure import Figure
from benchmarks.messages import MeasuredCommunity, make_overlay
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.messaging.payload import IntroductionRequestPayload, IntroductionResponsePayload
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

OVERLAYS = 10
FEW, MANY = 100, 500  # clients; the rules of the stand-in let it keep the few
REQUESTS = 10_000
IN_FLIGHT = 32
GIVE_UP_SECONDS = 5.0
SETTLE_SECONDS = 0.3
NOWHERE = UDPv4Address("0.0.0.0", 0)

KEY_SIZE_AT = 23  # behind the prefix and the message id
TO_REQUEST_IDENTIFIER = 8 + 3 * 6 + 1  # global time, addresses and flags lie between the key and the identifier
TO_INTRODUCED = 8 + 4 * 6
TO_RESPONSE_IDENTIFIER = 8 + 5 * 6 + 1


@dataclass
class Client:
    """Somebody who wants to meet the others of an overlay."""

    overlay: MeasuredCommunity
    peer: Peer
    sock: socket.socket

    def sign(self, payload: Any) -> bytes:
        """The datagram of an introduction message of this client."""
        self.overlay.my_peer = self.peer
        return self.overlay.ezr_pack(payload.msg_id, GlobalTimeDistributionPayload(1), payload)

    def request(self, tracker: UDPv4Address, identifier: int) -> bytes:
        """A question for somebody else."""
        here = UDPv4Address(*self.sock.getsockname())
        return self.sign(IntroductionRequestPayload(tracker, here, here, True, "unknown", identifier, b""))

    def response(self, identifier: int) -> bytes:
        """What the tracker is told when it asks who is there."""
        here = UDPv4Address(*self.sock.getsockname())
        return self.sign(IntroductionResponsePayload(here, here, here, NOWHERE, NOWHERE, "unknown", identifier, b""))


def field_at(packet: bytes, offset: int, size: int) -> bytes:
    """Some bytes of a signed packet, ``offset`` of them behind the key of its sender."""
    start = KEY_SIZE_AT + 2 + int.from_bytes(packet[KEY_SIZE_AT:KEY_SIZE_AT + 2], "big") + offset
    return packet[start:start + size]


class Crowd:
    """The clients of a tracker at a port."""

    def __init__(self, port: int, size: int) -> None:
        self.tracker = UDPv4Address("127.0.0.1", port)
        self.selector = selectors.DefaultSelector()
        self.overlays = [make_overlay(overlay_class=type("Measured", (MeasuredCommunity,),
                                                         {"community_id": bytes([number]) * 20}))
                         for number in range(OVERLAYS)]
        self.clients = [self._client(self.overlays[number % OVERLAYS]) for number in range(size)]
        self.introduced = 0

    def _client(self, overlay: MeasuredCommunity) -> Client:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.connect(self.tracker)
        client = Client(overlay, Peer(default_eccrypto.generate_key("curve25519")), sock)
        self.selector.register(sock, selectors.EVENT_READ, client)
        return client

    def exchange(self, count: int) -> float:
        """Have ``count`` requests answered, of all clients in turn; the seconds from the first to the last.

        :raises RuntimeError: if answers do not come.
        """
        self.introduced = 0
        requests = []
        for number in range(count):
            client = self.clients[number % len(self.clients)]
            requests.append((client.sock, number.to_bytes(2, "big"), client.request(self.tracker, number)))
        supply = iter(requests)
        waiting: set[bytes] = set()
        start = perf_counter()
        while True:
            while len(waiting) < IN_FLIGHT and (following := next(supply, None)) is not None:
                sock, identifier, packet = following
                sock.send(packet)
                waiting.add(identifier)
            if not waiting:
                return perf_counter() - start
            if not self.receive(waiting, GIVE_UP_SECONDS):
                raise RuntimeError(f"the tracker leaves {len(waiting)} requests unanswered")

    def receive(self, waiting: set[bytes], seconds: float) -> bool:
        """Wait for packets, and take the identifiers of answers out of ``waiting``; whether any came."""
        events = self.selector.select(seconds)
        for key, _ in events:
            client = key.data
            packet = client.sock.recv(2048)
            if packet[22] == IntroductionResponsePayload.msg_id:
                waiting.discard(field_at(packet, TO_RESPONSE_IDENTIFIER, 2))
                self.introduced += any(field_at(packet, TO_INTRODUCED, 6))
            elif packet[22] == IntroductionRequestPayload.msg_id:
                identifier = int.from_bytes(field_at(packet, TO_REQUEST_IDENTIFIER, 2), "big")
                client.sock.send(client.response(identifier))
        return bool(events)

    async def close(self) -> None:
        """Close the sockets."""
        self.selector.close()
        for client in self.clients:
            client.sock.close()
        for overlay in self.overlays:
            await overlay.unload()


async def serve(size: int, key: str) -> tuple[float, float, float, float]:
    """Have a new tracker serve ``size`` clients.

    :returns: the seconds of all newcomers' requests; then, of ``REQUESTS`` further ones, the seconds, the processor's
        seconds, and how many introduced somebody.
    """
    process = await asyncio.create_subprocess_exec(*Library.running().command("benchmarks.tracker_node", key),
                                                   stdin=PIPE, stdout=PIPE)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    crowd = Crowd(int(await stdout.readline()), size)
    try:
        newcomers = crowd.exchange(size)
        while crowd.receive(set(), SETTLE_SECONDS):
            pass
        stdin.write(b"\n")
        before = float(await stdout.readline())
        seconds, introduced = crowd.exchange(REQUESTS), crowd.introduced
        stdin.write(b"\n")
        spent = float(await stdout.readline()) - before
    finally:
        stdin.close()
        await process.wait()
        await crowd.close()
    return newcomers, seconds, spent, introduced


async def _measure() -> list[Figure]:
    figures = []
    for size, key, what in ((FEW, "own", f"{FEW} peers"), (FEW, "curve25519", f"{FEW} peers, curve25519 tracker"),
                            (MANY, "own", f"{MANY} peers")):
        newcomers, seconds, spent, introduced = await serve(size, key)
        figures += [Figure(f"requests answered, {what}", REQUESTS / seconds, "1/s", more_is_better=True),
                    Figure(f"processor time of one, {what}", spent / REQUESTS * 1e6),
                    Figure(f"answers that introduce somebody, {what}", 100 * introduced / REQUESTS, "%",
                           more_is_better=True)]
        if size == MANY:
            figures.append(Figure("newcomers answered", size / newcomers, "1/s", more_is_better=True))
    return figures


def measure() -> Iterator[Figure]:
    """Yield the figures of a few and of many clients."""
    yield from asyncio.run(_measure())
