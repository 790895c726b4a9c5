"""What gateways that forward ports on request have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

__all__ = ["Gateway", "PortMapping", "PortMappingError"]


class PortMappingError(RuntimeError):
    """A gateway does not do what it was asked to; the message says why."""


class PortMapping(NamedTuple):
    """UDP packets to the outside address come in at the internal port, for so many seconds (0: until revoked)."""

    protocol: str
    external_ip: str
    external_port: int
    internal_port: int
    lifetime: float


class Gateway(ABC):
    """A router that forwards ports on request; every method raises :class:`PortMappingError` if it refuses."""

    protocol: str

    @abstractmethod
    async def external_ip(self) -> str:
        """The outside IPv4 address, by which nothing is changed."""

    @abstractmethod
    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port to the same machine that asks, or extend the time for which that is done.

        :param external_port: the wanted outside port; another one may be given.
        :param lifetime: seconds.
        """

    @abstractmethod
    async def remove(self, mapping: PortMapping) -> None:
        """Forward it no more."""
