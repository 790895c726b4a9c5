"""``python -m ipv8.test.simulation``: run a simulated network."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .scenarios import SCENARIOS
from .simulation import Simulation, new_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]


def _scenario(text: str) -> Callable[[Simulation, int], dict[str, Any] | None]:
    """Find a scenario by its name, or by its place as ``module:function``."""
    if text in SCENARIOS:
        return SCENARIOS[text]
    module, separator, name = text.partition(":")
    if not separator:
        raise argparse.ArgumentTypeError(f"there is no scenario {text!r}: choose {', '.join(SCENARIOS)}, or "
                                         "give a function of your own as module:function")
    try:
        scenario: Callable[[Simulation, int], dict[str, Any] | None] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise argparse.ArgumentTypeError(f"cannot load {text!r}: {e}") from e
    return scenario


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a scenario and print its figures. If it fails, print its seed and how to repeat it, and return 1."""
    explanations = "\n".join(f"  {name:10} {(scenario.__doc__ or '').splitlines()[0]}"
                             for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(prog="python -m ipv8.test.simulation", description="Run a simulated network.",
                                     epilog=f"scenarios:\n{explanations}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", type=_scenario, help="a scenario from the list below, or module:function")
    parser.add_argument("--seed", help="runs with the same seed are the same (default: a random one)")
    parser.add_argument("--nodes", type=int, default=20, metavar="N", help="the number of nodes (default: 20)")
    parser.add_argument("--stand-in-signatures", action="store_true",
                        help="use hashes instead of Ed25519, which is faster")
    parser.add_argument("--trace", metavar="FILE", help="write all packets to this file, in the format of text2pcap")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)

    if options.seed is None:
        options.seed = new_seed()
        given += ["--seed", options.seed]
    sim = Simulation(options.seed, stand_in_signatures=options.stand_in_signatures,
                     keep_packets=options.trace is not None,
                     replay=f"python -m ipv8.test.simulation {shlex.join(given)}")
    figures: dict[str, Any] = {}
    try:
        with sim:
            figures = options.scenario(sim, options.nodes) or {}
            figures |= {"virtual seconds": round(sim.time, 1), "packets": sim.trace.sent,
                        "dropped": dict(sim.trace.drops), "seed": sim.seed, "trace": sim.trace.hexdigest()}
    except (AssertionError, TimeoutError) as e:
        sys.stderr.write(f"failed: {e}\n")
        return 1
    finally:
        if options.trace is not None:
            with open(options.trace, "w", encoding="utf-8") as file:
                sim.trace.write(file)
    for name, value in figures.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    if not os.environ.get("PYTHONHASHSEED", "").isdigit():
        # Overlays of users may depend on the order of sets, which is random in each process unless this is set.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        sys.exit(subprocess.run([sys.executable, "-m", "ipv8.test.simulation", *sys.argv[1:]], env=environment,
                                check=False).returncode)
    sys.exit(main())
