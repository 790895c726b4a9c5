"""Delays all packets between the sites, and drops some of them, for kernels without ``netem``.

The program runs in the namespace of the core and serves the interface ``line``, through which all packets are routed
once. It ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import sys
from contextlib import suppress

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MAX_PACKET = 65536
BATCH = 64


async def hold_up(delay: float, loss: float) -> None:
    """Send packets back ``delay`` seconds after they came, except for a share of ``loss``."""
    loop = asyncio.get_running_loop()
    chance = random.Random(1)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"line", IFF_TUN | IFF_NO_PI))

    def send(packet: bytes) -> None:
        with suppress(OSError):  # no site has that address: the packet is lost
            os.write(device, packet)

    def receive() -> None:
        for _ in range(BATCH):
            try:
                packet = os.read(device, MAX_PACKET)
            except BlockingIOError:
                return
            if chance.random() >= loss:
                loop.call_later(delay, send, packet)

    loop.add_reader(device, receive)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    loop.remove_reader(device)
    os.close(device)


if __name__ == "__main__":
    asyncio.run(hold_up(float(sys.argv[1]), float(sys.argv[2])))
