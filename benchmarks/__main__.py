"""``python -m benchmarks``: measure the library, alone or in turn with another one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import runner
from benchmarks.library import Library
from scripts.bootstrap import enter, run


def main(given: list[str]) -> int:
    """Run the chosen cases and print the table; 1 if one of them did not finish."""
    names = runner.case_names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", nargs="*", metavar="CASE",
                        help=f"what to measure (everything by default): {', '.join(names)}")
    parser.add_argument("--against", type=Path, metavar="VENV",
                        help="a virtual environment with another ipv8 package, measured in turn with ours")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="how often to run each case (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all values")
    arguments = parser.parse_args(given)
    unknown = [name for name in arguments.case if name not in names]
    if unknown:
        parser.error(f"there is no case {unknown[0]!r}: choose from {', '.join(names)}")
    if arguments.repeat < 1:
        parser.error("--repeat must be at least 1")
    enter()

    libraries = [Library.ours()]
    try:
        if arguments.against:
            libraries.append(Library.of_venv(arguments.against))
        if arguments.json:
            arguments.json.open("a").close()  # which tells before anything is measured
    except OSError as e:
        parser.error(str(e))
    rows, failures = runner.run(arguments.case or names, libraries, arguments.repeat)
    print(runner.table(rows, libraries))
    if arguments.json:
        arguments.json.write_text(json.dumps(runner.report(rows, libraries), indent=2, ensure_ascii=False) + "\n")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
