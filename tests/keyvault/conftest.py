"""The vectors, and every test over each provider of curve25519 arithmetic that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault.backend import provider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vectors() -> dict[str, list[dict[str, Any]]]:
    loaded: dict[str, list[dict[str, Any]]] = json.loads(
        (Path(__file__).parents[1] / "vectors" / "keys.json").read_text()
    )
    return loaded


@pytest.fixture(params=provider.NAMES)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """One provider after the other; keys made in the test use it."""
    if request.param not in provider.available():
        pytest.skip(f"{request.param} does not load on this machine")
    with provider.use(request.param):
        yield request.param
