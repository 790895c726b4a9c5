"""The peers of a node, and who introduced them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from ... import clock
from ...contact.nat import PeerPath
from ...contact.parts import Contact
from .parts import communities_of, graph_of, name_of, networks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...community import Community
    from ...peer import Peer, PeerSession
    from ...peerdiscovery.network import Network

__all__ = ["SORTS", "encrypted", "graph", "peers_of", "table", "total"]

MAX_NODES = 1000
"""Nodes of a graph; further peers are left out."""

MAX_EDGES = 5000
"""Edges of a graph; further ones are left out."""

SORTS = ("round_trip", "path", "last_heard", "trust", "address", "mid")
"""By what the table of peers can be sorted."""


def peers_of(node: Any) -> dict[bytes, tuple[Peer, list[Network]]]:
    """The verified peers by their keys, with the networks that have them."""
    found: dict[bytes, tuple[Peer, list[Network]]] = {}
    for network in networks_of(node):
        for peer in tuple(network.verified_peers):
            found.setdefault(peer.key_bin, (peer, []))[1].append(network)
    return found


def total(node: Any) -> int:
    """How many verified peers a node has."""
    networks = networks_of(node)
    return len(networks[0].verified_peers) if len(networks) == 1 else len(peers_of(node))


def encrypted(peer: Peer) -> bool:
    """Whether there is an encrypted session with a peer."""
    return peer.session is not None and peer.session.is_open


def table(node: Any, sort: str, text: str) -> list[dict[str, Any]]:
    """The peers as JSON has them.

    :param sort: one of :data:`SORTS`, with ``-`` in front of it for the reverse order; empty for none. Peers that have
        no such value come last.
    :param text: what a peer must have in its address, its mid, its key, its path or the names of its overlays.
    """
    text = text.lower()
    overlays = communities_of(node)
    trust = graph_of(node)
    score = None if trust is None else trust.score
    rows = [_row(peer, networks, overlays, score) for peer, networks in peers_of(node).values()]
    if text:
        rows = [row for row in rows if any(text in part.lower() for part in _texts(row))]
    if sort:
        name = sort.removeprefix("-")
        known = [row for row in rows if row[name] is not None]
        known.sort(key=_key_of(name), reverse=sort.startswith("-"))
        rows = known + [row for row in rows if row[name] is None]
    return rows


def _key_of(name: str) -> Callable[[dict[str, Any]], Any]:
    if name == "address":
        return lambda row: (row["address"]["ip"], row["address"]["port"])
    return lambda row: row[name]


def _texts(row: dict[str, Any]) -> Iterator[str]:
    address = row["address"]
    yield f"{address['ip']}:{address['port']}"
    yield row["mid"]
    yield row["public_key"]
    yield row["path"]
    yield from row["overlays"]


def _row(peer: Peer, networks: list[Network], overlays: list[Community],
         score: Callable[[bytes], float] | None) -> dict[str, Any]:
    services = _services(peer, networks)
    session: PeerSession | Any = peer.session
    stats = getattr(session, "stats", None)
    round_trip = peer.get_median_ping()
    if round_trip is None and stats is not None:
        round_trip = stats.round_trip
    host, port = peer.address[:2]
    return {"mid": peer.mid.hex(), "public_key": peer.key_bin.hex(), "address": {"ip": host, "port": port},
            "path": peer.path, "round_trip": round_trip, "encrypted": encrypted(peer),
            "overlays": _common(services, networks, overlays), "services": len(services),
            "last_heard": None if peer.last_heard == -inf else max(0.0, clock.monotonic() - peer.last_heard),
            "trust": None if score is None else score(peer.key_bin),
            "bytes_up": None if stats is None else stats.bytes_up,
            "bytes_down": None if stats is None else stats.bytes_down}


def _services(peer: Peer, networks: list[Network]) -> set[bytes]:
    return {bytes(service) for network in networks for service in network.get_services_for_peer(peer)}


def _common(services: set[bytes], networks: list[Network], overlays: list[Community]) -> list[str]:
    """The names of the overlays of this node that a peer is in as well."""
    return [name_of(overlay) for overlay in overlays
            if overlay.community_id in services and any(overlay.network is network for network in networks)]


def graph(node: Any) -> dict[str, Any]:
    """This node, its peers, who introduced whom, and who carries packets for whom."""
    overlays = communities_of(node)
    root = next((overlay.my_peer.mid.hex() for overlay in overlays), "")
    known = dict(list(peers_of(node).items())[:MAX_NODES - 1])
    nodes: list[dict[str, Any]] = [{"mid": root, "address": None, "path": "self", "overlays": list(
        dict.fromkeys(map(name_of, overlays))), "round_trip": None}] if root else []
    edges: list[tuple[str, str, str]] = []
    for peer, networks in known.values():
        host, port = peer.address[:2]
        nodes.append({"mid": peer.mid.hex(), "address": {"ip": host, "port": port}, "path": peer.path,
                      "overlays": _common(_services(peer, networks), networks, overlays),
                      "round_trip": peer.get_median_ping()})
        if root:
            edges.append((root, peer.mid.hex(), "peer"))
    for peer, networks in known.values():
        introducers = {network.get_introducer(address) for network in networks for address in peer.addresses.values()}
        edges += [(known[key][0].mid.hex(), peer.mid.hex(), "introduced") for key in introducers
                  if key is not None and key in known and key != peer.key_bin]
        if peer.path == PeerPath.RELAYED:
            edges += [(carrier.mid.hex(), peer.mid.hex(), "carries") for carrier in _carriers(peer, overlays)]
    return {"root": root, "nodes": nodes, "edges": edges[:MAX_EDGES]}


def _carriers(peer: Peer, overlays: list[Community]) -> set[Peer]:
    """The peers that carry packets to one that cannot be reached otherwise."""
    now = clock.monotonic()
    contacts = (overlay.contact for overlay in overlays)  # programs may use that name for something else
    found = (contact.relaying.carrier_to(peer.address, now) for contact in contacts if isinstance(contact, Contact))
    return {carrier for carrier in found if carrier is not None}
