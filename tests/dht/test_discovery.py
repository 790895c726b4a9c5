"""Storing peers, and connecting to the owners of keys (doc/protocol/dht.md section 10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8.dht import DHTError
from ipv8.dht.discovery import _answer_or as answer_or
from ipv8.dht.payload import ConnectPeerRequestPayload, StorePeerRequestPayload
from ipv8.dht.routing import Node
from ipv8.messaging.address import UDPv4Address

OTHER_MID = b"m" * 20

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture(params=[False, True], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> bool:
    return request.param  # type: ignore[no-any-return]  # a bool


async def test_store_peer(make_nodes: Any, dht: Any, family: bool) -> None:
    one, other = make_nodes(2, ipv6=family)
    dht.introduce(one, other)
    assert await one.store_peer() == [other.my_peer]
    assert other.store == {one.my_peer.mid: [one.my_peer]}
    assert one.store_for_me == {one.my_peer.mid: [other.my_peer]}


async def test_store_peer_without_a_network(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    assert await one.store_peer() == []
    one.get_routing_table(dht.as_node(other))
    assert await one.store_peer() == []
    with pytest.raises(DHTError, match="No nodes found for storing peer"):
        await one.send_store_peer_request(one.my_peer.mid, [])
    with pytest.raises(DHTError, match="Peer was not stored"):
        await one.send_store_peer_request(one.my_peer.mid, [dht.as_node(other)])


async def test_enough_nodes_store_us_already(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(5)
    dht.introduce(*nodes)
    nodes[0].store_for_me[nodes[0].my_peer.mid] = [dht.as_node(node) for node in nodes[1:]]
    assert await nodes[0].store_peer() == []
    assert not nodes[0].endpoint.sent


async def test_connect_peer(make_nodes: Any, dht: Any, family: bool) -> None:
    wanted, middle, searcher = make_nodes(3, ipv6=family)
    dht.introduce(wanted, middle)
    dht.introduce(middle, searcher)
    assert middle.my_peer in await wanted.store_peer()
    searcher.store.clear()
    wanted.endpoint.sent.clear()
    found = await searcher.connect_peer(wanted.my_peer.mid)
    assert [(node, node.address) for node in found] == [(wanted.my_peer, wanted.endpoint.wan_address)]
    await dht.settle()
    # The peer was asked to open the way, and did so.
    punctures = [packet for address, packet in wanted.endpoint.sent if address == searcher.endpoint.wan_address
                 and packet[22] in {249, 231}]
    assert punctures


async def test_connect_peer_fails(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    one.get_routing_table(dht.as_node(other))
    with pytest.raises(DHTError, match="No nodes found in the routing table"):
        await one.connect_peer(OTHER_MID)
    dht.introduce(one, other)
    with pytest.raises(DHTError, match="Failed to connect peer"):
        await one.connect_peer(OTHER_MID)
    with pytest.raises(DHTError, match="No nodes found for connecting to peer"):
        await one.send_connect_peer_request(OTHER_MID, [])
    assert not other.store
    with pytest.raises(DHTError):
        await other.connect_peer(OTHER_MID)


async def test_a_hint_that_answers(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    assert await one.connect_peer(other.my_peer.mid, dht.as_node(other)) == [other.my_peer]
    assert one.endpoint.sent_ids() == [1]


async def test_a_hint_that_does_not_answer(make_nodes: Any, dht: Any) -> None:
    wanted, middle, searcher = make_nodes(3)
    dht.introduce(wanted, middle)
    dht.introduce(middle, searcher)
    await wanted.store_peer()
    hint = Node(wanted.my_peer.public_key, UDPv4Address("99.1.1.1", 1))
    assert await searcher.connect_peer(wanted.my_peer.mid, hint) == [wanted.my_peer]


async def test_known_peers_need_no_lookup(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    one.store[other.my_peer.mid].append(dht.as_node(other))
    assert await one.connect_peer(other.my_peer.mid) == [other.my_peer]
    assert not one.endpoint.sent


async def test_pings_keep_entries_alive(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_peer()
    stored, storing = other.store[one.my_peer.mid][0], one.store_for_me[one.my_peer.mid][0]
    storing.last_response = 0
    manual_clock.advance(30)
    await one.ping(dht.as_node(other))
    assert stored.last_query == storing.last_response == manual_clock.now


async def test_entries_lapse(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_peer()
    storing = one.store_for_me[one.my_peer.mid][0]
    manual_clock.advance(60)
    other.ping_all()
    assert one.my_peer.mid in other.store
    manual_clock.advance(1)
    other.ping_all()
    assert not other.store
    storing.failed = 2
    one.ping_all()
    assert not one.store_for_me


async def test_ping_all_pings_those_who_store_us(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    one.store_for_me[one.my_peer.mid].append(dht.as_node(other))
    one.ping_all()
    one.ping_all()
    assert one.endpoint.sent_ids() == [1]
    manual_clock.advance(25)
    one.ping_all()
    assert one.endpoint.sent_ids() == [1, 1]


async def test_a_peer_that_moved_is_found_where_it_is_now(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    moved = UDPv4Address("98.1.1.1", 4)
    for address in (one.endpoint.wan_address, moved):
        token = other.generate_token(Node(one.my_peer.public_key, address))
        other.on_packet((address, one.ezr_pack(7, StorePeerRequestPayload(1, token, one.my_peer.mid))))
    assert [node.address for node in other.store[one.my_peer.mid]] == [moved]


@pytest.mark.parametrize(("target", "good_token"), [(OTHER_MID, True), (None, False)])
async def test_nobody_stores_others_or_without_token(make_nodes: Any, dht: Any, target: bytes | None,
                                                     good_token: bool) -> None:
    one, other = make_nodes(2)
    token = other.generate_token(dht.as_node(one)) if good_token else bytes(20)
    packet = one.ezr_pack(7, StorePeerRequestPayload(1, token, target or one.my_peer.mid))
    other.on_packet((one.endpoint.wan_address, packet))
    assert not other.store
    assert not other.endpoint.sent


async def test_wrong_peers_in_answers_are_ignored(make_nodes: Any, dht: Any) -> None:
    one, liar = make_nodes(2)
    dht.introduce(one, liar)
    liar.store[OTHER_MID].append(dht.as_node(liar))
    with pytest.raises(DHTError, match="Failed to connect peer"):
        await one.connect_peer(OTHER_MID)


async def test_connect_requests_are_limited_and_not_amplified(make_nodes: Any, dht: Any) -> None:
    one, other, wanted = make_nodes(3)
    other.store[wanted.my_peer.mid] = [Node(wanted.my_peer.public_key, UDPv4Address("97.1.1.1", port))
                                       for port in range(1, 9)]
    for number in range(12):
        packet = one.ezr_pack(9, ConnectPeerRequestPayload(number, one.my_estimated_lan, wanted.my_peer.mid))
        other.on_packet((one.endpoint.wan_address, packet))
    answers = [data for address, data in other.endpoint.sent if address == one.endpoint.wan_address]
    assert len(answers) == 10
    assert len(other.endpoint.sent) * 45 + len(answers[0]) * 10 + 185 * 10 <= 3 * 12 * len(packet)


async def test_unloading_while_connecting(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    other.endpoint.close()
    connecting = asyncio.ensure_future(one.connect_peer(OTHER_MID))
    await dht.settle()
    await one.unload()
    with pytest.raises(DHTError):
        await connecting


async def test_find_node_in_dict(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    node = dht.as_node(other)
    assert one.find_node_in_dict(node.key_bin, {b"a": [], b"b": [node]}) is node
    assert one.find_node_in_dict(b"", {b"b": [node]}) is None


class Look:
    """A lookup that takes its time."""

    def __init__(self, seconds: float, result: Any) -> None:
        self.seconds = seconds
        self.result = result
        self.state = "not begun"

    async def __call__(self) -> list[Node]:
        self.state = "running"
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        self.state = "done"
        if isinstance(self.result, Exception):
            raise self.result
        return [self.result]


def later(seconds: float, result: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, future.set_result, result)
    return future


HINT, FOUND = (Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address("1.2.3.4", 5)) for number in (1, 2))


@pytest.mark.parametrize(("answer", "after", "lookup", "expected", "state"), [
    (HINT, 0.1, Look(1, FOUND), HINT, "not begun"),
    (None, 0.1, Look(1, FOUND), FOUND, "done"),
    (HINT, 0.8, Look(1, FOUND), HINT, "cancelled"),
    (HINT, 3, Look(1, FOUND), FOUND, "done"),
    (HINT, 3, Look(1, DHTError("no")), HINT, "done"),
    (None, 3, Look(4, FOUND), FOUND, "done"),
    (None, 3, Look(1, DHTError("no")), DHTError, "done"),
    (None, 3, Look(4, DHTError("no")), DHTError, "done"),
])
def test_a_hint_and_a_lookup(run_virtually: Any, answer: Any, after: float, lookup: Look, expected: Any,
                             state: str) -> None:
    async def main() -> Any:
        try:
            result: Any = (await answer_or(later(after, answer), 0.5, lookup))[0]
        except DHTError:
            result = DHTError
        await asyncio.sleep(0)
        return result

    assert run_virtually(main()) == expected
    assert lookup.state == state


def test_who_gives_up_ends_the_lookup(run_virtually: Any) -> None:
    lookup = Look(9, FOUND)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(answer_or(later(5, None), 0.5, lookup), 1)

    run_virtually(main())
    assert lookup.state == "cancelled"
