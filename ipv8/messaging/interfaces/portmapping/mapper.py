"""A forwarded port for as long as it is wanted, whatever the gateway speaks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from .gateway import PortMappingError
from .natpmp import NatPmpGateway, default_gateways
from .upnp import UpnpGateway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ipv8.taskmanager import TaskManager

    from .gateway import Gateway, PortMapping

__all__ = ["PortMapper", "find_gateways"]

logger = logging.getLogger(__name__)

LIFETIME = 3600
"""Seconds for which ports are asked for: not long after a crash they are closed."""

RENEWAL_INTERVAL = LIFETIME / 2


async def find_gateways(timeout: float = 2.0) -> list[tuple[Gateway, str]]:
    """The gateways that forward ports on request, with their outside addresses; nothing is changed by the search.

    Gateways that speak UPnP come first, as those of NAT-PMP often are the same.

    :raises ModuleNotFoundError: if there is none that speaks NAT-PMP, and the library for UPnP is missing.
    """
    by_natpmp = asyncio.gather(*(_ask(NatPmpGateway(host, timeout)) for host in default_gateways()))
    try:
        found = await asyncio.gather(*map(_ask, await UpnpGateway.search(timeout)))
        return [answer for answer in found + await by_natpmp if answer is not None]
    except (ModuleNotFoundError, PortMappingError) as e:
        usable = [answer for answer in await by_natpmp if answer is not None]
        if not usable and isinstance(e, ModuleNotFoundError):
            raise
        return usable
    finally:
        by_natpmp.cancel()


async def _ask(gateway: Gateway) -> tuple[Gateway, str] | None:
    """A gateway with its outside address, if it tells one."""
    try:
        return gateway, await gateway.external_ip()
    except PortMappingError as e:
        logger.debug("no port mapping by %s: %s", gateway.protocol, e)
        return None


class PortMapper:
    """Has a UDP port of this machine forwarded, and renews that in time.

    :param port: the port.
    :param find: finds gateways; the first one that does it is used.
    :param on_change: called with the mapping whenever it is new or another one, and with ``None`` when it is lost.
    """

    def __init__(self, port: int, find: Callable[[], Awaitable[list[tuple[Gateway, str]]]] = find_gateways,
                 on_change: Callable[[PortMapping | None], None] = lambda _: None) -> None:
        self.port = port
        self.mapping: PortMapping | None = None
        self._find = find
        self._on_change = on_change
        self._gateway: Gateway | None = None
        self._task_name = f"port mapping {id(self)}"
        self._tasks: TaskManager | None = None

    def start(self, tasks: TaskManager) -> None:
        """Ask for the port, now and again every half an hour, as a task of ``tasks``."""
        self._tasks = tasks
        tasks.register_task(self._task_name, self.renew, interval=RENEWAL_INTERVAL, delay=0)

    async def stop(self) -> None:
        """Give the port back."""
        if self._tasks is not None:
            await asyncio.wait([self._tasks.cancel_pending_task(self._task_name)])
            self._tasks = None
        gateway, self._gateway, mapping = self._gateway, None, self.mapping
        if gateway is not None and mapping is not None:
            try:
                await gateway.remove(mapping)
            except PortMappingError as e:
                logger.info("port %d stays forwarded until its time is up: %s", mapping.external_port, e)
        self._note(None)

    async def renew(self) -> None:
        """Ask for the port, or for more time; that there is no gateway that does it is only logged."""
        mapping = None
        if self._gateway is not None:
            mapping = await self._try(self._gateway)
        if mapping is None:
            self._gateway = None
            mapping = await self._search()
        self._note(mapping)

    async def _search(self) -> PortMapping | None:
        try:
            gateways = await self._find()
        except (ModuleNotFoundError, PortMappingError) as e:
            logger.warning("UDP port %d is not forwarded: %s", self.port, e)
            return None
        for gateway, _ in gateways:
            mapping = await self._try(gateway)
            if mapping is not None:
                self._gateway = gateway
                return mapping
        logger.info("no gateway forwards UDP port %d", self.port)
        return None

    async def _try(self, gateway: Gateway) -> PortMapping | None:
        wanted = self.mapping.external_port if self.mapping is not None else self.port
        try:
            return await gateway.add(self.port, wanted, LIFETIME)
        except PortMappingError as e:
            logger.info("no port mapping by %s: %s", gateway.protocol, e)
            return None

    def _note(self, mapping: PortMapping | None) -> None:
        previous, self.mapping = self.mapping, mapping
        if (previous and previous[:4]) != (mapping and mapping[:4]):
            self._on_change(mapping)
