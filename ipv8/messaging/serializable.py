"""What can be sent: the base classes of all payloads (spec 02 section 2.8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Union

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = ["FlatPayload", "FormatListType", "Payload", "Serializable"]

FormatListType = Union[str, "type[Serializable]", "list[type[Serializable]]"]
"""A format: its name, a class for one payload inside, or a list with one class for a list of payloads inside."""


class Serializable(ABC):
    """Something with a fixed list of formats that can be made into bytes and back."""

    __slots__ = ()

    format_list: ClassVar[list[FormatListType]] = []

    @abstractmethod
    def to_pack_list(self) -> list[tuple[Any, ...]]:
        """One tuple a format: its name and the arguments for its packer."""

    @classmethod
    @abstractmethod
    def from_unpack_list(cls, *args: Any) -> Self:
        """Make an object of the values that the formats unpacked to."""


class Payload(Serializable, ABC):
    """A serializable that shows its fields when it is printed."""

    __slots__ = ()

    msg_id: int

    def __str__(self) -> str:
        hidden = {"format_list", "names"}
        public = {name: getattr(self, name) for name in dir(self) if name[0] != "_" and name not in hidden}
        shown = [f"\n| {name}: {value!r}" for name, value in sorted(public.items()) if not callable(value)]
        return type(self).__name__ + "".join(shown)


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
        """What makes an object of the values that the formats unpacked to."""
        return cls

    @classmethod
    def _wire_factory(cls) -> Callable[..., Any]:
        """A function that does what :meth:`from_unpack_list` does for this class."""
        stock: Any = FlatPayload.from_unpack_list
        own: Any = cls.from_unpack_list
        return cls._factory() if getattr(own, "__func__", None) is stock.__func__ else cls.from_unpack_list

    @classmethod
    def from_unpack_list(cls, *args: Any) -> Self:
        """Make an object of the values that the formats unpacked to."""
        payload: Self = cls._factory()(*args)
        return payload

    def to_pack_list(self) -> list[tuple[Any, ...]]:
        """One tuple a format: its name and the arguments for its packer."""
        values = self._wire_values()
        pack_list: list[tuple[Any, ...]] = []
        position = 0
        for entry in self.format_list:
            name = entry if isinstance(entry, str) else "payload" if isinstance(entry, type) else "payload-list"
            stop = position + (8 if name == "bits" else 1)
            if stop > len(values):
                if type(self).to_pack_list is FlatPayload.to_pack_list:
                    raise IndexError(f"{type(self).__name__} has {len(values)} values, too few for {self.format_list}")
                # A method that extends this one adds the items for the formats that its class added.
                break
            pack_list.append((name, *values[position:stop]))
            position = stop
        return pack_list
