"""Messages declared by their handlers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import wraps
from typing import Annotated, Any, ClassVar, Optional

import pytest

from ipv8.community import Community
from ipv8.declaration import message
from ipv8.lazy_community import lazy_wrapper, retrieve_cache
from ipv8.messaging.address import Address, UDPv4Address, UDPv6Address
from ipv8.messaging.payload_dataclass import DataClassPayload, type_from_format
from ipv8.messaging.serialization import PackError
from ipv8.peer import Peer
from ipv8.requestcache import RandomNumberCacheWithName
from ipv8.test.base import TestBase
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


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


class Rich(Community):
    community_id = b"rich".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []

    @message(1)
    def drew(self, peer: Peer, points: list[Point], colours: dict[str, Colour], title: str | None,
             tags: list[str], seen_at: list[Address], scale: tuple[float, str] = (1.0, "cm")) -> None:
        self.got.append((peer, points, colours, title, tags, seen_at, scale))


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


async def test_fields_may_be_composed_of_others(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Rich), make_overlay(Rich)
    seen_at = [UDPv4Address("1.2.3.4", 5)]
    ours.drew.send(where(theirs), [Point(1, 2)], {"a": Colour.RED}, None, ["x", "y"], seen_at)
    ours.drew.send(where(theirs), [], {}, "title", [], [], scale=(2.5, "km"))
    await settle()
    assert theirs.got == [(ours.my_peer, [Point(1, 2)], {"a": Colour.RED}, None, ["x", "y"], seen_at, (1.0, "cm")),
                          (ours.my_peer, [], {}, "title", [], [], (2.5, "km"))]


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

    with pytest.raises(RuntimeError, match=r"message 1 cannot be handled by <bound method .*Short\.said of .*"
                                           r"<bound method .*Double\.also of .* does so already"):
        make_overlay(Double)


@pytest.mark.parametrize("name", ["ez_send", "ask", "my_peer", "network", "logger"])
def test_a_message_hides_nothing_of_a_community(name: str, make_overlay: Any) -> None:
    body = {"community_id": bytes(20), name: message(1)(peer_only_text)}
    with pytest.raises(TypeError, match=f"Hiding can have no message {name}: all overlays use that name"):
        make_overlay(type("Hiding", (Community,), body))


def peer_only_text(self: Any, peer: Peer, text: str) -> None: ...


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


# -- answers to requests with a cache --------------------------------------------------------------------------------

class Asked(RandomNumberCacheWithName):
    name = "asked"


@dataclass
class Told(DataClassPayload[2]):
    identifier: int
    text: str


class Asking(Community):
    community_id = b"asking".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []

    @message
    @retrieve_cache(Asked)
    def told(self, peer: Peer, payload: Told, cache: Asked) -> None:
        self.got.append((peer, payload, cache))

    @message(3)
    @retrieve_cache(Asked)
    async def said(self, peer: Peer, identifier: int, *, text: str = "-", cache: Asked) -> None:
        """With fields of its own."""
        self.got.append((peer, identifier, text, cache))

    @message(4, signed=False)
    @retrieve_cache(Asked)
    def whispered(self, address: Address, cache: Asked, *, payload: Told) -> None:
        self.got.append((address, payload, cache))


async def test_caches_are_retrieved(make_overlay: Any) -> None:
    ours, theirs = make_overlay(Asking), make_overlay(Asking)
    caches = [theirs.request_cache.add(Asked(theirs.request_cache, Asked.name)) for _ in range(3)]
    payloads = [Told(cache.number, "x") for cache in caches]
    for _ in range(2):  # the second answers find no cache
        ours.told.send(where(theirs), payloads[0])
        ours.said.send(where(theirs), caches[1].number, text="y")
        ours.whispered.send(where(theirs), payload=payloads[2])
    await settle()
    assert theirs.got == [(ours.my_peer, payloads[0], caches[0]), (ours.endpoint.wan_address, payloads[2], caches[2]),
                          (ours.my_peer, caches[1].number, "y", caches[1])]
    assert theirs.drops == {}
    assert Asking.said.__doc__ == "With fields of its own."


async def test_caches_are_retrieved_in_calls(make_overlay: Any) -> None:
    ours = make_overlay(Asking)
    cache = Asked(ours.request_cache, Asked.name)
    ours.request_cache.add(cache)
    payload = Told(cache.number, "x")
    ours.told(ours.my_peer, payload)
    ours.told(ours.my_peer, payload)
    assert ours.said(ours.my_peer, cache.number) is None
    assert ours.got == [(ours.my_peer, payload, cache)]
    ours.request_cache.add(cache)
    await ours.said(ours.my_peer, cache.number, text="z")
    assert ours.got[1:] == [(ours.my_peer, cache.number, "z", cache)]


def forgetful(self: Any, peer: Peer, identifier: int) -> None: ...


def anonymous(self: Any, peer: Peer, text: str, cache: Asked) -> None: ...


def decorated(self: Any, peer: Peer, identifier: int, cache: Asked) -> None: ...


def test_handlers_with_a_cache_are_checked(make_overlay: Any) -> None:
    with pytest.raises(TypeError, match="forgetful must have a parameter cache"):
        message(1)(retrieve_cache(Asked)(forgetful))
    with pytest.raises(TypeError, match="anonymous needs a field identifier"):
        _ = message(1)(retrieve_cache(Asked)(anonymous)).payload_class
    with pytest.raises(TypeError, match="decorated: put @retrieve_cache directly below @message"):
        message(1)(wrapped(decorated))
    with pytest.raises(TypeError, match="put @retrieve_cache below @message"):
        retrieve_cache(Asked)(message(1)(forgetful))  # type: ignore[arg-type]  # the mistake


def wrapped(handler: Any) -> Any:
    """A handler below two decorators, of which the upper one is not ``retrieve_cache``."""
    inner = retrieve_cache(Asked)(handler)

    @wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return outer


# -- types of fields -------------------------------------------------------------------------------------------------

class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Spot:
    x: int
    y: float | None


HOME = UDPv4Address("1.2.3.4", 5)


class Wide(Community):
    community_id = b"wide".ljust(20, b"\x00")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[Any] = []

    @message(1)
    def lists(self, peer: Peer, texts: list[str], places: list[Address], nested: list[list[int]]) -> None:
        self.got.append((texts, places, nested))

    @message(2)
    def perhaps(self, peer: Peer, number: int | None, text: Optional[str] = None) -> None:  # noqa: UP045 - as programs write it
        self.got.append((number, text))

    @message(3)
    def tables(self, peer: Peer, ages: dict[str, int], colors: set[Color]) -> None:
        self.got.append((ages, colors))

    @message(4)
    def mixed(self, peer: Peer, pair: tuple[int, str], many: tuple[str, ...], color: Color) -> None:
        self.got.append((pair, many, color))

    @message(5)
    def objects(self, peer: Peer, point: Spot, points: dict[int, list[Spot]], greeting: Greeting) -> None:
        self.got.append((point, points, greeting))


VALUES: list[tuple[str, tuple[Any, ...]]] = [
    ("lists", (["a", "ü"], [HOME, UDPv6Address("::1", 6)], [[1, 2], []])),
    ("perhaps", (None, None)),
    ("perhaps", (5, "text")),
    ("tables", ({"a": 1, "b": 2}, {Color.RED, Color.BLUE})),
    ("mixed", ((1, "x"), ("", "y"), Color.BLUE)),
    ("objects", (Spot(1, None), {7: [Spot(2, 0.5)]}, Greeting("hi"))),
]


@pytest.mark.parametrize(("name", "values"), VALUES)
async def test_fields_have_the_types_that_people_expect(name: str, values: tuple[Any, ...], make_overlay: Any) -> None:
    ours, theirs = make_overlay(Wide), make_overlay(Wide)
    getattr(ours, name).send(where(theirs), *values)
    await settle()
    assert theirs.got == [values]


@pytest.mark.parametrize(("name", "values", "field"), [
    ("lists", (["a", 5], [], []), r"ListsPayload\.texts"),
    ("lists", ([], ["nowhere"], []), r"ListsPayload\.places"),
    ("lists", ([], [], [[1], ["x"]]), r"ListsPayload\.nested"),
    ("perhaps", ("x",), r"PerhapsPayload\.number"),
    ("tables", ({"a": "b"}, set()), r"TablesPayload\.ages"),
    ("mixed", ((1,), (), Color.RED), r"MixedPayload\.pair"),
    ("mixed", ((1, "x"), (), "green"), r"MixedPayload\.color"),
    ("objects", (Spot("x", 1.0), {}, Greeting("hi")), r"ObjectsPayload\.point > Spot\.x"),  # type: ignore[arg-type]  # the mistake
])
def test_pack_errors_name_message_and_field(name: str, values: Any, field: str, make_overlay: Any) -> None:
    ours = make_overlay(Wide)
    with pytest.raises(PackError, match=f"field: {field}"):
        getattr(ours, name).send(HOME, *values)
    assert not ours.endpoint.sent


# -- in the test kit -------------------------------------------------------------------------------------------------

class TestInTheKit(TestBase[Short]):
    """Declared messages are expected by their declarations."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(Short, 2)

    async def test_received(self) -> None:
        with self.assertReceivedBy(1, [Short.said, Short.greeted, Short.knocked]) as received:
            self.overlay(0).said.send(self.peer(1), "hello")
            self.overlay(0).greeted.send(self.peer(1), Greeting("hi"))
            self.overlay(0).knocked.send(self.address(1), 5)
            await self.deliver_messages()
        assert received[1] == Greeting("hi")
        assert received[0].text == "hello"  # type: ignore[attr-defined]  # of a class that is made from the method

    async def test_not_received(self) -> None:
        with pytest.raises(AssertionError), self.assertReceivedBy(1, [Short.said]):
            await self.deliver_messages()

    async def test_unexpected(self) -> None:
        self.overlay(0).said.send(self.peer(1), "hello")
        with self.assertReceivedBy(1, [], message_filter=[Short.greeted]):
            await self.deliver_messages()
