"""``python -m benchmarks.simulation``: the speed of simulations, and how fast their nodes find each other."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

from ipv8.test.simulation import Link, Simulation
from ipv8.test.simulation.scenarios import IDENTITIES, SERVICE_WALKERS, SimulatedCommunity, converge, eclipse
from ipv8.test.simulation.trace import message_name

PEER_COUNTS = (1, 5, 10, 20)
LATENCIES = (0.0, 0.025)
"""Latencies in seconds; a packet takes two lines with this latency."""


TUNNEL_COLUMNS = ("hostile relays", "circuits ready", "messages answered", "all hops hostile", "both ends hostile",
                  "two hops in a /16", "first hops", "cells harmed", "accepted twice", "clients of a service connected",
                  "median s", "real s")


def convergence(nodes: int, latency: float, seed: int) -> dict[str, Any]:
    """The virtual seconds until 95 % of the nodes have a number of peers, and the messages sent until then."""
    with Simulation(seed, link=Link(latency=latency), stand_in_signatures=True, bootstrap_interval=5.0) as sim:
        sim.add_tracker()
        community = [sim.add_node(SimulatedCommunity) for _ in range(nodes)]
        seconds = {str(peers): converge(sim, community, peers, 600.0) for peers in PEER_COUNTS if peers < nodes}
        kinds: Counter[str] = Counter()
        for number, count in sim.trace.messages.items():
            kinds[message_name(number)] += count
        return {"seconds": seconds, "messages": sim.trace.sent / nodes,
                "kinds": {kind: count / nodes for kind, count in kinds.items()}}


def speed(nodes: int, seconds: float, service: bool, stand_in: bool) -> dict[str, Any]:
    """The real seconds of a simulation, with plain communities or with the overlay of the service."""
    from ipv8.peerdiscovery.community import DiscoveryCommunity

    begin = perf_counter()
    with Simulation(1, stand_in_signatures=stand_in) as sim:
        sim.add_tracker()
        for _ in range(nodes):
            if service:
                sim.add_node(DiscoveryCommunity, walkers=SERVICE_WALKERS)
            else:
                sim.add_node(SimulatedCommunity)
        sim.run(seconds)
        packets = sim.trace.sent
    elapsed = perf_counter() - begin
    return {"nodes": nodes, "overlay": "DiscoveryCommunity" if service else "Community", "virtual seconds": seconds,
            "signatures": "stand-in" if stand_in else "Ed25519", "real seconds": elapsed, "packets": packets}


def show_convergence(nodes: int, seeds: int) -> list[dict[str, Any]]:
    """Print a table and return its values."""
    report = []
    print(f"95 % of {nodes} nodes have so many peers after so many virtual seconds: median (worst) of {seeds} seeds\n")
    print("| latency | " + " | ".join(f"{peers} or more" for peers in PEER_COUNTS) + " | messages per node |")
    print("|---" * (len(PEER_COUNTS) + 2) + "|")
    for latency in LATENCIES:
        runs = [convergence(nodes, latency, seed) for seed in range(seeds)]
        cells = []
        for peers in PEER_COUNTS:
            values = [run["seconds"].get(str(peers), float("nan")) for run in runs]
            cells.append(f"{statistics.median(values):.1f} ({max(values):.1f})")
        messages = [run["messages"] for run in runs]
        print(f"| {2000 * latency:.0f} ms | {' | '.join(cells)} | "
              f"{statistics.median(messages):.0f} ({max(messages):.0f}) |", flush=True)
        report.append({"nodes": nodes, "latency": 2 * latency, "runs": runs})
    return report


def show_sybil(honest: int, times: tuple[float, ...]) -> list[dict[str, Any]]:
    """Print a table and return its values."""
    print(f"\n{honest} nodes, and for each of them {IDENTITIES} identities of an attacker on 3 subnets: honest peers\n")
    print("| who comes first | after | nodes with 10 | fewest | median | real s |\n|---|---|---|---|---|---|")
    report = []
    for first in ("honest", "nobody", "sybils"):
        begin = perf_counter()
        with Simulation(1, stand_in_signatures=True) as sim:
            for seconds, peers in eclipse(sim, honest, first, times):
                share = sum(count >= 10 for count in peers) / honest
                report.append({"first": first, "seconds": seconds, "share": share, "honest peers": peers})
                print(f"| {first} | {seconds:.0f} s | {share:.0%} | {min(peers)} | {statistics.median(peers):.0f} | "
                      f"{perf_counter() - begin:.0f} |", flush=True)
    return report


def show_speed(nodes: int, seconds: float, large: int) -> list[dict[str, Any]]:
    """Print a table and return its values."""
    print("\n| nodes | overlay | signatures | virtual s | packets | real s |\n|---|---|---|---|---|---|")
    report = []
    for count, length, service, stand_in in ((nodes, seconds, False, False), (nodes, seconds, False, True),
                                             (nodes, seconds / 12, True, False), (nodes, seconds / 12, True, True),
                                             (large, seconds / 12, False, True)):
        figures = speed(count, length, service, stand_in)
        report.append(figures)
        print(f"| {figures['nodes']} | {figures['overlay']} | {figures['signatures']} | {length:.0f} | "
              f"{figures['packets']} | {figures['real seconds']:.1f} |", flush=True)
    return report


def show_tunnels(nodes: int) -> list[dict[str, Any]]:
    """Print a table and return its values."""
    from benchmarks import tunnel_network as tunnels

    print(f"\n{nodes} nodes that relay for one another; {tunnels.HOSTILE_SHARE:.0%} for each way to be hostile, "
          f"and {tunnels.CROWD_SHARE:.0%} in the crowded /24\n")
    print("| " + " | ".join(TUNNEL_COLUMNS) + " |\n" + "|---" * len(TUNNEL_COLUMNS) + "|")
    report = []
    for name, kinds, crowd, churn in tunnels.CASES:
        begin = perf_counter()
        outcome = tunnels.run(nodes, kinds, crowd, churn)
        report.append({"case": name, **outcome})
        cells = [name, f"{outcome['ready']:.0%} of {outcome['begun']}", f"{outcome['answered']:.1%}",
                 *(outcome[key] for key in ("captured", "both ends", "same network", "first hops", "harmed cells",
                                            "accepted twice")),
                 f"{outcome['connected']} of {outcome['clients']}",
                 f"{statistics.median(outcome['seconds'] or [float('nan')]):.1f}", f"{perf_counter() - begin:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return report


def main() -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "convergence", "speed", "sybil", "tunnels"), default="all")
    parser.add_argument("--nodes", type=int, default=100, metavar="N", help="nodes (default: 100)")
    parser.add_argument("--large", type=int, default=1000, metavar="N", help="nodes of the large run (default: 1000)")
    parser.add_argument("--seconds", type=float, default=3600.0, metavar="S",
                        help="virtual seconds of the long runs (default: 3600)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs for each convergence (default: 5)")
    parser.add_argument("--honest", type=int, default=30, metavar="N", help="nodes that are attacked (default: 30)")
    parser.add_argument("--after", type=float, nargs="+", default=[120.0, 600.0], metavar="S",
                        help="virtual seconds after which peers are counted (default: 120 600)")
    parser.add_argument("--tunnel-nodes", type=int, default=200, metavar="N",
                        help="nodes that build circuits through one another (default: 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all values")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    if options.what in {"all", "convergence"}:
        report["convergence"] = show_convergence(options.nodes, options.seeds)
    if options.what in {"all", "speed"}:
        report["speed"] = show_speed(options.nodes, options.seconds, options.large)
    if options.what in {"all", "sybil"}:
        report["sybil"] = show_sybil(options.honest, tuple(options.after))
    if options.what in {"all", "tunnels"}:
        report["tunnels"] = show_tunnels(options.tunnel_nodes)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
