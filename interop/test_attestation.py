"""Wallets of this library and of ``pyipv8`` request, make, prove and verify attestations of each other."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from interop.driver import NodeFailureError, acquainted

if TYPE_CHECKING:
    from interop.conftest import StartNode
    from interop.driver import NodeProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

FORMATS = {
    "id_metadata": (b"a value".hex(), b"another value".hex()),
    "id_metadata_big": (b"a value".hex(), b"another value".hex()),
    "id_metadata_huge": (b"a value".hex(), b"another value".hex()),
    "id_metadata_range_18plus": ("01", "00"),
}
"""The value that is verified, and one that is not the right one."""

AGE = "2a"

both_ways = pytest.mark.parametrize(("here", "there"), [("ours", "theirs"), ("theirs", "ours")])


@pytest.mark.parametrize("id_format", FORMATS)
@both_ways
async def test_request_attest_and_verify(start: StartNode, here: str, there: str, id_format: str) -> None:
    """The subject is on one side, the authority and verifier on the other."""
    subject, authority = await acquainted(start, "attestation_node", (here, there))
    right, wrong = FORMATS[id_format]
    await authority.ask("will attest", value=AGE if "range" in id_format else right)
    found = await subject.ask("request", **authority.where, name="attribute", id_format=id_format)
    assert await authority.ask("requests") == [["attribute", {"why": "a test"}]]
    certainties = await authority.ask("verify", address=subject.address, hash=found, values=[right, wrong],
                                      id_format=id_format)
    assert certainties[0] > 0.9999
    assert certainties[1] == 0


@both_ways
async def test_three_nodes_of_both_kinds(start: StartNode, here: str, there: str) -> None:
    """The verifier is neither the authority nor of its kind."""
    subject, authority, verifier = await acquainted(start, "attestation_node", (here, there, here))
    await authority.ask("will attest", value=b"a value".hex())
    found = await subject.ask("request", **authority.where, name="attribute", id_format="id_metadata")
    certainties = await verifier.ask("verify", address=subject.address, hash=found, values=[b"a value".hex()],
                                     id_format="id_metadata")
    assert certainties[0] > 0.9999


async def test_strangers_are_asked_for_an_introduction(start: StartNode) -> None:
    """A prover of this library sends much only to addresses that are proven, which other nodes prove as always."""
    subject = await start("ours", program="attestation_node")
    authority = await start("theirs", program="attestation_node")
    await authority.ask("will attest", value=b"a value".hex())
    found = await subject.ask("request", **authority.where, name="attribute", id_format="id_metadata_huge")
    for _ in range(4):  # more than is sent to unproven addresses
        certainties = await verify_again(authority, address=subject.address, hash=found, values=[b"a value".hex()],
                                         id_format="id_metadata_huge")
        assert certainties == [1.0]


async def verify_again(node: NodeProcess, **details: Any) -> Any:
    """The outcome of a verification that is not the first one between two nodes.

    Answers of the former one may still fill the buffer of the socket of the verifier. It does not ask again for the
    chunks that are lost then, so its program has to.
    """
    for _ in range(2):
        with suppress(NodeFailureError):
            return await node.ask("verify", **details)
    return await node.ask("verify", **details)
