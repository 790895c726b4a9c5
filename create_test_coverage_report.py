"""Run the tests with branch coverage of the package and report what they reach.

Writes the pages of an HTML report to ``coverage/`` and a table to ``coverage.md``. Arguments go to pytest; without any,
all tests run, one process a processor. The exit status is that of the test run.
"""

import subprocess
import sys

from scripts.bootstrap import ROOT, enter


def coverage(*arguments: str) -> int:
    """Run a command of coverage in the root of the project; its exit status."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=str(ROOT), check=False).returncode


def main(arguments: "list[str]") -> int:
    """Measure, merge what the test processes wrote, report; the exit status of the test run."""
    enter("all", "dev")
    coverage("erase")
    status = coverage("run", "-m", "pytest", *(arguments or ["-n", "auto"]))
    coverage("combine", "--quiet")
    coverage("html", "--quiet", "--directory=coverage")
    table = subprocess.run([sys.executable, "-m", "coverage", "report", "--format=markdown"], cwd=str(ROOT),
                           check=False, stdout=subprocess.PIPE).stdout
    (ROOT / "coverage.md").write_bytes(table)
    total = subprocess.run([sys.executable, "-m", "coverage", "report", "--format=total", "--precision=1"],
                           cwd=str(ROOT), check=False, stdout=subprocess.PIPE).stdout
    print(f"Branch coverage {total.decode().strip()} %; see coverage/index.html and coverage.md.")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
