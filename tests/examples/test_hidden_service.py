"""The example of a hidden service: it answers a client in another process, by way of relays in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LONGEST = 90


@pytest.mark.timeout(LONGEST + 10)
def test_a_hidden_service_answers(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "hidden_service_1.py")], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=LONGEST,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "It answers: Hello stranger, from the service with the key" in done.stdout
