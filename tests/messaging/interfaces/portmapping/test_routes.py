"""The routing table of Linux, or none."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.interfaces.portmapping import routes
from ipv8.messaging.interfaces.portmapping.routes import MAX_GATEWAYS, default_gateways, parse_routes

if TYPE_CHECKING:
    from pathlib import Path



def test_table() -> None:
    table = ("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
             "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n"
             "eth1\t00000000\t0101A8C0\t0003\t0\t0\t9\t00000000\n"
             "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
             "eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n"
             "garbage\n"
             "eth3\tx\ty\tz\n")
    assert parse_routes(table) == (["192.168.1.1"] if socket.htonl(1) != 1 else ["1.1.168.192"])
    assert parse_routes("") == []


def test_not_all_of_many_gateways_are_asked() -> None:
    table = "head\n" + "".join(f"eth0\t00000000\t01{number:02X}A8C0\t0003\n" for number in range(20))
    assert len(parse_routes(table)) == MAX_GATEWAYS


@given(st.text(alphabet="0123456789abcdefF\t\n x-", max_size=200))
@settings(deadline=None, max_examples=100)
def test_any_text(text: str) -> None:
    assert all(gateway.count(".") == 3 for gateway in parse_routes("head\n" + text))


def test_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(routes, "ROUTES_FILE", str(tmp_path / "missing"))
    assert default_gateways() == []
    (tmp_path / "route").write_text("head\neth0\t00000000\t0101A8C0\t0003\n", encoding="ascii")
    monkeypatch.setattr(routes, "ROUTES_FILE", str(tmp_path / "route"))
    assert len(default_gateways()) == 1


@pytest.mark.parametrize("gateway", ["f" * 40, "-1", "1ffffffff", "xyz", ""])
def test_an_odd_line_is_ignored(gateway: str) -> None:
    table = f"header\neth0 00000000 {gateway} 0003\neth0 00000000 0101A8C0 0003\n"
    assert parse_routes(table) == ["192.168.1.1"]
