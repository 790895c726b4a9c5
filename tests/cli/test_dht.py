"""``ipv8 dht``: what it stores, finds and prints."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import dht
from ipv8.community import CommunitySettings
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server:
    """A node in a thread of its own."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        assert self.ready.wait(10)

    async def serve(self) -> None:
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        self.address = endpoint.get_address()
        me = Peer(default_eccrypto.generate_key("curve25519"), self.address)
        self.mid = me.mid.hex()
        overlay = DHTDiscoveryCommunity(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network()))
        overlay.my_estimated_wan = self.address
        self.overlay = overlay
        self.ready.set()
        await self.done.wait()
        await overlay.unload()
        endpoint.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    node = Server()
    yield node
    node.stop()


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    dht.add_arguments(parser)
    return dht.run(parser.parse_args(arguments))


def options(server: Server) -> list[str]:
    return ["--peer", f"127.0.0.1:{server.address[1]}", "--listen-address", "127.0.0.1"]


def test_put_and_get(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json", *options(server), "put", "my key", "a value") == 0
    stored = json.loads(capsys.readouterr().out)
    assert (stored["key"], stored["copies"]) == (b"my key".ljust(20, b"\x00").hex(), 1)
    assert stored["nodes"] == [{"mid": server.mid, "host": "127.0.0.1", "port": server.address[1]}]

    assert call("--json", *options(server), "get", "my key") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"] == [{"data": b"a value".hex(), "text": "a value", "signer": None}]
    assert call(*options(server), "get", stored["key"]) == 0
    assert capsys.readouterr().out == "a value\n"


def test_signed_values(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key_file = str(tmp_path / "key.pem")
    assert call("--key-file", key_file, *options(server), "put", "my key", "mine", "--sign") == 0
    assert "copies: 1" in capsys.readouterr().out
    call(*options(server), "get", "my key")
    text, _, signer = capsys.readouterr().out.partition("\t")
    assert text == "mine"
    assert signer.startswith(f"(signed by {b'LibNaCLPK:'.hex()}")


def test_nothing_found(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*options(server), "get", "nothing") == 1
    assert capsys.readouterr().out == "not found\n"
    assert call(*options(server), "find-peer", "00" * 20) == 1
    assert capsys.readouterr().out == "not found: Failed to connect peer\n"


def test_no_network(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    silent = ["--peer", "127.0.0.1:9", "--listen-address", "127.0.0.1", "--wait", "0.1"]
    assert call("--json", *silent, "get", "key") == 1
    assert json.loads(capsys.readouterr().out) == {"found": False, "key": b"key".ljust(20, b"\x00").hex(), "values": []}
    assert call("--json", *silent, "put", "key", "value") == 1
    assert json.loads(capsys.readouterr().out)["error"] == "No nodes found for storing the key-value pairs"


def test_find_peer_and_status(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.overlay.store[bytes.fromhex(server.mid)].append(
        Node(server.overlay.my_peer.public_key, server.address))
    assert call("--json", *options(server), "find-peer", server.mid) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][0]["mid"] == server.mid
    assert call(*options(server), "status") == 0
    out = capsys.readouterr().out
    assert "answering: 1" in out
    assert f"{server.mid} 127.0.0.1:{server.address[1]}" in out


@pytest.mark.parametrize("text", ["", "x" * 21, "zz" * 20])
def test_bad_keys(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="40 hex digits"):
        dht.parse_key(text)


@pytest.mark.parametrize("text", ["", "zz", "00" * 21, "zz" * 20, "00 " * 13 + "0"])
def test_bad_mids(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not 40 hex digits"):
        dht.parse_mid(text)


def test_addresses() -> None:
    assert dht.parse_address("1.2.3.4:5") == UDPv4Address("1.2.3.4", 5)
    address: Any = dht.parse_address("[2a00::1]:5")
    assert (address, type(address)) == (("2a00::1", 5), UDPv6Address)


@pytest.mark.parametrize("text", ["", "localhost:5", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not IP:PORT"):
        dht.parse_address(text)
