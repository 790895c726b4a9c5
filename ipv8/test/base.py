"""The base class of test cases for overlays. The nodes are in one process, without sockets (doc/testing.md)."""

from __future__ import annotations

import os
import random
import shutil
import time
import unittest
import uuid
from asyncio import gather
from collections import Counter
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable, signature
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .. import clock
from ..asking import Answer
from ..community import Community
from ..declaration import Message
from ..messaging.interfaces.lan_addresses.interfaces import get_providers
from ..messaging.payload_headers import BinMemberAuthenticationPayload
from ..overlay import Overlay
from ..peer import Peer
from ..reexports import reexports
from .clock import ManualClock
from .copying import copy_data
from .mocking.endpoint import MockEndpoint, MockEndpointListener, internet
from .mocking.ipv8 import MockIPv8
from .quiescence import ExecutorWatch, ThreadWatch, drain, is_background_task, until_quiet
from .watchdog import Watchdog

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable, Iterator, Sequence

    from ..keyvault.keys import PrivateKey, PublicKey
    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..overlay import Settings
    from ..peerdiscovery.network import Network

__all__ = ["TestBase", "TranslatedMockEndpointListener"]

OT = TypeVar("OT", bound=Overlay[Any])

if TYPE_CHECKING:
    Expected = type[Payload] | Message[Any, Any, Any] | Answer
    """A message, given by its payload class or by its declaration."""

MAX_WRAPPERS = 5
"""The maximum number of endpoints that wrap one another, as one that keeps statistics wraps a mock."""

_MESSAGE_ID_AT = 22
_PAYLOAD_AT = 23


class TestBase(unittest.IsolatedAsyncioTestCase, Generic[OT]):
    """A test case whose nodes exchange packets through mock endpoints. It works with ``unittest`` and ``pytest``.

    A test fails at its end if a message handler, a task or a callback raised an exception that nothing caught.
    ``setUp`` and ``tearDown`` of subclasses may be async or not. All nodes are stopped at the end of the test.

    A test that runs longer than ``MAX_TEST_TIME`` seconds ends the whole process; under pytest, the time limits of
    pytest apply instead. Message handlers of the classes in ``production_overlay_classes`` are called as in
    production: their exceptions are logged and do not fail the test.
    """

    MAX_TEST_TIME = 10
    __testing__ = True
    __lockup_timestamp__ = 0.0

    _watchdog: ClassVar[Watchdog | None] = None
    _watched_loop: ClassVar[AbstractEventLoop | None] = None

    def __init__(self, methodName: str = "runTest") -> None:  # noqa: N803 - the name that unittest gives it
        super().__init__(methodName)
        self.nodes: list[MockIPv8] = []
        self.overlay_class: type[OT] | None = None
        internet.clear()
        self._tempdirs: list[str] = []
        self.production_overlay_classes: list[type[Overlay[Any]]] = []
        self._uncaught_async_failure: dict[str, Any] | None = None
        self._executors: ExecutorWatch | None = None
        self._threads: ThreadWatch | None = None
        self._undo: list[Callable[[], Any]] = []

    # Life cycle

    @classmethod
    def setUpClass(cls) -> None:
        """Start to watch for tests that hang."""
        super().setUpClass()
        cls.__testing__ = True
        TestBase.__lockup_timestamp__ = time.monotonic()
        if "PYTEST_CURRENT_TEST" not in os.environ:
            cls._watchdog = Watchdog(cls._is_stuck, lambda: TestBase._watched_loop)
            cls._watchdog.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop watching."""
        cls.__testing__ = False
        if cls._watchdog is not None:
            cls._watchdog.stop()
            cls._watchdog = None
        TestBase._watched_loop = None
        super().tearDownClass()

    @classmethod
    def _is_stuck(cls) -> bool:
        return cls.__testing__ and time.monotonic() - TestBase.__lockup_timestamp__ > cls.MAX_TEST_TIME

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop of the test. It may be asked for before the loop runs."""
        internals: Any = self
        # From Python 3.11 on, the standard library keeps the loop in a runner.
        runner = getattr(self, "_asyncioRunner", None)
        loop: AbstractEventLoop = internals._asyncioTestLoop if runner is None else runner.get_loop()
        return loop

    def setUp(self) -> None:
        """Prepare the test. Overlays may be made here, although the event loop does not run yet."""
        super().setUp()
        TestBase.__lockup_timestamp__ = time.monotonic()

    async def tearDown(self) -> None:  # type: ignore[override]  # called by _callTearDown
        """Stop all nodes, remove temporary directories, and raise the first exception that nothing caught."""
        await self._clean_up()

    def _callSetUp(self) -> None:  # noqa: N802 - the name that unittest gives it
        self._prepare(self.loop)
        self.addAsyncCleanup(self._clean_up)  # in case that tearDown is not reached, or does not call the one above
        self._call_either_way(self.setUp)
        internals: Any = self
        internals._callAsync(self.asyncSetUp)

    def _callTearDown(self) -> None:  # noqa: N802 - the name that unittest gives it
        internals: Any = self
        internals._callAsync(self.asyncTearDown)
        self._call_either_way(self.tearDown)

    def _call_either_way(self, func: Callable[[], Any]) -> None:
        """Run ``func`` in the loop and context of the test, whether it is async, returns an awaitable, or neither."""
        internals: Any = self
        outcome = internals._callMaybeAsync(func)
        if isawaitable(outcome):
            async def finish() -> None:
                await outcome

            internals._callAsync(finish)

    def _prepare(self, loop: AbstractEventLoop) -> None:
        TestBase._watched_loop = loop
        self._undo.append(partial(loop.set_exception_handler, loop.get_exception_handler()))
        self._uncaught_async_failure = None
        loop.set_exception_handler(self._on_loop_failure)
        loop.set_debug(True)
        self._executors = ExecutorWatch(loop)
        self._threads = ThreadWatch(loop)
        providers = get_providers()
        self._undo.append(partial(providers.__setitem__, slice(None), tuple(providers)))
        providers.clear()  # tests do not need the addresses of this machine

    def _on_loop_failure(self, _: AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._uncaught_async_failure is None:
            self._uncaught_async_failure = context

    async def _clean_up(self) -> None:
        if not self._undo:  # already done
            return
        outcomes = await gather(*(node.stop() for node in self.nodes), return_exceptions=True)
        internet.clear()
        while self._tempdirs:
            shutil.rmtree(self._tempdirs.pop(), ignore_errors=True)
        await drain()
        while self._undo:
            self._undo.pop()()
        unseen = self._uncaught_async_failure
        if unseen is not None:
            raise unseen.get("exception") or AssertionError(unseen["message"])
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    # Nodes

    def initialize(self, overlay_class: type[OT], node_count: int, settings: Settings | None = None,
                   create_dht: bool = False, enable_statistics: bool = False) -> None:
        """Make nodes that know each other. No messages are sent.

        :param settings: each node gets a copy of these. Lists, dictionaries and other data in them are copied at any
            depth; all other objects are shared by the nodes.
        :param create_dht: give each node a DHT, as ``dht`` of its settings.
        :param enable_statistics: count what each node sends and receives.
        """
        self.overlay_class = overlay_class
        arguments: tuple[Any, ...] = ()
        if (settings, create_dht, enable_statistics) != (None, False, False) or self._create_node_takes_arguments():
            arguments = (settings, create_dht, enable_statistics)
        self.nodes = [self.create_node(*map(copy_data, arguments)) for _ in range(node_count)]
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    self._introduce(node, other)
        for i in range(node_count):
            self.patch_overlays(i)

    def _create_node_takes_arguments(self) -> bool:
        """Whether :meth:`create_node`, which may be overridden, takes three arguments."""
        try:
            signature(self.create_node).bind(None, False, False)
        except TypeError:
            return False
        return True

    def create_node(self, settings: Settings | None = None, create_dht: bool = False,
                    enable_statistics: bool = False) -> MockIPv8:
        """Make a node with ``overlay_class``. Override this method to make nodes of another kind."""
        if self.overlay_class is None:
            raise RuntimeError("overlay_class is not set: call initialize(), or set it")
        return MockIPv8("low", self.overlay_class, settings, create_dht, enable_statistics)

    def add_node_to_experiment(self, node: MockIPv8) -> None:
        """Add ``node``. It knows the nodes that were there before; they do not know it."""
        for other in self.nodes:
            self._introduce(node, other)
        self.nodes.append(node)

    @staticmethod
    def _introduce(node: MockIPv8, other: MockIPv8) -> None:
        peer = Peer(other.my_peer.public_key, other.endpoint.wan_address)
        node.network.add_verified_peer(peer)
        node.network.discover_services(peer, [other.overlay.community_id])

    def patch_overlays(self, i: int) -> None:
        """Let exceptions in message handlers fail the test. Override this method to choose the nodes."""
        node = self.nodes[i]
        for overlay in (node.overlay, node.dht, *node.overlays):
            self._patch_overlay(overlay)

    def _patch_overlay(self, overlay: Any) -> None:
        if isinstance(overlay, Community) and type(overlay) not in self.production_overlay_classes:
            overlay.message_table.strict = True
            overlay.on_packet = partial(_receive, overlay)  # type: ignore[method-assign]  # on this instance

    # Traffic

    @staticmethod
    def is_background_task(task: Task[Any]) -> bool:
        """Whether ``task`` never ends, so that :meth:`deliver_messages` ignores it."""
        return is_background_task(task)

    async def deliver_messages(self, timeout: float = .1) -> None:
        """Wait until all messages are delivered and handled, at most ``timeout`` seconds.

        Time in which a slow callback blocks the event loop does not count. This waits for timers that are due within
        the timeout, and for calls in executors. Unless all nodes have mock endpoints, it also waits until other threads
        have not called the event loop for 10 ms.
        """
        await until_quiet(timeout, self._executors, None if self._has_only_mocks() else self._threads)

    def _has_only_mocks(self) -> bool:
        """Whether there are nodes and all of them have mock endpoints."""
        return bool(self.nodes) and all(_is_mock(node.endpoint) for node in self.nodes)

    async def introduce_nodes(self) -> None:
        """Let every node send an introduction request to every other one, and deliver all messages."""
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.overlay.walk_to(other.endpoint.wan_address)
        await self.deliver_messages()

    @contextmanager
    def assertReceivedBy(self, i: int, message_classes: Sequence[Expected],  # noqa: N802 - as unittest names them
                         ordered: bool = True,
                         message_filter: Sequence[Expected] | None = None) -> Iterator[list[Payload]]:
        """Check that node ``i`` receives these messages, and no others, inside a ``with`` block.

        Each message is given by its payload class, or, if it was declared in the short form, by its declaration, such
        as ``MyCommunity.hello``; the answer to a request is ``MyCommunity.add.answer``. A payload class must have a
        ``msg_id``, and be the only payload of the message, signed or not.

        :param ordered: whether the order matters.
        :param message_filter: messages of all other classes are ignored.
        :returns: a list of the payloads that were received so far; it grows inside the block.
        """
        overlay = self.overlay(i)
        listener = TranslatedMockEndpointListener(overlay, message_classes, message_filter)
        try:
            yield listener.received_messages
        finally:
            overlay.endpoint.remove_listener(listener)
        received = [type(message) for message in listener.received_messages]
        expected = [_payload_classes(message_class)[-1] for message_class in message_classes]
        if ordered:
            self.assertListEqual(expected, received)  # noqa: PT009 - shows the difference under unittest
        else:
            self.assertEqual(Counter(wanted.__name__ for wanted in expected),  # noqa: PT009 - as above
                             Counter(actual.__name__ for actual in received))

    # Time

    def use_clock(self, manual: ManualClock | None = None) -> ManualClock:
        """Install a clock that only the test moves as ``ipv8.clock``, until the end of the test.

        Timers of the event loop, such as those of tasks with a delay, still go by real time.

        :param manual: the clock to install; by default a new one.
        """
        manual = manual or ManualClock()
        self._undo.append(partial(clock.install, clock.install(manual)))
        return manual

    # Files

    def temporary_directory(self) -> str:
        """Make a directory in the current one with a random name. It is removed at the end of the test."""
        name = uuid.UUID(int=random.getrandbits(128), version=4).hex
        directory = os.path.abspath(f"{type(self).__name__}_temp_{name}")
        os.mkdir(directory)
        self._tempdirs.append(directory)
        return directory

    # Shortcuts to the parts of node ``i``

    def address(self, i: int) -> Address:
        """The address of node ``i``."""
        address: Address = self.endpoint(i).wan_address
        return address

    def endpoint(self, i: int) -> Any:
        """The endpoint of node ``i``."""
        return self.nodes[i].endpoint

    def key_bin(self, i: int) -> bytes:
        """The serialized public key of node ``i``."""
        return self.public_key(i).key_to_bin()

    def key_bin_private(self, i: int) -> bytes:
        """The serialized private key of node ``i``."""
        return self.private_key(i).key_to_bin()

    def mid(self, i: int) -> bytes:
        """The member id of node ``i``: the SHA-1 of its public key, 20 bytes."""
        return self.my_peer(i).mid

    def my_peer(self, i: int) -> Peer:
        """The own peer of node ``i``, with its private key."""
        peer: Peer = self.overlay(i).my_peer
        return peer

    def network(self, i: int) -> Network:
        """The graph of peers of node ``i``."""
        return self.nodes[i].network

    def node(self, i: int) -> MockIPv8:
        """Node ``i``."""
        return self.nodes[i]

    def overlay(self, i: int) -> OT:
        """The overlay of node ``i``."""
        overlay: OT = self.nodes[i].overlay
        return overlay

    def peer(self, i: int) -> Peer:
        """A new peer with the public key and the address of node ``i``, as other nodes know it."""
        return Peer(self.public_key(i), self.address(i))

    def private_key(self, i: int) -> PrivateKey:
        """The private key of node ``i``."""
        key: Any = self.my_peer(i).key
        return key  # type: ignore[no-any-return]  # a node's own key is private

    def public_key(self, i: int) -> PublicKey:
        """The public key of node ``i``."""
        return self.my_peer(i).public_key


def _is_mock(endpoint: Any) -> bool:
    """Whether an endpoint is a mock, or wraps one."""
    for _ in range(MAX_WRAPPERS):
        if isinstance(endpoint, MockEndpoint):
            return True
        endpoint = getattr(endpoint, "endpoint", None)
    return False


def _receive(overlay: Any, packet: tuple[Address, bytes], warn_unknown: bool = True) -> None:
    """Handle ``packet`` as ``Community.on_packet`` does, whatever its prefix is."""
    source_address, data = packet
    overlay.message_table.receive(source_address, data, warn_unknown)


def _message_id(message_class: Expected) -> int:
    message_id: int | None = getattr(message_class, "msg_id", None)
    assert message_id is not None, f"{_payload_classes(message_class)[-1].__name__} has no msg_id"
    return message_id


def _payload_classes(message_class: Expected) -> tuple[type[Payload], ...]:
    """The classes of the payloads of a message; the last one has its fields."""
    return message_class.payload_classes if isinstance(message_class, (Message, Answer)) else (message_class,)


class TranslatedMockEndpointListener(MockEndpointListener):
    """Decodes the messages that an overlay receives and keeps the payloads in ``received_messages``.

    :param overlay: the overlay; packets with other prefixes are ignored.
    :param message_classes: the messages that are expected, as in :meth:`TestBase.assertReceivedBy`. Any other message,
        and one that cannot be decoded, raises ``AssertionError``, which fails the test.
    :param message_filter: if given, messages of other classes are ignored.
    """

    def __init__(self, overlay: Any, message_classes: Sequence[Expected],
                 message_filter: Sequence[Expected] | None = None, main_thread: bool = False) -> None:
        expected = {_message_id(message_class): message_class for message_class in message_classes}
        wanted = set(map(_message_id, message_filter or ()))
        super().__init__(overlay.endpoint, main_thread)
        self.overlay = overlay
        self.message_class_map = expected
        self.message_filter_set = wanted
        self.received_messages: list[Payload] = []

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Decode and keep the message."""
        super().on_packet(packet)
        _, data = packet
        if len(data) <= _MESSAGE_ID_AT or not data.startswith(self.overlay.get_prefix()):
            return
        message_id = data[_MESSAGE_ID_AT]
        if self.message_filter_set and message_id not in self.message_filter_set:
            return
        message_class = self.message_class_map.get(message_id)
        if message_class is None:
            raise AssertionError(f"message {message_id} was received, but not expected")
        self.received_messages.append(self._decode(message_class, data))

    def _decode(self, message_class: Expected, data: bytes) -> Payload:
        classes = _payload_classes(message_class)
        try:
            return self._unpack(classes, self._unwrap(data))
        except Exception:  # noqa: BLE001 - the packet may be unsigned, and then anything can be wrong with it
            pass
        try:
            return self._unpack(classes, data)
        except Exception as e:
            raise AssertionError(f"message {_message_id(message_class)} was received, but it cannot be decoded as "
                                 f"{classes[-1].__name__}") from e

    def _unpack(self, classes: tuple[type[Payload], ...], data: bytes) -> Payload:
        payload: Payload = self.overlay.serializer.unpack_serializable_list(classes, data, _PAYLOAD_AT)[-1]
        return payload

    def _unwrap(self, data: bytes) -> bytes:
        """Return ``data`` without its author and signature; ``AssertionError`` if the signature is wrong."""
        author, _ = self.overlay.serializer.unpack_serializable(BinMemberAuthenticationPayload, data, _PAYLOAD_AT)
        valid, rest = self.overlay._verify_signature(author, data)
        assert valid, "the signature is wrong"
        return rest  # type: ignore[no-any-return]  # overlays of any kind are accepted


if TYPE_CHECKING:  # programs import these from here
    from ..lazy_community import (
        PacketDecodingError as PacketDecodingError,
        lazy_wrapper as lazy_wrapper,
        lazy_wrapper_unsigned as lazy_wrapper_unsigned,
    )
    from ..messaging.serialization import PackError as PackError
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..lazy_community": "PacketDecodingError lazy_wrapper lazy_wrapper_unsigned",
        "..messaging.serialization": "PackError",
    })
