"""The mathematics is tested with both kinds of integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipv8.attestation.wallet.primitives import integers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["python", "gmpy2"])
def arithmetic(request: pytest.FixtureRequest) -> Iterator[str]:
    """Use the integers of Python, and those of gmpy2 where that is installed."""
    before = integers.uses_gmpy2()
    if integers.use_gmpy2(request.param == "gmpy2") != (request.param == "gmpy2"):
        integers.use_gmpy2(before)
        pytest.skip("gmpy2 is not installed")
    yield request.param
    integers.use_gmpy2(before)
