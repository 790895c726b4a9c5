"""An Internet of namespaces: sites around a core that routes and delays packets."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .kernel import KernelError, Namespaces, run, tool
from .kinds import KINDS

if TYPE_CHECKING:
    from types import TracebackType

    from .kernel import Namespace
    from .kinds import Kind

__all__ = ["Internet", "Site", "what_is_lacking"]

GATEWAY, GATEWAY6 = "169.254.0.1", "fe80::1"
"""The addresses of the core and of a site on the line between them."""

NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
"""The networks of outer addresses, which are reserved for documentation (RFC 5737)."""

HOMES = ("192.168.0", "192.168.1", "192.168.178")
"""The inner networks of homes; the outer address is in the network at the same place of ``NETWORKS``."""

LINE_TABLE = 100


@dataclass(frozen=True)
class Site:
    """A host with its router, if it has one.

    :param ip: its outer IPv4 address, or "".
    :param ipv6: its IPv6 address, or "".
    :param inside: the IPv4 address of the host itself, or "".
    """

    host: Namespace
    router: Namespace | None
    ip: str
    ipv6: str
    inside: str


class Internet:
    """Use it in a ``with`` block, which removes all namespaces at its end.

    :param delay: the seconds that a packet from one site to another takes.
    :param loss: the probability that a packet between two sites is lost.
    :raises KernelError: by the ``with`` statement and by all methods, if the kernel does not permit it.
    """

    def __init__(self, delay: float = 0.02, loss: float = 0.0) -> None:
        self.delay = delay
        self.loss = loss
        #: What delays packets: "netem", "tun" (a process), or "nothing".
        self.mechanism = "nothing"
        self._stack = ExitStack()
        self._namespaces = Namespaces()
        self._sites = 0

    def __enter__(self) -> Internet:  # noqa: PYI034 - Self is newer than Python 3.10
        with ExitStack() as stack:
            stack.enter_context(self._namespaces)
            self._core = self._namespaces.add("core")
            self._core.set(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv6__conf__default__forwarding=1)
            if self.delay or self.loss:
                self._take_time(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._stack.close()

    def _take_time(self, stack: ExitStack) -> None:
        try:
            self._impair("lo")  # nothing is sent there: this only tests whether it is possible
            self.mechanism = "netem"
        except KernelError:
            with suppress(KernelError):
                self._core.configure("tuntap add dev line mode tun", "link set line up")
                self._make_detour(stack)
                self.mechanism = "tun"

    def _make_detour(self, stack: ExitStack) -> None:
        """Route all packets through a process that delays them."""
        line = self._core.popen("-m", "interop.laboratory.line", str(self.delay), str(self.loss))
        stack.enter_context(line)
        stack.callback(line.terminate)
        if line.stdout is None or line.stdout.readline() != "ready\n":
            raise KernelError("the process that delays packets ended: see what it wrote to standard error")
        for family, destination in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            run("ip", family, "-n", self._core.name, "-batch", "-", text=(
                "rule add pref 10 iif line lookup main\n"
                "rule add pref 11 iif lo lookup main\n"
                f"rule add pref 12 lookup {LINE_TABLE}\n"
                f"route add {destination} dev line table {LINE_TABLE}\n"))

    def _impair(self, device: str) -> None:
        """Delay packets to a site, and drop some of them."""
        impairment = ("delay", f"{round(self.delay * 1e6)}us", "loss", f"{self.loss:%}")
        run(*self._core.command(tool("tc"), "qdisc", "add", "dev", device, "root", "netem", *impairment))

    def add_site(self, kind: Kind, network: int, ipv4: bool = True, ipv6: bool = False) -> Site:
        """Add a host behind ``kind``.

        :param network: the number of the network in ``NETWORKS`` of its outer address.
        :param ipv6: whether it has IPv6 too, which does not pass through its router.
        """
        self._sites += 1
        number = self._sites
        host = self._namespaces.add(f"host{number}")
        router = None
        outside = inside = outside6 = ""
        if ipv4:
            inside = outside = f"{NETWORKS[network]}.{number}"
            outermost = host
            if kind.router is not None:
                inside = f"{HOMES[network]}.2"
                router = outermost = self._namespaces.add(f"router{number}")
                self._add_home(router, host, HOMES[network])
            self._plug(outermost, f"v4s{number}", "wan", outside)
            if router is not None and kind.router is not None:
                router.filter(kind.router.replace("{wan}", outside).replace("{lan}", inside))
        if ipv6:
            outside6 = f"2001:db8:{number:x}::1"
            self._plug(host, f"v6s{number}", "wan6", outside6)
        if kind.firewall is not None:
            host.filter(kind.firewall)
        return Site(host, router, outside, outside6, inside)

    def _plug(self, namespace: Namespace, core_device: str, device: str, ip: str) -> None:
        """Add a line from the core to ``namespace``, which has the address ``ip``."""
        is_ipv6 = ":" in ip
        gateway, prefix = (GATEWAY6, "/64 nodad") if is_ipv6 else (GATEWAY, "/32")
        self._core.configure(f"link add {core_device} type veth peer name {device} netns {namespace.name}",
                             f"addr add {gateway}{prefix} dev {core_device}", f"link set {core_device} up")
        if self.mechanism == "netem":
            self._impair(core_device)
        namespace.configure(f"addr add {ip}/{128 if is_ipv6 else 32} dev {device}", f"link set {device} up",
                            *([] if is_ipv6 else [f"route add {gateway} dev {device}"]),
                            f"route add default via {gateway} dev {device}")
        self._core.configure(f"route add {ip} dev {core_device}")

    def _add_home(self, router: Namespace, host: Namespace, home: str) -> None:
        router.set(ipv4__ip_forward=1)
        router.configure(f"link add lan type veth peer name eth netns {host.name}", f"addr add {home}.1/24 dev lan",
                         "link set lan up")
        host.configure(f"addr add {home}.2/24 dev eth", "link set eth up", f"route add default via {home}.1")


def what_is_lacking() -> str | None:
    """The reason why the laboratory cannot run here; ``None`` if it can."""
    try:
        with Internet() as internet:
            for name in ("open", "strict", "firewall"):
                internet.add_site(KINDS[name], 1, ipv6=True)
    except KernelError as e:
        return f"the NAT laboratory needs root, network namespaces and nftables: {e}"
    return None
