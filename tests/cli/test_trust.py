"""``ipv8 trust``: statements, and the web of trust as text, JSON and a picture."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.cli import node
from ipv8.cli.main import main
from ipv8.cli.node import NodeOptions, configure
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.files import store_private_key
from ipv8.trust import TrustGraph
from ipv8.trust.drawing import draw
from ipv8.trust.persistence import OBSERVATIONS, EdgeStore
from tests.trust.helpers import Node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import Backend


def make_key() -> str:
    return default_eccrypto.generate_key("curve25519").pub().key_to_bin().hex()


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with the files of the test; what it printed."""
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["trust", *arguments, "--file", str(tmp_path / "trust.json")]) == status
        output = capsys.readouterr()
        return output.out if not status else output.err

    return run


class Web:
    """A database in which me trusts alice, who trusts bob; mallory is a cheater."""

    def __init__(self, database: Any, directory: Path) -> None:
        self.me, self.alice, self.bob, self.mallory = (Node(database) for _ in range(4))
        self.me.deal(self.alice)
        self.alice.deal(self.bob)
        self.bob.deal(self.mallory)
        fork = TrustChainBlock.create(b"x", {}, database, self.mallory.key)
        fork.sequence_number = 1
        fork.sign(self.mallory.private_key)
        known = database.get(self.mallory.key, 1)
        assert known is not None
        database.add_double_spend(known, fork)
        EdgeStore(database).add(OBSERVATIONS, [(self.me.key, self.bob.key, "relay", 2.0, 1, None)])
        database.commit()
        self.key_file = str(directory / "key.pem")
        store_private_key(self.key_file, self.me.private_key)


@pytest.fixture
def web(tmp_path: Path) -> Web:
    database = TrustChainDB(str(tmp_path), "trustchain")
    made = Web(database, tmp_path)
    database.close()
    return made


def test_statements(cli: Any, tmp_path: Path) -> None:
    assert "Nobody is stated" in cli("list")
    alice, bob = make_key(), make_key()
    assert "alice is trusted with weight 5" in cli("add", alice, "--name", "alice", "--weight", "5")
    assert json.loads(cli("add", bob, "--json"))["public_key"] == bob
    (one, other) = json.loads(cli("list", "--json"))
    assert (one["name"], one["public_key"], one["weight"]) == ("alice", alice, 5.0)
    assert (other["name"], other["public_key"], other["weight"]) == ("", bob, 1.0)
    assert one["mid"] in cli("list")
    assert (tmp_path / "trust.json").stat().st_mode & 0o077 == 0
    assert "alice is not stated" in cli("remove", "alice")
    cli("remove", other["mid"][:8])
    assert "Nobody is stated" in cli("list")


def test_mistakes(cli: Any, tmp_path: Path) -> None:
    assert "neither a public key" in cli("add", "abc", status=2)
    assert "nobody" in cli("remove", "alice", status=2)
    assert "no number greater than 0" in cli("add", make_key(), "--weight", "-1", status=2)
    (tmp_path / "trust.json").write_text("junk")
    assert "left as it is" in cli("list", status=2)
    assert "left as it is" in cli("add", make_key(), status=2)
    assert (tmp_path / "trust.json").read_text() == "junk"


def test_keys_in_files(cli: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A friend sends what ``ipv8 key show --json`` prints."""
    private_key = default_eccrypto.generate_key("curve25519")
    store_private_key(tmp_path / "key.pem", private_key)
    assert main(["key", "show", str(tmp_path / "key.pem"), "--json"]) == 0
    public_key = private_key.pub().key_to_bin()
    file = tmp_path / "alice"
    for content in (capsys.readouterr().out.encode(), public_key, public_key.hex().encode() + b"\n"):
        file.write_bytes(content)
        cli("add", str(file), "--name", "alice")
        assert json.loads(cli("list", "--json"))[0]["public_key"] == public_key.hex()
        cli("remove", "alice")
    for content in (b"", b"{}", b"{", b"[]", b'{"public_key": 5}', b'{"public_key": ' * 4000, b"junk", bytes(100_000),
                    private_key.key_to_bin()[:20]):
        file.write_bytes(content)
        assert "nor a file with one" in cli("add", str(file), status=2)
    assert "nor a file with one" in cli("add", "ab" * 5000, status=2)


def test_no_key_and_no_database(cli: Any, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_data_file", lambda name: tmp_path / "absent" / name)
    monkeypatch.setattr("ipv8.cli.trust.default_key_file", node.default_key_file)
    assert "there is no key" in cli("show", status=2)
    assert "give the working directory" in cli("show", "--key-file", web.key_file, "--database", "/proc", status=2)
    assert "You trust nobody yet" in cli("show", "--key-file", web.key_file)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda file: file.write_bytes(file.read_bytes()[:9000]), "is damaged"),
    (lambda file: execute(file, "UPDATE option SET value = '99' WHERE key = 'database_version'"), "A newer release"),
    (lambda file: (file.unlink(), file.mkdir()), "check that it is a file"),
])
def test_database_that_cannot_be_used(cli: Any, tmp_path: Path, web: Web, damage: Any, message: str) -> None:
    """It is told in one line, and the file is left as it is."""
    file = tmp_path / "sqlite" / "trustchain.db"
    damage(file)
    before = file.read_bytes() if file.is_file() else None
    for command in (["show"], ["why", "alice"]):
        error = cli(*command, "--key-file", web.key_file, "--database", str(tmp_path), status=2)
        assert message in error
        assert "Traceback" not in error
    assert before is None or file.read_bytes() == before


def test_damaged_evidence_is_not_used(cli: Any, tmp_path: Path, web: Web) -> None:
    file = tmp_path / "sqlite" / "trustchain.db"
    for statement in ("UPDATE trust_observations SET weight = 'abc'", "UPDATE trust_observations SET weight = -1",
                      "INSERT INTO trust_cursor(name, value) VALUES('half_life', '5')",
                      "INSERT OR REPLACE INTO trust_cursor(name, value) VALUES('t_ref', '{')"):
        execute(file, statement)
        before = [list(rows) for rows in content(file)]
        nodes = json.loads(cli("show", "--key-file", web.key_file, "--database", str(tmp_path), "--json"))["nodes"]
        assert {node["key"] for node in nodes} == {web.me.key.hex(), web.alice.key.hex(), web.bob.key.hex()}
        assert [list(rows) for rows in content(file)] == before


def content(file: Path) -> list[list[Any]]:
    with closing(sqlite3.connect(file)) as connection:
        return [connection.execute(f"SELECT * FROM {table}").fetchall()
                for table in ("trust_observations", "trust_cursor", "trust_keys", "trustchain_blocks")]


def execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


def test_locked_database(cli: Any, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrustChainDB, "busy_timeout", 0.01)
    monkeypatch.setattr("ipv8.attestation.trustchain.schema.QUICK_CHECK_SIZE", 0)
    with closing(sqlite3.connect(tmp_path / "sqlite" / "trustchain.db")) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        error = cli("show", "--key-file", web.key_file, "--database", str(tmp_path), status=2)
    assert "another program uses it" in error


def test_no_database_server(cli: Any, tmp_path: Path, web: Web) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    assert "No connection to" in cli("show", "--key-file", web.key_file, "--database", url, status=2)


def test_web_of_trust(cli: Any, tmp_path: Path, web: Web) -> None:
    cli("add", web.alice.key.hex(), "--name", "alice")
    view = "--key-file", web.key_file, "--database", str(tmp_path)
    shown = cli("show", *view)
    assert "you → alice" in shown
    assert "1 proven cheaters" in shown
    facts = json.loads(cli("show", *view, "--json"))
    keys = [entry["key"] for entry in facts["nodes"]]
    assert keys[0] == facts["root"] == web.me.key.hex()
    assert set(keys) == {one.key.hex() for one in (web.me, web.alice, web.bob)}
    assert [keys.index(web.me.key.hex()), keys.index(web.alice.key.hex()), 2.0] in facts["edges"]
    assert [keys.index(web.me.key.hex()), keys.index(web.bob.key.hex()), 2.0] in facts["edges"], "private evidence"
    assert facts["frauds"] == [web.mallory.key.hex()]
    assert facts["nodes"][keys.index(web.alice.key.hex())]["name"] == "alice"


def test_looking_changes_nothing(cli: Any, tmp_path: Path, web: Web) -> None:
    def content() -> Any:
        database = TrustChainDB(str(tmp_path), "trustchain")
        store = EdgeStore(database)
        found = database.get_all_blocks(), store.cursor(), list(store.edges("trust_edges")), list(
            store.edges(OBSERVATIONS)), store.vetoes()
        database.close()
        return found

    before = content()
    cli("show", "--key-file", web.key_file, "--database", str(tmp_path))
    assert content() == before


def test_reasons(cli: Any, tmp_path: Path, web: Web) -> None:
    view = "--key-file", web.key_file, "--database", str(tmp_path)
    bob = default_eccrypto.key_from_public_bin(web.bob.key).key_to_hash().hex()
    shown = cli("why", bob, *view)
    assert f"you → {bob[:10]}" in shown
    assert "You endorse it with weight 2 (relay)" in shown
    facts = json.loads(cli("why", web.bob.key.hex(), *view, "--json"))
    assert facts["direct"] == {"relay": 2.0}
    assert facts["paths"][0]["nodes"] == [web.me.key.hex(), web.bob.key.hex()]
    assert "it is a cheater" in cli("why", web.mallory.key.hex(), *view)
    assert "nobody" in cli("why", "carol", *view, status=2)
    cli("add", make_key(), "--name", "carol")
    assert "You endorse it with weight 1 (statement)" in cli("why", "carol", *view)


def test_database_of_either_kind(cli: Any, backend: Backend, tmp_path: Path) -> None:
    database = backend.open()
    made = Web(database, tmp_path)
    database.close()
    where = backend.url or str(backend.directory)
    facts = json.loads(cli("show", "--key-file", made.key_file, "--database", where, "--db-name", backend.name(),
                           "--json"))
    assert len(facts["nodes"]) == 3


def test_database_that_no_graph_has_used(cli: Any, backend: Backend, tmp_path: Path) -> None:
    database = backend.open()
    me, other = Node(database), Node(database)
    me.deal(other)
    database.close()
    store_private_key(tmp_path / "key.pem", me.private_key)
    facts = json.loads(cli("show", "--key-file", str(tmp_path / "key.pem"), "--database",
                           backend.url or str(backend.directory), "--db-name", backend.name(), "--json"))
    assert [node["key"] for node in facts["nodes"]] == [me.key.hex(), other.key.hex()]


def test_picture(cli: Any, tmp_path: Path, web: Web) -> None:
    cli("add", web.alice.key.hex(), "--name", "<alice & co>")
    file = tmp_path / "trust.svg"
    cli("show", "--key-file", web.key_file, "--database", str(tmp_path), "--plot", str(file))
    picture = ET.fromstring(file.read_text())  # well-formed, whatever the names
    name = "{http://www.w3.org/2000/svg}"
    texts = ["".join(text.itertext()) for text in picture.iter(f"{name}text")]
    assert any(text.startswith("<alice & co>") for text in texts)
    assert {"you", "stated by you, maybe with more", "1 proven cheater, with score 0:"} <= set(texts)
    drawn = [path for path in picture.iter(f"{name}path") if "Q" in path.attrib["d"]]
    assert len(drawn) == 5, "two each for two pairs, and one for what the node saw"
    assert {path.attrib["stroke"] for path in drawn} == {"#1f6fb4", "#777777", "#2a8f4f"}
    assert all(path.attrib["marker-end"] == f"url({path.attrib['stroke']})" for path in drawn)
    widths = {path.attrib["stroke-width"] for path in drawn}
    assert len(widths) == 2, "heavier edges are thicker"


def test_large_pictures_are_cut() -> None:
    graph = TrustGraph(b"\0", walks=2000, rng=1)
    for number in range(1, 200):
        graph.add(bytes((number // 5,)), bytes((number,)), 1.0 + number % 3)
    picture = ET.fromstring(draw(graph, bytes.hex, limit=40))
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}title"))) == 40
    empty = draw(TrustGraph(b"root", walks=10), bytes.hex)
    assert "1 of 1 keys" in empty


def test_a_node_takes_the_statements_up(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_data_file", lambda name: tmp_path / name)
    options = NodeOptions(key_file=str(tmp_path / "key.pem"))
    assert "trust" not in configure(options)[0]
    cli("add", make_key())
    assert configure(options)[0]["trust"] == {"statements": str(tmp_path / "trust.json")}
    assert configure(options._replace(trust="other.json"))[0]["trust"] == {"statements": "other.json"}
    given = tmp_path / "node.json"
    given.write_text(json.dumps({**configure(options)[0], "trust": {"prefer": True}}))
    assert configure(options._replace(config=str(given)))[0]["trust"] == {"prefer": True}
    assert configure(options._replace(config=str(given), trust="x"))[0]["trust"] == {"prefer": True, "statements": "x"}
