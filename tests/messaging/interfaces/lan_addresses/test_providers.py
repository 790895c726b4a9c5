from __future__ import annotations

import socket
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ifaddr
import pytest

from ipv8.messaging.interfaces.lan_addresses.any_os import netifaces as netifaces_module
from ipv8.messaging.interfaces.lan_addresses.any_os.getaddrinfo import SocketGetAddrInfo
from ipv8.messaging.interfaces.lan_addresses.any_os.ifaddr import IfAddr
from ipv8.messaging.interfaces.lan_addresses.any_os.netifaces import Netifaces
from ipv8.messaging.interfaces.lan_addresses.any_os.testnet1 import TestNet1
from ipv8.messaging.interfaces.lan_addresses.unix.getifaddrs import GetIfAddrs
from ipv8.messaging.interfaces.lan_addresses.windows.GetAdaptersAddresses import GetAdaptersAddresses

if TYPE_CHECKING:
    from ipv8.messaging.interfaces.lan_addresses.addressprovider import AddressProvider


def fail(*_: object, **__: object) -> Any:
    raise OSError("no network")


@pytest.mark.parametrize("cls", [IfAddr, GetIfAddrs, GetAdaptersAddresses])
def test_adapters(cls: type[AddressProvider], monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = [
        SimpleNamespace(ips=[SimpleNamespace(ip="192.168.1.5", network_prefix=24),
                             SimpleNamespace(ip="1.2.3.4", network_prefix=0)]),
        SimpleNamespace(ips=[SimpleNamespace(ip=("fd00::1", 0, 2), network_prefix=64)])]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    provider = cls()
    assert provider.get_addresses() == {"192.168.1.5", "fd00::1"}
    assert provider.broadcasts == {"192.168.1.0", "192.168.1.255"}
    monkeypatch.setattr(ifaddr, "get_adapters", fail)
    assert cls().get_addresses() == set()


def test_real_adapters_include_loopback() -> None:
    assert "127.0.0.1" in IfAddr().get_addresses()


def test_netifaces(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"lo": {2: [{"addr": "127.0.0.1", "netmask": "255.0.0.0"}]},
             "eth0": {2: [{"addr": "192.168.1.5", "netmask": "255.255.255.0"},
                          {"addr": "1.2.3.4", "netmask": "0.0.0.0"}],
                      10: [{"addr": "fe80::1%eth0"}]}}
    fake = SimpleNamespace(AF_INET=2, AF_INET6=10, interfaces=lambda: list(found), ifaddresses=found.__getitem__)
    monkeypatch.setattr(netifaces_module, "netifaces", fake)
    provider = Netifaces()
    assert provider.get_addresses() == {"127.0.0.1", "192.168.1.5", "fe80::1"}
    assert provider.broadcasts == {"127.0.0.0", "127.255.255.255", "192.168.1.0", "192.168.1.255"}
    fake.interfaces = fail
    assert Netifaces().get_addresses() == set()
    monkeypatch.setattr(netifaces_module, "netifaces", None)
    assert Netifaces().get_addresses() == set()


def test_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str | None, port: int) -> Any:
        if host == "bad":
            raise UnicodeError
        return [(0, 0, 0, "", ("1.2.3.4" if host is None else "5.6.7.8", port)), (0, 0, 0, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(socket, "getfqdn", lambda: "host.example")
    monkeypatch.setattr(socket, "gethostname", lambda: "bad")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert SocketGetAddrInfo().get_addresses() == {"1.2.3.4", "5.6.7.8"}
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert SocketGetAddrInfo().get_addresses() == set()


def test_default_routes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Probe:
        def __init__(self, family: int, _: int) -> None:
            self.family = family

        def __enter__(self) -> Probe:  # noqa: PYI034 - typing.Self is newer than Python 3.10
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, address: tuple[str, int]) -> None:
            assert address == ("192.0.2.0" if self.family == socket.AF_INET else "::ffff:0:192.0.2.0", 80)
            if self.family == socket.AF_INET6:
                raise OSError("no route")

        def getsockname(self) -> tuple[str, int]:
            return ("192.168.1.5", 1234)

    monkeypatch.setattr(socket, "socket", Probe)
    assert TestNet1(verbose=True).get_addresses() == {"192.168.1.5"}
    assert "no route" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="a control call of Linux")
def test_ioctl(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipv8.messaging.interfaces.lan_addresses.unix.ioctl import Ioctl

    names = socket.if_nameindex()
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(99, "absent0"), *names])
    assert "127.0.0.1" in Ioctl().get_addresses()
