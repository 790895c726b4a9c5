"""The HTTP interface of a tracker; needs ``aiohttp``, which is an extra (doc/peer_discovery.md).

=================  ===================================================================
``GET /services``  JSON: for each service id, in hex, the peers in text form
``GET /metrics``   counters and sizes, in the text format of Prometheus
=================  ===================================================================

If the tracker has an API key, both need it, in the header ``X-Api-Key`` or in the parameter ``apikey``. Requests are
checked as those of the REST API of a node (doc/rest_api.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .serving import tls_context

if TYPE_CHECKING:
    from aiohttp import web

    from ..peerdiscovery.tracker import EndpointServer
    from ..REST.gate import Gate

__all__ = ["create_application", "create_gate", "metrics_text", "services_json", "start_site"]


LOOPBACK = "127.0.0.1"

HEALTH_PATH = "/health"
"""Says whether the tracker works. It needs no key, for programs that restart what does not."""

MAX_BODY = 1024
"""Bytes of the body of a request, which has nothing to say."""


def services_json(server: EndpointServer) -> dict[str, list[str]]:
    """The peers of each service, ready for JSON."""
    return {service.hex(): [str(peer) for peer in peers] for service, peers in server.services().items()}


def metrics_text(server: EndpointServer) -> str:
    """All counters of a tracker, in the text format of Prometheus."""
    services = server.services()
    lines = [
        "# TYPE ipv8_tracker_peers gauge",
        f"ipv8_tracker_peers {len(server.network.verified_peers)}",
        "# TYPE ipv8_tracker_services gauge",
        f"ipv8_tracker_services {len(services)}",
        "# TYPE ipv8_tracker_events_total counter",
        *(f'ipv8_tracker_events_total{{event="{event}"}} {count}' for event, count in sorted(server.counters.items())),
        "# TYPE ipv8_tracker_dropped_packets_total counter",
        *(f'ipv8_tracker_dropped_packets_total{{reason="{reason}"}} {count}'
          for reason, count in sorted(server.drops.items())),
    ]
    return "\n".join(lines) + "\n"


def _require_aiohttp() -> None:
    try:
        import aiohttp.web  # noqa: F401 - whether it is there
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError("the HTTP interface of the tracker needs aiohttp: install it (pip install aiohttp), "
                                  "or start the tracker without --api-port", name=e.name) from e


def create_gate(api_key: str | None) -> Gate:
    """What checks the requests: without a key, only those for this machine are answered."""
    from ..REST.access import ApiKeyMiddleware, HostCheck, RateLimit
    from ..REST.gate import BodyReader, Gate

    check = ApiKeyMiddleware(api_key) if api_key else HostCheck(LOOPBACK)
    return Gate([RateLimit().refuse, check.refuse], BodyReader(MAX_BODY))


def create_application(server: EndpointServer, api_key: str | None, gate: Gate | None = None) -> web.Application:
    """An ``aiohttp`` application for ``server``.

    :param gate: what checks the requests, by default that of :func:`create_gate`.
    :raises ModuleNotFoundError: if ``aiohttp`` is not installed.
    """
    _require_aiohttp()
    from aiohttp import web

    async def get_services(_: web.Request) -> web.Response:
        return web.json_response(services_json(server))

    async def get_metrics(_: web.Request) -> web.Response:
        return web.Response(text=metrics_text(server), content_type="text/plain")

    async def get_health(_: web.Request) -> web.Response:
        is_open = server.endpoint.is_open()
        return web.json_response({"status": "ok" if is_open else "closed"}, status=200 if is_open else 503)

    application = web.Application(middlewares=[gate or create_gate(api_key)])
    application.router.add_get(HEALTH_PATH, get_health)
    application.router.add_get("/services", get_services)
    application.router.add_get("/metrics", get_metrics)
    return application


async def start_site(server: EndpointServer, port: int, api_key: str | None, cert_file: str | None) -> web.AppRunner:
    """Serve ``server`` on a TCP port: with an API key to all networks, without one to this machine only.

    :param cert_file: a PEM file with certificate and private key, to serve HTTPS.
    :returns: the ``aiohttp`` runner; await its ``cleanup()`` to stop.
    :raises ValueError: if the PEM file has something else.
    :raises OSError: if the port cannot be used.
    """
    _require_aiohttp()
    from aiohttp import web

    from ..REST.errors import SERVER_LOG
    from ..REST.gate import LOOK_INTERVAL, REQUEST_SECONDS

    context = tls_context(cert_file) if cert_file else None
    gate = create_gate(api_key)
    runner = web.AppRunner(create_application(server, api_key, gate), access_log=None, logger=SERVER_LOG,
                           keepalive_timeout=REQUEST_SECONDS)
    await runner.setup()
    host = "0.0.0.0" if api_key else LOOPBACK  # noqa: S104 - a tracker is public, and this is protected by the key
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except BaseException as e:
        await runner.cleanup()
        if isinstance(e, OSError):
            raise OSError(f"TCP port {port} of {host} cannot be used for the HTTP interface: {e.strerror or e}") from e
        raise
    server.register_anonymous_task("close idle connections", gate.close_idle_of, runner, interval=LOOK_INTERVAL)
    return runner
