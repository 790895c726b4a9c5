"""A short form of ``python -m benchmarks.fuzz``."""

from __future__ import annotations

import pytest

from benchmarks import fuzz

EXECUTIONS = 3000


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_nothing_goes_wrong(target: str) -> None:
    told: list[str] = []
    assert fuzz.run(target, EXECUTIONS, seed=1, report=told.append), told


def test_what_goes_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_chance: object) -> object:
        def execute() -> None:
            raise RuntimeError("broken")
        return execute

    monkeypatch.setitem(fuzz.TARGETS, "broken", failing)
    told: list[str] = []
    assert not fuzz.run("broken", 10, seed=7, report=told.append)
    assert "RuntimeError: broken" in told[0]
    assert "seed 7" in told[0]
