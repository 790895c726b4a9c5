"""What programs implement to take part in TrustChain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from .block import TrustChainBlock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["BlockListener", "FunctionListener"]


class BlockListener(ABC):
    """Is asked whether to counter-sign proposals, and told of new blocks.

    ``BLOCK_CLASS`` is the class that blocks of its types are made of.
    """

    BLOCK_CLASS: ClassVar[type[TrustChainBlock]] = TrustChainBlock

    @abstractmethod
    def should_sign(self, block: TrustChainBlock) -> bool | Awaitable[bool]:
        """Whether to counter-sign a proposal that is for us."""

    @abstractmethod
    def received_block(self, block: TrustChainBlock) -> None:
        """Called with every valid block that was not stored before."""


class FunctionListener(BlockListener):
    """A listener made of functions.

    :param received: called with every new block.
    :param sign: whether to counter-sign, or a function that says so for a proposal.
    """

    def __init__(self, received: Callable[[TrustChainBlock], object],
                 sign: bool | Callable[[TrustChainBlock], bool | Awaitable[bool]]) -> None:
        self.received = received
        self.sign = sign

    def should_sign(self, block: TrustChainBlock) -> bool | Awaitable[bool]:
        """What the function says."""
        return self.sign(block) if callable(self.sign) else self.sign

    def received_block(self, block: TrustChainBlock) -> None:
        """Call the function."""
        self.received(block)
