from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import filter as module
from ipv8.messaging.interfaces.udp.filter import SourceFilter

if TYPE_CHECKING:
    import pytest


def admitted(source_filter: SourceFilter, *ips: str) -> tuple[list[str], dict[str, int]]:
    drops = DropCounter()
    passed = []
    for ip in ips:
        reason = source_filter.refusal(ip)
        if reason is None:
            passed.append(ip)
        else:
            drops.count(reason)
    return passed, drops


def test_each_ip_has_a_budget(manual_clock: Any) -> None:
    source_filter = SourceFilter(rate=1, burst=2)
    assert admitted(source_filter, "a", "a", "b", "a") == (["a", "a", "b"], {DropCounter.RATE_LIMITED: 1})
    manual_clock.advance(1)
    assert admitted(source_filter, "a", "a") == (["a"], {DropCounter.RATE_LIMITED: 1})


def test_bans_end(manual_clock: Any) -> None:
    source_filter = SourceFilter(rate=10, burst=10)
    source_filter.ban("a", 5)
    source_filter.ban("b", 5)
    source_filter.unban("b")
    source_filter.unban("c")
    assert admitted(source_filter, "a", "b") == (["b"], {DropCounter.BANNED: 1})
    manual_clock.advance(5)
    assert admitted(source_filter, "a") == (["a"], {})
    assert not source_filter._banned


def test_a_preview_uses_no_budget(manual_clock: Any) -> None:
    source_filter = SourceFilter(rate=1, burst=2)
    source_filter.ban("c", 5)
    assert source_filter.refusal("b") is None
    packets = [((ip, number), b"data") for number, ip in enumerate("aabbcaa")]
    for _ in range(2):
        assert source_filter.preview(packets) == [packets[index] for index in (0, 1, 2)]
    assert admitted(source_filter, *"aabbcaa") == (
        ["a", "a", "b"], {DropCounter.RATE_LIMITED: 3, DropCounter.BANNED: 1})


def test_bans_are_bounded(manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BANNED", 2)
    source_filter = SourceFilter(rate=10, burst=10)
    for ip in ("a", "b", "a", "c"):
        source_filter.ban(ip, 5)
    assert [ip for ip in "abc" if source_filter.is_banned(ip)] == ["a", "c"]
