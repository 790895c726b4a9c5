"""What becomes of the events of sessions: frames go to overlays, and whoever waits or observes is told of the rest."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from . import clock
from .keyvault.crypto import default_eccrypto
from .messaging.session import wire
from .messaging.session.events import Answered, Closed, Failed, Moved, Opened, Received
from .messaging.session.wire import MESSAGE_CONTENT, SERVICE_PREFIX, Frame
from .peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .messaging.address import Address
    from .messaging.session.channel import Channel
    from .messaging.session.events import Event
    from .messaging.session.handshake import OwnKey
    from .messaging.session.openings import Target
    from .overlay_sessions import OverlaySessions
    from .sessions import Session, SessionObserver, SessionService

QUIC: Final = Frame.QUIC

__all__ = ["SessionError", "SessionEvents", "SessionRefused", "SessionTimeout"]


class SessionError(Exception):
    """There is no session."""


class SessionTimeout(SessionError, TimeoutError):  # noqa: N818 - as the errors of the standard library
    """The other side did not answer in time."""


class SessionRefused(SessionError):  # noqa: N818 - as above
    """A session is not possible; the message says why, and what to change."""


class SessionEvents:
    """The overlays, callers and observers of a session service."""

    def __init__(self, service: SessionService) -> None:
        self._service = service
        #: The overlays that use sessions, by own key and tag.
        self.parts: dict[tuple[bytes, bytes], OverlaySessions] = {}
        self.observers: list[SessionObserver] = []
        self._waiting: defaultdict[tuple[bytes, Target], set[asyncio.Future[Session]]] = defaultdict(set)
        self._pings: dict[bytes, asyncio.Future[float]] = {}
        self._by_address: defaultdict[Address, list[Channel]] = defaultdict(list)

    def add(self, part: OverlaySessions) -> None:
        """Give frames to an overlay."""
        self.parts[part.own.public_bin, part.tag] = part

    def remove(self, part: OverlaySessions) -> None:
        """Give no frames to an overlay any more."""
        del self.parts[part.own.public_bin, part.tag]
        part.own.receivers.clear()  # those of the other overlays are made again

    def parts_of(self, own: OwnKey) -> list[OverlaySessions]:
        """The overlays of one key of this node."""
        return [part for part in self.parts.values() if part.own is own]

    def at(self, own: OwnKey, address: Address) -> Channel | None:
        """The only session of ``own`` whose other side is at ``address``."""
        channels = [channel for channel in self._by_address.get(address, ()) if channel.own is own]
        return channels[0] if len(channels) == 1 else None

    # Whoever waits

    async def opened(self, own: OwnKey, target: Target, timeout: float) -> Session:
        """The next session with ``target``; see ``SessionService.connect``."""
        place = own.public_bin, target
        future: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._waiting[place].add(future)
        try:
            return await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError as e:  # another class than TimeoutError before Python 3.11
            raise SessionTimeout(f"no session within {timeout} seconds") from e
        finally:
            self._waiting[place].discard(future)
            if not self._waiting[place]:
                del self._waiting[place]

    async def answered(self, token: bytes, timeout: float) -> float:
        """When the ping with this token is answered."""
        self._pings[token] = future = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError as e:
            raise SessionTimeout(f"no answer within {timeout} seconds") from e
        finally:
            del self._pings[token]

    def _waiters(self, own: OwnKey, *targets: Target) -> Iterator[asyncio.Future[Session]]:
        for target in targets:
            for future in tuple(self._waiting.get((own.public_bin, target), ())):
                if not future.done():
                    yield future

    def end_waiting(self, own: OwnKey | None = None) -> None:
        """Let nobody wait any more.

        :param own: only those who wait for a session of this key.
        """
        waiting: list[asyncio.Future[Any]] = [
            future for place, futures in self._waiting.items() if own is None or place[0] == own.public_bin
            for future in futures]
        if own is None:
            waiting += self._pings.values()
        for future in waiting:
            if not future.done():
                future.set_exception(SessionRefused("this overlay has ended, or all sessions of this node"))

    # Events

    def act(self, events: list[Event]) -> None:
        """Do what the events ask for, in their order."""
        for event in events:
            if isinstance(event, Received):
                self._on_received(event)
            elif isinstance(event, Opened):
                self._on_opened(event.channel)
            elif isinstance(event, Closed):
                self._on_closed(event.channel, event.reason)
            elif isinstance(event, Failed):
                self._on_failed(event)
            elif isinstance(event, Moved):
                self._on_moved(event)
            elif isinstance(event, Answered):
                future = self._pings.get(event.token)
                if future is not None and not future.done():
                    future.set_result(clock.monotonic())
            else:
                for give_back in event.contexts:
                    self._tell(give_back)

    def _on_received(self, event: Received) -> None:
        """Give a frame to whom it concerns; what follows it is not lost if that fails."""
        try:
            self.on_frame(event.channel, event.address, event.frame)
        except Exception as e:  # noqa: BLE001 - whatever a handler raises
            self._service.endpoint._on_listener_error(self._service, e)

    def on_frame(self, channel: Channel, address: Address, frame: bytes) -> None:
        """Give a frame to whom it concerns.

        :param frame: its type and its content.
        """
        kind = frame[0]
        if kind == QUIC:
            self._service.streams.receive(channel, frame[1:])
            return
        receiver = channel.own.receivers.get(frame[:MESSAGE_CONTENT])
        if receiver is not None and receiver.receive(channel, address, frame):
            return
        if kind == Frame.PACKET:
            tag = wire.tag_of(frame[1 : 1 + len(SERVICE_PREFIX)])
        else:
            tag = frame[1 : 1 + wire.OVERLAY_TAG_SIZE]
        part = self.parts.get((channel.own.public_bin, tag))
        if part is not None:
            part.receive(channel, address, frame)
        elif len(tag) < wire.OVERLAY_TAG_SIZE or kind in {Frame.NO_OVERLAY, Frame.NEED_SIGNATURE}:
            self._service.drops["frame"] += 1
        else:
            self._service.drops["overlay"] += 1
            if channel.may_tell(tag):
                channel.transmit(bytes((Frame.NO_OVERLAY,)) + tag)

    def _on_opened(self, channel: Channel) -> None:
        session = self._service.session_of(channel)
        session.opened_at = clock.time()
        self._by_address[channel.address].append(channel)
        peer = session.peer
        if peer.session is None or not peer.session.is_open:
            peer.session = session
        for future in self._waiters(channel.own, channel.remote_bin, channel.address):
            future.set_result(session)
        for observer in tuple(self.observers):
            self._tell(observer.on_opened, peer, session)
        for part in self.parts_of(channel.own):
            self._tell(part.overlay.on_session_opened, part.peer_of(session), session)

    def _on_closed(self, channel: Channel, reason: str) -> None:
        session = self._service.session_of(channel)
        self._forget_address(channel, channel.address)
        self._service.streams.on_session_closed(channel, reason)
        peer = session.peer
        if peer.session is session:
            peer.session = self._service.get(peer, channel.own.key)
        for observer in tuple(self.observers):
            self._tell(observer.on_closed, peer, reason)
        for part in self.parts_of(channel.own):
            self._tell(part.overlay.on_session_closed, part.peer_of(session), reason)

    def _on_moved(self, event: Moved) -> None:
        channel = event.channel
        self._forget_address(channel, event.former)
        self._by_address[channel.address].append(channel)
        peer = self._service.session_of(channel).peer
        peer.add_address(channel.address)
        for observer in tuple(self.observers):
            self._tell(observer.on_moved, peer, event.former, channel.address)

    def _forget_address(self, channel: Channel, address: Address) -> None:
        channels = self._by_address.get(address, [])
        if channel in channels:
            channels.remove(channel)
        if not channels:
            self._by_address.pop(address, None)

    def _on_failed(self, event: Failed) -> None:
        error = SessionTimeout("the other side does not answer") if event.reason == "timeout" else SessionRefused(
            f"the other side cannot have a session with this node: {event.reason}")
        for future in self._waiters(event.own, event.target):
            future.set_exception(error)
        parts = self.parts_of(event.own)
        target: Peer | Address
        if isinstance(event.target, bytes):
            known = (part.overlay.network.get_verified_by_public_key_bin(event.target) for part in parts)
            target = next((peer for peer in known if peer is not None), None) or Peer(
                default_eccrypto.key_from_network(event.target))
            for part in parts:
                self._tell(part.overlay.on_session_failed, target, event.reason)
        else:
            target = event.target
        for observer in tuple(self.observers):
            self._tell(observer.on_failed, target, event.reason)

    def _tell(self, method: Any, *arguments: Any) -> None:
        """Call a method of somebody else, whose errors are logged."""
        try:
            method(*arguments)
        except Exception:
            self._service.logger.exception("%r failed", method)
