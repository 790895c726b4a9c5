"""Methods that subclasses override are called, with the arguments that they always had."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from ipv8 import clock
from ipv8.dht.community import Crawl, DHTCommunity, LookupOptions
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.payload import PingRequestPayload
from ipv8.dht.routing import Node
from ipv8.messaging.address import UDPv4Address
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from ipv8.dht.storage import Storage

KEY = b"k" * 20

pytestmark = pytest.mark.usefixtures("virtual_time")


class Noting(DHTDiscoveryCommunity):
    """Notes the calls of what programs override; signatures are those that programs know."""

    def __init__(self, settings: Any) -> None:
        self.calls: list[str] = []
        super().__init__(settings)

    def ez_send(self, peer: Any, *payloads: Any, **options: Any) -> None:
        self.calls.append(f"ez_send {type(payloads[-1]).__name__}")
        super().ez_send(peer, *payloads, **options)

    def unserialize_value(self, value: bytes) -> Any:
        self.calls.append("unserialize_value")
        if value[:1] == b"\x07":
            return value[1:], None, 0
        return super().unserialize_value(value)

    def post_process_values(self, values: Any) -> Any:
        self.calls.append("post_process_values")
        return super().post_process_values(values)

    def add_value(self, key: bytes, value: bytes, storage: Storage, max_age: float = 3600) -> None:
        self.calls.append("add_value")
        super().add_value(key, value, storage, max_age)

    async def find(self, target: bytes, force_nodes: bool, offset: int, debug: bool) -> Any:  # type: ignore[override]  # as programs have it
        self.calls.append("find")
        return await super().find(target, force_nodes, offset, debug)

    async def store_on_nodes(  # type: ignore[override]  # as programs have it
        self, key: bytes, values: list[bytes], nodes: list[Node],
    ) -> Any:
        self.calls.append(f"store_on_nodes {len(nodes)}")
        return await super().store_on_nodes(key, values, nodes)

    def find_node_in_dict(self, public_key_bin: bytes, node_dict: Any) -> Node | None:
        self.calls.append("find_node_in_dict")
        return super().find_node_in_dict(public_key_bin, node_dict)

    def get_requesting_node(self, peer: Any) -> Node | None:
        self.calls.append("get_requesting_node")
        return super().get_requesting_node(peer)

    def generate_token(self, node: Any) -> bytes:
        self.calls.append("generate_token")
        return super().generate_token(node)

    def check_token(self, node: Any, token: bytes) -> bool:
        self.calls.append("check_token")
        return super().check_token(node, token)

    def ping(self, node: Node) -> Any:
        self.calls.append("ping")
        return super().ping(node)

    def on_ping_request(self, source_address: Any, data: bytes) -> None:
        self.calls.append("on_ping_request")
        super().on_ping_request(source_address, data)


async def test_storing_and_finding(make_nodes: Any, dht: Any) -> None:
    writer, keeper = make_nodes(2, Noting)
    dht.introduce(writer, keeper)
    await writer.store_value(KEY, b"data")
    for name in ("find", "store_on_nodes 1", "add_value", "unserialize_value", "ez_send FindRequestPayload",
                 "ez_send StoreRequestPayload"):
        assert name in writer.calls, name
    for name in ("get_requesting_node", "generate_token", "check_token", "add_value", "unserialize_value",
                 "ez_send FindResponsePayload", "ez_send StoreResponsePayload"):
        assert name in keeper.calls, name
    writer.calls.clear()
    assert await writer.find_values(KEY) == ((b"data", None),)
    assert {"find", "unserialize_value", "post_process_values"} <= set(writer.calls)


async def test_who_stores_gets_eight_nodes_and_others_for_those_that_fail(make_nodes: Any, dht: Any) -> None:
    nodes = make_nodes(12)
    writer, others = nodes[0], [dht.as_node(node) for node in nodes[1:]]
    writer.find_nodes, writer.store_on_nodes = AsyncMock(return_value=tuple(others)), AsyncMock(return_value=others)
    assert await writer.store_value(KEY, b"data") == others
    writer.find_nodes.assert_awaited_once_with(KEY)
    writer.store_on_nodes.assert_awaited_once_with(KEY, [b"\x00data"], others[:8])
    assert writer.store_on_nodes.await_args.args[2].spares == others[8:]


async def test_values_of_a_type_of_the_program(make_nodes: Any, dht: Any) -> None:
    writer, keeper, reader = make_nodes(3, Noting)
    dht.introduce(writer, keeper)
    dht.introduce(keeper, reader)
    node = dht.as_node(keeper)
    writer.tokens[node.id] = clock.time(), keeper.generate_token(dht.as_node(writer))
    assert await writer.store_on_nodes(KEY, [b"\x07mine"], [node]) == [node]
    assert await reader.find_values(KEY) == ((b"mine", None),)


async def test_caching_goes_through_the_seam_and_keeps_no_copy(make_nodes: Any, dht: Any) -> None:
    first, middle, last = make_nodes(3, Noting)
    dht.introduce(first, middle)
    dht.introduce(middle, last)
    last.add_value(KEY, b"\x00data", last.get_storage(dht.as_node(first)))
    assert await first.find_values(KEY) == ((b"data", None),)
    await dht.settle()
    assert "store_on_nodes 1" in first.calls
    assert middle.get_storage(dht.as_node(first)).get(KEY) == [b"\x00data"]
    assert not first.get_storage(dht.as_node(last)).get(KEY)


async def test_pings_and_stored_peers(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2, Noting)
    dht.introduce(one, other)
    await one.store_peer()
    one.calls.clear()
    other.calls.clear()
    one.ping_all()
    await dht.settle()
    assert one.calls == ["ping", "ez_send PingRequestPayload", "find_node_in_dict"]
    assert other.calls == ["on_ping_request", "get_requesting_node", "ez_send PingResponsePayload", "find_node_in_dict"]


async def test_replaced_methods_of_one_object_are_called(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2, DHTCommunity)
    dht.introduce(one, other)
    other.add_value(KEY, b"\x00data", other.get_storage(dht.as_node(one)))
    one.unserialize_value = lambda _: None
    assert await one.find_values(KEY) == ()
    pinged: list[Node] = []
    one.ping = pinged.append
    one.on_node_discovered(make_nodes(1)[0].my_peer.key_bin, UDPv4Address("77.1.1.1", 7))
    assert len(pinged) == 1


async def test_options_go_to_overridden_lookups_only_if_they_are_given(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2, Noting)
    dht.introduce(one, other)
    assert await one.find_nodes(KEY) == (other.my_peer,)
    with pytest.raises(TypeError):
        await one.find_nodes(KEY, options=LookupOptions())


async def test_the_networks_of_nodes_and_of_other_overlays(make_nodes: Any) -> None:
    """Nodes have a network of their own; on the given one the service is known, and settings are left as they were."""
    shared = Network()
    shared.blacklist.append(UDPv4Address("1.2.3.4", 5))

    class Giving(DHTCommunity):
        def __init__(self, settings: Any) -> None:
            settings.network = shared
            super().__init__(settings)
            self.given = settings

    one, = make_nodes(1, Giving)
    assert one.given.network is shared
    assert one.network is not shared
    assert one.network.blacklist == shared.blacklist
    assert one.network.blacklist_mids == shared.blacklist_mids == [one.my_peer.mid]
    for network in (one.network, shared):
        assert network.service_overlays == {one.community_id: one}
    one.network.blacklist.append(UDPv4Address("4.3.2.1", 5))
    assert len(shared.blacklist) == 1


async def test_requests_of_any_kind_of_address(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2, Noting)
    other.on_packet((one.endpoint.wan_address, one.ezr_pack(1, PingRequestPayload(3))))
    assert other.calls[0] == "on_ping_request"
    assert other.endpoint.sent_ids() == [2]


async def test_find_requests_of_lookups_go_through_their_seam(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    other.add_value(KEY, b"\x00data", other.get_storage(dht.as_node(one)))
    answer = await one._send_find_request(dht.as_node(other), KEY, False)
    assert answer == {"values": [b"\x00data"]}
    assert list(await one._send_find_request(dht.as_node(other), KEY, True, 0)) == ["nodes"]
    asked: list[Any] = []
    send = one._send_find_request

    def noting(*arguments: Any) -> Any:
        asked.append(arguments)
        return send(*arguments)

    one._send_find_request = noting
    assert await one.find_values(KEY) == ((b"data", None),)
    assert asked == [(dht.as_node(other), KEY, False, 0)]


async def test_one_lookup_by_itself(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    other.add_value(KEY, b"\x00data", other.get_storage(dht.as_node(one)))
    table = one.get_routing_table(dht.as_node(other))
    assert await one._find(Crawl(KEY, table, force_nodes=True)) == [dht.as_node(other)]
    crawl = Crawl(KEY, table)
    assert await one._find(crawl, debug=True) == ([(b"data", None)], crawl)
    assert await one._find(Crawl(KEY, table)) == [(b"data", None)]


async def test_contacting_one_node_of_a_lookup(make_nodes: Any, dht: Any) -> None:
    one, helper, other = make_nodes(3)
    dht.introduce(one, helper)
    dht.introduce(helper, other)
    other.add_value(KEY, b"\x00data", other.get_storage(dht.as_node(one)))
    crawl = Crawl(KEY, one.get_routing_table(dht.as_node(helper)))
    await one._contact_node(crawl, dht.as_node(other), dht.as_node(helper))
    assert crawl.responses == [(other.my_peer, {"values": [b"\x00data"]})]
    assert [address for address, packet in one.endpoint.sent if packet[22] == 5] == [
        helper.endpoint.wan_address, other.endpoint.wan_address]
    assert one.get_routing_table(dht.as_node(other)).has(dht.as_node(other).id)
    other.endpoint.close()
    with one.request_cache.passthrough(timeout=0.01):
        await one._contact_node(crawl, dht.as_node(other), None)
    assert len(crawl.responses) == 1


@pytest.mark.parametrize("own", ["wan", "lan", "bound"])
async def test_nobody_leads_a_lookup_to_our_own_address(make_nodes: Any, dht: Any, own: str) -> None:
    one, other, third = make_nodes(3)
    address = {"wan": one.my_estimated_wan, "lan": one.my_estimated_lan, "bound": one.endpoint.get_address()}[own]
    dht.introduce(one, other)
    other.get_routing_table(dht.as_node(one)).add(Node(third.my_peer.public_key, UDPv4Address(*address)))
    with one.request_cache.passthrough(timeout=0.01):
        await one.find_nodes(KEY)
    assert {address for address, _ in one.endpoint.sent} == {other.endpoint.wan_address}


class Contacting(DHTDiscoveryCommunity):
    """Asks nodes in its own way, as programs do."""

    def __init__(self, settings: Any) -> None:
        self.contacted: list[tuple[Node, Node | None]] = []
        super().__init__(settings)

    async def _contact_node(self, crawl: Crawl, node: Node, puncture_node: Node | None) -> None:
        self.contacted.append((node, puncture_node))
        await super()._contact_node(crawl, node, puncture_node)


async def test_lookups_contact_nodes_by_the_method_of_a_program(make_nodes: Any, dht: Any) -> None:
    one, = make_nodes(1, Contacting)
    helper, other, silent = make_nodes(3)
    dht.introduce(one, helper)
    dht.introduce(helper, other)
    dht.introduce(helper, silent)
    silent.endpoint.close()
    other.add_value(KEY, b"\x00data", other.get_storage(dht.as_node(one)))
    with one.request_cache.passthrough(timeout=0.01):
        values, crawls = await one.find_values(KEY, debug=True)
    assert values == ((b"data", None),)
    assert {node for node, _ in one.contacted} == {dht.as_node(node) for node in (helper, other, silent)}
    assert [node for node, _ in crawls[0].responses] == [dht.as_node(helper), dht.as_node(other)]


async def test_a_method_of_a_program_that_fails_is_a_node_that_does_not_answer(
    make_nodes: Any, dht: Any, failures: list[dict[str, Any]],
) -> None:
    one, other, third = make_nodes(3)
    dht.introduce(one, other, third)

    async def contact(crawl: Crawl, node: Node, puncture_node: Node | None) -> None:
        if node == dht.as_node(other):
            raise RuntimeError("not this one")
        await DHTCommunity._contact_node(one, crawl, node, puncture_node)

    one._contact_node = contact
    assert await one.find_nodes(KEY) == (dht.as_node(third),)
    assert ["not this one" in str(context.get("exception")) for context in failures] in ([], [True])


@pytest.mark.parametrize("seed", ["get_requesting_node", "table", "private key"])
async def test_a_node_that_knows_itself_only_finds_its_own_values(make_nodes: Any, dht: Any, seed: str) -> None:
    one, = make_nodes(1, DHTCommunity)
    if seed == "table":
        one.get_routing_table(dht.as_node(one)).add(dht.as_node(one))
    elif seed == "private key":
        one.get_requesting_node(Node(one.my_peer.key, one.endpoint.wan_address))
    else:
        one.get_requesting_node(one.my_peer)
    for sign in (False, True):
        assert await one.store_value(KEY, b"data", sign) == [one.my_peer]
    assert set(await one.find_values(KEY)) == {(b"data", None), (b"data", one.my_peer.key_bin)}
    assert one.get_storage(one.my_peer).get(KEY)


async def test_packets_that_others_send_in_our_name_do_not_put_us_into_the_table(make_nodes: Any, dht: Any) -> None:
    one, = make_nodes(1)
    one.on_packet((one.endpoint.wan_address, one.ezr_pack(1, PingRequestPayload(3))))
    assert not list(one.get_routing_table(dht.as_node(one)).nodes())


async def test_names_of_the_provider() -> None:
    from ipv8.dht.introduction_point import PEER_SOURCE_DHT, IntroductionPoint
    from ipv8.dht.provider import PEER_SOURCE_DHT as SAME, IntroductionPoint as AlsoTheSame

    assert (SAME, AlsoTheSame) == (PEER_SOURCE_DHT, IntroductionPoint) == (1, IntroductionPoint)


@pytest.mark.parametrize("overlay", [DHTCommunity, DHTDiscoveryCommunity])
async def test_unloading_leaves_nothing_behind(make_nodes: Any, dht: Any, overlay: Any, tmp_path: Any) -> None:
    shared = Network()

    class Sharing(overlay):  # type: ignore[misc]  # a class that is a parameter
        def __init__(self, settings: Any) -> None:
            settings.network = shared
            super().__init__(settings)

    shared.blacklist_mids.append(b"m" * 20)
    one, = make_nodes(1, Sharing, dht_database=str(tmp_path / "dht.sqlite"))
    other, = make_nodes(1)
    dht.introduce(one, other)
    peer = other.my_peer
    shared.add_verified_peer(peer)
    shared.discover_services(peer, [one.community_id])
    looking = asyncio.ensure_future(one.find_values(KEY))
    await asyncio.sleep(0)
    for _ in range(2):
        await one.unload()
    await looking
    assert shared.service_overlays == {}
    assert shared.blacklist_mids == [b"m" * 20]
    assert shared.get_peers_for_service(one.community_id) == []
    assert not one.endpoint.prefix_listeners(one.get_prefix())
    assert not one.get_tasks()
    assert not one.request_cache.get_tasks()
    assert one.request_cache._shutdown
    assert not one.requester._waiting
    assert one.snapshot.database is None


async def test_unloading_does_not_unregister_another_dht(make_nodes: Any) -> None:
    shared = Network()

    class Sharing(DHTCommunity):
        def __init__(self, settings: Any) -> None:
            settings.network = shared
            super().__init__(settings)

    first, second = make_nodes(2, Sharing)
    await first.unload()
    assert shared.service_overlays == {second.community_id: second}
    assert shared.blacklist_mids == [second.my_peer.mid]
