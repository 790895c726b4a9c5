"""The example of a chat: its messages and a file arrive, and nothing is sent in clear."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not (find_spec("qh3") or find_spec("aioquic")), reason="streams need a QUIC library")
def test_the_chat_is_confidential(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "confidential_chat.py")], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=50,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "Bob heard, in a session with" in done.stdout
    assert "Ann heard, in a session with" in done.stdout
    assert "Bob got 1048576 bytes" in done.stdout
    assert "0 packets of the chat were sent in clear" in done.stdout
