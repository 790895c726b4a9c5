"""Encryption to a public key: only the owner of the key can read it (doc/protocol/keys.md section 9).

The sender makes a key pair for one message, agrees on a secret with the key of the receiver, and encrypts with
ChaCha20-Poly1305. Who has sent it is not told: the packet around it is signed for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .crypto import default_eccrypto

if TYPE_CHECKING:
    from .keys import PrivateKey, PublicKey

__all__ = ["SEAL_OVERHEAD", "NotSealedForUsError", "open_sealed", "seal"]

LABEL = b"ipv8-seal-v1"
CRYPT_KEY_SIZE = 32
TAG_SIZE = 16
NONCE = bytes(12)
"""A key is used once, so its nonce need not change."""

SEAL_OVERHEAD = CRYPT_KEY_SIZE + TAG_SIZE
"""Bytes by which a sealed message is longer than the message."""


class NotSealedForUsError(ValueError):
    """A message was sealed for another key or in another context, or it was changed."""


def seal(receiver: PublicKey, plaintext: bytes, context: bytes = b"") -> bytes:
    """Encrypt ``plaintext`` so that only the owner of ``receiver`` can read it.

    :param context: what the message is about; it is needed to open it.
    :raises ValueError: if keys of this kind cannot agree on a secret.
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    ephemeral = default_eccrypto.generate_key("curve25519")
    sender_pk, receiver_pk = ephemeral.get_crypt_pk(), receiver.get_crypt_pk()
    key = _derive(ephemeral.diffie_hellman(receiver_pk), sender_pk, receiver_pk)
    return sender_pk + ChaCha20Poly1305(key).encrypt(NONCE, plaintext, context)


def open_sealed(receiver: PrivateKey, sealed: bytes, context: bytes = b"") -> bytes:
    """Decrypt what :func:`seal` returned.

    :raises NotSealedForUsError: if this is not possible.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if len(sealed) < SEAL_OVERHEAD:
        raise NotSealedForUsError("the sealed message is too short")
    sender_pk = sealed[:CRYPT_KEY_SIZE]
    try:
        key = _derive(receiver.diffie_hellman(sender_pk), sender_pk, receiver.get_crypt_pk())
        return ChaCha20Poly1305(key).decrypt(NONCE, sealed[CRYPT_KEY_SIZE:], context)
    except (InvalidTag, ValueError):
        raise NotSealedForUsError("the message is not sealed for this key and context, or it was changed") from None


def _derive(secret: bytes, sender_pk: bytes, receiver_pk: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=None, info=LABEL + sender_pk + receiver_pk).derive(secret)
