// Shows the page that the address names, keeps it up to date, and says how the connection is.

import {Api} from "./api.js";
import * as charts from "./charts.js";
import {KeyDialog} from "./key.js";
import * as ui from "./ui.js";

const BASE = "/dashboard";
const INTERVAL = 2_000;
const AFTER_EVENT = 500;

/** The pages, in the order of the navigation. */
const PAGES = [
  {group: "Node", pages: [
    ["overview", "Overview"], ["network", "Network"], ["peers", "Peers"], ["traffic", "Traffic"]]},
  {group: "Overlays", pages: [["circuits", "Circuits"], ["dht", "DHT"], ["identity", "Identity"], ["trust", "Trust"]]},
  {group: "Process", pages: [["asyncio", "Event loop"], ["tables", "Tables"], ["log", "Log"]]},
];

/**
 * What a page gets besides the element that it fills.
 * @typedef {object} Context
 * @property {Api} api
 * @property {typeof ui} ui
 * @property {typeof charts} charts
 * @property {(to: string) => void} navigate shows another page: its name, also with a query, as in "peers?peer=12ab"
 * @property {URLSearchParams} parameters the query of the address
 * @property {(parameters: Record<string, string>) => void} setParameters sets the query; the page stays
 *
 * What the node must have for a page: the first part of the paths that the page reads. Without, the page is empty.
 * @typedef {{part: string, title: string, text: string, command?: string}} Needs
 *
 * What its function `mount` returns.
 * @typedef {object} Page
 * @property {() => (Promise<void> | void)} [refresh] reads everything again: at first, every 2 s, and soon after an
 * event if there is no `update`
 * @property {(event: import("./stream.js").NodeEvent) => void} [update] shows an event
 * @property {() => void} [unmount] ends what runs
 */

const api = new Api();
const content = document.getElementById("content");
const connection = document.getElementById("connection");
const navigation = document.getElementById("navigation");
const menu = document.getElementById("menu");
const dialog = new KeyDialog(api, () => refresh());

/**
 * What is shown; the root is not visible before the page has read something.
 * @type {{turn: number, page: Page | null, root: HTMLElement | null, note: HTMLElement | null,
 *   needs: Needs | undefined, missing: HTMLElement | null, stop: () => void}}
 */
const shown = {turn: 0, page: null, root: null, note: null, needs: undefined, missing: null, stop: () => {}};
let timer = 0;
/** When the page is read again. */
let due = Infinity;
let isReading = false;

/** @returns {string} the page that the address names */
function currentName() {
  return location.pathname.slice(BASE.length + 1) || PAGES[0].pages[0][0];
}

/** @param {string} to */
function navigate(to) {
  history.pushState(null, "", `${BASE}/${to}`);
  show(true);
}

/** @param {Record<string, string>} parameters */
function setParameters(parameters) {
  const query = String(new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)));
  history.replaceState(null, "", location.pathname + (query ? `?${query}` : ""));
}

/** Show the page that the address names. @param {boolean} hasMoved whether somebody has chosen it here */
async function show(hasMoved) {
  const name = currentName();
  const turn = ++shown.turn;
  shown.stop();
  shown.page?.unmount?.();
  Object.assign(shown, {page: null, stop: () => {}});
  for (const link of navigation.querySelectorAll("a")) {
    if (link.getAttribute("href") === `${BASE}/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fold(false);
  content.setAttribute("aria-busy", "true");
  try {
    const module = await import(`./pages/${name}.js`);
    if (turn !== shown.turn) return;
    document.title = `${module.title} · IPv8 node`;
    const heading = ui.element("h1", {text: module.title, tabindex: -1});
    const root = ui.element("div", {class: `page page-${name} waiting`});
    shown.root = root;
    shown.note = ui.element("div", {role: "status"});
    shown.needs = module.needs;
    shown.missing = missingState(module.needs);
    content.replaceChildren(heading, shown.note, shown.missing, root);
    if (hasMoved) {
      heading.focus({preventScroll: true});
      scrollTo(0, 0);
    }
    const parameters = new URLSearchParams(location.search);
    const page = await module.mount(root, {api, ui, charts, navigate, parameters, setParameters});
    if (turn !== shown.turn) {
      page.unmount?.();
      return;
    }
    shown.page = page;
    shown.stop = api.events(module.topics ?? [], (event) => onEvent(page, event));
  } catch (error) {
    content.setAttribute("aria-busy", "false");
    content.replaceChildren(ui.emptyState("This page could not be loaded.", `${error.message}. Load it again.`));
    throw error;
  }
  refresh();
}

/** @param {Page} page @param {import("./stream.js").NodeEvent} event */
function onEvent(page, event) {
  if (page.update) page.update(event);
  else if (!isReading) later(AFTER_EVENT);
}

/** Read again after a time, or when that is due already, if this is earlier. @param {number} delay */
function later(delay) {
  const time = performance.now() + delay;
  if (document.hidden || time >= due) return;
  clearTimeout(timer);
  due = time;
  timer = setTimeout(refresh, delay);
}

/** Let the page read the node again, and show what hinders it. */
async function refresh() {
  clearTimeout(timer);
  due = Infinity;
  if (isReading || document.hidden || !shown.page) return;
  isReading = true;
  const {turn, page, root, note, needs, missing} = shown;
  try {
    const isThere = !needs || await api.has(needs.part);
    if (isThere) await page.refresh?.();
    note.replaceChildren();
    root.hidden = !isThere;
    missing.hidden = isThere;
    if (root.classList.contains("waiting")) {
      root.classList.remove("waiting");
      performance.mark("ipv8:shown");
    }
  } catch (error) {
    if (error.name !== "RequestError") throw error;
    if (error.status === 401) dialog.open(error.message);
    if (turn === shown.turn && error.status) {
      note.replaceChildren(ui.element("p", {class: "note", text: error.message}));
    }
  } finally {
    isReading = false;
    if (turn === shown.turn) {
      content.setAttribute("aria-busy", "false");
      later(INTERVAL);
    } else {
      refresh();
    }
  }
}

/** What is shown in the place of a page whose needs are not met. @param {Needs} [needs] */
function missingState(needs) {
  return ui.element("div", {class: "card", hidden: true}, needs
    && ui.emptyState(needs.title, needs.text, needs.command));
}

/** Say how the connection is. */
function showConnection() {
  const since = api.lastAnswer && ui.ago((Date.now() - api.lastAnswer) / 1000);
  const [level, text, explanation] = {
    connecting: ["info", "Connecting", "Nothing has been answered yet."],
    live: ["ok", "Live", "Changes are shown as they happen."],
    polling: ["info", "Every 2 s", "The node sends no events. The page asks it every 2 seconds."],
    locked: ["warning", "Locked", "The node asks for its API key."],
    lost: ["problem", since ? `Connection lost, last answer ${since}` : "No connection",
      "The node does not answer. The page goes on trying."],
  }[api.state];
  if (connection.textContent !== text) {
    connection.replaceChildren(ui.badge(level, text));
    connection.title = explanation;
  }
  document.body.classList.toggle("stale", api.state === "lost" || api.state === "locked");
  document.getElementById("key").hidden = !api.needsKey;
}

/** @param {boolean} isOpen whether the navigation of a small screen is open */
function fold(isOpen) {
  menu.setAttribute("aria-expanded", String(isOpen));
  navigation.classList.toggle("open", isOpen);
}

for (const {group, pages} of PAGES) {
  navigation.append(ui.element("h2", {text: group}), ui.element("ul", {}, ...pages.map(([name, title]) =>
    ui.element("li", {}, ui.element("a", {href: `${BASE}/${name}`, text: title})))));
}
document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a[href^='/dashboard/']");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(link.getAttribute("href").slice(BASE.length + 1));
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // an address with a part of the page would be one more entry of the history
  content.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") {
    fold(false);
    menu.focus();
  }
});
menu.addEventListener("click", () => fold(menu.getAttribute("aria-expanded") !== "true"));
document.getElementById("key").addEventListener("click", () => dialog.open());
addEventListener("popstate", () => show(true));
document.addEventListener("visibilitychange", () => later(0));
api.addEventListener("state", showConnection);
setInterval(() => { if (!document.hidden) showConnection(); }, 1000);
showConnection();
show(false);
