"""The messages of hidden services, ids 9 to 18 (doc/protocol/hidden_services.md section 2).

All but :class:`CreateE2EPayload` and :class:`CreatedE2EPayload` start with a circuit id. Messages 13, 14, 17 and 18 may
also be unsigned packets.
"""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_payload import VariablePayload, VariablePayloadWID, vp_compile
from .payload import NumberedPayload

if TYPE_CHECKING:
    from ..address import Address

__all__ = [
    "CreateE2EPayload",
    "CreatedE2EPayload",
    "EstablishIntroPayload",
    "EstablishRendezvousPayload",
    "IntroEstablishedPayload",
    "IntroductionInfo",
    "LinkE2EPayload",
    "LinkedE2EPayload",
    "PaddedPeersRequestPayload",
    "PeersRequestPayload",
    "PeersResponsePayload",
    "RendezvousEstablishedPayload",
    "RendezvousInfo",
]


@vp_compile
class EstablishIntroPayload(NumberedPayload):
    """Asks the last node of a circuit to be an introduction point for the service with this public key."""

    msg_id = 9
    format_list = [*NumberedPayload.format_list, "20s", "varlenH"]
    names = [*NumberedPayload.names, "info_hash", "public_key"]

    info_hash: bytes
    public_key: bytes


@vp_compile
class IntroEstablishedPayload(NumberedPayload):
    """Confirms an :class:`EstablishIntroPayload`."""

    msg_id = 10


@vp_compile
class EstablishRendezvousPayload(NumberedPayload):
    """Asks the last node of a circuit to join it to the one on which the same cookie arrives."""

    msg_id = 11
    format_list = [*NumberedPayload.format_list, "20s"]
    names = [*NumberedPayload.names, "cookie"]

    cookie: bytes


@vp_compile
class RendezvousEstablishedPayload(NumberedPayload):
    """Confirms an :class:`EstablishRendezvousPayload`, with the address of the rendezvous point."""

    msg_id = 12
    format_list = [*NumberedPayload.format_list, "ip_address"]
    names = [*NumberedPayload.names, "rendezvous_point_addr"]

    rendezvous_point_addr: Address


@vp_compile
class CreateE2EPayload(VariablePayloadWID):
    """Asks the service with the public key ``node_public_key`` for a connection; ``key`` is an ephemeral public key."""

    msg_id = 13
    format_list = ["H", "20s", "varlenH", "varlenH"]
    names = ["identifier", "info_hash", "node_public_key", "key"]

    identifier: int
    info_hash: bytes
    node_public_key: bytes
    key: bytes


@vp_compile
class CreatedE2EPayload(VariablePayloadWID):
    """Answers a :class:`CreateE2EPayload`; the rendezvous point is encrypted with the keys that were agreed on."""

    msg_id = 14
    format_list = ["H", "varlenH", "32s", "raw"]
    names = ["identifier", "key", "auth", "rp_info_enc"]

    identifier: int
    key: bytes
    auth: bytes
    rp_info_enc: bytes


@vp_compile
class LinkE2EPayload(NumberedPayload):
    """Asks a rendezvous point to join this circuit to the one that has the cookie."""

    msg_id = 15
    format_list = [*NumberedPayload.format_list, "20s"]
    names = [*NumberedPayload.names, "cookie"]

    cookie: bytes


@vp_compile
class LinkedE2EPayload(NumberedPayload):
    """Confirms a :class:`LinkE2EPayload`."""

    msg_id = 16


@vp_compile
class PeersRequestPayload(NumberedPayload):
    """Asks for introduction points of a swarm."""

    msg_id = 17
    format_list = [*NumberedPayload.format_list, "20s"]
    names = [*NumberedPayload.names, "info_hash"]

    info_hash: bytes


@vp_compile
class PaddedPeersRequestPayload(PeersRequestPayload):
    """The same with bytes behind it that receivers ignore: an answer to a longer request may be longer."""

    format_list = [*PeersRequestPayload.format_list, "raw"]
    names = [*PeersRequestPayload.names, "padding"]

    padding: bytes


@vp_compile
class IntroductionInfo(VariablePayload):
    """An introduction point: its address and public key, the public key of the service, and how it was found."""

    format_list = ["ip_address", "varlenH", "varlenH", "B"]
    names = ["address", "key", "seeder_pk", "source"]

    address: Address
    key: bytes
    seeder_pk: bytes
    source: int


@vp_compile
class PeersResponsePayload(NumberedPayload):
    """Answers a :class:`PeersRequestPayload`; all but the last field are those of the request."""

    msg_id = 18
    format_list = [*NumberedPayload.format_list, "20s", [IntroductionInfo]]
    names = [*NumberedPayload.names, "info_hash", "peers"]

    info_hash: bytes
    peers: list[IntroductionInfo]


@vp_compile
class RendezvousInfo(VariablePayload):
    """The address and the public key of a rendezvous point, and the cookie of the circuit of the service."""

    format_list = ["ip_address", "varlenH", "20s"]
    names = ["address", "key", "cookie"]

    address: Address
    key: bytes
    cookie: bytes
