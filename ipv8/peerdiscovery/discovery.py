"""Strategies that find more peers for an overlay, one step at a time (doc/protocol/discovery.md section 7)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from .. import clock, entropy
from ..limits import BoundedDict
from ..messaging.serialization import PackError
from ..reexports import reexports
from .network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..bootstrapping.bootstrapper_interface import Bootstrapper
    from ..messaging.address import Address
    from ..overlay import Overlay
    from ..peer import Peer

__all__ = ["DiscoveryStrategy", "EdgeWalk", "IntroducingOverlay", "RandomWalk", "as_introducing"]

logger = logging.getLogger(__name__)

OverlayType = TypeVar("OverlayType", bound="Overlay[Any]")

#: Addresses whose failures a walker with a back-off remembers; the one that failed the longest ago is evicted first.
MAX_FAILURES = 500
#: Peers that are contacted between two steps, as answers to earlier contacts come in.
CHAIN_LENGTH = 5
#: Addresses that are compared, to contact the one with the fewest peers in its neighborhood.
CHOICES = 16
#: Seconds without a new peer after which an overlay that has many peers of few networks searches slowly.
PERSISTENCE = 600.0
#: Seconds between two steps of such a slow search.
PATIENT_INTERVAL = 5.0
#: The share of introduction requests that overlays with many peers of few networks send to bootstrap servers.
SERVER_CHANCE = 0.25
#: Seconds after which a contact that was not answered does not fill the window any more, and is tried in other ways.
PATIENCE = 1.0
#: Seconds after an answer of a new peer in which introductions are also requested between steps.
MOMENTUM = 2.0
#: Seconds after which a contact that was not answered is repeated, once.
RETRY_AFTER = 0.4
#: The longest pause, in seconds, after any number of failures.
MAX_BACKOFF = 600.0


@runtime_checkable
class IntroducingOverlay(Protocol):
    """An overlay that tells observers about answers, and has other ways to contact an address, as a community does."""

    #: The observers: ``observer.on_introduction(peer, introduced addresses)`` is called for each answer.
    introduction_observers: MutableMapping[Any, None]
    #: The number of peers that the overlay may have; negative for any number.
    max_peers: int

    def retry_walk(self, address: Address) -> None:
        """Contact ``address`` once more."""

    def on_walk_failed(self, address: Address) -> None:
        """Ask others for help to contact ``address``."""


@runtime_checkable
class _ServiceOverlay(Protocol):
    """An overlay of one service, as a community is: the network knows the neighborhoods of its peers."""

    community_id: bytes
    network: Network
    bootstrappers: Sequence[Bootstrapper]


def as_introducing(overlay: object) -> IntroducingOverlay | None:
    """``overlay``, if it is an :class:`IntroducingOverlay`."""
    # Programs test with mocks, which have all attributes: the type of one of them tells.
    if isinstance(overlay, IntroducingOverlay) and isinstance(overlay.introduction_observers, MutableMapping):
        return overlay
    return None


def _as_service(overlay: object) -> _ServiceOverlay | None:
    if (isinstance(overlay, _ServiceOverlay) and isinstance(overlay.community_id, bytes)
            and isinstance(overlay.network, Network)):
        return overlay
    return None


def _walk_to(overlay: Overlay[Any], address: Address) -> bool:
    """Contact an address, and forget it if it is none that can be contacted: others have to be; whether it was."""
    try:
        overlay.walk_to(address)
    except (PackError, ValueError, TypeError) as e:
        logger.warning("%.80r cannot be contacted, and is forgotten: %s: %s", address, type(e).__name__, e)
        overlay.network.remove_by_address(address)
        return False
    return True


class DiscoveryStrategy(ABC, Generic[OverlayType]):
    """Takes a step each time that the service says so, as long as the overlay wants more peers."""

    def __init__(self, overlay: OverlayType) -> None:
        self.overlay = overlay
        #: Held while a step is taken.
        self.walk_lock = Lock()

    @abstractmethod
    def take_step(self) -> None:
        """Do a little to find peers, without waiting for anything."""

    def get_peer_count(self) -> int:
        """How many peers the overlay has; 0 without an overlay."""
        return len(self.overlay.get_peers()) if self.overlay else 0


class RandomWalk(DiscoveryStrategy[OverlayType]):
    """Contacts introduced addresses in random order, and in some steps asks for another introduction instead.

    If the overlay is an :class:`IntroducingOverlay`, the walk goes on between steps: the peer that an answer introduces
    is contacted at once, at its LAN and its WAN address, while its NAT lets the packets in. Each step allows
    ``chain_length`` such contacts, so an overlay that has the peers that it wants makes no more of them.

    The cost of a step grows with the number of outstanding contacts, not with the number of known addresses.

    :param timeout: seconds after which a contacted address counts as unreachable and is forgotten.
    :param window_size: contacts that may be outstanding at a time; 0 or ``None`` for any number.
    :param reset_chance: of 256, how many steps ask for an introduction even if there are addresses to walk to.
    :param target_interval: seconds between two steps, at least.
    :param failure_backoff: seconds during which an address that failed twice in a row is not contacted when it is
        introduced again; doubled with each further failure. With 0 failures are not remembered.
    :param chain_length: peers that may be contacted between two steps.
    """

    #: When the last step was taken, in seconds since the Unix epoch; 0 if none was.
    last_step = clock.WallTime("_stepped_at")

    def __init__(self, overlay: OverlayType, timeout: float = 3.0, window_size: int | None = 5, reset_chance: int = 50,
                 target_interval: float = 0, failure_backoff: float = 0,
                 chain_length: int = CHAIN_LENGTH) -> None:
        super().__init__(overlay)
        #: When each outstanding address was contacted, by the monotonic clock.
        self.intro_timeouts: dict[Address, float] = {}
        self.node_timeout = timeout
        self.window_size = window_size
        self.reset_chance = reset_chance
        self.target_interval = target_interval
        self.failure_backoff = failure_backoff
        self.chain_length = chain_length
        self._stepped_at = -inf
        # How often each address failed, and until when it is not contacted.
        self._failures: BoundedDict[Address, tuple[int, float]] = BoundedDict(MAX_FAILURES)
        self._chain = 0
        self._found_at = -inf
        self._surplus_since: float | None = None
        self._retried: set[Address] = set()
        self._given_up: set[Address] = set()
        self._introducing = as_introducing(overlay)
        if self._introducing is not None:
            self._introducing.introduction_observers[self] = None
        self._service = _as_service(overlay)

    def get_peer_count(self) -> int:
        """How many peers the overlay has, without those beyond the fair share of their neighborhood.

        So a node with many identities in a few networks does not end the search for others.
        """
        return super().get_peer_count() - self._count_surplus()

    def take_step(self) -> None:
        """Give up contacts that were not answered in time, then walk to an address or ask for another one."""
        with self.walk_lock:
            now = clock.monotonic()
            self._expire(now)
            self._retry(now)
            if self.target_interval > 0 and self._stepped_at + self.target_interval >= now:
                return
            if self._is_patient(now):
                return
            if self._is_window_full(now):
                return
            self._chain = self.chain_length
            self.move(now)
            self.last_step = clock.time()

    def move(self, now: float) -> None:
        """Walk to an address or ask for another one; a step that has waited long enough ends with this.

        :param now: the monotonic time.
        """
        address = self._choose(now) if entropy.randint(0, 255) >= self.reset_chance else None
        if address is None:
            self._ask()
        else:
            self._contact(address, now)

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Note that ``peer`` answered, and contact the peer that it introduced, at each of its ``addresses``.

        If that is not a new one, another address is contacted or another peer is asked. If no new peer was found for a
        while, none is asked: perhaps all are known.
        """
        now = clock.monotonic()
        for answered in peer.addresses.values():
            if self.intro_timeouts.pop(answered, None) is not None:
                self._failures.pop(answered, None)
                self._found_at = now
        limit = -1 if self._introducing is None else self._introducing.max_peers
        if not self._chain or 0 <= limit <= self.get_peer_count():
            return
        # An endpoint of the test kit may deliver the answer while the step that asked is still being taken.
        if not self.walk_lock.acquire(blocking=False):
            return
        try:
            if self._is_window_full(now):
                return
            self._chain -= 1
            available, avoided = self.overlay.get_walkable_addresses(), self._avoided(now)
            targets = [address for address in dict.fromkeys(addresses)
                       if address in available and address not in avoided and self._may_contact(address)]
            if not targets:
                other = self._choose(now)
                targets = [] if other is None else [other]
            for address in targets:
                self._contact(address, now)
            if not targets and now < self._found_at + MOMENTUM:
                self._ask()
        finally:
            self.walk_lock.release()

    def _is_patient(self, now: float) -> bool:
        """Whether this step is left out: if many peers are of few networks, perhaps there are no others."""
        if not self._count_surplus():
            self._surplus_since = None
            return False
        if self._surplus_since is None:
            self._surplus_since = now
        searched_since = max(self._surplus_since, self._found_at)
        return searched_since + PERSISTENCE < now < self._stepped_at + PATIENT_INTERVAL

    def _ask(self) -> None:
        """Ask for an introduction; if many peers are of few networks, ask peers of all networks equally often."""
        service = self._service
        if service is None or not self._count_surplus():
            self.overlay.get_new_introduction()
        elif entropy.random() < SERVER_CHANCE and any(server.initialized for server in service.bootstrappers):
            for server in service.bootstrappers:
                server.keep_alive(self.overlay)  # type: ignore[arg-type]  # only a Community has bootstrappers
        else:
            self.overlay.get_new_introduction(service.network.draw_peer(service.community_id))

    def _contact(self, address: Address, now: float) -> None:
        if _walk_to(self.overlay, address):
            self.intro_timeouts[address] = now

    def _is_window_full(self, now: float) -> bool:
        size = self.window_size or 0
        if not 0 < size <= len(self.intro_timeouts):
            return False
        return self._introducing is None or sum(
            sent + PATIENCE >= now for sent in self.intro_timeouts.values()) >= size

    def _retry(self, now: float) -> None:
        """Repeat contacts that were not answered, and after a while ask others for help."""
        if self._introducing is not None:
            self._react(self._introducing.retry_walk, now - RETRY_AFTER, self._retried)
            self._react(self._introducing.on_walk_failed, now - PATIENCE, self._given_up)

    def _react(self, react: Callable[[Address], None], sent_before: float, done: set[Address]) -> None:
        """Call ``react`` once for each outstanding contact that was made at or before a time."""
        for address, sent in tuple(self.intro_timeouts.items()):
            if sent <= sent_before and address not in done:
                done.add(address)
                react(address)
        done.intersection_update(self.intro_timeouts)

    def _expire(self, now: float) -> None:
        network = self.overlay.network
        for address in [address for address, sent in self.intro_timeouts.items() if sent + self.node_timeout < now]:
            del self.intro_timeouts[address]
            if network.get_verified_by_address(address) is not None:
                self._failures.pop(address, None)
                continue
            network.remove_by_address(address)
            if self.failure_backoff > 0:
                self._note_failure(address, now)

    def _note_failure(self, address: Address, now: float) -> None:
        failures, _ = self._failures.get(address, (0, now))
        # The first failure is often only a puncture that was late, so the second try follows without a pause.
        pause = min(MAX_BACKOFF, self.failure_backoff * 2.0 ** min(failures - 1, 32)) if failures else 0
        self._failures[address] = failures + 1, now + pause

    def _choose(self, now: float) -> Address | None:
        """A walkable address that may be contacted: of a few random ones, the one with the fewest neighbors."""
        available = self.overlay.get_walkable_addresses()
        avoided = self._avoided(now)
        # At most all avoided ones are among these, so CHOICES are left if there are as many.
        options = entropy.sample(available, min(len(available), len(avoided) + CHOICES))
        options = [address for address in options if address not in avoided]
        service = self._service
        if service is not None:
            options.sort(key=lambda address: service.network.count_neighbors(service.community_id, address))
        return next((address for address in options if self._may_contact(address)), None)

    def _count_surplus(self) -> int:
        service = self._service
        return 0 if service is None else service.network.count_surplus_peers(service.community_id)

    def _may_contact(self, address: Address) -> bool:
        """Whether the overlay has room for a peer at ``address``."""
        service = self._service
        return service is None or service.network.has_room_for(service.community_id, address)

    def _avoided(self, now: float) -> set[Address]:
        """The addresses that are outstanding or that failed not long ago."""
        return {*self.intro_timeouts, *(address for address, (_, until) in self._failures.items() if until > now)}


class EdgeWalk(DiscoveryStrategy[OverlayType]):
    """Builds edges: chains of peers, each of which was introduced by the one before it.

    Every edge starts at a neighbor, which is one of a few peers of the overlay.

    :param edge_length: peers in a complete edge, its root included.
    :param neighborhood_size: neighbors that edges start from.
    :param edge_timeout: seconds without a new peer after which an edge ends.
    """

    def __init__(self, overlay: OverlayType, edge_length: int = 4, neighborhood_size: int = 6,
                 edge_timeout: float = 3.0) -> None:
        super().__init__(overlay)
        self.edge_length = edge_length
        self.neighborhood_size = neighborhood_size
        self.edge_timeout = edge_timeout
        self._neighborhood: list[Peer] = []
        #: All edges that have ended, each beginning with its root.
        self.complete_edges: list[list[Peer]] = []
        #: The growing edges by root, which is their first element.
        self.under_construction: dict[Peer, list[Peer]] = {}
        #: When each growing edge last grew, by the monotonic clock.
        self.last_edge_responses: dict[Peer, float] = {}

    def get_available_root(self) -> Peer | None:
        """A random neighbor without a growing edge, ``None`` if all have one."""
        roots = [peer for peer in self._neighborhood if peer not in self.under_construction]
        return entropy.choice(roots) if roots else None

    def take_step(self) -> None:
        """Collect neighbors; if there are enough, start an edge; if all have one, let all edges grow."""
        with self.walk_lock:
            if len(self._neighborhood) < self.neighborhood_size:
                self._collect_neighbors()
                return
            root = self.get_available_root()
            if root is not None:
                self.under_construction[root] = [root]
                self.last_edge_responses[root] = clock.monotonic()
                self.overlay.get_new_introduction(root)
                return
            for edge in list(self.under_construction.values()):
                self._grow(edge)

    def _collect_neighbors(self) -> None:
        self._neighborhood = self.overlay.get_peers()[:self.neighborhood_size]
        self.overlay.bootstrap()
        for address in self.overlay.get_walkable_addresses()[:self.neighborhood_size]:
            _walk_to(self.overlay, address)

    def _grow(self, edge: list[Peer]) -> None:
        root, now = edge[0], clock.monotonic()
        candidates = []
        for address in tuple(self.overlay.network.get_introductions_from(edge[-1])):
            peer = self.overlay.network.get_verified_by_address(address)
            if peer is None:
                _walk_to(self.overlay, address)
            elif peer not in edge:
                candidates.append(peer)
        if candidates:
            self.last_edge_responses[root] = now
            edge.append(entropy.choice(candidates))
            if len(edge) >= self.edge_length:
                self._finish(edge)
            else:
                self.overlay.walk_to(edge[-1].address)
        elif self.last_edge_responses[root] + self.edge_timeout < now:
            self._finish(edge)

    def _finish(self, edge: list[Peer]) -> None:
        del self.under_construction[edge[0]]
        del self.last_edge_responses[edge[0]]
        if len(edge) > 1:
            self.complete_edges.append(edge)


if TYPE_CHECKING:  # programs import these from here
    from ..overlay import Overlay as Overlay
else:
    __getattr__, __dir__ = reexports(__name__, {"..overlay": "Overlay"})
