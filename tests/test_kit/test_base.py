from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import textwrap
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import pytest

from ipv8.community import Community, CommunitySettings
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.peer import Peer
from ipv8.requestcache import NumberCache, RequestCache
from ipv8.test.base import TestBase, TranslatedMockEndpointListener
from ipv8.test.mocking.endpoint import internet
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Ask(DataClassPayload[1]):
    value: int


@vp_compile
class Tell(VariablePayload):
    msg_id = 2
    format_list = ["I"]
    names = ["value"]
    value: int


@dataclass
class Crash(DataClassPayload[3]):
    how: int


@dataclass
class Unhandled(DataClassPayload[4]):
    value: int


class TalkSettings(CommunitySettings):
    constant: int | None = None


class TalkCommunity(Community):
    community_id = b"talk" * 5
    settings_class = TalkSettings

    def __init__(self, settings: TalkSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.constant = settings.constant
        self.request_cache = RequestCache()
        self.asked: list[tuple[Peer, int]] = []
        self.told: list[int] = []
        self.introduced: list[Peer] = []
        self.add_message_handler(Ask, self.on_ask)
        self.add_message_handler(Tell, self.on_tell)
        self.add_message_handler(Crash, self.on_crash)

    @lazy_wrapper(Ask)
    def on_ask(self, peer: Peer, payload: Ask) -> None:
        self.asked.append((peer, payload.value))
        self.ez_send(peer, Tell(payload.value + 1), sig=False)

    @lazy_wrapper_unsigned(Tell)
    async def on_tell(self, _: Any, payload: Tell) -> None:
        await asyncio.sleep(0)
        self.told.append(payload.value)

    @lazy_wrapper(Crash)
    def on_crash(self, _: Peer, payload: Crash) -> Any:
        if payload.how == 0:
            raise ValueError("handler")
        return self.crash_later()

    async def crash_later(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("coroutine")

    def introduction_request_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        self.introduced.append(peer)

    async def unload(self) -> None:
        await self.request_cache.shutdown()
        await super().unload()


class OtherCommunity(TalkCommunity):
    community_id = b"else" * 5


Talk = TestBase[TalkCommunity]


def run(case: unittest.TestCase) -> unittest.TestResult:
    """The outcome of a test case by the rules of unittest, in a thread that pytest has no event loop in."""
    result = unittest.TestResult()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(case.run, result).result()
    return result


def failure(case: unittest.TestCase) -> str:
    """The traceback of a test case that is expected to fail once."""
    result = run(case)
    problems = result.errors + result.failures
    assert len(problems) == 1
    return problems[0][1]


def check(case: unittest.TestCase) -> None:
    """Run a test case that is expected to succeed."""
    result = run(case)
    assert result.errors == result.failures == []
    assert result.testsRun == 1


class TestNodes(TestBase[TalkCommunity]):
    """What the nodes are; under pytest."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TalkCommunity, 3)

    async def test_nodes_know_each_other(self) -> None:
        assert len(self.nodes) == 3
        for i in range(3):
            others = {self.peer(j) for j in range(3) if j != i}
            assert set(self.network(i).verified_peers) == others
            assert set(self.overlay(i).get_peers()) == others
            for peer in others:
                assert self.network(i).get_services_for_peer(peer) == {TalkCommunity.community_id}
        assert self.overlay(0).introduced == []

    async def test_shortcuts(self) -> None:
        node, overlay = self.nodes[1], self.nodes[1].overlay
        assert self.node(1) is node
        assert self.overlay(1) is overlay
        assert self.network(1) is node.network is overlay.network
        assert self.my_peer(1) is overlay.my_peer is node.my_peer
        assert self.address(1) == node.endpoint.wan_address == overlay.my_estimated_wan == self.my_peer(1).address
        assert overlay.my_estimated_lan == node.endpoint.lan_address
        assert self.private_key(1) is overlay.my_peer.key
        assert self.public_key(1) == overlay.my_peer.public_key
        assert self.key_bin(1) == overlay.my_peer.public_key.key_to_bin()
        assert self.key_bin_private(1) == overlay.my_peer.key.key_to_bin()
        assert self.mid(1) == overlay.my_peer.mid
        assert self.peer(1) == self.my_peer(1)
        assert self.peer(1) is not self.peer(1)
        assert self.peer(1).address == self.address(1)
        assert self.peer(1).key.key_to_bin() == self.key_bin(1)
        assert self.endpoint(1) is node.endpoint is overlay.endpoint

    async def test_messages(self) -> None:
        self.overlay(0).ez_send(self.peer(1), Ask(5))
        await self.deliver_messages()
        assert self.overlay(1).asked == [(self.peer(0), 5)]
        assert self.overlay(0).told == [6]

    async def test_introductions(self) -> None:
        await self.introduce_nodes()
        for i in range(3):
            assert set(self.overlay(i).introduced) == {self.peer(j) for j in range(3) if j != i}

    async def test_mock_walk(self) -> None:
        self.nodes[0].discovery.take_step()
        await self.deliver_messages()
        assert self.overlay(1).introduced == self.overlay(2).introduced == [self.my_peer(0)]

    async def test_additional_node(self) -> None:
        node = self.create_node()
        self.add_node_to_experiment(node)
        assert self.nodes[3] is node
        assert {*node.network.verified_peers} == {self.peer(i) for i in range(3)}
        assert node.network.get_services_for_peer(self.peer(0)) == {TalkCommunity.community_id}
        assert self.peer(3) not in self.network(0).verified_peers
        await self.introduce_nodes()
        assert self.peer(3) in self.network(0).verified_peers

    async def test_passthrough(self) -> None:
        timeouts: list[int] = []

        class Cache(NumberCache):
            def on_timeout(self) -> None:
                timeouts.append(self.number)

        cache = self.overlay(0).request_cache
        cache.add(Cache(cache, "", 0))
        with cache.passthrough(Cache):
            cache.add(Cache(cache, "", 1))
        await self.deliver_messages()
        assert timeouts == [1]
        assert cache.has("", 0)

    async def test_no_lan_scan(self) -> None:
        assert get_providers() == []

    async def test_loop(self) -> None:
        assert self.loop is asyncio.get_running_loop()
        assert self.loop.get_debug()

    async def test_temporary_directories(self) -> None:
        random.seed(7)
        first = self.temporary_directory()
        second = self.temporary_directory()
        assert os.path.basename(first) in os.listdir()
        assert first != second
        directory, name = os.path.split(first)
        assert directory == os.getcwd()
        assert name.startswith("TestNodes_temp_")
        assert len(name) == len("TestNodes_temp_") + 32
        await self.tearDown()
        assert os.path.basename(first) not in os.listdir()
        random.seed(7)
        assert self.temporary_directory() == first
        os.rmdir(first)

    def test_synchronous_test(self) -> None:
        assert not self.loop.is_running()
        assert self.overlay(0).get_peers()


class TestAsyncSetUp(TestBase[TalkCommunity]):
    """An async setUp that calls the inherited one, and a synchronous tearDown; under pytest."""

    async def setUp(self) -> None:  # type: ignore[override]  # supported in addition to unittest's rules
        super().setUp()
        await asyncio.sleep(0)
        self.loop_of_set_up = asyncio.get_running_loop()
        self.initialize(TalkCommunity, 2, TalkSettings(constant=7))

    def tearDown(self) -> Any:
        return super().tearDown()

    async def test_same_loop(self) -> None:
        assert self.loop_of_set_up is asyncio.get_running_loop()

    async def test_settings_are_a_template(self) -> None:
        assert [self.overlay(i).constant for i in range(2)] == [7, 7]
        assert self.overlay(0).settings is not self.overlay(1).settings
        assert self.overlay(0).settings.my_peer is self.my_peer(0)

    async def test_data_in_settings_is_not_shared(self) -> None:
        shared = Mock()
        self.initialize(TalkCommunity, 2, TalkSettings(limits={"names": ["a"]}, provider=shared))
        first, second = (self.overlay(i).settings for i in range(2))
        first.limits["names"].append("b")
        assert second.limits == {"names": ["a"]}
        assert first.provider is second.provider is shared


class TestAssertions(TestBase[TalkCommunity]):
    """Checks of what is received; under pytest."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TalkCommunity, 2)

    async def send(self, *values: int) -> None:
        """Deliver odd values as signed questions, even ones as unsigned statements."""
        for value in values:
            if value % 2:
                self.overlay(0).ez_send(self.peer(1), Ask(value))
            else:
                self.overlay(0).ez_send(self.peer(1), Tell(value), sig=False)
        await self.deliver_messages()

    async def test_in_order(self) -> None:
        with self.assertReceivedBy(1, [Ask, Tell, Ask]) as received:
            assert received == []
            await self.send(1)
            assert len(received) == 1
            await self.send(2, 3)
        values = [message.value for message in received]  # type: ignore[attr-defined]  # of the classes above
        assert values == [1, 2, 3]
        assert isinstance(received[1], Tell)

    async def test_nothing(self) -> None:
        with self.assertReceivedBy(1, []):
            await self.deliver_messages()

    async def test_wrong_order(self) -> None:
        with pytest.raises(AssertionError, match="Lists differ"), self.assertReceivedBy(1, [Tell, Ask]):
            await self.send(1, 2)

    async def test_any_order(self) -> None:
        with self.assertReceivedBy(1, [Tell, Ask, Ask], ordered=False):
            await self.send(1, 2, 3)

    async def test_any_order_counts(self) -> None:
        wrong = self.assertReceivedBy(1, [Tell, Tell, Ask], ordered=False)
        with pytest.raises(AssertionError, match="Counter"), wrong:
            await self.send(1, 2, 3)

    async def test_missing(self) -> None:
        with pytest.raises(AssertionError), self.assertReceivedBy(1, [Ask]):
            await self.deliver_messages()

    async def test_filter(self) -> None:
        with self.assertReceivedBy(1, [Tell], message_filter=[Tell]) as received:
            await self.send(1, 2, 3)
        assert len(received) == 1

    async def test_error_in_the_block_comes_first(self) -> None:
        with pytest.raises(ValueError, match="deliberate"), self.assertReceivedBy(1, [Ask]):
            raise ValueError("deliberate")

    async def test_listener_is_removed(self) -> None:
        with self.assertReceivedBy(1, []) as received:
            pass
        await self.send(1)
        assert received == []

    async def test_foreign_packets_are_overlooked(self) -> None:
        listener = TranslatedMockEndpointListener(self.overlay(1), [Ask])
        for packet in (b"", b"x", self.overlay(1).get_prefix(), b"x" * 100):
            listener.on_packet((self.address(0), packet))
        assert listener.received_messages == []
        assert len(listener.received_packets) == 4
        self.overlay(1).endpoint.remove_listener(listener)

    async def test_packets_that_fail_the_test(self) -> None:
        listener = TranslatedMockEndpointListener(self.overlay(1), [Ask, Tell])
        other = self.overlay(0).ezr_pack(4, Unhandled(1))
        garbled = self.overlay(0).ezr_pack(1, Ask(1))[:-1] + b"x"
        with pytest.raises(AssertionError, match="not expected"):
            listener.on_packet((self.address(0), other))
        with pytest.raises(AssertionError, match="cannot be decoded as Ask"):
            listener.on_packet((self.address(0), garbled))
        self.overlay(1).endpoint.remove_listener(listener)

    async def test_classes_need_an_id(self) -> None:
        class Part(VariablePayload):
            format_list = ["I"]
            names = ["value"]

        with pytest.raises(AssertionError, match="msg_id"):
            TranslatedMockEndpointListener(self.overlay(1), [Part])
        with pytest.raises(AssertionError, match="msg_id"):
            TranslatedMockEndpointListener(self.overlay(1), [], [Part])


class TestDelivery(TestBase[TalkCommunity]):
    """What deliver_messages waits for; under pytest."""

    async def test_timers_within_the_timeout(self) -> None:
        done: list[int] = []
        asyncio.get_running_loop().call_later(0.02, done.append, 1)
        asyncio.get_running_loop().call_later(30, done.append, 2)
        await self.deliver_messages()
        assert done == [1]

    async def test_calls_in_executors(self) -> None:
        release = threading.Event()
        asyncio.get_running_loop().call_later(0.02, release.set)
        call = asyncio.get_running_loop().run_in_executor(None, release.wait, 30)
        await self.deliver_messages(timeout=30)
        assert call.done()

    async def test_background_tasks_are_ignored(self) -> None:
        """Even if their timers are due within the timeout."""
        self.initialize(TalkCommunity, 1)
        await self.deliver_messages(timeout=3600)
        names = {task.get_name() for task in asyncio.all_tasks() if self.is_background_task(task)}
        assert names == {"TalkCommunity:_check_tasks", "TalkCommunity:discover_lan_addresses",
                         "RequestCache:_check_tasks"}

    async def looks(self) -> list[bool]:
        """Deliver messages; whether that waits for other threads."""
        seen = []

        async def until_quiet(_: float, __: Any, threads: Any) -> None:
            seen.append(threads is not None)

        with patch("ipv8.test.base.until_quiet", until_quiet):
            await self.deliver_messages()
        return seen

    async def test_other_threads_are_waited_for_unless_all_endpoints_are_mocks(self) -> None:
        assert await self.looks() == [True]  # nodes that the test case does not know may have any endpoint
        self.initialize(TalkCommunity, 2, enable_statistics=True)
        self.nodes.append(MockIPv8("very-low", TalkCommunity))
        assert await self.looks() == [False]
        mock = self.nodes[1].endpoint
        self.nodes[1].endpoint = DispatcherEndpoint(["UDPIPv4"])
        assert await self.looks() == [True]
        self.nodes[1].endpoint = Mock(wan_address=mock.wan_address)
        assert await self.looks() == [True]
        self.nodes[1].endpoint = mock

    async def test_what_another_thread_hands_over(self) -> None:
        done: list[int] = []
        loop, threads = asyncio.get_running_loop(), self._threads
        assert threads is not None
        await loop.run_in_executor(None, loop.call_soon_threadsafe, done.append, 1)
        await self.deliver_messages()
        assert done == [1]
        assert threads.calls >= 1

    async def test_sockets(self) -> None:
        """While there are sockets, the tasks are watched."""
        done: list[int] = []

        async def work() -> None:
            await asyncio.sleep(0.03)
            done.append(1)

        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        task = asyncio.ensure_future(work())
        await self.deliver_messages(timeout=30)
        assert done == [1]
        await task
        server.close()
        await server.wait_closed()


class Failing(Talk):
    """Cases that are run by unittest below, each of which fails unseen until its end."""

    __test__ = False

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TalkCommunity, 2)

    async def handler(self) -> None:
        self.overlay(0).ez_send(self.peer(1), Crash(0))
        await self.deliver_messages()

    async def coroutine(self) -> None:
        self.overlay(0).ez_send(self.peer(1), Crash(1))
        await self.deliver_messages()

    async def unknown(self) -> None:
        self.overlay(0).ez_send(self.peer(1), Unhandled(1))
        await self.deliver_messages()

    async def garbled(self) -> None:
        packet = self.overlay(0).ezr_pack(1, Ask(1))
        self.endpoint(0).send(self.address(1), packet[:-1])
        await self.deliver_messages()

    async def destination(self) -> None:
        internet.pop(self.address(1))
        try:
            self.overlay(0).ez_send(self.peer(1), Ask(1))
        except AssertionError:
            await self.deliver_messages()

    async def task(self) -> None:
        self.overlay(0).register_task("t", self.overlay(0).crash_later)

    async def several(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(int, "first")
        loop.call_soon(int, "second")

    async def message_only(self) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "something odd"})

    async def stopping(self) -> None:
        async def unload() -> None:
            raise ValueError("unload")

        self.overlay(0).unload, original = unload, self.overlay(0).unload  # type: ignore[method-assign]  # to fail
        self.addAsyncCleanup(original)

    async def itself(self) -> None:
        self.overlay(0).register_task("t", self.overlay(0).crash_later)
        await asyncio.sleep(0)
        await self.tearDown()


@pytest.mark.parametrize(("name", "reason"), [
    ("handler", "ValueError: handler"), ("coroutine", "ValueError: coroutine"), ("unknown", "no handler for message 4"),
    ("garbled", "signature"), ("destination", "has the address"), ("task", "ValueError: coroutine"),
    ("several", "'first'"), ("message_only", "AssertionError: something odd"), ("stopping", "ValueError: unload"),
    ("itself", "ValueError: coroutine"),
])
def test_unseen_failures(name: str, reason: str) -> None:
    assert reason in failure(Failing(name))
    assert internet == {}


class Production(Failing):
    """Exceptions of message handlers are logged."""

    __test__ = False

    def setUp(self) -> None:
        self.production_overlay_classes.append(TalkCommunity)
        super().setUp()


@pytest.mark.parametrize("name", ["handler", "coroutine", "unknown", "garbled"])
def test_production_overlays(name: str, caplog: pytest.LogCaptureFixture) -> None:
    check(Production(name))


def test_selective_patching() -> None:
    class Case(Failing):
        def patch_overlays(self, i: int) -> None:
            if i == 0:
                super().patch_overlays(i)

        async def other(self) -> None:
            self.overlay(1).ez_send(self.peer(0), Crash(0))
            await self.deliver_messages()

    check(Case("handler"))
    assert "ValueError: handler" in failure(Case("other"))


def test_all_overlays_of_a_node_are_patched() -> None:
    class Case(Talk):
        async def test(self) -> None:
            self.initialize(TalkCommunity, 1)
            node = self.node(0)
            settings = TalkSettings(my_peer=node.my_peer, endpoint=node.endpoint, network=node.network)
            extra, dht = OtherCommunity(settings), OtherCommunity(settings)
            node.overlays.append(extra)
            node.dht = dht
            self.patch_overlays(0)
            for overlay in (node.overlay, extra, dht):
                with self.assertRaises(AssertionError):  # noqa: PT027 - under unittest
                    overlay.on_packet((self.address(0), overlay.get_prefix() + b"\x04"))
            await extra.unload()

    check(Case("test"))


# Life cycle


def test_what_tear_down_leaves() -> None:
    handlers: list[Any] = []

    class Case(Talk):
        async def test(self) -> None:
            self.initialize(TalkCommunity, 2)
            handlers.append(asyncio.get_running_loop().get_exception_handler())
            overlay = self.overlay(0)
            self.addCleanup(lambda: handlers.append((self.loop.get_exception_handler(), overlay._shutdown,
                                                     self.endpoint(0).is_open())))

    provider: Any = object()
    get_providers().append(provider)
    case = Case("test")
    check(case)
    assert handlers[0] == case._on_loop_failure
    assert handlers[1] == (None, True, False)
    assert internet == {}
    assert get_providers() == [provider]


@pytest.mark.parametrize("kind", ["sync", "async", "missing super"])
def test_nodes_are_stopped_whatever_tear_down_does(kind: str) -> None:
    class Case(Talk):
        async def test(self) -> None:
            self.initialize(TalkCommunity, 1)

    def synchronous(self: Case) -> Any:
        return super(Case, self).tearDown()

    async def asynchronous(self: Case) -> None:
        await super(Case, self).tearDown()

    async def forgetful(_: Case) -> None:
        pass

    methods: dict[str, Callable[..., Any]] = {"sync": synchronous, "async": asynchronous, "missing super": forgetful}
    Case.tearDown = methods[kind]  # type: ignore[method-assign]  # the variants under test
    case = Case("test")
    check(case)
    assert case.overlay(0)._shutdown


def test_nodes_are_stopped_when_set_up_fails() -> None:
    class Case(Talk):
        async def setUp(self) -> None:  # type: ignore[override]  # supported in addition
            super().setUp()
            self.initialize(TalkCommunity, 1)
            raise ValueError("set up")

        async def test(self) -> None:
            raise AssertionError("not reached")

    case = Case("test")
    assert "ValueError: set up" in failure(case)
    assert case.overlay(0)._shutdown
    assert internet == {}


def test_order_of_hooks() -> None:
    order: list[str] = []

    class Case(Talk):
        def setUp(self) -> None:
            super().setUp()
            order.append("setUp")
            self.addCleanup(order.append, "cleanup")

        async def asyncSetUp(self) -> None:
            order.append("asyncSetUp")

        async def test(self) -> None:
            order.append("test")

        async def asyncTearDown(self) -> None:
            order.append("asyncTearDown")

        async def tearDown(self) -> None:  # type: ignore[override]  # as in the base
            order.append("tearDown")
            await super().tearDown()

    check(Case("test"))
    assert order == ["setUp", "asyncSetUp", "test", "asyncTearDown", "tearDown", "cleanup"]


def test_constructor() -> None:
    internet[("1.2.3.4", 5)] = None  # type: ignore[assignment]  # a leftover
    case = Talk()
    assert internet == {}
    assert (case.nodes, case.overlay_class, case._tempdirs, case.production_overlay_classes) == ([], None, [], [])
    assert case._uncaught_async_failure is None
    assert (case.MAX_TEST_TIME, case.__testing__) == (10, True)


# Making nodes


def test_create_node() -> None:
    calls: list[Any] = []

    class Case(Talk):
        def create_node(self, *args: Any, **kwargs: Any) -> MockIPv8:
            calls.append(args)
            return MockIPv8("curve25519", TalkCommunity, *args, **kwargs)

        async def test(self) -> None:
            self.initialize(TalkCommunity, 1)
            self.initialize(TalkCommunity, 1, TalkSettings(constant=3), enable_statistics=True)
            self.addAsyncCleanup(self.node(0).stop)
            assert self.overlay(0).constant == 3
            assert self.key_bin(0).startswith(b"LibNaCLPK:")

    class OldCase(Case):
        def create_node(self) -> MockIPv8:  # type: ignore[override]  # as before there were settings
            calls.append(())
            return MockIPv8("curve25519", TalkCommunity, constant=5)

        async def test(self) -> None:
            self.initialize(TalkCommunity, 1)
            assert self.overlay(0).constant == 5

    check(Case("test"))
    assert calls[0] == (None, False, False)
    assert calls[1][1:] == (False, True)
    del calls[:]
    check(OldCase("test"))
    assert calls == [()]


def test_create_node_without_a_class() -> None:
    class Case(Talk):
        async def test(self) -> None:
            self.create_node()

    assert "overlay_class" in failure(Case("test"))


class TestMockNode(TestBase[TalkCommunity]):
    """The mock node; under pytest."""

    def keep(self, node: MockIPv8) -> MockIPv8:
        self.nodes.append(node)
        return node

    async def test_parts(self) -> None:
        node = self.keep(MockIPv8("very-low", TalkCommunity))
        assert node.endpoint.is_open()
        assert node.overlay.network is node.network
        assert node.discovery.overlay is node.overlay
        assert (node.dht, node.overlays, node.strategies) == (None, [], [])

    async def test_given_peer(self) -> None:
        donor = self.keep(MockIPv8("very-low", TalkCommunity))
        peer = Peer(donor.my_peer.key)
        node = self.keep(MockIPv8(peer, TalkCommunity))
        assert node.my_peer is peer is node.overlay.my_peer
        assert peer.address == node.endpoint.wan_address

    async def test_given_settings(self) -> None:
        settings = TalkSettings(constant=5)
        node = self.keep(MockIPv8("very-low", TalkCommunity, settings))
        assert node.overlay.settings is settings
        assert settings.endpoint is node.endpoint
        assert node.overlay.constant == 5

    async def test_extra_settings(self) -> None:
        node = self.keep(MockIPv8("very-low", TalkCommunity, constant=6, working_directory=":memory:"))
        assert node.overlay.constant == 6
        assert node.overlay.settings.working_directory == ":memory:"
        node = self.keep(MockIPv8("very-low", TalkCommunity, TalkSettings(), constant=7))
        assert node.overlay.constant == 7

    async def test_dht(self) -> None:
        class Dht(OtherCommunity):
            def __init__(self, settings: CommunitySettings) -> None:
                assert vars(settings).keys() == {"my_peer", "endpoint", "network"}
                super().__init__(TalkSettings(**vars(settings)))

        module: Any = ModuleType("ipv8.dht.discovery")
        module.DHTDiscoveryCommunity = Dht
        with patch.dict(sys.modules, {"ipv8.dht.discovery": module}):
            self.initialize(TalkCommunity, 2, create_dht=True)
        node = self.node(1)
        assert isinstance(node.dht, Dht)
        assert node.overlay.settings.dht is node.dht
        assert node.dht.my_peer is node.my_peer
        assert (node.dht.my_estimated_wan, node.dht.my_estimated_lan) == (self.address(1), node.endpoint.lan_address)
        await node.stop()
        assert node.dht._shutdown

    async def test_statistics(self) -> None:
        node, other = (self.keep(MockIPv8("very-low", TalkCommunity, enable_statistics=True)) for _ in range(2))
        node.overlay.walk_to(other.endpoint.wan_address)
        await self.deliver_messages()
        prefix = TalkCommunity(TalkSettings(my_peer=node.my_peer, endpoint=node.endpoint, network=node.network))
        await prefix.unload()
        assert node.endpoint.get_message_sent(prefix.get_prefix(), include_introduction=True) == 1
        assert other.endpoint.get_message_received(prefix.get_prefix(), include_introduction=True) == 1
        assert node.overlay.my_estimated_wan == node.endpoint.wan_address

    async def test_overlays(self) -> None:
        node = self.keep(MockIPv8("very-low", TalkCommunity))
        assert node.get_overlay(TalkCommunity) is node.overlay
        assert node.get_overlay(Community) is node.overlay
        assert node.get_overlay(OtherCommunity) is None
        node.dht = OtherCommunity(TalkSettings(my_peer=node.my_peer, endpoint=node.endpoint, network=node.network))
        assert list(node.get_overlays(TalkCommunity)) == [node.dht, node.overlay]
        assert node.get_overlay(OtherCommunity) is node.dht

    async def test_added_overlays(self) -> None:
        node = self.keep(MockIPv8("very-low", TalkCommunity))
        extra = OtherCommunity(TalkSettings(my_peer=node.my_peer, endpoint=node.endpoint, network=node.network))
        strategy = type(node.discovery)(extra)
        node.add_strategy(extra, strategy, 20)
        node.add_strategy(extra, strategy, -1)
        assert node.overlays == [extra]
        assert node.strategies == [(strategy, 20), (strategy, -1)]
        unloading = node.unload_overlay(extra)
        assert node.overlays == node.strategies == []
        assert not extra._shutdown
        await unloading
        assert extra._shutdown

    async def test_stop(self) -> None:
        node = MockIPv8("very-low", TalkCommunity)
        await node.unload()
        assert not node.endpoint.is_open()
        assert node.overlay._shutdown
        await node.stop()

    async def test_anonymized_endpoint(self) -> None:
        node = self.keep(MockIPv8("very-low", TalkCommunity))
        endpoint = await node.produce_anonymized_endpoint()
        endpoint.assert_open()
        endpoint.set_tunnel_community(node.overlay)
        endpoint.set_tunnel_community(node.overlay, hops=2)


class TestMockCommunity(TestBase[Any]):
    """The overlay that brings its own node; under pytest."""

    async def test_mock_community(self) -> None:
        from ipv8.test.mocking.community import MockCommunity

        class Own(MockCommunity):
            community_id = b"mine" * 5

        first, second = MockCommunity(), Own(TalkSettings(constant=1))
        assert first.endpoint is not second.endpoint
        assert first.network is not second.network
        assert first.my_peer != second.my_peer
        assert first.my_estimated_wan == first.endpoint.get_address()
        assert second.get_prefix()[2:] == b"mine" * 5
        assert not first._use_main_thread
        first.endpoint.assert_open()
        for overlay in (first, second):
            await overlay.unload()


# Tests that hang


@pytest.mark.parametrize("hang", ["time.sleep(60)", "await asyncio.sleep(60)"])
def test_watchdog(hang: str, tmp_path: Path) -> None:
    program = f"""
        import asyncio, time, unittest
        from ipv8.test import watchdog
        from ipv8.test.base import TestBase

        watchdog.POLL_INTERVAL, watchdog.INTERRUPT_GRACE = 0.05, 0.5

        class Case(TestBase):
            MAX_TEST_TIME = 0.2

            async def test_quick(self):
                await asyncio.sleep(0)

            async def test_slow(self):
                asyncio.ensure_future(asyncio.sleep(60)).set_name("the culprit")
                {hang}

        unittest.main()
    """
    file = tmp_path / "hanging.py"
    file.write_text(textwrap.dedent(program))
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    outcome = subprocess.run([sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=50,
                             check=False)
    assert outcome.returncode != 0
    assert "The tests are stuck" in outcome.stderr
    assert "in test_slow" in outcome.stderr or "the culprit" in outcome.stderr


def test_no_watchdog_under_pytest() -> None:
    assert not [thread for thread in threading.enumerate() if thread.name == "test-watchdog"]
