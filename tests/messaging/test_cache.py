from __future__ import annotations

import pytest

from ipv8.messaging.cache import Cache


def test_cache_is_bounded() -> None:
    calls: list[int] = []

    def negate(number: int) -> int:
        calls.append(number)
        return -number

    cache = Cache(negate, size=3)
    assert [cache[key] for key in (1, 2, 3, 1, 2, 3)] == [-1, -2, -3] * 2
    assert calls == [1, 2, 3]
    assert cache[4] == -4
    assert dict(cache) == {4: -4}


def test_cache_remembers_no_errors() -> None:
    cache: Cache[int, int] = Cache(lambda key: 1 // key)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache[0]
    assert not cache
