// A graph on a canvas: nodes can be dragged and chosen, and the view moved and enlarged, also by keyboard.

import {Layout} from "./layout.js";
import {element, setText} from "./ui.js";

const RADIUS = 5;
const NEAR = 14;
const SMALLEST = 0.05;
const LARGEST = 12;
const FEW = 30;
const STEPS_AT_ONCE = 400;
/** Pixels around a graph that is fitted into the view, and those for the labels beside it. */
const MARGIN = 30;
const LABEL = 110;
const LARGEST_FITTED = 5;
/** How much wider than high, or higher than wide, a graph becomes to fill the view. */
const WIDEST = 2.5;

/**
 * @typedef {object} GraphNode
 * @property {string} id
 * @property {string} label what is read out, and written beside the node
 * @property {string} [class] a class of the style sheet, whose colour it has
 * @property {boolean} [isRoot] drawn larger
 *
 * @typedef {[string, string, string]} GraphEdge two ids, and a kind
 */

/**
 * `element` is to be put into the page. `update({nodes, edges})` shows others, `select(id)` chooses a node, and
 * `unmount()` ends it.
 * @param {object} options
 * @param {string} options.label what the graph shows
 * @param {(id: string) => void} [options.onSelect] called with the node that somebody chooses, or with ""
 * @param {Record<string, {class: string, dash?: number[]}>} options.edgeClasses how each kind of edges looks
 */
export function graph(options) {
  return new Graph(options);
}

class Graph {
  /** @param {Parameters<typeof graph>[0]} options */
  constructor({label, onSelect = () => {}, edgeClasses}) {
    this.onSelect = onSelect;
    this.edgeClasses = edgeClasses;
    this.layout = new Layout();
    /** @type {GraphNode[]} */
    this.nodes = [];
    /** @type {GraphEdge[]} */
    this.edges = [];
    this.view = {x: 0, y: 0, scale: 1};
    /** Whether the view shows all; until somebody moves it. */
    this.isFitted = true;
    this.selected = "";
    this.hovered = -1;
    this.isDrawn = false;
    this.colours = new Map();
    /** @type {Map<number, {x: number, y: number}>} the fingers, or the mouse, that are down */
    this.pointers = new Map();
    this.canvas = element("canvas", {tabindex: 0, role: "application", "aria-roledescription": "graph",
      "aria-label": `${label}. Arrow keys choose a node, plus and minus change the size, 0 shows all.`});
    this.said = element("p", {class: "hidden", role: "status"});
    this.probe = element("span", {class: "hidden"});
    const button = (/** @type {string} */ text, /** @type {string} */ name, /** @type {() => void} */ action) =>
      element("button", {type: "button", "aria-label": name, title: name, text, onclick: action});
    this.element = element("div", {class: "graph"}, this.canvas, element("div", {class: "graph-buttons"},
      button("+", "Larger", () => this.zoom(1.4)), button("−", "Smaller", () => this.zoom(1 / 1.4)),
      button("All", "Show all", () => this.fit())), this.said, this.probe);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => {
      this.colours.clear();
      this.draw();
    };
    this.dark.addEventListener("change", this.recolour);
    document.addEventListener("themechange", this.recolour);
    this.sizes = new ResizeObserver(() => this.#resize());
    this.sizes.observe(this.canvas);
    this.#listen();
  }

  /**
   * Show other nodes and edges. Those that stay keep their places.
   * @param {{nodes: GraphNode[], edges: GraphEdge[]}} next
   */
  update({nodes, edges}) {
    const isSame = nodes.length === this.nodes.length && edges.length === this.edges.length
      && nodes.every(({id}, index) => id === this.nodes[index].id)
      && edges.every(([a, b], index) => a === this.edges[index][0] && b === this.edges[index][1]);
    this.nodes = nodes;
    this.edges = edges;
    if (!isSame) {
      const hasBegun = this.layout.ids.length > 0;
      this.layout.update(nodes.map(({id}) => id), edges.map(([a, b]) => [a, b]));
      this.hovered = -1;
      if (this.calm.matches || !hasBegun) this.#settle();
    }
    this.draw();
  }

  /** Choose a node. @param {string} id or "" for none */
  select(id) {
    this.selected = id;
    const node = this.nodes[this.layout.indexOf.get(id) ?? -1];
    setText(this.said, node?.label ?? "");
    this.draw();
  }

  /** @param {number} factor @param {number} [x] the place that stays where it is, in pixels @param {number} [y] */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.view.scale * factor));
    this.view.x = x - (x - this.view.x) * scale / this.view.scale;
    this.view.y = y - (y - this.view.y) * scale / this.view.scale;
    this.view.scale = scale;
    this.isFitted = false;
    this.draw();
  }

  /** Show all nodes, also when they move. */
  fit() {
    this.isFitted = true;
    this.draw();
  }

  /** Stop to watch the page. */
  unmount() {
    this.sizes.disconnect();
    this.dark.removeEventListener("change", this.recolour);
    document.removeEventListener("themechange", this.recolour);
    this.layout.isAtRest = true;
  }

  /** Draw soon, and go on while nodes move. */
  draw() {
    if (this.isDrawn) return;
    this.isDrawn = true;
    requestAnimationFrame(() => {
      this.isDrawn = false;
      if (!this.layout.isAtRest) {
        this.layout.step();
        this.draw();
      }
      this.#paint();
    });
  }

  /** Move the nodes to their places without showing it. The first time, the rest is shown if it takes long. */
  #settle() {
    const end = performance.now() + (this.calm.matches ? 500 : 60);
    for (let step = 0; step < STEPS_AT_ONCE && !this.layout.isAtRest && performance.now() < end; step += 1) {
      this.layout.step();
    }
    if (this.calm.matches) this.layout.isAtRest = true;
  }

  #resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    const aspect = (this.canvas.clientWidth || 1) / (this.canvas.clientHeight || 1);
    this.layout.aspect = Math.min(WIDEST, Math.max(1 / WIDEST, aspect));
    this.draw();
  }

  #fitView() {
    const {x, y} = this.layout;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let index = 0; index < x.length; index += 1) {
      left = Math.min(left, x[index]);
      right = Math.max(right, x[index]);
      top = Math.min(top, y[index]);
      bottom = Math.max(bottom, y[index]);
    }
    if (left > right) return;
    const beside = this.nodes.length <= FEW ? Math.min(LABEL, width / 3) : MARGIN;
    const scale = Math.max(SMALLEST, Math.min(LARGEST_FITTED, (width - 2 * beside) / Math.max(1, right - left),
      (height - 2 * MARGIN) / Math.max(1, bottom - top)));
    this.view = {scale, x: width / 2 - scale * (left + right) / 2, y: height / 2 - scale * (top + bottom) / 2};
  }

  /** @param {string} className @returns {string} the colour that the style sheet gives to it */
  #colour(className) {
    let colour = this.colours.get(className);
    if (!colour) {
      this.probe.className = `hidden ${className}`;
      colour = getComputedStyle(this.probe).color;
      this.colours.set(className, colour);
    }
    return colour;
  }

  #paint() {
    if (this.isFitted) this.#fitView();
    const pen = this.canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const {x, y} = this.layout;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    const across = (/** @type {number} */ index) => this.view.x + this.view.scale * x[index];
    const down = (/** @type {number} */ index) => this.view.y + this.view.scale * y[index];
    this.#paintEdges(pen, across, down);
    const selected = this.layout.indexOf.get(this.selected) ?? -1;
    const isSpecial = (/** @type {number} */ index) =>
      this.nodes[index].isRoot || index === selected || index === this.hovered;
    const order = [...this.nodes.keys()].sort((a, b) => Number(isSpecial(a)) - Number(isSpecial(b)));
    const size = Math.max(2.5, Math.min(RADIUS, RADIUS * Math.sqrt(this.view.scale) * 1.2));
    for (const index of order) {
      const node = this.nodes[index];
      pen.beginPath();
      pen.arc(across(index), down(index), node.isRoot ? size * 1.8 : size, 0, 2 * Math.PI);
      pen.fillStyle = this.#colour(node.class ?? "graph-node");
      pen.fill();
      pen.lineWidth = isSpecial(index) ? 2 : 1;
      pen.strokeStyle = this.#colour(index === selected || index === this.hovered ? "graph-text" : "graph-ground");
      pen.stroke();
    }
    pen.font = `12px ${getComputedStyle(this.canvas).fontFamily}`;
    pen.textBaseline = "middle";
    for (const index of order) {
      if (this.nodes.length > FEW && !isSpecial(index)) continue;
      this.#paintLabel(pen, this.nodes[index], across(index), down(index));
    }
  }

  /**
   * Write a label: that of a root below it, others at the side that lies outside, where there are fewer edges.
   * @param {CanvasRenderingContext2D} pen @param {GraphNode} node @param {number} x @param {number} y
   */
  #paintLabel(pen, {label, isRoot}, x, y) {
    const isLeft = x < this.canvas.clientWidth / 2;
    pen.textAlign = isRoot ? "center" : isLeft ? "right" : "left";
    const [left, top] = isRoot ? [x, y + 20] : [x + (isLeft ? -10 : 10), y];
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = this.#colour("graph-ground");
    pen.strokeText(label, left, top);
    pen.fillStyle = this.#colour("graph-text");
    pen.fillText(label, left, top);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {(index: number) => number} across @param {(index: number) => number} down
   */
  #paintEdges(pen, across, down) {
    const selected = this.layout.indexOf.get(this.selected);
    pen.lineWidth = 1;
    for (const [kind, {class: className, dash}] of Object.entries(this.edgeClasses)) {
      pen.strokeStyle = this.#colour(className);
      pen.setLineDash(dash ?? []);
      for (const isMarked of [false, true]) {
        pen.globalAlpha = isMarked ? 1 : 0.45;
        pen.beginPath();
        for (const [a, b, edgeKind] of this.edges) {
          const [from, to] = [this.layout.indexOf.get(a), this.layout.indexOf.get(b)];
          if (edgeKind !== kind || from === undefined || to === undefined) continue;
          if ((from === selected || to === selected) !== isMarked) continue;
          pen.moveTo(across(from), down(from));
          pen.lineTo(across(to), down(to));
        }
        pen.stroke();
      }
    }
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  /** @param {number} x @param {number} y in pixels @returns {number} the node there, or -1 */
  #at(x, y) {
    let [best, nearest] = [-1, NEAR];
    for (let index = 0; index < this.nodes.length; index += 1) {
      const distance = Math.hypot(this.view.x + this.view.scale * this.layout.x[index] - x,
        this.view.y + this.view.scale * this.layout.y[index] - y);
      if (distance < nearest) [best, nearest] = [index, distance];
    }
    return best;
  }

  /** @param {string} id */
  #choose(id) {
    this.select(id);
    this.onSelect(id);
  }

  /** Choose the next node in a direction. @param {number} dx @param {number} dy */
  #walk(dx, dy) {
    const {x, y} = this.layout;
    const from = this.layout.indexOf.get(this.selected);
    if (from === undefined) {
      const root = this.nodes.findIndex(({isRoot}) => isRoot);
      if (this.nodes.length) this.#choose(this.nodes[Math.max(0, root)].id);
      return;
    }
    let [best, nearest] = [-1, Infinity];
    for (let index = 0; index < x.length; index += 1) {
      const along = (x[index] - x[from]) * dx + (y[index] - y[from]) * dy;
      const aside = Math.abs((x[index] - x[from]) * dy) + Math.abs((y[index] - y[from]) * dx);
      if (along > aside * 0.5 && along + 2 * aside < nearest) [best, nearest] = [index, along + 2 * aside];
    }
    if (best >= 0) this.#choose(this.nodes[best].id);
  }

  #listen() {
    const {canvas} = this;
    const place = (/** @type {PointerEvent | WheelEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return {x: event.clientX - box.left, y: event.clientY - box.top};
    };
    let hasMoved = false;
    canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      canvas.setPointerCapture(event.pointerId);
      const at = place(event);
      this.pointers.set(event.pointerId, at);
      hasMoved = false;
      this.layout.held = this.pointers.size === 1 ? this.#at(at.x, at.y) : -1;
    });
    canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      const at = place(event);
      const before = this.pointers.get(event.pointerId);
      if (!before) {
        const hovered = this.#at(at.x, at.y);
        if (hovered === this.hovered) return;
        this.hovered = hovered;
        canvas.classList.toggle("on-node", hovered >= 0);
        this.draw();
        return;
      }
      if (!hasMoved && Math.hypot(at.x - before.x, at.y - before.y) < 3) return;
      hasMoved = true;
      this.pointers.set(event.pointerId, at);
      if (this.pointers.size === 2) this.#pinch(event.pointerId, before, at);
      else if (this.layout.held >= 0) this.#drag(at);
      else this.#pan(at.x - before.x, at.y - before.y);
    });
    const release = (/** @type {PointerEvent} */ event) => {
      const at = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      this.layout.held = -1;
      if (at && !hasMoved && event.type === "pointerup") this.#choose(this.nodes[this.#at(at.x, at.y)]?.id ?? "");
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // else the page is scrolled
      event.preventDefault();
      const at = place(event);
      this.zoom(Math.exp(-0.0015 * event.deltaY), at.x, at.y);
    }, {passive: false});
    const keys = {
      ArrowLeft: () => this.#walk(-1, 0), ArrowRight: () => this.#walk(1, 0),
      ArrowUp: () => this.#walk(0, -1), ArrowDown: () => this.#walk(0, 1),
      "+": () => this.zoom(1.2), "-": () => this.zoom(1 / 1.2), "0": () => this.fit(), Escape: () => this.#choose(""),
    };
    canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  /** @param {{x: number, y: number}} at */
  #drag(at) {
    this.layout.x[this.layout.held] = (at.x - this.view.x) / this.view.scale;
    this.layout.y[this.layout.held] = (at.y - this.view.y) / this.view.scale;
    this.isFitted = false;
    this.layout.wake();
    this.draw();
  }

  /** @param {number} dx @param {number} dy */
  #pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.isFitted = false;
    this.draw();
  }

  /** @param {number} moved @param {{x: number, y: number}} before @param {{x: number, y: number}} after */
  #pinch(moved, before, after) {
    const [other] = [...this.pointers].filter(([id]) => id !== moved).map(([, at]) => at);
    const apart = Math.hypot(before.x - other.x, before.y - other.y) || 1;
    this.zoom(Math.hypot(after.x - other.x, after.y - other.y) / apart, other.x, other.y);
  }
}
