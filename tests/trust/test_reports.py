"""What overlays report, and how far it may change a graph."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.reputation import DELIVERY, INTRODUCTION, RELAY
from ipv8.trust import TrustGraph, reports as module
from ipv8.trust.reports import CONTRIBUTIONS, EVERYBODY_FACTOR, FOLD_INTERVAL, MAX_KINDS, TrustReporter

if TYPE_CHECKING:
    from tests.conftest import ManualClock
    from tests.postgres import Backend


@pytest.fixture
def graph() -> TrustGraph:
    return TrustGraph(b"root", walks=100, rng=1)


def test_reports_become_endorsements_after_a_while(graph: TrustGraph, manual_clock: ManualClock) -> None:
    reporter = TrustReporter(graph)
    reporter.contributed(b"a", INTRODUCTION)
    reporter.contributed(b"a", INTRODUCTION, 2)
    reporter.contributed(b"b", RELAY, 3 << 20)
    reporter.contributed(b"root", RELAY, 1 << 20)
    assert graph.number_of_edges() == 0
    manual_clock.advance(FOLD_INTERVAL)
    reporter.contributed(b"a", DELIVERY)
    edges = {edge.target: edge.kinds for edge in graph.neighbours(b"root")}
    assert edges == {b"a": {INTRODUCTION: pytest.approx(0.3), DELIVERY: pytest.approx(0.1)},
                     b"b": {RELAY: pytest.approx(3.0)}}
    assert reporter.refused == 0


def test_many_reports_do_not_wait(graph: TrustGraph, manual_clock: ManualClock,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD_COUNT", 3)
    reporter = TrustReporter(graph)
    for key in (b"a", b"b", b"c"):
        reporter.contributed(key, RELAY, 1000)
    assert graph.number_of_edges() == 3


@pytest.mark.parametrize("kind", CONTRIBUTIONS)
def test_a_contributor_has_a_budget(graph: TrustGraph, manual_clock: ManualClock, kind: str) -> None:
    reporter = TrustReporter(graph)
    hourly = CONTRIBUTIONS[kind].hourly
    for _ in range(100):
        reporter.contributed(b"a", kind, 1e9)
    reporter.fold()
    assert graph.weight(b"root", b"a") == pytest.approx(hourly)
    assert reporter.refused == 100
    manual_clock.advance(1800)
    reporter.contributed(b"a", kind, 1e9)
    reporter.fold()
    assert graph.weight(b"root", b"a") == pytest.approx(1.5 * hourly)


def test_all_contributors_have_a_budget(graph: TrustGraph, manual_clock: ManualClock) -> None:
    reporter = TrustReporter(graph)
    for number in range(1000):
        reporter.contributed(b"fake %d" % number, DELIVERY, 1e9)
    reporter.fold()
    assert sum(edge.weight for edge in graph) == pytest.approx(EVERYBODY_FACTOR * CONTRIBUTIONS[DELIVERY].hourly)


def test_number_of_contributors(graph: TrustGraph, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whom the graph knows from an earlier run count too; other endorsements of the forgotten one stay."""
    monkeypatch.setattr(module, "MAX_CONTRIBUTORS", 2)
    graph.observe(b"a", 1.0, RELAY)
    graph.observe(b"a", 1.0, "statement")
    graph.observe(b"other", 1.0, "statement")
    reporter = TrustReporter(graph)
    for key in (b"b", b"c"):
        reporter.contributed(key, RELAY, 1 << 20)
        reporter.fold()
    assert {edge.target: edge.kinds for edge in graph.neighbours(b"root")} == {
        b"a": {"statement": 1.0}, b"other": {"statement": 1.0}, b"b": {RELAY: 1.0}, b"c": {RELAY: 1.0}}


def test_reports_are_committed_together(graph: TrustGraph, manual_clock: ManualClock, backend: Backend) -> None:
    database = backend.open()
    graph.link_to(database).persist()
    reporter = TrustReporter(graph)
    commits = 0
    commit = database.commit

    def count(exiting: bool = False) -> bool:
        nonlocal commits
        done = commit(exiting)
        commits += done
        return done

    database.commit = count  # type: ignore[method-assign]
    for number in range(100):
        reporter.contributed(b"peer %d" % number, RELAY, 1 << 20)
    reporter.fold()
    assert commits == 1
    database.close(commit=False)
    again = TrustGraph(b"root", walks=100, rng=1)
    again.link_to(backend.open()).persist()
    assert again.number_of_edges() == 100


def test_kinds_of_programs(graph: TrustGraph, manual_clock: ManualClock) -> None:
    reporter = TrustReporter(graph)
    for number in range(MAX_KINDS + 5):
        reporter.contributed(b"a", f"kind {number}")
    reporter.fold()
    assert len(graph.neighbours(b"root")[0].kinds) == MAX_KINDS
    assert reporter.refused == 5


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_amounts_that_make_no_sense(graph: TrustGraph, amount: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        TrustReporter(graph).contributed(b"a", RELAY, amount)


async def test_reports_do_not_fail_with_the_database(backend: Backend, caplog: pytest.LogCaptureFixture,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay that reports has nothing to do with a full disk; what it reported counts until the node stops."""
    graph, database = TrustGraph(b"root", walks=100, rng=1), backend.open()
    graph.link_to(database).persist()
    reporter = TrustReporter(graph)

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(database, "commit", fail)
        reporter.contributed(b"a", RELAY, 1 << 20)
        reporter.fold()
    assert graph.weight(b"root", b"a") == 1.0
    assert "disk is full" in caplog.text
    reporter.contributed(b"b", RELAY, 1 << 20)
    reporter.fold()
    assert graph.weight(b"root", b"b") == 1.0
