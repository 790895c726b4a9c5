"""Messages of every payload format and of every kind of key mean the same to both libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from interop.nodes.values import Inner, encode
from ipv8.messaging.interfaces.udp.endpoint import DomainAddress, UDPv4Address, UDPv6Address

if TYPE_CHECKING:
    from interop.conftest import StartNode

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

V4, V6 = UDPv4Address("1.2.3.4", 5), UDPv6Address("2001:db8::1", 65535)

SAMPLES: dict[str, list[list[Any]]] = {
    "?": [[True], [False]],
    "B": [[0], [255]],
    "BBH": [[1, 2, 65535]],
    "BH": [[255, 258]],
    "c": [[b"c"], [b"\x00"]],
    "f": [[-0.5]],
    "d": [[-2.25], [1e300]],
    "H": [[258]],
    "HH": [[1, 65535]],
    "I": [[2 ** 32 - 1]],
    "l": [[-2], [2 ** 31 - 1]],
    "LL": [[1, 2 ** 32 - 1]],
    "q": [[-2 ** 63], [2 ** 63 - 1]],
    "Q": [[2 ** 64 - 1]],
    "QH": [[1 << 40, 3]],
    "QL": [[1 << 40, 1 << 31]],
    "QQHHBH": [[1, 2, 3, 4, 5, 6]],
    "ccB": [[b"a", b"b", 3]],
    "4SH": [[b"\x01\x02\x03\x04", 5]],
    "20s": [[bytes(range(20))]],
    "32s": [[bytes(range(32))]],
    "64s": [[bytes(range(64))]],
    "74s": [[bytes(range(74))]],
    "c20s": [[b"Y", bytes(range(20))]],
    "bits": [[1, 0, 1, 0, 1, 0, 1, 1], [0] * 8],
    "ipv4": [[V4]],
    "ip_address": [[V4], [V6]],
    "address": [[V4], [V6], [DomainAddress("example.org", 443)]],
    "raw": [[b""], [b"the rest"]],
    "varlenBx2": [[b""], [b"abcd"]],
    "varlenH": [[b""], [b"hello"], [bytes(1000)]],
    "varlenHutf8": [[""], ["héllo ✓"]],
    "varlenIutf8": [["héllo ✓"]],
    "varlenHx20": [[b""], [bytes(range(40))]],
    "varlenH-list": [[[]], [[b"a", b"", b"bcd"]]],
    "varlenI": [[b""], [b"hello"]],
    "doublevarlenH": [[b"hello"]],
    "payload": [[Inner(258, b"rest")]],
    "payload-list": [[[]], [[Inner(1, b""), Inner(2, b"two")]]],
    "arrayH-?": [[[]], [[True, False, True]]],
    "arrayH-q": [[[]], [[1, -2]]],
    "arrayH-d": [[[1.5, -2.25]]],
}
SEVERAL_VALUES_IN_ONE = {"BBH", "BH", "HH", "LL", "QH", "QL", "QQHHBH", "ccB", "4SH", "c20s"}

STYLES: dict[str, list[Any]] = {
    "compiled": [7, Inner(1, b"one"), [Inner(2, b""), Inner(3, b"three")], "text"],
    "plain": [1, 0, 0, 1, 0, 0, 0, 1, 1 << 50, "text"],
    "dataclass": [-7, True, b"data", "text ✓", 0.25, b"long", (1, b"part"), [(2, b""), (3, b"three")], [4, -5],
                  [True, False]],
}

directions = pytest.mark.parametrize(("sender", "receiver"), [("ours", "theirs"), ("theirs", "ours")])


@directions
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
async def test_every_format_crosses(start: StartNode, sender: str, receiver: str, signed: bool) -> None:
    source, target = await start(sender), await start(receiver)
    author = {"mid": source.mid} if signed else {"address": source.address}
    for name, samples in SAMPLES.items():
        for values in samples:
            await source.command("send", address=target.address, message=name, values=encode(values), signed=signed)
            expected = [tuple(values)] if name in SEVERAL_VALUES_IN_ONE else values
            await target.expect("received", message=name, signed=signed, values=encode(expected), **author)


@directions
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
async def test_every_style_of_payload_crosses(start: StartNode, sender: str, receiver: str, signed: bool) -> None:
    source, target = await start(sender), await start(receiver)
    for name, values in STYLES.items():
        await source.command("send", address=target.address, message=name, values=encode(values), signed=signed)
        await target.expect("received", message=name, signed=signed, values=encode(values))


async def test_both_have_the_formats_that_are_tested(start: StartNode) -> None:
    for kind in ("ours", "theirs"):
        node = await start(kind)
        assert set(node.started["formats"]) == SAMPLES.keys()
        assert set(node.started["messages"]) == SAMPLES.keys() | STYLES.keys()


@directions
@pytest.mark.parametrize("level", ["curve25519", "very-low", "low", "medium", "high"])
async def test_every_kind_of_key_signs(start: StartNode, sender: str, receiver: str, level: str) -> None:
    source, target = await start(sender, key=level), await start(receiver)
    for _ in range(2):  # by a stranger, then by a peer
        await source.command("send", address=target.address, message="varlenH", values=encode([b"hello"]), signed=True)
        await target.expect("received", message="varlenH", mid=source.mid, values=encode([b"hello"]))
        await source.command("walk", address=target.address)
        await source.expect("response", mid=target.mid)
        await target.expect("request", mid=source.mid)
