"""What decoding costs grows no faster than the data.

Each decoder is given data of a size and of four times that size, of the kinds that could cost it most. Three things are
compared: the bytecode instructions that Python executes, the memory that is in use at once, and the time. The first two
are the same in each run, but do not include what is done inside of a function in C, such as a regular expression. The
time does, but depends on the machine: it may grow twice as much as it should, and is the best of several attempts.
"""

from __future__ import annotations

import gc
import hashlib
import struct
import tracemalloc
import urllib.parse
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import pairwise
from time import thread_time
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.bootstrapping.memory import bootstrapper as remembered
from ipv8.bootstrapping.multicast import wire as multicast
from ipv8.dht.payload import FindResponsePayload, NodePacker, StoreRequestPayload
from ipv8.dht.values import parse, unsigned
from ipv8.keyvault import encoding
from ipv8.keyvault.crypto import ECCrypto, default_eccrypto
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK
from ipv8.messaging.composites import DictFormat, EnumFormat, ListFormat, OptionalFormat, TupleFormat
from ipv8.messaging.inet import classic_ipv4_to_bytes, ipv4_to_bytes, ipv6_to_bytes, network_of, parse_host
from ipv8.messaging.interfaces.portmapping import natpmp, pcp, ssdp, upnp
from ipv8.messaging.interfaces.portmapping.gateway import PortMappingError
from ipv8.messaging.interfaces.portmapping.requester import check_xml
from ipv8.messaging.interfaces.portmapping.routes import parse_routes
from ipv8.messaging.interfaces.portmapping.upnp import is_local_location
from ipv8.messaging.layouts import MAX_NESTING, Converted, Fixed, Variant, entry_name
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload import IntroductionResponsePayload, NewIntroductionResponsePayload
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.messaging.serializable import CompositeFormat, format_and_class
from ipv8.messaging.serialization import ListOf, PackError, Serializer
from ipv8.peerdiscovery.payload import SimilarityRequestPayload, SimilarityResponsePayload

from ..instructions import instructions

if TYPE_CHECKING:
    from collections.abc import Callable

FACTOR = 4
TIMED = [128, 512, 2048, 8192]
"""In this order, because a decoder whose cost grows much faster than the data would take very long for the last one."""

WEIGHED = [8192, 32768]
STEPPED = [256, 1024]

SPARE_STEPS = 500
SPARE_BYTES = 20_000
SPARE_SECONDS = 0.002
ATTEMPTS = 3

SERIALIZER = Serializer()


def run(decode: Callable[[], Any]) -> None:
    """Decode, whatever comes of it; errors are put into words."""
    try:
        decode()
    except (PackError, PortMappingError, ValueError, OSError, struct.error, IndexError) as error:
        str(error)


def steps(decode: Callable[[], Any]) -> int:
    """The bytecode instructions that decoding takes."""
    return instructions(partial(run, decode))


def memory(decode: Callable[[], Any]) -> int:
    """The bytes in use at once while decoding."""
    gc.collect()
    tracemalloc.start()
    try:
        run(decode)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def seconds(decode: Callable[[], Any]) -> float:
    """The processor time that decoding takes, at best: other programs and collections of garbage do not count."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(ATTEMPTS):
            start = thread_time()
            run(decode)
            best = min(best, thread_time() - start)
    finally:
        gc.enable()
    return best


def assert_linear(decode: Callable[[bytes], Any], data: Callable[[int], Any]) -> None:
    run(partial(decode, data(TIMED[0])))  # what is made at first use is not part of the cost
    for small, large in pairwise(TIMED):
        shorter, longer = partial(decode, data(small)), partial(decode, data(large))
        for _ in range(ATTEMPTS):
            if seconds(longer) <= 2 * FACTOR * seconds(shorter) + SPARE_SECONDS:
                break
        else:
            pytest.fail(f"{large} bytes take too much longer than {small}")
    shorter, longer = (partial(decode, data(size)) for size in WEIGHED)
    assert memory(longer) <= 1.25 * FACTOR * memory(shorter) + SPARE_BYTES
    shorter, longer = (partial(decode, data(size)) for size in STEPPED)
    assert steps(longer) <= 1.25 * FACTOR * steps(shorter) + SPARE_STEPS


# --- formats


class Colour(Enum):
    RED = 1


@dataclass
class Inner(DataClassPayload):
    number: int
    text: str


@dataclass
class Tree(DataClassPayload):
    name: bytes
    children: list[Tree]


@dataclass
class Plain:
    name: str
    others: list[Plain]
    by_name: dict[str, int]


def counted(header: str, item: bytes, largest: int = 65535) -> Callable[[int], bytes]:
    """As many items as fit into a number of bytes, after their number; longer ones if the number does not suffice."""
    def make(size: int) -> bytes:
        count = min(largest, size // len(item))
        return struct.pack(header, count) + item * count
    return make


def behind_length(header: str, unit: int = 1, content: bytes = b"x") -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        count = min(size // unit, (1 << 8 * struct.calcsize(header)) - 1)
        return struct.pack(header, count) + (content * size)[:count * unit]
    return make


def few_long(header: str, count: int) -> Callable[[int], bytes]:
    """A number of bodies that share the bytes."""
    return lambda size: bytes((count,)) + (struct.pack(header, size // count) + b"x" * (size // count)) * count


def nested(size: int) -> bytes:
    """A tree as deep as allowed, whose innermost payload has all the bytes."""
    data = struct.pack(">H", size) + b"x" * size + b"\0"
    for _ in range(MAX_NESTING - 1):
        data = b"\0\0\1" + struct.pack(">H", len(data)) + data
    return data


def keys_that_collide(size: int) -> bytes:
    """Numbers whose hashes differ in their highest bits only, as keys of a dictionary."""
    count = size // 9
    return struct.pack(">H", count) + b"".join(struct.pack(">qB", number << 44, 0) for number in range(count))


INNER = struct.pack(">qH", 1, 1) + b"x"
PLAIN = b"\0\1x\0\0\0\0"

FORMATS: list[tuple[Any, Callable[[int], bytes]]] = [
    ("raw", lambda size: b"x" * size),
    ("varlenBx2", behind_length(">B", 2)),
    ("varlenH", behind_length(">H")),
    ("varlenHutf8", behind_length(">H")),
    ("varlenHutf8", behind_length(">H", content="é".encode())),
    ("varlenHutf8", behind_length(">H", content=b"\xff")),
    ("varlenIutf8", behind_length(">I")),
    ("varlenHx20", behind_length(">H", 20)),
    ("varlenI", behind_length(">I")),
    ("doublevarlenH", behind_length(">H")),
    ("varlenH-list", counted(">B", b"\0\0", 255)),
    ("varlenH-list", few_long(">H", 9)),
    ("varlenH-list", few_long(">H", 255)),
    ("arrayH-?", counted("<H", b"\2")),
    ("arrayH-q", counted("<H", bytes(8))),
    ("arrayH-d", counted("<H", bytes(8))),
    ("address", lambda size: b"\2" + struct.pack(">H", size) + b"x" * size + b"\0\1"),
    ("address", lambda size: b"\2" + struct.pack(">H", size) + b"\xff" * size + b"\0\1"),
    (Inner, lambda size: struct.pack(">H", size) + INNER[:-3] + struct.pack(">H", size - 10) + b"x" * (size - 10)),
    ([Inner], counted(">B", struct.pack(">H", len(INNER)) + INNER, 255)),
    (Tree, lambda size: struct.pack(">H", len(nested(size))) + nested(size)),
    (ListFormat("varlenHutf8"), counted(">H", b"\0\1x")),
    (ListFormat("varlenHutf8", set), counted(">H", b"\0\1x")),
    (ListFormat("?"), counted(">H", b"\0")),
    (ListFormat("address"), counted(">H", b"\1\1\2\3\4\0\5")),
    (ListFormat(Inner), counted(">H", struct.pack(">H", len(INNER)) + INNER)),
    (ListFormat(Plain), counted(">H", struct.pack(">H", len(PLAIN)) + PLAIN)),
    (ListFormat(Plain), lambda size: struct.pack(">HHH", 1, size + 4, 0) + counted(">H", b"\0\0")(size) + b"\0\0"),
    (ListFormat(ListFormat("B")), counted(">H", b"\0\0")),
    (ListFormat(OptionalFormat("B")), counted(">H", b"\0")),
    (ListFormat(OptionalFormat(Inner)), counted(">H", b"\0")),
    (ListFormat(EnumFormat(Colour, "B")), counted(">H", b"\1")),
    (ListFormat(EnumFormat(Colour, "B")), counted(">H", b"\2")),
    (ListFormat(TupleFormat("B", "varlenH")), counted(">H", b"\1\0\0")),
    (DictFormat("H", "?"), lambda size: struct.pack(">H", size // 3) + b"".join(
        struct.pack(">HB", number, 0) for number in range(size // 3))),
    (DictFormat("q", "?"), keys_that_collide),
    (DictFormat("q", "?"), counted(">H", bytes(9))),  # the same key again and again
    (OptionalFormat("varlenH"), lambda size: b"\1" + behind_length(">H")(size)),
]
FORMAT_NAMES = [f"{number}, {entry_name(entry)}" for number, (entry, _) in enumerate(FORMATS)]


def single(entry: Any) -> type[VariablePayload]:
    return vp_compile(type("Single", (VariablePayload,), {"format_list": ["B", entry], "names": ["a", "b"]}))


def unpack(cls: type[Any], data: bytes) -> Any:
    return SERIALIZER.unpack_serializable(cls, data)


@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "cut"])
@pytest.mark.parametrize(("entry", "data"), FORMATS, ids=FORMAT_NAMES)
def test_formats(entry: Any, data: Callable[[int], bytes], cut: int) -> None:
    assert_linear(partial(unpack, single(entry)), lambda size: b"?" + data(size)[:-cut or None])


@pytest.mark.parametrize(("entry", "data"), FORMATS, ids=FORMAT_NAMES)
def test_formats_by_themselves(entry: Any, data: Callable[[int], bytes]) -> None:
    assert_linear(lambda packed: SERIALIZER.unpack(entry, packed), data)


def test_every_format_of_variable_size_is_tried() -> None:
    tried = {format_and_class(entry)[0] for entry, _ in FORMATS if not isinstance(entry, CompositeFormat)}
    for name in SERIALIZER.get_available_formats():
        layout = SERIALIZER.get_packer_for(name).wire_layout()
        if isinstance(layout, Converted):
            layout = layout.layout
        assert isinstance(layout, (Fixed, Variant)) or name in tried, name


# --- payloads of the library


def dht_serializer() -> Serializer:
    serializer = Serializer()
    serializer.add_packer("node-list", ListOf(NodePacker(serializer)))
    return serializer


NODE = b"\1\1\2\3\4\0\5" + struct.pack(">H", 74) + b"LibNaCLPK:" + bytes(range(64))
NO_NODE = b"\1\1\2\3\4\0\5\0\0"
PEM_NODE = b"\1\1\2\3\4\0\5" + struct.pack(">H", 200) + b"-----BEGIN PUBLIC KEY-----".ljust(200)

PAYLOADS: list[tuple[type[Any], Callable[[int], bytes]]] = [
    (IntroductionResponsePayload, lambda size: bytes(33 + size)),
    (NewIntroductionResponsePayload, lambda size: b"\1\1\2\3\4\0\5" * 5 + bytes(3 + size)),
    (RelayPayload, lambda size: b"\1\1\2\3\4\0\5" + bytes(8 + size)),
    (SimilarityRequestPayload, lambda size: bytes(15 + size)),
    (SimilarityResponsePayload, lambda size: bytes(15 + size)),
    (SimilarityResponsePayload, lambda size: b"\xff" * (15 + size)),
    (StoreRequestPayload, lambda size: bytes(44) + few_long(">H", 8)(size)),
    (FindResponsePayload, lambda size: bytes(25) + counted(">B", NODE, 255)(size)),
    (FindResponsePayload, lambda size: bytes(25) + counted(">B", NO_NODE, 255)(size)),
    (FindResponsePayload, lambda size: bytes(25) + counted(">B", PEM_NODE, 255)(size)),
]


@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "cut"])
@pytest.mark.parametrize(("cls", "data"), PAYLOADS)
def test_payloads(cls: type[Any], data: Callable[[int], bytes], cut: int) -> None:
    serializer = dht_serializer()
    assert_linear(partial(serializer.unpack_serializable, cls), lambda size: data(size)[:-cut or None])
    assert_linear(partial(serializer.unpack_serializable_list, (Inner, cls)), lambda size: INNER + data(size))


@pytest.mark.parametrize("value", [
    lambda size: unsigned(b"x" * size),
    lambda size: b"\1" + behind_length(">H")(size) + bytes(4) + b"\0\x4a" + NODE[9:] + bytes(64),
    lambda size: b"\1\0\0" + bytes(4) + behind_length(">H", content=b" ")(size),
    lambda size: b"\1\0\0" + bytes(4) + struct.pack(">H", size + 26) + b"-----BEGIN PUBLIC KEY-----" + b" " * size,
])
def test_values_of_the_dht(value: Callable[[int], bytes]) -> None:
    assert_linear(parse, value)


# --- keys


SECT = OpenSSLSK.generate("sect163k1")
DUAL = OpenSSLSK(b"LibNaCLSK:" + bytes(range(64)))
ED25519 = encoding.encode_ed25519_private(bytes(range(32)))
BEGIN, END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"


def element(tag: int, size: int, content: bytes = b"\x7f") -> bytes:
    return encoding.tlv(tag, (content * size)[:size])


def with_attributes(*attributes: bytes) -> bytes:
    """A private key in PKCS #8 with attributes."""
    content = encoding.Reader(ED25519).read(encoding.SEQUENCE)
    return encoding.tlv(encoding.SEQUENCE, content, encoding.tlv(0xA0, *attributes))


def attribute(*values: bytes) -> bytes:
    kind = encoding.tlv(encoding.OBJECT_IDENTIFIER, encoding.ED25519)
    return encoding.tlv(encoding.SEQUENCE, kind, encoding.tlv(0x31, *values))


def in_one_another(tag: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data = encoding.tlv(tag, data)
    return data


BLOBS: dict[str, Callable[[int], bytes]] = {
    "nothing": bytes,
    "tail of a blob": lambda size: DUAL.pub().key_to_bin() + bytes(size),
    "tail of a secret blob": lambda size: DUAL.key_to_bin() + bytes(size),
    "tail of DER": lambda size: SECT.pub().key_to_bin() + bytes(size),
    "tail of secret DER": lambda size: SECT.key_to_bin() + bytes(size),
    "large sequence": lambda size: element(encoding.SEQUENCE, size),
    "sequences in one another": lambda size: in_one_another(encoding.SEQUENCE, size),
    "sequences after one another": lambda size: encoding.tlv(encoding.SEQUENCE, b"\x30\0" * (size // 2)),
    "large point": lambda size: encoding.encode_public(bytes.fromhex("2b81040001"), b"\4" * (2 * (size // 2) + 1)),
    "large curve": lambda size: encoding.encode_public(b"\x80" * size + b"\1", b"\4" * 43),
    "large version": lambda size: encoding.tlv(encoding.SEQUENCE, element(encoding.INTEGER, size)),
    "large scalar": lambda size: encoding.encode_private(bytes.fromhex("2b81040001"), b"\1" * size, None),
    "many attributes": lambda size: with_attributes(*[attribute()] * (size // 9)),
    "attributes of all sizes": lambda size: with_attributes(
        *[attribute()] * (size // 18), attribute(element(encoding.OCTET_STRING, size // 2))),
    "many values of an attribute": lambda size: with_attributes(attribute(*[b"\5\0"] * (size // 2))),
    "values in one another": lambda size: with_attributes(attribute(in_one_another(0x31, size))),
    "PEM of spaces": lambda size: BEGIN + b" " * size,
    "PEM of spaces with an end": lambda size: BEGIN + b" " * size + END,
    "PEM of lines": lambda size: BEGIN + b"\n" * size + END,
    "PEM of digits": lambda size: BEGIN + b"\n" + b"A" * size,
    "PEM of digits and spaces": lambda size: BEGIN + b"A " * (size // 2) + b"*" + END,
    "PEM of hyphens": lambda size: BEGIN + b"-" * size,
    "many beginnings": lambda size: BEGIN * (size // len(BEGIN)),
    "many beginnings, one end": lambda size: (BEGIN + b"\nAAAA\n") * (size // 32) + END,
    "many ends": lambda size: BEGIN + END * (size // len(END)),
    "many blocks of another kind": lambda size: encoding.encode_pem("DH PARAMETERS", b"1") * (size // 60),
    "long label": lambda size: b"-----BEGIN " + b"A" * size + b"-----",
    "PEM of a key and more": lambda size: SECT.key_to_pem() + b"\n" * size,
}


@pytest.mark.parametrize("load", [
    OpenSSLPK, OpenSSLSK, default_eccrypto.key_from_network, ECCrypto(strict=True).key_from_public_bin,
    DUAL.pem_to_bin,
], ids=["public", "private", "network", "strict", "pem_to_bin"])
@pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS)
def test_keys(load: Callable[[bytes], Any], blob: Callable[[int], bytes]) -> None:
    assert_linear(load, blob)


@pytest.mark.parametrize("key", [DUAL, SECT], ids=OpenSSLSK.curve_name)
@pytest.mark.parametrize("content", [b"\0", b"\x7f"])
def test_signatures(key: OpenSSLSK, content: bytes) -> None:
    assert_linear(lambda signature: key.pub().verify(signature, b"message"), lambda size: content * size)
    assert_linear(lambda message: key.pub().verify(content * key.get_signature_length(), message),
                  lambda size: content * size)


# --- addresses


@pytest.mark.parametrize("text", ["1", "1.", ".", ":", "::", "1:", "f", "%", "0", "0.", "a.", "é", " "])
@pytest.mark.parametrize("read", [ipv4_to_bytes, classic_ipv4_to_bytes, ipv6_to_bytes, parse_host, network_of])
def test_texts_of_addresses(read: Callable[[str], Any], text: str) -> None:
    assert_linear(read, lambda size: text * size)  # type: ignore[arg-type]  # text in place of bytes


@pytest.mark.parametrize("name", ["ipv4", "ip_address", "address"])
def test_hosts_to_be_packed(name: str) -> None:
    def pack(address: Any) -> bytes:
        return SERIALIZER.pack(name, address)

    assert_linear(pack, lambda size: ("1." * size, 1))  # an address that was received is sent on


# --- the local network


NONCE = bytes(12)


def answer_of_pcp(size: int) -> bytes:
    mapping = NONCE + struct.pack(">BxxxHH", 17, 5, 5) + bytes(16)
    return struct.pack(">BBHII12x", 2, 129, 0, 60, 1) + mapping + bytes(size // 4 * 4)


@pytest.mark.parametrize("decode", [
    natpmp.decode_external_ip, natpmp.decode_mapping, pcp.decode_announcement,
    lambda data: pcp.decode_mapping(data, NONCE, 5), multicast.decode,
], ids=["NAT-PMP address", "NAT-PMP mapping", "PCP announcement", "PCP mapping", "multicast"])
@pytest.mark.parametrize("data", [
    bytes, lambda size: b"\x80" * size, answer_of_pcp, lambda size: bytes((0, 128)) + bytes(size),
    lambda size: b"\0\0IPv8\1" + bytes(size),
])
def test_datagrams_of_the_local_network(decode: Callable[[bytes], Any], data: Callable[[int], bytes]) -> None:
    assert_linear(decode, data)


STATUS = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("data", [
    lambda size: STATUS + b"x" * size, lambda size: STATUS + b":" * size, lambda size: STATUS + b"\r\n" * (size // 2),
    lambda size: STATUS + b"a:b\r\n" * (size // 5), lambda size: STATUS + b" " * size,
    lambda size: STATUS + b"\r" * size,
    lambda size: STATUS + b"LOCATION:" + b" " * size, lambda size: STATUS + b"\xff" * size,
])
def test_answers_to_a_search(data: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssdp, "MAX_ANSWER", 1 << 20)  # how the work grows, not where it ends
    assert_linear(ssdp.decode_answer, data)


@pytest.mark.parametrize("data", [
    lambda size: b"<a>" * size, lambda size: b"<a>" + b"<b/>" * (size // 4) + b"</a>",
    lambda size: b"<a>" + b"x" * size + b"</a>",
    lambda size: b"<a>" + b"&amp;" * (size // 5) + b"</a>", lambda size: b"<a>" + b"<!---->" * (size // 7) + b"</a>",
    lambda size: b"<a>" + b"<![CDATA[]]>" * (size // 12) + b"</a>", lambda size: b"<" + b"a" * size + b"/>",
    lambda size: b"<a " + b"".join(b'a%d="" ' % number for number in range(size // 9)) + b"/>",
    lambda size: b"<!DOCTYPE a [" + b'<!ENTITY a "b">' * (size // 15) + b"]><a/>",
    lambda size: b"<?x " + b"y" * size + b"?><a/>",
    lambda size: b"<a b='" + b"c" * size, lambda size: b"<" * size, lambda size: b" " * size, bytes,
])
def test_descriptions_of_gateways(data: Callable[[int], bytes]) -> None:
    assert_linear(check_xml, data)


@pytest.mark.parametrize("text", ["http://", "1", ".", ":", "@", "[", "/", "%", "?", "a.", "\n"])
def test_locations_of_descriptions(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp, "MAX_LOCATION", 1 << 20)

    def decode(location: Any) -> bool:
        urllib.parse.clear_cache()  # type: ignore[attr-defined]  # a function of the standard library for tests
        return is_local_location(location)

    assert_linear(decode, lambda size: "http://" + text * (size // len(text)))


@pytest.mark.parametrize("line", ["eth0\t00000000\t0101A8C0\t0003\n", "\n", " ", "x", "0 0 " + "f" * 40 + " 3\n"])
def test_routes_of_the_system(line: str) -> None:
    assert_linear(parse_routes, lambda size: "header\n" + line * (size // len(line)))  # type: ignore[arg-type]  # text


@pytest.mark.parametrize("data", [
    lambda size: b"\1\1\2\3\4\0\5" * (size // 7), lambda size: b"\2\0\0\0\5" * (size // 5), lambda size: b"\xff" * size,
    lambda size: b"\2" + struct.pack(">H", size) + b"x" * size + b"\0\5",
])
def test_files_of_remembered_peers(data: Callable[[int], bytes]) -> None:
    def content(size: int) -> bytes:
        return b"IPv8 peers 1\n" + hashlib.sha256(data(size)).digest() + data(size)

    assert_linear(remembered.decode, content)
