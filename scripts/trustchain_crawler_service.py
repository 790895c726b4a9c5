"""Collects the chains of everybody in the TrustChain overlay, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib
import sys
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.attestation.trustchain.crawler import OlderNetworkCrawler, TestnetCrawler, TrustChainCrawler
from ipv8.cli.status import status_of
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition, default_bootstrap_defs
from ipv8.service import IPv8
from ipv8.util import run_forever

if TYPE_CHECKING:
    from collections.abc import Iterator

API_PORT = 8085
PROFILE = "crawler.callgrind"
CLASSES: dict[str, type[Any]] = {cls.__name__: cls for cls in (TrustChainCrawler, TestnetCrawler, OlderNetworkCrawler)}
KEY = "crawler"
UNLIMITED_PEERS = -1


def configuration(statedir: pathlib.Path, names: list[str], database_url: str | None = None) -> dict[str, Any]:
    """What the service is built from: the first crawler has the database, which the others get later."""
    builder = ConfigBuilder().clear_keys().clear_overlays()
    builder.set_working_directory(str(statedir))
    builder.add_key(KEY, "curve25519", str(statedir / "crawler.pem"))
    settings: dict[str, Any] = {"working_directory": str(statedir)}
    if database_url is not None:
        settings["database_url"] = database_url
    for name in names:
        builder.add_overlay(name, KEY, [WalkerDefinition(Strategy.RandomWalk, UNLIMITED_PEERS, {"timeout": 3.0})],
                            default_bootstrap_defs, settings, [])
        settings = {"working_directory": ":memory:"}
    return builder.finalize()


def share_database(service: Any) -> None:
    """Let all crawlers store blocks in the database of the first one."""
    first, *others = service.overlays
    for overlay in others:
        overlay.use_database(first.persistence)


async def serve_blocks(service: Any, port: int) -> Any:
    """Start the REST API, which shows the blocks: what is to be stopped in the end, ``None`` without its packages."""
    try:
        from ipv8.REST.rest_manager import RESTManager
    except ModuleNotFoundError:
        logging.getLogger("crawler").warning('The crawler runs without the REST API, which needs pip install '
                                             '"ipv8[rest]"')
        return None
    manager = RESTManager(service)
    try:
        await manager.start(port)
    except OSError as e:
        raise OSError(f"TCP port {port} cannot be used for the REST API: {e.strerror or e}. Give another one with "
                      "--apiport") from e
    return manager


async def crawl(statedir: pathlib.Path, testnet: bool, database_url: str | None = None,
                api_port: int | None = None) -> None:
    """Run until the process is told to stop.

    :param api_port: the TCP port of the REST API on this machine, ``None`` for no REST API.
    """
    names = ["TestnetCrawler"] if testnet else ["TrustChainCrawler", "OlderNetworkCrawler"]
    service = IPv8(configuration(statedir, names, database_url), extra_communities=CLASSES)
    manager = None
    try:
        await service.start()
        share_database(service)
        if api_port is not None:
            manager = await serve_blocks(service, api_port)
        await run_forever()
    finally:
        if manager is not None:
            await manager.stop()
        await service.stop()


@contextmanager
def profile(file: pathlib.Path) -> Iterator[None]:
    """Measure what runs within this context, and write that to a file for KCachegrind."""
    try:
        yappi = import_module("yappi")
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError("--yappi needs a package: pip install yappi", name=e.name) from e
    yappi.start(builtins=True)
    try:
        yield
    finally:
        yappi.stop()
        yappi.get_func_stats().save(str(file), "callgrind")


def main() -> int:
    """Read the command line and crawl; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statedir", "-s", type=pathlib.Path, default=pathlib.Path(),
                        help="the directory of the key and the database (default: the current one)")
    parser.add_argument("--testnet", "-t", action="store_true", help="crawl the network for tests")
    parser.add_argument("--database-url", "-d", metavar="URL",
                        help="a PostgreSQL database for the blocks, such as postgresql://user@host/database")
    parser.add_argument("--apiport", "-p", type=int, default=API_PORT, metavar="PORT",
                        help=f"the TCP port of the REST API on this machine (default: {API_PORT})")
    parser.add_argument("--no-rest-api", "-a", action="store_true", help="do not start the REST API")
    parser.add_argument("--yappi", action="store_true",
                        help=f"measure the program with yappi, and write {PROFILE} to the directory in the end")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    api_port = None if arguments.no_rest_api else arguments.apiport

    def run() -> int:
        with profile(arguments.statedir / PROFILE) if arguments.yappi else nullcontext():
            asyncio.run(crawl(arguments.statedir, arguments.testnet, arguments.database_url, api_port))
        return 0

    return status_of(parser.prog, run)


if __name__ == "__main__":
    sys.exit(main())
