"""Methods that subclasses override are called, with the arguments that they always had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from ipv8 import clock
from ipv8.dht.community import DHTCommunity, LookupOptions
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.payload import PingRequestPayload
from ipv8.messaging.address import UDPv4Address
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from ipv8.dht.routing import Node
    from ipv8.dht.storage import Storage

KEY = b"k" * 20


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
