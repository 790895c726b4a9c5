"""The record of a simulation: a hash to compare runs, counters, and lines of text."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from ...messaging.address import Address

__all__ = ["Packet", "Trace", "message_name"]

MESSAGE_ID_OFFSET = 22

NAMES = {
    231: "puncture", 232: "puncture-request", 233: "introduction-response", 234: "introduction-request",
    245: "introduction-response", 246: "introduction-request", 249: "puncture", 250: "puncture-request",
}

_HEAD = Struct(">dHHI")


class Packet(NamedTuple):
    """A packet as its host sent it."""

    time: float
    """Virtual seconds since the beginning of the simulation."""
    source: Address
    """The source address at the host, before any NAT."""
    destination: Address
    data: bytes

    @property
    def message_id(self) -> int:
        """The message id after the prefix; -1 if the packet is too short to have one."""
        return self.data[MESSAGE_ID_OFFSET] if len(self.data) > MESSAGE_ID_OFFSET else -1

    def __str__(self) -> str:
        return (f"{self.time:12.6f}  {_text(self.source):>21} > {_text(self.destination):<21}  "
                f"{self.message_id:3} {message_name(self.message_id)}, {len(self.data)} bytes")


def message_name(message_id: int) -> str:
    """The name of a message in the base protocol."""
    return NAMES.get(message_id, "message" if message_id >= 0 else "no message")


def _text(address: Address) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Trace:
    """The packets of a simulation, in the order in which they were sent.

    ``drops`` counts dropped packets by reason, ``delivered`` those that arrived (duplicates twice), and ``messages``
    the sent packets by message id.

    :param keep: keep all packets in ``packets``. Otherwise memory does not grow with traffic.
    """

    LOST = "lost"
    QUEUE_FULL = "queue_full"
    UNROUTABLE = "unroutable"
    FILTERED = "filtered"
    DISCONNECTED = "disconnected"
    PARTITIONED = "partitioned"
    NO_SOCKET = "no_socket"
    NO_PORT = "no_port"
    TOO_BIG = "too_big"

    def __init__(self, keep: bool = False) -> None:
        self.packets: list[Packet] | None = [] if keep else None
        self.sent = 0
        self.sent_bytes = 0
        self.delivered = 0
        self.drops: Counter[str] = Counter()
        self._by_id = [0] * 257
        self._hash = blake2b(digest_size=16)

    def send(self, now: float, source: Address, destination: Address, data: bytes) -> None:
        """Record a packet that a host sends."""
        size = len(data)
        self.sent += 1
        self.sent_bytes += size
        self._by_id[data[MESSAGE_ID_OFFSET] if size > MESSAGE_ID_OFFSET else 256] += 1
        self._hash.update(_HEAD.pack(now, source[1], destination[1], size)
                          + f"{source[0]} {destination[0]} ".encode() + data)
        if self.packets is not None:
            self.packets.append(Packet(now, source, destination, data))

    @property
    def messages(self) -> Counter[int]:
        """The number of sent packets by message id; -1 for packets without one."""
        return Counter({(number if number < 256 else -1): count for number, count in enumerate(self._by_id) if count})

    def hexdigest(self) -> str:
        """A hash of the time, the addresses and the content of every packet so far, as 32 hexadecimal digits."""
        return self._hash.hexdigest()

    def lines(self, packets: Iterable[Packet] | None = None) -> Iterator[str]:
        """A line of text for each packet; ``ValueError`` if no packets are given and none were kept."""
        if packets is None:
            packets = self.packets
        if packets is None:
            raise ValueError("the packets were not kept: use Simulation(keep_packets=True)")
        return (str(packet) for packet in packets)

    def write(self, file: TextIO) -> None:
        """Write all kept packets in the format of ``text2pcap``, each after a comment line."""
        for packet in self.packets or ():
            file.write(f"# {packet}\n")
            rows = (packet.data[offset:offset + 16] for offset in range(0, len(packet.data), 16))
            file.writelines(f"{16 * row:06x}  {data.hex(' ')}\n" for row, data in enumerate(rows))
            file.write("\n")
