"""Sending payloads and decorating the methods that receive them."""

from __future__ import annotations

import functools
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

from .keyvault.crypto import default_eccrypto
from .messaging.address import Address
from .messaging.interfaces.endpoint import PacketTooLargeError
from .messaging.interfaces.network_stats import DropCounter
from .messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from .messaging.readers import WHOLE, Refusal, SurplusError
from .messaging.serialization import PackError, Payload
from .overlay import Overlay, SettingsClass
from .peer import Peer
from .verification import (
    HEADER_SIZE,
    KEY_OFFSET,
    NOBODY,
    BadSignatureError,
    PacketDecodingError,
    RateLimitedError,
    UndecodableError,
    recognise,
    try_verify,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .keyvault.keys import PrivateKey, PublicKey
    from .messaging.serialization import Serializable, Serializer
    from .overlay_sessions import OverlaySessions
    from .requestcache import CacheWithName
    from .sessions import Session
    from .verification import Admit

__all__ = [
    "CTF",
    "UT",
    "Address",
    "BinMemberAuthenticationPayload",
    "Declared",
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

LARGE_PACKET = 60_000
"""Bytes; only for larger packets, the endpoint is asked whether it can send them."""

WRONG_VALUES = (ArithmeticError, AssertionError, LookupError, PackError, ValueError, struct.error)
"""What a payload class raises when it is given values that it does not accept; anything else is a bug of the class."""


def decode_payloads(overlay: Overlay[Any], classes: tuple[type[Payload], ...], data: bytes, start: int) -> list[Any]:
    """All payloads of a packet, from offset ``start`` to its end; ``PackError`` if they are not that."""
    payloads = try_decode(overlay, classes, data, start)
    if isinstance(payloads, Exception):
        raise payloads
    return payloads


class Decoder(Protocol):
    """What has to be known of the receiver of payloads, such as an overlay."""

    @property
    def serializer(self) -> Serializer:
        """What reads payloads."""


def try_decode(overlay: Decoder, classes: tuple[type[Payload], ...], data: bytes,
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
                admit: Admit | None = None, solicited: bool = False) -> list[Any] | Refusal:
    """The sender of a signed packet and its payloads, or what is wrong with it.

    :param admit: as in :func:`ipv8.verification.try_verify`.
    :param solicited: likewise.
    """
    signer = try_verify(overlay, source_address, data, admit, solicited)
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


class Declared:
    """Something in a class of overlays that declares messages, see :mod:`ipv8.declaration`."""

    def receivers(self, overlay: Any) -> Sequence[tuple[int, Callable[[Address, bytes], HandlerResult]]]:
        """The ids of the messages that an overlay receives, and the methods that handle their packets."""
        raise NotImplementedError

    def attach(self, overlay: Any) -> None:
        """Let an overlay receive what is declared."""
        for msg_id, handler in self.receivers(overlay):
            overlay.add_message_handler(msg_id, handler)


Deliver = Callable[[Any, Peer, Address, bytes, int], Any]
"""``deliver(overlay, peer, source_address, data, offset)``: handles a message whose sender is known already."""


class Reception(NamedTuple):
    """How a message handler receives packets. It is the attribute ``reception`` of the handler.

    :param handler: the message handler. Functions that wrap it have the attribute as well, but are not this one.
    :param attempt: does the same as the handler, but returns refusals instead of raising them.
    :param signed: whether the handler starts with the verification of a signature.
    :param deliver: handles the payloads from an offset on, if the sender is known by the session in which they came.
        ``None`` if the handler needs the signed packet.
    """

    handler: MessageHandler
    attempt: Attempt
    signed: bool
    deliver: Deliver | None = None


def reception_of(handler: Any) -> Reception | None:
    """The reception of a bound method that :func:`raising` made; ``None`` for any other handler."""
    if not isinstance(handler, MethodType):
        return None
    reception = getattr(handler.__func__, "reception", None)
    return reception if isinstance(reception, Reception) and reception.handler is handler.__func__ else None


def raising(attempt: Attempt, handler: Callable[..., Any] | None = None, signed: bool = False,
            deliver: Deliver | None = None) -> MessageHandler:
    """A message handler that does what ``attempt`` does, but raises refusals. It has the name and text of ``handler``.

    A message table calls ``attempt`` itself: to raise and catch an error takes longer than anything else that is done
    for a refused packet.

    :param signed: as in :class:`Reception`.
    :param deliver: likewise.
    """
    @functools.wraps(handler or attempt)
    def receive(self: Overlay[Any], source_address: Address, data: bytes) -> HandlerResult:
        result = attempt(self, source_address, data)
        if isinstance(result, Refusal):
            raise result
        return cast("HandlerResult", result)
    receive.reception = Reception(receive, attempt, signed, deliver)  # type: ignore[attr-defined]  # functions take attributes
    return receive


def _signed(payloads: tuple[type[Payload], ...], handler: Callable[..., HandlerResult],
            call: Callable[[Any, list[Any], Address, bytes], HandlerResult],
            with_packet: bool = False) -> MessageHandler:
    """A message handler for signed messages, which calls ``call(overlay, [peer, *payloads], source_address, data)``.

    :param with_packet: whether the handler gets the packet with its signature.
    """
    def attempt(self: Overlay[Any], source_address: Address, data: bytes) -> Any:
        signer = try_verify(self, source_address, data)
        if not isinstance(signer, tuple):
            return signer
        received = _open(self, payloads, source_address, data, signer)
        return call(self, received, source_address, data) if isinstance(received, list) else received

    alone = len(payloads) == 1
    classes = payloads[0] if alone else payloads

    def deliver(self: Overlay[Any], peer: Peer, source_address: Address, data: bytes, offset: int) -> Any:
        # As try_decode, in this function because each further call takes a noticeable part of the time.
        read, build = self.serializer.decoders[classes]
        values, end = read(data, offset, WHOLE)
        if end != len(data):
            return values if end < 0 else SurplusError(payloads, data, end)
        try:
            decoded = build(*values)
        except WRONG_VALUES as e:
            return _blame(e)
        return call(self, [peer, decoded] if alone else [peer, *decoded], source_address, data)

    return raising(attempt, handler, signed=True, deliver=None if with_packet else deliver)


class NotConfidentialError(Refusal):
    """A message that is only accepted in an encrypted session came in clear."""

    reason = DropCounter.NOT_CONFIDENTIAL


def only_in_sessions(handler: MessageHandler) -> MessageHandler:
    """The same message handler, but it refuses what came in no session."""
    reception = getattr(handler, "reception", None)
    attempt: Attempt = reception.attempt if isinstance(reception, Reception) else handler

    def guarded(self: Any, source_address: Address, data: bytes) -> Any:
        if getattr(self, "delivery", None) is None:
            return NotConfidentialError("this message is only accepted in a session")
        return attempt(self, source_address, data)

    if isinstance(reception, Reception):
        return raising(guarded, handler, reception.signed, reception.deliver)
    return raising(guarded, handler)


def _check_classes(payloads: tuple[Any, ...]) -> None:
    """``TypeError`` if a decorator was given anything but payload classes, such as the method that it decorates."""
    for given in payloads:
        if not isinstance(given, type):
            raise TypeError("the decorator of a message handler takes payload classes, as in @lazy_wrapper(MyPayload), "
                            f"not {given!r:.80}")


def lazy_wrapper(*payloads: type[Payload]) -> Callable[[LazyWrappable], MessageHandler]:
    """Receive signed messages: ``handler(self, peer, *payloads)``."""
    _check_classes(payloads)
    return lambda handler: _signed(payloads, handler, lambda self, received, _address, _data: handler(self, *received))


def lazy_wrapper_wd(*payloads: type[Payload]) -> Callable[[LazyWDWrappable], MessageHandler]:
    """Receive signed messages with the packet they came in: ``handler(self, peer, *payloads, data)``."""
    _check_classes(payloads)
    return lambda handler: _signed(payloads, handler,
                                   lambda self, received, _address, data: handler(self, *received, data),
                                   with_packet=True)


def receive_from(*payloads: type[Payload]) -> Callable[[Callable[..., HandlerResult]], MessageHandler]:
    """Receive signed messages with the address they came from: ``handler(self, source_address, peer, *payloads)``."""
    _check_classes(payloads)
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
    _check_classes(payloads)
    return lambda handler: _unsigned(payloads, handler, with_packet=False)


def lazy_wrapper_unsigned_wd(*payloads: type[Payload]) -> Callable[[LazyUnsignedWDWrappable], MessageHandler]:
    """Receive unsigned messages with their packet: ``handler(self, source_address, *payloads, data=data)``."""
    _check_classes(payloads)
    return lambda handler: _unsigned(payloads, handler, with_packet=True)


def cache_retrieval_failed(overlay: Overlay[Any], cache_class: type[CacheWithName]) -> None:
    """Log a response to a request that was not made, is answered already or has timed out."""
    overlay.logger.debug("No %s is waiting for a received response, or it has timed out.", cache_class.name)


class CacheRetrieval(NamedTuple):
    """What :func:`retrieve_cache` was told. It is the attribute ``retrieval`` of the function that it makes.

    :param receive: this function. Functions that wrap it have the attribute as well, but are not this one.
    :param cache_class: the class of the cache.
    :param handler: the method that gets the cache.
    """

    receive: Callable[..., Any]
    cache_class: type[CacheWithName]
    handler: Callable[..., Any]


def retrieval_of(handler: Any) -> CacheRetrieval | None:
    """The retrieval of a function that :func:`retrieve_cache` made; ``None`` for any other function.

    :raises TypeError: if another decorator is above :func:`retrieve_cache`.
    """
    retrieval = getattr(handler, "retrieval", None)
    if not isinstance(retrieval, CacheRetrieval):
        return None
    if retrieval.receive is not handler:
        raise TypeError(f"{retrieval.handler.__name__}: put @retrieve_cache directly below @message, and other "
                        "decorators below it")
    return retrieval


def take_cache(overlay: Any, cache_class: type[CacheWithName], payload: Any) -> Any:
    """Pop the cache of the request that ``payload`` answers; without one, log that and return ``None``."""
    try:
        return overlay.request_cache.pop(cache_class.name, payload.identifier)
    except KeyError:
        cache_retrieval_failed(overlay, cache_class)
        return None


def retrieve_cache(cache_class: type[CacheWithName]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the cache of the request that a payload answers to the handler, as ``cache=``.

    It is used below ``lazy_wrapper*`` or ``@message``. The ``identifier`` of the last payload is the number of the
    cache. Without such a cache the handler is not called. The cache is popped, so a second answer finds none.

    :raises TypeError: if it is used above ``@message``.
    """
    def decorator(handler: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(handler):
            raise TypeError("put @retrieve_cache below @message, not above it")

        @functools.wraps(handler)
        def receive(self: Any, *args: Any, **kwargs: Any) -> Any:
            payload = args[-2] if isinstance(args[-1], bytes) else args[-1]
            cache = take_cache(self, cache_class, payload)
            return None if cache is None else handler(self, *args, cache=cache, **kwargs)
        receive.retrieval = CacheRetrieval(receive, cache_class, handler)  # type: ignore[attr-defined] # as above
        return receive
    return decorator


class EZPackOverlay(Overlay[SettingsClass], ABC):
    """An overlay that packs, signs and sends payloads."""

    settings_class: ClassVar[type[Any]] = Overlay.settings_class

    #: What this overlay does with encrypted sessions; ``None`` without them.
    _overlay_sessions: OverlaySessions | None = None

    #: The session in which the message came that is being handled; ``None`` if it came in clear.
    delivery: Session | None = None

    @property
    def _has_sessions(self) -> bool:
        """Whether this overlay uses encrypted sessions."""
        return self._overlay_sessions is not None

    @abstractmethod
    def get_prefix(self) -> bytes:
        """The 22 bytes that every packet of this overlay starts with."""

    def ez_send(self, peer: Peer, *payloads: Payload, sig: bool = True) -> None:
        """Send ``payloads`` in one packet, with the ``msg_id`` of the last one, to the preferred address of ``peer``.

        :param sig: whether the packet names its author and is signed.
        :raises PacketTooLargeError: if no endpoint of this kind can send a packet of that size.
        """
        sessions = self._overlay_sessions
        if sessions is None or not sessions.send(peer, payloads[-1].msg_id, payloads, sig):
            self._ez_senda(peer.address, *payloads, sig=sig)

    def _ez_senda(self, address: Address, *payloads: Payload, sig: bool = True) -> None:
        """Send ``payloads`` in one packet, with the ``msg_id`` of the last one, to ``address``."""
        self._ez_send_numbered(address, payloads[-1].msg_id, payloads, sig)

    def _ez_send_numbered(self, to: Peer | Address, msg_num: int, payloads: Sequence[Payload],
                          sig: bool = True) -> None:
        """Send ``payloads`` as message ``msg_num``, in a session if there is one."""
        sessions = self._overlay_sessions
        if isinstance(to, Peer):
            if sessions is not None and sessions.send(to, msg_num, payloads, sig):
                return
            to = to.address
        if sessions is None or not sessions.send_to(to, msg_num, payloads, sig):
            self._ez_send_in_clear(to, msg_num, payloads, sig)

    def _ez_send_packed(self, to: Peer | Address, packet: bytes) -> None:
        """Send a packet of this overlay that was packed before, in a session if there is one."""
        sessions = self._overlay_sessions
        if isinstance(to, Peer):
            if sessions is not None and sessions.send_packet(to, packet):
                return
            to = to.address
        if sessions is None or not sessions.send_packet_to(to, packet):
            self.endpoint.send(to, packet)

    def _ez_send_in_clear(self, address: Address, msg_num: int, payloads: Sequence[Payload], sig: bool = True) -> None:
        """Send ``payloads`` as message ``msg_num`` to ``address``, and in no session."""
        packet = self.ezr_pack(msg_num, *payloads, sig=sig)
        if len(packet) > LARGE_PACKET and len(packet) > (limit := self.endpoint.max_packet_size):
            raise PacketTooLargeError(len(packet), limit)
        self.endpoint.send(address, packet)

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
        guard = self.signature_guard
        if not guard.admits(NOBODY):
            raise RateLimitedError(NOBODY)
        key = guard.load(self.crypto.key_from_network, auth.public_key_bin, NOBODY)
        if isinstance(key, PacketDecodingError):
            raise key
        end = len(data) - key.get_signature_length()
        valid = end > 0 and guard.verify(key, data[end:], data[:end], NOBODY)
        if valid is None:
            raise RateLimitedError(NOBODY)
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
