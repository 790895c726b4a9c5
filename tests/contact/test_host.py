"""What is asked of an endpoint that may consist of several."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.contact.host import other_interface
from ipv8.messaging.address import UDPv4Address, UDPv6Address

A, B, IPV6 = UDPv4Address("1.2.3.4", 5), UDPv4Address("6.7.8.9", 10), UDPv6Address("2001:db8::7", 7)


class Several:
    """An endpoint of a program, as far as it matters here."""

    def __init__(self, *names: str) -> None:
        self.interfaces: Any = dict.fromkeys(names)


@pytest.mark.parametrize(("in_use", "told", "names", "expected"), [
    (A, IPV6, ("UDPIPv4", "UDPIPv6"), "UDPIPv6"),
    (IPV6, A, ("UDPIPv4", "UDPIPv6"), "UDPIPv4"),
    (A, IPV6, ("UDPIPv4",), None),
    (A, IPV6, (), None),
    (A, B, ("UDPIPv4", "UDPIPv6"), None),
    (tuple(A), A, ("UDPIPv4",), None),
    (IPV6, ("a.name", 5), ("UDPIPv4",), None),
])
def test_another_interface_is_used_if_both_have_one(in_use: Any, told: Any, names: Any, expected: Any) -> None:
    endpoint: Any = Several(*names)
    assert other_interface(endpoint, in_use, told) == expected
