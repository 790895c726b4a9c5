"""Store and find values in the DHT, and find the owners of keys."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messaging.address import Address, UDPv4Address, UDPv6Address
from .terminal import busy, for_output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..dht.discovery import DHTDiscoveryCommunity

__all__ = ["Action", "Node", "finding_peer", "getting", "putting", "resolve", "run", "status"]

FOUND, NOT_FOUND = 0, 1

ENOUGH_NODES = 8
"""Nodes that must have answered before anything is asked, unless the time for that is over."""
POLL_INTERVAL = 0.05
"""Seconds between two looks at how many have answered."""


class Node(NamedTuple):
    """How a node of the command line takes part in the DHT.

    :param peers: the addresses of nodes to start from; if there are none, the bootstrap servers are asked.
    :param listen_address: the IPv4 address to listen on.
    :param port: the UDP port; 0 for any.
    :param key_file: the file with the key to sign with, which is made if it is missing; by default it is a new key.
    :param database: the file in which nodes and values are kept.
    :param wait: seconds for which nodes are looked for.
    """

    peers: tuple[tuple[str, int], ...] = ()
    listen_address: str = "0.0.0.0"  # noqa: S104 - nodes are to be reached
    port: int = 0
    key_file: str | None = None
    database: str | None = None
    wait: float = 10.0


Action = Callable[["DHTDiscoveryCommunity"], Awaitable[dict[str, Any]]]
"""What is done with a node that knows others; the result is a report."""


def run(node: Node, action: Action, as_json: bool) -> int:
    """Do something with the DHT and print a report on it; 0 if anything was found or stored, else 1."""
    logging.basicConfig(level=logging.ERROR)
    with busy("Asking nodes of the DHT"):
        report = asyncio.run(_run(node, action))
    if as_json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    return FOUND if report["found"] else NOT_FOUND


async def _run(node: Node, action: Action) -> dict[str, Any]:
    """Start a node, do something, and stop the node."""
    from ..dht import DHTError
    from ..dht.community import DHTSettings
    from ..dht.discovery import DHTDiscoveryCommunity
    from ..keyvault.crypto import default_eccrypto
    from ..keyvault.files import load_or_create_private_key
    from ..messaging.interfaces.udp.endpoint import UDPEndpoint
    from ..peer import Peer
    from ..peerdiscovery.network import Network

    key = (load_or_create_private_key(node.key_file, "curve25519") if node.key_file
           else default_eccrypto.generate_key("curve25519"))
    endpoint = UDPEndpoint(node.port, node.listen_address)
    if not await endpoint.open():
        raise OSError(f"cannot listen on {node.listen_address}, UDP port {node.port}")
    overlay = DHTDiscoveryCommunity(DHTSettings(my_peer=Peer(key), endpoint=endpoint, network=Network(),
                                                dht_database=node.database))
    try:
        try:
            await _join(overlay, node)
            return await action(overlay)
        except DHTError as e:
            return {"found": False, "error": str(e)}
    finally:
        await overlay.unload()
        endpoint.close()


def _node_count(overlay: DHTDiscoveryCommunity) -> int:
    return sum(bool(node.last_response) for table in overlay.routing_tables.values() for node in table.nodes())


async def _join(overlay: DHTDiscoveryCommunity, node: Node) -> None:
    """Get to know enough nodes, or as many as answer in time."""
    from ..bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
    from ..configuration import DISPERSY_BOOTSTRAPPER
    from ..peerdiscovery.discovery import RandomWalk

    loop = asyncio.get_running_loop()
    end = loop.time() + node.wait
    if not node.peers:
        overlay.bootstrappers.append(DispersyBootstrapper(**DISPERSY_BOOTSTRAPPER["init"]))
        overlay.bootstrap()
    for address in await resolve(node.peers, node.wait):
        overlay.walk_to(address)
    walk: RandomWalk[Any] = RandomWalk(overlay)
    while _node_count(overlay) < ENOUGH_NODES and loop.time() < end:
        await asyncio.sleep(POLL_INTERVAL)
        if node.peers and _node_count(overlay):
            return
        walk.take_step()


async def resolve(places: Iterable[tuple[str, int]], timeout: float) -> list[Address]:
    """The addresses of nodes, given by IP addresses or names.

    :raises OSError: if a name has no address.
    """
    from ..bootstrapping.resolver import shared_resolver
    from ..messaging.inet import parse_host

    found: list[Address] = []
    for host, port in places:
        if parse_host(host) is not None:
            found.append((UDPv6Address if ":" in host else UDPv4Address)(host, port))
            continue
        try:
            addresses = await asyncio.wait_for(shared_resolver().resolve(host, port), timeout)
        except asyncio.TimeoutError:
            addresses = []
        if not addresses:
            raise OSError(f"the name {host!r} of a peer cannot be resolved")
        found += addresses
    return found


def getting(key: bytes) -> Action:
    """Find the values of a key."""
    async def act(overlay: DHTDiscoveryCommunity) -> dict[str, Any]:
        values = await overlay.find_values(key)
        return {"found": bool(values), "key": key.hex(),
                "values": [{"data": data.hex(), "text": data.decode(errors="replace"),
                            "signer": signer and signer.hex()} for data, signer in values]}
    return act


def putting(key: bytes, value: str, sign: bool) -> Action:
    """Store a value."""
    async def act(overlay: DHTDiscoveryCommunity) -> dict[str, Any]:
        from ..dht.community import MAX_ENTRY_SIZE

        data = value.encode(errors="surrogateescape")
        surplus = len(overlay.serialize_value(data, sign)) - MAX_ENTRY_SIZE
        if surplus > 0:
            raise ValueError(f"the value, of {len(data)} bytes, is {surplus} bytes longer than what can be stored"
                             + (" with a signature" if sign else ""))
        nodes = await overlay.store_value(key, data, sign)
        return {"found": True, "key": key.hex(), "copies": len(nodes), "nodes": [_where(node) for node in nodes]}
    return act


def finding_peer(mid: bytes) -> Action:
    """Find the owner of a key."""
    async def act(overlay: DHTDiscoveryCommunity) -> dict[str, Any]:
        nodes = await overlay.connect_peer(mid)
        return {"found": True, "mid": mid.hex(), "nodes": [_where(node) for node in nodes]}
    return act


async def status(overlay: DHTDiscoveryCommunity) -> dict[str, Any]:
    """Tell what the node knows of the DHT."""
    nodes = [node for table in overlay.routing_tables.values() for node in table.nodes()]
    return {"found": bool(_node_count(overlay)), "mid": overlay.my_peer.mid.hex(),
            "address": ":".join(map(str, overlay.my_estimated_wan)), "known": len(nodes),
            "answering": _node_count(overlay), "nodes": [_where(node) for node in nodes]}


def _where(node: Any) -> dict[str, Any]:
    return {"mid": node.mid.hex(), "host": node.address[0], "port": node.address[1]}


def _lines(report: dict[str, Any]) -> list[str]:
    """A report for people."""
    if "error" in report:
        return [f"not found: {report['error']}"]
    if "values" in report:
        return [for_output(value["text"]) + (f"\t(signed by {value['signer']})" if value["signer"] else "")
                for value in report["values"]] or ["not found"]
    lines = [f"{name}: {report[name]}" for name in ("key", "mid", "address", "copies", "known", "answering")
             if name in report]
    return [*lines, *(f"{node['mid']} {node['host']}:{node['port']}" for node in report["nodes"])]
