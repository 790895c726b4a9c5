"""A network of simulated machines on virtual time, which can be repeated from its seed."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import shlex
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from ...keyvault.keys import PrivateKey
from .addresses import AddressPlan
from .arguments import check_address, check_kind, check_number, check_port
from .churn import Churn
from .host import Host
from .isolation import isolated
from .links import PERFECT, Access, Link
from .loop import VirtualTimeLoop
from .nat import NAT, Firewall
from .network import Interface, Internet, Router, Wires, check_nat
from .node import DEFAULT_PORT, DEFAULT_WALKERS, Bootstrapping, Node, Tracker, Walker, check_settings, check_walkers
from .signatures import stand_in_signatures
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from ...messaging.address import Address
    from ...overlay import Overlay
    from ...peerdiscovery.tracker import TrackerLimits

__all__ = ["SEED_VARIABLE", "Simulation", "SimulationError", "new_seed"]

SEED_VARIABLE = "IPV8_SIMULATION_SEED"
"""The environment variable with the seed of simulations for which none is given."""

T = TypeVar("T")
SimulationT = TypeVar("SimulationT", bound="Simulation")


def new_seed() -> str:
    """The value of the environment variable ``IPV8_SIMULATION_SEED``, or a random seed."""
    return os.environ.get(SEED_VARIABLE) or str(int.from_bytes(os.urandom(4), "big"))


class SimulationError(AssertionError):
    """Code on a simulated machine raised an exception that nothing caught, or logged one; it is the ``__cause__``."""


class _FailureLog(logging.Handler):
    """Collects exceptions that the library logs, which are bugs in the overlays."""

    def __init__(self, failures: list[BaseException]) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._failures.append(record.exc_info[1])


class Simulation:
    """A simulated network. Use it in a ``with`` block, outside of ``async`` functions.

    Inside the block, the process uses the clock, the randomness and the event loop of the simulation. If an exception
    leaves the block, its seed and a command that repeats it are written to the standard error stream.

    :param seed: a number or a text; simulations with the same seed are the same. By default it is that of the
        environment variable ``IPV8_SIMULATION_SEED``, or a random one.
    :param link: the line of hosts for which no other line is given.
    :param stand_in_signatures: use a hash instead of Ed25519. Nothing else changes.
    :param strict: raise :class:`SimulationError` if an overlay raises an exception that a real node would only log.
    :param keep_packets: keep every packet in ``trace.packets``.
    :param bootstrap_interval: the seconds between two rounds of bootstrapping of an overlay.
    :param replay: the command that repeats this simulation; by default that of this process, or of this test.
    """

    def __init__(self, seed: int | str | None = None, *, link: Link | None = None, stand_in_signatures: bool = False,
                 strict: bool = True, keep_packets: bool = False, bootstrap_interval: float = 30.0,
                 replay: str | None = None) -> None:
        if seed is None:
            seed = new_seed()
        check_kind("seed", seed, (int, str), "a number or a text")
        check_kind("link", link, (Link, type(None)), "a Link")
        check_number("bootstrap_interval", bootstrap_interval, positive=True)
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
        self._wall_offset = 0.0
        self._stack = ExitStack()

    def _chance(self, purpose: str) -> random.Random:
        """A source of randomness for one purpose, so that a change in one part does not change the others."""
        return random.Random(f"{self.seed}/{purpose}")

    # Life cycle

    def __enter__(self: SimulationT) -> SimulationT:  # noqa: PYI019 - Self is newer than Python 3.10
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("a simulation brings its own event loop: use it outside of async functions")
        if self.loop.is_closed():
            raise RuntimeError("a simulation runs once only: make another one with the same seed")
        handler = _FailureLog(self.failures)
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)
        self.loop.set_exception_handler(self._on_loop_error)
        self._stack.enter_context(isolated(self.loop, f"{self.seed}/overlays", self.names,
                                           lambda: self._wall_offset))
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
        """The seed and the state of the simulation, and a command that repeats it."""
        return (f"simulation with seed {self.seed}, at {self.time:.3f} virtual seconds, {self.trace.sent} packets "
                f"(trace {self.trace.hexdigest()})\nreplay it with: {self._replay or self._own_command()}")

    def _own_command(self) -> str:
        test = os.environ.get("PYTEST_CURRENT_TEST")
        command = ["python", "-m", "pytest", test.rpartition(" (")[0]] if test else sys.orig_argv
        settings = [f"{SEED_VARIABLE}={shlex.quote(str(self.seed))}"]
        if os.environ.get("PYTHONHASHSEED"):  # it decides the order of sets, on which code of users may depend
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
        # By name, because sets have no order.
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
            raise SimulationError(f"{count} exception(s) on simulated nodes, the first one: {first!r}") from first

    # Time

    @property
    def time(self) -> float:
        """Virtual seconds since the beginning of the simulation."""
        return self.loop.time()

    def run(self, seconds: float) -> None:
        """Run for ``seconds`` of virtual time.

        :raises SimulationError: if the simulation is strict and an overlay raised an exception.
        :raises ValueError: if this is no finite number from 0 on.
        """
        check_number("seconds", seconds)
        self.loop.run_for(seconds)
        self._raise_failures()

    def run_until(self, condition: Callable[[], bool], timeout: float, step: float = 0.1) -> float:
        """Run until ``condition()`` is true. It is called every ``step`` seconds.

        :returns: the virtual seconds that passed.
        :raises TimeoutError: if the condition is not true after ``timeout`` seconds.
        """
        begin = self.time
        while not condition():
            if self.time - begin >= timeout:
                raise TimeoutError(f"the condition was not true within {timeout} virtual seconds")
            self.run(min(step, timeout))
        return self.time - begin

    def wait_for(self, awaitable: Awaitable[T]) -> T:
        """Run until ``awaitable`` is done, and return its result."""
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
        """Add a router with a NAT, for any number of nodes.

        :param behind: another router between this one and the Internet, such as that of a carrier.
        :param link: the line of the router.
        :param ip: its external address.
        """
        check_nat(nat, (NAT,))
        check_kind("behind", behind, (Router, type(None)), "a router")
        check_kind("link", link, (Link, type(None)), "a Link")
        if ip is not None:
            check_address("ip", ip, 4)
        if behind is None:
            return Router(self._internet, nat, ip or self._plan.public_ipv4(), link or self.link)
        ip = ip or self._private_ip(behind, self._plan.carrier)
        router = Router(behind.inside, nat, ip, link or PERFECT)
        behind.translator.expose(ip)
        return router

    def add_host(self, *, nat: NAT | Router | None = None, ipv4: bool | str = True, ipv6: bool | str = False,
                 firewall: Firewall | None = None, link: Link | None = None, name: str | None = None) -> Host:
        """Add a machine without software.

        :param nat: the kind of NAT of a router of its own, or a router that it shares. IPv6 does not pass through it.
        :param ipv4: whether the machine has IPv4, or its address; behind a NAT, its internal address.
        :param ipv6: whether the machine has IPv6, or its address.
        :param firewall: a packet filter of the machine, for IPv4 and IPv6.
        :param link: the line of the machine, or of its own router. By default, hosts behind a shared router have a line
            without latency and loss to the router.
        :raises TypeError: for an argument of another type.
        :raises ValueError: if the machine would have no address, or one that is not free.
        """
        check_nat(nat)
        check_address("ipv4", ipv4, 4)
        check_address("ipv6", ipv6, 6)
        check_kind("firewall", firewall, (Firewall, type(None)), "a Firewall")
        check_kind("link", link, (Link, type(None)), "a Link")
        if not ipv4 and not ipv6:
            raise ValueError("a host needs an address: set ipv4 or ipv6 to True, or to an address")
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
        """Add a machine that runs overlays. :meth:`add_host` explains the arguments that are not listed here.

        :param overlays: the classes of the overlays.
        :param host: a machine to run on instead of a new one. Several nodes may share a machine, on different ports,
            but the crash of one of them disconnects all.
        :param walkers: the walkers of each overlay.
        :param tick: the seconds between two steps of each walker, as in the service.
        :param phase: the seconds until the first step; by default random, up to ``tick``.
        :param bootstrap: whether communities ask the trackers that were added before.
        :param start: whether the node starts at once; otherwise call :meth:`start`.
        :param settings: additional settings of all overlays.
        :raises TypeError: for an argument that is neither listed here nor a setting of the overlays, and for one of
            another type.
        """
        for overlay_class in overlays:
            check_kind("an overlay", overlay_class, type, "a class")
            check_settings("add_node()", overlay_class, settings, inspect.signature(self.add_node).parameters)
        if settings and not overlays:
            raise TypeError(f"add_node() has no argument {next(iter(settings))!r}, and there is no overlay that has "
                            "such a setting")
        check_kind("host", host, (Host, type(None)), "a machine that add_host() made")
        check_walkers(walkers)
        check_number("tick", tick, positive=True)
        check_number("phase", phase or 0.0)
        check_port(port)
        check_kind("key", key, (PrivateKey, type(None)), "a private key")
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
        """Add a bootstrap server. All nodes that are added later know it.

        :param limits: the limits of the server.
        :param dns_name: a name that is resolved to its addresses inside the simulation.
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
        """Start a node, for the first time or again."""
        self._inside(node.start)

    def stop(self, node: Node) -> None:
        """Stop a node and unload its overlays, which may take virtual time."""
        self.wait_for(node.stop())

    def crash(self, node: Node) -> None:
        """Disconnect a node without notice to its peers."""
        self._inside(node.crash)

    def introduce(self, nodes: Iterable[Node]) -> None:
        """Let each node walk once to the public address of each other node."""
        everybody = list(nodes)

        def walk() -> None:
            for node in everybody:
                for other in everybody:
                    if other is not node:
                        node.run(node.overlay.walk_to, other.address)

        self._inside(walk)

    # Trouble

    def partition(self, *groups: Iterable[Node]) -> None:
        """Separate the groups from each other, and from all nodes and trackers that are in no group."""
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
        """Drop all packets between two nodes."""
        for mine in one.host.outer_interfaces:
            for theirs in other.host.outer_interfaces:
                self._wires.sever(mine, theirs)

    def mend(self, one: Node, other: Node) -> None:
        """Undo :meth:`sever`."""
        for mine in one.host.outer_interfaces:
            for theirs in other.host.outer_interfaces:
                self._wires.mend(mine, theirs)

    def move(self, node: Node) -> Address:
        """Give a node another public IPv4 address, as providers do every night, and return it. Its NAT restarts."""
        interface = node.host.ipv4
        if interface is None:
            raise ValueError(f"{node.name} has no IPv4 address to change: add it with ipv4=True")
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

    def step_wall_clock(self, seconds: float, *nodes: Node) -> None:
        """Set wall clocks forward, or back by a negative number of seconds. Timers and monotonic time do not change.

        :param nodes: the nodes whose machines have these clocks. By default, the clocks of all machines are set, also
            of those that are added later.
        """
        check_number("seconds", seconds)
        if nodes:
            for host in dict.fromkeys(node.host for node in nodes):
                host.step_wall_clock(seconds)
        else:
            self._wall_offset += seconds

    def start_churn(self, nodes: Iterable[Node] | None = None, *, mean_uptime: float = 600.0,
                    mean_downtime: float = 120.0, crashes: float = 0.5) -> Churn:
        """Stop nodes, by default all, and start them again, at random times; see :class:`Churn`."""
        check_number("mean_uptime", mean_uptime, positive=True)
        check_number("mean_downtime", mean_downtime, positive=True)
        check_number("crashes", crashes)
        churn = Churn(self.loop, self._chance(f"churn {len(self._churns)}"), list(nodes or self.nodes), mean_uptime,
                      mean_downtime, crashes)
        self._churns.append(churn)
        return churn

