"""What all parts of a TrustChain overlay share: its database, its listeners, and how blocks are sent."""

from __future__ import annotations

import asyncio
import os
from functools import wraps
from inspect import iscoroutinefunction
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ... import entropy
from ...community import Community
from ...limits import ExpiringDict, TokenBuckets
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...peer import Peer
from ...reputation import score_of
from ...requestcache import RequestCache
from ...util import maybe_coroutine
from .admission import Admission
from .block import TrustChainBlock
from .broadcast import RELAYS_AT_ONCE, RELAYS_PER_SECOND, BroadcastHistory, RelayQueue
from .crawling import AnswerBudget
from .database import DATABASE_DIRECTORY, TrustChainDB
from .listener import BlockListener, FunctionListener
from .payload import (
    HalfBlockBroadcastPayload,
    HalfBlockPairBroadcastPayload,
    HalfBlockPairPayload,
    HalfBlockPayload,
)
from .settings import TrustChainSettings
from .validation import same_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ...messaging.address import Address
    from ...messaging.serialization import Payload
    from .store import BlockStore

__all__ = ["UNIVERSAL_BLOCK_LISTENER", "TrustChainBase", "synchronized"]

UNIVERSAL_BLOCK_LISTENER = b"UNIVERSAL_BLOCK_LISTENER"
"""The type under which listeners are told of blocks of all types."""

MAX_NEW_BLOCKS = 4096
"""Blocks that are known to be new, so that they may be passed on; the oldest is forgotten first."""

NEW_BLOCK_LIFETIME = 60.0
"""Seconds for which a block is new."""

CLEANUP_INTERVAL = 600.0
GROWTH_BEFORE_CLEANUP = 0.005
"""How much the database may grow beyond its size before it is cleaned up without waiting for that."""

RELAY_INTERVAL = 0.1

Function = TypeVar("Function", bound="Callable[..., Any]")


class _TaskLock:
    """A lock that the task which holds it may take again."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._depth = 0

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if self._owner is not task:
            await self._lock.acquire()
            self._owner = task
        self._depth += 1

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()


def synchronized(method: Function) -> Function:
    """Decorator for methods of a TrustChain overlay, which run one after another.

    Plain methods hold ``receive_block_lock``. An async method holds a lock of its own kind until it has ended; the same
    task may call further ones meanwhile.
    """
    if iscoroutinefunction(method):
        @wraps(method)
        async def run(self: TrustChainBase, *args: Any, **kwargs: Any) -> Any:
            async with self.task_lock:
                return await method(self, *args, **kwargs)
    else:
        @wraps(method)
        def run(self: TrustChainBase, *args: Any, **kwargs: Any) -> Any:
            with self.receive_block_lock:
                return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]  # it has the signature of the method


class TrustChainBase(Community):
    """The common part of the classes that make up ``TrustChainCommunity``."""

    settings_class: ClassVar[type[Any]] = TrustChainSettings
    UNIVERSAL_BLOCK_LISTENER: ClassVar[bytes] = UNIVERSAL_BLOCK_LISTENER
    DB_CLASS: ClassVar[type[TrustChainDB]] = TrustChainDB
    DB_NAME: ClassVar[str] = "trustchain"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "master_peer" in vars(cls) and "community_id" not in vars(cls):  # how overlays were named in release 2
            cls.community_id = cls.master_peer.mid  # type: ignore[attr-defined]  # checked above

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = _settings_of(args, kwargs)
        self.settings = settings
        # A database that cannot be used must not leave an overlay behind that listens.
        self.persistence: BlockStore = settings.persistence or self._open_database(settings)
        if settings.persistence is None:
            self.persistence.batched = True
        try:
            super().__init__(settings)
        except BaseException:
            if settings.persistence is None:
                self.persistence.close()
            raise
        self.request_cache = RequestCache()
        self.receive_block_lock = RLock()
        self.task_lock = _TaskLock()
        self.shutting_down = False
        #: The futures of proposals that wait for an answer.
        self.open_proposals: set[asyncio.Future[Any]] = set()
        self.listeners_map: dict[bytes, list[BlockListener]] = {}
        self.admission = Admission(settings)
        self.answer_budget = AnswerBudget(settings)
        self._history = BroadcastHistory()
        #: The ids of blocks that were broadcast or passed on, and the same in order.
        self.relayed_broadcasts = self._history.ids
        self.relayed_broadcasts_order = self._history.order
        self._new_blocks: ExpiringDict[bytes, None] = ExpiringDict(MAX_NEW_BLOCKS, NEW_BLOCK_LIFETIME)
        self._relay_budget = TokenBuckets(RELAYS_PER_SECOND, RELAYS_AT_ONCE, capacity=1)
        self._relays: RelayQueue[tuple[Payload, Address | None]] = RelayQueue()
        self._fraud_callbacks: list[Callable[[bytes, TrustChainBlock, TrustChainBlock], object]] = []
        #: Called when the overlay is unloaded, before its database is closed.
        self.unload_callbacks: list[Callable[[], object]] = []
        #: Called with another database before the overlay uses it in place of its own.
        self.database_callbacks: list[Callable[[BlockStore], object]] = []
        self._listen_for_frauds()
        self._additions_at_cleanup = 0
        self.register_task("db_cleanup", self.do_db_cleanup, interval=CLEANUP_INTERVAL)

    def _open_database(self, settings: TrustChainSettings) -> BlockStore:
        name, key = settings.db_name or self.DB_NAME, settings.my_peer.public_key.key_to_bin()
        if settings.database_url is None:
            return self.DB_CLASS(settings.working_directory or self._directory_of_node(settings, name), name, key)
        from .postgres import PostgresTrustChainDB

        return PostgresTrustChainDB(settings.database_url, name, key)

    @staticmethod
    def _directory_of_node(settings: TrustChainSettings, name: str) -> str:
        """The working directory of the node, unless the database is in the present directory already."""
        directory, file = settings.node_directory, os.path.join(DATABASE_DIRECTORY, f"{name}.db")
        is_elsewhere = os.path.exists(file) and not os.path.exists(os.path.join(directory, file))
        return "" if is_elsewhere else directory

    async def unload(self) -> None:
        """End all requests and tasks, and close the database."""
        self.shutting_down = True
        for callback in tuple(self.unload_callbacks):
            callback()
        for proposal in tuple(self.open_proposals):
            proposal.cancel()
        await self.request_cache.shutdown()
        try:
            await super().unload()
        finally:
            self._close_database()

    def _listen_for_frauds(self) -> None:
        listeners = getattr(self.persistence, "fraud_listeners", None)
        if listeners is not None:
            listeners.append(self._on_fraud)

    def _close_database(self) -> None:
        listeners = getattr(self.persistence, "fraud_listeners", [])
        if self._on_fraud in listeners:
            listeners.remove(self._on_fraud)
        self.persistence.close()

    def use_database(self, database: BlockStore) -> None:
        """Close the present database and use another one, which other overlays may use too.

        It is closed when the first of them is unloaded. A trust graph that follows the overlay goes on with the blocks
        of the other database.

        :raises RuntimeError: if the trust graph has taken up blocks of the present database already, which it cannot
            forget. Nothing is changed then.
        """
        for callback in tuple(self.database_callbacks):
            callback(database)
        database.block_types.update(self.persistence.block_types)
        self._close_database()
        self.persistence = database
        self._listen_for_frauds()

    # Trust

    def follow_with_trust_graph(self) -> None:
        """Make a trust graph of the blocks, which grows with them, and use it as ``trust``."""
        from ...trust.graph import TrustGraph

        self.trust = TrustGraph(self.my_key_bin, half_life=self.settings.trust_half_life,
                                walks=self.settings.trust_walks).attach(self)

    def trust_of(self, peer_or_key: Peer | bytes) -> float:
        """The trust in a peer, or in the owner of a public key; 0 without ``trust``."""
        key = peer_or_key if isinstance(peer_or_key, bytes) else peer_or_key.public_key.key_to_bin()
        return 0.0 if self.trust is None else score_of(self.trust, key)

    # Our own chain

    @property
    def my_key_bin(self) -> bytes:
        """The public key of our own chain."""
        return self.my_peer.public_key.key_to_bin()

    def get_chain_length(self) -> int:
        """The height of our own chain, 0 if there is no block."""
        latest = self.persistence.get_latest(self.my_key_bin)
        return 0 if latest is None else latest.sequence_number

    def flush_blocks(self) -> None:
        """Commit the blocks that were added to the database, so that a future may tell of them."""
        flush = getattr(self.persistence, "flush", None)
        if flush is not None:
            flush()

    def do_db_cleanup(self) -> None:
        """Remove blocks if there are more than ``max_db_blocks``."""
        self._additions_at_cleanup = getattr(self.persistence, "additions", 0)
        excess = self.persistence.get_number_of_known_blocks() - self.settings.max_db_blocks
        if excess > 0:
            scores = getattr(self.trust, "scores", None)
            self.persistence.evict(excess, self.my_key_bin,
                                   getattr(self.trust, "score", self.trust) if scores is None else scores())

    def _clean_up_early(self) -> None:
        """Clean up if much was added since the last time."""
        grown = getattr(self.persistence, "additions", 0) - self._additions_at_cleanup
        if grown > max(1000.0, GROWTH_BEFORE_CLEANUP * self.settings.max_db_blocks):
            self.do_db_cleanup()

    # Listeners

    def add_listener(self, listener: BlockListener, block_types: Iterable[bytes]) -> None:
        """Ask and tell ``listener`` of blocks of these types, which are made by its ``BLOCK_CLASS`` from now on."""
        for block_type in block_types:
            self.listeners_map.setdefault(block_type, []).append(listener)
            self.persistence.block_types[block_type] = listener.BLOCK_CLASS

    def remove_listener(self, listener: BlockListener, block_types: Iterable[bytes]) -> None:
        """Do not ask or tell ``listener`` any more; the class of the last one that remains makes the blocks."""
        for block_type in block_types:
            remaining = self.listeners_map.get(block_type, [])
            if listener in remaining:
                remaining.remove(listener)
            if remaining:
                self.persistence.block_types[block_type] = remaining[-1].BLOCK_CLASS
            else:
                self.listeners_map.pop(block_type, None)
                self.persistence.block_types.pop(block_type, None)

    def on_block(self, block_type: bytes, sign: bool | Callable[[TrustChainBlock], bool | Awaitable[bool]] = False,
                 ) -> Callable[[Function], Function]:
        """Decorator for functions that are called with each new block of a type.

        :param sign: whether to counter-sign proposals of this type, or a function that says so for each of them.
        """
        def register(function: Function) -> Function:
            self.add_listener(FunctionListener(function, sign), [block_type])
            return function

        return register

    def get_block_class(self, block_type: bytes) -> type[TrustChainBlock]:
        """The class that makes received blocks of a type."""
        listeners = self.listeners_map.get(block_type)
        return listeners[0].BLOCK_CLASS if listeners else TrustChainBlock

    async def should_sign(self, block: TrustChainBlock) -> bool:
        """Whether any listener wants a proposal to be counter-signed."""
        for listener in tuple(self.listeners_map.get(block.type, ())):
            if await maybe_coroutine(listener.should_sign, block):
                return True
        return False

    def _publish_block(self, block: TrustChainBlock) -> None:
        """Tell those who watch of a block that was stored."""
        if self.event_bus is not None:
            self.event_bus.publish("trustchain.block", lambda: {
                "hash": block.hash.hex(), "type": block.type.decode(errors="backslashreplace"),
                "public_key": block.public_key.hex(), "link_public_key": block.link_public_key.hex(),
                "sequence_number": block.sequence_number, "is_own": same_key(block.public_key, self.my_key_bin)})

    def notify_listeners(self, block: TrustChainBlock) -> None:
        """Tell the listeners of a block that was not stored before, unless the overlay is being unloaded."""
        if self.shutting_down:
            return
        universal = self.listeners_map.get(UNIVERSAL_BLOCK_LISTENER, [])
        own = [] if block.type == UNIVERSAL_BLOCK_LISTENER else self.listeners_map.get(block.type, [])
        for listener in (*universal, *own):
            try:
                listener.received_block(block)
            except Exception:  # noqa: PERF203 - one that fails must not keep the others from being told
                self.logger.exception("A listener failed that was told of the block %s", block.block_id.decode())

    # Fraud

    def add_fraud_callback(self, callback: Callable[[bytes, TrustChainBlock, TrustChainBlock], object]) -> None:
        """Call ``callback(public_key, block1, block2)`` once for each author who signs two blocks for one height."""
        self._fraud_callbacks.append(callback)

    def remove_fraud_callback(self, callback: Callable[[bytes, TrustChainBlock, TrustChainBlock], object]) -> None:
        """Do not call ``callback`` any more."""
        if callback in self._fraud_callbacks:
            self._fraud_callbacks.remove(callback)

    def _on_fraud(self, public_key: bytes, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        self.logger.warning("The owner of the key ...%s signed two blocks for height %d", public_key.hex()[-16:],
                            block1.sequence_number)
        if self.shutting_down:
            return
        if block1.type not in self.settings.block_types_bc_disabled:
            self._relay(HalfBlockPairBroadcastPayload.from_half_blocks(block1, block2, 1), block1.block_id)
        for callback in tuple(self._fraud_callbacks):
            try:
                callback(public_key, block1, block2)
            except Exception:  # noqa: PERF203 - as above
                self.logger.exception("A function failed that was told of a double-sign")

    # Sending

    def _send_payload(self, address: Address, payload: Payload) -> None:
        timed = GlobalTimeDistributionPayload(self.claim_global_time()), payload
        self._ez_send_numbered(address, payload.msg_id, timed, sig=False)

    def _broadcast(self, payload: Payload, exclude: Address | None = None) -> None:
        for peer in self._audience(exclude):
            self._send_payload(peer.address, payload)

    def _audience(self, exclude: Address | None) -> list[Peer]:
        """The peers that get a broadcast: a sample of all, or mostly of trusted ones."""
        peers = [peer for peer in self.get_peers() if peer.address != exclude]
        fanout = min(len(peers), self.settings.broadcast_fanout)
        if self.trust is None or not self.prefer_trusted or fanout == len(peers):
            return entropy.sample(peers, fanout)
        from ...trust.selection import select_peers

        return select_peers(self, self.trust, fanout, exclude=[peer for peer in self.get_peers()
                                                               if peer.address == exclude])

    def send_block(self, block: TrustChainBlock, address: Address | None = None, ttl: int = 1) -> None:
        """Send a block to ``address``, or broadcast it, to be passed on if ``ttl`` is more than 1."""
        if address is not None:
            self._send_payload(address, HalfBlockPayload.from_half_block(block))
        else:
            self._broadcast(HalfBlockBroadcastPayload.from_half_block(block, ttl))
            self._add_broadcasted_blockid(block.block_id)

    def send_block_pair(self, block1: TrustChainBlock, block2: TrustChainBlock, address: Address | None = None,
                        ttl: int = 1) -> None:
        """Send two blocks to ``address``, or broadcast them, to be passed on if ``ttl`` is more than 1."""
        if address is not None:
            self._send_payload(address, HalfBlockPairPayload.from_half_blocks(block1, block2))
        else:
            self._broadcast(HalfBlockPairBroadcastPayload.from_half_blocks(block1, block2, ttl))
            self._add_broadcasted_blockid(block1.block_id)

    def _add_broadcasted_blockid(self, block_id: bytes) -> None:
        self._history.add(block_id, self.settings.broadcast_history_size)

    def _relay(self, payload: Payload, block_id: bytes, source: Address | None = None) -> None:
        """Broadcast what others have signed, but not to where it came from, now or when it is its turn."""
        self._add_broadcasted_blockid(block_id)
        if not self._relays and self._relay_budget.take():
            self._broadcast(payload, exclude=source)
            return
        self._relays.push((payload, source), isinstance(payload, HalfBlockPairBroadcastPayload))
        if not self.is_pending_task_active("relay"):
            self.register_task("relay", self._relay_waiting, delay=RELAY_INTERVAL, interval=RELAY_INTERVAL)

    def _relay_waiting(self) -> None:
        while self._relays and self._relay_budget.take():
            payload, source = self._relays.pop()
            self._broadcast(payload, exclude=source)
        if not self._relays:
            self.cancel_pending_task("relay")


def _settings_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> TrustChainSettings:
    """The settings, from either form of the constructor: ``(settings)`` or ``(my_peer, endpoint, network, ...)``."""
    if args and not isinstance(args[0], Peer):
        (settings,) = args
    else:
        parts = dict(zip(("my_peer", "endpoint", "network"), args, strict=False))
        if not args and len(kwargs) == 1 and "settings" in kwargs:
            settings = kwargs["settings"]
        else:
            settings = kwargs.pop("settings", None) or TrustChainSettings()
            for name, value in {**parts, **kwargs}.items():
                setattr(settings, name, value)
    return settings if isinstance(settings, TrustChainSettings) else TrustChainSettings(**vars(settings))
