"""Reading bytes that others have sent, from the first to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CredentialError

if TYPE_CHECKING:
    from struct import Struct

__all__ = ["Reader"]


class Reader:
    """A position in bytes. Whatever is missing or left over raises :class:`CredentialError`."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self.position + size
        if end > len(self.data):
            raise CredentialError("the data is truncated")
        taken = self.data[self.position:end]
        self.position = end
        return taken

    def fields(self, structure: Struct) -> tuple[Any, ...]:
        """The next fields."""
        return structure.unpack(self.take(structure.size))

    def sized(self, size: Struct) -> bytes:
        """Bytes with their length in front."""
        return self.take(self.fields(size)[0])

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self.data) - self.position)

    def end(self) -> None:
        """Nothing may be left."""
        if self.position != len(self.data):
            raise CredentialError("there are bytes behind the end of the data")
