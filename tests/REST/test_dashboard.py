"""The dashboard in a real browser: its frame, and the pages of the node, its peers and its log."""

from __future__ import annotations

import logging
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from ipv8.community import Community
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition
from ipv8.declaration import message
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.REST import dashboard
from ipv8.REST.rest_manager import RESTManager
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.service import IPv8
from tests.REST.browser import open_page, overflow
from tests.REST.full_nodes import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)><b>Chat</b>"
PAGES = ("overview", "network", "peers", "log")


class Chat(Community):
    """Sends something to its peers all the time, in sessions."""

    community_id = bytes(range(20))
    encryption = "prefer"

    def started(self) -> None:
        self.register_task("talk", self.talk, interval=0.1)

    def talk(self) -> None:
        for peer in self.get_peers():
            self.say.send(peer, "hello")

    @message(1)
    def say(self, peer: Peer, text: str) -> None:
        self.logger.debug("%s said %s", peer, text)


def chat_node(number: int) -> IPv8:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key(f"node {number}")
    builder.set_address("127.0.0.1").set_port(0)
    walker = WalkerDefinition(Strategy.RandomWalk, 10, {"timeout": 1.0})
    builder.add_overlay("Chat", f"node {number}", [walker], [], {}, [("started",)])
    return IPv8({**builder.finalize(), "walker_interval": 0.05, "sessions": {}}, extra_communities={"Chat": Chat})


def chat_of(node: IPv8) -> Chat:
    found = node.get_overlay(Chat)
    assert found is not None
    return found


@asynccontextmanager
async def served(node: Any, **options: Any) -> AsyncIterator[str]:
    manager = RESTManager(node)
    await manager.start(0, **options)
    try:
        assert manager.url is not None
        yield manager.url
    finally:
        await manager.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[list[IPv8]]:
    """Three nodes that have met, of which the first one is shown."""
    started = [chat_node(number) for number in range(3)]
    try:
        for node in started:
            await node.start()
        chats = [chat_of(node) for node in started]
        for chat in chats[1:]:
            chat.walk_to(started[0].endpoint.get_address())
        await until(lambda: all(len(chat.get_peers()) == 2 for chat in chats), "the nodes have not met")
        yield started
    finally:
        for node in started:
            await node.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(nodes: list[IPv8]) -> AsyncIterator[str]:
    async with served(nodes[0]) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def lonely() -> AsyncIterator[str]:
    """A node that has met nobody."""
    node = chat_node(9)
    await node.start()
    async with served(node) as address:
        yield address
    await node.stop()


def strangers(number: int) -> list[Peer]:
    keys = (default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + index.to_bytes(4, "big") * 16)
            for index in range(1, number + 1))
    return [Peer(key.pub(), UDPv4Address(f"10.0.{index // 250}.{index % 250 + 1}", 1024 + index))
            for index, key in enumerate(keys)]


@asynccontextmanager
async def crowd(node: IPv8, number: int) -> AsyncIterator[None]:
    """So many more peers in the table of a node, for as long as it takes."""
    chat = chat_of(node)
    chat.cancel_pending_task("talk")  # nothing is to be sent to their addresses
    strategies, node.strategies = node.strategies, []
    added = strangers(number)
    for peer in added:
        node.network.add_verified_peer(peer)
        node.network.discover_services(peer, [Chat.community_id])
    try:
        yield
    finally:
        for peer in added:
            node.network.remove_peer(peer)
        node.strategies = strategies
        chat.started()


async def shown(page: Page) -> None:
    await page.locator("main[aria-busy=false]").wait_for()


async def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = await page.locator(selector).all_inner_texts()
    return found


# -- the server ------------------------------------------------------------------------------------------------------

async def test_files_need_no_key_and_are_kept_by_their_tags(nodes: list[IPv8]) -> None:
    async with served(nodes[1], api_key="secret") as address, aiohttp.ClientSession(address) as client:
        for path in ("/dashboard", *(f"/dashboard/{name}" for name in dashboard.PAGES)):
            response = await client.get(path)
            assert response.status == 200
            assert response.content_type == "text/html"
            policy = response.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert all(part in policy for part in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"))
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
        assert (await client.get("/node/overview")).status == 401
        for name, file in dashboard.package_files().items():
            path = f"/dashboard/files/{name}"
            response = await client.get(path)
            assert (response.status, await response.read()) == (200, file.content)
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "no-cache"
            again = await client.get(path, headers={"If-None-Match": tag})
            assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
            assert (await client.get(path, headers={"If-None-Match": '"another"'})).status == 200
        for path in ("/dashboard/nothing", "/dashboard/files/nothing.js", "/dashboard/files/../../docs.js",
                     "/dashboard/files/..%2Fdocs.js", "/dashboard/files/pages"):
            assert (await client.get(path)).status in {401, 404}


async def test_page_learns_what_it_can_ask_for(nodes: list[IPv8]) -> None:
    key = {"X-Api-Key": "secret"}
    async with served(nodes[1], api_key="secret") as address, aiohttp.ClientSession(address) as client:
        assert await (await client.get("/dashboard/access")).json() == {"needs_key": True}
        assert (await client.get("/dashboard/parts")).status == 401
        answer = await (await client.get("/dashboard/parts", headers=key)).json()
        assert {"node", "events", "identity", "network", "sessions"} <= set(answer["parts"])
        assert not {"dht", "tunnel", "trust", "trustchain"} & set(answer["parts"])
    async with served(nodes[1], observe=False) as address, aiohttp.ClientSession(address) as client:
        assert await (await client.get("/dashboard/access")).json() == {"needs_key": False}
        answer = await (await client.get("/dashboard/parts")).json()
        assert not {"node", "events"} & set(answer["parts"])


async def test_no_dashboard(nodes: list[IPv8]) -> None:
    async with served(nodes[1], dashboard=False) as address, aiohttp.ClientSession(address) as client:
        assert (await client.get("/dashboard")).status == 404


async def test_page_of_a_program_at_the_same_place(nodes: list[IPv8]) -> None:
    class Own(RootEndpoint):
        def setup_routes(self) -> None:
            super().setup_routes()
            self.app.router.add_get("/dashboard", self.get_own)

        async def get_own(self, _: Any) -> aiohttp.web.Response:
            return aiohttp.web.Response(text="own")

    manager = RESTManager(nodes[1], Own)
    await manager.start(0, api_key="secret")
    async with aiohttp.ClientSession(manager.url) as client:
        assert (await client.get("/dashboard")).status == 401
        response = await client.get("/dashboard", headers={"X-Api-Key": "secret"})
        assert await response.text() == "own"
    await manager.stop()


async def test_scripts_keep_to_the_rules() -> None:
    files = dashboard.package_files()
    scripts = {name: file.content.decode() for name, file in files.items() if name.endswith(".js")}
    assert {f"pages/{name}.js" for name in dashboard.PAGES} == {name for name in scripts if name.startswith("pages/")}
    listed = re.findall(r'\["(\w+)", "[\w ]+"\]', scripts["main.js"])
    assert tuple(listed) == dashboard.PAGES
    from_text = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"
    for name, script in scripts.items():
        assert not re.search(from_text, script), name
        assert not re.search(r"""setAttribute\(["']style|\bstyle:""", script), name
    for name, file in files.items():
        assert max(map(len, file.content.decode().splitlines())) <= 120, name
    page = files["index.html"].content.decode()
    assert not re.search(r"<script(?![^>]*src=)|style=|\bon\w+=", page)
    addresses = re.findall(r"https?://[^\"' ]+", "".join(file.content.decode() for file in files.values()))
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # the name of a language


# -- the frame -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1440])
async def test_pages_fit_into_the_window(browser: Browser, url: str, nodes: list[IPv8], width: int, dark: bool) -> None:
    async with crowd(nodes[0], 60), open_page(browser, f"{url}/dashboard", width=width, height=844, dark=dark) as page:
        for name in PAGES:
            if width < 900:
                await page.get_by_role("button", name="Menu").click()
            await page.locator(f"nav a[href='/dashboard/{name}']").click()
            await shown(page)
            assert await overflow(page) <= 0, name
            assert await page.locator("h1").count() == 1
            assert await page.evaluate("document.activeElement.tagName") == "H1"
            assert await page.locator("nav a[aria-current=page]").get_attribute("href") == f"/dashboard/{name}"
            assert page.url == f"{url}/dashboard/{name}"


async def test_addresses_and_history(browser: Browser, url: str) -> None:
    async with open_page(browser, f"{url}/dashboard") as page:
        await page.get_by_role("heading", level=1, name="Overview").wait_for()
        await page.get_by_role("link", name="Peers").click()
        await page.get_by_role("heading", level=1, name="Peers").wait_for()
        assert await page.title() == "Peers · IPv8 node"
        await page.go_back()
        await page.get_by_role("heading", level=1, name="Overview").wait_for()
        await page.go_forward()
        await page.get_by_role("heading", level=1, name="Peers").wait_for()
        await page.reload()
        await page.get_by_role("heading", level=1, name="Peers").wait_for()


async def test_colours_have_enough_contrast(browser: Browser, url: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 for text, on the page and on cards."""
    names = ["text", "muted", "accent", "ok", "warning", "problem", "info", *(f"series-{n}" for n in range(1, 7)),
             *(f"path-{path}" for path in ("direct", "lan", "observed", "predicted", "mapped", "relayed", "unknown"))]
    for dark in (False, True):
        async with open_page(browser, f"{url}/dashboard", dark=dark) as page:
            await shown(page)
            colours = await page.evaluate("""names => {
                const probe = document.body.appendChild(document.createElement("span"));
                return Object.fromEntries(names.map(name => {
                    probe.style.color = `var(--${name})`;
                    return [name, getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number)];
                }));
            }""", [*names, "background", "surface", "on-accent"])
            for ground in ("background", "surface"):
                for name in names:
                    assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground, dark)
            assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
            for ground in ("text", "accent", "muted"):  # the chosen entry of the navigation, and chosen rows
                assert contrast(colours[ground], await raised(page)) >= 4.5, (ground, dark)


async def raised(page: Page) -> list[float]:
    found: list[float] = await page.evaluate("""() => getComputedStyle(document.querySelector("nav a[aria-current]"))
        .backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)""")
    return found


def contrast(one: list[float], other: list[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def test_choice_of_colours_is_kept(browser: Browser, url: str) -> None:
    async with open_page(browser, f"{url}/dashboard") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(ground)
        await page.get_by_label("Colours").select_option("dark")
        dark = await page.evaluate(ground)
        assert dark != light
        await page.reload()
        assert await page.evaluate(ground) == dark
        assert await page.get_by_label("Colours").input_value() == "dark"
        await page.get_by_label("Colours").select_option("auto")
        assert await page.evaluate(ground) == light


async def test_everything_by_keyboard(browser: Browser, url: str) -> None:
    async with open_page(browser, f"{url}/dashboard/peers", width=390, height=844) as page:
        await shown(page)
        focused = "document.activeElement.textContent.trim() || document.activeElement.tagName"
        await page.keyboard.press("Tab")
        assert await page.evaluate(focused) == "Skip to the content"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "content"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.type") == "search"
        for _ in range(2):
            await page.keyboard.press("Tab")  # over the box that scrolls
        assert await page.evaluate(focused) == "Peer"
        await page.keyboard.press("Enter")
        heading = page.get_by_role("columnheader", name="Peer")
        assert await heading.get_attribute("aria-sort") == "ascending"
        await page.keyboard.press("Enter")
        assert await heading.get_attribute("aria-sort") == "descending"
        await page.get_by_role("button", name="Menu").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await page.evaluate(focused) == "Overview"
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        await page.keyboard.press("Escape")
        assert await page.evaluate(focused) == "Menu"
        assert not await page.get_by_role("link", name="Overview").is_visible()


async def test_key_is_asked_for(browser: Browser, nodes: list[IPv8]) -> None:
    async with served(nodes[1], api_key="secret") as address, \
            open_page(browser, f"{address}/dashboard", allowed=["401"]) as page:
        dialog = page.get_by_role("dialog", name="API key")
        await dialog.wait_for()
        assert "asks for its API key" in await dialog.inner_text()
        await dialog.get_by_label("Key").fill("wrong")
        await page.keyboard.press("Enter")
        await dialog.get_by_text("The key is wrong.").wait_for()
        for _ in range(15):  # the node refuses everything after 20 wrong keys within a minute
            async with page.expect_response(lambda answer: answer.url == f"{address}/"):
                await page.keyboard.press("Enter")
        await dialog.get_by_label("Key").fill("secret")
        await page.keyboard.press("Enter")
        await dialog.wait_for(state="hidden")
        await page.get_by_text("Live", exact=True).wait_for()
        await page.reload()
        await page.get_by_text("Live", exact=True).wait_for()
        assert "secret" not in page.url
        assert await page.evaluate("localStorage.length") == 0


async def test_lost_connection_is_shown(browser: Browser, nodes: list[IPv8]) -> None:
    manager = RESTManager(nodes[1])
    await manager.start(0)
    port = manager.port
    assert port is not None
    async with open_page(browser, f"{manager.url}/dashboard", allowed=["ERR_", "error: Failed to load"]) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        await manager.stop()
        await page.get_by_text("Connection lost").wait_for()
        assert await page.locator("body.stale").count() == 1
        await manager.start(port)
        await page.get_by_text("Live", exact=True).wait_for()
        assert await page.locator("body.stale").count() == 0
    await manager.stop()


async def test_without_events_the_node_is_asked_in_turn(browser: Browser, url: str, nodes: list[IPv8]) -> None:
    async with open_page(browser, f"{url}/dashboard/log", allowed=["404"]) as page:
        await page.route("**/events?*", lambda route: route.fulfill(status=404, json={"error": "there are none"}))
        await page.get_by_role("link", name="Overview").click()
        await page.get_by_text("Every 2 s").wait_for()
        async with crowd(nodes[0], 3):
            await page.locator(".tile").first.get_by_text("5", exact=True).wait_for()


async def test_key_can_be_given_later(browser: Browser, nodes: list[IPv8]) -> None:
    async with served(nodes[1], api_key="secret") as address, \
            open_page(browser, f"{address}/dashboard") as page:
        await page.get_by_role("dialog", name="API key").wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_text("Locked").wait_for()
        async with page.expect_response("**/dashboard/access"):
            pass
        assert not await page.get_by_role("dialog").is_visible()
        await page.get_by_role("button", name="API key").click()
        await page.get_by_role("dialog").get_by_label("Key").fill("secret")
        await page.get_by_role("button", name="Use this key").click()
        await page.get_by_text("Live", exact=True).wait_for()


async def test_node_that_is_not_observed(browser: Browser, nodes: list[IPv8]) -> None:
    async with served(nodes[1], observe=False) as address, \
            open_page(browser, f"{address}/dashboard") as page:
        await page.locator(".empty:visible", has_text="observe=False").wait_for()
        await page.get_by_text("Every 2 s").wait_for()


async def test_nothing_is_done_while_hidden(browser: Browser, url: str) -> None:
    async with open_page(browser, f"{url}/dashboard") as page:
        await page.get_by_text("Live", exact=True).wait_for()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.evaluate("""() => {
            window.isHidden = true;
            Object.defineProperty(document, "hidden", {get: () => window.isHidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        await page.wait_for_timeout(2500)
        assert not asked
        async with page.expect_request("**/events?*"), page.expect_request("**/node/overview"):
            await page.evaluate("window.isHidden = false, document.dispatchEvent(new Event('visibilitychange'))")


# -- overview --------------------------------------------------------------------------------------------------------

async def test_overview(browser: Browser, url: str, nodes: list[IPv8]) -> None:
    async with open_page(browser, f"{url}/dashboard", permissions=["clipboard-read", "clipboard-write"]) as page:
        await shown(page)
        async with page.expect_response("**/node/overview") as expected:
            pass
        state = await (await expected.value).json()
        word = {"ok": "Well", "warning": "Warning", "problem": "Problem"}[state["health"]["status"]]
        await page.locator(".health .word", has_text=word).wait_for()
        reasons = page.locator(".reasons li")
        for reason in state["health"]["reasons"]:
            if reason["name"] in {"sockets", "nat", "clock", "peers"}:  # the others may be others by now
                await reasons.filter(has_text=reason["text"]).wait_for()
        assert await reasons.count() == len(state["health"]["reasons"])
        assert await tile(page, "Peers") == "2"
        await page.get_by_role("list", name="Peers by path").get_by_role("listitem").first.wait_for()
        paths = await texts(page, ".bars li .bar-name")
        assert set(paths) == set(state["peers"]["by_path"])
        assert await page.get_by_role("row", name="Chat").count() == 1
        await page.get_by_role("button", name="Copy the public key").click()
        await page.get_by_text("Copied").wait_for()
        own = nodes[0].keys["node 0"].public_key.key_to_bin().hex()
        assert await page.evaluate("navigator.clipboard.readText()") == own
        chart = page.locator("svg[aria-label^='Traffic of the last ten minutes. Received: now']")
        await chart.focus()
        await page.keyboard.press("ArrowLeft")
        await page.locator(".legend").get_by_text(re.compile(r"Received .* at \d\d:\d\d:\d\d")).wait_for()


async def tile(page: Page, name: str) -> str:
    found: str = await page.locator(".tile", has=page.get_by_text(name, exact=True)).locator("dd > span").inner_text()
    return found


async def test_peers_that_come_and_go_are_shown_at_once(browser: Browser, url: str, nodes: list[IPv8]) -> None:
    async with open_page(browser, f"{url}/dashboard") as page:
        await page.get_by_text("Live", exact=True).wait_for()
        peers = page.locator(".tile").first.locator("dd > span")
        assert await peers.inner_text() == "2"
        async with crowd(nodes[0], 7):
            await peers.get_by_text("9", exact=True).wait_for()
            await page.get_by_role("row", name="Chat 9").wait_for()
        await peers.get_by_text("2", exact=True).wait_for()


async def test_markup_in_names_is_shown_as_text(browser: Browser, nodes: list[IPv8]) -> None:
    hostile: Any = type(HOSTILE, (Chat,), {"community_id": bytes(20), "encryption": "off"})
    shown_node = nodes[1]
    overlay = hostile(Chat.settings_class(endpoint=shown_node.endpoint, network=shown_node.network,
                                          my_peer=chat_of(shown_node).my_peer))
    shown_node.overlays.append(overlay)
    for peer in chat_of(shown_node).get_peers():
        shown_node.network.discover_services(peer, [hostile.community_id])
    try:
        async with served(shown_node) as address, open_page(browser, f"{address}/dashboard") as page:
            await page.get_by_role("row", name=HOSTILE).wait_for()
            await page.get_by_role("link", name="Peers").click()
            await shown(page)
            await page.locator("tbody button").first.click()
            await page.get_by_role("region", name="One peer").get_by_text(f"Chat, {HOSTILE}").wait_for()
            await page.get_by_role("link", name="Log").click()
            await shown(page)
            logging.getLogger(HOSTILE).warning("%s", HOSTILE * 30)
            await page.locator(".log li", has_text=HOSTILE * 30).wait_for()
            assert await page.locator("main img, main b").count() == 0
            assert await overflow(page) <= 0
    finally:
        shown_node.overlays.remove(overlay)
        await overlay.unload()


# -- network ---------------------------------------------------------------------------------------------------------

async def test_network(browser: Browser, url: str, nodes: list[IPv8]) -> None:
    async with open_page(browser, f"{url}/dashboard/network") as page:
        await shown(page)
        canvas = page.get_by_role("application", name=re.compile("Graph of the peers"))
        await canvas.focus()
        await page.keyboard.press("ArrowRight")
        await page.get_by_role("heading", name="This node").wait_for()
        for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"):
            await page.keyboard.press(key)
            if "peer=" in page.url and not page.url.endswith(nodes[0].overlays[0].my_peer.mid.hex()):
                break
        mids = {peer.mid.hex() for peer in nodes[0].network.verified_peers}
        assert page.url.partition("peer=")[2] in mids
        await page.get_by_text("Overlays in common").wait_for()
        await page.reload()
        await page.get_by_text("Overlays in common").wait_for()
        await canvas.focus()
        await page.keyboard.press("Escape")
        assert "peer=" not in page.url
        await page.get_by_text("The same as a list").click()
        rows = page.get_by_role("group", name="The nodes of the graph").get_by_role("row")
        assert await rows.count() == 3
        await rows.filter(has_text="a peer of this node").nth(0).get_by_role("button").click()
        assert page.url.partition("peer=")[2] in mids
        async with crowd(nodes[0], 3):
            await rows.nth(5).wait_for()


async def test_graph_can_be_moved(browser: Browser, url: str) -> None:
    async with open_page(browser, f"{url}/dashboard/log", reduced_motion="reduce") as page:
        await shown(page)
        await page.evaluate("""async () => {
            const {graph} = await import("/dashboard/files/graph.js");
            window.chosen = [];
            window.made = graph({label: "A graph", edgeClasses: {line: {class: "graph-edge"}},
                                 onSelect: id => window.chosen.push(id)});
            document.querySelector("main").replaceChildren(window.made.element);
            window.made.update({nodes: ["a", "b", "c"].map(id => ({id, label: id})),
                                edges: [["a", "b", "line"], ["b", "c", "line"]]});
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""")
        assert await page.evaluate("window.made.layout.isAtRest"), "no motion if it is not wanted"
        box = await page.locator("canvas").bounding_box()
        assert box is not None

        async def place(name: str) -> tuple[float, float]:
            x, y = await page.evaluate("""name => {
                const {layout, view} = window.made, index = layout.indexOf.get(name);
                return [view.x + view.scale * layout.x[index], view.y + view.scale * layout.y[index]];
            }""", name)
            return box["x"] + x, box["y"] + y

        await page.mouse.click(*await place("a"))
        assert await page.evaluate("window.chosen") == ["a"]
        x, y = await place("c")
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(x + 40, y + 60, steps=4)
        moved = await place("c")
        await page.mouse.up()
        assert moved == pytest.approx((x + 40, y + 60), abs=1)
        assert await page.evaluate("window.chosen") == ["a"], "a drag is no click"
        before = await page.evaluate("({...window.made.view})")
        await page.mouse.move(box["x"] + 20, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 50, box["y"] + 30, steps=3)
        await page.mouse.up()
        after = await page.evaluate("({...window.made.view})")
        assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, 10), abs=3)
        await page.get_by_role("button", name="Larger").click()
        assert await page.evaluate("window.made.view.scale") == pytest.approx(1.4 * after["scale"])
        await page.get_by_role("button", name="Show all").click()


# -- peers -----------------------------------------------------------------------------------------------------------

async def test_peers(browser: Browser, url: str, nodes: list[IPv8]) -> None:
    async with open_page(browser, f"{url}/dashboard/peers") as page:
        await shown(page)
        rows = page.locator("tbody tr")
        assert await rows.count() == 2
        await rows.filter(has_text="encrypted").nth(1).wait_for()
        mid = nodes[1].overlays[0].my_peer.mid.hex()
        await page.get_by_role("button", name=f"{mid[:10]}…", exact=True).click()
        await page.get_by_role("region", name="One peer").get_by_text("encrypted, in a session").wait_for()
        assert page.url.endswith(f"?peer={mid}")
        async with crowd(nodes[0], 120):
            await page.get_by_text("1 to 50 of 122").wait_for()
            await page.get_by_role("button", name="Next").click()
            await page.get_by_text("51 to 100 of 122").wait_for()
            await page.get_by_role("columnheader", name="Address").get_by_role("button").click()
            await page.get_by_text("1 to 50 of 122").wait_for()
            await page.locator("tbody tr", has_text="10.0.0.1:1024").wait_for()
            await page.get_by_label("Find").fill("10.0.0.77:")
            await page.get_by_text("1 peer found").wait_for()
            assert await rows.count() == 1
        await page.get_by_text("Nothing has this text.").wait_for()
        await page.get_by_label("Find").fill("")
        await page.get_by_text("2 peers", exact=True).wait_for()


@pytest.mark.parametrize("name", PAGES)
async def test_page_is_usable_with_500_peers(browser: Browser, url: str, nodes: list[IPv8], name: str) -> None:
    async with crowd(nodes[0], 500), open_page(browser, f"{url}/dashboard/{name}") as page:
        await shown(page)
        marks = await page.evaluate("performance.getEntriesByName('ipv8:shown').map(mark => mark.startTime)")
        assert len(marks) == 1, "a page is shown once"
        print(f"{name}: usable after {marks[0]:.0f} ms with 500 peers")


# -- log -------------------------------------------------------------------------------------------------------------

async def test_log(browser: Browser, url: str) -> None:
    logger = logging.getLogger("test of the log")
    logger.setLevel(logging.INFO)
    async with open_page(browser, f"{url}/dashboard/log", permissions=["clipboard-read", "clipboard-write"]) as page:
        await page.get_by_text("Live", exact=True).wait_for()
        lines = page.locator(".log li")
        logger.info("the first")
        logger.warning("the second")
        await lines.filter(has_text="the second").wait_for()
        assert (await texts(page, ".log .message"))[:2] == ["the second", "the first"]
        await page.get_by_label("Level").select_option("WARNING")
        await page.get_by_label("Logger").fill("OF THE LOG")
        await lines.filter(has_text="the second").wait_for()
        await lines.filter(has_text="the first").wait_for(state="detached")
        assert "level=WARNING" in page.url
        await page.get_by_role("button", name="Pause").click()
        logger.error("the third")
        logger.error("the fourth")
        await page.wait_for_timeout(300)
        assert await texts(page, ".log .message") == ["the second"]
        await page.get_by_role("button", name="Go on").click()
        await lines.nth(2).wait_for()
        await page.get_by_role("button", name="Copy what is shown").click()
        await page.get_by_text("Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert [line.split(" ", 1)[1] for line in copied.splitlines()] == [
            "ERROR test of the log: the fourth", "ERROR test of the log: the third",
            "WARNING test of the log: the second"]
        await page.get_by_label("Text").fill("nothing like this")
        await page.get_by_text("Nothing of what has been logged fits.").wait_for()


async def test_scale_of_a_chart_says_nothing_twice(browser: Browser, lonely: str) -> None:
    async with open_page(browser, f"{lonely}/dashboard/overview") as page:
        await shown(page)
        assert await texts(page, ".chart-scale span") == ["1 B/s", "", "0 B/s"]


async def test_pages_say_what_to_do_if_there_is_nothing(browser: Browser, lonely: str) -> None:
    async with open_page(browser, f"{lonely}/dashboard") as page:
        for name in ("Overview", "Network", "Peers"):
            await page.get_by_role("link", name=name).click()
            await shown(page)
            await page.get_by_text("There are no peers yet.").wait_for()
            assert "python -m ipv8 netcheck" in await texts(page, ".empty code")
