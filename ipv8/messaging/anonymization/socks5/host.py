"""What the proxy and the streams need of a tunnel community."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ....streams import Stream
    from ....taskmanager import Timer
    from ...address import Address
    from ..exit_policy import Destinations, Resolver
    from ..payload import CellablePayload
    from ..tunnel import Circuit, Hop
    from .protocol import Destination

__all__ = ["Pool", "Streams", "TunnelEnd", "TunnelHost"]


class TunnelEnd(Protocol):
    """An own circuit, or a circuit of somebody else that ends at this node."""

    circuit_id: int
    on_closed: list[Callable[[], object]]

    @property
    def hop(self) -> Hop | None:
        """The neighbour."""

    def beat_heart(self) -> None:
        """Note that it is in use."""


class Pool(Protocol):
    """Circuits that are kept ready."""

    async def take(self, hops: int, exit_flags: tuple[int, ...], timeout: float) -> Circuit:
        """A circuit for one program; ``TimeoutError`` if there is none in time."""

    def give_back(self, circuit: Circuit | None) -> None:
        """Close a circuit that was taken."""


class Streams(Protocol):
    """TCP connections through own circuits."""

    clients: dict[int, Any]

    async def connect(self, circuit: Circuit, destination: Destination) -> Stream:
        """A stream to ``destination`` through a circuit."""


class TunnelHost(Protocol):
    """A tunnel community, as far as this package needs it."""

    settings: Any
    drops: Any
    logger: Any
    path: Any

    @property
    def circuits(self) -> Mapping[int, Circuit]:
        """The own circuits."""

    @property
    def exit_sockets(self) -> Mapping[int, TunnelEnd]:
        """The circuits of others that end here."""

    @property
    def crypto_endpoint(self) -> Any:
        """What sends and receives cells."""

    @property
    def pool(self) -> Pool:
        """Circuits that are kept ready."""

    @property
    def streams(self) -> Streams:
        """TCP connections through circuits."""

    @property
    def exit_policy(self) -> Destinations:
        """Which addresses may be reached."""

    @property
    def resolver(self) -> Resolver:
        """Finds the addresses of names."""

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call a function after a time."""

    def add_cell_handler(self, payload_cls: type[Any], handler: Callable[..., Any]) -> None:
        """Handle a message of cells."""

    def read_cell(self, payload_cls: type[Any], data: bytes) -> Any:
        """The payload of a message, or ``None``."""

    def send_cell(self, target_addr: Address, payload: CellablePayload) -> None:
        """Send a message to a neighbour."""

    def send_data(self, target: Address, circuit_id: int, dest_address: Address, source_address: Address,
                  data: bytes) -> None:
        """Send data through a circuit."""
