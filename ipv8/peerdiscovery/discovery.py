"""Ways to find more peers for an overlay, one step at a time (spec 05 section 8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import clock, entropy
from ..reexports import reexports
from .graph.crowd import FAIR_SHARE
from .network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..messaging.address import Address
    from ..overlay import Overlay
    from ..peer import Peer

__all__ = ["DiscoveryStrategy", "EdgeWalk", "RandomWalk"]

OverlayType = TypeVar("OverlayType", bound="Overlay[Any]")

#: Addresses whose failures a walker with a back-off remembers; beyond that the one that failed first is forgotten.
MAX_FAILURES = 500
#: Peers that are contacted between two steps, as answers to earlier contacts come in.
CHAIN_LENGTH = 5
#: Addresses of which the one with the fewest peers around it is contacted.
CHOICES = 16
#: Seconds for which somebody whose peers are of few subnets looks for others at full speed without finding anybody, and
#: the seconds between two steps after that.
PERSISTENCE, PATIENT_INTERVAL = 600.0, 5.0
#: How often bootstrap servers are asked for an introduction by those who know many peers of few subnets.
SERVER_CHANCE = 0.25
#: Seconds after which a contact that has not been answered, unlike others, makes room for another one, and is tried by
#: way of somebody else.
PATIENCE = 1.0
#: Seconds after an answer of somebody new in which introductions are asked for between steps.
MOMENTUM = 2.0
#: Seconds after which a contact that has not been answered is tried again, once.
RETRY_AFTER = 0.4
#: A longer pause, in seconds, than this does not follow on any number of failures.
MAX_BACKOFF = 600.0


class DiscoveryStrategy(ABC, Generic[OverlayType]):
    """Something that the service lets take a step in every tick, as long as the overlay wants more peers."""

    def __init__(self, overlay: OverlayType) -> None:
        self.overlay = overlay
        self.walk_lock = Lock()

    @abstractmethod
    def take_step(self) -> None:
        """Do a little to find peers, without waiting for anything."""

    def get_peer_count(self) -> int:
        """How many peers the overlay has; 0 without an overlay."""
        return len(self.overlay.get_peers()) if self.overlay else 0


class RandomWalk(DiscoveryStrategy[OverlayType]):
    """Contacts introduced addresses in random order, and every now and then asks for another introduction.

    If the overlay has ``introduction_observers``, the walk goes on between steps: to whoever an answer introduces, at
    once, while the way is open that the introduced peer was asked to open, and at the LAN and the WAN address together.
    Each step pays for ``chain_length`` such contacts, so an overlay that has the peers it wants makes no more of them.

    The cost of a step grows with the number of outstanding contacts, not with the number of known addresses.

    :param timeout: seconds after which a contacted address counts as unreachable and is forgotten.
    :param window_size: contacts that may be outstanding at a time; 0 or ``None`` for any number.
    :param reset_chance: of 256, how many steps ask for an introduction even if there are addresses to walk to.
    :param target_interval: seconds between two steps, at least.
    :param failure_backoff: seconds during which an address that failed twice in a row is left alone when it is
        introduced again; doubled with each further failure. With 0 failures are not remembered.
    :param chain_length: peers that may be contacted between two steps.
    """

    def __init__(self, overlay: OverlayType, timeout: float = 3.0, window_size: int | None = 5, reset_chance: int = 50,
                 target_interval: float = 0, failure_backoff: float = 0,
                 chain_length: int = CHAIN_LENGTH) -> None:
        super().__init__(overlay)
        #: When each outstanding address was contacted.
        self.intro_timeouts: dict[Address, float] = {}
        self.node_timeout = timeout
        self.window_size = window_size
        self.reset_chance = reset_chance
        self.target_interval = target_interval
        self.failure_backoff = failure_backoff
        self.last_step: float = 0
        self.chain_length = chain_length
        self._failures: dict[Address, tuple[int, float]] = {}
        self._chain = 0
        self._last_find: float = 0
        self._guests_since: float | None = None
        self._retry_walk: Callable[[Address], None] | None = None
        self._retried: set[Address] = set()
        self._on_walk_failed: Callable[[Address], None] | None = None
        self._given_up: set[Address] = set()
        # Programs test walkers with mocks, which have every attribute: only those of the right type are meant.
        observers = getattr(overlay, "introduction_observers", None)
        self._is_told = isinstance(observers, MutableMapping)
        if isinstance(observers, MutableMapping):
            observers[self] = None
            self._retry_walk = getattr(overlay, "retry_walk", None)
            self._on_walk_failed = getattr(overlay, "on_walk_failed", None)
        service = getattr(overlay, "community_id", None)
        knows_subnets = isinstance(service, bytes) and isinstance(getattr(overlay, "network", None), Network)
        self._service: bytes | None = service if knows_subnets else None

    def get_peer_count(self) -> int:
        """How many peers the overlay has, those beyond the fair share of their subnet not counted.

        So somebody with many identities in a few subnets does not end the search for others.
        """
        return super().get_peer_count() - self._count_guests()

    def take_step(self) -> None:
        """Give up on contacts that did not answer in time, then walk to an address or ask for another one."""
        with self.walk_lock:
            now = clock.time()
            self._expire(now)
            self._retry(now)
            if self.target_interval > 0 and self.last_step + self.target_interval >= now:
                return
            if self._is_patient(now):
                return
            if self._is_window_full(now):
                return
            self._chain = self.chain_length
            address = self._choose(now) if entropy.randint(0, 255) >= self.reset_chance else None
            if address is None:
                self._ask()
            else:
                self._contact(address, now)
            self.last_step = now

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Note that ``peer`` answered, and contact whoever it introduced: one peer, who may have several addresses.

        If that is nobody new, another address has its turn, or another peer is asked. Where nobody new was found for a
        while all may be known: then there is no need to hurry.
        """
        now = clock.time()
        for answered in peer.addresses.values():
            if self.intro_timeouts.pop(answered, None) is not None:
                self._failures.pop(answered, None)
                self._last_find = now
        if not self._chain or 0 <= getattr(self.overlay, "max_peers", -1) <= self.get_peer_count():
            return
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
            if not targets and now < self._last_find + MOMENTUM:
                self._ask()
        finally:
            self.walk_lock.release()

    def _is_patient(self, now: float) -> bool:
        """Whether there is no hurry with this step: all peers may be of one subnet, which is nobody's fault."""
        if not self._count_guests():
            self._guests_since = None
            return False
        if self._guests_since is None:
            self._guests_since = now
        searched_since = max(self._guests_since, self._last_find)
        return searched_since + PERSISTENCE < now < self.last_step + PATIENT_INTERVAL

    def _ask(self) -> None:
        """Ask for an introduction; where many peers are of few subnets, those of others rather than them."""
        if self._service is None or not self._count_guests():
            self.overlay.get_new_introduction()
            return
        bootstrappers = getattr(self.overlay, "bootstrappers", ())
        if entropy.random() < SERVER_CHANCE and any(bootstrapper.initialized for bootstrapper in bootstrappers):
            for bootstrapper in bootstrappers:
                bootstrapper.keep_alive(self.overlay)
        else:
            self.overlay.get_new_introduction(self.overlay.network.draw_peer(self._service))

    def _contact(self, address: Address, now: float) -> None:
        self.overlay.walk_to(address)
        self.intro_timeouts[address] = now

    def _is_window_full(self, now: float) -> bool:
        size = self.window_size or 0
        if not 0 < size <= len(self.intro_timeouts):
            return False
        return not self._is_told or sum(sent + PATIENCE >= now for sent in self.intro_timeouts.values()) >= size

    def _retry(self, now: float) -> None:
        """Contact once more those who have not answered: the way may have been opened too late, or elsewhere.

        If that does not help, it is time to ask others for help.
        """
        for react, pause, done in ((self._retry_walk, RETRY_AFTER, self._retried),
                                   (self._on_walk_failed, PATIENCE, self._given_up)):
            if react is not None:
                for address, sent in tuple(self.intro_timeouts.items()):
                    if sent + pause <= now and address not in done:
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
        failures, _ = self._failures.pop(address, (0, now))
        # The first failure is often only a puncture that came too late, so the second try is free.
        pause = min(MAX_BACKOFF, self.failure_backoff * 2.0 ** min(failures - 1, 32)) if failures else 0
        self._failures[address] = failures + 1, now + pause
        if len(self._failures) > MAX_FAILURES:
            del self._failures[next(iter(self._failures))]

    def _choose(self, now: float) -> Address | None:
        """A walkable address that is neither outstanding nor left alone, of some the one with the fewest neighbors.

        When there is no room for more peers, it is none of a subnet that has its fair share.
        """
        available = self.overlay.get_walkable_addresses()
        avoided = self._avoided(now)
        # One more than may have to be skipped is enough to find one, and each is as likely as in a full search.
        options = entropy.sample(available, min(len(available), len(avoided) + CHOICES))
        options = [address for address in options if address not in avoided]
        if self._service:
            options.sort(key=self._count_neighbors)
        return next((address for address in options if self._may_contact(address)), None)

    def _count_neighbors(self, address: Address) -> int:
        return self.overlay.network.count_neighbors(self._service, address) if self._service else 0

    def _count_guests(self) -> int:
        return self.overlay.network.count_guests(self._service) if self._service else 0

    def _may_contact(self, address: Address) -> bool:
        """Whether there is a place for whoever is at ``address``."""
        return (not self._service or self._count_neighbors(address) < FAIR_SHARE
                or self.overlay.network.has_room_for_guests(self._service))

    def _avoided(self, now: float) -> set[Address]:
        """The addresses that are outstanding or left alone."""
        return {*self.intro_timeouts, *(address for address, (_, until) in self._failures.items() if until > now)}


class EdgeWalk(DiscoveryStrategy[OverlayType]):
    """Follows introductions away from a few neighbours, each as deep as possible, and so lays out chains of peers.

    :param edge_length: peers in a complete edge, its root included.
    :param neighborhood_size: neighbours that edges start from.
    :param edge_timeout: seconds without a new peer after which an edge ends where it is.
    """

    def __init__(self, overlay: OverlayType, edge_length: int = 4, neighborhood_size: int = 6,
                 edge_timeout: float = 3.0) -> None:
        super().__init__(overlay)
        self.edge_length = edge_length
        self.neighborhood_size = neighborhood_size
        self.edge_timeout = edge_timeout
        self._neighborhood: list[Peer] = []
        #: All edges that have ended, each from its root on.
        self.complete_edges: list[list[Peer]] = []
        #: The growing edges by their root, which is their first element.
        self.under_construction: dict[Peer, list[Peer]] = {}
        #: When each growing edge last grew.
        self.last_edge_responses: dict[Peer, float] = {}

    def get_available_root(self) -> Peer | None:
        """Any neighbour without a growing edge, ``None`` if all have one."""
        roots = [peer for peer in self._neighborhood if peer not in self.under_construction]
        return entropy.choice(roots) if roots else None

    def take_step(self) -> None:
        """Gather neighbours, else start an edge, else let all edges grow."""
        with self.walk_lock:
            if len(self._neighborhood) < self.neighborhood_size:
                self._gather_neighbors()
                return
            root = self.get_available_root()
            if root is not None:
                self.under_construction[root] = [root]
                self.last_edge_responses[root] = clock.time()
                self.overlay.get_new_introduction(root)
                return
            for edge in list(self.under_construction.values()):
                self._grow(edge)

    def _gather_neighbors(self) -> None:
        self._neighborhood = self.overlay.get_peers()[:self.neighborhood_size]
        self.overlay.bootstrap()
        for address in self.overlay.get_walkable_addresses()[:self.neighborhood_size]:
            self.overlay.walk_to(address)

    def _grow(self, edge: list[Peer]) -> None:
        root, now = edge[0], clock.time()
        candidates = []
        for address in tuple(self.overlay.network.get_introductions_from(edge[-1])):
            peer = self.overlay.network.get_verified_by_address(address)
            if peer is None:
                self.overlay.walk_to(address)
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
