"""The trust graph of a node: who feeds it, and which overlays use it (doc/trust.md, section 8)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from .. import clock
from ..community import Community
from .graph import TrustGraph
from .reports import TrustReporter
from .statements import Statements, StatementsFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..attestation.trustchain.store import BlockStore

__all__ = ["NodeTrust"]

DB_NAME = "trust"

LOOK_INTERVAL = 10.0
"""Seconds after which reports are taken up, and the file of statements is looked at."""

logger = logging.getLogger("TrustGraph")


class NodeTrust:
    """One trust graph for all overlays of a node.

    It follows the TrustChain overlays with its key, takes up the statements in a file, and what overlays report that
    others did for this node. The graph of a TrustChain overlay with the setting ``trust_graph`` is used if there is
    one with this key. Overlays that have no ``trust`` get the graph as that.

    :param root: the public key whose view it is.
    :param overlays: the overlays of the node.
    :param statements: a file that ``ipv8 trust`` writes; ``None`` for none.
    :param report: whether overlays report to it. Those that are anonymous never do.
    :param prefer: whether introductions and the DHT prefer trusted peers.
    :param walks: how many walks the graph has.
    :param half_life: seconds after which an endorsement weighs half; ``None`` for no ageing.
    :param working_directory: where private evidence is kept if there is no TrustChain overlay with this key.
    :raises StatementsFileError: if the file has something else.
    """

    def __init__(self, root: bytes, overlays: Iterable[Any] = (), *, statements: Any = None, report: bool = True,
                 prefer: bool = False, walks: int = 10_000, half_life: float | None = None,
                 working_directory: Any = None) -> None:
        overlays = list(overlays)
        self.statements = None if statements is None else Statements(statements)
        self._seen = self._look()
        self._next_look = clock.monotonic() + LOOK_INTERVAL
        present = [overlay.trust for overlay in overlays if isinstance(getattr(overlay, "trust", None), TrustGraph)]
        own = next((graph for graph in present if graph.root == root), None)
        self.graph = TrustGraph(root, walks=walks, half_life=half_life) if own is None else own
        self.reporter = TrustReporter(self.graph)
        self._report, self._prefer = report, prefer
        if self.statements is not None:
            self.statements.apply(self.graph)
        self._database: BlockStore | None = None
        for overlay in overlays:
            self.join(overlay)
        if working_directory is not None and not self.graph.keepers:
            self._keep_in(os.fspath(working_directory))

    def _keep_in(self, directory: str) -> None:
        """Keep private evidence in a database without blocks, and take up what is there."""
        from ..attestation.trustchain.database import TrustChainDB

        self._database = TrustChainDB(directory, DB_NAME)
        self.graph.link_to(self._database).persist()

    def _look(self) -> tuple[int, ...] | None:
        """Something that changes when the file of statements does; ``None`` without a file."""
        try:
            found = None if self.statements is None else os.stat(self.statements.path)
        except OSError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)

    def refresh(self) -> None:
        """Take up what was reported, and statements that changed; a running node calls this again and again."""
        now = clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_INTERVAL
        self.reporter.fold()
        seen = self._look()
        if self.statements is None or seen == self._seen:
            return
        self._seen = seen
        try:
            self.statements = Statements(self.statements.path)
        except (OSError, StatementsFileError) as e:
            logger.warning("The statements of whom to trust stay as they were: %s", e)
        else:
            self.statements.apply(self.graph)

    def join(self, overlay: Any) -> None:
        """Let another overlay of the node take part."""
        from ..attestation.trustchain.base import TrustChainBase

        if not isinstance(overlay, Community):
            return
        if overlay.trust is None:
            overlay.trust = self.graph
            if isinstance(overlay, TrustChainBase) and overlay.my_key_bin == self.graph.root:
                self.graph.attach(overlay)
        if self._report and not overlay.anonymize and overlay.contribution_reporter is None:
            overlay.contribution_reporter = self.reporter
        if self._prefer and isinstance(overlay.trust, TrustGraph):  # programs may use the name for something else
            overlay.prefer_trusted = True

    def stop(self) -> None:
        """Take up what was reported and not taken up yet, before the overlays are unloaded."""
        self.reporter.fold()
        database, self._database = self._database, None
        if database is not None:
            self.graph.link_to(database).save()
            database.close()
