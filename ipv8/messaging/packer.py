"""What a format is: the base classes of packers, and when the layout of a packer is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import UnpackError
from .layouts import REFUSED, Layout, Rest, number_of_values
from .read_plan import field_reader
from .write_plan import field_writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layouts import ReadField

__all__ = ["LayoutPacker", "Packer", "layout_of_item", "layout_to_read", "layout_to_write"]

T = TypeVar("T")
A = TypeVar("A")


class Packer(ABC, Generic[T, A]):
    """One format: to and from bytes."""

    @abstractmethod
    def pack(self, data: T) -> bytes:
        """Return the bytes of ``data``."""

    @abstractmethod
    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: A) -> int:
        """Append the value at ``offset`` to ``unpack_list`` and return the offset after it.

        :param args: for a payload inside a payload (or a list of them), its class.
        """

    def wire_layout(self, *args: A) -> Layout | None:  # noqa: ARG002 - for payloads inside payloads
        """The layout of the format. The serializer uses it instead of ``pack`` and ``unpack``, because it is faster.

        A class that overrides ``pack`` or ``unpack`` of a class with a layout, and not the layout, is packed or
        unpacked by its own method.

        :param args: as for :meth:`unpack`.
        :returns: ``None`` if ``pack`` and ``unpack`` must be called.
        """
        return None


def layout_to_read(packer: Any, *args: Any) -> Layout | None:
    """The layout to read the format by; ``None`` if ``unpack`` must be called."""
    return packer.wire_layout(*args) if _describes(packer, "unpack") else None


def layout_to_write(packer: Any, *args: Any) -> Layout | None:
    """The layout to write the format by; ``None`` if ``pack`` must be called."""
    return packer.wire_layout(*args) if _describes(packer, "pack") else None


def _describes(packer: Any, method: str) -> bool:
    """Whether the layout of a packer says what its method does: nobody replaced the method alone."""
    if not isinstance(packer, Packer) or method in getattr(packer, "__dict__", ()):
        return False
    return next("wire_layout" in vars(base) for base in type(packer).__mro__
                if "wire_layout" in vars(base) or method in vars(base))


def layout_of_item(packer: Packer[Any, Any], *args: Any) -> Layout | None:
    """The layout of an item with one value, of a size of its own; ``None`` if only the packer can read or write it."""
    reading, writing = layout_to_read(packer, *args), layout_to_write(packer, *args)
    fits = reading is not None and writing is not None and number_of_values(reading) == 1
    return reading if fits and not isinstance(reading, Rest) else None


class LayoutPacker(Packer[Any, Any]):
    """Base class of formats that only have a :meth:`wire_layout`: ``pack`` and ``unpack`` follow from it."""

    @abstractmethod
    def wire_layout(self, *args: Any) -> Layout:
        """The layout of the format."""

    @cached_property
    def _write(self) -> Callable[[Any], bytes]:
        return field_writer(self.wire_layout())

    @cached_property
    def _read(self) -> ReadField:
        return field_reader(self.wire_layout())

    def pack(self, data: Any) -> bytes:
        """Return the bytes of ``data``."""
        return self._write(data)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the value at ``offset`` to ``unpack_list``; ``PackError`` if the data are cut off or wrong."""
        stop = self._read(data, offset, unpack_list, 0)
        if not 0 <= stop <= len(data):
            label = type(self).__name__, ""
            raise UnpackError(((0, label),), len(data) - offset, unpack_list.pop() if stop == REFUSED else None)
        return stop
