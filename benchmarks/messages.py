"""The messages and the overlay that several measurements use."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.messaging.interfaces.endpoint import Endpoint

SIGNED = 1
UNSIGNED = 2
SIGNED_ANSWER = 3

SEVEN_FORMATS: list[Any] = ["I", "H", "varlenH", "20s", "Q", "?", "varlenHutf8"]
SEVEN_NAMES = ["sequence", "kind", "body", "digest", "time", "final", "text"]
SEVEN_VALUES = (7, 3, b"forty bytes of a body that says nothing.", b"d" * 20, 1 << 40, True, "a short text")


class PlainSeven(VariablePayload):
    """Seven fields, not compiled."""

    format_list = SEVEN_FORMATS
    names = SEVEN_NAMES


@vp_compile
class Seven(VariablePayload):
    """Seven fields, compiled."""

    format_list = SEVEN_FORMATS
    names = SEVEN_NAMES


@vp_compile
class Item(VariablePayload):
    """One element of a nested list."""

    format_list = ["I", "varlenH"]
    names = ["number", "body"]


@vp_compile
class Items(VariablePayload):
    """A list of nested payloads."""

    format_list = ["H", [Item]]
    names = ["kind", "items"]


@dataclass
class Record(DataClassPayload[9]):
    """A payload declared as a dataclass."""

    number: int
    body: bytes
    text: str
    final: bool


@vp_compile
class Message(VariablePayload):
    """A small application message."""

    number: int
    body: bytes
    msg_id = SIGNED
    format_list = ["I", "varlenH"]
    names = ["number", "body"]


@vp_compile
class UnsignedMessage(VariablePayload):
    """The same message with the id of its unsigned form."""

    number: int
    body: bytes
    msg_id = UNSIGNED
    format_list = ["I", "varlenH"]
    names = ["number", "body"]


@vp_compile
class Answer(VariablePayload):
    """The answer to a signed request."""

    number: int
    body: bytes
    msg_id = SIGNED_ANSWER
    format_list = ["I", "varlenH"]
    names = ["number", "body"]


BODY = b"b" * 64


class MeasuredCommunity(Community):
    """Counts the messages that arrive. A measurement may replace ``on_message``."""

    community_id = b"measured overlay id."

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.on_message: Callable[[], Any] = int
        self.on_answer: Callable[[int], Any] = int
        self.introduced = asyncio.Event()
        self.add_message_handler(Message, self.received_signed)
        self.add_message_handler(UnsignedMessage, self.received_unsigned)
        self.add_message_handler(Answer, self.received_answer)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:  # noqa: ARG002 - the hook's
        self.introduced.set()

    @lazy_wrapper(Message)
    def received_signed(self, peer: Peer, payload: Message) -> None:  # noqa: ARG002 - what every handler is given
        self.on_message()

    @lazy_wrapper_unsigned(UnsignedMessage)
    def received_unsigned(self, source_address: tuple[str, int],  # noqa: ARG002 - as above
                          payload: UnsignedMessage) -> None:  # noqa: ARG002 - as above
        self.on_message()

    @lazy_wrapper(Answer)
    def received_answer(self, peer: Peer, payload: Answer) -> None:  # noqa: ARG002 - as above
        self.on_answer(payload.number)


class AnsweringCommunity(MeasuredCommunity):
    """Answers each signed message with a signed message."""

    @lazy_wrapper(Message)
    def received_signed(self, peer: Peer, payload: Message) -> None:
        self.ez_send(peer, Answer(payload.number, payload.body))


def make_overlay(endpoint: Endpoint | None = None, level: str = "curve25519",
                 overlay_class: type[MeasuredCommunity] = MeasuredCommunity) -> MeasuredCommunity:
    """An overlay with a new key and an empty network, on ``endpoint`` or on a new one on loopback."""
    peer = Peer(default_eccrypto.generate_key(level))
    return overlay_class(CommunitySettings(my_peer=peer, endpoint=endpoint or UDPEndpoint(0, "127.0.0.1"),
                                           network=Network()))
