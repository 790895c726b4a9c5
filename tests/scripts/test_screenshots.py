"""The pictures of the dashboard, and the program that takes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "screenshots.py"


@pytest.fixture
def screenshots() -> Any:
    pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    spec = importlib.util.spec_from_file_location("screenshots_of_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_there_and_small(screenshots: Any) -> None:
    paths = {picture.path for picture in screenshots.PICTURES}
    assert len(paths) == len(screenshots.PICTURES)
    assert paths == set(screenshots.IMAGES.glob("dashboard-*.png"))
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size <= screenshots.LARGEST


def test_address_of_the_dashboard(screenshots: Any) -> None:
    lines = iter(['{"event": "started"}\n', '{"dashboard": "http://127.0.0.1:1/dashboard"}\n', "more\n"])
    assert screenshots.dashboard_of(lines) == "http://127.0.0.1:1/dashboard"
    with pytest.raises(RuntimeError, match="ended before"):
        screenshots.dashboard_of(iter(['{"event": "ended"}\n']))
