"""The settings of TrustChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...community import CommunitySettings

if TYPE_CHECKING:
    from .store import BlockStore

__all__ = ["TrustChainSettings"]


class TrustChainSettings(CommunitySettings):
    """What a TrustChain overlay is built from; all attributes can be given by keyword."""

    _secrets: ClassVar[frozenset[str]] = CommunitySettings._secrets | {"database_url"}  # which may have a password

    #: Types of blocks that are never broadcast.
    block_types_bc_disabled: set[bytes]
    #: How many peers a broadcast is sent to.
    broadcast_fanout: int = 25
    #: How many ids of broadcast blocks are remembered.
    broadcast_history_size: int = 100_000
    #: How many predecessors of a proposal must be known before it is counter-signed; 0 switches this off.
    validation_range: int = 5
    #: How many blocks are stored; others are removed when there are more.
    max_db_blocks: int = 1_000_000
    #: Whether the whole chain of every introduced peer is crawled.
    crawler: bool = False
    #: How many blocks of a chain, and how many that link to it, are in the answer to a crawl request.
    max_crawl_batch: int = 10
    #: Seconds between transmissions of a proposal that is not answered.
    sign_attempt_delay: float = 10
    #: How many times a proposal is sent again before it fails.
    sign_timeout: int = 360
    #: Seconds after which a proposal fails even if it would be sent again; ``None`` for no such limit.
    sign_timeout_seconds: float | None = None
    #: Bytes of the largest block that is taken from others.
    max_block_size: int = 1200
    #: Seconds that the timestamp of a block from others may lie in the future.
    max_time_lead: float = 86_400.0
    #: How many blocks of one author may link to one source block.
    max_links_per_source: int = 20
    #: Whether blocks whose author is its own counterparty are stored. They are invalid in any case.
    accept_self_linked: bool = False
    #: Whether proposals of authors with a proven double-sign are refused.
    refuse_cheaters: bool = True
    #: Bytes of crawl answers a second, for one IP address and for all together.
    crawl_bytes_per_second: float = 262_144.0
    total_crawl_bytes_per_second: float = 1_048_576.0

    #: Whether a trust graph follows the blocks, as ``community.trust``.
    trust_graph: bool = False
    #: Seconds after which an endorsement weighs half in it; ``None`` for no ageing.
    trust_half_life: float | None = None
    #: How many random walks it keeps.
    trust_walks: int = 10_000

    #: The directory of the database, or ``":memory:"``; empty for ``node_directory``.
    working_directory: str = ""
    #: The working directory of the node, which the service sets. A database that is in the present directory already,
    #: where it was in earlier releases, stays in use, so that no height is signed twice.
    node_directory: str = ""
    #: A PostgreSQL database to use instead of a file in ``working_directory``: ``postgresql://user@host/database``.
    database_url: str | None = None
    #: The database to use instead of one that is opened by the overlay.
    persistence: BlockStore | None = None
    #: The name of the database file, or of the PostgreSQL schema; ``None`` for that of the overlay class.
    db_name: str | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"block_types_bc_disabled": set(), **settings})
