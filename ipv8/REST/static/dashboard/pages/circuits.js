// The circuits of this node, hop by hop, and what it carries for others.

import {since} from "../panels.js";
import {speedPart} from "../parts/speed.js";

export const title = "Circuits";
export const topics = ["circuit"];
export const needs = {part: "tunnel", title: "This node runs no tunnels.",
  text: "Add the overlay HiddenTunnelCommunity to its configuration. The demonstration has it, for one.",
  command: "ipv8 demo --serve"};

const TYPES = {
  DATA: "carries data to an exit",
  SPEED_TEST: "for a measurement",
  IP_SEEDER: "to an introduction point, where clients ask for a hidden service of this node",
  RP_SEEDER: "to a rendezvous point, for a client of a hidden service of this node",
  RP_DOWNLOADER: "to a rendezvous point, to use a hidden service",
};
const STATES = {READY: "ok", EXTENDING: "info", CLOSING: "warning"};
/** What a node offers, by the number of the flag. */
const FLAGS = {
  1: "relay", 2: "exit for BitTorrent", 4: "exit for overlays", 8: "speed tests", 256: "exit for TCP",
  512: "circuits built in one pass",
  1024: "hybrid keys",
};

/** @param {number[]} flags */
function flagsInWords(flags) {
  return flags.map((flag) => FLAGS[flag] ?? `flag ${flag}`).join(", ") || "nothing";
}

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui, charts}) {
  const {element, card} = ui;
  const list = element("ul", {class: "circuits"});
  const none = ui.emptyState("There is no circuit.",
    "Programs of this node build them when they need them. Measure the speed of a new one to see how it is built.");
  const speed = speedPart({api, ui, charts});
  const removed = removedTable(ui);
  const others = carriedPart(ui);
  const services = servicesTable(ui);
  const nodes = nodesTable(ui);
  root.append(card("Circuits of this node", none, list), speed.element,
    card("Removed circuits", removed.element), others.element,
    card("Hidden services", services.element), card("Nodes that can be hops", nodes.element));

  return {
    async refresh() {
      const [circuits, gone, relays, exits, swarms, peers] = await Promise.all([api.get("/tunnel/circuits"),
        api.get("/tunnel/circuits/removed"), api.get("/tunnel/relays"), api.get("/tunnel/exits"),
        api.get("/tunnel/swarms"), api.get("/tunnel/peers")]);
      none.hidden = circuits.circuits.length > 0;
      ui.keyed(list, circuits.circuits, (/** @type {any} */ circuit) => String(circuit.circuit_id),
        (/** @type {any} */ circuit) => circuitItem(ui, circuit, speed.measure), updateItem(ui));
      removed.update(gone.circuits);
      others.update(relays.relays, exits.exits);
      services.update(swarms.swarms);
      nodes.update(peers.peers);
    },
    unmount() {
      speed.stop();
    },
  };
}

/**
 * A circuit: a line of facts, and its hops from this node to the exit.
 * @param {any} ui @param {any} circuit @param {(circuit: any) => Promise<void>} measure
 */
function circuitItem(ui, circuit, measure) {
  const {element} = ui;
  const name = `circuit ${circuit.circuit_id}`;
  return element("li", {class: "circuit", "aria-label": name},
    element("div", {class: "circuit-head"}, element("strong", {text: `Circuit ${circuit.circuit_id}`}),
      element("span", {class: "circuit-state"}), element("span", {class: "circuit-facts muted"}),
      ui.actionButton("Measure its speed", () => measure(circuit), {label: `Measure its speed: ${name}`})),
    element("ol", {class: "hops", "aria-label": "From this node to the exit"}),
    element("p", {class: "circuit-reason muted"}));
}

/** @param {any} ui */
function updateItem(ui) {
  const {element} = ui;
  return (/** @type {HTMLElement} */ item, /** @type {any} */ circuit) => {
    const [, state, reason] = /^(\w+)(?: \((.*)\))?$/s.exec(circuit.state) ?? [null, circuit.state, ""];
    const badge = item.querySelector(".circuit-state");
    if (badge.textContent !== state) badge.replaceChildren(ui.badge(STATES[state] ?? "info", state));
    ui.setText(item.querySelector(".circuit-facts"), [TYPES[circuit.type] ?? circuit.type,
      `${ui.bytes(circuit.bytes_up)} out, ${ui.bytes(circuit.bytes_down)} in`,
      `built ${ui.ago(since(circuit.creation_time))}`].join(" · "));
    ui.setText(item.querySelector(".circuit-reason"), [reason && `Why it ends: ${reason}.`,
      circuit.exit_flags.length > 0 && `Its last node offers: ${flagsInWords(circuit.exit_flags)}.`]
      .filter(Boolean).join(" "));
    /** @type {HTMLElement} */ (item.querySelector("button:not(.copy)")).hidden = state !== "READY";
    const hops = hopsOf(circuit);
    ui.keyed(item.querySelector(".hops"), hops, (/** @type {any} */ hop) => `${hop.place} ${hop.kind} ${hop.mid}`,
      (/** @type {any} */ hop) => element("li", {class: `hop ${hop.kind}`}, element("span", {class: "hop-role",
        text: hop.role}), hop.mid && ui.keyText(hop.mid, "hash of the key"), element("span", {class: "hop-state",
        text: hop.state})));
  };
}

/** The places of a circuit from this node on. @param {any} circuit */
function hopsOf(circuit) {
  const places = [{place: 0, kind: "own", role: "This node", mid: "", state: ""}];
  const goal = Math.max(circuit.goal_hops, circuit.actual_hops);
  for (let place = 1; place <= goal; place += 1) {
    const role = place === goal ? (goal === 1 ? "First hop and exit" : "Exit") : `Hop ${place}`;
    const mid = circuit.verified_hops[place - 1] ?? "";
    if (mid) places.push({place, kind: "verified", role, mid, state: ""});
    else if (place === circuit.actual_hops + 1 && circuit.unverified_hop) {
      places.push({place, kind: "asked", role, mid: circuit.unverified_hop, state: "is asked"});
    } else places.push({place, kind: "missing", role, mid: "", state: "not yet chosen"});
  }
  return places;
}

/** @param {any} ui */
function removedTable(ui) {
  return ui.table({
    caption: "Removed circuits", sort: "-time", key: (/** @type {any} */ row) => `${row.circuit_id} ${row.time}`,
    empty: ui.emptyState("No circuit was removed yet.", "The last 50 are listed here, with the reason."),
    columns: [
      {name: "circuit_id", title: "Circuit"},
      {name: "reason", title: "Why"},
      {name: "type", title: "Type"},
      {name: "hops", title: "Hops", numeric: true, value: (/** @type {any} */ row) => row.hops.length,
        cell: (/** @type {any} */ row) => `${row.hops.length} of ${row.goal_hops}`},
      {name: "bytes_up", title: "Bytes out", numeric: true, cell: (/** @type {any} */ row) => ui.bytes(row.bytes_up)},
      {name: "bytes_down", title: "Bytes in", numeric: true,
        cell: (/** @type {any} */ row) => ui.bytes(row.bytes_down)},
      {name: "seconds", title: "There for", numeric: true, cell: (/** @type {any} */ row) => ui.seconds(row.seconds)},
      {name: "time", title: "Removed at", numeric: true, cell: (/** @type {any} */ row) => ui.clock(row.time)},
    ],
  });
}

/** What this node carries for others: relays and exits. @param {any} ui */
function carriedPart(ui) {
  const common = [
    {name: "bytes_up", title: "Bytes out", numeric: true, cell: (/** @type {any} */ row) => ui.bytes(row.bytes_up)},
    {name: "bytes_down", title: "Bytes in", numeric: true, cell: (/** @type {any} */ row) => ui.bytes(row.bytes_down)},
    {name: "creation_time", title: "Since", numeric: true,
      cell: (/** @type {any} */ row) => ui.clock(row.creation_time)},
  ];
  const relays = ui.table({
    caption: "Circuits that this node passes on", sort: "-creation_time",
    empty: ui.emptyState("This node passes on nothing for others.",
      "It does so when others choose it for their circuits. It must be reachable for that."),
    columns: [
      {name: "circuit_from", title: "From circuit"},
      {name: "circuit_to", title: "To circuit"},
      {name: "direction", title: "Direction",
        value: (/** @type {any} */ row) => row.direction === "forward" ? "away from its origin" : "to its origin"},
      {name: "is_rendezvous", title: "Use",
        value: (/** @type {any} */ row) => row.is_rendezvous ? "joins two circuits" : "relay"},
      ...common],
  });
  const exits = ui.table({
    caption: "Circuits that end at this node", sort: "-creation_time",
    empty: ui.emptyState("No circuit of others ends here.", "Nodes that offer an exit get such circuits."),
    columns: [
      {name: "circuit_from", title: "Circuit"},
      {name: "use", title: "Use", value: useOf},
      ...common],
  });
  return {
    element: ui.card("For others", ui.element("h3", {text: "Passed on"}), relays.element,
      ui.element("h3", {text: "Ending here"}), exits.element),
    /** @param {any[]} passed @param {any[]} ending */
    update(passed, ending) {
      relays.update(passed);
      exits.update(ending);
    },
  };
}

/** @param {any} row */
function useOf(row) {
  if (row.is_introduction) return "introduction point of a hidden service";
  if (row.is_rendezvous) return "rendezvous point of a hidden service";
  return row.enabled ? "exit, with an open socket" : "no socket is open";
}

/** @param {any} ui */
function servicesTable(ui) {
  return ui.table({
    caption: "Hidden services", key: (/** @type {any} */ row) => row.info_hash,
    empty: ui.emptyState("This node offers and uses no hidden service.",
      "Programs join a swarm by its info hash to do so."),
    columns: [
      {name: "info_hash", title: "Info hash",
        cell: (/** @type {any} */ row) => ui.keyText(row.info_hash, "info hash")},
      {name: "seeding", title: "Role", value: (/** @type {any} */ row) => row.seeding ? "offers it" : "uses it"},
      {name: "num_seeders", title: "Services", numeric: true, hint: "that are known"},
      {name: "num_connections", title: "Connections", numeric: true,
        value: (/** @type {any} */ row) => row.num_connections + row.num_connections_incomplete / 1e6,
        cell: (/** @type {any} */ row) => [row.num_connections, row.num_connections_incomplete
          && `${row.num_connections_incomplete} being made`].filter(Boolean).join(" and ") || "0"},
      {name: "points", title: "Introduction points", numeric: true, hint: "from the DHT and from each other",
        value: (/** @type {any} */ row) => row.num_ips_from_dht + row.num_ips_from_pex},
      {name: "bytes_up", title: "Bytes out", numeric: true, cell: (/** @type {any} */ row) => ui.bytes(row.bytes_up)},
      {name: "bytes_down", title: "Bytes in", numeric: true,
        cell: (/** @type {any} */ row) => ui.bytes(row.bytes_down)},
    ],
  });
}

/** @param {any} ui */
function nodesTable(ui) {
  return ui.table({
    caption: "Nodes that can be hops", sort: "mid", key: (/** @type {any} */ row) => row.mid,
    empty: ui.emptyState("No node is known that could be a hop.",
      "They are found in the overlay of the tunnels. Is the node online, and has it peers?"),
    columns: [
      {name: "mid", title: "Node", cell: (/** @type {any} */ row) => ui.keyText(row.mid, "hash of the key")},
      {name: "address", title: "Address", value: (/** @type {any} */ row) => ui.address(row)},
      {name: "flags", title: "Offers", value: (/** @type {any} */ row) => flagsInWords(row.flags)},
    ],
  });
}
