"""Which blocks of which authors were taken up: each counts once, however often it is stored."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["Heights"]

MAX_RANGES = 4096
"""Ranges of heights that are kept for an author; when there are more, the smallest gap counts as taken up."""


class Heights:
    """For each author the heights of the blocks that were taken up, as ranges."""

    def __init__(self) -> None:
        #: First and last height of each range, in order.
        self.ranges: dict[bytes, list[tuple[int, int]]] = {}

    def __contains__(self, block: tuple[bytes, int]) -> bool:
        author, height = block
        ranges = self.ranges.get(author)
        if ranges is None:
            return False
        place = bisect_right(ranges, (height, 1 << 62)) - 1
        return place >= 0 and ranges[place][1] >= height

    def add(self, author: bytes, height: int) -> dict[int, int | None]:
        """The block of ``author`` at ``height`` was taken up.

        :returns: the ranges that this changed: the last height by the first one, ``None`` for a range that is gone.
        """
        if (author, height) in self:
            return {}
        changed: dict[int, int | None] = {}
        ranges = self.ranges.setdefault(author, [])
        place = bisect_right(ranges, (height, 1 << 62))
        first = last = height
        if place < len(ranges) and ranges[place][0] == height + 1:
            last = ranges.pop(place)[1]
            changed[height + 1] = None
        if place and ranges[place - 1][1] == height - 1:
            place -= 1
            first = ranges.pop(place)[0]
        ranges.insert(place, (first, last))
        changed[first] = last
        if len(ranges) > MAX_RANGES:
            gap = min(range(1, len(ranges)), key=lambda number: ranges[number][0] - ranges[number - 1][1])
            changed[ranges[gap][0]] = None
            changed[ranges[gap - 1][0]] = ranges[gap][1]
            ranges[gap - 1:gap + 1] = [(ranges[gap - 1][0], ranges[gap][1])]
        return changed

    def forget(self, author: bytes) -> None:
        """Nothing of ``author`` counts as taken up any more."""
        self.ranges.pop(author, None)
