"""The programs of the overlay and the discovery strategy tutorials do what they are to show."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.configuration import DISPERSY_BOOTSTRAPPER

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def run_until(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
              capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[ModuleType, str]]:
    """Run an example, without public servers and in an empty directory, until it has printed something."""
    monkeypatch.chdir(tmp_path)
    for table in ("ip_addresses", "dns_addresses"):
        monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], table, [])

    def run(name: str, *expected: str) -> tuple[ModuleType, str]:
        spec = importlib.util.spec_from_file_location(f"{name}_of_test", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        output = ""

        async def until_printed() -> None:
            nonlocal output
            while not all(text in output for text in expected):
                await asyncio.sleep(0.01)
                output += capsys.readouterr().out

        module.run_forever = until_printed
        asyncio.run(module.main())
        gc.collect()
        return module, output

    return run


def test_overlay_1(run_until: Any, tmp_path: Path) -> None:
    run_until("overlay_tutorial_1", "listening on port")
    assert [path.name for path in tmp_path.iterdir()] == ["ec_multichain.pem"]


def test_overlay_2(run_until: Any) -> None:
    _, output = run_until("overlay_tutorial_2", "listening on port")
    assert len({line for line in output.splitlines() if "port" in line}) == 2


def test_overlay_3(run_until: Any, tmp_path: Path) -> None:
    _, output = run_until("overlay_tutorial_3", "runs ['MyCommunity']")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ec1.pem", "ec2.pem"]
    assert output.count("runs ['MyCommunity']") == 2


def test_overlay_4(run_until: Any) -> None:
    _, output = run_until("overlay_tutorial_4", "and I found")
    assert "I am Peer<" in output


def test_overlay_5(run_until: Any) -> None:
    run_until("overlay_tutorial_5", "has clock 1 after", "has clock 2 after")


def test_discovery_strategy_1(run_until: Any) -> None:
    run_until("discoverystrategy_tutorial_1", "asking Peer<")


def test_discovery_strategy_2(run_until: Any) -> None:
    _, output = run_until("discoverystrategy_tutorial_2", "LaunchedCommunity walks by AskAnybody up to -1 peers")
    assert "MyCommunity walks by AskAnybody" in output


def test_identity(tmp_path: Path) -> None:
    """Three processes: the authority, the holder and the verifier."""
    root = EXAMPLES.parent
    done = subprocess.run([sys.executable, str(EXAMPLES / "identity_tutorial.py")], cwd=tmp_path, check=True,
                          capture_output=True, text=True, timeout=50, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.stderr == ""
    for line in ("The holder has a credential with the claims ['city', 'given_name'], and ranges for ['age'].",
                 "The verifier knows by the authority: {'given_name': 'Ann'} and age >= 18.",
                 "The verifier is 100% certain that the colour is red.",
                 "The verifier is 0% certain that the colour is blue.",
                 "The verifier refuses: the authority has revoked the credential."):
        assert line in done.stdout.splitlines()
