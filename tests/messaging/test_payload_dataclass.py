# Payload classes are made at run time here, and misused: type checkers can not follow.
# mypy: disable-error-code="arg-type, assignment, attr-defined, call-arg, literal-required, misc, name-defined"
# mypy: disable-error-code="no-untyped-def, type-arg, valid-type, var-annotated"
from __future__ import annotations

import dataclasses
import enum
import typing
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar

import pytest

from ipv8.messaging import payload_dataclass
from ipv8.messaging.address import Address, DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.composites import DictFormat, EnumFormat, ListFormat, OptionalFormat, TupleFormat
from ipv8.messaging.lazy_payload import VariablePayload, VariablePayloadWID
from ipv8.messaging.payload_dataclass import (
    DataClassPayload,
    DataClassPayloadWID,
    convert_to_payload,
    overwrite_dataclass,
    type_from_format,
    type_map,
)
from ipv8.messaging.serialization import PackError, Serializable, Serializer, default_serializer

pack = default_serializer.pack_serializable
varlenH = type_from_format("varlenH")
I = type_from_format("I")  # noqa: E741 - the name of the format


def unpack(cls, data: Any) -> Any:
    return default_serializer.unpack_serializable(cls, data)[0]


@dataclass
class Item(DataClassPayload):
    a: bool


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


class Word(enum.Enum):
    YES = "yes"
    NO = "no"


class Flags(enum.IntFlag):
    ONE = 1
    TWO = 2


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "text"


class Empty(enum.Enum):
    pass


class Structured(enum.Enum):
    PAIR = (1, 2)


@dataclass
class Plain:
    number: int
    texts: list[str] = field(default_factory=list)
    inside: Plain | None = None


@dataclass
class BadPlain:
    number: object


@dataclass
class E(DataClassPayload):
    a: int
    b: bytes
    c: varlenH
    d: Item
    e: list[Item]
    f: str
    g: list[int]
    h: list[bool]


@dataclass
class ReceivedOnly(DataClassPayload[7]):
    value: int


@dataclass
class ReceivedInList(DataClassPayload):
    value: int


@dataclass
class Forward(DataClassPayload):
    later: Later
    itself: list[Forward]


@dataclass
class Later(DataClassPayload):
    value: int


class Scope:
    @dataclass
    class Inner(DataClassPayload):
        value: int

    @dataclass
    class Outer(DataClassPayload):
        inner: Inner  # noqa: F821 - a name of the class body


# --- types


@pytest.mark.parametrize(
    ("annotation", "fmt"),
    [
        (bool, "?"),
        (int, "q"),
        (float, "d"),
        (bytes, "varlenH"),
        (str, "varlenHutf8"),
        (type_from_format("20s"), "20s"),
        (list[int], "arrayH-q"),
        (tuple[int, ...], "arrayH-q"),
        (set[float], "arrayH-d"),
        (typing.List[bool], "arrayH-?"),  # noqa: UP006 - the old spelling
        (typing.Tuple[int, ...], "arrayH-q"),  # noqa: UP006 - the old spelling
        (tuple[int, int], "arrayH-q"),
        (list[Item], [Item]),
        (tuple[Item, ...], [Item]),
        (set[Item], [Item]),
        (Item, Item),
        ([Item], [Item]),
        ((Item,), (Item,)),
        ({1}, {1}),
        (list[bytes], "varlenH-list"),
        (typing.List[bytes], "varlenH-list"),  # noqa: UP006 - the old spelling
        (set[bytes], "varlenH-list"),
        (tuple[bytes, ...], "varlenH-list"),
        (list[Annotated[int, "a note"]], "arrayH-q"),
        (Annotated[list[int], "a note"], "arrayH-q"),
        (UDPv4Address, "ipv4"),
        (UDPv6Address, "ip_address"),
        (DomainAddress, "address"),
        (Address, "address"),
        (Annotated[bytes, type_from_format("20s")], "20s"),
        (Annotated[int, "a note", I], "I"),
        (Annotated[int, "a note"], "q"),
        # Composed formats.
        (list[str], ListFormat("varlenHutf8")),
        (typing.List[str], ListFormat("varlenHutf8")),  # noqa: UP006 - the old spelling
        (tuple[str, ...], ListFormat("varlenHutf8", tuple)),
        (set[str], ListFormat("varlenHutf8", set)),
        (list[Address], ListFormat("address")),
        (set[UDPv4Address], ListFormat("ipv4", set)),
        (tuple[Address, ...], ListFormat("address", tuple)),
        (list[list[int]], ListFormat("arrayH-q")),
        (list[list[Item]], ListFormat([Item])),
        (list[type_from_format("Q")], ListFormat("Q")),
        (list[Annotated[bytes, type_from_format("20s")]], ListFormat("20s")),
        (list[int | None], ListFormat(OptionalFormat("q"))),
        (int | None, OptionalFormat("q")),
        (None | int, OptionalFormat("q")),
        (typing.Optional[int], OptionalFormat("q")),  # noqa: UP045 - the old spelling
        (typing.Union[int, None], OptionalFormat("q")),  # noqa: UP007 - the old spelling
        (Address | None, OptionalFormat("address")),
        (typing.Optional[Address], OptionalFormat("address")),  # noqa: UP045 - the old spelling
        (Item | None, OptionalFormat(Item)),
        (list[Item] | None, OptionalFormat([Item])),
        (Annotated[int | None, "a note"], OptionalFormat("q")),
        (Annotated[int, type_from_format("H")] | None, OptionalFormat("H")),
        (tuple[int, str], TupleFormat("q", "varlenHutf8")),
        (tuple[str, str], TupleFormat("varlenHutf8", "varlenHutf8")),
        (tuple[Item, int], TupleFormat(Item, "q")),
        (dict[str, int], DictFormat("varlenHutf8", "q")),
        (typing.Dict[str, int], DictFormat("varlenHutf8", "q")),  # noqa: UP006 - the old spelling
        (dict[Address, list[str]], DictFormat("address", ListFormat("varlenHutf8"))),
        (dict[Annotated[bytes, type_from_format("20s")], Item], DictFormat("20s", Item)),
        (Colour, EnumFormat(Colour, "q")),
        (Word, EnumFormat(Word, "varlenHutf8")),
        (Flags, EnumFormat(Flags, "q")),
        (Annotated[Colour, type_from_format("B")], EnumFormat(Colour, "B")),
        (list[Colour], ListFormat(EnumFormat(Colour, "q"))),
        (dict[Word, int | None], DictFormat(EnumFormat(Word, "varlenHutf8"), OptionalFormat("q"))),
        (Plain, Plain),
        (list[Plain], ListFormat(Plain)),
        (Plain | None, OptionalFormat(Plain)),
    ],
)
def test_type_map(annotation: Any, fmt: Any) -> None:
    assert type_map(annotation) == fmt


@pytest.mark.parametrize(
    "annotation",
    [
        dict,
        int | str,
        int | str | None,
        Address | int | None,
        list,
        typing.List,  # noqa: UP006 - the old spelling
        list[object],
        list[type_from_format("raw")],
        type_from_format("bits") | None,
        Annotated[bytes, type_from_format("raw")] | None,
        tuple[int, type_from_format("raw")],
        dict[str, type_from_format("raw")],
        dict[type_from_format("raw"), str],
        dict[list[int], int],
        dict[tuple[int, str], int],
        dict[Item, int],
        dict[Plain, int],
        dict[str, object],
        set[tuple[int, str]],
        set[list[int]],
        set[Plain],
        Mixed,
        Empty,
        Structured,
        BadPlain,
        list[BadPlain],
        frozenset[int],
        typing.Sequence[int],
        None,
        object,
        tuple[int, object],
        tuple[()],
        Any,
        "text",
        5,
        Annotated[dict, "a note"],
        Serializer,
    ],
)
def test_unknown_types(annotation: Any) -> None:
    with pytest.raises(NotImplementedError):
        type_map(annotation)


def test_type_from_format() -> None:
    assert isinstance(I, typing.TypeVar)
    assert I.__name__ == "I"


# --- classes


def test_example_of_the_specification() -> None:
    formats = ["q", "varlenH", "varlenH", Item, [Item], "varlenHutf8", "arrayH-q", "arrayH-?"]
    assert E.format_list == formats
    assert E.names == list("abcdefgh")
    made = E(1, b"b", b"c", Item(True), [Item(False)], "é", [1, -1], [True])
    assert unpack(E, pack(made)) == made
    assert made.format_list == formats


def test_received_before_any_object_exists() -> None:
    assert unpack(ReceivedOnly, bytes(7) + b"\5") == ReceivedOnly(5)
    assert default_serializer.unpack_serializable_list([ReceivedInList], bytes(7) + b"\6") == [ReceivedInList(6)]


def test_standard_behaviour_stays() -> None:
    made = ReceivedOnly(5)
    assert dataclasses.is_dataclass(made)
    assert made == ReceivedOnly(value=5) != ReceivedOnly(6)
    assert repr(made) == "ReceivedOnly(value=5)"
    assert str(made) == "ReceivedOnly\n| msg_id: 7\n| value: 5"
    assert ReceivedOnly.__match_args__ == ("value",)
    with pytest.raises(TypeError):
        ReceivedOnly()
    match made:
        case ReceivedOnly(5):
            pass
        case _:
            pytest.fail("no match")


def test_message_id() -> None:
    assert ReceivedOnly.msg_id == 7
    assert issubclass(ReceivedOnly, DataClassPayloadWID)
    assert issubclass(ReceivedOnly, VariablePayloadWID)
    assert not issubclass(ReceivedOnly, DataClassPayload)
    assert issubclass(Item, DataClassPayload)
    assert DataClassPayload[1] is not DataClassPayload[1]
    assert not hasattr(Item, "msg_id")


def test_settings_before_are_replaced() -> None:
    @dataclass
    class Own(DataClassPayload):
        msg_id = 1
        names = []
        format_list = []
        other = 3
        a: int

    assert (Own(3).names, Own.format_list, Own.msg_id) == (["a"], ["q"], 1)
    assert Own.__match_args__ == ("a",)
    assert pack(Own(3)) == bytes(7) + b"\3"


def test_defaults() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: int
        b: str = "text"
        c: list[int] = field(default_factory=lambda: [1])
        d: Annotated[bytes, type_from_format("c")] = b"d"

    assert Own(1) == Own(1, "text", [1], b"d") == Own(a=1, b="text")
    assert Own(1).c is not Own(1).c
    assert unpack(Own, pack(Own(1, c=[]))) == Own(1, "text", [])


def test_inheritance() -> None:
    @dataclass
    class Child(ReceivedOnly):
        more: bytes = b""

    assert ReceivedOnly.names == ["value"]
    assert (Child.names, Child.format_list, Child.msg_id) == (["value", "more"], ["q", "varlenH"], 7)
    assert unpack(Child, pack(Child(1, b"x"))) == Child(1, b"x")

    class Undecorated(ReceivedOnly):
        pass

    assert type(unpack(Undecorated, bytes(8))) is Undecorated


def test_no_fields() -> None:
    @dataclass
    class Empty(DataClassPayload[1]):
        pass

    assert (Empty.names, Empty.format_list) == ([], [])
    assert pack(Empty()) == b""
    assert unpack(Empty, b"") == Empty()


def test_class_that_is_no_dataclass_yet() -> None:
    class Plain(DataClassPayload):
        value: int

    assert (Plain.names, Plain.format_list) == ([], [])
    assert dataclass(Plain).names == ["value"]


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_and_slots(frozen: Any, slots: Any) -> None:
    @dataclass(frozen=frozen, slots=slots)
    class Inner(DataClassPayload):
        number: H
        many: list[Inner]

    @dataclass(frozen=frozen, slots=slots)
    class Own(DataClassPayload[3]):
        a: Inner
        b: list[Inner]
        calls: ClassVar[list[int]] = []

        def __post_init__(self) -> None:
            self.calls.append(1)

    made = Own(Inner(1, []), [Inner(2, [Inner(3, [])])])
    assert unpack(Own, pack(made)) == made
    assert Own.calls == [1, 1]
    assert hasattr(made, "__dict__") is not slots
    if frozen:
        assert hash(Item) is not None
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.a = None


H = type_from_format("H")


@pytest.mark.parametrize("frozen", [False, True])
def test_special_fields(frozen: Any) -> None:
    @dataclass(frozen=frozen)
    class Own(DataClassPayload):
        a: int
        b: int = field(kw_only=True)
        _: dataclasses.KW_ONLY
        c: int = field(default=3, init=False)
        d: ClassVar[dict] = {}
        e: bool = False

    assert Own.names == ["a", "b", "c", "e"]
    made = Own(1, b=2, e=True)
    object.__setattr__(made, "c", 4)
    assert unpack(Own, pack(made)) == made


def test_init_only_variable() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: int
        twice: InitVar[bool] = False

        def __post_init__(self, twice: Any) -> None:
            self.a *= 2 if twice else 1

    assert Own.names == ["a"]
    assert unpack(Own, pack(Own(3, True))) == Own(6)


def test_fix_methods() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: str
        b: int = 0

        def fix_pack_a(self, value: Any) -> Any:
            return ",".join(value)

        @classmethod
        def fix_unpack_a(cls, value: Any) -> Any:
            return value.split(",")

    assert unpack(Own, pack(Own(["x", "y"], 3))) == Own(["x", "y"], 3)


def test_own_constructor() -> None:
    @dataclass(init=False)
    class Own(DataClassPayload):
        a: int

        def __init__(self, a: Any, scale: Any = 1) -> None:
            self.a = a * scale

    assert unpack(Own, pack(Own(2, 3))) == Own(6)


def test_addresses() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: UDPv4Address
        b: UDPv6Address
        c: Address
        d: list[bytes]

    made = Own(UDPv4Address("1.2.3.4", 5), UDPv6Address("::1", 5), DomainAddress("host", 5), [b"x", b""])
    data = pack(made)
    assert data.hex() == "01020304000503" + "00" * 15 + "010005020004686f73740005020001780000"
    assert unpack(Own, data) == made


# --- annotations


@dataclass
class Unsupported(DataClassPayload):
    a: dict


@dataclass
class UnsupportedUnion(DataClassPayload[3]):
    a: int | str | None = None


@dataclass
class UnsupportedInside(DataClassPayload):
    a: list[BadPlain] | None = None


@pytest.mark.parametrize("cls", [Unsupported, UnsupportedUnion, UnsupportedInside])
def test_unsupported_annotation(cls) -> None:
    for _ in range(2):
        with pytest.raises(NotImplementedError):
            cls({"a": "b"})
        with pytest.raises(NotImplementedError):
            cls.names  # noqa: B018 - it raises
        with pytest.raises(NotImplementedError):
            unpack(cls, b"")


def test_unsupported_annotations_are_explained() -> None:
    with pytest.raises(NotImplementedError, match=r"no format for the type dict of the field Unsupported\.a: use "):
        Unsupported({})
    with pytest.raises(NotImplementedError, match=r"int \| str \| None of the field UnsupportedUnion\.a: use bool, "):
        UnsupportedUnion(1)
    with pytest.raises(NotImplementedError, match=r"type object of the field BadPlain\.number: use bool, "):
        UnsupportedInside([])


@pytest.mark.parametrize("name", ["names", "format_list", "to_pack_list"])
def test_names_that_are_taken(name: str) -> None:
    with pytest.raises(TypeError, match=f"Own can have no field {name}: "):
        type("Own", (DataClassPayload[1],), {"__annotations__": {name: int}})


@pytest.mark.parametrize("base", [DataClassPayload, DataClassPayload[1]])
@pytest.mark.parametrize("body", [{}, {"msg_id": 1}])
@pytest.mark.parametrize("annotation", [int, "int"])
def test_an_annotated_message_id_is_no_message_id(base: Any, body: dict[str, Any], annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"Own.msg_id is annotated, .* write msg_id = 1 without an annotation"):
        type("Own", (base,), {"__annotations__": {"msg_id": annotation}, **body})


def test_an_annotated_message_id_is_refused_in_other_ways_to_make_payloads() -> None:
    @dataclass
    class Own(VariablePayload):
        msg_id: int = 1

    for make in (convert_to_payload, overwrite_dataclass(dataclass)):
        with pytest.raises(TypeError, match="write msg_id = 1 without an annotation"):
            make(Own)


@pytest.mark.parametrize("annotation", [ClassVar[int], "ClassVar[int]"])
def test_a_message_id_can_be_a_class_variable(annotation: Any) -> None:
    body = {"__annotations__": {"msg_id": annotation, "a": int}, "msg_id": 4, "__module__": __name__}
    cls = dataclass(type("Own", (DataClassPayload,), body))
    assert (cls.msg_id, cls.names) == (4, ["a"])


def test_attributes_of_all_payloads_can_be_annotated() -> None:
    @dataclass
    class Own(DataClassPayload[1]):
        names: ClassVar[list[str]] = []
        a: int

    assert Own.names == ["a"]


@pytest.mark.parametrize("base", [DataClassPayload, DataClassPayload[1]])
def test_a_forgotten_decorator(base: Any) -> None:
    class Own(base):
        a: int

    for arguments in ((), (1,)):
        with pytest.raises(TypeError, match="Own is no dataclass yet: write @dataclass above"):
            Own(*arguments)
    assert dataclass(Own)(1).a == 1


def test_hand_written_methods_are_replaced() -> None:
    @dataclass
    class Own(DataClassPayload[1]):
        a: int

        def to_pack_list(self) -> Any:
            return [("q", self.a + 1)]

        @classmethod
        def from_unpack_list(cls, a: Any) -> Any:
            return cls(a - 1)

    class Undecorated(Own):
        def to_pack_list(self) -> Any:
            return [("q", 77)]

    @dataclass
    class Converted(VariablePayload):
        a: int

        def to_pack_list(self) -> Any:
            return [("q", 77)]

    convert_to_payload(Converted)
    for cls in (Own, Undecorated, Converted):
        assert cls(1).to_pack_list() == [("q", 1)]
        assert pack(cls(1)) == bytes(7) + b"\1"
        assert unpack(cls, bytes(7) + b"\1").a == 1


def test_unsupported_annotation_of_a_parent() -> None:
    @dataclass
    class Child(Unsupported):
        b: int = 3

    with pytest.raises(NotImplementedError):
        Child({})


def test_unknown_name() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: DoesNotExist  # noqa: F821 - the point of this test

    with pytest.raises(NameError):
        Own(1)


def test_format_that_does_not_exist() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: list[type_from_format("nothing")]

    advice = "add it with add_packer\nfield: Own.a"
    with pytest.raises(PackError, match=f"KeyError: 'nothing' is no format of this serializer: {advice}"):
        pack(Own(["x"]))
    with pytest.raises(PackError, match=r"Could not unpack item: list of nothing\nKeyError: 'nothing'\nfield: Own.a"):
        unpack(Own, b"")


def test_forward_references() -> None:
    assert (Forward.format_list, Forward.names) == ([Later, [Forward]], ["later", "itself"])
    made = Forward(Later(1), [Forward(Later(2), [])])
    assert unpack(Forward, pack(made)) == made


def test_names_of_a_class_in_a_function() -> None:
    @dataclass
    class Near(DataClassPayload):
        value: int

    class Around:
        @dataclass
        class Inner(DataClassPayload):
            near: Near
            many: list[Near]

    assert Around.Inner.format_list == [Near, [Near]]


def test_collections_of_bytes() -> None:
    @dataclass
    class Own(DataClassPayload):
        a: set[bytes]
        b: tuple[bytes, ...] = ()

    assert unpack(Own, pack(Own({b"x"}, (b"y", b"z")))) == Own([b"x"], [b"y", b"z"])


def test_names_of_a_class_body() -> None:
    assert Scope.Outer.format_list == [Scope.Inner]


def test_local_classes_of_the_same_name() -> None:
    def make(kind: Any) -> Any:
        local = type_from_format(kind)

        @dataclass
        class Local(DataClassPayload):
            value: local

        @dataclass
        class Message(DataClassPayload):
            one: Local
            many: list[Local]

        return Local, Message

    made = {kind: make(kind) for kind in ("B", "I")}
    for kind, (inner, outer) in made.items():
        assert inner.format_list == [kind]
        assert outer.format_list == [inner, [inner]]
        assert unpack(outer, pack(outer(inner(1), []))) == outer(inner(1), [])
    assert "Local" not in globals()


def test_annotations_that_are_objects() -> None:
    cls = dataclass(
        type("Own", (DataClassPayload,), {"__annotations__": {"a": int, "b": [Item]}, "__module__": __name__})
    )
    assert cls.format_list == ["q", [Item]]


# --- other ways


def test_convert_to_payload() -> None:
    @dataclass
    class Own(VariablePayload):
        a: int
        b: str = "x"

    convert_to_payload(Own, msg_id=4)
    assert (Own.msg_id, Own.names, Own.format_list) == (4, ["a", "b"], ["q", "varlenHutf8"])
    assert unpack(Own, pack(Own(1))) == Own(1)

    @dataclass
    class Other(VariablePayload):
        a: dict

    with pytest.raises(NotImplementedError):
        convert_to_payload(Other)
    assert not hasattr(Other, "msg_id")


def test_legacy_decorator() -> None:
    @payload_dataclass.dataclass(msg_id=3)
    class Own:
        a: int
        b: Item

    @payload_dataclass.dataclass
    class Bare:
        a: I
        own: list[Own]

    assert (Own.msg_id, Own.format_list) == (3, ["q", Item])
    assert issubclass(Own, VariablePayload)
    made = Bare(1, [Own(2, Item(True))])
    assert unpack(Bare, pack(made)) == made
    assert Own.__name__ == "Own"
    assert str(Own(2, Item(True))) == "Own\n| a: 2\n| b: Item(a=True)\n| msg_id: 3"


def test_legacy_replacement() -> None:
    replaced = overwrite_dataclass(dataclass)

    @replaced(msg_id=3, frozen=True)
    class Own(VariablePayload):
        a: int

    @replaced
    class Bare(DataClassPayload):
        a: int

    assert (Own.msg_id, Own.format_list, Bare.format_list) == (3, ["q"], ["q"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        Own(1).a = 2


def test_the_decorator_is_not_exported() -> None:
    assert set(payload_dataclass.__all__) >= {"DataClassPayload", "type_from_format"}
    assert "dataclass" not in payload_dataclass.__all__


def test_is_serializable() -> None:
    assert isinstance(Item(True), Serializable)
    assert Item(True).to_pack_list() == [("?", True)]
    assert Item.from_unpack_list(True) == Item(True)


def test_described_once(monkeypatch: Any) -> None:
    @dataclass
    class Own(DataClassPayload):
        a: int

    assert Own.names == ["a"]
    monkeypatch.setattr(payload_dataclass, "_describe", lambda cls: pytest.fail("described twice"))
    for _ in range(3):
        assert unpack(Own, pack(Own(1))) == Own(1)
        assert Own.format_list == ["q"]
