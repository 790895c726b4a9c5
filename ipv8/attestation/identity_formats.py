"""What an identity format is made of: the classes that algorithms implement, and how their weaknesses are told."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from hashlib import sha1
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from typing_extensions import Self

__all__ = ["Attestation", "IdentityAlgorithm"]

HISTORIC = ("This format is a historic one, for compatibility: its keys can be broken, so that it hides nothing from a "
            "determined verifier, and a verifier can pass its proofs on as its own.")
"""How the weakness of a historic format begins."""


class WeakFormatWarning(UserWarning):
    """A format is used that protects less than it seems to; it is sent once (doc/attestation.md)."""


_warned = False


def warn_of_weakness(id_format: str, weakness: str, stacklevel: int = 3) -> None:
    """Send a :class:`WeakFormatWarning`, the first time that this is called in a process."""
    global _warned  # noqa: PLW0603 - once in a process
    if not _warned:
        _warned = True
        warnings.warn(f"The identity format {id_format} is weak. {weakness} See doc/attestation.md; for new programs "
                      "there are the credentials of doc/credentials.md.", WeakFormatWarning, stacklevel)


class Attestation(metaclass=ABCMeta):
    """A statement of an authority about a subject, which proves it to verifiers.

    ``PK`` is the key of the subject, ``id_format`` the name of the format.
    """

    PK: Any
    id_format: str | None

    @abstractmethod
    def serialize(self) -> bytes:
        """The form for everybody."""

    @abstractmethod
    def serialize_private(self, PK: Any) -> bytes:  # noqa: N803 - a public name
        """The form for the subject, which has the private key for ``PK``."""

    @classmethod
    def unserialize(cls, s: bytes, id_format: str) -> Self:
        """Make an attestation of :meth:`serialize`."""
        raise NotImplementedError

    @classmethod
    def unserialize_private(cls, SK: Any, s: bytes, id_format: str) -> Self:  # noqa: N803 - as above
        """Make an attestation of :meth:`serialize_private`."""
        raise NotImplementedError

    def get_hash(self) -> bytes:
        """The SHA-1 of the form for everybody, by which the attestation is known."""
        return sha1(self.serialize()).digest()  # noqa: S324 - the hash that the protocol has


AT = TypeVar("AT", bound=Attestation)


class IdentityAlgorithm(Generic[AT], metaclass=ABCMeta):
    """How attestations of a format are made and proved.

    :param id_format: the name of the format.
    :param formats: the parameters of all formats, by name.
    :raises RuntimeError: if there is no format of that name.
    """

    #: The bytes of the largest attestation, in either form, that is accepted from the network.
    largest_blob: int = 1 << 18

    #: What the algorithm does not protect from, in words; empty if nothing of that kind is known.
    weakness: ClassVar[str] = ""

    def __init__(self, id_format: str, formats: Mapping[str, Mapping[str, Any]]) -> None:
        self.id_format = id_format
        self.honesty_check = False
        if id_format not in formats:
            raise RuntimeError("Tried to initialize with illegal identity format")

    @abstractmethod
    def generate_secret_key(self) -> Any:
        """A new private key for one attestation."""

    @abstractmethod
    def load_secret_key(self, serialized: bytes) -> Any:
        """The private key in bytes."""

    @abstractmethod
    def load_public_key(self, serialized: bytes) -> Any:
        """The public key in bytes."""

    @abstractmethod
    def get_attestation_class(self) -> type[AT]:
        """The class of its attestations."""

    @abstractmethod
    def attest(self, PK: Any, value: bytes) -> bytes:  # noqa: N803 - a public name
        """An attestation of a value for the owner of a key, in the form for the subject."""

    @abstractmethod
    def certainty(self, value: bytes, aggregate: dict[Any, Any]) -> float:
        """How certain it is, from 0 to 1, that what was proved is ``value``."""

    @abstractmethod
    def create_challenges(self, PK: Any, attestation: AT) -> list[bytes]:  # noqa: N803 - as above
        """What a verifier asks."""

    @abstractmethod
    def create_challenge_response(self, SK: Any, attestation: AT, challenge: bytes) -> bytes:  # noqa: N803
        """What the subject answers."""

    @abstractmethod
    def create_certainty_aggregate(self, attestation: AT | None) -> dict[Any, Any]:
        """What a verifier collects responses in; ``None`` stands for a prover who was caught lying."""

    @abstractmethod
    def create_honesty_challenge(self, PK: Any, value: int) -> bytes:  # noqa: N803 - as above
        """A challenge whose response is known to the verifier, if the algorithm has ``honesty_check``."""

    @abstractmethod
    def process_honesty_challenge(self, value: int, response: bytes) -> bool:
        """Whether the response to such a challenge is the known one."""

    @abstractmethod
    def process_challenge_response(self, aggregate: dict[Any, Any], challenge: bytes,
                                   response: bytes) -> dict[Any, Any]:
        """Add a response to those collected, and return them."""

    @abstractmethod
    def import_blob(self, blob: bytes) -> tuple[bytes, Any]:
        """An attestation that was made elsewhere, in the form for the subject, and its private key."""

    # What follows has defaults, for algorithms of programs that know nothing of it.

    def check_public_key(self, PK: Any) -> None:  # noqa: N803 - an algorithm may have nothing to check
        """Raise ``ValueError`` for a key from the network that is not to be used."""

    def check_attestation(self, attestation: AT) -> None:
        """Raise ``ValueError`` for an attestation from the network that is not to be verified."""
        self.check_public_key(attestation.PK)

    def is_for(self, attestation: Any, SK: Any) -> bool:  # noqa: ARG002, N803 - as above
        """Whether an attestation is for the owner of a private key."""
        return True

    def prepare_steps(self, PK: Any) -> Generator[float, None, None]:  # noqa: ARG002, N803 - as above
        """Prepare to make many questions with a key, in steps."""
        return
        yield

    def attest_steps(self, PK: Any, value: bytes) -> Generator[float, None, bytes]:  # noqa: N803 - as above
        """:meth:`attest` in steps, as in :mod:`ipv8.attestation.wallet.primitives.steps`."""
        return self.attest(PK, value)
        yield

    def challenge_steps(self, PK: Any, attestation: Any) -> Generator[float, None, list[bytes]]:  # noqa: N803
        """:meth:`create_challenges` in steps."""
        return self.create_challenges(PK, attestation)
        yield

    def open_steps(self, SK: Any, blob: bytes) -> Generator[float, None, Any]:  # noqa: N803 - as above
        """The attestation in a blob in the form for the subject, in steps."""
        return self.get_attestation_class().unserialize_private(SK, blob, self.id_format)
        yield

    def estimate(self, operation: str) -> float:  # noqa: ARG002 - for subclasses
        """About how many microseconds an operation takes.

        :param operation: ``"generate"`` a key; ``"attest"``; ``"open"`` an attestation; make all ``"challenges"``; make
            one ``"question"``, which may be a challenge or one whose answer is known; make one ``"response"``.
        """
        return 0.0

    def count_challenges(self, attestation: Any) -> int:  # noqa: ARG002 - for subclasses
        """How many challenges there are for an attestation."""
        return 1

    def create_check_challenge(self, PK: Any, attestation: Any, index: int,  # noqa: ARG002, N803 - for subclasses
                               answer: bytes) -> tuple[bytes, bytes] | None:  # noqa: ARG002 - as above
        """A challenge that looks like the others, and its response, given that to the challenge number ``index``."""
        return None
