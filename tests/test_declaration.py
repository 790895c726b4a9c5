"""Messages declared by their handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ipv8.community import Community
from ipv8.declaration import message
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import Address  # noqa: TC001 - resolved at run time
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.peer import Peer
from ipv8.test.mocking.endpoint import internet


@dataclass
class Greeting(DataClassPayload[2]):
    text: str
    times: int = 1


class Short(Community):
    community_id = b"short".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []

    @message(1)
    def said(self, peer: Peer, text: str, loud: bool = False) -> None:
        """Somebody said something."""
        self.got.append((peer, text, loud))

    @message
    async def greeted(self, peer: Peer, greeting: Greeting) -> None:
        self.got.append((peer, greeting))

    @message(3, signed=False)
    def knocked(self, address: Address, number: int) -> None:
        self.got.append((address, number))


class Classic(Community):
    community_id = Short.community_id

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []
        self.add_message_handler(Greeting, self.on_greeting)

    @lazy_wrapper(Greeting)
    def on_greeting(self, peer: Peer, payload: Greeting) -> None:
        self.got.append((peer, payload))


async def settle() -> None:
    import asyncio

    for _ in range(5):
        await asyncio.sleep(0)


def where(overlay: Any) -> Peer:
    return Peer(overlay.my_peer.public_key, overlay.endpoint.wan_address)


async def test_fields_are_the_parameters(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Short)
    ours.said.send(where(theirs), "hello")
    ours.said.send(where(theirs), "HELLO", loud=True)
    await settle()
    assert theirs.got == [(ours.my_peer, "hello", False), (ours.my_peer, "HELLO", True)]
    assert internet


async def test_a_payload_class_may_be_received_whole(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Short)
    ours.greeted.send(where(theirs), Greeting("hi", 3))
    await settle()
    assert theirs.got == [(ours.my_peer, Greeting("hi", 3))]


async def test_unsigned_messages_come_from_an_address(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Short)
    ours.knocked.send(theirs.endpoint.wan_address, 5)
    await settle()
    assert theirs.got == [(ours.endpoint.wan_address, 5)]


async def test_the_short_and_the_classic_form_talk(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Classic)
    ours.greeted.send(where(theirs), Greeting("hi"))
    theirs.ez_send(where(ours), Greeting("hi back", 2))
    await settle()
    assert theirs.got == [(ours.my_peer, Greeting("hi"))]
    assert ours.got == [(theirs.my_peer, Greeting("hi back", 2))]


def test_a_declared_message_can_be_called(make_overlay: Any) -> None:
    ours = make_overlay(Short)
    ours.said(ours.my_peer, "to myself")
    assert ours.got == [(ours.my_peer, "to myself", False)]


def test_the_class_shows_what_it_declares() -> None:
    assert Short.said.msg_id == 1
    assert Short.said.payload_class.names == ["text", "loud"]  # type: ignore[attr-defined]
    assert Short.said.__doc__ == "Somebody said something."
    assert Short.greeted.msg_id == 2
    assert Short.greeted.payload_class is Greeting


def test_two_messages_with_one_id_are_refused(make_overlay: Any) -> None:
    class Double(Short):
        community_id = b"double".ljust(20, b"\x00")

        @message(1)
        def also(self, peer: Peer, text: str) -> None: ...

    with pytest.raises(RuntimeError, match="message 1 cannot be handled"):
        make_overlay(Double)


def test_an_override_takes_the_place_of_its_message(make_overlay: Any) -> None:
    class Polite(Short):
        @message(1)
        def said(self, peer: Peer, text: str, loud: bool = False) -> None:
            self.got.append(text.lower())

    polite = make_overlay(Polite)
    polite.said(polite.my_peer, "HELLO")
    assert polite.got == ["hello"]


def test_a_handler_must_describe_its_message() -> None:
    class Vague(Community):
        community_id = b"vague".ljust(20, b"\x00")

        @message(1)
        def untyped(self, peer: Peer, text) -> None: ...  # type: ignore[no-untyped-def]

        @message(2)
        def anything(self, peer: Peer, *texts: str) -> None: ...

        @message
        def nameless(self, peer: Peer, text: str) -> None: ...

    with pytest.raises(TypeError, match="must annotate the parameter text"):
        _ = Vague.untyped.payload_class
    with pytest.raises(TypeError, match="must name each field"):
        _ = Vague.anything.payload_class
    with pytest.raises(TypeError, match="needs an id"):
        _ = Vague.nameless.msg_id


@pytest.mark.parametrize("msg_id", [-1, 256, "1", None])
def test_an_id_is_a_byte(msg_id: Any) -> None:
    with pytest.raises(TypeError, match="a number from 0 to 230"):
        message(msg_id)


async def test_malformed_messages_are_counted(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Short)
    packet = ours.ezr_pack(1, Short.said.make("x", loud=True))
    theirs.on_packet((ours.endpoint.wan_address, packet[:-70]))
    theirs.on_packet((ours.endpoint.wan_address, packet[:23] + b"\x00"))
    assert theirs.got == []
    assert sum(theirs.drops.values()) == 2
