// What the node logs.

import {OBSERVED} from "../panels.js";

export const title = "Log";
export const topics = ["log"];
export const needs = OBSERVED;

const KEPT = 1000;
const AFTER_TYPING = 200;
/** Characters that the node looks for. */
const LONGEST = 200;
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const CLASSES = {WARNING: "warning", ERROR: "problem", CRITICAL: "problem"};

/** @typedef {{id: number, time: number, level: string, logger: string, message: string}} LogRecord */

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 */
export function mount(root, {api, ui, parameters, setParameters}) {
  /** The last one first. @type {LogRecord[]} */
  let records = [];
  /** The id of the last record that has been read, whether it fits or not; 0 before anything has been read. */
  let last = 0;
  /** The id of the last record that is shown while nothing is added; Infinity else. */
  let newest = Infinity;
  let turn = 0;
  let wait = 0;

  const level = ui.element("select", {onchange: () => restart()}, ...LEVELS.map((name) =>
    ui.element("option", {value: name, text: name === "DEBUG" ? "All" : `${sentence(name)} and above`})));
  const logger = ui.element("input", {type: "search", placeholder: "Name of a logger", maxlength: LONGEST,
    oninput: () => afterTyping()});
  const text = ui.element("input", {type: "search", placeholder: "Part of a message", maxlength: LONGEST,
    oninput: () => afterTyping()});
  level.value = parameters.get("level") ?? "DEBUG";
  logger.value = parameters.get("logger")?.slice(0, LONGEST) ?? "";
  text.value = parameters.get("text")?.slice(0, LONGEST) ?? "";
  const pause = ui.element("button", {type: "button", "aria-pressed": "false", text: "Pause", onclick: () => {
    newest = newest === Infinity ? last : Infinity;
    pause.setAttribute("aria-pressed", String(newest < Infinity));
    pause.textContent = newest < Infinity ? "Go on" : "Pause";
    if (newest === Infinity) restart();
  }});
  const copy = ui.copyButton(() => records.map((record) => lineOf(ui, record)).join("\n"), "what is shown");
  copy.classList.remove("copy");
  const none = ui.emptyState("Nothing has been logged.",
    "The page shows what has been logged since the REST API runs. Let the node log more:",
    "python -m ipv8 run --log-level DEBUG");
  const nothing = ui.element("p", {class: "empty", text: "Nothing of what has been logged fits."});
  const list = ui.element("ol", {class: "log", "aria-label": "Log, the last first", tabindex: 0});
  root.append(ui.element("div", {class: "controls"}, ui.field("Level", level), ui.field("Logger", logger),
    ui.field("Text", text), pause, copy),
  ui.element("section", {class: "card", "aria-label": "Records"}, none, nothing, list));

  function afterTyping() {
    clearTimeout(wait);
    wait = setTimeout(restart, AFTER_TYPING);
  }

  function restart() {
    records = [];
    last = 0;
    setParameters({level: level.value === "DEBUG" ? "" : level.value, logger: logger.value, text: text.value});
    return read();
  }

  /** @param {LogRecord} record */
  function fits(record) {
    return record.id <= newest && LEVELS.indexOf(record.level) >= LEVELS.indexOf(level.value)
      && record.logger.toLowerCase().includes(logger.value.trim().toLowerCase())
      && record.message.toLowerCase().includes(text.value.trim().toLowerCase());
  }

  /** @param {LogRecord[]} added the last one last */
  function add(added) {
    records = [...added.filter(fits).reverse(), ...records].slice(0, KEPT);
    ui.keyed(list, records, ({id}) => String(id), (record) => lineElement(ui, record));
    const isFiltered = level.value !== "DEBUG" || Boolean(logger.value || text.value);
    list.hidden = !records.length;
    none.hidden = records.length > 0 || isFiltered;
    nothing.hidden = records.length > 0 || !isFiltered;
  }

  async function read() {
    const now = ++turn;
    const query = new URLSearchParams({after: String(last), limit: String(KEPT), level: level.value,
      filter: (text.value || logger.value).trim()});
    const answer = await api.get(`/node/log?${query}`);
    if (now !== turn) return;
    if (answer.last < last) records = []; // the node has been started anew
    last = answer.last;
    add(answer.records);
  }

  return {
    refresh: () => newest < Infinity ? undefined : read(),
    /** @param {import("../stream.js").NodeEvent} event */
    update({time, data}) {
      if (!last || data.id !== last + 1) return; // those between are read soon
      last = data.id;
      add([{time, ...data}]);
    },
    unmount: () => clearTimeout(wait),
  };
}

/** @param {string} word */
function sentence(word) {
  return word[0] + word.slice(1).toLowerCase();
}

/** @param {import("../main.js").Context["ui"]} ui @param {LogRecord} record */
function lineOf(ui, {time, level, logger, message}) {
  return `${ui.clock(time)} ${level} ${logger}: ${message}`;
}

/** @param {import("../main.js").Context["ui"]} ui @param {LogRecord} record */
function lineElement(ui, {time, level, logger, message}) {
  return ui.element("li", {class: CLASSES[level]},
    ui.element("time", {datetime: new Date(1000 * time).toISOString(), text: ui.clock(time)}),
    ui.element("span", {class: "word level", text: level}), ui.element("span", {class: "logger", text: logger}),
    ui.element("span", {class: "message", text: message}));
}
