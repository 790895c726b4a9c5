"""The other node of the case ``roundtrip``: answers signed messages until its standard input is closed."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.messages import AnsweringCommunity, make_overlay


async def main() -> None:
    """Print the port, then answer messages."""
    overlay = make_overlay(overlay_class=AnsweringCommunity)
    await overlay.endpoint.open()
    print(overlay.endpoint.get_address()[1], overlay.my_peer.public_key.key_to_bin().hex(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    overlay.endpoint.close()
    await overlay.unload()


if __name__ == "__main__":
    asyncio.run(main())
