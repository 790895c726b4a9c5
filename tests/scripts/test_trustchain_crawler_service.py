"""The service that collects chains."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.trustchain.postgres import PostgresTrustChainDB
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from scripts import trustchain_crawler_service as service

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("testnet", "file"), [(True, "trustchain_testnet.db"), (False, "trustchain.db")])
def test_it_starts_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, testnet: bool, file: str) -> None:
    for table in ("ip_addresses", "dns_addresses"):
        monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], table, [])
    seen: list[Any] = []

    def share(started: Any) -> None:
        shared(started)
        seen.extend(started.overlays)

    async def stop_at_once() -> None:
        await asyncio.sleep(0)

    shared = service.share_database
    monkeypatch.setattr(service, "share_database", share)
    monkeypatch.setattr(service, "run_forever", stop_at_once)
    asyncio.run(service.crawl(tmp_path, testnet))
    gc.collect()
    assert len({id(overlay.persistence) for overlay in seen}) == 1
    assert len(seen) == (1 if testnet else 2)
    assert (tmp_path / "sqlite" / file).exists()
    assert (tmp_path / "crawler.pem").exists()


def test_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[Any] = []

    async def crawl(*arguments: Any) -> None:
        called.append(arguments)

    monkeypatch.setattr(service, "crawl", crawl)
    monkeypatch.setattr("sys.argv", ["crawler", "-s", str(tmp_path), "-t"])
    service.main()
    monkeypatch.setattr("sys.argv", ["crawler", "-s", str(tmp_path), "--database-url", "postgresql://host/x"])
    service.main()
    assert called == [(tmp_path, True, None), (tmp_path, False, "postgresql://host/x")]


def test_blocks_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    for table in ("ip_addresses", "dns_addresses"):
        monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], table, [])
    seen: list[Any] = []

    async def stop_at_once() -> None:
        await asyncio.sleep(0)

    def share(started: Any) -> None:
        shared(started)
        seen.extend(started.overlays)

    shared = service.share_database
    monkeypatch.setattr(service, "share_database", share)
    monkeypatch.setattr(service, "run_forever", stop_at_once)
    asyncio.run(service.crawl(tmp_path, False, postgres))
    gc.collect()
    databases = {overlay.persistence for overlay in seen}
    assert len(seen) == 2
    assert [type(database) for database in databases] == [PostgresTrustChainDB]
    assert not (tmp_path / "sqlite").exists()
