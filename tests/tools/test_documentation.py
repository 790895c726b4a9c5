"""What the documentation shows is true: programs print what the page says, listings are files, links lead somewhere.

A block ``python program`` is run, and a block ``text output`` behind it is what it prints. A plain ``python`` block is
part of a program: it must be valid, and the library's names that it imports must exist. ``<!-- file: PATH -->``
before a block says that it shows that file.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import pytest

from ipv8.peerdiscovery.tracker import TrackerLimits

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "doc").rglob("*.md")] if path.name != "coverage.md")
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
                   re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block and where it stands."""

    page: str
    line: int
    info: str
    text: str
    file: str | None
    output: str | None

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    following = [*found, None][1:]
    return [
        Block(page.name, text.count("\n", 0, block.start()) + 1, block["info"], block["text"], block["file"],
              after["text"] if after is not None and after["info"] == "text output" else None)
        for block, after in zip(found, following, strict=True)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PROGRAMS = [block for block in BLOCKS if block.info == "python program"]
LISTINGS = [block for block in BLOCKS if block.info.startswith("python")]


def named(blocks: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in blocks]


def test_there_is_something_to_test() -> None:
    assert len(PROGRAMS) >= 15
    assert any(block.page == "README.md" for block in LISTINGS)


@pytest.mark.parametrize("block", named(PROGRAMS))
def test_program_prints_what_the_page_says(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    run = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=50,
                         env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    if block.output is not None:
        assert run.stdout == block.output
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"], "programs leave no files behind"


@pytest.mark.parametrize("block", named(LISTINGS))
def test_listing_is_valid_and_imports_what_exists(block: Block) -> None:
    compile(block.text, block.name, "exec", dont_inherit=True)  # finds more than the parser, such as a bare await
    for node in ast.walk(ast.parse(block.text, block.name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "ipv8":
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("block", named([block for block in BLOCKS if block.file]))
def test_listing_is_the_file(block: Block) -> None:
    assert block.file is not None
    assert block.text == (ROOT / block.file).read_text(encoding="utf-8")


def anchors_of(page: Path) -> set[str]:
    """The fragments of the headings of a page, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        target, _, fragment = link.partition("#")
        if "://" in target:
            continue
        destination = (page.parent / target).resolve() if target else page
        assert destination.exists(), f"{page.name} links to {target}, which does not exist"
        assert not fragment or fragment in anchors_of(destination), f"{destination.name} has no heading #{fragment}"


def test_every_page_is_in_the_index() -> None:
    linked = set(LINK.findall((ROOT / "doc" / "index.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "doc").glob("*.md")} - {"index.md"}
    assert pages <= linked


COMMAND = re.compile(r"(?:python3? (?:-m )?|ipv8 |pip )(?:[^#\n]*)")
TOOLS = {"pytest"}  # of others, installed with the extra "dev"


def commands() -> list[object]:
    """The commands that readers are told to start, in blocks of the shell and in code spans, each with its place."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line.strip() for block in blocks_of(page) if block.info == "sh" for line in block.text.splitlines()]
        spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
        for words in [*lines, *spans]:
            if match := COMMAND.fullmatch(words.partition("  #")[0].rstrip()):
                found.setdefault(match[0], page.name)
    return [pytest.param(shlex.split(command), id=f"{page}: {command}") for command, page in found.items()]


@cache
def help_of(*program: str) -> str | None:
    """What a program of this tree says with ``--help``; nothing if it is refused."""
    run = subprocess.run([sys.executable, *program, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=50,
                         check=False)
    return run.stdout if run.returncode == 0 else None


def section_of_project_file(name: str) -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.partition(f"[{name}]\n")[2].partition("\n[")[0]


@pytest.mark.parametrize("words", commands())
def test_command_exists_and_knows_the_options(words: list[str]) -> None:
    program, *arguments = words
    if program == "pip":
        extras = set(re.findall(r"^(\w+) = \[", section_of_project_file("project.optional-dependencies"), re.MULTILINE))
        assert arguments[0] == "install"
        assert {extra for name in re.findall(r"\[(.+)\]", arguments[1]) for extra in name.split(",")} <= extras
        return
    if program == "ipv8":
        assert 'ipv8 = "ipv8.cli.main:main"' in section_of_project_file("project.scripts")
        start = ["-m", "ipv8"]
    elif arguments[0] == "-m":
        start, arguments = arguments[:2], arguments[2:]
        if start[1] in TOOLS:
            return
    elif arguments[0].startswith("-"):
        return  # an option of Python itself
    else:
        start, arguments = arguments[:1], arguments[1:]
    answer = help_of(*start)
    assert answer is not None, f"{start} does not exist"
    for word in arguments:
        if not word.startswith("-") and f"{word} " in answer and (more := help_of(*start, word)):
            start, answer = [*start, word], more + answer
    for option in (word.partition("=")[0] for word in arguments if word.startswith("-")):
        assert re.search(rf"(?<![-\w]){option}(?![-\w])", answer), f"{start} has no option {option}"
    if start[:2] == ["-m", "ipv8"] and arguments and not arguments[0].startswith("-"):
        assert len(start) > 2, f"there is no command {arguments[0]}"


def test_short_form_fits_in_few_lines() -> None:
    source = (ROOT / "examples" / "chat.py").read_text(encoding="utf-8")
    body = [line for line in source.splitlines() if line.strip() and not line.startswith('"""')]
    assert len(body) <= 15


LIMIT_TABLE = re.compile(r"^\| in `(?P<room>[\w.]+)` \|.*\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)
LIMIT_ROW = re.compile(r"^\| (?P<names>`\w[^|]*`) \| (?P<values>[^|]+) \|", re.MULTILINE)
LIMIT_NAME = re.compile(r"(?:^|_)(?:MAX|PER|LIMIT|LIFETIME|CAPACITY|GRACE|AT_ONCE|CACHE_SIZE)(?:_|$)")
ROOMS_WITHOUT_STRANGERS = {"cli", "test"}  # programs, whose limits are options, and the test kit
NO_LIMITS_OF_STRANGERS = {
    "ipv8.messaging.anonymization.guards.MAX_FILE_SIZE": "a file that only the node writes",
    "ipv8.verification.SECONDS_PER_KEY": "what something costs, not how much of it there may be",
    "ipv8.verification.SECONDS_PER_SIGNATURE": "likewise",
    "ipv8.verification.COSTLY_SECONDS_PER_SIGNATURE": "likewise",
    "ipv8.bootstrapping.dispersy.bootstrapper.MAX_DOUBLINGS": "keeps a pause between packets of ours finite",
    "ipv8.bootstrapping.memory.bootstrapper.FILE_SIZE_LIMIT": "a file that only the node writes",
    "ipv8.dht.storage.DEFAULT_MAX_AGE": "the node says how long each value may live",
    "ipv8.checks.MAX_SHOWN": "how much of a value of the program is in a message",
    "ipv8.calls.STOP_GRACE": "how long calls of the program may clean up",
    "ipv8.util.SIGNAL_GRACE": "for how long a signal to the program is ignored",
    "ipv8.keyvault.files.SIZE_LIMIT": "a file that only the node writes",
    "ipv8.keyvault.passphrases.MAX_DERIVED_KEYS": "keys for files that only the node writes",
    "ipv8.keyvault.passphrases.MAX_LOG_N": "a file that only the node writes",
    "ipv8.keyvault.passphrases.MAX_P": "likewise",
    "ipv8.keyvault.passphrases.MAX_R": "likewise",
    "ipv8.attestation.credentials.credential.DEFAULT_LIFETIME": "the program says how long a credential is valid",
    "ipv8.attestation.credentials.questions.MAX_ANSWER_SIZE": "follows from MAX_PARTS",
    "ipv8.messaging.interfaces.gate.DELIVERIES_PER_LOOK": "how often the clock is read",
    "ipv8.messaging.serialization.PLAN_LIMIT": "payload classes are part of the program",
    "ipv8.trust.edges.MAX_EXPONENT": "when numbers are scaled",
    "ipv8.trust.engine.REBUILDS_PER_HALF_LIFE": "how often walks are drawn anew",
    "ipv8.trust.extractors.MAX_NUMBER": "whole numbers that are larger than numbers with a point can be",
    "ipv8.messaging.session.window.COUNTER_LIMIT": "what a number has room for",
    "ipv8.messaging.session.wire.MAX_DATAGRAM": "what this node sends",
    "ipv8.messaging.session.wire.MAX_FRAMES": "likewise",
    "ipv8.messaging.session.wire.MAX_QUIC_DATAGRAM": "likewise",
    "ipv8.taskmanager.MAX_TASK_AGE": "when a task of the program is reported",
    "ipv8.taskmanager.SHUTDOWN_GRACE": "how long tasks of the program may clean up",
}


def limits_of_the_page() -> dict[str, float]:
    """The constants that the page lists, by full name; names behind the first of a row are of the same module."""
    limits: dict[str, float] = {}
    for table in LIMIT_TABLE.finditer((ROOT / "doc" / "security.md").read_text(encoding="utf-8")):
        for row in LIMIT_ROW.finditer(table["rows"]):
            first, *others = re.findall(r"`([\w.]+)`", row["names"])
            full = f"{table['room']}.{first}"
            names = [full, *(f"{full.rpartition('.')[0]}.{other}" for other in others)]
            values = [float(Fraction(value)) for value in row["values"].split(", ")]
            limits.update(zip(names, values, strict=True))
    return limits


def limits_of_the_code() -> set[str]:
    """Module-level constants that are named like limits."""
    names = set()
    for path in (ROOT / "ipv8").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] in ROOMS_WITHOUT_STRANGERS:
            continue
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names |= {".".join((*parts, node.id)) for target in targets for node in ast.walk(target)
                          if isinstance(node, ast.Name) and node.id.isupper() and LIMIT_NAME.search(node.id)}
    return names


@pytest.mark.parametrize(("constant", "value"), limits_of_the_page().items())
def test_limit_is_what_the_page_says(constant: str, value: float) -> None:
    assert resolve_name(constant) == value


def test_every_limit_is_on_the_page() -> None:
    limits, exceptions = limits_of_the_code(), NO_LIMITS_OF_STRANGERS.keys()
    assert limits - exceptions <= limits_of_the_page().keys()
    assert exceptions <= limits, "an exception for what is no constant any more"
    assert {f"ipv8.peerdiscovery.tracker.TrackerLimits.{field.name}"
            for field in fields(TrackerLimits)} <= limits_of_the_page().keys()
