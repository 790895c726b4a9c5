// Measures the speed of a circuit, and draws it while it is measured.

import {attempt, form, notice} from "../panels.js";

const MIB = 1024 * 1024;

/** @typedef {{up: number, down: number}} Sample MiB in a second */

/**
 * Read the lines of a measurement as they come.
 * @param {Response} response @param {(sample: Sample) => void} callback
 */
async function readSamples(response, callback) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("speed: ")) callback(JSON.parse(line.slice("speed: ".length)));
  }
}

/** @param {number[]} values */
function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

/** @param {{api: any, ui: any, charts: any}} context */
export function speedPart({api, ui, charts}) {
  const {element, card, rate} = ui;
  const told = notice();
  const hops = element("select", {}, ...[1, 2, 3].map((number) =>
    element("option", {value: number, text: ui.plural(number, "hop")})));
  const length = element("select", {}, ...[2, 5, 10, 30].map((number) =>
    element("option", {value: number, text: `${number} seconds`, selected: number === 5})));
  const chart = charts.lineChart({label: "Speed of the circuit", format: rate});
  chart.element.hidden = true;
  /** @type {AbortController | null} */
  let running = null;
  const stop = element("button", {type: "button", text: "Stop", hidden: true, onclick: () => running?.abort()});

  /** @param {string} path @param {string} what is measured */
  async function run(path, what) {
    if (running) throw new Error("Another circuit is being measured.");
    running = new AbortController();
    stop.hidden = false;
    /** @type {Record<"up" | "down", [number, number][]>} */
    const points = {up: [], down: []};
    try {
      const query = new URLSearchParams({goal_hops: hops.value, test_time_ms: String(length.value * 1000)});
      const response = await api.request("POST", `${path}?${query}`, {signal: running.signal});
      await readSamples(response, ({up, down}) => {
        if (!up && !down) return;
        points.up.push([Date.now() / 1000, up * MIB]);
        points.down.push([Date.now() / 1000, down * MIB]);
        chart.element.hidden = false;
        chart.update([{name: "in", points: points.down}, {name: "out", points: points.up}]);
      });
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      running = null;
      stop.hidden = true;
    }
    if (!points.up.length) throw new Error(`Nothing came back through ${what}.`);
    const [up, down] = [points.up, points.down].map((series) => mean(series.map(([, value]) => value)));
    return `${what[0].toUpperCase()}${what.slice(1)}: ${rate(down)} in, ${rate(up)} out, on average.`;
  }

  const fresh = form({label: "Measure a new circuit", button: "Measure a new circuit", work: () => attempt(told,
    () => run("/tunnel/circuits/test", `a new circuit of ${ui.plural(Number(hops.value), "hop")}`),
    "A circuit is built and measured …")}, ui.field("Length", hops), ui.field("For", length));
  fresh.append(stop);
  return {
    element: card("Speed", element("p", {class: "muted", text: "Requests go through a circuit to its last node, "
      + "which answers them. This takes as much bandwidth as there is."}), fresh, told.element, chart.element),
    /** @param {any} circuit */
    measure: (circuit) => attempt(told, () => run(`/tunnel/circuits/${circuit.circuit_id}/test`,
      `circuit ${circuit.circuit_id}`), `Circuit ${circuit.circuit_id} is measured …`),
    stop: () => running?.abort(),
  };
}
