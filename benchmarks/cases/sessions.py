"""Messages of 100 bytes between two overlays of one process, by UDP: in a session, signed, and unsigned.

What is measured is processor time of both ends. The other library has no sessions; of it only the other figures are
measured.
"""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

import asyncio
import gc
import tracemalloc
from importlib.util import find_spec
from os import urandom
from time import process_time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure, microseconds
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (100, 1100)
MESSAGES, BURST, ROUNDS = 5_000, 50, 5
SIGNED_MESSAGES = 1_000

IDLE_SESSIONS = 200
HAS_SESSIONS = find_spec("ipv8.sessions") is not None


@vp_compile
class Signed(VariablePayload):
    """A signed message."""

    msg_id = 1
    format_list = ["varlenH"]
    names = ["data"]


@vp_compile
class Unsigned(VariablePayload):
    """An unsigned message."""

    msg_id = 2
    format_list = ["varlenH"]
    names = ["data"]


class Overlay(Community):
    """Counts what it receives."""

    community_id = b"measured with sessio"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.received = 0
        self.add_message_handler(Signed, self.on_signed)
        self.add_message_handler(Unsigned, self.on_unsigned)

    @lazy_wrapper(Signed)
    def on_signed(self, _peer: Peer, _payload: Signed) -> None:
        self.received += 1

    @lazy_wrapper_unsigned(Unsigned)
    def on_unsigned(self, _address: Any, _payload: Unsigned) -> None:
        self.received += 1


async def _overlays(**settings: Any) -> tuple[Overlay, Overlay, Peer]:
    """Two overlays that know each other, and the second one as a peer of the first."""
    made = []
    for _ in range(2):
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        if settings:
            from ipv8.sessions import SessionService, SessionSettings

            SessionService.of(endpoint, SessionSettings(**settings))
        me = Peer(default_eccrypto.generate_key("curve25519"))
        made.append(Overlay(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network())))
    first, second = made
    for here, there in ((first, second), (second, first)):
        address = UDPv4Address("127.0.0.1", there.endpoint.get_address()[1])
        here.network.add_verified_peer(Peer(there.my_peer.public_key, address))
    return first, second, first.network.verified_peers.copy().pop()


async def _end(*overlays: Overlay) -> None:
    for overlay in overlays:
        await overlay.unload()
        if HAS_SESSIONS:
            from ipv8.sessions import SessionService

            service = SessionService.find(overlay.endpoint)
            if service is not None:
                await service.unload()
        overlay.endpoint.close()


async def _message(first: Overlay, second: Overlay, peer: Peer, payload: Any, signed: bool, count: int) -> float:
    """Microseconds of processor time for a message, both ends."""
    best = float("inf")
    for _ in range(ROUNDS):
        second.received = 0
        start = process_time()
        for number in range(1, count // BURST + 1):
            for _ in range(BURST):
                first.ez_send(peer, payload, sig=signed)
            while second.received < number * BURST:  # noqa: ASYNC110 - an event would be measured too
                await asyncio.sleep(0)
        best = min(best, (process_time() - start) / count * 1e6)
    return best


def measure() -> Iterator[Figure]:
    """Yield the costs of messages and handshakes, of what is refused, and the memory of an idle session."""
    yield from asyncio.run(_measure_messages())
    if HAS_SESSIONS:
        yield from _measure_machine()


async def _measure_messages() -> list[Figure]:
    figures = []
    for cipher in ("aes", "chacha20") if HAS_SESSIONS else ():
        first, second, peer = await _overlays(cipher=cipher, hybrid="off")
        await first.secure(peer)
        figures += [Figure(f"{size} bytes in a session, {cipher}",
                           await _message(first, second, peer, Signed(bytes(size)), True, MESSAGES)) for size in SIZES]
        await _end(first, second)
    first, second, peer = await _overlays()
    for size in SIZES:
        figures += [
            Figure(f"{size} bytes signed", await _message(first, second, peer, Signed(bytes(size)), True,
                                                          SIGNED_MESSAGES)),
            Figure(f"{size} bytes unsigned", await _message(first, second, peer, Unsigned(bytes(size)), False,
                                                            MESSAGES))]
    await _end(first, second)
    return figures


def _measure_machine() -> Iterator[Figure]:
    from benchmarks.session_pair import SessionPair

    pair = SessionPair(urandom)
    pair.prepare()
    yield Figure("handshake, initiator", microseconds(pair.initiate))
    yield Figure("handshake, responder", microseconds(pair.respond))
    forged, replayed, unknown, wrong_init = pair.refused()
    receive = pair.receive
    yield Figure("forged datagram", microseconds(receive, forged))
    yield Figure("repeated datagram", microseconds(receive, replayed))
    yield Figure("datagram of an unknown session", microseconds(receive, unknown))
    yield Figure("handshake for another key", microseconds(receive, wrong_init))
    yield Figure("memory of an idle session", _idle_memory(), "KiB")


def _idle_memory() -> float:
    """KiB that one end of a session needs."""
    from benchmarks.session_pair import SessionPair

    server = SessionPair(urandom)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    server.open_sessions(IDLE_SESSIONS)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / 1024 / IDLE_SESSIONS


