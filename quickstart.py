"""A network on this machine: a tracker and some nodes that find each other and keep a common clock.

    python3 quickstart.py                    a few seconds, drawn in the terminal
    python3 quickstart.py --plain            the same as lines of text; also if there is no terminal
    python3 quickstart.py --nodes 20 --seconds 60

It needs Python and a package index: the first start makes ``.venv`` (see scripts/bootstrap.py). The nodes use UDP on
the loopback interface. The exit status is 0 if each node met all others (or 20 of them) and their clocks agreed, 1 if
not, and 130 after Ctrl+C.
"""

import argparse
import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # python -I and PYTHONSAFEPATH leave it out
    sys.path.insert(0, HERE)

from scripts.bootstrap import enter, run  # noqa: E402 - found by the line above

MOST_NODES = 50


def parse_arguments(arguments: "list[str]") -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5, metavar="N", help=f"how many nodes, 2 to {MOST_NODES} (5)")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="when to give up (30)")
    parser.add_argument("--plain", action="store_true",
                        help="lines of text instead of a drawing, as where there is no terminal")
    options = parser.parse_args(arguments)
    if options.nodes < 2:
        parser.error("--nodes must be at least 2: a node alone has nobody to meet")
    if options.nodes > MOST_NODES:
        parser.error(f"--nodes must be at most {MOST_NODES}, since all run in this one process; "
                     "python -m benchmarks.simulation runs hundreds, on virtual time")
    if not options.seconds > 0:  # also false for NaN
        parser.error("--seconds must be more than 0")
    return options


def main(arguments: "list[str]") -> int:
    """Run the demonstration; the exit status."""
    options = parse_arguments(arguments)
    enter("cli")
    from examples.quickstart.demonstration import demonstrate

    return demonstrate(options.nodes, options.seconds, plain=options.plain)


if __name__ == "__main__":
    run(main)
