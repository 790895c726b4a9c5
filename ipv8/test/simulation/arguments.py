"""Checks of what users give to a simulation: a mistake is told at once, and not by a network that behaves strangely."""

from __future__ import annotations

import math
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ...checks import number_problem, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_address", "check_kind", "check_number", "check_numbers", "check_port"]


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], what: str, hint: str = "") -> None:
    """Check the type of an argument.

    :param hint: the end of the message.
    :raises TypeError: if it is another one.
    """
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {what}, not {shown(value)}{hint}")


def check_address(name: str, value: object, version: int) -> None:
    """Check what says which address of a family a machine has.

    :raises TypeError: if it is neither a truth value nor a text.
    :raises ValueError: for a text that is no address of this family.
    """
    check_kind(name, value, (bool, str), "True, False or an address")
    if isinstance(value, str) and value:
        try:
            right = ip_address(value).version == version
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"{name} must be True, False or an IPv{version} address, not {shown(value)}")


def check_number(name: str, value: Any, positive: bool = False) -> None:
    """Check a finite number.

    :param positive: whether it must be more than zero.
    :raises TypeError: if it is no number.
    :raises ValueError: if it is infinite, no number to compute with, or not positive.
    """
    problem = number_problem(value)
    if problem is not None:
        raise (TypeError if not isinstance(value, (int, float)) else ValueError)(f"{name} {problem}")
    if math.isinf(value) or (positive and value <= 0):
        raise ValueError(f"{name} must be a {'positive' if positive else 'finite'} number, not {shown(value)}")


def check_numbers(owner: object, names: Iterable[str]) -> None:
    """Check attributes of an object as :func:`check_number` does."""
    for name in names:
        check_number(name, getattr(owner, name))


def check_port(port: object) -> None:
    """Check the port that a node binds.

    :raises TypeError: if it is no integer.
    :raises ValueError: if no such port can be bound.
    """
    check_kind("port", port, int, "an integer")
    if not 0 <= port < 65536:  # type: ignore[operator]  # an integer, as checked above
        raise ValueError(f"port must be from 0 (any free port) to 65535, not {port}")
