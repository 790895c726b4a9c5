// Places the nodes of a graph by forces: nodes push each other away, edges pull, and all are drawn to the middle.
// Moves are integrated by velocity Verlet. Nothing here touches the page.

import {QuadTree} from "./quadtree.js";

/** Above this many nodes, far ones count as groups. */
const GROUPED = 200;
const LENGTH = 60;
const PUSH = 1_800;
const PULL = 0.06;
const MIDDLE = 0.012;
const DAMPING = 0.86;
const STEP = 0.9;
const FASTEST = 40;
const SOFT = 20;
/** Speed below which a graph is at rest. */
const REST = 0.12;
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));

export class Layout {
  constructor() {
    /** @type {string[]} */
    this.ids = [];
    /** @type {Map<string, number>} */
    this.indexOf = new Map();
    this.x = new Float64Array(0);
    this.y = new Float64Array(0);
    this.speedX = new Float64Array(0);
    this.speedY = new Float64Array(0);
    this.forceX = new Float64Array(0);
    this.forceY = new Float64Array(0);
    /** Pairs of indexes. @type {[number, number][]} */
    this.edges = [];
    /** @type {Float64Array} how many edges each node has */
    this.degree = new Float64Array(0);
    /** The node that is held, or -1. */
    this.held = -1;
    this.isAtRest = true;
    /** How much wider than high the graph is to be. */
    this.aspect = 1;
  }

  /**
   * Take other nodes and edges. Nodes that stay keep their places; new ones start beside one that they are joined to.
   * @param {string[]} ids @param {[string, string][]} edges those with an unknown node are left out
   */
  update(ids, edges) {
    const before = {indexOf: this.indexOf, x: this.x, y: this.y};
    const held = this.ids[this.held];
    this.ids = ids;
    this.indexOf = new Map(ids.map((id, index) => [id, index]));
    this.edges = edges.map(([a, b]) => /** @type {[number, number]} */ ([this.indexOf.get(a), this.indexOf.get(b)]))
      .filter(([a, b]) => a !== undefined && b !== undefined && a !== b);
    for (const name of ["x", "y", "speedX", "speedY", "forceX", "forceY", "degree"]) {
      /** @type {any} */ (this)[name] = new Float64Array(ids.length);
    }
    const isPlaced = new Uint8Array(ids.length);
    ids.forEach((id, index) => {
      const old = before.indexOf.get(id);
      if (old === undefined) return;
      this.x[index] = before.x[old];
      this.y[index] = before.y[old];
      isPlaced[index] = 1;
    });
    /** @type {Map<number, number>} a placed neighbour of each node */
    const neighbours = new Map();
    for (const [a, b] of this.edges) {
      this.degree[a] += 1;
      this.degree[b] += 1;
      if (isPlaced[a]) neighbours.set(b, a);
      if (isPlaced[b]) neighbours.set(a, b);
    }
    ids.forEach((_, index) => {
      if (isPlaced[index]) return;
      const neighbour = neighbours.get(index);
      const distance = neighbour === undefined ? 0.5 * LENGTH * Math.sqrt(index) : LENGTH;
      this.x[index] = distance * Math.cos(index * GOLDEN_ANGLE) + (neighbour === undefined ? 0 : this.x[neighbour]);
      this.y[index] = distance * Math.sin(index * GOLDEN_ANGLE) + (neighbour === undefined ? 0 : this.y[neighbour]);
    });
    this.held = this.indexOf.get(held) ?? -1;
    this.#forces();
    this.wake();
  }

  /** Let the nodes move again. */
  wake() {
    this.isAtRest = this.ids.length === 0;
  }

  /** Move the nodes once. */
  step() {
    const {x, y, speedX, speedY} = this;
    const [beforeX, beforeY] = [this.forceX.slice(), this.forceY.slice()];
    for (let index = 0; index < x.length; index += 1) {
      if (index === this.held) continue;
      x[index] += STEP * (speedX[index] + 0.5 * STEP * beforeX[index]);
      y[index] += STEP * (speedY[index] + 0.5 * STEP * beforeY[index]);
    }
    this.#forces();
    let fastest = 0;
    for (let index = 0; index < x.length; index += 1) {
      if (index === this.held) {
        speedX[index] = 0;
        speedY[index] = 0;
        continue;
      }
      speedX[index] = DAMPING * (speedX[index] + 0.5 * STEP * (beforeX[index] + this.forceX[index]));
      speedY[index] = DAMPING * (speedY[index] + 0.5 * STEP * (beforeY[index] + this.forceY[index]));
      const speed = Math.hypot(speedX[index], speedY[index]);
      if (speed > FASTEST) {
        speedX[index] *= FASTEST / speed;
        speedY[index] *= FASTEST / speed;
      }
      fastest = Math.max(fastest, speed);
    }
    this.isAtRest = fastest < REST && this.held < 0;
  }

  #forces() {
    const {x, y, forceX, forceY} = this;
    for (let index = 0; index < x.length; index += 1) {
      forceX[index] = -MIDDLE * x[index] / this.aspect;
      forceY[index] = -MIDDLE * y[index] * this.aspect;
    }
    this.#push();
    for (const [a, b] of this.edges) {
      const [dx, dy] = [x[b] - x[a], y[b] - y[a]];
      const distance = Math.hypot(dx, dy) || 1e-6;
      const pull = PULL * (distance - LENGTH) / distance / Math.sqrt(Math.min(this.degree[a], this.degree[b]));
      // The node with more edges moves less.
      const share = this.degree[a] / (this.degree[a] + this.degree[b]);
      forceX[a] += pull * dx * (1 - share);
      forceY[a] += pull * dy * (1 - share);
      forceX[b] -= pull * dx * share;
      forceY[b] -= pull * dy * share;
    }
  }

  #push() {
    const {x, y, forceX, forceY} = this;
    const tree = x.length > GROUPED ? new QuadTree(x, y, x.length) : null;
    for (let index = 0; index < x.length; index += 1) {
      const add = (/** @type {number} */ otherX, /** @type {number} */ otherY, /** @type {number} */ mass) => {
        const [dx, dy] = [x[index] - otherX, y[index] - otherY];
        const push = PUSH * mass / ((dx * dx + dy * dy + SOFT) * Math.sqrt(dx * dx + dy * dy + SOFT));
        forceX[index] += push * dx;
        forceY[index] += push * dy;
      };
      if (tree) tree.each(index, add);
      else for (let other = 0; other < x.length; other += 1) if (other !== index) add(x[other], y[other], 1);
    }
  }
}
