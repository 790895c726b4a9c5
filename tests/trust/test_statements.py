"""What a person states, in a file."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.trust import TrustGraph, statements as module
from ipv8.trust.statements import MAX_FILE, STATEMENT, Statements, StatementsFileError

if TYPE_CHECKING:
    from pathlib import Path


def make_key() -> bytes:
    return default_eccrypto.generate_key("curve25519").pub().key_to_bin()


def test_statements_persist(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trust.json"
    alice, bob = make_key(), make_key()
    statements = Statements(path)
    assert len(statements) == 0
    statements.add(alice, "alice", 2.0)
    statements.add(bob)
    statements.save()
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    again = Statements(path)
    assert list(again) == list(statements)
    assert alice in again
    assert (again.name_of(alice), again.name_of(bob), again.name_of(b"x")) == ("alice", "", "")
    assert again.remove(alice)
    assert not again.remove(alice)
    again.save()
    assert [one.public_key for one in Statements(path)] == [bob]
    assert os.listdir(path.parent) == ["trust.json"]


def test_changes_of_several_programs(tmp_path: Path) -> None:
    """Who changes the file while another one does waits for that, and nothing that was stated is lost."""
    fcntl = pytest.importorskip("fcntl")
    path, keys = tmp_path / "new" / "trust.json", [make_key() for _ in range(10)]

    def is_free() -> bool:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(directory)
        return True

    with Statements.changed(path) as statements:
        statements.add(keys[0])
        assert not is_free()
    assert is_free()

    def add(key: bytes, name: str = "") -> None:
        with Statements.changed(path) as changed:
            changed.add(key)
            changed.add(key, name)

    with pytest.raises(ValueError, match="at most"):
        add(keys[1], "x" * 1000)
    assert is_free()

    threads = [threading.Thread(target=add, args=(key,)) for key in keys[2:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.public_key for one in Statements(path)} == {keys[0], *keys[2:]}
    assert os.listdir(path.parent) == ["trust.json"]


def test_finding_people(tmp_path: Path) -> None:
    statements = Statements(tmp_path / "trust.json")
    alice = statements.add(make_key(), "alice")
    bob = statements.add(make_key())
    assert statements.find("alice") is alice
    assert statements.find(bob.public_key.hex()) is bob
    assert statements.find(bob.mid.hex()[:8].upper()) is bob
    for nobody in ("", "bob", bob.mid.hex()[:5]):
        with pytest.raises(KeyError, match="nobody"):
            statements.find(nobody)


def test_what_cannot_be_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STATEMENTS", 2)
    statements = Statements(tmp_path / "trust.json")
    alice = statements.add(make_key(), "alice").public_key
    with pytest.raises(ValueError, match="no public key"):
        statements.add(b"junk")
    for weight in (0.0, -1.0, float("nan"), float("inf"), 1e7):
        with pytest.raises(ValueError, match="weight"):
            statements.add(make_key(), weight=weight)
    for name in ("x" * 101, "a\nb"):
        with pytest.raises(ValueError, match="printable"):
            statements.add(make_key(), name)
    with pytest.raises(ValueError, match="another key"):
        statements.add(make_key(), "alice")
    assert statements.add(alice, "alice", 3.0).weight == 3.0
    statements.add(make_key())
    with pytest.raises(ValueError, match="2 statements already"):
        statements.add(make_key())
    assert len(statements) == 2


GOOD = {"format": "ipv8 trust statements", "version": 1, "people": []}


@pytest.mark.parametrize("content", [
    "", "[]", "{}", "[" * 100_000, "\0", json.dumps({**GOOD, "format": "x"}), json.dumps({**GOOD, "version": 2}),
    json.dumps({**GOOD, "people": [{}]}), json.dumps({**GOOD, "people": 1}), json.dumps({**GOOD, "people": [
        {"public_key": "zz", "name": "", "weight": 1, "since": 1}]}),
    json.dumps({**GOOD, "people": [{"public_key": "00", "name": "", "weight": 1, "since": 1}]}),
    json.dumps({**GOOD, "people": [{"public_key": make_key().hex(), "name": 5, "weight": 1, "since": 1}]}),
    json.dumps({**GOOD, "people": [{"public_key": make_key().hex(), "name": "", "weight": -1, "since": 1}]}),
    json.dumps({**GOOD, "people": [{"public_key": make_key().hex(), "name": "", "weight": 1, "since": 10 ** 20}]}),
])
def test_damaged_files_are_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trust.json"
    path.write_text(content)
    with pytest.raises(StatementsFileError, match="left as it is"):
        Statements(path)
    assert path.read_text() == content


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with path.open("wb") as file:
        file.truncate(MAX_FILE * 1000)
    with pytest.raises(StatementsFileError, match=f"it has more than {MAX_FILE} bytes"):
        Statements(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trust.json"
    statements = Statements(path)
    statements.save()
    before = path.read_text()
    statements.add(make_key())

    def fail(*_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        statements.save()
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["trust.json"]


def test_applying_again_changes_nothing(tmp_path: Path) -> None:
    statements = Statements(tmp_path / "trust.json")
    alice, bob = (statements.add(make_key(), weight=weight).public_key for weight in (1.0, 2.0))
    graph = TrustGraph(b"root", walks=100, rng=1)
    graph.observe(alice, 5.0, "relay")
    for _ in range(2):
        statements.apply(graph)
        assert (graph.weight(b"root", alice), graph.weight(b"root", bob)) == (6.0, 2.0)
    statements.remove(bob)
    statements.apply(graph)
    assert (graph.weight(b"root", alice), graph.weight(b"root", bob)) == (6.0, 0.0)
    assert graph.neighbours(b"root")[0].kinds == {"relay": 5.0, STATEMENT: 1.0}
