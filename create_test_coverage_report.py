"""Run the tests with branch coverage of the package and report what they reach.

Writes the pages of an HTML report to ``coverage/`` and a table of all modules to ``coverage.md``, and prints the
packages and the modules that are reached least. Arguments go to pytest; without any, all tests run, one process a
processor. The exit status is that of the test run, or 1 if there is nothing to report.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import PurePosixPath

from scripts.bootstrap import ROOT, enter, run

FINISHED = (0, 1)
"""What pytest ends with when it came to the end, with all tests passed and with some failed."""

LEAST_REACHED = 10
"""How many modules are printed."""


def coverage(*arguments: str) -> int:
    """Run a command of coverage in the root of the project; its exit status."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=str(ROOT), check=False).returncode


def report(form: str, *arguments: str) -> bytes:
    """What a command of coverage prints; nothing if it fails, which it has then said on standard error."""
    command = [sys.executable, "-m", "coverage", form, *arguments]
    process = subprocess.run(command, cwd=str(ROOT), check=False, stdout=subprocess.PIPE)
    return b"" if process.returncode else process.stdout


def percentage(reached: int, of: int) -> str:
    """A share of statements and branches, for a column of text."""
    return f"{100 * reached / of if of else 100:6.1f} %"


def summary(files: "dict[str, dict[str, dict[str, int]]]") -> "list[str]":
    """A line for each package, and one for each of the modules that are reached least.

    :param files: what coverage says of each file, by its path.
    """
    modules = {}
    packages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in files.items():
        path = PurePosixPath(name.replace("\\", "/"))
        counts = file["summary"]
        reached = counts["covered_lines"] + counts["covered_branches"]
        of = counts["num_statements"] + counts["num_branches"]
        modules[str(path)] = reached, of
        packages[str(path.parent)][0] += reached
        packages[str(path.parent)][1] += of
    least = sorted((name for name, (reached, of) in modules.items() if reached < of),
                   key=lambda name: modules[name][0] / modules[name][1])[:LEAST_REACHED]
    lines = ["Packages", *(f"{percentage(*packages[name])}  {name}" for name in sorted(packages))]
    return lines + (["", "Modules that are reached least",
                     *(f"{percentage(*modules[name])}  {name}" for name in least)] if least else [])


def main(arguments: "list[str]") -> int:
    """Measure, merge what the test processes wrote, report; the exit status."""
    if "-h" in arguments or "--help" in arguments:
        argparse.ArgumentParser(usage="%(prog)s [ARGUMENT OF PYTEST ...]", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter).print_help()
        return 0
    enter("all", "dev")
    coverage("erase")
    status = coverage("run", "-m", "pytest", *(arguments or ["-n", "auto"]))
    if status not in FINISHED:
        return status
    coverage("combine", "--quiet")
    found = report("json", "--quiet", "-o", "-")
    if not found or coverage("html", "--quiet", "--directory=coverage"):
        print("There is nothing to report: no test reached the package.")
        return status or 1
    (ROOT / "coverage.md").write_bytes(report("report", "--format=markdown"))
    total = json.loads(found.decode())
    print("", *summary(total["files"]), sep="\n")
    share = total["totals"]["percent_covered"]
    print(f"\nStatements and branches reached: {share:.1f} %. See coverage/index.html and coverage.md.")
    return status


if __name__ == "__main__":
    run(main)
