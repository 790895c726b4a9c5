"""Circuits through nodes of this library with the endpoint of ``ipv8_rust_tunnels``, among other nodes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from interop.test_tunnels import NATIVE, OURS, PURE, check_circuit, name_of

if TYPE_CHECKING:
    from interop.conftest import StartNode
    from interop.test_tunnels import Kind

pytestmark = [
    pytest.mark.interop, pytest.mark.timeout(120),
    pytest.mark.skipif(find_spec("ipv8_rust_tunnels") is None, reason="ipv8_rust_tunnels is not installed"),
]

FAST = ("ours", "native")
CIRCUITS: list[tuple[Kind, ...]] = [
    (FAST, FAST), (FAST, FAST, FAST, FAST), (FAST, OURS, PURE, NATIVE), (OURS, FAST, OURS), (PURE, FAST, PURE),
    (NATIVE, FAST, FAST, FAST), (OURS, OURS, OURS, FAST), (PURE, PURE, FAST), (NATIVE, PURE, FAST, FAST)]


def name(kinds: tuple[Kind, ...]) -> str:
    return "-".join("fast" if kind == FAST else name_of((kind,)) for kind in kinds)


@pytest.mark.parametrize("kinds", CIRCUITS, ids=name)
async def test_circuits(start: StartNode, kinds: tuple[Kind, ...]) -> None:
    """As with the other endpoints."""
    await check_circuit(start, kinds)
