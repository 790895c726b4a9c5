"""A trust graph for other programs: networkx, GraphML, JSON with a layout."""

from __future__ import annotations

from codecs import getwriter
from importlib import import_module
from math import cos, pi, sin
from typing import TYPE_CHECKING, Any

from ..files import new_content

if TYPE_CHECKING:
    from os import PathLike

    from .graph import TrustGraph

__all__ = ["to_graphml", "to_json", "to_networkx"]


def to_networkx(graph: TrustGraph) -> Any:
    """A ``networkx.DiGraph``: keys as nodes; edges with ``weight``, ``kinds``, ``events`` and ``last_time``.

    :raises RuntimeError: without networkx.
    """
    try:
        networkx = import_module("networkx")
    except ModuleNotFoundError as e:
        raise RuntimeError("this needs networkx, which is not installed: pip install ipv8[trust]") from e
    result = networkx.DiGraph(root=graph.root)
    graph.flush()
    result.add_nodes_from(graph.table.ids)
    result.add_edges_from((edge.source, edge.target, {"weight": edge.weight, "kinds": edge.kinds,
                                                      "events": edge.events, "last_time": edge.last_time})
                          for edge in graph.edges())
    return result


def to_graphml(graph: TrustGraph, path: str | PathLike[str]) -> None:
    """Write a GraphML file: keys in hexadecimal digits, nodes with ``score``, edges with ``weight`` and ``events``.

    Only its owner can read it.
    """
    scores = graph.scores()
    with new_content(path) as binary:
        file = getwriter("utf-8")(binary)
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
                   '<key id="score" for="node" attr.name="score" attr.type="double"/>\n'
                   '<key id="weight" for="edge" attr.name="weight" attr.type="double"/>\n'
                   '<key id="events" for="edge" attr.name="events" attr.type="long"/>\n'
                   '<graph edgedefault="directed">\n')
        file.writelines(f'<node id="{key.hex()}"><data key="score">{scores.get(key, 0.0)!r}</data></node>\n'
                        for key in graph.table.ids)
        file.writelines(f'<edge source="{edge.source.hex()}" target="{edge.target.hex()}">'
                        f'<data key="weight">{edge.weight!r}</data><data key="events">{edge.events}</data></edge>\n'
                        for edge in graph.edges())
        file.write("</graph>\n</graphml>\n")


def _rings(graph: TrustGraph, depth: int, limit: int, scores: dict[bytes, float]) -> list[list[int]]:
    """The nodes at each distance from the root, at most ``limit`` in all; of the last ring those with high scores."""
    table = graph.table
    rings, seen = [[graph.root_id]], {graph.root_id}
    while len(rings) <= depth and len(seen) < limit:
        found: dict[int, None] = {}
        for number in rings[-1]:
            row = table.rows[number]
            if row is not None:
                found.update(dict.fromkeys(target for target in row.targets if target not in seen))
        if not found:
            break
        ring = sorted(found, key=lambda number: (-scores.get(table.key_of(number), 0.0), table.key_of(number)))
        rings.append(ring[:limit - len(seen)])
        seen.update(rings[-1])
    return rings


def to_json(graph: TrustGraph, depth: int = 2, limit: int = 500) -> dict[str, Any]:
    """The nodes within ``depth`` hops of the root, at most ``limit``, and the edges between them.

    ``nodes`` have ``id``, ``key`` (hexadecimal digits), ``score`` and ``pos``: x and y in [-1, 1], the root at the
    centre, further nodes on a ring for each distance. ``edges`` are lists of two ids and a weight.
    """
    scores = graph.scores()
    rings = _rings(graph, max(0, depth), max(1, limit), scores)
    nodes: list[dict[str, Any]] = []
    ids: dict[bytes, int] = {}
    for distance, ring in enumerate(rings):
        radius = distance / max(1, len(rings) - 1)
        for place, number in enumerate(ring):
            angle = 2 * pi * place / len(ring)
            key = graph.table.key_of(number)
            ids[key] = len(nodes)
            nodes.append({"id": len(nodes), "key": key.hex(), "score": scores.get(key, 0.0),
                          "pos": [round(radius * cos(angle), 6), round(radius * sin(angle), 6)]})
    edges = [[ids[key], ids[edge.target], edge.weight] for key in ids for edge in graph.edges(key)
             if edge.target in ids]
    return {"root": graph.root.hex(), "nodes": nodes, "edges": edges}
