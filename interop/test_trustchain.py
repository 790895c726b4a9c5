"""Nodes of this library and of the last ``pyipv8`` with TrustChain sign, broadcast, crawl and find cheaters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from interop import environment
from interop.driver import NodeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interop.conftest import StartNode

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

ATTEMPTS = 1200

both_ways = pytest.mark.parametrize(("here", "there"), [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")])
all_ways = pytest.mark.parametrize(("one", "other", "third"), [
    ("ours", "theirs", "ours"), ("theirs", "ours", "theirs"), ("ours", "ours", "theirs"), ("theirs", "theirs", "ours")])


@pytest.fixture(scope="session")
def trustchain_libraries() -> dict[str, Any]:
    """Both libraries by the names that the tests use."""
    try:
        return {"ours": environment.ours(), "theirs": environment.theirs_with_trustchain()}
    except environment.EnvironmentUnavailableError as e:
        pytest.skip(str(e))


@pytest.fixture
async def start(trustchain_libraries: dict[str, Any]) -> AsyncIterator[StartNode]:
    """Start a node; all are killed after the test."""
    nodes = []

    async def start_node(kind: str, **options: Any) -> NodeProcess:
        node = await NodeProcess.start(trustchain_libraries[kind], program="trustchain_node", **options)
        nodes.append(node)
        return node

    yield start_node
    for node in nodes:
        await node.kill()


async def ask(node: NodeProcess, do: str, **details: Any) -> Any:
    await node.command(do, **details)
    answer = await node.expect(do)
    assert "error" not in answer, answer
    return answer["result"]


def where(node: NodeProcess) -> dict[str, Any]:
    return {"key": node.started["key"], "address": node.address}


async def acquainted(start: StartNode, *kinds: str) -> list[NodeProcess]:
    """Nodes that all know each other."""
    nodes = [await start(kind) for kind in kinds]
    for node in nodes:
        for other in nodes:
            if other is not node:
                await ask(node, "know", **where(other))
    return nodes


async def until(node: NodeProcess, expected: Any, do: str, **details: Any) -> None:
    found = None
    for _ in range(ATTEMPTS):
        found = await ask(node, do, **details)
        if found == expected:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{node.name} has {found}, not {expected}")


@both_ways
async def test_counter_signing(start: StartNode, here: str, there: str) -> None:
    proposer, signer = await acquainted(start, here, there)
    for number in range(1, 4):
        answer, proposal = await ask(proposer, "propose", **where(signer), transaction={"n": number, "text": "ü"})
        assert proposal[:2] == [proposer.started["key"], number]
        assert answer[:2] == [signer.started["key"], number]
        assert answer in await ask(signer, "blocks")
        assert proposal in await ask(signer, "blocks")


@all_ways
async def test_broadcasts_reach_third_nodes(start: StartNode, one: str, other: str, third: str) -> None:
    proposer, signer, observer = await acquainted(start, one, other, third)
    pair = await ask(proposer, "propose", **where(signer))
    await until(observer, sorted(pair), "blocks")


@all_ways
async def test_source_blocks_and_links(start: StartNode, one: str, other: str, third: str) -> None:
    author, linker, observer = await acquainted(start, one, other, third)
    source = await ask(author, "source")
    await until(linker, [source], "blocks")
    await until(observer, [source], "blocks")
    link, linked = await ask(linker, "link", key=author.started["key"], height=1)
    assert linked == source
    for node in (author, observer):
        await until(node, sorted([source, link]), "blocks")


@both_ways
async def test_crawling_a_range_and_a_chain(start: StartNode, here: str, there: str) -> None:
    author = await start(there)
    crawler = await start(here)
    chain = [await ask(author, "source") for _ in range(25)]
    assert await ask(crawler, "crawl", **where(author), start=2, end=4) == sorted(chain[1:4])
    assert await ask(crawler, "crawl", **where(author), start=-1, end=-1) == [chain[-1]]
    await ask(crawler, "crawl_chain", **where(author), height=25)
    assert await ask(crawler, "blocks") == sorted(chain)


@all_ways
async def test_crawling_both_halves_from_either_side(start: StartNode, one: str, other: str, third: str) -> None:
    proposer, signer = await acquainted(start, one, other)
    crawler = await start(third)
    pair = sorted(await ask(proposer, "propose", **where(signer)))
    for node in (proposer, signer):
        found = await ask(crawler, "crawl", **where(node), chain=proposer.started["key"], start=1, end=1)
        assert found == pair


@both_ways
async def test_missing_predecessors_are_crawled_before_signing(start: StartNode, here: str, there: str) -> None:
    proposer, signer = await start(here), await start(there)
    chain = [await ask(proposer, "source") for _ in range(3)]
    answer, proposal = await ask(proposer, "propose", **where(signer))
    assert await ask(signer, "blocks") == sorted([*chain, answer, proposal])


@pytest.mark.parametrize("answerer", ["ours", "theirs"])
async def test_both_forms_of_crawl_requests(start: StartNode, answerer: str) -> None:
    """Who asks in the form that the other one does not know asks again in the other form."""
    author, crawler = await start(answerer), await start("ours")
    source = await ask(author, "source")
    await ask(crawler, "use_long_form", **where(author))
    assert await ask(crawler, "crawl", **where(author), start=1, end=1) == [source]


@both_ways
async def test_introductions_bring_blocks(start: StartNode, here: str, there: str) -> None:
    author, walker = await start(here), await start(there)
    source = await ask(author, "source")
    await ask(walker, "walk", address=author.address)
    await until(walker, [source], "blocks")


@all_ways
async def test_double_spends(start: StartNode, one: str, other: str, third: str) -> None:
    cheater, victim, observer = await acquainted(start, one, other, third)
    first, _ = await ask(cheater, "fork", **where(victim))
    await until(victim, True, "is_fraud", key=cheater.started["key"])
    assert first in await ask(victim, "blocks")
    assert not await ask(victim, "is_fraud", key=observer.started["key"])
    if other == "ours":  # nodes of this library tell the others
        await until(observer, True, "is_fraud", key=cheater.started["key"])
