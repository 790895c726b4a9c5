"""A node whose wall clock is set back or forward goes on as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.dht.churn import PingChurn
from ipv8.dht.moments import Moment
from ipv8.dht.payload import PingRequestPayload
from ipv8.dht.routing import NODE_STATUS_GOOD

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 20
DAY = 86400

steps = pytest.mark.parametrize("step", [-2 * 3600, -30 * DAY, 2 * 3600, 30 * DAY])


@steps
async def test_requests_are_counted_as_before(make_nodes: Any, dht: Any, two_clocks: Any, step: float) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)

    def answers() -> int:
        other.endpoint.sent.clear()
        other.on_packet((one.endpoint.wan_address, one.ezr_pack(1, PingRequestPayload(3))))
        return len(other.endpoint.sent)

    assert [answers() for _ in range(11)] == [1] * 10 + [0]
    two_clocks.wall += step
    assert answers() == 0
    two_clocks.advance(5.1)
    assert answers() == 1


@steps
async def test_values_and_tokens_live_as_long_as_before(make_nodes: Any, dht: Any, two_clocks: Any,
                                                       step: float) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(KEY, b"data")
    storage = other.get_storage(dht.as_node(one))
    two_clocks.wall += step
    for overlay in (one, other):
        overlay.token_maintenance()
        overlay.value_maintenance()
    assert storage.get(KEY) == [b"\x00data"]
    assert await one.store_on_nodes(KEY, [b"\x00more"], [dht.as_node(other)]) == [other.my_peer]
    two_clocks.advance(3601)
    for overlay in (one, other):
        overlay.token_maintenance()
        overlay.value_maintenance()
    assert not storage.items
    assert not one.tokens


@steps
async def test_nodes_stay_good_and_are_pinged_in_time(make_nodes: Any, dht: Any, two_clocks: Any, step: float) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    node = one.get_routing_table(dht.as_node(other)).get(dht.as_node(other).id)
    assert await one.ping(node) == node
    one.endpoint.sent.clear()
    churn = PingChurn(one)
    two_clocks.wall += step
    assert node.status == NODE_STATUS_GOOD
    one._sweep()
    churn.take_step()
    await one.node_maintenance()
    assert not one.endpoint.sent
    two_clocks.advance(61)
    one._sweep()
    assert one.endpoint.sent_ids() == [1]
    two_clocks.advance(25)
    churn.take_step()
    assert one.endpoint.sent_ids() == [1, 1]
    two_clocks.advance(900)
    await one.node_maintenance()
    assert 5 in one.endpoint.sent_ids()


@steps
async def test_stored_peers_lapse_as_before(make_nodes: Any, dht: Any, two_clocks: Any, step: float) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_peer()
    two_clocks.wall += step
    for overlay in (one, other):
        overlay.ping_all()
    assert other.store == {one.my_peer.mid: [one.my_peer]}
    assert one.store_for_me == {one.my_peer.mid: [other.my_peer]}
    two_clocks.advance(25)
    one.ping_all()
    await dht.settle()
    two_clocks.advance(59)
    other.ping_all()
    assert one.my_peer.mid in other.store
    two_clocks.advance(2)
    other.ping_all()
    assert not other.store


@pytest.mark.parametrize("step", [-2 * 3600, 2 * 3600, 30 * DAY])
async def test_a_signed_value_can_still_be_replaced(make_nodes: Any, dht: Any, two_clocks: Any, step: float) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(KEY, b"old", sign=True)
    two_clocks.wall -= 600
    await one.store_value(KEY, b"new", sign=True)
    signer = one.my_peer.key_bin
    assert await one.find_values(KEY) == ((b"new", signer),)
    two_clocks.wall += step
    two_clocks.advance(10)
    assert await other.find_values(KEY) == ((b"new", signer),)


@pytest.mark.parametrize(("step", "remaining"), [(0, 3500), (-DAY, 3600), (-60, 3560), (60, 3440)])
async def test_saved_values_live_no_longer_than_new_ones(make_nodes: Any, dht: Any, two_clocks: Any, tmp_path: Path,
                                                         step: float, remaining: float) -> None:
    path = str(tmp_path / "dht.sqlite")
    one, = make_nodes(1, dht_database=path)
    values = [one.serialize_value(b"signed"), b"\x00data"]
    for value in values:
        one.add_value(KEY, value, one.get_storage(one.my_peer))
    two_clocks.wall += 7 * DAY  # a step while it runs is not in the file
    two_clocks.advance(100)
    await one.unload()

    two_clocks.wall += step
    again, = make_nodes(1, dht_database=path)
    (storage,) = again.storages.values()
    assert sorted(storage.get(KEY)) == sorted(values)
    assert {value.max_age for value in storage.items[KEY]} == {remaining}
    two_clocks.wall += 7 * DAY
    assert len(storage.get(KEY)) == 2
    two_clocks.advance(remaining + 1)
    assert storage.get(KEY) == []


async def test_what_expired_while_the_node_was_off_is_not_read(make_nodes: Any, two_clocks: Any,
                                                               tmp_path: Path) -> None:
    path = str(tmp_path / "dht.sqlite")
    one, = make_nodes(1, dht_database=path)
    one.add_value(KEY, b"\x00data", one.get_storage(one.my_peer))
    await one.unload()
    two_clocks.advance(3601)
    again, = make_nodes(1, dht_database=path)
    assert not again.storages


async def test_programs_read_and_write_wall_times(make_nodes: Any, dht: Any, two_clocks: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    await one.store_value(KEY, b"data")
    node = one.get_routing_table(dht.as_node(other)).get(dht.as_node(other).id)
    now = two_clocks.wall
    received, _ = one.tokens[node.id]
    bucket = one.get_routing_table(node).get_bucket(node.id)
    value = other.get_storage(dht.as_node(one)).items[KEY][0]
    assert node.last_response == node.last_contact == received == bucket.last_changed == value.last_update == now
    node.last_response = now - 1000
    node.last_queries.append(now - 800)
    assert (node.last_contact, node.status) == (now - 800, NODE_STATUS_GOOD)
    node.last_queries.append(Moment.now())
    assert node.last_contact == now
