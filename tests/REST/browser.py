"""A real browser for tests of the dashboard: Chromium, driven by Playwright, on pages of 127.0.0.1 only."""

from __future__ import annotations

import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from playwright.async_api import Browser, Page, Request, Response

__all__ = ["ARGUMENTS", "open_page", "overflow", "started_browser"]

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")
NO_BROWSER = "needs Chromium: apt-get install chromium"
NO_PLAYWRIGHT = "needs Playwright: pip install playwright"
TIMEOUT = 15_000


@asynccontextmanager
async def started_browser() -> AsyncIterator[Browser]:
    """A browser without a window. The test is skipped if there is none."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip(NO_BROWSER)
    playwright = pytest.importorskip("playwright.async_api", reason=NO_PLAYWRIGHT)
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(browser: Browser, url: str, *, width: int = 1440, height: int = 900, dark: bool = False,
                    allowed: Collection[str] = (), **options: Any) -> AsyncIterator[Page]:
    """A page in a new profile. At the end, nothing may have gone wrong on it.

    :param allowed: patterns of what may go wrong: of messages on the console, and of failed requests.
    :param options: further ones of the context, such as ``reduced_motion``.
    """
    context = await browser.new_context(viewport={"width": width, "height": height},
                                        color_scheme="dark" if dark else "light", **options)
    context.set_default_timeout(TIMEOUT)
    page = await context.new_page()
    faults = _watch(page)
    try:
        await page.goto(url)
        yield page
        wrong = [fault for fault in faults if not any(re.search(pattern, fault) for pattern in allowed)]
        assert not wrong, "\n".join(wrong)
    finally:
        await context.close()


def _watch(page: Page) -> list[str]:
    """What goes wrong on a page: a list that grows. What the policy of the page forbids is an error on the console."""
    faults: list[str] = []

    def failed(request: Request) -> None:
        # The page ends requests itself: when another page is shown, or it is loaded again, or nobody looks.
        if request.failure != "net::ERR_ABORTED":
            faults.append(f"{request.method} {request.url}: {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            faults.append(f"{response.request.method} {response.url}: status {response.status}")

    page.on("console", lambda message: faults.append(f"{message.type}: {message.text}")
            if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(f"exception: {error.stack or error.message}"))
    page.on("requestfailed", failed)
    page.on("response", answered)
    return faults


async def overflow(page: Page) -> int:
    """By how many pixels the page is too wide for the window."""
    wide: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
