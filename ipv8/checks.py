"""Finding mistakes in names and values that a person wrote: typos, wrong types, numbers that cannot be used.

These functions return the description of a problem, or ``None``. Their callers know which exception fits and which
place the message has to name.
"""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["argument_problem", "call_problem", "did_you_mean", "number_problem", "setting_names", "setting_problem",
           "shown", "similar", "type_problem"]

TYPO_SIMILARITY = 0.8
"""From this similarity on, as ``difflib`` computes it, an unknown name is taken for a typo of a known one."""

MAX_SHOWN = 80
"""Characters of a value in a message."""

NAMES_SHOWN = 30
"""Known names that a message lists, at most."""

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int, float), "float": (int, float), "bool": (bool, int), "str": (str,), "bytes": (bytes,),
    "None": (type(None),), "NoneType": (type(None),),
}
_WORDS = {"int": "a number", "float": "a number", "bool": "True or False", "str": "text", "bytes": "bytes",
          "None": "None", "NoneType": "None"}


def _close_matches(name: object, known: list[str], similarity: float = 0.6) -> list[str]:
    from difflib import get_close_matches  # when there is a mistake, which most programs do not have

    return get_close_matches(str(name), known, n=1, cutoff=similarity)


def similar(name: object, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is probably a typo of."""
    close = _close_matches(name, list(known), TYPO_SIMILARITY)
    return close[0] if close else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of an error message about an unknown ``name``: the most similar ``known`` name, and the known names."""
    options = sorted(known)
    close = _close_matches(name, options)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if len(options) > NAMES_SHOWN:
        options[NAMES_SHOWN:] = [f"and {len(options) - NAMES_SHOWN} others"]
    return f"{hint} (known: {', '.join(options) or 'none'})"


def shown(value: object) -> str:
    """``value`` for a message: its beginning, if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print very large integers
        return f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def number_problem(value: object) -> str | None:
    """Why ``value`` is no number to compute with. Infinity is one; NaN, and integers that are too large, are not."""
    if not isinstance(value, (int, float)):
        return f"must be a number, not {type(value).__name__} ({shown(value)})"
    try:
        is_number = not math.isnan(value)
    except OverflowError:
        return f"is too large: {shown(value)}"
    return None if is_number else "must be a number, not NaN"


def _kinds(annotation: object) -> list[str] | None:
    """The names of the simple types that ``annotation`` allows, ``None`` if it allows others too."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None) or repr(annotation)
    if not isinstance(annotation, (str, type)):  # a union has no name, or in some releases the name "Union"
        text = repr(annotation)
    text = re.sub(r"\b(?:typing|t)\.", "", text).strip()
    optional = re.fullmatch(r"Optional\[([\w ,|]+)\]", text)
    union = re.fullmatch(r"Union\[([\w ,|]+)\]", text)
    if optional:
        text = f"{optional[1]} | None"
    elif union:
        text = union[1].replace(",", "|")
    names = [name.strip() for name in text.split("|")]
    return names if all(name in _KINDS for name in names) else None


def type_problem(value: object, annotation: object) -> str | None:
    """Why ``value`` does not fit ``annotation``, as far as that is a simple type or a union of such.

    Numbers of one type fit where another type of number is asked for. Anything fits an annotation that is not simple.
    """
    kinds = _kinds(annotation)
    if kinds is None:
        return None
    for kind in kinds:
        if isinstance(value, _KINDS[kind]):
            return number_problem(value) if isinstance(value, (int, float)) else None
    wanted = " or ".join(dict.fromkeys(_WORDS[kind] for kind in kinds))
    return f"must be {wanted}, not {type(value).__name__} ({shown(value)})"


def argument_problem(function: Callable[..., Any], given: Mapping[str, Any], passed: int = 0,
                     complete: bool = True) -> str | None:
    """Why ``function`` cannot be called with the keyword arguments ``given``; a class stands for its constructor.

    :param passed: how many arguments the caller passes by position.
    :param complete: whether no other arguments are going to be added.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[passed:]
    except (TypeError, ValueError):  # some functions that are written in C do not tell
        return None
    by_name = {parameter.name: parameter for parameter in parameters
               if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for name, value in given.items():
        if name not in by_name:
            if takes_any:
                continue
            return f"has no argument {name!r}{did_you_mean(name, by_name)}"
        problem = type_problem(value, by_name[name].annotation)
        if problem is not None:
            return f"argument {name!r} {problem}"
    missing = complete and [name for name, parameter in by_name.items()
                            if parameter.default is parameter.empty and name not in given]
    return f"needs the argument {', '.join(map(repr, missing))}" if missing else None


def call_problem(function: Callable[..., Any], arguments: Sequence[Any]) -> str | None:
    """Why ``function`` cannot be called with these arguments by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions that are written in C do not tell
        return None
    try:
        signature.bind(*arguments)
    except TypeError as e:
        return f"cannot be called with {len(arguments)} argument(s): {e}"
    return None


def _annotations(owner: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(owner)
    except Exception:  # noqa: BLE001 - newer releases of Python evaluate annotations here, which may fail in any way
        return {}


def setting_names(settings_class: type) -> set[str]:
    """The names of the settings that a class of settings declares: attributes, properties and annotations."""
    return {name for owner in settings_class.__mro__ for name in (*vars(owner), *_annotations(owner))
            if not name.startswith("_") and name != "allow_unknown"}


def setting_problem(settings_class: type, name: str, value: object) -> str | None:
    """Why ``value`` does not fit what a class of settings declares for ``name``.

    That is its annotation, or without one the type of a number that is its default.
    """
    for owner in settings_class.__mro__:
        annotation = _annotations(owner).get(name)
        if annotation is not None:
            return type_problem(value, annotation)
        if name in vars(owner):
            default = vars(owner)[name]
            is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
            return number_problem(value) if is_number and value is not None else None
    return None
