"""Large integers: those of Python, or those of gmpy2 where that is installed.

With gmpy2, calculations modulo numbers of 64 to 200 bits take two thirds of the time or a little more, and those modulo
numbers of 1000 bits a third or less. The results are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["big", "use_gmpy2", "uses_gmpy2"]

try:
    from gmpy2 import mpz
except ImportError:
    mpz = None

_make: Callable[[int], Any] = mpz or int


def big(number: int) -> Any:
    """``number`` as an integer of the kind in use; whatever is calculated with it is of this kind too."""
    return _make(number)


def uses_gmpy2() -> bool:
    """Whether gmpy2 is in use, which is so by default where it is installed."""
    return _make is not int


def use_gmpy2(wanted: bool) -> bool:
    """Use gmpy2 or not, for numbers that are made from now on; return whether it is in use then."""
    global _make  # noqa: PLW0603 - for the whole process
    _make = mpz if wanted and mpz is not None else int
    return uses_gmpy2()
