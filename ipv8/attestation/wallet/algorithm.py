"""What the algorithms have in common: their keys, and the checks of their formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..identity_formats import AT, IdentityAlgorithm
from .primitives.boneh import generate_keypair
from .primitives.group import group_of
from .primitives.structs import BonehPrivateKey, BonehPublicKey
from .validation import check_key_size, check_public_key, estimate_generation, load_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .primitives.steps import Steps

__all__ = ["BonehAlgorithm"]


class BonehAlgorithm(IdentityAlgorithm[AT]):
    """An algorithm whose keys are those of :mod:`.primitives.boneh`.

    :raises RuntimeError: if a parameter of the format is wrong.
    :raises KeyError: if one is missing.
    """

    #: The name of the algorithm in formats.
    algorithm_name: ClassVar[str]

    def __init__(self, id_format: str, formats: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(id_format, formats)
        if formats[id_format]["algorithm"] != self.algorithm_name:
            raise RuntimeError("Identity format linked to wrong algorithm")
        self.key_size: int = check_key_size(formats[id_format]["key_size"])

    def generate_secret_key(self) -> BonehPrivateKey:
        """A new key."""
        return generate_keypair(self.key_size)[1]

    def load_secret_key(self, serialized: bytes) -> BonehPrivateKey:
        """The private key in bytes; ``ValueError`` if there is none."""
        return load_key(BonehPrivateKey, serialized)

    def load_public_key(self, serialized: bytes) -> BonehPublicKey:
        """The public key in bytes; ``ValueError`` if there is none."""
        return load_key(BonehPublicKey, serialized)

    def check_public_key(self, PK: BonehPublicKey) -> None:  # noqa: N803 - as the base class names it
        """Raise ``ValueError`` for a key from the network that is not to be used."""
        check_public_key(PK, self.key_size)

    def is_for(self, attestation: AT, SK: BonehPrivateKey) -> bool:  # noqa: N803 - as above
        """Whether an attestation is for the owner of a private key."""
        return bool(attestation.PK.serialize() == SK.public_key().serialize())

    def prepare_steps(self, PK: BonehPublicKey) -> Steps[None]:  # noqa: N803 - as above
        """Prepare to make many questions with a key, in steps."""
        return group_of(PK).prepare_steps()

    def estimate(self, operation: str) -> float:
        """About how many microseconds an operation takes."""
        return estimate_generation(self.key_size) if operation == "generate" else 0.0

    def import_blob(self, blob: bytes) -> tuple[bytes, Any]:
        """Not possible: ``NotImplementedError``."""
        raise NotImplementedError("attestations of this algorithm are made by an authority, not imported")
