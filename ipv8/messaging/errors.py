"""What can be wrong with payloads and with the bytes of payloads.

All texts are bounded, whatever the values and the bytes are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FIELD_LIMIT",
    "HEX_LIMIT",
    "MESSAGE_LIMIT",
    "Label",
    "Labels",
    "PackError",
    "Refusal",
    "SurplusError",
    "UnpackError",
    "add_field",
    "names_its_item",
    "pack_error",
    "shown",
]

MESSAGE_LIMIT = 512
"""Characters of one error message."""

FIELD_LIMIT = 160
"""Characters of its line that names the field."""

HEX_LIMIT = 64
"""Bytes that an error message shows."""

_PACKING = "Could not pack item: "
_UNPACKING = "Could not unpack item: "
_FIELD = "\nfield: "

Label = tuple[str, str]
"""What errors say of a field: its format, and the payload class with the name of the field."""

Labels = tuple[tuple[int, Label], ...]
"""For each field of a run, the offset in the run at which it ends, and its label."""


class PackError(RuntimeError):
    """A value cannot be packed, or bytes are not what they should be."""


class Refusal(RuntimeError):  # noqa: N818 - data that are refused are not an error of this node
    """What is wrong with data that their sender should not have sent."""

    #: The drop counter that is increased.
    reason = "undecodable"


class UnpackError(PackError, Refusal):
    """Bytes are not what they should be.

    A sender of such bytes causes many of these, and most are only counted. The text is therefore made when it is read.
    It names the format of the field, and for a payload inside another one also the formats around it.

    The arguments are the labels of the fields that were read, the number of bytes that there were for them, and the
    cause: ``None`` if the data end too early, an exception, or the number of an unknown kind.
    """

    def __str__(self) -> str:
        formats, fields, cause = self._chain()
        return _with_field(f"{_UNPACKING}{' > '.join(formats)}\n{cause}", " > ".join(filter(None, fields)))

    def _chain(self) -> tuple[list[str], list[str], str]:
        """The formats and the fields from the outermost payload to the innermost, and the cause."""
        labels, available, error = self.args
        fmt, field = _culprit(labels, available)
        if isinstance(error, UnpackError):
            formats, fields, cause = error._chain()
            return [fmt, *formats], [field, *fields], cause
        if error is None:
            cause = f"the data end after {available} bytes"
        elif isinstance(error, int):
            cause = f"there is no type {error}"
        else:
            cause = f"{type(error).__name__}: {error}"
        return [fmt], [field], cause


class SurplusError(UnpackError):
    """Bytes are left after the payloads.

    The arguments are the classes of the payloads, the data, and the offset after the last payload.
    """

    def __str__(self) -> str:
        classes, data, offset = self.args
        names = [payload_class.__name__ for payload_class in classes]
        if offset > len(data):
            return f"{names}: nothing at offset {offset} of {len(data)} bytes"
        rest = data[offset:offset + HEX_LIMIT].hex() + ("" if len(data) - offset <= HEX_LIMIT else "…")
        return f"{names}: extra data: {len(data) - offset} of {len(data)} bytes: {rest}"


def _culprit(labels: Labels, available: int) -> Label:
    """The label of the first field that does not fit into ``available`` bytes, else of the last field."""
    for end, label in labels:
        if end > available:
            return label
    return labels[-1][1]


def pack_error(item: str, error: BaseException, field: str = "", advice: str = "") -> PackError:
    """The error for an item that could not be packed because of ``error``.

    :param item: the item as text.
    :param field: the payload class and the name of the field.
    :param advice: what the caller can do about it.
    """
    item = _shorten(item, MESSAGE_LIMIT // 2)
    return PackError(_with_field(f"{_PACKING}{item}\n{type(error).__name__}: {shown(str, error)}{advice}", field))


def names_its_item(error: BaseException) -> bool:
    """Whether ``error`` was made by :func:`pack_error`: another attempt, item by item, would say no more."""
    return isinstance(error, PackError) and str(error).startswith(_PACKING)


def add_field(error: BaseException, field: str) -> None:
    """Make an error of :func:`pack_error` name the field around the one that it names."""
    text, _, inner = str(error).rpartition(_FIELD) if _FIELD in str(error) else (str(error), "", "")
    # The place in a list, such as [2], follows the name of the list.
    error.args = (_with_field(text, f"{field} > {inner}" if inner[:1] not in {"", "["} else field + inner),)


def shown(show: Callable[[Any], str], value: object) -> str:
    """``show(value)``, or the name of the class if that fails: the error to report must not get lost."""
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - whatever the class of the value does
        return f"<{type(value).__name__}>"


def _with_field(text: str, field: str) -> str:
    field = _FIELD + _shorten(field, FIELD_LIMIT) if field else ""
    return _shorten(text, MESSAGE_LIMIT - len(field)) + field


def _shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters: the beginning and the end of ``text``."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return text[:half - 1] + "…" + text[half - limit:]
