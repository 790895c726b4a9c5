"""A chat that nobody else can read, and that sends files.

Run it without arguments: two nodes on this machine talk to each other, one of them sends a file, and a count of what
was sent in clear is printed. Streams need a QUIC library: pip install "ipv8[streams]".
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from ipv8 import Community, ConfigBuilder, IPv8, Peer, Stream, message, stream

LOOPBACK = "127.0.0.1"
LARGEST = 10_000_000
TOO_LARGE = 256
"""The code with which a stream is reset; programs have those from 256 on."""


class ConfidentialChat(Community):
    community_id = b"a chat for two, only"
    encryption = "require"

    name = "somebody"
    folder = Path()

    @message(1)
    def said(self, peer: Peer, text: str) -> None:
        assert self.delivery is not None, "no message of this overlay is accepted in clear"
        print(f"{self.name} heard, in a session with {self.delivery.cipher}: {text}")

    def say(self, text: str) -> None:
        for peer in self.get_peers():
            self.said.send(peer, text)

    async def send_file(self, peer: Peer, path: Path) -> None:
        """Send a file; its receiver has all of it when this returns."""
        async with self.open_stream(peer, "file") as stream:
            content = await asyncio.to_thread(path.read_bytes)
            await stream.write(content)
            stream.end()
            if await stream.read_exactly(32) != sha256(content).digest():
                raise ValueError("another file has arrived")

    @stream("file")
    async def on_file(self, peer: Peer, stream: Stream) -> None:
        content = bytearray()
        async for chunk in stream:
            content += chunk
            if len(content) > LARGEST:
                stream.reset(TOO_LARGE)
                return
        path = self.folder / f"from {peer.mid.hex()[:12]}"  # the name is chosen here: a peer must not choose a path
        await asyncio.to_thread(path.write_bytes, content)
        await stream.write(sha256(content).digest())
        print(f"{self.name} got {len(content)} bytes")


async def start_node(name: str, folder: Path) -> tuple[IPv8, ConfidentialChat]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address(LOOPBACK).set_port(0).set_log_level("WARNING")
    builder.add_ephemeral_key("me").add_overlay("ConfidentialChat", "me", [], [], {}, [])
    node = IPv8(builder.finalize(), extra_communities={"ConfidentialChat": ConfidentialChat})
    await node.start()
    chat = node.get_overlay(ConfidentialChat)
    assert chat is not None
    chat.name, chat.folder = name, folder
    return node, chat


def watch(node: IPv8, clear: list[bytes]) -> None:
    """Note packets of the chat that are sent in clear, but introductions."""
    endpoint: Any = node.endpoint
    overlay = node.get_overlay(ConfidentialChat)
    assert overlay is not None
    prefix, send, send_many = overlay.get_prefix(), endpoint.send, endpoint.send_many

    def note(method: Callable[..., None]) -> Callable[..., None]:
        def noting(address: Any, what: Any) -> None:
            packets = [what] if isinstance(what, bytes) else what
            clear.extend(packet for packet in packets if packet.startswith(prefix) and packet[22] < 230)
            method(address, what)

        return noting

    endpoint.send, endpoint.send_many = note(send), note(send_many)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        nodes = [await start_node(name, Path(folder)) for name in ("Ann", "Bob")]
        (first, ann), (second, bob) = nodes
        clear: list[bytes] = []
        for node in (first, second):
            watch(node, clear)
        try:
            ann.walk_to(bob.endpoint.get_address())
            while not (ann.get_peers() and bob.get_peers()):  # noqa: ASYNC110 - short, for an example
                await asyncio.sleep(0.05)
            peer = ann.get_peers()[0]
            await ann.secure(peer)
            ann.say("Can anybody else read this?")
            bob.say("No.")
            picture = Path(folder) / "picture"
            picture.write_bytes(bytes(range(256)) * 4096)
            await ann.send_file(peer, picture)
            print(f"{len(clear)} packets of the chat were sent in clear")
        finally:
            for node, _ in nodes:
                await node.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(asyncio.wait_for(main(), 60)))
