"""Reading the addresses of bootstrap servers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.bootstrapping.servers import read_ip_server, read_named_server
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.serialization import default_serializer


@pytest.mark.parametrize(("entry", "address"), [
    (("1.2.3.4", 5), UDPv4Address("1.2.3.4", 5)),
    (["1.2.3.4", 5.0], UDPv4Address("1.2.3.4", 5)),
    (("127.000.000.001", 5), UDPv4Address("127.0.0.1", 5)),
    (("::1", 5), UDPv6Address("::1", 5)),
    (("::ffff:1.2.3.4", 5), UDPv4Address("1.2.3.4", 5)),
    (("fe80::1%eth0", 5), UDPv6Address("fe80::1%eth0", 5)),
    (UDPv4Address("1.2.3.4", 5), UDPv4Address("1.2.3.4", 5)),
])
def test_addresses(entry: Any, address: Any) -> None:
    assert read_ip_server(entry) == address
    assert type(read_ip_server(entry)) is type(address)


@pytest.mark.parametrize(("entry", "message"), [
    (("localhost", 5), "'localhost' is not an IP address: list names in dns_addresses"),
    (("[::1]", 5), "no brackets"),
    (("1.2.3.4:5", 5), "the port is the second element"),
    (("1.2.3.4", "5"), "the port must be a number, not str"),
    (("1.2.3.4", 70000), "from 1 to 65535"),
    (("1.2.3.4 ", 5), "blank"),
    (("", 5), "empty"),
    ((b"1.2.3.4", 5), "text, not bytes"),
    (("1.2.3.4%eth0", 5), "is not an IP address"),
    (("fe80::1%", 5), "zone"),
    (("ff02::1", 5), "not the address of one host"),
    ("1.2.3.4:5", "must be a pair such as"),
])
def test_what_cannot_be_contacted(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_ip_server(entry)


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
                        | st.ip_addresses().map(str), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(anything | st.tuples(st.text() | st.ip_addresses().map(str), st.integers() | st.integers(0, 65536)))
def test_whatever_is_read_can_be_packed(entry: Any) -> None:
    with suppress(ValueError):
        default_serializer.pack("address", read_ip_server(entry))
    with suppress(ValueError):
        name, port = read_named_server(entry)
        assert name == name.strip() != ""
        assert 0 < port < 65536


def test_names() -> None:
    assert read_named_server(["localhost", 5.0]) == ("localhost", 5)
    assert read_named_server(("::1", 5)) == ("::1", 5)
    for entry in (("a b", 5), ("a.b:5", 5), ("a" * 254, 5), (".", 5), ("a,b", 5)):
        with pytest.raises(ValueError, match="not a host name"):
            read_named_server(entry)


async def test_one_bad_entry_does_not_spoil_the_rest(overlay: Any, caplog: pytest.LogCaptureFixture) -> None:
    addresses: list[Any] = [("localhost", 5), ("1.2.3.4", 5), ("1.2.3.4", "5")]
    names: list[Any] = [("a b", 1), ("c.d", 1), ("e.f", "1")]
    bootstrapper = DispersyBootstrapper(addresses, names)
    assert bootstrapper.ip_addresses == [("1.2.3.4", 5)]
    assert bootstrapper.dns_addresses == [("c.d", 1)]
    assert [record.getMessage().partition(" is left out")[0] for record in caplog.records] == [
        f"the bootstrap server {entry}" for entry in (("localhost", 5), ("1.2.3.4", "5"), ("a b", 1), ("e.f", "1"))]


async def test_a_server_that_cannot_be_walked_to_does_not_spoil_the_rest(
        overlay: Any, caplog: pytest.LogCaptureFixture) -> None:
    walk_to = overlay.walk_to

    def refuse(address: Any) -> None:
        if address[0] == "1.2.3.4":
            raise OSError("refused")
        walk_to(address)

    overlay.walk_to = refuse
    bootstrapper = DispersyBootstrapper([("1.2.3.4", 5), ("5.6.7.8", 5)], [])
    await bootstrapper.get_addresses(overlay, 1.0)
    assert overlay.walks == [("5.6.7.8", 5)]
    assert "1.2.3.4 port 5 cannot be contacted: OSError: refused" in caplog.text
