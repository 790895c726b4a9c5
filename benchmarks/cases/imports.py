"""How long programs wait for their imports, in fresh interpreters with compiled files in place."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.library import Library
from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS = 5
PROGRAM = "import time; start = time.perf_counter(); import {module}; print((time.perf_counter() - start) * 1000)"


def measure() -> Iterator[Figure]:
    """Yield the time until each module is there."""
    library = Library.running()
    for module in ("ipv8", "ipv8.community", "ipv8_service"):
        command = library.script(PROGRAM.format(module=module))
        times = [float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
                 for _ in range(ATTEMPTS + 1)]
        yield Figure(f"import {module}", min(times[1:]), "ms")
