"""Communities: message table, introductions, punctures, and what strangers cannot do."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from ipv8 import clock
from ipv8.bootstrapping.bootstrapper_interface import Bootstrapper
from ipv8.community import DEFAULT_MAX_PEERS, Community, CommunitySettings
from ipv8.contact.introductions import RESPONSES_AT_ONCE, UNPROVEN_GRACE
from ipv8.contact.nat import PeerPath
from ipv8.declaration import message
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionResponsePayload,
    NewPunctureRequestPayload,
    PuncturePayload,
    PunctureRequestPayload,
)
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.overlay import Overlay
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.discovery import RandomWalk
from ipv8.requestcache import NumberCacheWithName, RequestCache

NOWHERE = UDPv4Address("0.0.0.0", 0)
ADDRESS_CLASSES = {"UDPv4Address": UDPv4Address, "UDPv6Address": UDPv6Address, "UDPv4LANAddress": UDPv4LANAddress}


class Number(VariablePayload):
    msg_id = 1
    format_list = ["I"]
    names = ["number"]
    number: int


class Simple(Community):
    community_id = bytes(range(20))

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.got: list[Any] = []
        self.add_message_handler(Number, self.on_number)
        self.add_message_handler(2, self.on_unsigned)

    @lazy_wrapper(Number)
    def on_number(self, peer: Peer, payload: Number) -> None:
        self.got.append((peer, payload.number))

    @lazy_wrapper_unsigned(Number)
    async def on_unsigned(self, source: Any, payload: Number) -> None:
        self.got.append((source, payload.number))


def address(value: list[Any]) -> Any:
    """An address of a vector: [class, host, port], or [host, port]."""
    return ADDRESS_CLASSES[value[0]](*value[1:]) if len(value) == 3 else UDPv4Address(*value)


async def settle(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def public(overlay: Any) -> Peer:
    return Peer(overlay.my_peer.public_key, overlay.endpoint.wan_address)


class Component(Community):
    """Made without the constructor of ``Community``, as some programs do."""

    def __init__(self, settings: Any) -> None:
        settings.community_id = b"component"
        Overlay.__init__(self, settings)
        self.endpoint.remove_listener(self)
        self.bootstrappers = []
        self.max_peers = 0
        self._prefix = b"x" * 22
        self.decode_map = [None] * 256
        self.got: list[Any] = []
        self.add_message_handler(1, self.on_number)

    @lazy_wrapper_unsigned(Number)
    def on_number(self, source: Any, payload: Number) -> None:
        self.got.append(payload.number)


class TestComponents:
    def test_they_receive(self, make_overlay: Any) -> None:
        overlay = make_overlay(Component)
        source = UDPv4Address("1.2.3.4", 5)
        overlay.on_packet((source, overlay.ezr_pack(1, Number(7), sig=False)))
        overlay.on_packet((source, overlay.ezr_pack(1, sig=False)))
        overlay.on_packet((source, overlay.ezr_pack(9, sig=False)))
        assert overlay.got == [7]
        assert overlay.drops == {"undecodable": 1, "unknown_id": 1}

    def test_they_meet(self, make_overlay: Any) -> None:
        overlay, other = make_overlay(Component, deliver=False), make_overlay(Simple)
        dist, source = GlobalTimeDistributionPayload(1), UDPv4Address("1.2.3.4", 5)
        overlay.max_peers = 30
        peer = Peer(other.my_peer.public_key, source)
        request = overlay._ez_unpack_auth(IntroductionRequestPayload, other.create_introduction_request(source))[2]
        overlay.on_introduction_request(peer, dist, request)
        learn_from(overlay, source, UDPv4Address("7.7.7.7", 7))
        assert overlay.my_estimated_wan == ("7.7.7.7", 7)
        assert peer in overlay.network.verified_peers
        assert overlay.contact.introductions.has_enough() is False
        assert (overlay.mapping, overlay.nat_type) == ("unknown", "unknown")
        assert not overlay.introduction_observers

    async def test_they_send_and_end(self, make_overlay: Any) -> None:
        overlay = make_overlay(Component)
        assert overlay.create_introduction_request(UDPv4Address("1.2.3.4", 5))[22] == 246
        assert overlay.create_introduction_request(("::1", 5))[22] == 234
        assert overlay.get_peers() == []
        await overlay.unload()


class TestNames:
    """Programs had attributes of their own before this library had some."""

    NAMES = ("mapping", "nat_type", "relay", "signature_guard_", "_attempts", "_warnings", "_pending", "_mapping",
             "_responses", "_detours", "_routes", "_meetings", "_carriage", "_punctures", "_confirmations", "_ledger",
             "_last_counter", "attempts", "pending", "state", "messages", "counters", "budget", "routes", "contact",
             "introductions", "nat", "_introductions", "_nat", "_observers", "observers", "message_table")

    def test_programs_may_use_them(self, make_overlay: Any) -> None:
        class Busy(Simple):
            def __init__(self, settings: Any) -> None:
                for name in TestNames.NAMES:
                    setattr(self, name, {})
                super().__init__(settings)
                for name in TestNames.NAMES:
                    setattr(self, name, {})

        overlay, other = make_overlay(Busy), make_overlay(Simple)
        source = UDPv4Address("1.2.3.4", 5)
        overlay.on_packet((source, other.create_introduction_request(overlay.endpoint.wan_address)))
        overlay.on_packet((source, other.ezr_pack(1, Number(7))))
        overlay.on_packet((source, other.ezr_pack(200, sig=False)))
        assert [number for _, number in overlay.got] == [7]
        assert overlay.get_peers() == [other.my_peer]
        assert overlay.create_introduction_request(source)
        assert all(getattr(overlay, name) == {} for name in self.NAMES)


class Question(NumberCacheWithName):
    name = "question"

    def __init__(self, request_cache: RequestCache, number: int) -> None:
        super().__init__(request_cache, self.name, number)


class Endless(Bootstrapper):
    """Finds nothing at all, and gives in when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: asyncio.Event = asyncio.Event()

    async def initialize(self, overlay: Any) -> bool:
        return True

    async def get_addresses(self, overlay: Any, timeout: float) -> list[Any]:
        await self.found.wait()
        return []

    def keep_alive(self, overlay: Any) -> None:
        pass

    def blacklist(self) -> list[Any]:
        return []

    def unload(self) -> None:
        self.found.set()


class TestUnloadingWhileBootstrapping:
    @pytest.mark.parametrize("rounds", [0, 3])
    async def test_it_is_cancelled_when_the_overlay_is_unloaded(self, make_overlay: Any, rounds: int) -> None:
        """Whether it has begun or not, and whatever the bootstrapper does when it is unloaded."""
        overlay = make_overlay(Simple)
        overlay.bootstrappers.append(Endless())
        overlay.bootstrap()
        task = overlay.get_tasks()[1]
        for _ in range(rounds):
            await asyncio.sleep(0)
        await overlay.unload()
        assert task.cancelled()


class TestRequestCache:
    async def test_it_is_made_when_it_is_used(self, make_overlay: Any) -> None:
        overlay, before = make_overlay(Simple), len(asyncio.all_tasks())
        assert len(overlay.get_tasks()) == 1
        cache = overlay.request_cache
        assert isinstance(cache, RequestCache)
        assert overlay.request_cache is cache
        assert len(asyncio.all_tasks()) == before + 1
        assert make_overlay(Simple).request_cache is not cache

    @pytest.mark.parametrize("used", [True, False])
    async def test_it_ends_with_the_overlay(self, make_overlay: Any, used: bool) -> None:
        before = asyncio.all_tasks()
        overlay, future = make_overlay(Simple), asyncio.get_running_loop().create_future()
        if used:
            question = overlay.request_cache.add(Question(overlay.request_cache, 1))
            question.register_future(future)
        await overlay.unload()
        assert future.cancelled() is used
        assert overlay.request_cache.add(Question(overlay.request_cache, 2)) is None
        await overlay.request_cache.shutdown()
        await overlay.unload()
        assert asyncio.all_tasks() == before

    async def test_it_ends_before_the_overlay_stops_to_listen(self, make_overlay: Any) -> None:
        ends: list[str] = []

        class Watched(Simple):
            async def shutdown_task_manager(self) -> None:
                ends.append("overlay")
                await super().shutdown_task_manager()

        overlay = make_overlay(Watched)
        overlay.request_cache.register_shutdown_task(ends.append, "request cache")
        await overlay.unload()
        assert ends == ["request cache", "overlay"]

    async def test_programs_set_one_of_their_own_and_shut_it_down(self, make_overlay: Any) -> None:
        class Classic(Simple):
            def __init__(self, settings: CommunitySettings) -> None:
                super().__init__(settings)
                self.request_cache = self.own = RequestCache()

            async def unload(self) -> None:
                await self.request_cache.shutdown()
                await super().unload()

        before = asyncio.all_tasks()
        overlay = make_overlay(Classic)
        assert overlay.request_cache is overlay.own
        await overlay.unload()
        assert asyncio.all_tasks() == before

    async def test_programs_may_forget_to_shut_theirs_down(self, make_overlay: Any) -> None:
        before = asyncio.all_tasks()
        overlay = make_overlay(Simple)
        futures, caches = [], []
        for number in range(3):
            if number:
                overlay.request_cache = RequestCache()
            caches.append(overlay.request_cache)
            question = overlay.request_cache.add(Question(overlay.request_cache, 1))
            futures.append(asyncio.get_running_loop().create_future())
            question.register_future(futures[-1])
        assert len(set(caches)) == 3
        assert [cache.has(Question, 1) for cache in caches] == [True] * 3, "those replaced go on until they time out"
        await overlay.unload()
        assert all(future.cancelled() for future in futures)
        assert asyncio.all_tasks() == before

    async def test_programs_set_theirs_before_the_constructor_too(self, make_overlay: Any) -> None:
        class Early(Simple):
            def __init__(self, settings: CommunitySettings) -> None:
                self.request_cache = self.own = RequestCache()
                super().__init__(settings)

        overlay = make_overlay(Early)
        assert overlay.request_cache is overlay.own

    async def test_tests_set_something_else(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        overlay.request_cache = replacement = Mock()
        assert overlay.request_cache is replacement
        await overlay.unload()
        replacement.shutdown.assert_not_called()

    async def test_components_have_one_as_well(self, make_overlay: Any) -> None:
        before = asyncio.all_tasks()
        overlay = make_overlay(Component)
        overlay.request_cache.add(Question(overlay.request_cache, 1))
        await overlay.unload()
        assert asyncio.all_tasks() == before


class TestDeclaredMessages:
    def test_an_override_is_declared_as_well(self, make_overlay: Any) -> None:
        class Declared(Community):
            community_id = Simple.community_id

            @message(1)
            def said(self, peer: Peer, number: int) -> None:
                """Nothing."""

        class Forgetful(Declared):
            def said(self, peer: Peer, number: int) -> None:  # type: ignore[override]  # the mistake
                """Nothing, and it would never be called."""

        class Careful(Declared):
            @message(1)
            def said(self, peer: Peer, number: int) -> None:
                got.append(number)

        got: list[int] = []
        with pytest.raises(TypeError, match=r"Forgetful\.said replaces a declared message: decorate it"):
            make_overlay(Forgetful)
        overlay, other = make_overlay(Careful), make_overlay(Simple)
        payload: Any = Careful.said.make(5)
        overlay.on_packet((UDPv4Address("1.2.3.4", 5), other.ezr_pack(1, payload)))
        assert got == [5]


class TestConstruction:
    @pytest.mark.parametrize("size", [0, 5, 19, 21])
    def test_the_id_has_its_size(self, make_overlay: Any, size: int) -> None:
        class Odd(Community):
            community_id = bytes(size)

        with pytest.raises(RuntimeError, match=f"community_id of Odd must have 20 bytes, not {size}"):
            make_overlay(Odd)

    @pytest.mark.parametrize("name", ["my_peer", "endpoint", "network"])
    def test_the_settings_are_complete(self, make_overlay: Any, name: str) -> None:
        settings = make_overlay(Simple)
        given = {key: getattr(settings, key) for key in ("my_peer", "endpoint", "network") if key != name}
        with pytest.raises(AttributeError, match=f"settings of Simple need {name}"):
            Simple(CommunitySettings(**given))

    async def test_a_bootstrapper_that_fails_to_unload_keeps_nothing_alive(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        failing, good = Mock(), Mock()
        failing.unload.side_effect = LookupError("its own business")
        overlay.bootstrappers = [good, failing]
        with pytest.raises(LookupError, match="its own business"):
            await overlay.unload()
        good.unload.assert_called_once()
        assert not overlay.get_tasks()
        assert overlay.get_prefix() not in overlay.endpoint._prefix_map

    async def test_it_registers_with_endpoint_and_network(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert overlay.get_prefix() == b"\x00\x02" + Simple.community_id
        assert overlay.endpoint._prefix_map.keys() == {overlay.get_prefix()}
        assert overlay.endpoint._listeners == []
        assert overlay.network.service_overlays == {Simple.community_id: overlay}
        assert overlay.my_peer.mid in overlay.network.blacklist_mids
        assert overlay.max_peers == DEFAULT_MAX_PEERS
        assert len(overlay.get_tasks()) == 1

    async def test_unloading_leaves_nothing_behind(self, make_overlay: Any) -> None:
        before = asyncio.all_tasks()
        overlay = make_overlay(Simple)
        await overlay.unload()
        assert overlay.endpoint._prefix_map == {}
        assert asyncio.all_tasks() == before

    async def test_leaving_a_with_block_unloads(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        async with overlay:
            assert overlay.endpoint._prefix_map
        assert overlay.endpoint._prefix_map == {}

    @pytest.mark.parametrize("community_id", [None, "a text of twenty chars", 5])
    def test_the_community_id_must_be_bytes(self, make_overlay: Any, community_id: Any) -> None:
        cls = type("Wrong", (Community,), {"community_id": community_id})
        with pytest.raises(RuntimeError, match="Wrong"):
            make_overlay(cls)

    def test_a_community_id_is_needed(self, make_overlay: Any) -> None:
        with pytest.raises(RuntimeError, match="Nameless needs a community_id"):
            make_overlay(type("Nameless", (Community,), {}))

    def test_settings_hold_only_what_was_given(self) -> None:
        assert CommunitySettings().__dict__ == {}
        assert CommunitySettings().max_peers == DEFAULT_MAX_PEERS
        assert CommunitySettings(extra=5).__dict__ == {"extra": 5}

    def test_settings_may_be_shared(self, make_overlay: Any) -> None:
        assert make_overlay(Simple, max_peers=3).max_peers == 3

    def test_anonymity_without_tunnels_is_warned_about(self, make_overlay: Any, caplog: Any) -> None:
        make_overlay(Simple, anonymize=True)
        assert "not anonymous" in caplog.text

    def test_anonymity_is_asked_of_the_endpoint(self, make_overlay: Any, monkeypatch: Any) -> None:
        from ipv8.test.mocking.endpoint import MockEndpoint

        asked: list[Any] = []
        monkeypatch.setattr(MockEndpoint, "set_anonymity", lambda _, *args: asked.append(args), raising=False)
        overlay = make_overlay(Simple, anonymize=True)
        assert asked == [(overlay.get_prefix(), True)]


class TestMessageTable:
    def test_handlers_by_number_and_by_class(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert overlay.decode_map[1] is not None
        assert overlay.decode_map[3] is None
        overlay.add_message_handler(3, print)
        assert overlay.decode_map[3] is print

    @pytest.mark.parametrize("number", [-1, 256, 1000])
    def test_an_id_is_a_byte(self, make_overlay: Any, number: int) -> None:
        with pytest.raises(RuntimeError, match="0 to 255"):
            make_overlay(Simple).add_message_handler(number, print)

    def test_a_class_needs_an_id(self, make_overlay: Any) -> None:
        with pytest.raises(RuntimeError, match="msg_id"):
            make_overlay(Simple).add_message_handler(BinMemberAuthenticationPayload, print)

    def test_an_id_has_one_handler(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        with pytest.raises(RuntimeError, match="on_number"):
            overlay.add_message_handler(1, print)
        overlay.decode_map[1] = None
        overlay.add_message_handler(1, print)

    def test_the_list_is_one_of_256_and_may_be_replaced(self, make_overlay: Any) -> None:
        overlay, other = make_overlay(Simple), make_overlay(Simple)
        assert isinstance(overlay.decode_map, list)
        assert len(overlay.decode_map) == 256
        packet = other.ezr_pack(1, Number(5))
        overlay.decode_map = [None] * 256
        overlay.on_packet((other.endpoint.wan_address, packet))
        assert overlay.got == []
        overlay.add_message_handler(1, overlay.on_number)
        overlay.on_packet((other.endpoint.wan_address, packet))
        assert len(overlay.got) == 1

    def test_a_message_of_a_program_takes_the_number_of_the_relays(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert overlay.relay
        overlay.add_message_handler(230, overlay.on_number)
        assert not overlay.relay
        with pytest.raises(RuntimeError, match="does so already"):
            overlay.add_message_handler(230, print)

    def test_signed_messages_are_known(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert 1 in overlay.signed_messages
        assert 2 not in overlay.signed_messages
        assert not Simple.signed_messages

    def test_an_overlay_may_receive_the_packets_of_all(self, make_overlay: Any) -> None:
        class Everything(Simple):
            any_prefix = True

            def on_packet(self, packet: Any, warn_unknown: bool = True) -> None:
                self.got.append(packet)

        overlay = make_overlay(Everything)
        overlay.endpoint.notify_listeners((NOWHERE, b"x" * 30))
        assert overlay.got == [(NOWHERE, b"x" * 30)]
        assert overlay.endpoint._prefix_map == {}

    def test_deprecated_messages_are_named_in_the_log(self, make_overlay: Any, caplog: Any) -> None:
        overlay = make_overlay(Simple)
        overlay.on_packet((("1.2.3.4", 5), overlay.get_prefix() + b"\xf4"))
        assert "destroy-community" in caplog.text
        overlay.add_message_handler(9, overlay.on_deprecated_message)
        overlay.deprecated_message_names[9] = "my-old-message"
        overlay.on_packet((("1.2.3.4", 5), overlay.get_prefix() + b"\x09"))
        assert "my-old-message" in caplog.text


class TestReceiving:
    async def test_signed_and_unsigned_messages_arrive(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.ez_send(public(theirs), Number(5))
        ours.endpoint.send(theirs.endpoint.wan_address, ours.ezr_pack(2, Number(6), sig=False))
        await settle()
        assert theirs.got == [(ours.my_peer, 5), (ours.endpoint.wan_address, 6)]

    async def test_what_cannot_be_handled_is_counted_and_quiet(self, make_overlay: Any, caplog: Any) -> None:
        overlay = make_overlay(Simple)
        prefix = overlay.get_prefix()
        for data in (b"", prefix, prefix[:10], prefix[1:] + b"\x01\x01", *[prefix + b"\xc8" + bytes(9)] * 50):
            overlay.on_packet((("1.2.3.4", 5), data))
        assert overlay.drops[DropCounter.SHORT] == 3
        assert overlay.drops[DropCounter.UNKNOWN_PREFIX] == 1
        assert overlay.drops[DropCounter.UNKNOWN_ID] == 50
        assert len(caplog.records) < 10
        overlay.on_packet((("1.2.3.4", 5), prefix + b"\xc8"), warn_unknown=False)
        assert overlay.drops[DropCounter.UNKNOWN_ID] == 51

    async def test_a_malformed_packet_leaves_no_traceback(self, make_overlay: Any, caplog: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        packet = ours.ezr_pack(1, Number(5))
        for length in range(23, len(packet)):
            theirs.on_packet((ours.endpoint.wan_address, packet[:length]))
        assert sum(theirs.drops.values()) == len(packet) - 23
        assert theirs.got == []
        assert not caplog.records

    async def test_the_bug_of_a_handler_is_logged_with_its_traceback(self, make_overlay: Any, caplog: Any) -> None:
        overlay = make_overlay(Simple)
        overlay.add_message_handler(7, lambda *_: 1 / 0)
        overlay.on_packet((("1.2.3.4", 5), overlay.get_prefix() + b"\x07"))
        assert caplog.records[0].levelno == logging.ERROR
        assert "ZeroDivisionError" in caplog.text

    async def test_the_bug_of_a_coroutine_is_logged(self, make_overlay: Any, caplog: Any) -> None:
        overlay = make_overlay(Simple)

        async def fail(*_: Any) -> None:
            await asyncio.sleep(0)
            raise RuntimeError("mine")

        overlay.add_message_handler(7, fail)
        overlay.on_packet((("1.2.3.4", 5), overlay.get_prefix() + b"\x07"))
        await settle()
        assert "mine" in caplog.text

    async def test_only_a_signature_shows_that_a_peer_is_alive(self, make_overlay: Any, manual_clock: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        peer = public(ours)
        theirs.network.add_verified_peer(peer)
        before = peer.last_response
        manual_clock.advance(10)
        theirs.on_packet((peer.address, theirs.get_prefix() + b"\x01garbage"))
        assert peer.last_response == before
        theirs.on_packet((peer.address, ours.ezr_pack(1, Number(5))))
        assert peer.last_response == manual_clock.now


def tracker_of(overlay: Any) -> UDPv4Address:
    """The address of a bootstrap server that has just answered."""
    tracker = UDPv4Address("5.5.5.5", 5)
    overlay.ensure_blacklisted(tracker)
    overlay.contact.nat.trackers.note_answer(tracker, b"key", clock.monotonic())
    return tracker


class TestVectors:
    """tests/vectors/discovery.json."""

    @pytest.fixture
    def vectors(self, load_vectors: Any) -> Any:
        return load_vectors("discovery")

    @pytest.fixture
    def node(self, vectors: Any, make_overlay: Any) -> Any:
        """Make A, B or C, with the given clock."""
        def make(name: str, lamport: int = 0) -> Any:
            keys = vectors["keys"][name]
            key = default_eccrypto.key_from_private_bin(bytes.fromhex(keys["private_bin"]))
            overlay = make_overlay(Simple, key=key, lan=address(keys["lan"]), wan=address(keys["wan"]), deliver=False)
            overlay.my_peer._lamport_timestamp = lamport
            return overlay
        return make

    def other(self, vectors: Any, name: str) -> Peer:
        keys = vectors["keys"][name]
        peer = Peer(bytes.fromhex(keys["public_bin"]), address(keys["wan"]))
        peer.addresses[UDPv4LANAddress] = UDPv4LANAddress(*keys["lan"][1:])
        return peer

    def packet(self, vectors: Any, name: str) -> Any:
        return next(case for case in vectors["packets"] if case["name"] == name)

    @pytest.mark.parametrize(("name", "lamport"), [
        ("introduction_request_old", 4), ("introduction_request_old_extra_wrap", 65535),
        ("introduction_request_new_ipv4", 4), ("introduction_request_new_ipv6", 4),
    ])
    def test_requests(self, vectors: Any, node: Any, script_entropy: Any, name: str, lamport: int) -> None:
        case = self.packet(vectors, name)
        fields = case["decoded_fields"]
        script_entropy(0)  # the clock goes forward by one, as in the vectors
        made = node("A", lamport).create_introduction_request(
            address(fields["destination_address"]), extra_bytes=bytes.fromhex(fields["extra_bytes"]["hex"]),
            new_style=case["msg_id"] == 234 and fields["destination_address"][0] == "UDPv4Address")
        assert made.hex() == case["packet"]

    @pytest.mark.parametrize("name", [
        "introduction_response_old_none", "introduction_response_old", "introduction_response_new",
        "introduction_response_new_ipv6", "introduction_response_own_lan",
    ])
    def test_responses(self, vectors: Any, node: Any, name: str) -> None:
        case = self.packet(vectors, name)
        fields = case["decoded_fields"]
        overlay = node("B", case["global_time"] - 1)
        overlay.address_is_lan = lambda host: host == "192.168.1.77"
        introduction = None
        if name != "introduction_response_old_none":
            introduction = self.other(vectors, "C")
            if name == "introduction_response_new_ipv6":
                introduction = Peer(introduction.public_key, address(fields["wan_introduction_address"]))
                introduction.new_style_intro = True
            elif name == "introduction_response_own_lan":
                introduction = Peer(introduction.public_key, UDPv4Address("192.168.1.77", 9000))
        sender_view = address(vectors["keys"]["B"]["wan"])
        if case["side_packets"]:
            sender_view = address(case["side_packets"][0]["decoded_fields"]["lan_walker_address"])
        made = overlay.create_introduction_response(
            sender_view, address(fields["destination_address"]), fields["identifier"], introduction=introduction,
            new_style=case["msg_id"] == 233)
        assert made.hex() == case["packet"]
        sent = [(list(to), packet.hex()) for to, packet in overlay.endpoint.sent]
        assert sent == [(side["to"][1:], side["packet"]) for side in case["side_packets"]]

    @pytest.mark.parametrize("name", ["puncture_request_old", "puncture_request_new", "puncture_request_new_ipv6"])
    def test_puncture_requests(self, vectors: Any, node: Any, name: str) -> None:
        case = self.packet(vectors, name)
        fields = case["decoded_fields"]
        made = node("B", case["global_time"] - 1).create_puncture_request(
            address(fields["lan_walker_address"]), address(fields["wan_walker_address"]), fields["identifier"],
            new_style=name == "puncture_request_new")
        assert made.hex() == case["packet"]

    @pytest.mark.parametrize("name", ["puncture_old", "puncture_new"])
    def test_punctures(self, vectors: Any, node: Any, name: str) -> None:
        case = self.packet(vectors, name)
        fields = case["decoded_fields"]
        made = node("C", case["global_time"] - 1).create_puncture(
            address(fields["source_lan_address"]), address(fields["source_wan_address"]), fields["identifier"],
            new_style=name == "puncture_new")
        assert made.hex() == case["packet"]

    def test_a_join_and_an_introduction(self, vectors: Any, node: Any, script_entropy: Any) -> None:
        sequence = vectors["sequences"][0]
        nodes = {name: node(name) for name in "ABC"}
        names = {overlay.endpoint.wan_address: name for name, overlay in nodes.items()}
        trace: list[tuple[str, str, str]] = []

        def deliver() -> None:
            waiting = [(name, *item) for name, overlay in nodes.items() for item in overlay.endpoint.sent]
            for overlay in nodes.values():
                overlay.endpoint.sent.clear()
            for name, to, packet in waiting:
                trace.append((name, names[to], packet.hex()))
                nodes[names[to]].on_packet((nodes[name].endpoint.wan_address, packet))
            if waiting:
                deliver()

        for walker in "CA":
            script_entropy(0)
            nodes[walker].walk_to(nodes["B"].endpoint.wan_address)
            deliver()
        expected = [(step["from"], step["to"], step["packet"]) for step in sequence["trace"]]
        assert sorted(trace) == sorted(expected)
        assert [list(a) for a in nodes["A"].get_walkable_addresses()] \
            == [a[1:] for a in sequence["A_walkable_afterwards"]]

    def test_what_is_learned_from_a_response(self, vectors: Any, node: Any) -> None:
        for case in vectors["response_handling"]:
            overlay = node("A")
            overlay.my_estimated_lan = address(case["my_lan"])
            overlay.my_estimated_wan = address(case["my_wan_before"])
            found: list[Any] = []
            overlay.network.discover_address = lambda peer, a, *_, found=found: found.append([type(a).__name__, *a])
            payload = IntroductionResponsePayload(
                address(case["destination_address"]), NOWHERE, NOWHERE, address(case["lan_introduction"]),
                address(case["wan_introduction"]), "unknown", 1, b"")
            overlay.on_introduction_response(self.other(vectors, "B"), GlobalTimeDistributionPayload(1), payload)
            assert found == case["discovered_in_order"]

    def test_where_punctures_go(self, vectors: Any, node: Any) -> None:
        for case in vectors["puncture_target"]:
            overlay = node("C", 2)
            overlay.my_estimated_wan = address(case["my_wan"])
            new_style = case["packet"][44:46] == "e7"
            payload_class = NewPunctureRequestPayload if new_style else PunctureRequestPayload
            payload = payload_class(address(case["lan_walker"]), address(case["wan_walker"]), 5)
            overlay.on_puncture_request(("1.2.3.4", 5), GlobalTimeDistributionPayload(1), payload, new_style)
            (to, packet), = overlay.endpoint.sent
            assert to == address(case["sent_to"])
            assert packet.hex() == case["packet"]


class TestIntroductions:
    async def test_two_nodes_meet(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        assert ours.get_peers() == [theirs.my_peer]
        assert theirs.get_peers() == [ours.my_peer]
        assert ours.get_peers()[0].proven
        assert not theirs.get_peers()[0].proven
        assert theirs.get_peers()[0].addresses[UDPv4LANAddress] == ours.my_estimated_lan

    async def test_a_third_node_is_introduced_and_reached(self, make_overlay: Any) -> None:
        a, b, c = (make_overlay(Simple) for _ in range(3))
        c.walk_to(b.endpoint.wan_address)
        await settle()
        a.walk_to(b.endpoint.wan_address)
        await settle()
        assert c.endpoint.wan_address in a.get_walkable_addresses()
        assert any(packet[22] == PuncturePayload.msg_id for _, packet in c.endpoint.sent), "C opened its NAT for A"
        a.walk_to(c.endpoint.wan_address)
        await settle()
        assert c.my_peer in a.get_peers()

    async def test_style_is_negotiated(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        ours.send_introduction_request(ours.get_peers()[0])
        await settle()
        assert [packet[22] for _, packet in ours.endpoint.sent] == [246, 234]
        assert [packet[22] for _, packet in theirs.endpoint.sent] == [245, 233]

    async def test_ipv6_is_spoken_in_the_new_style(self, make_overlay: Any) -> None:
        ours = make_overlay(Simple, lan=UDPv6Address("fd00::1", 1), wan=UDPv6Address("2001:db8::1", 1))
        theirs = make_overlay(Simple, lan=UDPv6Address("fd00::2", 2), wan=UDPv6Address("2001:db8::2", 2))
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        assert [packet[22] for _, packet in ours.endpoint.sent] == [234]
        assert ours.get_peers() == [theirs.my_peer]
        assert ours.my_peer.address == ("2001:db8::1", 1)

    async def test_overrides_may_add_data(self, make_overlay: Any) -> None:
        seen: list[bytes] = []

        class Chatty(Simple):
            def create_introduction_request(self, socket_address: Any, extra_bytes: bytes = b"",
                                            new_style: bool = False, prefix: Any = None) -> bytes:
                return super().create_introduction_request(socket_address, b"request", new_style, prefix)

            def create_introduction_response(self, lan_socket_address: Any, socket_address: Any, identifier: int,
                                             introduction: Any = None, extra_bytes: bytes = b"", prefix: Any = None,
                                             new_style: bool = False) -> bytes:
                return super().create_introduction_response(lan_socket_address, socket_address, identifier,
                                                            introduction, b"response", prefix, new_style)

            def introduction_request_callback(self, peer: Any, dist: Any, payload: Any) -> None:
                seen.append(payload.extra_bytes)

            introduction_response_callback = introduction_request_callback

        ours, theirs = make_overlay(Chatty), make_overlay(Chatty)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        assert seen == [b"request", b"response"]

    async def test_the_lan_address_of_a_neighbour_is_passed_on(self, make_overlay: Any) -> None:
        b = make_overlay(Simple, deliver=False)
        asker, other = make_overlay(Simple), make_overlay(Simple)
        same_nat = UDPv4Address("50.50.50.50", 1000)
        peer = Peer(asker.my_peer.public_key, same_nat)
        peer.addresses[UDPv4LANAddress] = UDPv4LANAddress("192.168.1.5", 1)
        b.network.add_verified_peer(peer)
        b.create_introduction_response(b.my_estimated_wan, same_nat, 5,
                                       introduction=Peer(other.my_peer.public_key, UDPv4Address("50.50.50.50", 2000)))
        (_, packet), = b.endpoint.sent
        _, request = b._ez_unpack_noauth(PunctureRequestPayload, packet)
        assert request.lan_walker_address == ("192.168.1.5", 1)

    async def test_new_introductions_come_from_peers(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.network.add_verified_peer(public(theirs))
        ours.network.discover_services(public(theirs), [Simple.community_id])
        ours.get_new_introduction()
        ours.get_new_introduction(public(theirs))
        assert [to for to, _ in ours.endpoint.sent] == [theirs.endpoint.wan_address] * 2

    async def test_proven_peers_are_introduced_first(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        peers = [Peer(default_eccrypto.generate_key("very-low").pub(), UDPv4Address(f"{n + 1}.1.1.1", 1))
                 for n in range(6)]
        for peer in peers:
            overlay.network.add_verified_peer(peer)
            overlay.network.discover_services(peer, [Simple.community_id])
        assert overlay.get_peer_for_introduction() in peers
        peers[3].proven = True
        assert all(overlay.get_peer_for_introduction() is peers[3] for _ in range(20))
        assert overlay.get_peer_for_introduction(exclude=peers[3]) in peers


class TestStrangers:
    """What packets of others cannot do."""

    def response(self, sender: Any, overlay: Any, identifier: int, claimed: Any, introduced: Any = NOWHERE) -> bytes:
        payload = IntroductionResponsePayload(claimed, sender.my_estimated_lan, sender.my_estimated_wan, NOWHERE,
                                              introduced, "unknown", identifier, b"")
        author = BinMemberAuthenticationPayload(sender.my_peer.public_key.key_to_bin())
        return bytes(sender._ez_pack(overlay.get_prefix(), 245, (author, GlobalTimeDistributionPayload(1), payload)))

    async def test_unsolicited_responses_teach_nothing(self, make_overlay: Any) -> None:
        overlay, liar = make_overlay(Simple), make_overlay(Simple)
        wan = overlay.my_estimated_wan
        for identifier in range(200):
            packet = self.response(liar, overlay, identifier, UDPv4Address("66.6.6.6", 6), UDPv4Address("7.7.7.7", 7))
            overlay.on_packet((liar.endpoint.wan_address, packet))
        assert overlay.drops[DropCounter.UNSOLICITED] == 200
        assert overlay.my_estimated_wan == wan
        assert overlay.get_walkable_addresses() == []
        assert overlay.get_peers() == []

    async def test_a_response_counts_once(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        (_, response), = theirs.endpoint.sent
        ours.on_packet((theirs.endpoint.wan_address, response))
        assert ours.drops[DropCounter.UNSOLICITED] == 1

    async def test_a_replayed_packet_moves_nobody(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        theirs.walk_to(ours.endpoint.wan_address)
        await settle()
        ours.endpoint.deliver = False
        thief = UDPv4Address("66.6.6.6", 6)
        for packet in [packet for _, packet in theirs.endpoint.sent] + [theirs.ezr_pack(1, Number(9))]:
            ours.on_packet((thief, packet))
        peer, = ours.get_peers()
        assert peer.address == theirs.endpoint.wan_address
        assert thief not in peer.addresses.values()
        assert ours.got == [(theirs.my_peer, 9)], "the message itself is handled"

    async def test_an_address_of_before_the_proof_is_not_proven(self, make_overlay: Any) -> None:
        """A packet with a forged source in the other address family made a peer proven at the address of a victim."""
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        theirs.walk_to(ours.endpoint.wan_address)
        await settle()
        peer, = ours.get_peers()
        assert not peer.proven
        victim = UDPv6Address("2001:db8::1", 6)
        ours.on_packet((victim, theirs.ezr_pack(1, Number(9))))
        assert peer.address == victim
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        assert peer.proven
        assert peer.address == theirs.endpoint.wan_address
        assert victim not in peer.addresses.values()

    async def test_a_proven_peer_that_really_moves_is_followed(self, make_overlay: Any) -> None:
        from ipv8.test.mocking.endpoint import internet

        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        moved = UDPv4Address("77.7.7.7", 7)
        internet[moved] = theirs.endpoint
        theirs.endpoint.wan_address = moved
        theirs.endpoint.send(ours.endpoint.wan_address, theirs.ezr_pack(1, Number(9)))
        await settle()
        peer, = ours.get_peers()
        assert peer.address == moved
        assert ours.network.get_verified_by_address(moved) is peer

    async def test_one_shot_introductions_do_not_keep_others_out(self, make_overlay: Any, manual_clock: Any) -> None:
        overlay = make_overlay(Simple, max_peers=5, deliver=False)
        crowd = make_overlay(Simple, deliver=False)
        for number in range(50):
            crowd.my_peer = Peer(default_eccrypto.generate_key("very-low"))
            packet = crowd.create_introduction_request(overlay.endpoint.wan_address)
            overlay.on_packet((UDPv4Address(f"66.6.{number}.6", 6), packet))
        assert len(overlay.get_peers()) == 6
        manual_clock.advance(UNPROVEN_GRACE + 1)
        newcomer = make_overlay(Simple)
        overlay.endpoint.deliver = True
        overlay.endpoint.sent.clear()
        newcomer.walk_to(overlay.endpoint.wan_address)
        await settle()
        assert newcomer.my_peer in overlay.get_peers()
        assert len(overlay.get_peers()) == 6

    async def test_a_full_overlay_refuses_while_its_peers_are_fresh(self, make_overlay: Any) -> None:
        overlay, first, second = make_overlay(Simple, max_peers=0), make_overlay(Simple), make_overlay(Simple)
        first.walk_to(overlay.endpoint.wan_address)
        await settle()
        second.walk_to(overlay.endpoint.wan_address)
        await settle()
        assert overlay.get_peers() == [first.my_peer]
        assert second.get_peers() == []

    async def test_a_negative_limit_is_none(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, max_peers=-1)
        others = [make_overlay(Simple) for _ in range(3)]
        for other in others:
            other.walk_to(overlay.endpoint.wan_address)
        await settle()
        assert len(overlay.get_peers()) == 3

    async def test_one_address_is_not_answered_without_end(self, make_overlay: Any, manual_clock: Any) -> None:
        overlay = make_overlay(Simple, max_peers=-1, deliver=False)
        walker = make_overlay(Simple, deliver=False)
        for port in range(int(RESPONSES_AT_ONCE) + 20):
            packet = walker.create_introduction_request(overlay.endpoint.wan_address)
            overlay.on_packet((UDPv4Address("66.6.6.6", 1000 + port), packet))
        assert overlay.drops[DropCounter.RATE_LIMITED] == 20

    async def test_recorded_requests_of_a_proven_peer_are_not_answered_without_end(self, make_overlay: Any,
                                                                                   manual_clock: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.walk_to(theirs.endpoint.wan_address)
        await settle()
        assert ours.get_peers()[0].proven
        ours.endpoint.deliver = False
        ours.endpoint.sent.clear()
        recorded = theirs.create_introduction_request(ours.endpoint.wan_address)
        for port in range(1, 501):
            ours.on_packet((UDPv4Address("66.6.6.6", port), recorded))
        assert ours.drops[DropCounter.RATE_LIMITED] == 500 - RESPONSES_AT_ONCE

    async def test_strangers_cannot_have_a_victim_flooded(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        received = 0
        for number in range(500):
            victim = UDPv4Address(f"8.8.8.{number % 50 + 1}", 53)
            packet = overlay.create_puncture_request(victim, victim, number)
            received += len(packet)
            overlay.on_packet((UDPv4Address("66.6.6.6", 6), packet))
        sent = sum(len(packet) for _, packet in overlay.endpoint.sent)
        assert 0 < sent <= received
        assert overlay.drops[DropCounter.RATE_LIMITED] > 0

    async def test_a_tracker_that_answered_is_served_at_once(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        tracker = tracker_of(overlay)
        walker = UDPv4Address("8.8.8.8", 53)
        overlay.on_packet((tracker, overlay.create_puncture_request(walker, walker, 1)))
        assert [to for to, _ in overlay.endpoint.sent] == [walker]

    async def test_nobody_can_make_us_send_to_ourselves(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        tracker = tracker_of(overlay)
        for target in (overlay.my_estimated_lan, UDPv4Address("127.0.0.1", 22), UDPv4Address("224.0.0.1", 5)):
            overlay.on_packet((tracker, overlay.create_puncture_request(target, target, 1)))
        assert overlay.endpoint.sent == []
        assert overlay.drops[DropCounter.BAD_TARGET] == 3


class TestTraversal:
    """Ways through address translators."""

    def puncture(self, sender: Any, identifier: int) -> bytes:
        packet: bytes = sender.create_puncture(sender.my_estimated_lan, sender.my_estimated_wan, identifier)
        return packet

    def introduced(self, overlay: Any, address: Any, identifier: int = 7) -> None:
        """Let a peer answer request ``identifier`` and introduce whoever is at ``address``."""
        introducer = Peer(default_eccrypto.generate_key("very-low").pub(), UDPv4Address("5.5.5.5", 5))
        payload = IntroductionResponsePayload(overlay.my_estimated_wan, NOWHERE, NOWHERE, NOWHERE, address, "unknown",
                                              identifier, b"")
        overlay.on_introduction_response(introducer, GlobalTimeDistributionPayload(1), payload)

    async def test_a_puncture_shows_where_a_peer_is(self, make_overlay: Any) -> None:
        overlay, other = make_overlay(Simple, deliver=False), make_overlay(Simple)
        self.introduced(overlay, UDPv4Address("8.8.8.8", 1000))
        source = UDPv4Address("8.8.8.8", 2000)
        for _ in range(3):
            overlay.on_packet((source, self.puncture(other, 7)))
        assert [to for to, _ in overlay.endpoint.sent] == [source]

    @pytest.mark.parametrize(("source", "identifier"), [
        (UDPv4Address("8.8.8.8", 1000), 7), (UDPv4Address("8.8.8.8", 2000), 8), (UDPv4Address("6.6.6.6", 1000), 7),
    ])
    async def test_other_punctures_lead_nowhere(self, make_overlay: Any, source: Any, identifier: int) -> None:
        overlay, other = make_overlay(Simple, deliver=False), make_overlay(Simple)
        self.introduced(overlay, UDPv4Address("8.8.8.8", 1000))
        overlay.on_packet((source, self.puncture(other, identifier)))
        assert overlay.endpoint.sent == []

    async def test_a_full_overlay_follows_no_puncture(self, make_overlay: Any) -> None:
        overlay, other = make_overlay(Simple, deliver=False, max_peers=1), make_overlay(Simple)
        self.introduced(overlay, UDPv4Address("8.8.8.8", 1000))
        overlay.on_packet((UDPv4Address("8.8.8.8", 2000), self.puncture(other, 7)))
        assert overlay.endpoint.sent == []

    async def test_punctures_are_repeated_behind_a_nat(self, make_overlay: Any, monkeypatch: Any) -> None:
        from ipv8.contact import protocol as introduction_protocol

        monkeypatch.setattr(introduction_protocol, "PUNCTURE_DELAYS", (0.0, 0.0))
        overlay = make_overlay(Simple, deliver=False)
        tracker, walker = tracker_of(overlay), UDPv4Address("8.8.8.8", 53)
        overlay.on_packet((tracker, overlay.create_puncture_request(walker, walker, 1)))
        await asyncio.gather(*overlay.get_anonymous_tasks("puncture"))
        assert [to for to, _ in overlay.endpoint.sent] == [walker] * 3
        assert len({packet for _, packet in overlay.endpoint.sent}) == 1
        overlay.endpoint.sent.clear()
        overlay.my_estimated_lan = overlay.my_estimated_wan
        overlay.on_packet((tracker, overlay.create_puncture_request(walker, walker, 2)))
        assert overlay.get_anonymous_tasks("puncture") == []
        assert [to for to, _ in overlay.endpoint.sent] == [walker]

    async def test_repeats_are_paid_for_by_strangers(self, make_overlay: Any, monkeypatch: Any) -> None:
        from ipv8.contact import protocol as introduction_protocol

        monkeypatch.setattr(introduction_protocol, "PUNCTURE_DELAYS", (0.0, 0.0))
        overlay = make_overlay(Simple, deliver=False)
        received = 0
        for number in range(100):
            victim = UDPv4Address(f"8.8.8.{number % 50 + 1}", 53)
            packet = overlay.create_puncture_request(victim, victim, number)
            received += len(packet)
            overlay.on_packet((UDPv4Address("66.6.6.6", 6), packet))
            await asyncio.gather(*overlay.get_anonymous_tasks("puncture"))
        sent = sum(len(packet) for _, packet in overlay.endpoint.sent)
        assert 0 < sent <= received

    async def test_an_open_way_needs_no_puncture(self, make_overlay: Any, manual_clock: Any) -> None:
        overlay, other = make_overlay(Simple), make_overlay(Simple)
        overlay.walk_to(other.endpoint.wan_address)
        await settle()
        overlay.endpoint.deliver = False
        overlay.endpoint.sent.clear()
        tracker, walker = tracker_of(overlay), other.endpoint.wan_address
        packet = overlay.create_puncture_request(walker, walker, 1)
        overlay.on_packet((tracker, packet))
        assert overlay.endpoint.sent == []
        manual_clock.advance(60.0)
        overlay.on_packet((tracker, packet))
        assert [to for to, _ in overlay.endpoint.sent] == [walker]

    @pytest.mark.parametrize(("later", "wall_later", "is_open"), [(10.0, -1e6, True), (10.0, 1e6, True),
                                                                  (20.0, -1e6, False), (20.0, 1.0, False)])
    async def test_a_clock_that_is_set_opens_and_closes_no_way(self, make_overlay: Any, later: float, wall_later: float,
                                                               is_open: bool) -> None:
        class TwoClocks:
            wall, steady = 1e9, 100.0

            def time(self) -> float:
                return self.wall

            def monotonic(self) -> float:
                return self.steady

        clocks = TwoClocks()
        with clock.use(clocks):
            overlay, other = make_overlay(Simple), make_overlay(Simple)
            overlay.walk_to(other.endpoint.wan_address)
            await settle()
            overlay.endpoint.deliver = False
            overlay.endpoint.sent.clear()
            tracker, walker = tracker_of(overlay), other.endpoint.wan_address
            clocks.steady += later
            clocks.wall += wall_later
            overlay.on_packet((tracker, overlay.create_puncture_request(walker, walker, 1)))
            assert [to for to, _ in overlay.endpoint.sent] == ([] if is_open else [walker])

    async def test_a_walk_is_tried_again_at_the_next_ports(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        overlay.retry_walk(UDPv4Address("8.8.8.8", 1000))
        assert [to for to, _ in overlay.endpoint.sent] == [("8.8.8.8", 1000)], "no puncture is expected from there"
        overlay.endpoint.sent.clear()
        self.introduced(overlay, UDPv4Address("8.8.8.8", 1000))
        overlay.retry_walk(UDPv4Address("8.8.8.8", 1000))
        sent = [to for to, _ in overlay.endpoint.sent]
        assert sent[:2] == [("8.8.8.8", 1000), ("8.8.8.8", 1001)]
        assert len(sent) < 4, "the introduction pays for no more"
        overlay.endpoint.sent.clear()
        overlay.retry_walk(UDPv4Address("192.168.1.77", 1000))
        assert [to for to, _ in overlay.endpoint.sent] == [("192.168.1.77", 1000)]
        overlay.my_estimated_lan = overlay.my_estimated_wan
        overlay.retry_walk(UDPv4Address("8.8.8.8", 1000))
        assert len(overlay.endpoint.sent) == 1, "without a NAT of our own there is no need"

    async def test_the_connection_type_is_told_when_it_is_known(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)

        def told() -> str:
            packet = overlay.create_introduction_request(UDPv4Address("8.8.8.8", 5))
            kind: str = overlay._ez_unpack_auth(IntroductionRequestPayload, packet)[2].connection_type
            return kind

        assert told() == "unknown"
        for number in range(3):
            learn_from(overlay, UDPv4Address(f"1.{number}.1.1", 1), UDPv4Address("7.7.7.7", number + 1))
        assert told() == overlay.nat_type == "symmetric-NAT"

    async def test_a_full_overlay_answers_its_peers(self, make_overlay: Any) -> None:
        overlay, member = make_overlay(Simple, max_peers=0), make_overlay(Simple)
        member.walk_to(overlay.endpoint.wan_address)
        await settle()
        overlay.endpoint.sent.clear()
        member.walk_to(overlay.endpoint.wan_address)
        await settle()
        assert [packet[22] for _, packet in overlay.endpoint.sent] == [245]


    @pytest.mark.parametrize(("mapped", "path"), [(True, PeerPath.MAPPED), (False, PeerPath.DIRECT)])
    async def test_who_comes_by_itself_through_a_mapped_port(self, make_overlay: Any, mapped: bool, path: str) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.endpoint.mapped_address = ours.endpoint.wan_address if mapped else None
        theirs.walk_to(ours.endpoint.wan_address)
        await settle()
        (peer,) = ours.get_peers()
        ours.send_introduction_request(peer)
        await settle()
        assert peer.path == path
        assert theirs.get_peers()[0].path == PeerPath.DIRECT

    async def test_whom_we_contacted_ourselves_is_not_mapped(self, make_overlay: Any) -> None:
        ours, theirs = make_overlay(Simple), make_overlay(Simple)
        ours.endpoint.mapped_address = ours.endpoint.wan_address
        ours.walk_to(theirs.endpoint.wan_address)
        theirs.walk_to(ours.endpoint.wan_address)
        await settle()
        assert ours.get_peers()[0].path == PeerPath.DIRECT


class TestBootstrapping:
    class FakeBootstrapper:
        def __init__(self, addresses: list[Any], delay: float = 0) -> None:
            self.initialized = False
            self.addresses = addresses
            self.delay = delay
            self.calls: list[str] = []

        async def initialize(self, overlay: Any) -> bool:
            await asyncio.sleep(self.delay)
            self.initialized = True
            return True

        async def get_addresses(self, overlay: Any, timeout: float) -> list[Any]:
            self.calls.append(f"get {timeout}")
            return self.addresses

        def keep_alive(self, overlay: Any) -> None:
            self.calls.append("keep alive")

        def unload(self) -> None:
            self.calls.append("unload")

    async def test_addresses_are_walked_to(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False, max_peers=3)
        bootstrapper = self.FakeBootstrapper([UDPv4Address(f"1.1.1.{n}", 1) for n in range(5)])
        overlay.bootstrappers.append(bootstrapper)
        overlay.get_new_introduction()
        await settle()
        assert bootstrapper.calls == ["get 60.0"]
        assert [to[0] for to, _ in overlay.endpoint.sent] == ["1.1.1.0", "1.1.1.1", "1.1.1.2"]
        await overlay.unload()
        assert bootstrapper.calls[-1] == "unload"
        assert overlay.bootstrappers == []

    async def test_servers_are_kept_alive_now_and_then(self, make_overlay: Any, monkeypatch: Any) -> None:
        from ipv8 import entropy

        overlay, other = make_overlay(Simple), make_overlay(Simple)
        overlay.walk_to(other.endpoint.wan_address)
        await settle()
        bootstrapper = self.FakeBootstrapper([])
        overlay.bootstrappers.append(bootstrapper)
        monkeypatch.setattr(entropy, "random", lambda: 0.01)
        overlay.get_new_introduction()
        assert bootstrapper.calls == []
        bootstrapper.initialized = True
        overlay.get_new_introduction()
        assert bootstrapper.calls == ["keep alive"]

    async def test_unloading_cancels_a_slow_start(self, make_overlay: Any) -> None:
        before = asyncio.all_tasks()
        overlay = make_overlay(Simple)
        overlay.bootstrappers.append(self.FakeBootstrapper([], delay=1000))
        overlay.bootstrap()
        task, = overlay.get_anonymous_tasks("bootstrap")
        await settle()
        await overlay.unload()
        assert task.cancelled()
        await settle()
        assert asyncio.all_tasks() == before


class TestOwnAddresses:
    async def test_the_better_interface_is_preferred(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert overlay.my_preferred_address() == overlay.my_estimated_wan
        overlay.endpoint.interfaces = {"UDPIPv4": None, "UDPIPv6": None}
        overlay.my_peer.addresses.clear()
        overlay.my_peer.address = UDPv4Address("9.9.9.9", 9)
        overlay.get_ipv6_address = lambda: ("2001:db8::9", 9, 0, 0)
        assert overlay.my_preferred_address() == UDPv6Address("2001:db8::9", 9)
        assert overlay.my_peer.addresses[UDPv4Address] == ("9.9.9.9", 9), "a known address is not guessed again"

    async def test_guesses_have_the_right_family(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple)
        assert isinstance(overlay.guess_address("UDPIPv4"), UDPv4Address)
        assert overlay.guess_address("UDPIPv6") is None
        assert overlay.guess_address("Pigeon") is None

    async def test_another_interface_of_a_peer_is_learned(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        overlay.endpoint.interfaces = {"UDPIPv4": None, "UDPIPv6": None}
        overlay.my_peer.addresses[UDPv6Address] = UDPv6Address("2001:db8::1", 1)
        other = Peer(default_eccrypto.generate_key("very-low").pub(), UDPv4Address("5.5.5.5", 5))
        other.new_style_intro = True
        payload = NewIntroductionResponsePayload(
            UDPv4Address("9.9.9.9", 9), NOWHERE, UDPv6Address("2001:db8::5", 5), NOWHERE, NOWHERE, 7,
            0, 0, 0, 0, 0, 0, 0, 0, b"")
        overlay.on_introduction_response(other, GlobalTimeDistributionPayload(1), payload)
        assert overlay.get_walkable_addresses() == [UDPv6Address("2001:db8::5", 5)]
        (to, packet), = overlay.endpoint.sent
        assert to == other.address
        _, request = overlay._ez_unpack_noauth(NewPunctureRequestPayload, packet)
        assert request.wan_walker_address == ("2001:db8::1", 1)


class TestIPv6Only:
    """Nodes that have no IPv4 address at all, among others."""

    HERE, THERE = UDPv6Address("fd00::1", 7001), UDPv6Address("2001:db8::2", 7002)

    async def test_they_meet(self, make_overlay: Any) -> None:
        nodes = [make_overlay(DiscoveryCommunity, lan=own, wan=own) for own in (self.HERE, self.THERE)]
        nodes[0].walk_to(self.THERE)
        await settle()
        assert [node.get_peers() for node in nodes] == [[nodes[1].my_peer], [nodes[0].my_peer]]

    async def test_what_they_send_to_ipv4_addresses_names_none_of_theirs(self, make_overlay: Any) -> None:
        overlay, other = make_overlay(Simple, lan=self.HERE, wan=self.HERE, deliver=False), make_overlay(Simple)
        elsewhere = UDPv4Address("1.2.3.4", 5)
        overlay.walk_to(elsewhere)
        packets = [overlay.endpoint.sent[-1][1], overlay.create_introduction_response(elsewhere, elsewhere, 7)]
        classes = (IntroductionRequestPayload, IntroductionResponsePayload)
        for packet, payload_class in zip(packets, classes, strict=True):
            payload = other._ez_unpack_auth(payload_class, packet)[2]
            assert (payload.source_lan_address, payload.source_wan_address) == (NOWHERE, NOWHERE)
        puncture = overlay.create_puncture(overlay.my_estimated_lan, elsewhere, 7)
        assert other._ez_unpack_auth(PuncturePayload, puncture)[2].source_lan_address == NOWHERE

    @pytest.mark.parametrize("msg_id", [246, 250, 245, 249])
    async def test_old_messages_from_ipv6_addresses_do_no_harm(self, make_overlay: Any, msg_id: int,
                                                              caplog: pytest.LogCaptureFixture) -> None:
        overlay, other = make_overlay(Simple, lan=self.HERE, wan=self.HERE), make_overlay(Simple, deliver=False)
        elsewhere = UDPv4Address("1.2.3.4", 5)
        packets = {
            246: other.create_introduction_request(elsewhere),
            245: other.create_introduction_response(elsewhere, elsewhere, 7),
            249: other.create_puncture(elsewhere, elsewhere, 7),
            250: other.create_puncture_request(elsewhere, elsewhere, 7),
        }
        overlay.endpoint.deliver = False
        overlay.on_packet((self.THERE, packets[msg_id]))
        assert not caplog.records
        if msg_id == 246:
            (_, answer), = overlay.endpoint.sent
            assert answer[22] == 233, "old messages have no room for IPv6 addresses"

    def test_introductions_of_ipv4_addresses_are_forgotten_like_others(self, make_overlay: Any,
                                                                       manual_clock: Any) -> None:
        overlay = make_overlay(Simple, lan=self.HERE, wan=self.HERE, deliver=False)
        introducer = Peer(default_eccrypto.generate_key("curve25519").pub(), self.THERE)
        overlay.network.add_verified_peer(introducer)
        overlay.network.discover_address(introducer, UDPv4Address("1.2.3.4", 5), Simple.community_id)
        walk = RandomWalk(overlay)
        for _ in range(100):  # whether a step walks, and to whom, is left to chance
            walk.take_step()
            manual_clock.advance(5)
        assert overlay.get_walkable_addresses() == []


def learn_from(overlay: Any, witness: Any, own: Any) -> None:
    """Let somebody at an address answer, and say that it sees us at another one."""
    payload = NewIntroductionResponsePayload(own, NOWHERE, NOWHERE, NOWHERE, NOWHERE, 7, 0, 0, 0, 0, 0, 0, 0, 0, b"")
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), witness)
    overlay.on_introduction_response(peer, GlobalTimeDistributionPayload(1), payload)


def test_our_own_addresses_are_learned_by_vote(make_overlay: Any) -> None:
    overlay = make_overlay(Simple)
    own, own_ipv6 = UDPv4Address("130.1.1.1", 1), UDPv6Address("2001:db8::1", 1)
    for number in range(3):
        learn_from(overlay, UDPv4Address(f"1.{number}.1.1", 1), own)
        learn_from(overlay, UDPv6Address(f"2001:db8:{number}::1", 1), own_ipv6)
    learn_from(overlay, UDPv4Address("66.6.6.6", 1), UDPv4Address("130.6.6.6", 6))
    learn_from(overlay, UDPv6Address("2001:db8:6::1", 1), UDPv6Address("2001:db8::6", 6))
    assert overlay.my_estimated_wan == own
    assert overlay.my_peer.addresses[UDPv4Address] == own
    assert overlay.my_peer.addresses[UDPv6Address] == own_ipv6


def test_a_private_address_of_ours_is_not_seen_from_outside(make_overlay: Any) -> None:
    overlay = make_overlay(Simple)
    before = overlay.my_estimated_wan
    learn_from(overlay, UDPv4Address("192.168.1.9", 1), UDPv4Address("192.168.1.5", 1))
    assert overlay.my_estimated_wan == before
    assert overlay.my_peer.address == ("192.168.1.5", 1)


@pytest.mark.parametrize("own", [NOWHERE, UDPv4Address("7.7.7.7", 0), UDPv6Address("2001:db8::1", 1)])
def test_what_a_witness_cannot_see_is_not_learned(make_overlay: Any, own: Any) -> None:
    overlay = make_overlay(Simple)
    before = overlay.my_estimated_wan
    learn_from(overlay, UDPv4Address("1.2.3.4", 5), own)
    assert overlay.my_estimated_wan == before
    assert dict(overlay.my_peer.addresses) == {UDPv4Address: before}


def test_an_introduction_looks_at_few_of_many(make_overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = make_overlay(Simple, max_peers=-1, deliver=False)
    key = default_eccrypto.generate_key("curve25519").pub()
    looked_at: list[Any] = []

    class Watched(Peer):
        @property
        def proven(self) -> bool:  # type: ignore[override]  # to see who looks
            looked_at.append(self)
            return True

    crowd = [Watched(key, UDPv4Address("1.2.3.4", number)) for number in range(3000)]
    monkeypatch.setattr(overlay, "get_peers", lambda: crowd)
    overlay.get_peer_for_introduction()
    overlay.get_new_introduction()
    assert 0 < len(looked_at) < 300


class Given:
    """A bootstrapper of a program, which gives what it was given, or raises it."""

    initialized = True

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.kept_alive = 0

    async def initialize(self, overlay: Any) -> bool:
        return True

    async def get_addresses(self, overlay: Any, timeout: float) -> Any:
        if isinstance(self.given[0], Exception):
            raise self.given[0]
        return self.given

    def keep_alive(self, overlay: Any) -> None:
        self.kept_alive += 1
        if isinstance(self.given[0], Exception):
            raise self.given[0]

    def unload(self) -> None:
        """Nothing to do."""


class TestBadBootstrappers:
    async def test_one_bad_address_does_not_spoil_the_rest(self, make_overlay: Any,
                                                           caplog: pytest.LogCaptureFixture) -> None:
        overlay = make_overlay(Simple, deliver=False)
        overlay.bootstrappers.append(Given(UDPv4Address("box.local", 6421), None, UDPv4Address("1.2.3.4", 5)))
        overlay.bootstrap()
        await asyncio.gather(*overlay.get_anonymous_tasks("bootstrap"))
        assert [target for target, _ in overlay.endpoint.sent] == [("1.2.3.4", 5)]
        assert "Given gave an address that cannot be contacted" in caplog.text
        assert "box.local" in caplog.text

    async def test_one_bad_bootstrapper_does_not_spoil_the_rest(
            self, make_overlay: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        overlay = make_overlay(Simple, deliver=False)
        bad, good = Given(LookupError("bad")), Given(UDPv4Address("1.2.3.4", 5))
        overlay.bootstrappers += [bad, good]
        overlay.bootstrap()
        await asyncio.gather(*overlay.get_anonymous_tasks("bootstrap"), return_exceptions=True)
        assert [target for target, _ in overlay.endpoint.sent] == [("1.2.3.4", 5)]
        assert told == [bad.given[0]]
        monkeypatch.setattr("ipv8.entropy.random", lambda: 0.0)
        monkeypatch.setattr(overlay, "get_peers", lambda: [overlay.my_peer])
        overlay.get_new_introduction()
        assert (bad.kept_alive, good.kept_alive) == (1, 1)
        assert "Given failed to keep this node known" in caplog.text

    @pytest.mark.parametrize("error", [UnicodeError("too long"), RuntimeError("no threads"), OSError(24, "files")])
    async def test_one_bad_address_provider_does_not_spoil_the_rest(self, make_overlay: Any, error: Exception,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def fail() -> None:
            asked.append("bad")
            raise error

        providers = [SimpleNamespace(discover_addresses=fail),
                     SimpleNamespace(discover_addresses=lambda: asked.append("good"))]
        monkeypatch.setattr("ipv8.overlay.get_providers", lambda: providers)
        overlay = make_overlay(Simple)
        for _ in range(2):
            await overlay.discover_lan_addresses()
        assert min(asked.count("bad"), asked.count("good")) >= 2


async def test_an_overlay_that_is_left_is_freed_and_not_announced(make_overlay: Any) -> None:
    import gc
    import weakref

    class Left(Community):
        community_id = b"an overlay to leave."

    overlay = make_overlay(Left)
    network, mid = overlay.network, overlay.my_peer.mid
    assert network.service_overlays == {overlay.community_id: overlay}
    await overlay.unload()
    assert network.service_overlays == {}
    assert mid not in network.blacklist_mids
    assert overlay.endpoint.prefix_listeners(overlay.get_prefix()) == []

    class Brief(Community):
        community_id = b"an overlay, a moment"

    brief = Brief(CommunitySettings(my_peer=overlay.my_peer, endpoint=overlay.endpoint, network=network))
    brief.get_new_introduction()
    await brief.unload()
    reference = weakref.ref(brief)
    del brief
    await asyncio.sleep(0)
    gc.collect()
    assert reference() is None


async def test_the_lan_address_follows_the_interfaces_unless_it_was_set(monkeypatch: pytest.MonkeyPatch,
                                                                        make_overlay: Any) -> None:
    import ipv8.messaging.interfaces.endpoint as module

    class Roaming(Community):
        community_id = b"an overlay on the go"

    hosts = ["10.11.12.13"]
    monkeypatch.setattr(module, "get_lan_addresses", lambda: hosts)
    overlay = make_overlay(Roaming)
    port = overlay.endpoint.get_address()[1]
    overlay._my_estimated_lan = None
    overlay.my_estimated_wan = overlay.my_estimated_lan
    assert overlay.my_estimated_lan == ("10.11.12.13", port)
    hosts[:] = ["192.168.77.5"]
    await overlay.discover_lan_addresses()
    assert overlay.my_estimated_lan == ("192.168.77.5", port)
    assert overlay.my_estimated_wan == ("192.168.77.5", port), "nothing translates the address"
    overlay.my_estimated_lan = ("1.1.1.1", 1)
    hosts[:] = ["10.0.0.1"]
    await overlay.discover_lan_addresses()
    assert overlay.my_estimated_lan == ("1.1.1.1", 1)
