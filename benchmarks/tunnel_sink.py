"""Where the packets of the case ``tunnels`` end: counts what arrives at a socket.

It is run as ``tunnel_sink COUNTER``, prints its port, and writes the number of packets into the file COUNTER (see
:mod:`benchmarks.sender`). For a packet of fewer than 100 bytes, it prints the time (``time.monotonic``). It imports no
``ipv8``.
"""

from __future__ import annotations

import socket
import sys
import time

from benchmarks.sender import shared_counter

SMALL = 100
IDLE_SECONDS = 30.0


def main() -> None:
    """Count until the process is killed, or nothing arrives any more."""
    arrived = shared_counter(sys.argv[1])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.settimeout(IDLE_SECONDS)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    buffer = bytearray(65536)
    count = 0
    while True:
        size = sock.recv_into(buffer)
        if size < SMALL:
            print(time.monotonic(), flush=True)
            continue
        count += 1
        arrived.value = count


if __name__ == "__main__":
    main()
