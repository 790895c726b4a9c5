"""Nodes of both libraries find each other: directly, through trackers, in both styles, on IPv4 and IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipv8.messaging.payload_relay import RelayPayload

if TYPE_CHECKING:
    from interop.conftest import StartNode

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

OLD_REQUEST, OLD_RESPONSE, NEW_REQUEST, NEW_RESPONSE = 246, 245, 234, 233

both_ways = pytest.mark.parametrize(("here", "there"), [("ours", "theirs"), ("theirs", "ours")])


TRACKERS: dict[str, tuple[str, dict[str, str]]] = {
    "our tracker": ("ours", {"program": "tracker"}),
    "a tracker made with our Community": ("ours", {"role": "tracker"}),
    "a tracker made with their Community": ("theirs", {"role": "tracker"}),
}

trackers = pytest.mark.parametrize("tracker", TRACKERS)


@trackers
async def test_nodes_meet_through_a_tracker(start: StartNode, tracker: str) -> None:
    kind, options = TRACKERS[tracker]
    meeting_point = await start(kind, **options)
    one = await start("ours", tracker=meeting_point)
    other = await start("theirs", tracker=meeting_point)
    await one.expect("peer", mid=other.mid, address=other.address)
    await other.expect("peer", mid=one.mid, address=one.address)
    await one.expect("response", mid=other.mid)
    await other.expect("response", mid=one.mid)


@pytest.mark.usefixtures("ipv6")
@trackers
async def test_nodes_meet_through_a_tracker_on_ipv6(start: StartNode, tracker: str) -> None:
    kind, options = TRACKERS[tracker]
    meeting_point = await start(kind, interface="UDPIPv6", **options)
    one = await start("ours", tracker=meeting_point, interface="UDPIPv6")
    other = await start("theirs", tracker=meeting_point, interface="UDPIPv6")
    await one.expect("peer", mid=other.mid, address=other.address)
    await other.expect("peer", mid=one.mid, address=one.address)
    await one.expect("response", mid=other.mid, style=NEW_RESPONSE)
    await other.expect("response", mid=one.mid, style=NEW_RESPONSE)


@both_ways
async def test_old_style_first_then_new_style(start: StartNode, here: str, there: str) -> None:
    walker, walked_to = await start(here), await start(there)
    await walker.command("walk", address=walked_to.address)
    await walked_to.expect("request", mid=walker.mid, style=OLD_REQUEST, extra=b"extra".hex())
    await walker.expect("response", mid=walked_to.mid, style=OLD_RESPONSE, introduced=["0.0.0.0", 0])
    await walker.command("request", mid=walked_to.mid)
    await walked_to.expect("request", mid=walker.mid, style=NEW_REQUEST, extra=b"extra".hex())
    await walker.expect("response", mid=walked_to.mid, style=NEW_RESPONSE)


@pytest.mark.usefixtures("ipv6")
@both_ways
async def test_walking_on_ipv6_is_new_style_at_once(start: StartNode, here: str, there: str) -> None:
    walker, walked_to = await start(here, interface="UDPIPv6"), await start(there, interface="UDPIPv6")
    await walker.command("walk", address=walked_to.address)
    await walked_to.expect("request", mid=walker.mid, style=NEW_REQUEST)
    await walker.expect("response", mid=walked_to.mid, style=NEW_RESPONSE)
    await walker.expect("peer", mid=walked_to.mid, address=walked_to.address)


@both_ways
async def test_the_introduced_node_punctures(start: StartNode, here: str, there: str) -> None:
    introducer, introduced, walker = await start(here), await start(there), await start(here)
    await introduced.command("walk", address=introducer.address)
    await introduced.expect("response", mid=introducer.mid)

    await walker.command("walk", address=introducer.address)
    await walker.expect("response", mid=introducer.mid, introduced=introduced.address)
    await introduced.expect("puncture", walker=walker.address, style="old")

    await walker.command("request", mid=introducer.mid)
    await walker.expect("response", mid=introducer.mid, introduced=introduced.address, style=NEW_RESPONSE)
    # The introduced node has not said that it understands the new style. We heed that, and pyipv8 does not.
    await introduced.expect("puncture", walker=walker.address, style="old" if here == "ours" else "new")


@both_ways
async def test_nodes_end_cleanly(start: StartNode, here: str, there: str) -> None:
    walker, walked_to = await start(here), await start(there)
    await walker.command("walk", address=walked_to.address)
    await walker.expect("peer", mid=walked_to.mid)
    ours = walker if here == "ours" else walked_to
    assert not await ours.stop()


async def test_envelopes_mean_nothing_to_others(start: StartNode) -> None:
    ours, theirs = await start("ours"), await start("theirs")
    await ours.command("walk", address=theirs.address)
    await ours.expect("response", mid=theirs.mid)
    await ours.command("send bytes", address=theirs.address, data=f"{RelayPayload.msg_id:02x}" + 150 * "00")
    await ours.command("request", mid=theirs.mid)
    await ours.expect("response", mid=theirs.mid, style=NEW_RESPONSE)
