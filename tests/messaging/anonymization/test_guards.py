from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization import guards as module
from ipv8.messaging.anonymization.guards import GuardFile, GuardSet
from ipv8.peer import Peer
from ipv8.test.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Candidates = list[tuple[Peer, list[int]]]


def make_candidates(count: int, network: str = "{}.0.0.1") -> Candidates:
    return [(Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(network.format(number + 11), 1)), [1])
            for number in range(count)]


def same_network(peer: Peer, others: Iterable[Peer]) -> bool:
    return any(peer.address[0].split(".")[:2] == other.address[0].split(".")[:2] for other in others)


def choose(guards: GuardSet, candidates: Candidates, silent: Iterable[Peer] = (),
           excluded: Iterable[Peer] = ()) -> list[Peer]:
    out = {peer.key_bin for peer in silent}
    left_out = set(excluded)
    return guards.choose(candidates, lambda peer: peer.key_bin not in out, left_out.__contains__, same_network)


def test_few_guards_for_many_circuits() -> None:
    guards, candidates = GuardSet(), make_candidates(100)
    first = {choose(guards, candidates)[0].key_bin for _ in range(200)}
    assert len(first) == module.GUARDS_IN_USE
    assert len(guards.guards) == module.FIRST_GUARDS
    assert all(len(choose(guards, candidates)) == module.FIRST_GUARDS for _ in range(20))


def test_guards_are_in_different_networks() -> None:
    crowded, others = make_candidates(50, "9.9.9.{}"), make_candidates(5)
    guards = GuardSet()
    choose(guards, [*crowded, *others])
    assert sum(guard.address[0].startswith("9.9.") for guard in guards.guards) <= 1
    lonely = GuardSet()
    assert len(choose(lonely, crowded)) == 1


def test_other_guards_only_while_these_are_silent() -> None:
    guards, candidates = GuardSet(), make_candidates(10)
    usual = choose(guards, candidates)
    assert set(choose(guards, candidates, silent=usual[:1])) > set(usual[1:])
    assert len(guards.guards) == module.FIRST_GUARDS + 1
    assert set(choose(guards, candidates)) == set(usual)


def test_guards_that_were_not_met_yet_are_used() -> None:
    guards, candidates = GuardSet(), make_candidates(10)
    usual = choose(guards, candidates)
    assert {(peer.key_bin, peer.address) for peer in choose(guards, [])} == {
        (peer.key_bin, peer.address) for peer in usual}


def test_if_all_are_silent_all_are_tried() -> None:
    guards, candidates = GuardSet(), make_candidates(3)
    usual = choose(guards, candidates)
    assert set(choose(guards, candidates, silent=usual)) == set(usual)


def test_guards_that_cannot_be_in_a_circuit() -> None:
    guards, candidates = GuardSet(), make_candidates(3)
    usual = choose(guards, candidates)
    assert set(choose(guards, candidates, excluded=usual[:1])) == set(usual[1:])
    assert len(guards.guards) == 3


def test_a_flood_of_silent_guards_is_bounded() -> None:
    guards = GuardSet()
    for number in range(20):
        choose(guards, make_candidates(3, f"{{}}.{number}.0.1"), silent=[guard.peer() for guard in guards.guards])
    assert len(guards.guards) == module.MAX_GUARDS


def test_guards_expire() -> None:
    manual = ManualClock()
    with clock.use(manual):
        guards = GuardSet(3, (100.0, 200.0))
        first = {peer.key_bin for peer in choose(guards, make_candidates(3))}
        manual.advance(99)
        assert {peer.key_bin for peer in choose(guards, make_candidates(3))} == first
        manual.advance(102)
        assert not {peer.key_bin for peer in choose(guards, make_candidates(3))} & first


def test_addresses_and_flags_are_followed() -> None:
    guards, candidates = GuardSet(), make_candidates(1)
    choose(guards, candidates)
    guards.changed = False
    choose(guards, candidates)
    assert not guards.changed
    candidates[0][0].address = UDPv4Address("77.0.0.1", 7)
    choose(guards, [(candidates[0][0], [1, 2])])
    assert guards.changed
    assert (guards.guards[0].address, guards.guards[0].flags) == (("77.0.0.1", 7), [1, 2])


# -- files -----------------------------------------------------------------------------------------------------------

def make_file(path: Path | None) -> GuardFile:
    return GuardFile(None if path is None else str(path), {"first": GuardSet(), "second": GuardSet(4)})


def test_guards_survive_a_restart(tmp_path: Path) -> None:
    path, candidates = tmp_path / "guards.json", make_candidates(20)
    before = make_file(path)
    before.load()
    assert not before.is_due
    for guards in before.sets.values():
        choose(guards, candidates)
    assert before.is_due
    before.save()
    assert not before.is_due
    assert path.stat().st_mode & 0o077 == 0
    after = make_file(path)
    after.load()
    assert {name: guards.guards for name, guards in after.sets.items()} == {
        name: guards.guards for name, guards in before.sets.items()}
    assert len(after.sets["second"].guards) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["guards.json"]


@pytest.mark.parametrize("expires", [float("inf"), 1e300, 1e10])
def test_no_file_keeps_a_guard_longer(tmp_path: Path, expires: float) -> None:
    """The clock may have been wrong when the file was written."""
    path = tmp_path / "guards.json"
    path.write_text(json.dumps({"version": 1, "first": [{**good_entry(), "expires": expires}]}))
    with clock.use(ManualClock()):
        file = make_file(path)
        file.load()
        [guard] = file.sets["first"].guards
        assert guard.expires == clock.time() + module.MAX_LIFETIME


def test_a_change_while_the_file_is_written_is_written_later(tmp_path: Path) -> None:
    file = make_file(tmp_path / "guards.json")
    first, second = file.sets.values()
    choose(first, make_candidates(3))

    def to_list() -> list[dict[str, Any]]:
        choose(first, make_candidates(3, "9.{}.0.1"), silent=[guard.peer() for guard in first.guards])
        return []

    second.to_list = to_list  # type: ignore[method-assign]  # in the place of another thread
    file.save()
    assert file.is_due


def good_entry() -> dict[str, Any]:
    guards = GuardSet()
    choose(guards, make_candidates(1))
    return guards.to_list()[0]


@pytest.mark.parametrize("change", [
    {"key": "00"}, {"key": 5}, {"key": "zz"}, {"key": default_eccrypto.generate_key("low").pub().key_to_bin().hex()},
    {"host": "example.org"}, {"host": None}, {"port": 0}, {"port": 70000}, {"port": "x"}, {"flags": None},
    {"flags": ["x"]}, {"expires": "x"}, {"expires": 1.0},
])
def test_bad_entries_are_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    path, good = tmp_path / "guards.json", good_entry()
    path.write_text(json.dumps({"version": 1, "first": [{**good, **change}, good, good, 5, None, []]}))
    read = make_file(path)
    read.load()
    assert [guard.to_dict() for guard in read.sets["first"].guards] == [good]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"version": 2}', b"\xff", b"[" * 5000,
                                     b" " * (module.MAX_FILE_SIZE + 1), b'{"version": 1, "first": 5}'])
def test_bad_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "guards.json"
    path.write_bytes(content)
    read = make_file(path)
    read.load()
    assert not read.sets["first"].guards
    choose(read.sets["first"], make_candidates(3))
    read.save()
    again = make_file(path)
    again.load()
    assert len(again.sets["first"].guards) == 3


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    written = make_file(tmp_path / "no directory" / "guards.json")
    choose(written.sets["first"], make_candidates(1))
    written.save()
    assert not list(tmp_path.iterdir())


def test_no_file() -> None:
    nothing = make_file(None)
    nothing.load()
    choose(nothing.sets["first"], make_candidates(1))
    assert not nothing.is_due
    nothing.save()


def keys(file: GuardFile, name: str = "first") -> list[bytes]:
    return [guard.key_bin for guard in file.sets[name].guards]


def test_programs_with_the_same_file_have_the_same_guards(tmp_path: Path) -> None:
    """Whichever of them is the first to write, while the others have drawn guards of their own."""
    path = tmp_path / "guards.json"
    programs = [make_file(path) for _ in range(4)]
    for program in programs:
        program.load()
        choose(program.sets["first"], make_candidates(5))
    for _ in range(3):
        for program in programs:
            program.follow()
            program.save()
    assert not any(program.is_due for program in programs)
    assert len({tuple(keys(program)) for program in programs}) == 1
    in_use = {peer.key_bin for program in programs for peer in choose(program.sets["first"], make_candidates(5))}
    assert in_use == set(keys(programs[0])[:module.FIRST_GUARDS])
    assert len(keys(programs[0])) <= module.MAX_GUARDS
    late = make_file(path)
    late.load()
    assert keys(late) == keys(programs[0])


def test_a_file_that_another_program_has_written_is_not_replaced(tmp_path: Path) -> None:
    one, other = make_file(tmp_path / "guards.json"), make_file(tmp_path / "guards.json")
    for file in (one, other):
        choose(file.sets["first"], make_candidates(3))
    one.save()
    other.save()
    assert other.is_due
    other.follow()
    other.save()
    assert not other.is_due
    one.follow()
    assert keys(one) == keys(other)
    assert len(keys(one)) == 2 * module.FIRST_GUARDS
    assert not one.is_due


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    file = make_file(tmp_path / "guards.json")
    file.follow()
    choose(file.sets["first"], make_candidates(3))
    file.save()
    kept = list(file.sets["first"].guards)
    file.sets["first"].guards = []
    file.follow()
    assert not file.sets["first"].guards
    file.path.write_bytes(b"{")  # type: ignore[union-attr]  # it has one
    file.sets["first"].guards = kept
    file.follow()
    assert file.sets["first"].guards == kept
    assert file.is_due


def test_what_could_not_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = make_file(tmp_path / "directory" / "guards.json")
    choose(file.sets["first"], make_candidates(3))
    for _ in range(3):
        file.save()
        assert file.is_due
    assert len(caplog.records) == 1
    (tmp_path / "directory").mkdir()
    file.save()
    assert not file.is_due


def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "guards.json"
    path.write_text("{}")
    file = make_file(path)

    def refuse(*_: Any) -> None:
        raise PermissionError("not for you")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refuse)
        file.load()
        file.follow()
    assert len(caplog.records) == 1
    choose(file.sets["first"], make_candidates(3))
    file.save()
    assert len(json.loads(path.read_text())["first"]) == 3
