"""A whole trust graph as bytes.

A snapshot begins with a line that names the format and the SHA-256 digest of the rest. The rest is a sequence of
sections, each with its length in front: parameters as JSON, then arrays of numbers (little-endian) and keys.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any

from .model import SCORES
from .rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from .graph import TrustGraph

__all__ = ["pack", "unpack"]

MAGIC = b"ipv8 trust graph 1\n"
PARAMETERS = ("alpha", "beta", "connectivity", "tau", "kappa", "max_nodes", "max_edges", "unit", "share_ttl")
NO_PARTNER = -1


def _numbers(code: str, values: Iterable[Any]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _read(code: str, data: bytes) -> list[Any]:
    column = array(code)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _proof_to_json(proof: Any) -> Any:
    """Proofs made of bytes, text and numbers are kept, others are not."""
    if isinstance(proof, bytes):
        return {"bytes": proof.hex()}
    if isinstance(proof, (tuple, list)):
        return {"items": [_proof_to_json(item) for item in proof], "tuple": isinstance(proof, tuple)}
    return proof if isinstance(proof, (str, int, float)) else None


def _proof_from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return bytes.fromhex(value["bytes"])
    items = [_proof_from_json(item) for item in value["items"]]
    return tuple(items) if value["tuple"] else items


def pack(graph: TrustGraph) -> bytes:
    """The snapshot of a graph. Scores that a program added are not in it."""
    graph.flush()
    table, store = graph.table, graph.store
    rows = [(number, row) for number, row in enumerate(table.rows) if row is not None]
    keys = [key or b"" for key in table.keys]
    graph.named("temporal").items()
    header = {
        **{name: getattr(graph, name) for name in PARAMETERS},
        "default_score": graph.default_score if graph.default_score in SCORES else "meritrank",
        "half_life": table.half_life, "walks": len(store),
        "pretrusted": None if graph.pretrusted is None else [key.hex() for key in graph.pretrusted],
        "root": graph.root_id, "kinds": table.kind_names, "free": table.free,
        "blocked": [key.hex() for key in table.blocked_keys],
        "frauds": [[key.hex(), _proof_to_json(proof)] for key, proof in table.frauds.items()],
        "completeness": list(graph.completeness.items()), "counters": graph.counters(),
        "several_kinds": [[number, target, list(kinds.items())] for number, row in rows
                          for target, kinds in row.kinds.items()],
        "shares_at": graph.shares_at,
        "temporal": [[source.hex(), [[height, target.hex(), other, weight] for height, target, other, weight in found]]
                     for source, found in graph.temporal.records.items()],
    }
    sections = [
        json.dumps(header).encode(), _numbers("q", map(len, keys)), b"".join(keys),
        _numbers("q", chain.from_iterable((number, len(row)) for number, row in rows)),
        _numbers("d", chain.from_iterable((row.t_ref, row.total) for _, row in rows)),
        _numbers("q", chain.from_iterable(row.targets for _, row in rows)),
        _numbers("d", chain.from_iterable(row.weights for _, row in rows)),
        _numbers("q", chain.from_iterable(row.events for _, row in rows)),
        _numbers("q", chain.from_iterable(row.last_time for _, row in rows)),
        _numbers("q", chain.from_iterable(row.kind for _, row in rows)),
        _numbers("q", map(len, store.walks)), _numbers("q", chain.from_iterable(store.walks)), bytes(store.died),
        _numbers("q", graph.shares), _numbers("d", graph.shares.values()),
        _numbers("q", chain.from_iterable(graph.temporal.hits.items())),
    ]
    body = b"".join(struct.pack("<Q", len(section)) + section for section in sections)
    return MAGIC + sha256(body).digest() + body


def _sections(body: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(body):
        (length,) = struct.unpack_from("<Q", body, place)
        yield body[place + 8:place + 8 + length]
        place += 8 + length


def unpack(make: type[TrustGraph], data: bytes, rng: int | Random | None, clock: Callable[[], float]) -> TrustGraph:
    """The graph of a snapshot.

    :raises ValueError: if ``data`` is no snapshot, or damaged.
    """
    start = len(MAGIC) + sha256().digest_size
    body = bytes(data[start:])
    if data[:len(MAGIC)] != MAGIC or data[len(MAGIC):start] != sha256(body).digest():
        raise ValueError("this is no snapshot of a trust graph, or it is damaged")
    try:
        return _build(make, list(_sections(body)), rng, clock)
    except (KeyError, IndexError, TypeError, AttributeError, struct.error, OverflowError) as e:
        raise ValueError(f"this is no snapshot of a trust graph: {e}") from e


def _build(make: type[TrustGraph], sections: list[bytes], rng: int | Random | None,
           clock: Callable[[], float]) -> TrustGraph:
    header = json.loads(sections[0])
    keys, place = [], 0
    for length in _read("q", sections[1]):
        keys.append(sections[2][place:place + length])
        place += length
    free = set(header["free"])
    graph = make(keys[header["root"]], **{name: header[name] for name in PARAMETERS}, half_life=header["half_life"],
                 default_score=header["default_score"], walks=1, rng=rng, clock=clock,
                 pretrusted=None if header["pretrusted"] is None else map(bytes.fromhex, header["pretrusted"]))
    table = graph.table
    table.keys = [None if number in free else key for number, key in enumerate(keys)]
    table.ids = {key: number for number, key in enumerate(table.keys) if key is not None}
    table.free = list(header["free"])
    table.rows, table.into = [None] * len(keys), [None] * len(keys)
    table.kind_names = header["kinds"]
    table.kind_ids = {name: number for number, name in enumerate(table.kind_names)}
    table.blocked_keys = dict.fromkeys(map(bytes.fromhex, header["blocked"]))
    table.blocked = {table.ids[key] for key in table.blocked_keys if key in table.ids}
    table.frauds = {bytes.fromhex(key): _proof_from_json(proof) for key, proof in header["frauds"]}
    graph.root_id = header["root"]
    graph.completeness = dict(header["completeness"])
    _fill_rows(graph, header, sections)
    walks, nodes, place = [], _read("q", sections[11]), 0
    if nodes and not 0 <= min(nodes) <= max(nodes) < len(keys):
        raise IndexError("a walk visits a node that does not exist")
    for length in _read("q", sections[10]):
        walks.append(nodes[place:place + length])
        place += length
    graph.store.root = graph.root_id
    graph.store.take(walks, bytearray(sections[12]))
    graph.resume(*header["counters"])
    graph.shares = dict(zip(_read("q", sections[13]), _read("d", sections[14]), strict=True))
    graph.shares_at = None if header["shares_at"] is None else tuple(header["shares_at"])
    for source, records in header["temporal"]:
        graph.temporal.records[bytes.fromhex(source)] = [
            (height, bytes.fromhex(target), other, weight) for height, target, other, weight in records]
    hits = _read("q", sections[15])
    graph.temporal.keep(dict(zip(hits[::2], hits[1::2], strict=True)))
    return graph


def _fill_rows(graph: TrustGraph, header: dict[str, Any], sections: list[bytes]) -> None:
    table = graph.table
    sizes, references = _read("q", sections[3]), _read("d", sections[4])
    targets, weights, events, times, kinds = (_read("d" if number == 6 else "q", sections[number])
                                              for number in range(5, 10))
    place = 0
    for number, size, t_ref, total in zip(sizes[::2], sizes[1::2], references[::2], references[1::2], strict=True):
        row = table.rows[number] = Row(t_ref)
        for edge in range(place, place + size):
            row.add(targets[edge], weights[edge], kinds[edge], events[edge], times[edge])
            into = table.into[targets[edge]]
            if into is None:
                into = table.into[targets[edge]] = {}
            into[number] = None
            if targets[edge] in table.blocked:
                row.close(targets[edge])
        row.total = total
        place += size
        table.edge_count += size
    for number, target, several in header["several_kinds"]:
        filled = table.rows[number]
        if filled is not None:
            filled.kinds[target] = dict(several)
