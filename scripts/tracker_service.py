"""The classes of a bootstrap server, for programs that make their own."""

from __future__ import annotations

import pathlib
import sys

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.cli.tracker import TrackerService
from ipv8.peerdiscovery.tracker import EndpointServer, TrackerChurn, TrackerLimits, TrackerPing

__all__ = ["EndpointServer", "TrackerChurn", "TrackerLimits", "TrackerPing", "TrackerService"]
