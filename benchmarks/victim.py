"""The node that is attacked: a service that walks and answers signed messages.

``benchmarks.hostile`` runs it as a program. It prints its address, then a report for each line on standard input, until
that ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from benchmarks.messages import AnsweringCommunity
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8_service import IPv8

__all__ = ["CountingHandler", "report", "start_victim"]


class CountingHandler(logging.Handler):
    """Counts log records, and those with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0
        self.tracebacks = 0
        self.last_traceback = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        if record.exc_info:
            self.tracebacks += 1
            self.last_traceback = self.format(record)


async def start_victim() -> IPv8:
    """A node on loopback with the overlay of the measurements and a walker."""
    get_providers().clear()  # addresses of other interfaces of this machine are not used on loopback
    builder = ConfigBuilder().clear_keys().clear_overlays().set_log_level("INFO").add_ephemeral_key("my peer")
    builder.set_address("127.0.0.1").set_port(0)
    builder.add_overlay("AnsweringCommunity", "my peer", [WalkerDefinition(Strategy.RandomWalk, 20, {"timeout": 3.0})],
                        [], {}, [])
    node = IPv8(builder.finalize(), extra_communities={"AnsweringCommunity": AnsweringCommunity})
    await node.start()
    return node


def report(node: IPv8, log: CountingHandler) -> dict[str, Any]:
    """The state of ``node`` that an attack may change."""
    overlay: Any = node.overlays[0]
    network = node.network
    drops = getattr(overlay, "drops", {})
    endpoint_drops = getattr(node.endpoint, "drops", {})
    return {
        "bytes_up": node.endpoint.bytes_up,
        "bytes_down": node.endpoint.bytes_down,
        "log_lines": log.lines,
        "tracebacks": log.tracebacks,
        "last_traceback": log.last_traceback,
        "resident_kib": _resident(),
        "wan": list(overlay.my_estimated_wan),
        "peers": {peer.mid.hex(): list(peer.address) for peer in overlay.get_peers()},
        "max_peers": overlay.max_peers,
        "tables": {
            "addresses": len(network._all_addresses),
            "verified peers": len(network.verified_peers),
            "services": len(network.services_per_peer),
            "tasks": len(overlay.get_tasks()),
        },
        "drops": {str(reason): count for drop in (drops, endpoint_drops) for reason, count in dict(drop).items()},
    }


def _resident() -> int:
    """The resident memory of this process in KiB; 0 if the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


async def main() -> None:
    """Run the node and report."""
    log = CountingHandler()
    logging.getLogger().addHandler(log)
    node = await start_victim()
    own = node.overlays[0].my_peer
    print(json.dumps({"address": list(node.endpoint.get_address()[:2]),
                      "key": own.public_key.key_to_bin().hex()}), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(report(node, log)), flush=True)
    await node.stop()


if __name__ == "__main__":
    asyncio.run(main())
