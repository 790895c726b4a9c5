"""The methods of a community that have to do with encrypted sessions (doc/encryption.md)."""

from __future__ import annotations

import asyncio
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from .lazy_community import EZPackOverlay
from .messaging.interfaces.endpoint import DataTooBigException, Endpoint, EndpointClosedException
from .overlay import SettingsClass
from .util import Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .blobs import BlobStore
    from .keyvault.keys import PrivateKey
    from .overlay_sessions import SessionUser
    from .peer import Peer
    from .session_streams import SessionStreams, StreamHandler, StreamOpening
    from .sessions import Session, SessionService
    from .streams import Stream

__all__ = ["POLICIES", "SecureOverlay"]

POLICIES = ("off", "accept", "prefer", "require")
"""What an overlay may do with sessions."""

# Programs without sessions load no module of sessions.


class SecureOverlay(EZPackOverlay[SettingsClass]):
    """An overlay that can have encrypted sessions."""

    #: Whether messages go in encrypted sessions: ``"off"``, ``"accept"``, ``"prefer"`` or ``"require"``. ``None``:
    #: ``"accept"`` if another overlay of the endpoint has sessions. The setting of the same name comes before it.
    encryption: str | None = None

    #: How many messages are sent to a peer in clear before a session is opened for more of them.
    _session_after: int = 0

    anonymize: bool = False
    _session_service: SessionService | None = None
    _datagram_handler: Callable[[Peer, bytes], None] | None = None
    _blob_store: BlobStore | None = None
    _stream_handlers: Mapping[str, StreamHandler] = MappingProxyType({})

    def _set_encryption(self, settings: Any) -> None:
        """Take the policy from the settings of the overlay, and begin to use sessions if it says so.

        :raises ValueError: for a policy that does not exist.
        """
        self.encryption = getattr(settings, "encryption", None) or self.encryption
        self._session_after = getattr(settings, "session_after", 0)
        if self.encryption not in {None, *POLICIES}:
            raise ValueError(f"the encryption of an overlay is one of {', '.join(POLICIES)}, not {self.encryption!r}")
        if self.anonymize and self.encryption not in {None, "off"}:
            self.logger.warning("%s is anonymous, so its messages go through tunnels and in no session",
                                type(self).__name__)
        self._join_sessions(getattr(settings, "sessions", None))

    def _join_sessions(self, service: SessionService | None = None) -> None:
        """Use the sessions of the endpoint, unless the policy is against it or the overlay uses them already.

        :param service: use these sessions.
        """
        policy = self.encryption
        if (self._session_service is not None or self.anonymize or policy == "off"
                or not isinstance(self.endpoint, Endpoint)):
            return
        service = service or self._find_service(policy)
        if service is not None and self._session_service is None:  # a new service takes in all overlays itself
            self._session_service = service
            service.register(cast("SessionUser", self), policy or service.default_policy)

    def _find_service(self, policy: str | None) -> SessionService | None:
        """The service of the endpoint; it is made if the policy asks for sessions."""
        if policy is None and not self.endpoint.gate.has_sessions:
            return None
        from .sessions import SessionService  # most programs have no sessions

        return SessionService.of(self.endpoint)

    def _leave_sessions(self) -> None:
        """Do not use sessions any more."""
        service, self._session_service = self._session_service, None
        if service is not None:
            service.unregister(cast("SessionUser", self))

    def _required_service(self) -> SessionService:
        if self._session_service is None:
            from .sessions import SessionRefused

            raise SessionRefused(f"{type(self).__name__} has no sessions: set its encryption to 'accept', 'prefer' or "
                                 "'require', as a class attribute or in its settings")
        return self._session_service

    def session_for(self, peer: Peer) -> Session | None:
        """The session in which messages to ``peer`` are sent; ``None`` if there is none."""
        service = self._session_service
        return None if service is None else service.get(peer, cast("PrivateKey", self.my_peer.key))

    async def secure(self, peer: Peer, timeout: float = 10.0) -> Session:
        """The session with ``peer``; it is opened if there is none, whatever the policy.

        :raises ipv8.sessions.SessionTimeout: if the peer does not answer in time.
        :raises ipv8.sessions.SessionRefused: if this overlay or the peer can have no sessions; the text says why.
        """
        key = cast("PrivateKey", self.my_peer.key)
        return await self._required_service().connect(peer, key=key, timeout=timeout)

    def on_session_opened(self, peer: Peer, session: Session) -> None:
        """A session with ``peer`` is ready; for subclasses."""

    def on_session_closed(self, peer: Peer, reason: str) -> None:
        """A session with ``peer`` has ended; for subclasses."""

    def on_session_failed(self, peer: Peer, reason: str) -> None:
        """No session with ``peer`` could be opened; for subclasses."""

    # Datagrams

    def send_datagram(self, peer: Peer, data: bytes) -> None:
        """Send bytes to ``peer`` in the session with it, without a guarantee of delivery.

        :raises DataTooBigException: for more than 1172 bytes.
        :raises ipv8.sessions.SessionRefused: if there is no session; :meth:`secure` opens one.
        """
        from .messaging.session.wire import LARGEST_PROGRAM_DATAGRAM, Frame

        if len(data) > LARGEST_PROGRAM_DATAGRAM:
            raise DataTooBigException(len(data), LARGEST_PROGRAM_DATAGRAM)
        service = self._required_service()
        session = self.session_for(peer)
        if session is None or self._overlay_sessions is None:
            from .sessions import SessionRefused

            raise SessionRefused(f"there is no session with {peer}: await secure(peer) first")
        if not self.endpoint.is_open():
            raise EndpointClosedException(self.endpoint)
        frame = bytes((Frame.DATAGRAM,)) + self._overlay_sessions.tag + data
        service.endpoint.send(session.address, session.seal(frame))

    def add_datagram_handler(self, handler: Callable[[Peer, bytes], None]) -> None:
        """Call ``handler(peer, data)`` with what others send by :meth:`send_datagram`.

        :raises RuntimeError: if there is a handler already.
        """
        if self._datagram_handler is not None:
            raise RuntimeError(f"{type(self).__name__} has a handler of datagrams already")
        self._datagram_handler = handler

    # Streams

    def open_stream(self, peer: Peer, name: str, *, timeout: float = 10.0) -> StreamOpening:
        """Open a stream of bytes to ``peer``, which serves those of this ``name``.

        ::

            async with self.open_stream(peer, "log") as stream:
                await stream.write(b"...")

        The stream is finished at the normal end of the block, and reset on an exception or cancellation. Whoever
        awaits the result instead of using it with ``async with`` ends the stream himself. A session is opened first,
        if there is none, whatever the policy.

        :param timeout: in seconds, until the stream can be used. If the peer has no handler of this name, reading and
            writing raise ``StreamReset``.
        :raises ValueError: at once, if the name has no or more than 255 bytes; when the stream is opened, if the peer
            is this node.
        :raises ipv8.sessions.SessionTimeout: if the peer does not answer in time.
        :raises ipv8.sessions.SessionRefused: if one side can have no sessions or no streams; the text says what to do.
        """
        from .session_streams import StreamOpening, check_name

        check_name(name)
        return StreamOpening(lambda: self._open_stream(peer, name, timeout))

    async def _open_stream(self, peer: Peer, name: str, timeout: float) -> tuple[Stream, SessionStreams]:
        from .session_events import SessionTimeout

        streams = self._required_service().streams
        try:
            return await asyncio.wait_for(self._open_in_session(streams, peer, name, timeout), timeout), streams
        except SessionTimeout:
            raise
        except asyncio.TimeoutError as e:  # another class than TimeoutError before Python 3.11
            raise SessionTimeout(f"no stream within {timeout} seconds") from e

    async def _open_in_session(self, streams: SessionStreams, peer: Peer, name: str, timeout: float) -> Stream:
        session = await self.secure(peer, timeout)
        part = self._overlay_sessions
        if part is None:
            raise EndpointClosedException(self.endpoint)
        return await streams.open(part, session, name)

    def add_stream_handler(self, name: str, handler: StreamHandler) -> None:
        """Call ``handler(peer, stream)``, a coroutine function, with each stream of this name that a peer opens.

        The handler runs as a task of this overlay. When it returns, the stream is finished; when it raises, it is
        reset.

        :raises ValueError: if the name has no or more than 255 bytes.
        :raises RuntimeError: if there is a handler of this name already.
        """
        from .session_streams import check_name

        check_name(name)
        if name in self._stream_handlers:
            raise RuntimeError(f"{type(self).__name__} has a handler of streams {name!r} already")
        self._stream_handlers = {**self._stream_handlers, name: handler}

    def _on_session_datagram(self, peer: Peer, data: bytes) -> None:
        """Take a datagram of a session."""
        if self._datagram_handler is not None:
            self._datagram_handler(peer, data)

    # Blobs

    def _get_blobs(self) -> BlobStore:
        if self._blob_store is None:
            made: BlobStore = import_module(".blobs", __package__).BlobStore(self)  # of a higher floor, and seldom used
            self._blob_store = made
        return self._blob_store

    #: The files and other blobs that peers fetch from this overlay, and that it fetches from them (doc/files.md).
    blobs = Computed(_get_blobs)
