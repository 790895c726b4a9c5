"""What an overlay does in the background: named tasks, and timers, that end with their owner (doc/tasks.md).

All waiting is done with ``asyncio.sleep`` and the timers of the event loop, so it follows the time of a virtual loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from asyncio import Future
from collections.abc import Coroutine
from functools import partial, wraps
from inspect import CO_COROUTINE, isawaitable, iscoroutinefunction
from threading import RLock
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from . import clock
from .reexports import reexports
from .util import current_loop, succeed

if TYPE_CHECKING:
    from asyncio import Handle
    from collections.abc import Callable, Hashable
    from concurrent.futures import Executor
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["TaskManager", "task"]

MAX_TASK_AGE = 600
"""Seconds after which a task without interval is reported as overdue."""
CHECK_INTERVAL = 600.0
"""Seconds between two searches for overdue tasks."""
FIRST_CHECK = 900.0
"""Seconds until the first search for overdue tasks."""
REPORT_INTERVAL = 60.0
"""Seconds between two reports that a task with an interval failed."""
SHUTDOWN_GRACE = 5.0
"""Seconds for which a shutdown waits until cancelled tasks have cleaned up."""

P = ParamSpec("P")
T = TypeVar("T")
ManagerT = TypeVar("ManagerT", bound="TaskManager")


async def _run(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = func(*args)
    return await result if isinstance(result, Coroutine) else result


async def delay_runner(delay: float, delayed_task: Callable[..., Any], *args: Any) -> Any:
    """Wait ``delay`` seconds, then call ``delayed_task`` and return what it returns."""
    await asyncio.sleep(delay)
    return await _run(delayed_task, args)


async def interval_runner(delay: float, interval: float, interval_task: Callable[..., Any], *args: Any) -> None:
    """Wait ``delay`` seconds, then call ``interval_task`` again and again, ``interval`` seconds after its last end.

    An exception ends it. A task with an interval of a :class:`TaskManager` reports exceptions and goes on.
    """
    await asyncio.sleep(delay)
    while True:
        await _run(interval_task, args)
        await asyncio.sleep(interval)


def set_name(future: Any, name: str) -> None:
    """Give a plain future a name, which :func:`get_name` returns."""
    future._task_name = name


def get_name(future: Any) -> str:
    """The name that :func:`set_name` gave to a plain future."""
    name: str = future._task_name
    return name


def _is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Whether calling ``func`` runs nothing yet; a cheap test that misses wrapped ones, such as partials."""
    code = getattr(func, "__code__", None)
    return code is not None and code.co_flags & CO_COROUTINE != 0


class Timer:
    """A function that a :class:`TaskManager` is going to call; see :meth:`TaskManager.start_timer`."""

    __slots__ = ("_arguments", "_callback", "_handle", "_running")

    def __init__(self, running: set[Timer], callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._running = running
        self._callback = callback
        self._arguments = arguments
        self._handle: Handle | None = None

    def start(self, delay: float) -> None:
        """Make the call after ``delay`` seconds, without a delay at the next iteration of the loop."""
        loop = current_loop()
        self._running.add(self)
        self._handle = loop.call_later(delay, self) if delay > 0 else loop.call_soon(self)

    def cancel(self) -> None:
        """Do not make the call. Nothing happens if it was made or cancelled already."""
        self._running.discard(self)
        if self._handle is not None:
            self._handle.cancel()

    def __call__(self) -> None:
        self._running.discard(self)
        self._callback(*self._arguments)


class TaskManager:
    """Owner of named tasks: keeps track of them, reports their failures and cancels them when it shuts down.

    A task manager is used on the thread of the event loop. It can be made before that loop runs. As an async context
    manager it shuts down at the end of the block.

    Anything hashable names a task, and only one unfinished task at a time has a given name.
    """

    def __init__(self) -> None:
        self._pending_tasks: dict[Hashable, Future[Any]] = {}
        self._timers: set[Timer] = set()
        self._replacements: dict[Hashable, Future[Future[Any]]] = {}
        self._shutdown_tasks: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        # Not used here: programs hold it around calls of their own.
        self._task_lock = RLock()
        self._shutdown = False
        self._counter = 0
        self._logger = logging.getLogger(type(self).__name__)
        self._checker = self.register_task("_check_tasks", self._check_tasks,
                                           delay=FIRST_CHECK, interval=CHECK_INTERVAL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.shutdown_task_manager()

    def _check_tasks(self) -> None:
        now = clock.monotonic()
        for name, future in self._pending_tasks.items():
            registered: Any = future
            if not registered.interval and now - registered.registered_at > MAX_TASK_AGE:
                self._logger.warning("Task %r has been pending for more than %d seconds", name, MAX_TASK_AGE)

    # Registration

    def register_task(self, name: Hashable, user_task: Callable[..., Any] | Future[Any], *args: Any,
                      delay: float | None = None, interval: float | None = None,
                      ignore: tuple[type[BaseException], ...] = ()) -> Future[Any]:
        """Run ``user_task(*args)`` in the background under ``name``, or track a task or future that exists already.

        The function may be async or plain. It runs at the next iteration of the loop, after ``delay`` seconds, or, with
        an ``interval``, again and again: first after ``delay`` (not given: after ``interval``), then ``interval``
        seconds after the end of each run. An exception is given to the exception handler of the loop; if its class is
        in ``ignore``, it is logged instead. It ends a task without interval, and whoever awaits the returned future
        gets it. A task with an interval goes on; of its exceptions at most one in :data:`REPORT_INTERVAL` seconds is
        reported.

        After the shutdown nothing is registered: a warning is logged, a given future is cancelled, and the returned
        future has the result ``None``.

        :returns: the given future itself, or the new task. Its attributes are ``start_time``, when it was registered in
            seconds since the Unix epoch, and ``interval``; its name is ``<class name>:<name>``.
        :raises TypeError: if ``user_task`` is neither a function nor a future, but for example a coroutine: give the
            async function instead.
        :raises ValueError: if a delay or an interval is given with a future, or ``ignore`` holds anything else than
            subclasses of ``Exception``.
        :raises RuntimeError: if an unfinished task has that name.
        """
        given = isinstance(user_task, Future)
        if not given and not callable(user_task):
            raise TypeError(f"Cannot register {user_task!r}: give a function (async or not, uncalled) or a future")
        if given and (delay or interval):
            raise ValueError("Only a function can run after a delay or with an interval, not a task or future")
        if ignore != () and not (isinstance(ignore, tuple)
                                 and all(isinstance(cls, type) and issubclass(cls, Exception) for cls in ignore)):
            raise ValueError("Give ignore as a tuple of subclasses of Exception")
        if self._shutdown:
            return self._refuse(user_task)
        self._claim(name)

        full_name = f"{type(self).__name__}:{name}"
        if isinstance(user_task, Future):
            future, marked = user_task, cast("Any", user_task)
            if not hasattr(future, "set_name"):
                marked.set_name, marked.get_name = MethodType(set_name, future), MethodType(get_name, future)
            marked.set_name(full_name)
        else:
            loop = current_loop()
            work: Coroutine[Any, Any, Any]
            if interval:
                work = self._repeat(name, interval if delay is None else delay, interval, ignore, user_task, args)
            elif delay:
                work = delay_runner(delay, user_task, *args)
            elif _is_coroutine_function(user_task):
                work = user_task(*args)
            else:
                work = _run(user_task, args)
            future = marked = loop.create_task(work, name=full_name)
        marked.start_time, marked.registered_at, marked.interval = clock.time(), clock.monotonic(), interval
        self._pending_tasks[name] = future
        # The first callback of a new task, so that failures are reported before an awaiter resumes.
        future.add_done_callback(partial(self._on_done, name, ignore))
        return future

    def register_anonymous_task(self, basename: str, user_task: Callable[..., Any] | Future[Any], *args: Any,
                                **kwargs: Any) -> Future[Any]:
        """Register under ``basename`` and a serial number; otherwise like :meth:`register_task`."""
        self._counter += 1
        return self.register_task(f"{basename} {self._counter}", user_task, *args, **kwargs)

    def register_executor_task(self, name: str, func: Callable[..., Any], *args: Any, executor: Executor | None = None,
                               anon: bool = False, **kwargs: Any) -> Future[Any]:
        """Call ``func(*args, **kwargs)`` in ``executor`` (default: the threads of the loop) and track the outcome.

        With ``anon`` a serial number is added to ``name``. To cancel the future does not stop a call that has begun.

        :raises TypeError: unless ``func`` is a plain function.
        :raises RuntimeError: if an unfinished task has that name.
        """
        if not callable(func) or iscoroutinefunction(func):
            raise TypeError(f"Cannot run {func!r} in an executor: give a function that is not async")
        if self._shutdown:
            return self._refuse(func)
        if not anon:
            self._claim(name)
        future = current_loop().run_in_executor(executor, partial(func, *args, **kwargs))
        return self.register_anonymous_task(name, future) if anon else self.register_task(name, future)

    def register_shutdown_task(self, user_task: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call ``user_task(*args, **kwargs)``, async or plain, at the end of the shutdown, in order of registration."""
        self._shutdown_tasks.append((user_task, args, kwargs))

    def replace_task(self, name: Hashable, *args: Any, **kwargs: Any) -> Future[Any]:
        """Cancel the task ``name``, if there is one, and register a new one once it has ended.

        Replacements of one name take place in the order of the calls. The other arguments are those of
        :meth:`register_task`.

        :returns: a future whose result is the registered task, or the exception that the registration raised.
        """
        replacement: Future[Any] = current_loop().create_future()

        def register(_: Future[Any]) -> None:
            if self._replacements.get(name) is replacement:
                del self._replacements[name]
            if replacement.cancelled():
                return
            try:
                replacement.set_result(self.register_task(name, *args, **kwargs))
            except Exception as e:  # noqa: BLE001 - handed to whoever awaits the replacement
                replacement.set_exception(e)

        def cancel(_: Future[Any] | None = None) -> None:
            self.cancel_pending_task(name).add_done_callback(register)

        previous = self._replacements.get(name)
        self._replacements[name] = replacement
        if previous is None:
            cancel()
        else:
            previous.add_done_callback(cancel)
        return replacement

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback(*args)`` once, after ``delay`` seconds, unless the timer is cancelled or the shutdown begins.

        A timer takes about a fifth of the time and of the memory of a task. It has no name, is in no list of tasks, and
        cannot be awaited. ``callback`` is a plain function; what it raises is given to the exception handler of the
        loop.

        :param delay: without a delay, the call is made at the next iteration of the loop.
        """
        timer = Timer(self._timers, callback, args)
        if self._shutdown:
            self._logger.warning("Not starting a timer for %r: the shutdown has begun", callback)
        else:
            timer.start(delay)
        return timer

    def _claim(self, name: Hashable) -> None:
        """Make ``name`` free for a new task; ``RuntimeError`` if an unfinished one has it."""
        known = self._pending_tasks.get(name)
        if known is not None:
            if not known.done():
                raise RuntimeError(f"Task {name!r} exists already: cancel it first, or use replace_task")
            del self._pending_tasks[name]  # the table is in order of registration

    def _refuse(self, user_task: Callable[..., Any] | Future[Any]) -> Future[Any]:
        self._logger.warning("Not starting %r: the shutdown has begun", user_task)
        if isinstance(user_task, Future):
            user_task.cancel()
        return succeed(None)

    def _on_done(self, name: Hashable, ignore: tuple[type[BaseException], ...], future: Future[Any]) -> None:
        if self._pending_tasks.get(name) is future:  # another one may have the name by now
            del self._pending_tasks[name]
        if future.cancelled():
            return
        exception = future.exception()
        # The event loop raises an interrupt that came while a task was running.
        if exception is not None and not isinstance(exception, (KeyboardInterrupt, SystemExit)):
            self._report(name, ignore, future, exception)

    async def _repeat(self, name: Hashable, delay: float, interval: float, ignore: tuple[type[BaseException], ...],
                      func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Like :func:`interval_runner`, but exceptions are reported, and the shutdown ends it."""
        await asyncio.sleep(delay)
        reported_at = -math.inf
        while not self._shutdown:  # a task that was released is not cancelled
            try:
                await _run(func, args)
            except Exception as e:  # noqa: BLE001 - it is reported
                if clock.monotonic() - reported_at >= REPORT_INTERVAL:
                    reported_at = clock.monotonic()
                    self._report(name, ignore, None, e)
            if not self._shutdown:
                await asyncio.sleep(interval)

    def _report(self, name: Hashable, ignore: tuple[type[BaseException], ...], future: Future[Any] | None,
                exception: BaseException) -> None:
        """Report that the task ``name`` failed; without a ``future``, that it goes on nevertheless."""
        if isinstance(exception, ignore):
            self._logger.error("Task %r failed", name, exc_info=exception)
            return
        context = {"message": f"Task {name!r} of {type(self).__name__} failed", "exception": exception}
        if future is not None:
            context["future"] = future
        (asyncio.get_running_loop() if future is None else future.get_loop()).call_exception_handler(context)

    # Cancellation

    def cancel_pending_task(self, name: Hashable) -> Future[Any]:
        """Cancel the task ``name`` and forget it at once.

        :returns: the task, which may be awaited to see it end, or a future with result ``None`` for an unknown name.
        """
        future = self._pending_tasks.pop(name, None)
        if future is None:
            return succeed(None)
        future.cancel()
        return future

    def release_task(self, future: Future[Any]) -> None:
        """Forget a task without cancelling it, so that it can shut this task manager down and go on afterwards."""
        for name in [name for name, known in self._pending_tasks.items() if known is future]:
            del self._pending_tasks[name]

    def cancel_all_pending_tasks(self) -> list[Future[Any]]:
        """Cancel all tasks, the search for overdue ones included, and all timers; return the tasks."""
        for timer in tuple(self._timers):
            timer.cancel()
        return [self.cancel_pending_task(name) for name in list(self._pending_tasks)]

    async def shutdown_task_manager(self) -> None:
        """Cancel all tasks and timers, wait for the tasks to end and run the shutdown tasks. It may be called twice.

        Tasks that have not ended :data:`SHUTDOWN_GRACE` seconds after their cancellation are logged and left behind.
        Tasks of another event loop are cancelled, but not waited for.
        A task of this manager that calls this method is forgotten, not cancelled. Every shutdown task runs, even if an
        earlier one fails or the caller is cancelled meanwhile; then the first failure among them is raised.
        """
        self._shutdown = True
        caller = asyncio.current_task()
        if caller is not None:
            self.release_task(caller)
        loop = asyncio.get_running_loop()
        ending = [future for future in self.cancel_all_pending_tasks()
                  if not future.done() and future.get_loop() is loop]
        try:
            if ending:
                _, stubborn = await asyncio.wait(ending, timeout=SHUTDOWN_GRACE)
                for future in stubborn:
                    self._logger.warning("%r did not end within %s s of its cancellation", future, SHUTDOWN_GRACE)
        finally:
            await self._run_shutdown_tasks()

    async def _run_shutdown_tasks(self) -> None:
        failures: list[Exception] = []
        while self._shutdown_tasks:
            func, args, kwargs = self._shutdown_tasks.pop(0)
            try:
                result = func(*args, **kwargs)
                if isawaitable(result):
                    await result
            except Exception as e:
                self._logger.exception("Shutdown task %r failed", func)
                failures.append(e)
        if failures:
            raise failures[0]

    # Queries

    def is_pending_task_active(self, name: Hashable) -> bool:
        """Whether the task ``name`` exists and has not ended."""
        future = self._pending_tasks.get(name)
        return future is not None and not future.done()

    def get_task(self, name: Hashable) -> Future[Any] | None:
        """The task ``name``; ``None`` if there is none, or if it has ended and that was noticed already."""
        return self._pending_tasks.get(name)

    def get_tasks(self) -> list[Future[Any]]:
        """All tasks in order of registration, without the search for overdue ones."""
        return [future for future in self._pending_tasks.values() if future is not self._checker]

    def get_anonymous_tasks(self, base_name: str) -> list[Future[Any]]:
        """All tasks whose names are strings that start with ``base_name``."""
        return [future for name, future in self._pending_tasks.items()
                if isinstance(name, str) and name.startswith(base_name)]

    async def wait_for_tasks(self) -> None:
        """Wait until all present tasks but the calling one have ended, with a result or not. Timers do not count."""
        caller = asyncio.current_task()
        pending = [future for future in self.get_tasks() if future is not caller]
        if pending:
            await asyncio.wait(pending)


def task(func: Callable[Concatenate[ManagerT, P], Coroutine[Any, Any, T]],
         ) -> Callable[Concatenate[ManagerT, P], Future[T]]:
    """Decorator for async methods of a :class:`TaskManager`: a call registers the coroutine as an anonymous task.

    The call returns the future of the registration. Exceptions are logged; who awaits the future gets them too.

    :raises TypeError: at decoration, if ``func`` is not async.
    """
    if not iscoroutinefunction(func):
        raise TypeError(f"Cannot make a task of {func!r}: it is not an async function")

    @wraps(func)
    def start(self: ManagerT, /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        running = current_loop().create_task(func(self, *args, **kwargs))
        return self.register_anonymous_task(func.__name__, running, ignore=(Exception,))

    return start


if TYPE_CHECKING:  # programs import these from here
    from .util import coroutine as coroutine
else:
    __getattr__, __dir__ = reexports(__name__, {".util": "coroutine"})
