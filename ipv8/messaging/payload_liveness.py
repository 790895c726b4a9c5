"""The messages by which peers show that they are there, and say that they leave (doc/protocol/liveness.md)."""

from __future__ import annotations

from typing import ClassVar

from .serializable import FlatPayload, FormatListType

__all__ = ["GoodbyePayload", "LivenessPingPayload", "LivenessPongPayload"]


class LivenessPingPayload(FlatPayload):
    """Asks for a sign of life.

    :param nonce: 64 random bits, which the answer repeats.
    """

    msg_id = 1
    format_list: ClassVar[list[FormatListType]] = ["Q"]

    def __init__(self, nonce: int) -> None:
        self.nonce = nonce

    def _wire_values(self) -> tuple[int]:
        return (self.nonce,)


class LivenessPongPayload(LivenessPingPayload):
    """The answer to the ping with this nonce."""

    msg_id = 2


class GoodbyePayload(FlatPayload):
    """The sender stops, and asks the receiver to forget it.

    :param receiver: SHA-1 of the public key of whom this is for, 20 bytes.
    :param time: milliseconds since the Unix epoch, by the sender's clock.
    """

    msg_id = 3
    format_list: ClassVar[list[FormatListType]] = ["20s", "Q"]

    def __init__(self, receiver: bytes, time: int) -> None:
        self.receiver = receiver
        self.time = time

    def _wire_values(self) -> tuple[bytes, int]:
        return self.receiver, self.time
