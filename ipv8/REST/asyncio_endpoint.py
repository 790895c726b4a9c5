"""``/asyncio``: the event loop of the node."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Boolean, Float, String

from .. import clock
from ..peerdiscovery.discovery import DiscoveryStrategy
from ..service import IPv8
from .apidocs import docs, json_schema, response_schema
from .base_endpoint import HTTP_BAD_REQUEST, HTTP_NOT_FOUND, BaseEndpoint, Response
from .parameters import boolean, json_object, number
from .schema import DefaultResponseSchema, schema

if TYPE_CHECKING:
    from aiohttp.web import Request

__all__ = ["AsyncioEndpoint", "DequeLogHandler", "DriftMeasurementStrategy"]

MAX_MEASUREMENTS = 100
"""Measurements that are kept; the oldest is dropped first."""

MAX_MESSAGES = 50
"""Messages of the event loop that are kept; the oldest is dropped first."""

MAX_TASKS = 2000
"""Tasks that one response describes."""

MAX_FRAMES = 20
"""Frames of the stack of a task that are described."""

LONGEST_CALLBACK = 3600.0
"""Seconds above which no callback is called slow."""


class DequeLogHandler(logging.Handler):
    """Keeps the last messages of a logger as text.

    :param maxlen: how many.
    """

    def __init__(self, maxlen: int = MAX_MESSAGES) -> None:
        super().__init__()
        self.deque: deque[str] = deque(maxlen=maxlen)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.deque.append(self.format(record))


class DriftMeasurementStrategy(DiscoveryStrategy[Any]):
    """Measures how late the walkers are.

    :param core_update_rate: the seconds that should be between two steps.
    """

    def __init__(self, core_update_rate: float) -> None:
        super().__init__(None)
        self.core_update_rate = core_update_rate
        self.history: deque[tuple[float, float]] = deque(maxlen=MAX_MEASUREMENTS)
        self.last_measurement = clock.time()
        self._last = clock.monotonic()

    def take_step(self) -> None:
        """Note how late this step is."""
        with self.walk_lock:
            now = clock.monotonic()
            self.last_measurement = clock.time()
            self.history.append((self.last_measurement, max(0.0, now - self._last - self.core_update_rate)))
            self._last = now


class AsyncioEndpoint(BaseEndpoint[IPv8]):
    """Shows how late the event loop is, its tasks, and its warnings."""

    def __init__(self) -> None:
        self.strategy: DriftMeasurementStrategy | None = None
        self.asyncio_log_handler: DequeLogHandler | None = None
        super().__init__()
        self.app.on_shutdown.append(self.on_shutdown)

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/drift", self.retrieve_drift),
            web.put("/drift", self.enable_measurements),
            web.get("/tasks", self.get_asyncio_tasks),
            web.put("/debug", self.set_asyncio_debug),
            web.get("/debug", self.get_asyncio_debug),
        ])

    async def on_shutdown(self, _: web.Application) -> None:
        """Stop to measure and to collect messages."""
        self.disable()
        self._collect(False)

    def enable(self) -> bool:
        """Begin to measure; whether the node is known."""
        if self.session is None:
            return False
        if self.strategy is None:
            with self.session.overlay_lock:
                self.strategy = DriftMeasurementStrategy(self.session.walk_interval)
                self.session.strategies.append((self.strategy, -1))
        return True

    def disable(self) -> bool:
        """Stop to measure; whether the node is known."""
        if self.session is None:
            return False
        with self.session.overlay_lock:
            self.session.strategies[:] = [entry for entry in self.session.strategies if entry[0] is not self.strategy]
            self.strategy = None
        return True

    @docs(tags=["Asyncio"], summary="How late the walkers were, and when.", responses={
        404: {"schema": DefaultResponseSchema, "description": "It is not measured."}})
    @response_schema(schema(DriftResponse={"measurements": [schema(Measurement={"timestamp": Float,
                                                                                 "drift": Float})]}))
    async def retrieve_drift(self, _: Request) -> Response:
        """The measurements."""
        if self.strategy is None:
            return Response({"success": False, "error": "Core drift disabled."}, status=HTTP_NOT_FOUND)
        return Response({"measurements": [{"timestamp": timestamp, "drift": drift}
                                          for timestamp, drift in tuple(self.strategy.history)]})

    @docs(tags=["Asyncio"], summary="Begin or stop to measure how late the walkers are.", responses={
        400: {"description": "The argument is missing or impossible."}})
    @json_schema(schema(EnableDriftRequest={"enable*": (Boolean, "whether to measure")}))
    @response_schema(DefaultResponseSchema)
    async def enable_measurements(self, request: Request) -> Response:
        """Measure from now on, or do not."""
        body = await json_object(request)
        if "enable" not in body:
            return Response({"error": "incorrect parameters"}, status=HTTP_BAD_REQUEST)
        if self.enable() if boolean(body, "enable") else self.disable():
            return Response({"success": True})
        return Response({"success": False, "error": "Session not initialized."})

    @docs(tags=["Asyncio"], summary="The tasks of the event loop.")
    @response_schema(schema(AsyncioTasksResponse={"tasks": [schema(AsyncioTask={
        "name": String, "running": Boolean, "stack": [String], "taskmanager": String, "start_time": Float,
        "interval": Float})]}))
    async def get_asyncio_tasks(self, _: Request) -> Response:
        """All tasks."""
        current = asyncio.current_task()
        tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())[:MAX_TASKS]
        return Response({"tasks": [_describe(task, task is current) for task in tasks]})

    @docs(tags=["Asyncio"], summary="Let the event loop warn of slow callbacks, or not.", responses={
        400: {"schema": DefaultResponseSchema, "description": "The argument is missing or impossible."}})
    @json_schema(schema(AsyncioDebugRequest={
        "enable": (Boolean, "whether to warn"),
        "slow_callback_duration": (Float, "seconds from which on a callback is slow")}))
    @response_schema(DefaultResponseSchema)
    async def set_asyncio_debug(self, request: Request) -> Response:
        """Change the debug mode of the event loop."""
        body = await json_object(request)
        if "enable" not in body and "slow_callback_duration" not in body:
            return Response({"success": False, "error": "incorrect parameters"}, status=HTTP_BAD_REQUEST)
        duration = None
        if "slow_callback_duration" in body:
            duration = number(body, "slow_callback_duration", 0.0, LONGEST_CALLBACK)
        enable = boolean(body, "enable") if "enable" in body else None
        self.set_debug(enable, duration)
        return Response({"success": True})

    def set_debug(self, enable: bool | None, slow_callback_duration: float | None = None) -> None:
        """Change the debug mode of the event loop; what is ``None`` stays as it is."""
        loop = asyncio.get_running_loop()
        if slow_callback_duration is not None:
            loop.slow_callback_duration = slow_callback_duration
        if enable is not None:
            loop.set_debug(enable)
            self._collect(enable)

    def _collect(self, enable: bool) -> None:
        """Keep the messages of the event loop from now on, or forget them."""
        logger = logging.getLogger("asyncio")
        if enable and self.asyncio_log_handler is None:
            self.asyncio_log_handler = DequeLogHandler()
            logger.addHandler(self.asyncio_log_handler)
        elif not enable and self.asyncio_log_handler is not None:
            logger.removeHandler(self.asyncio_log_handler)
            self.asyncio_log_handler = None

    @docs(tags=["Asyncio"], summary="The debug mode of the event loop, and what it has warned of.")
    @response_schema(schema(AsyncioLogResponse={
        "messages": [schema(AsyncioLogMessage={"message": String})], "enable": Boolean,
        "slow_callback_duration": Float}))
    async def get_asyncio_debug(self, _: Request) -> Response:
        """The debug mode."""
        loop = asyncio.get_running_loop()
        handler = self.asyncio_log_handler
        messages = () if handler is None else tuple(handler.deque)
        return Response({"messages": [{"message": message} for message in messages], "enable": loop.get_debug(),
                         "slow_callback_duration": loop.slow_callback_duration})


def _describe(task: asyncio.Task[Any], running: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"name": task.get_name(), "running": running,
                                 "stack": [repr(frame) for frame in task.get_stack(limit=MAX_FRAMES)]}
    start_time = getattr(task, "start_time", None)
    if start_time is not None:
        manager, separator, name = task.get_name().partition(":")
        if separator:
            described["taskmanager"], described["name"] = manager, name
        described["start_time"] = start_time
        if getattr(task, "interval", None):
            described["interval"] = task.interval  # type: ignore[attr-defined]  # set by the task manager
    return described
