"""Blocks in SQLite, and in PostgreSQL where it is installed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.trustchain import schema
from ipv8.attestation.trustchain.block import EMPTY_PK, TrustChainBlock, ValidationResult
from ipv8.attestation.trustchain.blockcache import BlockCache
from ipv8.attestation.trustchain.database import DATABASE_DIRECTORY, TrustChainDB
from ipv8.attestation.trustchain.writer import BackgroundWriter
from ipv8.database import CorruptDatabaseException, DatabaseException, IgnoreCommits, database_blob
from ipv8.keyvault.crypto import default_eccrypto
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS, block, name_of, private_key
from tests.forking import in_a_fork

if TYPE_CHECKING:
    from ipv8.attestation.trustchain.store import BlockStore
    from tests.postgres import Backend

ROOT = Path(__file__).parents[3]
ALICE, BOB, CAROL = KEYS["alice"], KEYS["bob"], KEYS["carol"]


@pytest.fixture
def database(backend: Backend) -> BlockStore:
    return backend.open(kept=False)


@pytest.fixture
def own(backend: Backend) -> BlockStore:
    """The database of alice."""
    return backend.open(my_pk=ALICE, kept=False)


def file_of(directory: Path) -> Path:
    return directory / DATABASE_DIRECTORY / "test.db"


def add_next(database: BlockStore, author: str = "alice", link_pk: bytes = EMPTY_PK, block_type: bytes = b"test",
             **values: Any) -> TrustChainBlock:
    made = TrustChainBlock.create(block_type, {}, database, KEYS[author], link_pk=link_pk)
    for name, value in values.items():
        setattr(made, name, value)
    made.sign(private_key(author))
    database.add_block(made)
    return made


def answers(database: BlockStore) -> dict[str, Any]:
    def name(found: Any) -> Any:
        return sorted(map(str, map(name_of, found))) if isinstance(found, list) else name_of(found)

    users = [[user["public_key"].decode(), user["blocks"]] for user in database.get_users()]
    return {
        "get_latest(alice)": name(database.get_latest(ALICE)),
        "get_latest(alice,test)": name(database.get_latest(ALICE, b"test")),
        "get_block_before(a3)": name(database.get_block_before(BLOCKS["a3"])),
        "get_block_after(a3)": name(database.get_block_after(BLOCKS["a3"])),
        "get_block_after(a1,source)": name(database.get_block_after(BLOCKS["a1"], b"source")),
        "get_linked(a1)": name(database.get_linked(BLOCKS["a1"])),
        "get_linked(b1)": name(database.get_linked(BLOCKS["b1"])),
        "get_all_linked(a3)": name(database.get_all_linked(BLOCKS["a3"])),
        "get_lowest_sequence_number_unknown(alice)": database.get_lowest_sequence_number_unknown(ALICE),
        "get_lowest_range_unknown(alice)": list(database.get_lowest_range_unknown(ALICE)),
        "get_lowest_sequence_number_unknown(carol)": database.get_lowest_sequence_number_unknown(CAROL),
        "get_lowest_range_unknown(carol)": list(database.get_lowest_range_unknown(CAROL)),
        "crawl(alice,1,3)": name(database.crawl(ALICE, 1, 3)),
        "crawl(alice,1,9,limit=1)": len(database.crawl(ALICE, 1, 9, limit=1)),
        "get_number_of_known_blocks": database.get_number_of_known_blocks(),
        "get_number_of_known_blocks(alice)": database.get_number_of_known_blocks(ALICE),
        "get_users": users,
        "get_latest_blocks(alice)": [name(found) for found in database.get_latest_blocks(ALICE)],
        "get_block_with_hash(b2)": name(database.get_block_with_hash(BLOCKS["b2"].hash)),
    }


def test_vectors(database: BlockStore) -> None:
    for name in VECTORS["database"]["known_in_insert_order"]:
        database.add_block(BLOCKS[name])
    assert answers(database) == VECTORS["database"]["results"]


def test_vectors_in_a_file_of_an_older_release(tmp_path: Path) -> None:
    old_file(tmp_path, [BLOCKS[name] for name in VECTORS["database"]["known_in_insert_order"]])
    database = TrustChainDB(str(tmp_path), "test")
    assert answers(database) == VECTORS["database"]["results"]
    database.close()


def old_file(directory: Path, blocks: list[TrustChainBlock], version: int = 8) -> None:
    """A file as releases of the ecosystem leave it."""
    file_of(directory).parent.mkdir()
    connection = sqlite3.connect(file_of(directory))
    connection.executescript(schema.blocks_table("blocks", "public_key, sequence_number")
                             + schema.blocks_table("double_spends", "public_key, sequence_number, block_hash")
                             + "CREATE INDEX pub_key_ind ON blocks (public_key);" + schema.OPTION_TABLE
                             + f"INSERT INTO option VALUES('database_version', '{version}')")
    columns = schema.COLUMNS.replace(" insert_time,", "")
    connection.executemany(f"INSERT INTO blocks({columns}) VALUES({','.join('?' * 10)})",
                           [made.pack_db_insert() for made in blocks])
    connection.commit()
    connection.close()


# Adding and removing


def test_adding_twice(database: BlockStore) -> None:
    database.add_block(BLOCKS["a1"])
    with pytest.raises(sqlite3.IntegrityError):
        database.add_block(BLOCKS["a1_fork"])
    assert database.contains(BLOCKS["a1_fork"])
    assert database.get(ALICE, 1) == BLOCKS["a1"]


def test_removing(database: BlockStore) -> None:
    database.add_block(BLOCKS["a1"])
    database.remove_block(BLOCKS["a1_fork"])
    assert database.get(ALICE, 1) is not None, "it is not the same block"
    database.remove_block(BLOCKS["a1"])
    assert database.get(ALICE, 1) is None
    assert database.get_lowest_range_unknown(ALICE) == (1, 1)


def test_time_of_insertion(database: BlockStore) -> None:
    database.add_block(BLOCKS["a1"])
    found = database.get(ALICE, 1)
    assert found is not None
    assert isinstance(found.insert_time, bytes)
    assert len(found.insert_time) == 19
    assert found.inserted_at is not None


def test_old_blocks(database: BlockStore) -> None:
    blocks = [add_next(database, timestamp=number) for number in (5, 1, 4)]
    bob = add_next(database, "bob", timestamp=0)
    database.remove_old_blocks(1, BOB)
    assert database.get_all_blocks() == [blocks[0], blocks[2], bob]
    database.remove_old_blocks(5, BOB)
    assert database.get_all_blocks() == [bob]


def test_removal_of_old_blocks_is_committed(backend: Backend) -> None:
    """W24: it was not."""
    database = backend.open()
    add_next(database)
    database.remove_old_blocks(1, BOB)
    database.close(commit=False)
    assert backend.open().get_number_of_known_blocks() == 0


# Eviction


def test_strangers_are_evicted_first_whatever_their_timestamps(own: BlockStore) -> None:
    """W8, W9: the author's timestamp decided, so that spam dated into the future stayed and drove others out."""
    friend = add_next(own, "bob", timestamp=1)
    mine = add_next(own, "alice", link_pk=BOB, timestamp=1)
    spam = [add_next(own, "carol", timestamp=1 << 62) for _ in range(5)]
    assert own.evict(3, ALICE) == 3
    assert own.get_all_blocks() == [friend, mine, *spam[3:]]
    assert own.evict(5, ALICE) == 3
    assert own.get_all_blocks() == [mine]


def test_keys_of_evicted_blocks_go_with_them(own: BlockStore) -> None:
    mine = TrustChainBlock.create(b"test", {}, own, ALICE)
    mine.sign(private_key("alice"))
    own.add_signed_block(mine)
    own.discard_block(mine)
    for _ in range(2):
        add_next(own, "bob", link_pk=CAROL)
    own.evict(1, ALICE)
    assert next(iter(own.execute("SELECT COUNT(*) FROM trustchain_keys"))) == (4,)
    own.evict(1, ALICE)
    left = {row[0] for row in own.execute("SELECT key FROM trustchain_keys")}
    assert left - {EMPTY_PK, CAROL} == {ALICE}, "its head is remembered; the newest key stays with its number"
    again = add_next(own, "bob")
    assert own.get_all_blocks() == [again]


def test_numbers_of_keys_that_another_program_removed(tmp_path: Path) -> None:
    """They are not those of other keys, whose blocks would look like a double-sign, and new blocks are not lost."""
    one, other = TrustChainDB(str(tmp_path), "test"), TrustChainDB(str(tmp_path), "test")
    with closing(one), closing(other):
        first = add_next(one)
        assert other.get(ALICE, 1) == first
        one.remove_old_blocks(1, CAROL)
        add_next(one, "bob", type=b"something else")
        assert other.get(ALICE, 1) is None
        assert first.validate(other) == (ValidationResult.partial_next, [])
        assert not other.did_double_spend(ALICE)
        other.add_block(first)
        assert one.get(ALICE, 1) == other.get(ALICE, 1) == first
        with pytest.raises(sqlite3.IntegrityError):
            other.add_block(first)


WRITER_PROGRAM = """
import random, sqlite3, sys
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.keyvault.crypto import default_eccrypto
from tests.attestation.trustchain.vectors import KEYS, private_key

directory, name = sys.argv[1:]
database = TrustChainDB(directory, "test")
database.batched = True
source = random.Random(name)
for number in range(300):
    block = TrustChainBlock.create(b"test", {}, database, KEYS[name])
    block.sign(private_key(name))
    database.add_block(block)
    stranger = default_eccrypto.generate_key("curve25519")
    block = TrustChainBlock.create(b"test", {}, database, stranger.pub().key_to_bin(),
                                   link_pk=source.choice(list(KEYS.values())))
    block.timestamp = 0
    block.sign(stranger)
    database.add_block(block)
    if number % 20 == 0:
        database.remove_old_blocks(15, KEYS[name])
database.close()
"""


def test_several_programs_that_write_and_evict(tmp_path: Path) -> None:
    programs = [subprocess.Popen([sys.executable, "-c", WRITER_PROGRAM, tmp_path, name], cwd=ROOT) for name in KEYS]
    assert [program.wait() for program in programs] == [0] * len(KEYS)
    with closing(TrustChainDB(str(tmp_path), "test")) as database:
        blocks = database.get_all_blocks()
        assert len(blocks) == database.get_number_of_known_blocks()
        for found in blocks:
            key = found.crypto.key_from_network(found.public_key)
            assert found.crypto.is_valid_signature(key, found.pack(signature=False), found.signature)
        for key_bin in KEYS.values():
            latest = database.get_latest(key_bin)
            assert latest is not None
            assert latest.sequence_number == 300


SIGNER_PROGRAM = """
import asyncio, sys
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from tests.attestation.trustchain.vectors import private_key

async def main():
    endpoint = AutoMockEndpoint()
    endpoint.open()
    overlay = TrustChainCommunity(TrustChainSettings(
        my_peer=Peer(private_key("alice")), endpoint=endpoint, network=Network(), working_directory=sys.argv[1]))
    overlay.send_block = lambda block, **_: print(block.sequence_number, block.hash.hex(), flush=True)
    sys.stdin.readline()
    for number in range(100):
        overlay.create_source_block(b"test", {"n": number})
    await overlay.unload()

asyncio.run(main())
"""


def test_several_programs_that_sign_with_one_key(tmp_path: Path) -> None:
    """They signed the same heights, sent both blocks, and told everybody that their own key had cheated."""
    programs = [subprocess.Popen([sys.executable, "-c", SIGNER_PROGRAM, tmp_path], cwd=ROOT, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    outputs = [program.communicate()[0].split() for program in programs]
    assert [program.returncode for program in programs] == [0] * len(programs)
    signed = {int(height): block_hash for output in outputs for height, block_hash in zip(output[::2], output[1::2],
                                                                                          strict=True)}
    assert sorted(signed) == list(range(1, 301))
    with closing(TrustChainDB(str(tmp_path), "trustchain")) as database:
        assert {block.sequence_number: block.hash.hex() for block in database.get_all_blocks()} == signed
        assert not database.did_double_spend(ALICE)


def test_nobody_else_writes_while_a_block_is_signed(tmp_path: Path) -> None:
    with (closing(TrustChainDB(str(tmp_path), "test")) as database,
          closing(TrustChainDB(str(tmp_path / "." / ""), "../sqlite/test")) as other):
        other.execute("PRAGMA busy_timeout = 0")
        with database.signing():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.add_block(BLOCKS["a1"])
            database.add_signed_block(BLOCKS["a1"])
        for add in (other.add_signed_block, other.add_block):
            with pytest.raises(sqlite3.IntegrityError):
                add(BLOCKS["a1"])
        with database, database.signing(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.add_block(BLOCKS["b1"])


def test_several_overlays_of_one_program_with_one_file(tmp_path: Path) -> None:
    """One waited, with the lock of the file, for the blocks of the other, whose thread needs that lock to commit."""
    with closing(TrustChainDB(str(tmp_path), "test")) as first:
        first.batched = True
        first.add_block(BLOCKS["a1"])
        assert first._connection is not None
        with closing(TrustChainDB(str(tmp_path), "test")) as second:
            second.batched = True
            second.execute("PRAGMA busy_timeout = 0")
            first.add_block(BLOCKS["a2"])
            second.add_block(BLOCKS["b1"])
            first.execute("PRAGMA busy_timeout = 0")
            with first.signing():
                first.add_signed_block(BLOCKS["b2"])
            assert second.get_number_of_known_blocks() == 4
        first.add_block(BLOCKS["a3"])
        assert first._connection.in_transaction, "it waits for others again"


def test_block_that_was_being_signed_is_undone(tmp_path: Path) -> None:
    with closing(TrustChainDB(str(tmp_path), "test", ALICE)) as database:
        def sign(times: int) -> None:
            with database.signing():
                for _ in range(times):
                    database.add_signed_block(BLOCKS["a1"])

        with pytest.raises(sqlite3.IntegrityError):
            sign(2)
        assert database.get_latest(ALICE) is None
        assert database.get_head(ALICE) is None
        assert database.crawl(ALICE, 1, 10) == []
        database.add_block(BLOCKS["b1"])
        assert database.get_latest(ALICE) is None
        sign(1)
        assert database.get_head(ALICE) == (1, BLOCKS["a1"].hash)


def test_full_disk_does_not_mix_authors_up(tmp_path: Path) -> None:
    """What SQLite undid was taken for stored: the next author got the number of the one before."""
    def large(name: str) -> TrustChainBlock:
        block = TrustChainBlock.create(b"test", {b"x": b"y" * 30_000}, database, KEYS[name])
        block.sign(private_key(name))
        return block

    with closing(TrustChainDB(str(tmp_path), "test")) as database:
        (pages,), = database.execute("PRAGMA page_count")
        database.execute(f"PRAGMA max_page_count = {pages}")
        first = large("alice")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            database.add_block(first)
        database.execute(f"PRAGMA max_page_count = {pages + 1000}")
        for block in (large("bob"), first):
            database.add_block(block)
            assert database.get_block_with_hash(block.hash).public_key == block.public_key  # type: ignore[union-attr]
        assert database.get_latest(KEYS["bob"]) != first


def test_partners_and_proofs_are_not_evicted(own: BlockStore) -> None:
    source = add_next(own, "bob")
    link = TrustChainBlock.create(b"test", None, own, ALICE, link=source)
    link.sign(private_key("alice"))
    own.add_block(link)
    to_me = add_next(own, "carol", link_pk=ALICE)
    own.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    assert own.evict(10, ALICE) == 0
    assert own.get_all_blocks() == [source, link, to_me]
    assert own.did_double_spend(ALICE)


def test_those_with_the_least_trust_are_evicted_first(own: BlockStore) -> None:
    trusted = [add_next(own, "bob") for _ in range(2)]
    distrusted = [add_next(own, "carol") for _ in range(2)]
    own.evict(2, ALICE, lambda key: 1.0 if key == BOB else 0.0)
    assert own.get_all_blocks() == trusted
    assert distrusted


@pytest.mark.parametrize("as_mapping", [False, True])
def test_order_of_eviction(own: BlockStore, as_mapping: bool) -> None:
    """Authors with a negative score go before those without one, whose blocks go in the order in which they came."""
    keys = [default_eccrypto.generate_key("curve25519") for _ in range(5)]

    def add(number: int, height: int) -> TrustChainBlock:
        made = TrustChainBlock.create(b"test", {}, own, keys[number].pub().key_to_bin())
        made.sign(keys[number])
        own.add_block(made)
        assert made.sequence_number == height
        return made

    added = {(number, height): add(number, height) for height in (1, 2, 3) for number in (3, 0, 1, 4, 2)}
    values = dict(zip((key.pub().key_to_bin() for key in keys), (0.5, 0.0, -0.5, 0.0, 0.25), strict=True))
    trust = {key: value for key, value in values.items() if value} if as_mapping else values.__getitem__
    expected = [added[2, 1], added[2, 2], added[2, 3], added[3, 1], added[1, 1], added[3, 2], added[1, 2], added[3, 3],
                added[1, 3], added[4, 1], added[4, 2], added[4, 3], added[0, 1], added[0, 2], added[0, 3]]
    while expected:
        count = min(2, len(expected))
        assert own.evict(count, ALICE, trust) == count
        expected = expected[count:]
        assert {block.hash for block in own.get_all_blocks()} == {block.hash for block in expected}


# Look-ups


def test_registered_class_in_every_query(database: BlockStore) -> None:
    """W15: queries for several blocks ignored it."""
    class Mine(TrustChainBlock):
        pass

    database.block_types[b"test"] = Mine
    one = add_next(database)
    add_next(database, "bob", link_pk=ALICE)
    assert database.get_block_class(b"test") is Mine
    assert database.get_block_class(b"other") is TrustChainBlock
    found = [*database.get_all_blocks(), *database.get_latest_blocks(ALICE), *database.get_recent_blocks(),
             *database.get_blocks_with_type(b"test"), *database.get_all_linked(one), *database.crawl(ALICE, 1, 5),
             database.get(ALICE, 1), database.get_latest(ALICE), database.get_block_with_hash(one.hash),
             *(made for _, made in database.get_stored_after())]
    assert {type(made) for made in found} == {Mine}


def test_latest_blocks_of_several_types(database: BlockStore) -> None:
    """W16: more than one type gave nothing."""
    blocks = [add_next(database, block_type=kind) for kind in (b"a", b"b", b"c", b"a")]
    assert database.get_latest_blocks(ALICE, block_types=[b"a", b"b"]) == [blocks[3], blocks[1], blocks[0]]
    assert database.get_latest_blocks(ALICE, limit=2, block_types=[b"a", b"b"]) == [blocks[3], blocks[1]]
    assert database.get_latest_blocks(ALICE, block_types=[]) == blocks[::-1]


def test_types(database: BlockStore) -> None:
    one, other = add_next(database, block_type=b"a"), add_next(database, "bob", block_type=b"a")
    add_next(database, block_type=b"b")
    assert database.get_blocks_with_type(b"a") == [one, other]
    assert database.get_blocks_with_type(b"a", ALICE) == [one]
    latest = database.get_latest(ALICE)
    assert latest is not None
    assert database.get_block_before(latest, b"a") == one
    assert database.get_block_before(latest, b"c") is None


def test_gaps(database: BlockStore) -> None:
    def add_at(height: int) -> None:
        made = block("a1")
        made.sequence_number = height
        database.add_block(made)

    assert database.get_lowest_range_unknown(ALICE) == (1, 1)
    for height in (4, 5):
        add_at(height)
    assert database.get_lowest_sequence_number_unknown(ALICE) == 1
    assert database.get_lowest_range_unknown(ALICE) == (1, 3)
    for height in (1, 9):
        add_at(height)
    assert database.get_lowest_range_unknown(ALICE) == (2, 3)
    for height in (2, 3):
        add_at(height)
    assert database.get_lowest_range_unknown(ALICE) == (6, 8)
    made = block("a1")
    made.sequence_number = 2
    database.remove_block(made)
    assert database.get_lowest_range_unknown(ALICE) == (2, 2)


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_are_those_that_are_stored(own: BlockStore, seed: int) -> None:
    """Whatever was added, removed, evicted or changed by statements before."""
    source = random.Random(seed)
    stored: dict[tuple[bytes, int], TrustChainBlock] = {}

    def look() -> None:
        for name in ("alice", "bob", "carol"):
            wanted = block("a1")
            wanted.public_key, wanted.sequence_number = KEYS[name], source.randrange(1, 12)
            heights = {height: made for (key, height), made in stored.items() if key == KEYS[name]}
            below = [height for height in heights if height < wanted.sequence_number]
            above = [height for height in heights if height > wanted.sequence_number]
            before, known, after = own.get_neighbourhood(wanted)
            assert before == (heights[max(below)] if below else None)
            assert known == heights.get(wanted.sequence_number)
            assert after == (heights[min(above)] if above else None)
            if before is not None:
                assert before.hash == heights[max(below)].hash
                assert isinstance(before.insert_time, bytes)

    for _ in range(80):
        name, action = source.choice(("alice", "bob", "carol")), source.random()
        heights = [height for key, height in stored if key == KEYS[name]]
        made = block("a1")
        made.public_key = KEYS[name]
        made.sequence_number = max(heights, default=0) + 1 if action < 0.6 else source.randrange(1, 10)
        if action < 0.8 and (KEYS[name], made.sequence_number) not in stored:
            look()
            made.sign(private_key(name))
            own.add_block(made)
            stored[KEYS[name], made.sequence_number] = made
        elif action < 0.9 and stored:
            going = source.choice(list(stored))
            own.discard_block(stored.pop(going))
        elif action < 0.95:
            own.evict(1, ALICE)
            left = {(found.public_key, found.sequence_number) for found in own.get_all_blocks()}
            stored = {place: made for place, made in stored.items() if place in left}
        else:
            own.execute("DELETE FROM trustchain_blocks WHERE sequence_number = ?", (3,))
            stored = {place: made for place, made in stored.items() if place[1] != 3}
        look()


def test_recent_blocks(database: BlockStore) -> None:
    blocks = [add_next(database, timestamp=number) for number in (5, 1, 4)]
    assert database.get_recent_blocks() == [blocks[0], blocks[2], blocks[1]]
    assert database.get_recent_blocks(limit=1, offset=1) == [blocks[2]]


def test_users(database: BlockStore) -> None:
    """W24: a key was listed twice among the connected users."""
    add_next(database, "alice", link_pk=BOB)
    add_next(database, "alice", link_pk=BOB)
    add_next(database, "alice")
    add_next(database, "bob", link_pk=ALICE)
    add_next(database, "carol", link_pk=ALICE)
    alice, bob, carol = (key.hex().encode() for key in (ALICE, BOB, CAROL))
    assert database.get_users(1) == [{"public_key": alice, "blocks": 3}]
    assert sorted(user["public_key"] for user in database.get_connected_users(ALICE)) == sorted([bob, carol])
    assert database.get_connected_users(BOB) == [{"public_key": alice, "blocks": 3}]
    assert database.get_connected_users(b"unknown") == []


def test_oldest_stored_partner_counts(database: BlockStore) -> None:
    """W1, W8: the author's timestamp decided which of several partners counts."""
    source = add_next(database)
    links = []
    for author, timestamp in (("bob", 100), ("carol", 0)):
        link = TrustChainBlock.create(b"test", None, database, KEYS[author], link=source)
        link.timestamp = timestamp
        link.sign(private_key(author))
        database.add_block(link)
        links.append(link)
    assert database.get_linked(source) == links[0]
    assert database.get_all_linked(source) == links
    assert database.count_links(source, BOB) == 1


def test_stored_after_a_place(database: BlockStore) -> None:
    blocks = [add_next(database, author) for author in ("alice", "bob", "alice")]
    first = database.get_stored_after(limit=2)
    assert [made for _, made in first] == blocks[:2]
    assert [made for _, made in database.get_stored_after(first[-1][0])] == blocks[2:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_opens_the_file_again(tmp_path: Path) -> None:
    """SQLite does not allow to use a connection in two processes."""
    database = TrustChainDB(str(tmp_path), "test")
    add_next(database)

    def child() -> None:
        with pytest.raises(DatabaseException, match="before the process was forked"):
            database.get_all_blocks()
        with closing(TrustChainDB(str(tmp_path), "test")) as own:
            assert own.get_number_of_known_blocks() == 1

    in_a_fork(child)
    database.close()


def test_closed(backend: Backend) -> None:
    database = backend.open(my_pk=ALICE)
    database.close()
    assert database.get(ALICE, 1) is None
    assert database.get_all_blocks() == []
    assert database.get_number_of_known_blocks() == 0
    assert database.crawl(ALICE, 1, 5) == []
    assert not database.did_double_spend(ALICE)
    database.add_block(BLOCKS["a1"])


# Our own chain


def test_crawling_our_own_chain(own: BlockStore) -> None:
    """W14: partners were filed under their own height, so that an unrelated block could be given."""
    first = add_next(own, link_pk=BOB)
    second = add_next(own, link_pk=BOB)
    assert own.crawl(ALICE, 0, 10) == [first, second]
    add_next(own, "bob")
    answer = TrustChainBlock.create(b"test", None, own, BOB, link=first)
    answer.sign(private_key("bob"))
    own.add_block(answer)
    assert answer.sequence_number == 2
    assert own.crawl(ALICE, 0, 10) == [first, answer, second]
    cache = own.my_blocks_cache
    assert cache is not None
    cache.blocks, cache.linked_blocks = {}, {}
    assert own.crawl(ALICE, 0, 10) == [first, answer, second]
    assert cache.get_missing_in_range(0, 10) == []
    own.remove_block(second)
    assert own.crawl(ALICE, 0, 10) == [first, answer], "W14: removed blocks stayed in the cache"
    cache.blocks = {}
    assert cache.get_missing_in_range(0, 10) == [1]


def test_huge_range_of_our_own_chain_costs_nothing(own: BlockStore) -> None:
    """W5: the range was enumerated, which takes hours and all memory for this one."""
    blocks = [add_next(own) for _ in range(30)]
    assert own.crawl(ALICE, -(2 ** 31), 2 ** 62, limit=10) == blocks[:10]
    assert own.crawl(ALICE, 2 ** 40, 2 ** 62) == []


def test_cache_is_bounded(own: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipv8.attestation.trustchain.blockcache.MAX_CACHED", 3)
    blocks = [add_next(own) for _ in range(6)]
    cache = own.my_blocks_cache
    assert cache is not None
    assert sorted(cache.blocks) == [4, 5, 6]
    assert own.crawl(ALICE, 1, 2) == blocks[:2]
    assert len(cache.blocks) <= 3
    assert BlockCache(own, BOB).get_range(1, 5) == []


def test_heights_are_not_signed_twice(own: BlockStore) -> None:
    """W26: a lost tip was signed again."""
    made = TrustChainBlock.create(b"test", {}, own, ALICE)
    made.sign(private_key("alice"))
    own.add_signed_block(made)
    assert own.get_head(ALICE) == (1, made.hash)
    own.discard_block(made)
    following = TrustChainBlock.create(b"test", {}, own, ALICE)
    assert (following.sequence_number, following.previous_hash) == (2, made.hash)


def test_removal_by_the_program_resets_the_record(own: BlockStore) -> None:
    blocks = []
    for _ in range(2):
        made = TrustChainBlock.create(b"test", {}, own, ALICE)
        made.sign(private_key("alice"))
        own.add_signed_block(made)
        blocks.append(made)
    own.remove_block(blocks[1])
    assert own.get_head(ALICE) == (1, blocks[0].hash)
    own.remove_block(blocks[0])
    assert own.get_head(ALICE) is None
    assert TrustChainBlock.create(b"test", {}, own, ALICE).sequence_number == 1


# Fraud


def test_proofs(database: BlockStore) -> None:
    told: list[Any] = []
    database.fraud_listeners.append(lambda *proof: told.append(proof))
    database.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    database.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    assert told == [(ALICE, BLOCKS["a1"], BLOCKS["a1_fork"])]
    (key, one, other), = database.get_double_spends()
    assert key == ALICE
    assert {one, other} == {BLOCKS["a1"], BLOCKS["a1_fork"]}
    assert database.did_double_spend(ALICE)
    assert not database.did_double_spend(BOB)


def test_number_of_proofs(own: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipv8.attestation.trustchain.store.MAX_PROOFS", 2)
    add_next(own, "alice", link_pk=BOB)
    for name in ("bob", "carol", "alice"):
        one, other = block("a1"), block("a1_fork")
        for made in (one, other):
            made.public_key = KEYS[name]
            made.sign(private_key(name))
        own.add_double_spend(one, other)
    assert [own.did_double_spend(KEYS[name]) for name in ("bob", "carol", "alice")] == [True, False, True]


def test_one_proof_of_each_cheater_is_kept(database: BlockStore) -> None:
    database.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    database.add_double_spend(BLOCKS["a2"], BLOCKS["a2_badprev"])
    assert next(iter(database.execute("SELECT COUNT(*) FROM double_spends"))) == (2,)


# Files


def test_old_sql_works() -> None:
    database = TrustChainDB(":memory:", "test")
    values = [database_blob(value) if isinstance(value, bytes) else value for value in BLOCKS["a1"].pack_db_insert()]
    database.execute(f"INSERT INTO blocks VALUES({','.join('?' * 11)})",
                     (*values[:9], "2020-01-02 03:04:05", values[9]))
    assert database.get(ALICE, 1) == BLOCKS["a1"]
    rows = list(database.execute(database.get_sql_header() + "WHERE public_key = ? AND sequence_number = 1", (ALICE,)))
    assert rows[0][9] == b"2020-01-02 03:04:05"
    assert TrustChainBlock(rows[0]) == BLOCKS["a1"]
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(f"INSERT INTO blocks VALUES({','.join('?' * 11)})", (*values[:9], "x", values[9]))
    database.execute(f"INSERT OR IGNORE INTO blocks VALUES({','.join('?' * 11)})", (*values[:9], "x", values[9]))
    database.execute("UPDATE blocks SET type = ? WHERE public_key = ?", (b"new", ALICE))
    found = database.get(ALICE, 1)
    assert found is not None
    assert found.type == b"new"
    assert next(iter(database.execute("SELECT COUNT(*) FROM blocks WHERE type = ?", (b"new",)))) == (1,)
    database.execute("DELETE FROM blocks WHERE public_key = ?", (ALICE,))
    assert database.get_all_blocks() == []
    database.close()


def test_upgrade_of_version_7(tmp_path: Path) -> None:
    old_file(tmp_path, [BLOCKS["a1"]], version=7)
    with closing(sqlite3.connect(file_of(tmp_path))) as connection, connection:
        row = list(BLOCKS["a2"].pack_db_insert())
        for text in (True, False):
            values = [value.decode("latin-1") if text and isinstance(value, bytes) and number in {0, 1} else value
                      for number, value in enumerate(row)]
            key: Any = "text" if text else b"text"
            connection.execute(f"INSERT INTO blocks VALUES({','.join('?' * 11)})",
                               (*values[:2], key, *values[3:9], "2020-01-01 00:00:00", values[9]))
    connection.close()
    database = TrustChainDB(str(tmp_path), "test")
    assert database.get(ALICE, 1) == BLOCKS["a1"]
    assert database.get_number_of_known_blocks() == 2
    assert database.database_version == 8
    database.close()


def test_blocks_of_older_versions_are_dropped(tmp_path: Path) -> None:
    old_file(tmp_path, [BLOCKS["a1"]], version=5)
    database = TrustChainDB(str(tmp_path), "test")
    assert database.get_all_blocks() == []
    assert database.database_version == 8
    database.close()


def test_subclass_with_a_schema_of_its_own(tmp_path: Path) -> None:
    class Market(TrustChainDB):
        LATEST_DB_VERSION = 3

        def get_schema(self) -> str:
            return super().get_schema() + "CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY);"

        def get_upgrade_script(self, current_version: int) -> str:
            return "DROP TABLE IF EXISTS orders;" if current_version == 2 else ""

        def check_database(self, database_version: bytes) -> int:
            version = int(database_version)
            if version < self.LATEST_DB_VERSION:
                if version:
                    self.executescript(self.get_upgrade_script(version))
                self.executescript(self.get_schema())
                self.commit()
            return self.LATEST_DB_VERSION

    for _ in range(2):
        database = Market(str(tmp_path), "test")
        database.execute("INSERT INTO orders DEFAULT VALUES")
        if not database.contains(BLOCKS["a1"]):
            database.add_block(BLOCKS["a1"])
        database.close()
    with closing(sqlite3.connect(file_of(tmp_path))) as connection, connection:
        assert connection.execute("SELECT COUNT(*) FROM orders").fetchone() == (2,)
        connection.execute("UPDATE option SET value = '2' WHERE key = 'database_version'")
    connection.close()
    database = Market(str(tmp_path), "test")
    assert database.get(ALICE, 1) == BLOCKS["a1"]
    assert next(iter(database.execute("SELECT COUNT(*) FROM orders"))) == (0,)
    database.close()


def test_newer_file_is_left_alone(tmp_path: Path) -> None:
    database = TrustChainDB(str(tmp_path), "test")
    database.add_block(BLOCKS["a1"])
    database.close()
    with closing(sqlite3.connect(file_of(tmp_path))) as connection, connection:
        connection.execute("UPDATE option SET value = '9' WHERE key = 'database_version'")
    connection.close()
    before = file_of(tmp_path).read_bytes()
    with pytest.raises(DatabaseException, match="newer release"):
        TrustChainDB(str(tmp_path), "test")
    assert file_of(tmp_path).read_bytes() == before
    database = TrustChainDB(":memory:", "x")
    with pytest.raises(DatabaseException, match="newer release"):
        database.check_database(b"9")
    database.close()


@pytest.mark.parametrize("damage", ["header", "page", "text", "version"])
def test_damaged_file_is_left_alone(tmp_path: Path, damage: str) -> None:
    database = TrustChainDB(str(tmp_path), "test")
    for _ in range(200):
        add_next(database)
    database.close()
    file = file_of(tmp_path)
    content = bytearray(file.read_bytes())
    if damage == "header":
        content[:16] = b"x" * 16
    elif damage == "page":
        for page in range(8192, len(content), 8192):
            content[page:page + 64] = b"\xff" * 64
    elif damage == "text":
        content = bytearray(b"this is no database" * 1000)
    file.write_bytes(content)
    if damage == "version":
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE option SET value = 'x' WHERE key = 'database_version'")
    before = file.read_bytes()
    with pytest.raises(CorruptDatabaseException, match=r"test\.db.*left as it is"):
        TrustChainDB(str(tmp_path), "test")
    assert file.read_bytes() == before


def test_reopening(backend: Backend) -> None:
    database = backend.open(my_pk=ALICE)
    database.batched = True
    blocks = [add_next(database) for _ in range(3)]
    head = TrustChainBlock.create(b"test", {}, database, ALICE)
    head.sign(private_key("alice"))
    database.add_signed_block(head)
    database.add_double_spend(BLOCKS["a1"], BLOCKS["a1_fork"])
    database.close()
    database = backend.open(my_pk=ALICE)
    assert database.get_all_blocks() == [*blocks, head]
    assert database.get_head(ALICE) == (4, head.hash)
    assert [proof[0] for proof in database.get_double_spends()] == [ALICE]
    assert (backend.url is None) == file_of(backend.directory).exists()


def test_batched_blocks_are_committed_together(backend: Backend) -> None:
    database = backend.open()
    commits = 0
    commit = database.commit

    def count(exiting: bool = False) -> bool:
        nonlocal commits
        commits += 1
        return commit(exiting)

    database.commit = count  # type: ignore[method-assign]
    database.batched = True
    for _ in range(5):
        add_next(database)
    assert commits == 0
    database.flush()
    assert commits == 1
    database.close(commit=False)
    assert backend.open().get_number_of_known_blocks() == 5


def test_nothing_is_committed_before_the_end_of_a_with_block(backend: Backend) -> None:
    database = backend.open()
    with database:
        add_next(database)
        with database:
            add_next(database)
        with pytest.raises(DatabaseException, match="Leave the with block"):
            database.commit(exiting=True)
    with pytest.raises(sqlite3.IntegrityError), database:
        database.add_block(add_next(database))
    with database:
        database.commit()
        raise IgnoreCommits
    database.close(commit=False)
    assert backend.open().get_number_of_known_blocks() == 2


def test_numbers_that_do_not_fit(backend: Backend) -> None:
    """What came before stays."""
    database = backend.open()
    database.batched = True
    first = add_next(database)
    with pytest.raises(OverflowError):
        add_next(database, timestamp=1 << 63)
    assert database.get_all_blocks() == [first]


def test_size_of_a_minimal_block(tmp_path: Path) -> None:
    database = TrustChainDB(str(tmp_path), "test")
    database.batched = True
    for _ in range(2000):
        add_next(database, link_pk=BOB)
    database.close()
    assert file_of(tmp_path).stat().st_size / 2000 <= 320


# The writer


def test_writer_commits_and_flushes(tmp_path: Path) -> None:
    committed = threading.Event()
    database = TrustChainDB(str(tmp_path), "test")

    def commit() -> None:
        database.commit()
        committed.set()

    writer = BackgroundWriter(commit, database.file_path)
    database.batched = True
    writer.changed()
    assert committed.wait(5)
    writer.sync()
    writer.stop()
    writer.changed()
    assert not any(thread.name == "trustchain-writer" and thread is writer._thread and thread.is_alive()
                   for thread in threading.enumerate())
    database.close()


def test_failure_of_the_writer_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("disk full")

    writer = BackgroundWriter(fail, str(tmp_path / "x.db"))
    writer.changed()
    writer.stop()
    assert "could not be written" in caplog.text


def test_batched_blocks_reach_the_database(backend: Backend) -> None:
    database = backend.open()
    database.batched = True
    done = threading.Event()
    assert database._writer is not None

    def commit() -> None:
        database.commit()
        done.set()

    database._writer.commit = commit
    add_next(database)
    assert done.wait(5)
    database.close(commit=False)
    assert backend.open().get_number_of_known_blocks() == 1


PROGRAM = """
import sys
from pathlib import Path
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.keyvault.crypto import default_eccrypto
from tests.postgres import Backend
key = default_eccrypto.generate_key("curve25519")
public = key.pub().key_to_bin()
url, directory, name = sys.argv[1:]
backend = Backend(url or None, Path(directory))
backend.name = lambda _: name
database = backend.open(name, public)
database.batched = True
print(public.hex(), flush=True)
while True:
    block = TrustChainBlock.create(b"test", {}, database, public)
    block.sign(key)
    if block.sequence_number % 3:
        database.add_block(block)
        database.flush()
    else:
        database.add_signed_block(block)
    print(block.sequence_number, block.hash.hex(), flush=True)
"""


def test_killed_process_loses_no_acknowledged_block(backend: Backend) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, backend.url or "", backend.directory, backend.name()],
                               cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    public_key = bytes.fromhex(process.stdout.readline())
    lines = [process.stdout.readline() for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    acknowledged = dict(line.split() for line in lines if line.endswith("\n"))
    database = backend.open(my_pk=public_key)
    for height, block_hash in acknowledged.items():
        found = database.get(public_key, int(height))
        assert found is not None, f"the block at height {height} is lost"
        assert found.hash.hex() == block_hash
    head = database.get_head(public_key)
    assert head is not None
    assert head[0] >= max(int(height) for height in acknowledged if int(height) % 3 == 0)


CRAWL_PROGRAM = """
import asyncio, json, os, signal, sys
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.peer import Peer
from ipv8.test.mocking.ipv8 import MockIPv8

async def main():
    nodes = [MockIPv8("curve25519", TrustChainCommunity, **settings) for settings in json.loads(sys.argv[1])]
    for number in range(5):
        nodes[0].overlay.self_sign_block(b"test", {"number": number})
    other = Peer(nodes[0].my_peer.public_key, nodes[0].endpoint.wan_address)
    for block in await nodes[1].overlay.send_crawl_request(other, nodes[0].overlay.my_key_bin, 1, 5):
        print(block.hash.hex(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_killed_overlay_loses_no_block_that_it_asked_for(backend: Backend) -> None:
    settings = json.dumps([backend.settings(name) for name in ("one", "other")])
    ended = subprocess.run([sys.executable, "-c", CRAWL_PROGRAM, settings], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                           check=False)
    hashes = ended.stdout.split()
    assert len(hashes) == 5
    database = backend.open("other")
    assert all(database.get_block_with_hash(bytes.fromhex(block_hash)) for block_hash in hashes)


OVERLAY_PROGRAM = """
import asyncio, json, sys
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.peer import Peer
from ipv8.test.mocking.ipv8 import MockIPv8

async def main():
    nodes = [MockIPv8("curve25519", TrustChainCommunity, **settings) for settings in json.loads(sys.argv[1])]
    nodes[1].overlay.on_block(b"test", sign=True)(lambda block: None)
    other = Peer(nodes[1].my_peer.public_key, nodes[1].endpoint.wan_address)
    while True:
        for block in await nodes[0].overlay.propose(other, b"test", {}):
            print(block.hash.hex(), flush=True)

asyncio.run(main())
"""


def test_killed_overlay_loses_no_acknowledged_transaction(backend: Backend) -> None:
    settings = json.dumps([backend.settings(name) for name in ("one", "other")])
    process = subprocess.Popen([sys.executable, "-c", OVERLAY_PROGRAM, settings], cwd=ROOT, stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout is not None
    hashes = [process.stdout.readline().strip() for _ in range(100)]
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert all(hashes)
    for name in ("one", "other"):
        database = backend.open(name)
        assert all(database.get_block_with_hash(bytes.fromhex(block_hash)) for block_hash in hashes)
        database.close()
