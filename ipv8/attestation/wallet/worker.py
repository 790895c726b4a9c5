"""The program of a process that makes keys, attestations and challenges for :mod:`ipv8.attestation.wallet.work`.

It reads jobs from its standard input and writes their results to its standard output, until the input ends. A job or a
result is a number of parts, as four bytes, and for each part its length, as four bytes, and its bytes.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "read_parts", "run_job", "write_parts"]

LENGTH = struct.Struct(">I")

DONE, REFUSED, FAILED = b"done", b"refused", b"failed"
"""The first part of a result: the others are the result, or what is wrong with an argument, or what else happened."""


def write_parts(stream: BinaryIO, parts: Sequence[bytes]) -> None:
    """Write a job or a result."""
    stream.write(LENGTH.pack(len(parts)) + b"".join(LENGTH.pack(len(part)) + part for part in parts))
    stream.flush()


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other process has ended")
    return data


def read_parts(stream: BinaryIO) -> list[bytes]:
    """Read a job or a result; ``EOFError`` if there is none any more."""
    count = LENGTH.unpack(_read(stream, LENGTH.size))[0]
    return [_read(stream, LENGTH.unpack(_read(stream, LENGTH.size))[0]) for _ in range(count)]


def run_job(operation: bytes, id_format: bytes, parameters: bytes, *arguments: bytes) -> list[bytes]:
    """Do what a job asks for."""
    from ..schema.manager import SchemaManager

    name = id_format.decode()
    schemas = SchemaManager()
    schemas.formats[name] = json.loads(parameters)
    algorithm: Any = schemas.get_algorithm_instance(name)
    if operation == b"generate":
        return [algorithm.generate_secret_key().serialize()]
    if operation == b"attest":
        key, value = arguments
        return [algorithm.attest(algorithm.load_public_key(key), value)]
    if operation == b"challenges":
        attestation = algorithm.get_attestation_class().unserialize(arguments[0], name)
        challenges: list[bytes] = algorithm.create_challenges(attestation.PK, attestation)
        return challenges
    raise ValueError(f"there is no operation {operation!r}")


def main() -> None:
    """Do jobs until there are no more."""
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing else gets between the results
    while True:
        try:
            job = read_parts(jobs)
        except EOFError:
            return
        try:
            result = [DONE, *run_job(*job)]
        except ValueError as e:
            result = [REFUSED, str(e).encode()]
        except Exception as e:  # noqa: BLE001 - whatever it is, the process that asked is told
            result = [FAILED, f"{type(e).__name__}: {e}".encode()]
        write_parts(results, result)
