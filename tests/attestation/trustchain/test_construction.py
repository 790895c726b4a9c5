"""How the overlay is made, and where its names are."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ipv8.attestation.trustchain.block import TrustChainBlock, ValidationResult
from ipv8.attestation.trustchain.community import TrustChainCommunity, TrustChainTestnetCommunity
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.attestation.trustchain.transactions import from_transaction, to_transaction, typed_block
from ipv8.class_tables import _COMMUNITIES
from ipv8.community import CommunitySettings
from ipv8.database import CorruptDatabaseException
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.service import IPv8
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS

NAMES = {
    "block": ["TrustChainBlock", "ValidationResult", "GENESIS_HASH", "GENESIS_SEQ", "UNKNOWN_SEQ", "EMPTY_SIG",
              "EMPTY_PK", "ANY_COUNTERPARTY_PK", "SKIP_ATTRIBUTES"],
    "blockcache": ["BlockCache"],
    "caches": ["IntroCrawlTimeout", "ChainCrawlCache", "HalfBlockSignCache", "CrawlRequestCache"],
    "community": ["TrustChainCommunity", "TrustChainTestnetCommunity", "synchronized", "UNKNOWN_SEQ", "GENESIS_SEQ",
                  "EMPTY_PK", "ANY_COUNTERPARTY_PK", "TrustChainBlock", "ValidationResult", "TrustChainDB",
                  "HalfBlockPayload", "CrawlRequestPayload", "CrawlResponsePayload", "HalfBlockPairPayload",
                  "HalfBlockBroadcastPayload", "HalfBlockPairBroadcastPayload", "EmptyCrawlResponsePayload",
                  "DHTBlockPayload"],
    "database": ["TrustChainDB", "DATABASE_DIRECTORY"],
    "listener": ["BlockListener"],
    "payload": ["HalfBlockPayload", "DHTBlockPayload"],
    "settings": ["TrustChainSettings"],
}


@pytest.fixture
async def parts() -> dict[str, Any]:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    return {"my_peer": Peer(default_eccrypto.generate_key("curve25519"), endpoint.wan_address), "endpoint": endpoint,
            "network": Network()}


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    found = import_module(f"ipv8.attestation.trustchain.{module}")
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


def test_defaults() -> None:
    settings = TrustChainSettings()
    expected = {"block_types_bc_disabled": set(), "broadcast_fanout": 25, "broadcast_history_size": 100000,
                "validation_range": 5, "max_db_blocks": 1000000, "crawler": False, "max_crawl_batch": 10,
                "sign_attempt_delay": 10, "sign_timeout": 360, "working_directory": "", "persistence": None,
                "db_name": None}
    assert {name: getattr(settings, name) for name in expected} == expected
    assert isinstance(settings, CommunitySettings)
    assert TrustChainSettings(crawler=True).crawler
    assert settings.block_types_bc_disabled is not TrustChainSettings().block_types_bc_disabled


def test_networks() -> None:
    for cls, name in ((TrustChainCommunity, "community_id"), (TrustChainTestnetCommunity, "testnet_community_id")):
        assert cls.community_id.hex() == VECTORS["constants"][name]
        assert _COMMUNITIES[cls.__name__] is cls
    assert TrustChainTestnetCommunity.DB_NAME == "trustchain_testnet"
    assert TrustChainCommunity.UNIVERSAL_BLOCK_LISTENER == b"UNIVERSAL_BLOCK_LISTENER"
    assert TrustChainCommunity.DB_CLASS is TrustChainDB


async def test_settings_form(parts: dict[str, Any]) -> None:
    settings = TrustChainSettings(**parts, working_directory=":memory:", crawler=True)
    overlay = TrustChainCommunity(settings)
    assert overlay.settings is settings
    assert overlay.persistence.my_pk == parts["my_peer"].public_key.key_to_bin()
    assert overlay.logger.name == "TrustChainCommunity"
    await overlay.unload()


async def test_settings_of_another_class(parts: dict[str, Any]) -> None:
    overlay = TrustChainCommunity(CommunitySettings(**parts, working_directory=":memory:"))
    assert overlay.settings.broadcast_fanout == 25
    await overlay.unload()


async def test_older_form(parts: dict[str, Any], tmp_path: Path) -> None:
    settings = TrustChainSettings()
    overlay = TrustChainCommunity(*parts.values(), working_directory=str(tmp_path), settings=settings, max_peers=5,
                                  db_name="mine")
    assert overlay.settings is settings
    assert overlay.max_peers == 5
    assert (tmp_path / "sqlite" / "mine.db").exists()
    await overlay.unload()
    database = TrustChainDB(":memory:", "x")
    overlay = TrustChainCommunity(*parts.values(), persistence=database)
    assert overlay.persistence is database
    await overlay.unload()


async def test_restart(parts: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for height in (1, 2):
        overlay = TrustChainCommunity(*parts.values(), working_directory=str(tmp_path))
        block, _ = await overlay.create_source_block(b"test", {})
        assert block.sequence_number == height
        await overlay.unload()
    assert "lost" not in caplog.text
    database = TrustChainDB(str(tmp_path), "trustchain")
    database.discard_block(block)
    database.close()
    overlay = TrustChainCommunity(*parts.values(), working_directory=str(tmp_path))
    assert "the height 1, and blocks up to 2 were signed" in caplog.text
    following, _ = await overlay.create_source_block(b"test", {})
    assert (following.sequence_number, following.previous_hash) == (3, block.hash)
    await overlay.unload()


async def test_database_that_cannot_be_used(parts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "sqlite" / "trustchain.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(CorruptDatabaseException, match="left as it is"):
        TrustChainCommunity(*parts.values(), working_directory=str(tmp_path))
    assert not parts["endpoint"]._prefix_map


async def test_one_database_for_several_overlays(parts: dict[str, Any]) -> None:
    first = TrustChainCommunity(*parts.values(), working_directory=":memory:")
    second = TrustChainTestnetCommunity(*parts.values(), working_directory=":memory:")
    second.use_database(first.persistence)
    told: list[bytes] = []
    for overlay in (first, second):
        overlay.add_fraud_callback(lambda key, *_: told.append(key))
    first.persistence.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    assert told == [KEYS["alice"]] * 2
    await second.unload()
    await first.unload()
    assert first.persistence.fraud_listeners == []


async def test_trust_decides_what_is_removed(parts: dict[str, Any]) -> None:
    class Graph:
        def score(self, key: bytes) -> float:
            return 1.0 if key == KEYS["alice"] else 0.0

    overlay = TrustChainCommunity(*parts.values(), working_directory=":memory:")
    for name in ("a1", "b1"):
        overlay.persistence.add_block(BLOCKS[name])
    overlay.settings.max_db_blocks = 1
    overlay.trust = Graph()
    overlay.do_db_cleanup()
    assert overlay.persistence.get_all_blocks() == [BLOCKS["a1"]]
    await overlay.unload()


async def test_removed_fraud_callback(parts: dict[str, Any]) -> None:
    overlay = TrustChainCommunity(*parts.values(), working_directory=":memory:")
    told: list[Any] = []

    def tell(*proof: Any) -> None:
        told.append(proof)

    overlay.add_fraud_callback(tell)
    overlay.remove_fraud_callback(tell)
    overlay.remove_fraud_callback(tell)
    overlay.persistence.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    assert told == []
    await overlay.unload()


async def test_older_form_with_keywords_only(parts: dict[str, Any]) -> None:
    overlay = TrustChainCommunity(**parts, working_directory=":memory:")
    assert overlay.my_peer is parts["my_peer"]
    await overlay.unload()


def test_master_peer_names_the_overlay() -> None:
    class Older(TrustChainCommunity):
        master_peer = Peer(default_eccrypto.key_from_public_bin(KEYS["alice"]))

    assert Older.community_id.hex() == VECTORS["keys"]["alice"]["mid"]


# Transactions as dataclasses


@dataclass
class Loan:
    amount: int
    purpose: str = ""


def test_dataclasses() -> None:
    assert to_transaction(Loan(5)) == {"amount": 5, "purpose": ""}
    assert to_transaction({"a": 1}) == {"a": 1}
    with pytest.raises(TypeError):
        to_transaction(Loan)
    assert from_transaction(Loan, {b"amount": 5}) == Loan(5)
    mistakes: list[Any] = [[], {"amount": "5"}, {}, {"amount": 5, "more": 1}, {"amount": True}]
    for wrong in mistakes:
        with pytest.raises(ValueError, match=r"Loan|amount"):
            from_transaction(Loan, wrong)


def test_typed_blocks() -> None:
    cls = typed_block(Loan)
    assert cls.__name__ == "LoanBlock"
    data = [*BLOCKS["a1"].pack_db_insert()[:9], None]
    wrong = cls(data)
    assert wrong.validate_transaction(None)[0] == ValidationResult.invalid
    database = TrustChainDB(":memory:", "x")
    made = TrustChainBlock.create(b"loan", to_transaction(Loan(5)), database, KEYS["alice"])
    database.close()
    data[1] = made.encoded_transaction
    good = cls(data, default_serializer)
    assert good.content == Loan(5)
    assert good.validate_transaction(None)[0] == ValidationResult.valid
    assert json.dumps(dict(good)["transaction"])


async def file_of_a_node(overlay_class: str, directory: Any, initialize: dict[str, Any]) -> str:
    """Where the overlay of a node has its database."""
    key = {"alias": "me", "bin": base64.b64encode(default_eccrypto.generate_key("curve25519").key_to_bin()).decode()}
    node = IPv8({"interfaces": [], "keys": [key], "logger": {"level": "ERROR"}, "walker_interval": 0.5,
                 "working_directory": directory,
                 "overlays": [{"class": overlay_class, "key": "me", "walkers": [], "bootstrappers": [],
                               "initialize": initialize, "on_start": []}]}, endpoint_override=AutoMockEndpoint())
    try:
        overlay = node.get_overlay(TrustChainCommunity)
        assert overlay is not None
        assert isinstance(overlay.persistence, TrustChainDB)
        return overlay.persistence.file_path
    finally:
        await node.stop()


@pytest.mark.parametrize(("overlay_class", "name"), [("TrustChainCommunity", "trustchain"),
                                                     ("TrustChainTestnetCommunity", "trustchain_testnet")])
async def test_database_is_in_the_directory_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        overlay_class: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    file, data = os.path.join("sqlite", f"{name}.db"), str(tmp_path / "data")
    expected = [(data, {}, os.path.join(data, file)), (Path(data), {}, os.path.join(data, file)),
                (".", {"working_directory": "own"}, os.path.join("own", file)),
                (data, {"working_directory": "own"}, os.path.join("own", file)),
                (data, {"working_directory": ":memory:"}, ":memory:"), (":memory:", {}, ":memory:"),
                (data, {"db_name": "other"}, os.path.join(data, "sqlite", "other.db"))]
    for directory, initialize, path in expected:
        assert await file_of_a_node(overlay_class, directory, initialize) == path
    assert "sqlite" not in os.listdir()


async def test_database_stays_where_an_earlier_release_had_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the first height would be signed again."""
    monkeypatch.chdir(tmp_path)
    file = os.path.join("sqlite", "trustchain.db")
    for directory in (".", "", None, "./"):
        assert await file_of_a_node("TrustChainCommunity", directory, {}) == file
    assert await file_of_a_node("TrustChainCommunity", "data", {}) == file
    os.makedirs(os.path.join("data", "sqlite"))
    os.rename(file, os.path.join("data", file))
    assert await file_of_a_node("TrustChainCommunity", "data", {}) == os.path.join("data", file)
    assert await file_of_a_node("TrustChainCommunity", ".", {}) == file
    assert await file_of_a_node("TrustChainCommunity", "data", {}) == os.path.join("data", file)
