// Every table with a limit, and how full it is.

import {OBSERVED, numbered} from "../panels.js";

export const title = "Tables";
export const topics = ["stats"];
export const needs = OBSERVED;

const FULL = 0.9;
const KINDS = {table: "table", budgets: "budgets of senders", queue: "queue", cache: "cache"};

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui}) {
  const {element, card, count, meter} = ui;
  const tables = ui.table({
    caption: "Tables with a limit", sort: "-share", key: (row) => row.key,
    filter: (row, text) => `${row.owner} ${row.name} ${row.rule ?? ""}`.toLowerCase().includes(text),
    columns: [
      {name: "name", title: "Table", cell: (row) => element("span", {}, element("code", {text: row.name}),
        element("span", {class: "under", text: row.number ? `${row.owner}, number ${row.number + 1}` : row.owner}))},
      {name: "kind", title: "Kind", value: (row) => KINDS[row.kind] ?? row.kind},
      {name: "share", title: "How full", value: (row) => row.share + row.size / 1e9,
        cell: (row) => element("span", {class: row.kind === "cache" ? "fill muted" : "fill"}, row.kind !== "cache"
          && meter(row.size, row.capacity, {name: `${row.owner} ${row.name}`}),
        element("span", {text: ui.percent(row.share)}))},
      {name: "size", title: "Entries", numeric: true, cell: (row) => count(row.size)},
      {name: "capacity", title: "Limit", numeric: true, cell: (row) => count(row.capacity)},
      {name: "rule", title: "What goes first", value: (row) => row.rule || "–",
        cell: (row) => element("span", {class: "wrap", text: row.rule || "–"})},
    ],
  });
  const search = element("input", {type: "search", oninput: () => tables.find(search.value)});
  const used = element("input", {type: "checkbox", onchange: () => draw()});
  const summary = element("p", {class: "muted"});
  root.append(card("Tables with a limit", summary, element("div", {class: "fields"},
    ui.field("Find a table", search), element("label", {class: "check"}, used, "Only those with entries")),
  tables.element));
  /** @type {any[]} */
  let rows = [];

  function draw() {
    tables.update(used.checked ? rows.filter(({size}) => size > 0) : rows);
    const full = rows.filter(({share, kind}) => share >= FULL && kind !== "cache").length;
    ui.setText(summary, [`${ui.plural(rows.length, "table")}.`, full
      ? `${ui.plural(full, "is", "are")} at least 90 % full.` : "None is as much as 90 % full.",
    "Caches are not counted: it is usual that they are full."].join(" "));
  }

  return {
    async refresh() {
      const answer = await api.get("/node/tables");
      rows = numbered(answer.tables, ({owner, name}) => `${owner} ${name}`).map((row) => ({...row,
        share: row.capacity ? row.size / row.capacity : 0}));
      draw();
    },
  };
}
