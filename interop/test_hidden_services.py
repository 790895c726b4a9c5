"""Hidden services between nodes of both libraries: each of them as client, as service, and as the nodes in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from interop.conftest import StartNode
    from interop.driver import NodeProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

INFO_HASH = (b"interoperable swarm!").hex()
PACKETS = 1000
PORTION = 40
"""Packets that are on their way at the same time: sockets have small buffers."""

ATTEMPTS = 1000
ROLES = [("ours", "theirs", "ours"), ("theirs", "ours", "ours"), ("ours", "ours", "theirs"),
         ("theirs", "theirs", "ours"), ("ours", "theirs", "theirs"), ("theirs", "ours", "theirs")]
"""Client, service, and the nodes in between."""


async def ask(node: NodeProcess, do: str, **details: Any) -> Any:
    await node.command(do, **details)
    answer = await node.expect(do)
    assert "error" not in answer, (node.name, answer)
    return answer["result"]


def describe(node: NodeProcess) -> dict[str, Any]:
    return {"key": node.started["key"], "address": node.address}


async def until(node: NodeProcess, expected: Any, do: str, pause: float = 0.05, **details: Any) -> Any:
    """Ask until the answer is the expected one; the last answer.

    :param pause: seconds between two of at most ``ATTEMPTS`` times.
    """
    for _ in range(ATTEMPTS):
        answer = await ask(node, do, **details)
        if answer == expected:
            break
        await asyncio.sleep(pause)
    return answer


async def network(start: StartNode, client: str, service: str, between: str, role: str = "pure",
                  count: int = 2) -> tuple[NodeProcess, NodeProcess, list[NodeProcess]]:
    """Start nodes. Client and service carry nothing for others, so that it is known who is where."""
    relays = [await start(between, program="hidden_node", role=role) for _ in range(count)]
    ends = [await start(kind, program="hidden_node", role="pure") for kind in (client, service)]
    for end in ends:
        await ask(end, "flags", flags=[8])
        await ask(end, "know", nodes=[describe(relay) for relay in relays])
    for relay in relays:
        await ask(relay, "know", nodes=[describe(other) for other in relays if other is not relay])
    return ends[0], ends[1], relays


async def connect(client: NodeProcess, service: NodeProcess, relays: list[NodeProcess], hops: int = 1) -> None:
    """Let the client connect to the service."""
    key = await ask(service, "serve", info_hash=INFO_HASH, hops=hops, intro=describe(relays[0]))
    assert await until(relays[0], [key], "introduces") == [key]
    announced = await relays[0].expect("announced")
    assert (announced["service"], announced["key"]) == (key, relays[0].started["key"])
    for relay in relays:
        await ask(relay, "found", points=[announced])
    assert await ask(client, "circuit", hops=hops)
    await ask(client, "join", info_hash=INFO_HASH, hops=hops)
    await ask(client, "discover")
    connected = await client.expect("connected")
    assert connected["address"][1] == 1024


async def exchange(client: NodeProcess, service: NodeProcess) -> None:
    """Send data both ways; all of them arrive."""
    for sender, receiver in ((client, service), (service, client)):
        for sent in range(PORTION, PACKETS + 1, PORTION):
            assert await ask(sender, "send", count=PORTION) == PORTION
            if await until(receiver, sent, "received", pause=0.002) != sent:  # a busy machine takes longer
                assert await until(receiver, sent, "received") == sent


@pytest.mark.parametrize(("client", "service", "between"), ROLES)
async def test_connections(start: StartNode, client: str, service: str, between: str) -> None:
    one, other, relays = await network(start, client, service, between)
    await connect(one, other, relays)
    assert await ask(one, "speed test") == 200
    await exchange(one, other)


@pytest.mark.parametrize(("client", "service"), [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")])
async def test_mixed_relays(start: StartNode, client: str, service: str) -> None:
    """Circuits of two and three hops, whose nodes are of both libraries."""
    one, other, relays = await network(start, client, service, "ours", count=2)
    more = [await start("theirs", program="hidden_node", role="pure") for _ in range(2)]
    everybody = [*relays, *more]
    for end in (one, other):
        await ask(end, "know", nodes=[describe(relay) for relay in everybody])
    for relay in everybody:
        await ask(relay, "know", nodes=[describe(node) for node in everybody if node is not relay])
    await connect(one, other, everybody, hops=2)
    await exchange(one, other)


@pytest.mark.parametrize(("client", "service"), [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")])
async def test_native_relays(start: StartNode, client: str, service: str) -> None:
    one, other, relays = await network(start, client, service, "theirs", role="native")
    await connect(one, other, relays)
    await exchange(one, other)


@pytest.mark.parametrize(("client", "first", "second"), [("ours", "ours", "theirs"), ("ours", "theirs", "ours"),
                                                         ("theirs", "ours", "theirs"), ("theirs", "theirs", "ours")])
async def test_introduction_points_tell_of_each_other(start: StartNode, client: str, first: str, second: str) -> None:
    one, other, relays = await network(start, client, "ours", first, count=1)
    relays.append(await start(second, program="hidden_node", role="pure"))
    exits = [await start("ours", program="hidden_node", role="pure")]
    for end in (other, *relays):
        await ask(end, "know", nodes=[describe(relay) for relay in relays if relay is not end])
    await ask(one, "know", nodes=[describe(node) for node in exits])
    key = await ask(other, "serve", info_hash=INFO_HASH, hops=1, intro=describe(relays[0]))
    await ask(other, "more introduction points", info_hash=INFO_HASH, intro=describe(relays[1]))
    for relay in relays:
        assert await until(relay, [key], "introduces") == [key]
    assert await ask(one, "circuit", hops=1)
    expected = sorted([[relay.address, key, 2] for relay in relays])
    for relay, neighbour in (relays, relays[::-1]):
        for _ in range(ATTEMPTS):
            await ask(relay, "walk in swarm", info_hash=INFO_HASH, address=neighbour.address)
            if await ask(one, "look up", info_hash=INFO_HASH, hops=1, target=describe(relay)) == expected:
                break
            await asyncio.sleep(0.3)
        else:
            pytest.fail(f"{relay.name} has not heard of {neighbour.name}")
