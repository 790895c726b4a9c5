"""A pseudonym of a node, and an authority: each asks the other one for an attestation."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING

from ...attestation.communication_manager import CommunicationManager
from ...attestation.identity_formats import WeakFormatWarning
from ...configuration import ConfigBuilder
from ...service import IPv8
from .network import ALIAS, LOOPBACK, WALK_INTERVAL

if TYPE_CHECKING:
    from pathlib import Path

    from ...attestation.communication_manager import CommunicationChannel
    from ...peer import Peer

__all__ = ["live_with_pseudonyms"]

PSEUDONYM, OTHER_PSEUDONYM, AUTHORITY = "ann", "bob", "city hall"
FORMAT = "id_metadata"
ATTESTED, WAITING = "lives in the city", "pays in time"
"""What the authority attests at once, and what it asks the pseudonym for, which the user may attest or refuse."""

LOOK_SECONDS = 1.0
ASK_SECONDS = 60.0


async def live_with_pseudonyms(manager: CommunicationManager, directory: Path) -> None:
    """Give a node two pseudonyms, one of which exchanges attestations with an authority, until this is cancelled.

    :param manager: that of the node.
    :param directory: where the authority keeps its key.
    """
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key(ALIAS).set_address(LOOPBACK).set_port(0)
    builder.set_walker_interval(WALK_INTERVAL).set_log_level("ERROR")
    async with IPv8(builder.finalize()) as node:
        others = CommunicationManager(node, str(directory), ":memory:", bootstrappers=[])
        try:
            await manager.load(OTHER_PSEUDONYM)
            await manager.unload(OTHER_PSEUDONYM)
            await _exchange(await manager.load(PSEUDONYM), await others.load(AUTHORITY))
        finally:
            await others.shutdown()


def _request(channel: CommunicationChannel, peer: Peer, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakFormatWarning)  # nobody attests anything here that is true or secret
        channel.request_attestation(peer, name, FORMAT, {})


async def _exchange(person: CommunicationChannel, authority: CommunicationChannel) -> None:
    place = authority.identity_overlay.endpoint.get_address()
    key = authority.identity_overlay.my_peer.public_key
    while (peer := next((peer for peer in person.peers if peer.public_key == key), None)) is None:
        person.identity_overlay.walk_to(place)
        await asyncio.sleep(LOOK_SECONDS)
    while True:
        known = {description["name"] for _, description, _ in person.get_my_attributes().values()}
        if ATTESTED not in known:
            _request(person, peer, ATTESTED)
        for other in authority.peers:
            if other.public_key == person.identity_overlay.my_peer.public_key and not person.attestation_requests:
                _request(authority, other, WAITING)
        await asyncio.sleep(LOOK_SECONDS)
        for asking, name in list(authority.attestation_requests):
            authority.attest(asking, name, b"yes")
        await asyncio.sleep(ASK_SECONDS if ATTESTED in known else LOOK_SECONDS)
