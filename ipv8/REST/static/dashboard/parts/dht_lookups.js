// The look-ups of the DHT that run, and the last ones, with their course.

const WIDTH = 160;
const HEIGHT = 28;
const RADIUS = 3;

/** @param {any} ui */
export function lookupsPart(ui) {
  const {card, count, seconds, clock} = ui;
  const lookups = ui.table({
    caption: "Look-ups", key: (/** @type {any} */ row) => String(row.id), page: 20,
    empty: ui.emptyState("There was no look-up yet.", "Look up a key below, and see how it is found."),
    columns: [
      {name: "target", title: "Looks for", cell: (/** @type {any} */ row) => ui.keyText(row.target, "key")},
      {name: "kind", title: "Kind", value: (/** @type {any} */ row) => String(row.kind).replaceAll("_", " ")},
      {name: "state", title: "State", cell: (/** @type {any} */ row) =>
        ui.badge(row.state === "started" || row.state === "running" ? "info" : "ok", row.state)},
      {name: "course", title: "Course", fixed: true, hint: "a mark for each node: to the right as time goes on, higher "
        + "the nearer its id is to the key", value: (/** @type {any} */ row) => row.course ?? null,
      cell: (/** @type {any} */ row) => courseDrawing(ui, row.course ?? [])},
      {name: "nodes_asked", title: "Nodes asked", numeric: true,
        cell: (/** @type {any} */ row) => count(row.nodes_asked)},
      {name: "values", title: "Values", numeric: true, cell: (/** @type {any} */ row) => count(row.values)},
      {name: "seconds", title: "Took", numeric: true, cell: (/** @type {any} */ row) => seconds(row.seconds)},
      {name: "started", title: "At", numeric: true, cell: (/** @type {any} */ row) => clock(row.started)},
    ],
  });
  return {
    element: card("Look-ups", lookups.element),
    /** @param {any[]} rows */
    update(rows) {
      lookups.update(rows);
    },
  };
}

/**
 * A mark for each node that was asked, answered or failed.
 * @param {any} ui @param {[number, number, string][]} course seconds since the start, bits as the key has, and what
 */
export function courseDrawing(ui, course) {
  if (!course.length) return ui.element("span", {class: "muted", text: "–"});
  const longest = Math.max(0.001, ...course.map(([time]) => time));
  const bits = course.map(([, shared]) => shared);
  const [least, most] = [Math.min(...bits), Math.max(...bits)];
  const answered = course.filter(([, , what]) => what === "answered").length;
  const text = `${answered} of ${course.filter(([, , what]) => what === "asked").length || course.length} nodes `
    + `answered, the nearest with ${most} bits as the key, in ${ui.seconds(longest)}`;
  return ui.drawing("svg", {class: "course", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT,
    role: "img", "aria-label": text}, ui.drawing("title", {text}), ...course.map(([time, shared, what]) =>
    ui.drawing("circle", {class: `course-${what}`, r: RADIUS, cx: 4 + (WIDTH - 8) * time / longest,
      cy: most === least ? HEIGHT / 2 : HEIGHT - 4 - (HEIGHT - 8) * (shared - least) / (most - least)})));
}
