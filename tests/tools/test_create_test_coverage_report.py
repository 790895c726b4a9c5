"""The coverage report, of a project small enough to know what it has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import create_test_coverage_report

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
[tool.coverage.run]
branch = true
source = ["package"]
parallel = true
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, text in {
        "pyproject.toml": SETTINGS,
        "package/__init__.py": "",
        "package/whole.py": "ONE = 1\n",
        "package/inner/__init__.py": "",
        "package/inner/half.py": "def half(a):\n    if a:\n        return 1\n    return 2\n",
        "test_package.py": "import package.whole\nfrom package.inner.half import half\n\n"
                           "def test_half():\n    assert half(1) == 1\n",
        "test_nothing.py": "def test_nothing():\n    assert not 1\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(create_test_coverage_report, "ROOT", tmp_path)
    monkeypatch.setattr(create_test_coverage_report, "enter", lambda *_: None)
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):  # of a run that measures this test
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_report_of_a_run(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert create_test_coverage_report.main(["-p", "no:xdist", "test_package.py"]) == 0
    output = capfd.readouterr().out
    for line in (" 100.0 %  package\n", "  66.7 %  package/inner\n", "  66.7 %  package/inner/half.py\n"):
        assert line in output
    assert "  package/whole.py\n" not in output
    assert output.endswith("Statements and branches reached: 71.4 %. See coverage/index.html and coverage.md.\n")
    assert "half" in (project / "coverage" / "index.html").read_text(encoding="utf-8")
    assert "| package/inner/half.py " in (project / "coverage.md").read_text(encoding="utf-8")


def test_failing_test_is_reported_and_fails(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert create_test_coverage_report.main(["-p", "no:xdist", "test_package.py", "test_nothing.py"]) == 1
    assert "71.4 %" in capfd.readouterr().out
    assert (project / "coverage" / "index.html").exists()


def test_run_that_reaches_nothing_says_so(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "pyproject.toml").write_text(SETTINGS.replace('"package"', '"absent"'))
    assert create_test_coverage_report.main(["-p", "no:xdist", "test_nothing.py"]) == 1
    assert "nothing to report" in capfd.readouterr().out
    assert not (project / "coverage").exists()


def test_run_that_did_not_finish_has_no_report(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert create_test_coverage_report.main(["-p", "no:xdist", "test_absent.py"]) == 4
    assert "Packages" not in capfd.readouterr().out
    assert not (project / "coverage").exists()
