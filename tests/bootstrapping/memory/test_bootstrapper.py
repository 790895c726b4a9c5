"""Peers that survive a restart, and files that do not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.bootstrapping.bootstrapper_interface import Bootstrapper
from ipv8.bootstrapping.memory import bootstrapper as module
from ipv8.bootstrapping.memory.bootstrapper import DamagedFileError, MemoryBootstrapper, decode, encode
from ipv8.community import Community
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

V4, V6 = UDPv4Address("1.2.3.4", 5), UDPv6Address("2001:db8::1", 6)


def make_peer(address: Any, proven: bool = True, last_response: float = 1.0) -> Peer:
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), address)
    peer.proven = proven
    peer.last_response = last_response
    return peer


async def unload(bootstrapper: MemoryBootstrapper) -> None:
    """Unload it, and wait until it has written."""
    overlay: Any = bootstrapper.overlay
    bootstrapper.unload()
    if overlay is not None:
        await overlay.shutdown_task_manager()


def test_attributes(tmp_path: Path) -> None:
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    assert isinstance(bootstrapper, Bootstrapper)
    assert not bootstrapper.initialized
    assert (bootstrapper.bootstrap_timeout, bootstrapper.save_interval) == (30.0, 300.0)
    assert list(bootstrapper.blacklist()) == []
    bootstrapper.unload()
    assert list(tmp_path.iterdir()) == []


async def test_proven_peers_are_given_at_the_next_start(make_bootstrapped: Any, tmp_path: Path) -> None:
    path = tmp_path / "new directory" / "peers"
    overlay = make_bootstrapped()
    overlay.peers = [make_peer(V4, last_response=1.0), make_peer(("9.9.9.9", 1), proven=False),
                     make_peer(V6, last_response=2.0)]
    bootstrapper = MemoryBootstrapper(path)
    assert await bootstrapper.initialize(overlay) is True
    await unload(bootstrapper)
    assert not bootstrapper.initialized
    assert await MemoryBootstrapper(path).get_addresses(make_bootstrapped(), 60.0) == [V6, V4]
    assert os.listdir(path.parent) == ["peers"]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
async def test_only_the_owner_reads(overlay: Any, tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_bytes(encode([V6]))
    path.chmod(0o644)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert decode(path.read_bytes()) == [V4, V6]


async def test_file_holds_a_snapshot(overlay: Any, tmp_path: Path) -> None:
    peer = make_peer(V4)
    overlay.peers = [peer]
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    await bootstrapper.initialize(overlay)
    bootstrapper.save()
    network = Network()
    network.add_verified_peer(peer)
    assert (tmp_path / "peers").read_bytes().endswith(network.snapshot())


async def test_a_fruitless_session_forgets_nobody(overlay: Any, tmp_path: Path) -> None:
    path = tmp_path / "peers"
    content = encode([V4, V6])
    path.write_bytes(content)
    overlay.peers = [make_peer(("9.9.9.9", 1), proven=False)]
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert path.read_bytes() == content


async def test_programs_with_one_file_keep_what_the_others_saved(make_bootstrapped: Any, tmp_path: Path) -> None:
    one, other = (MemoryBootstrapper(tmp_path / "peers") for _ in range(2))
    for bootstrapper, address in ((one, V4), (other, V6)):
        overlay = make_bootstrapped()
        overlay.peers = [make_peer(address)]
        await bootstrapper.initialize(overlay)
    one.save()
    other.save()
    assert decode((tmp_path / "peers").read_bytes()) == [V6, V4]
    await unload(one)
    assert decode((tmp_path / "peers").read_bytes()) == [V4, V6]
    overlay.peers = [make_peer(UDPv4Address("9.9.9.9", 9))]  # in place of V6
    await unload(other)
    assert decode((tmp_path / "peers").read_bytes()) == [("9.9.9.9", 9), V4]


async def test_a_new_file_of_another_program_is_not_taken_for_the_damaged_one(
    overlay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "peers"
    path.write_bytes(b"damaged")

    @contextmanager
    def wait_for_other(_: Path) -> Iterator[None]:
        path.write_bytes(encode([V6]))  # what the other program does meanwhile
        yield

    monkeypatch.setattr(module, "locked", wait_for_other)
    assert await MemoryBootstrapper(path).get_addresses(overlay, 60.0) == [V6]
    assert os.listdir(tmp_path) == [path.name]


async def test_saved_now_and_then(overlay: Any, tmp_path: Path) -> None:
    path = tmp_path / "peers"
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path, save_interval=0.001)
    saved = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = bootstrapper._save
    bootstrapper._save = lambda *a: (write(*a), loop.call_soon_threadsafe(saved.set))[0]  # type: ignore[method-assign]  # a spy
    await bootstrapper.initialize(overlay)
    await saved.wait()
    assert decode(path.read_bytes()) == [V4]
    await unload(bootstrapper)
    assert not overlay.is_pending_task_active(bootstrapper._task_name)


async def test_rounds(overlay: Any, tmp_path: Path, manual_clock: Any) -> None:
    (tmp_path / "peers").write_bytes(encode([V4, V6]))
    overlay.network.blacklist.append(V6)
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    assert await bootstrapper.get_addresses(overlay, 60.0) == [V4]
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    manual_clock.advance(30)
    assert await bootstrapper.get_addresses(overlay, 60.0) == [V4]
    bootstrapper.keep_alive(overlay)
    assert overlay.walks == []


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
async def test_setting_the_wall_clock_changes_no_pause(overlay: Any, tmp_path: Path, manual_clock: Any,
                                                       step: float) -> None:
    (tmp_path / "peers").write_bytes(encode([V4]))
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    assert await bootstrapper.get_addresses(overlay, 60.0) == [V4]
    manual_clock.step_wall(step)
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    manual_clock.advance(30)
    assert await bootstrapper.get_addresses(overlay, 60.0) == [V4]
    assert bootstrapper.last_bootstrap == manual_clock.time()


async def test_peers_that_were_heard_of_last_are_preferred_whatever_the_wall_clock_says(
        overlay: Any, tmp_path: Path, manual_clock: Any) -> None:
    early, late = make_peer(V4), make_peer(V6)
    early.heard_now()
    manual_clock.step_wall(-3600)
    manual_clock.advance(1)
    late.heard_now()
    overlay.peers = [early, late]
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert decode((tmp_path / "peers").read_bytes()) == [V6, V4]


async def test_overlays_of_a_directory_have_files_of_their_own(overlay: Any, tmp_path: Path) -> None:
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(str(tmp_path))
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert os.listdir(tmp_path) == [f"{bytes(range(20)).hex()}.peers"]
    assert await MemoryBootstrapper(tmp_path).get_addresses(overlay, 60.0) == [V4]


async def test_a_path_that_ends_with_a_separator_becomes_a_directory(overlay: Any, tmp_path: Path) -> None:
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(os.path.join(tmp_path, "new", ""))
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert os.listdir(tmp_path / "new") == [f"{bytes(range(20)).hex()}.peers"]


async def test_memory_is_bounded(overlay: Any, tmp_path: Path) -> None:
    crowd = [make_peer(UDPv4Address(f"6.6.6.{number}", 1), True, 100.0 - number) for number in range(20)]
    others = [UDPv4Address(f"{number}.1.1.1", 1) for number in range(10, 110)]
    path = tmp_path / "peers"
    path.write_bytes(encode(others))
    overlay.peers = crowd
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    kept = decode(path.read_bytes())
    assert kept == [*(peer.address for peer in crowd[:module.MAX_REMEMBERED_PER_SUBNET]),
                    *others[:module.MAX_REMEMBERED - module.MAX_REMEMBERED_PER_SUBNET]]


async def test_what_cannot_be_contacted_is_left_out(overlay: Any, tmp_path: Path) -> None:
    (tmp_path / "peers").write_bytes(encode([V4, V4, DomainAddress("a.b", 1), UDPv4Address("5.6.7.8", 0), ("abc", 0)]))
    assert await MemoryBootstrapper(tmp_path / "peers").get_addresses(overlay, 60.0) == [V4]


GOOD = encode([V4, V6])


def with_digest(snapshot: bytes) -> bytes:
    return GOOD[:13] + hashlib.sha256(snapshot).digest() + snapshot


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "it is empty"),
    (b"LibNaCLSK:", "does not hold addresses"),
    (GOOD[:-1], "truncated"),
    (GOOD[:20], "truncated"),
    (with_digest(b"\x01\x02"), "cannot be read"),
])
async def test_damaged_file(overlay: Any, tmp_path: Path, manual_clock: Any, caplog: pytest.LogCaptureFixture,
                            content: bytes, reason: str) -> None:
    path = tmp_path / "peers"
    path.write_bytes(content)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path)
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    aside = tmp_path / f"peers.damaged-{int(manual_clock.now)}"
    assert aside.read_bytes() == content
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert reason in record.getMessage()
    assert str(aside) in record.getMessage()
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert decode(path.read_bytes()) == [V4]


async def test_damaged_file_that_cannot_be_renamed(overlay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers"
    path.write_bytes(b"something else")

    def refuse(*_: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(type(path), "replace", refuse)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert path.read_bytes() == b"something else"
    assert "not changed" in caplog.text


async def test_file_that_cannot_be_read(overlay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers"
    path.write_bytes(GOOD)

    def refuse(*_: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(module, "_content", refuse)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    monkeypatch.undo()
    assert path.read_bytes() == GOOD
    assert "not changed" in caplog.text


async def test_directory_that_cannot_be_written(overlay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", refuse)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    await bootstrapper.initialize(overlay)
    await unload(bootstrapper)
    assert "the disk is full" in caplog.text
    assert os.listdir(tmp_path) == []


def listing(directory: Path) -> list[tuple[str, int, int]]:
    return [(entry.name, entry.lstat().st_mode, entry.lstat().st_size) for entry in directory.iterdir()]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "directory in place of a file", "file of another user"])
async def test_what_is_no_file_of_this_user_is_left_alone(overlay: Any, tmp_path: Path, kind: str,
                                                          monkeypatch: pytest.MonkeyPatch,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory in place of a file":
        (tmp_path / f"{bytes(range(20)).hex()}.peers").mkdir()
        path = tmp_path
    else:
        path.write_bytes(GOOD)
        monkeypatch.setattr(os, "geteuid", lambda: os.stat(path).st_uid + 1)
        monkeypatch.setattr(module, "ROOT", -1)
    before = listing(tmp_path)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(path)
    await bootstrapper.initialize(overlay)
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    bootstrapper.save()
    await unload(bootstrapper)
    assert listing(tmp_path) == before
    assert "not changed" in caplog.text


async def test_huge_file_is_not_read(overlay: Any, tmp_path: Path) -> None:
    with (tmp_path / "peers").open("wb") as file:
        file.truncate(10 ** 10)
    assert await MemoryBootstrapper(tmp_path / "peers").get_addresses(overlay, 60.0) == []


async def test_addresses_of_more_than_one_host_are_left_out(overlay: Any, tmp_path: Path) -> None:
    nobody = [UDPv4Address("224.0.0.1", 5), UDPv4Address("255.255.255.255", 5), UDPv4Address("0.0.0.0", 5),
              UDPv6Address("ff02::1", 5), UDPv6Address("::", 5)]
    (tmp_path / "peers").write_bytes(encode([*nobody, V4]))
    assert await MemoryBootstrapper(tmp_path / "peers").get_addresses(overlay, 60.0) == [V4]


async def test_a_slow_disk_does_not_stop_the_loop(overlay: Any, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    writing, go_on = threading.Event(), threading.Event()
    replace = module._replace

    def slow(path: Path, data: bytes) -> None:
        writing.set()
        assert go_on.wait(60)
        replace(path, data)

    monkeypatch.setattr(module, "_replace", slow)
    overlay.peers = [make_peer(V4)]
    bootstrapper = MemoryBootstrapper(tmp_path / "peers", save_interval=0.001)
    await bootstrapper.initialize(overlay)
    await asyncio.to_thread(writing.wait)  # the periodical one
    overlay.peers = [make_peer(V6)]
    bootstrapper.unload()
    ending = asyncio.ensure_future(overlay.shutdown_task_manager())
    await asyncio.sleep(0)
    assert not ending.done()
    assert os.listdir(tmp_path) == []
    go_on.set()
    await ending
    assert decode((tmp_path / "peers").read_bytes()) == [V6], "the last one is written last"


def test_unload_without_a_loop_writes_at_once(tmp_path: Path, make_overlay_without_loop: Any) -> None:
    bootstrapper = MemoryBootstrapper(tmp_path / "peers")
    bootstrapper.overlay = make_overlay_without_loop
    bootstrapper.unload()
    assert decode((tmp_path / "peers").read_bytes()) == [V4]


@pytest.fixture
def make_overlay_without_loop() -> Any:
    return SimpleNamespace(get_peers=lambda: [make_peer(V4)], cancel_pending_task=lambda _: None)


@given(st.binary(max_size=200) | st.binary(max_size=80).map(with_digest))
@settings(deadline=None, max_examples=200)
def test_any_content_is_addresses_or_damaged(content: bytes) -> None:
    with suppress(DamagedFileError):
        assert isinstance(decode(content), list)


PORTS = st.integers(0, 65535)


@given(st.lists(st.builds(UDPv4Address, st.ip_addresses(v=4).map(str), PORTS)
                | st.builds(UDPv6Address, st.ip_addresses(v=6).map(str), PORTS)), st.data())
@settings(deadline=None, max_examples=50)
def test_round_trip_and_flipped_bits(addresses: list[Any], data: st.DataObject) -> None:
    content = encode(addresses)
    # There is more than one way to write some IPv6 addresses.
    decoded = decode(content)
    assert [(type(address), ip_address(address[0]), address[1]) for address in decoded] == [
        (type(address), ip_address(address.ip), address.port) for address in addresses]
    assert encode(decoded) == content
    position = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedFileError):
        decode(bytes(flipped))


class RememberingCommunity(Community):
    community_id = b"r" * 20


@pytest.mark.skipif(sys.platform == "win32", reason="files in use cannot be replaced")
async def test_second_start_needs_no_server(make_overlay: Any, tmp_path: Path) -> None:
    server, client = make_overlay(RememberingCommunity), make_overlay(RememberingCommunity)

    async def bootstrap(overlay: Community) -> None:
        overlay.bootstrappers.append(MemoryBootstrapper(tmp_path))
        overlay.bootstrap()
        await asyncio.gather(*overlay.get_anonymous_tasks("bootstrap"))

    await bootstrap(client)
    answered = asyncio.Event()
    client.introduction_response_callback = lambda *_: answered.set()
    client.walk_to(server.my_peer.address)
    await answered.wait()
    await client.unload()

    again = make_overlay(RememberingCommunity)
    await bootstrap(again)
    assert [address for address, _ in again.endpoint.sent] == [server.my_peer.address]
