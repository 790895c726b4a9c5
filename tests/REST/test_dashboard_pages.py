"""The pages of the overlays and of the process, in a real browser, against nodes that run all of them."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from ipv8.attestation.communication_manager import CommunicationManager
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.configuration import ConfigBuilder
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.path import PathChooser
from ipv8.peer import Peer
from ipv8.REST import dashboard
from ipv8.REST.rest_manager import RESTManager
from ipv8.service import IPv8
from ipv8.util import strip_sha1_padding
from tests.REST.browser import open_page, overflow
from tests.REST.full_nodes import FullNode, acquaint, full_nodes, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator, Page

    from ipv8.attestation.communication_manager import CommunicationChannel

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings("ignore:The identity format")]

PAGES = ("traffic", "circuits", "dht", "identity", "trust", "asyncio", "tables")
LOAN = b"loan"
HOSTILE = "<img src=x onerror=alert(1)><b>height</b>"
KEY_PREFIX = b"LibNaCLPK:".hex()


def short(key: str) -> str:
    """How the pages write a key or a hash."""
    return key.removeprefix(KEY_PREFIX)[:10]


class Bare(IPv8):
    """A node without overlays."""

    def __init__(self, directory: Path) -> None:
        builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me")
        builder.set_address("127.0.0.1").set_port(0).set_working_directory(str(directory))
        super().__init__(builder.finalize())
        self.pseudonyms = CommunicationManager(self, str(directory / "pseudonyms"), ":memory:", bootstrappers=[])

    def add(self, overlay_class: Any) -> Any:
        """Add an overlay while the node runs."""
        settings = {"working_directory": ":memory:"} if overlay_class is TrustChainCommunity else {}
        overlay = overlay_class(overlay_class.settings_class(my_peer=Peer(self.keys["me"].key), endpoint=self.endpoint,
                                                             network=self.network, **settings))
        self.overlays.append(overlay)
        return overlay


@asynccontextmanager
async def served(node: FullNode | IPv8, **options: Any) -> AsyncIterator[str]:
    manager = RESTManager(node)
    await manager.start(0, **options)
    assert manager.root_endpoint is not None
    assert manager.url is not None
    if isinstance(node, (Bare, FullNode)):
        manager.root_endpoint.endpoints["/identity"].communication_manager = node.pseudonyms
    try:
        yield manager.url
    finally:
        await manager.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[FullNode]]:
    """Nodes that have built circuits, stored values and signed blocks. The first one is shown."""
    async with full_nodes(tmp_path_factory.mktemp("nodes"), 4) as started:
        first = started[0]
        for node in started:
            node.agree(LOAN)
        await first.make_circuit(3)
        await started[1].make_circuit(3)
        for number, node in enumerate(started[1:]):
            await first.chain.propose(node.known_as(), LOAN, {"amount": number, "note": HOSTILE}, timeout=10)
        await started[1].chain.propose(started[2].known_as(), LOAN, {"amount": 9}, timeout=10)
        for number in range(4):
            await started[number].dht.store_value(hashlib.sha1(b"key %d" % number, usedforsecurity=False).digest(),
                                                  b"value %d" % number, sign=bool(number % 2))
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(nodes: list[FullNode]) -> AsyncIterator[str]:
    async with served(nodes[0]) as address:
        yield f"{address}/dashboard"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pseudonyms(nodes: list[FullNode]) -> AsyncIterator[tuple[CommunicationChannel, CommunicationChannel]]:
    """One of the node that is shown, and one of another node, which know each other."""
    own, other = await nodes[0].pseudonyms.load("alice"), await nodes[1].pseudonyms.load("bob")
    acquaint(own, other)
    yield own, other


async def shown(page: Page) -> None:
    await page.locator("main[aria-busy=false]").wait_for()


@asynccontextmanager
async def opened(browser: Browser, url: str, name: str, **options: Any) -> AsyncIterator[Page]:
    async with open_page(browser, f"{url}/{name}", **options) as page:
        await shown(page)
        yield page


def silent_peer() -> Peer:
    """A peer at an address where nobody answers."""
    key = default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + bytes([7]) * 64)
    return Peer(key.pub(), UDPv4Address("127.0.0.1", 9))


def card(page: Page, name: str) -> Locator:
    return page.locator(f"section.card[aria-label='{name}']")


async def texts(locator: Locator) -> list[str]:
    found: list[str] = await locator.all_inner_texts()
    return found


# -- all pages -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)])
async def test_pages_fit(browser: Browser, url: str, pseudonyms: Any, width: int, dark: bool) -> None:
    del pseudonyms
    async with opened(browser, url, "overview", width=width, dark=dark) as page:
        for name in PAGES:
            await page.goto(f"{url}/{name}")
            await shown(page)
            assert await page.locator("main h2:visible").count() > 0, name
            assert await overflow(page) == 0, name


@pytest.mark.parametrize(("name", "title"), [
    ("circuits", "This node runs no tunnels."), ("dht", "This node runs no DHT."),
    ("identity", "There is no pseudonym."), ("trust", "This node has no trust graph.")])
async def test_empty_states_say_what_to_do(browser: Browser, tmp_path: Any, name: str, title: str) -> None:
    async with Bare(tmp_path) as node, served(node) as address, \
            open_page(browser, f"{address}/dashboard/{name}") as page:
        state = page.locator(".empty:visible", has_text=title)
        await state.wait_for()
        assert len(await state.locator("p").all_inner_texts()) >= 2
        if name != "identity":
            await state.get_by_role("button", name="Copy").wait_for()


@pytest.mark.parametrize("observe", [True, False])
async def test_nothing_is_asked_for_that_is_not_there(browser: Browser, tmp_path: Any, observe: bool) -> None:
    async with Bare(tmp_path) as node, served(node, observe=observe) as address, \
            open_page(browser, f"{address}/dashboard") as page:
        for name in dashboard.PAGES:
            await page.goto(f"{address}/dashboard/{name}")
            await shown(page)
            async with page.expect_response("**/dashboard/parts"):
                await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # it is read again
            await shown(page)
            if not observe and name not in {"circuits", "dht", "identity", "trust"}:
                await page.locator(".empty:visible", has_text="observe=False").wait_for()
        if observe:
            await page.goto(f"{address}/dashboard/traffic")
            await card(page, "Overlays").get_by_text("No overlay is loaded.").wait_for()
        await page.get_by_text("Live" if observe else "Every 2 s", exact=True).wait_for()


@pytest.mark.parametrize(("name", "overlay_class", "missing", "there"), [
    ("circuits", HiddenTunnelCommunity, "This node runs no tunnels.", "There is no circuit."),
    ("dht", DHTDiscoveryCommunity, "This node runs no DHT.", "The DHT knows no other node."),
    ("trust", TrustChainCommunity, "This node runs no TrustChain.", "There is no block yet.")])
async def test_overlays_that_come_and_go(browser: Browser, tmp_path: Any, name: str, overlay_class: Any, missing: str,
                                         there: str) -> None:
    async with Bare(tmp_path) as node, served(node) as address, \
            open_page(browser, f"{address}/dashboard/{name}") as page:
        for _ in range(2):
            await page.locator(".empty:visible", has_text=missing).wait_for()
            overlay = node.add(overlay_class)
            await page.locator(".empty:visible", has_text=there).wait_for()
            assert not await page.locator(".empty:visible", has_text=missing).count()
            node.overlays.remove(overlay)
            await overlay.unload()
        await page.locator(".empty:visible", has_text=missing).wait_for()


async def test_a_pseudonym_that_is_removed_is_not_made_anew(browser: Browser, tmp_path: Any) -> None:
    async with Bare(tmp_path) as node, served(node) as address, aiohttp.ClientSession(address) as client:
        await client.put("/identity/gone")
        async with open_page(browser, f"{address}/dashboard/identity", allowed=["status of 404", "status 404"]) as page:
            listed = page.get_by_role("listitem", name="gone")
            await listed.wait_for()

            async def remove(route: Any) -> None:  # the page has read that the pseudonym runs
                await client.delete("/identity/gone")
                await route.continue_()

            await page.route("**/identity/gone/*", remove)
            await listed.wait_for(state="detached")
            assert await (await client.get("/identity")).json() == {"names": []}


async def test_addresses_of_pages_with_nonsense(browser: Browser, url: str) -> None:
    long = "x" * 300
    async with opened(browser, url, "overview") as page:
        for query in (f"peers?peer={long}", f"network?peer={long}", "trust?key=nonsense", "trust?key=abc",
                      f"log?level=NONE&logger={long}&text={long}", "identity?pseudonym=..%2F..", "peers?peer"):
            await page.goto(f"{url}/{query}")
            await shown(page)
        await page.goto(f"{url}/peers")
        await shown(page)
        async with page.expect_response("**/node/peers?*filter=xx*"):
            await page.get_by_label("Find").fill(long)


async def test_times_that_no_date_has_are_not_shown(browser: Browser, url: str) -> None:
    async with opened(browser, url, "traffic") as page:
        made = await page.evaluate("""async () => {
            const {clock, date} = await import("/dashboard/files/format.js");
            return [1e300, -1e300, "soon", null].flatMap((value) => [clock(value), date(value)]);
        }""")
        assert set(made) == {"\N{EN DASH}"}


# -- traffic ---------------------------------------------------------------------------------------------------------

async def test_traffic(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    async with opened(browser, url, "traffic") as page:
        await nodes[0].chain.propose(nodes[1].known_as(), LOAN, {"amount": 5}, timeout=10)
        await nodes[1].dht.find_values(bytes(20))
        rows = card(page, "Messages").locator("tbody tr")
        await rows.filter(has_text="half block").first.wait_for()
        await rows.filter(has_text="find request").first.wait_for()
        names = await texts(rows.locator("th"))
        assert "find request\nDHTDiscoveryCommunity" in names
        assert "half block\nTrustChainCommunity" in names
        await page.get_by_label("Find a message or overlay").fill("half block")
        await rows.filter(has_text="DHT").first.wait_for(state="detached")
        assert all("TrustChainCommunity" in name for name in await texts(rows.locator("th")))
        assert any("µs" in row or "ms" in row for row in await texts(rows))  # the times of handlers
        # A packet of an unknown kind is dropped, and the page says so by itself.
        packet = nodes[0].chain.get_prefix() + b"\xfe" + bytes(20)
        nodes[1].endpoint.send(nodes[0].endpoint.get_address(), packet)
        dropped = card(page, "Dropped packets").locator("tr", has_text="unknown_id")
        await dropped.wait_for()
        assert "of a kind that its overlay does not know" in await dropped.inner_text()


# -- circuits --------------------------------------------------------------------------------------------------------

async def test_circuits_hop_by_hop(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    first = nodes[0]
    async with opened(browser, url, "circuits") as page:
        circuit = await first.make_circuit(2)
        item = page.get_by_role("listitem", name=f"circuit {circuit.circuit_id}", exact=True)
        await item.wait_for()
        assert await texts(item.locator(".hop-role")) == ["This node", "Hop 1", "Exit"]
        assert await texts(item.locator(".hop code")) == [f"{short(hop.mid.hex())}…" for hop in circuit.hops]
        assert await item.locator(".badge").inner_text() == "READY"
        assert "exit for BitTorrent" in await item.inner_text()
        await first.tunnels.remove_circuit(circuit.circuit_id, "the test needs it no more", remove_now=True)
        removed = card(page, "Removed circuits").locator("tr", has_text=str(circuit.circuit_id))
        await removed.wait_for()
        assert "the test needs it no more" in await removed.inner_text()
        await item.wait_for(state="detached")
        candidates = await texts(card(page, "Nodes that can be hops").locator("tbody tr"))
        assert len(candidates) == len(nodes) - 1


async def test_a_circuit_that_is_being_built(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    tunnels = nodes[0].tunnels
    silent, flags = silent_peer(), next(iter(tunnels.candidates.values()))
    async with opened(browser, url, "circuits") as page:
        path, candidates = tunnels.path, tunnels.candidates
        tunnels.path, tunnels.path.allow_same_network = PathChooser(b"without guards"), True
        tunnels.candidates = {silent: flags, nodes[2].known_as(): flags}
        try:
            circuit = tunnels.create_circuit(2, required_exit=nodes[2].known_as(), exit_flags=())
            assert circuit is not None
            item = page.get_by_role("listitem", name=f"circuit {circuit.circuit_id}", exact=True)
            await item.wait_for()
            assert await item.locator(".badge").inner_text() == "EXTENDING"
            asked = f"Hop 1\n{short(silent.mid.hex())}…\nCopy\nis asked"
            assert await texts(item.locator(".hop")) == ["This node", asked, "Exit\nnot yet chosen"]
            assert not await item.get_by_role("button", name="Measure").is_visible()
            await tunnels.remove_circuit(circuit.circuit_id, "the test is over", remove_now=True)
        finally:
            tunnels.path, tunnels.candidates = path, candidates


async def test_speed_of_circuits(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    circuit = next(iter(nodes[0].tunnels.circuits.values()))
    async with opened(browser, url, "circuits", allowed=[r"/test\?.*ERR_ABORTED", "400"]) as page:
        speed = card(page, "Speed")
        await speed.get_by_label("For").select_option("2")
        button = speed.get_by_role("button", name="Measure a new circuit")
        assert await button.evaluate("button => { button.click(); return button.disabled; }")
        await speed.locator(".notice.ok").wait_for()
        assert "A new circuit of 1 hop" in await speed.locator(".notice").inner_text()
        assert await speed.locator("svg path.line").first.get_attribute("d")
        await speed.locator("button:enabled", has_text="Measure a new circuit").wait_for()
        # One that there is, and it is stopped.
        button = page.get_by_role("button", name=f"Measure its speed: circuit {circuit.circuit_id}")
        await speed.get_by_label("For").select_option("30")
        await button.click()
        await speed.get_by_role("button", name="Stop").click()
        await speed.locator(".notice:not(.info)").wait_for()
        await button.and_(page.locator(":enabled")).wait_for()
        # What the node refuses is told in words.
        exit_flags, circuit.hops[-1].flags = circuit.hops[-1].flags, [1]
        await button.click()
        await speed.locator(".notice.problem", has_text="does not support speed testing").wait_for()
        circuit.hops[-1].flags = exit_flags


# -- DHT -------------------------------------------------------------------------------------------------------------

async def test_dht(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    async with opened(browser, url, "dht") as page:
        assert f"Nodes\n{len(nodes) - 1}" in await card(page, "This node").inner_text()
        assert len(await texts(card(page, "Nodes").locator("tbody tr"))) == len(nodes) - 1
        assert "value 1" in await card(page, "Values stored here").inner_text()
        await page.get_by_label("Key: 40 hexadecimal digits").fill("key 3")
        await page.keyboard.press("Enter")
        form = card(page, "Look up a key")
        await form.locator(".notice.ok").wait_for()
        key = hashlib.sha1(b"key 3", usedforsecurity=False).hexdigest()
        assert (await form.locator(".notice").inner_text()).startswith(f"{key}: 1 value, by ")
        found = form.locator("tbody tr")
        assert "value 3" in await found.inner_text()
        assert short(nodes[3].keys["me"].public_key.key_to_bin().hex()) in await found.inner_text()
        looked = card(page, "Look-ups").locator("tr", has_text=short(key))
        await looked.first.wait_for()
        assert "finished" in await looked.first.inner_text()
        await looked.first.locator("svg.course").wait_for()
        await page.get_by_label("Key: 40 hexadecimal digits").fill("ab")
        await form.get_by_role("button", name="Look up").click()
        await form.locator(".notice", has_text="no value").wait_for()


async def test_values_are_stored_when_confirmed(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    key = hashlib.sha1(b"from the page", usedforsecurity=False).digest()
    async with opened(browser, url, "dht") as page:
        await page.get_by_label("Key: 40 hexadecimal digits").fill("from the page")
        await page.get_by_label("Value to store").fill("Grüße")
        await page.get_by_role("button", name="Store", exact=True).click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert not any(storage.get(key) for node in nodes for storage in node.dht.storages.values())
        await page.get_by_role("button", name="Store", exact=True).click()
        await page.get_by_role("dialog").get_by_role("button", name="Store it").click()
        await page.locator(".notice.ok", has_text="Stored under").wait_for()
    assert (await nodes[1].dht.find_values(key))[0][0] == "Grüße".encode()


async def test_a_look_up_that_runs(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    dht = nodes[0].dht
    peer = silent_peer()
    silent = Node(peer.public_key, peer.address)
    table = dht.get_routing_table(silent)
    table.add(silent)
    async with opened(browser, url, "dht") as page:
        target = silent.id[:1] + bytes(19)
        finding = asyncio.ensure_future(dht.find_values(target))
        row = card(page, "Look-ups").locator("tr", has_text=short(target.hex())).first
        await row.wait_for()
        assert "started" in await row.inner_text() or "running" in await row.inner_text()
        await finding
        await card(page, "Look-ups").locator("tr", has_text=short(target.hex())).filter(has_text="finished").wait_for()
    for bucket in table.trie.values():
        bucket.nodes.pop(silent.id, None)


# -- identity --------------------------------------------------------------------------------------------------------

async def test_an_attestation_is_accepted_by_a_click(
        browser: Browser, url: str, pseudonyms: tuple[CommunicationChannel, CommunicationChannel]) -> None:
    own, other = pseudonyms
    async with opened(browser, url, "identity") as page:
        other.request_attestation(other.peers[0], HOSTILE, "id_metadata", {"purpose": "club"})
        request = page.get_by_role("listitem", name=f"Attestation of {HOSTILE}")
        await request.wait_for()
        text = await request.inner_text()
        assert HOSTILE in text  # as text
        assert "weak format" in text
        assert "club" in text
        accept = request.get_by_role("button", name=f"Accept: attest {HOSTILE}", exact=True)
        await accept.click()
        await page.locator(".notice.problem", has_text="Enter the value").wait_for()
        await request.get_by_label("Value that you attest").fill("180")
        await accept.click()
        await page.locator(".notice.ok", has_text="is attested").wait_for()
        await request.wait_for(state="detached")
        found = await until(other.get_my_attributes, "the attestation")
        (name, _, attesters), = found.values()
        assert (name, attesters) == (HOSTILE, [own.public_key_bin])
        assert not own.attestation_requests


async def test_a_click_is_about_the_request_that_is_shown(
        browser: Browser, url: str, pseudonyms: tuple[CommunicationChannel, CommunicationChannel]) -> None:
    own, _ = pseudonyms
    asking = own.peers[0]
    async with opened(browser, url, "identity", allowed=["409"]) as page:
        seen = own.on_request_attestation(asking, "role", {"role": "guest"})
        request = page.get_by_role("listitem", name="Attestation of role")
        await request.wait_for()
        listing = f"{url}/identity/{own.name}/requests"
        frozen = await (await page.context.request.get(listing)).text()

        async def late(route: Any) -> None:
            await route.fulfill(body=frozen, content_type="application/json")

        await page.route(listing, late)  # a slow network shows the person what was there before
        seen.set_result(None)
        await asyncio.sleep(0)
        unseen = own.on_request_attestation(asking, "role", {"role": "owner"})
        await request.get_by_label("Value that you attest").fill("yes")
        for action in ("Accept: attest role", "Refuse: do not attest role"):
            await request.get_by_role("button", name=action, exact=True).click()
            await page.locator(".notice.problem", has_text="asks for something else").wait_for()
        assert not unseen.done()
        await page.unroute(listing)
        own.refuse_attestation(asking, "role")


async def test_a_number_in_a_range_is_attested_and_verified(
        browser: Browser, url: str, pseudonyms: tuple[CommunicationChannel, CommunicationChannel]) -> None:
    own, other = pseudonyms
    async with opened(browser, url, "identity") as page:
        other.request_attestation(other.peers[0], "age", "id_metadata_range_18plus", {})
        request = page.get_by_role("listitem", name="Attestation of age")
        await request.get_by_label("Value that you attest").fill("42")
        await request.get_by_role("button", name="Accept: attest age", exact=True).click()
        await until(lambda: any(name == "age" for name, _, _ in other.get_my_attributes().values()), "the attestation")
        # Now the page asks for a proof, which the other side allows.
        form = page.get_by_role("form", name="Verify an attribute of a peer")
        await form.get_by_label("Its attribute").locator("option", has_text="age").wait_for(state="attached")
        await form.get_by_label("Its attribute").select_option(label="age (id_metadata_range_18plus)")
        await form.get_by_role("button", name="Verify").click()
        peer, name = await until(lambda: next(iter(other.verify_requests), None), "the request")
        other.allow_verification(peer, name)
        await page.locator("tr", has_text="proven").wait_for()
    (_, certainty), = next(iter(own.verification_output.values()))
    assert certainty is not None
    assert certainty > 0.9


async def test_requests_are_refused_and_verifications_allowed(
        browser: Browser, url: str, pseudonyms: tuple[CommunicationChannel, CommunicationChannel]) -> None:
    own, other = pseudonyms
    async with opened(browser, url, "identity") as page:
        # The page asks for an attestation of the other side.
        form = page.get_by_role("form", name="Ask for an attestation")
        await form.get_by_label("Attribute").fill("member")
        await form.get_by_role("button", name="Ask").click()
        peer, name = await until(lambda: next(iter(other.attestation_requests), None), "the request")
        other.attest(peer, name, b"yes")
        await card(page, "Attributes and peers").locator("tr", has_text="member").wait_for()
        short_hash = strip_sha1_padding(next(iter(own.get_my_attributes())))
        for action, done in (("Accept: let it verify member", "may be verified"),
                             ("Refuse: do not let it verify member", "refused")):
            other.verify(other.peers[0], short_hash, [b"yes"], "id_metadata")
            await page.get_by_role("button", name=action, exact=True).click()
            await page.locator(".notice.ok", has_text=done).wait_for()
            if done == "may be verified":
                await until(lambda: (other.verification_output[short_hash][0][1] or 0) > 0.9, "the proof")
        other.request_attestation(other.peers[0], "height", "id_metadata", {})
        await page.get_by_role("button", name="Refuse: do not attest height").click()
        await page.locator(".notice.ok", has_text="height is refused").wait_for()
        assert not own.attestation_requests


async def test_pseudonyms_are_made_stopped_and_deleted(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    manager = nodes[0].pseudonyms
    async with opened(browser, url, "identity", width=390, allowed=["400"]) as page:
        form = page.get_by_role("form", name="Make a pseudonym")
        await form.get_by_label("Name").fill("../evil")
        await page.keyboard.press("Enter")
        await page.locator(".notice.problem", has_text="cannot be the name of a pseudonym").wait_for()
        await form.get_by_label("Name").fill("work")
        await page.keyboard.press("Enter")
        item = page.get_by_role("listitem", name="work", exact=True)
        await item.get_by_role("button", name="Stop").click()
        await item.locator(".badge", has_text="stopped").wait_for()
        assert "work" not in manager.list_loaded()
        await item.get_by_role("button", name="Start").click()
        await item.locator(".badge", has_text="running").wait_for()
        await item.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert "work" in manager.list_names()
        await item.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
        await item.wait_for(state="detached")
        assert "work" not in manager.list_names()


# -- trust -----------------------------------------------------------------------------------------------------------

async def test_chain_of_blocks(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    async with opened(browser, url, "trust") as page:
        lanes = page.get_by_role("group", name="block")
        height = nodes[0].chain.get_chain_length()
        assert await lanes.locator("g.block.proposes").count() == height
        assert await lanes.locator("g.block.agrees").count() == height
        await nodes[0].chain.propose(nodes[1].known_as(), LOAN, {"amount": 77}, timeout=10)
        newest = page.get_by_role("button", name=f"Block {height + 1} of ").and_(page.locator(".proposes"))
        await newest.wait_for()
        await newest.focus()
        await page.keyboard.press("Enter")
        details = page.locator(".details")
        assert '{"amount":77}' in await details.inner_text()
        await page.locator("tbody tr", has_text="loan").first.wait_for()
        # A half block whose partner is not there yet.
        nodes[0].chain.sign_block(nodes[1].known_as(), public_key=nodes[1].chain.my_key_bin, block_type=b"unheard of",
                                  transaction={})
        await lanes.locator("rect.missing").wait_for()


async def test_why_a_key_is_trusted(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    graph = nodes[0].trust.graph  # type: ignore[union-attr]  # the configuration has one
    key = nodes[1].chain.my_key_bin
    async with opened(browser, url, "trust") as page:
        assert await page.locator(".trust-nodes circle").count() == len(nodes)
        await card(page, "Scores").locator("tbody tr", has_text=short(key.hex())).get_by_role("button").first.click()
        why = page.get_by_role("region", name="Why a key has its score")
        await why.locator("dt", has_text="Rank").wait_for()
        assert f"{graph.score(key):.3g}" in await why.inner_text()
        assert "this node" in await why.locator(".way").first.inner_text()
        assert page.url.endswith(f"?key={key.hex()}")
        await why.get_by_role("button", name="Block this key").click()
        await page.get_by_role("dialog").get_by_role("button", name="Block it").click()
        await why.locator(".badge", has_text="blocked by you").wait_for()
        assert graph.is_blocked(key)
        await page.get_by_role("button", name=f"Unblock …{short(key.hex())}").click()
        await why.get_by_role("button", name="Block this key").wait_for()
        assert not graph.is_blocked(key)
        await page.get_by_label("Public key, as hexadecimal digits").fill("00")
        await page.get_by_role("button", name="Explain").click()
        await why.locator("p", has_text="None: it is not trusted.").wait_for()
        await page.get_by_role("combobox", name="Score").select_option("netflow")
        await page.locator("p", has_text="How much can flow").wait_for()


async def test_a_large_graph(browser: Browser, nodes: list[FullNode]) -> None:
    node = nodes[2]
    graph = node.trust.graph  # type: ignore[union-attr]  # the configuration has one
    keys = [b"LibNaCLPK:" + hashlib.sha512(b"%d" % number).digest() for number in range(500)]
    for number, key in enumerate(keys):
        graph.add(graph.root if number < 50 else keys[number % 50], key, 1.0 + number % 7)
    async with served(node) as address, opened(browser, f"{address}/dashboard", "trust", width=390) as page:
        await page.get_by_label("How many keys").select_option("2000")
        await page.locator(".trust-nodes circle").nth(500).wait_for()
        assert await overflow(page) == 0
        await page.get_by_role("button", name="Larger").click()
        assert await page.locator(".trust-graph").get_attribute("viewBox") != "-1.08 -1.08 2.16 2.16"
        await page.get_by_role("button", name="Show all").click()
        await page.locator(".trust-nodes circle.other").nth(20).click()
        await page.get_by_role("region", name="Why a key has its score").wait_for()
        assert await overflow(page) == 0


# -- the process -----------------------------------------------------------------------------------------------------

async def test_event_loop(browser: Browser, url: str) -> None:
    loop = asyncio.get_running_loop()
    before = loop.slow_callback_duration
    async with opened(browser, url, "asyncio") as page:
        assert "99 % of the time" in await card(page, "How late the event loop is").inner_text()
        await page.get_by_label("Find a task").fill("do_circuits")
        row = card(page, "Tasks").locator("tbody tr", has_text="do_circuits")
        assert "HiddenTunnelCommunity" in await row.inner_text()
        await row.get_by_role("button").click()
        await page.locator(".details .stack li").first.wait_for()
        debug = card(page, "Debug mode")
        try:
            await debug.get_by_role("switch").check()
            await debug.get_by_label("Slow from").fill("7.5")
            await debug.get_by_role("button", name="Set").click()
            await debug.locator(".notice.ok").wait_for()
            assert (loop.get_debug(), loop.slow_callback_duration) == (True, 7.5)
            await debug.get_by_role("switch").uncheck()
            await debug.get_by_role("button", name="Set").click()
            await debug.locator(".notice", has_text="is off").wait_for()
            assert not loop.get_debug()
        finally:
            loop.set_debug(False)
            loop.slow_callback_duration = before


async def test_tables(browser: Browser, url: str, nodes: list[FullNode]) -> None:
    async with opened(browser, url, "tables") as page:
        rows = card(page, "Tables with a limit").locator("tbody tr")
        await page.get_by_label("Find a table").fill("tokens")
        await rows.filter(has_text="SessionService").first.wait_for(state="detached")
        tokens = rows.filter(has_text="DHTDiscoveryCommunity").first
        number, limit = len(nodes[0].dht.tokens), nodes[0].dht.tokens.capacity
        assert (await texts(tokens.locator("td")))[2:] == [f"{number}", f"{limit:,}", "the oldest goes first"]
        await page.get_by_label("Find a table").fill("")
        head = page.get_by_role("columnheader", name="Limit")
        await head.get_by_role("button").focus()
        await page.keyboard.press("Enter")
        assert await head.get_attribute("aria-sort") == "descending"
        limits = [int(text.replace(",", "")) for text in await texts(rows.locator("td:nth-child(5)"))]
        assert limits == sorted(limits, reverse=True)
