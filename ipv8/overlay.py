"""The base of everything that sends and receives packets of a peer on an endpoint."""

from __future__ import annotations

import asyncio
import logging
from abc import ABCMeta, abstractmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .checks import setting_names, similar
from .keyvault.crypto import default_eccrypto
from .messaging.interfaces.endpoint import EndpointListener
from .messaging.interfaces.lan_addresses.interfaces import discover_addresses, get_providers
from .messaging.interfaces.network_stats import DropCounter
from .messaging.serialization import Serializer
from .reexports import reexports
from .taskmanager import TaskManager
from .verification import SignatureGuard

if TYPE_CHECKING:
    from types import TracebackType

    from .events import EventBus
    from .messaging.address import Address
    from .messaging.interfaces.endpoint import Endpoint
    from .peer import Peer
    from .peerdiscovery.network import Network

__all__ = ["Overlay", "Settings", "SettingsClass"]

LAN_SCAN_INTERVAL = 10.0
"""Seconds between two searches for the addresses of this machine."""


class Settings(SimpleNamespace):
    """What an overlay is made from: each keyword becomes an attribute, and defaults are attributes of the class.

    :raises TypeError: for a name that the class does not declare and that is probably a typo of one that it declares.
    """

    community_id: bytes
    my_peer: Peer
    endpoint: Endpoint
    network: Network

    #: Whether names that the class does not declare are settings too, and not mistakes.
    allow_unknown: ClassVar[bool] = False

    #: The names of settings that are not shown.
    _secrets: ClassVar[frozenset[str]] = frozenset({"passphrase"})

    def __init__(self, *args: Any, **settings: Any) -> None:
        kind = type(self)
        if settings and not kind.allow_unknown:
            known = setting_names(kind)
            for name in settings.keys() - known:
                meant = similar(name, known)
                if meant is not None:
                    raise TypeError(f"{kind.__name__} has no setting {name!r}; did you mean {meant!r}?")
        super().__init__(*args, **settings)

    def __repr__(self) -> str:
        """The settings, without those that are secret."""
        shown = (f"{name}={'...' if name in self._secrets else repr(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"


SettingsClass = TypeVar("SettingsClass", bound=Settings)


class Overlay(EndpointListener, TaskManager, Generic[SettingsClass], metaclass=ABCMeta):
    """A listener on an endpoint that has a key, a network, a serializer and tasks.

    ``drops`` counts, by reason, the packets of this overlay that were not handled.
    """

    settings_class: ClassVar[type[Any]] = Settings

    #: The ids of messages that are known to be signed, whose signatures may be verified in advance.
    signed_messages: frozenset[int] = frozenset()

    #: Where the overlay tells what happens, for programs that watch it; ``None`` while there are none.
    event_bus: EventBus | None = None

    def __init__(self, settings: SettingsClass) -> None:
        for name in ("my_peer", "endpoint", "network", "community_id"):
            if not hasattr(settings, name):
                raise AttributeError(f"the settings of {type(self).__name__} need {name}")
        EndpointListener.__init__(self, settings.endpoint)
        TaskManager.__init__(self)
        self.logger = logging.getLogger(type(self).__name__)
        self.drops: DropCounter = DropCounter()
        self.network = settings.network
        self.my_peer = settings.my_peer
        self.community_id = settings.community_id
        self.crypto = default_eccrypto
        self.serializer = self.get_serializer()
        #: The budgets for verifying signatures, which all overlays of an endpoint share.
        self.signature_guard = SignatureGuard.of(settings.endpoint)
        self.endpoint.add_listener(self)
        self.register_task("discover_lan_addresses", self.discover_lan_addresses, interval=LAN_SCAN_INTERVAL, delay=0)

    async def discover_lan_addresses(self) -> None:
        """Search again for the addresses of this machine, with each address provider, in a thread.

        A provider that fails does not keep the others from searching.
        """
        loop = asyncio.get_running_loop()
        for provider in tuple(get_providers()):
            try:
                await loop.run_in_executor(None, discover_addresses, provider)
            except Exception as e:  # noqa: BLE001, PERF203 - whatever a provider raises, the search is repeated soon
                self.logger.info("%s could not search for addresses: %s: %s", type(provider).__name__,
                                 type(e).__name__, e)
        self._follow_interfaces()

    async def unload(self) -> None:
        """Stop listening and end all tasks."""
        self.endpoint.remove_listener(self)
        await self.shutdown_task_manager()

    async def __aexit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.unload()

    def get_serializer(self) -> Serializer:
        """A new serializer for this overlay. Override this to add packers of your own."""
        return Serializer()

    @abstractmethod
    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Handle a packet, which is given as its source address and its data."""

    @property
    def global_time(self) -> int:
        """The Lamport clock, which belongs to ``my_peer`` and is shared by all overlays of that peer."""
        return self.my_peer.get_lamport_timestamp()

    def claim_global_time(self) -> int:
        """Advance the Lamport clock by one and return its new value."""
        self.update_global_time(self.global_time + 1)
        return self.global_time

    def update_global_time(self, global_time: int) -> None:
        """Move the Lamport clock forward to ``global_time``; an older time changes nothing."""
        if global_time > self.global_time:
            self.my_peer.update_clock(global_time)

    def get_available_strategies(self) -> dict[str, type[Any]]:
        """The discovery strategies that a configuration may name for this overlay, by name."""
        return {}

    def on_unconfirmed_address(self, peer: Peer, source_address: Address) -> None:
        """Called with a signed packet of a proven ``peer`` from an address from which it has not answered a request.

        Anybody may have recorded such a packet and sent it again. Overlays that can ask the peer to confirm do so.
        """

    def bootstrap(self) -> None:
        """Look for first peers; nothing by default."""

    @abstractmethod
    def walk_to(self, address: Address) -> None:
        """Contact the node at ``address``."""

    @abstractmethod
    def get_new_introduction(self, from_peer: Peer | None = None) -> None:
        """Ask ``from_peer``, or any other node, for the address of another peer."""

    @abstractmethod
    def get_peers(self) -> list[Peer]:
        """The verified peers of this overlay."""

    @abstractmethod
    def get_walkable_addresses(self) -> list[Address]:
        """Addresses that were introduced and not contacted yet."""

    def get_peer_for_introduction(self, exclude: Peer | None = None) -> Peer | None:  # noqa: ARG002 - for overrides
        """A peer to introduce to a node that asks for one, other than ``exclude``; none by default."""
        return None


if TYPE_CHECKING:  # programs import these from here
    from .messaging.interfaces.endpoint import Endpoint as Endpoint
else:
    __getattr__, __dir__ = reexports(__name__, {".messaging.interfaces.endpoint": "Endpoint"})
