"""``python -m benchmarks.fuzz [TARGET …]``: random changes of valid bytes, given to what reads the bytes of strangers.

Each target takes bytes and may refuse them by the errors of its format. Any other error, and any change of state by
bytes that nobody sealed, ends the program with status 1 and the seed of the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from random import Random, SystemRandom
from time import monotonic
from typing import Any

from benchmarks.session_pair import SessionPair
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.session import wire
from ipv8.messaging.session.manifest import CHUNK_SIZE, HASH_SIZE, Manifest, Request
from ipv8.messaging.session.wire import Frame, Identity, MalformedError

__all__ = ["TARGETS", "mutate", "run"]

EXECUTIONS = 1_000_000
REPORT_EVERY = 100_000
Target = Callable[[Random], Callable[[], None]]
"""Made with a source of chance; each call of what it makes is one execution."""


def mutate(data: bytes, chance: Random) -> bytes:
    """``data`` with one to four changes: a bit, a byte, a cut, a repetition, or random bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(changed):
            changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            changed[place:place] = changed[place : place + chance.randrange(64)]
        else:
            changed[place:place] = chance.randbytes(chance.randrange(16))
    return bytes(changed)


def _pair(chance: Random) -> SessionPair:
    """Two nodes with a session, and datagrams of all kinds between them."""
    pair = SessionPair(chance.randbytes)
    channel = pair.machines[0].channels()[0]
    for kind in sorted(Frame.ALL - {Frame.CLOSE}):
        channel.transmit(bytes((kind,)) + chance.randbytes(20))
    pair.datagrams += [(1, datagram) for _, datagram in pair.machines[0].datagrams()]
    return pair


def _state(pair: SessionPair) -> Any:
    """What changed bytes must not change."""
    return [[(channel.state, channel.address, channel.window.top, channel.window.missing, channel.epoch.number)
             for channel in machine.channels()] + [set(machine.epochs)] for machine in pair.machines]


def datagrams(chance: Random) -> Callable[[], None]:
    """Changed datagrams at nodes with a session."""
    pair = _pair(chance)
    genuine = {datagram for _, datagram in pair.datagrams}
    state = _state(pair)

    def execute() -> None:
        receiver, datagram = chance.choice(pair.datagrams)
        size = len(wire.SERVICE_PREFIX)  # the gate lets nothing else in
        changed = datagram[:size] + mutate(datagram[size:], chance)
        if changed in genuine:
            return
        events = pair.machines[receiver].receive(changed, pair.addresses[1 - receiver], 0.0)
        pair.machines[receiver].datagrams()
        if events or _state(pair) != state:
            raise AssertionError(f"{changed.hex()} changed something: {events}")

    return execute


def frames(chance: Random) -> Callable[[], None]:
    """Changed plaintexts, as a peer may send them."""
    pair = _pair(chance)
    machine, channel = pair.machines[1], pair.machines[1].channels()[0]
    samples = [bytes((kind,)) + chance.randbytes(size) for kind in sorted(Frame.ALL) for size in (0, 8, 9, 30, 88)]

    def execute() -> None:
        plaintext = mutate(wire.join_frames(chance.choices(samples, k=chance.randint(1, 4))), chance)
        if not plaintext:
            return
        channel.state = channel.READY
        channel.take(plaintext, pair.addresses[0], 0.0)
        machine.datagrams()
        machine.take_events()

    return execute


def identities(chance: Random) -> Callable[[], None]:
    """Changed identities."""
    own = _pair(chance).owns[0]
    sample = Identity(3, b"abcd", own.public_bin, chance.randbytes(64)).binary

    def execute() -> None:
        try:
            identity, _ = Identity.read(mutate(sample, chance))
            default_eccrypto.key_from_network(identity.public_key)
        except (MalformedError, ValueError):
            pass

    return execute


def manifests(chance: Random) -> Callable[[], None]:
    """Changed manifests of blobs, and requests for blobs."""
    blob = chance.randbytes(HASH_SIZE)
    sizes = (0, 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 1)
    samples = [Manifest.of(size, [chance.randbytes(HASH_SIZE)] * -(-size // CHUNK_SIZE)).binary for size in sizes]
    requests = [Request(blob).binary, Request(blob, 1, 2).binary]

    def execute() -> None:
        changed = mutate(chance.choice(samples), chance)
        with suppress(MalformedError):
            manifest = Manifest.read(changed)
            if manifest.binary != changed or sum(map(manifest.size_of, range(manifest.chunks))) != manifest.size:
                raise AssertionError(f"{changed.hex()} was read as {manifest}")
        changed = mutate(chance.choice(requests), chance)
        with suppress(MalformedError):
            if changed and Request.read(changed[0], changed[1:]).binary != changed:
                raise AssertionError(f"{changed.hex()} was read as {Request.read(changed[0], changed[1:])}")

    return execute


TARGETS: dict[str, Target] = {"datagrams": datagrams, "frames": frames, "identities": identities, "manifest": manifests}


def run(name: str, executions: int, seed: int, report: Callable[[str], None] = print) -> bool:
    """Run one target; whether nothing went wrong."""
    chance = Random(seed)
    execute = TARGETS[name](chance)
    start = monotonic()
    for number in range(1, executions + 1):
        try:
            execute()
        except Exception as e:  # noqa: BLE001 - this is what is looked for
            report(f"{name}: {type(e).__name__}: {e} (execution {number}, seed {seed})")
            return False
        if number % REPORT_EVERY == 0:
            report(f"{name}: {number:,} of {executions:,}, {number / (monotonic() - start):,.0f} a second")
    return True


def main() -> int:
    """Run the targets that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="for each target")
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r} (known: {', '.join(TARGETS)})")
    results = [run(name, arguments.executions, arguments.seed) for name in arguments.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
