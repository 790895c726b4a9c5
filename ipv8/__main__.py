"""``python -m ipv8``: see :mod:`ipv8.cli.main`."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
