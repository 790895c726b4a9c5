"""JSON of others, which can be written again wherever it is used."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

__all__ = ["MAX_NESTING", "finite", "is_deeper", "is_same", "read_object", "refuse_constant"]

MAX_NESTING = 64
"""Values inside of each other."""


def finite(digits: str) -> float:
    """A number, for ``parse_float`` of :func:`json.loads`; ``ValueError`` if it is too large for a float."""
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def refuse_constant(name: str) -> Any:
    """For ``parse_constant`` of :func:`json.loads`: raise ``ValueError``, as NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is not JSON")


def is_deeper(value: Any, levels: int) -> bool:
    """Whether there are values inside of each other on more than so many levels; ``value`` itself is on the first."""
    level = [value]
    for _ in range(levels):
        level = [inner for entry in level if isinstance(entry, (dict, list))
                 for inner in (entry.values() if isinstance(entry, dict) else entry)]
        if not level:
            return False
    return True


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same as JSON. In Python, ``1``, ``1.0`` and ``True`` are equal; here they are not."""
    try:
        first, second = (json.dumps(json.loads(json.dumps(value)), sort_keys=True) for value in (one, other))
    except (RecursionError, TypeError, ValueError):
        return False
    return first == second


def read_object(text: bytes) -> dict[str, Any]:
    """The JSON object in a text.

    :raises ValueError: if it is no object, nested too deep, or has numbers that are not finite, which is no JSON.
    """
    try:
        content = json.loads(text, parse_constant=refuse_constant, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not its type
    if is_deeper(content, MAX_NESTING):
        raise ValueError("it is nested too deep")
    return content
