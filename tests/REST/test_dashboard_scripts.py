"""Parts of the dashboard's scripts that need no node: texts of numbers, events, the layout of graphs, tables."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from ipv8.REST.base_endpoint import BaseEndpoint
from ipv8.REST.dashboard import PAGE_POLICY, Dashboard
from tests.REST.browser import open_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

UNKNOWN = "\u2013"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page of a server that has the scripts, without a node."""
    async def blank(_: web.Request) -> web.Response:
        text = "<!doctype html><title>Test</title><link rel=icon href=data:,><body>"
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    root: BaseEndpoint[Any] = BaseEndpoint()
    root.app.router.add_get("/blank", blank)
    Dashboard(root)
    runner = web.AppRunner(root.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_page(browser, f"http://127.0.0.1:{runner.addresses[0][1]}/blank") as opened:
            yield opened
    finally:
        await runner.cleanup()


async def run(page: Page, module: str, code: str, argument: Any = None) -> Any:
    """What a function gives that has a module as ``it``, and an argument as ``given``."""
    return await page.evaluate(f"""async given => {{
        const it = await import("/dashboard/files/{module}");
        {code}
    }}""", argument)


@pytest.mark.parametrize(("call", "expected"), [
    ("bytes(0)", "0 B"), ("bytes(999)", "999 B"), ("bytes(1000)", "1.0 kB"), ("bytes(999.6)", "1 kB"),
    ("bytes(12345)", "12 kB"), ("bytes(1.5e9)", "1.5 GB"), ("bytes(2e18)", "2,000 PB"), ("bytes(null)", UNKNOWN),
    ("bytes(NaN)", UNKNOWN), ("rate(1500)", "1.5 kB/s"), ("rate(undefined)", UNKNOWN),
    ("seconds(0)", "0 s"), ("seconds(0.0000125)", "13 µs"), ("seconds(0.00042)", "420 µs"),
    ("seconds(0.0042)", "4.2 ms"),
    ("seconds(0.9996)", "1 s"), ("seconds(59)", "59 s"), ("seconds(60)", "1 min"), ("seconds(125)", "2 min 5 s"),
    ("seconds(3600)", "1 h"), ("seconds(11400)", "3 h 10 min"), ("seconds(190000)", "2 d 4 h"),
    ("seconds(null)", UNKNOWN),
    ("ago(0.2)", "now"), ("ago(5.9)", "5 s ago"), ("ago(61)", "1 min 1 s ago"), ("ago(null)", UNKNOWN),
    ("percent(0)", "0 %"), ("percent(0.004)", "< 1 %"), ("percent(0.5)", "50 %"), ("percent(Infinity)", UNKNOWN),
    ("count(1234567)", "1,234,567"), ("plural(1, 'peer')", "1 peer"), ("plural(0, 'peer')", "0 peers"),
    ("plural(2, 'entry', 'entries')", "2 entries"),
    ("address({ip: '1.2.3.4', port: 5})", "1.2.3.4:5"), ("address({ip: '::1', port: 5})", "[::1]:5"),
    ("address(null)", UNKNOWN),
    ("shortHex('0123456789abcdef')", "0123456789…"), ("shortHex('0123456789ab')", "0123456789ab"),
    ("shortHex('4c69624e61434c504b3a' + 'ab'.repeat(64))", "…ababababab…"),
])
async def test_texts(page: Page, call: str, expected: str) -> None:
    assert await run(page, "format.js", f"return it.{call};") == expected


async def test_no_time_is_the_same_as_nothing(page: Page) -> None:
    found = await run(page, "format.js", "return [it.clock(null), it.date(undefined), it.clock(0).length]")
    assert found == [UNKNOWN, UNKNOWN, 8]
    assert await run(page, "format.js", "return [it.clock(1e300), it.date(-1e15)]") == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_events_are_read_however_they_are_cut(page: Page, size: int) -> None:
    stream = ('id: 1\nevent: a\ndata: {"x":1}\n\n: comment\n\ndata:two\r\ndata: lines\r\n\r\nretry: 2000\n\n'
              'id: 4\n\ndata: cut')
    parts = [stream[at:at + size] for at in range(0, len(stream), size)]
    found = await run(page, "stream.js", """
        const found = [], parser = new it.EventParser(data => found.push(data));
        for (const part of given) parser.feed(part);
        return found;""", parts)
    assert found == ['{"x":1}', "two\nlines"]


async def test_topics_match_by_segments(page: Page) -> None:
    assert await run(page, "stream.js", """
        return [["peer", "peer.added"], ["peer", "peers"], ["peer.added", "peer"], ["log", "log"]]
            .map(([wanted, topic]) => it.matches(topic, [wanted]));""") == [True, False, False, True]


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (-3, 1), (1, 1), (1.01, 2), (2.4, 3), (3, 3), (7, 8),
                                                 (950, 1000), (0.03, 0.03)])
async def test_scales_are_round(page: Page, value: float, expected: float) -> None:
    assert await run(page, "charts.js", "return it.roundUp(given)", value) == pytest.approx(expected)


async def test_lines_have_gaps(page: Page) -> None:
    path = await run(page, "charts.js", "return it.pathOf([[0, 1], [1, 2], [2, null], [3, 4]], x => x, y => y)")
    assert path == "M0.0 1.0L1.0 2.0M3.0 4.0"


# -- layout ----------------------------------------------------------------------------------------------------------

async def laid_out(page: Page, nodes: int, edges: list[tuple[int, int]], steps: int = 600) -> dict[str, Any]:
    found: dict[str, Any] = await run(page, "layout.js", """
        const layout = new it.Layout();
        layout.update(Array.from({length: given.nodes}, (_, index) => String(index)),
                      given.edges.map(([a, b]) => [String(a), String(b)]));
        let steps = 0, roots = 0;
        const root = Math.sqrt;
        Math.sqrt = x => { roots += 1; return root(x); };
        while (!layout.isAtRest && steps < given.steps) { layout.step(); steps += 1; }
        Math.sqrt = root;
        return {steps, roots, isAtRest: layout.isAtRest,
                places: [...layout.x].map((x, index) => [x, layout.y[index]])};
        """, {"nodes": nodes, "edges": edges, "steps": steps})
    return found


async def test_joined_nodes_are_near(page: Page) -> None:
    ring = [(index, (index + 1) % 12) for index in range(12)]
    found = await laid_out(page, 12, ring)
    assert found["isAtRest"]
    places = found["places"]
    apart = [hypot(places[a][0] - places[b][0], places[a][1] - places[b][1]) for a, b in ring]
    across = [hypot(places[a][0] - places[a + 6][0], places[a][1] - places[a + 6][1]) for a in range(6)]
    assert max(apart) < min(across)
    assert min(apart) > 10


async def test_a_layout_is_the_same_each_time(page: Page) -> None:
    star = [(0, index) for index in range(1, 30)]
    assert (await laid_out(page, 30, star))["places"] == (await laid_out(page, 30, star))["places"]


async def test_graphs_without_edges_or_nodes(page: Page) -> None:
    assert (await laid_out(page, 0, []))["steps"] == 0
    assert (await laid_out(page, 1, [(0, 0)]))["isAtRest"]
    places = (await laid_out(page, 5, []))["places"]
    assert len({(round(x), round(y)) for x, y in places}) == 5


async def test_the_forces_of_far_nodes_are_taken_together(page: Page) -> None:
    async def forces(nodes: int) -> float:
        """The forces on a node that a step computes, each of which has a square root."""
        found = await laid_out(page, nodes, [(index // 3, index) for index in range(1, nodes)], steps=60)
        assert all(abs(part) < 1e5 for place in found["places"] for part in place)
        return float(found["roots"] / found["steps"] / nodes)

    few, many = await forces(250), await forces(1000)
    print(f"forces on a node: {few:.0f} among 250, {many:.0f} among 1000")
    assert many < 2 * few


async def test_nodes_that_stay_keep_their_places(page: Page) -> None:
    before, after = await run(page, "layout.js", """
        const layout = new it.Layout();
        layout.update(["a", "b", "c"], [["a", "b"], ["b", "c"]]);
        for (let step = 0; step < 100; step += 1) layout.step();
        const place = id => [layout.x[layout.indexOf.get(id)], layout.y[layout.indexOf.get(id)]];
        const before = ["b", "c"].map(place);
        layout.update(["c", "d", "b"], [["b", "c"], ["c", "d"], ["c", "unknown"]]);
        return [before, [...["b", "c"].map(place), place("d")]];""")
    assert after[:2] == before
    new, neighbour = after[2], after[1]
    assert hypot(new[0] - neighbour[0], new[1] - neighbour[1]) == pytest.approx(60)


async def test_groups_stand_for_all_other_points(page: Page) -> None:
    """Barnes-Hut: the masses that are visited are those of all other points, and their force is about the exact one."""
    found = await run(page, "quadtree.js", """
        const x = given.map(([x]) => x), y = given.map(([, y]) => y);
        const tree = new it.QuadTree(x, y, x.length);
        return x.map((_, index) => {
            let [mass, forceX, forceY, visits] = [0, 0, 0, 0];
            const add = (otherX, otherY, weight) => {
                const [dx, dy] = [x[index] - otherX, y[index] - otherY];
                const squared = dx * dx + dy * dy + 1;
                mass += weight; visits += 1; forceX += weight * dx / squared; forceY += weight * dy / squared;
            };
            tree.each(index, add);
            const grouped = [forceX, forceY];
            [forceX, forceY] = [0, 0];
            const [masses, all] = [mass, visits];
            x.forEach((_, other) => { if (other !== index) add(x[other], y[other], 1); });
            return {masses, visits: all, error: Math.hypot(forceX - grouped[0], forceY - grouped[1]),
                    size: Math.hypot(forceX, forceY)};
        });""", [[(index * 7919) % 1009, (index * 104729) % 997] for index in range(400)])
    assert all(entry["masses"] == 399 for entry in found)
    assert sum(entry["visits"] for entry in found) < 0.4 * 400 * 399
    errors = sorted(entry["error"] / max(entry["size"], 0.1) for entry in found)
    assert errors[200] < 0.05


async def test_points_at_one_place_are_no_endless_tree(page: Page) -> None:
    masses = await run(page, "quadtree.js", """
        const tree = new it.QuadTree([3, 3, 3, 9], [4, 4, 4, 9], 4);
        let mass = 0;
        tree.each(3, (x, y, weight) => { mass += weight; });
        return [mass, tree.mass[0]];""")
    assert masses == [3, 4]


# -- tables and dialogs ----------------------------------------------------------------------------------------------

ROWS = [{"name": "b", "size": 2}, {"name": "a10", "size": None}, {"name": "a9", "size": 30}]


async def test_tables_sort_what_is_not_known_last(page: Page) -> None:
    names = await run(page, "ui.js", """
        const made = it.table({caption: "Rows", rows: given, filter: (row, text) => row.name.includes(text), columns: [
            {name: "name", title: "Name"}, {name: "size", title: "Size", numeric: true}]});
        document.body.append(made.element);
        const names = () => [...made.element.querySelectorAll("tbody th")].map(cell => cell.textContent);
        const [byName, bySize] = made.element.querySelectorAll("thead button");
        const found = [names()];
        byName.click(); found.push(names());
        bySize.click(); found.push(names());
        bySize.click(); found.push(names());
        const focused = made.element.querySelector("tbody tr");
        made.update([...given, {name: "c", size: 1}]); found.push(names());
        found.push(focused.isConnected);
        made.find("A"); found.push(names());
        made.find("nothing"); found.push(made.nothing.hidden);
        made.find(""); made.update([]); found.push(made.none.hidden);
        made.element.remove();
        return found;""", ROWS)
    assert names == [["b", "a10", "a9"], ["a9", "a10", "b"], ["a9", "b", "a10"], ["b", "a9", "a10"],
                     ["c", "b", "a9", "a10"], True, ["a9", "a10"], False, False]


async def test_long_tables_are_cut_into_pages(page: Page) -> None:
    found = await run(page, "ui.js", """
        const rows = Array.from({length: 120}, (_, index) => ({name: String(index).padStart(3, "0")}));
        const made = it.table({caption: "Rows", rows, columns: [{name: "name", title: "Name"}]});
        const state = () => [made.place.textContent, made.body.children.length, made.back.disabled, made.next.disabled];
        const found = [state()];
        made.next.click(); made.next.click(); found.push(state());
        made.update(rows.slice(0, 60)); found.push(state());
        return found;""")
    assert found == [["1 to 50 of 120", 50, True, False], ["101 to 120 of 120", 20, False, True],
                     ["51 to 60 of 60", 10, False, True]]


async def test_tables_ask_for_the_rows_that_they_show(page: Page) -> None:
    found = await run(page, "ui.js", """
        const asked = [];
        const made = it.table({caption: "Rows", page: 2, sort: "name", load: query => asked.push(query),
                               columns: [{name: "name", title: "Name"}]});
        made.update([{name: "b"}, {name: "a"}], 5);
        const names = [...made.body.querySelectorAll("th")].map(cell => cell.textContent);
        made.next.click(); made.next.click();
        made.update([], 3);
        made.find(" X ");
        return [names, asked.map(({sort, offset, limit, text}) => [sort, offset, limit, text])];""")
    assert found == [["b", "a"], [["name", 2, 2, ""], ["name", 4, 2, ""], ["name", 2, 2, ""], ["name", 0, 2, "x"]]]


async def test_questions_can_be_answered_by_keyboard(page: Page) -> None:
    ask = "it.confirm('Remove it?', 'Remove').then(yes => { window.answer = yes; });"
    await run(page, "ui.js", ask)
    await page.keyboard.press("Escape")
    await page.get_by_text("Remove it?").wait_for(state="detached")
    assert await page.evaluate("window.answer") is False
    await run(page, "ui.js", ask)
    await page.get_by_role("button", name="Remove").press("Enter")
    await page.get_by_text("Remove it?").wait_for(state="detached")
    assert await page.evaluate("window.answer") is True


async def test_elements_take_text_as_text(page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    found = await run(page, "ui.js", """
        const made = it.element("p", {title: given, hidden: false, disabled: true}, given, null, 0,
                                it.badge("ok", given));
        return [made.querySelector("img"), made.getAttribute("title"), made.hasAttribute("hidden"),
                made.getAttribute("disabled"), made.textContent];""", hostile)
    assert found == [None, hostile, False, "", f"{hostile}0{hostile}"]


async def test_meters_say_how_full(page: Page) -> None:
    found = await run(page, "ui.js", """
        return [[0, 10], [7, 10], [9, 10], [20, 10], [1, 0]].map(([size, capacity]) => {
            const made = it.meter(size, capacity);
            return [made.getAttribute("aria-valuetext"), made.querySelector("svg").getAttribute("class"),
                    made.querySelector(".bar-part").getAttribute("width")];
        });""")
    assert found == [
        ["0 of 10 (0 %)", "bar ok", "0%"], ["7 of 10 (70 %)", "bar warning", "70%"],
        ["9 of 10 (90 %)", "bar problem", "90%"], ["20 of 10 (200 %)", "bar problem", "100%"],
        ["1 of 0 (0 %)", "bar ok", "0%"]]
