"""Which packer methods the serializer uses, and formats of programs."""

# Packers are misused here: type checkers can not follow.
# mypy: disable-error-code="attr-defined, method-assign, misc, override"
from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.layouts import Body, Converted, Fixed, Layout, Many, Rest, Variant
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.packer import LayoutPacker, Packer, layout_to_read, layout_to_write
from ipv8.messaging.packers import Address, Bits, DefaultArray, DefaultStruct, IPv4, ListOf, Raw, VarLen, VarLenUtf8
from ipv8.messaging.serialization import NestedPayload, PackError, Serializer, UDPv4Address, UnpackError

ADDRESS = UDPv4Address("1.2.3.4", 5)


class Inner(VariablePayload):
    format_list = ["H"]
    names = ["number"]

    number: int


def serializer_with(packer: Any, name: str = "own") -> Serializer:
    serializer = Serializer()
    serializer.add_packer(name, packer)
    return serializer


def payload_class(*formats: Any, compiled: bool = True) -> Any:
    names = [f"field{number}" for number in range(sum(8 if entry == "bits" else 1 for entry in formats))]
    made = type("Own", (VariablePayload,), {"format_list": [*formats], "names": names})
    return vp_compile(made) if compiled else made


# --- what a subclass overrides


PACKERS: list[tuple[Packer[Any, Any], Any]] = [
    (Address(), ADDRESS),
    (Address(ip_only=True), ADDRESS),
    (DefaultArray("q", "H"), [1, 2]),
    (DefaultStruct(">I"), 7),
    (DefaultStruct("<I"), 7),
    (IPv4(), ADDRESS),
    (ListOf(VarLen(">H")), [b"a", b"bc"]),
    (Raw(), b"abc"),
    (VarLen(">H"), b"abc"),
    (VarLen(">B", 2), b"abcd"),
    (VarLenUtf8(">H"), "text"),
]


def overriding(packer: Any, *methods: str) -> Any:
    """The same packer, of a subclass whose methods write and expect a mark before what those of the base class do."""
    kind = type(packer)

    class Marked(kind):
        if "pack" in methods:
            def pack(self, data: Any) -> bytes:
                packed: bytes = kind.pack(self, data)
                return b"\xee" + packed

        if "unpack" in methods:
            def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: Any) -> int:
                if data[offset] != 0xEE:
                    raise ValueError("no mark")
                stop: int = kind.unpack(self, data, offset + 1, unpack_list, *args)
                return stop

    marked = Marked.__new__(Marked)
    vars(marked).update(vars(packer))
    return marked


@pytest.mark.parametrize(("packer", "value"), PACKERS, ids=lambda argument: type(argument).__name__)
def test_methods_of_a_subclass_are_used(packer: Packer[Any, Any], value: Any) -> None:
    plain = serializer_with(packer)
    data = plain.pack_serializable(payload_class("own", "B")(value, 9))
    marked = b"\xee" + data
    last = isinstance(packer, Raw)
    cls = payload_class("own") if last else payload_class("own", "B")
    made = cls(value) if last else cls(value, 9)
    data, marked = (data[:-1], marked[:-1]) if last else (data, marked)

    writing = serializer_with(overriding(packer, "pack"))
    assert writing.pack_serializable(made) == marked
    assert vars(writing.unpack_serializable(cls, data)[0]) == vars(made)
    reading = serializer_with(overriding(packer, "unpack"))
    assert reading.pack_serializable(made) == data
    assert vars(reading.unpack_serializable(cls, marked)[0]) == vars(made)
    with pytest.raises(PackError, match="no mark"):
        reading.unpack_serializable(cls, data)


def test_methods_of_a_subclass_are_used_in_lists() -> None:
    serializer = serializer_with(ListOf(overriding(VarLen(">H"), "pack", "unpack")))
    cls = payload_class("own")
    data = serializer.pack_serializable(cls([b"a"]))
    assert data == b"\1\xee\0\1a"
    assert serializer.unpack_serializable(cls, data)[0].field0 == [b"a"]


def test_flags_of_a_subclass_are_used() -> None:
    class Inverted(Bits):
        def pack(self, *data: Any) -> bytes:
            return bytes((super().pack(*data)[0] ^ 0xFF,))

        def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
            stop = super().unpack(data, offset, unpack_list)
            unpack_list[-8:] = [1 - flag for flag in unpack_list[-8:]]
            return stop

    serializer = serializer_with(Inverted(), "bits")
    cls = payload_class("B", "bits", "B")
    made = cls(1, 1, 0, 1, 0, 0, 0, 0, 0, 2)
    assert serializer.pack_serializable(made) == b"\1\x5f\2"
    assert vars(serializer.unpack_serializable(cls, b"\1\x5f\2")[0]) == vars(made)


def test_one_value_in_place_of_flags() -> None:
    serializer = serializer_with(DefaultStruct(">B"), "bits")
    cls = payload_class("bits")
    with pytest.raises(PackError, match=r"Could not pack item: \('bits', 1, 1"):
        serializer.pack_serializable(cls(*[1] * 8))


def test_a_method_of_one_object_is_used() -> None:
    packer: Any = VarLen(">H")
    packer.pack = lambda data: b"\0\2" + data[:2]
    serializer = serializer_with(packer)
    assert serializer.pack_serializable(payload_class("own")(b"abc")) == b"\0\2ab"
    assert serializer.unpack_serializable(payload_class("own"), b"\0\3abc")[0].field0 == b"abc"


def test_a_method_that_is_mixed_in_is_used() -> None:
    class Upper:
        def pack(self, data: bytes) -> bytes:
            packed: bytes = super().pack(data.upper())
            return packed

    class Own(Upper, VarLen):
        pass

    serializer = serializer_with(Own(">H"))
    assert serializer.pack_serializable(payload_class("own")(b"abc")) == b"\0\3ABC"


def test_a_new_layout_is_used_with_the_methods_of_the_base_class() -> None:
    class Big(DefaultStruct):
        def wire_layout(self, *_: Any) -> Layout:
            return Fixed("Q")

    serializer = serializer_with(Big(">I"))
    assert serializer.pack_serializable(payload_class("own")(1)) == bytes(7) + b"\1"


def test_a_subclass_that_overrides_nothing_has_the_layout() -> None:
    class Short(VarLen):
        def __init__(self) -> None:
            super().__init__(">B")

    assert layout_to_read(Short()) == layout_to_write(Short()) == Body("B")


def test_an_override_of_nested_payloads_is_used() -> None:
    class Marked(NestedPayload):
        def pack(self, data: Any) -> bytes:
            return b"\xee" + super().pack(data)

        def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: Any) -> int:
            return super().unpack(data, offset + 1, unpack_list, *args)

    serializer = Serializer()
    serializer.add_packer("payload", Marked(serializer))
    serializer.add_packer("payload-list", ListOf(Marked(serializer)))
    cls = payload_class(Inner, [Inner])
    data = serializer.pack_serializable(cls(Inner(1), [Inner(2)]))
    assert data.hex() == "ee00020001" + "01" + "ee00020002"
    unpacked = serializer.unpack_serializable(cls, data)[0]
    assert (unpacked.field0.number, unpacked.field1[0].number) == (1, 2)


@pytest.mark.parametrize("method", ["pack_serializable", "unpack_serializable"])
def test_a_serializer_that_overrides_a_method_uses_it_for_nested_payloads(method: str) -> None:
    calls = []

    def counted(self: Serializer, serializable: Any, *args: Any) -> Any:
        calls.append(serializable)
        return getattr(Serializer, method)(self, serializable, *args)

    serializer = type("Own", (Serializer,), {method: counted})()
    cls = payload_class(Inner, [Inner])
    data = serializer.pack_serializable(cls(Inner(1), [Inner(2), Inner(3)]))
    serializer.unpack_serializable(cls, data)
    assert len(calls) == 4


# --- formats of programs


class PackerUUID(Packer[uuid.UUID, Any]):
    """With methods only."""

    def pack(self, data: uuid.UUID) -> bytes:
        return data.bytes

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        unpack_list.append(uuid.UUID(bytes=data[offset:offset + 16]))
        return offset + 16


class FastUUID(PackerUUID):
    """With a layout too."""

    def wire_layout(self, *_: Any) -> Layout:
        return Converted(Fixed("16s"), lambda value: value.bytes, lambda packed: uuid.UUID(bytes=packed))


class LayoutUUID(LayoutPacker):
    """With a layout only."""

    def wire_layout(self, *_: Any) -> Layout:
        return Converted(Fixed("16s"), lambda value: value.bytes, lambda packed: uuid.UUID(bytes=packed))


@pytest.mark.parametrize("kind", [PackerUUID, FastUUID, LayoutUUID])
@given(value=st.uuids(), number=st.integers(0, 65535))
@settings(deadline=None, max_examples=20)
def test_a_format_of_a_program(kind: type[Packer[Any, Any]], value: uuid.UUID, number: int) -> None:
    serializer = serializer_with(kind())
    cls = payload_class("H", "own", "own", "varlenH")
    data = serializer.pack_serializable(cls(number, value, value, b"end"))
    assert data == struct.pack(">H", number) + value.bytes * 2 + b"\0\3end"
    assert vars(serializer.unpack_serializable(cls, b"?" + data, 1)[0]) == vars(cls(number, value, value, b"end"))
    for size in (0, 17, 20, len(data) - 1):
        with pytest.raises(PackError, match="Could not unpack item"):
            serializer.unpack_serializable(cls, data[:size])
    with pytest.raises(PackError, match=r"AttributeError: .*\nfield: Own\.field2"):
        serializer.pack_serializable(cls(number, value, 5, b""))


class LayoutPoints(LayoutPacker):
    def wire_layout(self, *_: Any) -> Layout:
        return Many("B", Converted(Fixed("2s"), bytes, tuple))


class LayoutColour(LayoutPacker):
    def wire_layout(self, *_: Any) -> Layout:
        return Variant({0: (1, {b"r": "red", b"b": "blue"}), 1: (0, {b"": "none"})},
                       {"red": b"\0r", "blue": b"\0b", "none": b"\1"}.__getitem__)


@pytest.mark.parametrize(("packer", "value", "data"), [
    (LayoutUUID(), uuid.UUID(int=5), bytes(15) + b"\5"),
    (LayoutPoints(), [(1, 2), (3, 4)], b"\2\1\2\3\4"),
    (LayoutColour(), "blue", b"\0b"),
    (LayoutColour(), "none", b"\1"),
])
def test_methods_follow_from_a_layout(packer: LayoutPacker, value: Any, data: bytes) -> None:
    assert packer.pack(value) == data
    values: list[Any] = []
    assert packer.unpack(b"?" + data + b"!", 1, values) == 1 + len(data)
    assert values == [value]
    for size in range(len(data)):
        with pytest.raises(UnpackError, match=f"item: {type(packer).__name__}\nthe data end after {size} bytes$"):
            packer.unpack(data[:size], 0, [])
    serializer = serializer_with(packer)
    assert serializer.pack("own", value) == data
    assert serializer.unpack("own", data) == (value, len(data))
    listed = serializer_with(ListOf(packer)).pack("own", [value, value])
    assert listed == b"\2" + data * 2
    assert serializer_with(ListOf(packer)).unpack("own", listed)[0] == [value, value]


def test_a_type_that_a_layout_does_not_have() -> None:
    with pytest.raises(UnpackError, match=r"there is no type 7$"):
        LayoutColour().unpack(b"\7", 0, [])
    serializer = serializer_with(LayoutColour())
    with pytest.raises(PackError, match=r"there is no type 7\nfield: Own\.field1$"):
        serializer.unpack_serializable(payload_class("B", "own"), b"\1\7")
    with pytest.raises(PackError, match=r"KeyError: b'x'\nfield: Own\.field0$"):
        serializer.unpack_serializable(payload_class("own"), b"\0x")


def test_a_format_without_layout_is_no_list_with_layout() -> None:
    assert ListOf(PackerUUID()).wire_layout() is None
    assert ListOf(Raw()).wire_layout() is None
    assert ListOf(Bits()).wire_layout() is None
    assert ListOf(FastUUID()).wire_layout() is not None
    assert Raw().wire_layout() == Rest()


@pytest.mark.parametrize("code", ["<H", "<3H", ">HH", "=d", "@I", "I", ">x", "3s"])
def test_any_struct_is_read_as_the_packer_does(code: str) -> None:
    packer = DefaultStruct(code)
    serializer = serializer_with(packer)
    cls = payload_class("B", "own", "B")
    data = b"\1" + bytes(range(packer.size)) + b"\2"
    values: list[Any] = []
    packer.unpack(data, 1, values)
    assert serializer.unpack_serializable(cls, data)[0].field1 == values[0]
    if packer.values == 1:
        assert serializer.pack_serializable(cls(1, values[0], 2)) == data
    else:
        for value in (values[0], bytes(packer.size)):
            with pytest.raises(PackError, match=r"Could not pack item: \('own', "):
                serializer.pack_serializable(cls(1, value, 2))
