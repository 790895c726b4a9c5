// The peers as a graph: who is joined to this node, who was introduced by whom, and who carries packets for whom.

import {graph} from "../graph.js";
import {OBSERVED} from "../panels.js";
import {PATHS, byPath} from "../paths.js";
import {describe, peerOf} from "./peers.js";

export const title = "Network";
export const topics = ["peer"];
export const needs = OBSERVED;

/** A graph of 1000 nodes is a long answer: it is read anew this often, and when peers come or go. */
const OLDEST = 10_000;
const EDGES = {
  peer: {class: "edge-peer", text: "a peer of this node"},
  introduced: {class: "edge-introduced", dash: [2, 4], text: "introduced by"},
  carries: {class: "edge-carries", dash: [6, 3], text: "carries packets for"},
};

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 */
export function mount(root, {api, ui, parameters, setParameters}) {
  let chosen = parameters.get("peer") ?? "";
  let readAt = 0;
  let own = "";
  const view = graph({label: "Graph of the peers", onSelect: choose, edgeClasses: EDGES});
  const none = ui.emptyState("There are no peers yet.",
    "A node finds its first peers by bootstrap servers, or by peers in the same network. See what hinders it:",
    "python -m ipv8 netcheck");
  const paths = ui.element("ul", {class: "legend", "aria-label": "Colours: the path to a peer"});
  const kinds = ui.element("ul", {class: "legend", "aria-label": "Lines"}, ...Object.values(EDGES).map((edge) =>
    ui.element("li", {}, lineSample(ui, edge), edge.text)));
  const details = ui.element("div");
  const list = listOfNodes(ui, choose);
  const drawn = ui.element("div", {}, paths, kinds, view.element);
  const listed = ui.element("details", {class: "card"}, ui.element("summary", {text: "The same as a list"}),
    list.element);
  root.append(ui.element("section", {class: "card", "aria-label": "Graph"}, none, drawn), details, listed);

  /** @param {string} mid */
  function choose(mid) {
    chosen = mid;
    view.select(mid);
    list.select(mid);
    setParameters({peer: mid});
    showPeer();
  }

  async function showPeer() {
    if (!chosen || chosen === own) {
      const name = ui.keyText(own, "the mid");
      details.replaceChildren(...(chosen ? [ui.card("This node", ui.facts([["Short name (mid)", name]]))] : []));
      return;
    }
    const mid = chosen;
    const peer = await peerOf(api, mid);
    if (mid === chosen) details.replaceChildren(describe(ui, peer, mid, () => choose("")));
  }

  async function refresh() {
    if (Date.now() - readAt > OLDEST) {
      const answer = await api.get("/node/graph");
      readAt = Date.now();
      own = answer.root;
      show(answer);
    }
    await showPeer();
  }

  /** @param {{root: string, nodes: any[], edges: import("../graph.js").GraphEdge[]}} answer */
  function show({root: center, nodes, edges}) {
    const others = nodes.filter(({mid}) => mid !== center);
    none.hidden = others.length > 0;
    drawn.hidden = others.length === 0;
    listed.hidden = others.length === 0;
    view.update({edges, nodes: nodes.map(({mid, path}) => mid === center
      ? {id: mid, label: "This node", class: "graph-root", isRoot: true}
      : {id: mid, label: ui.shortHex(mid), class: `path-${PATHS.has(path) ? path : "unknown"}`})});
    view.select(chosen);
    /** @type {Record<string, number>} */
    const counts = {};
    for (const {path} of others) counts[path] = (counts[path] ?? 0) + 1;
    ui.keyed(paths, byPath(counts), ({name}) => name, ({name, class: className}) => ui.element("li",
      {title: PATHS.get(name)}, ui.element("span", {class: `swatch ${className}`}), ui.element("span")),
    (line, {name, value}) => ui.setText(line.lastChild, `${name} ${ui.count(value)}`));
    list.update(others.map((node) => ({...node, joined: joinedTo(ui, node.mid, center, edges)})));
  }

  return {
    refresh,
    update: () => { readAt = 0; },
    unmount: () => view.unmount(),
  };
}

/** @param {import("../main.js").Context["ui"]} ui @param {{class: string, dash?: number[]}} edge */
function lineSample(ui, edge) {
  return ui.drawing("svg", {class: `line-sample ${edge.class}`, viewBox: "0 0 24 4", "aria-hidden": "true"},
    ui.drawing("path", {class: "line", d: "M0 2H24", "stroke-dasharray": edge.dash?.join(" ")}));
}

/**
 * What the lines of a node say, in words.
 * @param {import("../main.js").Context["ui"]} ui @param {string} mid @param {string} center
 * @param {import("../graph.js").GraphEdge[]} edges
 */
function joinedTo(ui, mid, center, edges) {
  const name = (/** @type {string} */ other) => other === center ? "this node" : ui.shortHex(other);
  return edges.filter(([a, b]) => a === mid || b === mid).map(([a, b, kind]) => {
    if (kind === "peer") return EDGES.peer.text;
    if (kind === "introduced") return a === mid ? `introduced ${name(b)}` : `introduced by ${name(a)}`;
    return a === mid ? `carries packets for ${name(b)}` : `${name(a)} carries its packets`;
  }).join(", ");
}

/** @param {import("../main.js").Context["ui"]} ui @param {(mid: string) => void} choose */
function listOfNodes(ui, choose) {
  return ui.table({
    caption: "The nodes of the graph", key: (/** @type {any} */ node) => node.mid, sort: "path",
    onSelect: (/** @type {any} */ node) => choose(node.mid),
    columns: [
      {name: "mid", title: "Peer", cell: (node) => ui.element("code", {text: ui.shortHex(node.mid)})},
      {name: "address", title: "Address", value: (node) => ui.address(node.address)},
      {name: "path", title: "Path"},
      {name: "round_trip", title: "Round trip", numeric: true, cell: (node) => ui.seconds(node.round_trip)},
      {name: "joined", title: "Joined", cell: (node) => ui.element("div", {class: "wrap", text: node.joined})},
    ],
  });
}
