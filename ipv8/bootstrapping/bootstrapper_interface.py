"""The interface of bootstrappers, which find the first peers of an overlay (doc/peer_discovery.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from ..community import Community
    from ..messaging.address import Address

__all__ = ["Bootstrapper"]


class Bootstrapper(ABC):
    """Finds the first peers of an overlay by a service outside of it.

    The module of an implementation can be imported without optional dependencies. Nothing is sent before
    :meth:`initialize` or :meth:`get_addresses` is called. If the service does not work, these return ``False`` or no
    addresses; they do not raise.
    """

    #: Whether it sends by sockets of its own, which anonymous overlays must not do.
    has_own_sockets: bool = False

    def __init__(self) -> None:
        self.initialized = False

    @abstractmethod
    def initialize(self, overlay: Community) -> Future[bool] | Coroutine[Any, Any, bool]:
        """Connect to the service for ``overlay``; the result is whether that worked."""

    @abstractmethod
    async def get_addresses(self, overlay: Community, timeout: float) -> Iterable[Address]:
        """Addresses for ``overlay`` to walk to, found within ``timeout`` seconds.

        It may be called before :meth:`initialize` or while that runs.
        """

    @abstractmethod
    def keep_alive(self, overlay: Community) -> None:
        """Make the service remember this node; called from time to time while ``overlay`` has peers."""

    @abstractmethod
    def blacklist(self) -> Iterable[Address]:
        """Addresses of the service itself, which are never peers."""

    @abstractmethod
    def unload(self) -> None:
        """Stop everything and free all resources."""
