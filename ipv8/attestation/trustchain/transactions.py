"""Transactions as dataclasses."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

from .block import TrustChainBlock, ValidationResult

__all__ = ["TypedBlock", "from_transaction", "to_transaction", "typed_block"]

T = TypeVar("T")


def to_transaction(value: Any) -> dict[Any, Any]:
    """The dictionary of the fields of a dataclass; a dictionary is taken as it is.

    :raises TypeError: if it is neither.
    """
    if isinstance(value, dict):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a transaction is a dictionary or an instance of a dataclass, not {type(value).__name__}")


def from_transaction(cls: type[T], transaction: Any) -> T:
    """The instance of a dataclass that a transaction holds the fields of.

    :raises ValueError: if fields are missing, unknown or of another type.
    """
    if not isinstance(transaction, dict):
        raise ValueError(f"a transaction of {cls.__name__} is a dictionary, not {type(transaction).__name__}")  # noqa: TRY004 - of the remote
    values = {key.decode(errors="replace") if isinstance(key, bytes) else key: value
              for key, value in transaction.items()}
    hints = get_type_hints(cls)
    for field in fields(cls):  # type: ignore[arg-type]  # it is a dataclass, or this raises TypeError
        expected = hints[field.name]
        if field.name in values and isinstance(expected, type) and type(values[field.name]) is not expected:
            raise ValueError(f"{field.name} must be of type {expected.__name__}")
    try:
        return cls(**values)
    except TypeError as e:
        raise ValueError(f"this is no transaction of {cls.__name__}: {e}") from e


class TypedBlock(TrustChainBlock, Generic[T]):
    """A block whose transaction is that of a dataclass, which both halves agree on."""

    SAME_TRANSACTION: ClassVar[bool] = True
    CONTENT: ClassVar[type[Any]]

    @property
    def content(self) -> T:
        """The transaction as an instance of the dataclass; ``ValueError`` if it is none."""
        content: T = from_transaction(self.CONTENT, self.transaction)
        return content

    def validate_transaction(self, database: Any) -> tuple[Any, list[str]]:  # noqa: ARG002 - as in the base class
        """Whether the transaction has the fields of the dataclass."""
        try:
            from_transaction(self.CONTENT, self.transaction)
        except ValueError as e:
            return ValidationResult.invalid, [str(e)]
        return ValidationResult.valid, []


def typed_block(content: type[T]) -> type[TypedBlock[T]]:
    """A class of blocks for the transactions of a dataclass, to be the ``BLOCK_CLASS`` of a listener."""
    return type(f"{content.__name__}Block", (TypedBlock,), {"CONTENT": content})
