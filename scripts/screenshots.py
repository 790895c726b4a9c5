"""Take the pictures of the dashboard that the documentation shows, into ``doc/images/``.

It runs ``ipv8 demo --serve``, whose nodes stay on the loopback interface, and looks at the dashboard of one of them
with Chromium. It needs the package ``playwright`` and the command ``chromium``::

    python scripts/screenshots.py --seconds 120
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "doc" / "images"
LARGEST = 200_000
"""Bytes of one picture."""

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")
STOP_SECONDS = 30


class Picture(NamedTuple):
    """What is taken: a page, the colours, and the size of the window."""

    page: str
    colours: str
    width: int
    height: int

    @property
    def path(self) -> Path:
        """The file of the picture."""
        size = "-phone" if self.width < 500 else ""
        return IMAGES / f"dashboard-{self.page}{size}-{self.colours}.png"


PICTURES = (
    Picture("overview", "light", 1280, 900),
    Picture("overview", "dark", 1280, 900),
    Picture("network", "light", 1280, 900),
    Picture("traffic", "light", 1280, 900),
    Picture("circuits", "dark", 1280, 900),
    Picture("trust", "light", 1280, 900),
    Picture("overview", "light", 390, 844),
)


def main() -> int:
    """Take all pictures; the exit status is 1 if one of them is too large."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=12, help="how many nodes run")
    parser.add_argument("--seconds", type=float, default=120, help="for how long they run before the first picture")
    options = parser.parse_args()
    executable = shutil.which("chromium")
    if executable is None:
        print("chromium is missing: apt-get install chromium", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ipv8", "demo", "--serve", "--json", "--nodes", str(options.nodes)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo, sync_playwright() as driver:
        assert demo.stdout is not None, "it is a pipe"
        try:
            address = dashboard_of(demo.stdout)
            Thread(target=deque, args=(demo.stdout, 0), daemon=True).start()  # reads what it prints, and forgets it
            time.sleep(options.seconds)
            browser = driver.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
            sizes = [take(browser, address, picture) for picture in PICTURES]
            browser.close()
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(STOP_SECONDS)
    return 1 if max(sizes) > LARGEST else 0


def dashboard_of(lines: Iterator[str]) -> str:
    """The address that the demonstration prints."""
    for line in lines:
        if "dashboard" in (said := json.loads(line)):
            return str(said["dashboard"])
    raise RuntimeError("the demonstration has ended before it served the dashboard")


def take(browser: Browser, address: str, picture: Picture) -> int:
    """Take one picture; the number of its bytes."""
    context = browser.new_context(viewport={"width": picture.width, "height": picture.height},
                                  color_scheme="dark" if picture.colours == "dark" else "light",
                                  reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}/{picture.page}")
    page.locator("main[aria-busy=false]").wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=picture.path)
    context.close()
    size = picture.path.stat().st_size
    print(f"{picture.path.relative_to(ROOT)}: {size} bytes{', which is too many' if size > LARGEST else ''}")
    return size


if __name__ == "__main__":
    sys.exit(main())
