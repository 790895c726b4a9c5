"""What hostile nodes try with values, requests and answers, and what a node confirms."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.dht import storage as storage_module
from ipv8.dht.community import Request
from ipv8.dht.payload import (
    ConnectPeerRequestPayload,
    ConnectPeerResponsePayload,
    FindRequestPayload,
    FindResponsePayload,
    PingRequestPayload,
    PingResponsePayload,
    StorePeerRequestPayload,
    StorePeerResponsePayload,
    StoreRequestPayload,
    StoreResponsePayload,
)
from ipv8.dht.routing import Node
from ipv8.dht.values import SIGNATURES_AT_ONCE, parse, sign
from ipv8.keyvault.backend.curve25519 import DualPublicKey
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.private.libnaclkey import LibNaCLSK
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = b"k" * 20
NUMBERS = count(1)

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What signatures by curve25519 keys were verified of."""
    messages: list[bytes] = []
    verify = DualPublicKey.verify

    def noting(self: DualPublicKey, signature: bytes, message: bytes) -> bool:
        messages.append(message)
        return verify(self, signature, message)

    monkeypatch.setattr(DualPublicKey, "verify", noting)
    return messages


def store(node: Any, sender: Any, values: list[bytes], key: bytes = KEY, token: bytes | None = None,
          source: Any = None) -> bool:
    """Send a store-request to ``node``; whether it was confirmed."""
    address = source or sender.endpoint.wan_address
    node.endpoint.sent.clear()
    token = node.generate_token(Peer(sender.my_peer.public_key, address)) if token is None else token
    node.on_packet((address, sender.ezr_pack(3, StoreRequestPayload(next(NUMBERS), token, key, values))))
    return any(packet[22] == StoreResponsePayload.msg_id for _, packet in node.endpoint.sent)


def asks(node: Any, sender: Any, target: bytes = KEY) -> bool:
    """Send a find-request to ``node``; whether it was answered."""
    node.endpoint.sent.clear()
    payload = FindRequestPayload(next(NUMBERS), sender.my_estimated_lan, target, 0, True)
    node.on_packet((sender.endpoint.wan_address, sender.ezr_pack(5, payload)))
    return any(packet[22] == FindResponsePayload.msg_id for _, packet in node.endpoint.sent)


def answer(node: Any, other: Any, values: list[bytes], nodes: list[Node] | None = None) -> Request:
    """Have ``node`` ask ``other``, which answers."""
    request = Request(node, "find", Node(other.my_peer.public_key, other.endpoint.wan_address), [False],
                      consume_errors=True)
    node.request_cache.add(request)
    node.on_packet((other.endpoint.wan_address, other.ezr_pack(6, FindResponsePayload(
        request.number, bytes(20), values, nodes or []))))
    return request


def forged(number: int) -> bytes:
    return with_bad_signature(sign(b"%d" % number, LibNaCLSK(), int(clock.time())))


def with_bad_signature(value: bytes) -> bytes:
    return value[:-1] + bytes((value[-1] ^ 1,))


# Confirmations

def ahead(node: Any) -> bytes:
    return sign(b"data", node.my_peer.key, int(clock.time()) + 7200)


def older(node: Any) -> bytes:
    return sign(b"older", node.my_peer.key, int(clock.time()) - 10)


@pytest.mark.parametrize("refused", [
    ahead, older, lambda node: with_bad_signature(node.serialize_value(b"data")), lambda _: b"", lambda _: b"\x07data",
    lambda _: b"\x01\x00", lambda _: b"\x00" + bytes(170)])
async def test_a_value_that_is_not_stored_is_not_confirmed(
    make_nodes: Any, manual_clock: Any, refused: Callable[[Any], bytes],
) -> None:
    one, other = make_nodes(2)
    mine = one.serialize_value(b"mine")
    assert store(other, one, [b"\x00sound", mine])
    assert not store(other, one, [refused(one)])
    assert not store(other, one, [b"\x00another", refused(one)])
    stored = [value for storage in other.storages.values() for value in storage.get(KEY)]
    assert {b"\x00sound", mine} <= set(stored) <= {b"\x00sound", mine, b"\x00another"}


async def test_a_store_without_values_is_not_confirmed(make_nodes: Any) -> None:
    one, other = make_nodes(2)
    assert not store(other, one, [])


async def test_a_value_over_a_quota_is_not_confirmed(make_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 900)
    one, other = make_nodes(2)
    confirmed = [store(other, one, [b"\x00" + bytes((number,)) * 160]) for number in range(6)]
    (storage,) = other.storages.values()
    assert confirmed == [True] * 3 + [False] * 3
    assert len(storage.get(KEY)) == 3


async def test_a_value_that_lives_no_second_is_not_confirmed(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(22)
    far = max((dht.as_node(node).distance(KEY), number) for number, node in enumerate(nodes))[1]
    dht.introduce(*nodes)
    sender = nodes[far - 1]
    assert not store(nodes[far], sender, [b"\x00data"])


async def test_a_program_that_returns_nothing_from_add_value_confirms_what_is_stored(make_nodes: Any) -> None:
    one, other = make_nodes(2)
    add_value = other.add_value
    other.add_value = lambda *arguments: (add_value(*arguments), None)[1]
    assert store(other, one, [b"\x00data"])
    other.add_value = lambda *_: None
    assert not store(other, one, [b"\x00more"])


# Signatures of values

async def test_signatures_of_stored_values_are_verified_within_a_budget(
    make_nodes: Any, verified: list[bytes], manual_clock: Any,
) -> None:
    one, victim = make_nodes(2)
    senders = make_nodes(60)
    numbers = iter(range(10 ** 6))
    for sender in senders:
        for port in range(5000, 5004):
            source = UDPv4Address("77.7.7.7", port)
            assert not store(victim, sender, [forged(next(numbers)) for _ in range(8)], source=source)
    of_values = [message for message in verified if message[:1] == b"\x01"]
    assert len(of_values) == SIGNATURES_AT_ONCE
    assert store(victim, one, [one.serialize_value(b"of others")])


async def test_each_signature_of_a_value_is_verified_once(make_nodes: Any, dht: Any, verified: list[bytes]) -> None:
    one, other, reader = make_nodes(3)
    dht.introduce(one, other)
    dht.introduce(reader, other)
    await one.store_value(KEY, b"data", sign=True)
    for _ in range(3):
        assert await reader.find_values(KEY) == ((b"data", one.my_peer.key_bin),)
    (value,) = other.get_storage(dht.as_node(one)).get(KEY)
    assert verified.count(value[:-64]) == 3  # by each node, of which the first two store it


async def test_an_answer_has_eight_values(make_nodes: Any, dht: Any, verified: list[bytes]) -> None:
    one, other = make_nodes(2)
    request = answer(one, other, [forged(number) for number in range(200)])
    assert len(request.future.result()["values"]) == 8
    assert len([message for message in verified if message[:1] == b"\x01"]) == 8
    assert answer(one, other, [b"\x00%d" % number for number in range(20)]).future.result() == {
        "values": [b"\x00%d" % number for number in range(8)]}


async def test_of_a_long_list_of_nodes_few_keys_are_loaded(make_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_nodes(2)
    nodes = [Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address("1.2.3.4", 5)) for number in range(255)]
    loaded: list[bytes] = []
    load = type(default_eccrypto).key_from_network

    def noting(self: Any, data: bytes) -> Any:
        loaded.append(data)
        return load(self, data)

    monkeypatch.setattr(type(default_eccrypto), "key_from_network", noting)
    assert answer(one, other, [], nodes).future.result() == {"nodes": nodes[:16]}
    assert len([key for key in loaded if key != other.my_peer.key_bin]) == 16


@pytest.mark.parametrize("curve", ["very-low", "medium"])
@pytest.mark.parametrize("form", ["hybrid", "long length"])
async def test_keys_that_others_can_read_make_nobody_suspicious(
    make_nodes: Any, dht: Any, curve: str, form: str,
) -> None:
    """The value is ignored, and the node that stores it is asked again."""
    one, honest = make_nodes(2)
    dht.introduce(one, honest)
    key = default_eccrypto.generate_key(curve)
    public = key.pub().key_to_bin()
    if form == "hybrid":
        at = public.rindex(b"\x00\x04", 0, 30) + 1
        encoded = public[:at] + bytes((6 | public[-1] & 1,)) + public[at + 1:]
    else:
        start = 2 if public[1] < 128 else 3
        encoded = b"\x30\x83" + (len(public) - start).to_bytes(3, "big") + public[start:]
    value = b"\x01\x00\x04data" + int(clock.time()).to_bytes(4, "big") + len(encoded).to_bytes(2, "big") + encoded
    value += key.signature(value)
    for data in (value, b"\x00sound"):
        honest.get_storage(dht.as_node(one)).put(KEY, data)
    assert parse(value) is None
    for _ in range(2):
        assert await one.find_values(KEY) == ((b"sound", None),)
        assert not one.finder.is_distrusted(dht.as_node(honest))


async def test_bad_signatures_make_nobody_suspicious(make_nodes: Any, dht: Any) -> None:
    """What is a bad signature here may be a good one for another implementation."""
    one, honest = make_nodes(2)
    dht.introduce(one, honest)
    honest.get_storage(dht.as_node(one)).put(KEY, forged(1))
    assert await one.find_values(KEY) == ()
    assert not one.finder.is_distrusted(dht.as_node(honest))


# Requests that are sent again

@pytest.mark.parametrize("rate", [1, 2, 3, 20])
@pytest.mark.parametrize("recordings", [1, 20])
async def test_recorded_requests_block_nobody(make_nodes: Any, manual_clock: Any, rate: int, recordings: int) -> None:
    """Sent with the address of their author, each counts once."""
    author, victim = make_nodes(2)
    recorded = [author.ezr_pack(5, FindRequestPayload(number, author.my_estimated_lan, KEY, 0, True))
                for number in range(60_000, 60_000 + recordings)]
    for packet in recorded:  # it has seen them after a few seconds
        victim.on_packet((author.endpoint.wan_address, packet))
        manual_clock.advance(1)
    answered = []
    for tenth in range(300):
        manual_clock.advance(0.1)
        for number in range(tenth * rate // 10, (tenth + 1) * rate // 10):
            victim.on_packet((author.endpoint.wan_address, recorded[number % recordings]))
        if tenth % 37 == 36:
            answered.append(asks(victim, author))
    assert answered == [True] * 8
    assert victim.drops[DropCounter.REPLAYED] >= rate * 29


async def replay(author: Any, victim: Any, dht: Any, manual_clock: Any, seconds: int, turn: Any,
                 recordings: int = 400) -> None:
    """Let somebody send four recorded requests of ``author`` in each second; call ``turn`` once in six seconds.

    The requests were made for another node, so ``victim`` has not seen them before.
    """
    liar = Node(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("66.6.6.6", 6))
    for number in range(recordings):
        author._send_find_request(liar, number.to_bytes(20, "big"), False)
    recorded = [packet for address, packet in author.endpoint.sent if address == liar.address]
    assert len(recorded) == recordings
    for second in range(seconds):
        manual_clock.advance(1)
        for number in range(4 * second, 4 * second + 4):
            victim.on_packet((author.endpoint.wan_address, recorded[number % recordings]))
        await dht.settle()
        if second % 6 == 5:
            await turn(second)


def sent_finds(node: Any, other: Any) -> int:
    """How many find-requests ``node`` has sent to ``other``."""
    return sum(address == other.endpoint.wan_address and packet[22] == FindRequestPayload.msg_id
               for address, packet in node.endpoint.sent)


async def test_an_author_of_many_recorded_requests_is_still_answered(make_nodes: Any, dht: Any,
                                                                     manual_clock: Any) -> None:
    author, victim = make_nodes(2)
    answered: list[bool] = []

    async def ask(second: int) -> None:
        future = author._send_find_request(dht.as_node(victim), KEY, True)
        await dht.settle()
        answered.append(future.done())
        if second % 90 == 89:
            author.token_maintenance()

    await replay(author, victim, dht, manual_clock, 360, ask, recordings=4 * 360)
    assert victim.drops[DropCounter.RATE_LIMITED] > 400
    missed = answered.count(False)
    assert missed <= 4 * 5, "with each new secret of its own, until the victim has asked for its token, at most 30 s"
    assert answered.count(True) >= 40
    assert sent_finds(victim, author) <= 360 / 30 + 1


async def test_requests_that_do_not_show_that_they_are_new_have_no_limit_of_their_own(
    make_nodes: Any, dht: Any, manual_clock: Any,
) -> None:
    author, victim = make_nodes(2)
    answered: list[bool] = []

    async def ask(_: int) -> None:
        answered.append(asks(victim, author))

    await replay(author, victim, dht, manual_clock, 60, ask)
    assert answered.count(True) <= 1


async def test_many_recorded_requests_hold_up_their_author_once(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    author, victim = make_nodes(2)
    answered: list[tuple[int, bool]] = []

    async def ask(second: int) -> None:
        answered.append((second, asks(victim, author)))

    await replay(author, victim, dht, manual_clock, 420, ask)
    assert not any(was_answered for second, was_answered in answered if 6 < second < 90)
    assert all(was_answered for second, was_answered in answered if second > 240)


async def test_nobody_is_asked_because_of_requests_that_others_signed(make_nodes: Any, manual_clock: Any) -> None:
    author, victim = make_nodes(2)
    for number in range(40):
        packet = author.ezr_pack(5, FindRequestPayload(number, author.my_estimated_lan, KEY, 0, True))
        victim.on_packet((author.endpoint.wan_address, packet[:-1] + bytes((packet[-1] ^ 1,))))
        manual_clock.advance(1)
    assert sent_finds(victim, author) == 0


@pytest.mark.parametrize("host", ["66.6.6.6", "53.1.7.9"])
async def test_recorded_requests_from_elsewhere_count_for_elsewhere(make_nodes: Any, dht: Any, host: str) -> None:
    author, victim = make_nodes(2)
    dht.introduce(author, victim)
    node = victim.get_routing_table(dht.as_node(author)).get(dht.as_node(author).id)
    node.last_response = clock.time()
    elsewhere = UDPv4Address(host, 6)
    for number in range(50):
        victim.on_packet((elsewhere, author.ezr_pack(1, PingRequestPayload(number))))
    assert not node.last_queries
    assert node.address == author.endpoint.wan_address
    assert asks(victim, author)


async def test_requests_in_the_name_of_a_host_do_not_shut_out_who_proved_to_be_there(make_nodes: Any,
                                                                                     manual_clock: Any) -> None:
    author, victim, stranger = make_nodes(3)
    assert store(victim, author, [b"\x00data"])
    for liar in make_nodes(60):
        for number in range(10):
            victim.on_packet((author.endpoint.wan_address, liar.ezr_pack(1, PingRequestPayload(number))))
    assert victim.drops[DropCounter.RATE_LIMITED] == 100
    assert asks(victim, author)
    stranger.endpoint.wan_address = author.endpoint.wan_address
    assert not asks(victim, stranger)
    assert store(victim, stranger, [b"\x00data"])
    assert asks(victim, stranger)


async def test_who_has_a_token_can_store_although_requests_are_sent_in_its_name(make_nodes: Any,
                                                                                manual_clock: Any) -> None:
    author, victim = make_nodes(2)
    for number in range(40):
        victim.on_packet((author.endpoint.wan_address, author.ezr_pack(1, PingRequestPayload(number))))
    assert not asks(victim, author)
    assert not store(victim, author, [b"\x00data"], token=bytes(20))
    assert store(victim, author, [b"\x00data"])
    packet = author.ezr_pack(7, StorePeerRequestPayload(1, victim.generate_token(Peer(
        author.my_peer.public_key, author.endpoint.wan_address)), author.my_peer.mid))
    victim.on_packet((author.endpoint.wan_address, packet))
    assert author.my_peer.mid in victim.store
    assert sum(store(victim, author, [b"\x00data"]) for _ in range(20)) == 9


@pytest.mark.parametrize("payload", [PingRequestPayload(1), ConnectPeerRequestPayload(1, ("1.2.3.4", 5), KEY),
                                     FindRequestPayload(1, ("1.2.3.4", 5), KEY, 0, False)])
async def test_a_request_is_answered_once(make_nodes: Any, payload: Any) -> None:
    one, other = make_nodes(2)
    packet = one.ezr_pack(payload.msg_id, payload)
    for _ in range(5):
        other.on_packet((one.endpoint.wan_address, packet))
    assert other.endpoint.sent_ids() == [payload.msg_id + 1]
    assert other.drops == {DropCounter.REPLAYED: 4}


# Answers

@pytest.mark.parametrize(("msg_type", "make"), [
    ("ping", PingResponsePayload), ("store", StoreResponsePayload),
    ("find", lambda number: FindResponsePayload(number, bytes(20), [], [])),
    ("store-peer", StorePeerResponsePayload), ("connect-peer", lambda number: ConnectPeerResponsePayload(number, []))])
async def test_an_answer_counts_once_and_from_whom_was_asked(make_nodes: Any, dht: Any, msg_type: str,
                                                             make: Callable[[int], Any]) -> None:
    one, other, liar = make_nodes(3)
    other.endpoint.close()
    request = Request(one, msg_type, dht.as_node(other), [False] if msg_type == "find" else [KEY],
                      consume_errors=True)
    one.request_cache.add(request)
    payload = make(request.number)
    for sender, source in ((liar, liar), (liar, other)):
        one.on_packet((source.endpoint.wan_address, sender.ezr_pack(payload.msg_id, payload)))
        assert not request.future.done()
    for _ in range(3):
        one.on_packet((other.endpoint.wan_address, other.ezr_pack(payload.msg_id, payload)))
    assert request.future.done()
    assert one.drops == {DropCounter.UNSOLICITED: 4}
    assert not one.admission.is_proven(liar.endpoint.wan_address)
    assert not any(table.has(dht.as_node(liar).id) for table in one.routing_tables.values())


# Values of others

async def test_lies_of_one_node_are_not_spread_by_others(make_nodes: Any, dht: Any) -> None:
    finder, liar, honest = make_nodes(3)
    dht.introduce(finder, liar, honest)
    junk = [b"\x00junk%d" % number for number in range(8)]
    for value in junk:
        liar.add_value(KEY, value, liar.get_storage(dht.as_node(finder)))
    for _ in range(20):
        await finder.find_values(KEY)
        await dht.settle()
        finder.measurements.pacer._sent.clear()
        liar.admission._visitors.clear()
        for node in (liar, honest):
            node.get_routing_table(dht.as_node(finder)).get(dht.as_node(finder).id).last_queries.clear()
    (storage,) = honest.storages.values()
    assert len(storage.get(KEY)) == 1


async def test_what_a_finder_stores_again_does_not_move_what_the_publisher_pays(make_nodes: Any, dht: Any) -> None:
    publisher, finder, keeper = make_nodes(3)
    value = publisher.serialize_value(b"data")
    assert store(keeper, publisher, [value])
    assert store(keeper, finder, [value])
    (kept,) = keeper.get_storage(dht.as_node(publisher)).items[KEY]
    assert list(kept.claims) == [publisher.endpoint.wan_address[0], finder.endpoint.wan_address[0]]
