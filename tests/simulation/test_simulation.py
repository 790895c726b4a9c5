"""Whole networks: determinism, unmodified overlays, churn, failures that can be repeated, and what is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock, entropy
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.keyvault.backend import provider
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import UDPv6Address
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.discovery import RandomWalk
from ipv8.service import IPv8
from ipv8.test.simulation import NAT, Link, Simulation, SimulationError, Walker
from ipv8.test.simulation.__main__ import main
from ipv8.test.simulation.scenarios import NAT_KINDS, SCENARIOS, SERVICE_WALKERS, SimulatedCommunity
from ipv8.test.simulation.simulation import SEED_VARIABLE
from ipv8.verification import MESSAGE_ID_OFFSET

if TYPE_CHECKING:
    from ipv8.peer import Peer

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Greeting(DataClassPayload[1]):
    text: str


class GreetingCommunity(Community):
    """As users write them: nothing in it knows of simulations."""

    community_id = b"greetings to all of"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.greetings: list[tuple[Peer, str]] = []
        self.add_message_handler(Greeting, self.on_greeting)
        self.register_task("greet", self.greet, interval=5.0)

    def greet(self) -> None:
        for peer in self.get_peers():
            self.ez_send(peer, Greeting("hello"))

    @lazy_wrapper(Greeting)
    def on_greeting(self, peer: Peer, payload: Greeting) -> None:
        if payload.text == "fail":
            raise RuntimeError("as told")
        self.greetings.append((peer, payload.text))


GreetingCommunity.community_id += b"!"
IMPERFECT = Link(latency=0.02, jitter=0.02, loss=0.05, duplication=0.02, reordering=0.02, bandwidth=100_000)


def run_once(seed: int, seconds: float = 30.0, **options: Any) -> Simulation:
    sim = Simulation(seed, link=IMPERFECT, keep_packets=True, **options)
    with sim:
        sim.add_tracker()
        for nat in (None, NAT.PORT_RESTRICTED, NAT.SYMMETRIC) * 3:
            sim.add_node(GreetingCommunity, nat=nat)
        sim.add_node(DiscoveryCommunity, walkers=SERVICE_WALKERS, ipv6=True)
        sim.start_churn(mean_uptime=20, mean_downtime=5)
        sim.run(seconds)
    return sim


def test_same_seed_same_packets_other_seed_other_packets() -> None:
    first, again, other = run_once(1), run_once(1), run_once(2)
    assert first.trace.packets == again.trace.packets
    assert first.trace.hexdigest() == again.trace.hexdigest()
    assert first.trace.drops == again.trace.drops
    assert other.trace.hexdigest() != first.trace.hexdigest()
    assert first.trace.sent > 500


def test_trace_does_not_depend_on_the_process() -> None:
    command = [sys.executable, "-m", "ipv8.test.simulation", "discovery", "--nodes", "15", "--seed", "7"]
    traces = set()
    for hash_seed in ("1", "2"):
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT,
                             env={**os.environ, "PYTHONHASHSEED": hash_seed})
        traces.add(re.search(r"trace: (\w{32})", run.stdout)[1])  # type: ignore[index]  # it is there, or the test fails
    assert len(traces) == 1


def test_stand_in_signatures_change_nothing_but_signatures() -> None:
    real, stand_in = run_once(1, 10.0), run_once(1, 10.0, stand_in_signatures=True)
    assert real.trace.packets is not None
    assert stand_in.trace.packets is not None
    assert len(real.trace.packets) == len(stand_in.trace.packets)
    for one, other in zip(real.trace.packets, stand_in.trace.packets, strict=True):
        assert one[:3] == other[:3]
        assert len(one.data) == len(other.data)
        signatures = 128 if one.data[MESSAGE_ID_OFFSET] == RelayPayload.msg_id else 64
        assert one.data[:-signatures] == other.data[:-signatures]
    assert real.trace.hexdigest() != stand_in.trace.hexdigest()


def test_stand_in_rejects_forgeries_and_ends_with_the_simulation() -> None:
    real = provider.current()
    outsider = default_eccrypto.generate_key("curve25519")
    with Simulation(1, stand_in_signatures=True):
        key, other = (default_eccrypto.generate_key("curve25519") for _ in range(2))
        loaded = default_eccrypto.key_from_public_bin(key.pub().key_to_bin())
        signature = key.signature(b"message")
        assert len(signature) == 64
        assert loaded.verify(signature, b"message")
        assert not loaded.verify(signature, b"massage")
        assert not loaded.verify(other.signature(b"message"), b"message")
        assert not loaded.verify(bytes(64), b"message")
        # Keys from elsewhere are real ones.
        inside = default_eccrypto.key_from_public_bin(outsider.pub().key_to_bin())
        assert inside.verify(outsider.signature(b"message"), b"message")
        assert not inside.verify(bytes(64), b"message")
    assert provider.current() is real
    assert not loaded.verify(signature, b"message")
    assert not default_eccrypto.key_from_public_bin(key.pub().key_to_bin()).verify(signature, b"message")


def test_unmodified_overlays_meet_through_a_tracker() -> None:
    with Simulation(3) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(GreetingCommunity) for _ in range(10)]
        sim.run(60)
        for node in nodes:
            assert len(node.get_peers()) == 9
            greeters = {peer for peer, _ in node.overlay.greetings}
            assert greeters == {other.my_peer for other in nodes if other is not node}


def test_name_of_a_tracker_is_resolved_inside() -> None:
    with Simulation(3) as sim:
        sim.add_tracker(ipv6=True, dns_name="tracker.example")
        nodes = [sim.add_node(SimulatedCommunity, bootstrap=False) for _ in range(2)]
        for node in nodes:
            names = [("tracker.example", 6421), ("none.example", 1)]
            node.overlay.bootstrappers.append(DispersyBootstrapper([], names))
        sim.run(60)
        assert nodes[0].knows(nodes[1])
        assert socket.getaddrinfo("192.0.2.1", 80)[0][4] == ("192.0.2.1", 80)
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("example.com", 80)


def test_ipv6_only_nodes_meet() -> None:
    with Simulation(3) as sim:
        sim.add_tracker(ipv4=False, ipv6=True)
        nodes = [sim.add_node(SimulatedCommunity, ipv4=False, ipv6=True) for _ in range(5)]
        sim.run(60)
        for node in nodes:
            assert len(node.get_peers()) >= 2
            assert all(isinstance(peer.address, UDPv6Address) for peer in node.get_peers())


@pytest.mark.parametrize(("mine", "theirs"), [*(("none", kind) for kind in NAT_KINDS), ("moderate", "moderate")])
def test_pairs_that_every_strategy_connects(mine: str, theirs: str) -> None:
    with Simulation(4) as sim:
        sim.add_tracker()
        pair = [sim.add_node(SimulatedCommunity, nat=NAT_KINDS[kind]) for kind in (mine, theirs)]
        sim.run(60)
        assert pair[0].knows(pair[1])
        assert pair[1].knows(pair[0])


def test_nodes_stop_crash_and_start_again() -> None:
    with Simulation(5) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(GreetingCommunity) for _ in range(4)]
        sim.run(30)
        before = nodes[0].overlay
        sim.stop(nodes[0])
        sim.crash(nodes[1])
        assert [node.running for node in nodes] == [False, False, True, True]
        assert nodes[0].get_peers() == []
        with pytest.raises(LookupError, match="start it first"):
            _ = nodes[0].overlay
        sent = nodes[0].host.packets_sent, nodes[1].host.packets_sent
        sim.run(30)
        assert (nodes[0].host.packets_sent, nodes[1].host.packets_sent) == sent
        for node in nodes[:2]:
            sim.start(node)
        sim.run(60)
        assert nodes[0].overlay is not before
        assert all(node.get_peers() for node in nodes)
        with pytest.raises(RuntimeError, match="running already"):
            sim.start(nodes[0])


def test_churn_takes_nodes_down_and_up() -> None:
    with Simulation(6) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(SimulatedCommunity) for _ in range(10)]
        churn = sim.start_churn(nodes, mean_uptime=30, mean_downtime=10)
        states = set()
        for _ in range(20):
            sim.run(10)
            states.add(sum(node.running for node in nodes))
        assert churn.departures >= churn.arrivals > 10
        assert len(states) > 2
        churn.stop()
        departures = churn.departures
        sim.run(100)
        assert churn.departures == departures


def test_introducing_without_a_tracker() -> None:
    with Simulation(7) as sim:
        nodes = [sim.add_node(GreetingCommunity, walkers=()) for _ in range(3)]
        sim.introduce(nodes)
        sim.run(1)
        assert all(one.knows(other) for one in nodes for other in nodes if one is not other)


def test_walkers_and_settings() -> None:
    steps: list[float] = []

    class Step:
        def __init__(self, overlay: Any, name: str) -> None:
            self.overlay, self.name = overlay, name

        def take_step(self) -> None:
            steps.append(clock.monotonic())

        def get_peer_count(self) -> int:
            return len(steps)

    with Simulation(8) as sim:
        node = sim.add_node(SimulatedCommunity, walkers=[Walker(Step, 4, name="x")],  # type: ignore[arg-type]  # it quacks
                            phase=0.25, tick=0.5, max_peers=7)
        assert node.overlay.max_peers == 7
        sim.run(10)
    assert steps == [0.25, 0.75, 1.25, 1.75]


def test_service_runs_on_a_simulated_host() -> None:
    with Simulation(9) as sim:
        sim.add_tracker()
        companion = sim.add_node(DiscoveryCommunity)
        builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_walker_interval(0.5)
        node = sim.add_node()
        service = node.run(lambda: IPv8(builder.finalize(), endpoint_override=node.endpoint))
        overlay = node.run(lambda: DiscoveryCommunity(CommunitySettings(
            my_peer=service.keys["me"], endpoint=service.endpoint, network=service.network)))
        service.overlays.append(overlay)
        sim.wait_for(service.start())
        node.run(overlay.walk_to, companion.address)
        sim.run(10)
        assert companion.my_peer in overlay.get_peers()
        sim.wait_for(service.stop())


def test_run_until_tells_how_long_it_took() -> None:
    with Simulation(10, strict=False) as sim:
        sim.run(1)
        assert sim.run_until(lambda: sim.time >= 3, timeout=10, step=0.5) == 2.0
        with pytest.raises(TimeoutError, match="within 1 virtual"):
            sim.run_until(lambda: False, timeout=1)


# Failures


def fail_in_a_handler(sim: Simulation) -> None:
    one, other = (sim.add_node(GreetingCommunity, walkers=()) for _ in range(2))
    sim.introduce([one, other])
    sim.run(1)
    one.overlay.ez_send(other.my_peer if other.my_peer.address[1] else one.get_peers()[0], Greeting("fail"))
    sim.run(1)


def test_failing_handler_fails_a_strict_simulation(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SimulationError, match="as told"), Simulation(11) as sim:
        fail_in_a_handler(sim)
    shown = capfd.readouterr().err
    assert "seed 11" in shown
    assert f"{SEED_VARIABLE}=11" in shown
    assert "test_failing_handler_fails_a_strict_simulation" in shown, "the command names the test"
    with Simulation(11, strict=False) as sim:
        fail_in_a_handler(sim)
        assert [str(error) for error in sim.failures] == ["as told"]


def test_failing_task_and_loop_errors_fail_a_strict_simulation() -> None:
    for strict in (True, False):
        sim = Simulation(12, strict=strict)
        with sim:
            node = sim.add_node(GreetingCommunity, walkers=())
            node.overlay.register_task("bad", divmod, 1, 0)
            if strict:
                with pytest.raises(SimulationError, match="ZeroDivisionError"):
                    sim.run(1)
            else:
                sim.run(1)
        assert len(sim.failures) == (0 if strict else 1)


def test_seed_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Simulation().seed != Simulation().seed
    monkeypatch.setenv(SEED_VARIABLE, "99")
    assert Simulation().seed == "99"
    assert Simulation(5).seed == 5
    with Simulation() as one:
        first = entropy.randbits(64)
    with Simulation(99) as other:
        assert entropy.randbits(64) == first, "a number is as good as its text"
    assert one.seed != other.seed


def test_printed_command_repeats_a_failure(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ipv8 import entropy\n\n\n"
        "def scenario(sim, count):\n"
        "    sim.add_node()\n"
        "    sim.run(1.0)\n"
        "    raise AssertionError(f'drew {entropy.randbits(64)} for {count}')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = [sys.executable, "-m", "ipv8.test.simulation", "mine:scenario", "--nodes", "3"]
    first = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert first.returncode == 1
    replay = re.search(r"replay it with: (.+)", first.stderr)
    assert replay is not None
    again = subprocess.run([sys.executable, *shlex.split(replay[1])[1:]], capture_output=True, text=True,
                           env=environment, check=False)
    assert again.stderr == first.stderr
    assert re.search(r"failed: drew \d+ for 3", first.stderr)


def test_pytest_plugin_reports_the_seed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ipv8.test.simulation.plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        "def test_it(simulation):\n    simulation.run(5)\n    assert simulation.time == 4\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--simulation-seed", "77", "test_it.py"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 1, run.stderr
    assert "simulation with seed 77, at 5.000 virtual seconds" in run.stdout
    assert f"{SEED_VARIABLE}=77" in run.stdout


# The command line


def test_command_line_prints_figures_and_writes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.txt"
    assert main(["discovery", "--nodes", "6", "--seed", "1", "--stand-in-signatures", "--trace", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "seconds to 5 peers:" in shown
    assert "seed: 1" in shown
    text = file.read_text()
    assert re.search(r"^# +\d+\.\d{6} .* > .* 246 introduction-request, \d+ bytes$", text, re.MULTILINE)
    assert "000000  00 02" in text


def test_command_line_knows_its_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "discovery" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["no.such.module:scenario"])
    assert "cannot load" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "count"), [("nats", 1), ("churn", 8), ("partition", 10)])
def test_scenarios(name: str, count: int) -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        figures = SCENARIOS[name](sim, count)
    assert figures
    if name == "nats":
        assert len(figures) == 16
        assert figures["none - none"] == figures["moderate - moderate"] == "1/1"


# What a simulation replaces


def test_the_process_is_as_before() -> None:
    state = random.getstate()

    def replaced() -> tuple[object, ...]:
        return (clock.current(), entropy.current(), get_lan_addresses(), socket.getaddrinfo,
                list(logging.getLogger().handlers))

    before = replaced()
    with Simulation(1) as sim:
        sim.add_node(SimulatedCommunity)
        sim.run(5)
        assert clock.monotonic() == 5
        assert get_lan_addresses() == [], "nobody's, outside of a host"
        drawn = random.random()
    assert replaced() == before
    assert random.getstate() == state
    with Simulation(1):
        assert random.random() == drawn


def test_simulation_runs_once_and_not_inside_of_another_loop() -> None:
    async def nested() -> None:
        with Simulation(1):
            pass

    with pytest.raises(RuntimeError, match="its own event loop"):
        asyncio.run(nested())
    sim = Simulation(1)
    with sim:
        pass
    with pytest.raises(RuntimeError, match="runs once"), sim:
        pass


def test_trace_needs_to_be_kept_to_be_shown() -> None:
    with Simulation(1, keep_packets=True) as sim:
        sim.introduce([sim.add_node(SimulatedCommunity, walkers=()) for _ in range(2)])
        sim.run(1)
        lines = list(sim.trace.lines())
        assert len(lines) == sim.trace.sent == sum(sim.trace.messages.values())
        assert "introduction-request" in lines[0]
    with Simulation(1) as sim, pytest.raises(ValueError, match="keep_packets"):
        sim.trace.lines()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"natt": NAT.SYMMETRIC}, "no argument 'natt', and SimulatedCommunity no setting.*did you mean 'nat'"),
    ({"walker": ()}, "did you mean 'walkers'"),
    ({"max_peerz": 5}, "did you mean 'max_peers'"),
    ({"max_peers": "many"}, "the setting 'max_peers' of SimulatedCommunity must be a number"),
])
def test_misspelt_arguments_are_found_at_once(arguments: dict[str, Any], message: str) -> None:
    with Simulation(1) as sim, pytest.raises(TypeError, match=message):
        sim.add_node(SimulatedCommunity, **arguments)
    assert sim.nodes == []


def test_misspelt_arguments_without_overlays() -> None:
    with Simulation(1) as sim, pytest.raises(TypeError, match="no argument 'natt', and there is no overlay"):
        sim.add_node(natt=NAT.SYMMETRIC)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"nat": "symetric"}, "nat must be .* not 'symetric'; did you mean 'SYMMETRIC'"), ({"nat": 5}, "nat must be"),
    ({"nat": NAT}, "nat must be"), ({"link": "fast"}, "link must be a Link"), ({"firewall": True}, "firewall must be"),
    ({"walkers": "RandomWalk"}, "a walker must be a Walker"), ({"walkers": [RandomWalk]}, "a walker must be a Walker"),
    ({"walkers": None}, "walkers must be"), ({"key": "x"}, "key must be a private key"),
    ({"port": "1"}, "port must be"), ({"port": 65536}, "port must be"), ({"tick": "1"}, "tick must be"),
    ({"tick": 0}, "tick must be"), ({"phase": "1"}, "phase must be"), ({"ipv4": "1.2.3"}, "ipv4 must be"),
    ({"ipv4": 4}, "ipv4 must be"), ({"ipv6": "1.2.3.4"}, "ipv6 must be"), ({"host": "h"}, "host must be"),
])
def test_arguments_of_another_type(arguments: dict[str, Any], message: str) -> None:
    with Simulation(1) as sim:
        with pytest.raises((TypeError, ValueError), match=message):
            sim.add_node(SimulatedCommunity, **arguments)
        assert sim.nodes == []


def test_other_arguments_of_another_type() -> None:
    with Simulation(1) as sim:
        for call, message in ((lambda: sim.add_router("x"), "nat must be a NAT"),  # type: ignore[arg-type]
                              (lambda: sim.add_router(NAT.SYMMETRIC, behind="x"), "behind"),  # type: ignore[arg-type]
                              (lambda: sim.add_node("x"), "must be a class"),  # type: ignore[arg-type]
                              (lambda: sim.run(float("nan")), "seconds"), (lambda: sim.run(float("inf")), "seconds"),
                              (lambda: sim.step_wall_clock("x"), "seconds"),  # type: ignore[arg-type]
                              (lambda: sim.start_churn(mean_uptime=-1), "mean_uptime"),
                              (lambda: Walker(RandomWalk, "x"), "peers"),  # type: ignore[arg-type]
                              (lambda: Link(latency="x"), "latency"),  # type: ignore[arg-type]
                              (lambda: Link(bandwidth="x"), "bandwidth"),  # type: ignore[arg-type]
                              (lambda: NAT(mapping="x"), "mapping"),  # type: ignore[arg-type]
                              (lambda: NAT(timeout=0), "timeout"),
                              (lambda: Simulation(1, link="x"), "link")):  # type: ignore[arg-type]
            with pytest.raises((TypeError, ValueError), match=message):
                call()


def test_misspelt_arguments_of_walkers_are_found_at_once() -> None:
    with pytest.raises(TypeError, match="RandomWalk has no argument 'timout'; did you mean 'timeout'"):
        Walker(RandomWalk, 20, timout=3.0)
    with pytest.raises(TypeError, match="argument 'timeout' must be a number"):
        Walker(RandomWalk, 20, timeout="3")
