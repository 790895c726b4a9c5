"""Round trip times of bootstrap servers: ten introduction requests to each, one after another.

``summary.txt`` gets the number of requests and answers of each server, ``walk_rtts.txt`` a line for each answer with
its seconds.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from stresstest.servers import Server, asking, count, find_servers, parser, seconds

REQUESTS = 10
TIMEOUT = 5.0
"""Seconds that an answer may take."""


async def measure(servers: list[Server], requests: int, timeout: float) -> dict[Server, list[float]]:
    """The round trip times of each server."""
    times: dict[Server, list[float]] = {}
    async with asking() as overlay:
        for server in servers:
            answers = [await overlay.ask_server(server.address, timeout) for _ in range(requests)]
            times[server] = [answer.seconds for answer in answers if answer is not None]
            print(f"{server.name} {server.address.ip}:{server.address.port}: {len(times[server])} of {requests}")
    return times


def write(times: dict[Server, list[float]], requests: int) -> None:
    """Write both files to the current directory."""
    summary = ["HOST_NAME ADDRESS REQUESTS RESPONSES"]
    rtts = ["HOST_NAME ADDRESS RTT"]
    for (name, (ip, port)), answers in times.items():
        summary.append(f"{name} {ip}:{port} {requests} {len(answers)}")
        rtts += [f"{name} {ip}:{port} {rtt:.6f}" for rtt in answers]
    for path, lines in (("summary.txt", summary), ("walk_rtts.txt", rtts)):
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


async def run(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    options = parser("bootstrap_rtt", __doc__)
    options.add_argument("--requests", type=count, default=REQUESTS, metavar="N",
                         help=f"how many to each server (default: {REQUESTS})")
    options.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="SECONDS",
                         help=f"how long to wait for an answer (default: {TIMEOUT:g})")
    given = options.parse_args(arguments)
    init = DISPERSY_BOOTSTRAPPER["init"]
    servers = await find_servers(given.trackers or [*init["ip_addresses"], *init["dns_addresses"]])
    write(await measure(servers, given.requests, given.timeout), given.requests)


if __name__ == "__main__":
    asyncio.run(run())
