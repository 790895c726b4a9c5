// The trust graph, as rings around this node: one for each step of trust.

import {seldom} from "../panels.js";

const MARGIN = 1.08;
const LEAST_RADIUS = 0.012;
const MOST_RADIUS = 0.045;
const STRENGTHS = 3;
const ZOOM = 1.4;
const SMALLEST_VIEW = 0.1;

/** Milliseconds between two readings of a graph that changes. */
const INTERVAL = 5_000;

/** The ring of a key, as a text. @param {{pos: [number, number]}} node */
function ringOf({pos: [x, y]}) {
  return Math.hypot(x, y).toFixed(3);
}

/**
 * How large a key can be without touching its neighbours on its ring.
 * @param {{pos: [number, number]}[]} nodes
 * @returns {(node: {pos: [number, number]}) => number}
 */
export function roomOf(nodes) {
  /** @type {Map<string, number>} */
  const counted = new Map();
  for (const node of nodes) counted.set(ringOf(node), (counted.get(ringOf(node)) ?? 0) + 1);
  return (node) => Math.max(LEAST_RADIUS / 2, 0.9 * Math.PI * Number(ringOf(node)) / (counted.get(ringOf(node)) ?? 1));
}

/** @param {any} context */
export function graphPart({api, ui, select}) {
  const {element, drawing} = ui;
  const edges = drawing("g", {class: "trust-edges"});
  const own = drawing("path", {class: "trust-edges-chosen"});
  const nodes = drawing("g", {class: "trust-nodes"});
  const rings = drawing("g", {class: "trust-rings"});
  const picture = drawing("svg", {class: "trust-graph", role: "img"}, rings, edges, own, nodes);
  const depth = element("select", {}, ...[1, 2, 3, 4].map((steps) =>
    element("option", {value: steps, text: ui.plural(steps, "step"), selected: steps === 2})));
  const limit = element("select", {}, ...[50, 200, 500, 2000].map((number) =>
    element("option", {value: number, text: `at most ${number}`, selected: number === 500})));
  const summary = element("p", {class: "muted", role: "status"});
  const none = ui.emptyState("Nobody is in the trust graph yet.",
    "Trust comes from signed blocks, from statements of \"ipv8 trust\", and from what peers do for this node.");
  const view = {x: -MARGIN, y: -MARGIN, size: 2 * MARGIN};
  /** @type {{root: string, nodes: any[], edges: [number, number, number][]}} */
  let data = {root: "", nodes: [], edges: []};
  let chosen = "";
  let last = "";
  const isDue = seldom(INTERVAL);

  function frame() {
    picture.setAttribute("viewBox", `${view.x} ${view.y} ${view.size} ${view.size}`);
  }

  /** @param {number} factor @param {number} [x] @param {number} [y] the place that stays */
  function zoom(factor, x = view.x + view.size / 2, y = view.y + view.size / 2) {
    const size = Math.min(2 * MARGIN, Math.max(SMALLEST_VIEW, view.size / factor));
    view.x = x - (x - view.x) * size / view.size;
    view.y = y - (y - view.y) * size / view.size;
    view.size = size;
    frame();
  }

  function whole() {
    Object.assign(view, {x: -MARGIN, y: -MARGIN, size: 2 * MARGIN});
    frame();
  }

  /** @param {number} index */
  function place(index) {
    const [x, y] = data.nodes[index].pos;
    return `${x} ${y}`;
  }

  function draw() {
    const best = Math.max(1e-9, ...data.nodes.filter(({key}) => key !== data.root).map(({score}) => score));
    const heaviest = Math.max(1e-9, ...data.edges.map(([, , weight]) => weight));
    const paths = Array.from({length: STRENGTHS}, () => "");
    for (const [from, to, weight] of data.edges) {
      paths[Math.min(STRENGTHS - 1, Math.floor(STRENGTHS * weight / heaviest))] += `M${place(from)}L${place(to)}`;
    }
    edges.replaceChildren(...paths.map((path, index) => drawing("path", {d: path, class: `strength-${index + 1}`})));
    const radii = new Set(data.nodes.map(ringOf));
    rings.replaceChildren(...[...radii].map((radius) => drawing("circle", {r: radius})));
    const room = roomOf(data.nodes);
    ui.keyed(nodes, data.nodes, ({key}) => key, (/** @type {any} */ node) => {
      const made = drawing("circle", {onclick: () => select(node.key)}, drawing("title"));
      return made;
    }, (circle, node) => {
      const isRoot = node.key === data.root;
      const share = Math.max(0, node.score) / best;
      circle.setAttribute("cx", node.pos[0]);
      circle.setAttribute("cy", node.pos[1]);
      const radius = isRoot ? MOST_RADIUS : LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * Math.sqrt(share);
      circle.setAttribute("r", isRoot ? radius : Math.min(radius, room(node)));
      circle.setAttribute("class", isRoot ? "root" : node.key === chosen ? "chosen" : "other");
      ui.setText(circle.firstChild, isRoot ? "this node" : `${ui.shortHex(node.key)}: ${node.score.toPrecision(3)}`);
    });
    const index = data.nodes.findIndex(({key}) => key === chosen);
    own.setAttribute("d", index < 0 ? "" : data.edges.filter(([from, to]) => from === index || to === index)
      .map(([from, to]) => `M${place(from)}L${place(to)}`).join(""));
  }

  picture.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = picture.getBoundingClientRect();
    zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, view.x + view.size * (event.clientX - box.left) / box.width,
      view.y + view.size * (event.clientY - box.top) / box.height);
  }, {passive: false});
  picture.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (event.buttons !== 1 || event.pointerType === "touch") return;
    const scale = view.size / picture.getBoundingClientRect().width;
    view.x -= event.movementX * scale;
    view.y -= event.movementY * scale;
    frame();
  });
  frame();

  const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ action) =>
    element("button", {type: "button", "aria-label": label, title: label, text, onclick: action});
  const content = element("div", {}, element("div", {class: "trust-picture"}, picture,
    element("div", {class: "trust-zoom"}, button("+", "Larger", () => zoom(ZOOM)),
      button("−", "Smaller", () => zoom(1 / ZOOM)), button("All", "Show all", whole))),
  element("p", {class: "muted small", text: "Each ring is one step of trust further from this node, in the centre. The "
    + "larger a key, the higher its score. Choose one to see why it has its score; the same keys are in the table. "
    + "Ctrl and the wheel zoom."}));
  return {
    element: element("div", {}, element("div", {class: "controls"}, ui.field("How far", depth),
      ui.field("How many keys", limit)), summary, none, content),
    /** @param {{nodes: number, edges: number}} statistics @param {string} version of the graph */
    async refresh(statistics, version) {
      const query = String(new URLSearchParams({depth: depth.value, limit: limit.value}));
      if (!isDue(query, version)) return;
      const text = JSON.stringify(data = await api.get(`/trust/graph?${query}`));
      const isEmpty = data.nodes.length < 2;
      none.hidden = !isEmpty;
      content.hidden = isEmpty;
      const about = `${ui.plural(statistics.nodes, "key")} and ${ui.plural(statistics.edges, "endorsement")} in the `
        + `graph; ${ui.plural(data.nodes.length, "key")} and ${ui.plural(data.edges.length, "endorsement")} shown.`;
      ui.setText(summary, about);
      if (text === last) return;
      last = text;
      picture.setAttribute("aria-label", `The trust graph: ${about}`);
      draw();
    },
    /** @param {string} key */
    select(key) {
      chosen = key;
      draw();
    },
  };
}
