"""Right and wrong requests that are made from the OpenAPI document: none is an error of the server."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.REST.openapi import describe
from ipv8.REST.rest_manager import RESTManager
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.trust.graph import TrustGraph
from tests.REST.world import World, peer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Each test makes a circuit, for which there are no nodes.
NEEDS_NODES = "/tunnel/circuits/test"
#: It has no end.
STREAM = "GET /events"
KEY = "secret"
EXAMPLES = 12


class Server:
    """A node with an interface, on an event loop in a thread."""

    def __init__(self, directory: Any) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self.failure: BaseException | None = None
        self.url = ""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(40)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as e:  # noqa: BLE001 - raised by the test
            self.failure = e
        self._ready.set()

    async def _serve(self) -> None:
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        world = World(self._directory, [DiscoveryCommunity, HiddenTunnelCommunity, DHTDiscoveryCommunity])
        world.overlays.append(TrustChainCommunity(TrustChainCommunity.settings_class(
            my_peer=world.my_peer, endpoint=world.endpoint, network=world.network, working_directory=":memory:")))
        world.overlays[0].trust = graph = TrustGraph(world.my_peer.public_key.key_to_bin(), walks=100, rng=1)
        graph.add(graph.root, peer(2).public_key.key_to_bin())
        manager = RESTManager(world, OnWorld.of(world))
        await manager.start(0, api_key=KEY)
        assert manager.url is not None
        self.url = manager.url
        self._ready.set()
        await self.done.wait()
        await manager.stop()
        await world.stop()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.done.set)
        self._thread.join()


class OnWorld(RootEndpoint):
    """All endpoints, with pseudonyms that look for nobody."""

    world: World

    @classmethod
    def of(cls, world: World) -> type[OnWorld]:
        return type("OnThisWorld", (cls,), {"world": world})

    def initialize(self, session: Any) -> None:
        self.endpoints["/identity"].communication_manager = self.world.manager
        super().initialize(session)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("node"))
    yield server
    server.stop()


def operations() -> list[Any]:
    async def make() -> dict[str, Any]:
        return describe(RootEndpoint().app, "test", "1")

    document = asyncio.run(make())
    results: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    return [operation for result in results
            if NEEDS_NODES not in (operation := result.ok()).path and operation.label != STREAM]


@pytest.mark.filterwarnings("ignore")  # of the tool
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE],
                         ids=["right", "wrong"])
def test_no_error_of_the_server(server: Server, operation: Any, mode: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(base_url=server.url, headers={"X-Api-Key": KEY}, timeout=20)
        assert response.status_code < 500 or (response.status_code == 503 and "DHTError" in response.text), (
            response.status_code, response.text, case.path_parameters, case.body)

    try:
        check()
    except Exception as e:
        if type(e).__name__ not in {"Unsatisfiable", "SkipTest"} and "no examples" not in str(e).lower():
            raise
