"""Pseudonyms, each with overlays of its own, and what people do with them: ask, attest, verify (doc/identity.md)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import sys
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from ..keyvault.crypto import default_eccrypto
from ..keyvault.passphrases import Passphrase
from ..limits import BoundedDict
from ..messaging.interfaces.udp.endpoint import UDPEndpoint
from ..peer import Peer
from ..reexports import reexports
from ..util import current_loop, succeed
from .credentials.store import CredentialStore, credentials_file
from .identity.community import IdentityCommunity, create_community
from .identity.manager import IdentityManager
from .pseudonyms import PseudonymFolderManager
from .waiting import Asked, OtherRequestError, WaitingRequests, refuse
from .wallet.base import PROMPT_LIFETIME
from .wallet.community import AttestationCommunity, AttestationSettings
from .wallet.database import AttestationsDB

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from ..community import PeerSource
    from ..keyvault.keys import PrivateKey
    from ..messaging.interfaces.endpoint import Endpoint
    from .credentials.exchange import CredentialExchange

__all__ = ["AttributePointer", "CommunicationChannel", "CommunicationManager", "MetadataDict", "OtherRequestError",
           "PseudonymFolderManager"]

T = TypeVar("T")

AttributePointer = tuple[Peer, str]
MetadataDict = dict[str, str]

MAX_OUTSTANDING = 1000
"""Requests of others that wait for a decision, of each kind; the oldest is refused first."""

MAX_OUTPUTS = 1000
"""Results of verifications that are kept; the oldest is forgotten first."""
LARGEST_QUICK_KEY = 96
"""Size of keys that are made at once. To make larger ones may take longer than the event loop should be blocked."""


class CommunicationChannel:
    """What one pseudonym does: the requests of others that wait, and the results of our own."""

    def __init__(self, attestation_community: AttestationCommunity, identity_community: IdentityCommunity) -> None:
        self.attestation_overlay = attestation_community
        self.identity_overlay = identity_community
        #: The name of the pseudonym, if the manager has one for it.
        self.name: str | None = None
        #: The requests of others: what each asks for.
        self.waiting_attestations: WaitingRequests[tuple[Future[bytes | None], str]] = WaitingRequests(
            MAX_OUTSTANDING, self._show_attestation)
        self.waiting_verifications: WaitingRequests[Future[bool | None]] = WaitingRequests(
            MAX_OUTSTANDING, lambda asked: self._publish_request("verification", asked))
        #: Requests for attestations that wait for :meth:`attest`, with their metadata as JSON.
        self.attestation_requests: dict[tuple[Peer, str], tuple[Future[bytes | None], str]] = (
            self.waiting_attestations.shown)
        #: Requests for verification that wait for :meth:`allow_verification`.
        self.verify_requests: dict[tuple[Peer, str], Future[bool | None]] = self.waiting_verifications.shown
        #: The results of verifications: for each hash the values, and how certain each is; ``None`` until it is known.
        self.verification_output: dict[bytes, list[tuple[bytes, float | None]]] = BoundedDict(MAX_OUTPUTS)
        #: What our own requests say besides the name, and what requests of others have said.
        self.attestation_metadata: dict[tuple[Peer, str], dict[str, Any]] = BoundedDict(MAX_OUTSTANDING)
        self._removals = 0

        self.attestation_overlay.set_attestation_request_callback(self.on_request_attestation)
        self.attestation_overlay.set_attestation_request_complete_callback(self.on_attestation_complete)
        self.attestation_overlay.set_verify_request_callback(self.on_verify_request)

    @property
    def public_key_bin(self) -> bytes:
        """The public key of the pseudonym."""
        return self.identity_overlay.my_peer.public_key.key_to_bin()

    @property
    def peers(self) -> list[Peer]:
        """The peers in the identity overlay of the pseudonym."""
        return self.identity_overlay.get_peers()

    @property
    def schemas(self) -> list[str]:
        """The names of the formats that attestations may have."""
        return list(self.attestation_overlay.schema_manager.formats)

    @property
    def credentials(self) -> CredentialExchange:
        """Issues, holds, presents and verifies credentials of the modern kind (doc/credentials.md)."""
        return self.identity_overlay.credentials

    # What others ask for

    def on_request_attestation(self, peer: Peer, attribute_name: str,
                               metadata: dict[str, str]) -> Future[bytes | None]:
        """A peer wants an attribute to be attested: wait for :meth:`attest`.

        While an earlier request of the peer for this name waits that has other metadata, this one is not shown.
        """
        future: Future[bytes | None] = current_loop().create_future()
        described = json.dumps(metadata)
        id_format = self.attestation_overlay.asked_formats.get((peer, attribute_name))
        self.waiting_attestations.add(Asked(peer, attribute_name, described, id_format), (future, described))
        self._forget_later(future)
        return future

    def _show_attestation(self, asked: Asked) -> None:
        self.attestation_metadata[asked.peer, asked.name] = json.loads(asked.metadata)
        self._publish_request("attestation", asked)

    def on_attestation_complete(self, for_peer: Peer, attribute_name: str, attribute_hash: bytes, id_format: str,
                                from_peer: Peer | None = None) -> None:
        """An attestation was made: describe it if it is ours, expect a description if it is of another peer."""
        overlay = self.identity_overlay
        metadata = self.attestation_overlay.described.get(attribute_hash)
        if metadata is None:
            metadata = self.attestation_metadata.get((for_peer, attribute_name))
        if for_peer != overlay.my_peer:
            overlay.add_known_hash(attribute_hash, attribute_name, for_peer.public_key.key_to_bin(), metadata)
        elif from_peer is None or from_peer == overlay.my_peer:
            overlay.self_advertise(attribute_hash, attribute_name, id_format, metadata)
        else:
            overlay.request_attestation_advertisement(from_peer, attribute_hash, attribute_name, id_format, metadata)

    def on_verify_request(self, peer: Peer, attribute_hash: bytes) -> Future[bool | None]:
        """A peer wants to verify an attribute of ours: wait for :meth:`allow_verification`.

        While an earlier request of the peer for another attribute of the same name waits, this one is not shown.
        """
        metadata = self.identity_overlay.get_attestation_by_hash(attribute_hash)
        name = None if metadata is None else metadata.get_dict().get("name")
        if not isinstance(name, str):
            return succeed(None)
        future: Future[bool | None] = current_loop().create_future()
        self.waiting_verifications.add(Asked(peer, name, attribute_hash=attribute_hash), future)
        self._forget_later(future)
        return future

    def _forget_later(self, future: Future[Any]) -> None:
        """Forget a request when nobody waits for the decision any more."""
        self.attestation_overlay.register_anonymous_task("forget request", refuse, None, future, delay=PROMPT_LIFETIME)

    def _publish_request(self, kind: str, asked: Asked) -> None:
        """Tell those who watch that a request waits for a decision."""
        overlay = self.identity_overlay
        if overlay.event_bus is not None:
            overlay.event_bus.publish("identity.request", {
                "pseudonym": self.name or overlay.my_peer.mid.hex(), "kind": kind,
                "peer": asked.peer.mid.hex(), "name": asked.name})

    # Decisions

    def attest(self, peer: Peer, attribute_name: str, value: bytes, *, request_id: str | None = None,
               metadata: str | dict[str, Any] | None = None) -> None:
        """Attest an attribute of a peer that has asked for it.

        The request may have ended since somebody looked at it, and another one may wait now. Whoever decides later
        than he looks, names what he has seen: its ``request_id``, or its metadata.

        :param request_id: that of ``waiting_attestations.asked((peer, attribute_name))``.
        :param metadata: that of the request: the JSON of :attr:`attestation_requests`, or the same as an object.
        :raises KeyError: if the peer has not asked for it.
        :raises OtherRequestError: if the request that waits is another one.
        """
        future = self.waiting_attestations.take((peer, attribute_name), request_id, metadata)
        if not future.done():
            future.set_result(value)

    def refuse_attestation(self, peer: Peer, attribute_name: str, *, request_id: str | None = None,
                           metadata: str | dict[str, Any] | None = None) -> None:
        """Do not attest an attribute of a peer that has asked for it; arguments and errors are as of :meth:`attest`."""
        refuse(None, self.waiting_attestations.take((peer, attribute_name), request_id, metadata))

    def allow_verification(self, peer: Peer, attribute_name: str, *, request_id: str | None = None) -> None:
        """Let a peer verify an attribute of ours that it has asked for.

        :param request_id: that of ``waiting_verifications.asked((peer, attribute_name))``, if we have several
            attributes of the same name.
        :raises KeyError: if the peer has not asked for it.
        :raises OtherRequestError: if the request that waits is another one.
        """
        self._decide(peer, attribute_name, True, request_id)

    def disallow_verification(self, peer: Peer, attribute_name: str, *, request_id: str | None = None) -> None:
        """Do not let a peer verify an attribute of ours that it has asked for; as :meth:`allow_verification`."""
        self._decide(peer, attribute_name, False, request_id)

    def _decide(self, peer: Peer, attribute_name: str, allowed: bool, request_id: str | None) -> None:
        future = self.waiting_verifications.take((peer, attribute_name), request_id)
        if not future.done():
            future.set_result(allowed)

    # What we ask for

    def request_attestation(self, peer: Peer, attribute_name: str, id_format: str, metadata: dict[str, Any]) -> None:
        """Ask a peer to attest an attribute.

        :param id_format: one of :attr:`schemas`.
        :param metadata: what else is to be attested. It is not changed.
        :raises KeyError: if there is no such format.
        :raises TypeError: if the name is no text, or the metadata is not of JSON values.
        :raises ValueError: if the metadata has a name that the request needs itself, is nested too deep, or has numbers
            that are not finite.
        """
        algorithm = self.attestation_overlay.get_id_algorithm(id_format)
        described = {key: value for key, value in metadata.items() if key != "id_format"}
        self.attestation_overlay.check_request(attribute_name, described)
        self.attestation_metadata[self.identity_overlay.my_peer, attribute_name] = described
        sent = {"id_format": id_format, **described}
        if self.attestation_overlay.schema_manager.formats[id_format].get("key_size", 0) > LARGEST_QUICK_KEY:
            self.attestation_overlay.register_anonymous_task("request attestation", self._request_later, peer,
                                                             attribute_name, id_format, sent, self._removals)
        else:
            self.attestation_overlay.request_attestation(peer, attribute_name, algorithm.generate_secret_key(), sent)

    async def _request_later(self, peer: Peer, attribute_name: str, id_format: str, sent: dict[str, Any],
                             removals: int) -> None:
        """Make a large key without blocking the event loop, then ask, unless everything was removed meanwhile."""
        secret_key = await self.attestation_overlay.generate_secret_key(id_format)
        if self._removals != removals:
            return
        self.attestation_overlay.request_attestation(peer, attribute_name, secret_key, sent)

    def verify(self, peer: Peer, attribute_hash: bytes, reference_values: list[bytes], id_format: str) -> None:
        """Verify an attribute of a peer. The result comes into :attr:`verification_output`.

        :param attribute_hash: identifies the attribute, 20 bytes.
        :param reference_values: the values that it may have.
        """
        self.attestation_overlay.verify_attestation_values(peer.address, attribute_hash, reference_values,
                                                           self.on_verification_results, id_format)
        self.verification_output[attribute_hash] = [(value, None) for value in reference_values]

    def on_verification_results(self, attribute_hash: bytes, values: list[float]) -> None:
        """The result of a verification."""
        asked = self.verification_output.get(attribute_hash)
        if asked is not None:
            self.verification_output[attribute_hash] = [(value, certainty) for (value, _), certainty
                                                        in zip(asked, values, strict=False)]

    def import_blob(self, attribute_name: str, id_format: str, metadata: dict[str, Any], value: bytes) -> None:
        """Keep an attestation that was made elsewhere, if the format allows that."""
        described = {key: entry for key, entry in metadata.items() if key != "id_format"}
        self.attestation_metadata[self.identity_overlay.my_peer, attribute_name] = described
        self.attestation_overlay.dump_blob(attribute_name, id_format, value, {"id_format": id_format, **described})

    # Attributes

    def get_my_attributes(self) -> dict[bytes, tuple[str, dict[str, Any], list[bytes]]]:
        """Our attributes, as of :meth:`get_attributes`."""
        return self.get_attributes(self.identity_overlay.my_peer)

    def get_attributes(self, peer: Peer) -> dict[bytes, tuple[str, dict[str, Any], list[bytes]]]:
        """The attributes of a peer that are known: name, description and public keys of who attests it, by hash.

        The hashes have 32 bytes.
        """
        manager = self.identity_overlay.identity_manager
        pseudonym = manager.get_pseudonym(peer.public_key)
        found = {}
        for credential in pseudonym.get_credentials():
            token = pseudonym.token_of(credential.metadata)
            description = credential.metadata.get_dict()
            if token is None or not isinstance(description.get("name"), str):
                continue  # others can send descriptions without tokens
            attesters = [manager.database.get_authority(attestation) for attestation in credential.attestations]
            found[token.content_hash] = description["name"], description, attesters
        return found

    def remove(self) -> None:
        """Delete all attributes of this pseudonym, its credentials, and the requests that wait."""
        self._removals += 1
        self.attestation_overlay.forget_requests()
        overlay = self.identity_overlay
        public_key = overlay.my_peer.public_key
        elements = overlay.identity_manager.get_pseudonym(public_key).tree.elements
        self.attestation_overlay.remove_attestations(token.content_hash for token in elements.values())
        overlay.forget_attributes()
        self.credentials.give_up()
        self.credentials.store.remove_key(public_key)
        self.waiting_attestations.clear()
        self.waiting_verifications.clear()
        self.attestation_metadata.clear()


class CommunicationManager:
    """The pseudonyms of a node.

    :param ipv8_instance: the node that the overlays of the pseudonyms belong to.
    :param pseudonym_folder: where their keys are.
    :param working_directory: where their databases are, or ``":memory:"``; by default that of the configuration.
    :param passphrase: encrypts the keys of new pseudonyms, the secrets of their attestations, and their credentials.
    :param bootstrappers: ways to the first peers; by default the public bootstrap servers.
    """

    def __init__(self, ipv8_instance: Any, pseudonym_folder: str = "pseudonyms", working_directory: str | None = None,
                 passphrase: str | bytes | Passphrase | None = None,
                 bootstrappers: Sequence[PeerSource] | None = None) -> None:
        self.ipv8_instance = ipv8_instance
        self.channels: dict[bytes, CommunicationChannel] = {}
        self.name_to_channel: dict[str, CommunicationChannel] = {}
        self.crypto = default_eccrypto
        loaded = ipv8_instance.get_overlay(IdentityCommunity)
        self.identity_manager: IdentityManager | None = None if loaded is None else loaded.identity_manager
        self.working_directory: str = (ipv8_instance.configuration.get("working_directory", ".")
                                       if working_directory is None else working_directory)
        # One object for all files: it remembers the keys that it has derived.
        self._passphrase = passphrase if passphrase is None or isinstance(passphrase, Passphrase) else Passphrase(
            passphrase)
        self.pseudonym_folder_manager = PseudonymFolderManager(pseudonym_folder, self._passphrase)
        self._bootstrappers = bootstrappers
        self._removals = self._shutdowns = 0
        self._own_identity_manager: IdentityManager | None = None

    def lazy_identity_manager(self) -> IdentityManager:
        """The manager of all pseudonyms; its database is opened when this is first called."""
        if self.identity_manager is None:
            self.identity_manager = self._own_identity_manager = IdentityManager(
                ":memory:" if self.working_directory == ":memory:"
                else os.path.join(self.working_directory, "sqlite", "identity.db"))
        return self.identity_manager

    def _tunnels(self) -> Any:
        """The overlay of the node that sends anonymously, if there is one."""
        package = (__package__ or "").rpartition(".")[0]
        module = sys.modules.get(f"{package}.messaging.anonymization.hidden_services")  # else it cannot be loaded
        return None if module is None else self.ipv8_instance.get_overlay(module.HiddenTunnelCommunity)

    async def load(self, name: str, rendezvous_token: str | None = None) -> CommunicationChannel:
        """The channel of a pseudonym; its key and its overlays are made if need be.

        :param rendezvous_token: base64 of what peers must know to meet this pseudonym.
        :raises ValueError: if the name or the token is not possible.
        :raises DatabaseException: if a file cannot be used.
        :raises RuntimeError: if all pseudonyms are unloaded meanwhile.
        """
        channel = self.name_to_channel.get(name)
        if channel is not None:
            return channel
        token = None if rendezvous_token is None else _decode_token(rendezvous_token)
        removals, shutdowns = self._removals, self._shutdowns
        private_key = await self._apart(self.pseudonym_folder_manager.get_or_create_private_key, name)
        channel = await self._make_channel(private_key, token)
        if self._shutdowns != shutdowns:
            await self._unload(channel)
            raise RuntimeError(f"the pseudonym {name!r} is not loaded, as all are unloaded at this moment")
        if self._removals != removals:  # this key may have been removed meanwhile
            await self._unload(channel)
            return await self.load(name, rendezvous_token)
        raced = self.name_to_channel.get(name)
        if raced is not None:
            await self._unload(channel)
            return raced
        channel.name = name
        self.channels[private_key.pub().key_to_bin()] = self.name_to_channel[name] = channel
        return channel

    async def _apart(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function; in a thread if there is a passphrase, as it takes long to make a key of that."""
        if self._passphrase is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

    async def _make_channel(self, private_key: PrivateKey, rendezvous_token: bytes | None) -> CommunicationChannel:
        tunnels = self._tunnels()
        if self._passphrase is not None:
            await self._apart(self._derive_keys)
        identity_manager = self.lazy_identity_manager()
        endpoint = await self._make_endpoint(tunnels is not None)
        identity_overlay: IdentityCommunity | None = None
        try:
            identity_overlay = await create_community(
                private_key, self.ipv8_instance, identity_manager, endpoint=endpoint,
                working_directory=self.working_directory, anonymize=tunnels is not None,
                rendezvous_token=rendezvous_token, bootstrappers=self._bootstrappers, passphrase=self._passphrase)
            attestation_overlay = AttestationCommunity(AttestationSettings(
                my_peer=identity_overlay.my_peer, endpoint=identity_overlay.endpoint, network=identity_overlay.network,
                working_directory=self.working_directory, passphrase=self._passphrase, anonymize=tunnels is not None))
            connect = getattr(identity_overlay.endpoint, "set_tunnel_community", None)
            if connect is not None:
                connect(tunnels)
            return CommunicationChannel(attestation_overlay, identity_overlay)
        except BaseException:
            if identity_overlay is not None:
                await self.ipv8_instance.unload_overlay(identity_overlay)
            await _close(endpoint)
            raise

    def _derive_keys(self) -> None:
        """Open the files of credentials and attestations once, so that the passphrase knows their keys."""
        if self.working_directory != ":memory:":
            store = CredentialStore(credentials_file(self.working_directory), self._passphrase)
            store.open()
            store.close()
            AttestationsDB(self.working_directory, AttestationSettings.db_name, self._passphrase).close()

    async def _make_endpoint(self, anonymous: bool) -> Endpoint:
        try:
            endpoint: Endpoint = await self.ipv8_instance.produce_anonymized_endpoint()
        except RuntimeError:  # this release has no tunnels
            if anonymous:
                raise
            endpoint = UDPEndpoint(0, self.ipv8_instance.endpoint.get_address()[0])
            await endpoint.open()
        return endpoint

    async def unload(self, name: str) -> None:
        """Unload the overlays of a pseudonym; nothing is done if it is not loaded."""
        channel = self.name_to_channel.pop(name, None)
        if channel is not None:
            self.channels.pop(channel.public_key_bin, None)
            await self._unload(channel)

    async def _unload(self, channel: CommunicationChannel) -> None:
        await self.ipv8_instance.unload_overlay(channel.identity_overlay)
        await channel.attestation_overlay.unload()
        await _close(channel.identity_overlay.endpoint)

    async def remove(self, name: str) -> None:
        """Delete a pseudonym: its attributes, its credentials and its key.

        :raises ValueError: if the name is not possible.
        """
        if name not in self.name_to_channel and name not in self.list_names():
            return
        channel = await self.load(name)
        channel.remove()
        self._removals += 1  # for those who load it at this moment
        self.pseudonym_folder_manager.remove_pseudonym_file(name)
        await self.unload(name)

    async def shutdown(self) -> None:
        """Unload all pseudonyms, and close the database that was opened here."""
        self._shutdowns += 1  # for those that are being loaded
        for name in tuple(self.name_to_channel):
            await self.unload(name)
        if self._own_identity_manager is not None:
            self._own_identity_manager.close()
            self.identity_manager = self._own_identity_manager = None

    def list_names(self) -> list[str]:
        """The names of all pseudonyms."""
        return self.pseudonym_folder_manager.list_pseudonym_files()

    def list_loaded(self) -> list[str]:
        """The names of the pseudonyms that are loaded."""
        return list(self.name_to_channel)


async def _close(endpoint: Endpoint) -> None:
    closing: Any = endpoint.close()
    if isawaitable(closing):
        await closing


def _decode_token(rendezvous_token: str) -> bytes:
    try:
        return base64.b64decode(rendezvous_token, validate=True)
    except binascii.Error as e:
        raise ValueError(f"the rendezvous token is not base64: {e}") from None


if TYPE_CHECKING:  # programs import these from here
    from ..keyvault.crypto import ECCrypto as ECCrypto
    from ..messaging.anonymization.hidden_services import HiddenTunnelCommunity as HiddenTunnelCommunity
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..keyvault.crypto": "ECCrypto", "..messaging.anonymization.hidden_services": "HiddenTunnelCommunity"})
