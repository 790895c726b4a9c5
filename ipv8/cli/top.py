"""``ipv8 top``: look at a running node through its REST API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.live import Live

from .snapshot import ForeignAnswer, look
from .status import FAILURE, SUCCESS, UNSUCCESSFUL, print_error
from .top_view import picture, report

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from .snapshot import Client, Snapshot

__all__ = ["TopOptions", "watch"]

ANSWER_SECONDS = 10.0
"""Seconds for which an answer is waited for."""

KEYS_THAT_END = "qQ\x1b"


class TopOptions(NamedTuple):
    """What ``ipv8 top`` shows.

    :param url: of the REST API.
    :param api_key: its key, if it needs one.
    :param ca_file: a PEM file with the certificate that the node proves itself with, or of who signed that.
    :param interval: seconds between two looks; ``None`` for one look.
    :param as_json: print what the node answered, as lines of JSON.
    """

    url: str
    api_key: str | None = None
    ca_file: str | None = None
    interval: float | None = None
    as_json: bool = False

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__} {self.url}>"


async def watch(options: TopOptions) -> int:
    """Show a node until the user ends it; the exit status."""
    from ..REST.client import IPv8Client, RequestFailed, Unreachable

    try:
        async with IPv8Client(options.url, options.api_key, ssl=_context(options), timeout=ANSWER_SECONDS) as client:
            await _show(client, options)
    except RequestFailed as e:
        print_error(f"ipv8 top: {_refusal(e.status, e.message, options)}")
        return FAILURE if e.status == 401 else UNSUCCESSFUL
    except ForeignAnswer as e:
        print_error(f"ipv8 top: what answers at {options.url} is not a node of this version ({e})")
        return UNSUCCESSFUL
    except Unreachable as e:
        print_error(f"ipv8 top: {e}. 'ipv8 run' prints the address of the REST API of the node")
        return UNSUCCESSFUL
    return SUCCESS


def _context(options: TopOptions) -> ssl.SSLContext | None:
    if options.ca_file is None:
        return None
    import ssl

    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except ssl.SSLError as e:
        raise ValueError(f"{options.ca_file} has no certificate in PEM") from e


def _refusal(status: int, message: str, options: TopOptions) -> str:
    if status == 401:
        wrong = "the API key is wrong" if options.api_key else "the node needs its API key"
        return (f"{wrong}: give it with --key-file FILE, or in the environment variable IPV8_API_KEY. A node that made "
                "its key itself keeps it in the file rest.key in its working directory")
    if status == 404:
        return f"the node at {options.url} does not tell this: it is another version, or it is not observed"
    return f"the node at {options.url} refuses to answer, with status {status}: {message}"


async def _show(client: Client, options: TopOptions) -> None:
    console = Console()
    if options.as_json:
        await _print_json(client, options)
    elif options.interval is None or not console.is_terminal or console.is_dumb_terminal:
        _, snapshot = await look(client)
        console.print(report(snapshot, options.url, console.width))
    else:
        await _draw(client, options, console, options.interval)


async def _print_json(client: Client, options: TopOptions) -> None:
    while True:
        answers, _ = await look(client)
        print(json.dumps({path.rpartition("/")[2]: answer for path, answer in answers.items()}), flush=True)
        if options.interval is None:
            return
        await asyncio.sleep(options.interval)


async def _draw(client: Client, options: TopOptions, console: Console, interval: float) -> None:
    """Draw the node until a key is pressed that ends it."""
    _, snapshot = await look(client)  # what goes wrong at first is told without clearing the screen
    before: Snapshot | None = None
    looked_at, seconds = monotonic(), 0.0
    ended = asyncio.Event()
    with _keys(ended), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            size = console.size
            live.update(picture(snapshot, before, seconds, options.url, size.width, size.height), refresh=True)
            if await _wait(ended, console, looked_at + interval):
                if ended.is_set():
                    return
                continue  # the terminal has another size
            before = snapshot
            _, snapshot = await look(client)
            now = monotonic()
            looked_at, seconds = now, now - looked_at


async def _wait(ended: asyncio.Event, console: Console, until: float) -> bool:
    """Wait for the time of the next look; whether something else happened before."""
    size = console.size
    while monotonic() < until:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), min(max(until - monotonic(), 0), 0.1))
        if ended.is_set() or console.size != size:
            return True
    return False


@contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """Set the event when a key is pressed that ends it, if the input is a terminal of POSIX."""
    try:
        import termios
        import tty
    except ImportError:
        yield
        return
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)

    def read() -> None:
        if any(key in KEYS_THAT_END for key in os.read(number, 64).decode(errors="replace")):
            ended.set()

    loop: Any = asyncio.get_running_loop()
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)

