"""A network on this machine: a tracker and some nodes that find each other and keep a common clock.

    python3 quickstart.py                    a few seconds, drawn in the terminal
    python3 quickstart.py --plain            the same as lines of text; also if there is no terminal
    python3 quickstart.py --nodes 20 --seconds 60
    python3 quickstart.py --serve            the nodes go on, and one of them is shown in a browser

With --serve, the nodes use all overlays of the library, and go on until Ctrl+C. The dashboard of the first one is at
the address that is printed, for browsers of this machine.

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

MOST_NODES, MOST_SERVED_NODES, LONGEST = 50, 25, 3600


def parse_arguments(arguments: "list[str]") -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5, metavar="N",
                        help=f"how many nodes, 2 to {MOST_NODES}, or {MOST_SERVED_NODES} with --serve (5)")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="when to give up (30)")
    parser.add_argument("--plain", action="store_true",
                        help="lines of text instead of a drawing, as where there is no terminal")
    parser.add_argument("--serve", action="store_true",
                        help="let the nodes go on until Ctrl+C, and show one of them in a browser")
    parser.add_argument("--api-port", type=int, metavar="P",
                        help="the TCP port for the browser (the first free one from 8085 on)")
    options = parser.parse_args(arguments)
    if options.nodes < 2:
        parser.error("--nodes must be at least 2: a node alone has nobody to meet")
    most = MOST_SERVED_NODES if options.serve else MOST_NODES
    if options.nodes > most:
        parser.error(f"--nodes must be at most {most}, since all run in this one process; "
                     "python -m benchmarks.simulation runs hundreds, on virtual time")
    if not 0 < options.seconds <= LONGEST:  # also false for NaN
        parser.error(f"--seconds must be more than 0 and at most {LONGEST}")
    if options.api_port is not None and not options.serve:
        parser.error("--api-port needs --serve, as nothing is served otherwise")
    if options.api_port is not None and not 0 <= options.api_port <= 65535:
        parser.error("--api-port must be a number from 0 (any free port) to 65535")
    return options


def main(arguments: "list[str]") -> int:
    """Run the demonstration; the exit status."""
    options = parse_arguments(arguments)
    if options.serve:
        enter("cli", "rest", "trust")
        from ipv8.cli.demo.demonstration import serve
        from ipv8.cli.demo.library import LibraryOverlays
        from ipv8.cli.rest import RestOptions

        return serve(options.nodes, options.seconds, LibraryOverlays(), RestOptions(options.api_port),
                     plain=options.plain)
    enter("cli")
    from examples.quickstart.clocks import CommonClock
    from ipv8.cli.demo.demonstration import demonstrate

    return demonstrate(options.nodes, options.seconds, CommonClock(), plain=options.plain)


if __name__ == "__main__":
    run(main)
