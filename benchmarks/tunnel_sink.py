"""Where the packets of the case ``tunnels`` end: counts what arrives at a socket.

It is run as ``tunnel_sink COUNTER PORT``, prints its port, and writes the number of packets into the file COUNTER (see
:mod:`benchmarks.sender`). Whenever a number of packets have arrived, it sends an empty packet to PORT on loopback. For
a packet of fewer than 100 bytes, it prints the time (``time.monotonic``) at which that came into the buffer of its
socket, since the nodes may keep all cores busy for a while after that. It imports no ``ipv8``.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import time

from benchmarks.sender import shared_counter

SMALL = 100
ACKNOWLEDGED = 16
IDLE_SECONDS = 30
SIOCGSTAMP = 0x8906  # linux/sockios.h: when the packet arrived that was read last
TIME = struct.Struct("@ll")  # seconds and microseconds


def time_of_arrival(sock: socket.socket) -> float:
    """When the packet arrived that was read last; the present time, if the system has not noted it."""
    try:
        seconds, microseconds = TIME.unpack(fcntl.ioctl(sock, SIOCGSTAMP, bytes(TIME.size)))
    except OSError:
        return time.monotonic()
    since: float = time.time() - seconds - microseconds / 1e6
    return time.monotonic() - since


def main() -> None:
    """Count until the process is killed, or nothing arrives any more."""
    counter_file, port = sys.argv[1:]
    arrived = shared_counter(counter_file)
    sender = "127.0.0.1", int(port)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    # An option of the socket, as settimeout() makes Python call the system twice for each packet.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIME.pack(IDLE_SECONDS, 0))
    sock.bind(("127.0.0.1", 0))
    time_of_arrival(sock)  # from now on, times are noted
    print(sock.getsockname()[1], flush=True)
    buffer = bytearray(65536)
    count = 0
    while True:
        size = sock.recv_into(buffer)
        if size < SMALL:
            print(time_of_arrival(sock), flush=True)
            continue
        count += 1
        arrived.value = count
        if not count % ACKNOWLEDGED:
            sock.sendto(b"", sender)


if __name__ == "__main__":
    main()
