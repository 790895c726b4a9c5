"""``/metrics``: figures of the node for Prometheus and other programs that read OpenMetrics (doc/rest_api.md)."""

from __future__ import annotations

import platform
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import String

from .. import __version__, clock
from ..attestation.trustchain.base import TrustChainBase
from ..dht.community import DHTCommunity
from ..messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from ..messaging.interfaces.meter import BOUNDS, MessageCount
from .apidocs import docs, response_schema
from .base_endpoint import HTTP_NOT_FOUND, Response, needs_no_key
from .observation import peers
from .observation.loop import LAG_BOUNDS
from .observation.parts import communities_of, drops_of, graph_of, name_of, overlays_of
from .observation.tunnels import carriers, tunnels_of
from .parameters import NotFound
from .schema import DefaultResponseSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from aiohttp.web import Request
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric

    from .base_endpoint import BaseEndpoint
    from .observation.observer import NodeObserver

__all__ = ["Metrics", "MetricsCollector"]

MISSING = "figures for Prometheus need the package prometheus_client: pip install prometheus_client"

COUNT_SECONDS = 60.0
"""Seconds for which the blocks of TrustChain are not counted again."""

PLAIN = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]

described = docs(
    tags=["Node"], summary="Figures for Prometheus, as text or in OpenMetrics if the request accepts that.",
    produces=["text/plain"], responses={404: {
        "schema": DefaultResponseSchema,
        "description": "The node is not observed, or the package prometheus_client is missing."}})


class Metrics:
    """The route that a manager adds to its root endpoint.

    :param root: the endpoint that gets the route.
    :param observer: the observer of the node; ``None`` if the node is not observed.
    :param without_key: whether everybody may read the figures.
    """

    def __init__(self, root: BaseEndpoint[Any], observer: NodeObserver | None, without_key: bool) -> None:
        self._collector = None if observer is None else MetricsCollector(observer)
        with suppress(ModuleNotFoundError):  # at the start, since to load it takes a while
            import prometheus_client  # noqa: F401 - see above
        root.app.router.add_get("/metrics", self.get_public_metrics if without_key else self.get_metrics)

    @described
    @response_schema(String())
    async def get_metrics(self, request: Request) -> web.Response:
        """All figures, as they are now."""
        if self._collector is None:
            raise NotFound("the node is not observed: start the server with observe=True")
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder
        except ModuleNotFoundError:
            return Response({"success": False, "error": MISSING}, status=HTTP_NOT_FOUND)
        registry = CollectorRegistry(auto_describe=False)  # not the one of the process, which other programs fill
        registry.register(self._collector)
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", PLAIN))
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder(PLAIN)
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    @described
    @response_schema(String())
    @needs_no_key
    async def get_public_metrics(self, request: Request) -> web.Response:
        """The same, for everybody."""
        return await self.get_metrics(request)


class MetricsCollector:
    """Makes the figures when they are asked for.

    No label has something of a single peer, so that there are not more series than the overlays of the node, their
    messages, their tables and the reasons for drops make.

    :param observer: what was observed of the node.
    """

    def __init__(self, observer: NodeObserver) -> None:
        self._observer = observer
        self._blocks: tuple[float, int] | None = None

    def collect(self) -> Iterator[Metric]:
        """All figures."""
        parts: tuple[Callable[[], Iterable[Metric]], ...] = (
            self._node, self._peers, self._traffic, self._drops, self._loop, self._tables, self._sessions,
            self._tunnels, self._dht, self._trust)
        for part in parts:
            yield from part()

    def _node(self) -> Iterator[Metric]:
        from prometheus_client.core import InfoMetricFamily

        yield InfoMetricFamily("ipv8", "The library.",
                               {"version": __version__, "python": platform.python_version()})
        yield _gauge("ipv8_uptime_seconds", "Seconds for which the node has been observed.", self._observer.uptime)
        yield _gauge("ipv8_clock_drift_seconds", "Seconds by which the wall clock went further than the monotonic one.",
                     self._observer.clock.drift)
        yield _counter("ipv8_log_errors", "Errors in the log.", self._observer.log.errors)

    def _peers(self) -> Iterator[Metric]:
        node = self._observer.node
        known = [peer for peer, _ in peers.peers_of(node).values()]
        yield _gauge("ipv8_peers", "Verified peers.", len(known))
        yield _gauges("ipv8_peers_by_path", "Verified peers by the way to them.", ["path"],
                      Counter((peer.path,) for peer in known))
        yield _gauge("ipv8_peers_encrypted", "Verified peers with an encrypted session.",
                     sum(map(peers.encrypted, known)))
        overlays = communities_of(node)
        yield _gauges("ipv8_overlay_peers", "Peers of an overlay.", ["overlay"],
                      _sum(((name_of(overlay),), len(overlay.get_peers())) for overlay in overlays))

    def _traffic(self) -> Iterator[Metric]:
        traffic = self._observer.traffic
        summary = traffic.summary()
        yield _counters("ipv8_bytes", "Bytes of the sockets.", ["direction"],
                        {(name,): summary[f"bytes_{name}"] for name in ("up", "down")})
        yield _counters("ipv8_packets", "Packets of the sockets.", ["direction"],
                        {(name,): summary[f"packets_{name}"] for name in ("up", "down")})
        merged: dict[Labels, MessageCount] = {}
        for overlay in traffic.overlays():
            for message in overlay.messages:
                merged.setdefault((overlay.name, message.name), MessageCount()).merge(message.counted)
        for name, text, attribute in (("ipv8_messages", "Messages of an overlay.", "packets"),
                                      ("ipv8_message_bytes", "Bytes of the messages of an overlay.", "bytes")):
            yield _counters(name, text, ["overlay", "message", "direction"], {
                (*labels, direction): getattr(count, f"{attribute}_{direction}")
                for labels, count in merged.items() for direction in ("up", "down")})
        times = _histogram("ipv8_handler_seconds", "Seconds that handlers took.", ["overlay", "message"])
        for labels, count in merged.items():
            if any(count.buckets):
                times.add_metric(labels, _cumulative(BOUNDS, count.buckets), count.seconds)
        yield times
        yield _counter("ipv8_slow_handlers", "Handlers of messages that took more than 50 ms.",
                       traffic.meter.slow_count)

    def _drops(self) -> Iterator[Metric]:
        yield _counters("ipv8_drops", "Packets that were dropped. The reasons are in doc/endpoints.md.",
                        ["overlay", "reason"],
                        _sum(((name_of(owner), reason), count) for owner, counts in drops_of(self._observer.node)
                             for reason, count in counts.items()))

    def _loop(self) -> Iterator[Metric]:
        monitor = self._observer.loop
        lags = _histogram("ipv8_loop_lag_seconds", "How late a timer of the event loop was.", [])
        lags.add_metric([], _cumulative(LAG_BOUNDS, monitor.buckets), monitor.seconds)
        yield lags
        tasks = monitor.tasks()
        yield _gauges("ipv8_tasks", "Tasks of the event loop.", ["manager"],
                      {(manager,): count for manager, count in tasks.items()})
        yield _counter("ipv8_slow_callbacks", "How often something else than a handler of messages took more than 50 "
                       "ms.", monitor.slow_count)

    def _tables(self) -> Iterator[Metric]:
        rows = self._observer.tables.rows()
        for name, kinds, text in (("ipv8_table", ("table", "budgets", "cache"), "a table"),
                                  ("ipv8_queue", ("queue",), "a queue")):
            chosen = [row for row in rows if row.kind in kinds]
            yield _gauges(f"{name}_size", f"Entries of {text}.", ["owner", "name", "kind"],
                          _sum(((row.owner, row.name, row.kind), row.size) for row in chosen))
            yield _gauges(f"{name}_capacity", f"The most entries of {text}.", ["owner", "name", "kind"],
                          _sum(((row.owner, row.name, row.kind), row.capacity) for row in chosen))

    def _sessions(self) -> Iterator[Metric]:
        service = getattr(self._observer.node, "sessions", None)
        if service is None:
            return
        known = service.sessions()
        yield _gauges("ipv8_sessions", "Encrypted sessions.", ["hybrid"],
                      Counter((str(session.hybrid).lower(),) for session in known))
        yield _counters("ipv8_session_handshakes", "Handshakes by what became of them.", ["result"],
                        {(result,): count for result, count in service.machine.handshakes.items()})
        streams = service.streams.statistics()
        yield _counters("ipv8_streams", "Streams in sessions.", ["event"],
                        {(event,): getattr(streams, event) for event in ("opened", "accepted", "refused")})
        yield _gauge("ipv8_stream_open", "Streams in sessions that are open.", streams.streams)
        yield _gauge("ipv8_stream_connections", "Sessions with streams.", streams.connections)
        yield _counters("ipv8_stream_bytes", "Bytes written to streams, and those that arrived there.", ["direction"],
                        {("up",): streams.bytes_up, ("down",): streams.bytes_down})
        yield _counters("ipv8_stream_packets", "Packets of streams, with those that were sent again.", ["direction"],
                        {("up",): streams.packets_up, ("down",): streams.packets_down})
        yield _counter("ipv8_stream_stalls", "How often a writer waited for the reader.", streams.stalls)
        yield _gauges("ipv8_stream_memory_bytes", "Bytes that streams in sessions hold, which nobody has read.",
                      ["direction"], {("up",): streams.waiting_there, ("down",): streams.waiting_here})
        yield _gauge("ipv8_stream_memory_limit_bytes", "Bytes that they may hold in each direction.",
                     service.streams.memory.capacity)

    def _tunnels(self) -> Iterator[Metric]:
        overlays = tunnels_of(self._observer.node)
        if not overlays:
            return
        yield _gauges("ipv8_circuits", "Circuits of this node.", ["state", "type"],
                      Counter((circuit.state, circuit.ctype) for tunnels in overlays
                              for circuit in tuple(tunnels.circuits.values())))
        roles = Counter(role for tunnels in overlays for role, _ in carriers(tunnels))
        yield _gauge("ipv8_relays", "Circuits of others that this node passes on; each direction is one.",
                     roles["relay"])
        yield _gauge("ipv8_exits", "Circuits of others that end here.", roles["exit"])
        totals = self._observer.tunnels
        totals.look()
        yield _counters("ipv8_tunnel_bytes", "Bytes that circuits carried.", ["role", "direction"],
                        {(role, direction): count for (role, direction), count in totals.bytes.items()})

    def _dht(self) -> Iterator[Metric]:
        overlays = [overlay for overlay in overlays_of(self._observer.node) if isinstance(overlay, DHTCommunity)]
        if not overlays:
            return
        yield _gauges("ipv8_dht_nodes", "Nodes in the routing table.", ["family"], _sum(
            ((_family(family),), sum(len(bucket.nodes) for bucket in table.trie.values()))
            for dht in overlays for family, table in dht.routing_tables.items()))
        yield _gauges("ipv8_dht_keys", "Keys of which values are stored here.", ["family"], _sum(
            ((_family(family),), len(storage.items)) for dht in overlays for family, storage in dht.storages.items()))

    def _trust(self) -> Iterator[Metric]:
        chains = [overlay for overlay in overlays_of(self._observer.node) if isinstance(overlay, TrustChainBase)]
        if chains:
            yield _gauge("ipv8_trustchain_blocks", "Blocks in the database, as counted in the last minute.",
                         self._count_blocks(chains))
        graph = graph_of(self._observer.node)
        if graph is not None:
            figures = graph.statistics()
            for name, text in (("nodes", "Keys in the trust graph."), ("edges", "Edges of the trust graph."),
                               ("walks", "Walks of the trust graph.")):
                yield _gauge(f"ipv8_trust_{name}", text, figures[name])
            yield _counter("ipv8_trust_events", "Events that the trust graph has taken up.", figures["events"])
            yield _gauge("ipv8_trust_update_seconds", "Seconds that the last update of the trust graph took.",
                         figures["last_update_us"] / 1e6)
            yield _gauge("ipv8_trust_memory_bytes", "Bytes of the trust graph, estimated.", figures["memory_estimate"])

    def _count_blocks(self, chains: list[TrustChainBase]) -> int:
        """The blocks in all databases; counting a million of them takes a while."""
        now = clock.monotonic()
        if self._blocks is None or now - self._blocks[0] >= COUNT_SECONDS:
            databases = {id(chain.persistence): chain.persistence for chain in chains}.values()
            self._blocks = now, sum(database.get_number_of_known_blocks() for database in databases)
        return self._blocks[1]


def _family(kind: type[Any]) -> str:
    return FAST_ADDR_TO_INTERFACE.get(kind, kind.__name__)


def _sum(pairs: Iterable[tuple[Labels, float]]) -> Counter[Labels]:
    """The sums of values with the same labels: two overlays may have the same class."""
    total: Counter[Labels] = Counter()
    for labels, value in pairs:
        total[labels] += value  # type: ignore[assignment]  # a counter may have numbers of any kind
    return total


def _gauges(name: str, text: str, names: list[str], values: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, text, labels=names), values)


def _counters(name: str, text: str, names: list[str], values: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, text, labels=names), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return _gauges(name, text, [], {(): value})


def _counter(name: str, text: str, value: float) -> Metric:
    return _counters(name, text, [], {(): value})


def _histogram(name: str, text: str, names: list[str]) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(name, text, labels=names)


def _cumulative(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus has them: each also counts what the ones before it count."""
    reached = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        reached += count
        buckets.append((bound, reached))
    return buckets
