"""Composed formats: lists, dictionaries, tuples, optional values, enumerations and dataclasses."""

# Payload classes are made at run time here: type checkers can not follow.
# mypy: disable-error-code="attr-defined, misc"
from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.address import Address, DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.composites import DictFormat, EnumFormat, ListFormat, OptionalFormat, TupleFormat
from ipv8.messaging.errors import MESSAGE_LIMIT
from ipv8.messaging.layouts import MAX_NESTING
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.serialization import DefaultStruct, Packer, PackError, Serializer, default_serializer

pack = default_serializer.pack_serializable


def unpack(cls: type[Any], data: bytes) -> Any:
    return default_serializer.unpack_serializable(cls, data)[0]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Word(enum.Enum):
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass
class Item(DataClassPayload):
    a: bool


ADDRESS = UDPv4Address("1.2.3.4", 5)
ONE, TWO = "0000000000000001", "0000000000000002"

SAMPLES: list[tuple[Any, Any, str]] = [
    (ListFormat("varlenHutf8"), ["a", "é", ""], "0003 000161 0002c3a9 0000"),
    (ListFormat("varlenHutf8"), [], "0000"),
    (ListFormat("varlenHutf8", tuple), ("a",), "0001 000161"),
    (ListFormat("varlenHutf8", set), {"a"}, "0001 000161"),
    (ListFormat("address"), [ADDRESS, DomainAddress("a", 1)], "0002 01010203040005 020001610001"),
    (ListFormat("ip_address"), [UDPv6Address("::1", 1)], "0001 03" + "00" * 15 + "01 0001"),
    (ListFormat("arrayH-q"), [[1], []], "0002 01000100000000000000 0000"),
    (ListFormat([Item]), [[Item(True)], []], "0002 01000101 00"),
    (ListFormat(Item), [Item(True), Item(False)], "0002 000101 000100"),
    (ListFormat("varlenBx2"), [b"ab", b"cdef"], "0002 016162 0263646566"),
    (OptionalFormat("q"), None, "00"),
    (OptionalFormat("q"), 1, "01" + ONE),
    (OptionalFormat(Item), Item(True), "01 000101"),
    (OptionalFormat(OptionalFormat("B")), 7, "01 01 07"),
    (OptionalFormat(ListFormat("B")), [7], "01 0001 07"),
    (ListFormat(OptionalFormat("B")), [7, None], "0002 0107 00"),
    (TupleFormat("q", "varlenHutf8"), (1, "a"), ONE + "000161"),
    (TupleFormat("B", TupleFormat("B", "H"), Item), (1, (2, 3), Item(True)), "01 02 0003 000101"),
    (DictFormat("varlenHutf8", "q"), {"a": 1, "": 2}, "0002 000161" + ONE + "0000" + TWO),
    (DictFormat("B", ListFormat("B")), {1: [2, 3], 4: []}, "0002 01 0002 0203 04 0000"),
    (DictFormat("address", Item), {ADDRESS: Item(True)}, "0001 01010203040005 000101"),
    (DictFormat("B", DictFormat("B", "B")), {1: {2: 3}}, "0001 01 0001 0203"),
    (EnumFormat(Colour, "q"), Colour.BLUE, TWO),
    (EnumFormat(Colour, "B"), Colour.BLUE, "02"),
    (EnumFormat(Word, "varlenHutf8"), Word.NO, "0002 6e6f"),
    (DictFormat(EnumFormat(Word, "varlenHutf8"), EnumFormat(Colour, "B")), {Word.NO: Colour.RED}, "0001 00026e6f01"),
    (Point, Point(1, 2), "0010" + ONE + TWO),
    (ListFormat(Point), [Point(1, 2)], "0001 0010" + ONE + TWO),
    ([Point], [Point(1, 2)], "01 0010" + ONE + TWO),
    (OptionalFormat(Point), Point(1), "01 0010" + ONE + "00" * 8),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("entry", "value", "hexadecimal"), SAMPLES, ids=lambda argument: str(argument)[:30])
def test_bytes(entry: Any, value: Any, hexadecimal: str, compiled: bool) -> None:
    cls = type("Own", (VariablePayload,), {"format_list": ["B", entry, "H"], "names": ["a", "b", "c"]})
    if compiled:
        vp_compile(cls)
    made = cls(1, value, 2)
    data = pack(made)
    assert data == b"\1" + bytes.fromhex(hexadecimal) + b"\0\2"
    unpacked = unpack(cls, data)
    assert unpacked.b == value
    assert type(unpacked.b) is type(value)
    assert (unpacked.a, unpacked.c) == (1, 2)
    for size in range(len(data)):
        with pytest.raises(PackError, match="Could not unpack item"):
            unpack(cls, data[:size])
    assert default_serializer.unpack(entry, data, 1) == (value, len(data) - 2)
    if not isinstance(entry, (type, list)):
        assert default_serializer.pack(entry, value) == bytes.fromhex(hexadecimal)
        assert made.to_pack_list() == [("B", 1), (entry, value), ("H", 2)]


REFUSED: list[tuple[Any, str, str]] = [
    (OptionalFormat("B"), "0207", "there is no type 2"),
    (ListFormat(OptionalFormat("B")), "000105", "there is no type 5"),
    (DictFormat("B", "B"), "0002 0101 0102", "a key occurs twice"),
    (EnumFormat(Colour, "B"), "03", "3 is not a valid Colour"),
    (ListFormat(EnumFormat(Colour, "B")), "000203", "3 is not a valid Colour"),
    (ListFormat("varlenHutf8"), "0001 0001ff", "UnicodeDecodeError"),
    (ListFormat("varlenHutf8"), "ffff 0000", "the data end after"),
    (ListFormat("address"), "0001 09", "there is no type 9"),
    (ListFormat("ip_address"), "0001 02000161", "there is no type 2"),
    (TupleFormat("B", Item), "01 0000", "the data end after 0 bytes"),
    (ListFormat(Item), "0001 0000", "the data end after 0 bytes"),
    (Point, "0008" + ONE, "item: payload Point > q\nthe data end after 8 bytes"),
]


@pytest.mark.parametrize(("entry", "hexadecimal", "reason"), REFUSED)
def test_what_is_refused(entry: Any, hexadecimal: str, reason: str) -> None:
    for formats in ([entry], ["B", entry]):
        cls = type("Own", (VariablePayload,), {"format_list": formats, "names": ["a", "b"][:len(formats)]})
        with pytest.raises(PackError, match=reason) as caught:
            unpack(cls, bytes(len(formats) - 1) + bytes.fromhex(hexadecimal))
        assert f"\nfield: Own.{cls.names[-1]}" in str(caught.value)
        assert len(str(caught.value)) <= MESSAGE_LIMIT


@pytest.mark.parametrize(("entry", "value", "reason"), [
    (ListFormat("varlenHutf8"), "text", "TypeError: a list of values is needed, not str"),
    (ListFormat("varlenHutf8"), b"text", "TypeError: a list of values is needed, not bytes"),
    (ListFormat("varlenHutf8"), ["a", 5], "TypeError"),
    (ListFormat("varlenHutf8"), iter(["a"]), "TypeError"),
    (ListFormat("varlenHutf8"), None, "TypeError"),
    (ListFormat("B"), [0] * 65536, "error: "),
    (OptionalFormat("B"), 256, "error: "),
    (DictFormat("B", "B"), [(1, 2)], "AttributeError"),
    (DictFormat("B", "B"), {1: None}, "error: "),
    (TupleFormat("B", "B"), (1,), "ValueError: there must be 2 values, not 1"),
    (TupleFormat("B", "B"), (1, 2, 3), "ValueError: there must be 2 values, not 3"),
    (EnumFormat(Colour, "B"), 7, "ValueError: 7 is not a valid Colour"),
    (EnumFormat(Colour, "B"), Word.NO, "ValueError"),
    (Item, None, "AttributeError"),
    (Point, None, "AttributeError"),
])
def test_values_that_can_not_be_packed(entry: Any, value: Any, reason: str) -> None:
    cls = type("Own", (VariablePayload,), {"format_list": ["B", entry], "names": ["a", "b"]})
    with pytest.raises(PackError, match=f"(?s)Could not pack item: .*\n{reason}.*\nfield: Own.b") as caught:
        pack(cls(1, value))
    assert len(str(caught.value)) <= MESSAGE_LIMIT


def test_members_of_an_enumeration_can_be_given_by_value() -> None:
    cls = type("Own", (VariablePayload,), {"format_list": [EnumFormat(Colour, "B")], "names": ["a"]})
    assert unpack(cls, pack(cls(2))).a is Colour.BLUE


@pytest.mark.parametrize("name", ["raw", "bits"])
@pytest.mark.parametrize("kind", [
    ListFormat, OptionalFormat, lambda name: TupleFormat("B", name), lambda name: DictFormat("B", name),
    lambda name: DictFormat(name, "B"), lambda name: EnumFormat(Colour, name),
])
def test_formats_that_can_not_be_inside(kind: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"the format {name} cannot be inside of another one"):
        kind(name)


def test_a_tuple_has_at_least_one_value() -> None:
    with pytest.raises(ValueError, match="at least one format"):
        TupleFormat()


def test_formats_are_compared_by_what_they_say() -> None:
    assert ListFormat("B") == ListFormat("B") != ListFormat("H")
    assert ListFormat("B") != ListFormat("B", tuple)
    assert OptionalFormat("B") != ListFormat("B")
    assert len({ListFormat([Item]), ListFormat([Item]), ListFormat("B")}) == 2
    assert repr(ListFormat(Item, set)) == "ListFormat(Item, set)"
    assert repr(DictFormat("B", OptionalFormat("H"))) == "DictFormat('B', OptionalFormat('H'))"
    assert str(DictFormat("B", OptionalFormat([Item]))) == "dict of B and optional payload-list Item"
    assert str(TupleFormat("B", Item)) == "tuple of B, payload Item"
    assert str(ListFormat(EnumFormat(Colour, "B"), tuple)) == "tuple of Colour as B"


# --- with formats of a program


class Digits(Packer[int, Any]):
    """A number as its digits, up to a full stop."""

    def pack(self, data: int) -> bytes:
        return b"%d." % data

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        stop = data.index(b".", offset)
        if stop == offset:
            return stop + 1  # appends nothing
        unpack_list.append(int(data[offset:stop]))
        return stop + 1


def test_formats_of_a_program_are_used_inside() -> None:
    serializer = Serializer()
    serializer.add_packer("digits", Digits())
    serializer.add_packer("varlenHutf8", DefaultStruct("<H"))
    formats: list[Any] = [ListFormat("digits"), DictFormat("digits", "varlenHutf8"), OptionalFormat("digits")]
    cls: Any = vp_compile(type("Own", (VariablePayload,), {"format_list": formats, "names": ["a", "b", "c"]}))
    made = cls([1, 23], {4: 5}, 6)
    data = serializer.pack_serializable(made)
    assert data == b"\0\x021.23." + b"\0\x014.\x05\0" + b"\x016."
    assert vars(serializer.unpack_serializable(cls, data)[0]) == vars(made)
    with pytest.raises(PackError, match="ValueError: the format digits must be one value here, not 0\n"):
        serializer.unpack_serializable(cls, b"\0\1.")
    with pytest.raises(PackError, match="KeyError: 'digits'"):
        pack(made)


def test_items_without_a_byte_are_refused() -> None:
    serializer = Serializer()
    serializer.add_packer("nothing", DefaultStruct(">0s"))
    cls = type("Own", (VariablePayload,), {"format_list": [ListFormat("nothing")], "names": ["a"]})
    with pytest.raises(PackError, match="an item without a byte"):
        serializer.unpack_serializable(cls, b"\xff\xff")


def test_flags_under_another_name_can_not_be_inside() -> None:
    serializer = Serializer()
    serializer.add_packer("flags", serializer.get_packer_for("bits"))
    cls = type("Own", (VariablePayload,), {"format_list": [ListFormat("flags")], "names": ["a"]})
    with pytest.raises(PackError, match="the format flags cannot be inside of another one"):
        serializer.unpack_serializable(cls, b"\0\0")
    with pytest.raises(PackError, match="the format flags cannot be inside of another one"):
        serializer.pack_serializable(cls([]))


# --- dataclasses


@dataclass
class Everything(DataClassPayload[1]):
    texts: list[str]
    addresses: list[Address]
    maybe: int | None
    mapping: dict[str, int]
    mixed: tuple[int, str, bytes]
    colour: Colour
    point: Point
    points: dict[Word, list[Point]] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    names: ClassVar[list[str]] = []


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.integers(-1 << 63, (1 << 63) - 1)
addresses = st.one_of(
    st.builds(UDPv4Address, st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.builds(DomainAddress, st.sampled_from(["a", "host.example"]), st.integers(0, 65535)),
)
points = st.builds(Point, numbers, numbers)
everything = st.builds(
    Everything, st.lists(texts), st.lists(addresses), st.none() | numbers, st.dictionaries(texts, numbers),
    st.tuples(numbers, texts, st.binary(max_size=9)), st.sampled_from(Colour), points,
    st.dictionaries(st.sampled_from(Word), st.lists(points, max_size=3)), st.lists(texts, max_size=3).map(tuple),
)


@given(everything)
@settings(deadline=None, max_examples=100)
def test_dataclasses_round_trip(made: Everything) -> None:
    data = pack(made)
    assert unpack(Everything, data) == made
    with pytest.raises(PackError):
        unpack(Everything, data[:-1])


@given(everything, st.data())
@settings(deadline=None, max_examples=100)
def test_flipped_bits(made: Everything, drawn: st.DataObject) -> None:
    data = bytearray(pack(made))
    position = drawn.draw(st.integers(0, 8 * len(data) - 1))
    data[position // 8] ^= 1 << position % 8
    try:
        unpacked = unpack(Everything, bytes(data))
    except PackError:
        return
    assert unpack(Everything, pack(unpacked)) == unpacked


def test_the_message_and_the_field_are_named() -> None:
    made = Everything(["a"], [], None, {}, (1, "", b""), Colour.RED, Point(1, "two"))  # type: ignore[arg-type]  # wrong
    with pytest.raises(PackError) as caught:
        pack(made)
    item, _, field_ = str(caught.value).split("\n")
    assert (item, field_) == ("Could not pack item: ('q', 'two')", "field: Everything.point > Point.y")


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    by_name: dict[str, Tree] = field(default_factory=dict)
    parent: Tree | None = None


@dataclass
class Forest(DataClassPayload):
    trees: list[Tree]


def chain(depth: int) -> Tree:
    tree = Tree("leaf")
    for level in range(depth):
        tree = [Tree("list", [tree]), Tree("dict", by_name={"one": tree}), Tree("one", parent=tree)][level % 3]
    return tree


def test_dataclasses_that_contain_themselves() -> None:
    made = Forest([chain(5), Tree("x", [Tree("y"), Tree("z")])])
    assert unpack(Forest, pack(made)) == made


def test_dataclasses_are_nested_as_deep_as_payloads() -> None:
    deepest = Forest([chain(MAX_NESTING - 1)])
    data = pack(deepest)
    assert unpack(Forest, data) == deepest
    with pytest.raises(PackError, match=f"nested deeper than {MAX_NESTING} levels"):
        pack(Forest([chain(MAX_NESTING)]))
    inside = data[2:]
    one_more = (Tree("list", []), b"\0\4list" + b"\0\1" + inside + b"\0\0" + b"\0")
    packed = b"\0\1" + len(one_more[1]).to_bytes(2, "big") + one_more[1]
    with pytest.raises(PackError, match=f"nested deeper than {MAX_NESTING} levels"):
        unpack(Forest, packed)


def test_bytes_after_a_dataclass_are_ignored() -> None:
    """So fields can be added later, as for payload classes."""

    @dataclass
    class Longer:
        x: int
        y: int
        z: str

    @dataclass
    class New(DataClassPayload):
        point: Longer
        end: int

    @dataclass
    class Old(DataClassPayload):
        point: Point
        end: int

    assert unpack(Old, pack(New(Longer(1, 2, "new"), 3))) == Old(Point(1, 2), 3)


def test_dataclasses_with_special_fields() -> None:
    @dataclass
    class Special:
        a: int
        b: int = field(kw_only=True)
        c: int = field(default=3, init=False)
        d: ClassVar[object] = None

    @dataclass
    class Nothing:
        pass

    @dataclass(frozen=True)
    class Single:
        text: str

    @dataclass
    class Own(DataClassPayload):
        special: Special
        nothing: Nothing
        single: Single

    special = Special(1, b=2)
    special.c = 4
    made = Own(special, Nothing(), Single("x"))
    assert unpack(Own, pack(made)) == made


def test_a_dataclass_can_inherit() -> None:
    @dataclass(frozen=True)
    class Higher(Point):
        z: int = 0

    @dataclass
    class Own(DataClassPayload):
        point: Higher

    assert unpack(Own, pack(Own(Higher(1, 2, 3)))) == Own(Higher(1, 2, 3))


def test_a_subclass_is_packed_with_all_its_fields() -> None:
    @dataclass(frozen=True)
    class Higher(Point):
        z: int = 0

    @dataclass
    class Own(DataClassPayload):
        point: Point

    data = pack(Own(Higher(1, 2, 3)))
    assert len(data) == 2 + 24
    assert unpack(Own, data) == Own(Point(1, 2))
