"""``python -m interop.laboratory``: all pairs, in the laboratory and in the simulator."""

from __future__ import annotations

import argparse
import asyncio
from importlib.util import find_spec

from scripts.bootstrap import enter, run, tell

if __name__ == "__main__" and find_spec("cryptography") is None:  # the modules that are imported below need it
    enter()

from .internet import what_is_lacking
from .matrix import DELAY, all_pairs
from .real import meet_all
from .report import lines, markdown
from .simulated import simulate_all


def main(given: list[str]) -> int:
    """Print the outcomes in the laboratory and in the simulator; 1 if they differ in which nodes meet."""
    parser = argparse.ArgumentParser(prog="python -m interop.laboratory", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the tables of doc/nat.md")
    parser.add_argument("--delay", type=float, default=DELAY, help="seconds between two sites, one way")
    parser.add_argument("--loss", type=float, default=0.0, help="probability that a packet between sites is lost")
    arguments = parser.parse_args(given)
    lacking = what_is_lacking()
    if lacking is not None:
        tell(lacking)
        return 2
    pairs = all_pairs()
    real = asyncio.run(meet_all(pairs, arguments.delay, arguments.loss))
    simulated = simulate_all(pairs, arguments.delay, arguments.loss)
    for line in (markdown if arguments.markdown else lines)(real, simulated):
        print(line)
    return int(any(real[pair].is_direct != simulated[pair].is_direct for pair in pairs))


if __name__ == "__main__":
    run(main)
