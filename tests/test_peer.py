from __future__ import annotations

import copy
import json
import pickle
from collections import deque
from math import inf
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging import address as address_classes
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.peer import DirtyDict, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC = b"LibNaCLPK:" + b"0" * 64
IPV4 = UDPv4Address("1.2.3.4", 5)
LAN: Any = UDPv4LANAddress("192.168.1.2", 3)
IPV6: Any = UDPv6Address("1:2:3:4:5:6", 7)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "discovery.json").read_text("utf-8"))


def change_item(items: DirtyDict[str, int]) -> None:
    items["a"] = 2


def delete_item(items: DirtyDict[str, int]) -> None:
    del items["a"]


def merge(items: DirtyDict[str, int]) -> None:
    items |= {"b": 2}


CHANGES: list[tuple[Callable[[DirtyDict[str, int]], Any], dict[str, int]]] = [
    (change_item, {"a": 2}),
    (delete_item, {}),
    (merge, {"a": 1, "b": 2}),
    (lambda items: items.update({"b": 2}, c=3), {"a": 1, "b": 2, "c": 3}),
    (lambda items: items.update([("b", 2)]), {"a": 1, "b": 2}),
    (lambda items: items.setdefault("b", 2), {"a": 1, "b": 2}),
    (lambda items: items.pop("a"), {}),
    (lambda items: items.popitem(), {}),
    (lambda items: items.clear(), {}),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_dirty_dict_notices_every_change(change: Callable[[DirtyDict[str, int]], Any],
                                         expected: dict[str, int]) -> None:
    items: DirtyDict[str, int] = DirtyDict(a=1)
    assert items.dirty
    items.dirty = False
    seen: list[dict[str, int]] = []
    items.watch(lambda: seen.append(dict(items)))

    change(items)

    assert items == expected
    assert items.dirty
    assert seen == [expected]


def test_dirty_dict_without_change() -> None:
    items: DirtyDict[str, int] = DirtyDict(a=1)
    items.dirty = False
    assert items.setdefault("a", 5) == 1
    assert items.pop("x", 7) == 7
    with pytest.raises(KeyError):
        items.pop("x")
    with pytest.raises(KeyError):
        del items["x"]
    assert not items.dirty


def test_dirty_dict_returns_what_it_removes() -> None:
    items: DirtyDict[str, int] = DirtyDict(a=1, b=2)
    assert items.popitem() == ("b", 2)
    assert items.pop("a") == 1


def test_dirty_dict_unwatch_one_of_two() -> None:
    items: DirtyDict[str, int] = DirtyDict()
    seen: list[str] = []

    def first() -> None:
        seen.append("first")

    def second() -> None:
        seen.append("second")

    items.watch(first)
    items.watch(second)
    items.unwatch(first)
    items["a"] = 1
    assert seen == ["second"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda items: pickle.loads(pickle.dumps(items))])
def test_copies_of_a_dirty_dict_are_not_watched(duplicate: Callable[[Any], Any]) -> None:
    items: DirtyDict[str, int] = DirtyDict(a=1)
    seen: list[int] = []
    items.watch(lambda: seen.append(1))
    items.dirty = False
    other = duplicate(items)
    other["b"] = 2
    assert isinstance(other, DirtyDict)
    assert other == {"a": 1, "b": 2}
    assert other.dirty
    assert not items.dirty
    assert seen == []


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_vectors(name: str) -> None:
    vector = VECTORS["keys"][name]
    kind, ip, port = vector["wan"]
    address = getattr(address_classes, kind)(ip, port)
    public = bytes.fromhex(vector["public_bin"])
    private = default_eccrypto.key_from_private_bin(bytes.fromhex(vector["private_bin"]))
    for peer in (Peer(public, address), Peer(private, address)):
        assert peer.key_bin == peer.public_key.key_to_bin() == public
        assert peer.mid == bytes.fromhex(vector["mid"])
        assert peer.__hash__() == int(vector["peer_hash"])
        assert str(peer) == vector["str"]


@pytest.mark.parametrize("key", [b"LibNaCLSK:" + b"0" * 64, b"-----BEGIN EC PRIVATE KEY-----\nsecret"])
def test_private_bytes_are_refused_without_being_shown(key: bytes) -> None:
    with pytest.raises(ValueError, match="key object") as caught:
        Peer(key)
    assert "secret" not in str(caught.value)
    assert "0000" not in str(caught.value)


def test_bytes_that_are_no_key() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text belongs to the key vault
        Peer(b"no key")


def test_initial_state(manual_clock: Any) -> None:
    peer = Peer(PUBLIC, IPV4)
    assert peer.key is peer.public_key
    assert peer.address == IPV4
    assert peer.addresses == {UDPv4Address: IPV4}
    assert peer.addresses is peer._addresses
    assert peer.creation_time == manual_clock.now
    assert peer.last_response == 0
    assert list(peer.pings) == []
    assert peer.pings.maxlen == 5
    assert peer.new_style_intro is False
    assert peer.address_frozen is False
    assert peer.proven is False
    assert peer.get_lamport_timestamp() == peer._lamport_timestamp == 0
    assert Peer(PUBLIC, intro=False).last_response == manual_clock.now
    assert Peer(PUBLIC, intro=False).last_heard == manual_clock.now
    assert Peer(PUBLIC).last_heard < manual_clock.now - 1e9


def test_no_address() -> None:
    peer = Peer(PUBLIC)
    assert peer.address == ("0.0.0.0", 0)
    assert isinstance(peer.address, UDPv4Address)
    assert peer.addresses == {}


def test_tuple_address() -> None:
    peer = Peer(PUBLIC, ("1.2.3.4", 5))
    assert peer.address == ("1.2.3.4", 5)
    assert peer.addresses == {tuple: ("1.2.3.4", 5)}


@pytest.mark.parametrize("order", [(IPV4, IPV6), (IPV6, IPV4)])
def test_ipv6_is_preferred(order: tuple[Any, Any]) -> None:
    first, second = order
    peer = Peer(PUBLIC, first)
    peer.add_address(second)
    assert peer.address == IPV6

    other = Peer(PUBLIC)
    other.address = first
    other.address = second
    assert other.address == IPV6


def test_an_address_of_the_same_kind_replaces() -> None:
    peer = Peer(PUBLIC, IPV4)
    peer.address = UDPv4Address("5.6.7.8", 9)
    assert peer.address == ("5.6.7.8", 9)
    assert list(peer.addresses.values()) == [("5.6.7.8", 9)]


def test_equal_addresses_of_different_kinds_are_both_kept() -> None:
    peer = Peer(PUBLIC, UDPv4LANAddress(*IPV4))
    peer.address = IPV4
    assert type(peer.address) is UDPv4Address
    assert set(peer.addresses) == {UDPv4Address, UDPv4LANAddress}


def test_lan_addresses_are_not_preferred() -> None:
    peer = Peer(PUBLIC, IPV4)
    peer.address = LAN
    assert peer.address == IPV4
    only_lan = Peer(PUBLIC)
    only_lan.address = LAN
    assert only_lan.address == ("0.0.0.0", 0)
    assert Peer(PUBLIC, LAN).address == LAN


def test_manual_updates_are_visible() -> None:
    peer = Peer(PUBLIC)
    peer.addresses.update({UDPv4Address: IPV4})
    assert peer.address == IPV4
    peer.addresses.update({UDPv6Address: IPV6})
    assert peer.address == IPV6
    peer.addresses.pop(UDPv6Address)
    assert peer.address == IPV4
    del peer.addresses[UDPv4Address]
    assert peer.address == IPV4, "the last preferred address is kept when there is none to prefer"


def test_interface_order_of_a_subclass() -> None:
    class IPv4Peer(Peer):
        INTERFACE_ORDER = [UDPv4Address, UDPv6Address]

    peer = IPv4Peer(PUBLIC, IPV6)
    peer.address = IPV4
    assert peer.address == IPV4


def test_frozen_addresses() -> None:
    peer = Peer(PUBLIC, ("1.2.3.4", 5))
    peer.address_frozen = True
    peer.add_address(IPV6)
    peer.address = IPV4
    assert peer.address == ("1.2.3.4", 5)
    assert set(peer.addresses) == {tuple}


@pytest.mark.parametrize("vector", VECTORS["misc"]["median_ping"])
def test_ping_statistics(vector: dict[str, Any]) -> None:
    peer = Peer(PUBLIC)
    peer.pings.extend(vector["pings"])
    assert peer.get_median_ping() == vector["median"]
    assert peer.get_average_ping() == fmean(vector["pings"][-5:])


def test_pings_may_be_replaced() -> None:
    peer = Peer(PUBLIC)
    peer.pings = deque([1.0, 3.0])
    assert peer.get_average_ping() == 2.0


def test_no_ping_statistics() -> None:
    assert Peer(PUBLIC).get_median_ping() is None
    assert Peer(PUBLIC).get_average_ping() is None


@pytest.mark.parametrize("age", [0.0, 60.0, 1e6])
def test_assigned_times_have_the_same_age_by_the_monotonic_clock(manual_clock: Any, age: float) -> None:
    peer = Peer(PUBLIC)
    manual_clock.step_wall(500)
    peer.last_response = manual_clock.time() - age
    peer.creation_time = manual_clock.time() - age
    assert peer.last_response == peer.creation_time == manual_clock.time() - age
    assert peer.last_heard == peer.known_since == manual_clock.monotonic() - age
    manual_clock.step_wall(-3600)
    assert peer.last_heard == manual_clock.monotonic() - age


def test_a_time_in_the_future_is_now(manual_clock: Any) -> None:
    peer = Peer(PUBLIC)
    peer.last_response = manual_clock.time() + 100
    assert peer.last_response == manual_clock.time() + 100
    assert peer.last_heard == manual_clock.monotonic()


def test_zero_is_never() -> None:
    peer = Peer(PUBLIC, intro=False)
    peer.last_response = 0
    assert peer.last_response == 0
    assert peer.last_heard == -inf


def test_a_pickled_peer_has_the_same_age_after_a_restart_of_the_machine(manual_clock: Any) -> None:
    peer = Peer(PUBLIC, IPV4, intro=False)
    manual_clock.advance(60)
    for duplicate in (copy.copy(peer), copy.deepcopy(peer), pickle.loads(pickle.dumps(peer))):
        assert duplicate == peer
        assert (duplicate.last_heard, duplicate.known_since) == (peer.last_heard, peer.known_since)
    pickled = pickle.dumps(peer)
    restarted = type(manual_clock)(100.0)
    restarted.step_wall(manual_clock.time() - restarted.time())
    with clock.use(restarted):
        loaded = pickle.loads(pickled)
        assert loaded.last_heard == loaded.known_since == restarted.monotonic() - 60
        assert loaded.last_response == loaded.creation_time == peer.last_response


def test_silence(manual_clock: Any) -> None:
    peer = Peer(PUBLIC)
    assert peer.silent_since == peer.known_since == manual_clock.monotonic()
    assert peer.last_heard == -inf
    manual_clock.advance(5)
    manual_clock.step_wall(-100)
    peer.heard_now()
    assert peer.silent_since == peer.last_heard == manual_clock.monotonic()
    assert peer.last_response == manual_clock.time()
    assert Peer(PUBLIC, intro=False).last_heard == manual_clock.monotonic()


def test_clock_only_moves_forward(manual_clock: Any) -> None:
    peer = Peer(PUBLIC)
    peer.update_clock(5)
    assert peer.get_lamport_timestamp() == 5
    assert peer.last_response == manual_clock.now
    manual_clock.advance(3)
    peer.update_clock(4)
    assert peer.get_lamport_timestamp() == 5
    assert peer.last_response == manual_clock.now


def test_equality_is_that_of_the_keys() -> None:
    class Node(Peer):
        pass

    other = Peer(b"LibNaCLPK:" + b"1" * 64, IPV4)
    assert Peer(PUBLIC, IPV4) == Peer(PUBLIC, IPV6)
    assert Peer(PUBLIC) == Node(PUBLIC)
    assert hash(Peer(PUBLIC)) == hash(Node(PUBLIC))
    assert Peer(PUBLIC, IPV4) != other
    assert Peer(PUBLIC) != PUBLIC
    assert Peer(PUBLIC) != 5
    assert len({Peer(PUBLIC), Node(PUBLIC), other}) == 2


def test_programs_may_add_attributes() -> None:
    peer: Any = Peer(PUBLIC)
    peer.reputation = 5
    assert peer.reputation == 5
    assert peer.proven is False
    peer.proven = True
    assert not Peer(PUBLIC).proven
