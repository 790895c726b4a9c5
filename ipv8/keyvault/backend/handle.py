"""The attribute ``ec`` of keys: one immutable object for each key, of one of two kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["PrivateHandle", "PublicHandle", "UnsupportedCurveError"]


class UnsupportedCurveError(ValueError):
    """This interpreter has no OpenSSL, or its OpenSSL does not have the curve."""


class PublicHandle(ABC):
    """A public key, ready for use."""

    __slots__ = ()

    @property
    @abstractmethod
    def public_bin(self) -> bytes:
        """The canonical encoding, as ``key_to_bin()`` of the public key returns it."""

    @property
    @abstractmethod
    def public_der(self) -> bytes:
        """``SubjectPublicKeyInfo``, the body of the PEM form."""

    @property
    @abstractmethod
    def signature_length(self) -> int:
        """Bytes in a signature."""

    @property
    @abstractmethod
    def curve_name(self) -> str:
        """``curve25519``, or the short name of the curve in OpenSSL."""

    @property
    @abstractmethod
    def crypt_pk(self) -> bytes | None:
        """The X25519 public key, 32 bytes; ``None`` if the key has none."""

    @property
    @abstractmethod
    def is_costly(self) -> bool:
        """Whether a verification takes several times as long as one of curve25519."""

    @abstractmethod
    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this is a signature of the message by this key; ``False`` for any malformed signature."""

    @abstractmethod
    def is_sound(self) -> bool:
        """Whether key generation can give this key."""


class PrivateHandle(PublicHandle):
    """A key pair, ready for use."""

    __slots__ = ()

    @property
    @abstractmethod
    def private_bin(self) -> bytes:
        """The canonical encoding of the private key, a secret."""

    @property
    @abstractmethod
    def private_der(self) -> bytes:
        """The body of the PEM form, a secret."""

    @property
    @abstractmethod
    def private_label(self) -> str:
        """The label of the PEM form."""

    @property
    @abstractmethod
    def public(self) -> PublicHandle:
        """The public key only."""

    @property
    def public_bin(self) -> bytes:
        """The canonical encoding of the public key."""
        return self.public.public_bin

    @property
    def public_der(self) -> bytes:
        """The body of the public key's PEM form."""
        return self.public.public_der

    @property
    def signature_length(self) -> int:
        """Bytes in a signature."""
        return self.public.signature_length

    @property
    def curve_name(self) -> str:
        """``curve25519``, or the short name of the curve in OpenSSL."""
        return self.public.curve_name

    @property
    def crypt_pk(self) -> bytes | None:
        """The X25519 public key, 32 bytes; ``None`` if the key has none."""
        return self.public.crypt_pk

    @property
    def is_costly(self) -> bool:
        """Whether a verification takes several times as long as one of curve25519."""
        return self.public.is_costly

    def verify(self, signature: bytes, message: bytes) -> bool:
        """As for the public key."""
        return self.public.verify(signature, message)

    def is_sound(self) -> bool:
        """As for the public key."""
        return self.public.is_sound()

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """A signature of ``signature_length`` bytes."""

    @abstractmethod
    def shared(self, peer: bytes) -> bytes:
        """The secret in common with an X25519 public key, 32 bytes each; ``ValueError`` if there is none."""
