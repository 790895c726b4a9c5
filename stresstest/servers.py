"""The bootstrap servers that are measured, and an overlay that asks them."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.inet import parse_host
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

__all__ = ["Answer", "AskingCommunity", "Server", "asking", "bootstrapper", "count", "find_servers", "parser",
           "seconds"]

LONGEST = 86_400.0
"""Seconds that a measurement may take, at most."""


class Server(NamedTuple):
    """A bootstrap server: what it was called, and where it is."""

    name: str
    address: UDPv4Address


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} has to have the form HOST:PORT")
    return host, int(port)


def seconds(text: str) -> float:
    """A time in seconds, for a parser."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LONGEST:  # not true for NaN either
        raise argparse.ArgumentTypeError(f"{text!r} has to be more than 0 and at most {LONGEST:g} seconds")
    return value


def count(text: str) -> int:
    """A whole number of at least 1, for a parser."""
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} has to be a whole number from 1 to 999999999")
    return int(text)


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments that all measurements have."""
    made = argparse.ArgumentParser(prog=f"python -m stresstest.{program}", description=description)
    made.add_argument("--tracker", type=_host_and_port, action="append", metavar="HOST:PORT", dest="trackers",
                      help="a bootstrap server to use instead of the public ones; may be repeated")
    return made


def bootstrapper(trackers: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
    """The bootstrapper of a configuration that uses these servers, by default the public ones."""
    if trackers is None:
        return DISPERSY_BOOTSTRAPPER
    known = {tracker: parse_host(tracker[0]) is not None for tracker in trackers}
    return {"class": "DispersyBootstrapper",
            "init": {"ip_addresses": [tracker for tracker, is_ip in known.items() if is_ip],
                     "dns_addresses": [tracker for tracker, is_ip in known.items() if not is_ip],
                     "bootstrap_timeout": 30.0}}


async def find_servers(trackers: Iterable[tuple[str, int]]) -> list[Server]:
    """The servers with these names or addresses; those whose names nobody knows are reported and left out."""
    loop = asyncio.get_running_loop()
    given = [*trackers]
    outcomes = await asyncio.gather(*(loop.getaddrinfo(*tracker, family=socket.AF_INET, type=socket.SOCK_DGRAM)
                                      for tracker in given), return_exceptions=True)
    found = []
    for (host, _), outcome in zip(given, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            print(f"{host} has no address: {outcome}", file=sys.stderr)
        else:
            found.append(Server(host, UDPv4Address(*outcome[0][4][:2])))
    return found


class Answer(NamedTuple):
    """What a server, or a peer, answered: after how many seconds, and whom it introduced."""

    seconds: float
    wan_address: UDPv4Address
    lan_address: UDPv4Address


class AskingCommunity(Community):
    """Asks for introductions, one at a time."""

    community_id = bytes(20)  # replaced for each object

    def __init__(self, settings: CommunitySettings) -> None:
        self.community_id = settings.community_id
        super().__init__(settings)
        self._waiting: dict[Any, asyncio.Future[Any]] = {}

    async def ask_server(self, address: UDPv4Address, timeout: float) -> Answer | None:
        """Send one request; ``None`` if it is not answered within ``timeout`` seconds."""
        waiting = self._waiting[address] = asyncio.get_running_loop().create_future()
        request = self.create_introduction_request(address)
        begin = perf_counter()
        self.endpoint.send(address, request)
        try:
            payload = await asyncio.wait_for(waiting, timeout)
        except asyncio.TimeoutError:
            return None
        finally:
            self._waiting.pop(address, None)
        return Answer(perf_counter() - begin, payload.wan_introduction_address, payload.lan_introduction_address)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:  # noqa: ARG002 - a hook
        """Tell who waits for this answer."""
        waiting = self._waiting.get(peer.address)
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)


@asynccontextmanager
async def asking(community_id: bytes | None = None) -> AsyncIterator[AskingCommunity]:
    """An overlay with this id, by default any, on a socket of its own."""
    endpoint = UDPEndpoint(0)
    if not await endpoint.open():
        raise OSError("no UDP socket could be opened")
    my_peer = Peer(default_eccrypto.generate_key("curve25519"))
    overlay = AskingCommunity(CommunitySettings(my_peer=my_peer, endpoint=endpoint, network=Network(),
                                                community_id=community_id or os.urandom(20)))
    try:
        yield overlay
    finally:
        await overlay.unload()
        endpoint.close()
