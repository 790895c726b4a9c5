"""A picture of a web of trust, as SVG: the root at the centre, and a ring for each step away from it.

Nothing but the standard library is needed. The order on a ring follows that of the ring within, so that lines cross
seldom.
"""

from __future__ import annotations

from math import cos, hypot, log2, pi, sin, sqrt
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from ..reputation import DELIVERY, INTRODUCTION, RELAY
from .statements import STATEMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph import TrustGraph
    from .model import Edge

__all__ = ["draw"]

RING = 190.0
"""Pixels between two rings, at least."""

SPACE = 44.0
"""Pixels between two neighbours on a ring, at least."""

MARGIN = 150.0
"""Pixels around the outer ring, for names."""

LEGEND = 250.0
"""Pixels for the explanation at the left."""

LEAST_RADIUS, MOST_RADIUS = 7.0, 24.0

LABELLED_EDGES = 40
"""If there are more edges, only those from the root have their weights written next to them."""

STATED, CHAIN, OWN = "#1f6fb4", "#777777", "#2a8f4f"
"""Colours of edges: stated by the person, from blocks, and from what this node saw itself."""

PALE = 0.3
"""How visible an edge is that does not lead to an outer ring."""

REPORTED = {INTRODUCTION, DELIVERY, RELAY, "local"}

_STYLE = ("text{font-family:Helvetica,Arial,sans-serif;font-size:13px;fill:#222}"
          ".halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}"
          ".weight{font-size:11px;fill:#444}.title{font-size:17px;font-weight:bold}.note{fill:#555;font-size:12px}")


class _Place(NamedTuple):
    x: float
    y: float
    angle: float
    radius: float


def _tree(graph: TrustGraph, depth: int, limit: int, scores: dict[bytes, float]) -> list[dict[bytes, list[bytes]]]:
    """For each ring the nodes of the next one by the node within that endorses them most; the best ``limit`` nodes."""
    seen = {graph.root}
    rings: list[list[bytes]] = [[graph.root]]
    levels: list[dict[bytes, list[bytes]]] = []
    while len(levels) < depth and len(seen) < limit:
        parents: dict[bytes, tuple[float, bytes]] = {}
        for key in rings[-1]:
            for edge in graph.edges(key):
                if edge.target not in seen and edge.weight > parents.get(edge.target, (0.0, b""))[0]:
                    parents[edge.target] = edge.weight, key
        best = sorted(parents, key=lambda key: (-scores.get(key, 0.0), key))[:limit - len(seen)]
        if not best:
            break
        level: dict[bytes, list[bytes]] = {}
        for key in best:
            level.setdefault(parents[key][1], []).append(key)
        levels.append(level)
        rings.append(best)
        seen.update(best)
    return levels


def _places(root: bytes, levels: list[dict[bytes, list[bytes]]], scores: dict[bytes, float]) -> dict[bytes, _Place]:
    """Where the nodes are: each has a sector as wide as the leaves beyond it need."""
    leaves: dict[bytes, float] = {}
    for level in reversed(levels):
        for parent, children in level.items():
            leaves[parent] = sum(leaves.get(child, 1.0) for child in children)
    top = max((scores.get(key, 0.0) for level in levels for children in level.values() for key in children),
              default=0.0)

    def size(key: bytes) -> float:
        return LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * (sqrt(scores.get(key, 0.0) / top) if top else 0.0)

    places = {root: _Place(0.0, 0.0, 0.0, MOST_RADIUS)}
    sectors = {root: (-pi / 2, 3 * pi / 2)}
    distance = 0.0
    for level in levels:
        distance = max(distance + RING, sum(map(len, level.values())) * SPACE / (2 * pi))
        for parent, children in level.items():
            start, end = sectors[parent]
            width = (end - start) / max(1.0, leaves[parent])
            for child in children:
                stop = start + width * leaves.get(child, 1.0)
                angle = (start + stop) / 2
                places[child] = _Place(distance * cos(angle), distance * sin(angle), angle, size(child))
                sectors[child] = start, stop
                start = stop
    return places


def _colour(edge: Edge) -> str:
    if STATEMENT in edge.kinds:
        return STATED
    return OWN if edge.kinds and REPORTED.issuperset(edge.kinds) else CHAIN


def _shade(score: float, top: float) -> str:
    """A colour from pale to strong orange."""
    part = sqrt(score / top) if top > 0.0 else 0.0
    red, green, blue = (round(pale + part * (strong - pale)) for pale, strong in ((250, 240), (238, 130), (220, 30)))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _edge(edge: Edge, start: _Place, end: _Place, heaviest: float, labelled: bool) -> list[str]:
    """A bent arrow, so that one for each direction can be told apart; with its weight, if wanted."""
    dx, dy = end.x - start.x, end.y - start.y
    length = hypot(dx, dy) or 1.0
    ux, uy = dx / length, dy / length
    bend = 0.12 * length
    middle = (start.x + dx / 2 - uy * bend, start.y + dy / 2 + ux * bend)
    width = 1.0 + 3.5 * log2(1.0 + edge.weight) / (log2(1.0 + heaviest) or 1.0)

    def rim(place: _Place, gap: float) -> tuple[float, float]:
        """Where the line meets a circle, on the way to the bend."""
        mx, my = middle[0] - place.x, middle[1] - place.y
        far = hypot(mx, my) or 1.0
        return place.x + mx / far * (place.radius + gap), place.y + my / far * (place.radius + gap)

    (x1, y1), (x2, y2) = rim(start, 1.0), rim(end, 5.0 + 2.0 * width)
    colour = _colour(edge)
    leads_out = hypot(end.x, end.y) > hypot(start.x, start.y) + 1.0
    line = (f'<path d="M{x1:.1f},{y1:.1f} Q{middle[0]:.1f},{middle[1]:.1f} {x2:.1f},{y2:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{width:.1f}" marker-end="url(#{colour[1:]})" '
            f'opacity="{0.8 if leads_out else PALE}"/>')
    parts = [line]
    if labelled:
        x, y = x1 / 4 + middle[0] / 2 + x2 / 4, y1 / 4 + middle[1] / 2 + y2 / 4
        parts.append(f'<text class="weight halo" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">'
                     f'{edge.weight:.3g}</text>')
    return parts


def _label(place: _Place, name: str, score: float, is_root: bool) -> str:
    """The name of a node, away from the centre, with its score."""
    text = escape(name)
    if is_root:
        return (f'<text class="halo" x="0" y="{place.radius + 17:.1f}" text-anchor="middle" '
                f'font-weight="bold">{text}</text>')
    gap = place.radius + 7
    x, y = place.x + gap * cos(place.angle), place.y + gap * sin(place.angle)
    side = cos(place.angle)
    anchor = "middle" if abs(side) < 0.2 else "start" if side > 0 else "end"
    y += 4 + (8 * sin(place.angle) if anchor == "middle" else 0)
    return (f'<text class="halo" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}'
            f'<tspan class="note" dx="5">{score:.3g}</tspan></text>')


def _legend(left: float, top: float, title: str, notes: list[str]) -> list[str]:
    parts = [f'<g transform="translate({left:.1f},{top:.1f})">', f'<text class="title" x="0" y="16">{title}</text>']
    y = 48.0
    for colour, text in ((STATED, "stated by you, maybe with more"), (CHAIN, "from signed transactions"),
                         (OWN, "from what your node saw")):
        parts += [f'<path d="M0,{y - 4} H34" stroke="{colour}" stroke-width="3" marker-end="url(#{colour[1:]})"/>',
                  f'<text x="56" y="{y}">{text}</text>']
        y += 22
    for text in ("An arrow goes from who endorses to who", "is endorsed. Its number is the weight.",
                 "Pale ones do not lead away from you.", "The number next to a name is the score."):
        y += 16
        parts.append(f'<text class="note" x="0" y="{y - 10}">{text}</text>')
    y += 30
    for radius, share, text in ((LEAST_RADIUS, 0.05, "low score"), (MOST_RADIUS, 1.0, "highest score")):
        parts += [f'<circle cx="20" cy="{y}" r="{radius}" fill="{_shade(share, 1.0)}" stroke="#555"/>',
                  f'<text x="56" y="{y + 4}">{text}</text>']
        y += 42
    for note in notes:
        parts.append(f'<text class="note" x="0" y="{y}">{escape(note)}</text>')
        y += 16
    parts.append("</g>")
    return parts


def draw(graph: TrustGraph, name_of: Callable[[bytes], str], depth: int = 3, limit: int = 60) -> str:
    """The surroundings of the root as the text of an SVG file.

    :param name_of: what is written next to a key.
    :param depth: how many steps away from the root.
    :param limit: how many nodes at most, those nearest to the root and with the highest scores.
    """
    scores = graph.scores()
    levels = _tree(graph, depth, limit, scores)
    places = _places(graph.root, levels, scores)
    edges = [edge for key in places for edge in graph.edges(key) if edge.target in places]
    heaviest = max((edge.weight for edge in edges), default=1.0)
    others = {key: scores.get(key, 0.0) for key in places if key != graph.root}
    top = max(others.values(), default=0.0)
    reach = max(hypot(place.x, place.y) for place in places.values()) + MARGIN
    width, height = 2 * reach + LEGEND, max(2 * reach, 460.0)
    colours = sorted({STATED, CHAIN, OWN})
    notes = [f"{len(places)} of {graph.number_of_nodes()} keys"]
    frauds = sorted(graph.table.frauds)
    notes += [f"{len(frauds)} proven cheater{'s' * (len(frauds) > 1)}, with score 0:"] if frauds else []
    notes += [f"  {name_of(key)}" for key in frauds[:10]]
    corner = f"{-reach - LEGEND:.1f}", f"{-height / 2:.1f}"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="{corner[0]} {corner[1]} {width:.1f} {height:.1f}">')
    parts = [head, f"<style>{_STYLE}</style>", "<defs>"]
    parts += [f'<marker id="{colour[1:]}" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="9" markerHeight="9" '
              f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
              for colour in colours]
    paper = f'<rect x="{corner[0]}" y="{corner[1]}" width="{width:.1f}" height="{height:.1f}" fill="#fff"/>'
    parts += ["</defs>", paper]
    parts += [f'<circle r="{radius:.1f}" fill="none" stroke="#e8e8e8"/>' for radius in sorted(
        {round(hypot(place.x, place.y), 1) for place in places.values()} - {0.0})]
    for edge in sorted(edges, key=lambda edge: edge.weight):
        labelled = len(edges) <= LABELLED_EDGES or edge.source == graph.root
        parts += _edge(edge, places[edge.source], places[edge.target], heaviest, labelled)
    for key, place in places.items():
        fill = "#333" if key == graph.root else _shade(others[key], top)
        parts.append(f'<circle cx="{place.x:.1f}" cy="{place.y:.1f}" r="{place.radius:.1f}" fill="{fill}" '
                     f'stroke="#555"><title>{key.hex()}</title></circle>')
    parts += [_label(place, name_of(key), scores.get(key, 0.0), key == graph.root) for key, place in places.items()]
    parts += _legend(-reach - LEGEND + 24, -height / 2 + 24, "Web of trust", notes)
    return "\n".join([*parts, "</svg>", ""])
