"""A node with a wallet that a test commands. It runs with this library and with ``pyipv8``."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from interop.nodes.commanded import CommandedNode
from ipv8.attestation.wallet.community import AttestationCommunity, AttestationSettings
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peerdiscovery.network import Network

PATIENCE = 20.0


class Node(CommandedNode):
    """A wallet on a socket."""

    def start(self, endpoint: Any) -> list[Any]:
        """Make the wallet."""
        self.overlay: Any = AttestationCommunity(AttestationSettings(
            my_peer=self.me, endpoint=endpoint, network=Network(), working_directory=":memory:"))
        self.value: bytes | None = None
        self.requests: list[Any] = []
        self.received: asyncio.Queue[str] = asyncio.Queue()
        self.overlay.set_attestation_request_callback(self.on_request)
        self.overlay.set_attestation_request_complete_callback(self.on_complete)
        return [self.overlay]

    def on_request(self, _: Any, name: str, metadata: dict[str, Any]) -> Any:
        """The value that a test gave."""
        self.requests.append([name, metadata])
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(self.value)
        return future

    def on_complete(self, for_peer: Any, name: str, attestation_hash: bytes, id_format: str, from_peer: Any) -> None:
        """Note what was received."""
        if for_peer == self.me and from_peer is not None:
            self.received.put_nowait(attestation_hash.hex())

    async def obey(self, do: str, **details: Any) -> Any:
        """Carry out one command; its result."""
        overlay = self.overlay
        if do == "know":
            peer = self.peer(details)
            overlay.network.add_verified_peer(peer)
            overlay.network.discover_services(peer, [overlay.community_id])
        elif do == "will attest":
            self.value = bytes.fromhex(details["value"])
        elif do == "requests":
            return self.requests
        elif do == "request":
            id_format = details["id_format"]
            key = overlay.get_id_algorithm(id_format).generate_secret_key()
            overlay.request_attestation(self.peer(details), details["name"], key,
                                        {"id_format": id_format, "why": "a test"})
            return await asyncio.wait_for(self.received.get(), PATIENCE)
        elif do == "verify":
            results: asyncio.Queue[list[float]] = asyncio.Queue()
            overlay.verify_attestation_values(
                UDPv4Address(*details["address"]), bytes.fromhex(details["hash"]),
                [bytes.fromhex(value) for value in details["values"]],
                lambda _, certainties: results.put_nowait(certainties), details["id_format"])
            return await asyncio.wait_for(results.get(), PATIENCE)
        else:
            raise ValueError(do)
        return None


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The identity format")
    asyncio.run(Node().run())
