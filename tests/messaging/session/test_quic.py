from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.session import quic
from ipv8.messaging.session.quic import (
    MAX_DATAGRAM,
    Certificate,
    Connected,
    Disconnected,
    QuicConnection,
    QuicSettings,
    StreamData,
    StreamReset,
    StreamStop,
    available_library,
)

CERTIFICATE = Certificate.make()
SETTINGS = QuicSettings("tests/1", idle_timeout=30.0)
PAIRS = [("qh3", "qh3"), ("qh3", "aioquic"), ("aioquic", "qh3"), ("aioquic", "aioquic")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> tuple[str, str]:
    """The libraries of both sides."""
    for name in request.param:
        pytest.importorskip(name)
    client, server = request.param
    return client, server


@pytest.fixture(params=["qh3", "aioquic"])
def library(request: Any) -> str:
    """Each library."""
    pytest.importorskip(request.param)
    return str(request.param)


class Sides:
    """A client and a server that exchange packets at once, with a clock that the test moves."""

    def __init__(self, client: str | None = None, server: str | None = None, alpn: str = SETTINGS.alpn) -> None:
        self.now = 0.0
        self.client = QuicConnection.connect(SETTINGS, self.now, client)
        first = self.client.datagrams(self.now)
        accepted = QuicConnection.accept(first[0], SETTINGS._replace(alpn=alpn), CERTIFICATE, server)
        assert accepted is not None
        self.server = accepted
        self.events: dict[str, list[Any]] = {"client": [], "server": []}
        for packet in first:
            self.server.receive(packet, self.now)
        self.exchange()

    def exchange(self) -> None:
        """Pass packets on until there are none."""
        for _ in range(100):
            self.now += 0.001
            moved = False
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                deadline = sender.deadline()
                if deadline is not None and deadline <= self.now:
                    sender.tick(self.now)
                for packet in sender.datagrams(self.now):
                    assert len(packet) <= MAX_DATAGRAM
                    receiver.receive(packet, self.now)
                    moved = True
            for name in ("client", "server"):
                self.events[name] += getattr(self, name).events()
            if not moved and self.now > 0.05:
                return

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            deadlines = [deadline for side in (self.client, self.server) if (deadline := side.deadline()) is not None]
            self.now = min([max(self.now, *deadlines, self.now), end]) if deadlines else end
            self.exchange()

    def take(self, name: str) -> list[Any]:
        """The events of a side since the last call, without the end of the handshake."""
        taken, self.events[name] = self.events[name], []
        return [event for event in taken if not isinstance(event, Connected)]


def joined(events: list[Any], stream_id: int) -> tuple[bytes, bool]:
    """The data of a stream, and whether it has ended."""
    data = [event for event in events if isinstance(event, StreamData) and event.stream_id == stream_id]
    return b"".join(event.data for event in data), any(event.ended for event in data)


def test_data_both_ways(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    assert sides.client.is_connected
    assert sides.server.is_connected
    stream = sides.client.open_stream()
    sides.client.send(stream, b"x" * 5000)
    sides.client.send(stream, b"y", end=True)
    sides.exchange()
    assert joined(sides.take("server"), stream) == (b"x" * 5000 + b"y", True)
    sides.server.send(stream, b"answer", end=True)
    sides.exchange()
    assert joined(sides.take("client"), stream) == (b"answer", True)


def test_data_of_several_packets_is_one_event(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    stream = sides.client.open_stream()
    sides.client.send(stream, b"x" * 5000)
    sides.exchange()
    sides.take("server")
    sides.client.send(stream, b"y" * 2500)
    for packet in sides.client.datagrams(sides.now):
        sides.server.receive(packet, sides.now)
    sides.client.send(stream, b"z", end=True)
    for packet in sides.client.datagrams(sides.now):
        sides.server.receive(packet, sides.now)
    assert sides.server.events() == [StreamData(stream, b"y" * 2500 + b"z", True)]
    assert sides.server.events() == []


def test_data_before_the_handshake(pair: tuple[str, str]) -> None:
    client = QuicConnection.connect(SETTINGS, 0.0, pair[0])
    stream = client.open_stream()
    other = client.open_stream()
    assert (stream, other) == (0, 4)
    client.send(stream, b"early")
    assert not client.is_connected


def test_reset_and_stop(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    stream = sides.client.open_stream()
    sides.client.send(stream, b"x")
    sides.exchange()
    sides.take("server")
    sides.client.reset(stream, 7)
    sides.client.stop(stream, 8)
    sides.exchange()
    events = sides.take("server")
    assert StreamReset(stream, 7) in events
    assert StreamStop(stream, 8) in events
    sides.client.reset(stream, 7)  # again: nothing happens
    sides.client.reset(400, 7)
    sides.client.stop(400, 7)
    assert not sides.client.is_closed


def test_close(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    packets = sides.client.close(sides.now, 5, "done")
    assert packets
    assert sides.client.is_closed
    assert sides.client.events() == [Disconnected(5, "done")]
    assert sides.client.close(sides.now) == []
    for packet in packets:
        sides.server.receive(packet, sides.now)
    sides.wait(5)
    assert sides.take("server") == [Disconnected(5, "done")]
    assert sides.server.is_closed
    with pytest.raises(ConnectionError):
        sides.client.open_stream()
    sides.client.send(0, b"x")
    sides.client.ping()
    assert sides.client.datagrams(sides.now) == []
    assert sides.client.deadline() is None
    sides.client.tick(sides.now)


def test_silence(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    for side in (sides.client, sides.server):
        deadline = side.deadline()
        assert deadline is not None
        assert 25 < deadline <= 31
    sides.now += 31
    sides.client.tick(sides.now)
    assert isinstance(sides.client.events()[-1], Disconnected)


def test_pings_are_heard(pair: tuple[str, str]) -> None:
    sides = Sides(*pair)
    sides.wait(20)
    sides.client.ping()
    sides.exchange()
    sides.wait(20)
    assert not sides.client.is_closed
    assert not sides.server.is_closed


def test_another_protocol_is_refused(pair: tuple[str, str]) -> None:
    sides = Sides(*pair, alpn="other/1")
    sides.wait(10)
    assert not sides.client.is_connected
    assert sides.client.is_closed


@pytest.mark.parametrize("packet", [
    b"", b"\x00", bytes(MAX_DATAGRAM), b"\xc3" + bytes(MAX_DATAGRAM - 1), b"\x40" * MAX_DATAGRAM,
    b"\xc3\x00\x00\x00\x01\x15" + bytes(MAX_DATAGRAM), b"\xe3\x00\x00\x00\x01\x08" + bytes(MAX_DATAGRAM),
    b"\xc3\x00\x00\x00\x01\x08" + bytes(MAX_DATAGRAM - 7)])
def test_other_packets_are_no_beginning(packet: bytes) -> None:
    assert QuicConnection.accept(packet, SETTINGS, CERTIFICATE) is None


def test_the_first_packet_of_a_client_fills_its_datagram(library: str) -> None:
    first = QuicConnection.connect(SETTINGS, 0.0, library).datagrams(0.0)[0]
    assert len(first) == MAX_DATAGRAM
    token_at = 7 + first[5] + first[6 + first[5]]  # behind both connection ids; RFC 9000 section 17.2.2
    assert first[token_at] == 0
    length = int.from_bytes(first[token_at + 1:token_at + 3], "big") & 0x3FFF
    assert token_at + 3 + length == MAX_DATAGRAM


def test_first_packets_of_another_connection(pair: tuple[str, str]) -> None:
    client = QuicConnection.connect(SETTINGS, 0.0, pair[0])
    first = client.datagrams(0.0)
    server = QuicConnection.accept(first[0], SETTINGS, CERTIFICATE, pair[1])
    assert server is not None
    now = 0.0
    for _ in range(20):
        for packet in first:
            assert not server.is_of_another(packet)
            server.receive(packet, now)
        for packet in server.datagrams(now):
            client.receive(packet, now)
        now += 0.01
        first = client.datagrams(now)
    assert server.is_connected
    other = QuicConnection.connect(SETTINGS, now, pair[0]).datagrams(now)
    assert all(server.is_of_another(packet) for packet in other)


def test_retry_and_version_negotiation_are_ignored(library: str) -> None:
    client = QuicConnection.connect(SETTINGS, 0.0, library)
    first = client.datagrams(0.0)[0]
    own = first[6 + first[5] + 1:][:first[6 + first[5]]]
    client.receive(b"\xf0\x00\x00\x00\x01" + bytes((len(own),)) + own + b"\x08abcdefgh" + bytes(40), 0.0)
    client.receive(b"\xc0\x00\x00\x00\x00" + bytes((len(own),)) + own + b"\x00" + b"\x00\x00\x00\x09", 0.0)
    assert client.events() == []
    assert not client.is_closed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=100) | st.binary(min_size=1190, max_size=1210), max_size=5))
@pytest.mark.parametrize("name", ["qh3", "aioquic"])
def test_garbage_does_no_harm(name: str, packets: list[bytes]) -> None:
    pytest.importorskip(name)
    sides = Sides(name, name)
    for side in (sides.client, sides.server):
        for packet in packets:
            side.receive(packet, sides.now)
    stream = sides.client.open_stream()
    sides.client.send(stream, b"x", end=True)
    sides.exchange()
    assert joined(sides.take("server"), stream) == (b"x", True)


def test_changed_packets_do_no_harm(library: str) -> None:
    sides = Sides(library, library)
    stream = sides.client.open_stream()
    sides.client.send(stream, b"data")
    (packet,) = sides.client.datagrams(sides.now)
    for position in range(len(packet)):
        changed = bytearray(packet)
        changed[position] ^= 0x10
        sides.server.receive(bytes(changed), sides.now)
        sides.server.receive(packet[:position], sides.now)
    assert joined(sides.server.events(), stream) == (b"", False)
    sides.server.receive(packet, sides.now)
    sides.server.receive(packet, sides.now)
    assert joined(sides.server.events(), stream) == (b"data", False)


def test_a_failure_of_the_library_ends_the_connection(library: str) -> None:
    client = QuicConnection.connect(SETTINGS, 0.0, library)

    class Broken:
        def receive_datagram(self, *_: Any) -> None:
            raise KeyError("nobody thought of this")

    client._connection = Broken()
    client.receive(b"\x40" * 50, 0.0)
    assert client.events() == [Disconnected(1, "KeyError of the library")]


def test_packets_that_came_together(library: str) -> None:
    sides = Sides(library, library)
    stream = sides.client.open_stream()
    data = bytes(range(256)) * 24
    sides.client.send(stream, data, True)
    packets = []
    for _ in range(10):  # they are spread over some time
        packets += sides.client.datagrams(sides.now)
        sides.now += 0.005
    assert sides.server.receive_many(iter(packets), sides.now) == len(packets) > 4
    assert sides.server.events() == [StreamData(stream, data, True)]


def test_of_packets_that_came_together_some_are_not_taken_after_a_failure(library: str) -> None:
    client = QuicConnection.connect(SETTINGS, 0.0, library)

    class Broken:
        def receive_datagram(self, packet: bytes, *_: Any) -> None:
            if packet == b"\x42":
                raise KeyError("nobody thought of this")

    client._connection = Broken()
    packets = iter([b"\x40", b"\x42", b"\x43", b"\x44"])
    assert client.receive_many(packets, 0.0) == 2
    assert client.events() == [Disconnected(1, "KeyError of the library")]
    assert client.receive_many(packets, 0.0) == 0
    assert list(packets) == [b"\x43", b"\x44"]


def test_the_choice_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: set[str] = set()
    monkeypatch.setattr(quic, "find_spec", lambda name: name if name in installed else None)
    release = "1.9.4"
    monkeypatch.setattr(quic, "version", lambda _: release)
    assert available_library() is None
    with pytest.raises(ImportError, match=r"ipv8\[streams\]"):
        QuicConnection.connect(SETTINGS, 0.0)
    installed |= {"aioquic"}
    assert available_library() == "aioquic"
    installed |= {"qh3"}
    assert available_library() == "qh3"
    release = "2.1.0"
    assert available_library() == "aioquic"
    installed.remove("aioquic")
    assert available_library() == "qh3"


def test_certificates_are_only_different_in_their_keys() -> None:
    from cryptography.x509 import load_pem_x509_certificate

    one, other = (load_pem_x509_certificate(made.certificate) for made in (CERTIFICATE, Certificate.make()))
    assert one.subject == other.subject == one.issuer
    assert one.serial_number == other.serial_number
    assert one.not_valid_before_utc == other.not_valid_before_utc
    assert one.public_key() != other.public_key()
