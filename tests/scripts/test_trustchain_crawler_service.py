"""The service that collects chains."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ipv8.attestation.trustchain.postgres import PostgresTrustChainDB
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from scripts import trustchain_crawler_service as service


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
    for options in (["-t"], ["--database-url", "postgresql://host/x", "-a"], ["-p", "8086"],
                    ["--apiport", "8087", "--no-rest-api"]):
        monkeypatch.setattr("sys.argv", ["crawler", "-s", str(tmp_path), *options])
        assert service.main() == 0
    assert called == [(tmp_path, True, None, 8085), (tmp_path, False, "postgresql://host/x", None),
                      (tmp_path, False, None, 8086), (tmp_path, False, None, None)]


def test_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Yappi(ModuleType):
        def start(self, builtins: bool) -> None:
            assert builtins

        def stop(self) -> None:
            pass

        def get_func_stats(self) -> Yappi:
            return self

        def save(self, path: str, form: str) -> None:
            Path(path).write_text(form)

    async def crawl(*_: Any) -> None:
        pass

    monkeypatch.setattr(service, "crawl", crawl)
    monkeypatch.setattr("sys.argv", ["crawler", "-s", str(tmp_path), "--yappi"])
    monkeypatch.setitem(sys.modules, "yappi", Yappi("yappi"))
    assert service.main() == 0
    assert (tmp_path / service.PROFILE).read_text() == "callgrind"
    monkeypatch.setitem(sys.modules, "yappi", None)
    assert service.main() == 2
    assert "pip install yappi" in capsys.readouterr().err


def test_rest_api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    for table in ("ip_addresses", "dns_addresses"):
        monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], table, [])
    managers: list[Any] = []
    answers: list[Any] = []
    serve = service.serve_blocks

    async def serve_blocks(*arguments: Any) -> Any:
        managers.append(await serve(*arguments))
        return managers[0]

    async def look() -> None:
        async with aiohttp.ClientSession(managers[0].url) as session, session.get("/trustchain/recent") as response:
            answers.append((response.status, await response.json()))

    monkeypatch.setattr(service, "serve_blocks", serve_blocks)
    monkeypatch.setattr(service, "run_forever", look)
    asyncio.run(service.crawl(tmp_path, False, api_port=0))
    assert answers == [(200, {"blocks": []})]


def test_without_the_packages_of_the_rest_api(monkeypatch: pytest.MonkeyPatch,
                                              caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ipv8.REST.rest_manager", None)
    assert asyncio.run(service.serve_blocks(None, 1)) is None
    assert 'pip install "ipv8[rest]"' in caplog.text


def test_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in one line."""
    for table in ("ip_addresses", "dns_addresses"):
        monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], table, [])
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr("sys.argv", ["crawler", "-s", str(tmp_path), "-p", str(taken.getsockname()[1])])
        assert service.main() == 2
    assert "Give another one with --apiport" in capsys.readouterr().err
    file = tmp_path / "sqlite" / "trustchain.db"
    file.write_bytes(b"damaged" * 1000)
    assert service.main() == 2
    error = capsys.readouterr().err
    assert f"{file} is damaged" in error
    assert "Traceback" not in error
    assert file.read_bytes() == b"damaged" * 1000


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
