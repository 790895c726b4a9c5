"""``ipv8 dht``: what it stores, finds and prints."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import TYPE_CHECKING

import pytest

from ipv8.bootstrapping import resolver
from ipv8.cli.main import main
from ipv8.community import CommunitySettings
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.keyvault.crypto import default_eccrypto
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
        assert self.ready.wait(30)

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
    return main(["dht", *arguments])


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


def test_signed_values_that_are_too_long(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*options(server), "put", "my key", "x" * 24, "--sign") == 2
    assert capsys.readouterr().err == ("ipv8: the value, of 24 bytes, is 1 bytes longer than what can be stored with a "
                                       "signature\n")


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


def test_options_may_stand_behind_the_action(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{server.address[1]}"
    assert call("put", "my key", "x", "--peer", address, "--listen-address", "127.0.0.1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["copies"] == 1
    # Peers from both places are used; of other options, the one behind the action.
    assert call("--listen-address", "192.0.2.1", "--peer", "127.0.0.1:9", "get", "my key", "--json", "--peer", address,
                "--listen-address", "127.0.0.1") == 0
    assert json.loads(capsys.readouterr().out)["values"][0]["text"] == "x"


def test_peers_may_have_names(server: Server, monkeypatch: pytest.MonkeyPatch,
                              capsys: pytest.CaptureFixture[str]) -> None:
    names = resolver.NameResolver(lambda name: {"node.test": ["127.0.0.1"]}[name])
    monkeypatch.setattr(resolver, "shared_resolver", lambda: names)
    assert call("--peer", f"node.test:{server.address[1]}", "--listen-address", "127.0.0.1", "status") == 0
    assert "answering: 1" in capsys.readouterr().out


def test_peers_whose_names_are_unknown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(name: str) -> list[str]:
        raise OSError(name)

    names = resolver.NameResolver(fail)
    monkeypatch.setattr(resolver, "shared_resolver", lambda: names)
    assert call("--peer", "unknown.test:5", "--listen-address", "127.0.0.1", "status") == 2
    assert capsys.readouterr().err == "ipv8: the name 'unknown.test' of a peer cannot be resolved\n"


def test_address_of_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--listen-address", "192.0.2.1", "--peer", "127.0.0.1:9", "status") == 2
    assert "cannot listen on 192.0.2.1, UDP port 0" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["get", ""], "neither 40 hex digits nor 1 to 20 bytes"),
    (["get", "x" * 21], "neither 40 hex digits nor 1 to 20 bytes"),
    (["get", "zz" * 20], "is not 40 hex digits"),
    (["find-peer", "00" * 21], "is not 40 hex digits"),
    (["find-peer", "00 " * 13 + "0"], "is not 40 hex digits"),
    (["put", "key", "x" * 170], "the value has 170 bytes: at most 169"),
    (["put", "key"], "Missing argument 'VALUE'"),
    (["put", "key", "-5"], "put -- in front of it"),
    (["get", "key", "--wait", "nan"], "is no time"),
    (["--wait", "0", "get", "key"], "is no time"),
    (["status", "--peer", "1.2.3.4"], "is not HOST:PORT"),
    (["fetch"], "there is no command 'fetch'"),
    (["status", "--port", "65536"], "is no port"),
    (["status", "--database", ""], "must not be empty"),
    (["status", "--key-file", "no/such/directory/key"], "there is no directory"),
])
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.search(r"^See 'ipv8 dht.* --help'\.$", error, re.MULTILINE)
