"""Nodes of this library and of ``pyipv8`` describe, attest, disclose and verify attributes of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from interop.driver import NodeProcess, acquainted

if TYPE_CHECKING:
    from interop.conftest import StartNode

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

ATTEMPTS = 400
HASH = "61" * 32
OTHER_HASH = "62" * 32

both_ways = pytest.mark.parametrize(("one", "other"), [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")])
all_ways = pytest.mark.parametrize(("one", "other", "third"), [
    ("ours", "theirs", "ours"), ("theirs", "ours", "theirs"), ("ours", "ours", "theirs"), ("theirs", "theirs", "ours")])

Acquaint = Callable[..., Awaitable[list[NodeProcess]]]


@pytest.fixture
def acquaint(start: StartNode) -> Acquaint:
    """Start nodes that know each other."""
    return lambda *kinds: acquainted(start, "identity_node", kinds)


async def until(node: NodeProcess, expected: Any, do: str, **details: Any) -> Any:
    """Wait until a command has a result, or one for which ``expected`` is true."""
    found = None
    for _ in range(ATTEMPTS):
        found = await node.ask(do, **details)
        if expected(found) if callable(expected) else found == expected:
            return found
        await asyncio.sleep(0.05)
    pytest.fail(f"{node.name} has {found} as {do}")


@both_ways
async def test_an_attribute_is_described_and_attested(acquaint: Acquaint, one: str, other: str) -> None:
    subject, authority = await acquaint(one, other)
    metadata = {"extra": "ü"}
    await authority.ask("expect", **subject.where, hash=HASH, name="name", metadata=metadata)
    await subject.ask("advertise", **authority.where, hash=HASH, name="name", metadata=metadata)
    attested = [[HASH, "name", [authority.started["key"]]]]
    await until(subject, attested, "attributes")
    assert await authority.ask("attributes", **subject.where) == attested


@both_ways
async def test_long_chains(acquaint: Acquaint, one: str, other: str) -> None:
    """The tokens that do not fit into the first packet are asked for."""
    subject, authority = await acquaint(one, other)
    for number in range(39):
        await subject.ask("describe", hash=f"{number:064x}", name=f"{number}")
    await authority.ask("expect", **subject.where, hash=HASH, name="name")
    await subject.ask("advertise", **authority.where, hash=HASH, name="name")
    await until(authority, 40, "tokens", **subject.where)
    await until(subject, lambda found: any(entry[2] for entry in found), "attributes")


@both_ways
async def test_exchanges_end(acquaint: Acquaint, one: str, other: str) -> None:
    """One attribute is expected that is never described."""
    subject, authority = await acquaint(one, other)
    await authority.ask("expect", **subject.where, hash=OTHER_HASH, name="never")
    await authority.ask("expect", **subject.where, hash=HASH, name="name")
    await subject.ask("advertise", **authority.where, hash=HASH, name="name")
    await until(subject, [[HASH, "name", [authority.started["key"]]]], "attributes")
    await asyncio.sleep(0.5)  # in this time, two nodes of the other library exchange a thousand packets
    assert await subject.ask("packets") + await authority.ask("packets") < 20


@all_ways
async def test_what_one_attests_is_disclosed_to_another(acquaint: Acquaint, one: str, other: str, third: str) -> None:
    subject, authority, observer = await acquaint(one, other, third)
    for attester in (authority, observer):
        await attester.ask("expect", **subject.where, hash=HASH, name="name")
    await subject.ask("advertise", **authority.where, hash=HASH, name="name")
    await until(subject, [[HASH, "name", [authority.started["key"]]]], "attributes")
    await subject.ask("disclose", **observer.where, hash=HASH)
    await until(observer, lambda found: found and authority.started["key"] in found[0][2], "attributes",
                **subject.where)


@all_ways
async def test_enrolment_and_verification(acquaint: Acquaint, one: str, other: str, third: str) -> None:
    """Both overlays together, as pseudonyms use them."""
    subject, authority, verifier = await acquaint(one, other, third)
    await subject.ask("request", **authority.where, name="name", metadata={"psn": "1234"})
    await until(authority, [[subject.started["key"], "name"]], "requests")
    await authority.ask("attest", **subject.where, name="name", value=b"value".hex())
    (attribute,) = await until(subject, lambda found: found and found[0][2], "attributes")
    assert attribute[1:] == ["name", [authority.started["key"]]]
    await verifier.ask("verify", **subject.where, hash=attribute[0][24:], value=b"value".hex())
    await until(subject, [[verifier.started["key"], "name"]], "verifications")
    await subject.ask("allow", **verifier.where, name="name")
    (certainty,) = await until(verifier, lambda found: found and found[0] is not None, "results")
    assert certainty > 0.99


async def test_nodes_that_do_not_know_credentials_do_not_answer(acquaint: Acquaint) -> None:
    """They drop the messages, with a line in the log for each, and go on."""
    subject, authority = await acquaint("ours", "theirs")
    await subject.command("ask for a credential", **authority.where, patience=0.5)
    assert "TimeoutError" in (await subject.expect("ask for a credential"))["error"]
    await authority.ask("expect", **subject.where, hash=HASH, name="name")
    await subject.ask("advertise", **authority.where, hash=HASH, name="name")
    await until(subject, [[HASH, "name", [authority.started["key"]]]], "attributes")
    await authority.stop()
    assert [line.partition(" from ")[0] for line in authority.errors.splitlines()] == ["Received unknown message: 16"]
