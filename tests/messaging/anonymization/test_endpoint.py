from __future__ import annotations

from typing import Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.messaging.address import HiddenAddress, RelayedAddress, UDPv4Address
from ipv8.messaging.anonymization import endpoint as module
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.anonymization.endpoint import TunnelEndpoint
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.messaging.interfaces.meter import TrafficMeter
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import DEFAULT_ROUTES, Route
from ipv8.messaging.payload import IntroductionRequestPayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.service import IPv8
from ipv8.test.messaging.anonymization.base import TestTunnelBase
from ipv8.test.mocking.endpoint import AutoMockEndpoint


class Talk(Community):
    community_id = b"talk in the tunnels.."[:20]

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.heard: list[Any] = []
        self.add_message_handler(1, lambda source, data: self.heard.append((source, data[23:])))


class General(EndpointListener):
    def __init__(self, endpoint: Any, anonymize: bool) -> None:
        super().__init__(endpoint)
        self.anonymize = anonymize
        self.heard: list[Any] = []

    def on_packet(self, packet: Any) -> None:
        self.heard.append(packet)


class TestTunnelEndpoint(TestTunnelBase[Any]):
    """Node 0 has an anonymous overlay; node 1 is an exit; node 2 runs the same overlay, and is not anonymous."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 3)
        self.make_exit(1)
        self.inner = self.endpoint(0)
        self.tunnel = TunnelEndpoint(self.inner)
        self.overlay(0).endpoint = self.tunnel
        self.tunnel.set_tunnel_community(self.overlay(0), 1)
        self.talk = self.make_talk(0, self.tunnel, anonymize=True)
        self.other = self.make_talk(2, self.endpoint(2))

    def make_talk(self, i: int, endpoint: Any, **options: Any) -> Talk:
        talk = Talk(CommunitySettings(my_peer=self.my_peer(i), endpoint=endpoint, network=Network(), **options))
        talk.cancel_all_pending_tasks()
        talk.my_estimated_lan = talk.my_estimated_wan = self.address(i)
        return talk

    async def tearDown(self) -> None:  # type: ignore[override]  # as in the base class
        await self.talk.unload()
        await self.other.unload()
        await super().tearDown()

    def packet(self, text: bytes) -> bytes:
        return self.talk.get_prefix() + b"\1" + text

    async def prepare(self) -> Any:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        self.mock_exits(1)
        return circuit

    def exit_address(self) -> Any:
        sockets = self.overlay(1).exit_sockets
        return next(iter(sockets.values())).endpoint.wan_address

    async def test_packets_go_through_circuits(self) -> None:
        await self.prepare()
        self.talk.endpoint.send(self.address(2), self.packet(b"hello"))
        await self.deliver_messages()
        assert self.other.heard == [(self.exit_address(), b"hello")]
        self.endpoint(2).send(self.exit_address(), self.packet(b"welcome"))
        await self.deliver_messages()
        assert self.talk.heard == [(self.address(2), b"welcome")]

    async def test_a_meter_counts_what_travels_in_circuits(self) -> None:
        await self.prepare()
        self.tunnel.gate.meter = meter = TrafficMeter()
        self.talk.endpoint.send(self.address(2), self.packet(b"hello"))
        await self.deliver_messages()
        self.endpoint(2).send(self.exit_address(), self.packet(b"welcome"))
        await self.deliver_messages()
        self.tunnel.gate.meter = None
        count = meter.counts[self.packet(b"")]
        assert (count.packets_up, count.packets_down) == (1, 1)
        assert (count.bytes_up, count.bytes_down) == (23 + len(b"hello"), 23 + len(b"welcome"))
        assert (meter.inside.packets_up, meter.inside.packets_down) == (1, 1)
        assert meter.totals().packets_up >= 1
        self.talk.endpoint.send(self.address(2), self.packet(b"hello"))
        assert count.packets_up == 1

    async def test_what_a_socket_brings_ends_at_the_gate(self) -> None:
        await self.prepare()
        self.endpoint(2).send(self.address(0), self.packet(b"are you there?"))
        self.other.walk_to(self.address(0))
        await self.deliver_messages()
        assert not self.talk.heard
        assert not self.talk.get_peers()
        assert self.inner.drops[DropCounter.WRONG_ROUTE] == 2

    async def test_other_overlays_get_nothing_out_of_circuits(self) -> None:
        circuit = await self.prepare()
        plain = self.make_talk(0, self.tunnel)
        plain._prefix = self.talk.get_prefix()
        self.tunnel.set_anonymity(self.talk.get_prefix(), False)
        self.endpoint(2).send(self.exit_address(), self.packet(b"from outside"))
        await self.deliver_messages()
        assert not self.talk.heard
        assert self.inner.drops[DropCounter.WRONG_ROUTE] == 1
        assert circuit.bytes_down
        await plain.unload()

    async def test_an_overlay_with_connections_to_hidden_services_gets_nothing_else_out_of_circuits(self) -> None:
        """It would answer by its socket what anybody has sent to the exit, and so tell who has built the circuit."""
        await self.prepare()
        prefix = self.talk.get_prefix()
        self.tunnel.set_anonymity(prefix, False)
        self.tunnel.accept_routes(prefix, DEFAULT_ROUTES | Route.CIRCUIT, DEFAULT_ROUTES)
        self.endpoint(2).send(self.exit_address(), self.packet(b"from outside"))
        await self.deliver_messages()
        assert not self.talk.heard
        assert self.inner.drops[DropCounter.WRONG_ROUTE] == 1
        self.tunnel.gate.receive((HiddenAddress("2001:21::1", 2), self.packet(b"of a connection")), Route.CIRCUIT)
        assert self.talk.heard == [(("2001:21::1", 2), b"of a connection")]

    async def test_no_address_of_this_node_is_told(self) -> None:
        await self.prepare()
        for style in (False, True):
            packet = self.talk.create_introduction_request(self.address(2), new_style=style)
            for address in (self.inner.wan_address, self.inner.lan_address):
                assert bytes(map(int, address[0].split("."))) + address[1].to_bytes(2, "big") not in packet
            response = self.talk.create_introduction_response(UDPv4Address("1.2.3.4", 5), self.address(2), 7,
                                                              new_style=style)
            assert bytes(map(int, self.inner.wan_address[0].split("."))) not in response
        payload, _ = self.talk.serializer.unpack_serializable(
            IntroductionRequestPayload, self.talk.create_introduction_request(self.address(2)), 23 + 76 + 8)
        assert payload.source_lan_address == payload.source_wan_address == ("0.0.0.0", 0)
        assert payload.destination_address == self.address(2)

    async def test_overlays_meet_through_a_circuit(self) -> None:
        await self.prepare()
        mine = self.talk.my_estimated_wan, dict(self.talk.my_peer.addresses)
        self.talk.walk_to(self.address(2))
        await self.deliver_messages()
        assert [peer.address for peer in self.talk.get_peers()] == [self.address(2)]
        assert [peer.address for peer in self.other.get_peers()] == [self.exit_address()]
        assert (self.talk.my_estimated_wan, dict(self.talk.my_peer.addresses)) == mine

    async def test_an_address_always_sees_the_same_exit(self) -> None:
        await self.introduce_nodes()
        circuits = [await self.build(0, 1) for _ in range(5)]
        self.mock_exits(1)
        for _ in range(20):
            self.talk.endpoint.send(self.address(2), self.packet(b"x"))
        await self.deliver_messages()
        seen = {source for source, _ in self.other.heard}
        assert len(seen) == 1
        used, = (circuit for circuit in circuits if circuit.circuit_id in self.tunnel._used.values())
        await self.overlay(0).remove_circuit(used.circuit_id)
        self.talk.endpoint.send(self.address(2), self.packet(b"x"))
        await self.deliver_messages()
        assert len(self.other.heard) == 21

    async def test_packets_wait_for_a_circuit(self) -> None:
        await self.introduce_nodes()
        for text in (b"1", b"2"):
            self.talk.endpoint.send(self.address(2), self.packet(text))
        assert len(self.overlay(0).circuits) == 1
        assert len(self.tunnel.send_queue) == 2
        await self.deliver_messages()
        assert not self.tunnel.send_queue
        circuit, = self.overlay(0).circuits.values()
        assert circuit.state == "READY"

    async def test_packets_do_not_wait_for_long(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        self.tunnel.send_queue.append((self.address(2), self.packet(b"old")))
        self.tunnel._queued_at.append(manual.monotonic())
        manual.advance(module.QUEUE_TIME + 1)
        circuit = await self.build(0, 1)
        self.tunnel.flush()
        assert not self.tunnel.send_queue
        assert self.inner.drops[DropCounter.SEND_NO_ROUTE] == 1
        assert circuit.hop is not None

    async def test_two_pseudonyms_share_no_circuit(self) -> None:
        """Each of them is seen at an exit of its own, and gets its answers; one that has left gets none of others."""
        await self.introduce_nodes()
        circuits = [await self.build(0, 1) for _ in range(2)]
        self.mock_exits(1)
        inner = AutoMockEndpoint()
        inner.open()
        tunnel = TunnelEndpoint(inner)
        tunnel.set_tunnel_community(self.overlay(0), 1)
        second = self.make_talk(0, tunnel, anonymize=True)
        for _ in range(3):
            self.talk.endpoint.send(self.address(2), self.packet(b"first"))
            second.endpoint.send(self.address(2), self.packet(b"second"))
        await self.deliver_messages()
        places = {text: {source for source, said in self.other.heard if said == text} for text in (b"first", b"second")}
        (first_place,), (second_place,) = places[b"first"], places[b"second"]
        assert first_place != second_place
        assert {circuit.user for circuit in circuits} == {self.tunnel._user, tunnel._user}
        for place in (first_place, second_place):
            self.endpoint(2).send(place, self.packet(b"to %d" % place[1]))
        await self.deliver_messages()
        assert self.talk.heard == [(self.address(2), b"to %d" % first_place[1])]
        assert second.heard == [(self.address(2), b"to %d" % second_place[1])]
        await second.unload()
        inner.close()
        for place in (first_place, second_place):
            self.endpoint(2).send(place, self.packet(b"again"))
        await self.deliver_messages()
        assert [text for _, text in self.talk.heard] == [b"to %d" % first_place[1], b"again"]
        assert len(second.heard) == 1

    async def test_without_circuits_nothing_is_sent(self) -> None:
        before = self.inner.bytes_up
        for _ in range(2 * module.QUEUE_LENGTH):
            self.talk.endpoint.send(self.address(2), self.packet(b"secret"))
        assert len(self.tunnel.send_queue) == module.QUEUE_LENGTH
        self.tunnel.set_tunnel_community(None)
        self.talk.endpoint.send(self.address(2), self.packet(b"secret"))
        await self.deliver_messages()
        assert self.inner.bytes_up == before
        assert not self.tunnel.send_queue
        assert self.tunnel not in self.overlay(0).anonymous_endpoints

    async def test_no_peer_carries_packets_of_anonymous_overlays(self) -> None:
        await self.prepare()
        self.talk.endpoint.send(RelayedAddress("2001:20::1", 1), self.packet(b"secret"))
        assert self.inner.drops[DropCounter.SEND_NO_ROUTE] == 1

    async def test_the_tunnel_overlay_itself_sends_directly(self) -> None:
        await self.introduce_nodes()
        other = TunnelCommunity(TunnelSettings(my_peer=Peer(self.private_key(0)), endpoint=self.tunnel,
                                               network=Network()))
        other.cancel_all_pending_tasks()
        assert self.tunnel.settings[other.get_prefix()] is False
        assert self.tunnel.tunnel_community is other
        await other.unload()

    async def test_general_listeners(self) -> None:
        await self.prepare()
        listeners = [General(self.tunnel, anonymize) for anonymize in (False, True)]
        for listener in listeners:
            self.tunnel.add_listener(listener)
        self.tunnel.notify_listeners((self.address(2), self.packet(b"x")), from_tunnel=True)
        self.tunnel.notify_listeners((self.address(2), self.packet(b"y")))
        assert [len(listener.heard) for listener in listeners] == [0, 1]
        assert len(self.talk.heard) == 1
        for listener in listeners:
            self.tunnel.remove_listener(listener)
        assert not any(listener in self.inner._listeners for listener in listeners)

    async def test_unloaded_overlays_hear_nothing(self) -> None:
        await self.prepare()
        await self.talk.unload()
        self.tunnel.notify_listeners((self.address(2), self.packet(b"x")), from_tunnel=True)
        assert not self.talk.heard


async def test_it_does_what_the_other_endpoint_does() -> None:
    inner = AutoMockEndpoint()
    tunnel = TunnelEndpoint(inner)
    assert await tunnel.open()
    assert tunnel.is_open()
    tunnel.assert_open()
    assert tunnel.get_address() == inner.get_address()
    assert tunnel.gate is inner.gate
    assert tunnel.routes is inner.routes
    assert tunnel.drops is inner.drops
    assert tunnel.set_anonymity(bytes(22), True) is True
    assert inner.gate._accepted[bytes(22)] == (Route.CIRCUIT, Route.CIRCUIT)
    tunnel.reset_byte_counters()
    tunnel.close()
    assert not inner.is_open()
    tunnel.notify_listeners((("1.2.3.4", 5), bytes(30)), from_tunnel=True)


async def test_a_service_with_an_anonymous_overlay() -> None:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").add_ephemeral_key("nobody")
    builder.add_overlay("TunnelCommunity", "me", [], [], {"anonymous_hops": 3}, [])
    builder.add_overlay("Talk", "nobody", [], [], {"anonymize": True}, [])
    async with IPv8(builder.finalize(), AutoMockEndpoint(), extra_communities={"Talk": Talk}) as node:
        tunnels, talk = node.overlays
        assert isinstance(node.endpoint, TunnelEndpoint)
        assert isinstance(tunnels, TunnelCommunity)
        assert isinstance(talk, Talk)
        assert (node.endpoint.tunnel_community, node.endpoint.hops) == (tunnels, 3)
        assert node.endpoint.settings == {tunnels.get_prefix(): False, talk.get_prefix(): True}
        assert talk.relay is False
        talk.walk_to(UDPv4Address("1.2.3.4", 5))
        assert len(node.endpoint.send_queue) == 1
        anonymized = await node.produce_anonymized_endpoint()
        anonymized.set_tunnel_community(tunnels)
        assert set(tunnels.anonymous_endpoints) == {node.endpoint, anonymized}
        anonymized.close()
