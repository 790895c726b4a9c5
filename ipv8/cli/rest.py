"""The HTTP interface of a node that a program runs (doc/rest_api.md)."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from .serving import tls_context

if TYPE_CHECKING:
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
    """

    port: int | None = None
    address: str = "127.0.0.1"
    api_key: str | None = None
    cert_file: str | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the user asked for the interface, so that a node without it is not what is wanted."""
        return self != RestOptions()


async def start_rest_api(node: Any, options: RestOptions) -> RESTManager | None:
    """Serve a node by HTTP; ``None`` if that needs packages that are missing, and the user did not ask for it.

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
                                      "or use --no-rest-api", name=e.name) from e
        logger.info('The node runs without the REST API, which needs pip install "ipv8[rest]"')
        return None
    context = None if options.cert_file is None else tls_context(options.cert_file)
    manager = RESTManager(node)
    ports = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if options.port is None else (options.port,)
    for port in ports:
        try:
            await manager.start(port, options.address, options.api_key, context)
        except OSError as e:
            if e.errno == errno.EADDRINUSE and port != ports[-1]:
                continue
            if e.filename is not None:  # the file with the key
                raise
            raise OSError(f"TCP port {port} of {options.address} cannot be used for the REST API: {e.strerror or e}. "
                          "Give another one with --api-port, or use --no-rest-api") from e
        break
    logger.info("The REST API is at %s, its documentation at %s/docs", manager.url, manager.url)
    return manager
