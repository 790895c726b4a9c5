"""What all parts of the wallet share: its database, its keys, the callbacks of the program, and budgets."""

from __future__ import annotations

from asyncio import ensure_future, wait
from collections.abc import Awaitable, Callable
from struct import error as StructError  # noqa: N812 - it is an exception class
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar

from ...community import Community
from ...fill import Fill
from ...limits import BoundedDict, ExpiringDict, TokenBuckets
from ...messaging.interfaces.network_stats import DropCounter
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...util import succeed
from ..identity_formats import warn_of_weakness
from ..schema.manager import SchemaManager
from .consents import Consents
from .database import AttestationsDB, Row
from .sending import Shipping
from .settings import AttestationSettings
from .work import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...messaging.address import Address
    from ...messaging.serialization import Payload
    from ...peer import Peer
    from ..identity_formats import IdentityAlgorithm

__all__ = ["BAD_ATTESTATION", "WalletBase"]

BAD_ATTESTATION = (ArithmeticError, LookupError, TypeError, ValueError, StructError)
"""What algorithms raise for attestations, keys and challenges that are none."""

MAX_PROMPTS = 256
"""Questions to the program that wait for its answer; requests that would need a further one are dropped."""

MAX_PROMPTS_PER_PEER = 16
"""The same for the requests of one peer."""

PROMPT_LIFETIME = 300.0
"""Seconds for which an answer is waited for. Whoever made the request does not wait that long."""

REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 1.0, 30.0
"""Requests for attestations and for proofs, of one peer."""

ALL_REQUESTS_PER_SECOND, ALL_REQUESTS_AT_ONCE = 50.0, 200.0
"""The same for all peers together, as somebody may have any number of keys."""

MAX_REQUESTERS = 4096
"""Peers whose budget is kept; the least recently used one is forgotten first."""

MAX_SEEN_REQUESTS = 4096
"""Requests that are known to have arrived; the oldest is forgotten first."""

SEEN_REQUEST_LIFETIME = 600.0
"""Seconds for which they are."""

RequestCallback = Callable[[Any, str, dict[str, Any]], Any]
CompleteCallback = Callable[[Any, str, bytes, str, Any], Any]
VerifyCallback = Callable[[Any, bytes], Any]


class Prompts:
    """Counts the questions to the program that wait for its answer."""

    def __init__(self) -> None:
        self._of_peers: dict[bytes, int] = {}

    def may_ask(self, peer: Peer) -> bool:
        """Whether the program may be asked about another request of a peer."""
        return (sum(self._of_peers.values()) < MAX_PROMPTS
                and self._of_peers.get(peer.mid, 0) < MAX_PROMPTS_PER_PEER)

    async def ask(self, peer: Peer, callback: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of the program, which may be asynchronous; ``None`` if it takes longer than requests last."""
        answer = callback(peer, *arguments)
        if not isinstance(answer, Awaitable):
            return answer
        self._of_peers[peer.mid] = self._of_peers.get(peer.mid, 0) + 1
        waiting = ensure_future(answer)
        try:
            done, _ = await wait((waiting,), timeout=PROMPT_LIFETIME)
            return waiting.result() if done else None
        finally:
            if waiting is not answer:
                waiting.cancel()  # what the program made itself is left to it
            self._of_peers[peer.mid] -= 1
            if not self._of_peers[peer.mid]:
                del self._of_peers[peer.mid]

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("prompts", sum(self._of_peers.values()), MAX_PROMPTS, rule="further requests are dropped")


class WalletBase(Community):
    """The common part of the classes that make up ``AttestationCommunity``."""

    settings_class: ClassVar[type[Any]] = AttestationSettings

    def __init__(self, settings: AttestationSettings) -> None:
        #: The formats that can be used; programs may add some.
        self.schema_manager = SchemaManager()
        self.schema_manager.register_default_schemas()
        # A database that cannot be used must not leave an overlay behind that listens.
        opened = self.__dict__.get("database")
        self.database = self._database_of(settings, opened)
        try:
            rows = self.database.get_all()
            super().__init__(settings)
        except BaseException:
            if self.database is not opened:
                self.database.close()
            raise
        #: Held by programs around calls of their own. Nothing here waits for it.
        self.receive_block_lock = RLock()
        self.attestation_request_callback: RequestCallback = lambda peer, name, metadata: succeed(None)  # noqa: ARG005
        self.attestation_request_complete_callback: CompleteCallback = lambda *_: None
        self.verify_request_callback: VerifyCallback = lambda peer, attestation_hash: succeed(True)  # noqa: ARG005
        #: For each mid of an authority, the global times of our requests that it may answer, as text.
        self.allowed_attestations: dict[bytes, list[bytes]] = {}
        self.workshop = Workshop(settings.proof_processes, self.start_timer)
        self.consents = Consents()
        #: Our own attestations that were opened to be proved, by hash.
        self.cached_attestation_blobs = self.consents.opened
        self.shipping = Shipping(self.network, self._send_at)
        self.prompts = Prompts()
        #: The formats that the last requests for attestations asked for, by peer and name of the attribute.
        self.asked_formats: dict[tuple[Peer, str], str] = BoundedDict(MAX_PROMPTS)
        self._opening: set[Any] = set()
        self._request_budget = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE, MAX_REQUESTERS)
        self._budget_of_all = TokenBuckets(ALL_REQUESTS_PER_SECOND, ALL_REQUESTS_AT_ONCE, capacity=1)
        self._seen_requests: ExpiringDict[tuple[bytes, int, bytes], None] = ExpiringDict(MAX_SEEN_REQUESTS,
                                                                                         SEEN_REQUEST_LIFETIME)
        #: What requests said besides the name, by the hash of the attestation, while the program is told of that.
        self.described: dict[bytes, dict[str, Any]] = {}
        #: The private key and the format of our own attestations, by hash.
        self.attestation_keys: dict[bytes, tuple[Any, str]] = {}
        self._load_keys(rows)

    @staticmethod
    def _database_of(settings: AttestationSettings, opened: AttestationsDB | None) -> AttestationsDB:
        """The database of these settings; that which an overlay has already, if the constructor is called again."""
        if opened is not None and opened.is_of(settings.working_directory, settings.db_name):
            return opened
        return AttestationsDB(settings.working_directory, settings.db_name, settings.passphrase)

    def _load_keys(self, rows: list[Row]) -> None:
        for row in rows:
            if not all(isinstance(value, bytes) for value in row):
                self.logger.warning("A row of the wallet cannot be used, as values are missing or of a wrong type")
                continue
            attestation_hash, _, key, id_format = row
            name = id_format.decode(errors="replace")
            try:
                algorithm = self.get_id_algorithm(name)
                self.attestation_keys[attestation_hash] = algorithm.load_secret_key(key), name
            except (KeyError, RuntimeError):
                self.logger.warning("The attestation %s cannot be used: there is no format %s", attestation_hash.hex(),
                                    name)
            except BAD_ATTESTATION as e:
                self.logger.warning("The attestation %s cannot be used: %s", attestation_hash.hex(), e)

    async def unload(self) -> None:
        """End all requests and tasks, all processes, and close the database."""
        try:
            await self.request_cache.shutdown()
            await super().unload()
        finally:
            self.workshop.close()
            self.database.close()

    def get_id_algorithm(self, id_format: str) -> IdentityAlgorithm[Any]:
        """The algorithm of a format; ``KeyError`` if there is no such format."""
        return self.schema_manager.get_algorithm_instance(id_format)

    async def generate_secret_key(self, id_format: str) -> Any:
        """A new private key for an attestation of a format, which may take seconds for large keys.

        The event loop is not blocked meanwhile.
        """
        return await self.workshop.generate(self.get_id_algorithm(id_format), self.schema_manager.formats[id_format])

    def _warn(self, id_format: str, stacklevel: int = 2) -> None:
        """Warn of the weakness of a format, in the name of a caller: 2 is the one of the method that calls this."""
        weakness = self.schema_manager.weakness_of(id_format)
        if weakness is not None:
            warn_of_weakness(id_format, weakness, stacklevel + 2)

    # Callbacks of the program

    def set_attestation_request_callback(self, f: RequestCallback) -> None:
        """Call ``f(peer, attribute_name, metadata)`` when a peer wants a value to be attested.

        It returns the value as bytes, ``None`` to refuse, or an awaitable of that.
        """
        self.attestation_request_callback = f

    def set_attestation_request_complete_callback(self, f: CompleteCallback) -> None:
        """Call ``f(for_peer, attribute_name, attribute_hash, id_format, from_peer)`` for each attestation.

        At the authority, it is called before the attestation is sent, and ``from_peer`` is ``None``.
        """
        self.attestation_request_complete_callback = f

    def set_verify_request_callback(self, f: VerifyCallback) -> None:
        """Call ``f(peer, attribute_hash)`` when a peer wants an attestation to be proved.

        It returns whether to do so, or an awaitable of that. Without such a callback, all are allowed.
        """
        self.verify_request_callback = f

    def _tell_program(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call a function of the program, which may be asynchronous."""
        result = callback(*arguments)
        if isinstance(result, Awaitable):
            self.register_anonymous_task("callback", ensure_future(result), ignore=(Exception,))

    # Budgets

    def _admits_request(self, peer: Peer) -> bool:
        """Whether another request of a peer is looked at; otherwise it is counted."""
        if self._request_budget.take(peer.mid) and self._budget_of_all.take():
            return True
        self.drops.count(DropCounter.RATE_LIMITED)
        return False

    def _is_new_request(self, peer: Peer, global_time: int, content: bytes) -> bool:
        """Whether a request did not arrive before; it is remembered."""
        key = (peer.mid, global_time, content)
        if key in self._seen_requests:
            return False
        self._seen_requests[key] = None
        return True

    async def _ask_program(self, peer: Peer, callback: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of the program to a request of a peer; ``None`` if too many requests wait for answers."""
        if not self.prompts.may_ask(peer):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        return await self.prompts.ask(peer, callback, *arguments)

    # Sending

    def _send_at(self, address: Address, global_time: int, payload: Payload) -> None:
        """Send a signed message with a given global time."""
        self._ez_senda(address, GlobalTimeDistributionPayload(global_time), payload)

    def _send_payload(self, address: Address, payload: Payload) -> None:
        """Send a signed message."""
        self._send_at(address, self.claim_global_time(), payload)
