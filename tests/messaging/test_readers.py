"""Decoders against data that nobody meant to send."""

# Payload classes are made at run time here: type checkers can not follow.
# mypy: disable-error-code="assignment, call-arg, no-untyped-def, var-annotated"

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.errors import MESSAGE_LIMIT
from ipv8.messaging.inet import ipv4_to_bytes, ipv4_to_text, ipv6_to_bytes, ipv6_to_text
from ipv8.messaging.layouts import MAX_NESTING, WHOLE
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPuncturePayload,
    NewPunctureRequestPayload,
    PuncturePayload,
    PunctureRequestPayload,
)
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import Packer, PackError, Serializable, Serializer, default_serializer

PROPERTY = settings(deadline=None, max_examples=150)

PAYLOADS = [
    BinMemberAuthenticationPayload,
    GlobalTimeDistributionPayload,
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPuncturePayload,
    NewPunctureRequestPayload,
    PuncturePayload,
    PunctureRequestPayload,
]


@vp_compile
class Inner(VariablePayload):
    format_list = ["H", "varlenH"]
    names = ["number", "text"]

    def __eq__(self, other: object) -> Any:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None


def unsigned(bits: Any) -> Any:
    return st.integers(0, (1 << bits) - 1)


def signed(bits: Any) -> Any:
    return st.integers(-1 << bits - 1, (1 << bits - 1) - 1)


def is_strict(parse: Any, text: Any) -> Any:
    try:
        parse(text)
    except OSError:
        return False
    return True


ipv4 = st.builds(UDPv4Address, st.binary(min_size=4, max_size=4).map(ipv4_to_text), unsigned(16))
ipv6 = st.builds(UDPv6Address, st.binary(min_size=16, max_size=16).map(ipv6_to_text), unsigned(16))
hosts = st.text(max_size=9).filter(
    lambda text: not is_strict(ipv4_to_bytes, text) and not is_strict(ipv6_to_bytes, text)
)
domain = st.builds(DomainAddress, hosts, unsigned(16))
inner = st.builds(Inner, unsigned(16), st.binary(max_size=5))
flag = st.integers(0, 1)

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    "?": st.booleans(),
    "B": unsigned(8),
    "c": st.binary(min_size=1, max_size=1),
    "f": st.floats(width=32, allow_nan=False),
    "d": st.floats(allow_nan=False),
    "H": unsigned(16),
    "I": unsigned(32),
    "l": signed(32),
    "q": signed(64),
    "Q": unsigned(64),
    "20s": st.binary(min_size=20, max_size=20),
    "bits": st.tuples(*[flag] * 8),
    "ipv4": ipv4,
    "ip_address": st.one_of(ipv4, ipv6),
    "address": st.one_of(ipv4, ipv6, domain),
    "varlenBx2": st.lists(st.binary(min_size=2, max_size=2), max_size=3).map(b"".join),
    "varlenH": st.binary(max_size=9),
    "varlenHutf8": st.text(max_size=9),
    "varlenIutf8": st.text(max_size=9),
    "varlenHx20": st.lists(st.binary(min_size=20, max_size=20), max_size=2).map(b"".join),
    "varlenH-list": st.lists(st.binary(max_size=4), max_size=3),
    "varlenI": st.binary(max_size=9),
    "arrayH-?": st.lists(st.booleans(), max_size=4),
    "arrayH-q": st.lists(signed(64), max_size=4),
    "arrayH-d": st.lists(st.floats(allow_nan=False), max_size=4),
    "raw": st.binary(max_size=9),
    "payload": inner,
    "payload-list": st.lists(inner, max_size=3),
    # These can be read only: a pack list has one value a format.
    "BBH": st.nothing(),
    "HH": st.nothing(),
    "QQHHBH": st.nothing(),
    "4SH": st.nothing(),
}
READABLE = [*VALUES]
WRITABLE = [name for name, values in VALUES.items() if values is not VALUES["HH"]]
ENTRIES: dict[str, Any] = {"payload": Inner, "payload-list": [Inner]}


class Anything(Serializable):
    """The values of its formats, as they come."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def to_pack_list(self) -> list[tuple[Any, ...]]:
        return []

    @classmethod
    def from_unpack_list(cls, *args: Any) -> Anything:
        return cls(*args)


def payload_class(formats: list[str]) -> type[VariablePayload]:
    names = [f"field{number}" for number in range(sum(8 if name == "bits" else 1 for name in formats))]
    entries = [ENTRIES.get(name, name) for name in formats]
    return vp_compile(type("Drawn", (VariablePayload,), {"format_list": entries, "names": names}))


@st.composite
def drawn(draw: Any) -> Any:
    """A payload of random formats, and its values."""
    formats = draw(st.lists(st.sampled_from([name for name in WRITABLE if name != "raw"]), max_size=6))
    formats += draw(st.sampled_from([[], ["raw"]]))
    values: list[Any] = []
    for name in formats:
        value = draw(VALUES[name])
        values += value if name == "bits" else [value]
    return payload_class(formats)(*values), values, formats


def read_by_packers(formats: list[str], data: bytes, offset: int) -> tuple[list[Any], int] | None:
    """What the packers make of data one by one, nothing if a field does not fit: the meaning of strict."""
    values: list[Any] = []
    for name in formats:
        try:
            arguments = (Inner,) if name in ENTRIES else ()
            offset = default_serializer.get_packer_for(name).unpack(data, offset, values, *arguments)
        except (struct.error, ValueError, RuntimeError):
            return None
        if offset > len(data):
            return None
    return values, offset


@PROPERTY
@given(drawn(), st.binary(max_size=3))
def test_round_trip(sample: Any, before: Any) -> None:
    payload, values, _ = sample
    data = default_serializer.pack_serializable(payload)
    unpacked, offset = default_serializer.unpack_serializable(type(payload), before + data, len(before))
    assert [getattr(unpacked, name) for name in payload.names] == values
    assert offset == len(before) + len(data)
    assert default_serializer.pack_serializable(unpacked) == data


@PROPERTY
@given(drawn())
def test_pack_list_gives_the_same_bytes(sample: Any) -> None:
    payload, _, _ = sample
    packers = [(default_serializer.get_packer_for(name), arguments) for name, *arguments in payload.to_pack_list()]
    expected = b"".join(packer.pack(*arguments) for packer, arguments in packers)
    assert default_serializer.pack_serializable(payload) == expected


@PROPERTY
@given(drawn())
def test_truncation(sample: Any) -> None:
    payload, _, formats = sample
    data = default_serializer.pack_serializable(payload)
    needed = len(data) - (len(payload.to_pack_list()[-1][1]) if formats[-1:] == ["raw"] else 0)
    for size in range(len(data)):
        if size < needed:
            with pytest.raises(PackError):
                default_serializer.unpack_serializable(type(payload), data[:size])
            with pytest.raises(PackError):
                default_serializer.unpack_serializable_list([type(payload)], data[:size], consume_all=False)
        else:
            assert default_serializer.unpack_serializable(type(payload), data[:size])[1] == size


# Small numbers are likely lengths, counts and address types; a lot of them makes data that nearly fit.
likely = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 7, 255]), max_size=60).map(bytes)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(READABLE), max_size=5), st.one_of(likely, st.binary(max_size=80)), st.integers(0, 3))
def test_any_data_are_read_as_the_packers_do(formats: Any, data: Any, offset: Any) -> None:
    cls = type("Drawn", (Anything,), {"format_list": [ENTRIES.get(name, name) for name in formats]})
    expected = read_by_packers(formats, data, offset) if offset <= len(data) else None
    if expected is None:
        if formats:
            with pytest.raises(PackError) as caught:
                default_serializer.unpack_serializable(cls, data, offset)
            assert len(str(caught.value)) <= MESSAGE_LIMIT
        return
    unpacked, stop = default_serializer.unpack_serializable(cls, data, offset)
    assert repr([*unpacked.values]) == repr(expected[0])
    assert stop == expected[1]


@PROPERTY
@given(drawn(), st.data())
def test_flipped_bits(sample: Any, data: Any) -> None:
    payload, _, _ = sample
    packed = bytearray(default_serializer.pack_serializable(payload))
    if not packed:
        return
    for position in data.draw(st.lists(st.integers(0, len(packed) * 8 - 1), min_size=1, max_size=3)):
        packed[position // 8] ^= 1 << position % 8
    try:
        unpacked, offset = default_serializer.unpack_serializable(type(payload), bytes(packed))
    except PackError:
        return
    assert offset <= len(packed)
    default_serializer.pack_serializable(unpacked)


@PROPERTY
@given(st.sampled_from(PAYLOADS), st.one_of(likely, st.binary(max_size=150)), st.integers(0, 3))
def test_base_protocol_payloads(cls, data: Any, offset: Any) -> None:
    try:
        unpacked, stop = default_serializer.unpack_serializable(cls, data, offset)
    except PackError:
        return
    assert offset < stop <= len(data)
    # What was read can be sent; the advice flag alone comes out inverted, unknown flags are not kept.
    packed = default_serializer.pack_serializable(unpacked)
    assert len(packed) == stop - offset


@PROPERTY
@given(st.lists(st.sampled_from(PAYLOADS), min_size=1, max_size=3), st.one_of(likely, st.binary(max_size=150)))
def test_lists_are_what_their_payloads_are(classes: Any, data: Any) -> None:
    offset, expected = 0, []
    try:
        for cls in classes:
            payload, offset = default_serializer.unpack_serializable(cls, data, offset)
            expected.append(payload)
    except PackError:
        with pytest.raises(PackError):
            default_serializer.unpack_serializable_list(classes, data, consume_all=False)
        return
    *payloads, rest = default_serializer.unpack_serializable_list(classes, data, consume_all=False)
    assert [vars(payload) for payload in payloads] == [vars(payload) for payload in expected]
    assert rest == data[offset:]
    if rest:
        with pytest.raises(PackError):
            default_serializer.unpack_serializable_list(classes, data)


LENGTHS = {
    "varlenH": ">H",
    "varlenI": ">I",
    "varlenBx2": ">B",
    "varlenHx20": ">H",
    "varlenHutf8": ">H",
    "varlenIutf8": ">I",
    "doublevarlenH": ">H",
    "varlenH-list": ">B",
    "payload": ">H",
    "payload-list": ">B",
    "arrayH-?": "<H",
    "arrayH-q": "<H",
    "arrayH-d": "<H",
}


@pytest.mark.parametrize(("name", "header"), LENGTHS.items())
def test_false_length(name: Any, header: Any) -> None:
    """A length that promises everything is refused without making room for it."""
    largest = struct.pack(header, (1 << 8 * struct.calcsize(header)) - 1)
    for formats in ([name], ["I", name, "varlenH"]):
        cls = type("Liar", (Anything,), {"format_list": [ENTRIES.get(entry, entry) for entry in formats]})
        data = (bytes(4) if len(formats) > 1 else b"") + largest
        for body in (b"", b"\0", bytes(40)):
            tracemalloc.start()
            with pytest.raises(PackError):
                default_serializer.unpack_serializable(cls, data + body)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 1 << 20  # pytest takes most of it; a length of four bytes announced 4 GiB


def test_number_too_large_for_an_offset() -> None:
    serializer = Serializer()
    serializer.add_packer("varlenQ", type(serializer.get_packer_for("varlenH"))(">Q"))
    for formats in (["varlenQ"], ["varlenQ", "H"], ["varlenQ", "varlenQ"], ["bits", "varlenQ", "ipv4"]):
        cls = type("Liar", (Anything,), {"format_list": formats})
        with pytest.raises(PackError):
            serializer.unpack_serializable(cls, b"\xff" * 60)


def test_offset_beyond_the_end() -> None:
    for formats in (["raw"], ["varlenH"], ["H", "raw"], ["bits"], ["address"], ["arrayH-q"]):
        cls = type("Drawn", (Anything,), {"format_list": formats})
        with pytest.raises(PackError):
            default_serializer.unpack_serializable(cls, b"12", 3)
    raw = type("Drawn", (Anything,), {"format_list": ["raw"]})
    assert default_serializer.unpack_serializable(raw, b"12", 2)[0].values == (b"",)


class Odd(Packer[int, Any]):
    """Half of a number, if it is even, behind as many values of the same payload as it says."""

    def pack(self, data: int) -> bytes:
        return bytes((2 * data,))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        if data[offset] % 2:
            raise ValueError("odd")
        unpack_list.append((len(unpack_list), data[offset] // 2))
        return offset + 1


def odd_serializer() -> Serializer:
    serializer = Serializer()
    serializer.add_packer("odd", Odd())
    return serializer


@settings(deadline=None, max_examples=500)
@given(st.lists(st.lists(st.sampled_from([*READABLE, "odd"]), max_size=4), max_size=3),
       st.one_of(likely, st.binary(max_size=80)), st.integers(0, 3))
def test_several_payloads_are_read_as_one_behind_the_other(formats: Any, data: Any, start: Any) -> None:
    serializer = odd_serializer()
    classes = tuple(type("Drawn", (Anything,), {"format_list": [ENTRIES.get(name, name) for name in names]})
                    for names in formats)
    expected, offset = [], start
    for cls in classes:
        read, build = serializer.decoders[cls]
        values, offset = read(data, offset, 0)
        if offset < 0:
            break
        expected.append(build(*values))
    read, build = serializer.decoders[classes]
    found, stop = read(data, start, 0)
    assert stop == offset
    if stop < 0:
        assert str(found).partition("\n")[0] == str(values).partition("\n")[0], "the same field is to blame"
        return
    assert [repr(payload.values) for payload in build(*found)] == [repr(payload.values) for payload in expected]
    whole, end = read(data, start, WHOLE)
    assert end == stop
    if end == len(data):
        assert repr(whole) == repr(found)


@PROPERTY
@given(drawn(), st.binary(max_size=3))
def test_surplus(sample: Any, surplus: bytes) -> None:
    payload, _, formats = sample
    packed = default_serializer.pack_serializable(payload)
    if surplus and "raw" not in formats:
        with pytest.raises(PackError, match=f"extra data: {len(surplus)} of"):
            default_serializer.unpack_serializable_list([type(payload)], packed + surplus)
    else:
        (read,) = default_serializer.unpack_serializable_list([type(payload)], packed)
        assert repr([*vars(read).values()]) == repr([*vars(payload).values()])


def test_depth_does_not_depend_on_how_much_is_to_be_read() -> None:
    class Nest(VariablePayload):
        names = ["inside"]

    Nest.format_list = [[Nest]]
    data = b"\x00"
    for _ in range(MAX_NESTING):
        data = b"\x01" + len(data).to_bytes(2, "big") + data
    for read in (default_serializer.unpack_serializable, lambda cls, data: default_serializer.unpack_serializable_list(
            [cls], data)):
        read(Nest, data)
        with pytest.raises(PackError, match="deeper than"):
            read(Nest, b"\x01" + len(data).to_bytes(2, "big") + data)


@pytest.mark.parametrize("name", ["ip_address", "address"])
def test_unknown_type_of_address(name: str) -> None:
    cls = payload_class(["H", name])
    with pytest.raises(PackError, match=f"item: {name}\nthere is no type 9\nfield: Drawn.field1$"):
        default_serializer.unpack_serializable(cls, b"\x00\x01\x09" + bytes(30))
