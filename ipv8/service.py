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
import logging
import os
import threading
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from . import clock
from .assembly import bind_calls, create_endpoint, create_strategies, plan_overlays
from .calls import STOP_GRACE, call, cancel, name_of, result_of, wait
from .checks import did_you_mean
from .class_tables import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS, tunnel_endpoint_class
from .identities import OwnKeyWatch, make_peer, release
from .messaging.address import UDPv4Address
from .messaging.interfaces.endpoint import Endpoint
from .peerdiscovery.network import Network
from .reexports import reexports
from .rounds import overlay_of, walk_round
from .taskmanager import TaskManager
from .util import maybe_coroutine
from .validation import check_arguments, check_settings, complete_configuration, validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from .messaging.interfaces.portmapping.gateway import PortMapping
    from .messaging.interfaces.portmapping.mapper import PortMapper
    from .overlay import Overlay
    from .peerdiscovery.discovery import DiscoveryStrategy
    from .sessions import SessionService
    from .trust.node import NodeTrust

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "IPv8", "ShutdownError", "run", "running"]

CLOSED_POLL_INTERVAL = 0.1
"""Seconds between two checks of an endpoint that is not open, if the walker interval is shorter."""

ON_START_PATIENCE = 10.0
"""Seconds for which the walkers wait for the ``on_start`` calls."""

OPEN_RETRY_INTERVAL = 30.0
"""Seconds between two attempts to open sockets that could not be opened."""


_background: set[asyncio.Task[Any]] = set()  # an event loop holds only weak references to its tasks

_stopped_node: ContextVar[IPv8 | None] = ContextVar("_stopped_node", default=None)
"""The node that the running task stops, on behalf of the node itself."""

ServiceT = TypeVar("ServiceT", bound="IPv8")
OverlayT = TypeVar("OverlayT", bound="Overlay[Any]")


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


class IPv8:
    """A node: an endpoint, keys, overlays and their walkers.

    The constructor opens no socket, and nothing is sent before :meth:`start`.

    :param configuration: see :mod:`ipv8.configuration`; it is not changed.
    :param endpoint_override: use this endpoint instead of the interfaces of the configuration.
    :param enable_statistics: count messages; ``endpoint`` is then a ``StatisticsEndpoint``.
    :param extra_communities: overlay classes by the names that they have in the configuration.
    :raises ConfigurationError: if the configuration is not valid.
    :raises RuntimeError: if it names an overlay or a strategy that does not exist; it is a ``ConfigurationError``, too.
    """

    #: The encrypted sessions of the node; ``None`` without ``sessions`` in the configuration.
    sessions: SessionService | None = None

    _policies: Mapping[str, str] = MappingProxyType({})

    def __init__(self, configuration: dict[str, Any], endpoint_override: Endpoint | None = None,
                 enable_statistics: bool = False,
                 extra_communities: Mapping[str, type[Overlay[Any]]] | None = None) -> None:
        complete = complete_configuration(configuration)
        warnings = validate(complete, bootstrappers=None)
        interval = configuration.get("walker_interval", 0.0)
        if interval != complete["walker_interval"] and "walker_interval" in configuration:
            warnings.append(f"walker_interval cannot be {interval}: it is {complete['walker_interval']}")
        logging.basicConfig(**complete["logger"])
        self._logger = logging.getLogger(type(self).__name__)
        self._ipv4_address = next((block["ip"] for block in reversed(complete["interfaces"])
                                   if block["interface"] == "UDPIPv4" and "ip" in block), "0.0.0.0")  # noqa: S104 - all interfaces
        planned = plan_overlays(complete["overlays"], extra_communities or {})
        for index, block in enumerate(complete["overlays"]):
            for overlay_class in (overlay_class for other, overlay_class in planned if other is block):
                warnings += check_settings(f"overlays[{index}] ({block['class']}).initialize", overlay_class,
                                           block["initialize"])
        for warning in warnings:
            self._logger.warning("The configuration: %s", warning)

        self.configuration = configuration
        self.endpoint: Any = endpoint_override or create_endpoint(complete["interfaces"])
        if enable_statistics:
            from .messaging.interfaces.statistics_endpoint import StatisticsEndpoint
            self.endpoint = StatisticsEndpoint(self.endpoint)
        if any(block["initialize"].get("anonymize") for block, _ in planned):
            self.endpoint = tunnel_endpoint_class()(self.endpoint)
        self.network = Network()
        self.network.own_key_observer = OwnKeyWatch(self, self._logger)
        self.keys = {block["alias"]: make_peer(block) for block in complete["keys"]}
        #: For programs that lock it around calls of their own. No method of this class locks it.
        self.overlay_lock = threading.RLock()
        self.strategies: list[tuple[DiscoveryStrategy[Any], int]] = []
        self.overlays: list[Overlay[Any]] = []
        self.on_start: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.walk_interval: float = complete["walker_interval"]
        self.state_machine_task: asyncio.Task[None] | None = None
        #: The trust graph of the node and what belongs to it; ``None`` without ``trust`` in the configuration.
        self.trust: NodeTrust | None = None
        self.port_mapping: PortMapper | None = None
        self._wants_port_mapping: bool = complete["port_mapping"]
        self._run: object | None = None  # a new one at each start, none after the stop
        self._opening: asyncio.Task[Any] | None = None
        self._starting: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # on which it was started
        self._was_unloaded = False
        self._must_reopen = False
        self._next_round = 0.0
        self._next_open = 0.0
        try:
            if complete["sessions"] is not None:
                self._create_sessions(complete["sessions"])
            for block, overlay_class in planned:
                self._create_overlay(block, overlay_class)
            if complete["trust"] is not None:
                self._create_trust(complete["trust"])
        except BaseException:
            self._abandon()
            raise

    # -- construction ------------------------------------------------------------------------------------------------

    def _create_overlay(self, block: Mapping[str, Any], overlay_class: type[Overlay[Any]]) -> None:
        settings = overlay_class.settings_class(my_peer=self.keys[block["key"]], endpoint=self.endpoint,
                                                network=self.network)
        directory = os.path.normpath(self.configuration.get("working_directory") or ".")
        if directory != "." and "working_directory" not in block["initialize"] and hasattr(settings, "node_directory"):
            settings.node_directory = directory
        for name, value in block["initialize"].items():
            setattr(settings, name, value)
        if block["class"] in self._policies:
            settings.encryption = self._policies[block["class"]]
        overlay = overlay_class(settings)
        self.overlays.append(overlay)
        self.strategies += create_strategies(block, overlay)
        self.on_start += bind_calls(block, overlay)
        for bootstrapper in block["bootstrappers"]:
            self._create_bootstrapper(bootstrapper, overlay)

    def _create_bootstrapper(self, block: Mapping[str, Any], overlay: Overlay[Any]) -> None:
        from .community import Community

        name = block["class"]
        bootstrapper_class = _BOOTSTRAPPERS.get(name) if isinstance(name, str) else None
        if bootstrapper_class is None:
            self._logger.warning("There is no bootstrapper %r%s: %s runs without it.", name,
                                 did_you_mean(name, _BOOTSTRAPPERS), type(overlay).__name__)
        elif not isinstance(overlay, Community):
            raise RuntimeError(f"{type(overlay).__name__} is no Community: it cannot have bootstrappers")
        else:
            check_arguments(f"the bootstrapper {name} of {type(overlay).__name__}", bootstrapper_class, block["init"])
            overlay.bootstrappers.append(bootstrapper_class(**block["init"]))

    def _create_sessions(self, block: Mapping[str, Any]) -> None:
        from .sessions import SessionService, SessionSettings

        if block.get("enabled", True):
            options = {name: value for name, value in block.items() if name in SessionSettings._fields}
            self.sessions = SessionService.of(self.endpoint, SessionSettings(**options))
            self._policies = block.get("overlays", {})

    def _create_trust(self, block: Mapping[str, Any]) -> None:
        from .trust.node import NodeTrust

        options = {name: block[name] for name in ("statements", "report", "prefer", "walks", "half_life",
                                                      "working_directory") if name in block}
        key = self.keys[block.get("key", next(iter(self.keys)))]
        self.trust = NodeTrust(key.public_key.key_to_bin(), self.overlays, **options)

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
            self.require_open()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the sockets, make the ``on_start`` calls of the configuration, then start the walkers.

        With ``port_mapping`` in the configuration, the router is asked in the background to forward the port of IPv4.
        The result is in ``port_mapping.mapping``. If peers can use the outside address, it is in
        ``endpoint.mapped_address``.

        The calls run at the same time. This method returns when all of them have returned, or when the node was stopped
        meanwhile. If they take longer than :data:`ON_START_PATIENCE`, that is logged and the walkers start without
        them: one of the calls may wait for a peer.

        If no socket can be opened, that is logged, and tried again while the node runs. ``async with`` raises
        ``OSError`` in this case (see :meth:`require_open`). If the node is running already, nothing is done. If it is
        being stopped, the end of that is awaited first.

        :raises RuntimeError: if the node was stopped, or was made for another event loop.
        :raises Exception: what the first failing ``on_start`` call raised. The other calls were completed, and the
            walkers are not started.
        """
        while self._stopping is not None:
            if _stopped_node.get() is self:
                raise RuntimeError("this node is being stopped: it cannot be started by a part that is unloaded")
            with suppress(ShutdownError):  # the caller of stop() gets it
                await asyncio.shield(self._stopping)
        if self._run is not None:
            self._logger.warning("The node is running already: it is not started again")
            return
        self._check_startable()
        self._loop = asyncio.get_running_loop()
        run = self._run = object()
        try:
            await self._open(run)
            if self._run is run:
                await self._call_on_start(run)
            if self._stopping is not None:
                with suppress(ShutdownError):  # the caller of stop() gets it
                    await asyncio.shield(self._stopping)
        except BaseException:
            if self._run is run:
                self._run = None
                await cancel(*self._tickers())
            raise

    def _check_startable(self) -> None:
        if self._was_unloaded and not self.overlays:
            raise RuntimeError("this node was stopped, and its overlays are gone: make a new IPv8 from the "
                               "configuration")
        running = asyncio.get_running_loop()
        for overlay in self.overlays:
            if isinstance(overlay, TaskManager) and any(task.get_loop() is not running for task in overlay.get_tasks()):
                raise RuntimeError("this node was made for another event loop, so its overlays cannot run here: call "
                                   "IPv8(...) inside of the coroutine that you give to asyncio.run()")

    def require_open(self) -> None:
        """Do nothing if a socket is open.

        :raises OSError: otherwise; the message says what could not be opened.
        """
        if not self.endpoint.is_open() and self._run is not None:
            raise OSError(self._not_open())

    def _not_open(self) -> str:
        wanted = ", ".join(f"{block.get('interface')} {block.get('ip', '')} port {block.get('port', 0)}"
                           for block in self.configuration.get("interfaces", ()) if isinstance(block, dict))
        return (f"none of the configured interfaces could be opened ({wanted or 'there are none'}): check their 'ip' "
                "and 'port'")

    async def _open(self, run: object) -> None:
        self._must_reopen = False
        opening = self._opening = asyncio.ensure_future(result_of(self.endpoint.open))
        try:
            opened = await opening
        except asyncio.CancelledError:
            if self._run is run:
                raise
            return  # by the stop of this node
        finally:
            self._opening = None
        if self._run is not run:
            return
        if not self.endpoint.is_open():
            self._logger.error("%s", self._not_open())
            self._must_reopen = opened is False
            self._next_open = clock.monotonic() + OPEN_RETRY_INTERVAL
        elif self._wants_port_mapping and self.port_mapping is None:
            self._start_port_mapping()

    async def _call_on_start(self, run: object) -> None:
        calls = self._starting = [asyncio.ensure_future(call(method, arguments))
                                  for method, arguments in self.on_start]
        if calls:
            _, late = await wait(calls, ON_START_PATIENCE)
            if late:
                self._logger.warning("on_start calls take longer than %d s, so the walkers start without them. If they "
                                     "go on for ever, use register_task() of the overlay instead: %s",
                                     ON_START_PATIENCE, ", ".join(map(name_of, late)))
                self._start_walking(run)
            await wait(calls, None)
        errors = [error for call in calls if not call.cancelled() and (error := call.exception()) is not None]
        for error in errors[1:]:
            self._logger.error("Another on_start call failed", exc_info=error)
        if errors:
            raise errors[0]
        self._start_walking(run)

    def _start_walking(self, run: object) -> None:
        if self._run is run and (self.state_machine_task is None or self.state_machine_task.done()):
            self.state_machine_task = asyncio.ensure_future(self._tick_while(run))

    def _tickers(self) -> list[asyncio.Task[None]]:
        return [] if self.state_machine_task is None else [self.state_machine_task]

    async def _tick_while(self, run: object) -> None:
        self._next_round = clock.monotonic()
        while self._run is run:
            await self.on_tick()
            await asyncio.sleep(0)  # other tasks run, even if a subclass waits for nothing

    async def on_tick(self) -> None:
        """Let every walker that wants more peers take one step; this takes one walker interval.

        The steps are spread evenly over the interval. A running node calls this again and again, and delays do not add
        up.
        """
        if self.trust is not None:
            try:
                self.trust.refresh()
            except Exception:  # the walkers take their steps nevertheless
                self._logger.exception("The trust graph could not take up what is new")
        now = clock.monotonic()
        is_due = 0 <= now - self._next_round <= self.walk_interval
        begin = self._next_round if is_due else now
        pause = CLOSED_POLL_INTERVAL
        if self.endpoint.is_open():
            if now >= self._next_open and isinstance(self.endpoint, Endpoint):
                self._next_open = now + OPEN_RETRY_INTERVAL
                await self.endpoint.open_late()
            await walk_round(self.strategies, begin, self.walk_interval, self._logger)
            pause = 0.0
        elif self._must_reopen and self._run is not None and now >= self._next_open:
            await self._open(self._run)
            if self._run is None:  # it was stopped meanwhile
                return
        now = clock.monotonic()
        self._next_round = max(begin + self.walk_interval, now + pause)
        await asyncio.sleep(self._next_round - now)

    async def stop(self) -> None:
        """Stop the walkers, unload all overlays at the same time, and close the sockets; also without :meth:`start`.

        It may be called from anywhere on the event loop of the node: also by a task or a message handler of an overlay,
        while the node starts, and again while it stops; a part of the node that calls it when it is stopped itself does
        not wait. A caller that is cancelled does not stop the stop. Other threads use
        ``asyncio.run_coroutine_threadsafe(node.stop(), loop)``.

        :raises ShutdownError: at the end, if any of that raised an exception.
        :raises RuntimeError: if the node runs on another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise RuntimeError("this node runs on another event loop: use "
                               "asyncio.run_coroutine_threadsafe(node.stop(), loop) with that loop")
        stopping = self._stopping
        if stopping is not None and _stopped_node.get() is self:
            return  # in the unload() of an overlay, which is waited for
        if stopping is None:
            stopping = self._stopping = loop.create_future()
            # A task of its own: unloading an overlay cancels the tasks of that overlay, among which may be the caller.
            task = loop.create_task(self._stop(stopping, asyncio.current_task()))
            _background.add(task)
            task.add_done_callback(_background.discard)
        await asyncio.shield(stopping)

    async def _stop(self, done: asyncio.Future[None], caller: asyncio.Task[Any] | None) -> None:
        _stopped_node.set(self)
        failures: list[tuple[str, BaseException]] = []
        try:
            self._run = None
            await asyncio.sleep(0)  # a caller that was started eagerly is registered with its overlay afterwards
            for overlay in self.overlays:
                if caller is not None and isinstance(overlay, TaskManager):
                    overlay.release_task(caller)
            failures = await self._stop_parts()
        finally:
            self._stopping = None
            if failures:
                error = ShutdownError(*map(list, zip(*failures, strict=True)))
                error.__cause__ = failures[0][1]
                done.set_exception(error)
            else:
                done.set_result(None)

    async def _stop_parts(self) -> list[tuple[str, BaseException]]:
        """Stop everything; the result is which parts failed, and how."""
        self.on_start.clear()
        if self._opening is not None:
            # An endpoint that is closed before it is open may stay open afterwards.
            await wait([self._opening], STOP_GRACE)
        await cancel(*([] if self._opening is None else [self._opening]), *self._starting, *self._tickers())
        overlays = list({id(overlay): overlay for overlay in self.overlays}.values())
        sources = [type(overlay).__name__ for overlay in overlays] + [type(self.endpoint).__name__]
        self.overlays.clear()
        self.strategies.clear()
        self._was_unloaded |= bool(overlays)
        outcomes: list[Any] = []
        try:
            if self.trust is not None:  # before the databases of the overlays are closed
                sources.insert(0, type(self.trust).__name__)
                outcomes += await asyncio.gather(call(self.trust.stop), return_exceptions=True)
            unloaded, _ = await asyncio.gather(_unload(overlays), self._stop_port_mapping())
            outcomes += unloaded
            for overlay in overlays:
                if isinstance(overlay, TaskManager):  # if its unload() failed, or did not call that of its base class
                    overlay.cancel_all_pending_tasks()
            await self._close_sessions()
        finally:
            outcomes += await asyncio.gather(call(self.endpoint.close), return_exceptions=True)
            release(self.keys.values())
        return [(source, outcome) for source, outcome in zip(sources, outcomes, strict=True) if outcome is not None]

    async def _close_sessions(self) -> None:
        """End the sessions of the endpoint, whether the configuration or an overlay asked for them."""
        if isinstance(self.endpoint, Endpoint) and self.endpoint.gate.has_sessions:
            from .sessions import SessionService

            service = SessionService.find(self.endpoint)
            if service is not None:
                await service.unload()

    # -- port mapping ------------------------------------------------------------------------------------------------

    def _start_port_mapping(self) -> None:
        from .messaging.interfaces.portmapping.mapper import PortMapper
        from .messaging.interfaces.portmapping.search import find_gateways

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
        self.strategies[:] = [entry for entry in self.strategies if overlay_of(entry[0]) is not instance]
        return maybe_coroutine(instance.unload)

    def get_overlays(self, overlay_cls: type[OverlayT]) -> Iterator[OverlayT]:
        """The overlays of a class, or of a class derived from it, in the order in which they were added."""
        return (overlay for overlay in self.overlays if isinstance(overlay, overlay_cls))

    def get_overlay(self, overlay_cls: type[OverlayT]) -> OverlayT | None:
        """The first of :meth:`get_overlays`, or ``None``."""
        return next(self.get_overlays(overlay_cls), None)

    async def produce_anonymized_endpoint(self) -> Any:
        """A new open endpoint on a free port, which sends through the tunnels of the community that it is given."""
        from .messaging.interfaces.udp.endpoint import UDPEndpoint

        endpoint_class = tunnel_endpoint_class()
        endpoint = UDPEndpoint(port=0, ip=self._ipv4_address)
        await endpoint.open()
        return endpoint_class(endpoint)


async def _unload(overlays: Iterable[Overlay[Any]]) -> list[BaseException | None]:
    """Unload overlays at the same time; the result has what each raised, or ``None``."""
    return await asyncio.gather(*(call(overlay.unload) for overlay in overlays), return_exceptions=True)


# -- the short way ---------------------------------------------------------------------------------------------------

if TYPE_CHECKING:  # programs import these from here
    from .runner import run as run, running as running
else:
    __getattr__, __dir__ = reexports(__name__, {".runner": "run running"})
