"""How the bytes of a field are laid out.

A packer describes its format in these terms, once for both directions. The serializer combines the layouts of all
fields of a payload into one function that reads the payload (:mod:`.read_plan`) and one that writes it
(:mod:`.write_plan`). Integers are big-endian.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from .errors import Label

__all__ = [
    "MAX_NESTING",
    "REFUSED",
    "WHOLE",
    "Body",
    "Build",
    "Converted",
    "Decoder",
    "Description",
    "Field",
    "Fixed",
    "Formats",
    "Group",
    "Layout",
    "Many",
    "Maybe",
    "Nested",
    "Own",
    "ReadField",
    "ReadPayload",
    "Rest",
    "Types",
    "Variant",
    "entry_name",
    "number_of_values",
    "values_of_entry",
]

T = TypeVar("T")

MAX_NESTING = 16
"""How many payloads a payload can be inside of."""

REFUSED = -1
"""In place of an offset: the data are not what they should be."""

WHOLE = -1
"""In place of a depth: the caller refuses data after the payload. The reader may then leave the values out."""

ReadField = Callable[[bytes, int, list[Any], int], int]
"""``read(data, offset, values, depth)`` reads a field, appends its value to ``values`` and returns the next offset.

The next offset is after the end of the data if the field is cut off; then the value does not matter. It is
:data:`REFUSED` if the field is wrong; then the last one of ``values`` is the error. If the layout has a header, the
last one of ``values`` is the number in the header, and is replaced. The depth is the number of payloads around the one
that is read.
"""

ReadPayload = Callable[[bytes, int, int], tuple[Any, int]]
"""``read(data, offset, depth)`` returns a sequence of the values of a payload, and the next offset.

If the data are not what they should be, it returns the :class:`~.errors.UnpackError` and :data:`REFUSED`.
"""

Types = Mapping[int, tuple[int, Mapping[bytes, Any]]]
"""For each type of a :class:`Variant`, the size of the body, and a mapping from bodies to values."""

Build = Callable[..., Any]
"""Takes the values of a payload as arguments and returns the payload."""

Decoder = tuple[ReadPayload, Build]
"""How the values of a payload are read, and how the payload is made of them."""


class Fixed(NamedTuple):
    """One value of a fixed size.

    :param code: the format of the module ``struct``, without the byte order, such as ``I`` or ``20s``.
    """

    code: str


class Body(NamedTuple):
    """Bytes after their length.

    :param length: the ``struct`` format of the length.
    :param unit: how many bytes the length counts as one.
    """

    length: str
    unit: int = 1


class Rest(NamedTuple):
    """All bytes that are left."""


class Variant(NamedTuple):
    """A byte that says of which type the value is, and a body of a fixed size for each type.

    :param types: for each type, the size of the body, and a mapping from bodies to values.
    :param encode: returns the bytes of a value, the type included.
    """

    types: Types
    encode: Callable[[Any], bytes]


class Converted(NamedTuple):
    """A value that is converted into another one, which has a layout.

    :param layout: the layout of the converted value.
    :param encode: from the value of the program to the converted value.
    :param decode: the opposite direction. Errors refuse the data.
    :param values: how many values the field has; only the format ``bits`` has more than one. Then ``encode`` takes a
        tuple of them, and ``decode`` returns a sequence.
    """

    layout: Layout
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    values: int = 1


class Nested(NamedTuple):
    """A payload after its length (``H``).

    :param formats: the serializer that packs and unpacks the payload.
    :param payload_class: the class of the payload. It is only needed to read it.
    """

    formats: Formats
    payload_class: type[Any] | None


class Many(NamedTuple):
    """A number of items of one layout. The value is a list.

    :param number: the ``struct`` format of the number of items.
    """

    number: str
    item: Layout


class Group(NamedTuple):
    """Several values of different layouts. The value is a tuple of them."""

    items: tuple[Layout, ...]


class Maybe(NamedTuple):
    """A zero byte, and the value is ``None``; or a byte that is 1, and a value."""

    item: Layout


class Own(NamedTuple):
    """Anything else, read and written by functions of the packer.

    :param header: the ``struct`` format of a number in front of the field, which is read before ``read`` is called.
    """

    read: ReadField
    write: Callable[[Any], bytes]
    header: str = ""


Layout = Fixed | Body | Rest | Variant | Converted | Nested | Many | Group | Maybe | Own


def number_of_values(layout: Layout) -> int:
    """How many values of a payload have this layout together."""
    return layout.values if isinstance(layout, Converted) else 1


class Field(NamedTuple):
    """What a serializer knows of an entry of a format list.

    :param name: the format, as error messages show it.
    :param packer: reads and writes where there is no layout.
    :param arguments: further arguments for the ``unpack`` of the packer.
    :param reading: the layout to read by; ``None`` if the packer has to do it.
    :param writing: the layout to write by; ``None`` if the packer has to do it.
    """

    name: str
    packer: Any
    arguments: tuple[Any, ...]
    reading: Layout | None
    writing: Layout | None


class Description(NamedTuple):
    """What a serializer needs to know of a class of payloads.

    :param owner: the name of the class.
    :param entries: the format list.
    :param names: the name of each value, if the values have names.
    :param build: makes a payload of its values.
    :param values: a function that returns the values of a payload in their order; ``None`` if only ``items`` knows.
    :param items: a function that returns for each entry a tuple of the format and the arguments for its packer.
    """

    owner: str
    entries: Sequence[Any]
    names: Sequence[str] | None
    build: Build
    values: Callable[[Any], Sequence[Any]] | None
    items: Callable[[Any], Sequence[tuple[Any, ...]]]

    def field(self, index: int) -> str:
        """The class and the name of the field for the entry ``index``; without a name, its number from 1 on."""
        names = self.names or ()
        first = sum(values_of_entry(entry) for entry in self.entries[:index])
        if index >= len(self.entries) or first >= len(names):
            return f"{self.owner}, item {index + 1}"
        last = min(first + values_of_entry(self.entries[index]), len(names)) - 1
        return f"{self.owner}.{names[first]}" + (f" to {names[last]}" if last > first else "")

    def label(self, index: int) -> Label:
        """What errors say of the field for the entry ``index``."""
        return entry_name(self.entries[index]), self.field(index)


def values_of_entry(entry: Any) -> int:
    """How many values of a payload stand for one entry of its format list."""
    return 8 if entry == "bits" else 1


def entry_name(entry: Any) -> str:
    """An entry of a format list as text."""
    if isinstance(entry, type):
        return f"payload {entry.__name__}"
    if isinstance(entry, (list, tuple, set)):
        return f"payload-list {' '.join(getattr(item, '__name__', str(item)) for item in entry)}"
    return str(entry)


class Formats(ABC):
    """What plans and packers need of a serializer."""

    #: How the payloads of each class are read; for a tuple of classes, a list with one payload of each.
    decoders: Mapping[Any, Decoder]

    @abstractmethod
    def pack_serializable(self, serializable: Any) -> bytes:
        """The bytes of a payload."""

    @abstractmethod
    def unpack_serializable(self, serializable: type[T], data: bytes, offset: int = 0) -> tuple[T, int]:
        """The payload of a class at ``offset``, and the offset after it."""

    @abstractmethod
    def field(self, entry: Any) -> Field:
        """The field for an entry of a format list; ``KeyError`` if this serializer does not have the format."""

    @abstractmethod
    def describe(self, payload_class: type[Any] | None) -> Description:
        """The description of a class of payloads."""

    @abstractmethod
    def nested(self, payload_class: type[Any] | None) -> Nested | None:
        """The layout of a payload inside another one; ``None`` if a subclass has its own way to do it."""
