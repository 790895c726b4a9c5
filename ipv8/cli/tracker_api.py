"""What a tracker tells about itself by HTTP; needs ``aiohttp``, which is an extra (spec 11 section 13.3).

=================  ===================================================================
``GET /services``  JSON: for each service id, in hex, the peers in text form
``GET /metrics``   counters and sizes, in the text format of Prometheus
=================  ===================================================================

Both need the API key, if there is one, in the header ``X-Api-Key`` or in the parameter ``apikey``.
"""

from __future__ import annotations

import hmac
import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..peerdiscovery.tracker import EndpointServer

__all__ = ["create_application", "metrics_text", "services_json", "start_site"]


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


def _aiohttp_web() -> Any:
    try:
        return import_module("aiohttp.web")
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError("the HTTP interface of the tracker needs aiohttp: install it (pip install aiohttp), "
                                  "or start the tracker without --api-port", name=e.name) from e


def create_application(server: EndpointServer, api_key: str | None) -> Any:
    """An ``aiohttp`` application for ``server``.

    :raises ModuleNotFoundError: if ``aiohttp`` is not installed.
    """
    web = _aiohttp_web()

    @web.middleware  # type: ignore[untyped-decorator] # aiohttp is optional, so its types are unknown
    async def require_key(request: Any, handler: Any) -> Any:
        candidate = request.headers.get("X-Api-Key") or request.query.get("apikey") or ""
        if api_key and not hmac.compare_digest(candidate.encode(), api_key.encode()):
            return web.json_response({"error": "Unauthorized access"}, status=401)
        return await handler(request)

    async def get_services(_: Any) -> Any:
        return web.json_response(services_json(server))

    async def get_metrics(_: Any) -> Any:
        return web.Response(text=metrics_text(server), content_type="text/plain")

    application = web.Application(middlewares=[require_key])
    application.router.add_get("/services", get_services)
    application.router.add_get("/metrics", get_metrics)
    return application


async def start_site(server: EndpointServer, port: int, api_key: str | None, cert_file: str | None) -> Any:
    """Serve ``server`` on a TCP port: to everybody with an API key, otherwise to this machine only.

    :param cert_file: a PEM file with certificate and private key; with it, HTTPS is spoken.
    :returns: the ``aiohttp`` runner, to be cleaned up.
    """
    web = _aiohttp_web()
    context = None
    if cert_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert_file)
    runner = web.AppRunner(create_application(server, api_key), access_log=None)
    await runner.setup()
    host = "0.0.0.0" if api_key else "127.0.0.1"  # noqa: S104 - a tracker is public, the key is what protects this
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    return runner
