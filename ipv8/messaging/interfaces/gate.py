"""Where all packets enter an endpoint, by whichever route they came."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakSet

from .network_stats import DropCounter
from .routes import DEFAULT_ROUTES, FIRST_BASE_MESSAGE, PREFIX_LENGTH, SOCKET, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..address import Address
    from .endpoint import Endpoint, EndpointListener
    from .meter import TrafficMeter
    from .trace import Receive, TraceFunction
    from .udp.filter import SourceFilter

__all__ = ["FIRST_BASE_MESSAGE", "Burst", "Entry", "Gate", "Packet", "Route", "SharedObject"]

DELIVERIES_PER_LOOK = 8
"""Packets that are delivered before the clock is read again."""

Packet = tuple["Address", bytes]
"""The address that a packet came from, and its content."""


class SharedObject(Protocol):
    """What higher floors keep once for each endpoint (see ``Gate.shared``)."""

    def release(self) -> None:
        """End threads and the like, because the endpoint closes; it may be opened again."""


S = TypeVar("S", bound=SharedObject)


class Burst:
    """The packets that arrived together and are delivered one by one, so that work can be done for all at once."""

    __slots__ = ("_after", "is_running", "packets")

    def __init__(self) -> None:
        self.packets: Sequence[Packet] = ()
        #: Whether packets that arrived together are being delivered.
        self.is_running = False
        self._after: list[Callable[[], None]] = []

    def call_after(self, function: Callable[[], None]) -> bool:
        """Call ``function`` once the last of the packets was delivered; ``False`` if none are being delivered."""
        if self.is_running:
            self._after.append(function)
        return self.is_running

    def finish(self) -> None:
        """Note that the last of the packets was delivered."""
        self.is_running = False
        if self._after:
            functions, self._after = self._after, []
            for function in functions:
                function()

    def take(self) -> Sequence[Packet]:
        """The packets, once: from then on there are none, until others arrive."""
        packets, self.packets = self.packets, ()
        return packets


class Entry(list["EndpointListener"]):
    """The listeners of one prefix, in the order of delivery, and the routes by which they accept packets.

    :param own: the listeners of this prefix.
    :param general: the listeners of all packets, which come after them.
    :param routes: for messages with ids below ``FIRST_BASE_MESSAGE``.
    :param base_routes: for the other messages.
    """

    __slots__ = ("base_routes", "only", "own", "routes", "usual")

    def __init__(self, own: Sequence[EndpointListener], general: Sequence[EndpointListener], routes: Route,
                 base_routes: Route) -> None:
        super().__init__([*own, *general])
        #: How many of the listeners are those of the prefix.
        self.own = len(own)
        # Numbers, since the operators of enumerations are slow.
        self.routes = routes.value
        self.base_routes = base_routes.value
        #: A route by which all packets are accepted, so that one comparison is enough; ``None`` if sockets are not.
        self.usual = SOCKET if SOCKET in routes & base_routes else None
        #: The listener of packets of sockets, if there is one and no other.
        self.only = self[0] if self.usual is not None and len(self) == 1 else None


class _Common:
    """What the gates of one endpoint have in common."""

    __slots__ = ("burst", "gates", "has_sessions", "main", "meter", "objects", "route", "source_filter",
                 "trace")

    def __init__(self, main: Gate) -> None:
        self.main = main
        self.burst = Burst()
        self.gates: WeakSet[Gate] = WeakSet()
        self.objects: dict[type[Any], Any] = {}
        self.route = SOCKET
        self.source_filter: SourceFilter | None = None
        self.trace: TraceFunction | None = None
        self.meter: TrafficMeter | None = None
        self.has_sessions = False


class Gate:
    """Finds the listeners of each packet, delivers it, and tells by which route it came.

    :param owner: the endpoint. It is asked whether it is open, and told what listeners raise.
    :param prefixlen: how many leading bytes of a packet choose its entry.
    :param drops: where packets are counted that no listener gets.

    Containers of listeners are replaced, never changed in place, so a running delivery keeps those that it began with.
    """

    def __init__(self, owner: Endpoint, prefixlen: int, drops: DropCounter) -> None:
        self.owner = owner
        self.prefixlen = prefixlen
        self.drops = drops
        #: Held while listeners change.
        self.lock = threading.RLock()
        #: Prefix to listeners and accepted routes.
        self.entries: dict[bytes, Entry] = {}
        #: The listeners of all packets.
        self.listeners: list[EndpointListener] = []
        #: The only listeners of their prefixes that keep packets of sockets for later.
        self.queues: list[EndpointListener] = []
        #: How often the endpoint was closed.
        self._closings = 0
        self._accepted: dict[bytes, tuple[Route, Route]] = {}
        self._common = _Common(self)
        self._common.gates.add(self)
        # Methods of the owner: those that are in their place now, and those that programs had put there before.
        self._replaced: dict[str, tuple[Callable[..., None], Callable[..., None] | None]] = {}
        #: What is in the place of the owner's ``send`` and only counts; ``None`` while there is no such thing.
        self.counting_send: Callable[..., None] | None = None

    # Listeners

    def add_listener(self, listener: EndpointListener) -> None:
        """Deliver to ``listener`` what sockets bring, whatever its prefix."""
        with self.lock:
            self._rebuild([*self.listeners, listener], self._own())

    def add_prefix_listener(self, listener: EndpointListener, prefix: bytes) -> None:
        """Deliver the packets that start with ``prefix`` to ``listener``.

        :raises RuntimeError: if the prefix is not exactly ``prefixlen`` bytes long.
        """
        self._check_length(prefix)
        with self.lock:
            own = self._own()
            self._rebuild(self.listeners, {**own, prefix: [*own.get(prefix, ()), listener]})

    def remove_listener(self, listener: EndpointListener) -> None:
        """Deliver nothing to ``listener`` any more; an unknown one is ignored."""
        with self.lock:
            kept = {prefix: [other for other in group if other is not listener]
                    for prefix, group in self._own().items()}
            for prefix, group in kept.items():
                if not group:
                    self._accepted.pop(prefix, None)
            self._rebuild([other for other in self.listeners if other is not listener],
                          {prefix: group for prefix, group in kept.items() if group})

    def accept_routes(self, prefix: bytes, routes: Route, base_routes: Route | None = None) -> None:
        """Deliver packets with ``prefix`` only if they come by one of ``routes``; what comes otherwise is dropped.

        This holds until it is said anew, or until the last listener of the prefix is removed.

        :param base_routes: the same for messages with ids from ``FIRST_BASE_MESSAGE`` on; by default as ``routes``.
        :raises RuntimeError: if the prefix is not exactly ``prefixlen`` bytes long.
        """
        self._check_length(prefix)
        with self.lock:
            self._accepted[prefix] = routes, routes if base_routes is None else base_routes
            self._rebuild(self.listeners, self._own())

    def copy(self, other: Gate) -> None:
        """Register all listeners of ``other`` here too, with the routes that they accept."""
        for prefix, accepted in other._accepted.items():
            self.accept_routes(prefix, *accepted)
        for listener in other.listeners:
            self.add_listener(listener)
        for prefix, entry in other.entries.items():
            for listener in entry[:entry.own]:
                self.add_prefix_listener(listener, prefix)

    def prefix_listeners(self, prefix: bytes) -> list[EndpointListener]:
        """The listeners registered for ``prefix``, without the general ones."""
        entry = self.entries.get(prefix)
        return [] if entry is None else entry[:entry.own]

    def knows(self, listener: EndpointListener) -> bool:
        """Whether ``listener`` is registered."""
        return any(listener is other for group in (self.listeners, *self.entries.values()) for other in group)

    def _own(self) -> dict[bytes, list[EndpointListener]]:
        return {prefix: entry[:entry.own] for prefix, entry in self.entries.items()}

    def _check_length(self, prefix: bytes) -> None:
        if len(prefix) != self.prefixlen:
            raise RuntimeError(f"a prefix of this endpoint has {self.prefixlen} bytes, not {len(prefix)}")

    def _rebuild(self, general: list[EndpointListener], own: dict[bytes, list[EndpointListener]]) -> None:
        default = DEFAULT_ROUTES, DEFAULT_ROUTES
        self.listeners = general
        self.entries = {prefix: Entry(group, general, *self._accepted.get(prefix, default))
                        for prefix, group in own.items()}
        self.queues = [entry.only for entry in self.entries.values()
                       if entry.only is not None and entry.only._queue_packets is not None]

    # Packets

    @property
    def route(self) -> Route:
        """The route by which the packet came that is being handled; ``SOCKET`` also while there is none."""
        return self._common.route

    @property
    def is_observed(self) -> bool:
        """Whether each packet has to pass :meth:`receive`, because there is a filter, a trace or a meter."""
        return "receive" in vars(self)

    @property
    def burst(self) -> Burst:
        """The packets that arrived together with the one that is being handled."""
        return self._common.burst

    def announce(self, packets: Sequence[Packet]) -> None:
        """Make ``packets``, which arrived together, the ``burst``; they still have to be passed to ``receive``."""
        source_filter = self._common.source_filter
        self._common.burst.packets = packets if source_filter is None else source_filter.preview(packets)

    def receive(self, packet: Packet, route: Route) -> None:
        """Deliver a packet that came by ``route``, now and in this thread; the endpoint must be open.

        A listener that raises is logged and does not keep the packet from the others. Delivery ends when a listener
        closes the endpoint. A packet that no listener gets is counted.
        """
        common = self._common
        if common.route is not route:
            outer, common.route = common.route, route
            try:
                Gate.receive(self, packet, route)
            finally:
                common.route = outer
            return
        data = packet[1]
        entries = self.entries
        entry = entries.get(data[:self.prefixlen]) if len(data) > PREFIX_LENGTH else None
        listeners: Sequence[EndpointListener]
        if entry is None:
            listeners = self._unclaimed(data, route)
        elif entry.usual is route:
            listeners = entry
        else:
            listeners = self._accepting(entry, data, route)
        is_first = True
        for listener in listeners:
            if is_first:
                is_first = False
            elif not (self.owner.is_open() and (self.entries is entries or self.wants(listener, data))):
                continue
            try:
                listener.on_packet(packet)
            except Exception as e:  # noqa: BLE001 - whatever a listener raises, the next one gets its packet
                self.owner._on_listener_error(listener, e)

    def receive_some(self, packets: Sequence[Packet], position: int) -> int:
        """Deliver some of the packets that a socket had, in order, while no other packet is handled.

        The same happens as by :meth:`receive`, but a packet takes less time if one listener alone gets it.

        :param position: where the first one is that was not delivered yet.
        :returns: where the next one is, behind all if the endpoint was closed. More than ``DELIVERIES_PER_LOOK`` are
            only delivered if a listener takes them together.
        """
        length, closings = self.prefixlen, self._closings
        for packet in packets[position:position + DELIVERIES_PER_LOOK]:
            position += 1
            data = packet[1]
            entry = self.entries.get(data[:length]) if len(data) > PREFIX_LENGTH else None
            if entry is None or (listener := entry.only) is None:
                self.receive(packet, SOCKET)
            else:
                take = listener._take_packets
                try:
                    if take is not None:
                        return position - 1 + take(packets, position - 1)
                    listener.on_packet(packet)
                except Exception as e:  # noqa: BLE001 - whatever a listener raises, the next packets are delivered
                    self.owner._on_listener_error(listener, e)
            if self._closings != closings:
                return len(packets)
        return position

    def receive_queued(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Let listeners keep packets of a socket for later; the others, which still have to be delivered.

        They are all others while there is a filter or a trace, or if packets of a prefix have several listeners.
        """
        if self.source_filter is not None or self.trace is not None:
            return packets
        for listener in self.queues:
            if packets and listener._queue_packets is not None:
                try:
                    packets = listener._queue_packets(packets)
                except Exception as e:  # noqa: BLE001 - whatever a listener raises, the next packets are delivered
                    self.owner._on_listener_error(listener, e)
                    return ()
        return packets

    def deliver_to(self, listener: EndpointListener, packet: Packet) -> None:
        """Deliver a packet of a socket to one listener that is still wanted."""
        entry = self.entries.get(packet[1][:self.prefixlen])
        if self.wants(listener, packet[1]) and (entry is None or self._accepting(entry, packet[1], SOCKET)):
            try:
                listener.on_packet(packet)
            except Exception as e:  # noqa: BLE001 - a caller that delivers to several listeners must reach them all
                self.owner._on_listener_error(listener, e)

    def wants(self, listener: EndpointListener, data: bytes) -> bool:
        """Whether a listener, which was one, may still be given a packet."""
        return data[:self.prefixlen] in self.entries or listener in self.listeners

    def _unclaimed(self, data: bytes, route: Route) -> Sequence[EndpointListener]:
        """The listeners of a packet that is short or has no entry; it is counted if there are none but observers."""
        if self.prefixlen != PREFIX_LENGTH:
            # IPv8's own prefix must be followed by a message id; other prefix lengths belong to other protocols.
            entry = self.entries.get(data[:self.prefixlen])
            if entry is not None:
                return self._accepting(entry, data, route)
        listeners = self.listeners if route is SOCKET else ()
        for listener in listeners:
            if not listener.observes_only:
                return listeners
        self.drops[DropCounter.UNKNOWN_PREFIX if len(data) > PREFIX_LENGTH else DropCounter.SHORT] += 1
        return listeners

    def _accepting(self, entry: Entry, data: bytes, route: Route) -> Sequence[EndpointListener]:
        """The listeners of ``entry`` that accept a packet which came by ``route``; it is counted if there are none."""
        length = self.prefixlen
        is_base = len(data) > length and data[length] >= FIRST_BASE_MESSAGE
        accepted = entry.base_routes if is_base else entry.routes
        if accepted & route._value_:
            if route is SOCKET:
                return entry
            own = [listener for listener in entry[:entry.own] if listener.accepts_route(route)]
            if own:
                return own + [listener for listener in entry[entry.own:] if listener.observes_only]
        self.drops.count(DropCounter.WRONG_ROUTE)
        return ()

    # Filter, trace, meter and shared objects

    def join(self, other: Gate) -> None:
        """Have all but listeners in common with ``other``: the route, burst, filter, trace, meter and shared objects.

        A filter, a trace and a meter of this gate's own become those of ``other``, unless that one has its own.
        """
        source_filter, trace, meter = self.source_filter, self.trace, self.meter
        self.source_filter = self.trace = self.meter = None
        self._common = other._common
        self._common.gates.add(self)
        other.source_filter = other.source_filter or source_filter
        other.trace = other.trace or trace
        other.meter = other.meter or meter

    def is_joined_to(self, other: Gate) -> bool:
        """Whether all but listeners is in common with ``other``."""
        return self._common is other._common

    @property
    def source_filter(self) -> SourceFilter | None:
        """Drops packets of sockets by their source; a packet of another route was contained in one of a socket."""
        return self._common.source_filter

    @source_filter.setter
    def source_filter(self, value: SourceFilter | None) -> None:
        self._common.source_filter = value
        self._arrange_all()

    @property
    def trace(self) -> TraceFunction | None:
        """Called for each packet that is received, and for each that the endpoint is asked to send."""
        return self._common.trace

    @trace.setter
    def trace(self, value: TraceFunction | None) -> None:
        self._common.trace = value
        self._arrange_all()

    @property
    def meter(self) -> TrafficMeter | None:
        """Counts the packets that are received, and those that the endpoint is told to send."""
        return self._common.meter

    @meter.setter
    def meter(self, value: TrafficMeter | None) -> None:
        self._common.meter = value
        self._arrange_all()

    def _arrange_all(self) -> None:
        for gate in tuple(self._common.gates):
            gate._arrange()

    def _arrange(self) -> None:
        """Replace ``receive``, and methods of the owner, while there is a filter, a trace or a meter; else restore."""
        source_filter, trace, meter = self.source_filter, self.trace, self.meter
        receive: Receive = partial(Gate.receive, self)
        if meter is not None:
            from .meter import metered_receive  # few nodes are measured, and few are traced

            receive = metered_receive(self, receive, meter)
        if source_filter is not None:
            receive = self._filtered(receive, source_filter)
        if trace is not None:
            from .trace import traced_receive

            receive = traced_receive(self, receive, trace)
        if source_filter is None and trace is None and meter is None:
            vars(self).pop("receive", None)
        else:
            vars(self)["receive"] = receive
        if self._common.main is self:
            self._arrange_sending(trace, meter)

    def _arrange_sending(self, trace: TraceFunction | None, meter: TrafficMeter | None) -> None:
        methods = vars(self.owner)
        for name, (own, replaced) in self._replaced.items():
            if methods.get(name) is own:
                del methods[name]
                if replaced is not None:
                    methods[name] = replaced
        self._replaced.clear()
        self.counting_send = None
        send: Callable[..., None] = self.owner.send
        if meter is not None:
            from .meter import metered_send, metered_send_many

            if trace is None and "send" not in methods:
                send = self.counting_send = metered_send(self, send, meter)
            else:
                send = metered_send(self, send, meter)
            self._replace("send_many", metered_send_many(self, self.owner.send_many, meter))
        if trace is not None:
            from .trace import traced_send

            send = traced_send(self, send, trace)
        if meter is not None or trace is not None:
            self._replace("send", send)

    def _replace(self, name: str, method: Callable[..., None]) -> None:
        methods = vars(self.owner)
        self._replaced[name] = method, methods.get(name)
        methods[name] = method

    def _filtered(self, receive: Receive, source_filter: SourceFilter) -> Receive:
        def receive_if_admitted(packet: Packet, route: Route) -> None:
            reason = source_filter.refusal(packet[0][0]) if route is SOCKET else None
            if reason is None:
                receive(packet, route)
            else:
                self.drops.count(reason)

        return receive_if_admitted

    @property
    def has_sessions(self) -> bool:
        """Whether encrypted sessions run on the endpoint."""
        return self._common.has_sessions

    @has_sessions.setter
    def has_sessions(self, value: bool) -> None:
        self._common.has_sessions = value

    def shared(self, kind: type[S]) -> S:
        """The one object of the class ``kind`` that belongs to the endpoint; it is made without arguments."""
        found: S | None = self._common.objects.get(kind)
        if found is None:
            found = self._common.objects[kind] = kind()
        return found

    def shared_objects(self) -> tuple[SharedObject, ...]:
        """All objects that were made by :meth:`shared`."""
        return tuple(self._common.objects.values())

    def release(self) -> None:
        """Forget the burst, and release the shared objects unless another interface of the endpoint is still open."""
        self._closings += 1
        self._common.burst.packets = ()
        if not self._common.main.owner.is_open():
            for found in self._common.objects.values():
                found.release()
