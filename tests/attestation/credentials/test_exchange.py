"""Credentials between nodes: issued, presented, verified and revoked, and what happens to bad messages."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.credentials import exchange as module, questions
from ipv8.attestation.credentials.claims import b64encode
from ipv8.attestation.credentials.errors import CredentialError, RefusedError, RevokedError, StatusUnknownError
from ipv8.attestation.credentials.exchange import Consent, IssueOrder, PresentationRequest
from ipv8.attestation.credentials.payload import AnswerPartPayload, AskPayload, WantedPartsPayload
from ipv8.attestation.credentials.policy import Policy
from ipv8.attestation.credentials.ranges import Bound, Range
from ipv8.attestation.credentials.status import StatusList
from ipv8.attestation.credentials.store import CredentialStore
from ipv8.attestation.identity.community import IdentityCommunity
from ipv8.keyvault.sealing import seal
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.serialization import PackError, default_serializer
from ipv8.test.base import TestBase
from ipv8.test.mocking.endpoint import MockEndpointListener
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.attestation.credentials.credential import HeldCredential

AUTHORITY, HOLDER, VERIFIER = 0, 1, 2
TYPE = "urn:example:person"
PATIENCE = 60.0
"""Seconds for an answer that comes at once, unless the machine is busy."""
WANTED = PresentationRequest(types=[TYPE], claims=["name"], bounds=[Bound("age", True, 18)], purpose="the bar")


class ExchangeTestBase(TestBase[IdentityCommunity]):

    def setUp(self) -> None:
        super().setUp()
        self.initialize(IdentityCommunity, 3)
        self.asked: list[Any] = []
        self.of(AUTHORITY).set_issue_callback(self.decide)

    def create_node(self, *_: Any) -> MockIPv8:
        return MockIPv8("curve25519", IdentityCommunity, working_directory=":memory:")

    async def deliver_messages(self, timeout: float = 0.4) -> None:
        """Deliver all messages, also on a busy machine, but wait for no repetition: the first is after 0.5 s."""
        await super().deliver_messages(timeout)

    def of(self, node: int) -> Any:
        return self.overlay(node).credentials

    def decide(self, peer: Any, type_: str, details: dict[str, Any]) -> Any:
        self.asked.append((peer, type_, details))
        return IssueOrder({"name": "Ann", "citizen": True}, {"age": (Range(0, 150), 34)})

    def policy(self, **options: Any) -> Policy:
        return Policy([self.public_key(AUTHORITY)], **options)

    async def enrol(self) -> HeldCredential:
        held: HeldCredential = await self.of(HOLDER).request_credential(self.peer(AUTHORITY), TYPE, {"id": 7}, PATIENCE)
        return held

    def consent(self, **options: Any) -> None:
        """Let the holder present what fits."""
        def choose(_: Any, request: PresentationRequest) -> Any:
            return Consent(self.of(HOLDER).find(request)[0], **options)

        self.of(HOLDER).set_presentation_callback(choose)

    async def show(self, request: PresentationRequest = WANTED, **options: Any) -> Any:
        return await self.of(VERIFIER).request_presentation(self.peer(HOLDER), request, self.policy(**options),
                                                            PATIENCE)

    def lose(self, node: int, message: int, count: int) -> None:
        """Lose the first messages of a kind that a node sends."""
        overlay = self.overlay(node)
        send, lost = overlay.ez_send, [0]

        def sending(peer: Any, *payloads: Any, **kwargs: Any) -> None:
            if payloads[-1].msg_id == message and lost[0] < count:
                lost[0] += 1
            else:
                send(peer, *payloads, **kwargs)

        overlay.ez_send = sending  # type: ignore[method-assign]

    def packets_to(self, node: int) -> list[bytes]:
        arrived: list[bytes] = []

        class Listener(MockEndpointListener):
            def on_packet(self, packet: tuple[Any, bytes]) -> None:
                arrived.append(packet[1])

        Listener(self.endpoint(node))
        return arrived


class TestIssuing(ExchangeTestBase):

    async def test_a_credential_is_issued_and_kept(self) -> None:
        held = await self.enrol()
        assert self.asked == [(self.peer(HOLDER), TYPE, {"id": 7})]
        assert held.values == {"name": "Ann", "citizen": True}
        assert held.ranges == {"age": Range(0, 150)}
        assert [kept.id for kept in self.of(HOLDER).held()] == [held.id]
        (issued,) = self.of(AUTHORITY).store.issued_by(self.public_key(AUTHORITY))
        assert (issued.id, issued.holder, issued.type) == (held.id, self.key_bin(HOLDER), TYPE)

    async def test_nothing_can_be_read_on_the_way(self) -> None:
        packets = self.packets_to(AUTHORITY) + self.packets_to(HOLDER)
        at_holder = self.packets_to(HOLDER)
        await self.enrol()
        assert not any(b'"Ann"' in packet or b"citizen" in packet for packet in packets + at_holder)

    async def test_callbacks_may_be_asynchronous_and_return_claims_only(self) -> None:
        async def later(*_: Any) -> Any:
            await asyncio.sleep(0)
            return {"a": 1}

        self.of(AUTHORITY).set_issue_callback(later)
        assert (await self.enrol()).values == {"a": 1}

    async def test_large_credentials_come_in_parts(self) -> None:
        self.of(AUTHORITY).set_issue_callback(lambda *_: {f"claim {n}": "x" * 150 for n in range(100)})
        packets = self.packets_to(HOLDER)
        held = await self.enrol()
        assert len(held.values) == 100
        assert len(packets) > 20
        assert max(map(len, packets)) < 1300

    async def test_credentials_that_are_too_large(self) -> None:
        self.of(AUTHORITY).set_issue_callback(lambda *_: {f"claim {n}": "x" * 4000 for n in range(20)})
        with pytest.raises(RefusedError):
            await self.enrol()

    async def test_refusal(self) -> None:
        self.of(AUTHORITY).set_issue_callback(lambda *_: None)
        with pytest.raises(RefusedError):
            await self.enrol()
        assert self.of(HOLDER).held() == []

    async def test_programs_that_fail(self) -> None:
        """The peer is told at once, and the program is told why in the log."""
        def fail(*_: Any) -> Any:
            raise KeyError("a bug")

        self.of(AUTHORITY).set_issue_callback(fail)
        with self.assertLogs(self.overlay(AUTHORITY).logger, "ERROR") as log, pytest.raises(RefusedError):
            await self.enrol()
        assert "a bug" in log.output[0]

    async def test_two_programs_that_issue_with_one_key(self) -> None:
        """No number is given to two credentials: while one is chosen and kept, no other program chooses."""
        file = f"{self.temporary_directory()}/credentials.db"
        store = CredentialStore(file)
        store.open()
        exchange = self.of(AUTHORITY)
        exchange._store = store
        choose, other = store.choose_status, sqlite3.connect(file, timeout=0)

        def watched(issuer: Any) -> int:
            number = choose(issuer)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO issued VALUES(?, ?, X'', X'', '', 0, 0)", (issuer.key_to_bin(), number))
            return number

        store.choose_status = watched  # type: ignore[method-assign]
        await self.enrol()
        assert len(other.execute("SELECT status FROM issued").fetchall()) == 1
        other.close()

    async def test_everything_is_refused_by_default(self) -> None:
        with pytest.raises(RefusedError):
            await self.of(HOLDER).request_credential(self.peer(VERIFIER), TYPE, timeout=PATIENCE)
        with pytest.raises(RefusedError):
            await self.show()

    async def test_other_credentials_than_the_one_that_was_asked_for(self) -> None:
        for replaced in ({"holder": self.public_key(VERIFIER)}, {"type_": "other"}):
            exchange = self.of(AUTHORITY)
            issue = exchange.issue

            def other(holder: Any, type_: str, order: Any, issue: Any = issue, replaced: Any = replaced) -> Any:
                return issue(**{"holder": holder, "type_": type_, "order": order, **replaced})

            exchange.issue = other
            with pytest.raises(CredentialError, match="another credential"):
                await self.enrol()
            exchange.issue = issue
        assert self.of(HOLDER).held() == []

    async def test_questions_that_are_too_long(self) -> None:
        with pytest.raises(ValueError, match="bytes"):
            await self.of(HOLDER).request_credential(self.peer(AUTHORITY), TYPE, {"x": "y" * 1000})

    async def test_peers_that_do_not_answer(self) -> None:
        """Nodes that do not know credentials drop the questions."""
        self.overlay(AUTHORITY).decode_map[AskPayload.msg_id] = lambda *_: None
        with pytest.raises(TimeoutError):
            await self.of(HOLDER).request_credential(self.peer(AUTHORITY), TYPE, timeout=0.05)
        assert not self.of(HOLDER)._questions._open


class TestPresenting(ExchangeTestBase):

    async def test_a_presentation_is_verified(self) -> None:
        await self.enrol()
        self.consent()
        proven = await self.show()
        assert proven.claims == {"name": "Ann"}
        assert proven.bounds == (Bound("age", True, 18),)
        assert proven.issuer == self.public_key(AUTHORITY)
        assert proven.holder == self.public_key(HOLDER)

    async def test_the_holder_sees_who_asks_for_what(self) -> None:
        await self.enrol()
        seen: list[Any] = []
        self.of(HOLDER).set_presentation_callback(lambda peer, request: seen.append((peer, request)))
        with pytest.raises(RefusedError):
            await self.show()
        ((peer, request),) = seen
        assert peer == self.peer(VERIFIER)
        assert request == PresentationRequest((TYPE,), ("name",), (Bound("age", True, 18),), "the bar")

    async def test_less_than_was_asked_for(self) -> None:
        await self.enrol()
        for part in ("claims", "bounds"):
            self.consent(**{part: []})
            with pytest.raises(CredentialError, match="less"):
                await self.show()

    async def test_what_is_not_true_is_not_proven(self) -> None:
        await self.enrol()
        self.consent()
        with pytest.raises(RefusedError):
            await self.show(PresentationRequest(bounds=[Bound("age", True, 65)]))

    async def test_types_and_issuers_that_are_not_accepted(self) -> None:
        held = await self.enrol()
        self.of(HOLDER).set_presentation_callback(lambda *_: held)
        with pytest.raises(CredentialError, match="type"):
            await self.show(PresentationRequest(types=["other"], claims=["name"]))
        with pytest.raises(CredentialError, match="issuer"):
            await self.of(VERIFIER).request_presentation(self.peer(HOLDER), WANTED,
                                                         Policy([self.public_key(VERIFIER)]), PATIENCE)

    async def test_finding_what_fits(self) -> None:
        held = await self.enrol()
        find = self.of(HOLDER).find
        assert [found.id for found in find(WANTED)] == [held.id]
        assert find(PresentationRequest(types=["other"])) == []
        assert find(PresentationRequest(claims=["unknown"])) == []
        assert find(PresentationRequest(bounds=[Bound("name", True, 1)])) == []

    async def test_expired_credentials_are_not_found(self) -> None:
        manual = self.use_clock()
        lifetimes = iter((0, 100, 50))
        self.of(AUTHORITY).set_issue_callback(lambda *_: IssueOrder({"name": "Ann"}, lifetime=next(lifetimes)))
        forever, longer, shorter = [await self.enrol() for _ in range(3)]
        exchange, request = self.of(HOLDER), PresentationRequest(claims=["name"])
        exchange.store.remove_held(self.public_key(HOLDER), longer.id)
        imported = exchange.import_sd_jwt(longer.to_sd_jwt(), self.policy())
        for seconds, expected in ((0, [imported, shorter, forever]), (60, [imported, forever]), (60, [forever])):
            manual.advance(seconds)
            assert [held.id for held in exchange.find(request)] == [held.id for held in expected]

    async def test_export_and_import(self) -> None:
        """The holder moves a credential to another wallet of the same key, and presents it there."""
        held = await self.enrol()
        exchange = self.of(HOLDER)
        text = exchange.export(held.id)
        exchange.store.remove_held(self.public_key(HOLDER), held.id)
        imported = exchange.import_sd_jwt(text + "\n", self.policy())
        assert exchange.held()[0].id == imported.id
        self.consent()
        proven = await self.show(PresentationRequest(types=[TYPE], claims=["name"]), allow_unknown_status=True)
        assert proven.claims == {"name": "Ann"}
        assert proven.is_held_by(self.public_key(HOLDER))
        with pytest.raises(KeyError):
            exchange.export(bytes(32))
        with pytest.raises(CredentialError, match="another key"):
            self.of(VERIFIER).import_sd_jwt(text, self.policy())
        with pytest.raises(CredentialError, match="issuer"):
            exchange.import_sd_jwt(text, Policy([]))
        exchange.set_presentation_callback(lambda *_: imported)
        with pytest.raises(RefusedError):
            await self.show()

    async def test_the_status_of_an_imported_credential_is_known(self) -> None:
        """The authority is found by the half of its key that an SD-JWT has; without it, the holder shows the list."""
        manual = self.use_clock()
        held = await self.enrol()
        exchange, request = self.of(HOLDER), PresentationRequest(types=[TYPE], claims=["name"])
        exchange.import_sd_jwt(exchange.export(held.id), self.policy())
        exchange.store.remove_held(self.public_key(HOLDER), held.id)
        self.consent()
        self.of(HOLDER)._status_lists.clear()
        self.of(HOLDER).store.execute("DELETE FROM status_lists")
        self.network(HOLDER).remove_peer(self.peer(AUTHORITY))
        assert (await self.show(request)).claims == {"name": "Ann"}
        self.of(VERIFIER)._status_lists.clear()
        self.network(HOLDER).add_verified_peer(self.peer(AUTHORITY))
        self.network(VERIFIER).remove_peer(self.peer(AUTHORITY))
        assert (await self.show(request)).claims == {"name": "Ann"}
        self.of(AUTHORITY).revoke(held.id)
        manual.advance(3601)  # the list that the holder keeps is not valid any more
        with pytest.raises(RevokedError):
            await self.show(request)

    async def test_a_credential_of_another_key_is_not_shown_for_the_peer(self) -> None:
        """The holder may have several keys; the one that was asked must hold the credential."""
        held = await self.enrol()
        exchange = self.of(HOLDER)

        async def answer(peer: Any, content: dict[str, Any]) -> bytes:
            from ipv8.attestation.credentials.claims import b64decode
            from ipv8.attestation.credentials.did import did_of

            return b"\x00\x00" + held.present(self.private_key(HOLDER), b64decode(content["nonce"]),
                                              did_of(peer.public_key), ["name"])

        self.of(AUTHORITY)._questions.answer_by(module.PRESENT, answer)
        with pytest.raises(CredentialError, match="another key than that of the peer"):
            await self.of(VERIFIER).request_presentation(
                self.peer(AUTHORITY), PresentationRequest(claims=["name"]), self.policy(allow_unknown_status=True),
                PATIENCE)
        assert exchange.held()


class TestRevoking(ExchangeTestBase):

    async def test_revoked_credentials_are_not_accepted(self) -> None:
        manual = self.use_clock()
        held = await self.enrol()
        self.consent()
        assert (await self.show()).claims == {"name": "Ann"}
        self.of(AUTHORITY).revoke(held.id)
        manual.advance(3601)  # the list that the holder had is not valid any more
        with pytest.raises(RevokedError):
            await self.show()

    async def test_without_the_authority_the_holder_shows_its_list(self) -> None:
        held = await self.enrol()
        self.consent()
        for node in (HOLDER, VERIFIER):
            self.network(node).remove_peer(self.peer(AUTHORITY))
        assert (await self.show()).claims == {"name": "Ann"}
        for node in (HOLDER, VERIFIER):
            self.of(node)._status_lists.clear()
        self.of(HOLDER).store.execute("DELETE FROM status_lists")
        with pytest.raises(StatusUnknownError):
            await self.show()
        assert (await self.show(allow_unknown_status=True)).claims == {"name": "Ann"}
        self.of(VERIFIER).remember_status(StatusList.create(
            self.private_key(AUTHORITY), (held.credential.status or 0) // 4096, []).to_bytes())
        assert (await self.show()).claims == {"name": "Ann"}

    async def test_the_holder_keeps_the_list_when_it_is_started_again(self) -> None:
        manual = self.use_clock()
        await self.enrol()
        self.consent()
        for node in (HOLDER, VERIFIER):
            self.network(node).remove_peer(self.peer(AUTHORITY))
            self.of(node)._status_lists.clear()
        assert (await self.show()).claims == {"name": "Ann"}
        manual.advance(3601)
        with pytest.raises(StatusUnknownError):
            await self.show()
        self.network(HOLDER).add_verified_peer(self.peer(AUTHORITY))
        assert (await self.show()).claims == {"name": "Ann"}
        self.network(HOLDER).remove_peer(self.peer(AUTHORITY))
        for node in (HOLDER, VERIFIER):
            self.of(node)._status_lists.clear()
        assert (await self.show()).claims == {"name": "Ann"}  # the newer one is kept as well
        store = self.of(HOLDER).store
        store.execute("UPDATE status_lists SET data = 'damaged'")
        assert store.kept_status(self.public_key(AUTHORITY), 0) is None
        store.remove_key(self.public_key(HOLDER))
        assert list(store.execute("SELECT * FROM status_lists")) == []

    async def test_older_lists_do_not_replace_newer_ones(self) -> None:
        key, exchange = self.private_key(AUTHORITY), self.of(VERIFIER)
        newer, older = (StatusList.create(key, 0, revoked, now) for revoked, now in (([5], 2000), ([], 1000)))
        exchange.remember_status(newer.to_bytes())
        exchange.remember_status(older.to_bytes())
        found = exchange.known_status(self.public_key(AUTHORITY), 5)
        assert found == newer
        in_the_same_second = StatusList.create(key, 0, [5, 6], 2000)
        for data in (in_the_same_second, newer):
            exchange.remember_status(data.to_bytes())
        assert exchange.known_status(self.public_key(AUTHORITY), 5) == in_the_same_second
        assert exchange.known_status(self.public_key(AUTHORITY), -1) is None

    async def test_lists_of_others(self) -> None:
        authority = self.public_key(AUTHORITY)
        with pytest.raises(RefusedError):
            await self.of(VERIFIER).fetch_status(self.peer(HOLDER), authority, 5)
        await self.of(HOLDER).fetch_status(self.peer(AUTHORITY), authority, 5)
        found = await self.of(VERIFIER).fetch_status(self.peer(HOLDER), authority, 5)
        assert not found.is_revoked(5)

        async def other(*_: Any) -> bytes:
            return StatusList.create(self.private_key(HOLDER), 0, []).to_bytes()

        self.of(HOLDER)._questions.answer_by(module.STATUS, other)
        with pytest.raises(CredentialError, match="another status list"):
            await self.of(VERIFIER).fetch_status(self.peer(HOLDER), authority, 5)

    async def test_credentials_that_cannot_be_revoked(self) -> None:
        self.of(AUTHORITY).set_issue_callback(lambda *_: IssueOrder({"name": "Ann"}, revocable=False))
        held = await self.enrol()
        with pytest.raises(KeyError):
            self.of(AUTHORITY).revoke(held.id)
        self.consent()
        assert (await self.show(PresentationRequest(claims=["name"]))).claims == {"name": "Ann"}

    async def test_own_lists_are_made_again_before_they_expire(self) -> None:
        manual = self.use_clock()
        exchange = self.of(AUTHORITY)
        first = exchange.own_status_list(0)
        manual.advance(1700)
        assert exchange.own_status_list(0) is first
        manual.advance(200)
        assert exchange.own_status_list(0).issued > first.issued


class TestLostMessages(ExchangeTestBase):

    def setUp(self) -> None:
        super().setUp()
        patience = pytest.MonkeyPatch()
        for name in ("FIRST_RESEND", "PART_PATIENCE"):
            patience.setattr(questions, name, 0.01)
        self._undo.append(patience.undo)

    async def test_questions_are_sent_again(self) -> None:
        self.lose(HOLDER, AskPayload.msg_id, 2)
        assert (await self.enrol()).values["name"] == "Ann"
        assert len(self.asked) == 1

    async def test_parts_are_sent_again(self) -> None:
        self.of(AUTHORITY).set_issue_callback(lambda *_: {f"claim {n}": "x" * 150 for n in range(40)})
        self.lose(AUTHORITY, AnswerPartPayload.msg_id, 5)
        self.lose(HOLDER, WantedPartsPayload.msg_id, 1)
        assert len((await self.enrol()).values) == 40

    async def test_an_answer_that_was_lost_is_not_decided_again(self) -> None:
        self.lose(AUTHORITY, AnswerPartPayload.msg_id, 2)
        await self.enrol()
        assert len(self.asked) == 1
        assert len(self.of(AUTHORITY).store.issued_by(self.public_key(AUTHORITY))) == 1


class TestBadInput(ExchangeTestBase):

    def ask(self, content: bytes, kind: int = 1, identifier: bytes = b"i" * 20, sender: int = HOLDER) -> None:
        sealed = seal(self.public_key(AUTHORITY), content,
                      questions._context(b"ask", kind, identifier, self.key_bin(sender)))
        self.overlay(sender).ez_send(self.peer(AUTHORITY), AskPayload(identifier, kind, sealed))

    def drops(self, reason: str) -> int:
        return self.overlay(AUTHORITY).drops[reason]

    async def test_malformed_questions_are_counted(self) -> None:
        from ipv8 import clock

        now = int(clock.time())
        bad = [b"", b"[]", b"{}", b'{"time":"x"}', b"\xff", b'{"time":%d}' % (now - 400), b'{"time":%d}' % (now + 400),
               b"[" * 900]
        for number, content in enumerate(bad):
            self.ask(content, identifier=b"%020d" % number)
        self.ask(b'{"time":%d}' % now, kind=9)
        self.overlay(HOLDER).ez_send(self.peer(AUTHORITY), AskPayload(bytes(20), 1, b"not sealed"))
        self.overlay(HOLDER).ez_send(self.peer(AUTHORITY), AskPayload(bytes(20), 1, b"x" * 1200))
        await self.deliver_messages()
        assert self.drops(DropCounter.UNDECODABLE) == len(bad) + 3
        assert not self.asked

    async def test_requests_with_false_content_are_refused(self) -> None:
        exchange = self.of(AUTHORITY)
        for content in ({}, {"type": 1, "details": {}}, {"type": "x", "details": []}):
            with pytest.raises(CredentialError):
                await exchange._answer_issue(self.peer(HOLDER), content)
        good = {"nonce": b64encode(bytes(32)), "types": [], "claims": [], "bounds": [], "purpose": ""}
        wrong: Any
        for wrong in ({"nonce": "x"}, {"nonce": None}, {"nonce": "AA"}, {"types": 1}, {"claims": [1]},
                      {"claims": ["x"] * 65}, {"bounds": 1}, {"bounds": [1]}, {"bounds": [["a", "=", 1]]},
                      {"bounds": [["a", ">=", 1 << 63]]}, {"bounds": [["a", ">=", 1.5]]}, {"purpose": 1}):
            with pytest.raises(CredentialError):
                await exchange._answer_present(self.peer(HOLDER), {**good, **wrong})
        for wrong in ({}, {"issuer": 1, "list": 1}, {"issuer": "AA", "list": -1}, {"issuer": "AA", "list": True},
                      {"issuer": "AA", "list": 1 << 60}, {"issuer": "!", "list": 1}):
            with pytest.raises(CredentialError):
                await exchange._answer_status(self.peer(HOLDER), wrong)

    async def test_keys_on_other_curves(self) -> None:
        """They can neither ask nor be asked."""
        old = MockIPv8("low", IdentityCommunity, working_directory=":memory:")
        self.add_node_to_experiment(old)
        self.network(AUTHORITY).add_verified_peer(self.peer(3))
        with pytest.raises(TimeoutError):
            await old.overlay.credentials.request_credential(self.peer(AUTHORITY), TYPE, timeout=0.05)
        await self.deliver_messages()
        assert self.drops(DropCounter.UNDECODABLE) == 1
        with pytest.raises(ValueError, match="25519"):
            await self.of(HOLDER).request_credential(self.peer(3), TYPE, timeout=0.05)

    async def test_a_question_cannot_be_sent_on_as_ones_own(self) -> None:
        """What was sealed by one peer is not opened for another one."""
        from ipv8 import clock

        content = b'{"details":{},"time":%d,"type":"x"}' % int(clock.time())
        sealed = seal(self.public_key(AUTHORITY), content,
                      questions._context(b"ask", 1, b"i" * 20, self.key_bin(HOLDER)))
        self.overlay(VERIFIER).ez_send(self.peer(AUTHORITY), AskPayload(b"i" * 20, 1, sealed))
        await self.deliver_messages()
        assert self.drops(DropCounter.UNDECODABLE) == 1

    async def test_peers_whose_address_is_not_proven_are_not_answered(self) -> None:
        self.network(AUTHORITY).remove_peer(self.peer(HOLDER))
        with pytest.raises(TimeoutError):
            await self.of(HOLDER).request_credential(self.peer(AUTHORITY), TYPE, timeout=0.05)
        self.overlay(HOLDER).ez_send(self.peer(AUTHORITY), WantedPartsPayload(bytes(20), 1))
        await self.deliver_messages()
        assert self.drops(DropCounter.UNSOLICITED) == 2
        assert not self.asked

    async def test_questions_are_budgeted(self) -> None:
        from ipv8 import clock

        self.use_clock()
        content = b'{"details":{},"time":%d,"type":"x"}' % int(clock.time())
        for number in range(30):
            self.ask(content, identifier=b"%020d" % number)
        await self.deliver_messages(0.5)
        assert len(self.asked) == questions.MAX_UNDECIDED_OF_PEER or len(self.asked) <= questions.QUESTIONS_AT_ONCE
        assert self.drops(DropCounter.RATE_LIMITED) >= 10

    async def test_questions_that_wait_for_a_decision_are_bounded(self) -> None:
        from ipv8 import clock

        never = asyncio.Event()

        async def wait(*_: Any) -> None:
            await never.wait()

        self.of(AUTHORITY).set_issue_callback(wait)
        content = b'{"details":{},"time":%d,"type":"x"}' % int(clock.time())
        for number in range(6):
            self.ask(content, identifier=b"%020d" % number)
        await self.deliver_messages()
        assert self.of(AUTHORITY)._questions._undecided == {self.key_bin(HOLDER): questions.MAX_UNDECIDED_OF_PEER}
        assert self.drops(DropCounter.RATE_LIMITED) == 2
        never.set()
        await self.deliver_messages()
        assert not self.of(AUTHORITY)._questions._undecided

    async def test_a_program_that_does_not_decide(self) -> None:
        """Its questions do not take the places of others for ever."""
        from ipv8 import clock

        cancelled: list[bool] = []

        async def wait(*_: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        self.of(AUTHORITY).set_issue_callback(wait)
        before, questions.DECISION_LIFETIME = questions.DECISION_LIFETIME, 0.01
        try:
            content = b'{"details":{},"time":%d,"type":"x"}' % int(clock.time())
            for number in range(questions.MAX_UNDECIDED_OF_PEER):
                self.ask(content, identifier=b"%020d" % number)
            while len(cancelled) < questions.MAX_UNDECIDED_OF_PEER:
                await self.deliver_messages()
        finally:
            questions.DECISION_LIFETIME = before
        assert not self.of(AUTHORITY)._questions._undecided
        self.of(AUTHORITY).set_issue_callback(self.decide)
        await self.enrol()

    async def test_our_own_questions_are_bounded(self) -> None:
        waiting = self.of(HOLDER)._questions
        waiting._open = {b"%d" % number: None for number in range(questions.MAX_QUESTIONS)}
        with pytest.raises(RuntimeError, match="questions"):
            await self.enrol()
        waiting._open.clear()

    async def test_answers_that_were_not_asked_for(self) -> None:
        self.overlay(HOLDER).ez_send(self.peer(AUTHORITY), AnswerPartPayload(bytes(20), 0, 1, b"x"))
        self.overlay(HOLDER).ez_send(self.peer(AUTHORITY), WantedPartsPayload(bytes(20), 1))
        await self.deliver_messages()
        assert self.drops(DropCounter.UNSOLICITED) == 2

    async def answer_with(self, answer: Callable[[bytes], None]) -> Any:
        """Ask, and let the test answer in the place of the authority."""
        self.overlay(AUTHORITY).decode_map[AskPayload.msg_id] = lambda *_: None
        task = asyncio.ensure_future(self.of(HOLDER).request_credential(self.peer(AUTHORITY), TYPE, timeout=PATIENCE))
        await self.deliver_messages(0.01)
        (identifier,) = self.of(HOLDER)._questions._open
        answer(identifier)
        await self.deliver_messages(0.05)
        return task

    async def test_false_parts(self) -> None:
        drops = self.overlay(HOLDER).drops

        def answer(identifier: bytes) -> None:
            send = self.overlay(AUTHORITY).ez_send
            for part in ((1, 1, b""), (0, 0, b""), (0, 65, b""), (0, 2, b"x" * 1001)):
                send(self.peer(HOLDER), AnswerPartPayload(identifier, *part))
            send(self.peer(HOLDER), AnswerPartPayload(identifier, 0, 2, b""))
            send(self.peer(HOLDER), AnswerPartPayload(identifier, 0, 3, b""))
            self.overlay(VERIFIER).ez_send(self.peer(HOLDER), AnswerPartPayload(identifier, 1, 2, b""))

        task = await self.answer_with(answer)
        assert drops[DropCounter.UNDECODABLE] == 5
        assert drops[DropCounter.UNSOLICITED] == 1
        assert not task.done()
        task.cancel()

    async def test_answers_that_are_not_sealed_for_us(self) -> None:
        task = await self.answer_with(lambda identifier: self.overlay(AUTHORITY).ez_send(
            self.peer(HOLDER), AnswerPartPayload(identifier, 0, 1, b"x" * 100)))
        with pytest.raises(CredentialError):
            await task

    async def test_answers_with_false_content(self) -> None:
        for content in (b"\x01", b"\x01\x00\x05x", b"\x01\x00\x00x", b"\x01\x00\x01x" + bytes(500)):
            def answer(identifier: bytes, content: bytes = content) -> None:
                sealed = seal(self.public_key(HOLDER), content,
                              questions._context(b"answer", 1, identifier, self.key_bin(AUTHORITY)))
                self.overlay(AUTHORITY).ez_send(self.peer(HOLDER), AnswerPartPayload(identifier, 0, 1, sealed))

            with pytest.raises(CredentialError):
                await (await self.answer_with(answer))

    async def test_unloading_gives_up_questions(self) -> None:
        self.overlay(AUTHORITY).decode_map[AskPayload.msg_id] = lambda *_: None
        task = asyncio.ensure_future(self.enrol())
        await self.deliver_messages(0.01)
        await self.overlay(HOLDER).unload()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("payload", [AskPayload(b"i" * 20, 1, b"question"), WantedPartsPayload(b"i" * 20, 5),
                                     AnswerPartPayload(b"i" * 20, 1, 2, b"data")])
def test_payloads_round_trip(payload: Any) -> None:
    packed = default_serializer.pack_serializable(payload)
    read, _ = default_serializer.unpack_serializable(type(payload), packed)
    assert vars(read) == vars(payload)
    for size in range(20):
        with pytest.raises(PackError):
            default_serializer.unpack_serializable(type(payload), packed[:size])


async def test_the_store_is_a_file_beside_the_others(make_overlay: Any, tmp_path: Any) -> None:
    overlay = make_overlay(IdentityCommunity, working_directory=str(tmp_path))
    assert not (tmp_path / "sqlite" / "credentials.db").exists()
    assert overlay.credentials.held() == []
    assert (tmp_path / "sqlite" / "credentials.db").exists()
    store = overlay.credentials.store
    await overlay.unload()
    assert store.execute("SELECT 1") is None
