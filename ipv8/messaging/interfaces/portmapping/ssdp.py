"""Searching the local network for gateways with UPnP (UPnP Device Architecture 1.1, section 1.3).

Anybody in the network may answer, with anything. So the size and the number of answers are limited, and each comes with
the address of the host that sent it: nobody can send us to somebody else.
"""

from __future__ import annotations

import asyncio
import socket

from .gateway import PortMappingError

__all__ = ["decode_answer", "encode_search", "search"]

GROUP = ("239.255.255.250", 1900)
TARGETS = tuple(f"urn:schemas-upnp-org:device:InternetGatewayDevice:{version}" for version in (1, 2))
"""What is searched for."""

HOPS = 2
"""Routers between networks of one home are passed, those of the provider are not."""

REPETITION = 0.25
"""Seconds after which the search is sent again, as datagrams get lost."""

MAX_ANSWER = 2048
"""Bytes of an answer; longer ones are ignored."""

MAX_ANSWERS = 64
"""Answers that are read; further ones are ignored."""

MAX_ANSWERS_PER_HOST = 4
"""The same of one host."""


def encode_search(target: str, seconds: int) -> bytes:
    """A search for devices of a type, which answer within so many seconds."""
    return (f'M-SEARCH * HTTP/1.1\r\nHOST: {GROUP[0]}:{GROUP[1]}\r\nMAN: "ssdp:discover"\r\nMX: {seconds}\r\n'
            f"ST: {target}\r\n\r\n").encode()


def decode_answer(data: bytes) -> str | None:
    """Where the description of a gateway is, by its answer to a search; ``None`` for anything else."""
    if len(data) > MAX_ANSWER or not data.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        return None
    try:
        lines = data.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return headers.get("location") or None if headers.get("st") in TARGETS else None


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.found: dict[tuple[str, str], None] = {}  # hosts and locations, in the order of arrival

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        location = decode_answer(data)
        if (location is not None and len(self.found) < MAX_ANSWERS
                and sum(host == addr[0] for host, _ in self.found) < MAX_ANSWERS_PER_HOST):
            self.found[addr[0], location] = None


async def search(timeout: float, source: str = "") -> list[tuple[str, str]]:
    """The hosts that answer, and where they say that their descriptions are.

    :param timeout: seconds to wait for answers.
    :param source: the address of this machine from which to ask; empty for the usual one.
    :raises PortMappingError: if there is no network.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, answers = await loop.create_datagram_endpoint(_Answers, local_addr=(source or "0.0.0.0", 0))  # noqa: S104 - any
    except OSError as e:
        raise PortMappingError(f"the local network cannot be searched for gateways: {e}") from e
    try:
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOPS)
        if source:
            own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        for pause in (min(REPETITION, timeout / 2), timeout - min(REPETITION, timeout / 2)):
            for target in TARGETS:
                transport.sendto(encode_search(target, max(1, round(timeout))), GROUP)
            await asyncio.sleep(pause)
    except OSError as e:
        raise PortMappingError(f"the local network cannot be searched for gateways: {e}") from e
    finally:
        transport.close()
    return list(answers.found)
