"""Identity: chains of tokens, disclosures, an attribute from description to attestation, and credentials.

Credentials are measured only in libraries that have them.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure, microseconds
from ipv8.attestation.identity.community import IdentityCommunity, IdentitySettings
from ipv8.attestation.identity.manager import IdentityManager
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = 300
ATTRIBUTES = 50
PATIENCE = 30.0
NONCE = bytes(32)


def make_chain(manager: Any, key: Any) -> Any:
    """A pseudonym with a chain of attributes."""
    pseudonym = manager.get_pseudonym(key)
    after = None
    for number in range(TOKENS):
        after = pseudonym.create_credential(b"%032d" % number, {"name": f"{number}"}, after).metadata
    return pseudonym


def chains() -> Iterator[Figure]:
    """What chains of tokens cost."""
    key = default_eccrypto.generate_key("curve25519")
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "identity.db")
        manager = IdentityManager(path)
        begin = perf_counter()
        pseudonym = make_chain(manager, key)
        yield Figure("describe an attribute, on disk", (perf_counter() - begin) / TOKENS * 1e6)
        last = pseudonym.credentials[-1:]
        yield Figure(f"disclose the last of {TOKENS} attributes",
                     microseconds(lambda: pseudonym.disclose_credentials(last, set())) / 1e3, "ms")
        manager.database.close()

        begin = perf_counter()
        again = IdentityManager(path)
        pseudonym = again.get_pseudonym(key)
        for token in list(pseudonym.tree.elements.values()):
            pseudonym.tree.get_root_path(token)
        yield Figure(f"load {TOKENS} attributes and find their paths", (perf_counter() - begin) * 1e3, "ms")
        again.database.close()


async def enrolment() -> Figure:
    """How long it takes from the description of an attribute to its attestation, over loopback."""
    get_providers().clear()
    nodes: list[Any] = []
    for _ in range(2):
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        nodes.append(IdentityCommunity(IdentitySettings(
            my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=Network(),
            working_directory=":memory:")))
    subject, authority = nodes
    for node, other in ((subject, authority), (authority, subject)):
        node.network.add_verified_peer(Peer(other.my_peer.public_key, other.endpoint.get_address()))
    (peer,) = subject.network.verified_peers
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    begin = perf_counter()
    for number in range(ATTRIBUTES):
        attribute_hash = b"%032d" % number
        authority.add_known_hash(attribute_hash, "name", subject.my_peer.public_key.key_to_bin())
        subject.request_attestation_advertisement(peer, attribute_hash, "name")
        database = subject.identity_manager.database
        while len(database.get_attestations_for(subject.my_peer.public_key)) <= number and loop.time() < end:  # noqa: ASYNC110 - a fact
            await asyncio.sleep(0)
    elapsed = perf_counter() - begin
    for node in nodes:
        await node.unload()
        node.endpoint.close()
    return Figure(f"describe and attest an attribute, {ATTRIBUTES} in a row", elapsed / ATTRIBUTES * 1e3, "ms")


def credentials() -> Iterator[Figure]:
    """What credentials cost: the limits are 300 microseconds each to issue and to verify one."""
    try:
        from ipv8.attestation.credentials.credential import issue
        from ipv8.attestation.credentials.policy import Policy
        from ipv8.attestation.credentials.ranges import Bound, Range
        from ipv8.attestation.credentials.sdjwt import HeldSdJwt
        from ipv8.attestation.credentials.verifying import verify_presentation
    except ImportError:
        return
    authority, holder = (default_eccrypto.generate_key("curve25519") for _ in range(2))
    claims = {f"claim {number}": f"value {number}" for number in range(16)}
    ranges = {"age": (Range(0, 150), 34)}
    policy = Policy([authority.pub()])
    yield Figure("issue 16 claims in both forms", microseconds(
        lambda: issue(authority, holder.pub(), "person", claims)))
    yield Figure("issue 16 claims and a range of 150 steps", microseconds(
        lambda: issue(authority, holder.pub(), "person", claims, ranges)))
    held = issue(authority, holder.pub(), "person", claims, ranges)
    yield Figure("check what was issued", microseconds(held.check))
    yield Figure("present one claim", microseconds(lambda: held.present(holder, NONCE, "verifier", ["claim 1"])))
    for label, presented in (
        ("one claim", held.present(holder, NONCE, "verifier", ["claim 1"])),
        ("one claim and a bound", held.present(holder, NONCE, "verifier", ["claim 1"], [Bound("age", True, 18)])),
        ("one claim of an SD-JWT", HeldSdJwt(held.to_sd_jwt()).present(holder, NONCE, "verifier", ["claim 1"])),
    ):
        yield Figure(f"verify {label}", microseconds(
            verify_presentation, presented, NONCE, "verifier", policy))


def measure() -> Iterator[Figure]:
    """All figures of this case."""
    yield from chains()
    yield asyncio.run(enrolment())
    yield from credentials()
