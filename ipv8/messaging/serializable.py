"""What can be sent: the base classes of all payloads (doc/serialization.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Union

from .layouts import values_of_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .layouts import Layout

__all__ = ["CompositeFormat", "FlatPayload", "FormatListType", "Payload", "Serializable", "format_and_class"]


class CompositeFormat(ABC):
    """An entry of a format list that is composed of other entries; see :mod:`.composites`."""

    __slots__ = ()

    @abstractmethod
    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """The layout of the format; ``layout_of`` returns the layouts of other entries."""


FormatListType = Union[str, "type[Any]", "list[type[Any]]", CompositeFormat]
"""An entry of a format list: the name of a format, a class for one payload, a list with one class for a list of
payloads, or a composition of such entries."""


def format_and_class(entry: Any) -> tuple[str, tuple[Any, ...]]:
    """The name of the format of an entry, and the class of the payloads, if there is one."""
    if isinstance(entry, str):
        return entry, ()
    if isinstance(entry, type):
        return "payload", (entry,)
    (item,) = entry
    return "payload-list", (item,)


class Serializable(ABC):
    """Something with a fixed list of formats that can be made into bytes and back."""

    __slots__ = ()

    format_list: ClassVar[list[FormatListType]] = []

    @abstractmethod
    def to_pack_list(self) -> list[tuple[Any, ...]]:
        """For each format a tuple of its name and the arguments for its packer."""

    @classmethod
    @abstractmethod
    def from_unpack_list(cls, *args: Any) -> Self:
        """Make an object of the unpacked values."""


class Payload(Serializable, ABC):
    """A serializable that shows its fields when it is printed."""

    __slots__ = ()

    msg_id: int

    def __str__(self) -> str:
        hidden = {"format_list", "names"}
        public = {name: getattr(self, name) for name in dir(self) if name[0] != "_" and name not in hidden}
        fields = [f"\n| {name}: {value!r}" for name, value in sorted(public.items()) if not callable(value)]
        return type(self).__name__ + "".join(fields)


class FlatPayload(Payload, ABC):
    """A payload whose pack list follows from its formats and the flat tuple of its values.

    The serializer reads the values directly as long as ``to_pack_list`` is the method of this class.
    """

    __slots__ = ()

    @abstractmethod
    def _wire_values(self) -> tuple[Any, ...]:
        """The values in the order of the formats: eight for ``bits``, one for every other format."""

    @classmethod
    def _wire_getter(cls) -> Callable[[Any], tuple[Any, ...]]:
        """A function that does what :meth:`_wire_values` does for direct instances of this class."""
        return cls._wire_values

    @classmethod
    def _factory(cls) -> Callable[..., Any]:
        """What makes an object of the unpacked values."""
        return cls

    @classmethod
    def _wire_factory(cls) -> Callable[..., Any]:
        """A function that does what :meth:`from_unpack_list` does for this class."""
        stock: Any = FlatPayload.from_unpack_list
        own: Any = cls.from_unpack_list
        return cls._factory() if getattr(own, "__func__", None) is stock.__func__ else cls.from_unpack_list

    @classmethod
    def from_unpack_list(cls, *args: Any) -> Self:
        """Make an object of the unpacked values."""
        payload: Self = cls._factory()(*args)
        return payload

    def to_pack_list(self) -> list[tuple[Any, ...]]:
        """For each format a tuple of its name and the arguments for its packer."""
        values = self._wire_values()
        pack_list: list[tuple[Any, ...]] = []
        position = 0
        for entry in self.format_list:
            fmt = entry if isinstance(entry, CompositeFormat) else format_and_class(entry)[0]
            stop = position + values_of_entry(entry)
            if stop > len(values):
                if type(self).to_pack_list is FlatPayload.to_pack_list:
                    raise IndexError(f"{type(self).__name__} has {len(values)} values, too few for {self.format_list}")
                # A method that extends this one adds the items for the formats that its class added.
                break
            pack_list.append((fmt, *values[position:stop]))
            position = stop
        return pack_list
