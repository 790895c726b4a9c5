"""How a session gets its next epoch (doc/protocol/sessions.md section 6.2): the initiator offers."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ...keyvault.ml_kem import CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, make_key
from .keys import Epoch, RekeyOffer, RekeyReply
from .noise import TAG_SIZE, KeyPair
from .wire import INDEX_SIZE, Frame, MalformedError, join_frames

if TYPE_CHECKING:
    from .channel import Channel
    from .keys import Secrets

__all__ = ["Rekeying"]

OFFER_INTERVAL: Final = 1.0
OFFER_REPEATS: Final = 5
"""How often an offer is repeated, and after how many seconds."""

REPLY_INTERVAL: Final = 1.0
"""Seconds between two offers for one epoch that are answered with new keys."""

NUMBER: Final = Struct(">I")
PART_HEADER: Final = Struct(">IBH")
"""Epoch, kind and offset of a part."""

MESSAGE_SIZE: Final = 32 + INDEX_SIZE + 32 + TAG_SIZE
KEY, CIPHERTEXT = 0, 1
SIZES: Final = (PUBLIC_KEY_SIZE, CIPHERTEXT_SIZE)


class _Parts:
    """A key or a ciphertext that comes in two halves."""

    def __init__(self, kind: int) -> None:
        self._size = SIZES[kind]
        self._halves: dict[int, bytes] = {}

    def add(self, offset: int, data: bytes) -> bytes | None:
        """Add a half and return the whole, if it is complete.

        :raises MalformedError: if it is no half.
        """
        half = self._size // 2
        if offset not in {0, half} or len(data) != half:
            raise MalformedError("a part of a rekey is of another size, or at another place")
        self._halves[offset] = data
        return self._halves[0] + self._halves[half] if len(self._halves) == 2 else None


def _parts(number: int, kind: int, whole: bytes) -> list[bytes]:
    """The frames with the two halves of ``whole``; none if it is empty."""
    half = len(whole) // 2
    return [bytes((Frame.REKEY_PART,)) + PART_HEADER.pack(number, kind, offset) + whole[offset : offset + half]
            for offset in (0, half) if whole]


def _plaintexts(kind: int, number: int, message: bytes, part_kind: int, whole: bytes) -> list[bytes]:
    """The plaintexts that carry an offer or a reply: one, or two with a half each."""
    first = bytes((kind,)) + NUMBER.pack(number) + message
    halves = _parts(number, part_kind, whole)
    return [join_frames([first, halves[0]]), halves[1]] if halves else [first]


class Rekeying:
    """The rekey of a session that is under way, on either side."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._offer: RekeyOffer | None = None
        self._reply: bytes = b""
        self._parts: _Parts | None = None
        self._repeats = 0
        #: When the offer is to be repeated; ``None`` if there is none.
        self.due: float | None = None
        self._answer: RekeyReply | None = None
        self._answered_at = -REPLY_INTERVAL
        self._answers: list[bytes] = []

    # Initiator

    def offer(self, hybrid: bool, now: float) -> None:
        """Begin, unless it is under way."""
        channel = self._channel
        if self._offer is None:
            machine = channel.machine
            kem = make_key(machine.kem_seed()) if hybrid else None
            self._offer = RekeyOffer(channel.newest, machine.new_index(), KeyPair(machine.secret(32)), kem)
            self._repeats = 0
            self._send_offer(now)

    def _send_offer(self, now: float) -> None:
        offer = self._offer
        assert offer is not None
        for plaintext in _plaintexts(Frame.REKEY_OFFER, offer.number, offer.message, KEY, offer.ek):
            self._channel.transmit(plaintext)
        self.due = now + OFFER_INTERVAL

    def tick(self, now: float) -> None:
        """Repeat the offer if it is time; give up after the last one."""
        if self.due is not None and now >= self.due:
            if self._repeats < OFFER_REPEATS:
                self._repeats += 1
                self._send_offer(now)
            else:
                self._end()

    def _end(self) -> None:
        self._offer = self._parts = self.due = None
        self._reply = b""

    def on_reply(self, content: bytes, now: float) -> None:
        """Take a REKEY_REPLY."""
        number, message = _split(content)
        offer = self._offer
        if offer is None or number != offer.number:
            return
        if message != self._reply:
            self._reply = message
            self._parts = _Parts(CIPHERTEXT) if offer.is_hybrid else None
        if not offer.is_hybrid:
            self._accept(offer, b"", now)

    def _accept(self, offer: RekeyOffer, ciphertext: bytes, now: float) -> None:
        remote_index, secrets = offer.accept(self._reply, ciphertext)
        self._end()
        self._begin(offer.number, secrets, offer.index, remote_index, offer.is_hybrid, now)
        self._channel.use_newest(now)

    # Responder

    def on_offer(self, content: bytes, now: float) -> None:
        """Take a REKEY_OFFER."""
        number, message = _split(content)
        channel = self._channel
        if self._answer is not None and number == self._answer.number and message == self._answer.offer:
            self._send_answers()
            return
        if number != channel.epoch.number + 1 or now < self._answered_at + REPLY_INTERVAL:
            return
        answer = RekeyReply(channel.epoch, message)
        if not answer.is_hybrid and channel.machine.settings.hybrid == "require":
            return
        self._answer, self._answered_at, self._answers = answer, now, []
        self._parts = _Parts(KEY) if answer.is_hybrid else None
        if not answer.is_hybrid:
            self._finish(answer, b"", now)

    def _finish(self, answer: RekeyReply, ek: bytes, now: float) -> None:
        machine = self._channel.machine
        index = machine.new_index()
        message, ciphertext, secrets = answer.finish(index, KeyPair(machine.secret(32)), ek)
        self._answers = _plaintexts(Frame.REKEY_REPLY, answer.number, message, CIPHERTEXT, ciphertext)
        self._begin(answer.number, secrets, index, answer.remote_index, answer.is_hybrid, now)
        self._send_answers()

    def _send_answers(self) -> None:
        for plaintext in self._answers:
            self._channel.transmit(plaintext)

    # Both

    def on_part(self, content: bytes, now: float) -> None:
        """Take a REKEY_PART."""
        if len(content) < PART_HEADER.size:
            raise MalformedError("a part of a rekey without header")
        number, kind, offset = PART_HEADER.unpack_from(content)
        parts, offer, answer = self._parts, self._offer, self._answer
        if parts is None:
            return
        data = content[PART_HEADER.size :]
        if kind == CIPHERTEXT and offer is not None and number == offer.number:
            whole = parts.add(offset, data)
            if whole is not None:
                self._parts = _Parts(CIPHERTEXT)
                self._accept(offer, whole, now)
        elif kind == KEY and answer is not None and number == answer.number and not self._answers:
            whole = parts.add(offset, data)
            if whole is not None and answer.fits(whole):
                self._parts = None
                self._finish(answer, whole, now)

    def _begin(self, number: int, secrets: Secrets, own_index: bytes, remote_index: bytes, hybrid: bool,
               now: float) -> None:
        channel = self._channel
        epoch = Epoch(number, secrets, channel.initiator, channel.cipher, own_index, remote_index, now)
        channel.add_epoch(epoch, hybrid)


def _split(content: bytes) -> tuple[int, bytes]:
    if len(content) != NUMBER.size + MESSAGE_SIZE:
        raise MalformedError("an offer or a reply of another size")
    return NUMBER.unpack_from(content)[0], content[NUMBER.size :]
