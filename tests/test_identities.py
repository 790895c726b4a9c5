"""The keys of a configuration."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ipv8 import identities
from ipv8.configuration import EphemeralKey
from ipv8.identities import make_peer
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.files import store_private_key

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_key_of_a_program_that_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    own, of_other = (default_eccrypto.generate_key("curve25519") for _ in range(2))

    def store_late(file: Any, key: Any) -> None:
        store_private_key(path, of_other)  # what the other program does meanwhile
        store_private_key(file, key)

    monkeypatch.setattr(identities, "store_private_key", store_late)
    text = EphemeralKey(base64.b64encode(own.key_to_bin()).decode())
    assert make_peer({"alias": "me", "bin": text, "file": str(path)}).key == of_other
    assert path.read_bytes() == of_other.key_to_bin()
