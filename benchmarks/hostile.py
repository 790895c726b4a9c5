"""``python -m benchmarks.hostile``: how well a node works under attack.

A victim, a legitimate peer, and an attacker that sends thousands of datagrams per second run in processes of their own.
The program reports the round trip time of the legitimate peer, whether newcomers are admitted, whether the address of a
peer was changed, what third parties received, what was logged, and how memory and tables grew. It returns 1 if one of
these is worse than it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.attack import Target
from benchmarks.library import Library
from benchmarks.messages import BODY, MeasuredCommunity, Message, make_overlay
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from ipv8.messaging.address import Address

__all__ = ["Correspondent", "RecordingEndpoint", "ThirdParty"]

QUIET_SECONDS = 5.0  # the victim verifies the addresses of its peers in this time
ANSWER_SECONDS = 1.0
NEWCOMERS = 3
NEWCOMER_ROUND_TRIPS = 3  # the kernel may lose some of them, because oversized datagrams fill the receive buffer
WALK_SECONDS = 0.5
SLOWDOWN_ALLOWED = 3.0
MINIMUM_SECONDS = 10
LOG_LINES_ALLOWED_PER_SECOND = 2.0
GROWTH_ALLOWED_KIB = 32 * 1024
TABLE_LIMITS = {"addresses": 6_000, "verified peers": 300, "services": 25_000, "tasks": 200}


class RecordingEndpoint(UDPEndpoint):
    """Keeps the packets that it sends, for a replay."""

    def __init__(self) -> None:
        super().__init__(0, "127.0.0.1")
        self.recorded: list[bytes] = []

    def send(self, socket_address: Address, packet: bytes) -> None:
        self.recorded.append(packet)
        super().send(socket_address, packet)


class ThirdParty:
    """A host that takes no part, and counts what it receives."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("127.55.5.5", 0))
        self.address: tuple[str, int] = self.sock.getsockname()
        self.received = 0

    def count(self) -> int:
        """The number of bytes that it received so far."""
        with suppress(BlockingIOError):
            while True:
                self.received += len(self.sock.recv(65536))
        return self.received


class Correspondent:
    """A peer of the victim, which walks to it and sends signed messages that are answered."""

    def __init__(self, victim: Peer, endpoint: UDPEndpoint | None = None) -> None:
        self.victim = victim
        self.overlay: MeasuredCommunity = make_overlay(endpoint)
        self.lost = 0
        self._answers: asyncio.Queue[int] = asyncio.Queue()
        self.overlay.on_answer = self._answers.put_nowait
        self._number = 0

    @property
    def mid(self) -> str:
        """The mid of the peer, in hexadecimal."""
        return self.overlay.my_peer.mid.hex()

    async def open(self) -> None:
        """Start to receive."""
        await self.overlay.endpoint.open()

    async def close(self) -> None:
        """Close the endpoint and unload the overlay."""
        self.overlay.endpoint.close()
        await self.overlay.unload()

    async def meet(self) -> float:
        """Walk to the victim until it answers, and return the seconds that this takes."""
        start = perf_counter()
        while not self.overlay.introduced.is_set():
            self.overlay.walk_to(self.victim.address)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.overlay.introduced.wait(), WALK_SECONDS)
        return perf_counter() - start

    async def round_trip(self) -> float | None:
        """The seconds until a signed request is answered; ``None`` if it is not."""
        self._number += 1
        start = perf_counter()
        self.overlay.ez_send(self.victim, Message(self._number, BODY))
        try:
            while await asyncio.wait_for(self._answers.get(), ANSWER_SECONDS) != self._number:
                pass
        except asyncio.TimeoutError:
            self.lost += 1
            return None
        return perf_counter() - start

    async def round_trips(self, until: asyncio.Future[Any]) -> list[float]:
        """The times of round trips, one after another, until a future is done."""
        times: list[float] = []
        while not until.done():
            elapsed = await self.round_trip()
            if elapsed is not None:
                times.append(elapsed)
            await asyncio.sleep(0.001)
        return times


class VictimProcess:
    """The process of the victim."""

    def __init__(self, process: asyncio.subprocess.Process, started: dict[str, Any]) -> None:
        self.process = process
        self.address = UDPv4Address(*started["address"])
        self.peer = Peer(bytes.fromhex(started["key"]), self.address)

    @classmethod
    async def start(cls, library: Library) -> VictimProcess:
        """Start the victim and wait until it is open."""
        process = await asyncio.create_subprocess_exec(
            *library.command("benchmarks.victim"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL)
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline()))

    async def report(self) -> dict[str, Any]:
        """What the victim reports."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"report\n")
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer

    async def stop(self) -> None:
        """Stop the victim."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


async def _newcomer(victim: Peer, delay: float) -> tuple[Correspondent, float, bool]:
    await asyncio.sleep(delay)
    newcomer = Correspondent(victim)
    await newcomer.open()
    met = await newcomer.meet()
    answers = [await newcomer.round_trip() for _ in range(NEWCOMER_ROUND_TRIPS)]
    return newcomer, met, any(answers)


async def attack(library: Library, rate: float, seconds: float) -> dict[str, Any]:
    """Attack a node of ``library`` and return the results."""
    get_providers().clear()
    victim = await VictimProcess.start(library)
    third_party = ThirdParty()
    recordings = [RecordingEndpoint(), RecordingEndpoint()]
    silent, legitimate = (Correspondent(victim.peer, endpoint) for endpoint in recordings)
    for correspondent in (silent, legitimate):
        await correspondent.open()
        await correspondent.meet()
    await silent.round_trip()  # from now on, only its recorded packets are sent
    quiet = await legitimate.round_trips(until=asyncio.ensure_future(asyncio.sleep(QUIET_SECONDS)))
    before = await victim.report()

    target = Target((victim.address.ip, victim.address.port), third_party.address,
                    [data.hex() for endpoint in recordings for data in endpoint.recorded[:10]])
    attacker = await asyncio.create_subprocess_exec(
        *Library.running().command("benchmarks.attack", str(rate), str(seconds)), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE)
    assert attacker.stdin is not None
    assert attacker.stdout is not None
    attacker.stdin.write(json.dumps(vars(target)).encode())
    attacker.stdin.close()
    await attacker.stdout.readline()
    finished = asyncio.ensure_future(attacker.stdout.readline())
    newcomers = [asyncio.ensure_future(_newcomer(victim.peer, (number + 1) * seconds / (NEWCOMERS + 2)))
                 for number in range(NEWCOMERS)]
    stressed = await legitimate.round_trips(until=finished)
    sent = json.loads(await finished)
    await attacker.wait()
    arrived = [task.result() for task in newcomers if task.done()]
    for task in newcomers:
        task.cancel()
    after = await victim.report()
    result = {
        "seconds": seconds,
        "sent": sent,
        "quiet": median(quiet),
        "attacked": median(stressed) if stressed else None,
        "round_trips": len(stressed),
        "lost": legitimate.lost,
        "newcomers": [met for _, met, answered in arrived if answered],
        "acquaintances": {correspondent.mid: list(correspondent.overlay.endpoint.get_address()[:2])
                          for correspondent in (silent, legitimate)},
        "admitted": [newcomer.mid in after["peers"] for newcomer, _, _ in arrived],
        "third_party_bytes": third_party.count(),
        "before": before,
        "after": after,
    }
    for correspondent in (silent, legitimate, *(newcomer for newcomer, _, _ in arrived)):
        await correspondent.close()
    await victim.stop()
    third_party.sock.close()
    return result


def verdicts(result: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The results, each with whether it is good enough for a node under attack."""
    before, after, sent = result["before"], result["after"], result["sent"]
    ratio = result["attacked"] / result["quiet"] if result["attacked"] else float("inf")
    aimed = sum(size for kind, size in sent["bytes"].items() if kind.startswith(("puncture", "unsolicited")))
    up, down = (after[key] - before[key] for key in ("bytes_up", "bytes_down"))
    lines = after["log_lines"] - before["log_lines"]
    growth = after["resident_kib"] - before["resident_kib"]
    moved = [mid for mid, address in result["acquaintances"].items() if after["peers"].get(mid) != address]
    expected = {key: limit for key, limit in TABLE_LIMITS.items() if key in after["tables"]}
    attacked = f"{result['attacked'] * 1e6:.0f} µs" if result["attacked"] else "never"
    round_trip = f"{result['quiet'] * 1e6:.0f} µs quiet, {attacked} attacked: {ratio:.2f}x"
    waited = ", ".join(f"{met:.1f} s" for met in result["newcomers"])
    return [
        ("round trip", round_trip, ratio <= SLOWDOWN_ALLOWED),
        ("round trips lost", f"{result['lost']} of {result['round_trips'] + result['lost']}",
         result["lost"] <= 0.01 * result["round_trips"]),
        ("newcomers let in", f"{sum(result['admitted'])} of {NEWCOMERS}, answered after {waited}",
         len(result["newcomers"]) == NEWCOMERS and sum(result["admitted"]) == NEWCOMERS),
        ("peers gone or moved", str(len(moved)), not moved),
        ("own address", str(after["wan"]), not after["wan"][0].startswith("127.66.")),
        ("to the third party", f"{result['third_party_bytes']} bytes for {aimed} bytes",
         result["third_party_bytes"] <= aimed),
        ("sent in all", f"{up} bytes for {down} received", up <= down),
        ("tracebacks", str(after["tracebacks"] - before["tracebacks"]), after["tracebacks"] == before["tracebacks"]),
        ("log lines", str(lines), lines <= LOG_LINES_ALLOWED_PER_SECOND * result["seconds"]),
        ("memory", f"{growth:+} KiB", growth <= GROWTH_ALLOWED_KIB),
        ("tables", ", ".join(f"{size} {key}" for key, size in after["tables"].items()),
         all(after["tables"][key] <= limit for key, limit in expected.items())),
    ]


def main() -> int:
    """Attack, and print and judge the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--rate", type=float, default=4000, help="datagrams per second (default: 4000)")
    parser.add_argument("--seconds", type=float, default=20, help="duration of the attack, at least 10 (default: 20)")
    parser.add_argument("--victim", type=Path, metavar="VENV",
                        help="attack the ipv8 package of a virtual environment instead of ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all results")
    arguments = parser.parse_args()
    library = Library.of_venv(arguments.victim) if arguments.victim else Library.ours()
    if arguments.seconds < MINIMUM_SECONDS:
        parser.error(f"--seconds must be {MINIMUM_SECONDS} or more: newcomers wait until forged peers may be dropped")
    result = asyncio.run(attack(library, arguments.rate, arguments.seconds))
    judged = verdicts(result)
    count = sum(result["sent"]["sent"].values())
    print(f"{count} hostile datagrams of {len(result['sent']['sent'])} kinds in {arguments.seconds:g} s")
    for name, found, good in judged:
        print(f"{'ok  ' if good else 'BAD '} {name}: {found}")
    print("dropped:", ", ".join(f"{number} {reason}" for reason, number in sorted(result["after"]["drops"].items())))
    if result["after"]["last_traceback"]:
        print(result["after"]["last_traceback"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return 0 if all(good for _, _, good in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
