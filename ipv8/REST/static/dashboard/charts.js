// Drawings of numbers. Each has a text that says the same, and colours that the style sheet gives.

import {UNKNOWN, clock, count, percent} from "./format.js";
import {drawing, element, keyed, setText} from "./ui.js";

const WIDTH = 600;
/** Seconds that are shown at least. */
const SHORTEST = 10;
/** Round numbers whose halves are round, too. */
const STEPS = [1, 2, 3, 4, 5, 6, 8, 10];

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {[number, number | null][]} points time in seconds since the Unix epoch, and value
 */

/** The next round number. @param {number} value */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * (STEPS.find((step) => step * unit >= value * 0.999_999) ?? 10);
}

/**
 * The path of a line; it has a gap where a value is not known.
 * @param {[number, number | null][]} points @param {(time: number) => number} x @param {(value: number) => number} y
 */
export function pathOf(points, x, y) {
  let path = "";
  let isDrawn = false;
  for (const [time, value] of points) {
    if (value === null) {
      isDrawn = false;
    } else {
      path += `${isDrawn ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
      isDrawn = true;
    }
  }
  return path;
}

/**
 * Values over time. The pointer, or the arrow keys, choose a time whose values are shown.
 *
 * `element` is to be put into the page; `update(series)` shows others.
 * @param {object} options
 * @param {string} options.label what is shown
 * @param {Series[]} [options.series] at most six
 * @param {(value: number | null) => string} [options.format] of values
 * @param {number} [options.height] in pixels
 */
export function lineChart({label, series = [], format = count, height = 180}) {
  const grid = drawing("g", {class: "grid"});
  const lines = drawing("g", {class: "lines"});
  const mark = drawing("line", {class: "mark", y1: 0, y2: height, visibility: "hidden"});
  const picture = drawing("svg", {viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", height,
    class: "chart-picture", role: "img", tabindex: 0}, grid, lines, mark);
  const scale = element("div", {class: "chart-scale", "aria-hidden": "true"});
  const times = element("div", {class: "chart-times", "aria-hidden": "true"});
  const legend = element("ul", {class: "legend"});
  const made = element("figure", {class: "chart"}, legend,
    element("div", {class: "chart-area"}, scale, picture, times));
  let shown = series;
  let [from, to] = [0, 1];
  /** @type {number | null} the time that is chosen */
  let chosen = null;

  function describe() {
    for (const [index, item] of [...legend.children].entries()) {
      const points = shown[index].points;
      const point = chosen === null ? points.at(-1) : nearest(points, chosen);
      const moment = chosen === null ? "" : ` at ${clock(point?.[0])}`;
      setText(item.lastChild, `${shown[index].name} ${format(point?.[1] ?? null)}${moment}`);
    }
    const text = shown.map(({name, points}) => {
      const values = points.map(([, value]) => value).filter((value) => value !== null);
      return values.length ? `${name}: now ${format(values.at(-1))}, at most ${format(Math.max(...values))}`
        : `${name}: ${UNKNOWN}`;
    });
    picture.setAttribute("aria-label", `${label}. ${text.join(". ")}.`);
    mark.setAttribute("visibility", chosen === null ? "hidden" : "visible");
    if (chosen !== null) {
      const x = WIDTH * (chosen - from) / (to - from);
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
    }
  }

  /** @param {Series[]} next */
  function update(next) {
    shown = next;
    const all = next.flatMap(({points}) => points);
    const moments = all.map(([time]) => time);
    to = moments.length ? Math.max(...moments) : 1;
    from = Math.min(...moments, to - SHORTEST);
    const top = roundUp(Math.max(0, ...all.map(([, value]) => value ?? 0)));
    const x = (/** @type {number} */ time) => WIDTH * (time - from) / (to - from);
    const y = (/** @type {number} */ value) => height - 2 - (height - 6) * value / top;
    const levels = [0, 0.5, 1].map((part) => part * top);
    grid.replaceChildren(...levels.map((value) => drawing("line", {x1: 0, x2: WIDTH, y1: y(value), y2: y(value)})));
    const names = levels.reverse().map(format);  // a half of a byte has the name of the next number
    scale.replaceChildren(...names.map((text, index) => element("span",
      {text: text === names[index - 1] ? "" : text})));
    lines.replaceChildren(...next.map(({points}, index) => drawing("path", {class: `line series-${index + 1}`,
      d: pathOf(points, x, y)})));
    times.replaceChildren(...(moments.length ? [from, to] : []).map((time) => element("span", {text: clock(time)})));
    keyed(legend, next, ({name}) => name, ({name}) => {
      const index = next.findIndex((candidate) => candidate.name === name);
      return element("li", {}, element("span", {class: `swatch series-${index + 1}`}), element("span"));
    });
    describe();
  }

  /** @param {number | null} time */
  function choose(time) {
    chosen = time === null ? null : Math.min(to, Math.max(from, time));
    describe();
  }

  picture.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const box = picture.getBoundingClientRect();
    choose(from + (to - from) * (event.clientX - box.left) / box.width);
  });
  picture.addEventListener("pointerleave", () => choose(null));
  picture.addEventListener("blur", () => choose(null));
  picture.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step) return;
    event.preventDefault();
    choose((chosen ?? to) + step * (to - from) / 60);
  });
  update(series);
  return {element: made, update};
}

/** @param {[number, number | null][]} points @param {number} time */
function nearest(points, time) {
  return points.reduce((/** @type {any} */ best, point) =>
    !best || Math.abs(point[0] - time) < Math.abs(best[0] - time) ? point : best, undefined);
}

/**
 * Bars beside each other's names, the longest one as wide as there is room.
 *
 * `element` is to be put into the page; `update(rows)` shows others.
 * @param {object} options
 * @param {string} options.label what is shown
 * @param {{name: string, value: number, class?: string}[]} [options.rows] with a class that gives a colour
 * @param {(value: number) => string} [options.format] of values
 * @param {boolean} [options.share] whether to say which part of all it is
 */
export function barChart({label, rows = [], format = count, share = false}) {
  const made = element("ul", {class: "bars", "aria-label": label});

  /** @param {{name: string, value: number, class?: string}[]} next */
  function update(next) {
    const most = Math.max(1e-9, ...next.map(({value}) => value));
    const all = next.reduce((sum, {value}) => sum + value, 0);
    keyed(made, next, ({name}) => name, ({name, class: className}) => {
      const part = drawing("rect", {class: "bar-part", height: "100%"});
      return element("li", {class: className}, element("span", {class: "bar-name", text: name}),
        drawing("svg", {class: "bar", "aria-hidden": "true"},
          drawing("rect", {class: "bar-full", width: "100%", height: "100%"}), part),
        element("span", {class: "bar-text"}));
    }, (line, {value}) => {
      line.querySelector(".bar-part").setAttribute("width", `${100 * value / most}%`);
      setText(line.lastChild, format(value) + (share && all ? ` (${percent(value / all)})` : ""));
    });
  }

  update(rows);
  return {element: made, update};
}
