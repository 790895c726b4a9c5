"""What a way to find first peers offers (spec 05 section 11.1)."""

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
    """A service outside of an overlay that leads to its first peers.

    Implementations import without optional dependencies, send nothing before :meth:`initialize` or
    :meth:`get_addresses` is called, and report a service that does not work by ``False`` or an empty result instead of
    an exception.
    """

    def __init__(self) -> None:
        self.initialized = False

    @abstractmethod
    def initialize(self, overlay: Community) -> Future[bool] | Coroutine[Any, Any, bool]:
        """Connect to the service on behalf of ``overlay``; the result tells whether that worked."""

    @abstractmethod
    async def get_addresses(self, overlay: Community, timeout: float) -> Iterable[Address]:
        """Addresses for ``overlay`` to walk to, found within ``timeout`` seconds.

        It may be called before, or while, :meth:`initialize` runs.
        """

    @abstractmethod
    def keep_alive(self, overlay: Community) -> None:
        """Stay known to the service, called now and then while ``overlay`` has peers."""

    @abstractmethod
    def blacklist(self) -> Iterable[Address]:
        """Addresses of the service itself, which are never peers."""

    @abstractmethod
    def unload(self) -> None:
        """Release everything."""
