"""Attributes between nodes: described, attested, and what happens when messages are lost, forged or repeated."""

from __future__ import annotations

import os
import struct
from hashlib import sha512
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ipv8 import clock
from ipv8.attestation.identity import community as module
from ipv8.attestation.identity.attestation import Attestation
from ipv8.attestation.identity.community import IdentityCommunity, IdentitySettings, create_community
from ipv8.attestation.identity.known_hashes import KnownHashes
from ipv8.attestation.identity.manager import IdentityManager
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.identity.payload import (
    AttestPayload,
    DisclosePayload,
    MissingResponsePayload,
    RequestMissingPayload,
)
from ipv8.attestation.tokentree.tree import TokenTree
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import HiddenAddress
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer
from ipv8.test.base import TestBase
from ipv8.test.mocking.endpoint import MockEndpointListener
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipv8.attestation.tokentree.token import Token

HASH = b"a" * 32
OTHER_HASH = b"b" * 32
SUBJECT, AUTHORITY, SECOND = 0, 1, 2


class IdentityTestBase(TestBase[IdentityCommunity]):
    count = 3

    def setUp(self) -> None:
        super().setUp()
        self.initialize(IdentityCommunity, self.count)

    def create_node(self, *_: Any) -> MockIPv8:
        return MockIPv8("curve25519", IdentityCommunity, working_directory=":memory:")

    async def deliver_messages(self, timeout: float = 0.9) -> None:
        """Deliver all messages, also on a busy machine, but wait for no repetition, the first of which is after 1 s."""
        await super().deliver_messages(timeout)

    def expect(self, authority: int, attribute_hash: bytes = HASH, name: str = "name",
               metadata: dict[str, Any] | None = None) -> None:
        self.overlay(authority).add_known_hash(attribute_hash, name, self.key_bin(SUBJECT), metadata)

    def ask(self, authority: int, attribute_hash: bytes = HASH, name: str = "name",
            metadata: dict[str, Any] | None = None) -> None:
        self.overlay(SUBJECT).request_attestation_advertisement(self.peer(authority), attribute_hash, name,
                                                                metadata=metadata)

    def known(self, node: int) -> list[Any]:
        return self.overlay(node).identity_manager.get_pseudonym(self.public_key(SUBJECT)).get_credentials()

    def attestations(self, node: int) -> int:
        return sum(len(credential.attestations) for credential in self.known(node))

    def sent_to(self, node: int) -> list[int]:
        """The ids of the messages that arrive at a node from now on."""
        arrived: list[int] = []

        class Listener(MockEndpointListener):
            def on_packet(self, packet: tuple[Any, bytes]) -> None:
                arrived.append(packet[1][22])

        Listener(self.endpoint(node))
        return arrived


def signature_with_randomness(seed: bytes, message: bytes) -> bytes:
    """An Ed25519 signature (RFC 8032 section 5.1.6) whose nonce is random, so that it is another one each time."""
    def pair(secret: bytes) -> tuple[int, bytes]:
        clamped = bytearray(sha512(secret).digest()[:32])
        clamped[0] &= 248
        clamped[31] = clamped[31] & 127 | 64
        return int.from_bytes(clamped, "little"), Ed25519PrivateKey.from_private_bytes(
            secret).public_key().public_bytes_raw()

    order = 2**252 + 27742317777372353535851937790883648493
    (scalar, public), (nonce, point) = pair(seed), pair(os.urandom(32))
    challenge = int.from_bytes(sha512(point + public + message).digest(), "little")
    return point + ((nonce + challenge * scalar) % order).to_bytes(32, "little")


def disclosure_of(metadata: Metadata, token: Token) -> Any:
    record = metadata.get_plaintext_signed()
    return struct.pack(">I", len(record)) + record, token.get_plaintext_signed(), b"", b""


class TestAttesting(IdentityTestBase):

    async def test_an_expected_attribute_is_attested(self) -> None:
        self.expect(AUTHORITY)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        for node in (SUBJECT, AUTHORITY):
            (credential,) = self.known(node)
            (attestation,) = credential.attestations
            assert attestation.verify(self.public_key(AUTHORITY))
        assert self.overlay(SUBJECT).attestation_chain == [self.known(SUBJECT)[0].attestations]

    async def test_programs_can_decide_what_is_attested(self) -> None:
        """They override ``should_sign``."""
        overlay: Any = self.overlay(AUTHORITY)
        should_sign, asked = overlay.should_sign, []

        def decide(pseudonym: Any, metadata: Metadata) -> bool:
            asked.append(metadata.get_dict()["name"])
            return should_sign(pseudonym, metadata) and metadata.get_dict().get("answer") == 42

        overlay.should_sign = decide
        self.expect(AUTHORITY)
        self.ask(AUTHORITY, metadata={"answer": 41})
        await self.deliver_messages()
        assert asked == ["name"]
        assert self.attestations(AUTHORITY) == 0
        self.ask(AUTHORITY, metadata={"answer": 42})
        await self.deliver_messages()
        assert self.attestations(AUTHORITY) == self.attestations(SUBJECT) == 1

    async def test_each_attribute_is_told_once(self) -> None:
        """What was attested before is not attested again with each further attribute."""
        arrived = self.sent_to(SUBJECT)
        for number in range(20):
            self.expect(AUTHORITY, b"%032d" % number)
            self.ask(AUTHORITY, b"%032d" % number)
            await self.deliver_messages()
        assert arrived.count(AttestPayload.msg_id) == 20
        assert self.attestations(SUBJECT) == 20
        assert [len(entry) for entry in self.overlay(SUBJECT).attestation_chain] == [1] * 20

    async def test_hashes_of_20_bytes_are_padded(self) -> None:
        self.expect(AUTHORITY, b"c" * 20)
        self.ask(AUTHORITY, b"c" * 20)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1
        assert self.overlay(SUBJECT).get_attestation_by_hash(b"c" * 20) == self.known(SUBJECT)[0].metadata
        assert self.overlay(SUBJECT).get_attestation_by_hash(b"d" * 20) is None

    async def test_several_authorities_attest_the_same_attribute(self) -> None:
        for authority in (AUTHORITY, SECOND):
            self.expect(authority)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        overlay = self.overlay(SUBJECT)
        overlay.permissions[self.peer(SECOND)] = 1
        overlay._disclose(self.peer(SECOND), self.known(SUBJECT)[0], 0)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 2

    async def test_what_is_not_as_expected_is_not_attested(self) -> None:
        for name, metadata in (("other", {}), ("name", {"a": 1})):
            self.expect(AUTHORITY, metadata={})
            self.ask(AUTHORITY, name=name, metadata=metadata)
            await self.deliver_messages()
        assert len(self.known(AUTHORITY)) == 2
        assert self.attestations(AUTHORITY) == self.attestations(SUBJECT) == 0

    async def test_what_is_only_equal_in_python_is_not_attested(self) -> None:
        """Others read ``true`` where ``1`` was approved."""
        for expected, told in (({"a": 1}, {"a": True}), ({"a": [0]}, {"a": [False]}), ({"a": 1}, {"a": 1.0})):
            self.expect(AUTHORITY, metadata=expected)
            self.ask(AUTHORITY, metadata=told)
            await self.deliver_messages()
        assert self.attestations(SUBJECT) == 0
        self.expect(AUTHORITY, metadata={"b": [{"c": None}], "a": 1.5})
        self.ask(AUTHORITY, metadata={"a": 1.5, "b": [{"c": None}]})
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1

    async def test_expired_expectations(self) -> None:
        manual = self.use_clock()
        self.expect(AUTHORITY)
        manual.advance(301)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert len(self.known(AUTHORITY)) == 1
        assert self.attestations(AUTHORITY) == 0

    async def test_setting_the_clock_expires_nothing(self) -> None:
        manual = self.use_clock()
        self.expect(AUTHORITY)
        manual.step_wall(86_400)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1

    async def test_entries_of_programs_with_three_fields(self) -> None:
        overlay = self.overlay(AUTHORITY)
        overlay.known_attestation_hashes[HASH] = ("name", 0, self.key_bin(SUBJECT))
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert self.attestations(AUTHORITY) == 0
        overlay.known_attestation_hashes[OTHER_HASH] = ("name", clock.time(), self.key_bin(SUBJECT))
        self.ask(AUTHORITY, OTHER_HASH)
        await self.deliver_messages()
        assert self.attestations(AUTHORITY) == 1

    async def test_strangers_store_nothing(self) -> None:
        self.overlay(AUTHORITY).add_known_hash(HASH, "name", self.key_bin(SECOND))
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert self.known(AUTHORITY) == []
        assert self.overlay(AUTHORITY).drops[DropCounter.UNSOLICITED] == 1

    async def test_metadata_that_is_no_object(self) -> None:
        self.expect(AUTHORITY)
        token = TokenTree(private_key=self.private_key(SUBJECT)).add_by_hash(HASH)
        metadata = Metadata(token.get_hash(), b"[1, 2]", self.private_key(SUBJECT)).get_plaintext_signed()
        self.overlay(SUBJECT).ez_send(self.peer(AUTHORITY), DisclosePayload(
            struct.pack(">I", len(metadata)) + metadata, token.get_plaintext_signed(), b"", b""))
        await self.deliver_messages()
        assert self.attestations(AUTHORITY) == 0


class TestLongChains(IdentityTestBase):

    async def fill(self, length: int) -> None:
        for number in range(length):
            self.overlay(SUBJECT).self_advertise(b"%032d" % number, f"{number}")

    async def test_a_long_chain_is_asked_for_in_parts(self) -> None:
        await self.fill(39)
        self.expect(AUTHORITY)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1
        pseudonym = self.overlay(AUTHORITY).identity_manager.get_pseudonym(self.public_key(SUBJECT))
        assert len(pseudonym.tree.elements) == 40
        assert len(pseudonym.get_credentials()) == 1

    async def test_disclosures_keep_the_tokens_that_can_be_connected(self) -> None:
        await self.fill(30)
        overlay = self.overlay(SUBJECT)
        disclosure = overlay.pseudonym_manager.disclose_credentials([self.known(SUBJECT)[-1]], set())
        fitted = overlay._fit_disclosure(disclosure)
        assert sum(map(len, fitted)) <= module.SAFE_UDP_PACKET_LENGTH
        assert fitted[0] == disclosure[0]
        assert disclosure[1].startswith(fitted[1])
        assert len(fitted[1]) % 128 == 0
        assert fitted[1]

    async def test_no_token_fits(self) -> None:
        overlay = self.overlay(SUBJECT)
        overlay.self_advertise(HASH, "name", metadata={"long": "x" * 2000})
        disclosure = overlay.pseudonym_manager.disclose_credentials(self.known(SUBJECT), set())
        with self.assertLogs(overlay.logger, "WARNING"):
            assert overlay._fit_disclosure(disclosure)[1] == b""

    async def test_order_after_a_restart(self) -> None:
        await self.fill(10)
        manager = self.overlay(SUBJECT).identity_manager
        node = MockIPv8(Peer(self.private_key(SUBJECT)), IdentityCommunity, identity_manager=manager)
        self.nodes.append(node)
        before, after = self.overlay(SUBJECT), node.overlay
        assert after.token_chain == before.token_chain
        assert after.metadata_chain == before.metadata_chain
        after.self_advertise(HASH, "next")
        assert after.token_chain[-1].previous_token_hash == before.token_chain[-1].get_hash()


class TestMissingTokens(IdentityTestBase):

    async def test_honest_nodes_do_not_exchange_messages_for_ever(self) -> None:
        """One attribute is expected that is never described."""
        self.expect(AUTHORITY)
        self.expect(AUTHORITY, OTHER_HASH)
        at_subject, at_authority = self.sent_to(SUBJECT), self.sent_to(AUTHORITY)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert at_subject.count(RequestMissingPayload.msg_id) == 1
        assert at_authority.count(MissingResponsePayload.msg_id) <= 1
        assert self.attestations(SUBJECT) == 1

    async def test_both_expected_attributes_are_attested(self) -> None:
        self.expect(AUTHORITY)
        self.expect(AUTHORITY, OTHER_HASH)
        self.expect(AUTHORITY, b"c" * 32)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        self.ask(AUTHORITY, OTHER_HASH)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 2

    async def test_retries_end(self) -> None:
        """Nobody answers: the requests come at doubling intervals, and end."""
        overlay = self.overlay(AUTHORITY)
        delays: list[float] = []
        asked: list[int] = []
        overlay.start_timer = lambda delay, call, *args: delays.append(delay) or _Timer(call, args)  # type: ignore[method-assign,assignment,func-returns-value]
        overlay.ez_send = lambda _, payload, **__: asked.append(payload.known)  # type: ignore[method-assign]
        self.expect(AUTHORITY)
        subject = self.key_bin(SUBJECT)
        overlay._ask_for_missing(self.peer(SUBJECT), 0, False)
        while subject in overlay._missing:
            overlay._missing[subject].timer.fire()
        assert delays == [2.0 ** n for n in range(9)]
        assert len(asked) == 1 + module.MAX_RETRIES

    async def test_expired_attributes_are_not_asked_for(self) -> None:
        manual = self.use_clock()
        overlay = self.overlay(AUTHORITY)
        self.expect(AUTHORITY)
        self.expect(AUTHORITY, OTHER_HASH)
        manual.advance(301)
        arrived = self.sent_to(SUBJECT)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert RequestMissingPayload.msg_id not in arrived
        assert not overlay._missing

    async def test_only_what_is_permitted_is_told(self) -> None:
        overlay = self.overlay(SUBJECT)
        for number in range(3):
            overlay.self_advertise(b"%032d" % number, f"{number}")
        arrived = self.sent_to(AUTHORITY)
        self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), RequestMissingPayload(0))
        await self.deliver_messages()
        assert arrived == []
        overlay.permissions[self.peer(AUTHORITY)] = 2
        with self.assertReceivedBy(AUTHORITY, [MissingResponsePayload]) as received:
            self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), RequestMissingPayload(0))
            await self.deliver_messages()
        assert received[0].tokens == b"".join(token.get_plaintext_signed() for token in overlay.token_chain[:2])  # type: ignore[attr-defined]

    async def test_tokens_go_only_to_proven_addresses(self) -> None:
        """A request that is repeated from elsewhere is not answered there."""
        overlay = self.overlay(SUBJECT)
        overlay.self_advertise(HASH, "name")
        overlay.permissions[self.peer(AUTHORITY)] = 1
        packet = self.overlay(AUTHORITY).ezr_pack(RequestMissingPayload.msg_id, RequestMissingPayload(0))
        at_victim = self.sent_to(SECOND)
        known = overlay.network.get_verified_by_public_key_bin(self.key_bin(AUTHORITY))
        assert known is not None
        known.proven = True
        overlay.on_packet((self.address(SECOND), packet))
        overlay.network.remove_peer(self.peer(AUTHORITY))
        overlay.on_packet((self.address(SECOND), packet))
        await self.deliver_messages()
        assert MissingResponsePayload.msg_id not in at_victim

    async def test_what_came_through_a_hidden_connection_is_answered_there(self) -> None:
        """The answer to the address at which an authority is known would tell it who is connected to it."""
        overlay = self.overlay(SUBJECT)
        overlay.self_advertise(HASH, "name")
        overlay.permissions[self.peer(AUTHORITY)] = 1
        packet = self.overlay(AUTHORITY).ezr_pack(RequestMissingPayload.msg_id, RequestMissingPayload(0))
        at_authority = self.sent_to(AUTHORITY)
        overlay.on_packet((HiddenAddress("2001:21::1", 2), packet))
        await self.deliver_messages()
        assert MissingResponsePayload.msg_id not in at_authority
        assert overlay.endpoint.drops[DropCounter.SEND_NO_ROUTE] == 1

    async def test_requests_are_budgeted(self) -> None:
        overlay = self.overlay(SUBJECT)
        self.use_clock()
        overlay.self_advertise(HASH, "name")
        overlay.permissions[self.peer(AUTHORITY)] = 1
        arrived = self.sent_to(AUTHORITY)
        for _ in range(300):
            self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), RequestMissingPayload(0))
        await self.deliver_messages()
        assert arrived.count(MissingResponsePayload.msg_id) == module.MESSAGES_AT_ONCE
        assert overlay.drops[DropCounter.RATE_LIMITED] == 300 - module.MESSAGES_AT_ONCE

    async def test_a_leaf_before_its_parents(self) -> None:
        """Other implementations tell tokens in any order."""
        overlay = self.overlay(SUBJECT)
        for number in range(4):
            overlay.self_advertise(b"%032d" % number, f"{number}")
        credential = overlay.self_advertise(HASH, "name")
        assert credential is not None
        metadata, tokens, _, _ = overlay.pseudonym_manager.disclose_credentials([credential], set())
        reverse = b"".join(tokens[i:i + 128] for i in range(len(tokens) - 128, -1, -128))
        self.expect(AUTHORITY)
        overlay.ez_send(self.peer(AUTHORITY), DisclosePayload(metadata, reverse, b"", b""))
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1


class _Timer:
    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._call = call
        self._args = args

    def fire(self) -> None:
        self._call(*self._args)

    def cancel(self) -> None:
        pass


class TestLostMessages(IdentityTestBase):

    def keep_timers(self) -> list[_Timer]:
        timers: list[_Timer] = []

        def start(_: float, call: Any, *args: Any) -> Any:
            timers.append(_Timer(call, args))
            return timers[-1]

        self.overlay(SUBJECT).start_timer = start  # type: ignore[method-assign,assignment]
        return timers

    async def test_a_lost_description_is_sent_again(self) -> None:
        timers = self.keep_timers()
        self.ask(AUTHORITY)  # is not expected yet, as good as lost
        await self.deliver_messages()
        self.expect(AUTHORITY)
        timers.pop().fire()
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1
        timers.pop().fire()
        assert timers == []

    async def test_a_lost_attestation_is_sent_again(self) -> None:
        timers = self.keep_timers()
        self.expect(AUTHORITY)
        subject = self.overlay(SUBJECT)
        taken = subject._takes_attestation
        subject._takes_attestation = lambda *_: False  # type: ignore[method-assign]
        self.ask(AUTHORITY)
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 0
        subject._takes_attestation = taken  # type: ignore[method-assign]
        timers.pop().fire()
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 1

    async def test_descriptions_are_not_sent_for_ever(self) -> None:
        timers = self.keep_timers()
        self.ask(AUTHORITY)
        count = 0
        while timers:
            timers.pop().fire()
            count += 1
        assert count == len(module.RESEND_DELAYS)


class TestBadInput(IdentityTestBase):

    async def test_malformed_messages_are_counted(self) -> None:
        self.expect(AUTHORITY)
        sender, overlay = self.overlay(SUBJECT), self.overlay(AUTHORITY)
        parts = [(b"\x00\x00\x00\xff", b"", b"", b""), (b"", b"x" * 100, b"", b""), (b"", b"", b"x", b"\x00\x01x"),
                 (b"", b"", b"", b"\xff\xff")]
        for number, disclosure in enumerate(parts, 1):
            sender.ez_send(self.peer(AUTHORITY), DisclosePayload(*disclosure))
            await self.deliver_messages()
            assert overlay.drops[DropCounter.UNDECODABLE] == number
        sender.ez_send(self.peer(AUTHORITY), AttestPayload(b"short"))
        sender.ez_send(self.peer(AUTHORITY), MissingResponsePayload(b"short"))
        await self.deliver_messages()
        assert overlay.drops[DropCounter.UNDECODABLE] == len(parts) + 2

    async def test_attestations_over_nothing_of_ours_are_not_stored(self) -> None:
        attestation = Attestation(bytes(32), self.private_key(AUTHORITY))
        self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), AttestPayload(attestation.get_plaintext_signed()))
        await self.deliver_messages()
        database = self.overlay(SUBJECT).identity_manager.database
        assert not database.get_attestations_by(self.public_key(AUTHORITY))
        assert self.overlay(SUBJECT).drops[DropCounter.UNSOLICITED] == 1

    async def test_a_stranger_does_not_keep_an_authority_out(self) -> None:
        self.expect(AUTHORITY)
        credential = self.overlay(SUBJECT).self_advertise(HASH, "name")
        assert credential is not None
        for signer in (SECOND, AUTHORITY):
            attestation = Attestation.create(credential.metadata, self.private_key(signer))
            self.overlay(signer).ez_send(self.peer(SUBJECT), AttestPayload(attestation.get_plaintext_signed()))
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 2

    async def test_unasked_attestations_are_bounded(self) -> None:
        module_limit, module.MAX_ATTESTERS = module.MAX_ATTESTERS, 1
        try:
            overlay = self.overlay(SUBJECT)
            credential = overlay.self_advertise(HASH, "name")
            assert credential is not None
            overlay.permissions[self.peer(AUTHORITY)] = 1
            for signer, taken in ((SECOND, True), (AUTHORITY, True)):
                attestation = Attestation.create(credential.metadata, self.private_key(signer))
                assert overlay._takes_attestation(self.peer(signer), attestation) is taken
            stranger = default_eccrypto.generate_key("curve25519")
            assert not overlay._takes_attestation(Peer(stranger.pub()),
                                                  Attestation.create(credential.metadata, stranger))
        finally:
            module.MAX_ATTESTERS = module_limit

    async def test_many_signatures_of_one_authority_count_once(self) -> None:
        """Signatures of Ed25519 with other random numbers are valid as well."""
        credential = self.overlay(SUBJECT).self_advertise(HASH, "name")
        assert credential is not None
        overlay = self.overlay(SUBJECT)
        for _ in range(3):
            attestation = Attestation(credential.metadata.get_hash(), signature=signature_with_randomness(
                self.private_key(AUTHORITY).key_to_bin()[-32:], credential.metadata.get_hash()))
            assert attestation.verify(self.public_key(AUTHORITY))
            self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), AttestPayload(attestation.get_plaintext_signed()))
        await self.deliver_messages()
        assert len(overlay.attestation_chain[0]) == 1
        assert overlay.attestation_chain[0] == overlay.identity_manager.database.get_attestations_over(
            credential.metadata)

    async def test_what_is_looked_at_for_a_message_is_bounded(self) -> None:
        """A subject can describe one attribute any number of times."""
        self.expect(AUTHORITY)
        key = self.private_key(SUBJECT)
        tokens, described, token = TokenTree(private_key=key), [], None
        for number in range(6):
            token = tokens.add_by_hash(HASH, token)
            described.append(Metadata.create(token, {"name": "name", "schema": "", "date": number}, key))
            if number < 5:
                self.overlay(AUTHORITY).identity_manager.substantiate(key.pub(), *disclosure_of(described[-1], token))
        overlay, asked = self.overlay(AUTHORITY), []
        database = overlay.identity_manager.database
        look, database.metadata_over = database.metadata_over, lambda *wanted: asked.append(wanted[1]) or look(*wanted)  # type: ignore[func-returns-value,method-assign]
        before, module.MAX_EXAMINED = module.MAX_EXAMINED, 2
        try:
            elements = list(tokens.elements.values())
            overlay._received_disclosure_for_attest(self.peer(SUBJECT), disclosure_of(described[0], elements[0]))
        finally:
            module.MAX_EXAMINED = before
        assert asked == [elements[0].get_hash(), elements[3].get_hash(), elements[4].get_hash()]
        await self.deliver_messages()

    async def test_forged_attestations_are_not_stored(self) -> None:
        credential = self.overlay(SUBJECT).self_advertise(HASH, "name")
        assert credential is not None
        forged = Attestation.create(credential.metadata, self.private_key(SECOND))
        self.overlay(AUTHORITY).ez_send(self.peer(SUBJECT), AttestPayload(forged.get_plaintext_signed()))
        await self.deliver_messages()
        assert self.attestations(SUBJECT) == 0

    async def test_oversized_packets_are_handled(self) -> None:
        self.expect(AUTHORITY)
        self.overlay(SUBJECT).ez_send(self.peer(AUTHORITY), DisclosePayload(b"", bytes(128 * 300), b"", b""))
        await self.deliver_messages()
        assert not self.overlay(AUTHORITY).identity_manager.get_pseudonym(self.public_key(SUBJECT)).tree.elements
        assert self.overlay(AUTHORITY).drops[DropCounter.UNDECODABLE] == 1


class TestRemoval(IdentityTestBase):

    async def test_forgetting_leaves_nothing(self) -> None:
        self.expect(AUTHORITY)
        self.ask(AUTHORITY)
        await self.deliver_messages()
        overlay = self.overlay(SUBJECT)
        overlay.forget_attributes()
        database = overlay.identity_manager.database
        for table in ("Tokens", "Metadata", "Attestations"):
            assert list(database.execute(f"SELECT * FROM {table}")) == []
        assert overlay.token_chain == overlay.metadata_chain == overlay.attestation_chain == []
        assert overlay.self_advertise(OTHER_HASH, "new") is not None
        assert len(overlay.token_chain) == 1


def test_known_hashes_are_bounded_and_forgotten(manual_clock: Any) -> None:
    known = KnownHashes(3)
    for number in range(5):
        known[b"%d" % number] = ("name", clock.time(), b"subject", None)
    assert list(known) == [b"2", b"3", b"4"]
    assert list(known._added) == [b"2", b"3", b"4"]
    del known[b"3"]
    assert list(known.of_subject(b"subject")) == [b"2", b"4"]
    manual_clock.advance(601)
    assert not known.is_current(b"2")
    known[b"new"] = ("name", clock.time(), b"subject", None)
    known.forget_old()
    assert list(known) == [b"new"]


def test_permissions_and_subjects_are_bounded() -> None:
    assert module.MAX_PERMISSIONS == 1000
    assert module.MAX_SUBJECTS_ASKED == 1000


async def test_databases_are_closed_with_their_overlays(make_overlay: Any, tmp_path: Path) -> None:
    overlay = make_overlay(IdentityCommunity, working_directory=str(tmp_path))
    overlay.self_advertise(HASH, "name")
    database = overlay.identity_manager.database
    await overlay.unload()
    await overlay.unload()
    assert database.execute("SELECT 1") is None
    again = make_overlay(IdentityCommunity, working_directory=str(tmp_path), key=overlay.my_peer.key)
    assert [metadata.get_dict()["name"] for metadata in again.metadata_chain] == ["name"]


async def test_a_constructor_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    class Incomplete(IdentityCommunity):
        community_id = b"too short"

    settings = IdentitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=object(),
                                working_directory=str(tmp_path))
    with pytest.raises(RuntimeError, match="community_id"):
        Incomplete(settings)
    assert settings.identity_manager is not None
    assert settings.identity_manager.database.execute("SELECT 1") is None


async def test_a_manager_that_was_given_stays_open(make_overlay: Any) -> None:
    manager = IdentityManager()
    overlay = make_overlay(IdentityCommunity, identity_manager=manager)
    await overlay.unload()
    assert manager.database.execute("SELECT 1") is not None
    manager.close()


class TestCreating(TestBase[IdentityCommunity]):

    def setUp(self) -> None:
        super().setUp()
        self.initialize(IdentityCommunity, 1, IdentitySettings(working_directory=":memory:"))

    async def create(self, **options: Any) -> IdentityCommunity:
        manager = IdentityManager()
        community = await create_community(self.private_key(0), self.nodes[0], manager, working_directory="",
                                           **options)
        self._undo.append(manager.close)
        return community

    async def finish(self, community: IdentityCommunity) -> None:
        await self.nodes[0].unload_overlay(community)
        community.endpoint.close()

    async def test_rendezvous(self) -> None:
        for token, expected in ((b"abc", "b4eaf374c1e4c50423cdb6e9307ee0ca5695ead7"), (None, None),
                                (b"x" * 24, "adf0e80cb99cbd7c5bb5ce91480698b22eed92af")):
            community = await self.create(rendezvous_token=token, bootstrappers=[])
            assert community.community_id == (IdentityCommunity.community_id if expected is None
                                              else bytes.fromhex(expected))
            assert community.bootstrappers == []
            assert community.anonymize
            assert community in self.nodes[0].overlays
            await self.finish(community)

    async def test_public_bootstrap_servers_by_default(self) -> None:
        community = await self.create()
        assert [type(bootstrapper).__name__ for bootstrapper in community.bootstrappers] == ["DispersyBootstrapper"]
        assert community.network is not self.network(0)
        await self.finish(community)


@pytest.mark.parametrize("token", ["616263", "", "000102030405060708090a0b0c0d0e0f10111213"])
def test_rendezvous_vectors(load_vectors: Any, token: str) -> None:
    expected = load_vectors("identity")["rendezvous"]["token_to_community_id"][token]
    assert module._community_class(bytes.fromhex(token)).community_id.hex() == expected
