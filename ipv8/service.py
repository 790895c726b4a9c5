"""The node: sockets, keys, overlays and the walkers that find their peers (doc/configuration.md).

From a configuration::

    async with IPv8(get_default_configuration()) as ipv8:
        await run_forever()

or, for a program that only runs its own overlays::

    run(MyCommunity)

A node belongs to the thread of its event loop, like all of this library: other threads use
``loop.call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import threading
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from . import clock
from .class_tables import _BOOTSTRAPPERS, _COMMUNITIES, _GENERAL_STRATEGIES, _WALKERS, tunnel_endpoint_class
from .configuration import (
    BootstrapperDefinition,
    ConfigBuilder,
    ConfigurationError,
    Strategy,
    WalkerDefinition,
    complete_configuration,
    default_bootstrap_defs,
    did_you_mean,
    validate_configuration,
)
from .keyvault.crypto import default_eccrypto
from .keyvault.files import load_or_create_private_key, load_private_key, store_private_key
from .messaging.address import UDPv4Address
from .messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from .peer import Peer
from .peerdiscovery.network import Network
from .util import maybe_coroutine, run_forever

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from .keyvault.keys import PrivateKey
    from .messaging.interfaces.endpoint import Endpoint
    from .messaging.interfaces.portmapping.gateway import PortMapping
    from .messaging.interfaces.portmapping.mapper import PortMapper
    from .overlay import Overlay
    from .peerdiscovery.discovery import DiscoveryStrategy

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "IPv8", "ShutdownError", "run"]

CLOSED_POLL_INTERVAL = 0.1
"""Seconds between two checks of an endpoint that is not open, if the walker interval is shorter."""

RUNNER_WALK_TIMEOUT = 3.0
"""Seconds after which the walkers of :func:`run` treat a contacted address as unreachable."""

_background: set[asyncio.Task[Any]] = set()  # an event loop holds only weak references to its tasks

ServiceT = TypeVar("ServiceT", bound="IPv8")
OverlayT = TypeVar("OverlayT", bound="Overlay[Any]")


@runtime_checkable
class _Walker(Protocol):
    """A strategy that says which overlay it walks for; programs may use others."""

    overlay: Overlay[Any] | None


@runtime_checkable
class _Startable(Protocol):
    """An overlay class that :func:`run` tells that the node has started."""

    def started(self) -> object:
        """Called after the sockets were opened."""


class ShutdownError(RuntimeError):
    """Parts of a node raised exceptions while they were stopped. Everything was stopped nevertheless.

    :param sources: the names of these parts.
    :param errors: what they raised, in the same order.
    """

    def __init__(self, sources: list[str], errors: list[BaseException]) -> None:
        self.errors = errors
        details = "; ".join(f"{source}: {type(error).__name__}: {error}"
                            for source, error in zip(sources, errors, strict=True))
        super().__init__(f"{len(errors)} part(s) of the node failed while stopping: {details}")


def _load_key(block: Mapping[str, Any]) -> PrivateKey:
    """The key of a block of the configuration: that of an existing file, else the one in the block, else a new one."""
    path, curve = os.fspath(block.get("file") or ""), block.get("generation")
    if path and os.path.exists(path):
        return load_private_key(path)
    if block.get("bin"):
        try:
            key = default_eccrypto.key_from_private_bin(_decode_base64(block["bin"]))
        except (TypeError, ValueError):
            # From None: the cause may show the private key.
            raise ConfigurationError(f"the 'bin' of the key {block['alias']!r} is not the base64 form of "
                                     "a private key") from None
        if path:
            store_private_key(path, key)
        return key
    if not curve:
        raise ConfigurationError(f"the file {path!r} of the key {block['alias']!r} does not exist: restore it, or "
                                 "configure a 'generation' (a curve) to have a new key made")
    return load_or_create_private_key(path, curve) if path else default_eccrypto.generate_key(curve)


def _decode_base64(text: str | bytes) -> bytes:
    """Decode base64 text that may contain white space, such as line breaks, and nothing else that is not base64."""
    encoded = text.encode("ascii") if isinstance(text, str) else bytes(text)
    return base64.b64decode(b"".join(encoded.split()), validate=True)


class IPv8:
    """A node: an endpoint, keys, overlays and their walkers.

    The constructor opens no socket, and nothing is sent before :meth:`start`.

    :param configuration: see :mod:`ipv8.configuration`; it is not changed.
    :param endpoint_override: use this endpoint instead of the interfaces of the configuration.
    :param enable_statistics: count messages; ``endpoint`` is then a ``StatisticsEndpoint``.
    :param extra_communities: overlay classes by the names that they have in the configuration.
    :raises ConfigurationError: if the configuration is not valid.
    :raises RuntimeError: if it names an overlay or a strategy that does not exist.
    """

    def __init__(self, configuration: dict[str, Any], endpoint_override: Endpoint | None = None,
                 enable_statistics: bool = False,
                 extra_communities: Mapping[str, type[Overlay[Any]]] | None = None) -> None:
        complete = complete_configuration(configuration)
        validate_configuration(complete, bootstrappers=None)
        logging.basicConfig(**complete["logger"])
        self._logger = logging.getLogger(type(self).__name__)
        self._ipv4_address = next((block["ip"] for block in reversed(complete["interfaces"])
                                   if block["interface"] == "UDPIPv4" and "ip" in block), "0.0.0.0")  # noqa: S104 - all interfaces
        planned = self._plan(complete["overlays"], extra_communities or {})

        self.configuration = configuration
        self.endpoint: Any = endpoint_override or self._create_endpoint(complete["interfaces"])
        if enable_statistics:
            from .messaging.interfaces.statistics_endpoint import StatisticsEndpoint
            self.endpoint = StatisticsEndpoint(self.endpoint)
        if any(block["initialize"].get("anonymize") for block, _ in planned):
            self.endpoint = tunnel_endpoint_class()(self.endpoint)
        self.network = Network()
        self.keys = {block["alias"]: Peer(_load_key(block)) for block in complete["keys"]}
        #: For programs that lock it around calls of their own. No method of this class locks it.
        self.overlay_lock = threading.RLock()
        self.strategies: list[tuple[DiscoveryStrategy[Any], int]] = []
        self.overlays: list[Overlay[Any]] = []
        self.on_start: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.walk_interval: float = complete["walker_interval"]
        self.state_machine_task: asyncio.Task[None] | None = None
        self.port_mapping: PortMapper | None = None
        self._wants_port_mapping: bool = complete["port_mapping"]
        self._starting: list[asyncio.Task[None]] = []
        try:
            for block, overlay_class in planned:
                self._create_overlay(block, overlay_class)
        except BaseException:
            self._abandon()
            raise

    # -- construction ------------------------------------------------------------------------------------------------

    def _plan(self, blocks: Iterable[Mapping[str, Any]], extra: Mapping[str, type[Overlay[Any]]],
              ) -> list[tuple[Mapping[str, Any], type[Overlay[Any]]]]:
        """The class of each configured overlay, without those that this release lacks."""
        planned = []
        skipped = []
        for block in blocks:
            name = block["class"]
            overlay_class = _COMMUNITIES.get(name) or extra.get(name)
            if overlay_class is not None:
                planned.append((block, overlay_class))
            elif name in _COMMUNITIES.absent:
                skipped.append(name)
            else:
                raise RuntimeError(f"there is no overlay class {name!r}{did_you_mean(name, [*_COMMUNITIES, *extra])}: "
                                   "pass classes of your own as extra_communities={'Name': Class}")
        if skipped:
            self._logger.warning("This release of the library has no %s: the node runs without. To avoid this "
                                 "message, remove it from the configuration.", " and no ".join(skipped))
        return planned

    def _create_endpoint(self, blocks: Iterable[Mapping[str, Any]]) -> DispatcherEndpoint:
        arguments = {block["interface"]: {key: int(value) if key == "port" else value  # a whole number, maybe 8090.0
                                          for key, value in block.items() if key != "interface"} for block in blocks}
        try:
            return DispatcherEndpoint(list(arguments), **arguments)
        except KeyError as e:
            from .messaging.interfaces.dispatcher.endpoint import INTERFACES
            raise ConfigurationError(f"there is no interface {e.args[0]!r}"
                                     f"{did_you_mean(e.args[0], INTERFACES)}") from e

    def _create_overlay(self, block: Mapping[str, Any], overlay_class: type[Overlay[Any]]) -> None:
        settings = overlay_class.settings_class(my_peer=self.keys[block["key"]], endpoint=self.endpoint,
                                                network=self.network)
        for name, value in block["initialize"].items():
            setattr(settings, name, value)
        overlay = overlay_class(settings)
        self.overlays.append(overlay)
        own = overlay.get_available_strategies()
        for walker in block["walkers"]:
            name = walker["strategy"]
            strategy_class = _WALKERS.get(name) or own.get(name) or _GENERAL_STRATEGIES.get(name)
            if strategy_class is None or not _is_strategy(strategy_class):
                raise RuntimeError(f"{block['class']} has no discovery strategy {name!r}"
                                   f"{did_you_mean(name, [*_WALKERS, *own, *_GENERAL_STRATEGIES])}")
            self.strategies.append((strategy_class(overlay, **walker["init"]), walker["peers"]))
        for method, *arguments in block["on_start"]:
            self.on_start.append((getattr(overlay, method), tuple(arguments)))
        for bootstrapper in block["bootstrappers"]:
            self._create_bootstrapper(bootstrapper, overlay)

    def _create_bootstrapper(self, block: Mapping[str, Any], overlay: Overlay[Any]) -> None:
        from .community import Community

        bootstrapper_class = _BOOTSTRAPPERS.get(block["class"])
        if bootstrapper_class is None:
            self._logger.warning("There is no bootstrapper %r%s: %s runs without it.", block["class"],
                                 did_you_mean(block["class"], _BOOTSTRAPPERS), type(overlay).__name__)
        elif not isinstance(overlay, Community):
            raise RuntimeError(f"{type(overlay).__name__} is no Community: it cannot have bootstrappers")
        else:
            overlay.bootstrappers.append(bootstrapper_class(**block["init"]))

    def _abandon(self) -> None:
        """Unload the overlays in the background, as no caller can await it; without an event loop, end their tasks."""
        for overlay in self.overlays:
            self.endpoint.remove_listener(overlay)
            overlay.cancel_all_pending_tasks()
        try:
            unloading = asyncio.get_running_loop().create_task(_unload(self.overlays))
        except RuntimeError:
            return
        _background.add(unloading)
        unloading.add_done_callback(_background.discard)

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def __aenter__(self: ServiceT) -> ServiceT:  # noqa: PYI019 - Self is newer than Python 3.10
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the sockets, start the walkers, and make the ``on_start`` calls of the configuration.

        With ``port_mapping`` in the configuration, the router is asked in the background to forward the port of IPv4.
        The result is in ``port_mapping.mapping``. If peers can use the outside address, it is in
        ``endpoint.mapped_address``.

        The calls run at the same time, and while the walkers walk: a call may wait for the first peer. This method
        returns when all of them have returned.

        :raises OSError: if no socket could be opened.
        :raises RuntimeError: if the node is running already.
        :raises Exception: what the first failing ``on_start`` call raised. The other calls were completed, and the
            walkers are stopped.
        """
        if self.state_machine_task is not None and not self.state_machine_task.done():
            raise RuntimeError("the node is running already")
        if await maybe_coroutine(self.endpoint.open) is False:
            raise OSError("none of the configured interfaces could be opened: check their 'ip' and 'port'")
        if self._wants_port_mapping and self.port_mapping is None:
            self._start_port_mapping()
        self.state_machine_task = asyncio.ensure_future(self.on_tick())
        self._starting = [asyncio.ensure_future(_call(method, arguments)) for method, arguments in self.on_start]
        try:
            outcomes = await asyncio.gather(*self._starting, return_exceptions=True)
        except asyncio.CancelledError:
            await _cancel(self.state_machine_task)
            raise
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        for error in errors[1:]:
            self._logger.error("Another on_start call failed", exc_info=error)
        if errors:
            await _cancel(self.state_machine_task)
            raise errors[0]

    async def on_tick(self) -> None:
        """Let every walker that wants more peers take a step in each walker interval, until cancelled.

        The steps are spread evenly over the interval. Delays do not add up.
        """
        begin = clock.monotonic()
        while True:
            pause = CLOSED_POLL_INTERVAL
            if self.endpoint.is_open():
                await self._walk_round(begin)
                pause = 0.0
            now = clock.monotonic()
            begin = max(begin + self.walk_interval, now + pause)
            await asyncio.sleep(begin - now)

    async def _walk_round(self, begin: float) -> None:
        round_ = tuple(self.strategies)
        for index, entry in enumerate(round_):
            wait = begin + self.walk_interval * index / len(round_) - clock.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if any(entry is other for other in self.strategies):  # not if it was unloaded meanwhile
                self._walk(*entry)

    def _walk(self, strategy: DiscoveryStrategy[Any], target_peers: int) -> None:
        try:
            if target_peers == -1 or strategy.get_peer_count() < target_peers:
                strategy.take_step()
        except Exception:  # the other walkers take their steps nevertheless
            overlay = _overlay_of(strategy)
            self._logger.exception("%s%s failed to take a step", type(strategy).__name__,
                                   "" if overlay is None else f" of {type(overlay).__name__}")

    async def stop(self) -> None:
        """Stop the walkers, unload all overlays at the same time, and close the sockets; also without :meth:`start`.

        :raises ShutdownError: at the end, if any of that raised an exception.
        """
        self.on_start.clear()
        await _cancel(*self._starting, *([self.state_machine_task] if self.state_machine_task else []))
        overlays = list({id(overlay): overlay for overlay in self.overlays}.values())
        sources = [type(overlay).__name__ for overlay in overlays] + [type(self.endpoint).__name__]
        self.overlays.clear()
        self.strategies.clear()
        outcomes: list[Any] = []
        try:
            unloaded, _ = await asyncio.gather(_unload(overlays), self._stop_port_mapping())
            outcomes += unloaded
        finally:
            outcomes += await asyncio.gather(_call(self.endpoint.close), return_exceptions=True)
        failures = [(source, outcome) for source, outcome in zip(sources, outcomes, strict=True) if outcome is not None]
        if failures:
            raise ShutdownError(*map(list, zip(*failures, strict=True))) from failures[0][1]

    # -- port mapping ------------------------------------------------------------------------------------------------

    def _start_port_mapping(self) -> None:
        from .messaging.interfaces.portmapping.mapper import PortMapper
        from .messaging.interfaces.portmapping.search import find_gateways
        from .taskmanager import TaskManager

        host, port = self.endpoint.get_address()[:2]
        if ":" in host:
            self._logger.info("No port is forwarded to this node: it has IPv6 only, and ports are forwarded for IPv4")
            return
        source = "" if host == "0.0.0.0" else host  # noqa: S104 - a comparison
        self._port_mapping_tasks = TaskManager()
        self.port_mapping = PortMapper(port, partial(find_gateways, source), self._on_port_mapping)
        self.port_mapping.start(self._port_mapping_tasks)

    def _on_port_mapping(self, mapping: PortMapping | None) -> None:
        self.endpoint.mapped_address = (UDPv4Address(mapping.external_ip, mapping.external_port)
                                        if mapping is not None and mapping.is_public else None)

    async def _stop_port_mapping(self) -> None:
        if self.port_mapping is not None:
            self.port_mapping = None
            await self._port_mapping_tasks.shutdown_task_manager()

    # -- overlays ----------------------------------------------------------------------------------------------------

    def add_strategy(self, overlay: Overlay[Any], strategy: DiscoveryStrategy[Any], target_peers: int) -> None:
        """Let ``strategy`` walk for ``overlay``, which is added to the overlays of this node if it is not one of them.

        :param target_peers: the number of peers from which on the strategy takes no steps; -1 for any number.
        """
        if not any(overlay is other for other in self.overlays):
            self.overlays.append(overlay)
        self.strategies.append((strategy, target_peers))

    def unload_overlay(self, instance: Overlay[Any]) -> Awaitable[Any]:
        """Remove an overlay and its strategies at once; awaiting the result unloads the overlay."""
        self.overlays[:] = [overlay for overlay in self.overlays if overlay is not instance]
        self.strategies[:] = [entry for entry in self.strategies if _overlay_of(entry[0]) is not instance]
        return maybe_coroutine(instance.unload)

    def get_overlays(self, overlay_cls: type[OverlayT]) -> Iterator[OverlayT]:
        """The overlays of a class, or of a class derived from it, in the order in which they were added."""
        return (overlay for overlay in self.overlays if isinstance(overlay, overlay_cls))

    def get_overlay(self, overlay_cls: type[OverlayT]) -> OverlayT | None:
        """The first of :meth:`get_overlays`, or ``None``."""
        return next(self.get_overlays(overlay_cls), None)

    async def produce_anonymized_endpoint(self) -> Any:
        """A new open endpoint on a free port, which sends through the tunnels of the community that it is given.

        :raises RuntimeError: if this release of the library has no tunnels.
        """
        from .messaging.interfaces.udp.endpoint import UDPEndpoint

        endpoint_class = tunnel_endpoint_class()
        endpoint = UDPEndpoint(port=0, ip=self._ipv4_address)
        await endpoint.open()
        return endpoint_class(endpoint)


def _overlay_of(strategy: DiscoveryStrategy[Any]) -> Overlay[Any] | None:
    """The overlay that ``strategy`` walks for, ``None`` if it does not say so."""
    return strategy.overlay if isinstance(strategy, _Walker) else None


def _is_strategy(candidate: object) -> bool:
    from .peerdiscovery.discovery import DiscoveryStrategy

    return isinstance(candidate, type) and issubclass(candidate, DiscoveryStrategy)


async def _call(function: Callable[..., Any], arguments: tuple[Any, ...] = ()) -> None:
    """Call ``function``, which may be asynchronous, and ignore its result."""
    result = function(*arguments)
    if isawaitable(result):
        await result


async def _unload(overlays: Iterable[Overlay[Any]]) -> list[BaseException | None]:
    """Unload overlays at the same time; the result has what each raised, or ``None``."""
    return await asyncio.gather(*(_call(overlay.unload) for overlay in overlays), return_exceptions=True)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# -- the short way ---------------------------------------------------------------------------------------------------

def run(*overlay_classes: type[Overlay[Any]], port: int = 0, address: str = "0.0.0.0",  # noqa: S104 - all interfaces
        key_file: str | os.PathLike[str] | None = None, bootstrappers: Iterable[BootstrapperDefinition] | None = None,
        peers: int = 20, seconds: float | None = None) -> None:
    """Run overlays until Ctrl+C (SIGINT) or SIGTERM, then stop them.

    Each overlay gets a random walk. Its method ``started()``, plain or async, is called if it has one.

    :param overlay_classes: the classes of the overlays.
    :param port: the UDP port; if it is in use, the next free one is taken. 0 takes any free port.
    :param address: the IPv4 address to listen on.
    :param key_file: the file with the private key, which is made if it does not exist. The addresses of good peers are
        kept in a directory of the same name with ``.peers`` at its end, and contacted first at the next start. Without
        a file, a new key is made for this run.
    :param bootstrappers: how first peers are found, by default by the public bootstrap servers.
    :param peers: how many peers each overlay looks for.
    :param seconds: stop after this time.
    """
    if not overlay_classes:
        raise ValueError("give run() at least one overlay class")
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address(address).set_port(port)
    if key_file is None:
        builder.add_ephemeral_key("my peer")
    else:
        builder.add_key("my peer", "curve25519", key_file)
    names = {f"{overlay_class.__module__}.{overlay_class.__qualname__}#{index}": overlay_class
             for index, overlay_class in enumerate(overlay_classes)}
    for name, overlay_class in names.items():
        default_limit = _default_max_peers(overlay_class)
        builder.add_overlay(
            name, "my peer", [WalkerDefinition(Strategy.RandomWalk, peers, {"timeout": RUNNER_WALK_TIMEOUT})],
            default_bootstrap_defs if bootstrappers is None else bootstrappers,
            # A limit at or below the target divides the network into groups that are full (doc/protocol/discovery.md
            # section 7.3).
            {"max_peers": peers + peers // 2} if 0 <= default_limit <= peers else {},
            [("started",)] if issubclass(overlay_class, _Startable) else [])
    if key_file is not None:
        builder.remember_peers(f"{os.fspath(key_file)}.peers")
    asyncio.run(_run(builder.finalize(), names, seconds))


def _default_max_peers(overlay_class: type[Overlay[Any]]) -> int:
    """The number of peers that an overlay has by default at most; negative for any number."""
    from .community import CommunitySettings

    settings_class = overlay_class.settings_class
    return settings_class.max_peers if issubclass(settings_class, CommunitySettings) else -1


async def _run(configuration: dict[str, Any], overlay_classes: Mapping[str, type[Overlay[Any]]],
               seconds: float | None) -> None:
    # Only the main thread gets signals. The handlers are installed before the start, which may take long.
    in_main_thread = threading.current_thread() is threading.main_thread()
    stopping = asyncio.ensure_future(run_forever() if in_main_thread else asyncio.Event().wait())
    serving = asyncio.ensure_future(_serve(configuration, overlay_classes, seconds))
    await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    await _cancel(stopping, serving)
    if not serving.cancelled():
        serving.result()


async def _serve(configuration: dict[str, Any], overlay_classes: Mapping[str, type[Overlay[Any]]],
                 seconds: float | None) -> None:
    async with IPv8(configuration, extra_communities=overlay_classes):
        if seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(seconds)
