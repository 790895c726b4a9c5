// A table that can be sorted, filtered and turned over, also by keyboard.

import {element, keyed, setText} from "./ui.js";
import {count} from "./format.js";

const PAGE = 50;

/**
 * @template T
 * @typedef {object} Column
 * @property {string} name the property of a row, and the name by which it is sorted
 * @property {string} title
 * @property {(row: T) => any} [value] by which it is sorted; the property of the row by default. A cell is made again
 * when this changes.
 * @property {(row: T) => (Node | string)} [cell] what is shown; the value by default
 * @property {boolean} [numeric] shown at the right; the first click sorts the largest first
 * @property {boolean} [fixed] whether it cannot be sorted
 * @property {string} [hint] what it means
 */

/**
 * @template T
 * @typedef {object} TableOptions
 * @property {Column<T>[]} columns the first one names the row
 * @property {string} caption what the table shows
 * @property {T[]} [rows]
 * @property {(row: T) => string} [key] what a row is recognized by; its first column by default
 * @property {string} [sort] the name of a column; with "-" before it, the largest first
 * @property {(row: T, text: string) => boolean} [filter] whether a row has a text, which is in lower case
 * @property {Node} [empty] shown without rows
 * @property {number} [page] rows that are shown at once
 * @property {(row: T) => void} [onSelect] makes rows buttons
 * @property {(query: {sort: string, offset: number, limit: number, text: string}) => void} [load] for rows that the
 * server sorts, filters and cuts: asks for others. `update` gets them.
 */

/**
 * Make a table.
 * @template T
 * @param {TableOptions<T>} options
 */
export function table(options) {
  return new Table(options);
}

/**
 * `element` is to be put into the page; `update(rows)` shows other rows, `find(text)` those that have a text, and
 * `select(key)` marks a row.
 * @template T
 */
class Table {
  /** @param {TableOptions<T>} options */
  constructor(options) {
    this.options = options;
    this.rows = options.rows ?? [];
    this.total = this.rows.length;
    this.sort = options.sort ?? "";
    this.text = "";
    this.offset = 0;
    this.page = options.page ?? PAGE;
    this.selected = "";
    this.body = element("tbody");
    this.heads = options.columns.map((column) => this.#head(column));
    this.frame = element("div", {class: "table", role: "group", "aria-label": options.caption, tabindex: 0},
      element("table", {}, element("caption", {class: "hidden", text: options.caption}),
        element("thead", {}, element("tr", {}, ...this.heads)), this.body));
    this.none = element("div", {}, options.empty ?? element("p", {class: "empty", text: "Nothing here."}));
    this.nothing = element("p", {class: "empty", text: "Nothing has this text."});
    this.place = element("span", {role: "status"});
    this.back = element("button", {type: "button", text: "Previous", onclick: () => this.#turn(-1)});
    this.next = element("button", {type: "button", text: "Next", onclick: () => this.#turn(1)});
    this.pager = element("div", {class: "pager"}, this.back, this.place, this.next);
    this.element = element("div", {class: "table-box"}, this.none, this.frame, this.nothing, this.pager);
    this.#draw();
  }

  /** What the server is to be asked for. */
  get query() {
    return {sort: this.sort, offset: this.offset, limit: this.page, text: this.text};
  }

  /**
   * Show other rows.
   * @param {T[]} rows @param {number} [total] how many there are, if these are some of them
   */
  update(rows, total = rows.length) {
    this.rows = rows;
    this.total = total;
    if (this.options.load && total && this.offset >= total) { // there are fewer than before
      this.offset = this.#lastOffset();
      this.options.load(this.query);
    }
    this.#draw();
  }

  /** Show the rows that have a text. @param {string} text */
  find(text) {
    this.text = text.trim().toLowerCase();
    this.offset = 0;
    this.#changed();
  }

  /** Mark a row. @param {string} key */
  select(key) {
    this.selected = key;
    this.#draw();
  }

  /** @param {Column<T>} column */
  #head(column) {
    const title = column.hint;
    const properties = {scope: "col", class: column.numeric && "number", title};
    if (column.fixed) return element("th", properties, column.title);
    return element("th", properties, element("button", {type: "button", class: "sort",
      onclick: () => this.#sortBy(column)}, column.title));
  }

  /** @param {Column<T>} column */
  #sortBy(column) {
    const [first, second] = column.numeric ? [`-${column.name}`, column.name] : [column.name, `-${column.name}`];
    this.sort = this.sort === first ? second : first;
    this.offset = 0;
    this.#changed();
  }

  /** @param {number} step */
  #turn(step) {
    this.offset = Math.max(0, this.offset + step * this.page);
    this.#changed();
  }

  #changed() {
    if (this.options.load) this.options.load(this.query);
    this.#draw();
  }

  /** @returns {number} where the last page begins */
  #lastOffset() {
    return Math.max(0, Math.floor((this.total - 1) / this.page) * this.page);
  }

  /** @returns {T[]} the rows of this page */
  #visible() {
    if (this.options.load) return this.rows;
    const {filter} = this.options;
    const rows = this.text && filter ? this.rows.filter((row) => filter(row, this.text)) : [...this.rows];
    const name = this.sort.replace("-", "");
    const column = this.options.columns.find((candidate) => candidate.name === name);
    if (column) {
      const direction = this.sort.startsWith("-") ? -1 : 1;
      rows.sort((a, b) => compare(valueOf(column, a), valueOf(column, b), direction));
    }
    this.total = rows.length;
    if (this.offset >= rows.length) this.offset = this.#lastOffset();
    return rows.slice(this.offset, this.offset + this.page);
  }

  #draw() {
    const rows = this.#visible();
    const {columns} = this.options;
    columns.forEach((column, index) => {
      const direction = this.sort === column.name ? "ascending" : this.sort === `-${column.name}` ? "descending" : "";
      if (direction) this.heads[index].setAttribute("aria-sort", direction);
      else this.heads[index].removeAttribute("aria-sort");
    });
    keyed(this.body, rows, (row) => this.#keyOf(row), () => this.#line(), (line, row) => this.#fill(line, row));
    this.none.hidden = rows.length > 0 || Boolean(this.text);
    this.nothing.hidden = rows.length > 0 || !this.text;
    this.frame.hidden = !rows.length;
    this.pager.hidden = this.total <= this.page;
    this.back.disabled = this.offset === 0;
    this.next.disabled = this.offset + this.page >= this.total;
    setText(this.place, `${count(this.offset + 1)} to ${count(this.offset + rows.length)} of ${count(this.total)}`);
  }

  /** @param {T} row */
  #keyOf(row) {
    return String(this.options.key ? this.options.key(row) : valueOf(this.options.columns[0], row));
  }

  #line() {
    const {columns, onSelect} = this.options;
    const cells = columns.map((column, index) => index
      ? element("td", {class: column.numeric && "number"}) : element("th", {scope: "row"}));
    const line = element("tr", {class: onSelect && "selectable"}, ...cells);
    if (onSelect) line.addEventListener("click", () => onSelect(line.row));
    return line;
  }

  /** @param {any} line @param {T} row */
  #fill(line, row) {
    const {columns, onSelect} = this.options;
    line.row = row;
    columns.forEach((column, index) => {
      const cell = line.children[index];
      const value = valueOf(column, row);
      const shown = typeof value === "object" ? JSON.stringify(value) : value;
      if (cell.shown === shown && cell.childNodes.length) return;
      cell.shown = shown;
      const content = column.cell ? column.cell(row) : String(value ?? "–");
      cell.replaceChildren(onSelect && index === 0
        ? element("button", {type: "button", class: "link"}, content) : content);
    });
    if (!onSelect) return;
    const isSelected = this.#keyOf(row) === this.selected;
    if (isSelected) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}

/** @template T @param {Column<T>} column @param {T} row */
function valueOf(column, row) {
  return column.value ? column.value(row) : /** @type {any} */ (row)[column.name];
}

/**
 * Compares numbers by size and others as texts; what is not known comes last in both directions.
 * @param {any} a @param {any} b @param {number} direction
 */
function compare(a, b, direction) {
  const [none, other] = [a === null || a === undefined, b === null || b === undefined];
  if (none || other) return Number(none) - Number(other);
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en", {numeric: true});
}
