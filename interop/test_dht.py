"""Nodes of both libraries form one DHT: they store and find each other's values, and connect by key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from interop.conftest import StartNode
    from interop.driver import NodeProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

KEY = (b"k" * 20).hex()
MIXED = ["ours", "theirs", "ours", "theirs"]
ATTEMPTS = 100

both_ways = pytest.mark.parametrize(("writer", "reader"), [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")])


async def ask(node: NodeProcess, do: str, **details: Any) -> Any:
    await node.command(do, **details)
    answer = await node.expect(do)
    assert "error" not in answer, answer
    return answer["result"]


async def network(start: StartNode, kinds: list[str], **options: Any) -> list[NodeProcess]:
    """Start nodes and let them know each other."""
    nodes = [await start(kind, program="dht_node", **options) for kind in kinds]
    for node in nodes:
        for other in nodes:
            if other is not node:
                await ask(node, "walk", address=other.address)
    for node in nodes:
        for _ in range(ATTEMPTS):
            if len(await ask(node, "known")) == len(nodes) - 1:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail(f"{node.name} does not know everybody")
    return nodes


@both_ways
@pytest.mark.parametrize("sign", [False, True])
async def test_values_are_found_by_the_other_library(start: StartNode, writer: str, reader: str, sign: bool) -> None:
    nodes = await network(start, [writer, *MIXED, reader])
    stored = await ask(nodes[0], "put", key=KEY, data="value", sign=sign)
    assert stored == sorted(node.mid for node in nodes[1:])
    signer = nodes[0].started["key"] if sign else None
    for node in nodes[1:]:
        assert await ask(node, "get", key=KEY) == [["value", signer]]


@pytest.mark.parametrize("kind", ["ours", "theirs"])
async def test_one_node_of_a_kind_among_many_of_the_other(start: StartNode, kind: str) -> None:
    other = "theirs" if kind == "ours" else "ours"
    nodes = await network(start, [kind, other, other, other])
    await ask(nodes[0], "put", key=KEY, data="one", sign=False)
    await ask(nodes[1], "put", key=KEY, data="two", sign=True)
    expected = [["one", None], ["two", nodes[1].started["key"]]]
    for node in nodes:
        assert await ask(node, "get", key=KEY) == expected
    assert await ask(nodes[0], "nodes", key=KEY) == sorted(node.mid for node in nodes[1:])


@both_ways
async def test_connecting_by_key(start: StartNode, writer: str, reader: str) -> None:
    nodes = await network(start, [writer, *MIXED, reader])
    assert await ask(nodes[0], "store_peer")
    assert [nodes[0].mid, *nodes[0].address] in await ask(nodes[-1], "connect", mid=nodes[0].mid)


@pytest.mark.parametrize("key", ["very-low", "low"])
async def test_keys_of_other_curves(start: StartNode, key: str) -> None:
    nodes = await network(start, ["ours", "theirs"], key=key)
    for number, (node, other) in enumerate([nodes, nodes[::-1]]):
        stored_under = bytes((number,)).hex() * 20
        assert await ask(node, "put", key=stored_under, data="value", sign=False) == [other.mid]
        assert await ask(other, "put", key=stored_under, data="value", sign=False) == [node.mid]
        assert await ask(node, "get", key=stored_under) == [["value", None]]


@pytest.mark.usefixtures("ipv6")
async def test_ipv6(start: StartNode) -> None:
    nodes = await network(start, ["ours", "theirs", "ours"], interface="UDPIPv6")
    for number, node in enumerate(nodes):
        stored_under = bytes((number,)).hex() * 20
        await ask(node, "put", key=stored_under, data="value", sign=True)
        for other in nodes:
            if other is not node:
                assert await ask(other, "get", key=stored_under) == [["value", node.started["key"]]]
