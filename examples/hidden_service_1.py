"""A hidden service, a client of it, and relays in between: each in a process of its own, all on this machine.

Run it without arguments. It starts everything, asks the service a question, prints the answer, and ends.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ipv8 import (
    Bootstrapper,
    BootstrapperDefinition,
    Community,
    ConfigBuilder,
    IPv8,
    Peer,
    Strategy,
    WalkerDefinition,
    request,
)
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peerdiscovery.tracker import EndpointServer

OverlayT = TypeVar("OverlayT", bound=Community)

LOOPBACK = "127.0.0.1"
RELAYS = 5
HOPS = 2


class Greeter(Community):
    community_id = b"greetings, in hiding"

    @request(1, answer=2)
    def greet(self, peer: Peer, name: str) -> str:
        return f"Hello {name}, from the service with the key {self.my_peer.mid.hex()[:12]}"


def overlay_of(node: IPv8, kind: type[OverlayT]) -> OverlayT:
    found = node.get_overlay(kind)
    assert found is not None
    return found


async def start_node(tracker: str, flags: set[int], greets: bool) -> IPv8:
    """A node that knows the address of a tracker, and waits until it knows enough relays."""
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address(LOOPBACK).set_port(0).set_walker_interval(0.2)
    builder.set_log_level("WARNING").add_ephemeral_key("node").add_ephemeral_key("greeter")
    walkers = [WalkerDefinition(Strategy.RandomWalk, 20, {"timeout": 1.0})]
    servers = [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
        "ip_addresses": [(LOOPBACK, int(tracker))], "dns_addresses": [], "bootstrap_timeout": 1.0})]
    builder.add_overlay("HiddenTunnelCommunity", "node", walkers, servers, {"peer_flags": flags}, [])
    builder.add_overlay("DHTDiscoveryCommunity", "node", walkers, servers, {}, [])
    if greets:
        # The key of a service must not be used for anything else, or it would tell where the service is.
        builder.add_overlay("Greeter", "greeter", [], [], {}, [])
    node = IPv8(builder.finalize(), extra_communities={"Greeter": Greeter})
    await node.start()
    tunnels, dht = overlay_of(node, HiddenTunnelCommunity), overlay_of(node, DHTDiscoveryCommunity)
    while min(len(tunnels.get_candidates(PEER_FLAG_RELAY)), len(dht.get_peers())) < RELAYS - 1:  # noqa: ASYNC110 - short
        await asyncio.sleep(0.1)
    return node


async def relay(tracker: str) -> None:
    await start_node(tracker, {PEER_FLAG_RELAY, PEER_FLAG_EXIT_BT, PEER_FLAG_SPEED_TEST}, greets=False)
    await asyncio.Event().wait()


async def service(tracker: str) -> None:
    node = await start_node(tracker, set(), greets=True)
    hosted = await overlay_of(node, Greeter).serve_hidden(hops=HOPS)
    print(hosted.service_key.hex(), flush=True)
    await asyncio.Event().wait()


async def client(tracker: str, service_key: str) -> None:
    node = await start_node(tracker, set(), greets=True)
    greeter = overlay_of(node, Greeter)
    peer = await greeter.connect_hidden(bytes.fromhex(service_key), hops=HOPS)
    print(await greeter.ask(peer, greeter.greet, "stranger"), flush=True)
    await node.stop()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE)


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def main() -> None:
    endpoint = UDPEndpoint(0, LOOPBACK)
    await endpoint.open()
    EndpointServer(endpoint)
    tracker = str(endpoint.get_address()[1])
    processes = [await start("relay", tracker) for _ in range(RELAYS)]
    processes.append(await start("service", tracker))
    try:
        key = await line_of(processes[-1])
        print("The service has the key", key)
        processes.append(await start("client", tracker, key))
        print("It answers:", await line_of(processes[-1]))
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        endpoint.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=("relay", "service", "client"), help=argparse.SUPPRESS)
    parser.add_argument("details", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    programs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "relay": relay, "service": service, "client": client}
    with suppress(KeyboardInterrupt):
        asyncio.run(programs[options.role](*options.details) if options.role else main())
