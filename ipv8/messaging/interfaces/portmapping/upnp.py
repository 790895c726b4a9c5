"""Internet Gateway Devices of UPnP, by way of the library ``async-upnp-client`` (the extra ``portmapping``)."""

from __future__ import annotations

import socket
from datetime import timedelta
from importlib import import_module
from ipaddress import IPv4Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from .... import entropy
from .gateway import Gateway, PortMapping, PortMappingError

__all__ = ["UpnpGateway", "is_local_location"]

DESCRIPTION = "IPv8"
"""What the user of the gateway reads in its list of forwarded ports."""

ATTEMPTS = 4
"""How many outside ports are tried: the wanted one and some others."""

FIRST_FREE_PORT = 1024
MAX_GATEWAYS = 4
ANYBODY = IPv4Address("0.0.0.0")  # noqa: S104 - what the protocol says for "whoever sends"

CONFLICT, ONLY_PERMANENT = 718, 725
"""Error codes of AddPortMapping (UPnP WANIPConnection:1, section 2.4.16): taken by another machine, no lifetimes."""


def _load(name: str) -> Any:
    """A module of the library.

    :raises ModuleNotFoundError: if it is not installed; the message says how to get it.
    """
    try:
        return import_module(f"async_upnp_client.{name}")
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError("UPnP port mapping needs the library async-upnp-client: "
                                  "pip install 'ipv8[portmapping]'", name=e.name) from e


def is_local_location(location: str) -> bool:
    """Whether a gateway's description is where only the local network is: anybody there may answer a search."""
    try:
        parts = urlsplit(location)
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_private
    except ValueError:
        return False


class UpnpGateway(Gateway):
    """A gateway that speaks UPnP.

    :param device: an ``IgdDevice`` of the library.
    :param own_host: the address of this machine, as the gateway knows it.
    """

    protocol = "UPnP-IGD"

    def __init__(self, device: Any, own_host: str) -> None:
        self._device = device
        self._own_host = own_host
        self._error: type[Exception] = _load("exceptions").UpnpError

    @classmethod
    async def search(cls, timeout: float = 2.0, source: str = "") -> list[UpnpGateway]:
        """The gateways that answer a multicast search of the local network within ``timeout`` seconds.

        :param source: the address of this machine to which ports are forwarded; empty for the usual one.
        :raises ModuleNotFoundError: without the library.
        :raises PortMappingError: if there is no network.
        """
        profile = _load("profiles.igd").IgdDevice
        try:
            found = await profile.async_search((source, 0) if source else None, max(1, round(timeout)))
        except OSError as e:
            raise PortMappingError(f"the local network cannot be searched for gateways: {e}") from e
        locations = dict.fromkeys(answer.get("location", "") for answer in found)
        gateways = []
        for location in [location for location in locations if is_local_location(location)][:MAX_GATEWAYS]:
            try:
                gateways.append(await cls.at(location, timeout, source))
            except PortMappingError:  # noqa: PERF203 - a few, each of which takes milliseconds
                continue  # others may do better
        return gateways

    @classmethod
    async def at(cls, location: str, timeout: float = 2.0, source: str = "") -> UpnpGateway:
        """The gateway whose description is at an URL.

        :raises ModuleNotFoundError: without the library.
        :raises PortMappingError: if the description is none.
        """
        requester = _load("aiohttp").AiohttpRequester(timeout=max(1, round(timeout)))
        factory = _load("client_factory").UpnpFactory(requester, non_strict=True)
        try:
            device = await factory.async_create_device(location)
            return cls(_load("profiles.igd").IgdDevice(device, None), source or _own_host_towards(location))
        except (_load("exceptions").UpnpError, OSError, ValueError) as e:
            raise PortMappingError(f"the gateway at {location} cannot be used: {e}") from e

    async def external_ip(self) -> str:
        """The outside IPv4 address."""
        ip = await self._call(self._device.async_get_external_ip_address())
        try:
            return str(IPv4Address(ip))
        except ValueError:
            raise PortMappingError("the gateway does not know its own outside address: is it connected?") from None

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port of this machine."""
        for attempt in range(ATTEMPTS):
            try:
                granted = await self._add(internal_port, external_port, lifetime)
                return PortMapping(self.protocol, await self.external_ip(), external_port, internal_port, granted)
            except PortMappingError as e:  # noqa: PERF203 - as above
                if getattr(e.__cause__, "error_code", None) != CONFLICT or attempt == ATTEMPTS - 1:
                    raise
                external_port = entropy.randint(FIRST_FREE_PORT, 65535)
        raise AssertionError("the last attempt returns or raises")

    async def _add(self, internal_port: int, external_port: int, lifetime: int) -> int:
        async def ask(lifetime: int) -> int:
            await self._call(self._device.async_add_port_mapping(
                ANYBODY, external_port, "UDP", internal_port, IPv4Address(self._own_host), True, DESCRIPTION,
                timedelta(seconds=lifetime)))
            return lifetime

        try:
            return await ask(lifetime)
        except PortMappingError as e:
            if getattr(e.__cause__, "error_code", None) != ONLY_PERMANENT:
                raise
            return await ask(0)

    async def remove(self, mapping: PortMapping) -> None:
        """End the forwarding."""
        await self._call(self._device.async_delete_port_mapping(ANYBODY, mapping.external_port, "UDP"))

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except (self._error, OSError) as e:
            raise PortMappingError(f"the gateway refuses: {e}") from e


def _own_host_towards(location: str) -> str:
    """The address of this machine from which packets to a gateway leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((urlsplit(location).hostname, 80))  # sends nothing
        return str(probe.getsockname()[0])
