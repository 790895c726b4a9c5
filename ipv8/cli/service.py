"""The node as a program: ``python -m ipv8_service`` and ``scripts/ipv8_plugin.py``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from ..configuration import get_default_configuration
from ..service import IPv8
from .rest import RestOptions, start_rest_api
from .serving import print_event, serve_until_stopped, tls_context
from .status import status_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from ..overlay import Overlay
    from ..REST.rest_manager import RESTManager

__all__ = ["IPV8Service", "addresses_of", "main", "run_program", "serve", "serve_arguments"]


class IPV8Service:
    """A node that a program starts and stops.

    ``ipv8`` is the node while it runs, and ``restapi`` is its HTTP interface while it has one.

    :param configuration: by default, the default configuration.
    :param extra_communities: overlay classes by the names that they have in the configuration.
    """

    def __init__(self, configuration: dict[str, Any] | None = None,
                 extra_communities: Mapping[str, type[Overlay[Any]]] | None = None) -> None:
        self.configuration = configuration
        self.extra_communities = extra_communities
        self.ipv8: IPv8 | None = None
        self.restapi: RESTManager | None = None

    async def start_ipv8(self, statistics: bool = False, no_rest_api: bool = False, api_key: str | None = None,
                         cert_file: str | None = None, api_port: int | None = None,
                         api_address: str = "127.0.0.1", metrics_without_key: bool = False,
                         bootstrap: Sequence[tuple[str, int]] = (), api_names: Sequence[str] = ()) -> None:
        """Start the node, and its HTTP interface.

        :param statistics: count messages.
        :param no_rest_api: do not start the HTTP interface.
        :param api_key: the key of the HTTP interface.
        :param cert_file: a PEM file with certificate and private key, for HTTPS.
        :param api_port: its TCP port; by default the first free one from 8085 on.
        :param api_address: the address it listens on.
        :param metrics_without_key: whether ``/metrics`` needs no key.
        :param bootstrap: the servers that pseudonyms ask for first peers, instead of those that the overlays ask.
        :param api_names: further names of the HTTP interface, by which clients may ask for it.
        """
        if cert_file is not None and not no_rest_api:
            tls_context(cert_file)  # before anything is started
        ipv8 = IPv8(get_default_configuration() if self.configuration is None else self.configuration,
                    enable_statistics=statistics, extra_communities=self.extra_communities)
        try:
            await ipv8.start()
            ipv8.require_open()
            if not no_rest_api:
                options = RestOptions(api_port, api_address, api_key, cert_file, metrics_without_key, api_names)
                self.restapi = await start_rest_api(ipv8, options, bootstrap)
        except BaseException:
            await ipv8.stop()
            raise
        self.ipv8 = ipv8

    def http_interface(self) -> dict[str, str | None]:
        """Where the REST API and the dashboard are, for programs; ``None`` for each if there are none."""
        url = None if self.restapi is None else self.restapi.url
        return {"rest_api": url, "dashboard": None if url is None else f"{url}/dashboard"}

    async def stop_ipv8(self) -> None:
        """Stop the node if it runs."""
        ipv8, self.ipv8 = self.ipv8, None
        restapi, self.restapi = self.restapi, None
        try:
            if restapi is not None:
                await restapi.stop()
        finally:
            if ipv8 is not None:
                await ipv8.stop()


def addresses_of(ipv8: IPv8) -> list[tuple[str, int]]:
    """Where a running node listens."""
    parts = getattr(ipv8.endpoint, "interfaces", {"": ipv8.endpoint}).values()
    return [part.get_address()[:2] for part in parts if part.is_open()]


def _describe(ipv8: IPv8) -> str:
    """The addresses and identities of a running node."""
    addresses = [f"{host}, UDP port {port}" for host, port in addresses_of(ipv8)]
    files = {block["alias"]: block.get("file") for block in ipv8.configuration["keys"]}
    identities = [f"{alias!r} with mid {peer.mid.hex()}"
                  + (f" and its key in {files[alias]}" if files.get(alias) else "")
                  for alias, peer in ipv8.keys.items()]
    return f"The node listens on {' and '.join(addresses)}, as {', '.join(identities) or 'no identity'}"


def _event(ipv8: IPv8) -> dict[str, Any]:
    """The same for programs."""
    from ..community import Community

    files = {block["alias"]: os.fspath(block.get("file") or "") or None for block in ipv8.configuration["keys"]}
    return {
        "addresses": [{"host": host, "port": port} for host, port in addresses_of(ipv8)],
        "keys": [{"alias": alias, "mid": peer.mid.hex(), "public_key": peer.public_key.key_to_bin().hex(),
                  "file": files[alias]} for alias, peer in ipv8.keys.items()],
        "overlays": [{"class": type(overlay).__name__,
                      "community_id": overlay.community_id.hex() if isinstance(overlay, Community) else None}
                     for overlay in ipv8.overlays],
    }


async def serve(service: IPV8Service, statistics: bool = False, no_rest_api: bool = False, api_key: str | None = None,
                cert_file: str | None = None, as_json: bool = False, **api: Any) -> None:
    """Run a node until SIGINT or SIGTERM.

    :param as_json: whether to print what happens, as lines of JSON. It is logged in any case.
    :param api: how the HTTP interface is served, see :meth:`IPV8Service.start_ipv8`.
    """
    async def start() -> None:
        await service.start_ipv8(statistics, no_rest_api, api_key, cert_file, **api)
        assert service.ipv8 is not None, "start_ipv8() sets or raises"
        logging.getLogger(type(service).__name__).info("%s", _describe(service.ipv8))
        if as_json:
            print_event("started", **_event(service.ipv8), **service.http_interface())

    await serve_until_stopped(start, service.stop_ipv8)
    if as_json:
        print_event("stopped")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a node with the default configuration until SIGINT or SIGTERM."""
    run_program("ipv8_service", serve_arguments("ipv8_service", sys.argv[1:] if argv is None else argv))


async def serve_arguments(name: str, argv: Sequence[str]) -> None:
    """Run a node with the default configuration, and with the options of other implementations.

    :param name: the name of the program.
    :param argv: the command line without it.
    :raises ModuleNotFoundError: if click is not installed.
    """
    try:
        from .commands.service import service
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError('the command line needs click: install it with pip install "ipv8[cli]"',
                                  name=e.name) from e
    from .framework import parse

    await serve(IPV8Service(), **parse(service, name, argv))


def run_program(name: str, program: Coroutine[Any, Any, None]) -> None:
    """Run a program to its end. If the user made a mistake, print it in one line and exit."""
    def run() -> int:
        asyncio.run(program)
        return 0

    status = status_of(name, run)
    if status:
        sys.exit(status)
