"""Servers: programs that run until SIGINT (Ctrl+C) or SIGTERM, and then stop cleanly."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any

from ..util import run_forever

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["print_event", "serve_until_stopped", "tls_context"]


async def serve_until_stopped(start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
    """Start a server, wait for a signal, and stop it. A signal during the start ends that as well.

    :param stop: it is called in any case, also if the start failed.
    """
    stopping = asyncio.ensure_future(run_forever())
    starting = asyncio.ensure_future(start())
    try:
        await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
    finally:
        stopping.cancel()
        starting.cancel()
        await asyncio.gather(stopping, starting, return_exceptions=True)
        await stop()


def tls_context(cert_file: str) -> ssl.SSLContext:
    """What a server needs to speak HTTPS.

    :param cert_file: a PEM file with certificate and private key.
    :raises ValueError: if the file has something else.
    :raises OSError: if it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert_file)
    except ssl.SSLError as e:
        raise ValueError(f"{cert_file} does not hold a certificate and its private key, both in PEM") from e
    return context


def print_event(name: str, **details: Any) -> None:
    """Print what happened as one line of JSON."""
    print(json.dumps({"event": name, **details}), flush=True)
