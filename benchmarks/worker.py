"""Runs one case in a process of its own and prints each figure as a line of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import import_module


def main() -> None:
    """Run the case that the only argument names."""
    case = import_module(f"benchmarks.cases.{sys.argv[1]}")
    for figure in case.measure():
        print(json.dumps(asdict(figure)), flush=True)


if __name__ == "__main__":
    main()
