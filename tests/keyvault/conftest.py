"""The vectors, damaged keys, and every test over each provider of curve25519 arithmetic that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault.backend import provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def vectors() -> dict[str, list[dict[str, Any]]]:
    loaded: dict[str, list[dict[str, Any]]] = json.loads(
        (Path(__file__).parents[1] / "vectors" / "keys.json").read_text()
    )
    return loaded


@pytest.fixture(scope="session")
def load_or_refuse() -> Callable[[Callable[[bytes], Any], bytes], Any]:
    """The key of a class that bytes make; ``None`` when they are refused in the one way that is allowed."""
    def load(key_class: Callable[[bytes], Any], data: bytes) -> Any:
        try:
            return key_class(data)
        except ValueError:
            return None

    return load


@pytest.fixture(scope="session")
def flip_bits() -> Callable[[bytes], Iterator[bytes]]:
    """The bytes again and again, each time with another one of their bits flipped."""
    def flip(data: bytes) -> Iterator[bytes]:
        for position in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[position // 8] ^= 1 << position % 8
            yield bytes(flipped)

    return flip


@pytest.fixture(params=provider.NAMES)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """One provider after the other; keys made in the test use it."""
    if request.param not in provider.available():
        pytest.skip(f"{request.param} does not load on this machine")
    with provider.use(request.param):
        yield request.param
