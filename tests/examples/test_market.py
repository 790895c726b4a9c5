"""The market: everybody honest detects the double-sign from packets alone, and shuns the cheater."""

from __future__ import annotations

from examples import market


def test_in_a_simulated_network() -> None:
    """Two runs with the same seed tell the same story, with the same number of messages."""
    stories: list[list[str]] = [[], []]
    counts = [market.simulated(7, story.append) for story in stories]
    assert stories[0] == stories[1]
    assert counts[0] == counts[1] <= market.bound(len(market.HONEST)) == 67
    text = "\n".join(stories[0])
    for name in market.HONEST:
        assert f" {name:6} has both blocks for height" in text
    assert "nobody signs, and nobody offers anything" in text
    assert "mallory 0.00." in text.splitlines()[-1]


async def test_on_sockets() -> None:
    told: list[str] = []
    count = await market.on_sockets(told.append)
    assert 0 < count <= market.bound(len(market.HONEST))
    assert sum("has both blocks for height" in line for line in told) == len(market.HONEST)


def test_seeds_differ() -> None:
    assert market.simulated(8, lambda _: None) <= market.bound(len(market.HONEST))
