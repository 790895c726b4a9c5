"""What nodes of the DHT do for one another (doc/protocol/dht.md sections 6 to 9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8 import clock
from ipv8.dht import DHTError
from ipv8.dht.community import DHTCommunity, LookupOptions, Request
from ipv8.dht.payload import (
    FindRequestPayload,
    FindResponsePayload,
    PingRequestPayload,
    PingResponsePayload,
    StoreRequestPayload,
)
from ipv8.dht.routing import Node, RoutingTable, distance
from ipv8.events import EventBus
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer

KEY = b"k" * 20

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture(params=[False, True], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> bool:
    return request.param  # type: ignore[no-any-return]  # a bool


@pytest.mark.parametrize("curve", ["curve25519", "very-low"])
async def test_introductions_fill_the_routing_tables(make_nodes: Any, dht: Any, family: bool, curve: str) -> None:
    one, other = make_nodes(2, ipv6=family, curve=curve)
    one.walk_to(other.endpoint.wan_address)
    await dht.settle()
    for here, there in ((one, other), (other, one)):
        node = dht.as_node(there)
        assert here.get_routing_table(node).trie[""].get(node.id) == there.my_peer
        assert here.get_routing_table(node).get(node.id).last_response > 0
    assert not one.tokens
    assert not other.tokens


async def test_ping(make_nodes: Any, dht: Any, family: bool) -> None:
    one, other = make_nodes(2, ipv6=family)
    node = dht.as_node(other)
    assert await one.ping(node) == other.my_peer
    assert node.last_response > 0
    assert node.failed == 0
    other.endpoint.close()
    pending = one.ping(node)
    await dht.settle()
    assert not pending.done()


@pytest.mark.parametrize("signed", [False, True])
async def test_store_and_find(make_nodes: Any, dht: Any, family: bool, signed: bool) -> None:
    one, other = make_nodes(2, ipv6=family)
    dht.introduce(one, other)
    assert await one.store_value(KEY, b"data", sign=signed) == [other.my_peer]
    stored = other.get_storage(dht.as_node(one)).get(KEY)
    assert len(stored) == 1
    assert one.unserialize_value(stored[0])[0] == b"data"
    signer = one.my_peer.public_key.key_to_bin() if signed else None
    assert await other.find_values(KEY) == ((b"data", signer),)
    one.storages.clear()
    assert await one.find_values(KEY) == ((b"data", signer),)


async def test_store_without_nodes(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    with pytest.raises(DHTError, match="No nodes found for storing the key-value pairs"):
        await one.store_value(KEY, b"data")
    table = one.get_routing_table(dht.as_node(other))
    assert not list(table.nodes())
    with pytest.raises(DHTError, match="No nodes found in the routing table"):
        await one.store_value(KEY, b"data")
    with pytest.raises(DHTError, match="Maximum length exceeded"):
        await one.store_value(KEY, bytes(170))


async def test_stores_that_nobody_confirms(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    other.decode_map[3] = None
    with one.request_cache.passthrough(timeout=0.5), pytest.raises(DHTError, match="Failed to store value on DHT"):
        await one.store_value(KEY, b"data")


async def test_tokens(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    node, value = dht.as_node(other), one.serialize_value(b"data", sign=False)
    me = Node(one.my_peer.key, one.endpoint.wan_address)
    with pytest.raises(DHTError, match="Value was not stored"):
        await one.store_on_nodes(KEY, [value], [node])
    one.tokens[node.id] = clock.time() - 600, other.generate_token(me)
    with pytest.raises(DHTError, match="Value was not stored"):
        await one.store_on_nodes(KEY, [value], [node])
    assert not other.storages
    one.tokens[node.id] = clock.time(), other.generate_token(me)
    assert await one.store_on_nodes(KEY, [value], [node]) == [node]
    assert other.get_storage(me).get(KEY) == [value]


async def test_tokens_are_bound_to_address_key_and_secret(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    node = dht.as_node(other)
    token = one.generate_token(node)
    assert len(token) == 20
    assert one.check_token(Node(other.my_peer.key, other.endpoint.wan_address), token)
    assert not one.check_token(Node(other.my_peer.key, UDPv4Address(node.address[0], 1)), token)
    assert not one.check_token(Node(one.my_peer.key, other.endpoint.wan_address), token)
    assert not one.check_token(node, bytes(20))
    one.token_maintenance()
    assert one.check_token(node, token)
    one.token_maintenance()
    assert not one.check_token(node, token)


async def test_old_tokens_are_forgotten(make_nodes: Any) -> None:
    one, = make_nodes(1)
    one.tokens[b"old"] = clock.time() - 601, b"t" * 20
    one.tokens[b"new"] = clock.time(), b"t" * 20
    one.token_maintenance()
    assert list(one.tokens) == [b"new"]


async def test_values_are_cached_on_the_path(make_nodes: Any, dht: Any) -> None:
    first, middle, last = make_nodes(3)
    dht.introduce(first, middle)
    dht.introduce(middle, last)
    value = first.serialize_value(b"data", sign=False)
    last.add_value(KEY, value, last.get_storage(dht.as_node(first)))
    assert await first.find_values(KEY) == ((b"data", None),)
    await dht.settle()
    assert middle.get_storage(dht.as_node(first)).get(KEY) == [value]


async def test_caching_is_an_option(make_nodes: Any, dht: Any) -> None:
    first, middle, last = make_nodes(3)
    dht.introduce(first, middle)
    dht.introduce(middle, last)
    last.add_value(KEY, first.serialize_value(b"data", sign=False), last.get_storage(dht.as_node(first)))
    assert await first.find_values(KEY, options=LookupOptions(cache=False)) == ((b"data", None),)
    await dht.settle()
    assert not middle.get_storage(dht.as_node(first)).get(KEY)


async def test_a_value_reaches_all_of_the_nearest_nodes(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(15)
    dht.introduce(*nodes)
    await nodes[0].store_value(KEY, b"one")
    nearest = sorted(nodes, key=lambda node: distance(dht.as_node(node).id, KEY))[:8]
    for node in nearest:
        assert node.get_storage(node.my_peer).get(KEY) == [b"\x00one"]
    await nodes[1].store_value(KEY, b"two", sign=True)
    expected = {(b"one", None), (b"two", nodes[1].my_peer.key_bin)}
    for node in nodes:
        assert set(await node.find_values(KEY)) == expected


async def test_lookups_over_disjoint_paths(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(12)
    dht.introduce(*nodes)
    await nodes[0].store_value(KEY, b"data")
    assert await nodes[5].find_values(KEY, options=LookupOptions(paths=3)) == ((b"data", None),)
    found = await nodes[5].find_nodes(KEY, options=LookupOptions(paths=2))
    assert list(found[:8]) == sorted((dht.as_node(node) for node in nodes if node is not nodes[5]),
                                     key=lambda node: node.distance(KEY))[:8]


async def test_short_and_long_keys(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(b"my key", b"data")
    assert await other.find_values(b"my key") == ((b"data", None),)
    assert await one.find_values(b"my key" + bytes(14) + b"cut") == ((b"data", None),)


async def test_debug_information(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(KEY, b"data")
    values, crawls = await one.find_values(KEY, debug=True)
    assert values == ((b"data", None),)
    assert crawls[0].nodes_tried == {other.my_peer}
    assert crawls[0].responses == [(other.my_peer, {"values": [b"\x00data"]})]
    assert crawls[0].done
    nodes, crawls = await one.find_nodes(KEY, debug=True)
    assert (list(nodes), len(crawls)) == ([other.my_peer], 1)


async def test_an_empty_table_does_not_spoil_the_other_one(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    one.routing_tables[UDPv6Address] = RoutingTable(bytes(20))
    dht.introduce(one, other)
    await one.store_value(KEY, b"data")
    values, crawls = await one.find_values(KEY, debug=True)
    assert (values, len(crawls)) == (((b"data", None),), 1)
    assert await one.find_nodes(KEY) == (other.my_peer,)


async def test_refresh_looks_for_nodes_of_the_stale_bucket(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    bucket = one.get_routing_table(dht.as_node(other)).trie[""]
    bucket.last_changed = 0
    asked = []

    async def find_values(target: bytes) -> tuple[Any, ...]:
        asked.append(target)
        return ()

    one.find_values = find_values
    await one.node_maintenance()
    assert len(asked) == 1
    assert bucket.owns(asked[0])
    await one.node_maintenance()
    assert len(asked) == 1


async def test_too_many_requests(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    node = dht.as_node(other)
    for _ in range(10):
        assert await one.ping(node) == node
    stored = other.get_routing_table(dht.as_node(one)).get(dht.as_node(one).id)
    assert stored.blocked
    refused = one.ping(node)
    await dht.settle()
    assert not refused.done()
    assert other.drops[DropCounter.RATE_LIMITED] == 1
    manual_clock.advance(5)
    assert await one.ping(node) == node


async def test_own_requests_stay_below_the_limit_of_others(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await other.store_value(KEY, b"data")
    for _ in range(9):
        assert await one.find_values(KEY)
    waiting = asyncio.ensure_future(one.find_nodes(KEY))
    await dht.settle()
    assert not waiting.done()
    assert sum(packet[22] == 5 for _, packet in one.endpoint.sent) == 9
    waiting.cancel()


async def test_unloading_during_a_lookup(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    other.endpoint.close()
    looking = asyncio.ensure_future(one.find_nodes(KEY))
    pinging = one.ping(dht.as_node(other))
    await dht.settle()
    await one.unload()
    assert await looking == ()
    assert pinging.cancelled()
    assert one.request_cache._shutdown
    assert one._shutdown


async def test_answers_of_others_are_not_accepted(make_nodes: Any, dht: Any) -> None:
    one, other, liar = make_nodes(3)
    other.endpoint.close()
    request = Request(one, "find", dht.as_node(other), [False], consume_errors=True)
    one.requester.send(request, FindRequestPayload(request.number, one.my_estimated_lan, KEY, 0, False))
    packet = liar.ezr_pack(6, FindResponsePayload(request.number, bytes(20), [b"\x00lie"], []))
    one.on_packet((liar.endpoint.wan_address, packet))
    one.on_packet((other.endpoint.wan_address, packet))
    assert not request.future.done()
    assert not one.tokens
    assert one.drops[DropCounter.UNSOLICITED] == 2
    assert one.drops[DropCounter.BAD_SIGNATURE] == 0


async def test_answers_to_nothing_are_dropped_before_their_signature_is_verified(make_nodes: Any) -> None:
    one, other = make_nodes(2)
    packet = other.ezr_pack(2, PingResponsePayload(5))
    one.on_packet((other.endpoint.wan_address, packet[:-1] + b"\x00"))
    assert one.drops == {DropCounter.UNSOLICITED: 1}
    one.on_packet((other.endpoint.wan_address, packet[:23]))
    assert one.drops == {DropCounter.UNSOLICITED: 1, DropCounter.UNDECODABLE: 1}


@pytest.mark.parametrize("msg_id", [1, 3, 5])
async def test_nothing_is_looked_up_for_what_has_not_the_shape_of_a_request(
    make_nodes: Any, monkeypatch: pytest.MonkeyPatch, msg_id: int,
) -> None:
    node, = make_nodes(1)
    monkeypatch.setattr(node.admission, "refusal", lambda *_: pytest.fail("this hashes the claimed key"))
    header = node.get_prefix() + bytes((msg_id,))
    for body in (b"", b"\xea\x00" + bytes(60_000), b"\x00\x4aLibNaCLPK:" + bytes(20)):
        node.on_packet((UDPv4Address("1.2.3.4", 5), header + body))
    assert node.drops == {DropCounter.UNDECODABLE: 3}


async def test_a_malformed_value_spoils_nothing(make_nodes: Any, dht: Any) -> None:
    one, honest, liar = make_nodes(3)
    dht.introduce(one, honest, liar)
    for node, values in ((honest, [b"\x00data"]), (liar, [b"", b"\x01", b"\x01\xff\xff", b"\x07?", b"\x00data"])):
        for number, value in enumerate(values):
            node.get_storage(dht.as_node(one)).put(KEY, value, id_=bytes((number + 1,)))
    assert set(await one.find_values(KEY)) == {(b"data", None)}
    assert one.finder.is_distrusted(dht.as_node(liar))
    assert not one.finder.is_distrusted(dht.as_node(honest))


async def test_read_repair(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other, behind = make_nodes(3)
    dht.introduce(one, other, behind)
    old = one.serialize_value(b"old")
    manual_clock.advance(5)
    new = one.serialize_value(b"new")
    for node, value in ((other, new), (behind, old)):
        node.add_value(KEY, value, node.get_storage(dht.as_node(one)))
    reader = make_nodes(1)[0]
    dht.introduce(reader, other)
    dht.introduce(reader, behind)
    assert await reader.find_values(KEY) == ((b"new", one.my_peer.key_bin),)
    await dht.settle()
    assert behind.get_storage(dht.as_node(one)).get(KEY) == [new]


async def test_more_values_than_fit_into_one_answer(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    for number in range(20):
        other.add_value(KEY, b"\x00" + bytes((number,)) * 160, other.get_storage(dht.as_node(one)))
    other.add_value(other.my_peer.mid, other.serialize_value(b"mine"), other.get_storage(dht.as_node(one)))
    assert len(await one.find_values(KEY)) == 20
    assert max(len(packet) for _, packet in other.endpoint.sent) <= 1400


async def test_the_owner_of_a_key_cannot_be_crowded_out(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    key = one.my_peer.mid
    storage = other.get_storage(dht.as_node(one))
    other.add_value(key, one.serialize_value(b"mine"), storage)
    for number in range(200):
        other.add_value(key, b"\x00" + bytes((number,)) * 160, storage)
    assert (await one.find_values(key))[0] == (b"mine", one.my_peer.key_bin)


async def test_strangers_are_not_answered_with_more_than_three_times_their_bytes(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(14)
    server, stranger = nodes[0], nodes[-1]
    dht.introduce(*nodes[:-1])
    for number in range(8):
        server.add_value(KEY, b"\x00" + bytes((number,)) * 160, server.get_storage(dht.as_node(stranger)))
    for force_nodes, target in ((True, KEY), (False, KEY), (True, dht.as_node(nodes[3]).id)):
        server.endpoint.sent.clear()
        payload = FindRequestPayload(1, stranger.my_estimated_lan, target, 0, force_nodes)
        packet = stranger.ezr_pack(5, payload)
        server.on_packet((stranger.endpoint.wan_address, packet))
        answers = [data for address, data in server.endpoint.sent if address == stranger.endpoint.wan_address]
        punctures = sum(data[22] == 250 for _, data in server.endpoint.sent)
        assert len(answers) == 1
        assert len(answers[0]) + punctures * (45 + 185) <= 3 * len(packet)
    assert punctures == 1

    server.endpoint.sent.clear()
    server.admission.prove(stranger.endpoint.wan_address)
    server.on_packet((stranger.endpoint.wan_address, stranger.ezr_pack(5, FindRequestPayload(
        2, stranger.my_estimated_lan, KEY, 0, True))))
    assert sorted(server.endpoint.sent_ids()) == [6, 250]
    assert max(len(data) for _, data in server.endpoint.sent) == 853


@pytest.mark.parametrize("identifier", [0, 65535, 65536, 2 ** 32 - 1])
async def test_any_identifier_is_echoed(make_nodes: Any, dht: Any, family: bool, identifier: int) -> None:
    one, other, third = make_nodes(3, ipv6=family)
    dht.introduce(other, third)
    other.admission.prove(one.endpoint.wan_address)
    other.on_packet((one.endpoint.wan_address, one.ezr_pack(5, FindRequestPayload(
        identifier, one.my_estimated_lan, KEY, 0, True))))
    answer = next(data for address, data in other.endpoint.sent if data[22] == 6)
    assert int.from_bytes(answer[99:103], "big") == identifier


@pytest.mark.parametrize("values", [[b"\x00" * 171], [b"\x00a"] * 9])
async def test_stores_that_are_too_large_are_dropped(make_nodes: Any, dht: Any, values: list[bytes]) -> None:
    one, other = make_nodes(2)
    token = other.generate_token(dht.as_node(one))
    other.on_packet((one.endpoint.wan_address, one.ezr_pack(3, StoreRequestPayload(1, token, KEY, values))))
    assert not other.endpoint.sent
    assert not other.storages


async def test_values_from_the_future_are_not_stored(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, = make_nodes(1)
    storage = one.get_storage(one.my_peer)
    value = one.serialize_value(b"data")
    manual_clock.step_wall(-3601)
    one.add_value(KEY, value, storage)
    assert not storage.get(KEY)
    manual_clock.advance(1)
    one.add_value(KEY, value, storage)
    assert storage.get(KEY) == [value]


async def test_requests_are_answered_where_they_come_from(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    known = Peer(one.my_peer.public_key, one.endpoint.wan_address)
    known.add_address(UDPv6Address("2a00::77", 5))
    other.network.add_verified_peer(known)
    other.on_packet((one.endpoint.wan_address, one.ezr_pack(1, PingRequestPayload(3))))
    assert [address for address, _ in other.endpoint.sent] == [one.endpoint.wan_address]
    assert list(other.routing_tables) == [UDPv4Address]


async def test_replayed_requests_do_not_move_a_node(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    node = dht.as_node(one)
    table = other.get_routing_table(node)
    table.get(node.id).last_response = clock.time()
    packet = one.ezr_pack(1, PingRequestPayload(3))
    other.on_packet((UDPv4Address(node.address[0], 9), packet))
    assert table.get(node.id).address == node.address

    moved = Node(one.my_peer.public_key, UDPv4Address(node.address[0], 9))
    moved.last_response = clock.time()
    other.admit(moved)
    assert table.get(node.id).address == moved.address


async def test_crowded_networks(make_nodes: Any) -> None:
    one, = make_nodes(1)
    added = [one.admit(Node(b"LibNaCLPK:" + bytes((n,)) * 64, UDPv4Address("8.8.8.8", n + 1))) for n in range(5)]
    assert sum(node is not None for node in added) == 2
    one.my_estimated_wan = UDPv4Address("192.168.1.1", 1)
    added = [one.admit(Node(b"LibNaCLPK:" + bytes((n + 100,)) * 64, UDPv4Address("8.8.8.8", n + 1))) for n in range(5)]
    assert all(added)


async def test_nodes_that_answered_may_have_punctures_sent(make_nodes: Any, dht: Any) -> None:
    one, other, stranger = make_nodes(3)
    target = UDPv4Address("99.1.1.1", 7)
    for sender, punctures in ((stranger, 0), (other, 1)):
        dht.introduce(one, other)
        assert one.network.get_verified_by_address(sender.endpoint.wan_address) is None
        one.on_packet((sender.endpoint.wan_address, sender.create_puncture_request(target, target, 5)))
        assert [address for address, _ in one.endpoint.sent].count(target) == punctures
    assert one.drops == {DropCounter.RATE_LIMITED: 1}


async def test_nodes_of_unknown_families_are_ignored(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    one.on_node_discovered(other.my_peer.key_bin, UDPv6Address("2a00::1", 5))
    one.my_estimated_wan = UDPv4Address("0.0.0.0", 0)
    one.on_node_discovered(other.my_peer.key_bin, other.endpoint.wan_address)
    one.my_estimated_wan = one.endpoint.wan_address
    one.network.blacklist.append(other.endpoint.wan_address)
    one.on_node_discovered(other.my_peer.key_bin, other.endpoint.wan_address)
    assert not one.routing_tables
    assert not one.endpoint.sent


async def test_a_new_own_address_moves_this_node(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    one.my_peer.address = one.my_estimated_wan = UDPv4Address("99.99.99.99", 9)
    before = one.routing_tables[UDPv4Address].my_node_id
    one._follow_own_address()
    table = one.routing_tables[UDPv4Address]
    assert table.my_node_id == one.get_my_node_id(one.my_peer) != before
    assert table.has(dht.as_node(other).id)


async def test_republishing(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(KEY, b"data", republish=True)
    storage = other.get_storage(dht.as_node(one))
    storage.items.clear()
    await one.publications.store_due(one._store)
    assert not storage.get(KEY)
    manual_clock.advance(2701)
    await one.publications.store_due(one._store)
    assert storage.get(KEY) == [b"\x00data"]
    one.unpublish(KEY, b"data")
    storage.items.clear()
    manual_clock.advance(2701)
    await one.publications.store_due(one._store)
    assert not storage.get(KEY)


async def test_republishing_goes_on_after_a_failure(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    with pytest.raises(DHTError):
        await one.store_value(KEY, b"data", republish=True)
    manual_clock.advance(2701)
    await one.publications.store_due(one._store)
    dht.introduce(one, other)
    manual_clock.advance(61)
    await one.publications.store_due(one._store)
    assert other.get_storage(dht.as_node(one)).get(KEY) == [b"\x00data"]


async def test_sweep_pings_silent_nodes_and_removes_bad_ones(make_nodes: Any, dht: Any) -> None:
    one, silent, bad = make_nodes(3)
    dht.introduce(one, silent)
    dht.introduce(one, bad)
    table = one.get_routing_table(dht.as_node(bad))
    table.get(dht.as_node(bad).id).failed = 2
    one._sweep()
    assert [address for address, _ in one.endpoint.sent] == [silent.endpoint.wan_address]
    assert not table.has(dht.as_node(bad).id)
    one._sweep()
    assert len(one.endpoint.sent) == 1


async def test_looking_around_makes_neighbours_known(make_nodes: Any, dht: Any) -> None:
    first, middle, last = make_nodes(3)
    dht.introduce(first, middle)
    dht.introduce(middle, last)
    await first._look_around()
    assert first.get_routing_table(dht.as_node(last)).has(dht.as_node(last).id)
    assert last.get_routing_table(dht.as_node(first)).has(dht.as_node(first).id)
    first.endpoint.sent.clear()
    await first._look_around()
    assert not first.endpoint.sent


async def test_timeouts_count_against_a_node(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    node = dht.as_node(other)
    quiet = Request(one, "ping", node, consume_errors=True)
    quiet.on_timeout()
    assert quiet.future.result() is None
    loud = Request(one, "store", node)
    loud.on_timeout()
    assert node.failed == 2
    with pytest.raises(DHTError, match="Timeout for store to Peer<"):
        loud.future.result()
    loud.on_timeout()
    assert node.failed == 2
    loud.on_complete()
    assert node.failed == 0
    assert loud.timeout_delay == 5.0


async def test_strategies_and_values(make_nodes: Any) -> None:
    one, = make_nodes(1, DHTCommunity)
    assert list(one.get_available_strategies()) == ["PingChurn"]
    assert one.get_address_class(Peer(one.my_peer.public_key, ("1.2.3.4", 5))) is tuple
    assert one.post_process_values([b"", b"\x00a", b"\x09"]) == [(b"a", None)]


async def test_looking_around_goes_on_with_a_table_that_became_empty(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    one.routing_tables[UDPv6Address] = table = RoutingTable(b"\x01" * 20)
    table.add(Node(b"LibNaCLPK:" + bytes(64), UDPv6Address("2a00::1", 5)))
    ask = one.finder.finish

    async def finish(*arguments: Any) -> Any:
        table.trie[""].nodes.clear()
        return await ask(*arguments)

    one.finder.finish = finish
    await one._look_around()
    assert one.endpoint.sent_ids()


async def test_lookups_and_stored_values_are_told(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    bus = one.event_bus = EventBus()
    with bus.subscribe() as subscription:
        await one.store_value(KEY, b"value")
        assert await one.find_values(KEY) == ((b"value", None),)
        told = [(event.topic, event.data) for event in subscription.take_nowait()]
    assert [(topic, data.get("state"), data.get("kind")) for topic, data in told] == [
        ("dht.lookup", "started", "nodes"), ("dht.lookup", "finished", "nodes"), ("dht.stored", None, None),
        ("dht.lookup", "started", "values"), ("dht.lookup", "finished", "values")]
    stored, last = told[2][1], told[4][1]
    assert (stored["key"], stored["nodes"], stored["seconds"] >= 0) == (KEY.hex(), 1, True)
    assert (last["target"], last["nodes_asked"], last["values"], last["seconds"] >= 0) == (KEY.hex(), 1, 1, True)


async def test_lookups_are_remembered(make_nodes: Any, dht: Any) -> None:
    one, other, silent = make_nodes(3)
    dht.introduce(one, other, silent)
    one.cancel_all_pending_tasks()  # among them one that makes lookups from time to time
    silent.endpoint.close()
    await one.find_nodes(KEY)
    running = asyncio.ensure_future(one.find_values(b"j" * 20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first, last = one.lookups.records()
    assert (first.id, first.state, first.kind, first.seconds) == (2, "started", "values", None)
    assert (last.id, last.state, last.kind, last.target) == (1, "finished", "nodes", KEY)
    shared = 160 - dht.as_node(other).distance(KEY).bit_length()
    assert [step[1:] for step in last.course if step[1] == shared][:2] == [(shared, "asked"), (shared, "answered")]
    assert [step[0] for step in last.course] == sorted(step[0] for step in last.course)
    await running
    assert [record.state for record in one.lookups.records()] == ["finished", "finished"]
