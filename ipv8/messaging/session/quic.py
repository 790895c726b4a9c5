"""QUIC version 1 (RFC 9000, 9001, 9002) without I/O: packets in, packets out, events, and a deadline.

The protocol is that of an installed library: ``qh3``, or ``aioquic`` if ``qh3`` is missing or is of a release that is
known to stall. This is the only module that imports one of them, when the first connection is made. QUIC runs inside a
channel that is authenticated already, so certificates are not verified (doc/protocol/tunnel_streams.md section 3).

All times are arguments, in seconds of a monotonic clock. The random numbers of the libraries are the operating
system's.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LIBRARIES", "MAX_DATAGRAM", "Certificate", "Connected", "Disconnected", "QuicConnection", "QuicEvent",
           "QuicSettings", "StreamData", "StreamReset", "StreamStop", "available_library", "is_first_packet"]

LIBRARIES: tuple[str, ...] = ("qh3", "aioquic")
"""The libraries that can be used, the preferred one first."""
MAX_DATAGRAM = 1200
"""Bytes of a packet at most, which is the size that RFC 9000 section 14 asks of every path."""

_PATH = ("0.0.0.1", 1)
"""The address that the library is told. QUIC sees one path, whatever carries its packets."""
_VERSION = b"\x00\x00\x00\x01"
_LONG_HEADER, _PACKET_TYPE, _INITIAL, _RETRY = 0x80, 0x30, 0x00, 0x30
_MAX_CONNECTION_ID = 20
_VERIFY_NOTHING = 0  # ssl.CERT_NONE


class QuicSettings(NamedTuple):
    """What both sides of a connection agree on, and the limits of one side.

    :param alpn: the name of the protocol inside; a connection to another one fails.
    :param idle_timeout: seconds without a packet after which the connection has ended.
    :param stream_window: bytes of one stream that the other side may send at first.
    :param connection_window: the same for all streams together.
    """

    alpn: str
    idle_timeout: float = 120.0
    stream_window: int = 262_144
    connection_window: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Connected:
    """The handshake has ended."""


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream, in order, maybe none; ``ended`` with the last ones."""

    stream_id: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The other side will not send the rest of a stream."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class StreamStop:
    """The other side does not want the rest of a stream."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended; no further event follows."""

    code: int
    reason: str


QuicEvent = Connected | StreamData | StreamReset | StreamStop | Disconnected


class Certificate(NamedTuple):
    """A certificate that signs itself, and its private key, as PEM."""

    certificate: bytes
    private_key: bytes

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__}>"

    @classmethod
    def make(cls) -> Certificate:
        """A certificate with a new key, the same as all others in everything else."""
        from datetime import datetime, timezone

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ipv8")])
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                       .serial_number(1)
                       .not_valid_before(datetime(2000, 1, 1, tzinfo=timezone.utc))
                       .not_valid_after(datetime(2100, 1, 1, tzinfo=timezone.utc))
                       .sign(key, hashes.SHA256()))
        return cls(certificate.public_bytes(serialization.Encoding.PEM),
                   key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))


def available_library() -> str | None:
    """The name of the library that connections use by default; ``None`` if none is installed."""
    installed = [name for name in LIBRARIES if find_spec(name) is not None]
    if installed == list(LIBRARIES) and _stalls():
        return installed[-1]
    return installed[0] if installed else None


def _stalls() -> bool:
    """Whether the installed ``qh3`` is of the second generation, whose releases until 2.1.0 cannot be relied on.

    - They do not acknowledge packets while the congestion window is full and frames of streams are waiting (RFC 9002
      section 7 wants acknowledgements to be sent). When both ends send on several streams and packets are lost, each
      of them waits for the other one. Acknowledgements stand behind the waiting frames, of which each probe sends one,
      and the time to the next probe is doubled each time. So it takes minutes.
    - When packets of a handshake are lost several times, a server may have to send a probe under keys that it does not
      have yet, which raises an error.
    - They do not enlarge the window of a stream, so it carries less than 256 KiB in a round trip.

    None of this depends on how they are called. With any other release at one end, the first of these does not happen.
    """
    try:
        return int(version("qh3").partition(".")[0]) >= 2
    except (PackageNotFoundError, ValueError):
        return True


class _Library:
    """One of the libraries. What is different between them is in this class."""

    def __init__(self, name: str) -> None:
        self.name = name
        connection = import_module(f"{name}.quic.connection")
        self.connection_class: Callable[..., Any] = connection.QuicConnection
        self.configuration_class: Callable[..., Any] = import_module(f"{name}.quic.configuration").QuicConfiguration
        self.errors = (connection.QuicConnectionError, RuntimeError, ValueError, AssertionError)
        events = import_module(f"{name}.quic.events")
        self.data_kind: type[Any] = events.StreamDataReceived
        self.kinds = {getattr(events, kind): make for kind, make in _EVENTS.items()}
        logger = logging.getLogger("quic")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.ERROR)  # what the other side does wrong is counted, and no warning

    def configure(self, settings: QuicSettings, certificate: Certificate | None) -> Any:
        """The configuration of a server, or of a client, which has no certificate."""
        configuration = self.configuration_class(
            alpn_protocols=[settings.alpn], is_client=certificate is None, idle_timeout=settings.idle_timeout,
            max_datagram_size=MAX_DATAGRAM, max_data=settings.connection_window,
            max_stream_data=settings.stream_window, verify_mode=_VERIFY_NOTHING, supported_versions=[1])
        if self.name == "qh3":
            configuration.probe_datagram_size = False
            configuration.max_datagram_frame_size = 0
        if certificate is None:
            # Lengthens the ClientHello. A server with qh3 counts the bytes of packets and not those of datagrams, and
            # cannot send its first flight to a client that has sent a short one (RFC 9000 section 8.1).
            configuration.quantum_readiness_test = True
        if certificate is not None:
            self._set_certificate(configuration, certificate)
        return configuration

    def _set_certificate(self, configuration: Any, certificate: Certificate) -> None:
        if self.name == "qh3":
            configuration.load_cert_chain(certificate.certificate, certificate.private_key)
            return
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificate

        configuration.certificate = load_pem_x509_certificate(certificate.certificate)
        configuration.private_key = load_pem_private_key(certificate.private_key, None)


class _Streams:
    """The streams of a connection, as far as ``qh3`` 1.9 does not take care of them.

    - A call for a stream that is over makes a new one with its number, and the next stream that is opened gets a number
      that is in use.
    - When a packet is lost that has bytes of a stream which was reset, it sends these bytes again, and after them all
      that it had not sent before. For this, the other side ends the connection (RFC 9000 sections 3.1 and 4.5).
    - When ``RESET_STREAM`` or ``STOP_SENDING`` does not fit into a packet, it never sends anything of the stream again.

    :param connection: that of the library; ``None`` for another library.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        #: The streams that were reset or stopped and are not over.
        self._stream_ids: set[int] = set()

    def is_over(self, stream_id: int) -> bool:
        """Whether nothing of a stream that was opened or has arrived is to be sent or received any more."""
        return self._connection is not None and stream_id not in self._connection._streams

    def note(self, stream_id: int, is_reset: bool = False) -> None:
        """Take care of a stream that was reset or stopped."""
        stream = None if self._connection is None else self._connection._streams.get(stream_id)
        if stream is not None:
            self._stream_ids.add(stream_id)
            stream.is_blocked = stream.is_blocked or is_reset

    def put_back(self) -> bool:
        """Let the library send what it has of streams that it has lost sight of; whether there were some."""
        found = False
        for stream_id in tuple(self._stream_ids):
            stream = self._connection._streams.get(stream_id)
            if stream is None:
                self._stream_ids.remove(stream_id)
            elif stream not in self._connection._streams_queue:
                self._connection._streams_queue.append(stream)
                found = True
        return found


_EVENTS: dict[str, Callable[[Any], QuicEvent]] = {
    "HandshakeCompleted": lambda _: Connected(),
    "StreamReset": lambda event: StreamReset(event.stream_id, event.error_code),
    "StopSendingReceived": lambda event: StreamStop(event.stream_id, event.error_code),
    "ConnectionTerminated": lambda event: Disconnected(event.error_code, event.reason_phrase),
}


@cache
def _load(name: str) -> _Library:
    return _Library(name)


def _library(name: str | None) -> _Library:
    chosen = name or available_library()
    if chosen is None:
        raise ImportError('streams need the package qh3 or aioquic, which pip install "ipv8[streams]" installs')
    return _load(chosen)


def _original_destination(packet: bytes) -> bytes | None:
    """The connection id to which the first packet of a client was sent; ``None`` if it is no such packet."""
    if (len(packet) < MAX_DATAGRAM or not packet[0] & _LONG_HEADER or packet[1:5] != _VERSION
            or packet[0] & _PACKET_TYPE != _INITIAL or packet[5] > _MAX_CONNECTION_ID):
        return None
    return packet[6:6 + packet[5]]


def is_first_packet(packet: bytes) -> bool:
    """Whether a server can be made with :meth:`QuicConnection.accept` for the client that sent ``packet``."""
    return _original_destination(packet) is not None


class QuicConnection:
    """One side of a connection, made by :meth:`connect` or :meth:`accept`.

    After each call that may have changed something, the owner takes :meth:`events` and :meth:`datagrams`, and asks for
    the :meth:`deadline` at which it calls :meth:`tick`. Nothing raises for what the other side does: a packet that the
    library cannot stand ends the connection.

    ``is_client`` says which side it is, and ``library`` is the name of the library.
    """

    def __init__(self, library: _Library, configuration: Any, **arguments: Any) -> None:
        self.library = library.name
        self.is_client: bool = configuration.is_client
        self._is_connected = False
        self._is_closed = False
        self._errors = library.errors
        self._kinds = library.kinds
        self._data_kind = library.data_kind
        self._connection = library.connection_class(configuration=configuration, **arguments)
        self._streams = _Streams(self._connection if library.name == "qh3" else None)
        self._events: list[QuicEvent] = []
        #: Whether the library may have events that were not taken.
        self._may_have_events = False
        #: The connection ids to which the first packets of the other side are sent.
        self._first_ids = {self._connection.host_cid}

    @classmethod
    def connect(cls, settings: QuicSettings, now: float, library: str | None = None) -> QuicConnection:
        """The client's side.

        :param library: the name of the library; by default the preferred one of those that are installed.
        :raises ImportError: if no library is installed; the message says what to install.
        """
        chosen = _library(library)
        connection = cls(chosen, chosen.configure(settings, None))
        connection._connection.connect(_PATH, now)
        return connection

    @classmethod
    def accept(cls, packet: bytes, settings: QuicSettings, certificate: Certificate,
               library: str | None = None) -> QuicConnection | None:
        """The server's side for a client whose first packet this is; ``None`` if it is no first packet.

        The packet is not processed yet: give it to :meth:`receive` too.

        :raises ImportError: as :meth:`connect`.
        """
        destination = _original_destination(packet)
        if destination is None:
            return None
        chosen = _library(library)
        connection = cls(chosen, chosen.configure(settings, certificate),
                         original_destination_connection_id=destination)
        connection._first_ids.add(destination)
        return connection

    @property
    def is_connected(self) -> bool:
        """Whether the handshake has ended."""
        if self._may_have_events:
            self._collect()
        return self._is_connected

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        if self._may_have_events:
            self._collect()
        return self._is_closed

    def is_of_another(self, packet: bytes) -> bool:
        """Whether a packet is the first one of a client to which this connection does not belong."""
        destination = _original_destination(packet)
        return destination is not None and destination not in self._first_ids

    def receive(self, packet: bytes, now: float) -> None:
        """Process a packet of the other side."""
        if self._is_closed or not packet or (packet[0] & _LONG_HEADER and (
                packet[1:5] != _VERSION or packet[0] & _PACKET_TYPE == _RETRY)):
            return
        self._may_have_events = True
        try:
            self._connection.receive_datagram(packet, _PATH, now)
        except Exception as e:  # noqa: BLE001 - whatever a library does with a packet that nobody thought of
            self._fail(e)

    def receive_many(self, packets: Iterable[bytes], now: float) -> int:
        """Process packets of the other side that have short headers, as all have after the handshake.

        :returns: how many were taken: none if the connection has ended.
        """
        count = 0
        if not self._is_closed:
            self._may_have_events = True
            receive = self._connection.receive_datagram
            try:
                for packet in packets:
                    count += 1
                    receive(packet, _PATH, now)
            except Exception as e:  # noqa: BLE001 - as in receive
                self._fail(e)
        return count

    def tick(self, now: float) -> None:
        """Do what is due at the deadline."""
        if not self.is_closed:
            self._guard(self._connection.handle_timer, now)

    def deadline(self) -> float | None:
        """When to call :meth:`tick`; it may be in the past. ``None`` if there is nothing to wait for."""
        if self.is_closed:
            return None
        when: float | None = self._connection.get_timer()
        return when

    def datagrams(self, now: float) -> list[bytes]:
        """The packets to send now."""
        packets = more = self._guard(self._connection.datagrams_to_send, now) or []
        while self._streams.put_back() and more:
            more = self._guard(self._connection.datagrams_to_send, now) or []
            packets += more
        return [packet for packet, _ in packets]

    def events(self) -> list[QuicEvent]:
        """What has happened since the last call, in order."""
        if self._may_have_events:
            self._collect()
        events = self._events
        if events:
            self._events = []
        return events

    def open_stream(self) -> int:
        """The number of a new stream that both sides send on. The other side sees it with the first bytes.

        :raises ConnectionError: if the connection has ended.
        """
        if self.is_closed:
            raise ConnectionError("the connection has ended")
        stream_id: int = self._connection.get_next_available_stream_id()
        self._connection.send_stream_data(stream_id, b"")
        return stream_id

    def send(self, stream_id: int, data: bytes, end: bool = False) -> None:
        """Send bytes on a stream, as soon as the library sees fit.

        Nothing is sent if the connection has ended, or the other side does not want more of the stream.

        :param end: these are the last ones.
        """
        if not self._streams.is_over(stream_id):
            self._attempt(self._connection.send_stream_data, stream_id, data, end)

    def reset(self, stream_id: int, code: int) -> None:
        """Do not send the rest of a stream. Nothing happens if that is over."""
        if not self._streams.is_over(stream_id):
            self._attempt(self._connection.reset_stream, stream_id, code)
            self._streams.note(stream_id, is_reset=True)

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the other side not to send the rest of a stream. Nothing happens if that is over."""
        self._attempt(self._connection.stop_stream, stream_id, code)
        self._streams.note(stream_id)

    def ping(self) -> None:
        """Send a packet that the other side acknowledges, so that neither ends the connection for silence."""
        self._attempt(self._connection.send_ping, 0)

    def close(self, now: float, code: int = 0, reason: str = "") -> list[bytes]:
        """End the connection.

        :returns: the packets that tell the other side.
        """
        if self.is_closed:
            return []
        self._attempt(lambda: self._connection.close(error_code=code, reason_phrase=reason))
        packets = self._guard(self._connection.datagrams_to_send, now) or ()
        self._end(code, reason)
        return [packet for packet, _ in packets]

    def _attempt(self, call: Callable[..., object], *arguments: Any) -> None:
        """Make a call that the library refuses if its time is over."""
        if not self.is_closed:
            with suppress(*self._errors):
                call(*arguments)

    def _guard(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call whose failure leaves the library in an unknown state."""
        self._may_have_events = True
        try:
            return call(*arguments)
        except Exception as e:  # noqa: BLE001 - as in receive
            self._fail(e)
        return None

    def _fail(self, error: Exception) -> None:
        """End the connection, as the library has raised an error. What it told before is not taken any more."""
        self._end(1, f"{type(error).__name__} of the library")

    def _collect(self) -> None:
        """Take the events of the library. What came of a stream in several packets becomes one event."""
        self._may_have_events = False
        events = self._events
        chunks: list[bytes] = []  # of one stream
        stream_id, ended = -1, False
        while not self._is_closed and (event := self._connection.next_event()) is not None:
            is_data = type(event) is self._data_kind
            if chunks and (ended or not is_data or event.stream_id != stream_id):
                events.append(StreamData(stream_id, b"".join(chunks), ended))
                chunks = []
            if is_data:
                chunks.append(event.data)
                stream_id, ended = event.stream_id, event.end_stream
                continue
            make = self._kinds.get(type(event))
            if make is not None:
                known = make(event)
                self._is_connected = self._is_connected or type(known) is Connected
                self._is_closed = type(known) is Disconnected
                events.append(known)
        if chunks:
            events.append(StreamData(stream_id, b"".join(chunks), ended))

    def _end(self, code: int, reason: str) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._events.append(Disconnected(code, reason))
