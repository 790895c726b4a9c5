"""All checks of a change: lint, types, contracts on imports, tests.

    python3 run_all_tests.py                all checks
    python3 run_all_tests.py --quick        without tests that take long or start other programs
    python3 run_all_tests.py -k peer -p 1   only tests whose name contains "peer", one after another

It needs Python and a package index: the first start makes ``.venv`` (see scripts/bootstrap.py). All steps run even if
one fails; the exit status is 1 if any of them fails. The last line is that of pytest.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from scripts.bootstrap import ROOT, enter, run


def parse_arguments(arguments: "list[str]") -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", metavar="PATH", help="run only the tests in these files or directories")
    parser.add_argument("-k", dest="expression", metavar="EXPR", help="run only tests that match this expression")
    parser.add_argument("-p", "--processes", metavar="N", default="auto",
                        help="number of test processes (as many as there are processors); 0: test in this one")
    parser.add_argument("--quick", action="store_true", help="leave out tests marked slow or interop")
    parser.add_argument("-q", "--quiet", action="store_true", help="print less about tests that pass")
    parser.add_argument("-a", "--noanimation", action="store_true", help="accepted for old scripts; nothing moves")
    parser.add_argument("-d", "--nodownload", action="store_true", help="accepted for old scripts; nothing is fetched")
    return parser.parse_args(arguments)


def pytest_command(options: argparse.Namespace) -> "list[str]":
    """The command line of pytest for these options."""
    command = [sys.executable, "-m", "pytest", "-n", options.processes]
    command += ["-k", options.expression] if options.expression else []
    command += ["-m", "not slow and not interop"] if options.quick else []
    command += ["-q"] if options.quiet else []
    command += ["--color=yes"] if sys.stdout.isatty() else []
    return [*command, *options.paths]


def check(name: str, command: "list[str]") -> bool:
    """Run one of the steps before the tests. Print a headline, and the output of the tool if it fails."""
    start = time.monotonic()
    process = subprocess.run(command, cwd=str(ROOT), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    verdict = "FAILED" if process.returncode else "ok"
    print(f"{name:<28} {verdict:<7} {time.monotonic() - start:6.1f} s", flush=True)
    if process.returncode:
        print(process.stdout.decode(errors="replace"), flush=True)
    return process.returncode == 0


def test(command: "list[str]") -> "tuple[bool, str]":
    """Run pytest and show its output; whether it succeeded, and its last line, which is not shown yet."""
    held = ""
    with subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                print(held, end="", flush=True)
                held = ""
            held += line.decode(errors="replace")
    return process.returncode == 0, held.strip("\n")


def main(arguments: "list[str]") -> int:
    """Run all steps; the exit status."""
    options = parse_arguments(arguments)
    enter("all", "dev")
    scripts = Path(sys.executable).parent
    steps = {
        "lint (ruff)": [sys.executable, "-m", "ruff", "check"],
        "types (mypy --strict)": [sys.executable, "-m", "mypy", "--strict"],
        "contracts (import-linter)": [shutil.which("lint-imports", path=str(scripts)) or "lint-imports"],
    }
    passed = {name: check(name, command) for name, command in steps.items()}
    print("tests (pytest)", flush=True)
    passed["tests (pytest)"], closing_line = test(pytest_command(options))
    failures = [name for name, good in passed.items() if not good]
    print(f"\nFailed: {', '.join(failures)}." if failures else "\nAll steps passed.")
    print(closing_line)
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
