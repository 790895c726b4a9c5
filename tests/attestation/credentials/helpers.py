"""An authority, a holder and a verifier, and what they make."""

from __future__ import annotations

from typing import Any

from ipv8.attestation.credentials.credential import HeldCredential, issue
from ipv8.attestation.credentials.ranges import Range
from ipv8.keyvault.crypto import default_eccrypto

NOW = 1_800_000_000


class Cast:
    """An authority, a holder and a verifier."""

    def __init__(self) -> None:
        self.authority, self.holder, self.verifier, self.stranger = (
            default_eccrypto.generate_key("curve25519") for _ in range(4))

    def issue(self, **options: Any) -> HeldCredential:
        arguments: dict[str, Any] = {
            "claims": {"name": "Ann", "citizen": True, "address": {"city": "Delft"}},
            "ranges": {"age": (Range(0, 150), 34)}, "now": NOW, **options}
        return issue(self.authority, self.holder.pub(), "urn:example:person", **arguments)
