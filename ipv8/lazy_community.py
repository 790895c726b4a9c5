"""Sending payloads and decorating the methods that receive them."""

from __future__ import annotations

import functools
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

from .keyvault.crypto import default_eccrypto
from .messaging.address import Address
from .messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from .messaging.readers import WHOLE, Refusal, SurplusError
from .messaging.serialization import PackError, Payload
from .overlay import Overlay, SettingsClass
from .peer import Peer
from .verification import (
    HEADER_SIZE,
    KEY_OFFSET,
    BadSignatureError,
    PacketDecodingError,
    RateLimitedError,
    UndecodableError,
    UnusableKeyError,
    recognise,
    try_verify,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .keyvault.keys import PrivateKey, PublicKey
    from .messaging.serialization import Serializable
    from .requestcache import CacheWithName
    from .verification import Admit

__all__ = [
    "CTF",
    "UT",
    "Address",
    "BinMemberAuthenticationPayload",
    "EZPackOverlay",
    "EZPackOverlayInst",
    "GlobalTimeDistributionPayload",
    "LazyUnsignedWDWrappable",
    "LazyUnsignedWrappable",
    "LazyWDWrappable",
    "LazyWrappable",
    "MessageHandler",
    "Overlay",
    "PacketDecodingError",
    "PayloadParams",
    "Peer",
    "cache_retrieval_failed",
    "decode_payloads",
    "default_eccrypto",
    "lazy_wrapper",
    "lazy_wrapper_unsigned",
    "lazy_wrapper_unsigned_wd",
    "lazy_wrapper_wd",
    "retrieve_cache",
]

UT = TypeVar("UT", bound=Payload)
CTF = TypeVar("CTF", bound=Callable[..., Any])
EZPackOverlayInst = TypeVar("EZPackOverlayInst", bound="EZPackOverlay[Any]")

HandlerResult = Awaitable[None] | None
PayloadParams = Any
"""The payload instances of a handler, in the order in which its decorator names their classes."""

MessageHandler = Callable[[Any, Address, bytes], HandlerResult]
LazyWrappable = Callable[..., HandlerResult]
LazyWDWrappable = Callable[..., HandlerResult]
LazyUnsignedWrappable = Callable[..., HandlerResult]
LazyUnsignedWDWrappable = Callable[..., HandlerResult]


WRONG_VALUES = (ArithmeticError, AssertionError, LookupError, PackError, ValueError, struct.error)
"""What a payload class raises when it is given values that it does not accept; anything else is a bug of the class."""


def decode_payloads(overlay: Overlay[Any], classes: tuple[type[Payload], ...], data: bytes, start: int) -> list[Any]:
    """All payloads of a packet, from offset ``start`` to its end; ``PackError`` if they are not that."""
    payloads = try_decode(overlay, classes, data, start)
    if isinstance(payloads, Exception):
        raise payloads
    return payloads


def try_decode(overlay: Overlay[Any], classes: tuple[type[Payload], ...], data: bytes,
               start: int) -> list[Any] | Refusal:
    """As ``decode_payloads``, but the error is returned. No payload is made before all of them are read."""
    read, build = overlay.serializer.decoders[classes]
    values, end = read(data, start, WHOLE)
    if end != len(data):
        return cast("Refusal", values) if end < 0 else SurplusError(classes, data, end)
    try:
        payloads: list[Any] = build(*values)
    except WRONG_VALUES as e:
        return _blame(e)
    return payloads


def try_receive(overlay: Overlay[Any], classes: tuple[type[Payload], ...], source_address: Address, data: bytes,
                admit: Admit | None = None) -> list[Any] | Refusal:
    """The sender of a signed packet and its payloads, or what is wrong with it.

    :param admit: as in :func:`ipv8.verification.try_verify`.
    """
    signer = try_verify(overlay, source_address, data, admit)
    return _open(overlay, classes, source_address, data, signer) if isinstance(signer, tuple) else signer


def _open(overlay: Overlay[Any], classes: tuple[type[Payload], ...], source_address: Address, data: bytes,
          signer: tuple[PublicKey, int, int]) -> list[Any] | Refusal:
    """The sender and the payloads of a packet whose signature is valid, or what is wrong with it."""
    key, start, end = signer
    key_bin = data[KEY_OFFSET:start]
    if not _accepts(overlay, key_bin, data):
        return BadSignatureError("the overlay does not accept the signature")
    payloads = try_decode(overlay, classes, data[:end], start)
    if not isinstance(payloads, list):
        return payloads
    return [recognise(overlay, key, source_address, key_bin), *payloads]


def _accepts(overlay: Any, key_bin: bytes, data: bytes) -> bool:
    """Whether an overlay with a ``_verify_signature`` of its own accepts a packet whose signature is valid."""
    verify = getattr(type(overlay), "_verify_signature", EZPackOverlay._verify_signature)
    if verify is EZPackOverlay._verify_signature:
        return True
    valid: bool = verify(overlay, BinMemberAuthenticationPayload(key_bin), data)[0]
    return valid


def _blame(cause: Exception) -> UndecodableError:
    """The refusal of a packet whose values made a payload class raise ``cause``."""
    error = UndecodableError(str(cause))
    error.__cause__ = cause
    return error


Attempt = Callable[[Any, Address, bytes], Any]
"""A handler that returns a ``Refusal`` instead of raising it."""


class Reception(NamedTuple):
    """How a message handler receives packets. It is the attribute ``reception`` of the handler.

    :param handler: the message handler. Functions that wrap it have the attribute as well, but are not this one.
    :param attempt: does the same as the handler, but returns refusals instead of raising them.
    :param signed: whether the handler starts with the verification of a signature.
    """

    handler: MessageHandler
    attempt: Attempt
    signed: bool


def reception_of(handler: Any) -> Reception | None:
    """The reception of a bound method that :func:`raising` made; ``None`` for any other handler."""
    if not isinstance(handler, MethodType):
        return None
    reception = getattr(handler.__func__, "reception", None)
    return reception if isinstance(reception, Reception) and reception.handler is handler.__func__ else None


def raising(attempt: Attempt, handler: Callable[..., Any] | None = None, signed: bool = False) -> MessageHandler:
    """A message handler that does what ``attempt`` does, but raises refusals. It has the name and text of ``handler``.

    A message table calls ``attempt`` itself: to raise and catch an error takes longer than anything else that is done
    for a refused packet.

    :param signed: as in :class:`Reception`.
    """
    @functools.wraps(handler or attempt)
    def receive(self: Overlay[Any], source_address: Address, data: bytes) -> HandlerResult:
        result = attempt(self, source_address, data)
        if isinstance(result, Refusal):
            raise result
        return cast("HandlerResult", result)
    receive.reception = Reception(receive, attempt, signed)  # type: ignore[attr-defined]  # functions take attributes
    return receive


def _signed(payloads: tuple[type[Payload], ...], handler: Callable[..., HandlerResult],
            call: Callable[[Any, list[Any], Address, bytes], HandlerResult]) -> MessageHandler:
    """A message handler for signed messages, which calls ``call(overlay, [peer, *payloads], source_address, data)``."""
    def attempt(self: Overlay[Any], source_address: Address, data: bytes) -> Any:
        signer = try_verify(self, source_address, data)
        if not isinstance(signer, tuple):
            return signer
        received = _open(self, payloads, source_address, data, signer)
        return call(self, received, source_address, data) if isinstance(received, list) else received
    return raising(attempt, handler, signed=True)


def lazy_wrapper(*payloads: type[Payload]) -> Callable[[LazyWrappable], MessageHandler]:
    """Receive signed messages: ``handler(self, peer, *payloads)``."""
    return lambda handler: _signed(payloads, handler, lambda self, received, _address, _data: handler(self, *received))


def lazy_wrapper_wd(*payloads: type[Payload]) -> Callable[[LazyWDWrappable], MessageHandler]:
    """Receive signed messages with the packet they came in: ``handler(self, peer, *payloads, data)``."""
    return lambda handler: _signed(payloads, handler,
                                   lambda self, received, _address, data: handler(self, *received, data))


def receive_from(*payloads: type[Payload]) -> Callable[[Callable[..., HandlerResult]], MessageHandler]:
    """Receive signed messages with the address they came from: ``handler(self, source_address, peer, *payloads)``."""
    return lambda handler: _signed(payloads, handler,
                                   lambda self, received, address, _data: handler(self, address, *received))


def _unsigned(payloads: tuple[type[Payload], ...], handler: Callable[..., HandlerResult],
              with_packet: bool) -> MessageHandler:
    """A message handler for unsigned messages, which calls ``handler``.

    All is done in one function, as each further call would take a noticeable part of the time of such a message.
    """
    alone = len(payloads) == 1 and not with_packet
    classes = payloads[0] if alone else payloads

    def attempt(self: Overlay[Any], source_address: Address, data: bytes) -> Any:
        read, build = self.serializer.decoders[classes]
        values, end = read(data, HEADER_SIZE, WHOLE)
        if end != len(data):
            return values if end < 0 else SurplusError(payloads, data, end)
        try:
            decoded = build(*values)
        except WRONG_VALUES as e:
            return _blame(e)
        if alone:
            return handler(self, source_address, decoded)
        return handler(self, source_address, *decoded, data=data) if with_packet else handler(
            self, source_address, *decoded)
    return raising(attempt, handler)


def lazy_wrapper_unsigned(*payloads: type[Payload]) -> Callable[[LazyUnsignedWrappable], MessageHandler]:
    """Receive unsigned messages: ``handler(self, source_address, *payloads)``."""
    return lambda handler: _unsigned(payloads, handler, with_packet=False)


def lazy_wrapper_unsigned_wd(*payloads: type[Payload]) -> Callable[[LazyUnsignedWDWrappable], MessageHandler]:
    """Receive unsigned messages with their packet: ``handler(self, source_address, *payloads, data=data)``."""
    return lambda handler: _unsigned(payloads, handler, with_packet=True)


def cache_retrieval_failed(overlay: Overlay[Any], cache_class: type[CacheWithName]) -> None:
    """Log a response to a request that was not made, is answered already or has timed out."""
    overlay.logger.debug("No %s is waiting for a received response, or it has timed out.", cache_class.name)


def retrieve_cache(cache_class: type[CacheWithName]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the cache of the request that a payload answers to the handler, as ``cache=``; use below ``lazy_wrapper*``.

    The ``identifier`` of the last payload is the number of the cache. Without such a cache the handler is not called.
    The cache is popped, so a second answer finds none.
    """
    def decorator(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def receive(self: Any, *args: Any, **kwargs: Any) -> Any:
            payload = args[-2] if isinstance(args[-1], bytes) else args[-1]
            try:
                cache = self.request_cache.pop(cache_class.name, payload.identifier)
            except KeyError:
                cache_retrieval_failed(self, cache_class)
                return None
            return handler(self, *args, cache=cache, **kwargs)
        return receive
    return decorator


class EZPackOverlay(Overlay[SettingsClass], ABC):
    """An overlay that packs, signs and sends payloads."""

    settings_class: ClassVar[type[Any]] = Overlay.settings_class

    @abstractmethod
    def get_prefix(self) -> bytes:
        """The 22 bytes that every packet of this overlay starts with."""

    def ez_send(self, peer: Peer, *payloads: Payload, sig: bool = True) -> None:
        """Send ``payloads`` in one packet, with the ``msg_id`` of the last one, to the preferred address of ``peer``.

        :param sig: whether the packet names its author and is signed.
        """
        self._ez_senda(peer.address, *payloads, sig=sig)

    def _ez_senda(self, address: Address, *payloads: Payload, sig: bool = True) -> None:
        """Send ``payloads`` in one packet, with the ``msg_id`` of the last one, to ``address``."""
        self.endpoint.send(address, self.ezr_pack(payloads[-1].msg_id, *payloads, sig=sig))

    def ezr_pack(self, msg_num: int, *payloads: Payload, sig: bool = True) -> bytes:
        """The packet that carries ``payloads`` as message ``msg_num`` (0 to 255)."""
        if sig:
            author = BinMemberAuthenticationPayload(self.my_peer.public_key.key_to_bin())
            return self._ez_pack(self.get_prefix(), msg_num, (author, *payloads))
        return self._ez_pack(self.get_prefix(), msg_num, payloads, sig=False)

    def _ez_pack(self, prefix: bytes, msg_num: int, payloads: Sequence[Serializable], sig: bool = True) -> bytes:
        """``prefix``, message id and ``payloads``; with ``sig``, also the signature of ``my_peer`` over them."""
        packet = prefix + bytes((msg_num,)) + self.serializer.pack_serializable_list(payloads)
        if not sig:
            return packet
        key: PrivateKey = self.my_peer.key  # type: ignore[assignment]  # we hold the private key of our own peer
        return packet + key.signature(packet)

    def _verify_signature(self, auth: BinMemberAuthenticationPayload, data: bytes) -> tuple[bool, bytes]:
        """Whether the key of ``auth`` signed ``data``, and ``data`` cut so that the payloads start at offset 23."""
        try:
            key = self.crypto.key_from_network(auth.public_key_bin)
        except ValueError as e:
            raise UnusableKeyError(str(e)) from e
        if not self.signature_guard.affords_key(key):
            raise RateLimitedError(key.curve_name())
        end = len(data) - key.get_signature_length()
        valid = end > 0 and key.verify(data[end:], data[:end])
        return valid, data[2 + len(auth.public_key_bin):end]

    def _ez_unpack_auth(
        self, payload_class: type[UT], data: bytes,
    ) -> tuple[BinMemberAuthenticationPayload, GlobalTimeDistributionPayload, UT]:
        """Author, global time and payload of a signed packet.

        :raises PacketDecodingError: if the signature is wrong; any error if the packet is malformed.
        """
        auth, _ = self.serializer.unpack_serializable(BinMemberAuthenticationPayload, data, HEADER_SIZE)
        valid, rest = self._verify_signature(auth, data)
        if not valid:
            msg = f"Incoming packet {payload_class.__name__} has an invalid signature"
            raise BadSignatureError(msg)
        time, payload = decode_payloads(self, (GlobalTimeDistributionPayload, payload_class), rest, HEADER_SIZE)
        return auth, time, payload

    def _ez_unpack_noauth(self, payload_class: type[UT], data: bytes, global_time: bool = True) -> Any:
        """``[global time, payload]`` of an unsigned packet, or its payload alone if not ``global_time``."""
        if global_time:
            return decode_payloads(self, (GlobalTimeDistributionPayload, payload_class), data, HEADER_SIZE)
        return decode_payloads(self, (payload_class,), data, HEADER_SIZE)[0]
