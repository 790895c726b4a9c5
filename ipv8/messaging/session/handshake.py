"""The three messages by which two keys open a session (doc/protocol/sessions.md section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .keys import AES, CHACHA20, Secrets, epoch_secrets
from .noise import DH_SIZE, Answer, Introduction, KeyPair, Transcript, third
from .wire import (
    BODY,
    INDEX_SIZE,
    INIT_PADDING,
    MAX_RESPONSE,
    MIN_FINISH,
    MIN_RESPONSE,
    Flag,
    Identity,
    MalformedError,
    mac_key,
    prologue_for,
    signed_text,
    write_finish,
    write_init,
    write_response,
)

if TYPE_CHECKING:
    from ...keyvault.keys import PrivateKey, PublicKey

__all__ = ["Established", "HalfOpen", "Judge", "Opening", "OwnKey", "RefusedError"]

PADDING = bytes(INIT_PADDING)


class RefusedError(ValueError):
    """An identity that is not accepted, although it may be genuine."""


class Judge(Protocol):
    """Decides on the public keys of other sides."""

    def load(self, public_key: bytes) -> PublicKey:
        """The key with these bytes.

        :raises ValueError: if it is none, is not in its canonical form, is of low order, belongs to this node, or
            there is no budget left for keys of its kind.
        """


class OwnKey:
    """A key of this node, with what its handshakes need.

    :param static: the key of this process for handshakes.
    :param flags: what this node can do, see :class:`Flag`.
    """

    __slots__ = ("flags", "key", "mac_key", "public_bin", "receivers", "static")

    def __init__(self, key: PrivateKey, static: KeyPair, flags: int) -> None:
        self.key = key
        self.static = static
        self.flags = flags
        self.public_bin = key.pub().key_to_bin()
        self.mac_key = mac_key(self.public_bin)
        #: What the driver calls for a frame, by the first bytes of the frame.
        self.receivers: dict[bytes, Any] = {}

    def identify(self, initiator: bool, index: bytes, transcript: Transcript) -> bytes:
        """The identity of this key, signed for a handshake in this state."""
        signed = Identity(self.flags, index, self.public_bin, b"").signed
        return signed + self.key.signature(signed_text(initiator, transcript.hash, signed))


class Established(NamedTuple):
    """What a handshake has shown."""

    remote: PublicKey
    remote_flags: int
    remote_index: bytes
    secrets: Secrets

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__} with {self.remote}>"

    def cipher(self, own_flags: int) -> str:
        """The cipher that both sides choose."""
        return AES if own_flags & self.remote_flags & Flag.PREFERS_AES else CHACHA20


def _judged(payload: bytes, transcript: Transcript, initiator: bool, index: bytes, expected: bytes | None,
            judge: Judge) -> tuple[Identity, PublicKey, bytes]:
    """Check an identity, see section 4.2 for the order.

    :returns: the identity, its loaded key, and what follows the signature.
    """
    identity, rest = Identity.read(payload)
    if identity.own_index != index:
        raise MalformedError("the identity names another index")
    key = judge.load(identity.public_key)
    if expected and identity.public_key != expected:
        raise RefusedError("this is another key than expected")
    size = key.get_signature_length()
    signature, rest = rest[:size], rest[size:]
    if not key.verify(signature, signed_text(initiator, transcript.hash, identity.signed)):
        raise MalformedError("the identity is not signed by its key")
    return identity, key, rest


class Opening:
    """The initiator's side, until a RESPONSE comes.

    :param target: the public key of the other side, empty if it is not known.
    """

    __slots__ = ("_ephemeral", "_state", "index", "init", "own", "target")

    def __init__(self, own: OwnKey, target: bytes, index: bytes, ephemeral: KeyPair) -> None:
        self.own = own
        self.target = target
        self.index = index
        self._ephemeral = ephemeral
        self._state = Introduction.begin(prologue_for(target), ephemeral, PADDING)
        #: The datagram to send, without cookie.
        self.init = write_init(index, ephemeral.public, mac_key(target))

    def read(self, datagram: bytes, judge: Judge) -> tuple[Established, Transcript, bytes]:
        """Read a RESPONSE with the receiver index of this attempt.

        :returns: what it shows (its secrets are those *before* FINISH), the state before the third message, and the
            ephemeral key of the other side, for :meth:`finish`.
        :raises ValueError: if it is not accepted. Nothing has changed then.
        """
        if not MIN_RESPONSE <= len(datagram) <= MAX_RESPONSE:
            raise MalformedError("a RESPONSE of an impossible size")
        sealing, remote, sealed = self._state.read(datagram[BODY + 2 * INDEX_SIZE :])
        payload, transcript = sealing.open(sealed)
        index = datagram[BODY : BODY + INDEX_SIZE]
        identity, key, rest = _judged(payload, sealing, False, index, self.target, judge)
        if rest:
            raise MalformedError("a RESPONSE with bytes behind its signature")
        return Established(key, identity.flags, index, epoch_secrets(transcript)), transcript, remote

    def finish(self, opened: tuple[Established, Transcript, bytes], frames: bytes) -> tuple[bytes, Established]:
        """The FINISH with first frames, and the final secrets.

        :param opened: what :meth:`read` returned.
        """
        established, transcript, remote = opened
        static, transcript = third(transcript, self.own.static, remote)
        sealed, transcript = transcript.seal(self.own.identify(True, self.index, transcript) + frames)
        datagram = write_finish(established.remote_index, static + sealed)
        return datagram, established._replace(secrets=epoch_secrets(transcript))


class HalfOpen:
    """The responder's side, until a FINISH comes.

    :param init: an INIT of the right size whose checksum is for this key.
    :param target: the public key in the prologue: that of ``own``, or empty if the initiator does not know it.
    :raises ValueError: if the key in it is of low order.
    """

    __slots__ = ("_state", "index", "own", "remote_ephemeral", "remote_index", "response")

    def __init__(self, own: OwnKey, target: bytes, init: bytes, index: bytes, ephemeral: KeyPair) -> None:
        self.own = own
        self.index = index
        self.remote_index = init[BODY : BODY + INDEX_SIZE]
        self.remote_ephemeral = init[BODY + INDEX_SIZE : BODY + INDEX_SIZE + DH_SIZE]
        state = Answer.begin(prologue_for(target), self.remote_ephemeral, PADDING, ephemeral, own.static)
        message, self._state = state.finish(own.identify(False, index, state.transcript))
        #: The datagram to send.
        self.response = write_response(index, self.remote_index, message)

    def read(self, datagram: bytes, judge: Judge) -> tuple[Established, bytes]:
        """Read a FINISH with the receiver index of this attempt: what it shows, and the first frames.

        :raises ValueError: if it is not accepted. Nothing has changed then.
        """
        if len(datagram) < MIN_FINISH:
            raise MalformedError("a FINISH that is too short")
        sealing, sealed = self._state.read(datagram[BODY + INDEX_SIZE :])
        payload, transcript = sealing.open(sealed)
        identity, key, frames = _judged(payload, sealing, True, self.remote_index, None, judge)
        return Established(key, identity.flags, self.remote_index, epoch_secrets(transcript)), frames
