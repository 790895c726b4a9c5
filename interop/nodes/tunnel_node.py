"""A node with tunnels for tests. It reads commands and writes events, as one JSON object per line.

It runs with both libraries. The only argument is a JSON object, whose ``role`` is ``"native"`` for the native endpoint
of tunnels, ``"anonymous"`` or ``"anonymous native"`` for an origin with an anonymous overlay. The first event,
``started``, has the address and the public key of the node. The program ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from interop.nodes.commands import close, make_endpoint, obey_commands
from interop.nodes.values import tell
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.endpoint import TunnelEndpoint
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

ZERO = ("0.0.0.0", 0)
PATIENCE = 60.0
PATIENCE_STEPS = 20000
WINDOW = 40
"""Packets that are sent before the first of them comes back: sockets have small buffers."""


class Tunnels(TunnelCommunity):
    """Counts the data that come out of circuits."""

    received = 0

    def on_raw_data(self, circuit: Any, origin: Any, data: bytes) -> None:
        self.received += 1


class Notes(Community):
    """Counts notes by the label that they begin with, answers them, and remembers where they came from."""

    community_id = b"notes in the tunnels"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.received: Counter[str] = Counter()
        self.sources: set[Any] = set()
        self.add_message_handler(1, self.on_note)
        self.add_message_handler(2, self.on_answer)

    def on_note(self, source_address: Any, data: bytes) -> None:
        self.on_answer(source_address, data)
        self.sources.add(tuple(source_address[:2]))
        self.endpoint.send(source_address, self.get_prefix() + b"\x02" + data[23:])

    def on_answer(self, source_address: Any, data: bytes) -> None:
        label, _, _ = data[23:].decode().partition(" ")
        self.received[label] += 1


class Node:
    """A node on a socket."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    async def run(self) -> None:
        """Run commands until standard input ends."""
        get_providers().clear()
        role = self.options["role"]
        is_anonymous = role.startswith("anonymous")
        inner = await make_endpoint(role.endswith("native"))
        self.address = UDPv4Address(*inner.get_address()[:2])
        endpoint = TunnelEndpoint(inner) if is_anonymous else inner
        me = Peer(default_eccrypto.generate_key("curve25519"), self.address)
        network = Network()
        settings = Tunnels.settings_class(my_peer=me, endpoint=endpoint, network=network, max_circuits=0,
                                          min_circuits=0, remove_tunnel_delay=0)
        settings.peer_flags = {1, 2, 4, 8}  # pyipv8 ignores them as an argument
        self.overlay: Any = Tunnels(settings)
        self.overlay.my_estimated_wan = self.overlay.my_estimated_lan = self.address
        self.notes = Notes(Notes.settings_class(my_peer=me, endpoint=endpoint, network=network,
                                                anonymize=is_anonymous))
        tell("started", address=list(self.address), mid=me.mid.hex(), key=me.public_key.key_to_bin().hex(),
             flags=self.overlay.extract_peer_flags(self.extra_bytes()))
        await obey_commands(self.obey)
        await self.notes.unload()
        await self.overlay.unload()
        await close(inner)
        tell("stopped")

    def extra_bytes(self) -> bytes:
        """What the node says in introductions that it offers."""
        from ipv8.messaging.payload import IntroductionRequestPayload

        packet = self.overlay.create_introduction_request(UDPv4Address("127.0.0.1", 1))
        # prefix, id, key, global time; the signature is at the end
        start = 23 + 2 + int.from_bytes(packet[23:25], "big") + 8
        payload, _ = self.overlay.serializer.unpack_serializable(IntroductionRequestPayload, packet[:-64], start)
        return bytes(payload.extra_bytes)

    def peer(self, node: dict[str, Any]) -> Peer:
        """Another node."""
        return Peer(bytes.fromhex(node["key"]), UDPv4Address(*node["address"]))

    async def obey(self, do: str, **details: Any) -> Any:  # noqa: C901 - a list of commands
        """Run one command, and return its result."""
        overlay = self.overlay
        if do == "know":
            overlay.candidates.clear()
            for node in details["nodes"]:
                peer = self.peer(node)
                overlay.network.add_verified_peer(peer)
                overlay.network.discover_services(peer, [overlay.community_id])
                overlay.candidates[peer] = node["flags"]
        elif do == "walk":
            overlay.walk_to(UDPv4Address(*details["address"]))
        elif do == "candidates":
            return {peer.public_key.key_to_bin().hex(): list(flags) for peer, flags in overlay.candidates.items()}
        elif do == "circuit":
            required = details.get("exit")
            circuit = overlay.create_circuit(details["hops"], required_exit=required and self.peer(required))
            ready = circuit and await asyncio.wait_for(circuit.ready, PATIENCE)
            return ready and [hop.mid.hex() for hop in ready.hops]
        elif do == "speed test":
            circuit = next(iter(overlay.circuits.values()))
            answer = await asyncio.wait_for(overlay.send_test_request(circuit, 100, 200), PATIENCE)
            return None if answer is None else len(answer[0])
        elif do == "send":
            return await self.send(UDPv4Address(*details["to"]), details["count"])
        elif do == "received":
            return overlay.received
        elif do == "tables":
            return [len(overlay.circuits), len(overlay.relay_from_to), len(overlay.exit_sockets)]
        elif do == "destroy":
            for circuit_id in list(overlay.circuits):
                await overlay.remove_circuit(circuit_id, "tested", remove_now=True, destroy=1)
        elif do == "anonymous":
            endpoint: Any = self.notes.endpoint
            endpoint.set_tunnel_community(overlay, details["hops"])
        elif do == "send notes":
            label = details["label"]
            for number in range(details["count"]):
                note = f"{label} {number}".encode()
                self.notes.endpoint.send(UDPv4Address(*details["to"]), self.notes.get_prefix() + b"\x01" + note)
                await self.until(lambda: self.notes.received[label], number - WINDOW)
        elif do == "notes":
            return self.notes.received[details["label"]]
        elif do == "sources":
            return sorted(map(list, self.notes.sources))
        else:
            raise ValueError(do)
        return None

    async def send(self, to: Any, count: int) -> int:
        """Send data to an address by the only circuit."""
        circuit = next(iter(self.overlay.circuits.values()))
        for number in range(count):
            data = b"d%1000de" % number
            self.overlay.send_data(circuit.hop.address, circuit.circuit_id, to, ZERO, data)
            # An exit opens its sockets when the first packet comes, and keeps few packets until then.
            await self.until(lambda: self.overlay.received, number - WINDOW if number else 0)
        return count

    async def until(self, count: Callable[[], int], number: int) -> None:
        """Wait until more than ``number`` packets have come back, for a while."""
        for _ in range(PATIENCE_STEPS):
            if count() > number:
                break
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(Node(json.loads(sys.argv[1])).run())
