"""Services by peer, and verified peers by service."""

from __future__ import annotations

import pytest

from ipv8.peer import Peer
from ipv8.peerdiscovery.graph import services as module
from ipv8.peerdiscovery.graph.services import PeerServices

S, T = b"s" * 20, b"t" * 20


def make_peer(number: int) -> Peer:
    return Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"))


class Recorder:
    """Services whose calls are noted."""

    def __init__(self) -> None:
        self.verified: dict[bytes, Peer] = {}
        self.calls: list[tuple[str, object, bytes]] = []
        self.services = PeerServices(
            self.verified,
            lambda key, service: self.calls.append(("service added", key, service)),
            lambda key, service: self.calls.append(("service removed", key, service)),
            lambda peer, service: self.calls.append(("offer added", peer, service)),
            lambda peer, service: self.calls.append(("offer removed", peer, service)))

    def verify(self, peer: Peer) -> None:
        self.verified[peer.key_bin] = peer
        self.services.verify(peer)

    def unverify(self, peer: Peer) -> None:
        del self.verified[peer.key_bin]
        self.services.unverify(peer)

    def take_calls(self) -> list[tuple[str, object, bytes]]:
        calls = list(self.calls)
        self.calls.clear()
        return calls


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_services_of_a_verified_peer_are_offers(recorder: Recorder) -> None:
    peer, services = make_peer(1), recorder.services
    recorder.verify(peer)
    assert services.add(peer.key_bin, [S, S], 10, {}) == [S]
    assert recorder.take_calls() == [("service added", peer.key_bin, S), ("offer added", peer, S)]
    assert services.offering == {S: {peer: None}}
    assert services.add(peer.key_bin, [S], 10, {}) == []
    services.per_peer[peer.key_bin].remove(S)
    assert recorder.take_calls() == [("service removed", peer.key_bin, S), ("offer removed", peer, S)]
    assert services.offering == {}


def test_services_become_offers_when_the_peer_is_verified(recorder: Recorder) -> None:
    peer, services = make_peer(1), recorder.services
    services.add(peer.key_bin, [S], 10, {})
    assert recorder.take_calls() == [("service added", peer.key_bin, S)]
    assert services.offering == {}
    recorder.verify(peer)
    assert recorder.take_calls() == [("offer added", peer, S)]
    recorder.unverify(peer)
    assert recorder.take_calls() == [("offer removed", peer, S)]
    services.forget(peer.key_bin)
    services.forget(peer.key_bin)
    assert recorder.take_calls() == [("service removed", peer.key_bin, S)]
    assert services.per_peer == {}
    recorder.verify(peer)
    recorder.unverify(peer)
    assert recorder.take_calls() == []


def test_assigned_sets_are_copied(recorder: Recorder) -> None:
    peer, services = make_peer(1), recorder.services
    recorder.verify(peer)
    given = {S}
    services.per_peer[peer.key_bin] = given
    given.add(T)
    assert services.per_peer[peer.key_bin] == {S}
    old = services.per_peer[peer.key_bin]
    services.per_peer[peer.key_bin] = {T}
    recorder.take_calls()
    old.add(b"u")
    old.clear()
    assert recorder.take_calls() == [], "it is not the set of the peer any more"
    services.per_peer[peer.key_bin] |= {S}
    assert services.offering == {T: {peer: None}, S: {peer: None}}


def test_limit_of_services(recorder: Recorder) -> None:
    services = recorder.services
    assert services.add(b"key", [b"1", b"2", b"3", S], 2, {S: None}) == [b"1", b"2", S]
    assert services.add(b"key", [b"3"], 2, {}) == []


def test_unverified_peers_are_evicted_by_age(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNVERIFIED_SERVICES", 4)
    services, verified = recorder.services, make_peer(1)
    recorder.verify(verified)
    services.add(verified.key_bin, [S, T], 10, {})
    services.add(b"a", [S, T], 10, {})
    services.add(b"b", [], 10, {})
    services.add(b"a", [], 10, {})
    services.add(b"c", [S], 10, {})
    assert list(services.per_peer) == [verified.key_bin, b"a", b"b", b"c"]
    services.add(b"c", [T], 10, {})
    assert list(services.per_peer) == [verified.key_bin, b"a", b"c"], "the others were heard of after it"
    services.add(b"d", [bytes([number]) for number in range(9)], 10, {})
    assert list(services.per_peer) == [verified.key_bin, b"d"], "the newest one stays"
    recorder.unverify(verified)
    assert list(services.per_peer) == [verified.key_bin]
