"""Nodes that do what they are told: one JSON object a line, commands in, events out.

The first event, ``started``, tells where the node is. Each command is answered by an event of its name, with a
``result`` or an ``error``. The node ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABCMeta, abstractmethod
from typing import Any

from interop.nodes.values import tell
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer

__all__ = ["CommandedNode"]


class CommandedNode(metaclass=ABCMeta):
    """A node with a key and a socket."""

    me: Any

    @abstractmethod
    def start(self, endpoint: Any) -> list[Any]:
        """Make the overlays, and return them."""

    @abstractmethod
    async def obey(self, do: str, **details: Any) -> Any:
        """Carry out one command; its result."""

    async def run(self) -> None:
        """Serve until the commands end."""
        get_providers().clear()
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        self.me = Peer(default_eccrypto.generate_key("curve25519"))
        overlays = self.start(endpoint)
        tell("started", address=list(endpoint.get_address()[:2]), mid=self.me.mid.hex(),
             key=self.me.public_key.key_to_bin().hex())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            try:
                tell(command["do"], result=await self.obey(**command))
            except (KeyError, RuntimeError, TimeoutError, asyncio.TimeoutError) as e:
                tell(command["do"], error=repr(e))
        for overlay in overlays:
            await overlay.unload()
        endpoint.close()
        tell("stopped")

    @staticmethod
    def peer(details: dict[str, Any]) -> Any:
        """The peer that a command names by ``key`` and ``address``."""
        return Peer(default_eccrypto.key_from_public_bin(bytes.fromhex(details["key"])),
                    UDPv4Address(*details["address"]))
