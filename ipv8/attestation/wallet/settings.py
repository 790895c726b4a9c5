"""The settings of the wallet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...community import CommunitySettings

if TYPE_CHECKING:
    from ...keyvault.passphrases import Passphrase

__all__ = ["AttestationSettings"]


class AttestationSettings(CommunitySettings):
    """What a wallet is made from."""

    #: Where its database is, in the directory ``sqlite``; ``:memory:`` for none.
    working_directory: str = ""
    #: The name of the database.
    db_name: str = "attestations"
    #: Encrypts attestations and private keys in the database; ``None`` if they are not to be encrypted.
    passphrase: str | bytes | Passphrase | None = None
    #: How many other processes make attestations and challenges that take long; 0 for none.
    proof_processes: int = 1
