"""Step 3: two peers count to ten, with requests and responses that contain the number of a cache.

Every community has a request cache, which is shut down when the community is unloaded.

Every request but the first is sent twice. Of the two responses, only the first one finds the cache, so that nothing is
counted twice. Packets that the network duplicates, or that an attacker replays, do no harm.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from ipv8.community import Community
from ipv8.configuration import ConfigBuilder
from ipv8.lazy_community import lazy_wrapper, retrieve_cache
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.requestcache import RandomNumberCacheWithName
from ipv8_service import IPv8

if TYPE_CHECKING:
    from ipv8.community import CommunitySettings
    from ipv8.peer import Peer
    from ipv8.requestcache import RequestCache

GOAL = 10


@vp_compile
class CountRequest(VariablePayload):
    msg_id = 1
    format_list = ["I", "I"]
    names = ["value", "identifier"]
    value: int
    identifier: int


@vp_compile
class CountResponse(VariablePayload):
    msg_id = 2
    format_list = ["I", "I"]
    names = ["value", "identifier"]
    value: int
    identifier: int


class CountCache(RandomNumberCacheWithName):
    name = "count"

    def __init__(self, request_cache: RequestCache, value: int) -> None:
        super().__init__(request_cache, self.name)
        self.value = value


class CountCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.finished = asyncio.Event()
        self.add_message_handler(CountRequest, self.on_request)
        self.add_message_handler(CountResponse, self.on_response)

    def started(self) -> None:
        self.register_task("begin", self.begin, interval=0.1, delay=0)

    def begin(self) -> None:
        for peer in self.get_peers()[:1]:  # as soon as there is one
            self.cancel_pending_task("begin")
            self.ask(peer, 0)

    def ask(self, peer: Peer, value: int, times: int = 1) -> None:
        cache = self.request_cache.add(CountCache(self.request_cache, value))
        if cache is None:  # we are shutting down
            return
        for _ in range(times):
            self.ez_send(peer, CountRequest(cache.value, cache.number))

    @lazy_wrapper(CountRequest)
    def on_request(self, peer: Peer, payload: CountRequest) -> None:
        self.ez_send(peer, CountResponse(payload.value + 1, payload.identifier))

    @lazy_wrapper(CountResponse)
    @retrieve_cache(CountCache)
    def on_response(self, peer: Peer, payload: CountResponse, cache: CountCache) -> None:
        if payload.value < GOAL:
            self.ask(peer, payload.value, times=2)
        else:
            print("counted from", cache.value, "to", payload.value)
            self.finished.set()


def configuration() -> dict[str, object]:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("my peer").set_address("127.0.0.1")
    return builder.add_overlay("CountCommunity", "my peer", [], [], {}, [("started",)]).finalize()


async def main() -> None:
    classes = {"CountCommunity": CountCommunity}
    async with (IPv8(configuration(), extra_communities=classes) as first,
                IPv8(configuration(), extra_communities=classes) as second):
        first.overlays[0].walk_to(second.endpoint.get_address())  # instead of walkers and bootstrap servers
        for node in (first, second):
            overlay = node.get_overlay(CountCommunity)
            assert overlay is not None
            await overlay.finished.wait()


if __name__ == "__main__":
    asyncio.run(main())
