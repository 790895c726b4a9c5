"""Looking for gateways that forward ports, by whichever protocol they speak."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from .gateway import PortMappingError
from .natpmp import NatPmpGateway
from .pcp import PcpGateway
from .routes import default_gateways
from .upnp import UpnpGateway

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .gateway import Gateway

__all__ = ["Finding", "find_gateways", "survey"]

DATAGRAM_PROTOCOLS = (PcpGateway, NatPmpGateway)
"""PCP comes first, as it can do more; a gateway that only speaks NAT-PMP says so at once (RFC 6887 appendix A)."""


async def find_gateways(source: str = "", timeout: float = 2.0) -> AsyncGenerator[Gateway, None]:
    """Yield the gateways that may forward a port, the likeliest first; the network is only searched for the later ones.

    :param source: the address of this machine to which ports are to be forwarded; empty for the usual one.
    :param timeout: seconds that each of them has for an answer.
    :raises ModuleNotFoundError: at the end, if the library for UPnP is missing.
    :raises PortMappingError: at the end, if there is no network.
    """
    for host in default_gateways():
        for gateway_class in DATAGRAM_PROTOCOLS:
            yield gateway_class(host, timeout, source=source)
    for gateway in await UpnpGateway.search(timeout, source):
        yield gateway


class Finding(NamedTuple):
    """Whether a protocol is of use here: ``problem`` is empty if it is.

    ``external_ip`` is the outside address, if the gateway tells it without a mapping.
    """

    protocol: str
    external_ip: str = ""
    problem: str = ""


async def survey(timeout: float = 2.0) -> list[Finding]:
    """What there is for each protocol. Changes nothing."""
    hosts = default_gateways()
    return list(await asyncio.gather(
        *(_ask(gateway_class.protocol, [gateway_class(host, timeout) for host in hosts])
          for gateway_class in DATAGRAM_PROTOCOLS),
        _search_upnp(timeout)))


async def _search_upnp(timeout: float) -> Finding:
    try:
        return await _ask(UpnpGateway.protocol, await UpnpGateway.search(timeout))
    except (ModuleNotFoundError, PortMappingError) as e:
        return Finding(UpnpGateway.protocol, problem=str(e))


async def _ask(protocol: str, gateways: Sequence[Gateway]) -> Finding:
    """The first that answers, or why the last one does not."""
    problem = "no router was found"
    for gateway in gateways:
        try:
            return Finding(protocol, await gateway.external_ip())
        except PortMappingError as e:  # noqa: PERF203 - a few, each of which takes milliseconds
            problem = str(e)
    return Finding(protocol, problem=problem)
