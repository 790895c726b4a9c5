"""The service with port mapping: a node and a router on the loopback network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8.configuration import ConfigBuilder
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.portmapping import mapper as module
from ipv8.messaging.interfaces.portmapping.mapper import LIFETIME, RECOVERY_SPREAD, SPACING
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.service import IPv8

IDLE = 3600.0


def make_node(enabled: bool = True, statistics: bool = False, interface: str = "UDPIPv4", ip: str = "127.0.0.1",
              ) -> IPv8:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_walker_interval(IDLE)
    builder.config["interfaces"] = []
    builder.set_address(ip, interface).set_port(0, interface).set_port_mapping(enabled)
    return IPv8(builder.finalize(), enable_statistics=statistics)


@pytest.mark.parametrize(("versions", "protocol"), [((2,), "PCP"), ((0,), "NAT-PMP"), ((0, 2), "PCP")])
@pytest.mark.parametrize("statistics", [False, True])
def test_granted_renewed_and_given_back(run_with_router: Any, versions: tuple[int, ...], protocol: str,
                                        statistics: bool) -> None:
    async def test(router: Any) -> None:
        node = make_node(statistics=statistics)
        assert node.port_mapping is None
        assert node.endpoint.mapped_address is None
        async with node:
            assert isinstance(node.endpoint, StatisticsEndpoint) is statistics
            await asyncio.sleep(1)
            port = node.endpoint.get_address()[1]
            assert node.port_mapping is not None
            assert node.port_mapping.mapping == (protocol, "130.161.1.1", port + 1, port, LIFETIME)
            assert node.endpoint.mapped_address == UDPv4Address("130.161.1.1", port + 1)
            assert isinstance(node.endpoint.mapped_address, UDPv4Address)
            assert list(router.mappings) == [port]
            asked = len(router.requests)
            await asyncio.sleep(5 * LIFETIME)
            renewals = (len(router.requests) - asked) / (2 if protocol == "NAT-PMP" else 1)
            assert 7 <= renewals <= 10
            assert node.endpoint.mapped_address == ("130.161.1.1", port + 1)
        assert router.mappings == {}
        assert node.endpoint.mapped_address is None
        assert node.port_mapping is None

    run_with_router(test, *versions)


@pytest.mark.parametrize("versions", [(2,), (0,)])
def test_router_that_restarts(run_with_router: Any, versions: tuple[int, ...]) -> None:
    async def test(router: Any) -> None:
        async with make_node() as node:
            await asyncio.sleep(600)
            port = node.endpoint.get_address()[1]
            assert node.port_mapping is not None
            assert node.port_mapping._listener is not None
            router.announce(node.port_mapping._listener.get_extra_info("sockname"))
            await asyncio.sleep(RECOVERY_SPREAD + SPACING + 1)
            asked = len(router.requests)
            router.port_shift = 7
            router.restart()
            assert router.mappings == {}
            router.announce(node.port_mapping._listener.get_extra_info("sockname"))
            await asyncio.sleep(RECOVERY_SPREAD + SPACING + 1)
            assert len(router.requests) > asked
            assert node.endpoint.mapped_address == ("130.161.1.1", port + 1 + 7)  # the old one was wished for
            assert list(router.mappings) == [port]
        assert router.mappings == {}

    run_with_router(test, *versions)


def test_router_that_restarts_unheard(run_with_router: Any) -> None:
    async def test(router: Any) -> None:
        async with make_node() as node:
            await asyncio.sleep(600)
            router.restart()
            await asyncio.sleep(LIFETIME)
            assert list(router.mappings) == [node.endpoint.get_address()[1]]

    run_with_router(test, 2)


def test_router_that_is_switched_off_for_a_while(run_with_router: Any) -> None:
    async def test(router: Any) -> None:
        async with make_node() as node:
            await asyncio.sleep(600)
            router.versions = ()
            await asyncio.sleep(LIFETIME / 2)
            assert node.endpoint.mapped_address is not None
            await asyncio.sleep(LIFETIME)
            assert node.endpoint.mapped_address is None
            router.versions = (2,)
            await asyncio.sleep(2 * LIFETIME)
            assert node.endpoint.mapped_address is not None

    run_with_router(test, 2)


def test_silent_router_does_not_delay_the_stop(run_with_router: Any) -> None:
    async def test(router: Any) -> None:
        node = make_node()
        await node.start()
        await asyncio.sleep(600)
        router.versions = ()
        loop = asyncio.get_running_loop()
        before = loop.time()
        await node.stop()
        assert loop.time() - before < 2 * module.REMOVAL_TIMEOUT
        assert node.endpoint.mapped_address is None

    run_with_router(test, 2)


def test_no_router(run_with_router: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=module.__name__)

    async def test(router: Any) -> None:
        async with make_node() as node:
            await asyncio.sleep(LIFETIME)
            assert node.endpoint.mapped_address is None
            assert node.port_mapping is not None
            assert node.port_mapping.mapping is None

    run_with_router(test)
    [line] = [record.getMessage() for record in caplog.records]
    assert "is not forwarded: PCP: no answer from 127.0.0.1; NAT-PMP: no answer from 127.0.0.1; pip install" in line


def test_address_of_no_use_is_not_shown_to_peers(run_with_router: Any) -> None:
    async def test(router: Any) -> None:
        router.outside = type(router.outside)("192.168.0.5")
        async with make_node() as node:
            await asyncio.sleep(10)
            assert node.port_mapping is not None
            assert node.port_mapping.mapping is not None
            assert node.endpoint.mapped_address is None

    run_with_router(test, 2)


async def test_off_unless_asked(make_router: Any, surroundings: Any) -> None:
    router = await make_router(2)
    surroundings.port = router.port
    async with make_node(enabled=False) as node:
        assert node.port_mapping is None
    assert router.requests == []
    assert surroundings.sources == []


async def test_a_second_start_does_not_ask_again(surroundings: Any, make_router: Any) -> None:
    router = await make_router(2)
    surroundings.port = router.port
    node = make_node()
    node.on_start.append((lambda: (_ for _ in ()).throw(LookupError("cannot start")), ()))
    with pytest.raises(LookupError):
        await node.start()
    first = node.port_mapping
    node.on_start.clear()
    await node.start()
    assert node.port_mapping is first is not None
    await node.stop()
    assert router.mappings == {}


async def test_ipv6_needs_no_forwarding(surroundings: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    surroundings.hosts = []
    node = make_node(interface="UDPIPv6", ip="::1")
    try:
        await node.start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    finally:
        await node.stop()
    assert node.port_mapping is None
    assert "it has IPv6 only" in caplog.text


async def test_any_address(surroundings: Any) -> None:
    async with make_node(ip="0.0.0.0") as node:
        surroundings.hosts = []
        assert node.port_mapping is not None
        while not surroundings.sources:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
    assert surroundings.sources == [""]
