"""The messages of attestations (doc/protocol/attestation.md, section 8)."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

from typing import TYPE_CHECKING

from ...messaging.lazy_payload import VariablePayloadWID, vp_compile
from ...reexports import reexports

__all__ = ["AttestationChunkPayload", "ChallengePayload", "ChallengeResponsePayload", "RequestAttestationPayload",
           "VerifyAttestationRequestPayload"]


@vp_compile
class VerifyAttestationRequestPayload(VariablePayloadWID):
    """Asks a subject to prove the attestation with a hash."""

    msg_id = 1
    format_list = ["20s"]
    names = ["attestation_hash"]

    attestation_hash: bytes


@vp_compile
class AttestationChunkPayload(VariablePayloadWID):
    """A part of an attestation. The hash is that of all parts together."""

    msg_id = 2
    format_list = ["20s", "H", "raw"]
    names = ["attestation_hash", "sequence_number", "data"]

    attestation_hash: bytes
    sequence_number: int
    data: bytes


@vp_compile
class ChallengePayload(VariablePayloadWID):
    """A question about an attestation."""

    msg_id = 3
    format_list = ["20s", "raw"]
    names = ["attestation_hash", "challenge"]

    attestation_hash: bytes
    challenge: bytes


@vp_compile
class ChallengeResponsePayload(VariablePayloadWID):
    """The answer to a question. The hash is that of the question."""

    msg_id = 4
    format_list = ["20s", "raw"]
    names = ["challenge_hash", "response"]

    challenge_hash: bytes
    response: bytes


@vp_compile
class RequestAttestationPayload(VariablePayloadWID):
    """Asks an authority to attest an attribute; the metadata is JSON."""

    msg_id = 5
    format_list = ["raw"]
    names = ["metadata"]

    metadata: bytes


if TYPE_CHECKING:  # programs import these from here
    from ...messaging.serialization import Payload as Payload
else:
    __getattr__, __dir__ = reexports(__name__, {"...messaging.serialization": "Payload"})
