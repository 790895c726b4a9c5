"""What stands in front of the payloads of a message (doc/protocol/packets.md sections 3 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..reexports import reexports
from .serializable import FlatPayload, FormatListType

__all__ = ["BinMemberAuthenticationPayload", "GlobalTimeDistributionPayload"]


class BinMemberAuthenticationPayload(FlatPayload):
    """The public key of the sender of a signed message.

    :param public_key_bin: the key in its binary form.
    """

    format_list: ClassVar[list[FormatListType]] = ["varlenH"]

    def __init__(self, public_key_bin: bytes) -> None:
        self.public_key_bin = public_key_bin

    def _wire_values(self) -> tuple[bytes]:
        return (self.public_key_bin,)


class GlobalTimeDistributionPayload(FlatPayload):
    """The Lamport clock of the sender.

    :param global_time: unsigned, 64 bits.
    """

    format_list: ClassVar[list[FormatListType]] = ["Q"]

    def __init__(self, global_time: int) -> None:
        self.global_time = global_time

    def _wire_values(self) -> tuple[int]:
        return (self.global_time,)


if TYPE_CHECKING:  # programs import these from here
    from .serialization import Payload as Payload
else:
    __getattr__, __dir__ = reexports(__name__, {".serialization": "Payload"})
