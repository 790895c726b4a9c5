from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import pytest

from ipv8.messaging.interfaces.lan_addresses.importshield import Platform, conditional_import_shield

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

HERE = next((name for name in Platform if name.value == platform.system()), Platform.ANY)


def test_platforms() -> None:
    assert [name.value for name in Platform] == [None, 0, "Windows", "Linux"]


@pytest.mark.parametrize("platf", [Platform.ANY, HERE])
def test_the_right_platform_runs_the_block(platf: Platform) -> None:
    ran = False
    with conditional_import_shield(platf) as shield:
        ran = True
    assert ran
    assert shield.right_platform
    assert not shield.package_overwritten
    assert shield.module_name == __name__


@pytest.mark.parametrize("verbose", [False, True])
def test_exceptions_stay_inside(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with conditional_import_shield(Platform.ANY, verbose):
        raise ValueError("broken")
    assert ("ValueError: broken" in capsys.readouterr().err) is verbose


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_gets_out(end: type[BaseException]) -> None:
    with pytest.raises(end), conditional_import_shield():
        raise end


SOURCE = """
from ipv8.messaging.interfaces.lan_addresses.importshield import Platform, conditional_import_shield
before = (__package__, __spec__)
reached = False
with conditional_import_shield(Platform.NONE, verbose=True) as shield:
    overwritten = shield.package_overwritten
    from .sibling import value
    reached = True
after = (__package__, __spec__)
with conditional_import_shield(Platform.ANY):
    from .sibling import value as later
"""


@pytest.fixture
def shielded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package = tmp_path / "shieldedpackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sibling.py").write_text("value = 5\n")
    (package / "user.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shieldedpackage.user  # type: ignore[import-not-found]  # written above

    yield shieldedpackage.user
    for name in [name for name in sys.modules if name.startswith("shieldedpackage")]:
        del sys.modules[name]


def test_the_wrong_platform_imports_nothing(shielded: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shielded.shield.right_platform
    assert shielded.shield.module_name == "shieldedpackage.user"
    assert shielded.shield.package_backup == "shieldedpackage"
    assert shielded.overwritten
    assert not shielded.reached
    assert not hasattr(shielded, "value")
    assert shielded.before == shielded.after
    assert shielded.later == 5
    assert capsys.readouterr().err == ""


def test_the_wrong_platform_prints_what_is_no_import_error(capsys: pytest.CaptureFixture[str]) -> None:
    with conditional_import_shield(Platform.NONE, verbose=True):
        raise ModuleNotFoundError("not exactly an ImportError")
    assert "not exactly" in capsys.readouterr().err
