"""The example of the proxy: a stock HTTP client fetches a page through three hops in other processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LONGEST = 120


@pytest.mark.slow
@pytest.mark.timeout(LONGEST + 10)
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_a_page_through_three_hops(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "anonymity_1.py")], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=LONGEST,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "circuits of 3 hops" in done.stdout
    assert "Hello, whoever you are. Your request for /page came from 127.0.0.1" in done.stdout
