"""The two handshakes of the Noise protocol framework (revision 34) that sessions use, ``XX`` and ``NNpsk2``.

Both use X25519, ChaCha20-Poly1305 and BLAKE2s. A state never changes: each step returns a new one, so a message that
turns out to be bad leaves everything as it was. References such as "section 5.2" are to the Noise specification.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["DH_SIZE", "TAG_SIZE", "Answer", "Introduction", "KeyPair", "NoiseError", "Reply", "Transcript", "derive"]

XX = b"Noise_XX_25519_ChaChaPoly_BLAKE2s"
NN_PSK2 = b"Noise_NNpsk2_25519_ChaChaPoly_BLAKE2s"

DH_SIZE = 32
"""Bytes of an X25519 public key."""

TAG_SIZE = 16
"""Bytes that sealing adds."""


class NoiseError(ValueError):
    """A message that does not belong to this handshake, or that somebody changed."""


class KeyPair:
    """An X25519 key of this side.

    :param secret: 32 random bytes.
    """

    __slots__ = ("_private", "public")

    def __init__(self, secret: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(secret)
        #: The public key, 32 bytes.
        self.public = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.public.hex()}>"

    def exchange(self, public: bytes) -> bytes:
        """The secret shared with the owner of ``public``, 32 bytes.

        :raises NoiseError: if ``public`` is of low order, so that the secret would be zero.
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as e:
            raise NoiseError("the shared secret is zero") from e


def derive(key: bytes, material: bytes, count: int) -> list[bytes]:
    """``HKDF`` of section 4.3: ``count`` values of 32 bytes."""
    base = hmac.digest(key, material, "blake2s")
    values = [hmac.digest(base, b"\x01", "blake2s")]
    for number in range(2, count + 1):
        values.append(hmac.digest(base, values[-1] + bytes((number,)), "blake2s"))
    return values


class Transcript(NamedTuple):
    """What both sides of a handshake know so far: the ``SymmetricState`` of section 5.2."""

    hash: bytes
    """The hash of all that was sent, ``h``."""

    chaining_key: bytes
    """What the next key is derived from, ``ck``."""

    key: bytes = b""
    """The key of the next payload, empty before the first exchange."""

    counter: int = 0
    """How many payloads were sealed with ``key``."""

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__}>"

    @classmethod
    def begin(cls, name: bytes, prologue: bytes) -> Transcript:
        """The state before the first message of the handshake called ``name``."""
        start = blake2s(name).digest() if len(name) > DH_SIZE else name.ljust(DH_SIZE, b"\0")
        return cls(start, start).mix_hash(prologue)

    def mix_hash(self, data: bytes) -> Transcript:
        """The state after ``data`` was sent."""
        return self._replace(hash=blake2s(self.hash + data).digest())

    def mix_key(self, secret: bytes) -> Transcript:
        """The state after both sides have agreed on ``secret``."""
        chaining_key, key = derive(self.chaining_key, secret, 2)
        return self._replace(chaining_key=chaining_key, key=key, counter=0)

    def mix_key_and_hash(self, secret: bytes) -> Transcript:
        """The state after a pre-shared ``secret`` was used."""
        chaining_key, value, key = derive(self.chaining_key, secret, 3)
        return Transcript(blake2s(self.hash + value).digest(), chaining_key, key, 0)

    @property
    def _nonce(self) -> bytes:
        return bytes(4) + self.counter.to_bytes(8, "little")

    def _after(self, sealed: bytes) -> Transcript:
        return self.mix_hash(sealed)._replace(counter=self.counter + 1)

    def seal(self, plaintext: bytes) -> tuple[bytes, Transcript]:
        """``EncryptAndHash``: the sealed bytes, and the state after they were sent."""
        sealed = ChaCha20Poly1305(self.key).encrypt(self._nonce, plaintext, self.hash) if self.key else plaintext
        return sealed, self._after(sealed)

    def open(self, sealed: bytes) -> tuple[bytes, Transcript]:
        """``DecryptAndHash``: the plain bytes, and the state after they came.

        :raises NoiseError: if the bytes were not sealed in the same state.
        """
        try:
            plain = ChaCha20Poly1305(self.key).decrypt(self._nonce, sealed, self.hash) if self.key else sealed
        except InvalidTag as e:
            raise NoiseError("the payload does not open") from e
        return plain, self._after(sealed)

    def split(self) -> tuple[bytes, bytes]:
        """The keys for what the initiator and the responder send after the handshake."""
        first, second = derive(self.chaining_key, b"", 2)
        return first, second


class Introduction(NamedTuple):
    """The initiator's side of ``XX``, between the first and the second message."""

    transcript: Transcript
    ephemeral: KeyPair

    @classmethod
    def begin(cls, prologue: bytes, ephemeral: KeyPair, padding: bytes) -> Introduction:
        """Send the first message: ``e``, and ``padding`` in clear."""
        return cls(_first(XX, prologue, ephemeral.public, padding), ephemeral)

    def read(self, message: bytes) -> tuple[Transcript, bytes, bytes]:
        """Read the second message up to its payload.

        :returns: the state in which the payload was sealed, the ephemeral key of the responder, the sealed payload.
        :raises NoiseError: if the message is not an answer to the first one.
        """
        remote, sealed = message[:DH_SIZE], message[DH_SIZE : 2 * DH_SIZE + TAG_SIZE]
        transcript = self.transcript.mix_hash(remote).mix_key(self.ephemeral.exchange(remote))
        static, transcript = transcript.open(sealed)
        return transcript.mix_key(self.ephemeral.exchange(static)), remote, message[2 * DH_SIZE + TAG_SIZE :]


class Answer(NamedTuple):
    """The responder's side of ``XX``, between the second and the third message."""

    transcript: Transcript
    ephemeral: KeyPair
    sealed_static: bytes

    @classmethod
    def begin(cls, prologue: bytes, remote: bytes, padding: bytes, ephemeral: KeyPair, static: KeyPair) -> Answer:
        """Read the first message and begin the second one: ``e``, ``ee``, ``s``, ``es``. Its payload is still to come.

        :param remote: the ephemeral key in the first message.
        :raises NoiseError: if the first message has a key of low order.
        """
        transcript = _first(XX, prologue, remote, padding).mix_hash(ephemeral.public)
        sealed, transcript = transcript.mix_key(ephemeral.exchange(remote)).seal(static.public)
        return cls(transcript.mix_key(static.exchange(remote)), ephemeral, sealed)

    def finish(self, payload: bytes) -> tuple[bytes, Answer]:
        """The second message with its payload, and the state after it was sent."""
        sealed, transcript = self.transcript.seal(payload)
        return self.ephemeral.public + self.sealed_static + sealed, self._replace(transcript=transcript)

    def read(self, message: bytes) -> tuple[Transcript, bytes]:
        """Read the third message up to its payload.

        :returns: the state in which the payload was sealed, and the sealed payload.
        :raises NoiseError: if the message is not an answer to the second one.
        """
        size = DH_SIZE + TAG_SIZE
        static, transcript = self.transcript.open(message[:size])
        return transcript.mix_key(self.ephemeral.exchange(static)), message[size:]


def third(transcript: Transcript, static: KeyPair, remote: bytes) -> tuple[bytes, Transcript]:
    """Begin the third message of ``XX``: ``s``, ``se``. Its payload is still to come.

    :param transcript: the state after the payload of the second message was opened.
    :param remote: the ephemeral key of the responder.
    :returns: the sealed static key, and the state in which the payload is to be sealed.
    """
    sealed, transcript = transcript.seal(static.public)
    return sealed, transcript.mix_key(static.exchange(remote))


def _first(name: bytes, prologue: bytes, ephemeral: bytes, payload: bytes) -> Transcript:
    return Transcript.begin(name, prologue).mix_hash(ephemeral).mix_hash(payload)


class Offer(NamedTuple):
    """The initiator's side of ``NNpsk2``, between its two messages."""

    transcript: Transcript
    ephemeral: KeyPair

    @classmethod
    def begin(cls, prologue: bytes, ephemeral: KeyPair, payload: bytes) -> tuple[bytes, Offer]:
        """The first message, and the state after it was sent."""
        transcript = Transcript.begin(NN_PSK2, prologue).mix_hash(ephemeral.public).mix_key(ephemeral.public)
        sealed, transcript = transcript.seal(payload)
        return ephemeral.public + sealed, cls(transcript, ephemeral)

    def read(self, message: bytes, psk: bytes) -> tuple[bytes, Transcript]:
        """The payload of the second message, and the final state.

        :raises NoiseError: if the message is not an answer to the first one, or made with another ``psk``.
        """
        remote = message[:DH_SIZE]
        transcript = self.transcript.mix_hash(remote).mix_key(remote)
        transcript = transcript.mix_key(self.ephemeral.exchange(remote)).mix_key_and_hash(psk)
        return transcript.open(message[DH_SIZE:])


class Reply(NamedTuple):
    """The responder's side of ``NNpsk2``, between its two messages."""

    transcript: Transcript
    remote: bytes

    @classmethod
    def begin(cls, prologue: bytes, message: bytes) -> tuple[bytes, Reply]:
        """The payload of the first message, and the state after it came.

        :raises NoiseError: if the message was not made for this prologue.
        """
        remote = message[:DH_SIZE]
        transcript = Transcript.begin(NN_PSK2, prologue).mix_hash(remote).mix_key(remote)
        payload, transcript = transcript.open(message[DH_SIZE:])
        return payload, cls(transcript, remote)

    def finish(self, ephemeral: KeyPair, psk: bytes, payload: bytes) -> tuple[bytes, Transcript]:
        """The second message, and the final state.

        :raises NoiseError: if the first message has a key of low order.
        """
        transcript = self.transcript.mix_hash(ephemeral.public).mix_key(ephemeral.public)
        transcript = transcript.mix_key(ephemeral.exchange(self.remote)).mix_key_and_hash(psk)
        sealed, transcript = transcript.seal(payload)
        return ephemeral.public + sealed, transcript
