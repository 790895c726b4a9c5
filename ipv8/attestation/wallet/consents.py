"""Who may let which attestation be proved, and how many challenges of whom are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...limits import BoundedDict, ExpiringDict

if TYPE_CHECKING:
    from ...peer import Peer

__all__ = ["Consents"]

CONSENT_LIFETIME = 120.0
"""Seconds for which a verifier may ask."""

MAX_CONSENTS = 1024
"""Verifiers that may ask at a time; the oldest may not any more."""

ANSWERS_PER_CHALLENGE = 8
SPARE_ANSWERS_LIMIT = 64
"""Challenges of a verifier that are answered: so many for each one of the attestation, and so many more."""

MAX_OPENED = 64
"""Attestations that are kept open to answer challenges; the oldest is closed first."""


class Consents:
    """The verifiers that the program has allowed to ask."""

    def __init__(self) -> None:
        #: The opened attestations, by hash.
        self.opened: BoundedDict[bytes, Any] = BoundedDict(MAX_OPENED)
        self._answers_left: ExpiringDict[tuple[bytes, bytes], list[int]] = ExpiringDict(MAX_CONSENTS, CONSENT_LIFETIME)

    def give(self, peer: Peer, attestation_hash: bytes, challenges: int) -> None:
        """Let a verifier ask about an attestation that has so many challenges."""
        key = (peer.mid, attestation_hash)
        self._answers_left[key] = [ANSWERS_PER_CHALLENGE * challenges + SPARE_ANSWERS_LIMIT]

    def is_given(self, peer: Peer, attestation_hash: bytes) -> bool:
        """Whether a verifier may ask."""
        return (peer.mid, attestation_hash) in self._answers_left

    def use(self, peer: Peer, attestation_hash: bytes) -> bool:
        """Count an answer; ``False`` if the verifier may not ask, or has asked too often."""
        left = self._answers_left.get((peer.mid, attestation_hash))
        if left is None or left[0] <= 0:
            return False
        left[0] -= 1
        return True

    def forget(self, attestation_hash: bytes) -> None:
        """Let nobody ask about an attestation any more."""
        self.opened.pop(attestation_hash, None)
        for key in list(self._answers_left):
            if key[1] == attestation_hash:
                del self._answers_left[key]
