"""A network of simulated machines under one virtual clock, made anew from a seed as often as needed."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shlex
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from .addresses import AddressPlan
from .churn import Churn
from .host import Host
from .isolation import isolated
from .links import PERFECT, Access, Link
from .loop import VirtualTimeLoop
from .nat import NAT, Firewall
from .network import Interface, Internet, Router, Wires
from .node import DEFAULT_PORT, DEFAULT_WALKERS, Bootstrapping, Node, Tracker, Walker
from .signatures import stand_in_signatures
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from ...keyvault.keys import PrivateKey
    from ...messaging.address import Address
    from ...overlay import Overlay
    from ...peerdiscovery.tracker import TrackerLimits

__all__ = ["SEED_VARIABLE", "Simulation", "SimulationError", "new_seed"]

SEED_VARIABLE = "IPV8_SIMULATION_SEED"
"""The environment variable with the seed of simulations that are given none."""

T = TypeVar("T")
SimulationT = TypeVar("SimulationT", bound="Simulation")


def new_seed() -> str:
    """That of the environment variable ``IPV8_SIMULATION_SEED``, else any."""
    return os.environ.get(SEED_VARIABLE) or str(int.from_bytes(os.urandom(4), "big"))


class SimulationError(AssertionError):
    """Code on a simulated machine raised something that nobody handled, or logged a traceback: see ``__cause__``."""


class _FailureLog(logging.Handler):
    """Takes note of errors that the library logs instead of raising them: bugs of this side."""

    def __init__(self, failures: list[BaseException]) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._failures.append(record.exc_info[1])


class Simulation:
    """To be used in a ``with`` block, in plain (not async) code.

    Inside, the clock, the chance and the event loop of the process are those of the simulation. An error that leaves
    the block is preceded by the seed, and a command that makes it happen again, on the standard error stream.

    :param seed: decides everything; a number or a text. By default that of the environment variable
        ``IPV8_SIMULATION_SEED``, else any.
    :param link: the line of hosts for which no other is given.
    :param stand_in_signatures: sign with a cheap hash instead of Ed25519; nothing else changes.
    :param strict: raise :class:`SimulationError` if an overlay fails, even though a real node would only log that.
    :param keep_packets: keep every packet in ``trace.packets``.
    :param bootstrap_interval: seconds between two rounds of bootstrapping of one overlay.
    :param replay: the command that repeats this run; by default that of this process, or of this test.
    """

    def __init__(self, seed: int | str | None = None, *, link: Link | None = None, stand_in_signatures: bool = False,
                 strict: bool = True, keep_packets: bool = False, bootstrap_interval: float = 30.0,
                 replay: str | None = None) -> None:
        if seed is None:
            seed = new_seed()
        self.seed = seed
        self.link = link or Link()
        self.strict = strict
        self.loop = VirtualTimeLoop()
        self.trace = Trace(keep_packets)
        self.nodes: list[Node] = []
        self.trackers: list[Tracker] = []
        self.names: dict[str, list[str]] = {}
        self.failures: list[BaseException] = []
        self._stand_in_signatures = stand_in_signatures
        self._replay = replay
        self._plan = AddressPlan(self._chance("addresses"))
        self._phases = self._chance("phases")
        self._wires = Wires(self.loop, self._chance("network"), self.trace)
        self._internet = Internet(self._wires)
        self._bootstrapping = Bootstrapping([], bootstrap_interval)
        self._churns: list[Churn] = []
        self._stack = ExitStack()

    def _chance(self, purpose: str) -> random.Random:
        """A stream of chance of its own, so that a change in one part does not stir the others up."""
        return random.Random(f"{self.seed}/{purpose}")

    # Life cycle

    def __enter__(self: SimulationT) -> SimulationT:  # noqa: PYI019 - Self is newer than Python 3.10
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("a simulation has an event loop of its own: use it outside of async functions")
        if self.loop.is_closed():
            raise RuntimeError("a simulation runs once: make another one with the same seed")
        handler = _FailureLog(self.failures)
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)
        self.loop.set_exception_handler(self._on_loop_error)
        self._stack.enter_context(isolated(self.loop, f"{self.seed}/overlays", self.names))
        if self._stand_in_signatures:
            self._stack.enter_context(stand_in_signatures())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        try:
            with self._stack:
                self._close()
            if error is None:
                self._raise_failures()
        except BaseException as e:
            error = e
            raise
        finally:
            if error is not None and not isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                sys.stderr.write(f"\n{self.how_to_replay()}\n")

    def how_to_replay(self) -> str:
        """Where the simulation stands, its seed, and a command that makes the same happen again."""
        return (f"simulation with seed {self.seed}, at {self.time:.3f} virtual seconds, {self.trace.sent} packets "
                f"(trace {self.trace.hexdigest()})\nreplay it with: {self._replay or self._own_command()}")

    def _own_command(self) -> str:
        test = os.environ.get("PYTEST_CURRENT_TEST")
        command = ["python", "-m", "pytest", test.rpartition(" (")[0]] if test else sys.orig_argv
        settings = [f"{SEED_VARIABLE}={shlex.quote(str(self.seed))}"]
        if os.environ.get("PYTHONHASHSEED"):  # the order of sets, on which code of users may depend
            settings.append(f"PYTHONHASHSEED={os.environ['PYTHONHASHSEED']}")
        return " ".join([*settings, shlex.join(command)])

    def _close(self) -> None:
        for churn in self._churns:
            churn.stop()
        for node in (*self.nodes, *self.trackers):
            node.host.disconnect()
        try:
            self.loop.run_until_complete(self._stop_all())
        finally:
            self.loop.close()

    async def _stop_all(self) -> None:
        everybody = (*self.nodes, *self.trackers)
        outcomes = await asyncio.gather(*(node.stop() for node in everybody), return_exceptions=True)
        self.failures.extend(outcome for outcome in outcomes if isinstance(outcome, Exception))
        # In order of their names: a set has none.
        rest = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=lambda task: task.get_name())
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception") or RuntimeError(context["message"]))

    def _raise_failures(self) -> None:
        if self.strict and self.failures:
            first = self.failures[0]
            count = len(self.failures)
            self.failures.clear()
            raise SimulationError(f"{count} failure(s) on simulated nodes, the first one: {first!r}") from first

    # Time

    @property
    def time(self) -> float:
        """Virtual seconds since the simulation began."""
        return self.loop.time()

    def run(self, seconds: float) -> None:
        """Let so many virtual seconds pass.

        :raises SimulationError: if an overlay failed meanwhile, and the simulation is strict.
        """
        self.loop.run_for(seconds)
        self._raise_failures()

    def run_until(self, condition: Callable[[], bool], timeout: float, step: float = 0.1) -> float:
        """Let time pass until ``condition()`` is true, which is looked at every ``step`` seconds.

        :returns: how many virtual seconds that took.
        :raises TimeoutError: if it was not true after ``timeout`` seconds.
        """
        begin = self.time
        while not condition():
            if self.time - begin >= timeout:
                raise TimeoutError(f"what was waited for did not happen within {timeout} virtual seconds")
            self.run(min(step, timeout))
        return self.time - begin

    def wait_for(self, awaitable: Awaitable[T]) -> T:
        """Let time pass until ``awaitable`` is done; its result."""
        async def wait() -> T:
            return await awaitable

        result = self.loop.run_until_complete(wait())
        self._raise_failures()
        return result

    def _inside(self, function: Callable[[], T]) -> T:
        """Call ``function`` with the event loop running."""
        if self.loop.is_running():
            return function()

        async def call() -> T:
            return function()

        return self.wait_for(call())

    # Machines

    def add_router(self, nat: NAT, *, behind: Router | None = None, link: Link | None = None,
                   ip: str | None = None) -> Router:
        """A translator that any number of nodes can be behind.

        :param behind: another router on its outside, as carriers have them; by default that is the Internet.
        :param link: the line on its outside.
        :param ip: its external address.
        """
        if behind is None:
            return Router(self._internet, nat, ip or self._plan.public_ipv4(), link or self.link)
        ip = ip or self._private_ip(behind, self._plan.carrier)
        router = Router(behind.inside, nat, ip, link or PERFECT)
        behind.translator.expose(ip)
        return router

    def add_host(self, *, nat: NAT | Router | None = None, ipv4: bool | str = True, ipv6: bool | str = False,
                 firewall: Firewall | None = None, link: Link | None = None, name: str | None = None) -> Host:
        """A machine without software.

        :param nat: the kind of a translator of its own, or a router that it shares; IPv6 passes it by.
        :param ipv4: whether it has IPv4, or which address; behind a NAT that is the internal one.
        :param ipv6: whether it has IPv6, or which address.
        :param firewall: a filter of its own, for both.
        :param link: its line; with a translator of its own, that of the translator. Hosts behind a shared router have a
            perfect one to there unless another is given.
        :raises ValueError: if it is to have no address at all, or one that is taken.
        """
        if not ipv4 and not ipv6:
            raise ValueError("a host needs an address: ipv4 or ipv6 must be true, or an address")
        host = Host(name or f"host {len(self.nodes) + len(self.trackers) + 1}", self._wires, firewall)
        router: Router | None = None
        if isinstance(nat, NAT):
            router, access = self.add_router(nat, link=link), Access(PERFECT, self._wires.chance)
        elif isinstance(nat, Router):
            router, access = nat, Access(link or PERFECT, self._wires.chance)
        else:
            access = Access(link or self.link, self._wires.chance)
        host.router = router
        if ipv4 and router is None:
            ip = ipv4 if isinstance(ipv4, str) else self._plan.public_ipv4()
            host.ipv4 = Interface(self._internet, access, host.receive, [ip])
        elif ipv4 and router is not None:
            ip = ipv4 if isinstance(ipv4, str) else self._private_ip(router, self._plan.home)
            host.ipv4 = Interface(router.inside, access, host.receive, [ip])
            router.translator.expose(ip)
        if ipv6:
            ip = ipv6 if isinstance(ipv6, str) else self._plan.public_ipv6()
            line = access if router is None else router.interface.access
            host.ipv6 = Interface(self._internet, line, host.receive, [ip])
        return host

    def _private_ip(self, router: Router, network: Callable[[], str]) -> str:
        if router.network is None:
            router.network = network()
        while (ip := f"{router.network}.{self._plan.host_number()}") in router.inside:
            pass
        return ip

    def add_node(self, *overlays: type[Overlay[Any]], nat: NAT | Router | None = None, ipv4: bool | str = True,
                 ipv6: bool | str = False, firewall: Firewall | None = None, link: Link | None = None,
                 name: str | None = None, host: Host | None = None, walkers: Sequence[Walker] = DEFAULT_WALKERS,
                 tick: float = 0.5, phase: float | None = None, port: int = DEFAULT_PORT,
                 key: PrivateKey | None = None, bootstrap: bool = True, start: bool = True, **settings: Any) -> Node:
        """A machine that runs overlays; see :meth:`add_host` for what it is like.

        :param overlays: their classes.
        :param host: a machine that is there already: several nodes may run on it, on different ports, but if one of
            them crashes, all do.
        :param walkers: what each overlay finds peers with.
        :param tick: seconds between two steps of each walker, as in the service.
        :param phase: seconds until the first step; by default anything up to a tick.
        :param bootstrap: whether communities ask the trackers, which must have been added before.
        :param start: whether it begins at once; otherwise ``node.start()`` must be called.
        :param settings: additional settings of all overlays.
        """
        if host is None:
            host = self.add_host(nat=nat, ipv4=ipv4, ipv6=ipv6, firewall=firewall, link=link,
                                 name=name or f"node {len(self.nodes) + 1}")
        node = Node(host, key, port, tick, self._phases.uniform(0, tick) if phase is None else phase,
                    self._bootstrapping if bootstrap and self.trackers else None)
        for overlay_class in overlays:
            node.add_overlay(overlay_class, walkers, **settings)
        self.nodes.append(node)
        if start:
            self.start(node)
        return node

    def add_tracker(self, *, ipv4: bool | str = True, ipv6: bool | str = False, link: Link | None = None,
                    limits: TrackerLimits | None = None, port: int = 6421, dns_name: str | None = None) -> Tracker:
        """A bootstrap server, which all nodes that are added later know.

        :param limits: what it does for strangers.
        :param dns_name: a name that is resolved to its addresses inside of the simulation.
        """
        host = self.add_host(ipv4=ipv4, ipv6=ipv6, link=link, name=f"tracker {len(self.trackers) + 1}")
        tracker = Tracker(host, port=port)
        tracker.limits = limits
        self.trackers.append(tracker)
        self._bootstrapping.addresses.extend(tracker.addresses)
        if dns_name is not None:
            self.names.setdefault(dns_name, []).extend(host.ips)
        self.start(tracker)
        return tracker

    def start(self, node: Node) -> None:
        """Start a node, or start it again."""
        self._inside(node.start)

    def stop(self, node: Node) -> None:
        """Stop a node in good order, which may take virtual time."""
        self.wait_for(node.stop())

    def crash(self, node: Node) -> None:
        """Let a node vanish without a word."""
        self._inside(node.crash)

    def introduce(self, nodes: Iterable[Node]) -> None:
        """Let each node walk once to each other one, at its public address."""
        everybody = list(nodes)

        def walk() -> None:
            for node in everybody:
                for other in everybody:
                    if other is not node:
                        node.run(node.overlay.walk_to, other.address)

        self._inside(walk)

    # Trouble

    def partition(self, *groups: Iterable[Node]) -> None:
        """Separate the groups from each other and from all nodes in none of them, trackers included."""
        for number, group in enumerate(groups, 1):
            for node in group:
                for interface in node.host.outer_interfaces:
                    interface.island = number

    def heal(self) -> None:
        """End all partitions."""
        for node in (*self.nodes, *self.trackers):
            for interface in node.host.outer_interfaces:
                interface.island = 0

    def sever(self, one: Node, other: Node) -> None:
        """Let no packet through between two nodes."""
        for mine in one.host.outer_interfaces:
            for theirs in other.host.outer_interfaces:
                self._wires.sever(mine, theirs)

    def mend(self, one: Node, other: Node) -> None:
        """Undo :meth:`sever`."""
        for mine in one.host.outer_interfaces:
            for theirs in other.host.outer_interfaces:
                self._wires.mend(mine, theirs)

    def move(self, node: Node) -> Address:
        """Give a node another public IPv4 address, as providers do every night: its NAT restarts; the new address."""
        interface = node.host.ipv4
        if interface is None:
            raise ValueError(f"{node.name} has no IPv4 address that could change")
        ip = self._plan.public_ipv4()
        router = interface.segment.gateway
        if router is None:
            interface.remove_ip(interface.ips[0])
            interface.add_ip(ip)
        else:
            while (outer := router.interface.segment.gateway) is not None:
                router = outer
            router.renew(ip)
        return node.address

    def start_churn(self, nodes: Iterable[Node] | None = None, *, mean_uptime: float = 600.0,
                    mean_downtime: float = 120.0, crashes: float = 0.5) -> Churn:
        """Take nodes, by default all, down and up again from now on; see :class:`Churn`."""
        churn = Churn(self.loop, self._chance(f"churn {len(self._churns)}"), list(nodes or self.nodes), mean_uptime,
                      mean_downtime, crashes)
        self._churns.append(churn)
        return churn

