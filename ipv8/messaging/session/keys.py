"""The keys of an epoch of a session, and how the next epoch begins (doc/protocol/sessions.md sections 4.3 and 6)."""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ...keyvault.ml_kem import PrivateKey, encapsulate
from .noise import KeyPair, Offer, Reply, Transcript, derive
from .wire import (
    CHAIN_LABEL,
    COUNTER,
    DATA_HEADER,
    INDEX_SIZE,
    SERVICE_PREFIX,
    Datagram,
    MalformedError,
    rekey_prologue,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channel import Channel

__all__ = ["AES", "CHACHA20", "Epoch", "RekeyOffer", "RekeyReply", "Secrets", "epoch_secrets", "nonce_of"]

AES: Final = "AES-256-GCM"
CHACHA20: Final = "ChaCha20-Poly1305"

NONCE_START: Final = bytes(4)
DIGEST_SIZE: Final = 32
NO_DIGEST: Final = bytes(DIGEST_SIZE)
"""What an offer or a reply says instead of the hash of a key or ciphertext, if it is not hybrid."""


class Secrets(NamedTuple):
    """What a handshake gives both sides."""

    initiator_key: bytes
    """Key of what the initiator sends."""

    responder_key: bytes
    chain: bytes
    """What the keys of the next epoch depend on."""

    hash: bytes
    """The hash of the handshake, which is the same for both sides of it and for nobody else."""

    def __repr__(self) -> str:
        return f"<Secrets of {self.hash.hex()}>"


def epoch_secrets(transcript: Transcript) -> Secrets:
    """What the final state of a handshake gives."""
    chain = derive(transcript.chaining_key, CHAIN_LABEL + transcript.hash, 2)[0]
    return Secrets(*transcript.split(), chain, transcript.hash)


class Epoch:
    """The keys with which the datagrams of a session are sealed and opened for some time.

    :param own_index: the index by which this side finds it.
    :param remote_index: the index by which the other side finds it.
    """

    __slots__ = ("_encrypt", "chain", "channel", "forged", "hash", "header", "hybrid", "number", "open", "own_index",
                 "remote_index", "sent", "since")

    def __init__(self, number: int, secrets: Secrets, initiator: bool, cipher: str, own_index: bytes,
                 remote_index: bytes, now: float) -> None:
        make = AESGCM if cipher == AES else ChaCha20Poly1305
        outgoing, incoming = secrets[:2] if initiator else secrets[1::-1]
        self.number = number
        self.hash, self.chain = secrets.hash, secrets.chain
        self.own_index, self.remote_index = own_index, remote_index
        self.header = SERVICE_PREFIX + bytes((Datagram.DATA,)) + remote_index
        self._encrypt = make(outgoing).encrypt
        #: ``open(nonce, ciphertext, None)`` raises ``InvalidTag`` for what was not sealed with this epoch's keys.
        self.open: Callable[[bytes, bytes, None], bytes] = make(incoming).decrypt
        #: When it began.
        self.since = now
        #: How many datagrams were sealed, and how many did not open.
        self.sent = self.forged = 0
        #: Whether its keys depend on ML-KEM.
        self.hybrid = False
        #: The session that it belongs to.
        self.channel: Channel

    def seal(self, counter: int, plaintext: bytes) -> bytes:
        """The DATA with these frames."""
        packed = COUNTER.pack(counter)
        self.sent += 1
        return self.header + packed + self._encrypt(NONCE_START + packed, plaintext, None)

    def seal_many(self, counter: int, head: bytes, contents: list[bytes]) -> list[bytes]:
        """The DATA with frames that begin with ``head``, one in each; their counters begin with ``counter``."""
        header, encrypt, pack = self.header, self._encrypt, COUNTER.pack
        self.sent += len(contents)
        return [header + (packed := pack(number)) + encrypt(NONCE_START + packed, head + content, None)
                for number, content in enumerate(contents, counter)]


COUNTER_OFFSET: Final = DATA_HEADER - COUNTER.size


def nonce_of(datagram: bytes) -> bytes:
    """The nonce of a DATA."""
    return NONCE_START + datagram[COUNTER_OFFSET:DATA_HEADER]


# The next epoch


def _psk(chain: bytes, shared: bytes) -> bytes:
    return derive(chain, shared, 2)[0]


class RekeyOffer:
    """The initiator's side of a rekey.

    :param former: the newest epoch of the session.
    :param index: the index of the new epoch on this side.
    :param kem: a key of :func:`~ipv8.keyvault.ml_kem.make_key` for a hybrid epoch; ``None`` for a classical one.
    """

    def __init__(self, former: Epoch, index: bytes, ephemeral: KeyPair,
                 kem: tuple[PrivateKey, bytes] | None) -> None:
        self.number = former.number + 1
        self.index = index
        self.is_hybrid = kem is not None
        self._chain = former.chain
        self._kem = None if kem is None else kem[0]
        #: The encapsulation key, empty for a classical epoch.
        self.ek = b"" if kem is None else kem[1]
        payload = index + (blake2s(self.ek).digest() if self.ek else NO_DIGEST)
        prologue = rekey_prologue(self.number, former.hash)
        #: The first message, 84 bytes.
        self.message, self._state = Offer.begin(prologue, ephemeral, payload)

    def accept(self, message: bytes, ciphertext: bytes) -> tuple[bytes, Secrets]:
        """What the answer gives: the index of the new epoch on the other side, and the secrets.

        :param ciphertext: that of ML-KEM, empty for a classical epoch.
        :raises ValueError: if the answer does not belong to this offer.
        """
        shared = b"" if self._kem is None else self._kem.decapsulate(ciphertext)
        payload, transcript = self._state.read(message, _psk(self._chain, shared))
        expected = blake2s(ciphertext).digest() if self.is_hybrid else NO_DIGEST
        if payload[INDEX_SIZE:] != expected:
            raise MalformedError("the reply names another ciphertext")
        return payload[:INDEX_SIZE], epoch_secrets(transcript)


class RekeyReply:
    """The responder's side of a rekey.

    :raises ValueError: if ``message`` is no offer for the epoch after ``former``.
    """

    def __init__(self, former: Epoch, message: bytes) -> None:
        self.number = former.number + 1
        self._chain = former.chain
        payload, self._state = Reply.begin(rekey_prologue(self.number, former.hash), message)
        if len(payload) != INDEX_SIZE + DIGEST_SIZE:
            raise MalformedError("the offer has no index and hash")
        #: The first message, by which a repeated offer is recognized.
        self.offer = message
        self.remote_index, self._digest = payload[:INDEX_SIZE], payload[INDEX_SIZE:]
        #: Whether an encapsulation key has to come first.
        self.is_hybrid = self._digest != NO_DIGEST

    def fits(self, ek: bytes) -> bool:
        """Whether ``ek`` is the encapsulation key that the offer named."""
        return blake2s(ek).digest() == self._digest

    def finish(self, index: bytes, ephemeral: KeyPair, ek: bytes) -> tuple[bytes, bytes, Secrets]:
        """The second message, the ciphertext (empty for a classical epoch), and the secrets.

        :raises ValueError: if a key in the offer is of low order or not valid.
        """
        shared, ciphertext = encapsulate(ek) if self.is_hybrid else (b"", b"")
        return self.finish_with(index, ephemeral, shared, ciphertext)

    def finish_with(self, index: bytes, ephemeral: KeyPair, shared: bytes,
                    ciphertext: bytes) -> tuple[bytes, bytes, Secrets]:
        """The same with a secret and a ciphertext that were made before."""
        digest = blake2s(ciphertext).digest() if ciphertext else NO_DIGEST
        message, transcript = self._state.finish(ephemeral, _psk(self._chain, shared), index + digest)
        return message, ciphertext, epoch_secrets(transcript)
