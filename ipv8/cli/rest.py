"""The HTTP interface of a node that a program runs (doc/rest_api.md)."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from ..bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ..configuration import Bootstrapper
from ..runner import bootstrappers_of
from .serving import tls_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..REST.base_endpoint import BaseEndpoint
    from ..REST.rest_manager import RESTManager

__all__ = ["DEFAULT_PORT", "RestOptions", "start_rest_api"]

DEFAULT_PORT = 8085
PORTS_TRIED = 10
"""Ports from the default one on that are tried, as other nodes of this machine may have the first ones."""

PACKAGES = frozenset({"aiohttp", "apispec", "marshmallow", "yarl"})

logger = logging.getLogger("RESTManager")


class RestOptions(NamedTuple):
    """How a node is served by HTTP.

    :param port: the TCP port; ``None`` for the first free one from :data:`DEFAULT_PORT` on.
    :param address: the address to listen on.
    :param api_key: what requests must have; see :meth:`ipv8.REST.rest_manager.RESTManager.start`.
    :param cert_file: a PEM file with certificate and private key, for HTTPS.
    :param metrics_without_key: ``/metrics`` needs no key.
    :param names: further names of this server, by which clients may ask for it.
    """

    port: int | None = None
    address: str = "127.0.0.1"
    api_key: str | None = None
    cert_file: str | None = None
    metrics_without_key: bool = False
    names: Sequence[str] = ()

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__} {self.address}:{self.port}>"

    @property
    def is_wanted(self) -> bool:
        """Whether the user asked for the interface, so that a node without it is not what is wanted."""
        return self != RestOptions()


async def start_rest_api(node: Any, options: RestOptions, bootstrap: Sequence[tuple[str, int]] = (),
                         pseudonyms: str = "pseudonyms") -> RESTManager | None:
    """Serve a node by HTTP; ``None`` if that needs packages that are missing, and the user did not ask for it.

    :param bootstrap: the servers that pseudonyms ask for first peers, instead of those that the overlays of the node
        ask.
    :param pseudonyms: the directory with the keys of pseudonyms.
    :raises ModuleNotFoundError: if packages are missing, and the user asked for it.
    :raises OSError: if the port, or the file with the certificate, cannot be used.
    :raises ValueError: if the file does not hold a certificate.
    """
    try:
        from ..REST.rest_manager import RESTManager
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in PACKAGES:
            raise
        if options.is_wanted:
            raise ModuleNotFoundError('the REST API needs more packages: install them with pip install "ipv8[rest]", '
                                      "or start without it", name=e.name) from e
        logger.info('The node runs without the REST API, which needs pip install "ipv8[rest]"')
        return None
    context = None if options.cert_file is None else tls_context(options.cert_file)
    manager = RESTManager(node, _root_endpoint_class(bootstrap, pseudonyms))
    ports = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if options.port is None else (options.port,)
    for port in ports:
        try:
            await manager.start(port, options.address, options.api_key, context,
                                metrics_without_key=options.metrics_without_key, allowed_hosts=options.names)
        except OSError as e:
            if e.errno == errno.EADDRINUSE and port != ports[-1]:
                continue
            if e.filename is not None:  # the file with the key
                raise
            raise OSError(f"TCP port {port} of {options.address} cannot be used for the REST API: {e.strerror or e}. "
                          "Give another one with --api-port") from e
        break
    logger.info("The dashboard of the node is at %s/dashboard%s", manager.url,
                ", which asks for the API key" if manager.api_key else "")
    logger.info("Its REST API is at %s, and the documentation of that at %s/docs", manager.url, manager.url)
    return manager


def _ways(node: Any, bootstrap: Sequence[tuple[str, int]]) -> list[DispersyBootstrapper] | None:
    """The ways to first peers of the pseudonyms of a node; ``None`` for the public servers."""
    if bootstrap:
        return [DispersyBootstrapper(**definition.init) for definition in bootstrappers_of(bootstrap)]
    overlays = node.configuration.get("overlays", ())
    if not overlays:
        return None
    found: list[dict[str, Any]] = []
    for overlay in overlays:
        for block in overlay.get("bootstrappers", ()):
            if block["class"] == Bootstrapper.DispersyBootstrapper.value and block.get("init", {}) not in found:
                found.append(block.get("init", {}))
    return [DispersyBootstrapper(**init) for init in found]


def _root_endpoint_class(bootstrap: Sequence[tuple[str, int]], pseudonyms: str) -> type[BaseEndpoint[Any]]:
    """The root endpoint, whose pseudonyms find their first peers as the node does."""
    from ..attestation.communication_manager import CommunicationManager
    from ..REST.identity_endpoint import IdentityEndpoint
    from ..REST.root_endpoint import RootEndpoint

    class NodeRoot(RootEndpoint):
        def initialize(self, session: Any) -> None:
            ways = _ways(session, bootstrap)
            for endpoint in self.endpoints.values():
                if isinstance(endpoint, IdentityEndpoint):
                    endpoint.communication_manager = CommunicationManager(session, pseudonyms, bootstrappers=ways)
            super().initialize(session)

    return NodeRoot
