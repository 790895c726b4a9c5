"""Keeping a trust graph within its limits, at the expense of those whom nobody would miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import TrustGraph

__all__ = ["evict"]

SLACK = 50
"""One part in so many is evicted beyond what must go, so that choosing who goes is rare."""


def evict(graph: TrustGraph) -> None:
    """Remove nodes until the limits hold.

    The node with the lowest score and then the least weight goes first. The root, those whom it endorses, and frauds
    stay.
    """
    table = graph.table
    if len(table.ids) <= graph.max_nodes and table.edge_count <= graph.max_edges:
        return
    nodes, edges = graph.max_nodes - graph.max_nodes // SLACK, graph.max_edges - graph.max_edges // SLACK
    root_row = table.rows[graph.root_id]
    kept = {graph.root_id, *(root_row.targets if root_row is not None else ())}
    weights = _weights(graph)
    candidates = sorted((graph.worth(number), weights[number], number)
                        for key, number in table.ids.items() if number not in kept and key not in table.frauds)
    too_many_edges = table.edge_count > graph.max_edges
    for worth, _, number in candidates:
        if len(table.ids) <= nodes and (not too_many_edges or table.edge_count <= edges):
            break
        if len(table.ids) <= graph.max_nodes and not too_many_edges and worth > 0.0:
            break  # what has a score goes only if it must
        graph.forget(number)


def _weights(graph: TrustGraph) -> list[float]:
    """For each node, the weights of all endorsements of it."""
    weights = [0.0] * len(graph.table.keys)
    for row in graph.table.rows:
        if row is not None:
            for target, weight in zip(row.targets, row.weights, strict=True):
                weights[target] += weight
    return weights
