"""What an observer sees of a node: traffic, the event loop, clocks, the log, peers and health."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.community import Community
from ipv8.contact.nat import AddressMapping, PeerPath
from ipv8.message_table import MessageTable
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.messaging.interfaces.meter import MessageCount
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.wrapping import WrappingEndpoint
from ipv8.peerdiscovery.network import Network
from ipv8.REST.observation import health, peers, reasons
from ipv8.REST.observation.health import Health, NatState, Reachability, nat_state
from ipv8.REST.observation.log import LONGEST_MESSAGE, LogBuffer, LogRecord
from ipv8.REST.observation.loop import (
    FIRST_SECONDS,
    LOOK_INTERVAL,
    NOT_A_HANDLER,
    WAITED,
    ClockWatch,
    LoopMonitor,
    Spread,
    spread,
)
from ipv8.REST.observation.observer import NodeObserver
from ipv8.REST.observation.parts import communities_of, drops_of, listeners_of, networks_of
from ipv8.REST.observation.reasons import MEANINGS, meaning_of
from ipv8.REST.observation.traffic import UNKNOWN, Traffic
from ipv8.REST.observation.tunnels import TunnelTotals
from ipv8.sessions import SessionService
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from tests.REST.world import SilentEndpoint, World, peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPTS = Path(__file__).parents[2] / "ipv8" / "REST" / "static" / "dashboard"


@pytest.fixture
async def observer(world: World) -> AsyncIterator[NodeObserver]:
    observer = NodeObserver.of(world)
    observer.start()
    yield observer
    await observer.stop()


def receive(world: World, overlay: Any, number: int, size: int = 10) -> None:
    packet = overlay.get_prefix() + bytes((number,)) + bytes(size)
    world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), packet))


# -- the observer ----------------------------------------------------------------------------------------------------

async def test_there_is_one_observer_of_a_node(world: World, tmp_path: Path) -> None:
    observer = NodeObserver.of(world)
    assert NodeObserver.of(world) is observer
    other = SimpleNamespace()
    assert NodeObserver.of(other) is not observer
    reference = weakref.ref(observer)
    del observer
    gc.collect()
    assert reference() is None


async def test_nothing_of_it_stays(world: World) -> None:
    before = (dict(vars(world)), dict(vars(world.endpoint.gate.owner)), set(world.network.peer_observers),
              list(logging.getLogger().handlers), [vars(overlay).keys() for overlay in world.overlays])
    observer = NodeObserver.of(world)
    observer.start()
    observer.start()
    assert world.endpoint.gate.meter is observer.traffic.meter
    await observer.stop()
    assert observer.is_running
    bus = observer.events
    await observer.stop()
    await observer.stop()
    assert not observer.is_running
    assert observer.events is not bus
    after = (dict(vars(world)), dict(vars(world.endpoint.gate.owner)), set(world.network.peer_observers),
             list(logging.getLogger().handlers), [vars(overlay).keys() for overlay in world.overlays])
    assert after == before
    assert world.endpoint.gate.meter is None
    assert not [task for task in asyncio.all_tasks() if "observe" in task.get_name()]
    with pytest.raises(RuntimeError, match="call start"):
        _ = observer.loop
    observer.start()
    assert observer.loop.lag() == Spread(0.0, 0.0, 0.0)
    await observer.stop()


async def test_a_node_without_parts() -> None:
    observer = NodeObserver.of(SimpleNamespace())
    observer.start()
    overview = observer.overview()
    assert overview["addresses"] == overview["overlays"] == overview["keys"] == []
    assert overview["health"]["status"] == "problem"
    observer._tick()
    assert peers.graph(observer.node) == {"root": "", "nodes": [], "edges": []}
    await observer.stop()


async def test_an_endpoint_of_another_library() -> None:
    observer = NodeObserver.of(SimpleNamespace(endpoint=object(), network=Network()))
    observer.start()
    observer._tick()
    assert observer.overview()["addresses"] == []
    assert observer.traffic.overlays() == []
    await observer.stop()


async def test_statistics_of_each_second(world: World, observer: NodeObserver) -> None:
    with observer.events.subscribe(["stats"]) as subscription:
        receive(world, world.overlays[0], 250, 77)
        observer._tick()
        (event,) = subscription.take_nowait()
        assert event.data["bytes_down"] == 100
        assert event.data["bytes_down_per_second"] == 100
        assert event.data["packets_down"] == 1
        assert {"peers", "lag", "dropped"} <= event.data.keys()
    observer._tick()
    assert [entry[1:] for entry in observer.traffic.history] == [(0, 100, 0, 1), (0, 0, 0, 0)]


# -- traffic ---------------------------------------------------------------------------------------------------------

async def test_traffic_by_overlay_and_message(world: World, observer: NodeObserver) -> None:
    discovery = world.overlays[0]
    receive(world, discovery, 1)
    receive(world, discovery, 250)
    receive(world, discovery, 99)
    receive(world, discovery, 98)
    receive(world, discovery, 240)
    world.endpoint.send(UDPv4Address("1.2.3.4", 5), discovery.get_prefix() + b"\x01")
    found = observer.traffic.overlays()[0].to_dict()
    assert (found["id"], found["name"]) == (discovery.community_id.hex(), "DiscoveryCommunity")
    assert (found["packets_up"], found["packets_down"]) == (1, 5)
    assert found["drops"]["unknown_id"] == 3
    messages = {message["id"]: message for message in found["messages"]}
    assert messages[1]["name"] == "on_similarity_request"
    assert messages[1]["packets_up"] == messages[1]["packets_down"] == messages[1]["handler"]["count"] == 1
    assert messages[250]["name"] == "on_old_puncture_request"
    assert (messages[UNKNOWN]["name"], messages[UNKNOWN]["packets_down"]) == ("unknown", 3)
    assert set(messages) == {1, 250, UNKNOWN}
    world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), b"x" * 40))
    assert observer.traffic.overlays()[-1].to_dict()["name"] == "others"
    totals = {(overlay, number): counts for _, overlay, number, _, *counts in observer.traffic.totals()}
    assert totals["DiscoveryCommunity", 1] == [1, 1, 23, 33]
    assert totals["others", UNKNOWN] == [0, 1, 0, 40]


async def test_messages_of_what_is_no_overlay(world: World, observer: NodeObserver) -> None:
    class Listener(EndpointListener):
        def on_packet(self, packet: Any) -> None:
            """It does not matter."""

        def _on_ping(self, *_: Any) -> None:
            """Handles a message."""

    listener: Any = Listener(world.endpoint)
    prefix = bytes(22)
    world.endpoint.add_prefix_listener(listener, prefix)
    world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), prefix + b"\x01"))

    def names() -> list[str]:
        return [message.name for overlay in observer.traffic.overlays() if overlay.name == "Listener"
                for message in overlay.messages]

    assert names() == ["message 1"]
    listener.drops, listener.logger = DropCounter(), logging.getLogger("test of traffic")
    listener._table = MessageTable(listener)
    listener._table.add(1, listener._on_ping)
    assert names() == ["on_ping"]
    world.endpoint.remove_listener(listener)


async def test_a_message_that_was_not_handled_has_no_times(world: World, observer: NodeObserver) -> None:
    world.endpoint.send(UDPv4Address("1.2.3.4", 5), world.overlays[0].get_prefix() + b"\x01")
    (message,) = observer.traffic.overlays()[0].to_dict()["messages"]
    assert message["handler"] == {"count": 0, "seconds": 0.0, "mean": None, "p50": None, "p99": None, "max": None}


async def test_names_of_datagrams_of_sessions(world: World, observer: NodeObserver) -> None:
    service = SessionService.of(world.endpoint)
    discovery = world.overlays[0]
    service.register(discovery, "accept")
    prefix = next(entry.prefix for entry in listeners_of(world) if entry.listener is service)
    world.endpoint.send(UDPv4Address("1.2.3.4", 5), prefix + b"\x05")
    found = next(overlay for overlay in observer.traffic.overlays() if overlay.name == "SessionService")
    assert [message.name for message in found.messages] == ["DATA"]
    service.machine.drops["mac1"] += 2
    service.drops["frame"] += 1
    counted = next(counts for owner, counts in drops_of(world) if owner is service)
    assert counted == {"session_mac1": 2, "session_frame": 1}
    service.unregister(discovery)


async def test_networks_of_overlays_are_followed(world: World, observer: NodeObserver) -> None:
    another = Network()
    world.overlays[2].network = another
    observer._tick()
    assert observer.reachability in another.peer_observers
    await observer.stop()
    assert not another.peer_observers
    assert observer.reachability not in world.network.peer_observers
    observer.start()
    world.overlays[2].network = world.network


async def test_another_meter_is_used_and_kept(world: World) -> None:
    first = Traffic(world)
    first.start()
    second = Traffic(world)
    second.start()
    assert second.meter is first.meter
    second.stop()
    assert world.endpoint.gate.meter is first.meter
    first.stop()
    assert world.endpoint.gate.meter is None


async def test_drops_of_the_last_minute(world: World, observer: NodeObserver) -> None:
    discovery = world.overlays[0]
    discovery.drops.count(DropCounter.BAD_SIGNATURE, 5)
    assert observer.traffic.recent_drops() == Counter({"bad_signature": 5})
    for _ in range(60):
        observer.traffic.tick()
    assert not observer.traffic.recent_drops()
    world.endpoint.endpoint.drops.count(DropCounter.SHORT)
    assert observer.traffic.recent_drops() == Counter({"short": 1})
    assert observer.traffic.drops() == Counter({"bad_signature": 5, "short": 1})


async def test_pseudonyms_are_observed_too(world: World, observer: NodeObserver) -> None:
    channels = [await world.manager.load(name) for name in ("alice", "bob")]
    for channel in channels:
        channel.identity_overlay.drops.count(DropCounter.BAD_SIGNATURE)
        channel.attestation_overlay.drops.count(DropCounter.UNDECODABLE)
        channel.identity_overlay.endpoint.drops.count(DropCounter.SHORT)
    assert observer.traffic.drops() == Counter({"bad_signature": 2, "undecodable": 2, "short": 2})
    owners = {row.owner for row in observer.tables.rows()}
    assert {"IdentityCommunity", "AttestationCommunity"} <= owners
    for name in ("alice", "bob"):
        await world.manager.unload(name)
    assert not observer.traffic.drops()


async def test_traffic_of_pseudonyms(world: World, observer: NodeObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make_endpoint() -> SilentEndpoint:
        endpoint = SilentEndpoint()
        endpoint.open()
        return endpoint

    monkeypatch.setattr(world, "produce_anonymized_endpoint", make_endpoint)
    alice, bob = [await world.manager.load(name) for name in ("alice", "bob")]
    observer._tick()
    first: Any = alice.identity_overlay.endpoint
    second: Any = bob.identity_overlay.endpoint
    address = UDPv4Address("1.2.3.4", 5)
    packets = [alice.identity_overlay.get_prefix() + b"\x01", alice.attestation_overlay.get_prefix() + b"\x01"]
    with observer.events.subscribe(["packet"]) as subscription:
        for endpoint in (first, second):
            for packet in packets:
                endpoint.send(address, packet)
        second.notify_listeners((address, packets[0][:-1] + b"\x99"))
        assert [event.data["name"] for event in subscription.take_nowait()] == [
            *["IdentityCommunity", "AttestationCommunity"] * 2, "IdentityCommunity"]
        carol = await world.manager.load("carol")
        observer._tick()
        carol.identity_overlay.endpoint.send(address, packets[0])
        assert len(subscription.take_nowait()) == 1
    summary = observer.traffic.summary()
    assert (summary["packets_up"], summary["bytes_up"], summary["packets_down"]) == (5, 5 * 23, 1)
    overlays = {overlay.name: overlay.to_dict() for overlay in observer.traffic.overlays()}
    assert overlays["IdentityCommunity"]["packets_up"] == 3
    assert overlays["IdentityCommunity"]["drops"] == {"unknown_id": 1}
    assert overlays["AttestationCommunity"]["packets_up"] == 2
    assert overlays["AttestationCommunity"]["id"] == alice.attestation_overlay.community_id.hex()
    await world.manager.unload("alice")
    observer._tick()
    assert first.gate.meter is None
    assert first.gate.trace is None
    assert second.gate.meter == observer.traffic.meter
    assert observer.traffic.summary()["packets_up"] == 5
    await observer.stop()
    assert second.gate.meter is None
    assert second.gate.trace is None
    observer.start()


async def test_a_trace_of_a_program_goes_on(world: World, observer: NodeObserver) -> None:
    seen: list[Any] = []
    world.endpoint.gate.trace = seen.append
    with observer.events.subscribe(["packet"]) as subscription:
        observer.packets.tick()  # which looks for endpoints again
        receive(world, world.overlays[0], 250)
        assert len(subscription.take_nowait()) == len(seen) == 1
    assert world.endpoint.gate.trace == seen.append
    world.endpoint.gate.trace = None


async def test_an_endpoint_in_two_wrappings_is_counted_once(world: World, observer: NodeObserver) -> None:
    world.overlays[0].endpoint = WrappingEndpoint(world.endpoint.endpoint)
    world.endpoint.endpoint.drops.count(DropCounter.SHORT)
    assert observer.traffic.drops() == Counter({"short": 1})


async def test_slow_handlers_have_names(world: World, observer: NodeObserver) -> None:
    key = world.overlays[0].get_prefix() + b"\x01"
    observer.traffic.meter.note_handled(key, MessageCount(), 0.2)
    observer.traffic.meter.note_handled(b"gone", MessageCount(), 0.3)
    assert [entry["what"] for entry in observer.traffic.slow_handlers()] == [
        "DiscoveryCommunity: on_similarity_request", "unknown: unknown"]
    state = observer.loop_state()
    assert [entry["seconds"] for entry in state["slow"]] == [0.2, 0.3]
    assert observer.overview()["loop"]["slow_callbacks"] == 2
    assert observer.traffic.handler_was_slow(time.monotonic() - 10)
    assert not observer.traffic.handler_was_slow(time.monotonic() + 10)


def test_traffic_of_circuits_is_added_up() -> None:
    circuit = SimpleNamespace(bytes_up=10, bytes_down=20)
    relay = SimpleNamespace(bytes_up=1, bytes_down=2)
    tunnels = SimpleNamespace(circuits={1: circuit}, relay_from_to={2: relay}, exit_sockets={})
    totals = TunnelTotals(SimpleNamespace())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipv8.REST.observation.tunnels.tunnels_of", lambda _: [tunnels])
        totals.look()
        circuit.bytes_up = 15
        totals.look()
        tunnels.circuits.clear()
        relay.bytes_up = 0  # set to zero by a program
        totals.look()
    assert totals.bytes == {("circuit", "up"): 15, ("circuit", "down"): 20, ("relay", "up"): 1, ("relay", "down"): 2}


# -- the event loop and clocks ---------------------------------------------------------------------------------------

class Timers:
    """In the place of a task manager."""

    def start_timer(self, delay: float, callback: Any) -> None:
        self.delay, self.callback = delay, callback


def test_how_late_the_event_loop_is(manual_clock: Any) -> None:
    timers, is_handler = Timers(), False
    monitor = LoopMonitor(timers, lambda _: is_handler)  # type: ignore[arg-type]  # it only starts timers
    monitor.start()
    for late in (*[0.0] * 98, 0.02, 0.2):
        manual_clock.advance(timers.delay + late)
        timers.callback()
    lag = monitor.lag()
    assert lag.p50 == pytest.approx(0, abs=1e-6)
    assert lag.p99 == lag.max == pytest.approx(0.2, abs=1e-6)
    assert sum(monitor.buckets) == 100
    assert monitor.seconds == pytest.approx(0.22, abs=1e-5)
    assert [slow.what for slow in monitor.slow] == [NOT_A_HANDLER]
    assert monitor.slow[0].seconds == pytest.approx(0.2, abs=1e-6)
    monitor.tick()
    monitor.tick()
    assert [worst for _, worst in monitor.history] == [pytest.approx(0.2, abs=1e-6), 0.0]
    is_handler = True
    manual_clock.advance(timers.delay + 0.1)
    timers.callback()
    assert monitor.slow_count == 1
    manual_clock.advance(FIRST_SECONDS)
    timers.callback()
    assert monitor.lag().max == pytest.approx(FIRST_SECONDS - LOOK_INTERVAL, abs=1e-3)
    for _ in range(1300):
        manual_clock.advance(timers.delay)
        timers.callback()
    assert monitor.lag().max == pytest.approx(0, abs=1e-6)
    assert len(monitor._lags) <= 1202


def test_late_because_of_others(manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timers, worked = Timers(), 0.0
    monkeypatch.setattr("ipv8.REST.observation.loop.clock.processor_time", lambda: worked)
    monitor = LoopMonitor(timers, lambda _: False)  # type: ignore[arg-type]  # it only starts timers
    monitor.start()
    for work in (0.01, 0.02, 0.15):
        worked += work
        manual_clock.advance(timers.delay + 0.2)
        timers.callback()
    assert [slow.what for slow in monitor.slow] == [WAITED, WAITED, NOT_A_HANDLER]
    assert monitor.has_mostly_waited()
    for _ in range(2):
        worked += 0.2
        manual_clock.advance(timers.delay + 0.2)
        timers.callback()
    assert not monitor.has_mostly_waited()


def test_spread() -> None:
    assert spread([]) == Spread(0.0, 0.0, 0.0)
    assert spread([1.0]) == Spread(1.0, 1.0, 1.0)
    assert spread([float(number) for number in range(101)]) == Spread(50.0, 99.0, 100.0)


async def test_tasks_by_manager(observer: NodeObserver) -> None:
    async def wait() -> None:
        await asyncio.sleep(10)

    running = asyncio.create_task(wait(), name="something: of a program")
    tasks = observer.loop.tasks()
    assert tasks["asyncio"] >= 2
    assert tasks["ObserverTasks"] >= 1
    running.cancel()


def test_jumps_of_the_clock(manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = 0.0
    monkeypatch.setattr("ipv8.REST.observation.loop.clock.time", lambda: manual_clock.time() + offset)
    watch = ClockWatch()
    watch.tick()
    assert watch.jump is None
    offset = 0.5
    watch.tick()
    assert watch.jump is None
    offset = -3.0
    watch.tick()
    assert watch.jump == (manual_clock.monotonic(), pytest.approx(-3.5, abs=1e-5))
    assert watch.drift == pytest.approx(-3.0, abs=1e-5)


# -- the log ---------------------------------------------------------------------------------------------------------

async def test_lines_of_the_log(observer: NodeObserver) -> None:
    logger = logging.getLogger("test of the log")
    with observer.events.subscribe(["log"]) as subscription:
        logger.warning("first %d", 1)
        logger.error("second")
        await asyncio.sleep(0)
        assert [event.data["message"] for event in subscription.take_nowait()] == ["first 1", "second"]
    records = observer.log.select()
    assert [(record.level, record.logger, record.message) for record in records[-2:]] == [
        ("WARNING", "test of the log", "first 1"), ("ERROR", "test of the log", "second")]
    assert records[-1].to_dict().keys() == {"id", "time", "level", "logger", "message"}
    assert observer.recent_errors() == 1
    last = observer.log.last_id
    assert [record.message for record in observer.log.select(logging.ERROR)] == ["second"]
    assert [record.id for record in observer.log.select(after=last - 1)] == [last]
    assert [record.message for record in observer.log.select(text="FIRST")] == ["first 1"]
    assert len(observer.log.select(text="test of")) == 2
    assert [record.message for record in observer.log.select(limit=1)] == ["second"]
    assert [record.message for record in observer.log.select(after=last - 2, limit=1)] == ["first 1"]
    for _ in range(60):
        observer._tick()
    assert observer.recent_errors() == 0


async def test_lines_of_other_threads_and_long_lines(caplog: pytest.LogCaptureFixture) -> None:
    told: list[LogRecord] = []
    buffer = LogBuffer(told.append)
    buffer.start(asyncio.get_running_loop())
    logger = logging.getLogger("test of the log")
    thread = threading.Thread(target=logger.error, args=("in a thread",))
    thread.start()
    thread.join()
    logger.error("x" * 10_000)
    try:
        raise ValueError("the reason")
    except ValueError:
        logger.exception("it failed")
    await asyncio.sleep(0)
    buffer.stop()
    logger.error("too late")
    await asyncio.sleep(0)
    assert [record.message[:11] for record in told] == ["in a thread", "x" * 11, "it failed\nT"]
    assert "ValueError: the reason" in told[2].message
    assert len(told[1].message) < LONGEST_MESSAGE + 10


async def test_programs_without_logging_still_see_warnings(monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    buffer = LogBuffer(lambda _: None)
    monkeypatch.setattr(root, "handlers", [])
    buffer.start(asyncio.get_running_loop())
    logger = logging.getLogger("test of the log")
    logger.setLevel(logging.WARNING)  # other tests change that of the root logger
    logger.warning("look here")
    logger.info("not here")
    assert capsys.readouterr().err == "look here\n"
    root.addHandler(logging.NullHandler())
    logger.warning("nor here")
    assert not capsys.readouterr().err
    assert [record.message for record in buffer.records] == ["look here", "nor here"]
    buffer.stop()


async def test_a_line_with_wrong_arguments(capsys: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = LogBuffer(lambda _: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    buffer.handle(logging.LogRecord("x", logging.ERROR, "x", 1, "%d", ("no number",), None))
    assert not buffer.records
    assert "no number" in capsys.readouterr().err


# -- peers -----------------------------------------------------------------------------------------------------------

def acquaint(world: World) -> None:
    discovery, tunnels = world.overlays[:2]
    for number, overlays in ((2, [discovery]), (3, [discovery, tunnels])):
        world.network.add_verified_peer(peer(number))
        world.network.discover_services(peer(number), [overlay.community_id for overlay in overlays])


async def test_the_table_of_peers(world: World) -> None:
    acquaint(world)
    first, second = sorted(world.network.verified_peers, key=lambda known: str(known.address))
    first.pings.append(0.02)
    first.heard_now()
    first.path = PeerPath.DIRECT
    rows = peers.table(world, "address", "")
    assert [row["mid"] for row in rows] == [first.mid.hex(), second.mid.hex()]
    assert rows[0]["address"] == {"ip": "10.0.0.2", "port": 1002}
    assert rows[0]["overlays"] == ["DiscoveryCommunity"]
    assert rows[1]["overlays"] == ["DiscoveryCommunity", "HiddenTunnelCommunity"]
    assert [row["services"] for row in rows] == [1, 2]
    assert (rows[0]["round_trip"], rows[1]["round_trip"]) == (0.02, None)
    assert 0 <= rows[0]["last_heard"] < 10
    assert rows[1]["last_heard"] is None
    assert not rows[0]["encrypted"]
    assert rows[0]["bytes_up"] is None
    for sort in ("round_trip", "-round_trip"):  # who has none comes last
        assert [row["round_trip"] for row in peers.table(world, sort, "")] == [0.02, None]
    assert [row["path"] for row in peers.table(world, "-path", "")] == ["unknown", "direct"]
    for text in ("10.0.0.3", second.mid.hex().upper(), second.key_bin.hex()[20:], "HIDDENTUNNEL"):
        assert [row["mid"] for row in peers.table(world, "", text)] == [second.mid.hex()]
    assert peers.table(world, "", "nobody") == []
    assert peers.total(world) == 2


async def test_peers_of_several_networks(world: World) -> None:
    acquaint(world)
    another = Network()
    another.add_verified_peer(peer(3))
    another.add_verified_peer(peer(4))
    world.overlays[2].network = another
    another.discover_services(peer(4), [world.overlays[2].community_id])
    assert len(networks_of(world)) == 2
    assert peers.total(world) == 3
    found = {row["mid"]: row["overlays"] for row in peers.table(world, "", "")}
    assert found[peer(4).mid.hex()] == ["DHTDiscoveryCommunity"]
    assert found[peer(3).mid.hex()] == ["DiscoveryCommunity", "HiddenTunnelCommunity"]
    world.overlays[2].network = world.network


async def test_peers_with_sessions(world: World) -> None:
    acquaint(world)
    known = next(iter(world.network.verified_peers))
    session: Any = SimpleNamespace(is_open=True, address=known.address,
                                   stats=SimpleNamespace(round_trip=0.5, bytes_up=1, bytes_down=2))
    known.session = session
    row = peers.table(world, "", known.mid.hex())[0]
    assert (row["encrypted"], row["round_trip"], row["bytes_up"], row["bytes_down"]) == (True, 0.5, 1, 2)
    session.is_open = False
    assert not peers.encrypted(known)


async def test_the_graph(world: World) -> None:
    acquaint(world)
    known = {found.key_bin: found for found in world.network.verified_peers}
    introducer, introduced = known[peer(2).key_bin], known[peer(3).key_bin]
    world.network.discover_address(introducer, introduced.address)
    introduced.path = PeerPath.RELAYED
    contact = world.overlays[0].contact
    contact.relaying._routes.note(introduced.address, introducer, time.monotonic())
    found = peers.graph(world)
    root = world.my_peer.mid.hex()
    assert found["root"] == root
    assert found["nodes"][0]["mid"] == root
    assert {node["mid"] for node in found["nodes"]} == {root, introducer.mid.hex(), introduced.mid.hex()}
    assert set(found["edges"]) == {
        (root, introducer.mid.hex(), "peer"), (root, introduced.mid.hex(), "peer"),
        (introducer.mid.hex(), introduced.mid.hex(), "introduced"),
        (introducer.mid.hex(), introduced.mid.hex(), "carries")}


async def test_large_graphs_are_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    acquaint(world)
    monkeypatch.setattr(peers, "MAX_NODES", 2)
    monkeypatch.setattr(peers, "MAX_EDGES", 0)
    found = peers.graph(world)
    assert len(found["nodes"]) == 2
    assert found["edges"] == []


# -- health ----------------------------------------------------------------------------------------------------------

def reasons_of(observer: NodeObserver, nat: NatState | None = None) -> dict[str, health.Reason]:
    judge = Health(observer)
    found = judge.reasons(nat or nat_state(observer.node, observer.reachability))
    assert all(reason.text.endswith(".") for reason in found)
    return {reason.name: reason for reason in found}


async def test_a_node_that_is_well(world: World, observer: NodeObserver) -> None:
    acquaint(world)
    found = reasons_of(observer)
    assert list(found) == ["sockets", "reachability", "nat", "clock", "loop", "drops", "peers", "tables", "log"]
    assert found["sockets"].text == "1 socket is open."
    assert found["peers"].text == "2 peers are known."
    assert {name for name, reason in found.items() if reason.level == "unknown"} == {"reachability", "nat", "loop"}
    assert Health.status(list(found.values())) == "ok"
    overview = observer.overview()
    assert overview["health"]["status"] == "ok"
    assert overview["wan"] == {"ip": "1.2.3.4", "port": 8090}
    assert overview["peers"] == {"total": 2, "by_path": {"unknown": 2}, "encrypted": 0}
    assert overview["nat"]["reachable"] is None


async def test_sockets_that_are_closed(world: World, observer: NodeObserver) -> None:
    world.endpoint.close()
    assert reasons_of(observer)["sockets"].level == "problem"
    open_one, closed_one = AutoMockEndpoint(), AutoMockEndpoint()
    open_one.open()
    world.endpoint.endpoint.interfaces = {"a": open_one, "b": closed_one}
    found = reasons_of(observer)["sockets"]
    assert (found.level, found.text) == ("warning", "1 of 2 sockets are closed (b): see the log for the reason.")


async def test_reachability(world: World, observer: NodeObserver) -> None:
    sent: set[Any] = set()
    world.endpoint.endpoint._has_sent_to = sent.__contains__
    reachability = Reachability(world)
    assert "No peer is at a public address" in nat_state(world, reachability).text
    world.network.add_peer_observer(reachability)
    world.network.add_verified_peer(peer(2))  # at a private address
    assert reachability.heard is None
    for number, host in ((3, "8.8.4.4"), (4, "8.8.8.8")):
        known = peer(number)
        known.address = UDPv4Address(host, 1000)
        if number == 3:
            sent.add(known.address)
        world.network.add_verified_peer(known)
        assert (reachability.heard is not None) == (number == 4)
        state = nat_state(world, reachability)
        assert state.reachable is (True if number == 4 else None)
    world.network.remove_peer_observer(reachability)
    reachability.on_peer_removed(peer(3))
    assert reachability.heard is not None
    unheard = Reachability(world)
    assert "has contacted this node first yet" in nat_state(world, unheard).text
    world.endpoint.mapped_address = UDPv4Address("9.9.9.9", 1)
    assert nat_state(world, unheard)[1:] == (True, "The router forwards 9.9.9.9:1 to this node.")


@pytest.mark.parametrize(("mapping", "reachable", "levels"), [
    (AddressMapping.NONE, None, ("unknown", "ok")),
    (AddressMapping.ENDPOINT_INDEPENDENT, None, ("unknown", "ok")),
    (AddressMapping.ENDPOINT_DEPENDENT, False, ("warning", "warning")),
    (AddressMapping.UNKNOWN, None, ("unknown", "unknown"))])
async def test_kinds_of_nat(world: World, observer: NodeObserver, monkeypatch: pytest.MonkeyPatch, mapping: str,
                            reachable: bool | None, levels: tuple[str, str]) -> None:
    monkeypatch.setattr(Community, "mapping", mapping)
    state = nat_state(world, observer.reachability)
    assert state[:2] == (mapping, reachable)
    found = reasons_of(observer, state)
    assert (found["reachability"].level, found["nat"].level) == levels


async def test_an_attribute_of_a_program_is_no_mapping(world: World, observer: NodeObserver) -> None:
    world.overlays[0].mapping = {"something": "else"}
    assert nat_state(world, observer.reachability).mapping == "unknown"


async def test_what_is_wrong(world: World, observer: NodeObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    acquaint(world)
    monkeypatch.setattr(NodeObserver, "uptime", 100.0)
    monkeypatch.setattr(observer.loop, "lag", lambda: Spread(0.01, 0.104, 0.157))
    observer.clock.jump = time.monotonic() - 5, 7.25
    world.overlays[0].drops.count(DropCounter.RATE_LIMITED, 1000)
    logging.getLogger("test of the log").error("broken")
    monkeypatch.setattr(observer.tables, "rows", lambda: [
        SimpleNamespace(owner="Network", name="a", kind="table", size=95, capacity=100),
        SimpleNamespace(owner="Network", name="b", kind="cache", size=100, capacity=100),
        SimpleNamespace(owner="Overlay", name="peers", kind="table", size=31, capacity=31),
        SimpleNamespace(owner="Network", name="c", kind="table", size=5, capacity=100)])
    found = reasons_of(observer)
    assert {name for name, reason in found.items() if reason.level == "warning"} == {
        "loop", "clock", "drops", "tables", "log"}
    assert "1 of 100 timers was more than 104 ms late in the last minute, the latest 157 ms" in found["loop"].text
    assert "move long work to threads" in found["loop"].text
    assert "+7.2 s" in found["clock"].text
    assert "1000 packets were dropped" in found["drops"].text
    assert "sends more than its budget allows" in found["drops"].text
    assert found["tables"].text.startswith("1 table is nearly full: Network.a (95 of 100).")
    assert "1 error" in found["log"].text
    assert Health.status(list(found.values())) == "warning"
    observer.clock.jump = None
    monkeypatch.setattr(observer.loop, "has_mostly_waited", lambda: True)
    monkeypatch.setattr(ClockWatch, "drift", -12.0)
    monkeypatch.setattr(observer.loop, "lag", lambda: Spread(0.5, 0.9, 1.0))
    found = reasons_of(observer)
    assert "-12.0 s wrong" in found["clock"].text
    assert "Other programs had the processor" in found["loop"].text
    assert found["loop"].level == Health.status(list(found.values())) == "problem"


@pytest.mark.parametrize(("uptime", "overlays", "level", "text"), [
    (5.0, 3, "ok", "was started 5 s ago"), (100.0, 3, "warning", "no overlay has bootstrappers"),
    (100.0, 0, "warning", "No overlay is loaded")])
async def test_no_peers(world: World, observer: NodeObserver, monkeypatch: pytest.MonkeyPatch, uptime: float,
                        overlays: int, level: str, text: str) -> None:
    monkeypatch.setattr(NodeObserver, "uptime", uptime)
    kept = world.overlays
    world.overlays = kept[:overlays]
    found = reasons_of(observer)["peers"]
    world.overlays = kept
    assert found.level == level
    assert text in found.text


async def test_no_peers_although_there_are_bootstrappers(world: World, observer: NodeObserver,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeObserver, "uptime", 100.0)
    monkeypatch.setattr(communities_of(world)[0], "bootstrappers", [object()])
    assert "ipv8 netcheck" in reasons_of(observer)["peers"].text


def test_every_reason_has_words() -> None:
    known = {value for name, value in vars(DropCounter).items() if name.isupper()}
    assert known == MEANINGS.keys()
    assert reasons.ADVICE.keys() <= known
    assert meaning_of("of_a_program") == "of a program"


def test_the_page_has_the_same_words() -> None:
    script = (SCRIPTS / "parts" / "drops.js").read_text(encoding="utf-8")
    words = dict(re.findall(r'^  (\w+): "(.*)",$', script, re.MULTILINE))
    assert words == MEANINGS
