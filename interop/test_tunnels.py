"""Circuits through nodes of both libraries, with either of them in each position."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from interop.test_hidden_services import ATTEMPTS, ask, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop.conftest import StartNode
    from interop.driver import NodeProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

PACKETS = 1000
OURS, PURE, NATIVE = ("ours", "pure"), ("theirs", "pure"), ("theirs", "native")
"""A library, and which endpoint it uses."""

Kind = tuple[str, str]


def positions(hops: int) -> Iterator[tuple[Kind, ...]]:
    """The kinds of the origin and of all hops: each position is once the only one of a kind."""
    for other in (PURE, NATIVE):
        for odd in range(hops + 1):
            for usual, single in ((OURS, other), (other, OURS)):
                yield tuple(single if position == odd else usual for position in range(hops + 1))


CIRCUITS = sorted({kinds for hops in (1, 2, 3) for kinds in positions(hops)})


def name_of(kinds: tuple[Kind, ...]) -> str:
    return "-".join(kind if role == "pure" else role for kind, role in kinds)


class Sink:
    """A socket that sends back all that arrives."""

    def __init__(self) -> None:
        self.received = 0
        self.sources: set[Any] = set()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self.sock, self.read)

    @property
    def address(self) -> list[Any]:
        return list(self.sock.getsockname())

    def read(self) -> None:
        data, source = self.sock.recvfrom(65536)
        self.received += 1
        self.sources.add(source)
        self.sock.sendto(data, source)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


async def start_all(start: StartNode, kinds: tuple[Kind, ...]) -> list[NodeProcess]:
    return list(await asyncio.gather(*(start(library, program="tunnel_node", role=role) for library, role in kinds)))


def describe(node: NodeProcess, *flags: int) -> dict[str, Any]:
    return {"key": node.started["key"], "address": node.address, "flags": list(flags) or node.started["flags"]}


async def exchange(origin: NodeProcess, count: int = PACKETS) -> None:
    """Send data through the circuit and back; all of them arrive."""
    sink = Sink()
    try:
        assert await ask(origin, "send", to=sink.address, count=count) == count
        assert await until(origin, count, "received") == count
        assert sink.received == count
        assert tuple(origin.address) not in sink.sources
    finally:
        sink.close()


async def check_circuit(start: StartNode, kinds: tuple[Kind, ...]) -> None:
    """A circuit through new nodes, each of which only knows the next one, so that it is known who is where."""
    origin, *hops = nodes = await start_all(start, kinds)
    for node, following in zip(nodes, hops, strict=False):
        await ask(node, "know", nodes=[describe(following, *([1] if following is not hops[-1] else [1, 2, 4, 8]))])
    path = await ask(origin, "circuit", hops=len(hops), exit=describe(hops[-1]))
    assert path == [hop.mid for hop in hops]
    assert await ask(origin, "speed test") == 200
    await exchange(origin)
    await ask(origin, "destroy")
    for node in nodes:
        assert await until(node, [0, 0, 0], "tables") == [0, 0, 0]


@pytest.mark.parametrize("kinds", CIRCUITS, ids=name_of)
async def test_circuits(start: StartNode, kinds: tuple[Kind, ...]) -> None:
    """Nodes of both libraries, with each of their endpoints, in each position."""
    await check_circuit(start, kinds)


@pytest.mark.parametrize("kinds", [
    (OURS, OURS, OURS, OURS), (OURS, OURS, OURS, PURE), (OURS, PURE, OURS, OURS), (OURS, OURS, PURE, NATIVE),
    (OURS, PURE, PURE, PURE), (OURS, NATIVE, NATIVE, NATIVE)], ids=name_of)
async def test_own_choice_of_nodes(start: StartNode, kinds: tuple[Kind, ...]) -> None:
    """Our origin knows all nodes, tells each where the next one is, and uses what newer nodes can do."""
    origin, *hops = await start_all(start, kinds)
    for hop in hops:
        flags = [flag for flag in hop.started["flags"] if hop is hops[-1] or flag != 2]
        hop.started["flags"] = flags
    await ask(origin, "know", nodes=[describe(hop) for hop in hops])
    for _ in range(3):
        path = await ask(origin, "circuit", hops=3)
        assert path is not None
        assert path[-1] == hops[-1].mid
        assert set(path) == {hop.mid for hop in hops}
        assert await ask(origin, "speed test") == 200
        await ask(origin, "destroy")
    assert await ask(origin, "circuit", hops=3)
    await exchange(origin)


@pytest.mark.parametrize("kinds", [(OURS, PURE), (PURE, OURS), (OURS, NATIVE), (NATIVE, OURS)], ids=name_of)
async def test_introductions(start: StartNode, kinds: tuple[Kind, ...]) -> None:
    """Both nodes learn what the other one offers."""
    one, other = await start_all(start, kinds)
    await ask(one, "walk", address=other.address)
    for node, met in ((one, other), (other, one)):
        expected = {met.started["key"]: met.started["flags"]}
        assert await until(node, expected, "candidates") == expected
        assert {1, 2, 4, 8} <= set(met.started["flags"])


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize(("anonymous", "others"), [
    (("ours", "anonymous"), PURE), (("ours", "anonymous"), NATIVE), (("theirs", "anonymous"), OURS),
    (("theirs", "anonymous native"), OURS)], ids="-".join)
async def test_anonymous_overlay(start: StartNode, anonymous: Kind, others: Kind, hops: int) -> None:
    """An overlay sends through a circuit; who gets the messages sees the exit, and its answers come back."""
    kinds = (anonymous, *[others] * (hops + 1))
    origin, *relays, correspondent = nodes = await start_all(start, kinds)
    for node, following in zip(nodes, relays, strict=False):
        await ask(node, "know", nodes=[describe(following, *([1] if following is not relays[-1] else [1, 2, 4, 8]))])
    if hops > 1:
        await ask(origin, "know", nodes=[describe(relays[0], 1), describe(relays[-1], 1, 2, 4, 8)])
    await ask(origin, "anonymous", hops=hops)
    for _ in range(ATTEMPTS):
        # The first messages wait for the circuit, and are sent with the next one.
        await ask(origin, "send notes", to=correspondent.address, count=1, label="first")
        if await ask(origin, "notes", label="first"):
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("no message has come back")
    await ask(origin, "send notes", to=correspondent.address, count=PACKETS, label="counted")
    assert await until(origin, PACKETS, "notes", label="counted") == PACKETS
    assert await ask(correspondent, "notes", label="counted") == PACKETS
    assert origin.address not in await ask(correspondent, "sources")
