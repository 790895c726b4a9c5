"""The overlay in which subjects describe attributes, and authorities attest them (doc/protocol/identity.md)."""

from __future__ import annotations

import os
import struct
from binascii import unhexlify
from typing import TYPE_CHECKING, Any, ClassVar

from ... import clock
from ...bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ...bootstrapping.public import DISPERSY_BOOTSTRAPPER
from ...community import Community, CommunitySettings
from ...lazy_community import lazy_wrapper
from ...limits import BoundedDict, TokenBuckets
from ...messaging.interfaces.network_stats import DropCounter
from ...peer import Peer
from ...peerdiscovery.discovery import RandomWalk
from ...peerdiscovery.network import Network
from ...reexports import reexports
from ...verification import where_proven
from ..credentials.exchange import CredentialExchange
from ..foreign_json import is_same
from .attestation import Attestation
from .known_hashes import KnownHashes
from .manager import IdentityManager
from .payload import AttestPayload, DisclosePayload, MissingResponsePayload, RequestMissingPayload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...community import PeerSource
    from ...keyvault.keys import PrivateKey
    from ...keyvault.passphrases import Passphrase
    from ...messaging.interfaces.endpoint import Endpoint
    from ..credentials.store import CredentialStore
    from ..tokentree.token import Token
    from .database import Credential
    from .manager import Disclosure
    from .metadata import Metadata

__all__ = ["SAFE_UDP_PACKET_LENGTH", "IdentityCommunity", "IdentitySettings", "create_community"]

SAFE_UDP_PACKET_LENGTH = 1296
"""Bytes of a disclosure, or of the tokens in an answer."""

MAX_DISCLOSURE_SIZE = 16_384
"""Bytes of a disclosure of somebody else; larger ones are refused, as their signatures take too long to verify."""

MAX_PERMISSIONS = 1000
"""Peers that may see tokens of ours; the one that was permitted first is forgotten first."""

MAX_ATTESTERS = 64
"""Attestations over one description that are kept although they were not asked for."""

MAX_EXAMINED = 256
"""Descriptions of a subject that are looked at for a message, besides those in it: those of the newest tokens."""

MESSAGES_PER_SECOND, MESSAGES_AT_ONCE = 20.0, 100.0
"""Messages of each kind that are handled for one peer."""

FIRST_RETRY = 1.0
"""Seconds after which missing tokens are asked for again; doubled with each further time."""

MAX_RETRIES = 8
"""How often missing tokens are asked for without any progress."""

MAX_SUBJECTS_ASKED = 1000
"""Subjects that are asked for missing tokens at a time; the first one is given up first."""

RESEND_DELAYS = (2.0, 4.0, 8.0, 16.0)
"""Seconds after which a description is sent again that the authority has not attested."""

CLEANUP_INTERVAL = 60.0

HASH_PADDING = b"SHA-1" + bytes(7)
SHA1_SIZE = 20
RESERVED_KEYS = ("name", "date", "schema")


class IdentitySettings(CommunitySettings):
    """What an identity overlay is built from; all attributes can be given by keyword."""

    #: The manager to use; other overlays may use it too, and whoever made it closes it.
    identity_manager: IdentityManager | None = None
    #: The directory of the database, or ``":memory:"``.
    working_directory: str = "."
    #: The credentials that are held and issued; by default they are kept beside the database, or in memory.
    credential_store: CredentialStore | None = None
    #: Encrypts the credentials that are stored.
    passphrase: str | bytes | Passphrase | None = None


class _Missing:
    """What is known of a subject of whom tokens are missing."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.retries = 0
        self.timer: Any = None

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class IdentityCommunity(Community):
    """Describes attributes of ours to authorities, and attests those of others."""

    community_id = unhexlify("d5889074c1e4c50423cdb6e9307ee0ca5695ead7")
    settings_class: ClassVar[type[Any]] = IdentitySettings

    def __init__(self, settings: IdentitySettings) -> None:
        if not hasattr(settings, "network"):
            settings.network = Network()
        manager = settings.identity_manager
        if manager is None:
            directory = settings.working_directory
            manager = IdentityManager(":memory:" if directory == ":memory:"
                                      else os.path.join(directory, "sqlite", "identity.db"))
            manager.shared_by_overlays = True
            settings.identity_manager = manager
        self.identity_manager = manager
        self._retained: IdentityManager | None = None
        if manager.shared_by_overlays:
            manager.retain()
            self._retained = manager
        try:
            super().__init__(settings)
        except BaseException:
            self._release_manager()
            raise
        self.pseudonym_manager = manager.get_pseudonym(self.my_peer.key)
        #: What we attest if the subject describes it.
        self.known_attestation_hashes = KnownHashes()
        #: Our own attributes in the order in which they were made: their tokens, descriptions and attestations.
        self.token_chain: list[Token] = []
        self.metadata_chain: list[Metadata] = []
        self.attestation_chain: list[set[Attestation]] = []
        self._places: dict[bytes, int] = {}  # in these lists, by the hash of the description
        self._load_chains()
        #: How many entries of ``token_chain``, from the first one on, a peer may see.
        self.permissions: dict[Peer, int] = BoundedDict(MAX_PERMISSIONS)
        self._missing: BoundedDict[bytes, _Missing] = BoundedDict(MAX_SUBJECTS_ASKED, lambda _, entry: entry.cancel())
        self._budgets = TokenBuckets(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE)

        self.add_message_handler(DisclosePayload, self.on_disclosure)
        self.add_message_handler(AttestPayload, self.on_attest)
        self.add_message_handler(RequestMissingPayload, self.on_request_missing)
        self.add_message_handler(MissingResponsePayload, self.on_missing_response)
        #: Issues, holds, presents and verifies credentials (doc/credentials.md).
        self.credentials = CredentialExchange(self, settings)
        self.register_task("forget old attributes", self.known_attestation_hashes.forget_old,
                           interval=CLEANUP_INTERVAL)

    def _load_chains(self) -> None:
        """Restore our attributes in their order, from storage."""
        described: dict[bytes, Credential] = {}
        for credential in self.pseudonym_manager.get_credentials():
            described.setdefault(credential.metadata.token_pointer, credential)
        for token in self.pseudonym_manager.tree.longest_path():
            self.token_chain.append(token)
            known = described.get(token.get_hash())
            if known is not None:
                self._append_to_chain(known)

    def _append_to_chain(self, credential: Credential) -> None:
        self._places[credential.metadata.get_hash()] = len(self.metadata_chain)
        self.metadata_chain.append(credential.metadata)
        self.attestation_chain.append(credential.attestations)

    async def unload(self) -> None:
        """End all exchanges, and close the databases that this overlay has opened."""
        await self.credentials.shutdown()
        try:
            await super().unload()
        finally:
            self.credentials.close()
            self._release_manager()

    def _release_manager(self) -> None:
        manager, self._retained = self._retained, None
        if manager is not None:
            manager.release()

    # Our own attributes

    def pad_hash(self, attribute_hash: bytes) -> bytes:
        """32 bytes for the SHA-1 hash of an attribute."""
        return HASH_PADDING + attribute_hash

    def _padded(self, attribute_hash: bytes) -> bytes:
        return self.pad_hash(attribute_hash) if len(attribute_hash) == SHA1_SIZE else attribute_hash

    def get_attestation_by_hash(self, attribute_hash: bytes) -> Metadata | None:
        """The description of our attribute with this hash, of 20 or 32 bytes."""
        wanted = self._padded(attribute_hash)
        pseudonym = self.pseudonym_manager
        described = (pseudonym.database.metadata_over(pseudonym.public_key, token.get_hash())
                     for token in pseudonym.tree.elements.values() if token.content_hash == wanted)
        return next((metadata for metadata in described if metadata is not None), None)

    def self_advertise(self, attribute_hash: bytes, name: str, block_type: str = "id_metadata",
                       metadata: dict[str, Any] | None = None) -> Credential | None:
        """Describe an attribute of ours, without showing it to anybody.

        :param attribute_hash: identifies the attribute, 20 or 32 bytes.
        :param block_type: the schema of the attribute.
        :param metadata: further entries of the description.
        """
        description = {"name": name, "schema": block_type, "date": clock.time(), **(metadata or {})}
        after = self.metadata_chain[-1] if self.metadata_chain else None
        credential = self.pseudonym_manager.create_credential(self._padded(attribute_hash), description, after)
        if credential is not None:
            self.token_chain.append(self.pseudonym_manager.tree.elements[credential.metadata.token_pointer])
            self._append_to_chain(credential)
        return credential

    def request_attestation_advertisement(self, peer: Peer, attribute_hash: bytes, name: str,
                                          block_type: str = "id_metadata",
                                          metadata: dict[str, Any] | None = None) -> None:
        """Describe an attribute of ours, and ask an authority to attest the description.

        It is sent again a few times if the authority does not.
        """
        credential = self.self_advertise(attribute_hash, name, block_type, metadata)
        if credential is None:
            self.logger.warning("The attribute %s could not be described", name)
            return
        self.permissions[peer] = len(self.token_chain)
        self._disclose(peer, credential, 0)

    def _disclose(self, peer: Peer, credential: Credential, attempt: int) -> None:
        if attempt and (self.pseudonym_manager.token_of(credential.metadata) is None  # was forgotten meanwhile
                        or self.identity_manager.database.get_attestation_by(peer.public_key, credential.metadata)):
            return
        disclosure = self.pseudonym_manager.disclose_credentials([credential], set())
        self.ez_send(peer, DisclosePayload(*self._fit_disclosure(disclosure)))
        if attempt < len(RESEND_DELAYS):
            self.start_timer(RESEND_DELAYS[attempt], self._disclose, peer, credential, attempt + 1)

    def _fit_disclosure(self, disclosure: Disclosure) -> Disclosure:
        """Leave out the tokens at the end that do not fit into a packet. The receiver asks for them."""
        metadata, tokens, attestations, authorities = disclosure
        room = SAFE_UDP_PACKET_LENGTH - len(metadata) - len(attestations) - len(authorities)
        if len(tokens) > room:
            token_size = 64 + self.my_peer.public_key.get_signature_length()
            tokens = tokens[:max(0, room // token_size) * token_size]
            if room < 0:
                self.logger.warning("A disclosure has %d bytes besides its tokens: it may not arrive",
                                    SAFE_UDP_PACKET_LENGTH - room)
        return metadata, tokens, attestations, authorities

    def forget_attributes(self) -> None:
        """Delete all our attributes, and the attestations over them."""
        self.identity_manager.forget_pseudonym(self.my_peer.public_key)
        self.pseudonym_manager = self.identity_manager.get_pseudonym(self.my_peer.key)
        for chain in (self.token_chain, self.metadata_chain, self.attestation_chain):
            chain.clear()
        self._places.clear()
        self.permissions.clear()

    # Attributes of others

    def add_known_hash(self, attribute_hash: bytes, name: str, public_key: bytes,
                       metadata: dict[str, Any] | None = None) -> None:
        """Attest an attribute if a subject describes it within the next 300 seconds.

        :param attribute_hash: identifies the attribute, 20 or 32 bytes.
        :param name: the name that the description must have.
        :param public_key: the subject.
        :param metadata: what the description must have besides name, schema and date; ``None`` for anything.
        """
        self.known_attestation_hashes[self._padded(attribute_hash)] = (name, clock.time(), public_key, metadata)

    def should_sign(self, pseudonym: PseudonymManager, metadata: Metadata) -> bool:
        """Whether to attest a description of a subject: it is expected, and we have not yet."""
        return self._is_expected(pseudonym, metadata) and self._own_attestation(metadata) is None

    def _own_attestation(self, metadata: Metadata) -> Attestation | None:
        return self.identity_manager.database.get_attestation_by(self.my_peer.public_key, metadata)

    def _is_expected(self, pseudonym: PseudonymManager, metadata: Metadata) -> bool:
        token = pseudonym.token_of(metadata)
        known = None if token is None else self.known_attestation_hashes.get(token.content_hash)
        if token is None or known is None or known[2] != pseudonym.public_key.key_to_bin():
            return False
        description = metadata.get_dict()
        if not all(key in description for key in RESERVED_KEYS) or known[0] != description["name"]:
            return False
        if not self.known_attestation_hashes.is_current(token.content_hash):
            return False
        expected = known[3] if len(known) > 3 else None
        return expected is None or is_same(expected, {key: value for key, value in description.items()
                                                      if key not in RESERVED_KEYS})

    def _received_disclosure_for_attest(self, peer: Peer, disclosure: Disclosure) -> None:
        """Store what a subject has disclosed, attest what is expected, and ask for the tokens that are missing."""
        subject = peer.public_key.key_to_bin()
        required = set(self.known_attestation_hashes.of_subject(subject))
        if not required:
            self.drops.count(DropCounter.UNSOLICITED)
            self.logger.debug("%s has disclosed something, but nothing is expected of it", peer)
            return
        if sum(map(len, disclosure)) > MAX_DISCLOSURE_SIZE:
            self.drops.count(DropCounter.UNDECODABLE)
            return
        before = len(self.identity_manager.get_pseudonym(peer.public_key).tree.elements)
        try:
            _, pseudonym = self.identity_manager.substantiate(peer.public_key, *disclosure)
        except (struct.error, ValueError) as e:
            self.drops.count(DropCounter.UNDECODABLE)
            self.logger.debug("The disclosure of %s is malformed: %s", peer, e)
            return
        elements = pseudonym.tree.elements
        wanted = [token for token in elements.values() if token.content_hash in required]
        known = {token.content_hash for token in wanted}
        if wanted:
            told = self.identity_manager.token_pointers(disclosure[0])
            self._attest_expected(peer, pseudonym, disclosure[0], [
                token_hash for token_hash in (token.get_hash() for token in wanted[:-MAX_EXAMINED])
                if token_hash in told] + [token.get_hash() for token in wanted[-MAX_EXAMINED:]])
        missing = any(self.known_attestation_hashes.is_current(entry) for entry in required - known)
        has_grown = len(elements) > before
        if missing and (has_grown or disclosure[0]):
            self._ask_for_missing(peer, len(elements), has_grown)
        elif not missing:
            self._stop_asking(subject)

    def _attest_expected(self, peer: Peer, pseudonym: PseudonymManager, disclosed: bytes,
                         token_hashes: list[bytes]) -> None:
        """Attest what is expected and not attested yet; tell again what is, if it is in ``disclosed``."""
        for token_hash in token_hashes:
            metadata = self.identity_manager.database.metadata_over(peer.public_key, token_hash)
            if metadata is None:
                continue
            attestation = self._own_attestation(metadata)
            if attestation is None:
                if not self.should_sign(pseudonym, metadata):
                    continue
                private_key: PrivateKey = self.my_peer.key  # type: ignore[assignment]  # our own peer has the private key
                attestation = pseudonym.create_attestation(metadata, private_key)
                pseudonym.add_attestation(self.my_peer.public_key, attestation)
            elif metadata.get_plaintext_signed() not in disclosed or not self._is_expected(pseudonym, metadata):
                continue
            self.ez_send(peer, AttestPayload(attestation.get_plaintext_signed()))

    # Missing tokens

    def _ask_for_missing(self, peer: Peer, known: int, has_grown: bool) -> None:
        subject = peer.public_key.key_to_bin()
        entry = self._missing.get(subject)
        if entry is None:
            entry = self._missing[subject] = _Missing(peer)
        entry.peer = peer
        if has_grown:
            entry.retries = 0
        self.ez_send(peer, RequestMissingPayload(known))
        self._plan_retry(subject, entry)

    def _plan_retry(self, subject: bytes, entry: _Missing) -> None:
        entry.cancel()
        entry.timer = self.start_timer(FIRST_RETRY * 2 ** entry.retries, self._ask_again, subject)

    def _ask_again(self, subject: bytes) -> None:
        entry = self._missing.get(subject)
        if entry is None:
            return
        elements = self.identity_manager.get_pseudonym(entry.peer.public_key).tree.elements
        known = {token.content_hash for token in elements.values()}
        wanted = [attribute for attribute in self.known_attestation_hashes.of_subject(subject)
                  if attribute not in known and self.known_attestation_hashes.is_current(attribute)]
        entry.retries += 1
        if not wanted or entry.retries > MAX_RETRIES:
            self._stop_asking(subject)
            return
        self.ez_send(entry.peer, RequestMissingPayload(len(elements)))
        self._plan_retry(subject, entry)

    def _stop_asking(self, subject: bytes) -> None:
        entry = self._missing.pop(subject, None)
        if entry is not None:
            entry.cancel()

    # Messages

    def _is_within_budget(self, peer: Peer, kind: str) -> bool:
        allowed = self._budgets.take((kind, peer.public_key.key_to_bin()))
        if not allowed:
            self.drops.count(DropCounter.RATE_LIMITED)
        return allowed

    @lazy_wrapper(DisclosePayload)
    def on_disclosure(self, peer: Peer, disclosure: DisclosePayload) -> None:
        """Message 1: a subject describes an attribute."""
        if self._is_within_budget(peer, "disclosure"):
            self._received_disclosure_for_attest(peer, (disclosure.metadata, disclosure.tokens,
                                                        disclosure.attestations, disclosure.authorities))

    @lazy_wrapper(AttestPayload)
    def on_attest(self, peer: Peer, payload: AttestPayload) -> None:
        """Message 2: an authority attests a description of ours."""
        try:
            attestation = Attestation.unserialize(payload.attestation, peer.public_key)
        except struct.error:
            self.drops.count(DropCounter.UNDECODABLE)
            return
        if self._is_within_budget(peer, "attest") and not self._takes_attestation(peer, attestation):
            self.drops.count(DropCounter.UNSOLICITED)
            self.logger.debug("An attestation of %s is not stored", peer)

    def _takes_attestation(self, peer: Peer, attestation: Attestation) -> bool:
        """Store an attestation over a description of ours; whether it is valid and there is room for it."""
        database = self.identity_manager.database
        place = self._places.get(attestation.metadata_pointer)
        described = self.metadata_chain[place] if place is not None else next(
            (metadata for metadata in database.metadata_of(self.my_peer.public_key)
             if metadata.get_hash() == attestation.metadata_pointer), None)
        if described is None:
            return False
        if peer not in self.permissions and len(database.get_attestations_over(described)) >= MAX_ATTESTERS:
            return False
        if not self.pseudonym_manager.add_attestation(peer.public_key, attestation):
            return False
        if place is not None:
            # One authority may make any number of signatures over the same; the first one is stored.
            stored = database.get_attestation_by(peer.public_key, described)
            if stored is not None:
                self.attestation_chain[place].add(stored)
        return True

    @lazy_wrapper(RequestMissingPayload)
    def on_request_missing(self, peer: Peer, request: RequestMissingPayload) -> None:
        """Message 3: an authority asks for tokens of ours. It gets those that it may see."""
        permitted = self.token_chain[:self.permissions.get(peer, 0)]
        if not permitted or not self._is_within_budget(peer, "request"):
            return
        # The answer is larger than the question: it goes only to where the peer has proved to be.
        known = where_proven(self.network, peer)
        tokens = b""
        for token in permitted[request.known:]:
            serialized = token.get_plaintext_signed()
            if len(tokens) + len(serialized) > SAFE_UDP_PACKET_LENGTH:
                break
            tokens += serialized
        if tokens and known is not None:
            self.ez_send(known, MissingResponsePayload(tokens))

    @lazy_wrapper(MissingResponsePayload)
    def on_missing_response(self, peer: Peer, response: MissingResponsePayload) -> None:
        """Message 4: tokens of a subject that we have asked for."""
        if self._is_within_budget(peer, "response"):
            self._received_disclosure_for_attest(peer, (b"", response.tokens, b"", b""))


def _community_class(rendezvous_token: bytes | None) -> type[IdentityCommunity]:
    """The class of the overlay in which those meet who know ``rendezvous_token``."""
    if rendezvous_token is None:
        return IdentityCommunity
    base = IdentityCommunity.community_id
    token = rendezvous_token[:len(base)].ljust(len(base), b"\x00")
    return type(f"IdentityCommunity-{rendezvous_token.hex()}", (IdentityCommunity,),
                {"community_id": bytes(a ^ b for a, b in zip(base, token, strict=True))})


async def create_community(private_key: PrivateKey, ipv8: Any, identity_manager: IdentityManager,
                           endpoint: Endpoint | None = None, working_directory: str | None = None,
                           anonymize: bool = True, rendezvous_token: bytes | None = None,
                           bootstrappers: Sequence[PeerSource] | None = None, **settings: Any) -> IdentityCommunity:
    """Make an identity overlay for a key of its own, with an endpoint and a network of its own, and let it walk.

    :param ipv8: the node that walks for the overlay.
    :param endpoint: an open endpoint; by default a new one.
    :param working_directory: by default that of the configuration of the node.
    :param anonymize: send through tunnels.
    :param rendezvous_token: only those who know it meet in this overlay; at most 20 bytes count.
    :param bootstrappers: by default the public bootstrap servers.
    :param settings: further settings of the overlay.
    :raises RuntimeError: if ``anonymize`` is set and there are no tunnels.
    """
    if endpoint is None:
        endpoint = await ipv8.produce_anonymized_endpoint()
    if working_directory is None:
        working_directory = ipv8.configuration.get("working_directory", ".")
    community = _community_class(rendezvous_token)(IdentitySettings(
        my_peer=Peer(private_key), endpoint=endpoint, identity_manager=identity_manager,
        working_directory=working_directory, anonymize=anonymize, **settings))
    if bootstrappers is None:
        bootstrappers = [DispersyBootstrapper(**DISPERSY_BOOTSTRAPPER["init"])]
    community.bootstrappers = list(bootstrappers)
    ipv8.add_strategy(community, RandomWalk(community), -1)
    return community


if TYPE_CHECKING:  # programs import these from here
    from .manager import PseudonymManager as PseudonymManager
else:
    __getattr__, __dir__ = reexports(__name__, {".manager": "PseudonymManager"})
