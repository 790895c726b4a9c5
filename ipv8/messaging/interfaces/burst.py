"""What a listener may look ahead at: the packets that arrived together and are delivered one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..address import Address

__all__ = ["Burst", "burst"]


class Burst:
    """The datagrams that one look at a socket found, from the first on, until somebody takes them or others arrive."""

    __slots__ = ("packets",)

    def __init__(self) -> None:
        self.packets: Sequence[tuple[Address, bytes]] = ()

    def take(self) -> Sequence[tuple[Address, bytes]]:
        """The packets, for one who does something for all of them at once; nobody else gets them."""
        packets, self.packets = self.packets, ()
        return packets


burst = Burst()
"""That of the endpoint which is delivering now: all endpoints of a process deliver in turn."""
