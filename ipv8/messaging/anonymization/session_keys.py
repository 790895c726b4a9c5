"""The keys that a node shares with one hop of a circuit, and what they protect (doc/protocol/tunnels.md section 5)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKWARD", "FORWARD", "LAYER_OVERHEAD", "CryptoException", "Layer", "SessionKeys", "SucceedingLayer"]

T = TypeVar("T")

FORWARD = 0
"""Away from the node that built the circuit."""

BACKWARD = 1
"""Toward the node that built the circuit."""

_COUNTER = Struct(">Q")
COUNTER_SIZE = 8
TAG_SIZE = 16

LAYER_OVERHEAD = COUNTER_SIZE + TAG_SIZE
"""Bytes that each layer of encryption adds to a message."""

LAST_COUNTER = (1 << 63) - 1
"""A layer seals nothing after this. The counters with a higher first bit belong to the other side, see
:func:`ipv8.messaging.anonymization.handshake.seal_candidates`."""

REPLAY_WINDOW = 1024
"""How many counters below the highest one are told apart. What is older is refused as a replay."""

from_bytes = int.from_bytes

_WINDOW_MASK = (1 << REPLAY_WINDOW) - 1

RESTART_LIMIT = 64
"""While no counter was higher than this, a counter may be used again, because some senders start again."""

MAX_RESTARTS = 10
"""Different messages that are accepted for one counter up to ``RESTART_LIMIT``."""


NOT_AUTHENTIC = "not_authentic"
REPLAYED = "replayed"
# Reasons of ``DropCounter``, which lives above the wire.


class CryptoException(ValueError):  # noqa: N818 - public name of the ecosystem
    """Something cannot be decrypted, was received before, or was not made by whom it should have been made by.

    :param reason: the reason by which a packet is counted that is dropped because of this (see ``DropCounter``).
    """

    def __init__(self, message: str = "", reason: str = NOT_AUTHENTIC) -> None:
        super().__init__(message)
        self.reason = reason


class Layer:
    """One layer of encryption in one direction: ChaCha20-Poly1305 with a counter that is sent along.

    :param key: 32 bytes.
    :param salt: 4 bytes. They are the first bytes of each nonce.
    :param counter: the counter that was used last.
    """

    __slots__ = ("_decrypt", "_encrypt", "_highest", "_key", "_missed", "_tags", "counter", "salt")

    def __init__(self, key: bytes, salt: bytes, counter: int = 1) -> None:
        self.key = key
        self.salt = salt
        self.counter = counter
        self._highest = -1
        # Bit n: whether the counter n below the highest one was not received. It is 0 as long as nothing is lost, and
        # then costs nothing.
        self._missed = _WINDOW_MASK
        self._tags: dict[int, set[bytes]] | None = None

    @property
    def key(self) -> bytes:
        """The key."""
        return self._key

    @key.setter
    def key(self, key: bytes) -> None:
        self._key = key
        cipher = ChaCha20Poly1305(key)
        self._encrypt = cipher.encrypt
        self._decrypt = cipher.decrypt

    # Sending

    def seal(self, content: bytes) -> bytes:
        """The next counter, and ``content`` encrypted.

        :raises CryptoException: if all counters were used.
        """
        counter = self.counter + 1
        if counter > LAST_COUNTER:
            raise CryptoException("all counters of these keys were used; build a new circuit")
        self.counter = counter
        explicit = _COUNTER.pack(counter)
        return explicit + self._encrypt(self.salt + explicit, content, None)

    def seal_at(self, counter: int, content: bytes) -> bytes:
        """The same for a chosen counter, which must never have been used. The next counter stays what it was."""
        explicit = _COUNTER.pack(counter)
        return explicit + self._encrypt(self.salt + explicit, content, None)

    # Receiving

    def open(self, sealed: bytes) -> bytes:
        """The content of what was sealed, once.

        :raises CryptoException: if it was changed, was opened before, is too old to tell, or is what this side has
            sealed with the key of the other one, see ``LAST_COUNTER``.
        """
        if len(sealed) < LAYER_OVERHEAD:
            raise CryptoException("too short")
        explicit = sealed[:COUNTER_SIZE]
        counter = from_bytes(explicit, "big")
        behind = self._highest - counter
        if behind != -1 and (counter > LAST_COUNTER or (behind >= 0 and self._is_repeated(counter, behind, sealed))):
            raise CryptoException("received before, too old, or sealed by this side itself", REPLAYED)
        try:
            content = self._decrypt(self.salt + explicit, sealed[COUNTER_SIZE:], None)
        except InvalidTag:
            raise CryptoException("encrypted with other keys, or changed") from None
        if behind != -1 or self._missed:
            self._note_received(behind)
        if behind < 0:
            self._highest = counter
        if self._highest <= RESTART_LIMIT:
            self._remember(counter, sealed)
        return content

    def open_again(self, sealed: bytes) -> bytes:
        """The same without a check whether it was opened before, and without an effect on later checks.

        :raises CryptoException: if it was changed.
        """
        if len(sealed) < LAYER_OVERHEAD:
            raise CryptoException("too short")
        try:
            return self._decrypt(self.salt + sealed[:COUNTER_SIZE], sealed[COUNTER_SIZE:], None)
        except InvalidTag:
            raise CryptoException("encrypted with other keys, or changed") from None

    def _note_received(self, behind: int) -> None:
        """Note which counters were received, for the counter ``behind`` places below the highest one before."""
        if behind >= 0:
            self._missed &= ~(1 << behind)
        elif behind > -REPLAY_WINDOW:
            self._missed = (self._missed << -behind | (1 << -behind) - 2) & _WINDOW_MASK
        else:
            self._missed = _WINDOW_MASK - 1

    def _is_repeated(self, counter: int, behind: int, sealed: bytes) -> bool:
        if behind >= REPLAY_WINDOW:
            return True
        if self._missed >> behind & 1:
            return False
        if self._highest > RESTART_LIMIT or self._tags is None:
            return True
        tags = self._tags[counter]
        return len(tags) >= MAX_RESTARTS or sealed[-TAG_SIZE:] in tags

    def _remember(self, counter: int, sealed: bytes) -> None:
        if self._tags is None:
            self._tags = {}
        self._tags.setdefault(counter, set()).add(sealed[-TAG_SIZE:])


class SucceedingLayer(Layer):
    """A layer that also opens what was sealed for the one before it, until that one is forgotten.

    :param layer: the new layer.
    :param before: the one before it.
    :param first: called when something opens with the new layer for the first time.
    """

    __slots__ = ("_before", "_first")

    def __init__(self, layer: Layer, before: Layer, first: Callable[[], None] | None = None) -> None:
        super().__init__(layer.key, layer.salt, layer.counter)
        self._before: Layer | None = before
        self._first = first

    def open(self, sealed: bytes) -> bytes:
        """See :meth:`Layer.open`."""
        try:
            content = super().open(sealed)
        except CryptoException as e:
            if self._before is None:
                raise
            try:
                return self._before.open(sealed)
            except CryptoException as other:
                raise (e if e.reason == REPLAYED else other) from None
        if self._first is not None:
            first, self._first = self._first, None
            first()
        return content

    @property
    def is_used(self) -> bool:
        """Whether something was opened with the new layer."""
        return self._first is None

    def forget(self) -> None:
        """Open only what was sealed for the new layer."""
        self._before = None


class _Part(Generic[T]):
    """An attribute of session keys that is one of a layer of theirs.

    :param layer: the name of the attribute that is the layer.
    :param name: the attribute of the layer.
    """

    __slots__ = ("_layer", "_name")

    def __init__(self, layer: str, name: str) -> None:
        self._layer = layer
        self._name = name

    def __get__(self, keys: SessionKeys | None, owner: type) -> T:
        part: Any = self if keys is None else getattr(getattr(keys, self._layer), self._name)
        value: T = part
        return value

    def __set__(self, keys: SessionKeys, value: T) -> None:
        setattr(getattr(keys, self._layer), self._name, value)


class SessionKeys:
    """The two layers that a node shares with one hop, one for each direction.

    Programs read and write the attributes that are named after the fields of the key derivation.
    """

    __slots__ = ("__weakref__", "backward", "forward")

    def __init__(self, key_forward: bytes, key_backward: bytes, salt_forward: bytes, salt_backward: bytes) -> None:
        #: The layer of what is sent away from the node that built the circuit.
        self.forward = Layer(key_forward, salt_forward)
        #: The layer of what is sent toward that node.
        self.backward = Layer(key_backward, salt_backward)

    def change(self, newer: SessionKeys, is_builder: bool) -> None:
        """Use other keys from now on, and also accept what is sealed with these until :meth:`forget`.

        The node that built the circuit has made sure that the hop has the new keys, and sends with them at once. The
        hop sends with them as soon as something opens with them.
        """
        if is_builder:
            self.forward = newer.forward
            self.backward = SucceedingLayer(newer.backward, self.backward)
        else:
            def send_too() -> None:
                self.backward = newer.backward

            self.forward = SucceedingLayer(newer.forward, self.forward, send_too)

    def forget(self) -> None:
        """Accept nothing any more that is sealed with the keys before the last :meth:`change`.

        Nothing happens at a hop to which nothing was sent with the new keys.
        """
        for layer in (self.forward, self.backward):
            if isinstance(layer, SucceedingLayer) and layer.is_used:
                layer.forget()

    def encrypt_str(self, content: bytes, direction: int) -> bytes:
        """Seal ``content`` for ``FORWARD`` or, by any other number, ``BACKWARD``."""
        return (self.backward if direction else self.forward).seal(content)

    def decrypt_str(self, content: bytes, direction: int) -> bytes:
        """Open what was sealed for a direction, any number of times.

        :raises CryptoException: if it was changed.
        """
        return (self.backward if direction else self.forward).open_again(content)

    #: The key away from the builder, 32 bytes.
    key_forward = _Part[bytes]("forward", "key")
    #: The key toward the builder, 32 bytes.
    key_backward = _Part[bytes]("backward", "key")
    #: The first 4 bytes of the nonces away from the builder.
    salt_forward = _Part[bytes]("forward", "salt")
    #: The first 4 bytes of the nonces toward the builder.
    salt_backward = _Part[bytes]("backward", "salt")
    #: The last counter away from the builder.
    salt_explicit_forward = _Part[int]("forward", "counter")
    #: The last counter toward the builder.
    salt_explicit_backward = _Part[int]("backward", "counter")
