"""An attacker, which sends all kinds of harmful datagrams to a node.

``benchmarks.hostile`` runs it as a program. Standard input has the :class:`Target` as JSON; the arguments are the
datagrams per second and the seconds. The program prints how many datagrams and bytes of each kind it sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.datagrams import bad_signatures, malformed, off_its_curve
from benchmarks.messages import make_overlay
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.messaging.payload import IntroductionResponsePayload, NewIntroductionResponsePayload
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.messages import MeasuredCommunity

__all__ = ["Attacker", "Target"]

FORGERS = 32
PUNCTURES = 64
DEAR_LEVELS = ("very-low", "high")
DEAR_KEYS = 12
BATCH_SECONDS = 0.002
CLAIMED_WAN = UDPv4Address("127.66.6.6", 666)
NOWHERE = UDPv4Address("0.0.0.0", 0)


@dataclass
class Target:
    """What the attacker knows.

    :param victim: the address of the victim.
    :param third_party: an address to which the attacker wants the victim to send.
    :param recorded: packets of a peer of the victim, in hexadecimal, which are replayed.
    :param keys: the number of identities of the attacker.
    """

    victim: tuple[str, int]
    third_party: tuple[str, int]
    recorded: list[str] = field(default_factory=list)
    keys: int = 400


class Attacker:
    """Sends datagrams of all kinds in turn, and counts datagrams and bytes by kind."""

    def __init__(self, overlay: MeasuredCommunity, target: Target, seed: int = 1) -> None:
        self.overlay = overlay
        self.victim = UDPv4Address(*target.victim)
        self.third_party = UDPv4Address(*target.third_party)
        self.random = Random(seed)
        self.sent: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self._sockets = [self._socket() for _ in range(16)]
        crowd = [Peer(default_eccrypto.generate_key("curve25519")) for _ in range(target.keys)]
        dear = [Peer(default_eccrypto.generate_key(level)) for level in DEAR_LEVELS for _ in range(DEAR_KEYS)]
        self.kinds: dict[str, list[bytes]] = {
            **{name: [data] for name, data in malformed(overlay, self.random).items()},
            "random bytes": [self.random.randbytes(self.random.randrange(1500)) for _ in range(64)],
            "key off its curve": [off_its_curve(overlay, self.random) for _ in range(DEAR_KEYS)],
            "bad signature": self._signed_by(crowd[:FORGERS], self._forgery),
            "bad signature, dear key": self._signed_by(dear, self._forgery),
            "one-shot introduction": self._signed_by(crowd, self._request),
            "one-shot introduction, new style": self._signed_by(crowd, partial(self._request, new_style=True)),
            "one-shot introduction, dear key": self._signed_by(dear, self._request),
            "unsolicited response": self._signed_by(crowd, self._response),
            "unsolicited response, new style": self._signed_by(crowd, partial(self._response, new_style=True)),
            "envelope": self._signed_by(crowd, self._envelope),
            "replay": [bytes.fromhex(packet) for packet in target.recorded],
            "puncture request": [overlay.create_puncture_request(NOWHERE, self.third_party, number)
                                 for number in range(PUNCTURES)],
            "puncture request, new style": [overlay.create_puncture_request(NOWHERE, self.third_party, number,
                                                                            new_style=True)
                                            for number in range(PUNCTURES)],
        }

    def _signed_by(self, peers: list[Peer], make: Callable[[], bytes]) -> list[bytes]:
        """Packets that ``make`` packs, one for each identity."""
        packets = []
        for peer in peers:
            self.overlay.my_peer = peer
            packets.append(make())
        return packets

    def _forgery(self) -> bytes:
        return bad_signatures(self.overlay, 1)[0]

    def _request(self, new_style: bool = False) -> bytes:
        return self.overlay.create_introduction_request(self.victim, new_style=new_style)

    def _response(self, new_style: bool = False) -> bytes:
        """A response without a request, with a wrong address of the victim, which introduces the third party."""
        addresses = (CLAIMED_WAN, self.victim, self.victim, NOWHERE, self.third_party)
        identifier = self.random.randrange(65536)
        payload: Any
        if new_style:
            payload = NewIntroductionResponsePayload(*addresses, identifier, 1, 0, 0, 0, 0, 0, 0, 0, b"")
        else:
            payload = IntroductionResponsePayload(*addresses, "unknown", identifier, b"")
        return self.overlay.ezr_pack(payload.msg_id, GlobalTimeDistributionPayload(1), payload)

    def _envelope(self) -> bytes:
        """A packet that the victim is asked to carry to the third party."""
        counter = self.random.randrange(1 << 63)
        return self.overlay.ezr_pack(RelayPayload.msg_id, RelayPayload(self.third_party, counter, self._request()))

    def _socket(self) -> socket.socket:
        """A socket on a random address of the loopback network other than 127.0.0.1."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((f"127.{self.random.randrange(70, 250)}.{self.random.randrange(256)}.{self.random.randrange(1, 255)}",
                   0))
        return sock

    def datagrams(self) -> Iterator[tuple[str, bytes]]:
        """The datagrams to send, without end: the next one of each kind in turn."""
        supplies = {kind: cycle(packets) for kind, packets in self.kinds.items() if packets}
        while True:
            for kind, supply in supplies.items():
                yield kind, next(supply)

    def send(self, kind: str, data: bytes) -> None:
        """Send one datagram. Kinds with many senders use another address for each datagram."""
        if kind.startswith(("one-shot", "unsolicited", "envelope")):
            with self._socket() as sock:
                self._send(sock, kind, data)
        else:
            self._send(self.random.choice(self._sockets), kind, data)

    def _send(self, sock: socket.socket, kind: str, data: bytes) -> None:
        try:
            sock.sendto(data, self.victim)
        except BlockingIOError:
            return
        self.sent[kind] += 1
        self.sent_bytes[kind] += len(data)

    def attack(self, rate: float, seconds: float) -> None:
        """Send ``rate`` datagrams per second, evenly spread."""
        supply = self.datagrams()
        start = time.monotonic()
        done = 0
        while (elapsed := time.monotonic() - start) < seconds:
            while done < elapsed * rate:
                self.send(*next(supply))
                done += 1
            time.sleep(BATCH_SECONDS)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            sock.close()


async def main() -> None:
    """Attack as the arguments say."""
    overlay = make_overlay()
    attacker = Attacker(overlay, Target(**json.load(sys.stdin)))
    print("ready", flush=True)
    attacker.attack(float(sys.argv[1]), float(sys.argv[2]))
    attacker.close()
    await overlay.unload()
    print(json.dumps({"sent": attacker.sent, "bytes": attacker.sent_bytes}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
