# Payload classes are made at run time here, and misused: type checkers can not follow.
# mypy: disable-error-code="abstract, arg-type, attr-defined, func-returns-value, misc, override, truthy-function"
# mypy: disable-error-code="var-annotated"
from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from ipv8.messaging import payload, payload_headers, serialization
from ipv8.messaging.errors import MESSAGE_LIMIT
from ipv8.messaging.layouts import MAX_NESTING
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import (
    Address,
    Bits,
    DefaultArray,
    DefaultStruct,
    DomainAddress,
    IPv4,
    ListOf,
    NestedPayload,
    Packer,
    PackError,
    Payload,
    Raw,
    Serializable,
    Serializer,
    UDPv4Address,
    UDPv6Address,
    VarLen,
    VarLenUtf8,
    default_serializer,
)

VECTORS = Path(__file__).parents[1] / "vectors"
SERIALIZATION = json.loads((VECTORS / "serialization.json").read_text())
PACKETS = json.loads((VECTORS / "packets.json").read_text())
ADDRESSES = {"UDPv4Address": UDPv4Address, "UDPv6Address": UDPv6Address, "DomainAddress": DomainAddress}


def plain(value: Any) -> Any:
    """A value of a vector as a Python object."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return bytes.fromhex(value["bytes"])
    if "tuple" in value:
        return tuple(plain(value["tuple"]))
    if "address" in value:
        return ADDRESSES[value["address"]](value["host"], value["port"])
    return {key: plain(item) for key, item in value.items()}


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types throughout."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


class Inner(VariablePayload):
    msg_id = 1
    format_list = ["H"]
    names = ["number"]


CLASSES = {"Inner": Inner} | vars(payload) | vars(payload_headers)


# --- vectors


@pytest.mark.parametrize(
    "vector", SERIALIZATION["formats"], ids=lambda vector: f"{vector['format']} {vector['hex'][:8]}"
)
def test_format(vector: Any) -> None:
    packer = default_serializer.get_packer_for(vector["format"])
    data = bytes.fromhex(vector["hex"])
    assert packer.pack(*plain(vector["args"])) == data
    values: list[Any] = []
    assert packer.unpack(b"\xee\xee" + data, 2, values) == 2 + vector["consumed"]
    assert same(values, plain(vector["unpack_appends"]))


@pytest.mark.parametrize(
    "vector", SERIALIZATION["formats"], ids=lambda vector: f"{vector['format']} {vector['hex'][:8]}"
)
def test_format_in_payload(vector: Any) -> None:
    class Generic(Payload):
        format_list = [vector["format"]]

        def __init__(self, *values: Any) -> None:
            self.values = values

        def to_pack_list(self) -> Any:
            return [(vector["format"], *self.values)]

        @classmethod
        def from_unpack_list(cls, *args: Any) -> Any:
            return cls(*args)

    data = bytes.fromhex(vector["hex"])
    assert default_serializer.pack_serializable(Generic(*plain(vector["args"]))) == data
    unpacked, offset = default_serializer.unpack_serializable(Generic, b"\xee\xee" + data, 2)
    assert offset == 2 + vector["consumed"]
    assert same([*unpacked.values], plain(vector["unpack_appends"]))


SPECIAL_ARGUMENTS = {
    "bytes of length 65536": [bytes(65536)],
    "str of length 65536": ["a" * 65536],
    "list of length 256": [[b""] * 256],
}
ERRORS = {
    "error": struct.error,
    "PackError": PackError,
    "OSError": OSError,
    "TypeError": TypeError,
    "IndexError": IndexError,
    "ValueError": ValueError,
    "AttributeError": AttributeError,
    "OverflowError": OverflowError,
    "UnicodeDecodeError": UnicodeDecodeError,
}


@pytest.mark.parametrize(
    "vector", SERIALIZATION["pack_errors"], ids=lambda vector: f"{vector['format']} {vector['args']}"
)
def test_pack_error(vector: Any) -> None:
    arguments = vector["args"]
    arguments = SPECIAL_ARGUMENTS[arguments] if isinstance(arguments, str) else plain(arguments)
    with pytest.raises(ERRORS[vector["error"]]):
        default_serializer.get_packer_for(vector["format"]).pack(*arguments)


@pytest.mark.parametrize(
    "vector", SERIALIZATION["unpack_errors"], ids=lambda vector: f"{vector['format']} {vector['hex']}"
)
def test_unpack_error(vector: Any) -> None:
    """Packers are as lenient as the vectors say; a payload with such a field is an error in every case."""
    data = bytes.fromhex(vector["hex"])
    values: list[Any] = []
    packer = default_serializer.get_packer_for(vector["format"])
    if vector["error"] is None:
        assert packer.unpack(data, 0, values) == vector["new_offset"]
        assert same(values, plain(vector["unpack_appends"]))
    else:
        with pytest.raises(ERRORS[vector["error"]]):
            packer.unpack(data, 0, values)
    names = [f"n{number}" for number in range(8 if vector["format"] == "bits" else 1)]
    single = type("Single", (VariablePayload,), {"format_list": [vector["format"]], "names": names})
    with pytest.raises(PackError, match="Could not unpack item"):
        default_serializer.unpack_serializable(single, data)


@pytest.mark.parametrize("vector", SERIALIZATION["payloads"], ids=lambda vector: vector["class"])
def test_payload(vector: Any) -> None:
    cls = CLASSES[vector["class"]]
    made = cls(**plain(vector["kwargs"]))
    data = bytes.fromhex(vector["hex"])
    assert getattr(cls, "msg_id", None) == vector["msg_id"]
    assert default_serializer.pack_serializable(made) == data
    unpacked, offset = default_serializer.unpack_serializable(cls, b"\xee" + data, 1)
    assert type(unpacked) is cls
    assert offset == 1 + len(data)
    for name, value in vector["unpacked"].items():
        assert same(getattr(unpacked, name), plain(value)), name


@pytest.mark.parametrize("compiled", [False, True])
def test_nested_vector(compiled: Any) -> None:
    for vector in SERIALIZATION["nested"]:
        decorate = vp_compile if compiled else lambda cls: cls
        inner = decorate(
            type("Inner", (VariablePayload,), {"format_list": vector["inner_format_list"], "names": ["number"]})
        )
        formats = [
            inner if entry == "Inner" else [inner] if entry == ["Inner"] else entry for entry in vector["format_list"]
        ]
        fields = vector["value"]["fields"]
        outer = decorate(type("Outer", (VariablePayload,), {"format_list": formats, "names": list(fields)}))

        def build(value: Any, inner: Any = inner) -> Any:
            if isinstance(value, list):
                return [build(item) for item in value]
            if isinstance(value, dict) and "payload" in value:
                return inner(**value["fields"])
            return plain(value)

        made = outer(**{name: build(value) for name, value in fields.items()})
        data = bytes.fromhex(vector["hex"])
        assert default_serializer.pack_serializable(made) == data
        unpacked, offset = default_serializer.unpack_serializable(outer, data)
        assert offset == len(data)
        assert (unpacked.kind, unpacked.one.number, unpacked.rest) == (7, 258, b"tail")
        assert [item.number for item in unpacked.many] == [1, 2]


@pytest.mark.parametrize("vector", SERIALIZATION["lists"], ids=lambda vector: vector["hex"])
def test_list_vector(vector: Any) -> None:
    classes = [CLASSES[name] for name in vector["classes"]]
    data = bytes.fromhex(vector["hex"])
    for offset in (0, 3):
        shifted = bytes(offset) + data
        if vector["error"]:
            with pytest.raises(PackError):
                default_serializer.unpack_serializable_list(classes, shifted, offset)
        else:
            unpacked = default_serializer.unpack_serializable_list(classes, shifted, offset)
            assert [type(item) for item in unpacked] == classes
        *unpacked, rest = default_serializer.unpack_serializable_list(classes, shifted, offset, consume_all=False)
        assert default_serializer.pack_serializable_list(unpacked) + rest == data
        assert rest.hex() == vector.get("remainder_without_consume_all", "")


def packet_payloads() -> Any:
    for vector in PACKETS["signed"]:
        yield vector["payload_classes"], vector["payload_hex"]
    for vector in PACKETS["unsigned"]:
        yield vector["payload_classes"], vector["packet"][46:]


@pytest.mark.parametrize(("names", "hexadecimal"), [*packet_payloads()])
def test_payloads_of_packets(names: Any, hexadecimal: Any) -> None:
    data = bytes.fromhex(hexadecimal)
    unpacked = default_serializer.unpack_serializable_list([CLASSES[name] for name in names], data)
    # The base protocol inverts a flag on the way in: once more back and forth gives the bytes again.
    packed = default_serializer.pack_serializable_list(unpacked)
    again = default_serializer.unpack_serializable_list([CLASSES[name] for name in names], packed)
    assert default_serializer.pack_serializable_list(again) == data


@pytest.mark.parametrize("vector", PACKETS["signed"], ids=lambda vector: f"{vector['curve']} {vector['msg_id']}")
def test_signed_packet(vector: Any) -> None:
    packet = bytes.fromhex(vector["packet"])
    auth, offset = default_serializer.unpack_serializable(BinMemberAuthenticationPayload, packet, 23)
    signed = packet[: -vector["signature_length"]]
    assert signed[offset:].hex() == vector["payload_hex"]
    assert packet[25:offset] == auth.public_key_bin
    default_serializer.unpack_serializable_list([CLASSES[name] for name in vector["payload_classes"]], signed, offset)


# --- the serializer


def test_formats_are_in_order() -> None:
    names = [
        "?",
        "B",
        "BBH",
        "BH",
        "c",
        "f",
        "d",
        "H",
        "HH",
        "I",
        "l",
        "LL",
        "q",
        "Q",
        "QH",
        "QL",
        "QQHHBH",
        "ccB",
        "4SH",
    ]
    names += [
        "20s",
        "32s",
        "64s",
        "74s",
        "c20s",
        "bits",
        "ipv4",
        "ip_address",
        "address",
        "raw",
        "varlenBx2",
        "varlenH",
    ]
    names += ["varlenHutf8", "varlenIutf8", "varlenHx20", "varlenH-list", "varlenI", "doublevarlenH", "payload"]
    names += ["payload-list", "arrayH-?", "arrayH-q", "arrayH-d"]
    serializer = Serializer()
    assert serializer.get_available_formats() == names
    for name in names:
        packer = serializer.get_packer_for(name)
        assert isinstance(packer, Packer)
        assert callable(packer.pack)
        assert callable(packer.unpack)
    with pytest.raises(KeyError):
        serializer.get_packer_for("unknown")


def test_public_names() -> None:
    for name in serialization.__all__:
        assert hasattr(serialization, name)
    assert (
        serialization.ADDRESS_TYPE_IPV4,
        serialization.ADDRESS_TYPE_DOMAIN_NAME,
        serialization.ADDRESS_TYPE_IPV6,
    ) == (1, 2, 3)
    assert issubclass(PackError, RuntimeError)
    assert payload.Payload is Payload


def test_packer_attributes() -> None:
    get = default_serializer.get_packer_for
    assert (get("varlenHx20").length_format, get("varlenHx20").length_size, get("varlenHx20").base) == (">H", 2, 20)
    assert (get("arrayH-?").format_str, get("arrayH-?").real_format_str, get("arrayH-?").base) == ("?", "B", 1)
    assert (get("arrayH-q").length_format, get("arrayH-q").length_size, get("arrayH-q").base) == ("H", 2, 8)
    assert (get("4SH").format_str, get("4SH").size) == (">4sH", 6)
    assert (get("payload-list").length_format, get("payload-list").length_size) == (">B", 1)
    assert get("payload-list").packer is get("payload")
    assert get("payload").serializer is default_serializer
    assert (get("ip_address").ip_only, get("address").ip_only) == (True, False)
    assert issubclass(VarLenUtf8, VarLen)


def test_pack_and_unpack_one_value() -> None:
    serializer = Serializer()
    assert serializer.pack("H", 258) == b"\1\2"
    assert serializer.unpack("H", b"\1\2") == (258, 2)
    assert serializer.unpack("H", b"\0\1\2", 1) == (258, 3)
    assert serializer.unpack("bits", b"\xff") == (1, 1)
    inner, offset = serializer.unpack(Inner, b"\0\2\0\5")
    assert (inner.number, offset) == (5, 4)
    items, offset = serializer.unpack([Inner], b"\1\0\2\0\5")
    assert ([item.number for item in items], offset) == ([5], 5)
    with pytest.raises(struct.error):
        serializer.pack("B", 256)
    with pytest.raises(struct.error):
        serializer.unpack("H", b"\0")
    with pytest.raises(KeyError):
        serializer.unpack("unknown", b"\0")


class PackerJSON(Packer[Any, Any]):
    def pack(self, data: Any) -> Any:
        text = json.dumps(data).encode()
        return struct.pack(">H", len(text)) + text

    def unpack(self, data: Any, offset: Any, unpack_list: Any, *args: Any) -> Any:
        (size,) = struct.unpack_from(">H", data, offset)
        unpack_list.append(json.loads(data[offset + 2 : offset + 2 + size]))
        return offset + 2 + size


class WithJSON(VariablePayload):
    format_list = ["H", "json", "bits", "json", "raw"]
    names = ["first", "second", *(f"bit{number}" for number in range(8)), "third", "rest"]


@pytest.mark.parametrize("compiled", [False, True])
def test_custom_packer(compiled: Any) -> None:
    cls = type("Own", (WithJSON,), {})
    if compiled:
        vp_compile(cls)
    serializer = Serializer()
    serializer.add_packer("json", PackerJSON())
    made = cls(1, {"a": [1, None]}, 1, 0, 1, 0, 0, 0, 0, 1, "text", b"rest")
    data = serializer.pack_serializable(made)
    assert data == b'\0\1\0\x10{"a": [1, null]}\xa1\0\x06"text"rest'
    unpacked, _ = serializer.unpack_serializable(cls, data)
    assert vars(unpacked) == vars(made)
    inner, unpacked = serializer.unpack_serializable_list([Inner, cls], b"??\0\7" + data, 2)
    assert (inner.number, vars(unpacked)) == (7, vars(made))
    for size in range(len(data) - 4):
        with pytest.raises(PackError):
            serializer.unpack_serializable(cls, data[:size])


def test_formats_belong_to_one_serializer() -> None:
    serializer = Serializer()
    serializer.add_packer("json", PackerJSON())
    cls = type("Own", (VariablePayload,), {"format_list": ["json"], "names": ["value"]})
    assert serializer.pack_serializable(cls(1)) == b"\0\x011"
    with pytest.raises(PackError) as caught:
        default_serializer.pack_serializable(cls(1))
    assert str(caught.value) == (
        "Could not pack item: ('json', 1)\nKeyError: 'json' is no format of this serializer: add it with add_packer\n"
        "field: Own.value"
    )
    with pytest.raises(PackError, match="Could not unpack item: json\nKeyError: 'json'"):
        default_serializer.unpack_serializable(cls, b"\0\x011")
    assert "json" not in default_serializer.get_available_formats()


def test_replacing_a_format_changes_known_classes() -> None:
    serializer = Serializer()
    outer = type("Outer", (VariablePayload,), {"format_list": [Inner, "H"], "names": ["inner", "value"]})
    made = outer(Inner(1), 2)
    assert serializer.pack_serializable(made) == b"\0\2\0\1\0\2"
    serializer.add_packer("H", DefaultStruct("<H"))
    assert serializer.pack_serializable(made) == b"\0\2\1\0\2\0"
    unpacked, _ = serializer.unpack_serializable(outer, b"\0\2\1\0\2\0")
    assert (unpacked.inner.number, unpacked.value) == (1, 2)
    serializer.add_packer("H", DefaultStruct(">H"))
    assert serializer.unpack_serializable(outer, b"\0\2\0\1\0\2")[0].value == 2


def test_unknown_format_may_come_later() -> None:
    serializer = Serializer()
    cls = type("Own", (VariablePayload,), {"format_list": ["H", "later"], "names": ["a", "b"]})
    with pytest.raises(PackError):
        serializer.unpack_serializable(cls, bytes(4))
    with pytest.raises(PackError):
        serializer.pack_serializable(cls(1, 2))
    serializer.add_packer("later", DefaultStruct("<H"))
    assert serializer.pack_serializable(cls(1, 2)) == b"\0\1\2\0"
    assert serializer.unpack_serializable(cls, b"\0\1\2\0")[0].b == 2


class Duck:
    """A packer that is no Packer, and appends as many values as it likes."""

    def pack(self, item: Any) -> Any:
        return bytes([len(item), *item])

    def unpack(self, data: Any, offset: Any, unpack_list: Any, *args: Any) -> Any:
        count = data[offset]
        unpack_list.extend(data[offset + 1 : offset + 1 + count])
        unpack_list.append(len(unpack_list))
        return offset + 1 + count


def test_custom_packer_sees_the_values_before() -> None:
    class Own(Serializable):
        format_list = ["bits", "ipv4", "duck", "varlenHutf8"]

        def __init__(self, *values: Any) -> None:
            self.values = values

        def to_pack_list(self) -> Any:
            return [
                ("bits", *self.values[:8]),
                ("ipv4", self.values[8]),
                ("duck", self.values[9]),
                ("varlenHutf8", "x"),
            ]

        @classmethod
        def from_unpack_list(cls, *args: Any) -> Any:
            return cls(*args)

    serializer = Serializer()
    serializer.add_packer("duck", Duck())
    address = UDPv4Address("1.2.3.4", 5)
    data = serializer.pack_serializable(Own(*[1] * 8, address, [7, 8]))
    assert data.hex() == "ff010203040005020708000178"
    assert serializer.unpack_serializable(Own, data)[0].values == (*[1] * 8, address, 7, 8, 11, "x")


def test_flags_packer_that_returns_its_size() -> None:
    class Flags:
        def pack(self, flags: Any) -> Any:
            return struct.pack(">H", sum(flags))

        def unpack(self, data: Any, offset: Any, unpack_list: Any, *_: Any) -> Any:
            (value,) = struct.unpack_from(">H", data, offset)
            unpack_list.append([1 << bit for bit in range(16) if value >> bit & 1])
            return 2

    serializer = Serializer()
    serializer.add_packer("flags", Flags())
    cls = vp_compile(type("Own", (VariablePayload,), {"format_list": ["flags"], "names": ["flags"]}))
    assert serializer.pack_serializable(cls({1, 8})) == b"\0\x09"
    assert serializer.unpack_serializable(cls, b"\0\x09")[0].flags == [1, 8]


@pytest.mark.parametrize("result", [None, "text", 99])
def test_custom_packer_that_misbehaves(result: Any) -> None:
    class Bad:
        def unpack(self, data: Any, offset: Any, unpack_list: Any, *_: Any) -> Any:
            return result

    serializer = Serializer()
    serializer.add_packer("bad", Bad())
    cls = type("Own", (VariablePayload,), {"format_list": ["bad"], "names": []})
    with pytest.raises(PackError, match="Could not unpack item: bad"):
        serializer.unpack_serializable(cls, b"1234")


def test_own_combinations_of_packers() -> None:
    """Built-in packers with other parameters are read strictly as well."""
    serializer = Serializer()
    nested = NestedPayload(serializer)
    for name, packer in {
        "texts": ListOf(VarLenUtf8(">B"), ">H"),
        "inners": ListOf(nested, ">H"),
        "addresses": ListOf(Address()),
        "numbers": ListOf(DefaultStruct(">I")),
        "little": VarLen("<H"),
        "little-list": ListOf(VarLen(">H"), "<H"),
        "shorts": DefaultArray("h", "B"),
        "fours": VarLen(">B", 4),
        "text4": VarLenUtf8(">B", 4),
        "many-bits": ListOf(Bits()),
    }.items():
        serializer.add_packer(name, packer)
    samples = {
        "texts": (["a", "éé"], "0002016104c3a9c3a9"),
        "addresses": ([UDPv4Address("1.2.3.4", 5), DomainAddress("a", 1)], "0201010203040005020001610001"),
        "numbers": ([1, 2], "020000000100000002"),
        "little": (b"abc", "0300616263"),
        "little-list": ([b"a"], "0100000161"),
        "shorts": ([1, -1], "020100ffff"),
        "fours": (b"12345678", "023132333435363738"),
        "text4": ("12345678", "023132333435363738"),
    }
    for name, (value, hexadecimal) in samples.items():
        cls = type("Own", (VariablePayload,), {"format_list": ["B", name, "B"], "names": ["a", "b", "c"]})
        data = serializer.pack_serializable(cls(1, value, 2))
        assert data.hex() == "01" + hexadecimal + "02"
        assert serializer.unpack_serializable(cls, data)[0].b == value
        for size in range(len(data)):
            with pytest.raises(PackError):
                serializer.unpack_serializable(cls, data[:size])
            last = type("Last", (VariablePayload,), {"format_list": ["B", name], "names": ["a", "b"]})
            if size < len(data) - 1:
                with pytest.raises(PackError):
                    serializer.unpack_serializable(last, data[:size])

    values: list[Any] = []
    serializer.get_packer_for("inners").unpack(bytes.fromhex("000100020005"), 0, values, Inner)
    assert [item.number for item in values[0]] == [5]
    assert serializer.get_packer_for("many-bits").unpack(b"\2\xff\0", 0, values) == 3
    assert values[1] == [1] * 8 + [0] * 8


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_bytes_like_data(convert: Any) -> None:
    data = convert(b"\0\1\0\x02xy")
    cls = type("Own", (VariablePayload,), {"format_list": ["H", "varlenH"], "names": ["a", "b"]})
    unpacked, _ = default_serializer.unpack_serializable(cls, data)
    assert unpacked.b == b"xy"
    assert type(unpacked.b) is bytes
    (unpacked,) = default_serializer.unpack_serializable_list([cls], data)
    assert type(unpacked.b) is bytes
    packed = default_serializer.pack_serializable(cls(1, convert(b"xy")))
    assert packed == b"\0\1\0\x02xy"
    assert type(packed) is bytes


@pytest.mark.parametrize("data", [5, "text", None, [1]])
def test_data_that_are_no_bytes(data: Any) -> None:
    with pytest.raises(TypeError):
        default_serializer.unpack_serializable(Inner, data)
    with pytest.raises(TypeError):
        default_serializer.unpack_serializable_list([Inner], data)


def test_several_payloads() -> None:
    headers = BinMemberAuthenticationPayload(b"key"), GlobalTimeDistributionPayload(258)
    data = default_serializer.pack_serializable_list([*headers, Inner(7)])
    assert data.hex() == "00036b657900000000000001020007"
    classes = (BinMemberAuthenticationPayload, GlobalTimeDistributionPayload, Inner)
    for sequence in (classes, [*classes]):
        auth, time, inner = default_serializer.unpack_serializable_list(sequence, b"??" + data, 2)
        assert (auth.public_key_bin, time.global_time, inner.number) == (b"key", 258, 7)
    assert default_serializer.pack_serializable_list([]) == b""
    assert default_serializer.unpack_serializable_list([], b"") == []
    assert default_serializer.unpack_serializable_list([], b"ab", 1, False) == [b"b"]
    assert default_serializer.pack_serializable_list(iter([Inner(7)])) == b"\0\7"
    assert default_serializer.unpack_serializable_list([Inner], b"\0\7", consume_all=False)[1] == b""


def test_extra_data_message() -> None:
    with pytest.raises(PackError, match=r"'Inner'.*extra data: 2 of 4 bytes: ffee"):
        default_serializer.unpack_serializable_list([Inner], b"\0\1\xff\xee")
    with pytest.raises(PackError) as caught:
        default_serializer.unpack_serializable_list([Inner], bytes(60000))
    assert len(str(caught.value)) < 250
    with pytest.raises(PackError, match="nothing at offset 5 of 2 bytes"):
        default_serializer.unpack_serializable_list([], b"ab", 5)


def test_pack_error_message() -> None:
    two = type("Two", (VariablePayload,), {"format_list": ["B", "H"], "names": ["a", "b"]})
    with pytest.raises(PackError) as caught:
        default_serializer.pack_serializable(two(1, -1))
    assert str(caught.value).startswith("Could not pack item: ('H', -1)\nerror: ")
    assert str(caught.value).endswith("\nfield: Two.b")
    assert isinstance(caught.value.__cause__, struct.error)
    large = type("Large", (VariablePayload,), {"format_list": ["varlenH"], "names": ["a"]})
    with pytest.raises(PackError) as caught:
        default_serializer.pack_serializable(large(bytes(70000)))
    assert str(caught.value).startswith("Could not pack item: ('varlenH', b'\\x00")
    assert str(caught.value).split("\n")[1].startswith("error: ")
    assert len(str(caught.value)) <= MESSAGE_LIMIT


def test_unpack_error_message() -> None:
    cls = type(
        "Four", (VariablePayload,), {"format_list": ["I", "H", "varlenH", "ipv4"], "names": ["a", "b", "c", "d"]}
    )
    data = default_serializer.pack_serializable(cls(1, 2, b"123", ("1.2.3.4", 5)))
    expected = ["I"] * 4 + ["H"] * 2 + ["varlenH"] * 5 + ["ipv4"] * 6
    for size, name in enumerate(expected):
        with pytest.raises(PackError, match=f"^Could not unpack item: {name}\n"):
            default_serializer.unpack_serializable(cls, data[:size])
    with pytest.raises(PackError, match=r"^Could not unpack item: ipv4\nthe data end after 5 bytes\nfield: Four.d$"):
        default_serializer.unpack_serializable(cls, data[:-1])


@pytest.mark.parametrize(
    ("fmt", "value"),
    [
        ("H", "1"),
        ("H", None),
        ("HH", (1, 2)),
        ("c", b"ab"),
        ("raw", "text"),
        ("raw", 5),
        ("varlenH", "text"),
        ("varlenH", 5),
        ("varlenH", [1, 2]),
        ("varlenHutf8", b"bytes"),
        ("varlenHutf8", "\ud800"),
        ("ipv4", ("::1", 1)),
        ("ipv4", None),
        ("ipv4", ("1.2.3.4", 65536)),
        ("ip_address", ("host", 1)),
        ("address", (1, 1)),
        ("address", ("host", -1)),
        ("varlenH-list", ["text"]),
        ("payload", 5),
        ("payload-list", [5]),
        ("payload-list", 5),
        ("arrayH-q", ["x"]),
        ("arrayH-q", (item for item in ())),
        ("payload-list", [Inner(1)] * 256),
        ("varlenHx20", bytes(20 * 65536)),
    ],
)
def test_values_that_can_not_be_packed(fmt: Any, value: Any) -> None:
    for formats in ([fmt], ["B", fmt, "B"]):
        names = ["a", "b", "c"][: len(formats)]
        cls = type("Own", (VariablePayload,), {"format_list": formats, "names": names})
        made = cls(value) if len(formats) == 1 else cls(1, value, 1)
        with pytest.raises(PackError, match="Could not pack item"):
            default_serializer.pack_serializable(made)


def test_unusual_addresses_are_packed() -> None:
    cls = type("Own", (VariablePayload,), {"format_list": ["ipv4", "ip_address", "address"], "names": ["a", "b", "c"]})
    made = cls(["127.1", 5], ["1.2.3.4", 6, "more"], ("127.1", 7))
    packed = default_serializer.pack_serializable(made)
    assert packed.hex() == "7f0000010005010102030400060200053132372e310007"
    assert default_serializer.pack_serializable(made) == packed


def test_mapped_address_is_ipv6() -> None:
    values: list[Any] = []
    data = default_serializer.pack("address", ("::ffff:1.2.3.4", 5))
    default_serializer.get_packer_for("address").unpack(data, 0, values)
    assert same(values, [UDPv6Address("::ffff:1.2.3.4", 5)])


def test_errors_of_the_payload_itself_pass_through() -> None:
    class Own(Serializable):
        format_list = ["B"]

        def to_pack_list(self) -> Any:
            raise ZeroDivisionError

        @classmethod
        def from_unpack_list(cls, *args: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        default_serializer.pack_serializable(Own())
    with pytest.raises(ZeroDivisionError):
        default_serializer.unpack_serializable(Own, b"\0")
    outer = type("Outer", (VariablePayload,), {"format_list": [Own], "names": ["own"]})
    with pytest.raises(PackError, match="ZeroDivisionError"):
        default_serializer.unpack_serializable(outer, b"\0\1\0")
    with pytest.raises(PackError, match="ZeroDivisionError"):
        default_serializer.pack_serializable(outer(Own()))
    with pytest.raises(AttributeError):
        default_serializer.pack_serializable(5)


# --- nesting


def test_left_over_bytes_of_inner_payloads_are_ignored() -> None:
    outer = type("Outer", (VariablePayload,), {"format_list": [Inner, [Inner], "B"], "names": ["a", "b", "c"]})
    unpacked, offset = default_serializer.unpack_serializable(outer, bytes.fromhex("00040001ffff0100030002ff09"))
    assert (unpacked.a.number, unpacked.b[0].number, unpacked.c, offset) == (1, 2, 9, 13)


def test_inner_payload_does_not_reach_beyond_its_length() -> None:
    outer = type("Outer", (VariablePayload,), {"format_list": [Inner, "raw"], "names": ["a", "b"]})
    with pytest.raises(PackError, match="payload Inner"):
        default_serializer.unpack_serializable(outer, bytes.fromhex("00010001ffff"))
    many = type("Many", (VariablePayload,), {"format_list": [[Inner], "raw"], "names": ["a", "b"]})
    with pytest.raises(PackError, match="payload-list Inner"):
        default_serializer.unpack_serializable(many, bytes.fromhex("020002000100010001ffff"))


def test_nested_raw_ends_with_its_payload() -> None:
    tail = type("Tail", (VariablePayload,), {"format_list": ["raw"], "names": ["tail"]})
    outer = type("Outer", (VariablePayload,), {"format_list": [[tail], tail], "names": ["many", "one"]})
    data = default_serializer.pack_serializable(outer([tail(b"a"), tail(b""), tail(b"cde")], tail(b"f")))
    unpacked, _ = default_serializer.unpack_serializable(outer, data)
    assert [item.tail for item in [*unpacked.many, unpacked.one]] == [b"a", b"", b"cde", b"f"]


class Tree(VariablePayload):
    format_list = ["B"]
    names = ["value", "children"]


Tree.format_list = ["B", [Tree]]


def tree_data(depth: int) -> bytes:
    data = b"\1\0"
    for _ in range(depth):
        data = b"\1\1" + struct.pack(">H", len(data)) + data
    return data


def test_nesting_is_limited() -> None:
    unpacked, _ = default_serializer.unpack_serializable(Tree, tree_data(MAX_NESTING))
    depth = 0
    while unpacked.children:
        (unpacked,) = unpacked.children
        depth += 1
    assert depth == MAX_NESTING
    for depth in (MAX_NESTING + 1, 5000):
        with pytest.raises(PackError) as caught:
            default_serializer.unpack_serializable(Tree, tree_data(depth))
        assert len(str(caught.value)) <= MESSAGE_LIMIT


class HandWrittenTree(Payload):
    format_list = ["B"]

    def __init__(self, value: Any, children: Any) -> None:
        self.value = value
        self.children = children

    def to_pack_list(self) -> Any:
        return [("B", self.value), ("payload-list", self.children)]

    @classmethod
    def from_unpack_list(cls, *args: Any) -> Any:
        return cls(*args)


HandWrittenTree.format_list = ["B", [HandWrittenTree]]


class Chain(Tree):
    names = ["value", "child"]


Chain.format_list = ["B", Chain]


def nested(cls: Any, depth: int, innermost: Any = 0, end: Any = ()) -> Any:
    made = cls(innermost, end)
    for _ in range(depth):
        made = cls(1, made if cls is Chain else [made])
    return made


@pytest.mark.parametrize("cls", [Tree, HandWrittenTree])
def test_what_is_packed_can_be_unpacked(cls: Any) -> None:
    data = default_serializer.pack_serializable(nested(cls, MAX_NESTING))
    assert len(data) == len(tree_data(MAX_NESTING))
    default_serializer.unpack_serializable(cls, data)


@pytest.mark.parametrize("cls", [Tree, HandWrittenTree])
@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 498, 2000])
def test_nesting_is_limited_for_the_sender_too(cls: Any, depth: int) -> None:
    with pytest.raises(PackError, match=f"nested deeper than {MAX_NESTING} levels\n") as caught:
        default_serializer.pack_serializable(nested(cls, depth))
    assert len(str(caught.value)) <= MESSAGE_LIMIT
    with pytest.raises(PackError, match=f"nested deeper than {MAX_NESTING} levels\n"):
        default_serializer.pack_serializable_list([Inner(1), nested(cls, depth)])


def test_single_payloads_in_one_another_are_limited() -> None:
    leaf = Inner(1)
    assert len(default_serializer.pack_serializable(nested(Chain, MAX_NESTING - 1, end=leaf))) == 3 * MAX_NESTING + 2
    with pytest.raises(PackError, match="nested deeper"):
        default_serializer.pack_serializable(nested(Chain, MAX_NESTING, end=leaf))


def test_a_value_deep_inside_is_tried_a_few_times_only() -> None:
    class Counted:
        tried = 0

        def __index__(self) -> int:
            self.tried += 1
            raise ValueError

        def __repr__(self) -> str:
            raise RecursionError

    bad = Counted()
    with pytest.raises(PackError, match="Could not pack item: <tuple>\nValueError: "):
        default_serializer.pack_serializable(nested(Tree, MAX_NESTING, bad))
    assert bad.tried <= 4


@pytest.mark.parametrize("depth", [10, 3000])
def test_packers_that_know_no_depth_end_too(depth: int) -> None:
    serializer = Serializer()
    other = Serializer()
    for one, another in ((serializer, other), (other, serializer)):
        one.add_packer("payload-list", ListOf(NestedPayload(another)))
    tried = 0

    class Counted(Tree):
        @classmethod
        def _wire_getter(cls) -> Any:
            get = super()._wire_getter()

            def counted(payload: Any) -> Any:
                nonlocal tried
                tried += 1
                return get(payload)

            return counted

    Counted.format_list = ["B", [Counted]]
    with pytest.raises(PackError, match="Could not pack item: "):
        serializer.pack_serializable(nested(Counted, depth, "no number"))
    assert tried < 2000


def test_payload_that_contains_itself_can_not_be_packed() -> None:
    tree = Tree(1, [])
    tree.children.append(tree)
    limit = sys.getrecursionlimit()
    with pytest.raises(PackError):
        default_serializer.pack_serializable(tree)
    assert sys.getrecursionlimit() == limit


def test_nested_pack_error() -> None:
    outer = type("Outer", (VariablePayload,), {"format_list": [Inner, [Inner]], "names": ["a", "b"]})
    for made, field in ((outer(Inner(-1), []), "a"), (outer(Inner(1), [Inner(1), Inner(-1)]), "b[1]")):
        with pytest.raises(PackError) as caught:
            default_serializer.pack_serializable(made)
        assert type(caught.value) is PackError
        assert str(caught.value).startswith("Could not pack item: ('H', -1)\nerror: ")
        assert str(caught.value).endswith(f"\nfield: Outer.{field} > Inner.number")
        assert isinstance(caught.value.__cause__, struct.error)


def test_nested_packer_of_another_serializer() -> None:
    other = Serializer()
    other.add_packer("H", DefaultStruct("<H"))
    serializer = Serializer()
    serializer.add_packer("payload", NestedPayload(other))
    serializer.add_packer("payload-list", ListOf(NestedPayload(other)))
    outer = type("Outer", (VariablePayload,), {"format_list": [Inner, [Inner]], "names": ["a", "b"]})
    data = serializer.pack_serializable(outer(Inner(1), [Inner(2)]))
    assert data.hex() == "000201000100020200"
    unpacked, _ = serializer.unpack_serializable(outer, data)
    assert (unpacked.a.number, unpacked.b[0].number) == (1, 2)


def test_nested_without_class() -> None:
    cls = type("Own", (VariablePayload,), {"format_list": ["payload"], "names": ["a"]})
    assert default_serializer.pack_serializable(cls(Inner(1))) == b"\0\2\0\1"
    with pytest.raises(PackError):
        default_serializer.unpack_serializable(cls, b"\0\2\0\1")


# --- hand-written payloads


class OldStyle(Payload):
    msg_id = 4
    format_list = ["H", "varlenH"]

    def __init__(self, a: Any, b: Any) -> None:
        super().__init__()
        self.a = a
        self.b = b

    def to_pack_list(self) -> Any:
        return [("H", self.a + 1), ("varlenH", self.b)]

    @classmethod
    def from_unpack_list(cls, a: Any, b: Any) -> Any:
        return cls(a - 1, b)


def test_hand_written_payload() -> None:
    assert default_serializer.pack_serializable(OldStyle(1, b"x")) == b"\0\2\0\1x"
    assert vars(default_serializer.unpack_serializable(OldStyle, b"\0\2\0\1x")[0]) == {"a": 1, "b": b"x"}


def test_extended_hand_written_payload() -> None:
    class Extended(OldStyle):
        format_list = [*OldStyle.format_list, "B"]

        def __init__(self, a: Any, b: Any, c: Any) -> None:
            super().__init__(a, b)
            self.c = c

        def to_pack_list(self) -> Any:
            return [*super().to_pack_list(), ("B", self.c)]

        @classmethod
        def from_unpack_list(cls, a: Any, b: Any, c: Any) -> Any:
            return cls(a, b, c)

    data = default_serializer.pack_serializable(Extended(1, b"x", 3))
    assert data == b"\0\2\0\1x\3"
    assert default_serializer.unpack_serializable(Extended, data)[0].c == 3


def test_extended_header() -> None:
    class Signed(BinMemberAuthenticationPayload):
        format_list = [*BinMemberAuthenticationPayload.format_list, "B"]

        def __init__(self, public_key_bin: Any, version: Any = 7) -> None:
            super().__init__(public_key_bin)
            self.version = version

        def to_pack_list(self) -> Any:
            return [*super().to_pack_list(), ("B", self.version)]

    data = default_serializer.pack_serializable(Signed(b"key"))
    assert data == b"\0\3key\7"
    assert vars(default_serializer.unpack_serializable(Signed, data)[0]) == {"public_key_bin": b"key", "version": 7}


def test_abstract_classes() -> None:
    for cls in (Serializable, Payload, Packer):
        with pytest.raises(TypeError):
            cls()
    assert Serializable.format_list == []
    assert Packer[int, Any]


def test_str_lists_the_fields() -> None:
    class A(Payload):
        format_list = ["B"]
        names = ["zz"]

        def __init__(self, **values: Any) -> None:
            vars(self).update(values)

        def to_pack_list(self) -> Any:
            return []

        @classmethod
        def from_unpack_list(cls, *args: Any) -> Any:
            return cls()

    assert str(A(b=3, a=1, _hidden=3)) == "A\n| a: 1\n| b: 3"
    assert str(OldStyle(1, b"x")) == "OldStyle\n| a: 1\n| b: b'x'\n| msg_id: 4"


# --- caches


def test_unpacked_addresses_are_shared() -> None:
    values: list[Any] = []
    for _ in range(2):
        IPv4().unpack(b"\1\2\3\4\0\5", 0, values)
        Address().unpack(b"\1\1\2\3\4\0\5", 0, values)
    assert all(value is values[0] for value in values)
    assert Raw().pack(b"x") == b"x"
