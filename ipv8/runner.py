"""Nodes for programs that only run their own overlays, without a configuration.

Until Ctrl+C::

    run(Chat)

or inside of a program of its own::

    async with running(Chat) as node:
        chat = node.get_overlay(Chat)
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from .calls import call
from .checks import number_problem, shown
from .configuration import (
    Bootstrapper,
    BootstrapperDefinition,
    ConfigBuilder,
    Strategy,
    WalkerDefinition,
    default_bootstrap_defs,
)
from .messaging.inet import parse_host
from .service import IPv8
from .util import run_forever

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from .overlay import Overlay

__all__ = ["add_overlay", "bootstrappers_of", "parse_host_and_port", "run", "running"]

WALK_TIMEOUT = 3.0
"""Seconds after which the walkers treat a contacted address as unreachable."""

TRACKER_PAUSE = 10.0
"""Seconds between two requests to the trackers that a program names, once a peer was met."""

T = TypeVar("T")
Trackers = str | tuple[str, int]


@runtime_checkable
class _Startable(Protocol):
    """An overlay class that is told that the node has started."""

    def started(self) -> object:
        """Called after the sockets were opened."""


@asynccontextmanager
async def running(*overlay_classes: type[Overlay[Any]], port: int = 0, address: str = "0.0.0.0",  # noqa: S104 - all interfaces
                  key_file: str | os.PathLike[str] | None = None, tracker: Trackers | Iterable[Trackers] | None = None,
                  bootstrappers: Iterable[BootstrapperDefinition] | None = None, peers: int = 20,
                  ) -> AsyncIterator[IPv8]:
    """A node that runs overlays inside of an ``async with`` block; ``as`` gives the node.

    The parameters are those of :func:`run`. Signals are left to the program.
    """
    configuration, names = _configure(overlay_classes, port, address, key_file, tracker, bootstrappers, peers)
    async with IPv8(configuration, extra_communities=names) as node:
        await _call_started(node)
        yield node


def run(*overlay_classes: type[Overlay[Any]], port: int = 0, address: str = "0.0.0.0",  # noqa: S104 - all interfaces
        key_file: str | os.PathLike[str] | None = None, tracker: Trackers | Iterable[Trackers] | None = None,
        bootstrappers: Iterable[BootstrapperDefinition] | None = None, peers: int = 20, seconds: float | None = None,
        main: Callable[[IPv8], Awaitable[T]] | None = None) -> T | None:
    """Run overlays until Ctrl+C (SIGINT) or SIGTERM, then stop them.

    Each overlay gets a random walk. Its method ``started()``, plain or async, is called if it has one.

    :param overlay_classes: the classes of the overlays.
    :param port: the UDP port; if it is in use, the next free one is taken. 0 takes any free port.
    :param address: the IPv4 address to listen on.
    :param key_file: the file with the private key, which is made if it does not exist. The addresses of good peers are
        kept in a directory of the same name with ``.peers`` at its end, and contacted first at the next start. Without
        a file, a new key is made for this run.
    :param tracker: where first peers are found, in place of the public bootstrap servers: ``"host:port"``, or a tuple
        of both, or several of these. The host is a name or an IP address.
    :param bootstrappers: how else first peers are found; not together with ``tracker``.
    :param peers: how many peers each overlay looks for.
    :param seconds: stop after this time.
    :param main: an async function that is called with the node when it has started. The node is stopped when the
        function returns, and what it returns is returned here.
    :returns: what ``main`` returned; ``None`` if it was interrupted, or there is none.
    """
    configured = _configure(overlay_classes, port, address, key_file, tracker, bootstrappers, peers)
    if seconds is not None:
        _check_number("seconds", seconds)
    if main is not None and not callable(main):
        raise TypeError(f"main must be an async function that takes the node, not {shown(main)}")
    return asyncio.run(_run(*configured, seconds, main))


def _configure(overlay_classes: tuple[type[Overlay[Any]], ...], port: int, address: str,
               key_file: str | os.PathLike[str] | None, tracker: Trackers | Iterable[Trackers] | None,
               bootstrappers: Iterable[BootstrapperDefinition] | None, peers: int,
               ) -> tuple[dict[str, Any], dict[str, type[Overlay[Any]]]]:
    """The configuration, and the classes by the names that they have there."""
    from .overlay import Overlay

    if not overlay_classes:
        raise ValueError("give at least one overlay class")
    for overlay_class in overlay_classes:
        if not (isinstance(overlay_class, type) and issubclass(overlay_class, Overlay)):
            raise TypeError(f"{shown(overlay_class)} is no overlay: give subclasses of ipv8.Community")
    _check_number("peers", peers)
    if tracker is not None:
        if bootstrappers is not None:
            raise ValueError("give either tracker or bootstrappers: a tracker is one of these")
        bootstrappers = bootstrappers_of(_each(tracker))
    if bootstrappers is not None:
        bootstrappers = _definitions(bootstrappers)
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address(address).set_port(port)
    if key_file is None:
        builder.add_ephemeral_key("my peer")
    else:
        builder.add_key("my peer", "curve25519", key_file)
    names = {f"{overlay_class.__module__}.{overlay_class.__qualname__}#{index}": overlay_class
             for index, overlay_class in enumerate(overlay_classes)}
    for name, overlay_class in names.items():
        # Their methods are called by _call_started: the walkers would wait for on_start calls.
        add_overlay(builder, name, overlay_class, "my peer", bootstrappers, peers, call_started=False)
    if key_file is not None:
        builder.remember_peers(f"{os.fspath(key_file)}.peers")
    return builder.finalize(), names


def _check_number(name: str, value: object) -> None:
    problem = number_problem(value)
    if problem is not None:
        raise TypeError(f"{name} {problem}")


def _definitions(bootstrappers: Iterable[BootstrapperDefinition]) -> list[BootstrapperDefinition]:
    """A list of definitions of bootstrappers.

    :raises TypeError: for anything else.
    """
    entries = [*bootstrappers]
    if not all(isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], Bootstrapper)
               for entry in entries):
        raise TypeError("bootstrappers must be a list of BootstrapperDefinition(...), or [] for none, not "
                        f"{shown(bootstrappers)}")
    return [BootstrapperDefinition(*entry) for entry in entries]


def add_overlay(builder: ConfigBuilder, name: str, overlay_class: type[Overlay[Any]], key_alias: str,
                bootstrappers: Iterable[BootstrapperDefinition] | None = None, peers: int = 20,
                call_started: bool = True) -> None:
    """Add an overlay with a random walk to a configuration; the parameters are those of :func:`run`.

    :param call_started: whether its method ``started``, if it has one, is called when the node starts.
    """
    default_limit = _default_max_peers(overlay_class)
    builder.add_overlay(
        name, key_alias, [WalkerDefinition(Strategy.RandomWalk, peers, {"timeout": WALK_TIMEOUT})],
        default_bootstrap_defs if bootstrappers is None else bootstrappers,
        # A limit at or below the target divides the network into groups that are full (doc/protocol/discovery.md
        # section 7.3).
        {"max_peers": peers + peers // 2} if 0 <= default_limit <= peers else {},
        [("started",)] if call_started and issubclass(overlay_class, _Startable) else [])


def parse_host_and_port(text: str) -> tuple[str, int]:
    """The two parts of ``HOST:PORT`` or ``[IPV6]:PORT``.

    :raises ValueError: if it is not that. The message says what it should be.
    """
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # where the port begins is anybody's guess
        host = ""
    if not _is_host(host) or not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{text!r:.80} is not HOST:PORT, such as 192.0.2.1:6421, [2001:db8::1]:6421 or "
                         "tracker.example.org:6421")
    return host, int(port)


def _is_host(text: str) -> bool:
    """Whether a text is an IP address, or looks like a name."""
    if parse_host(text) is not None:
        return "%" not in text  # interfaces of one machine mean nothing to others
    labels = text.rstrip(".").split(".")
    return (0 < len(text) < 254 and not labels[-1].isdecimal()
            and all(0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels))


def bootstrappers_of(trackers: Iterable[Trackers]) -> list[BootstrapperDefinition]:
    """The bootstrapper that asks trackers, each given as ``"host:port"`` or as a tuple of both.

    :raises ValueError: if one of them is not that, or there is none.
    """
    places = [parse_host_and_port(tracker if isinstance(tracker, str) else _as_text(tracker)) for tracker in trackers]
    if not places:
        raise ValueError("give at least one tracker, or bootstrappers=[] for none")
    return [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
        "ip_addresses": [(host, port) for host, port in places if parse_host(host) is not None],
        "dns_addresses": [(host, port) for host, port in places if parse_host(host) is None],
        "bootstrap_timeout": TRACKER_PAUSE})]


def _each(tracker: Trackers | Iterable[Trackers]) -> Iterable[Trackers]:
    """All trackers, also if it is only one, that is a text or a tuple of host and port."""
    if isinstance(tracker, str):
        return [tracker]
    entries: list[Any] = [*tracker]
    is_one = isinstance(tracker, tuple) and len(entries) == 2 and not isinstance(entries[1], (str, tuple))
    return [(entries[0], entries[1])] if is_one else entries


def _as_text(place: tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _default_max_peers(overlay_class: type[Overlay[Any]]) -> int:
    """The number of peers that an overlay has by default at most; negative for any number."""
    from .community import CommunitySettings

    settings_class = overlay_class.settings_class
    return settings_class.max_peers if issubclass(settings_class, CommunitySettings) else -1


async def _call_started(node: IPv8) -> None:
    """Call the methods ``started`` of the overlays, at the same time; the first exception is raised."""
    await asyncio.gather(*(call(overlay.started) for overlay in node.overlays if isinstance(overlay, _Startable)))


async def _work(node: IPv8, main: Callable[[IPv8], Awaitable[T]] | None) -> T | None:
    """What is done while a node runs."""
    await _call_started(node)
    if main is not None:
        result = main(node)
        if not isawaitable(result):
            raise TypeError(f"main must be an async function: it returned {shown(result)} at once")
        return await result
    await asyncio.Event().wait()
    return None


async def _run(configuration: dict[str, Any], names: dict[str, type[Overlay[Any]]], seconds: float | None,
               main: Callable[[IPv8], Awaitable[T]] | None) -> T | None:
    # Only the main thread gets signals. The handlers are installed before the start, which may take long.
    in_main_thread = threading.current_thread() is threading.main_thread()
    stopping = asyncio.ensure_future(run_forever() if in_main_thread else asyncio.Event().wait())
    serving = asyncio.ensure_future(_serve(configuration, names, seconds, main))
    await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, serving):
        task.cancel()
    await asyncio.gather(stopping, serving, return_exceptions=True)
    if not stopping.cancelled():
        stopping.result()  # raises what kept the signals from being waited for
    return None if serving.cancelled() else serving.result()


async def _serve(configuration: dict[str, Any], names: dict[str, type[Overlay[Any]]], seconds: float | None,
                 main: Callable[[IPv8], Awaitable[T]] | None) -> T | None:
    async with IPv8(configuration, extra_communities=names) as node:
        work: asyncio.Future[T | None] = asyncio.ensure_future(_work(node, main))
        try:
            done, _ = await asyncio.wait({work}, timeout=seconds)
            return work.result() if done else None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
