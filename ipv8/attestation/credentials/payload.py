"""The messages with which credentials are asked for and given (doc/protocol/credentials.md section 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ...messaging.lazy_payload import VariablePayloadWID, vp_compile

if TYPE_CHECKING:
    from ...messaging.serializable import FormatListType

__all__ = ["AnswerPartPayload", "AskPayload", "WantedPartsPayload"]


@vp_compile
class AskPayload(VariablePayloadWID):
    """A question, sealed for the receiver: for a credential, a presentation or a status list."""

    msg_id = 16
    format_list: ClassVar[list[FormatListType]] = ["20s", "B", "raw"]
    names: ClassVar[list[str]] = ["identifier", "kind", "question"]

    identifier: bytes
    kind: int
    question: bytes


@vp_compile
class AnswerPartPayload(VariablePayloadWID):
    """The part with the number ``part``, counted from 0, of an answer of ``parts`` parts."""

    msg_id = 17
    format_list: ClassVar[list[FormatListType]] = ["20s", "B", "B", "raw"]
    names: ClassVar[list[str]] = ["identifier", "part", "parts", "data"]

    identifier: bytes
    part: int
    parts: int
    data: bytes


@vp_compile
class WantedPartsPayload(VariablePayloadWID):
    """The parts of an answer that have not arrived: bit *n*, counted from the lowest, stands for part *n*."""

    msg_id = 18
    format_list: ClassVar[list[FormatListType]] = ["20s", "Q"]
    names: ClassVar[list[str]] = ["identifier", "wanted"]

    identifier: bytes
    wanted: int
