"""JSON objects of others, which can be written again wherever they are used."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

__all__ = ["MAX_NESTING", "read_object"]

MAX_NESTING = 64
"""Objects and arrays inside of each other."""


def read_object(text: bytes) -> dict[str, Any]:
    """The JSON object in a text.

    :raises ValueError: if it is no object, nested too deep, or has numbers that are not finite, which is no JSON.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not its type
    level: list[Any] = [content]
    depth = 0
    while level:
        if not all(isfinite(entry) for entry in level if isinstance(entry, float)):
            raise ValueError("it has a number that is not finite")
        containers = [entry for entry in level if isinstance(entry, (dict, list))]
        depth += bool(containers)
        if depth > MAX_NESTING:
            raise ValueError("it is nested too deep")
        level = [inner for entry in containers for inner in (entry.values() if isinstance(entry, dict) else entry)]
    return content
