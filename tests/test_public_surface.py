"""The names of the package: all there, all lazy, and the same for type checkers as at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ipv8

SOURCE = Path(ipv8.__file__)


def declared_to_type_checkers() -> dict[str, str]:
    """Name to module, from the imports that only type checkers see."""
    return {
        alias.asname or alias.name: f"ipv8.{node.module}"
        for block in ast.parse(SOURCE.read_text(encoding="utf-8")).body if isinstance(block, ast.If)
        for node in block.body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def in_new_interpreter(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True,
                         cwd=SOURCE.parent.parent)
    return run.stdout.strip()


def test_type_checkers_see_what_can_be_imported() -> None:
    assert sorted(declared_to_type_checkers()) == ipv8.__all__


@pytest.mark.parametrize(("name", "module"), sorted(declared_to_type_checkers().items()))
def test_name_is_the_object_of_its_module(name: str, module: str) -> None:
    assert getattr(ipv8, name) is getattr(import_module(module), name)


def test_names_of_the_readme_are_there() -> None:
    wanted = {"Community", "CommunitySettings", "IPv8", "Peer", "ConfigBuilder", "lazy_wrapper", "VariablePayload",
              "vp_compile", "DataClassPayload", "message", "run", "RequestCache"}
    assert wanted <= set(ipv8.__all__) <= set(dir(ipv8))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Comunity'"):
        ipv8.Comunity  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import __future__, sys; old = {*sys.modules}; import ipv8; print({*sys.modules} - old)"
    loaded = in_new_interpreter(program)
    assert loaded == "{'ipv8'}"


def test_community_loads_only_what_every_overlay_needs() -> None:
    """What declares messages, carries packets, traces them or explains mistakes is loaded when it is used."""
    loaded = in_new_interpreter("import sys, ipv8.community; print(*sys.modules)").split()
    rare = {"difflib", "ipv8.declaration", "ipv8.messaging.payload_dataclass", "ipv8.contact.relaying",
            "ipv8.contact.carriage", "ipv8.messaging.interfaces.trace", "ipv8.asking", "ipv8.database"}
    assert "ipv8.contact.nat" in loaded
    assert not rare & {*loaded}


def test_importing_a_message_class_opens_no_event_loop_modules() -> None:
    loaded = in_new_interpreter("import sys; from ipv8 import VariablePayload; print('asyncio' in sys.modules)")
    assert loaded == "False"


def test_everything_by_star() -> None:
    assert in_new_interpreter("from ipv8 import *; print(Community.__module__, Peer.__module__)") == (
        "ipv8.community ipv8.peer")
