"""Pseudonyms and their channels: requests, decisions, verifications, removal, and the files of keys."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ipv8.attestation import communication_manager as module, pseudonyms
from ipv8.attestation.communication_manager import CommunicationChannel, CommunicationManager, OtherRequestError
from ipv8.attestation.credentials.exchange import IssueOrder
from ipv8.attestation.identity.community import IdentityCommunity
from ipv8.attestation.identity.manager import IdentityManager
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.pseudonyms import PseudonymFolderManager, check_pseudonym_name
from ipv8.attestation.wallet.community import AttestationCommunity
from ipv8.database import CorruptDatabaseException
from ipv8.events import EventBus
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.files import write_private_file
from ipv8.keyvault.passphrases import Passphrase, ScryptCost, WrongPassphraseError, is_encrypted
from ipv8.peer import Peer
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8
from ipv8.test.quiescence import drain
from ipv8.util import strip_sha1_padding

CHEAP = ScryptCost(4, 8, 1)
SUBJECT, AUTHORITY, VERIFIER = 0, 1, 2


class ChannelTestBase(TestBase[IdentityCommunity]):
    """Three nodes, each with a pseudonym."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(IdentityCommunity, 3)

    def create_node(self, *_: Any) -> MockIPv8:
        node = MockIPv8("curve25519", IdentityCommunity, working_directory=":memory:")
        node.configuration = {"working_directory": ":memory:"}  # type: ignore[attr-defined]
        return node

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.folders = [self.temporary_directory() for _ in self.nodes]
        self.managers = [CommunicationManager(node, folder, bootstrappers=[])
                         for node, folder in zip(self.nodes, self.folders, strict=True)]
        self.channels: list[CommunicationChannel] = [await manager.load("me") for manager in self.managers]
        for channel in self.channels:
            for overlay in (channel.identity_overlay, channel.attestation_overlay):
                overlay.my_estimated_wan = self.address_of(channel)
            for other in self.channels:
                if other is not channel:
                    channel.identity_overlay.network.add_verified_peer(self.peer_of(other))
                    channel.identity_overlay.network.discover_services(
                        self.peer_of(other), [IdentityCommunity.community_id, AttestationCommunity.community_id])

    async def asyncTearDown(self) -> None:
        for manager in self.managers:
            await manager.shutdown()
        await super().asyncTearDown()

    def peer_of(self, channel: CommunicationChannel) -> Peer:
        return Peer(channel.identity_overlay.my_peer.public_key, self.address_of(channel))

    def address_of(self, channel: CommunicationChannel) -> Any:
        endpoint: Any = channel.identity_overlay.endpoint
        return endpoint.wan_address

    async def until(self, fact: Any) -> None:
        for _ in range(200):
            if fact():
                return
            await self.deliver_messages(0.05)
            await asyncio.sleep(0)
        pytest.fail("it did not become true")

    async def enrol(self, name: str = "name", value: bytes = b"value", metadata: dict[str, Any] | None = None,
                    authority: int = AUTHORITY) -> None:
        subject, attester = self.channels[SUBJECT], self.channels[authority]
        known = sum(len(entry[2]) for entry in subject.get_my_attributes().values())
        subject.request_attestation(self.peer_of(attester), name, "id_metadata", metadata or {})
        await self.until(lambda: attester.attestation_requests)
        attester.attest(self.peer_of(subject), name, value)
        await self.until(lambda: sum(len(entry[2]) for entry in subject.get_my_attributes().values()) > known)


class TestChannels(ChannelTestBase):

    async def test_enrolment_and_verification(self) -> None:
        given = {"extra": "more"}
        subject, authority, verifier = self.channels
        await self.enrol(metadata=given)
        assert given == {"extra": "more"}
        ((attribute_hash, (name, description, attesters)),) = subject.get_my_attributes().items()
        assert name == "name"
        assert description["extra"] == "more"
        assert description["schema"] == "id_metadata"
        assert "id_format" not in description
        assert attesters == [authority.public_key_bin]
        seen = authority.get_attributes(self.peer_of(subject))
        assert seen[attribute_hash] == (name, description, attesters)

        short = strip_sha1_padding(attribute_hash)
        assert len(short) == 20
        verifier.verify(self.peer_of(subject), short, [b"value", b"other"], "id_metadata")
        assert verifier.verification_output[short] == [(b"value", None), (b"other", None)]
        await self.until(lambda: subject.verify_requests)
        assert list(subject.verify_requests) == [(self.peer_of(verifier), "name")]
        subject.allow_verification(self.peer_of(verifier), "name")
        await self.until(lambda: verifier.verification_output[short][0][1] is not None)
        (_, right), (_, wrong) = verifier.verification_output[short]
        assert right is not None
        assert right > 0.99
        assert wrong == 0.0

    async def test_requests_that_wait_are_told(self) -> None:
        subject, authority, verifier = self.channels
        asked, proved = EventBus(), EventBus()
        authority.identity_overlay.event_bus, subject.identity_overlay.event_bus = asked, proved
        with asked.subscribe() as at_authority, proved.subscribe() as at_subject:
            await self.enrol()
            ((attribute_hash, _),) = subject.get_my_attributes().items()
            verifier.verify(self.peer_of(subject), strip_sha1_padding(attribute_hash), [b"value"], "id_metadata")
            await self.until(lambda: subject.verify_requests)
            told = [[(event.topic, event.data) for event in subscription.take_nowait()]
                    for subscription in (at_authority, at_subject)]
        assert told == [[("identity.request", {"pseudonym": "me", "kind": kind, "name": "name",
                                               "peer": self.peer_of(other).mid.hex()})]
                        for kind, other in (("attestation", subject), ("verification", verifier))]

    async def test_several_authorities_attest_one_subject(self) -> None:
        await self.enrol("one")
        await self.enrol("two", authority=VERIFIER)
        assert sorted(entry[2][0] for entry in self.channels[SUBJECT].get_my_attributes().values()) == sorted(
            channel.public_key_bin for channel in self.channels[1:])

    async def test_metadata_cannot_be_replaced_after_the_decision(self) -> None:
        """Another request for the same name, while the attestation is being made, does not change what is attested."""
        subject, authority, _ = self.channels
        workshop: Any = authority.attestation_overlay.workshop
        go_on = asyncio.Event()
        attest = workshop.attest

        async def slow(*arguments: Any) -> Any:
            await go_on.wait()
            return await attest(*arguments)

        workshop.attest = slow
        peer = self.peer_of(subject)
        subject.request_attestation(self.peer_of(authority), "name", "id_metadata", {"role": "guest"})
        await self.until(lambda: authority.attestation_requests)
        authority.attest(peer, "name", b"value")
        subject.request_attestation(self.peer_of(authority), "name", "id_metadata", {"role": "owner"})
        await self.until(lambda: authority.attestation_requests)
        authority.attestation_metadata.clear()  # as after many requests of others
        go_on.set()
        await self.until(lambda: authority.identity_overlay.known_attestation_hashes)
        (expected,) = authority.identity_overlay.known_attestation_hashes.values()
        assert expected[3] == {"role": "guest"}
        await self.until(lambda: any(entry[2] for entry in subject.get_my_attributes().values()))
        assert [entry[1]["role"] for entry in subject.get_my_attributes().values()] == ["guest"]

    async def test_requests_for_one_name_with_different_metadata(self) -> None:
        subject, *authorities = self.channels
        for number, authority in enumerate(authorities):
            subject.request_attestation(self.peer_of(authority), "name", "id_metadata", {"number": number})
        await self.until(lambda: all(authority.attestation_requests for authority in authorities))
        for authority in authorities:
            authority.attest(self.peer_of(subject), "name", b"value")
        await self.until(lambda: sum(len(entry[2]) for entry in subject.get_my_attributes().values()) == 2)
        assert sorted((entry[1]["number"], entry[2]) for entry in subject.get_my_attributes().values()) == [
            (number, [authority.public_key_bin]) for number, authority in enumerate(authorities)]

    async def test_disallowed_verification(self) -> None:
        subject, _, verifier = self.channels
        await self.enrol()
        (attribute_hash,) = map(strip_sha1_padding, subject.get_my_attributes())
        verifier.verify(self.peer_of(subject), attribute_hash, [b"value"], "id_metadata")
        await self.until(lambda: subject.verify_requests)
        subject.disallow_verification(self.peer_of(verifier), "name")
        await self.deliver_messages()
        assert verifier.verification_output[attribute_hash] == [(b"value", None)]

    async def test_metadata_of_requests_is_shown_as_json(self) -> None:
        subject, authority, _ = self.channels
        subject.request_attestation(self.peer_of(authority), "name", "id_metadata", {"psn": "1234", "id_format": "x"})
        await self.until(lambda: authority.attestation_requests)
        ((pointer, (future, metadata)),) = authority.attestation_requests.items()
        assert pointer == (self.peer_of(subject), "name")
        assert json.loads(metadata) == {"psn": "1234"}
        assert not future.done()

    async def test_decisions_about_nothing(self) -> None:
        peer = self.peer_of(self.channels[SUBJECT])
        call: Any
        for call in (lambda: self.channels[AUTHORITY].attest(peer, "name", b""),
                     lambda: self.channels[AUTHORITY].allow_verification(peer, "name"),
                     lambda: self.channels[AUTHORITY].disallow_verification(peer, "name")):
            with pytest.raises(KeyError):
                call()

    async def test_unknown_formats(self) -> None:
        subject, authority, _ = self.channels
        with pytest.raises(KeyError):
            subject.request_attestation(self.peer_of(authority), "name", "id_unknown", {})
        for name, metadata in (("name", {"a": float("nan")}), ("name", {"public_key": "x"}), (b"name", {})):
            with pytest.raises((TypeError, ValueError)):
                subject.request_attestation(self.peer_of(authority), name, "id_metadata", metadata)  # type: ignore[arg-type]
        assert not subject.attestation_metadata
        assert "id_metadata" in subject.schemas

    async def test_verification_of_what_we_do_not_have(self) -> None:
        subject = self.channels[SUBJECT]
        future = subject.on_verify_request(self.peer_of(self.channels[VERIFIER]), bytes(20))
        assert await future is None

    async def test_newer_requests_replace_older_ones(self) -> None:
        authority, peer = self.channels[AUTHORITY], self.peer_of(self.channels[SUBJECT])
        first = authority.on_request_attestation(peer, "name", {})
        second = authority.on_request_attestation(peer, "name", {})
        assert await first is None
        authority.attest(peer, "name", b"value")
        assert await second == b"value"

    async def test_a_newer_request_for_something_else_is_not_what_is_attested(self) -> None:
        """A person who has seen a request decides about that one, whatever has arrived since."""
        subject, authority, _ = self.channels
        peer = self.peer_of(subject)
        subject.request_attestation(self.peer_of(authority), "name", "id_metadata", {"role": "guest"})
        await self.until(lambda: authority.attestation_requests)
        for id_format, role in (("id_metadata", "owner"), ("id_metadata_big", "guest")):
            dropped = len(authority.attestation_overlay._seen_requests)
            subject.request_attestation(self.peer_of(authority), "name", id_format, {"role": role})
            await self.until(lambda dropped=dropped: len(authority.attestation_overlay._seen_requests) > dropped)
            await self.deliver_messages(0.05)
        ((_, metadata),) = authority.attestation_requests.values()
        assert json.loads(metadata) == {"role": "guest"}
        authority.attest(peer, "name", b"value")
        await self.until(lambda: any(entry[2] for entry in subject.get_my_attributes().values()))
        ((_, description, _),) = subject.get_my_attributes().values()
        assert (description["role"], description["schema"]) == ("guest", "id_metadata")
        # The newest of the others is shown then.
        asked = authority.waiting_attestations.asked((peer, "name"))
        assert asked is not None
        assert (asked.metadata, asked.id_format) == ('{"role": "guest"}', "id_metadata_big")
        with pytest.raises(OtherRequestError, match="look at it"):
            authority.attest(peer, "name", b"value", metadata={"role": "owner"})
        with pytest.raises(OtherRequestError):
            authority.refuse_attestation(peer, "name", request_id="0" * 64)
        authority.refuse_attestation(peer, "name", metadata={"role": "guest"}, request_id=asked.request_id)
        assert not authority.attestation_requests

    async def test_a_verification_of_another_attribute_of_the_same_name(self) -> None:
        subject, _, verifier = self.channels
        for value in (b"one", b"two"):
            await self.enrol("name", value)
        one, two = map(strip_sha1_padding, subject.get_my_attributes())
        peer = self.peer_of(verifier)
        first = subject.on_verify_request(peer, one)
        seen = subject.waiting_verifications.asked((peer, "name"))
        second = subject.on_verify_request(peer, two)
        assert seen is not None
        subject.allow_verification(peer, "name", request_id=seen.request_id)
        assert await asyncio.wait_for(first, 60.0)
        await asyncio.sleep(0)
        assert list(subject.verify_requests.values()) == [second]
        for decide in (subject.allow_verification, subject.disallow_verification):
            with pytest.raises(OtherRequestError):
                decide(peer, "name", request_id=seen.request_id)
        subject.disallow_verification(peer, "name")
        assert await second is False

    async def test_requests_are_forgotten_when_nobody_waits_any_more(self) -> None:
        authority, subject = self.channels[AUTHORITY], self.channels[SUBJECT]
        peer = Peer(subject.public_key_bin)
        known = Metadata(b"t" * 32, b'{"name": "age"}', signature=b"s" * 64)
        with (patch.object(module, "PROMPT_LIFETIME", 0.0),
              patch.object(authority.identity_overlay, "get_attestation_by_hash", lambda _: known)):
            wanted = authority.on_request_attestation(peer, "name", {})
            asked = authority.on_verify_request(peer, b"h" * 20)
        newer = authority.on_request_attestation(peer, "age", {})
        assert await asyncio.wait_for(wanted, 60.0) is None
        assert await asyncio.wait_for(asked, 60.0) is None
        await drain()
        assert list(authority.attestation_requests) == [(peer, "age")]
        assert not authority.verify_requests
        assert not newer.done()

    async def test_waiting_requests_are_bounded(self) -> None:
        authority, peer = self.channels[AUTHORITY], self.peer_of(self.channels[SUBJECT])
        futures = [authority.on_request_attestation(peer, f"{number}", {}) for number in range(
            module.MAX_OUTSTANDING + 1)]
        assert await futures[0] is None
        assert not futures[1].done()
        assert len(authority.attestation_requests) == module.MAX_OUTSTANDING

    async def test_descriptions_that_others_made_up(self) -> None:
        """Metadata without a token, and metadata that is no object or has no name."""
        channel = self.channels[AUTHORITY]
        key = default_eccrypto.generate_key("curve25519")
        pseudonym = channel.identity_overlay.identity_manager.get_pseudonym(key)
        pseudonym.add_metadata(Metadata(bytes(32), b'{"name": "x"}', key))
        pseudonym.tree.add_by_hash(bytes(32))
        for text in (b"[1]", b'{"name": 1}', b"{"):
            token = pseudonym.tree.add(text)
            pseudonym.add_credential(token, Metadata(token.get_hash(), text, key))
        assert channel.get_attributes(Peer(key.pub())) == {}

    async def test_removing_leaves_nothing(self) -> None:
        await self.enrol()
        subject = self.channels[SUBJECT]
        subject.on_request_attestation(self.peer_of(self.channels[VERIFIER]), "other", {})
        database = subject.identity_overlay.identity_manager.database
        wallet = subject.attestation_overlay

        def rows() -> list[int]:
            return [len(list(database.execute(f"SELECT 1 FROM {table} WHERE public_key = ?",
                                              (subject.public_key_bin,))))
                    for table in ("Tokens", "Metadata", "Attestations")] + [len(wallet.database.get_all()),
                                                                           len(wallet.attestation_keys)]

        assert rows() == [1, 1, 1, 1, 1]
        subject.remove()
        assert rows() == [0, 0, 0, 0, 0]
        assert not subject.attestation_requests
        assert subject.get_my_attributes() == {}

    async def test_what_was_requested_before_is_not_kept_after_removing(self) -> None:
        subject, authority, _ = self.channels
        wallet = subject.attestation_overlay
        for channel in (subject, authority):
            channel.attestation_overlay.schema_manager.register_schema(
                "id_large", "pengbaorange", {"key_size": 128, "min": 18, "max": 200})
        for at in ("asked", "opening"):
            go_on, opening = asyncio.Event(), asyncio.Event()
            workshop: Any = wallet.workshop
            open_attestation = workshop.open

            async def slow(*arguments: Any, go_on: asyncio.Event = go_on, opening: asyncio.Event = opening,
                           open_attestation: Any = open_attestation) -> Any:
                opening.set()
                await go_on.wait()
                return await open_attestation(*arguments)

            workshop.open = slow
            subject.request_attestation(self.peer_of(authority), at, "id_large", {})
            await self.until(lambda: authority.attestation_requests)
            if at == "asked":
                subject.remove()
            authority.attest(self.peer_of(subject), at, b"\x20")
            if at == "opening":
                await self.until(opening.is_set)
                subject.remove()
            go_on.set()
            await self.deliver_messages(0.3)
            workshop.open = open_attestation
            assert not wallet.attestation_keys
            assert not wallet.database.get_all()
            assert not wallet.allowed_attestations
            assert not subject.get_my_attributes()

    async def test_a_credential_that_was_requested_before_is_not_kept_after_removing(self) -> None:
        subject, authority, _ = self.channels
        go_on = asyncio.Event()

        async def issue(*_: Any) -> dict[str, Any]:
            await go_on.wait()
            return {"city": "Delft"}

        authority.credentials.set_issue_callback(issue)
        asked = asyncio.ensure_future(subject.credentials.request_credential(self.peer_of(authority), "type"))
        await self.deliver_messages(0.05)
        subject.remove()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await self.deliver_messages(0.05)
        assert subject.credentials.held() == []

    async def test_a_key_that_is_made_while_everything_is_removed(self) -> None:
        subject, authority, _ = self.channels
        subject.attestation_overlay.schema_manager.register_schema(
            "id_large", "bonehexact", {"key_size": 128, "hash": "sha256_4"})
        subject.request_attestation(self.peer_of(authority), "name", "id_large", {})
        subject.remove()
        await self.deliver_messages(0.3)
        assert not subject.attestation_overlay.allowed_attestations

    async def test_formats_that_cannot_be_imported(self) -> None:
        with pytest.raises(NotImplementedError):
            self.channels[SUBJECT].import_blob("name", "id_metadata", {}, b"blob")

    async def test_large_keys_are_made_in_the_background(self) -> None:
        subject, authority, _ = self.channels
        for channel in (subject, authority):
            channel.attestation_overlay.schema_manager.register_schema(
                "id_large", "bonehexact", {"key_size": 128, "hash": "sha256_4"})
        subject.request_attestation(self.peer_of(authority), "name", "id_large", {})
        assert not authority.attestation_requests
        await self.until(lambda: authority.attestation_requests)


class TestManagers(ChannelTestBase):

    async def test_loading_and_unloading(self) -> None:
        manager = self.managers[0]
        assert await manager.load("me") is self.channels[0]
        other = await manager.load("other")
        assert other.public_key_bin != self.channels[0].public_key_bin
        assert sorted(manager.list_names()) == sorted(manager.list_loaded()) == ["me", "other"]
        assert manager.channels[other.public_key_bin] is other
        await manager.unload("other")
        await manager.unload("other")
        assert manager.list_loaded() == ["me"]
        assert manager.list_names() == ["me", "other"]
        assert not other.identity_overlay.endpoint.is_open()
        again = await manager.load("other")
        assert again.public_key_bin == other.public_key_bin

    async def test_loading_twice_at_the_same_time(self) -> None:
        one, two = await asyncio.gather(self.managers[0].load("new"), self.managers[0].load("new"))
        assert one is two
        assert [overlay for overlay in self.nodes[0].overlays if overlay.my_peer == one.identity_overlay.my_peer] == [
            one.identity_overlay]

    async def test_removing(self) -> None:
        manager, channel = self.managers[0], self.channels[0]
        await manager.remove("me")
        await manager.remove("me")
        assert manager.list_names() == manager.list_loaded() == []
        assert channel.identity_overlay not in self.nodes[0].overlays
        assert (await manager.load("me")).public_key_bin != channel.public_key_bin

    async def test_removing_what_is_not_loaded(self) -> None:
        manager, before = self.managers[0], self.channels[0].public_key_bin
        await manager.unload("me")
        await manager.remove("me")
        assert (await manager.load("me")).public_key_bin != before

    async def loading_slowly(self, manager: Any, name: str) -> tuple[asyncio.Future[Any], asyncio.Event]:
        """A pseudonym whose overlays are made, but that is not loaded before an event is set."""
        make, made, go_on = manager._make_channel, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            channel = await make(*arguments)
            if not made.is_set():
                made.set()
                await go_on.wait()
            return channel

        manager._make_channel = slow
        loading = asyncio.ensure_future(manager.load(name))
        await made.wait()
        return loading, go_on

    async def test_loading_begun_before_it_is_removed(self) -> None:
        manager: Any = self.managers[0]
        await manager.unload("me")
        loading, go_on = await self.loading_slowly(manager, "me")
        await manager.remove("me")
        go_on.set()
        channel = await loading
        assert channel.public_key_bin != self.channels[0].public_key_bin
        key = manager.pseudonym_folder_manager.get_or_create_private_key("me")
        assert channel.public_key_bin == key.pub().key_to_bin()

    async def test_loading_begun_before_the_shutdown(self) -> None:
        manager: Any = self.managers[0]
        loading, go_on = await self.loading_slowly(manager, "new")
        overlays = list(self.nodes[0].overlays)
        await manager.shutdown()
        go_on.set()
        with pytest.raises(RuntimeError, match="unloaded"):
            await loading
        assert not manager.list_loaded()
        assert len(self.nodes[0].overlays) == len(overlays) - 2

    async def test_a_file_that_cannot_be_used_leaves_nothing_running(self) -> None:
        node, directory = self.nodes[0], self.temporary_directory()
        endpoints: list[Any] = []
        produce = node.produce_anonymized_endpoint

        async def recorded() -> Any:
            endpoints.append(await produce())
            return endpoints[-1]

        node.produce_anonymized_endpoint = recorded  # type: ignore[method-assign]
        (Path(directory) / "sqlite").mkdir()
        (Path(directory) / "sqlite" / "attestations.db").write_bytes(b"this is no database, but long enough" * 100)
        manager = CommunicationManager(node, directory, directory, bootstrappers=[])
        overlays = list(node.overlays)
        with pytest.raises(CorruptDatabaseException):
            await manager.load("new")
        assert node.overlays == overlays
        assert endpoints
        assert not any(endpoint.is_open() for endpoint in endpoints)
        assert not manager.list_loaded()
        await manager.shutdown()

    async def test_rendezvous_tokens(self) -> None:
        manager = self.managers[0]
        channel = await manager.load("secret", base64.b64encode(b"abc").decode())
        assert channel.identity_overlay.community_id.hex() == "b4eaf374c1e4c50423cdb6e9307ee0ca5695ead7"
        with pytest.raises(ValueError, match="base64"):
            await manager.load("other", "!")

    async def test_the_manager_of_a_loaded_overlay_is_used(self) -> None:
        assert self.managers[0].lazy_identity_manager() is self.overlay(0).identity_manager
        own, self.nodes[0].overlay = self.nodes[0].overlay, None
        alone = CommunicationManager(self.nodes[0], self.folders[0], ":memory:")
        assert alone.identity_manager is None
        assert isinstance(alone.lazy_identity_manager(), IdentityManager)
        assert alone.lazy_identity_manager() is alone.identity_manager
        database = alone.lazy_identity_manager().database
        await alone.shutdown()
        assert database.execute("SELECT 1") is None
        self.nodes[0].overlay = own

    async def test_traffic_is_anonymous_if_the_node_has_tunnels(self) -> None:
        channel = self.channels[0]
        assert not channel.identity_overlay.anonymize
        assert not channel.attestation_overlay.anonymize

        class Tunnels(IdentityCommunity):
            pass

        name = "ipv8.messaging.anonymization.hidden_services"
        replaced = sys.modules.get(name)
        sys.modules[name] = type(sys)("tunnels")
        sys.modules[name].HiddenTunnelCommunity = IdentityCommunity  # type: ignore[attr-defined]
        try:
            hidden = await self.managers[0].load("hidden")
            assert hidden.identity_overlay.anonymize
            assert hidden.attestation_overlay.anonymize
        finally:
            del sys.modules[name]
            if replaced is not None:
                sys.modules[name] = replaced

    async def test_nodes_without_tunnels_get_a_socket(self) -> None:
        """Unless the traffic must be anonymous."""
        manager = self.managers[0]

        async def no_tunnels() -> Any:
            raise RuntimeError("no tunnels")

        self.nodes[0].produce_anonymized_endpoint = no_tunnels  # type: ignore[method-assign]
        self.nodes[0].endpoint.get_address = lambda: ("127.0.0.1", 0)
        channel = await manager.load("plain")
        assert channel.identity_overlay.endpoint.is_open()
        assert channel.identity_overlay.endpoint.get_address()[0] == "127.0.0.1"
        await manager.unload("plain")
        with pytest.raises(RuntimeError, match="no tunnels"):
            await manager._make_endpoint(True)


def contents_of(directory: str) -> list[bytes]:
    return [path.read_bytes() for path in Path(directory).rglob("*") if path.is_file()]


class TestPassphrases(TestBase[IdentityCommunity]):

    def setUp(self) -> None:
        super().setUp()
        self.initialize(IdentityCommunity, 1)
        self.directory = self.temporary_directory()

    def create_node(self, *_: Any) -> MockIPv8:
        return MockIPv8("curve25519", IdentityCommunity, working_directory=":memory:")

    def manager(self, passphrase: str | None) -> CommunicationManager:
        return CommunicationManager(self.nodes[0], f"{self.directory}/pseudonyms", self.directory, bootstrappers=[],
                                    passphrase=None if passphrase is None else Passphrase(passphrase, CHEAP))

    async def test_everything_is_encrypted(self) -> None:
        manager = self.manager("secret")
        channel = await manager.load("me")
        held = channel.credentials.issue(channel.identity_overlay.my_peer.public_key, "type",
                                         IssueOrder({"city": "Delft"}))
        channel.credentials.store.add_held(channel.identity_overlay.my_peer.public_key, held)
        key = channel.identity_overlay.my_peer.key
        await manager.shutdown()
        for content in contents_of(self.directory):
            assert b"Delft" not in content
            assert key.key_to_bin()[10:] not in content
        again = self.manager("secret")
        loaded = await again.load("me")
        assert [entry.values for entry in loaded.credentials.held()] == [{"city": "Delft"}]
        await again.shutdown()
        for wrong in ("wrong", None):
            with pytest.raises((WrongPassphraseError, PermissionError)):
                await self.manager(wrong).load("me")

    async def test_keys_are_derived_apart_from_the_event_loop(self) -> None:
        derived_in: set[int] = set()

        class Watched(Passphrase):
            def _key(self, cost: ScryptCost, salt: bytes) -> bytes:
                if (cost, salt) not in self._keys:
                    derived_in.add(threading.get_ident())
                return super()._key(cost, salt)

        manager = CommunicationManager(self.nodes[0], f"{self.directory}/pseudonyms", self.directory, bootstrappers=[],
                                       passphrase=Watched("secret", CHEAP))
        channel = await manager.load("me")
        assert channel.credentials.held() == []
        assert derived_in
        assert threading.get_ident() not in derived_in
        await manager.shutdown()


# Files of keys

def folder(path: Path, passphrase: str | None = None) -> PseudonymFolderManager:
    return PseudonymFolderManager(str(path), None if passphrase is None else Passphrase(passphrase, CHEAP))


def test_keys_are_kept(tmp_path: Path) -> None:
    manager = folder(tmp_path / "pseudonyms")
    assert manager.list_pseudonym_files() == []
    key = manager.get_or_create_private_key("me")
    assert folder(tmp_path / "pseudonyms").get_or_create_private_key("me") == key
    assert (tmp_path / "pseudonyms" / "me").read_bytes() == key.key_to_bin()
    assert manager.list_pseudonym_files() == ["me"]
    manager.remove_pseudonym_file("me")
    manager.remove_pseudonym_file("me")
    assert manager.list_pseudonym_files() == []


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_only_the_owner_reads_them(tmp_path: Path, passphrase: str | None) -> None:
    for mode in (None, 0o644):
        if mode is not None:
            (tmp_path / "new" / "me").chmod(mode)
        folder(tmp_path / "new", passphrase).get_or_create_private_key("me")
        assert stat.S_IMODE((tmp_path / "new" / "me").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_encrypted_keys(tmp_path: Path) -> None:
    key = folder(tmp_path, "secret").get_or_create_private_key("me")
    data = (tmp_path / "me").read_bytes()
    assert is_encrypted(data)
    assert key.key_to_bin()[10:] not in data
    assert folder(tmp_path, "secret").get_or_create_private_key("me") == key
    with pytest.raises(WrongPassphraseError):
        folder(tmp_path, "wrong").get_or_create_private_key("me")
    with pytest.raises(PermissionError, match="encrypted"):
        folder(tmp_path).get_or_create_private_key("me")
    assert (tmp_path / "me").read_bytes() == data


def test_old_keys_are_read_with_a_passphrase_too(tmp_path: Path) -> None:
    key = folder(tmp_path).get_or_create_private_key("me")
    assert folder(tmp_path, "secret").get_or_create_private_key("me") == key


def test_another_passphrase(tmp_path: Path) -> None:
    plain = folder(tmp_path).get_or_create_private_key("plain")
    manager = folder(tmp_path, "old")
    key = manager.get_or_create_private_key("me")
    before = (tmp_path / "me").read_bytes(), (tmp_path / "plain").read_bytes()
    with pytest.raises(WrongPassphraseError):
        folder(tmp_path, "wrong").change_passphrase(Passphrase("new", CHEAP))
    assert before == ((tmp_path / "me").read_bytes(), (tmp_path / "plain").read_bytes())
    manager.change_passphrase(Passphrase("new", CHEAP))
    for reader in (manager, folder(tmp_path, "new")):
        assert reader.get_or_create_private_key("me") == key
        assert reader.get_or_create_private_key("plain") == plain
    assert is_encrypted((tmp_path / "plain").read_bytes())
    with pytest.raises(WrongPassphraseError):
        folder(tmp_path, "old").get_or_create_private_key("me")


def test_a_change_of_the_passphrase_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [folder(tmp_path, "old").get_or_create_private_key(name) for name in ("a", "b", "c")]
    (tmp_path / "d").write_bytes(folder(tmp_path / "plain").get_or_create_private_key("d").key_to_bin())
    written: list[Any] = []

    def write_one(path: Any, *arguments: Any, **options: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    write = write_private_file
    monkeypatch.setattr(pseudonyms, "write_private_file", write_one)
    with pytest.raises(KeyboardInterrupt):
        folder(tmp_path, "old").change_passphrase(Passphrase("new", CHEAP))
    monkeypatch.undo()
    with pytest.raises(WrongPassphraseError):
        folder(tmp_path, "old").change_passphrase(Passphrase("third", CHEAP))
    folder(tmp_path, "old").change_passphrase(Passphrase("new", CHEAP))
    for reader in (folder(tmp_path, "new"), folder(tmp_path, "new")):
        assert [reader.get_or_create_private_key(name) for name in ("a", "b", "c")] == keys
    assert is_encrypted((tmp_path / "d").read_bytes())


def test_names_of_directories_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o755)
    os.mkfifo(tmp_path / "pipe")
    for name in ("directory", "pipe"):
        with pytest.raises(ValueError, match="choose another name"):
            folder(tmp_path).get_or_create_private_key(name)
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o755


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         passphrase: str | None) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no links")

    monkeypatch.setattr(os, "link", refuse)
    key = folder(tmp_path, passphrase).get_or_create_private_key("me")
    assert folder(tmp_path, passphrase).get_or_create_private_key("me") == key
    assert [file.name for file in tmp_path.iterdir()] == ["me"]


def test_damaged_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "me").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="does not hold a private key"):
        folder(tmp_path).get_or_create_private_key("me")
    assert (tmp_path / "me").read_bytes() == b"damaged"


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_another_process_made_the_key_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                passphrase: str | None) -> None:
    other = folder(tmp_path, passphrase).get_or_create_private_key("me")
    late = folder(tmp_path, passphrase)
    load = late._load
    answers: list[Any] = [FileNotFoundError]

    def first_missing(path: Path) -> Any:
        if answers:
            raise answers.pop()
        return load(path)

    monkeypatch.setattr(late, "_load", first_missing)
    assert late.get_or_create_private_key("me") == other
    assert [entry.name for entry in tmp_path.iterdir()] == ["me"]


@pytest.mark.parametrize("name", ["me", "My Name", "ünï", "a-b_c.d", "x" * 100, "名前"])
def test_names_that_are_possible(name: str) -> None:
    assert check_pseudonym_name(name) == name


@pytest.mark.parametrize("name", [
    "", ".", "..", "../key", "a/b", "/etc/passwd", "a\\b", ".hidden", "a\0b", "a\nb", " a", "a ", "a.", "C:x", "con",
    "NUL.txt", "com1", "x" * 101, "ü" * 60, "\ud800", "~", "a*", None, 5])
def test_names_that_are_not(tmp_path: Path, name: Any) -> None:
    manager = folder(tmp_path / "inside")
    for call in (check_pseudonym_name, manager.get_or_create_private_key, manager.remove_pseudonym_file):
        with pytest.raises(ValueError, match="pseudonym"):
            call(name)
    assert not (tmp_path / "inside").exists()


def test_other_files_in_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path).get_or_create_private_key("me")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "no:name").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert folder(tmp_path).list_pseudonym_files() == ["me"]
    assert "no:name" in caplog.text
