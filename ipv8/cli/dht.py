"""Store and find values in the DHT, and find the owners of keys."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from string import hexdigits
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..dht.discovery import DHTDiscoveryCommunity
    from ..messaging.address import Address

__all__ = ["add_arguments", "run"]

FOUND, NOT_FOUND = 0, 1

ENOUGH_NODES = 8
"""Nodes that must have answered before anything is asked, unless the time for that is over."""
POLL_INTERVAL = 0.05
"""Seconds between two looks at how many have answered."""
KEY_DIGITS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``ipv8 dht``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--peer", metavar="IP:PORT", action="append", default=[], type=parse_address,
                        help="a node to start from, instead of the bootstrap servers; may be given again")
    parser.add_argument("--listen-address", metavar="IP", default="0.0.0.0",  # noqa: S104 - nodes are to be reached
                        help="the IPv4 address to listen on (default: all)")
    parser.add_argument("-p", "--port", type=int, metavar="PORT", default=0,
                        help="the UDP port to listen on (default: any)")
    parser.add_argument("--key-file", metavar="FILE", help="the key to sign with, made if missing (default: a new one)")
    parser.add_argument("--database", metavar="FILE", help="keep nodes and values here, for faster starts")
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=10.0,
                        help="how long to look for nodes before giving up (default: 10)")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    get = actions.add_parser("get", help="print the values of a key")
    get.add_argument("key", type=parse_key, help="40 hex digits, or at most 20 bytes of text")
    put = actions.add_parser("put", help="store a value under a key, for an hour")
    put.add_argument("key", type=parse_key, help="40 hex digits, or at most 20 bytes of text")
    put.add_argument("value", help="text; at most 169 bytes, or 23 if it is signed")
    put.add_argument("--sign", action="store_true", help="sign it, so that it replaces an earlier value of yours")
    find_peer = actions.add_parser("find-peer", help="print the addresses of a key's owner")
    find_peer.add_argument("mid", type=parse_mid, help="the SHA-1 hash of the public key, 40 hex digits")
    actions.add_parser("status", help="print what this node knows of the DHT")


def parse_key(text: str) -> bytes:
    """The 20 bytes of a key, given as 40 hex digits, or as at most 20 bytes of text; zero bytes are appended."""
    if len(text) == KEY_DIGITS:
        return parse_mid(text)
    key = text.encode()
    if not 0 < len(key) <= KEY_DIGITS // 2:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {KEY_DIGITS} hex digits nor 1 to {KEY_DIGITS // 2} "
                                         "bytes of text")
    return key.ljust(KEY_DIGITS // 2, b"\x00")


def parse_mid(text: str) -> bytes:
    """The 20 bytes that are given as 40 hex digits."""
    if len(text) != KEY_DIGITS or not set(text) <= set(hexdigits):
        raise argparse.ArgumentTypeError(f"{text!r} is not {KEY_DIGITS} hex digits")
    return bytes.fromhex(text)


def parse_address(text: str) -> Address:
    """The address that is given as ``IP:PORT`` or ``[IPV6]:PORT``."""
    from ipaddress import ip_address

    from ..messaging.address import UDPv4Address, UDPv6Address

    host, _, port = text.rpartition(":")
    try:
        ip = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        ip = None
    if ip is None or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not IP:PORT, such as 192.0.2.1:6421 or [2001:db8::1]:6421")
    return (UDPv6Address if ip.version == 6 else UDPv4Address)(str(ip), int(port))


def run(arguments: argparse.Namespace) -> int:
    """Run ``ipv8 dht``; 0 if it has found or stored something, else 1."""
    logging.basicConfig(level=logging.ERROR)
    report = asyncio.run(_run(arguments))
    if arguments.json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    return FOUND if report["found"] else NOT_FOUND


async def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start a node, do what the arguments ask for, and stop the node."""
    from ..dht import DHTError
    from ..dht.community import DHTSettings
    from ..dht.discovery import DHTDiscoveryCommunity
    from ..keyvault.crypto import default_eccrypto
    from ..keyvault.files import load_or_create_private_key
    from ..messaging.interfaces.udp.endpoint import UDPEndpoint
    from ..peer import Peer
    from ..peerdiscovery.network import Network

    key = (load_or_create_private_key(arguments.key_file, "curve25519") if arguments.key_file
           else default_eccrypto.generate_key("curve25519"))
    endpoint = UDPEndpoint(arguments.port, arguments.listen_address)
    if not await endpoint.open():
        raise OSError(f"cannot listen on {arguments.listen_address}, UDP port {arguments.port}")
    overlay = DHTDiscoveryCommunity(DHTSettings(my_peer=Peer(key), endpoint=endpoint, network=Network(),
                                                dht_database=arguments.database))
    try:
        try:
            await _join(overlay, arguments)
            return await _act(overlay, arguments)
        except DHTError as e:
            return {"found": False, "error": str(e)}
    finally:
        await overlay.unload()
        endpoint.close()


def _node_count(overlay: DHTDiscoveryCommunity) -> int:
    return sum(bool(node.last_response) for table in overlay.routing_tables.values() for node in table.nodes())


async def _join(overlay: DHTDiscoveryCommunity, arguments: argparse.Namespace) -> None:
    """Get to know enough nodes, or as many as answer in time."""
    from ..bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
    from ..configuration import DISPERSY_BOOTSTRAPPER
    from ..peerdiscovery.discovery import RandomWalk

    loop = asyncio.get_running_loop()
    end = loop.time() + arguments.wait
    if not arguments.peer:
        overlay.bootstrappers.append(DispersyBootstrapper(**DISPERSY_BOOTSTRAPPER["init"]))
        overlay.bootstrap()
    for address in arguments.peer:
        overlay.walk_to(address)
    walk: RandomWalk[Any] = RandomWalk(overlay)
    while _node_count(overlay) < ENOUGH_NODES and loop.time() < end:
        await asyncio.sleep(POLL_INTERVAL)
        if arguments.peer and _node_count(overlay):
            return
        walk.take_step()


async def _act(overlay: DHTDiscoveryCommunity, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do what the arguments ask for; a report on it."""
    if arguments.action == "get":
        values = await overlay.find_values(arguments.key)
        return {"found": bool(values), "key": arguments.key.hex(),
                "values": [{"data": data.hex(), "text": data.decode(errors="replace"),
                            "signer": signer and signer.hex()} for data, signer in values]}
    if arguments.action == "put":
        nodes = await overlay.store_value(arguments.key, arguments.value.encode(), arguments.sign)
        return {"found": True, "key": arguments.key.hex(), "copies": len(nodes), "nodes": [_where(n) for n in nodes]}
    if arguments.action == "find-peer":
        nodes = await overlay.connect_peer(arguments.mid)
        return {"found": True, "mid": arguments.mid.hex(), "nodes": [_where(node) for node in nodes]}
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
        return [value["text"] + (f"\t(signed by {value['signer']})" if value["signer"] else "")
                for value in report["values"]] or ["not found"]
    lines = [f"{name}: {report[name]}" for name in ("key", "mid", "address", "copies", "known", "answering")
             if name in report]
    return [*lines, *(f"{node['mid']} {node['host']}:{node['port']}" for node in report["nodes"])]
