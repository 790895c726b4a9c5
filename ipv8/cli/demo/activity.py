"""What the nodes of a local network do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ...configuration import Strategy, WalkerDefinition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...community import Community
    from ...configuration import BootstrapperDefinition, ConfigBuilder
    from ...service import IPv8
    from .network import LocalNetwork

__all__ = ["Activity", "random_walk"]


def random_walk(peers: int) -> WalkerDefinition:
    """A walk for so many peers on a network without delays."""
    return WalkerDefinition(Strategy.RandomWalk, peers, {"timeout": 1.0})


class Activity(ABC):
    """What the nodes of a local network do besides meeting one another.

    ``watched`` is the overlay whose meetings are told. ``columns`` are the titles of :meth:`figures`, and ``legend``
    explains them in a few words.
    """

    watched: type[Community]
    columns: ClassVar[tuple[str, ...]] = ()
    legend: ClassVar[str] = ""

    def configure(self, builder: ConfigBuilder, servers: Iterable[BootstrapperDefinition]) -> None:  # noqa: B027 - optional
        """Add to the configuration of a node what the activity needs.

        :param servers: the way to the first peers.
        """

    def walkers(self, peers: int) -> list[WalkerDefinition]:
        """How the watched overlay finds so many peers."""
        return [random_walk(peers)]

    def figures(self, node: IPv8) -> tuple[int, ...]:  # noqa: ARG002 - there are no columns
        """A number for each of the columns."""
        return ()

    async def run(self, network: LocalNetwork) -> None:  # noqa: B027 - optional
        """Let the nodes do it, from when they have started until this is cancelled."""

    @abstractmethod
    def is_done(self, network: LocalNetwork) -> bool:
        """Whether everything was done once."""

    @abstractmethod
    def summary(self, network: LocalNetwork) -> str:
        """What was done, or not yet, in a sentence."""
