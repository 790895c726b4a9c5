// First of all: whether the node is well, whom it talks to, and by which way.

import {OBSERVED} from "../panels.js";
import {byPath} from "../paths.js";

export const title = "Overview";
export const topics = ["stats", "peer", "overlay"];
export const needs = OBSERVED;

const WORDS = {ok: "Well", warning: "Warning", problem: "Problem"};
const NAMES = {
  sockets: "Sockets", reachability: "Reachable", nat: "NAT", clock: "Clock", loop: "Event loop", drops: "Drops",
  peers: "Peers", tables: "Tables", log: "Log",
};
const MARKS = {ok: "✓", unknown: "?", warning: "!", problem: "✗"};
const ORDER = ["problem", "warning", "unknown", "ok"];
const REACHABLE = new Map([[true, "yes"], [false, "no"], [null, "not known"]]);

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 */
export function mount(root, {api, ui, charts}) {
  const health = healthCard(ui);
  const identity = ui.card("This node", ui.element("div"));
  const tiles = ui.element("dl", {class: "tiles"});
  const traffic = charts.lineChart({label: "Traffic of the last ten minutes", format: ui.rate});
  const paths = charts.barChart({label: "Peers by path", share: true});
  const noPeers = ui.emptyState("There are no peers yet.",
    "A node finds its first peers by bootstrap servers, or by peers in the same network. See what hinders it:",
    "python -m ipv8 netcheck");
  const noTraffic = ui.emptyState("There is no traffic yet.", "It is counted since the REST API runs.");
  const overlays = overlayTable(ui);
  root.append(health.element, tiles, ui.card("Traffic of the last ten minutes", noTraffic, traffic.element),
    ui.card("Peers by path", noPeers, paths.element), identity, ui.card("Overlays", overlays.element));

  async function refresh() {
    const [state, counted] = await Promise.all([api.get("/node/overview"), api.get("/node/traffic")]);
    health.update(state.health);
    identity.lastElementChild.replaceWith(ownKeys(ui, state));
    showTiles(ui, tiles, state);
    paths.update(byPath(state.peers.by_path));
    noPeers.hidden = state.peers.total > 0;
    paths.element.hidden = !noPeers.hidden;
    noTraffic.hidden = counted.history.length > 0;
    traffic.element.hidden = !noTraffic.hidden;
    traffic.update([
      {name: "Received", points: counted.history.map(([time, , down]) => [time, down])},
      {name: "Sent", points: counted.history.map(([time, up]) => [time, up])},
    ]);
    overlays.update(state.overlays);
  }
  return {refresh};
}

/** @param {import("../main.js").Context["ui"]} ui */
function healthCard(ui) {
  const word = ui.element("span", {class: "word"});
  const summary = ui.element("p", {class: "health", "aria-live": "polite"}, word);
  const list = ui.element("ul", {class: "reasons"});
  return {
    element: ui.card("Health", summary, list),
    /** @param {{status: string, reasons: {level: string, name: string, text: string}[]}} health */
    update({status, reasons}) {
      const className = `health ${status}`;
      if (summary.className !== className) summary.className = className;
      ui.setText(word, WORDS[status]);
      const sorted = ORDER.flatMap((level) => reasons.filter((reason) => reason.level === level));
      ui.keyed(list, sorted, ({name}) => name, ({name}) => ui.element("li", {},
        ui.element("span", {class: "reason-mark", "aria-hidden": "true"}),
        ui.element("span", {class: "reason-name", text: NAMES[name] ?? name}), ui.element("span")),
      (line, {level, text}) => {
        line.className = level;
        ui.setText(line.children[0], MARKS[level]);
        ui.setText(line.lastChild, text);
      });
    },
  };
}

/** @param {import("../main.js").Context["ui"]} ui @param {any} state */
function ownKeys(ui, {keys, addresses, wan, lan, version, nat}) {
  const open = addresses.filter((/** @type {any} */ entry) => entry.is_open);
  return ui.facts([
    ...keys.map((/** @type {any} */ {alias, public_key: key}) => [keys.length > 1 ? `Key “${alias}”` : "Public key",
      ui.keyText(key, "the public key")]),
    ...keys.slice(0, 1).map((/** @type {any} */ {mid}) => ["Short name (mid)", ui.keyText(mid, "the mid")]),
    ["Reachable", REACHABLE.get(nat.reachable)],
    ["Kind of NAT", nat.mapping === "unknown" ? "not known" : nat.mapping],
    ["Listens at", open.map(ui.address).join(", ") || "nothing: all sockets are closed"],
    ["Seen from outside", wan ? ui.address(wan) : "not known yet"],
    ["In its network", lan && ui.address(lan)],
    ["Version", version],
  ]);
}

/** @param {import("../main.js").Context["ui"]} ui @param {Element} tiles @param {any} state */
function showTiles(ui, tiles, {peers, traffic, loop, drops, uptime}) {
  const [most] = Object.entries(drops.by_reason).sort(([, a], [, b]) => b - a);
  const reason = most ? `most so far: ${most[0].replaceAll("_", " ")}` : "none so far";
  const entries = [
    ["Peers", ui.count(peers.total), `${ui.count(peers.encrypted)} encrypted`],
    ["Received", ui.rate(traffic.bytes_down_per_second), `${ui.bytes(traffic.bytes_down)} in all`],
    ["Sent", ui.rate(traffic.bytes_up_per_second), `${ui.bytes(traffic.bytes_up)} in all`],
    ["Dropped in a minute", ui.count(drops.last_minute), reason],
    ["Event loop late", ui.seconds(loop.lag_p99),
      `at most ${ui.seconds(loop.lag_max)}, ${ui.plural(loop.tasks, "task")}`],
    ["Runs for", ui.seconds(uptime), ""],
  ];
  ui.keyed(tiles, entries, ([name]) => name, ([name]) => ui.element("div", {class: "tile"},
    ui.element("dt", {text: name}), ui.element("dd", {}, ui.element("span"), ui.element("div", {class: "detail"}))),
  (tile, [, value, detail]) => {
    ui.setText(tile.lastChild.firstChild, value);
    ui.setText(tile.lastChild.lastChild, detail);
  });
}

/** @param {import("../main.js").Context["ui"]} ui */
function overlayTable(ui) {
  return ui.table({
    caption: "Overlays", key: (/** @type {any} */ row) => row.id + row.name, sort: "name",
    empty: ui.emptyState("No overlay is loaded.", "Add overlays to the configuration of the node. See how:",
      "python -m ipv8 run --help"),
    columns: [
      {name: "name", title: "Overlay"},
      {name: "peers", title: "Peers", numeric: true, value: (row) => row.peers},
      {name: "max_peers", title: "At most", numeric: true, hint: "It looks for peers until it has as many.",
        cell: (row) => row.max_peers < 0 ? "no limit" : ui.count(row.max_peers)},
      {name: "id", title: "Identifier", cell: (row) => ui.keyText(row.id, "the identifier")},
    ],
  });
}
