"""How full tables are, for people who watch a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Capped", "Fill"]


class Fill(NamedTuple):
    """How full a table is, for people who watch a node."""

    name: str
    """The attribute that has the table, or what people call it."""
    size: int
    capacity: int
    kind: str = "table"
    """``"table"``, ``"budgets"``, ``"queue"`` or ``"cache"``. That caches are full is no reason to worry."""
    rule: str = ""
    """What happens to a further entry, or which one goes for it."""


class Capped(Protocol):
    """What has tables with a cap that are none of the classes of ``ipv8.limits``."""

    def capped(self) -> Iterable[Fill]:
        """How full these tables are."""
