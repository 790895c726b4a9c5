// The DHT of the node: its place among the others, what it stores, and its look-ups.

import {since, tiles} from "../panels.js";
import {lookupsPart} from "../parts/dht_lookups.js";
import {valuesPart} from "../parts/dht_values.js";
import {sharedBits, spaceDrawing} from "../parts/dht_space.js";

export const title = "DHT";
export const topics = ["dht"];
export const needs = {part: "dht", title: "This node runs no DHT.",
  text: "Add the overlay DHTDiscoveryCommunity to its configuration. The demonstration has it, for one.",
  command: "ipv8 demo --serve"};

const FAMILIES = {UDPIPv4: "IPv4", UDPIPv6: "IPv6"};
const STATUS = {good: "ok", unknown: "info", bad: "problem"};
const STATUS_WORDS = {good: "answers", unknown: "not heard lately", bad: "does not answer"};

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui}) {
  const {element, card, count, seconds, ago} = ui;
  const numbers = element("dl", {class: "tiles"});
  const names = element("dl", {class: "facts"});
  const spaces = element("div");
  const lookups = lookupsPart(ui);
  const values = valuesPart({api, ui});
  const buckets = ui.table({
    caption: "Buckets", key: (row) => `${row.endpoint} ${row.prefix}`, page: 20, sort: "prefix",
    columns: [
      {name: "prefix", title: "Ids begin with", value: (row) => `${row.endpoint} ${row.prefix}`,
        cell: (row) => element("code", {title: row.prefix, text: row.prefix ? shortBits(row.prefix) : "any bits"})},
      {name: "part", title: "Of all ids", numeric: true, value: (row) => -row.prefix.length,
        cell: (row) => row.prefix ? element("span", {}, "1/2", element("sup", {text: row.prefix.length})) : "all"},
      {name: "nodes", title: "Nodes", value: (row) => row.peers.map((/** @type {any} */ peer) => peer.status).join(),
        cell: (row) => cells(ui, row.peers)},
      {name: "last_changed", title: "Changed", numeric: true,
        cell: (row) => row.last_changed ? ago(since(row.last_changed)) : "never"},
    ],
  });
  const nodes = ui.table({
    caption: "Nodes", sort: "-shared", key: (row) => `${row.endpoint} ${row.id}`,
    filter: (row, text) => `${row.id} ${row.mid} ${ui.address(row)} ${row.state}`.toLowerCase().includes(text),
    empty: ui.emptyState("The DHT knows no other node.",
      "Nodes are found in its overlay. Is the node online, and has it peers?"),
    columns: [
      {name: "id", title: "Id", cell: (row) => ui.keyText(row.id, "id")},
      {name: "address", title: "Address", value: (row) => ui.address(row)},
      {name: "state", title: "State", cell: (row) => ui.badge(STATUS[row.status] ?? "info", row.state)},
      {name: "rtt", title: "Round trip", numeric: true, value: (row) => row.rtt || null,
        cell: (row) => seconds(row.rtt || null)},
      {name: "shared", title: "Bits as here", numeric: true,
        hint: "how many bits its id has in common with the id of this node, from the left: the more, the nearer"},
      {name: "heard", title: "Last heard", numeric: true, value: (row) => row.last_contact || null,
        cell: (row) => row.last_contact ? ago(since(row.last_contact)) : "never"},
      {name: "failed", title: "Unanswered", numeric: true, hint: "requests in a row without an answer"},
      {name: "mid", title: "Key", cell: (row) => ui.keyText(row.mid, "hash of the key")},
    ],
  });
  const search = element("input", {type: "search", oninput: () => nodes.find(search.value)});
  root.append(
    card("This node", numbers, names),
    card("The space of ids", element("p", {class: "muted", text: "Ids have 160 bits. A bucket holds at most 8 nodes "
      + "of a part of the space. The nearer to this node, the smaller the part. All are drawn with "
      + "the same width, so that the small ones can be seen."}), spaces,
    element("details", {}, element("summary", {text: "Buckets as a table"}), buckets.element)),
    lookups.element, values.form, values.stored,
    card("Nodes", ui.field("Find a node", search), nodes.element));

  return {
    async refresh() {
      const [{statistics}, {buckets: all}, found] = await Promise.all([api.get("/dht/statistics"),
        api.get("/dht/buckets"), api.get("/dht/lookups")]);
      const {endpoints, num_tokens: tokens, peer_id: mid} = statistics;
      const own = new Map(endpoints.map((/** @type {any} */ entry) => [entry.endpoint, entry.node_id]));
      numbers.replaceChildren(...tiles(endpoints.flatMap((/** @type {any} */ entry) => {
        const family = endpoints.length > 1 ? `, ${FAMILIES[entry.endpoint] ?? entry.endpoint}` : "";
        return [[`Nodes${family}`, count(entry.routing_table_size)], [`Buckets${family}`,
          count(entry.routing_table_buckets)], [`Keys stored here${family}`, count(entry.num_keys_in_store)]];
      }).concat([["Tokens of others", count(tokens)]])));
      ui.keyed(names, [{name: "Hash of its key", hex: mid}, ...endpoints.map((/** @type {any} */ entry) =>
        ({name: `Its id for ${FAMILIES[entry.endpoint] ?? entry.endpoint}`, hex: entry.node_id}))], ({name, hex}) =>
        `${name} ${hex}`, ({name, hex}) => element("div", {}, element("dt", {text: name}), element("dd", {},
        ui.keyText(hex, name))));
      ui.keyed(spaces, endpoints, (/** @type {any} */ entry) => entry.endpoint, () => element("div"),
        (place, entry) => place.replaceChildren(spaceDrawing(ui, FAMILIES[entry.endpoint] ?? entry.endpoint,
          entry.node_id, all.filter((/** @type {any} */ bucket) => bucket.endpoint === entry.endpoint))));
      buckets.update(all);
      nodes.update(all.flatMap((/** @type {any} */ bucket) => bucket.peers.map((/** @type {any} */ peer) => ({...peer,
        endpoint: bucket.endpoint, state: STATUS_WORDS[peer.status] ?? peer.status,
        shared: sharedBits(peer.id, own.get(bucket.endpoint) ?? "")}))));
      lookups.update(found.lookups);
      await values.refresh(endpoints.reduce((/** @type {number} */ sum, /** @type {any} */ entry) =>
        sum + entry.num_keys_in_store, 0));
    },
  };
}

/** @param {string} bits */
function shortBits(bits) {
  return bits.length > 16 ? `…${bits.slice(-15)}` : bits;
}

/** The nodes of a bucket as squares. @param {any} ui @param {any[]} peers */
function cells(ui, peers) {
  const counted = Object.keys(STATUS_WORDS).map((status) => [peers.filter((peer) => peer.status === status).length,
    STATUS_WORDS[status]]).filter(([number]) => number);
  const text = counted.map(([number, word]) => `${number} ${word}`).join(", ") || "none";
  return ui.drawing("svg", {class: "cells", viewBox: "0 0 96 12", width: 96, height: 12, role: "img",
    "aria-label": text}, ui.drawing("title", {text}), ...Array.from({length: 8}, (_, index) =>
    ui.drawing("rect", {x: 12 * index, y: 1, width: 10, height: 10, rx: 2,
      class: `cell ${peers[index] ? STATUS[peers[index].status] ?? "info" : "none"}`})));
}
