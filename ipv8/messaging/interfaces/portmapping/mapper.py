"""A port that is forwarded for as long as it is wanted, by whichever protocol the gateway speaks."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from .... import clock, entropy
from .gateway import PortMappingError
from .search import find_gateways

if TYPE_CHECKING:
    from asyncio import DatagramTransport, Future
    from collections.abc import AsyncGenerator, Callable

    from ....taskmanager import TaskManager
    from .gateway import Gateway, PortMapping

__all__ = ["PortMapper"]

logger = logging.getLogger(__name__)

LIFETIME = 3600
"""Seconds for which ports are asked for, so that they are closed some time after a crash."""

MAX_LIFETIME = 86400
"""Seconds that a mapping is believed to last at most (RFC 6887 section 15)."""

RETRY_INTERVAL = 1800.0
"""Seconds until the next search when nobody forwards the port."""

SPACING = 4.0
"""Seconds between two requests at least (RFC 6887 section 11.2.1)."""

RECOVERY_SPREAD = 5.0
"""Seconds over which clients spread their requests when a gateway has lost all mappings."""

REMOVAL_TIMEOUT = 1.0
"""Seconds to wait for a gateway when a node stops and ends its mapping."""

ANNOUNCEMENTS = ("0.0.0.0", 5350)  # noqa: S104 - they are sent to a group, in which every interface is
"""Where gateways tell that they have restarted (RFC 6886 section 3.2.1, RFC 6887 section 14.1.2)."""

ALL_HOSTS = "224.0.0.1"


class _Announcements(asyncio.DatagramProtocol):
    def __init__(self, on_announcement: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._on_announcement = on_announcement

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_announcement(data, addr)


async def _listen(on_announcement: Callable[[bytes, tuple[str, int]], None]) -> DatagramTransport | None:
    """Receive announcements, as other programs do at the same time; ``None`` if the system does not allow it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for name in ("SO_REUSEADDR", "SO_REUSEPORT"):
            if hasattr(socket, name):
                listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)
        listener.bind(ANNOUNCEMENTS)
        with suppress(OSError):  # most systems are members anyway
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                socket.inet_aton(ALL_HOSTS) + socket.inet_aton(ANNOUNCEMENTS[0]))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Announcements(on_announcement), sock=listener)
    except (OSError, NotImplementedError) as e:
        listener.close()
        logger.debug("restarts of gateways are not heard of: %s", e)
        return None
    return transport


class PortMapper:
    """Has a UDP port of this machine forwarded, and renews that in time.

    :param port: the port.
    :param find: yields the gateways that are asked, until one of them forwards the port.
    :param on_change: called with the mapping whenever it is new or another one, and with ``None`` when it is lost.
    """

    def __init__(self, port: int, find: Callable[[], AsyncGenerator[Gateway, None]] = find_gateways,
                 on_change: Callable[[PortMapping | None], None] = lambda _: None) -> None:
        self.port = port
        self.mapping: PortMapping | None = None
        self._find = find
        self._on_change = on_change
        self._gateway: Gateway | None = None
        self._asking: tuple[Gateway, Future[PortMapping]] | None = None
        self._expires = 0.0
        self._failed = False
        self._listener: DatagramTransport | None = None
        self._loss: Future[None] | None = None
        self._task_name = f"port mapping {id(self)}"
        self._tasks: TaskManager | None = None

    def start(self, tasks: TaskManager) -> None:
        """Ask for the port, now and again in time, as a task of ``tasks``; their shutdown ends the mapping."""
        self._tasks = tasks
        # The interval is the pause between two runs, and each run takes most of the lifetime of a mapping.
        tasks.register_task(self._task_name, self._keep, interval=SPACING, delay=0)
        tasks.register_shutdown_task(self.stop)

    async def stop(self) -> None:
        """End the mapping; if the gateway takes long to answer, it ends with its lifetime."""
        if self._tasks is None:
            return
        tasks, self._tasks = self._tasks, None
        await asyncio.wait([tasks.cancel_pending_task(self._task_name)], timeout=REMOVAL_TIMEOUT)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        try:
            await asyncio.wait_for(self._give_back(), REMOVAL_TIMEOUT)
        except (PortMappingError, asyncio.TimeoutError) as e:
            logger.info("UDP port %d may stay forwarded until its time is up: %s", self.port,
                        str(e) or "no answer in time")
        except Exception:  # such as one of the library for UPnP: what stops has more to stop
            logger.exception("the mapping of UDP port %d could not be ended", self.port)
        self._gateway = None
        self._note(None)

    async def _give_back(self) -> None:
        gateway, mapping = self._gateway, self.mapping
        if self._asking is not None:  # the gateway may have made the mapping already
            (asked, request), self._asking = self._asking, None
            with suppress(PortMappingError):
                mapping, gateway = await request, asked
        if gateway is not None and mapping is not None:
            await gateway.remove(mapping)

    async def renew(self) -> None:
        """Ask for the port, or for more time; it is only logged if no gateway does it."""
        problems: list[str] = []
        mapping = None
        if self._gateway is not None:
            mapping = await self._try(self._gateway, problems)
            if mapping is None and clock.monotonic() < self._expires:
                logger.debug("UDP port %d is still forwarded, but not for longer: %s", self.port, problems[0])
                return
        if mapping is None:
            mapping = await self._search(problems)
        self._note(mapping, problems)

    async def _keep(self) -> None:
        """Ask, then wait until it is time to ask again."""
        if self._listener is None:
            self._listener = await _listen(self._on_announcement)
        try:
            await self.renew()
        except Exception:  # such as one of the library for UPnP: the next attempt may work
            logger.exception("the port mapping of UDP port %d failed", self.port)
            if clock.monotonic() >= self._expires:
                self._note(None)
        pause = RETRY_INTERVAL
        if self.mapping is not None:
            # After 1/2 to 5/8 of the time that is left, and if that fails, again after such a part of the rest.
            pause = (self._expires - clock.monotonic()) * (1 / 2 + entropy.random() / 8)
        self._loss = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._loss], timeout=max(0.0, pause - SPACING))
        if self._loss.done():
            self._expires = 0.0
            await asyncio.sleep(entropy.random() * RECOVERY_SPREAD)

    def _on_announcement(self, data: bytes, source: tuple[str, int]) -> None:
        if (self._gateway is not None and self._gateway.announces_loss(data, source)
                and self._loss is not None and not self._loss.done()):
            logger.debug("the gateway %s has lost its mappings", source[0])
            self._loss.set_result(None)

    async def _search(self, problems: list[str]) -> PortMapping | None:
        self._gateway = None
        try:
            async with aclosing(self._find()) as gateways:
                async for gateway in gateways:
                    mapping = await self._try(gateway, problems)
                    if mapping is not None:
                        self._gateway = gateway
                        return mapping
        except (ModuleNotFoundError, PortMappingError) as e:
            problems.append(str(e))
        return None

    async def _try(self, gateway: Gateway, problems: list[str]) -> PortMapping | None:
        wanted = self.mapping.external_port if self.mapping is not None else self.port
        request = asyncio.ensure_future(gateway.add(self.port, wanted, LIFETIME))
        self._asking = (gateway, request)
        try:
            mapping = await asyncio.shield(request)
        except PortMappingError as e:
            self._asking = None
            problems.append(f"{gateway.protocol}: {e}")
            return None
        except Exception:
            self._asking = None
            raise
        self._expires = clock.monotonic() + min(mapping.lifetime or LIFETIME, MAX_LIFETIME)
        return mapping

    def _note(self, mapping: PortMapping | None, problems: list[str] | None = None) -> None:
        # Until here, a stop gives back what the gateway made in answer to the request.
        self._asking = None
        previous, self.mapping = self.mapping, mapping
        if mapping is None and problems is not None:
            level = logging.DEBUG if self._failed and previous is None else logging.INFO
            reasons = "; ".join(dict.fromkeys(problems)) or "no router was found"
            logger.log(level, "UDP port %d is not forwarded: %s", self.port, reasons)
        self._failed = mapping is None
        if (previous and previous[:4]) == (mapping and mapping[:4]):
            return
        if mapping is not None:
            logger.info("UDP port %d is forwarded from %s:%d by %s%s", self.port, mapping.external_ip,
                        mapping.external_port, mapping.protocol,
                        "" if mapping.is_public else ", which is behind another NAT")
        self._on_change(mapping)
