"""Kinds of NATs and firewalls, as rules of ``nftables`` and in the simulator."""

from __future__ import annotations

from dataclasses import dataclass

from ipv8.test.simulation import NAT

__all__ = ["KINDS", "Kind"]

ROUTER = """
table ip translation {{
    chain outbound {{
        type nat hook postrouting priority 100
        oifname "wan" {outbound}
    }}
    chain inbound {{
        type nat hook prerouting priority -100
        {inbound}
    }}
}}
"""
"""Rules for packets that leave by the outer interface, or arrive on it."""

SILENCE = """
table ip protection {
    chain local {
        type filter hook input priority 0; policy drop;
        iifname "lan" accept
        ct state established,related accept
    }
}
"""
"""The rules of routers in homes: packets to the router itself are dropped, unless they are answers."""

FIREWALL = """
table inet protection {
    chain local {
        type filter hook input priority 0; policy drop;
        iifname "lo" accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
        ct state established,related accept
    }
}
"""


@dataclass(frozen=True)
class Kind:
    """The router and the firewall between a host and the Internet.

    :param router: the rules of a router for IPv4, or ``None``; ``{wan}`` stands for the outer address and ``{lan}`` for
        that of the host.
    :param firewall: the rules of the host itself.
    :param simulated: the router in the simulator.
    """

    name: str
    router: str | None = None
    firewall: str | None = None
    simulated: NAT | None = None


KINDS = {kind.name: kind for kind in (
    Kind("none"),
    Kind("open", ROUTER.format(outbound="snat to {wan}", inbound='iifname "wan" dnat to {lan}'),
         simulated=NAT.ONE_TO_ONE),
    Kind("moderate", ROUTER.format(outbound="masquerade", inbound="") + SILENCE, simulated=NAT.LINUX_MASQUERADE),
    Kind("strict", ROUTER.format(outbound="masquerade fully-random", inbound="") + SILENCE, simulated=NAT.SYMMETRIC),
    Kind("bare", ROUTER.format(outbound="masquerade", inbound=""),
         simulated=NAT.LINUX_UNPROTECTED),
    Kind("firewall", firewall=FIREWALL),
    Kind("strict + firewall", ROUTER.format(outbound="masquerade fully-random", inbound="") + SILENCE, FIREWALL,
         NAT.SYMMETRIC),
)}
"""``bare`` is a router without rules for packets to itself; ``firewall`` lets in answers only, for IPv4 and IPv6."""
