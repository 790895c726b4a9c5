"""The messages of the identity overlay (doc/protocol/identity.md section 5). They have no global time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ...messaging.lazy_payload import VariablePayloadWID, vp_compile

if TYPE_CHECKING:
    from ...messaging.serializable import FormatListType

__all__ = ["AttestPayload", "DisclosePayload", "MissingResponsePayload", "RequestMissingPayload"]


@vp_compile
class DisclosePayload(VariablePayloadWID):
    """What the sender tells of its attributes, so that the receiver attests them."""

    msg_id = 1
    format_list: ClassVar[list[FormatListType]] = ["varlenH", "varlenH", "varlenH", "varlenH"]
    names: ClassVar[list[str]] = ["metadata", "tokens", "attestations", "authorities"]

    metadata: bytes
    tokens: bytes
    attestations: bytes
    authorities: bytes


@vp_compile
class AttestPayload(VariablePayloadWID):
    """An attestation of the sender over metadata of the receiver."""

    msg_id = 2
    format_list: ClassVar[list[FormatListType]] = ["varlenH"]
    names: ClassVar[list[str]] = ["attestation"]

    attestation: bytes


@vp_compile
class RequestMissingPayload(VariablePayloadWID):
    """Asks for tokens of the receiver, of which the sender has ``known`` connected ones."""

    msg_id = 3
    format_list: ClassVar[list[FormatListType]] = ["I"]
    names: ClassVar[list[str]] = ["known"]

    known: int


@vp_compile
class MissingResponsePayload(VariablePayloadWID):
    """Tokens of the sender."""

    msg_id = 4
    format_list: ClassVar[list[FormatListType]] = ["raw"]
    names: ClassVar[list[str]] = ["tokens"]

    tokens: bytes
