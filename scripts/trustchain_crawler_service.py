"""Collects the chains of everybody in the TrustChain overlay, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib
import sys
from typing import Any

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.attestation.trustchain.crawler import OlderNetworkCrawler, TestnetCrawler, TrustChainCrawler
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition, default_bootstrap_defs
from ipv8.service import IPv8
from ipv8.util import run_forever

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


async def crawl(statedir: pathlib.Path, testnet: bool, database_url: str | None = None) -> None:
    """Run until the process is told to stop."""
    names = ["TestnetCrawler"] if testnet else ["TrustChainCrawler", "OlderNetworkCrawler"]
    service = IPv8(configuration(statedir, names, database_url), extra_communities=CLASSES)
    await service.start()
    share_database(service)
    try:
        await run_forever()
    finally:
        await service.stop()


def main() -> None:
    """Read the command line and crawl."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statedir", "-s", type=pathlib.Path, default=pathlib.Path(),
                        help="the directory of the key and the database (default: the current one)")
    parser.add_argument("--testnet", "-t", action="store_true", help="crawl the network for tests")
    parser.add_argument("--database-url", "-d", metavar="URL",
                        help="a PostgreSQL database for the blocks, such as postgresql://user@host/database")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    asyncio.run(crawl(arguments.statedir, arguments.testnet, arguments.database_url))


if __name__ == "__main__":
    main()
