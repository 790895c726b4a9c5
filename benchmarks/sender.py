"""Sends prepared datagrams over UDP as fast as the receiver handles them.

The case ``receive`` runs it as ``sender PORT COUNTER COUNT``. COUNTER is a file of 8 bytes into which the receiver
writes the number of datagrams that it has handled (native byte order). Standard input is a JSON list with one list of
datagrams in hexadecimal for each peer, all of the same length. Each peer has a socket of its own. The program imports
no ``ipv8``.
"""

from __future__ import annotations

import json
import mmap
import socket
import sys
import time
from ctypes import c_uint64
from itertools import cycle
from pathlib import Path

BATCH = 32
WINDOW = 256  # in flight: about 250 KiB with the overhead of the kernel, which fit into a usual receive buffer
GIVE_UP_SECONDS = 5.0
UDP_SEGMENT = 103  # linux/udp.h: one system call sends many datagrams, so that the sender is not the bottleneck


def shared_counter(path: str) -> c_uint64:
    """The number in a file, in memory that processes share; 0 if the file is empty."""
    with Path(path).open("r+b") as file:
        if not file.read():
            file.write(bytes(8))
            file.flush()
        return c_uint64.from_buffer(mmap.mmap(file.fileno(), 8))


def main() -> None:
    """Send, and exit with an error if datagrams were lost."""
    port, counter_file, count = sys.argv[1:]
    peers = [[bytes.fromhex(packet) for packet in packets] for packets in json.load(sys.stdin)]
    size = len(peers[0][0])
    sockets = []
    for _ in peers:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.connect(("127.0.0.1", int(port)))
        try:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            segmented = True
        except OSError:
            segmented = False
        sockets.append(sock)
    batches = cycle([(sock, [packets[(start + offset) % len(packets)] for offset in range(BATCH)])
                     for start in range(0, len(peers[0]), BATCH)
                     for sock, packets in zip(sockets, peers, strict=True)])

    handled = shared_counter(counter_file)
    sent = 0
    while sent < int(count):
        _wait_until(handled, sent + BATCH - WINDOW)
        sock, batch = next(batches)
        for piece in ([b"".join(batch)] if segmented else batch):
            sock.send(piece)
        sent += BATCH
    _wait_until(handled, sent)


def _wait_until(handled: c_uint64, target: int) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while handled.value < target:
        if time.monotonic() > deadline:
            sys.exit(f"only {handled.value} of {target} datagrams were handled: some were lost")
        time.sleep(0.00002)


if __name__ == "__main__":
    main()
