"""How a subject gets an attestation, and how an authority makes one (doc/protocol/attestation.md, section 8.1)."""

from __future__ import annotations

import json
import sqlite3
from base64 import decodebytes, encodebytes
from dataclasses import dataclass
from hashlib import sha1
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock
from ...limits import ExpiringDict
from ...messaging.interfaces.network_stats import DropCounter
from ...util import current_loop, strip_sha1_padding
from ..foreign_json import read_object
from .base import BAD_ATTESTATION, WalletBase
from .caches import REQUEST_SECONDS, PeerCache, ReceiveAttestationRequestCache
from .chunks import chunks_of
from .payload import RequestAttestationPayload
from .primitives.steps import finish
from .work import SLICE_MICROSECONDS

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine, Iterable

    from ...messaging.address import Address
    from ...peer import Peer
    from ..identity_formats import Attestation, IdentityAlgorithm
    from .payload import AttestationChunkPayload
    from .settings import AttestationSettings

__all__ = ["EnrolmentProtocol"]

DEFAULT_FORMAT = "id_metadata"
RESERVED = ("attribute", "public_key", "id_format")
"""What a request says besides the metadata of the program."""

REQUEST_PREFIX = "receive-request-attestation"

INCOMPLETE_SECONDS = 2.0
"""Seconds without a chunk after which a subject asks again for an attestation of which it has a part."""

AGAIN_SECONDS = 1.0
"""Seconds after which an authority sends an attestation again that it is asked for again."""

MAX_MADE = 64
"""Attestations that an authority keeps for 120 s, to send them again; the oldest is forgotten first."""


class WantedAttestation(NamedTuple):
    """What a request asks for."""

    attribute: str
    public_key: Any
    id_format: str
    algorithm: IdentityAlgorithm[Any]
    metadata: dict[str, Any]


@dataclass
class MadeAttestation:
    """What was sent to a subject, and from when on it may be sent again."""

    address: Address
    blob: bytes
    again_from: float


class EnrolmentProtocol(WalletBase):
    """Requests, makes and receives attestations."""

    def __init__(self, settings: AttestationSettings) -> None:
        super().__init__(settings)
        self._made: ExpiringDict[tuple[bytes, int, bytes], MadeAttestation] = ExpiringDict(MAX_MADE, REQUEST_SECONDS)

    # The subject

    def request_attestation(self, peer: Peer, attribute_name: str, secret_key: Any,
                            metadata: dict[str, Any] | None = None) -> None:
        """Ask an authority to attest an attribute of ours.

        :param secret_key: a new key of the algorithm of the format.
        :param metadata: what the authority is told, as JSON. ``id_format`` in it is the format, by default
            ``id_metadata``. It is not changed.
        :raises KeyError: if there is no such format.
        :raises TypeError: if the name is no text, or the metadata is not of JSON values.
        :raises ValueError: if the metadata has a name that the request needs itself, is nested too deep, or has numbers
            that are not finite.
        :raises DataTooBigException: if the request does not fit into a packet.
        """
        self._request(peer, attribute_name, secret_key, metadata)

    async def request_attestation_async(self, peer: Peer, attribute_name: str, secret_key: Any,
                                        metadata: dict[str, Any] | None = None) -> bytes:
        """Do what :meth:`request_attestation` does, and wait for the attestation; its hash.

        :raises TimeoutError: if there is none after two minutes.
        :raises ValueError: also if what was received is no attestation for our key.
        """
        future: Future[bytes] = current_loop().create_future()
        self._request(peer, attribute_name, secret_key, metadata, future)
        return await future

    def _request(self, peer: Peer, name: str, secret_key: Any, metadata: dict[str, Any] | None,
                 future: Future[bytes] | None = None) -> None:
        others = dict(metadata or {})
        id_format = others.pop("id_format", DEFAULT_FORMAT)
        self.check_request(name, others)
        largest = self.get_id_algorithm(id_format).largest_blob
        self._warn(id_format, 3)
        public_key = encodebytes(secret_key.public_key().serialize()).decode()
        content = json.dumps({"attribute": name, "public_key": public_key, "id_format": id_format, **others}).encode()

        global_time = self.claim_global_time()
        moment = str(global_time).encode()
        cache = ReceiveAttestationRequestCache(self, peer.mid + moment, secret_key, name, id_format, largest)
        cache.metadata = others
        cache.timeout_callback = lambda: self._disallow(peer.mid, moment)
        if future is not None:
            cache.register_future(future, TimeoutError(f"{peer} did not attest {name!r} in time"))
        if self.request_cache.add(cache) is None:
            self.logger.warning("%r is not asked for: too many requests wait, or the overlay is being unloaded", name)
            return
        self.allowed_attestations.setdefault(peer.mid, []).append(moment)
        cache.send_again = lambda: self._send_at(peer.address, global_time, RequestAttestationPayload(content))
        try:
            cache.send_again()
        except Exception:
            self.request_cache.pop(cache.prefix, cache.number)
            self._disallow(peer.mid, moment)
            raise

    def check_request(self, attribute_name: str, metadata: dict[str, Any]) -> None:
        """Raise what :meth:`request_attestation` raises if an attestation cannot be requested with this metadata."""
        if not isinstance(attribute_name, str):
            raise TypeError(f"the name of an attribute is text, not {attribute_name!r}")
        taken = [reserved for reserved in RESERVED if reserved in metadata]
        if taken:
            raise ValueError(f"metadata must not have {taken[0]!r}: the request says that itself")
        try:
            read_object(json.dumps(metadata).encode())
        except (RecursionError, ValueError) as e:
            raise ValueError(f"no other program can read the metadata: {e}") from e

    def _disallow(self, mid: bytes, moment: bytes) -> None:
        """Accept no answer to a request any more."""
        moments = self.allowed_attestations.get(mid, [])
        if moment in moments:
            moments.remove(moment)
        if not moments:
            self.allowed_attestations.pop(mid, None)

    def forget_requests(self) -> None:
        """Take no attestation any more that was requested before this; whoever waits for one is cancelled."""
        for mid, moments in self.allowed_attestations.items():
            for moment in moments:
                number = PeerCache.id_from_address(REQUEST_PREFIX, mid + moment)
                if self.request_cache.has(*number):
                    for future, _ in self.request_cache.pop(*number).managed_futures:
                        future.cancel()
        self.allowed_attestations.clear()
        self._opening.clear()

    def _receive_requested(self, peer: Peer, global_time: int, payload: AttestationChunkPayload) -> Any:
        """Take a chunk of an attestation that was requested; a coroutine if there is more to do."""
        moment = str(global_time).encode()
        number = PeerCache.id_from_address(REQUEST_PREFIX, peer.mid + moment)
        cache = self.request_cache.get(*number) if moment in self.allowed_attestations.get(peer.mid, ()) else None
        if not isinstance(cache, ReceiveAttestationRequestCache):
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        try:
            blob = cache.assembly_of(payload.attestation_hash).add(payload.sequence_number, payload.data)
        except ValueError:
            self.drops.count(DropCounter.UNDECODABLE)
            return None
        if blob is None:
            self._expect_rest(cache, payload.attestation_hash)
            return None
        self.request_cache.pop(*number)
        self._disallow(peer.mid, moment)
        algorithm = self.get_id_algorithm(cache.id_format)
        if algorithm.estimate("open") >= SLICE_MICROSECONDS:
            return self._open_later(peer, cache, algorithm, blob)
        try:
            attestation = finish(algorithm.open_steps(cache.key, blob))
        except BAD_ATTESTATION as e:
            self._refuse_received(peer, cache, e)
        else:
            self._accept_received(peer, cache, algorithm, attestation)
        return None

    def _expect_rest(self, cache: ReceiveAttestationRequestCache, attestation_hash: bytes) -> None:
        """Note that a part of an attestation has arrived, and ask again if the rest does not."""
        cache.last_arrival = clock.monotonic()
        cache.may_ask_again |= attestation_hash in cache.known_hashes
        if cache.may_ask_again and not cache.is_watched:
            cache.is_watched = True
            self.start_timer(INCOMPLETE_SECONDS, self._ask_for_rest, cache)

    def _ask_for_rest(self, cache: ReceiveAttestationRequestCache) -> None:
        """Send a request again if a part of the attestation did not arrive.

        Authorities of other implementations make another attestation then, and ask their program again. So this is done
        once, and again only if the authority sends the same attestation again.
        """
        if self.request_cache.get(cache.prefix, cache.number) is not cache:
            return
        wait = cache.last_arrival + INCOMPLETE_SECONDS - clock.monotonic()
        cache.is_watched = wait > 0 or cache.may_ask_again
        if wait <= 0 and cache.may_ask_again:
            cache.may_ask_again = False
            cache.known_hashes = frozenset(cache.assemblies)
            cache.send_again()
            wait = INCOMPLETE_SECONDS
        if cache.is_watched:
            self.start_timer(wait, self._ask_for_rest, cache)

    async def _open_later(self, peer: Peer, cache: ReceiveAttestationRequestCache, algorithm: IdentityAlgorithm[Any],
                          blob: bytes) -> None:
        self._opening.add(cache)
        try:
            attestation = await self.workshop.open(algorithm, cache.key, blob)
        except BAD_ATTESTATION as e:
            self._refuse_received(peer, cache, e)
        else:
            if cache in self._opening:
                self._accept_received(peer, cache, algorithm, attestation)
            else:
                self._refuse_received(peer, cache, ValueError("it is not wanted any more"))
        finally:
            self._opening.discard(cache)

    def _refuse_received(self, peer: Peer, cache: ReceiveAttestationRequestCache, error: Exception) -> None:
        self.drops.count(DropCounter.UNDECODABLE)
        problem = f"what {peer} sent as an attestation of {cache.name!r} is none: {error}"
        self.logger.info("A request has failed: %s", problem)
        for future, _ in cache.managed_futures:
            if not future.done():
                future.set_exception(ValueError(problem))

    def _accept_received(self, peer: Peer, cache: ReceiveAttestationRequestCache, algorithm: IdentityAlgorithm[Any],
                         attestation: Attestation) -> None:
        if not algorithm.is_for(attestation, cache.key):
            self._refuse_received(peer, cache, ValueError("it is for another key"))
            return
        attestation_hash = attestation.get_hash()
        if cache.metadata is not None:
            self.described[attestation_hash] = cache.metadata
        waiting = [future for future, _ in cache.managed_futures if not future.done()]
        try:
            self.on_attestation_complete(attestation, cache.key, peer, cache.name, attestation_hash, cache.id_format)
        except Exception as e:
            for future in waiting:
                future.set_exception(e)
            raise
        finally:
            self.described.pop(attestation_hash, None)
        for future in waiting:
            future.set_result(attestation_hash)

    def on_attestation_complete(self, unserialized: Attestation, secret_key: Any, peer: Peer | None, name: str,
                                attestation_hash: bytes, id_format: str) -> None:
        """Store an attestation of ours, and tell the program.

        :param peer: the authority; ``None`` if it is not known.
        """
        try:
            self.database.insert_attestation(unserialized, attestation_hash, secret_key, id_format)
        except sqlite3.IntegrityError:
            self.logger.debug("The attestation %s is stored already", attestation_hash.hex())
        self.attestation_keys[attestation_hash] = secret_key, id_format
        self._tell_program(self.attestation_request_complete_callback, self.my_peer, name, attestation_hash, id_format,
                           peer)

    def dump_blob(self, attribute_name: str, id_format: str, blob: bytes,
                  metadata: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - a public signature
        """Take an attestation that was made elsewhere, as if we had made it ourselves.

        :raises NotImplementedError: if the algorithm of the format does not know such attestations.
        """
        algorithm = self.get_id_algorithm(id_format)
        private_blob, secret_key = algorithm.import_blob(blob)
        attestation = finish(algorithm.open_steps(secret_key, private_blob))
        self.on_attestation_complete(attestation, secret_key, self.my_peer, attribute_name, attestation.get_hash(),
                                     id_format)

    def remove_attestation(self, attestation_hash: bytes) -> None:
        """Delete an attestation of ours with its private key, and prove it to nobody any more.

        :param attestation_hash: 20 bytes, or the same padded to 32.
        """
        self.remove_attestations((attestation_hash,))

    def remove_attestations(self, hashes: Iterable[bytes]) -> None:
        """Do what :meth:`remove_attestation` does, for several: the file is written once."""
        short_hashes = [strip_sha1_padding(attestation_hash) for attestation_hash in hashes]
        self.database.remove_attestations(short_hashes)
        for short in short_hashes:
            self.attestation_keys.pop(short, None)
            self.consents.forget(short)

    # The authority

    def _handle_request(self, peer: Peer, global_time: int, content: bytes) -> Coroutine[Any, Any, None] | None:
        """What is to be done about a request for an attestation; ``None`` if nothing is."""
        if not self._admits_request(peer):
            return None
        number = (peer.mid, global_time, sha1(content, usedforsecurity=False).digest())
        if not self._is_new_request(peer, *number[1:]):
            made = self._made.get(number)
            if made is not None and made.address == peer.address and clock.monotonic() >= made.again_from:
                return self._ship(peer, global_time, made)  # a part of it may have been lost on its way
            self.drops.count(DropCounter.REPLAYED)
            return None
        try:
            wanted = self._read_request(content)
        except BAD_ATTESTATION as e:
            self.drops.count(DropCounter.UNDECODABLE)
            self.logger.debug("A request for an attestation from %s is refused: %s", peer, e)
            return None
        return self._attest_for(peer, number, wanted)

    def _read_request(self, content: bytes) -> WantedAttestation:
        """What a request asks for; an error of :data:`BAD_ATTESTATION` if that makes no sense."""
        metadata = read_object(content)
        name, public_key, id_format = (metadata.pop(reserved) for reserved in RESERVED)
        if not (isinstance(name, str) and isinstance(public_key, str) and isinstance(id_format, str)):
            raise TypeError("it has values of a wrong type")
        algorithm = self.get_id_algorithm(id_format)
        key = algorithm.load_public_key(decodebytes(public_key.encode()))
        algorithm.check_public_key(key)
        return WantedAttestation(name, key, id_format, algorithm, metadata)

    async def _attest_for(self, peer: Peer, number: tuple[bytes, int, bytes], wanted: WantedAttestation) -> None:
        """Ask the program for a value, attest it, and send the attestation.

        :param number: identifies the request: the mid of the peer, the global time and a hash of the content.
        """
        name, id_format = wanted.attribute, wanted.id_format
        self.asked_formats[peer, name] = id_format
        value = await self._ask_program(peer, self.attestation_request_callback, name, wanted.metadata)
        if value is None:
            return
        self._warn(id_format)
        try:
            blob = await self.workshop.attest(wanted.algorithm, self.schema_manager.formats[id_format],
                                              wanted.public_key, value)
        except ValueError as e:
            self.logger.warning("The value of %r cannot be attested in the format %s: %s", name, id_format, e)
            return
        attestation_hash = wanted.algorithm.get_attestation_class().unserialize(blob, id_format).get_hash()
        self.described[attestation_hash] = wanted.metadata
        try:
            self._tell_program(self.attestation_request_complete_callback, peer, name, attestation_hash, id_format,
                               None)
        finally:
            del self.described[attestation_hash]
        made = self._made[number] = MadeAttestation(peer.address, blob, 0.0)
        await self._ship(peer, number[1], made)

    async def _ship(self, peer: Peer, global_time: int, made: MadeAttestation) -> None:
        """Send an attestation to its subject."""
        made.again_from = inf
        if await self.shipping.admits(peer, made.blob, lambda: self.walk_to(peer.address)):
            self.send_attestation(peer.address, made.blob, global_time)
        else:
            self.drops.count(DropCounter.RATE_LIMITED)
        made.again_from = clock.monotonic() + AGAIN_SECONDS

    def send_attestation(self, socket_address: Address, blob: bytes, global_time: int | None = None) -> None:
        """Send an attestation in chunks: the first ones at once, the others a few at a time.

        :param global_time: that of the messages; the next one of ours if it is not given.
        """
        if global_time is None:
            global_time = self.claim_global_time()
        chunks, blob_hash = chunks_of(blob), sha1(blob, usedforsecurity=False).digest()
        start = self.shipping.send_group(socket_address, blob_hash, chunks, 0, global_time)
        if start < len(chunks):
            self.register_anonymous_task("send_attestation", self.shipping.send_rest, socket_address, blob_hash,
                                         chunks, start, global_time)
