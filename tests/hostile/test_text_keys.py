"""Public keys that come in packets are accepted in their binary forms only: nobody makes a node parse text."""

from __future__ import annotations

import ast
import struct
from pathlib import Path
from typing import Any

import pytest

import ipv8
from ipv8.dht.payload import NodePacker
from ipv8.dht.values import parse, sign
from ipv8.keyvault import encoding
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload
from ipv8.messaging.serialization import Serializer
from ipv8.peer import Peer
from ipv8.test.mocking.community import MockCommunity
from ipv8.verification import PacketDecodingError

SOURCE = UDPv4Address("1.2.3.4", 5)
KEYS = [OpenSSLSK(b"LibNaCLSK:" + bytes(range(64))), OpenSSLSK.generate("sect163k1")]


@pytest.fixture(autouse=True)
def no_text_is_parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The texts that were parsed."""
    parsed: list[bytes] = []
    original = encoding.decode_pem

    def decode_pem(data: bytes, labels: tuple[bytes, ...]) -> bytes | None:
        if data.startswith(b"-"):
            parsed.append(data)
        return original(data, labels)

    monkeypatch.setattr(encoding, "decode_pem", decode_pem)
    return parsed


def binary(key: OpenSSLSK) -> bytes:
    return key.pub().key_to_bin()


def text(key: OpenSSLSK) -> bytes:
    return key.pub().key_to_pem()


def signed_packet(key: OpenSSLSK, key_bin: bytes) -> bytes:
    packet = bytes(22) + b"\1" + struct.pack(">H", len(key_bin)) + key_bin
    return packet + key.signature(packet)


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
async def test_signed_packets(key: OpenSSLSK, no_text_is_parsed: list[bytes]) -> None:
    received: list[Peer] = []

    @lazy_wrapper()
    def handle(_: Any, peer: Peer) -> None:
        received.append(peer)

    overlay = MockCommunity()
    handle(overlay, SOURCE, signed_packet(key, binary(key)))
    assert received == [Peer(key.pub())]
    with pytest.raises(PacketDecodingError, match="unknown format"):
        handle(overlay, SOURCE, signed_packet(key, text(key)))
    assert len(received) == 1
    assert not no_text_is_parsed
    await overlay.unload()


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
async def test_signatures_that_programs_check_themselves(key: OpenSSLSK, no_text_is_parsed: list[bytes]) -> None:
    overlay = MockCommunity()
    for encode in (binary, text):
        key_bin = encode(key)
        auth, data = BinMemberAuthenticationPayload(key_bin), signed_packet(key, key_bin)
        if encode is binary:
            assert overlay._verify_signature(auth, data)[0]
        else:
            with pytest.raises(PacketDecodingError, match="not the binary form of a public key"):
                overlay._verify_signature(auth, data)
            with pytest.raises(PacketDecodingError, match="not the binary form of a public key"):
                overlay._ez_unpack_auth(BinMemberAuthenticationPayload, data)
    assert not no_text_is_parsed
    await overlay.unload()


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_values_of_the_dht(key: OpenSSLSK, no_text_is_parsed: list[bytes]) -> None:
    good = sign(b"data", key, 1)
    assert parse(good) == (b"data", binary(key), 1)
    body = b"\1\0\4data" + struct.pack(">IH", 1, len(text(key))) + text(key)
    assert parse(body + key.signature(body)) is None
    assert not no_text_is_parsed


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_nodes_of_the_dht(key: OpenSSLSK, no_text_is_parsed: list[bytes]) -> None:
    packer = NodePacker(Serializer())
    for encode, count in ((binary, 1), (text, 0)):
        key_bin = encode(key)
        data = b"\1\1\2\3\4\0\5" + struct.pack(">H", len(key_bin)) + key_bin
        nodes: list[Any] = []
        assert packer.unpack(data, 0, nodes) == len(data)
        assert len(nodes) == count
    assert not no_text_is_parsed


# Peer takes what programs give it; the other modules define the ways to load keys.
LOADERS = {"keyvault/crypto.py", "keyvault/public/m2crypto.py", "keyvault/public/openssl.py", "peer.py"}


def names_in(path: Path) -> set[str]:
    return {node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, (ast.Attribute, ast.Name))}


def test_no_other_module_loads_keys_that_may_be_text() -> None:
    root = Path(ipv8.__file__).parent
    modules = {path.relative_to(root).as_posix(): names_in(path) for path in root.rglob("*.py")}
    assert {name for name, names in modules.items() if {"key_from_public_bin", "load_public"} & names} <= LOADERS
