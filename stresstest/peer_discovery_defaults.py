"""How long the overlays of the default configuration take to find a peer.

Two nodes run them all, under ids that nobody else uses. What is printed, for the overlays in the order of their names:
the seconds until each of them has had an answer from the other node, separated by commas; -1.0 for what did not happen
within the time limit. The names go to the standard error stream.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ipv8.configuration import get_default_configuration
from ipv8.service import _COMMUNITIES, IPv8
from stresstest.servers import bootstrapper, parser, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipv8.peer import Peer

TIMEOUT = 30.0
NEVER = -1.0


def measured(cls: type[Any], begin: float) -> type[Any]:
    """A subclass with another id that notes when it is answered by somebody else than a bootstrap server."""
    class Measured(cls):  # type: ignore[misc]  # of any overlay
        community_id = os.urandom(20)

        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
            super().introduction_response_callback(peer, dist, payload)
            if not self.answered.done() and peer.address not in self.network.blacklist:
                self.answered.set_result(perf_counter() - begin)

    Measured.__name__ = cls.__name__
    return Measured


def configuration(directory: Path, trackers: Sequence[tuple[str, int]] | None, names: Sequence[str]) -> dict[str, Any]:
    """The default one, with these overlays, in a directory of its own."""
    config = get_default_configuration()
    directory.mkdir()
    config["working_directory"] = str(directory)
    config["logger"] = {"level": "ERROR"}
    config["keys"] = [{**key, "file": str(directory / key["file"])} for key in config["keys"]]
    config["overlays"] = [{**overlay, "class": f"Measured{overlay['class']}", "bootstrappers": [bootstrapper(trackers)]}
                          for overlay in sorted(config["overlays"], key=lambda overlay: str(overlay["class"]))
                          if overlay["class"] in names]
    return config


async def measure(trackers: Sequence[tuple[str, int]] | None, timeout: float) -> dict[str, float]:
    """The seconds until both nodes were answered, for each overlay."""
    begin = perf_counter()
    names = sorted(overlay["class"] for overlay in get_default_configuration()["overlays"]
                   if overlay["class"] in _COMMUNITIES)
    classes = {f"Measured{name}": measured(_COMMUNITIES[name], begin) for name in names}
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(
                IPv8(configuration(Path(directory) / str(number), trackers, names), extra_communities=classes))
                for number in (1, 2)]
            answers = {name: [node.overlays[number].answered for node in nodes]  # type: ignore[attr-defined]  # above
                       for number, name in enumerate(names)}
            await asyncio.wait([answer for pair in answers.values() for answer in pair], timeout=timeout)
            return {name: max(answer.result() for answer in pair) if all(answer.done() for answer in pair) else NEVER
                    for name, pair in answers.items()}


async def run(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    options = parser("peer_discovery_defaults", __doc__)
    options.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="SECONDS",
                         help=f"when to give up (default: {TIMEOUT:g})")
    given = options.parse_args(arguments)
    times = await measure(given.trackers, given.timeout)
    print(",".join(times), file=sys.stderr)
    print(",".join(f"{seconds:.3f}" for seconds in times.values()))


if __name__ == "__main__":
    asyncio.run(run())
