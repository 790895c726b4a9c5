"""Introductions of a community: identifiers, styles, what others make it send to whom, addresses, and the log."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.community import Community
from ipv8.contact.messages import LARGEST_CLOCK, LARGEST_STEP_BITS
from ipv8.contact.story import LINES_AT_ONCE, Story
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPv6Endpoint
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
)
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.discovery import EdgeWalk, RandomWalk
from ipv8.peerdiscovery.network import Network
from ipv8.peerdiscovery.payload import DiscoveryIntroductionRequestPayload

if TYPE_CHECKING:
    from tests.conftest import ManualClock

NOWHERE = UDPv4Address("0.0.0.0", 0)
HERE, THERE = UDPv4Address("5.5.5.5", 5), UDPv4Address("8.8.8.8", 8)
VICTIM = "66.6.6.6"


class Simple(Community):
    community_id = b"introduced, and more"


class Author:
    """Somebody with a key, at an address, who signs what a test wants."""

    def __init__(self, address: Any = HERE) -> None:
        self.key = default_eccrypto.generate_key("curve25519")
        self.address = address

    def peer(self) -> Peer:
        return Peer(self.key.pub(), self.address)

    def sign(self, overlay: Any, payload: Any) -> bytes:
        packet: bytes = overlay.get_prefix() + bytes((payload.msg_id,)) + overlay.serializer.pack_serializable_list([
            BinMemberAuthenticationPayload(self.key.pub().key_to_bin()), GlobalTimeDistributionPayload(1), payload])
        return packet + self.key.signature(packet)

    def answer(self, overlay: Any, identifier: int, lan: Any, wan: Any, new_style: bool = False) -> bytes:
        """Introduce somebody."""
        seen = overlay.my_estimated_wan
        payload: Any = IntroductionResponsePayload(seen, HERE, HERE, lan, wan, "unknown", identifier, b"")
        if new_style:
            payload = NewIntroductionResponsePayload(seen, HERE, HERE, lan, wan, identifier,
                                                     1, 0, 0, 0, 0, 0, 0, 0, b"")
        packet = self.sign(overlay, payload)
        overlay.on_packet((self.address, packet))
        return packet


def last_request(overlay: Any, to: Any) -> tuple[int, int]:
    """The global time and the identifier of the last introduction request to an address."""
    packet = next(packet for address, packet in reversed(overlay.endpoint.sent)
                  if address == to and packet[22] in {246, 234})
    payload_class: Any = IntroductionRequestPayload if packet[22] == 246 else NewIntroductionRequestPayload
    _, dist, payload = overlay._ez_unpack_auth(payload_class, packet)
    return dist.global_time, payload.identifier


class TestIdentifiers:
    """They are the global time of the request: programs match answers by that."""

    @pytest.mark.parametrize("new_style", [False, True])
    async def test_it_is_the_global_time(self, make_overlay: Any, new_style: bool) -> None:
        overlay = make_overlay(Simple, deliver=False)
        for _ in range(200):
            overlay.endpoint.send(THERE, overlay.create_introduction_request(THERE, new_style=new_style))
            time, identifier = last_request(overlay, THERE)
            assert time == identifier == overlay.global_time % 65536

    async def test_nobody_can_tell_it_in_advance(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        steps = []
        for _ in range(300):
            before = overlay.global_time
            overlay.create_introduction_request(THERE)
            steps.append(overlay.global_time - before)
        assert min(steps) >= 1
        assert sum(steps) / 300 < 1 << LARGEST_STEP_BITS, "so the clock lasts"
        assert len({step % 65536 for step in steps}) > 280, "all 16 bits are random"

    async def test_no_two_pending_requests_have_the_same(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        identifiers = set()
        for _ in range(1000):
            overlay.walk_to(THERE)
            identifiers.add(last_request(overlay, THERE)[1])
        assert len(identifiers) == 1000

    async def test_the_clock_never_leaves_its_64_bits(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        overlay.update_global_time(LARGEST_CLOCK)
        for _ in range(10):
            overlay.create_introduction_request(THERE)
        assert overlay.global_time == LARGEST_CLOCK + 10
        assert overlay.create_puncture(HERE, HERE, 1)

    async def test_a_clock_of_the_program_s_own_is_used(self, make_overlay: Any) -> None:
        class Counting(Simple):
            count = 70_000

            def claim_global_time(self) -> int:
                self.count += 1
                return self.count

        overlay = make_overlay(Counting, deliver=False)
        overlay.walk_to(THERE)
        assert last_request(overlay, THERE) == (70_001 % 65536, 70_001 % 65536)


class TestStyles:
    """Nobody gets messages that it may not understand (doc/protocol/discovery.md section 3.8)."""

    def join(self, overlay: Any, author: Author, new_style: bool) -> Peer:
        peer = author.peer()
        peer.new_style_intro = new_style
        overlay.network.add_verified_peer(peer)
        overlay.network.discover_services(peer, [overlay.community_id])
        return peer

    @pytest.mark.parametrize("asker_is_new", [False, True])
    @pytest.mark.parametrize("introduced_is_new", [False, True])
    @pytest.mark.parametrize("request_kind", ["old", "old, new understood", "new"])
    async def test_of_answers_and_puncture_requests(self, make_overlay: Any, asker_is_new: bool,
                                                    introduced_is_new: bool, request_kind: str) -> None:
        overlay, asker, third = make_overlay(Simple, deliver=False), Author(HERE), Author(THERE)
        self.join(overlay, asker, asker_is_new)
        self.join(overlay, third, introduced_is_new)
        request: Any = NewIntroductionRequestPayload(overlay.my_estimated_wan, HERE, HERE, 7,
                                                     0, 0, 0, 0, 0, 0, 0, 0, b"")
        if request_kind != "new":
            request = IntroductionRequestPayload(overlay.my_estimated_wan, HERE, HERE, True, "unknown", 7, b"",
                                                 supports_new_style="new" in request_kind)
        overlay.on_packet((HERE, asker.sign(overlay, request)))
        answer_is_new = "new" in request_kind
        assert [(to, packet[22]) for to, packet in overlay.endpoint.sent] == [
            (THERE, 232 if introduced_is_new and answer_is_new else 250), (HERE, 233 if answer_is_new else 245)]

    async def test_an_old_peer_gets_no_puncture_in_the_new_style(self, make_overlay: Any) -> None:
        old, introducer, introduced = make_overlay(Simple), make_overlay(Simple), make_overlay(Simple)
        author = Author(old.endpoint.wan_address)
        peer = Peer(introduced.my_peer.public_key, introduced.endpoint.wan_address)
        peer.new_style_intro = True
        introducer.network.add_verified_peer(peer)
        introducer.network.discover_services(peer, [introducer.community_id])
        introduced.network.add_verified_peer(Peer(introducer.my_peer.public_key, introducer.endpoint.wan_address))
        request = IntroductionRequestPayload(HERE, HERE, old.endpoint.wan_address, True, "unknown", 7, b"",
                                             supports_new_style=False)
        introducer.on_packet((author.address, author.sign(introducer, request)))
        for _ in range(20):
            await asyncio.sleep(0)
        punctures = [packet for to, packet in introduced.endpoint.sent if to == author.address]
        assert {packet[22] for packet in punctures} == {249}

    async def test_of_the_request_of_2014(self, make_overlay: Any) -> None:
        overlay, asker, third = make_overlay(DiscoveryCommunity, deliver=False), Author(HERE), Author(THERE)
        self.join(overlay, asker, True)
        wanted = self.join(overlay, third, False)
        request = DiscoveryIntroductionRequestPayload(wanted.mid, overlay.my_estimated_wan, HERE, HERE, True, "unknown",
                                                      77, b"", supports_new_style=True)
        overlay.on_packet((HERE, asker.sign(overlay, request)))
        assert [(to, packet[22]) for to, packet in overlay.endpoint.sent] == [(THERE, 250), (HERE, 245)]

    async def test_an_old_peer_is_not_asked_to_reach_ipv6(self, make_overlay: Any) -> None:
        overlay, third = make_overlay(Simple, deliver=False), Author(THERE)
        self.join(overlay, third, False)
        asker = Author(UDPv6Address("2001:db8::7", 7))
        request = NewIntroductionRequestPayload(overlay.my_estimated_wan, HERE, HERE, 7, 0, 0, 0, 0, 0, 0, 0, 0, b"")
        overlay.on_packet((asker.address, asker.sign(overlay, request)))
        assert [packet[22] for _, packet in overlay.endpoint.sent] == [233], "250 has no room for the address"


BAD = [("127.0.0.1", 22), ("224.0.0.1", 5), ("255.255.255.255", 5), ("240.1.1.1", 5), ("0.0.0.0", 5), ("0.1.2.3", 5),
       ("8.8.8.8", 0), ("169.254.169.254", 80), ("169.254.7.7", 5), ("own wan", 0), ("own lan", 0), ("mapped", 0),
       ("interface", 0)]
BAD6 = [(host, 5) for host in ("::1", "ff02::1", "fe80::1", "::ffff:127.0.0.1", "::", "64:ff9b::7f00:1",
                               "2002:7f00:1::1", "2001:21::5", "fd00:ec2::254")]


class TestTargets:
    """Where others cannot make a node send anything."""

    def make(self, make_overlay: Any, bad: Any) -> tuple[Any, Any]:
        overlay = make_overlay(Simple, deliver=False)
        overlay.endpoint.mapped_address = UDPv4Address("7.7.7.7", 777)
        overlay.address_is_lan = lambda host: host == "192.168.44.4"
        own = {"own wan": overlay.my_estimated_wan, "own lan": overlay.my_estimated_lan,
               "mapped": overlay.endpoint.mapped_address,
               "interface": UDPv4Address("192.168.44.4", overlay.my_estimated_lan[1])}
        kind: Any = UDPv6Address if ":" in bad[0] else UDPv4Address
        return overlay, own.get(bad[0], kind(*bad))

    @pytest.mark.parametrize("bad", BAD + BAD6)
    @pytest.mark.parametrize("role", ["lan", "wan"])
    async def test_introduced_ones(self, make_overlay: Any, bad: Any, role: str, manual_clock: ManualClock) -> None:
        overlay, address = self.make(make_overlay, bad)
        walker, liar = RandomWalk(overlay, reset_chance=0), Author()
        overlay.walk_to(HERE)
        lan, wan = (NOWHERE, address) if role == "wan" else (address, THERE)
        liar.answer(overlay, last_request(overlay, HERE)[1], lan, wan, isinstance(address, UDPv6Address))
        for _ in range(10):
            manual_clock.advance(0.5)
            walker.take_step()
        assert overlay.get_peers() == [liar.peer()], "the answer as such is good"
        assert address not in {to for to, _ in overlay.endpoint.sent}
        assert address not in overlay.network._all_addresses

    @pytest.mark.parametrize("bad", BAD + BAD6)
    async def test_walkers_that_want_a_puncture(self, make_overlay: Any, bad: Any) -> None:
        overlay, address = self.make(make_overlay, bad)
        author = Author()
        overlay.network.add_verified_peer(author.peer())
        new_style = isinstance(address, UDPv6Address)
        for lan, wan in ((NOWHERE, address), (address, UDPv4Address(overlay.my_estimated_wan[0], 9))):
            overlay.on_packet((HERE, overlay.create_puncture_request(lan, wan, 7, new_style=new_style)))
        assert not overlay.endpoint.sent

    async def test_another_interface_of_a_peer(self, make_overlay: Any) -> None:
        overlay, liar = make_overlay(Simple, deliver=False), Author()
        overlay.endpoint.interfaces = {"UDPIPv4": None, "UDPIPv6": None}
        for host, good in (("::1", False), ("fe80::1", False), ("2001:db8::5", True)):
            claimed = UDPv6Address(host, 5)
            overlay.walk_to(HERE)
            payload = NewIntroductionResponsePayload(overlay.my_estimated_wan, HERE, claimed, NOWHERE, NOWHERE,
                                                     last_request(overlay, HERE)[1], 0, 0, 0, 0, 0, 0, 0, 0, b"")
            overlay.on_packet((HERE, liar.sign(overlay, payload)))
            assert (claimed in overlay.get_walkable_addresses()) is good

    async def test_neighbours_on_this_machine_are_walked_to(self, make_overlay: Any) -> None:
        overlay, friend = make_overlay(Simple, deliver=False), Author(UDPv4Address("127.0.0.1", 7000))
        overlay.walk_to(friend.address)
        other = UDPv4Address("127.0.0.1", 7001)
        friend.answer(overlay, last_request(overlay, friend.address)[1], NOWHERE, other)
        assert overlay.get_walkable_addresses() == [other]


class TestSpraying:
    """How much goes to a victim that liars introduce."""

    async def run(self, make_overlay: Any, manual_clock: ManualClock, walker_class: Any, has_nat: bool, liars: int,
                  both: bool, seconds: float) -> tuple[int, int, int]:
        """The bytes of all introductions, and the packets and bytes to the victim."""
        lan = UDPv4Address("192.168.1.2", 7000)
        wan = UDPv4Address("130.161.1.1", 7000)
        overlay = make_overlay(Simple, lan=lan if has_nat else wan, wan=wan, deliver=False)
        walker = walker_class(overlay)
        authors = {author.address: author for author in (
            Author(UDPv4Address(f"{30 + number}.1.1.1", 9)) for number in range(liars))}
        ports = iter(range(1, 60_000))
        received, sent = 0, Counter[str]()

        def serve() -> None:
            nonlocal received
            while overlay.endpoint.sent:
                to, packet = overlay.endpoint.sent.pop(0)
                if to[0] == VICTIM:
                    sent["packets"] += 1
                    sent["bytes"] += len(packet)
                elif to in authors and packet[22] in {246, 234}:
                    overlay.endpoint.sent.append((to, packet))
                    identifier = last_request(overlay, to)[1]
                    overlay.endpoint.sent.pop()
                    lan_told = UDPv4Address(VICTIM, next(ports)) if both else NOWHERE
                    received += len(authors[to].answer(overlay, identifier, lan_told, UDPv4Address(VICTIM, next(ports)),
                                                       packet[22] == 234))

        for address in authors:
            overlay.walk_to(address)
        serve()
        for _ in range(int(2 * seconds)):
            walker.take_step()
            serve()
            manual_clock.advance(0.5)
        return received, sent["packets"], sent["bytes"]

    @pytest.mark.parametrize("walker_class", [RandomWalk, EdgeWalk])
    @pytest.mark.parametrize("has_nat", [False, True])
    @pytest.mark.parametrize("both", [False, True])
    async def test_three_times_the_bytes_of_what_named_it_at_most(
            self, make_overlay: Any, manual_clock: ManualClock, walker_class: Any, has_nat: bool, both: bool) -> None:
        received, packets, sent = await self.run(make_overlay, manual_clock, walker_class, has_nat, 1, both, 60.0)
        assert 0 < sent <= 3 * received
        assert packets <= 30 + 2 * 60, "and there is a budget for the host"

    async def test_many_liars_do_not_multiply_that(self, make_overlay: Any, manual_clock: ManualClock) -> None:
        received, packets, sent = await self.run(make_overlay, manual_clock, RandomWalk, True, 10, True, 60.0)
        assert sent <= 3 * received
        assert packets <= 30 + 2 * 60

    @pytest.mark.parametrize("has_nat", [False, True])
    async def test_a_tracker_s_name_is_no_licence(self, make_overlay: Any, has_nat: bool, monkeypatch: Any) -> None:
        from ipv8.contact import protocol

        monkeypatch.setattr(protocol, "PUNCTURE_DELAYS", (0.0, 0.0))
        overlay = make_overlay(Simple, deliver=False)
        if not has_nat:
            overlay.my_estimated_lan = overlay.my_estimated_wan
        tracker = UDPv4Address("130.161.119.206", 6421)
        overlay.ensure_blacklisted(tracker)
        forged = 0
        for number in range(60):
            packet = overlay.create_puncture_request(NOWHERE, UDPv4Address(f"66.6.6.{number}", 53), number)
            forged += len(packet)
            overlay.on_packet((tracker, packet))
            await asyncio.gather(*overlay.get_anonymous_tasks("puncture"))
        assert sum(len(packet) for _, packet in overlay.endpoint.sent) <= forged

    async def test_a_tracker_that_answered_may_ask_for_punctures(self, make_overlay: Any,
                                                                 manual_clock: ManualClock) -> None:
        overlay, tracker = make_overlay(Simple, deliver=False), Author(UDPv4Address("130.161.119.206", 6421))
        overlay.ensure_blacklisted(tracker.address)
        wanted = overlay.create_puncture_request(NOWHERE, THERE, 7)

        def is_served() -> bool:
            overlay.endpoint.sent.clear()
            overlay.on_packet((tracker.address, wanted))
            return any(to == THERE for to, _ in overlay.endpoint.sent)

        assert not is_served()
        overlay.walk_to(tracker.address)
        tracker.answer(overlay, last_request(overlay, tracker.address)[1], NOWHERE, NOWHERE)
        assert is_served()
        manual_clock.advance(250.0)
        question = IntroductionRequestPayload(overlay.my_estimated_wan, NOWHERE, NOWHERE, True, "unknown", 9, b"")
        overlay.on_packet((tracker.address, tracker.sign(overlay, question)))
        manual_clock.advance(250.0)
        assert is_served(), "it asked whether this node is still there"
        manual_clock.advance(250.0)
        recorded = IntroductionRequestPayload(THERE, NOWHERE, NOWHERE, True, "unknown", 9, b"")
        overlay.on_packet((tracker.address, tracker.sign(overlay, recorded)))
        manual_clock.advance(60.0)
        assert not is_served(), "that question was for somebody else"


class TestAnswers:
    async def test_confirmations_make_no_more_peers_than_there_may_be(self, make_overlay: Any,
                                                                      manual_clock: ManualClock) -> None:
        overlay = make_overlay(Simple, deliver=False, max_peers=3)
        first = [Author(UDPv4Address(f"20.{number}.1.1", 7)) for number in range(4)]
        later = [Author(UDPv4Address(f"21.{number}.1.1", 7)) for number in range(20)]
        request = IntroductionRequestPayload(overlay.my_estimated_wan, HERE, HERE, True, "unknown", 7, b"")
        for author in first:
            overlay.on_packet((author.address, author.sign(overlay, request)))
        manual_clock.advance(60.0)
        for author in later:
            overlay.on_packet((author.address, author.sign(overlay, request)))
        for author in later:
            author.answer(overlay, last_request(overlay, author.address)[1], NOWHERE, NOWHERE)
        assert len(overlay.get_peers()) == 4
        assert {author.peer() for author in later[:4]} == set(overlay.get_peers()), "who came first has the places"
        assert len(overlay.network.verified_peers) == 4


class TestAddresses:
    @pytest.mark.parametrize("address", [("2001:db8::7", 7, 0, 0), ("2001:db8::7%lo", 7), ("2001:db8::7%1", 7, 0, 1),
                                         UDPv6Address("2001:db8::7", 7), ("2001:db8::7", 7)])
    async def test_ipv6_addresses_of_all_forms_are_walked_to(self, make_overlay: Any, address: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        if "%lo" in address[0] and "lo" not in {name for _, name in socket.if_nameindex()}:
            pytest.skip("the loopback interface has another name")
        overlay.walk_to(address)
        ((to, packet),) = overlay.endpoint.sent
        assert to[:2] == ("2001:db8::7", 7)
        _, _, payload = overlay._ez_unpack_auth(NewIntroductionRequestPayload, packet)
        assert payload.destination_address == UDPv6Address("2001:db8::7", 7)
        assert overlay.contact.introductions.waits_for(UDPv6Address("2001:db8::7", 7), clock.monotonic())

    async def test_the_zone_is_sent_with_and_no_part_of_the_key(self, make_overlay: Any) -> None:
        overlay, there = make_overlay(Simple, deliver=False), UDPv6Address("fe80::7", 7)
        overlay.walk_to(("fe80::7%3", 7))
        overlay.walk_to(("fe80::7", 7, 0, 3))
        assert [to for to, _ in overlay.endpoint.sent] == [("fe80::7", 7, 0, 3)] * 2
        friend = Author(there)
        identifier = last_request(overlay, ("fe80::7", 7, 0, 3))[1]
        friend.answer(overlay, identifier, NOWHERE, NOWHERE, new_style=True)
        assert overlay.get_peers() == [friend.peer()]
        assert overlay.network.get_verified_by_address(there) == friend.peer()

    async def test_an_unknown_zone_is_a_mistake_of_the_caller(self, make_overlay: Any) -> None:
        overlay = make_overlay(Simple, deliver=False)
        with pytest.raises(ValueError, match="names the network interface 'pigeon0', which this machine does not have"):
            overlay.walk_to(("fe80::7%pigeon0", 7))
        assert not overlay.endpoint.sent

    def test_peers_have_plain_addresses(self) -> None:
        key = default_eccrypto.generate_key("curve25519").pub()
        for address in (("2001:db8::7", 7, 0, 0), ("2001:db8::7%eth0", 7), ("2001:db8::7", 7, 0, 3)):
            for peer in (Peer(key, address), Peer(key)):  # type: ignore[arg-type]  # the forms that systems give
                peer.add_address(address)  # type: ignore[arg-type]
                assert peer.address == UDPv6Address("2001:db8::7", 7)
                assert dict(peer.addresses) == {UDPv6Address: peer.address}
                assert "2001:db8::7:7" in str(peer)

    async def test_what_an_endpoint_says_of_itself_can_be_walked_to(self, ipv6_loopback: None) -> None:
        endpoints = [UDPv6Endpoint(0, "::1") for _ in range(2)]
        overlays = []
        for endpoint in endpoints:
            await endpoint.open()
            overlays.append(Simple(Simple.settings_class(
                my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=Network())))
        met = asyncio.Event()
        overlays[0].introduction_response_callback = lambda *_: met.set()  # type: ignore[method-assign]
        assert len(endpoints[1].get_address()) == 4
        overlays[0].walk_to(endpoints[1].get_address())
        await asyncio.wait_for(met.wait(), 50)
        assert overlays[0].get_peers() == [overlays[1].my_peer]
        for overlay in overlays:
            await overlay.unload()
            overlay.endpoint.close()


class TestStory:
    """At DEBUG, the log says how peers meet."""

    async def test_of_an_introduction(self, make_overlay: Any, caplog: pytest.LogCaptureFixture) -> None:
        a, b, c = (make_overlay(Simple) for _ in range(3))

        async def settle() -> None:
            for _ in range(30):
                await asyncio.sleep(0)

        with caplog.at_level(logging.DEBUG, "Simple"):
            c.walk_to(b.endpoint.wan_address)
            await settle()
            caplog.clear()
            a.walk_to(b.endpoint.wan_address)
            await settle()
            a.walk_to(c.endpoint.wan_address)
            await settle()
        text = caplog.text
        told = ["Asking 22.2.0.2:9002 for an introduction, by request", "asks for an introduction, by request",
                "and introducing Peer<23.3.0.3:9003", "to send a puncture to 21.1.0.1:9001, for request",
                "Sending a puncture to 21.1.0.1:9001, for request", "and introduced [",
                "came from 23.3.0.3:9003", "Asking 23.3.0.3:9003 for an introduction",
                "Met Peer<23.3.0.3:9003", "path: direct"]
        positions = [text.find(line) for line in told]
        assert -1 not in positions, told[positions.index(-1)]

    def test_strangers_do_not_fill_the_log(self, manual_clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        story = Story(logging.getLogger("a story"))
        with caplog.at_level(logging.DEBUG, "a story"):
            for number in range(1000):
                story.tell("%s asks", number)
            assert len(caplog.records) == LINES_AT_ONCE
            story.tell("%s answers", 1)
            assert len(caplog.records) == LINES_AT_ONCE + 1, "other lines have a budget of their own"
        with caplog.at_level(logging.INFO, "a story"):
            story.tell("%s is not told", 1)
        assert len(caplog.records) == LINES_AT_ONCE + 1

    async def test_of_refused_targets(self, make_overlay: Any, caplog: pytest.LogCaptureFixture) -> None:
        overlay, liar = make_overlay(Simple, deliver=False), Author()
        overlay.walk_to(HERE)
        with caplog.at_level(logging.DEBUG, "Simple"):
            liar.answer(overlay, last_request(overlay, HERE)[1], NOWHERE, UDPv4Address("127.0.0.1", 22))
        assert "no packet may go there" in caplog.text
        assert overlay.drops == {DropCounter.BAD_TARGET: 1}


class Told:
    """Notes of whose introductions it is told, and may fail."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.peers: list[Peer] = []

    def on_introduction(self, peer: Peer, _: Any) -> None:
        self.peers.append(peer)
        if self.fails:
            raise LookupError("observer")


@pytest.mark.parametrize("callback_fails", [False, True])
async def test_all_observers_are_told_whatever_fails(make_overlay: Any, caplog: pytest.LogCaptureFixture,
                                                     callback_fails: bool) -> None:
    overlay = make_overlay(Simple, deliver=False)

    def fail(*_: Any) -> None:
        raise LookupError("callback")

    if callback_fails:
        overlay.introduction_response_callback = fail
    observers = [Told(), Told(fails=True), Told()]
    for observer in observers:
        overlay.introduction_observers[observer] = None
    author = Author()
    overlay.walk_to(author.address)
    author.answer(overlay, last_request(overlay, author.address)[1], NOWHERE, NOWHERE)
    assert [observer.peers for observer in observers] == [[author.peer()]] * 3
    failures = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert failures == ["observer", "callback"][:1 + callback_fails]
