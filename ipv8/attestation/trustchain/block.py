"""Half blocks: their bytes, their hash, their signature, and how the next one of a chain is made.

See doc/protocol/trustchain.md, sections 2 to 5. The rules of validation are in ``validation.py``.
"""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ... import clock
from ...keyvault.crypto import default_eccrypto
from ...messaging.deprecated.encoding import MalformedEncodingError, decode, decode_strictly, encode
from ...messaging.serialization import default_serializer
from . import validation
from .payload import HalfBlockPayload
from .validation import ANY_COUNTERPARTY_PK, EMPTY_PK, GENESIS_HASH, GENESIS_SEQ, ValidationResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...keyvault.keys import PrivateKey
    from ...messaging.serialization import Serializer
    from .validation import BlockSource, State

__all__ = ["ANY_COUNTERPARTY_PK", "EMPTY_PK", "EMPTY_SIG", "GENESIS_HASH", "GENESIS_SEQ", "SKIP_ATTRIBUTES",
           "UNKNOWN_SEQ", "TrustChainBlock", "ValidationResult"]

UNKNOWN_SEQ = 0
EMPTY_SIG = b"0" * 64

SKIP_ATTRIBUTES = {"key", "serializer", "crypto", "_transaction", "_logger"}
"""Attributes that are not listed when a block is iterated over."""

CRAWL_IDS = 100_000_000
"""Numbers that are derived from hashes and ids of blocks are below this."""
