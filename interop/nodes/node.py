"""A node or a tracker for tests. It reads commands and writes events, as one JSON object per line.

The only argument is a JSON object with ``role`` (``"node"`` or ``"tracker"``), ``key`` (a security level),
``interface`` (``"UDPIPv4"`` or ``"UDPIPv6"``), ``tracker`` (an address or ``null``) and ``log_level``. The first event,
``started``, has the address of the node. The program ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from typing import Any

from interop.nodes.overlays import FORMATS, MESSAGES, InteropCommunity, TrackerCommunity
from interop.nodes.values import decode, tell
from ipv8.configuration import Bootstrapper, BootstrapperDefinition, ConfigBuilder, Strategy, WalkerDefinition
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address, UDPv6Address, UDPv6Endpoint
from ipv8_service import IPv8

STEP_SECONDS = 0.05
BOOTSTRAP_SECONDS = 0.25


def to_address(value: list[Any]) -> Any:
    """The address, as an object of the class for its kind of IP."""
    return (UDPv6Address if ":" in value[0] else UDPv4Address)(value[0], value[1])


class Node:
    """A service with one overlay."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.ipv6 = options["interface"] == "UDPIPv6"

    def configuration(self) -> dict[str, Any]:
        """The configuration of a service; with a tracker, it has a walker."""
        private_bin = default_eccrypto.generate_key(self.options["key"]).key_to_bin()
        builder = ConfigBuilder().clear_keys().clear_overlays().set_log_level(self.options["log_level"])
        builder.set_address("127.0.0.1").set_port(0).set_walker_interval(STEP_SECONDS)
        builder.add_key_from_bin("my peer", b64encode(private_bin).decode())
        walkers, bootstrappers = [], []
        if self.options.get("tracker"):
            walkers.append(WalkerDefinition(Strategy.RandomWalk, 20, {"timeout": 1.0}))
            if not self.ipv6:
                bootstrappers.append(BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
                    "ip_addresses": [to_address(self.options["tracker"])], "dns_addresses": [],
                    "bootstrap_timeout": BOOTSTRAP_SECONDS}))
        overlay = "TrackerCommunity" if self.options["role"] == "tracker" else "InteropCommunity"
        builder.add_overlay(overlay, "my peer", walkers, bootstrappers, {}, [])
        return builder.finalize()

    async def run(self) -> None:
        """Run commands until standard input ends."""
        get_providers().clear()  # on loopback, addresses of other interfaces of this machine must not be used
        endpoint = UDPv6Endpoint(0, "::1") if self.ipv6 else UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        service = IPv8(self.configuration(), endpoint_override=endpoint,
                       extra_communities={"InteropCommunity": InteropCommunity, "TrackerCommunity": TrackerCommunity})
        await service.start()
        self.overlay: Any = service.overlays[0]
        if self.ipv6:  # otherwise nodes that share ::1 would count as behind the same NAT
            self.overlay.my_estimated_wan = UDPv6Address("2001:db8::1", endpoint.get_address()[1])
        if self.ipv6 and self.options.get("tracker"):
            self.overlay.register_task("tracker", self.overlay.walk_to, to_address(self.options["tracker"]),
                                       interval=BOOTSTRAP_SECONDS, delay=0)
        tell("started", address=list(endpoint.get_address()[:2]), mid=self.overlay.my_peer.mid.hex(),
             formats=[name for name in self.overlay.serializer.get_available_formats() if name in FORMATS],
             messages=list(MESSAGES))
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            self.obey(**json.loads(line))
        await service.stop()
        tell("stopped")

    def obey(self, do: str, **details: Any) -> None:
        """Run one command."""
        if do == "walk":
            self.overlay.walk_to(to_address(details["address"]))
        elif do == "request":
            self.overlay.send_introduction_request(self.peer(details["mid"]))
        elif do == "send":
            self.overlay.send_values(to_address(details["address"]), details["message"], decode(details["values"]),
                                     details["signed"])
        elif do == "send bytes":
            packet = self.overlay.get_prefix() + bytes.fromhex(details["data"])
            self.overlay.endpoint.send(to_address(details["address"]), packet)
        elif do == "peers":
            tell("peers", peers={peer.mid.hex(): list(peer.address[:2]) for peer in self.overlay.get_peers()})

    def peer(self, mid: str) -> Any:
        """The known peer with this mid."""
        return next(peer for peer in self.overlay.get_peers() if peer.mid.hex() == mid)


if __name__ == "__main__":
    asyncio.run(Node(json.loads(sys.argv[1])).run())
