"""``python -m interop.surface``: print differences that are not listed, and entries without a difference."""

from __future__ import annotations

import argparse
import sys

from interop import environment
from interop.surface.listed import LIST, find, read_list, stale, unlisted


def main() -> int:
    """Compare both libraries; 1 if the list has to be changed."""
    what = (__doc__ or "").partition(": ")[2]
    argparse.ArgumentParser(prog="python -m interop.surface", description=what).parse_args()
    entries = read_list(LIST.read_text(encoding="utf-8"))
    found = find(environment.theirs(), environment.ours())
    new, old = unlisted(found, entries), stale(found, entries)
    for difference in new:
        print(difference)
    for entry in old:
        print(f"no longer: {entry.pattern}")
    print(f"{len(found)} differences, {len(new)} not listed; {len(old)} entries without a difference", file=sys.stderr)
    return 1 if new or old else 0


if __name__ == "__main__":
    sys.exit(main())
