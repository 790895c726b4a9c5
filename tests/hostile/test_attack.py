"""A node that is attacked over real UDP keeps its peers, its tables small, its log quiet, and third parties alone."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.attack import CLAIMED_WAN, Attacker, Target
from benchmarks.hostile import Correspondent, RecordingEndpoint, ThirdParty
from benchmarks.messages import make_overlay
from benchmarks.victim import CountingHandler, report, start_victim
from ipv8 import clock
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.test.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from ipv8_service import IPv8

BATCH = 24
IDENTITIES = 60
LOG_LINES = 20


class StoppedClock(ManualClock):
    """Time that passes only where the test says so, however slow the machine is; work is measured nevertheless."""

    processor_time = staticmethod(clock.SystemClock.processor_time)


class Scene:
    """A victim with two peers, one of which falls silent, an attacker, and somebody who has no part in this."""

    def __init__(self, node: IPv8, log: CountingHandler) -> None:
        self.node = node
        self.log = log
        self.clock = StoppedClock(clock.time(), clock.monotonic())
        self.overlay: Any = node.overlays[0]
        self.address = UDPv4Address(*node.endpoint.get_address()[:2])
        self.victim = Peer(self.overlay.my_peer.public_key, self.address)
        self.third_party = ThirdParty()
        recordings = [RecordingEndpoint(), RecordingEndpoint()]
        self.silent, self.talkative = (Correspondent(self.victim, endpoint) for endpoint in recordings)
        self.correspondents = [self.silent, self.talkative]
        self.recordings = recordings
        self.attacker: Attacker

    async def begin(self) -> None:
        for correspondent in self.correspondents:
            await correspondent.open()
            await correspondent.meet()
            assert await correspondent.round_trip() is not None
            self.overlay.introduced.clear()
            self.overlay.walk_to(correspondent.overlay.endpoint.get_address())
            await self.overlay.introduced.wait()  # now the victim knows that there is somebody at that address
        overlay = make_overlay()
        self.attacker = Attacker(overlay, Target(self.address, self.third_party.address, [
            data.hex() for endpoint in self.recordings for data in endpoint.recorded], keys=IDENTITIES))
        await overlay.unload()
        self.before = report(self.node, self.log)

    async def attack(self, kinds: Iterable[str], rounds: int) -> None:
        """Send ``rounds`` datagrams of each kind; a datagram of the peer behind each batch tells that it was read."""
        chosen = set(kinds)
        supply = ((kind, data) for kind, data in self.attacker.datagrams() if kind in chosen)
        todo = islice(supply, rounds * len(chosen))
        while batch := list(islice(todo, BATCH)):
            for kind, data in batch:
                self.attacker.send(kind, data)
            assert await self.talkative.round_trip() is not None
        assert sum(self.attacker.sent.values()) == rounds * len(chosen)

    async def newcomer(self) -> Correspondent:
        correspondent = Correspondent(self.victim)
        self.correspondents.append(correspondent)
        await correspondent.open()
        return correspondent

    def steps(self, number: int) -> None:
        """Have the victim look for peers."""
        for _ in range(number):
            for strategy, _ in self.node.strategies:
                strategy.take_step()

    async def end(self) -> None:
        for correspondent in self.correspondents:
            await correspondent.close()
        self.attacker.close()
        self.third_party.sock.close()
        await self.node.stop()

    def drops(self) -> int:
        before, after = (sum(state["drops"].values()) for state in (self.before, report(self.node, self.log)))
        return int(after - before)

    def assert_unharmed(self) -> None:
        """What holds whatever was sent."""
        after = report(self.node, self.log)
        for correspondent in self.correspondents[:2]:
            assert after["peers"][correspondent.mid] == list(correspondent.overlay.endpoint.get_address()[:2])
        assert after["tracebacks"] == 0, after["last_traceback"]
        assert after["log_lines"] - self.before["log_lines"] <= LOG_LINES
        assert after["tables"]["verified peers"] <= after["max_peers"] + 1
        assert after["tables"]["addresses"] <= 3 * sum(self.attacker.sent.values())
        assert after["bytes_up"] - self.before["bytes_up"] <= after["bytes_down"] - self.before["bytes_down"]
        assert not after["wan"][0].startswith(CLAIMED_WAN[0])


@pytest.fixture
def log() -> Iterator[CountingHandler]:
    handler = CountingHandler()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
async def scene(log: CountingHandler, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr("benchmarks.hostile.ANSWER_SECONDS", 1e6)  # the machine may do other things
    providers = list(get_providers())
    node = await start_victim()
    scene = Scene(node, log)
    await scene.begin()
    with clock.use(scene.clock):
        yield scene
    await scene.end()
    get_providers().extend(providers)


def kinds_of(scene: Scene, *starts: str) -> list[str]:
    return [kind for kind in scene.attacker.kinds if kind.startswith(starts)]


async def test_malformed_datagrams_are_counted_and_nothing_else(scene: Scene) -> None:
    others = kinds_of(scene, "bad signature", "one-shot", "unsolicited", "replay", "puncture request")
    kinds = [kind for kind in scene.attacker.kinds if kind not in others]
    await scene.attack(kinds, 10)
    assert scene.drops() == 10 * len(kinds)
    scene.assert_unharmed()
    assert len(scene.overlay.get_peers()) == 2


async def test_bad_signatures_are_counted_and_cost_no_more_than_their_budget(scene: Scene) -> None:
    kinds = kinds_of(scene, "bad signature")
    await scene.attack(kinds, 60)
    assert scene.drops() == 60 * len(kinds)
    scene.assert_unharmed()
    assert len(scene.overlay.get_peers()) == 2


async def test_one_shot_introductions_fill_no_table_and_keep_nobody_out(scene: Scene) -> None:
    await scene.attack(kinds_of(scene, "one-shot"), IDENTITIES)
    scene.assert_unharmed()
    newcomer = await scene.newcomer()
    scene.clock.advance(10.0)
    await newcomer.meet()
    assert await newcomer.round_trip() is not None
    assert newcomer.mid in report(scene.node, scene.log)["peers"]
    scene.assert_unharmed()


async def test_unsolicited_responses_change_nothing(scene: Scene) -> None:
    await scene.attack(kinds_of(scene, "unsolicited"), IDENTITIES)
    assert scene.drops() == 2 * IDENTITIES
    scene.assert_unharmed()
    assert scene.third_party.address not in scene.overlay.get_walkable_addresses()
    scene.steps(20)
    assert await scene.talkative.round_trip() is not None
    assert scene.third_party.count() == 0
    assert len(scene.overlay.get_peers()) == 2


async def test_replayed_packets_move_nobody(scene: Scene) -> None:
    await scene.attack(["replay"], 60)
    scene.assert_unharmed()
    assert len(scene.overlay.get_peers()) == 2


async def test_puncture_requests_reach_a_third_party_with_less_than_was_sent(scene: Scene) -> None:
    await scene.attack(kinds_of(scene, "puncture request"), 60)
    sent = sum(size for kind, size in scene.attacker.sent_bytes.items() if kind.startswith("puncture request"))
    assert scene.third_party.count() <= sent
    scene.assert_unharmed()


async def test_everything_at_once(scene: Scene) -> None:
    await scene.attack(scene.attacker.kinds, 40)
    scene.steps(20)
    assert await scene.talkative.round_trip() is not None
    sent = sum(size for kind, size in scene.attacker.sent_bytes.items()
               if kind.startswith(("puncture request", "unsolicited")))
    assert scene.third_party.count() <= sent
    scene.assert_unharmed()
