// Far groups of points as one point (J. Barnes and P. Hut, "A hierarchical O(N log N) force-calculation algorithm",
// Nature 324, 1986). A cell is an index into arrays, so that a tree is made without an object for each cell.

const CHILDREN = 4;
const DEEPEST = 40;
const NO_CHILD = -1;
/** A group is taken as one point if its width is below this part of its distance. */
const OPENING = 0.8;

export class QuadTree {
  /** @param {ArrayLike<number>} x @param {ArrayLike<number>} y @param {number} number how many points */
  constructor(x, y, number) {
    this.x = x;
    this.y = y;
    /** The four cells inside of each cell, or NO_CHILD. @type {number[]} */
    this.children = [];
    /** How many points a cell has, and the sums of their places. @type {number[]} */
    this.mass = [];
    this.sumX = [];
    this.sumY = [];
    /** The point of a cell that has only one, else -1. @type {number[]} */
    this.point = [];
    /** Whether there are no cells inside of it. @type {boolean[]} */
    this.isLeaf = [];
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let index = 0; index < number; index += 1) {
      left = Math.min(left, x[index]);
      right = Math.max(right, x[index]);
      top = Math.min(top, y[index]);
      bottom = Math.max(bottom, y[index]);
    }
    this.left = left;
    this.top = top;
    this.size = Math.max(right - left, bottom - top, 1e-6) * 1.001;
    this.#cell();
    for (let index = 0; index < number; index += 1) this.#insert(index);
  }

  /** @returns {number} a new cell */
  #cell() {
    this.children.push(NO_CHILD, NO_CHILD, NO_CHILD, NO_CHILD);
    this.mass.push(0);
    this.sumX.push(0);
    this.sumY.push(0);
    this.point.push(-1);
    this.isLeaf.push(true);
    return this.mass.length - 1;
  }

  /** @param {number} index of a point */
  #insert(index) {
    let [cell, left, top, size] = [0, this.left, this.top, this.size];
    for (let depth = 0; depth < DEEPEST; depth += 1) {
      const other = this.point[cell];
      const wasEmpty = this.mass[cell] === 0;
      this.mass[cell] += 1;
      this.sumX[cell] += this.x[index];
      this.sumY[cell] += this.y[index];
      if (wasEmpty) {
        this.point[cell] = index;
        return;
      }
      size /= 2;
      if (other >= 0) {
        const below = this.#child(cell, this.#quarter(other, left, top, size));
        this.point[cell] = -1;
        this.point[below] = other;
        this.mass[below] = 1;
        this.sumX[below] = this.x[other];
        this.sumY[below] = this.y[other];
      }
      const quarter = this.#quarter(index, left, top, size);
      if (quarter % 2) left += size;
      if (quarter >= 2) top += size;
      cell = this.#child(cell, quarter);
    }
    this.mass[cell] += 1; // points at one place
    this.sumX[cell] += this.x[index];
    this.sumY[cell] += this.y[index];
  }

  /** @param {number} index @param {number} left @param {number} top @param {number} size of a quarter */
  #quarter(index, left, top, size) {
    return (this.x[index] >= left + size ? 1 : 0) + (this.y[index] >= top + size ? 2 : 0);
  }

  /** @param {number} cell @param {number} quarter */
  #child(cell, quarter) {
    const place = CHILDREN * cell + quarter;
    if (this.children[place] === NO_CHILD) this.children[place] = this.#cell();
    this.isLeaf[cell] = false;
    return this.children[place];
  }

  /**
   * Visit the points and groups that together stand for all other points.
   * @param {number} index of the point from which they are seen
   * @param {(x: number, y: number, mass: number) => void} visit
   */
  each(index, visit) {
    const stack = [0];
    const sizes = [this.size];
    while (stack.length) {
      const cell = stack.pop();
      const size = sizes.pop();
      const mass = this.mass[cell];
      if (!mass || this.point[cell] === index) continue;
      const [x, y] = [this.sumX[cell] / mass, this.sumY[cell] / mass];
      const isFar = size < OPENING * Math.hypot(x - this.x[index], y - this.y[index]);
      if (isFar || this.isLeaf[cell]) {
        visit(x, y, mass);
        continue;
      }
      for (let quarter = 0; quarter < CHILDREN; quarter += 1) {
        const below = this.children[CHILDREN * cell + quarter];
        if (below === NO_CHILD) continue;
        stack.push(below);
        sizes.push(size / 2);
      }
    }
  }
}
