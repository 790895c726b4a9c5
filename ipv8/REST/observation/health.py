"""Whether a node is well, with reasons in sentences that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock
from ...contact.nat import AddressMapping
from ...messaging.inet import is_global
from ...peerdiscovery.network import PeerObserver
from . import peers
from .loop import FIRST_SECONDS
from .parts import communities_of, endpoint_of
from .reasons import ADVICE, meaning_of
from .tables import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address
    from ...peer import Peer
    from .observer import NodeObserver

__all__ = ["Health", "NatState", "Reachability", "Reason", "sockets_of"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LEVELS = (OK, WARNING, PROBLEM)
UNKNOWN = "unknown"
"""The level of what cannot be judged. It does not make the whole worse."""

REACHABLE_LEVELS = {True: OK, False: WARNING, None: UNKNOWN}
MAPPING_LEVELS = {AddressMapping.ENDPOINT_DEPENDENT: WARNING, AddressMapping.UNKNOWN: UNKNOWN}


PATIENCE = 60.0
"""Seconds after the start in which a node may have no peers."""

JUMP_SHOWN = 600.0
"""Seconds for which a jump of the wall clock is shown."""

WRONG_CLOCK = 5.0
"""Seconds by which the wall clock may go further than the monotonic one, since the start."""

LAG_WARNING, LAG_PROBLEM = 0.05, 0.5
"""Seconds that the event loop may be late, 99 of 100 times."""

MANY_DROPS = 600
"""Dropped packets in a minute, from which on they are a reason to look."""

MANY_ERRORS = 1
"""Errors in the log in a minute, from which on they are a reason to look."""

NEARLY_FULL = 0.9
"""The part of a table from which on it is nearly full."""

NAMED_TABLES = 3
"""Tables that are named in one sentence."""


class Reason(NamedTuple):
    """One thing that was looked at."""

    level: str
    name: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """The reason as JSON has it."""
        return self._asdict()


class Reachability(PeerObserver):
    """Notes whether somebody at a public address came by itself: a peer that no packet had been sent to before.

    :param node: the node.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        #: When that was, by the monotonic clock; ``None`` if it never happened.
        self.heard: float | None = None

    def on_peer_added(self, peer: Peer) -> None:
        """Look where a new peer came from. Its first packet is being handled, and was not answered yet."""
        address: Address = peer.address
        endpoint = endpoint_of(self._node)
        if endpoint is not None and is_global(address[0]) and not endpoint._has_sent_to(address):
            self.heard = clock.monotonic()

    def on_peer_removed(self, peer: Peer) -> None:
        """Nothing is noted of peers that leave."""


class NatState(NamedTuple):
    """How the addresses of a node are translated, and whether others can begin to send to it."""

    mapping: str
    """A value of :class:`ipv8.contact.nat.AddressMapping`."""
    reachable: bool | None
    """``None`` if that is not known."""
    text: str
    """Why."""

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON has it."""
        return self._asdict()


def sockets_of(node: Any) -> list[dict[str, Any]]:
    """The interfaces of a node."""
    endpoint = endpoint_of(node)
    if endpoint is None:
        return []
    found = []
    for name, interface in (dict(endpoint.interfaces) or {type(endpoint).__name__: endpoint}).items():
        is_open = interface.is_open()
        host, port = interface.get_address()[:2] if is_open else ("", 0)
        found.append({"interface": name, "ip": host, "port": port, "is_open": is_open})
    return found


def nat_state(node: Any, reachability: Reachability) -> NatState:
    """How others can reach a node."""
    mapping = _mapping(node)
    endpoint = endpoint_of(node)
    mapped = None if endpoint is None else endpoint.mapped_address
    if reachability.heard is not None:
        return NatState(mapping, True, "A peer at a public address contacted this node first.")
    if mapped is not None:
        return NatState(mapping, True, f"The router forwards {mapped[0]}:{mapped[1]} to this node.")
    if mapping == AddressMapping.ENDPOINT_DEPENDENT:
        return NatState(mapping, False, "The NAT shows every peer another address. Switch on PCP, NAT-PMP or UPnP in "
                                        "the router, forward a port in its settings, or use IPv6.")
    if not any(is_global(peer.address[0]) for peer, _ in peers.peers_of(node).values()):
        return NatState(mapping, None, "No peer is at a public address, so it is not known whether others can reach "
                                       'this node. Run "ipv8 netcheck" to find out.')
    return NatState(mapping, None, "No peer at a public address has contacted this node first yet. Peers still meet it "
                                   'through others. Run "ipv8 netcheck" to find out more.')


def _mapping(node: Any) -> str:
    """How the IPv4 address is translated, by the overlay that knows it."""
    for overlay in communities_of(node):
        found: object = overlay.mapping
        if isinstance(found, str) and found in KNOWN_MAPPINGS:  # programs may use that name for something else
            return found
    return AddressMapping.UNKNOWN


MAPPING_TEXTS = {
    AddressMapping.UNKNOWN: "Too few peers in different networks have said how they see this node to know its NAT.",
    AddressMapping.NONE: "There is no NAT: others see the address that this node has.",
    AddressMapping.ENDPOINT_INDEPENDENT: "The NAT shows all peers the same address, so peers can be introduced.",
    AddressMapping.ENDPOINT_DEPENDENT: "The NAT shows every peer another address, so peers behind a NAT of the same "
                                       "kind cannot be reached directly. Forward a port in the router, or use IPv6.",
}
KNOWN_MAPPINGS = MAPPING_TEXTS.keys() - {AddressMapping.UNKNOWN}


class Health:
    """Judges a node.

    :param observer: what was observed of it.
    """

    def __init__(self, observer: NodeObserver) -> None:
        self._observer = observer

    def reasons(self, nat: NatState) -> list[Reason]:
        """What was looked at, with a level of each."""
        checks: tuple[Callable[[], Reason], ...] = (
            self._sockets, self._clock, self._loop, self._drops, self._peers, self._tables, self._log)
        mapping = Reason(MAPPING_LEVELS.get(nat.mapping, OK), "nat", MAPPING_TEXTS[nat.mapping])
        sockets, *others = (check() for check in checks)
        return [sockets, Reason(REACHABLE_LEVELS[nat.reachable], "reachability", nat.text), mapping, *others]

    @staticmethod
    def status(reasons: list[Reason]) -> str:
        """The word for the whole: the worst level."""
        return max((reason.level for reason in reasons if reason.level in LEVELS), key=LEVELS.index, default=OK)

    def _sockets(self) -> Reason:
        sockets = sockets_of(self._observer.node)
        closed = [socket["interface"] for socket in sockets if not socket["is_open"]]
        if not sockets:
            return Reason(PROBLEM, "sockets", "There is no socket: add interfaces to the configuration.")
        if len(closed) == len(sockets):
            return Reason(PROBLEM, "sockets", f"None of {len(sockets)} sockets is open: check the address and the port "
                                              "in the configuration, and the log.")
        if closed:
            return Reason(WARNING, "sockets", f"{len(closed)} of {len(sockets)} sockets are closed "
                                              f"({', '.join(closed)}): see the log for the reason.")
        return Reason(OK, "sockets", _plural(len(sockets), "socket is open.", "sockets are open."))

    def _clock(self) -> Reason:
        watch = self._observer.clock
        if watch.jump is not None and clock.monotonic() - watch.jump[0] < JUMP_SHOWN:
            ago = clock.monotonic() - watch.jump[0]
            return Reason(WARNING, "clock", f"The clock of this machine was set by {watch.jump[1]:+.1f} s, {ago:.0f} s "
                                            "ago. Use a time service such as NTP, which corrects it slowly.")
        if abs(watch.drift) > WRONG_CLOCK:
            return Reason(WARNING, "clock", f"The clock of this machine went {watch.drift:+.1f} s wrong since the "
                                            "start: check its time service.")
        return Reason(OK, "clock", f"The clock is right: it went wrong by {abs(watch.drift):.3f} s since the start.")

    def _loop(self) -> Reason:
        lag = self._observer.loop.lag()
        if self._observer.uptime < FIRST_SECONDS:
            return Reason(UNKNOWN, "loop", "The node has just been started: its event loop is judged after "
                                           f"{FIRST_SECONDS:.0f} s.")
        if lag.p99 < LAG_WARNING:
            return Reason(OK, "loop", "The event loop is fast enough: 99 of 100 timers of the last minute were at most "
                                      f"{1000 * lag.p99:.0f} ms late.")
        level = PROBLEM if lag.p99 >= LAG_PROBLEM else WARNING
        advice = ("Other programs had the processor most of that time, or calls blocked: give the node more of the "
                  "machine." if self._observer.loop.has_mostly_waited() else
                  "See what kept the event loop busy, and move long work to threads or to another process.")
        return Reason(level, "loop", f"1 of 100 timers was more than {1000 * lag.p99:.0f} ms late in the last minute, "
                                     f"the latest {1000 * lag.max:.0f} ms. {advice}")

    def _drops(self) -> Reason:
        recent = self._observer.traffic.recent_drops()
        total = recent.total()
        if not total:
            return Reason(OK, "drops", "No packets were dropped in the last minute.")
        reason, count = recent.most_common(1)[0]
        share = "" if count == total else f"; most of them, {count},"
        dropped = _plural(total, "packet was", "packets were")
        text = f"{dropped} dropped in the last minute{share}: {meaning_of(reason)}."
        if total < MANY_DROPS:
            return Reason(OK, "drops", text)
        return Reason(WARNING, "drops", f"{text} {ADVICE.get(reason, 'Look at the overlay that drops them.')}")

    def _peers(self) -> Reason:
        count = peers.total(self._observer.node)
        if count:
            return Reason(OK, "peers", f"{_plural(count, 'peer is', 'peers are')} known.")
        if self._observer.uptime < PATIENCE:
            return Reason(OK, "peers", f"No peers yet: the node was started {self._observer.uptime:.0f} s ago.")
        if not communities_of(self._observer.node):
            return Reason(WARNING, "peers", "No overlay is loaded, so there are no peers: add overlays to the "
                                            "configuration.")
        if not any(overlay.bootstrappers for overlay in communities_of(self._observer.node)):
            return Reason(WARNING, "peers", "There are no peers, and no overlay has bootstrappers: add some to the "
                                            "configuration, or walk to an address.")
        return Reason(WARNING, "peers", "There are no peers: check the network connection and the firewall, for "
                                        'example with "ipv8 netcheck".')

    def _tables(self) -> Reason:
        full = [table for table in self._observer.tables.rows()
                if table.kind != "cache" and table.name != PEERS and table.size >= NEARLY_FULL * table.capacity]
        if not full:
            return Reason(OK, "tables", "No table is nearly full.")
        named = ", ".join(f"{table.owner}.{table.name} ({table.size} of {table.capacity})"
                          for table in full[:NAMED_TABLES])
        more = f" and {len(full) - NAMED_TABLES} more" if len(full) > NAMED_TABLES else ""
        return Reason(WARNING, "tables", f"{_plural(len(full), 'table is', 'tables are')} nearly full: {named}{more}. "
                                         "Further entries push out others; see doc/security.md.")

    def _log(self) -> Reason:
        errors = self._observer.recent_errors()
        if errors < MANY_ERRORS:
            return Reason(OK, "log", "The log has no errors of the last minute.")
        found = _plural(errors, "error", "errors")
        return Reason(WARNING, "log", f"The log has {found} of the last minute: read them.")


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


