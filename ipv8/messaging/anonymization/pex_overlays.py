"""Starts and stops the overlays of the swarms that an introduction point has services of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ...fill import Fill
from ...peerdiscovery.churn import RandomChurn
from ...peerdiscovery.discovery import RandomWalk
from ...peerdiscovery.network import Network
from .intro_points import MAX_PEX_OVERLAYS
from .pex import PexCommunity, PexSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ...community import Community

__all__ = ["PexOverlays"]

WALK_INTERVAL = 5
"""Seconds between two steps of the walk in such an overlay."""

TARGET_PEERS = 10
"""Peers from which on the walk stops."""

STEP_INTERVAL = 0.5
"""Seconds between two steps of the strategies, for overlays that no service runs."""

logger = logging.getLogger(__name__)


class PexOverlays(dict[bytes, PexCommunity]):
    """The overlay of each info hash.

    They find their first peers as ``owner`` does.

    :param owner: the overlay whose peer, endpoint and bootstrap servers they have.
    """

    def __init__(self, owner: Community) -> None:
        super().__init__()
        self._owner = owner

    def announce(self, ipv8: Any, info_hash: bytes, seeder_pk: bytes) -> None:
        """Tell the other introduction points of a swarm of a service.

        :param ipv8: the service that runs overlays; without one, a task of each overlay runs it.
        """
        overlay = self.get(info_hash)
        if overlay is None:
            overlay = self._start(ipv8, info_hash)
        if overlay is not None:
            overlay.start_announce(seeder_pk)

    def _start(self, ipv8: Any, info_hash: bytes) -> PexCommunity | None:
        if len(self) >= MAX_PEX_OVERLAYS:
            return None
        owner = self._owner
        try:
            overlay = PexCommunity(PexSettings(my_peer=owner.my_peer, endpoint=owner.endpoint, network=Network(),
                                               info_hash=info_hash))
        except ValueError as e:
            logger.debug("no overlay is started: %s", e)
            return None
        overlay.my_estimated_wan, overlay.my_estimated_lan = owner.my_estimated_wan, owner.my_estimated_lan
        overlay.bootstrappers = [DispersyBootstrapper(known.ip_addresses, known.dns_addresses, known.bootstrap_timeout)
                                 for known in owner.bootstrappers if isinstance(known, DispersyBootstrapper)]
        self[info_hash] = overlay
        walk, churn = RandomWalk(overlay, target_interval=WALK_INTERVAL), RandomChurn(overlay)
        if ipv8 is not None:
            ipv8.add_strategy(overlay, walk, TARGET_PEERS)
            ipv8.add_strategy(overlay, churn, -1)
        else:
            overlay.register_task("walk", take_steps, walk, churn, interval=STEP_INTERVAL)
        return overlay

    def withdraw(self, ipv8: Any, info_hash: bytes, seeder_pk: bytes,
                 run: Callable[[Callable[[], Awaitable[None]]], object]) -> None:
        """Do not tell of a service any more; stop the overlay if there are no others.

        :param run: runs what unloads the overlay.
        """
        overlay = self.get(info_hash)
        if overlay is None:
            return
        overlay.stop_announce(seeder_pk)
        if overlay.done:
            del self[info_hash]
            forget(ipv8, overlay)
            run(overlay.unload)

    async def unload(self, ipv8: Any) -> None:
        """Stop all of them."""
        while self:
            _, overlay = self.popitem()
            forget(ipv8, overlay)
            await overlay.unload()

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("overlays", len(self), MAX_PEX_OVERLAYS, rule="there are none for further info hashes")


def take_steps(walk: RandomWalk[Any], churn: RandomChurn) -> None:
    """What the service does for an overlay."""
    if walk.get_peer_count() < TARGET_PEERS:
        walk.take_step()
    churn.take_step()


def forget(ipv8: Any, overlay: PexCommunity) -> None:
    """Let the service run an overlay and its strategies no more; it may have been added more than once."""
    if ipv8 is None:
        return
    while overlay in ipv8.overlays:
        ipv8.overlays.remove(overlay)
    for entry in [entry for entry in ipv8.strategies if entry[0].overlay is overlay]:
        ipv8.strategies.remove(entry)
