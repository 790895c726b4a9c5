"""Run a local network, show it, and print the result."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ..rest import RestOptions, start_rest_api
from ..serving import serve_until_stopped
from ..status import SUCCESS, UNSUCCESSFUL
from .display import Drawing, JsonLines, Lines
from .network import LocalNetwork, Outcome, end
from .pseudonyms import live_with_pseudonyms

if TYPE_CHECKING:
    from ...REST.rest_manager import RESTManager
    from .activity import Activity
    from .display import Display

__all__ = ["demonstrate", "serve", "watch"]

FRAME = 0.1
"""The seconds between two updates."""


async def watch(network: LocalNetwork, seconds: float, display: Display) -> Outcome:
    """Watch a network until all nodes have met and done what they should, at most ``seconds``."""
    start = monotonic()
    met_after: float | None = None
    while True:
        elapsed = monotonic() - start
        if met_after is None and network.have_met():
            met_after = elapsed
        outcome = Outcome(met_after, network.is_done(), elapsed)
        display.show(network)
        if elapsed >= seconds or (outcome.good and elapsed >= display.least_seconds):
            break
        await asyncio.sleep(FRAME)
    display.conclude(network, outcome)
    return outcome


def _display(plain: bool, as_json: bool) -> Display:
    if as_json:
        return JsonLines()
    return Lines() if plain or not Drawing.is_possible() else Drawing()


def demonstrate(size: int, seconds: float, activity: Activity, *, plain: bool = False, as_json: bool = False) -> int:
    """Run the demonstration; the exit status is 0 if the nodes met and did what they should, and 1 if not.

    :param plain: print lines of text. This is also done if nothing can be drawn.
    :param as_json: print lines of JSON.
    """
    async def run(display: Display) -> Outcome:
        async with LocalNetwork(size, activity) as network:
            return await watch(network, seconds, display)

    with _display(plain, as_json) as display:
        return SUCCESS if asyncio.run(run(display)).good else UNSUCCESSFUL


def serve(size: int, seconds: float, activity: Activity, options: RestOptions, *, plain: bool = False,
          as_json: bool = False) -> int:
    """Run the demonstration, and let the nodes go on until Ctrl+C or SIGTERM; the exit status is 0.

    The dashboard of the first node is served by HTTP.

    :raises ModuleNotFoundError: if packages are missing that the dashboard needs.
    """
    with tempfile.TemporaryDirectory(prefix="ipv8-demo-") as directory, _display(plain, as_json) as display:
        network = LocalNetwork(size, activity, Path(directory))
        asyncio.run(_Served(network, options, display, Path(directory)).run(seconds))
    return SUCCESS


class _Served:
    """A network whose first node has a dashboard.

    :param directory: where the keys of pseudonyms are.
    """

    def __init__(self, network: LocalNetwork, options: RestOptions, display: Display, directory: Path) -> None:
        self._network = network
        self._options = options
        self._display = display
        self._directory = directory
        self._manager: RESTManager | None = None
        self._pseudonyms: asyncio.Task[None] | None = None

    async def run(self, seconds: float) -> None:
        """Run until SIGINT or SIGTERM.

        :param seconds: when to print what has been done, at the latest.
        """
        async def start() -> None:
            await self._network.start()
            await self._start_dashboard()
            await watch(self._network, seconds, self._display)
            assert self._manager is not None, "it was started above"
            self._display.note(f"The nodes go on until Ctrl+C. The dashboard is at {self._manager.url}/dashboard")

        await serve_until_stopped(start, self._stop)

    async def _start_dashboard(self) -> None:
        name, node = next(iter(self._network.nodes.items()))
        folder = self._directory / "pseudonyms"
        manager = await start_rest_api(node, self._options, pseudonyms=str(folder))
        if manager is None or manager.root_endpoint is None:
            raise ModuleNotFoundError('the dashboard needs more packages: pip install "ipv8[rest]"')
        from ...REST.identity_endpoint import IdentityEndpoint  # its packages are there, as the manager has started

        self._manager = manager
        identity = manager.root_endpoint.endpoints["/identity"]
        if isinstance(identity, IdentityEndpoint) and identity.communication_manager is not None:
            self._pseudonyms = asyncio.get_running_loop().create_task(
                live_with_pseudonyms(identity.communication_manager, self._directory / "authority"))
        page = f"{manager.url}/dashboard"
        self._display.note(f"The dashboard of {name} is at {page}", node=name, rest_api=str(manager.url),
                           dashboard=page)

    async def _stop(self) -> None:
        await end(self._pseudonyms)
        if self._manager is not None:
            await self._manager.stop()
        await self._network.stop()
