"""Who trusts whom: a graph of endorsements, personal scores with limits on what fake identities gain, and their use.

See doc/trust.md. Nothing here needs numpy, scipy or networkx until something that is asked for does.
"""

from .extractors import DEFAULT_EXTRACTORS
from .graph import TrustGraph
from .model import SCORES, Edge, Explanation, Path, TrustEvent
from .scores import TrustScore
from .selection import TrustGate, evict_order, select_peers
from .walks import WalkStore

__all__ = [
    "DEFAULT_EXTRACTORS",
    "SCORES",
    "Edge",
    "Explanation",
    "Path",
    "TrustEvent",
    "TrustGate",
    "TrustGraph",
    "TrustScore",
    "WalkStore",
    "evict_order",
    "select_peers",
]
