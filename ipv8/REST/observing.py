"""Endpoints that show what an observer of the node has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ..service import IPv8
from .base_endpoint import BaseEndpoint
from .observation.observer import NodeObserver
from .parameters import NotFound

if TYPE_CHECKING:
    from aiohttp.web import Request

__all__ = ["OBSERVES", "ObservingEndpoint"]

OBSERVES = web.AppKey("observes", bool)
"""Whether the node may be observed, as the server was told; in applications that say nothing, it may."""


class ObservingEndpoint(BaseEndpoint[IPv8]):
    """Has the observer of the node. Where no server has started it, the first request does."""

    def __init__(self) -> None:
        self._started: NodeObserver | None = None
        super().__init__()
        self.app.on_cleanup.append(self._end)

    def is_available(self, request: Request) -> bool:
        """Whether there is a node, which may be observed."""
        return self.session is not None and _may_observe(request)

    def observer(self, request: Request) -> NodeObserver:
        """The observer of the node, which watches.

        :raises NotFound: if there is no node yet, or it may not be observed.
        """
        if self.session is None:
            raise NotFound("IPv8 is not running")
        if not _may_observe(request):
            raise NotFound("the node is not observed: start the server with observe=True")
        observer = NodeObserver.of(self.session)
        if not observer.is_running:
            observer.start()
            self._started = observer
        return observer

    async def _end(self, _: web.Application) -> None:
        """Watch no more, if it was a request that had begun that."""
        observer, self._started = self._started, None
        if observer is not None:
            await observer.stop()


def _may_observe(request: Request) -> bool:
    return not any(app.get(OBSERVES) is False for app in request.match_info.apps)
