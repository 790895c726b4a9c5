"""Parts of long lists, as the query of a request names them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from .parameters import limited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.web import Request

__all__ = ["PAGE_SIZE", "PAGE_START", "page"]

MAX_LIMIT = 100_000
"""The most entries that a request can ask for, and to leave out."""

PAGE_SIZE: dict[str, Any] = {"in": "query", "name": "limit", "type": "integer",
                         "description": f"how many entries, 0 to {MAX_LIMIT}; all without it"}
PAGE_START: dict[str, Any] = {"in": "query", "name": "offset", "type": "integer",
                          "description": f"how many entries to leave out at the beginning, 0 to {MAX_LIMIT}"}
"""For the documentation of handlers."""

EntryT = TypeVar("EntryT")


def page(request: Request, entries: Iterable[EntryT]) -> list[EntryT]:
    """The entries that a request asks for: at most ``limit``, from ``offset`` on.

    :raises BadRequest: if these are no whole numbers in range.
    """
    offset = limited(request, "offset", 0, 0, MAX_LIMIT)
    limit = limited(request, "limit", MAX_LIMIT, 0, MAX_LIMIT)
    return list(islice(entries, offset, offset + limit))
