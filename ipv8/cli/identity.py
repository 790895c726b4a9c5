"""Pseudonyms on the command line: their keys, their credentials, and what they ask others for."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .terminal import busy, for_output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..attestation.credentials.exchange import IssueOrder, PresentationRequest
    from ..attestation.credentials.store import CredentialStore, Held
    from ..attestation.identity.community import IdentityCommunity
    from ..attestation.pseudonyms import PseudonymFolderManager
    from ..keyvault.keys import PrivateKey, PublicKey
    from ..peer import Peer

__all__ = ["Node", "Place", "attesting", "presenting", "requesting", "run", "verifying"]

DONE, NOT_DONE = 0, 1

POLL_INTERVAL = 0.05
"""Seconds between two looks at whether a peer is known."""

LINGER = 1.0
"""Seconds for which an answer is sent again, after it was sent."""


class Place(NamedTuple):
    """Where the pseudonyms are, and the passphrase that encrypts them."""

    directory: str
    passphrase: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.directory}>"

    @property
    def folder(self) -> PseudonymFolderManager:
        """The folder with the keys."""
        from ..attestation.pseudonyms import PseudonymFolderManager

        return PseudonymFolderManager(str(Path(self.directory) / "pseudonyms"), self.passphrase)

    def key(self, name: str) -> PrivateKey:
        """The key of a pseudonym that exists; ``FileNotFoundError`` if there is none."""
        from ..attestation.pseudonyms import check_pseudonym_name

        folder = self.folder
        if check_pseudonym_name(name) not in folder.list_pseudonym_files():
            raise FileNotFoundError(f"there is no pseudonym {name!r} in {self.directory}: make it with "
                                    f"'ipv8 identity create {name}'")
        return folder.get_or_create_private_key(name)

    def open_store(self) -> CredentialStore:
        """The credentials of all pseudonyms, to be closed by the caller."""
        from ..attestation.credentials.store import CredentialStore, credentials_file

        store = CredentialStore(credentials_file(self.directory), self.passphrase)
        store.open()
        return store

    def attributes(self, key: PrivateKey) -> list[dict[str, Any]]:
        """The attributes of historic formats that a pseudonym has."""
        from ..attestation.identity.manager import IdentityManager

        path = Path(self.directory) / "sqlite" / "identity.db"
        if not path.exists():
            return []
        manager = IdentityManager(str(path))
        try:
            return [{"description": credential.metadata.get_dict(),
                     "attesters": sorted(manager.database.get_authority(entry).hex()
                                         for entry in credential.attestations)}
                    for credential in manager.get_pseudonym(key.pub()).get_credentials()]
        finally:
            manager.close()

    def forget(self, key: PrivateKey) -> None:
        """Delete what is stored of a pseudonym, but its key."""
        from ..attestation.identity.manager import IdentityManager
        from ..attestation.wallet.database import AttestationsDB

        directory = Path(self.directory) / "sqlite"
        with ExitStack() as opened:  # all files, before anything is deleted
            store = self.open_store()
            opened.callback(store.close)
            if (directory / "identity.db").exists():
                manager = IdentityManager(str(directory / "identity.db"))
                opened.callback(manager.close)
                if (directory / "attestations.db").exists():
                    wallet = AttestationsDB(self.directory, "attestations", self.passphrase)
                    opened.callback(wallet.close)
                    wallet.remove_attestations(token.content_hash for token in manager.database.tokens_of(key.pub()))
                manager.forget_pseudonym(key)
            store.remove_key(key.pub())


def describe(held: Held) -> dict[str, Any]:
    """What a credential says, as a report."""
    from ..attestation.credentials.credential import HeldCredential

    if isinstance(held, HeldCredential):
        credential = held.credential
        return {"id": held.id.hex(), "type": credential.type, "form": "compact",
                "issuer": credential.issuer.key_to_bin().hex(), "issued": credential.issued,
                "expires": credential.expires or None, "claims": held.values,
                "ranges": {name: list(range_) for name, range_ in held.ranges.items()}}
    return {"id": held.id.hex(), "type": held.type, "form": "SD-JWT", "issuer": held.payload.get("iss"),
            "issued": held.issued, "expires": held.expires, "claims": held.values, "ranges": {}}


class Node(NamedTuple):
    """How a pseudonym meets others.

    :param peers: the addresses of nodes to start from; if there are none, the bootstrap servers are asked, unless
        ``alone`` is set.
    :param alone: whether to wait for others to come.
    :param listen_address: the IPv4 address to listen on.
    :param port: the UDP port; 0 for any.
    :param wait: seconds to wait for the other one.
    """

    peers: tuple[tuple[str, int], ...] = ()
    alone: bool = False
    listen_address: str = "0.0.0.0"  # noqa: S104 - nodes are to be reached
    port: int = 0
    wait: float = 60.0


Action = Callable[["IdentityCommunity", Node], Awaitable[dict[str, Any]]]
"""What is done in the overlay of a pseudonym; the result is a report, with ``done``."""


def run(place: Place, name: str, node: Node, action: Action, as_json: bool) -> int:
    """Do something with others and print a report; 0 if it was done, else 1."""
    logging.basicConfig(level=logging.ERROR)
    with busy("Looking for the other one"):
        report = asyncio.run(_run(place, name, node, action))
    print(json.dumps(report) if as_json else "\n".join(lines(report)))
    return DONE if report["done"] else NOT_DONE


def lines(report: dict[str, Any], indent: str = "") -> Iterable[str]:
    """A report for people."""
    for name, value in report.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield f"{label}:"
            yield from lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{label}:"
            for entry in value:
                yield from lines(entry, indent + "  ")
                yield ""
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{for_output(label):14} {for_output(shown)}"


async def _run(place: Place, name: str, node: Node, action: Action) -> dict[str, Any]:
    from ..attestation.credentials.errors import CredentialError, RefusedError
    from ..attestation.identity.community import IdentityCommunity, IdentitySettings
    from ..messaging.interfaces.udp.endpoint import UDPEndpoint
    from ..peer import Peer
    from ..peerdiscovery.network import Network

    key = place.key(name)
    endpoint = UDPEndpoint(node.port, node.listen_address)
    if not await endpoint.open():
        raise OSError(f"cannot listen on {node.listen_address}, UDP port {node.port}")
    try:
        overlay = IdentityCommunity(IdentitySettings(
            my_peer=Peer(key), endpoint=endpoint, network=Network(), working_directory=place.directory,
            passphrase=place.passphrase))
        try:
            return await action(overlay, node)
        except RefusedError as e:
            return {"done": False, "reason": str(e)}
        except (TimeoutError, asyncio.TimeoutError) as e:
            return {"done": False, "reason": str(e) or "there was no answer in time"}
        except CredentialError as e:
            return {"done": False, "reason": f"what was sent is not valid: {e}"}
        finally:
            await overlay.unload()
    finally:
        endpoint.close()


async def _walk(overlay: IdentityCommunity, node: Node) -> None:
    """Look for peers until this is cancelled."""
    from ..bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
    from ..bootstrapping.public import DISPERSY_BOOTSTRAPPER
    from ..messaging.address import UDPv4Address
    from ..peerdiscovery.discovery import RandomWalk

    walk: RandomWalk[Any] = RandomWalk(overlay)
    if not node.peers and not node.alone:
        overlay.bootstrappers.append(DispersyBootstrapper(**DISPERSY_BOOTSTRAPPER["init"]))
        overlay.bootstrap()
    loop = asyncio.get_running_loop()
    while True:
        for host, port in node.peers:
            for *_, found in await loop.getaddrinfo(host, port, family=2, type=2):
                overlay.walk_to(UDPv4Address(*found))
        walk.take_step()
        await asyncio.sleep(1.0)


async def _meet(overlay: IdentityCommunity, node: Node, key: PublicKey) -> Peer:
    """Look for the peer with a key; ``TimeoutError`` if it is not found in time."""
    loop = asyncio.get_running_loop()
    overlay.register_task("look for peers", _walk, overlay, node)
    end = loop.time() + node.wait
    while loop.time() < end:
        peer = overlay.network.get_verified_by_public_key_bin(key.key_to_bin())
        if peer is not None:
            return peer
        await asyncio.sleep(POLL_INTERVAL)
    raise TimeoutError("the peer with this key was not found: check that it runs, and give its address with --peer")


def requesting(authority: PublicKey, type_: str, details: dict[str, Any]) -> Action:
    """Ask an authority for a credential."""
    async def request(overlay: IdentityCommunity, node: Node) -> dict[str, Any]:
        peer = await _meet(overlay, node, authority)
        held = await overlay.credentials.request_credential(peer, type_, details, node.wait)
        return {"done": True, "credential": describe(held)}

    return request


async def _first_answer(overlay: IdentityCommunity, node: Node, decided: asyncio.Future[dict[str, Any]],
                        ) -> dict[str, Any]:
    """Wait until a request was answered."""
    overlay.register_task("look for peers", _walk, overlay, node)
    report = await asyncio.wait_for(decided, node.wait)
    await asyncio.sleep(LINGER)
    return report


def attesting(holder: PublicKey, type_: str, order: IssueOrder) -> Action:
    """Wait for a holder to ask for a credential, and issue it."""
    async def attest(overlay: IdentityCommunity, node: Node) -> dict[str, Any]:
        decided: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def issue(peer: Peer, wanted: str, details: dict[str, Any]) -> IssueOrder | None:
            if peer.public_key != holder or wanted != type_ or decided.done():
                return None
            decided.set_result({"done": True, "holder": holder.key_to_bin().hex(), "type": type_, "details": details})
            return order

        overlay.credentials.set_issue_callback(issue)
        return await _first_answer(overlay, node, decided)

    return attest


def presenting(verifier: PublicKey, allowed: tuple[str, ...]) -> Action:
    """Wait for a verifier to ask for a presentation, and give it if all that it asks for is allowed."""
    async def present(overlay: IdentityCommunity, node: Node) -> dict[str, Any]:
        decided: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def choose(peer: Peer, request: PresentationRequest) -> Held | None:
            if peer.public_key != verifier or decided.done():
                return None
            asked = {"claims": list(request.claims), "bounds": [str(bound) for bound in request.bounds],
                     "purpose": request.purpose}
            excess = [name for name in (*request.claims, *(bound.name for bound in request.bounds))
                      if name not in allowed]
            found = next(iter(overlay.credentials.find(request)), None)
            if excess or found is None:
                decided.set_result({"done": False, **asked, "reason": (
                    f"{excess[0]!r} is not one of the claims that may be shown" if excess
                    else "no credential has what is asked for")})
                return None
            decided.set_result({"done": True, **asked, "credential": found.id.hex()})
            return found

        overlay.credentials.set_presentation_callback(choose)
        return await _first_answer(overlay, node, decided)

    return present


def verifying(holder: PublicKey, issuers: tuple[PublicKey, ...], request: PresentationRequest,
              allow_unknown_status: bool) -> Action:
    """Ask a holder for a presentation, and verify it."""
    async def verify(overlay: IdentityCommunity, node: Node) -> dict[str, Any]:
        from ..attestation.credentials.policy import Policy

        peer = await _meet(overlay, node, holder)
        policy = Policy(issuers, allow_unknown_status=allow_unknown_status)
        proven = await overlay.credentials.request_presentation(peer, request, policy, node.wait)
        return {"done": True, "type": proven.type, "issuer": proven.issuer.key_to_bin().hex(),
                "expires": proven.expires, "claims": dict(proven.claims), "bounds": list(map(str, proven.bounds))}

    return verify
