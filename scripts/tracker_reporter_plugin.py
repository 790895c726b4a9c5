"""Run a bootstrap server that counts requests with the module ``trackermetricsreporter``, until SIGINT or SIGTERM.

That module is not part of this project. It provides ``MetricsReporter(port)`` with ``start()``, ``shutdown()`` and
``count_peer(mid, address, service_id)``.
"""

from __future__ import annotations

import argparse
import logging
import pathlib
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    if __name__ == "__main__":  # the requirements of the package are missing, too
        from scripts.bootstrap import enter
        enter()
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.cli.service import run_program
from ipv8.cli.tracker import TrackerService
from ipv8.peerdiscovery.tracker import EndpointServer
from ipv8.util import maybe_coroutine, run_forever

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipv8.messaging.address import Address
    from ipv8.messaging.interfaces.endpoint import Endpoint
    from ipv8.peer import Peer

__all__ = ["ReportingEndpointServer", "ReportingTrackerService", "main"]


class ReportingEndpointServer(EndpointServer):
    """A tracker that reports every valid request to ``reporter``."""

    def __init__(self, endpoint: Endpoint, reporter: Any) -> None:
        super().__init__(endpoint)
        self.reporter = reporter

    def on_peer_introduction_request(self, peer: Peer, source_address: Address, service_id: bytes) -> None:
        """Count the sender."""
        self.reporter.count_peer(peer.mid, source_address, service_id)


class ReportingTrackerService(TrackerService):
    """A :class:`ReportingEndpointServer` with its endpoint."""

    def __init__(self, reporter: Any) -> None:
        super().__init__()
        self.reporter = reporter

    def create_endpoint_server(self) -> EndpointServer:
        """The tracker on the endpoint, which is opened afterwards."""
        assert self.endpoint is not None, "the endpoint is made by start_tracker()"
        return ReportingEndpointServer(self.endpoint, self.reporter)


async def main(argv: Sequence[str]) -> None:
    """Run a tracker; ``argv`` has the command line without the name of the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-p", "--listen_port", type=int, default=8090, help="UDP port (default 8090)")
    port = parser.parse_args(argv).listen_port
    try:
        reporter = import_module("trackermetricsreporter").MetricsReporter(port)
    except ImportError:
        sys.exit("The module trackermetricsreporter is not installed; tracker_plugin.py runs a tracker without it.")
    service = ReportingTrackerService(reporter)
    await service.start_tracker(port)
    try:
        await maybe_coroutine(reporter.start)
        await run_forever()
    finally:
        await service.shutdown()
        await maybe_coroutine(reporter.shutdown)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_program("tracker_reporter_plugin.py", main(sys.argv[1:]))
