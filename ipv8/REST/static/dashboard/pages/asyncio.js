// How late the event loop is, what blocks it, and its tasks.

import {OBSERVED, accepted, attempt, form, notice, tiles} from "../panels.js";

export const title = "Event loop";
export const topics = ["stats"];
export const needs = OBSERVED;

/** Stacks of tasks of the same name that are shown. */
const STACKS = 5;

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui, charts}) {
  const {element, card, seconds, count, clock} = ui;
  const lag = charts.lineChart({label: "The latest moment of each second, the last ten minutes", format: seconds});
  const numbers = element("dl", {class: "tiles"});
  const slow = ui.table({
    caption: "Slow callbacks", sort: "-time", page: 10, key: (row) => `${row.time} ${row.what}`,
    empty: ui.emptyState("Nothing has blocked the event loop.", "Callbacks that take long are listed here."),
    columns: [
      {name: "what", title: "What ran"},
      {name: "seconds", title: "For", numeric: true, cell: (row) => seconds(row.seconds)},
      {name: "time", title: "At", numeric: true, cell: (row) => clock(row.time)},
    ],
  });
  const managers = charts.barChart({label: "Tasks by what has started them"});
  const tasks = ui.table({
    caption: "Tasks", sort: "name", key: (row) => row.key, page: 20,
    filter: (row, text) => row.key.toLowerCase().includes(text),
    onSelect: (row) => select(row),
    columns: [
      {name: "name", title: "Task", cell: (row) => element("span", {class: "wrap", text: row.name})},
      {name: "number", title: "How many", numeric: true},
      {name: "taskmanager", title: "Started by"},
      {name: "interval", title: "Each", numeric: true, cell: (row) => row.interval ? seconds(row.interval) : "–"},
      {name: "since", title: "Since", numeric: true, cell: (row) => row.since ? clock(row.since) : "–"},
    ],
  });
  const search = element("input", {type: "search", oninput: () => tasks.find(search.value)});
  const details = element("div", {class: "details", "aria-live": "polite", hidden: true});
  const debug = debugPart({api, ui});
  root.append(
    card("How late the event loop is", element("p", {class: "muted", text: "A timer shows how much later than "
      + "wanted it is called. While the loop is late, no packet is handled."}), numbers, lag.element),
    card("Slow callbacks", slow.element),
    debug.element,
    card("Tasks", managers.element, ui.field("Find a task", search), tasks.element, details));

  /** @param {any} row */
  function select(row) {
    tasks.select(row.key);
    details.hidden = false;
    details.replaceChildren(element("h3", {text: row.name}), ...row.stacks.slice(0, STACKS).map(
      (/** @type {string[]} */ stack) => stack.length ? element("ol", {class: "stack"}, ...stack.map((frame) =>
        element("li", {}, element("code", {text: frame})))) : element("p", {text: "It runs in no Python code now."})));
  }

  return {
    update() {
      // The events only keep the connection: all tasks with their stacks are too much to be read each second.
    },
    async refresh() {
      const [loop, all, state] = await Promise.all([api.get("/node/loop"), api.get("/asyncio/tasks"),
        api.get("/asyncio/debug")]);
      debug.update(state);
      numbers.replaceChildren(...tiles([["Half of the time less than", seconds(loop.lag.p50)],
        ["99 % of the time less than", seconds(loop.lag.p99)], ["At most", seconds(loop.lag.max)],
        ["Tasks", count(all.tasks.length)]]));
      lag.update([{name: "late", points: loop.lag.history}]);
      slow.update(loop.slow);
      managers.update([...loop.tasks].sort((a, b) => b.count - a.count)
        .map(({manager, count: value}) => ({name: manager || "others", value})));
      tasks.update(grouped(all.tasks));
    },
  };
}

/** Tasks of the same name in one row. @param {any[]} tasks */
function grouped(tasks) {
  /** @type {Map<string, any>} */
  const rows = new Map();
  for (const {name, taskmanager = "", interval = null, start_time: since = null, stack} of tasks) {
    const key = `${taskmanager} ${name}`;
    const row = rows.get(key) ?? {key, name, taskmanager, interval, since, number: 0, stacks: []};
    row.number += 1;
    row.stacks.push(stack);
    rows.set(key, row);
  }
  return [...rows.values()];
}

/** The switch of the debug mode. @param {{api: any, ui: any}} context */
function debugPart({api, ui}) {
  const {element, card} = ui;
  const told = notice();
  const isOn = element("input", {type: "checkbox", role: "switch"});
  const duration = element("input", {type: "number", min: 0, max: 3600, step: "any", required: true, class: "short"});
  const messages = element("ol", {class: "stack"});
  const none = element("p", {class: "muted"});
  let isFilled = false;
  const change = form({label: "Debug mode", button: "Set", work: () => attempt(told, async () => {
    const body = {enable: isOn.checked, slow_callback_duration: Number(duration.value)};
    accepted(await api.send("PUT", "/asyncio/debug", body));
    return body.enable ? "The event loop warns of slow callbacks from now on." : "The debug mode is off.";
  })}, element("label", {class: "check"}, isOn, "Debug mode"), ui.field("Slow from (seconds)", duration));
  return {
    element: card("Debug mode", element("p", {class: "muted", text: "The event loop checks more and warns of slow "
      + "callbacks then. The node is slower in this mode."}), change, told.element, none, messages),
    /** @param {any} state */
    update(state) {
      if (!isFilled) {
        isOn.checked = state.enable;
        duration.value = state.slow_callback_duration;
        isFilled = true;
      }
      ui.setText(none, state.messages.length ? "" : state.enable ? "It has not warned yet." : "It is off.");
      ui.keyed(messages, state.messages.map((/** @type {any} */ entry, /** @type {number} */ index) =>
        ({...entry, index})), (/** @type {any} */ entry) => `${entry.index} ${entry.message}`,
      (/** @type {any} */ entry) => element("li", {}, element("code", {text: entry.message})));
    },
  };
}
