// What the overlays send and receive, by message, with the time that handlers take; and what is dropped.

import {OBSERVED} from "../panels.js";
import {meaningOf} from "../parts/drops.js";

export const title = "Traffic";
export const topics = ["stats"];
export const needs = OBSERVED;

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui, charts}) {
  const {element, card, bytes, rate, count, percent, seconds} = ui;
  const speed = charts.lineChart({label: "Bytes in a second, the last ten minutes", format: rate});
  const packets = charts.lineChart({label: "Packets in a second, the last ten minutes", height: 180,
    format: (/** @type {number | null} */ value) => value === null ? "–" : `${count(value)}/s`});
  const shares = charts.barChart({label: "Bytes by overlay", format: bytes, share: true});
  const noOverlays = ui.emptyState("No overlay is loaded.", "Add overlays to the configuration of the node. See how:",
    "python -m ipv8 run --help");
  const none = ui.emptyState("No packet was dropped.", "Packets that are not as they should be are counted here.");
  const drops = ui.table({
    caption: "Dropped packets", sort: "-number", empty: none, key: (row) => `${row.overlay} ${row.reason}`,
    columns: [
      {name: "overlay", title: "Overlay"},
      {name: "reason", title: "Reason", cell: (row) => element("code", {text: row.reason})},
      {name: "number", title: "Packets", numeric: true, cell: (row) => count(row.number)},
      {name: "meaning", title: "What it means"},
    ],
  });
  const messages = ui.table({
    caption: "Messages", sort: "-share", page: 25, key: (row) => `${row.overlay} ${row.id}`,
    filter: (row, text) => `${row.overlay} ${row.message} ${row.name}`.toLowerCase().includes(text),
    empty: ui.emptyState("No message was sent or received yet.", "Messages are counted from the start of the server."),
    columns: [
      {name: "message", title: "Message", cell: (row) => element("span", {title: row.name}, row.message,
        element("span", {class: "under", text: row.overlay}))},
      {name: "packets_down", title: "Packets in", numeric: true, cell: (row) => count(row.packets_down)},
      {name: "packets_up", title: "Packets out", numeric: true, cell: (row) => count(row.packets_up)},
      {name: "bytes_down", title: "Bytes in", numeric: true, cell: (row) => bytes(row.bytes_down)},
      {name: "bytes_up", title: "Bytes out", numeric: true, cell: (row) => bytes(row.bytes_up)},
      {name: "share", title: "Share", numeric: true, cell: (row) => percent(row.share),
        hint: "of the bytes of all messages"},
      ...["mean", "p50", "p99", "max"].map((name) => ({name, title: name, numeric: true, hint: HINTS[name],
        cell: (/** @type {any} */ row) => row[name] === null ? "–" : seconds(row[name])})),
      {name: "all", title: "Time", numeric: true, hint: "that its handler took in all",
        cell: (row) => row.all ? seconds(row.all) : "–"},
    ],
  });
  const search = element("input", {type: "search", oninput: () => messages.find(search.value)});
  root.append(
    card("The last ten minutes", element("div", {class: "split"}, speed.element, packets.element)),
    card("Overlays", noOverlays, shares.element),
    card("Messages", element("p", {class: "muted", text: "The times are those of handlers in this node: mean, "
      + "median (p50), that which one in a hundred exceeds (p99), and the longest one."}),
    ui.field("Find a message or overlay", search), messages.element),
    card("Dropped packets", drops.element));

  return {
    async refresh() {
      const {history, overlays} = await api.get("/node/traffic");
      const at = (/** @type {number} */ index) => history.map((/** @type {number[]} */ row) => [row[0], row[index]]);
      speed.update([{name: "in", points: at(2)}, {name: "out", points: at(1)}]);
      packets.update([{name: "in", points: at(4)}, {name: "out", points: at(3)}]);
      noOverlays.hidden = overlays.length > 0;
      shares.element.hidden = overlays.length === 0;
      shares.update(overlays.map((/** @type {any} */ overlay) => ({name: overlay.name,
        value: overlay.bytes_up + overlay.bytes_down})).sort(byValue));
      messages.update(rowsOf(overlays));
      drops.update(overlays.flatMap((/** @type {any} */ overlay) => Object.entries(overlay.drops)
        .filter(([, number]) => number > 0)
        .map(([reason, number]) => ({overlay: overlay.name, reason, number, meaning: meaningOf(reason)}))));
    },
  };
}

const HINTS = {
  mean: "the mean time of its handler",
  p50: "half of the calls of its handler took no longer",
  p99: "99 of 100 calls of its handler took no longer",
  max: "the longest call of its handler",
};

/** The largest first. @param {{value: number}} a @param {{value: number}} b */
function byValue(a, b) {
  return b.value - a.value;
}

/** The name of a message as people say it. @param {string} name often that of its handler */
export function inWords(name) {
  return name.replace(/^on_/, "").replaceAll("_", " ");
}

/** @param {any[]} overlays @returns {any[]} the messages of all overlays */
function rowsOf(overlays) {
  const rows = overlays.flatMap(({name, messages}) => messages.map((/** @type {any} */ message) => ({
    ...message, message: inWords(message.name), overlay: name, total: message.bytes_up + message.bytes_down,
    ...times(message.handler)})));
  const all = rows.reduce((sum, {total}) => sum + total, 0);
  return rows.map((row) => ({...row, share: all ? row.total / all : 0}));
}

/** @param {any} handler */
function times(handler) {
  if (!handler?.count) return {mean: null, p50: null, p99: null, max: null, all: 0};
  const {mean, p50, p99, max} = handler;
  return {mean, p50, p99, max, all: handler.seconds};
}
