"""The pages in doc/protocol say what the library does, and what refers to them finds what it refers to.

A block ``text example VECTOR`` on these pages holds the bytes of a test vector, in hex with explanations; VECTOR is its
place in tests/vectors. With ``as CLASS`` behind it, and for whole packets, the bytes are decoded, and each explanation
``name = value`` is compared with what was decoded. ``text example made NAME`` is compared with what this file makes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ipv8.bootstrapping.multicast.wire import ANNOUNCEMENT, ANSWER, Datagram, decode, encode
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from ipv8.contact.liveness_messages import LIVENESS_PREFIX
from ipv8.dht import payload as dht
from ipv8.dht.community import DHTCommunity
from ipv8.dht.provider import DHTIntroPointPayload
from ipv8.dht.routing import calc_node_id
from ipv8.dht.values import parse
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging import payload as base, payload_liveness as liveness, payload_relay as relay
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.inet import RELAYED_PORT, overlay_host
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import ListOf, Serializer
from ipv8.peerdiscovery import payload as discovery
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.tracker import TrackerLimits
from ipv8.test.mocking.community import MockCommunity

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "doc" / "protocol"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(PROTOCOL.glob("*.md"))}
VECTORS = {path.name: json.loads(path.read_text(encoding="utf-8"))
           for path in (ROOT / "tests" / "vectors").glob("*.json")}
FOLDERS = ("benchmarks", "doc", "examples", "interop", "ipv8", "scripts", "stubs", "tests")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@cache
def sources() -> dict[str, str]:
    """The text of all code, tests and pages by path, without the marks of comments and of line ends."""
    paths = chain(ROOT.glob("*.*"), *((ROOT / folder).rglob("*") for folder in FOLDERS))
    return {path.relative_to(ROOT).as_posix(): re.sub(r"\s+(?:#:? )?", " ", path.read_text(encoding="utf-8"))
            for path in paths if path.suffix in {".md", ".py", ".pyi", ".toml", ".txt"}}


# Sections and references

HEADING = re.compile(r"^(#{2,3}) (\d+(?:\.\d+)?)\.? ", re.MULTILINE)
NUMBERS = r"(?P<numbers>\d+(?:\.\d+)?(?:(?:, | and | or | to |, and )\d+(?:\.\d+)?)*)"
REFERENCE = re.compile(rf"doc/protocol/(?P<page>\w+)\.md(?: sections? {NUMBERS})?")
LINK = re.compile(rf"\]\((?P<page>[\w/]+)\.md(?:#[\w-]+)?\) sections? {NUMBERS}")
OWN = re.compile(rf"(?<!\) )(?<!vectors )\b[Ss]ections? {NUMBERS}")
OTHER_PAGE = re.compile(r"doc/[\w/]+\.md")
SPECIFICATION = re.compile(r"\bspecs? ?\d\d[a-z]?\b|\bthe spec(?:'s)?\b")


def sections_of(page: str) -> list[str]:
    return [heading[2] for heading in HEADING.finditer(FENCED.sub("", PAGES[page]))]


def named(numbers: str | None) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", numbers or "")


@pytest.mark.parametrize("page", PAGES)
def test_sections_are_numbered_in_order(page: str) -> None:
    found = sections_of(page)
    expected: list[str] = []
    for number in found:
        chapter, _, section = number.partition(".")
        last_chapter, _, last_section = (expected[-1] if expected else "0").partition(".")
        if section:
            assert (chapter, int(section)) == (last_chapter, int(last_section or 0) + 1)
        else:
            assert int(chapter) == int(last_chapter) + 1
        expected.append(number)
    assert found == expected
    assert expected
    headings = re.findall(r"^#{2,} .*", FENCED.sub("", PAGES[page]), re.MULTILINE)
    assert len(headings) == len(found), "a heading without a number"


def test_every_page_is_linked() -> None:
    linked = set(re.findall(r"\]\((\w+)\.md\)", PAGES["index"]))
    assert set(PAGES) - {"index"} <= linked
    assert "(doc/protocol/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(protocol/index.md)" in (ROOT / "doc" / "index.md").read_text(encoding="utf-8")


def test_every_reference_to_a_section_finds_it() -> None:
    missing = []
    for source, text in sources().items():
        references = [(match["page"], match) for match in REFERENCE.finditer(text)]
        if source.startswith("doc/"):
            references += [(page.removeprefix("protocol/"), match) for match in LINK.finditer(text)
                           if (page := match["page"]).startswith("protocol/") or source.startswith("doc/protocol/")]
        missing += [f"{source}: {match[0]}" for page, match in references
                    if page not in PAGES or not set(named(match["numbers"])) <= set(sections_of(page))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_reference_within_a_page_finds_its_section(page: str) -> None:
    text = sources()[f"doc/protocol/{page}.md"]
    text = re.sub(r"RFC \d+ sections? [\d.]+", "", text)
    referred = {number for reference in OWN.finditer(text) for number in named(reference["numbers"])}
    assert sorted(referred - set(sections_of(page))) == []


def test_every_page_that_code_names_exists() -> None:
    missing = {f"{source}: {name}" for source, text in sources().items() for name in OTHER_PAGE.findall(text)
               if not (ROOT / name).exists()}
    assert missing == set()


def test_sources_name_only_documents_that_are_shipped() -> None:
    found = [f"{source}: …{text[max(0, match.start() - 40):match.end() + 20]}…" for source, text in sources().items()
             for match in SPECIFICATION.finditer(text)]
    assert found == []


# Examples

EXAMPLE = re.compile(r"^```text example (?P<place>\S+)(?: (?P<more>[^\n]+))?\n(?P<text>.*?)^```$",
                     re.DOTALL | re.MULTILINE)
EXAMPLE_LINE = re.compile(r"(?P<hex>[0-9a-f]{2,}(?: [0-9a-f]{2,})*)(?:  +(?P<explanation>.*))?")
EXPLAINED = re.compile(r"(?P<name>\w+) = (?P<value>.*)")


class Example(NamedTuple):
    """A block with bytes, and the explanations of its lines."""

    page: str
    place: str
    more: str
    data: bytes
    explanations: list[str]


def examples() -> list[Any]:
    found = []
    for page, text in PAGES.items():
        for block in EXAMPLE.finditer(text):
            lines = [EXAMPLE_LINE.fullmatch(line) for line in block["text"].splitlines()]
            assert all(lines), f"{page}: a line of {block['place']} is not hex with an explanation"
            matches = [line for line in lines if line is not None]
            example = Example(page, block["place"], block["more"] or "",
                              bytes.fromhex("".join(line["hex"] for line in matches)),
                              [line["explanation"] or "" for line in matches])
            found.append(pytest.param(example, id=f"{page}: {example.place} {example.more}".rstrip()))
    return found


EXAMPLES = examples()


def vector_at(place: str) -> Any:
    file, *steps = place.split("/")
    value: Any = VECTORS[file]
    for step in steps:
        if isinstance(value, dict):
            value = value[step]
        elif step.isdecimal():
            value = value[int(step)]
        else:
            (value,) = (element for element in value if element["name"] == step)
    return value


def relay_envelope() -> bytes:
    """Key A sends the ping of the vectors to key C."""
    vectors = VECTORS["discovery.json"]
    author = default_eccrypto.key_from_private_bin(bytes.fromhex(vectors["keys"]["A"]["private_bin"]))
    destination = UDPv6Address(overlay_host(bytes.fromhex(vectors["keys"]["C"]["mid"])), RELAYED_PORT)
    ping = bytes.fromhex(vector_at("discovery.json/packets/ping/packet"))
    payloads = (BinMemberAuthenticationPayload(author.pub().key_to_bin()),
                relay.RelayPayload(destination, 1_700_000_000_000_000, ping))
    packet = bytes.fromhex(vectors["prefix"]) + bytes((relay.RelayPayload.msg_id,))
    packet += serializer().pack_serializable_list(payloads)
    return packet + author.signature(packet)


def made(name: str) -> bytes:
    prefix, nonce = bytes.fromhex(VECTORS["discovery.json"]["prefix"]), bytes.fromhex("1122334455667788")
    datagrams = {"multicast announcement": Datagram(ANNOUNCEMENT, prefix, nonce),
                 "multicast answer": Datagram(ANSWER, prefix, nonce, 8090, "2001:db8::a")}
    if name in datagrams:
        data = encode(datagrams[name])
        assert decode(data) == datagrams[name]
        return data
    if name in LIVENESS:
        return liveness_packet(name)
    assert name == "relay envelope"
    return relay_envelope()


LIVENESS: dict[str, Any] = {
    "liveness ping": liveness.LivenessPingPayload(0x1122334455667788),
    "liveness pong": liveness.LivenessPongPayload(0x1122334455667788),
    "goodbye": liveness.GoodbyePayload(bytes.fromhex(VECTORS["discovery.json"]["keys"]["C"]["mid"]), 1_700_000_000_000),
}


def liveness_packet(name: str) -> bytes:
    payload = LIVENESS[name]
    packet = LIVENESS_PREFIX + bytes((payload.msg_id,))
    if name != "goodbye":
        return packet + serializer().pack_serializable(payload)
    author = default_eccrypto.key_from_private_bin(
        bytes.fromhex(VECTORS["discovery.json"]["keys"]["A"]["private_bin"]))
    packet += serializer().pack_serializable_list([BinMemberAuthenticationPayload(author.pub().key_to_bin()), payload])
    return packet + author.signature(packet)


@cache
def serializer() -> Serializer:
    """A serializer with the formats of all overlays."""
    made = Serializer()
    made.add_packer("node-list", ListOf(dht.NodePacker(made)))
    return made


CLASSES: dict[str, Any] = {name: getattr(module, name) for module in (base, relay, discovery, dht, liveness)
                           for name in module.__all__ if hasattr(getattr(module, name), "format_list")}
CLASSES |= {"GlobalTimeDistributionPayload": GlobalTimeDistributionPayload,
            "DHTIntroPointPayload": DHTIntroPointPayload}
UNSIGNED = {3, 4, 232, 250}
UNSIGNED_LIVENESS = {1, 2}
ANY: list[Any] = [base.IntroductionRequestPayload, base.IntroductionResponsePayload, base.PunctureRequestPayload,
       base.PuncturePayload, base.NewIntroductionRequestPayload, base.NewIntroductionResponsePayload,
       base.NewPunctureRequestPayload, base.NewPuncturePayload]
PINGS: list[Any] = [discovery.PingPayload, discovery.PongPayload, discovery.SimilarityRequestPayload,
         discovery.SimilarityResponsePayload]


def decode_packet(packet: bytes) -> list[Any]:
    """The payloads of a whole packet, whose signature must be good if its message has one."""
    assert packet[:2] == b"\x00\x02"
    community_id, message, start = packet[2:22], packet[22], 23
    end = len(packet)
    is_dht = community_id == DHTCommunity.community_id
    is_liveness = packet.startswith(LIVENESS_PREFIX)
    if is_dht or message not in (UNSIGNED_LIVENESS if is_liveness else UNSIGNED):
        author, start = serializer().unpack_serializable(BinMemberAuthenticationPayload, packet, start)
        key = default_eccrypto.key_from_public_bin(author.public_key_bin)
        end -= key.get_signature_length()
        assert key.verify(packet[end:], packet[:end])
    if is_dht:
        classes = [cls for name, cls in CLASSES.items() if name in dht.__all__ and getattr(cls, "msg_id", 0) == message]
    elif is_liveness:
        classes = [type(payload) for payload in LIVENESS.values() if payload.msg_id == message]
    elif message == relay.RelayPayload.msg_id:
        classes = [relay.RelayPayload]
    else:
        own = PINGS if community_id == DiscoveryCommunity.community_id else []
        classes = [GlobalTimeDistributionPayload, *(cls for cls in [*ANY, *own] if cls.msg_id == message)]
    return serializer().unpack_serializable_list(classes, packet[:end], start)


def decode_example(example: Example) -> list[Any]:
    kind = example.more.removeprefix("as ")
    if kind == "public key":
        assert default_eccrypto.key_from_public_bin(example.data).key_to_bin() == example.data
    elif kind == "private key":
        assert default_eccrypto.key_from_private_bin(example.data).key_to_bin() == example.data
    elif kind == "value":
        return [parse(example.data)]
    elif kind in CLASSES:
        return serializer().unpack_serializable_list([CLASSES[kind]], example.data)
    elif example.place.endswith("/packet") or kind in {"relay envelope", *LIVENESS}:
        return decode_packet(example.data)
    return []


def shown(value: Any) -> str:
    """A decoded value as the pages show it."""
    if isinstance(value, tuple):
        host, port = value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(value, bytes):
        return value.hex()
    return str(value).lower()


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_what_it_says(example: Example) -> None:
    expected = made(example.more) if example.place == "made" else bytes.fromhex(vector_at(example.place))
    assert example.data == expected
    decoded = decode_example(example)
    claims = [match for text in example.explanations if (match := EXPLAINED.fullmatch(text))]
    for claim in claims:
        values = [getattr(payload, claim["name"]) for payload in decoded if hasattr(payload, claim["name"])]
        assert [shown(value) for value in values] == [claim["value"]]
    assert claims or example.page not in {"discovery", "dht"} or not decoded or not hasattr(decoded[0], "identifier")


def test_every_message_has_an_example() -> None:
    shown_classes = set()
    for example in EXAMPLES:
        shown_classes |= {type(payload) for payload in decode_example(example.values[0])}
    messages = {cls for cls in CLASSES.values() if isinstance(getattr(cls, "msg_id", None), int)}
    twins = {dht.PingResponsePayload}  # the same bytes as the request
    assert messages - twins <= shown_classes


# Layouts, formats, ids, numbers

TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)

LAYOUTS: dict[tuple[str, str], list[Any]] = {
    ("liveness", "3.1"): [liveness.LivenessPingPayload],
    ("liveness", "3.2"): [liveness.LivenessPongPayload],
    ("liveness", "3.3"): [liveness.GoodbyePayload],
    ("packets", "4"): [GlobalTimeDistributionPayload],
    ("discovery", "3.1"): [base.IntroductionRequestPayload],
    ("discovery", "3.2"): [base.NewIntroductionRequestPayload],
    ("discovery", "3.3"): [base.IntroductionResponsePayload],
    ("discovery", "3.4"): [base.NewIntroductionResponsePayload],
    ("discovery", "3.5"): [base.PunctureRequestPayload, base.NewPunctureRequestPayload],
    ("discovery", "3.6"): [base.PuncturePayload, base.NewPuncturePayload],
    ("discovery", "8.1"): [discovery.SimilarityRequestPayload],
    ("discovery", "8.2"): [discovery.SimilarityResponsePayload],
    ("discovery", "8.4"): [discovery.PingPayload],
    ("discovery", "8.5"): [discovery.DiscoveryIntroductionRequestPayload],
    ("relaying", "3"): [relay.RelayPayload],
    ("dht", "3.2"): [dht.PingRequestPayload],
    ("dht", "3.3"): [dht.StoreRequestPayload],
    ("dht", "3.4"): [dht.FindRequestPayload, dht.FindResponsePayload],
    ("dht", "3.5"): [dht.StorePeerRequestPayload],
    ("dht", "3.6"): [dht.ConnectPeerRequestPayload, dht.ConnectPeerResponsePayload],
    ("dht", "4.2"): [dht.SignedStrPayload],
    ("dht", "11"): [DHTIntroPointPayload],
}
SAME_LAYOUT: dict[Any, Any] = {
    discovery.PongPayload: discovery.PingPayload, dht.PingResponsePayload: dht.PingRequestPayload,
    dht.StoreResponsePayload: dht.PingRequestPayload, dht.StorePeerResponsePayload: dht.PingRequestPayload,
}


def text_of(page: str, number: str) -> str:
    parts = HEADING.split(FENCED.sub("", PAGES[page]))
    return next(parts[index + 2] for index in range(1, len(parts), 3) if parts[index + 1] == number)


def tables_of(text: str) -> list[list[dict[str, str]]]:
    """The tables in a text, as lists of rows by column."""
    tables = []
    for table in TABLE.findall(FENCED.sub("", text)):
        rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
        tables.append([dict(zip(rows[0], row, strict=True)) for row in rows[2:]])
    return tables


def names_of(cls: Any) -> list[str]:
    """The names of the fields of a payload class; flags are one field without a name."""
    if not issubclass(cls, VariablePayload):
        return list(inspect.signature(cls.__init__).parameters)[1:]
    names = list(cls.names)
    found = []
    for form in cls.format_list:
        count = 8 if form == "bits" else 1
        found += [] if form == "bits" else names[:1]
        del names[:count]
    return found


@pytest.mark.parametrize(("page", "number"), LAYOUTS)
def test_layout_is_that_of_the_class(page: str, number: str) -> None:
    tables = [table for table in tables_of(text_of(page, number)) if {"field", "format"} <= table[0].keys()]
    assert len(tables) == len(LAYOUTS[page, number])
    for table, cls in zip(tables, LAYOUTS[page, number], strict=True):
        formats = [row["format"].strip("`") for row in table if row["format"]]
        names = [row["field"].strip("`") for row in table if re.fullmatch("`[a-z_]+`", row["field"])]
        is_complete = bool(table[-1]["format"]) or number == "4.2"
        assert formats == cls.format_list[:None if is_complete else len(formats)]
        assert [name for name in names_of(cls) if name in names] == names or not issubclass(cls, VariablePayload)
        assert set(names) <= set(names_of(cls))
        offset = 0
        for row in table:
            if not row.get("offset") or not row["size"].isdecimal():
                break
            assert int(row["offset"]) == offset
            offset += int(row["size"])


def test_every_message_has_a_layout() -> None:
    described = set(chain.from_iterable(LAYOUTS.values()))
    messages = {cls for cls in CLASSES.values() if isinstance(getattr(cls, "msg_id", None), int)}
    assert {cls for cls in messages if cls not in described and SAME_LAYOUT.get(cls) not in described} == set()
    assert all(cls.format_list == twin.format_list for cls, twin in SAME_LAYOUT.items())


def test_all_formats_are_described_with_an_example() -> None:
    known = {(vector["format"], vector["hex"]) for vector in VECTORS["serialization.json"]["formats"]}
    rows = [row for table in tables_of(PAGES["serialization"]) for row in table if "format" in row]
    assert {row["format"].strip("`") for row in rows} == set(Serializer().get_available_formats())
    for row in rows:
        form, packed = row["format"].strip("`"), row["bytes"].strip("`")
        if form in {"payload", "payload-list"}:
            assert packed in VECTORS["serialization.json"]["nested"][0]["hex"]
        else:
            assert (form, packed) in known, form
        if row["size"].isdecimal():
            assert 2 * int(row["size"]) == len(packed)


async def test_message_ids_are_those_of_every_overlay() -> None:
    ids: dict[str, set[int]] = {}
    for row in tables_of(text_of("packets", "5"))[0]:
        for part in row["id"].split(", "):
            first, _, last = part.partition(" to ")
            ids.setdefault(row["message"], set()).update(range(int(first), int(last or first) + 1))
    assert set.union(*ids.values()) == set(range(256))
    overlay = MockCommunity()
    try:
        assert ids.pop("reserved") == set(overlay.deprecated_message_names)
        own = ids.pop("those of the overlay")
        assert {number for number, handler in enumerate(overlay.decode_map) if handler} - own == (
            set(chain.from_iterable(ids.values())) | set(overlay.deprecated_message_names))
    finally:
        await overlay.unload()
    community_ids = {row["community id"].strip("`") for row in tables_of(text_of("packets", "5"))[1]}
    assert community_ids == {DiscoveryCommunity.community_id.hex(), DHTCommunity.community_id.hex()}


def test_node_ids_are_computed_as_described() -> None:
    (table,) = tables_of(text_of("dht", "2.1"))
    for row in table:
        host, _, port = row["address"].rpartition(":")
        address = UDPv6Address(host.strip("[]"), int(port)) if "[" in host else UDPv4Address(host, int(port))
        assert calc_node_id(address, bytes.fromhex(row["mid"].strip("`"))).hex() == row["node id"].strip("`")


def test_overlay_host_is_computed_as_described() -> None:
    text = text_of("relaying", "2")
    mid = re.search(r"`([0-9a-f]{40})`", text)
    assert mid is not None
    assert f"`{overlay_host(bytes.fromhex(mid[1]))}`" in text


def test_public_trackers_are_those_of_the_configuration() -> None:
    addresses, names = tables_of(text_of("trackers", "4"))
    settings: Any = DISPERSY_BOOTSTRAPPER["init"]
    assert [(row["IPv4 address"], int(port)) for row in addresses for port in row["ports"].split(", ")] == [
        tuple(address) for address in settings["ip_addresses"]]
    assert [(name, int(row["port"])) for row in names for name in row["name"].split(", ")] == [
        tuple(address) for address in settings["dns_addresses"]]


def test_limits_of_trackers_are_those_of_the_class() -> None:
    (table,) = tables_of(text_of("trackers", "3.4"))
    assert [int(re.match(r"\d+", row["limit"])[0]) for row in table] == [  # type: ignore[index]  # each begins with one
        field.default for field in fields(TrackerLimits)]


@cache
def constants() -> dict[str, set[Fraction]]:
    """All numbers that modules of the package give a name of capitals, by that name."""
    found: dict[str, set[Fraction]] = {}
    for path in (ROOT / "ipv8").rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
                continue
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            pairs = (zip(target.elts, statement.value.elts, strict=True)
                     if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple)
                     else [(target, statement.value)])
            for name, value in pairs:
                if isinstance(name, ast.Name) and name.id.isupper():
                    try:
                        number = eval(compile(ast.Expression(value), "", "eval"), {"__builtins__": {}})
                    except (NameError, TypeError, AttributeError):
                        continue
                    if isinstance(number, (int, float)):
                        found.setdefault(name.id, set()).add(Fraction(number).limit_denominator(10**6))
    return found


def numbers() -> list[Any]:
    found = []
    for page, text in PAGES.items():
        for table in tables_of(text):
            for row in table if "constant" in table[0] else ():
                names = re.findall(r"`(\w+)`", row["constant"])
                found += [pytest.param(name, Fraction(value), id=f"{page}: {name}")
                          for name, value in zip(names, row["value"].split(", "), strict=True)]
    return found


@pytest.mark.parametrize(("name", "value"), numbers())
def test_number_is_that_of_a_constant(name: str, value: Fraction) -> None:
    assert value in constants().get(name, ()), f"no module has {name} = {value}: correct the page, or remove the row"
