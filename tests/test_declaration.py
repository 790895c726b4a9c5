"""Messages declared by their handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from ipv8.community import Community
from ipv8.declaration import message
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import Address  # noqa: TC001 - resolved at run time
from ipv8.messaging.payload_dataclass import DataClassPayload, type_from_format
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


def untyped(self: Any, peer: Peer, text) -> None: ...  # type: ignore[no-untyped-def]  # the mistake


def anything(self: Any, peer: Peer, *texts: str) -> None: ...


def shared(self: Any, peer: Peer, texts: tuple[bytes, ...] = []) -> None: ...  # type: ignore[assignment]  # the mistake


def lonely(self: Any) -> None: ...


def swallowing(self: Any, *peer: Peer) -> None: ...


def named(self: Any, *, peer: Peer) -> None: ...


def peer_only(peer: Peer, number: int) -> None: ...


@pytest.mark.parametrize(
    ("handler", "advice"),
    [
        (untyped, "untyped must annotate the parameter text"),
        (anything, "anything must name each field"),
        (shared, "shared must not give texts a default that can change"),
        (lonely, "lonely must be a method whose parameters are self, the peer"),
        (swallowing, "swallowing must be a method whose parameters are self, the peer"),
        (named, "named must be a method whose parameters are self, the peer"),
        (staticmethod(peer_only), "peer_only must be a method whose parameters are self, the peer"),
    ],
)
def test_a_handler_must_describe_its_message(handler: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        message(1)(handler)
    with pytest.raises(TypeError, match=advice):
        message(handler)


def test_an_unsigned_message_comes_from_an_address() -> None:
    with pytest.raises(TypeError, match="lonely must be a method whose parameters are self, the address"):
        message(1, signed=False)(lonely)  # type: ignore[arg-type]  # the mistake


def either(self: Any, peer: Peer, number: int | str) -> None: ...


def mapping(self: Any, peer: Peer, names_of: dict) -> None: ...


def frozen(self: Any, peer: Peer, lines: frozenset[str]) -> None: ...


def taken(self: Any, peer: Peer, names: int) -> None: ...


def taken_too(self: Any, peer: Peer, format_list: int) -> None: ...


def numbered(self: Any, peer: Peer, msg_id: int) -> None: ...


def peerless(self: Any, text: str) -> None: ...


def addressed(self: Any, address: Address, text: str) -> None: ...


def undefined(self: Any, peer: Peer, value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the mistake


def nameless(self: Any, peer: Peer, text: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "advice"),
    [
        (either, r"either: no format for the type int \| str of number: use bool, int, float"),
        (mapping, "mapping: no format for the type dict of names_of: use bool, int, float"),
        (frozen, r"frozen: no format for the type frozenset\[str\] of lines: use bool, int, float"),
        (taken, "taken can have no field names: "),
        (taken_too, "taken_too can have no field format_list: "),
        (numbered, "numbered can have no field msg_id: "),
        (peerless, "peerless must have a parameter for the peer in front of text"),
        (addressed, "addressed must have a parameter for the peer in front of address"),
        (undefined, "undefined names a type for value that its module does not define: name 'Nowhere'"),
        (nameless, "nameless needs an id"),
    ],
)
def test_an_overlay_with_such_a_message_is_not_made(make_overlay: Any, handler: Any, advice: str) -> None:
    declared = message(handler) if handler is nameless else message(1)(handler)
    overlay = type("Vague", (Community,), {"community_id": b"vague".ljust(20, b"\x00"), "declared": declared})
    with pytest.raises(TypeError, match=advice):
        make_overlay(overlay)


def test_an_unsigned_message_needs_an_address() -> None:
    with pytest.raises(TypeError, match="must have a parameter for the source address in front of text"):
        _ = message(1, signed=False)(peerless).payload_class  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("msg_id", [-1, 231, 255, 256, "1", None, True])
def test_an_id_is_one_of_those_for_programs(msg_id: Any) -> None:
    with pytest.raises(TypeError, match="a number from 0 to 230"):
        message(msg_id)


def test_the_id_of_a_payload_class_is_checked_too() -> None:
    @dataclass
    class High(DataClassPayload[246]):
        text: str

    @message
    def said(self: Any, peer: Peer, payload: High) -> None: ...

    with pytest.raises(TypeError, match="a number from 0 to 230, not 246"):
        _ = said.msg_id


class Careful(Community):
    community_id = b"careful".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []

    @message(1)
    def said(self, peer: Peer, loud: bool, *, text: str = "-", to: int) -> None:
        self.got.append((loud, text, to))

    @message(3)
    def padded(self, peer: Peer, token: Annotated[bytes, type_from_format("20s")], source: int, self_: int = 0) -> None:
        self.got.append((token, source))

    @message
    def greeted(self, peer: Peer, *, greeting: Greeting) -> None:
        self.got.append(greeting)


async def test_fields_may_be_keywords(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Careful), make_overlay(Careful)
    ours.said.send(where(theirs), True, text="hello", to=5)
    ours.said.send(where(theirs), loud=False, to=6)
    ours.greeted.send(where(theirs), greeting=Greeting("hi"))
    await settle()
    assert theirs.got == [(True, "hello", 5), (False, "-", 6), Greeting("hi")]
    ours.said(ours.my_peer, True, to=7)
    assert ours.got == [(True, "-", 7)]
    with pytest.raises(TypeError):
        ours.said.send(where(theirs), True, "hello", 5)


async def test_annotations_may_name_formats(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Careful), make_overlay(Careful)
    ours.padded.send(where(theirs), b"x", source=5)
    ours.padded(ours.my_peer, token=b"x", source=5)
    await settle()
    assert theirs.got == [(b"x".ljust(20, b"\x00"), 5)]
    assert ours.got == [(b"x", 5)]


@pytest.mark.parametrize(
    ("arguments", "named_arguments"),
    [
        ((), {}),
        ((5,), {}),
        ((Greeting("a"), Greeting("b")), {}),
        ((), {"wrong": Greeting("a")}),
        ((Greeting("a"),), {"greeting": Greeting("b")}),
        ((Greeting,), {}),
    ],
)
def test_a_whole_payload_is_one_object(make_overlay: Any, arguments: Any, named_arguments: Any) -> None:
    ours = make_overlay(Short)
    with pytest.raises(TypeError, match=r"greeted carries one Greeting \(greeting\), and nothing else"):
        ours.greeted.send(ours.my_peer, *arguments, **named_arguments)
    assert Short.greeted.make(greeting=Greeting("a")) == Greeting("a")


async def test_types_of_other_parameters_are_not_looked_up(make_overlay: Any) -> None:
    class Typed(Community):
        community_id = b"typed".ljust(20, b"\x00")
        got: ClassVar[list[Any]] = []

        @message(1)
        def said(self, peer: OnlyForTypeCheckers, text: str) -> AlsoOnlyForTypeCheckers:  # type: ignore[name-defined]  # noqa: F821 - not defined when this runs
            self.got.append(text)

    ours, theirs = make_overlay(Typed), make_overlay(Typed)
    ours.said.send(where(theirs), "hello")
    await settle()
    assert Typed.got == ["hello"]


async def test_payload_classes_may_be_local(make_overlay: Any) -> None:
    @dataclass
    class Place(DataClassPayload[4]):
        latitude: float

    class Map(Community):
        community_id = b"map".ljust(20, b"\x00")
        got: ClassVar[list[Any]] = []

        @dataclass
        class Inner(DataClassPayload):
            number: int

        @message
        def seen(self, peer: Peer, place: Place) -> None:
            self.got.append(place)

        @message(5)
        def listed(self, peer: Peer, places: list[Place], inner: Inner) -> None:
            self.got.append((places, inner))

    ours, theirs = make_overlay(Map), make_overlay(Map)
    ours.seen.send(where(theirs), Place(1.5))
    ours.listed.send(where(theirs), [Place(2.5)], Map.Inner(3))
    await settle()
    assert Map.got == [Place(1.5), ([Place(2.5)], Map.Inner(3))]


async def test_malformed_messages_are_counted(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Short), make_overlay(Short)
    packet = ours.ezr_pack(1, Short.said.make("x", loud=True))
    theirs.on_packet((ours.endpoint.wan_address, packet[:-70]))
    theirs.on_packet((ours.endpoint.wan_address, packet[:23] + b"\x00"))
    assert theirs.got == []
    assert sum(theirs.drops.values()) == 2
