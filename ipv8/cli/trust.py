"""What ``ipv8 trust`` does: a person's statements, and the web of trust that they and signed transactions make."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import new_content
from ..keyvault.crypto import default_eccrypto
from ..keyvault.files import load_private_key
from ..trust.graph import TrustGraph
from ..trust.statements import SHORTEST_PREFIX, Statement, Statements
from .node import default_key_file, default_statements_file

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["add", "explain", "list_people", "remove", "show"]

POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")

def _path(file: str | None) -> str | os.PathLike[str]:
    return default_statements_file() if file is None else file


def _statements(file: str | None) -> Statements:
    return Statements(_path(file))


def _facts(statement: Statement) -> dict[str, Any]:
    return {"name": statement.name, "public_key": statement.public_key.hex(), "mid": statement.mid.hex(),
            "weight": statement.weight, "since": _date(statement.since)}


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def add(file: str | None, public_key: bytes, name: str, weight: float, as_json: bool = False) -> None:
    """State that somebody is trusted."""
    with Statements.changed(_path(file)) as statements:
        statement = statements.add(public_key, name, weight)
    if as_json:
        print(json.dumps(_facts(statement)))
    else:
        print(f"{_short(statements)(statement.public_key)} is trusted with weight {weight:g}, in {statements.path}")


def remove(file: str | None, who: str, as_json: bool = False) -> None:
    """Take a statement back."""
    with Statements.changed(_path(file)) as statements:
        statement = _found(statements, who)
        shown = _short(statements)(statement.public_key)
        statements.remove(statement.public_key)
    print(json.dumps(_facts(statement)) if as_json else f"{shown} is not stated to be trusted any more")


def _found(statements: Statements, who: str) -> Statement:
    try:
        return statements.find(who)
    except KeyError as e:
        raise ValueError(f"{e.args[0]}: 'ipv8 trust list' shows who is there") from None


def list_people(file: str | None, as_json: bool) -> None:
    """Print the statements."""
    statements = _statements(file)
    if as_json:
        print(json.dumps([_facts(statement) for statement in statements]))
        return
    if not len(statements):
        print(f"Nobody is stated to be trusted, in {statements.path}")
        return
    print(f"{'name':20}  {'member id':40}  {'weight':>7}  since")
    for one in statements:
        print(f"{one.name:20}  {one.mid.hex():40}  {one.weight:7g}  {_date(one.since)[:10]}")


def _member(key: bytes) -> str:
    """The member id of a key in hexadecimal digits, or the key itself if it cannot be loaded."""
    try:
        return default_eccrypto.key_from_network(key).key_to_hash().hex()
    except ValueError:
        return key.hex()


def _short(statements: Statements, root: bytes = b"") -> Callable[[bytes], str]:
    """The name that a key has in texts: as it was stated, or the beginning of its member id."""
    def name_of(key: bytes) -> str:
        if key == root:
            return "you"
        return statements.name_of(key) or _member(key)[:10]

    return name_of


def web_of_trust(statements: Statements, root: bytes, database: str | None, db_name: str) -> TrustGraph:
    """The graph of the statements, of the blocks in a database, and of what a node saw itself.

    :param database: the working directory of a node, or the URL of a PostgreSQL database; ``None`` for none.
    """
    graph = TrustGraph(root, rng=0)
    statements.apply(graph)
    if database is not None:
        from ..trust.persistence import own_evidence

        opened = _open(database, db_name)
        try:
            graph.fold(opened)
            graph.add_many(own_evidence(opened, root))
            graph.flush()
        finally:
            opened.close()
    return graph


def _open(database: str, db_name: str) -> Any:
    if database.startswith(POSTGRES):
        from ..attestation.trustchain.postgres import PostgresTrustChainDB

        try:
            return PostgresTrustChainDB(database, db_name)
        except RuntimeError as e:  # a package is missing, or there is no connection
            raise ValueError(str(e)) from e
    from ..attestation.trustchain.database import DATABASE_DIRECTORY, TrustChainDB

    path = Path(database, DATABASE_DIRECTORY, f"{db_name}.db")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}: give the working directory of a node that runs TrustChain, "
                                "or the URL of a PostgreSQL database")
    return TrustChainDB(database, db_name)


def _own_key(key_file: str | None) -> bytes:
    path = default_key_file() if key_file is None else Path(key_file)
    try:
        return load_private_key(path).pub().key_to_bin()
    except FileNotFoundError as e:
        raise FileNotFoundError(f"there is no key {path}, from whose view trust is shown: run a node, make it with "
                                "'ipv8 key generate', or give another one with --key-file") from e


def show(file: str | None, key_file: str | None, database: str | None, db_name: str, *, plot: str | None,
         as_json: bool, limit: int) -> None:
    """Print or draw the web of trust."""
    statements, root = _statements(file), _own_key(key_file)
    graph = web_of_trust(statements, root, database, db_name)
    name_of = _short(statements, root)
    if plot is not None:
        from ..trust.drawing import draw

        with new_content(plot) as picture_file:
            picture_file.write(draw(graph, name_of, limit=limit).encode())
    if as_json:
        picture = graph.to_json(depth=3, limit=limit)
        for node in picture["nodes"]:
            node["name"] = statements.name_of(bytes.fromhex(node["key"]))
        picture["frauds"] = [key.hex() for key in sorted(graph.table.frauds)]
        print(json.dumps(picture))
    elif plot is not None:
        print(f"The web of trust was drawn in {plot}: a browser shows it")
    else:
        _print_scores(graph, name_of, limit)


def _print_scores(graph: TrustGraph, name_of: Callable[[bytes], str], limit: int) -> None:
    best = graph.top(limit)
    if not best:
        print("You trust nobody yet: 'ipv8 trust add KEY' states that you trust somebody")
        return
    print(f"{'':4} {'score':>8}  {'who':20}  by way of")
    for rank, (key, score) in enumerate(best, 1):
        paths = graph.explain(key, 1).paths
        way = " → ".join(map(name_of, paths[0].nodes)) if paths else ""
        print(f"{rank:4} {score:8.4f}  {name_of(key):20}  {way}")
    frauds = sorted(graph.table.frauds)
    if frauds:
        print(f"{len(frauds)} proven cheaters, with score 0: {', '.join(map(name_of, frauds))}")


def explain(file: str | None, key_file: str | None, database: str | None, db_name: str, who: str,
            as_json: bool) -> None:
    """Say why somebody is trusted."""
    statements, root = _statements(file), _own_key(key_file)
    graph = web_of_trust(statements, root, database, db_name)
    name_of = _short(statements, root)
    key = _key_of(graph, statements, who)
    reasons = graph.explain(key)
    if as_json:
        print(json.dumps({
            "public_key": key.hex(), "name": statements.name_of(key), "score": reasons.score, "rank": reasons.rank,
            "confidence": list(reasons.confidence), "fraud": reasons.fraud, "direct": reasons.direct,
            "dominator": None if reasons.dominator is None else reasons.dominator.hex(),
            "paths": [{"nodes": [node.hex() for node in path.nodes], "share": path.share} for path in reasons.paths]}))
        return
    print(f"{name_of(key)} has the score {reasons.score:.4f}"
          + ("" if reasons.rank is None else f", which is rank {reasons.rank} of {len(graph.top(10 ** 9))}"))
    if reasons.fraud:
        print("There is a proof that it signed two blocks for one height: it is a cheater")
    for kind, weight in reasons.direct.items():
        print(f"You endorse it with weight {weight:g} ({kind or 'transactions'})")
    for path in reasons.paths:
        print(f"{path.share:6.1%} of the walks to it: {' → '.join(map(name_of, path.nodes))}")
    if reasons.dominator is not None:
        print(f"Nearly all ways lead through {name_of(reasons.dominator)}, which lowers the score")
    if not reasons.paths and not reasons.fraud:
        print("No chain of endorsements leads from you to it")


def _key_of(graph: TrustGraph, statements: Statements, who: str) -> bytes:
    """The key of somebody by a name, a public key, or the beginning of a member id."""
    try:
        return statements.find(who).public_key
    except KeyError:
        text = who.lower()
        found = [key for key in {*graph.table.ids, *graph.table.frauds}
                 if key.hex() == text or (len(text) >= SHORTEST_PREFIX and _member(key).startswith(text))]
        if len(found) == 1:
            return found[0]
        raise ValueError(f"{who!r:.200} is the name, the public key or the beginning of the member id of "
                         f"{'several' if found else 'nobody'} in the web of trust") from None
