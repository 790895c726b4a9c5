// The chain of blocks of this node, and whom it trusts, and why.

import {attempt, choice, form, notice, seldom} from "../panels.js";
import {chainPart} from "../parts/chain.js";
import {graphPart} from "../parts/trust_graph.js";
import {keyPart} from "../parts/trust_key.js";

export const title = "Trust";
export const topics = ["trustchain"];

/** Milliseconds between two readings of scores that change. */
const INTERVAL = 5_000;

const KEY = /^([0-9a-fA-F]{2})+$/;
const MOST_TRUSTED = 500;
const MOST_BLOCKED = 2000;

/** What the scores say, by their names. */
const SCORES = {
  "": "The score that the graph was made with as its own; usually meritrank.",
  meritrank: "The probability that a random walk from this node visits the key, lowered if most walks to it come by "
    + "one other key. From 0 to 1.",
  hits: "The probability that a random walk from this node visits the key. From 0 to 1.",
  ppr: "The part of all visits of random walks that are to the key. All together are 1.",
  eigentrust: "The same for walks that start everywhere. All together are 1.",
  barter: "The balance of what this node and the key did for each other, also by one other key. From -1 to 1.",
  netflow: "How much can flow from this node to the key, where each key lets through what it contributed.",
  direct: "What this node itself says of the key.",
  temporal: "The probability for walks that go back in the order of the blocks. From 0 to 1.",
};

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, context) {
  const {api, ui, parameters, setParameters} = context;
  const {element, card} = ui;
  const chain = chainPart({...context, select});
  const graph = graphPart({...context, select});
  const key = keyPart({api, ui, select, scoreName: () => score.value});
  const told = notice();
  const noGraph = ui.emptyState("This node has no trust graph.",
    "Add \"trust\": {} to its configuration. The demonstration has one.", "ipv8 demo --serve");
  const score = element("select", {onchange: () => attempt(told, refresh)}, ...Object.keys(SCORES).map((name) =>
    element("option", {value: name, text: name || "that of the graph"})));
  const explanation = element("p", {class: "muted"});
  const ranks = ui.table({
    caption: "The keys that are trusted most", key: (row) => row.public_key, sort: "-score", page: 20,
    filter: (row, text) => `${row.public_key} ${row.mid}`.includes(text), onSelect: (row) => select(row.public_key),
    empty: ui.emptyState("Nobody is trusted yet.",
      "Trust comes from signed blocks, from statements of \"ipv8 trust\", and from what peers do for this node."),
    columns: [
      {name: "public_key", title: "Key", cell: (row) => element("code", {title: row.public_key,
        text: ui.shortHex(row.public_key)})},
      {name: "score", title: "Score", numeric: true, cell: (row) => row.score.toPrecision(3)},
      {name: "copy", title: "Copy", fixed: true, value: () => "",
        cell: (row) => ui.copyButton(row.public_key, "public key")},
    ],
  });
  const search = element("input", {type: "search", autocomplete: "off", oninput: () => ranks.find(search.value)});
  const wanted = element("input", {type: "text", required: true, autocomplete: "off", spellcheck: "false",
    pattern: KEY.source.slice(1, -1), title: "hexadecimal digits"});
  const ask = form({label: "Ask why a key has its score", button: "Explain", work: () => attempt(told,
    () => select(wanted.value.trim().toLowerCase()))}, ui.field("Public key, as hexadecimal digits", wanted));
  const blocked = element("ul", {class: "keys"});
  const noneBlocked = element("p", {class: "muted", text: "No key is blocked."});
  const graphCards = element("div", {class: "split"},
    card("Whom this node trusts", graph.element),
    card("Scores", ui.field("Score", score), explanation, ask, told.element, key.element,
      element("h3", {text: "Trusted most"}), ui.field("Find a key", search), ranks.element,
      element("h3", {text: "Blocked keys"}), noneBlocked, blocked));
  root.append(chain.element);
  const shown = choice(root, noGraph);
  shown.content.append(graphCards);
  const named = parameters.get("key") ?? "";
  let chosen = KEY.test(named) ? named : "";
  /** @type {string[]} */
  let vetoes = [];
  const isDue = seldom(INTERVAL);

  /** Show why a key has its score. @param {string} publicKey */
  async function select(publicKey) {
    chosen = publicKey;
    setParameters({key: publicKey});
    graph.select(publicKey);
    ranks.select(publicKey);
    await readVetoes();
    await key.show(publicKey, vetoes.includes(publicKey));
    key.element.scrollIntoView({block: "nearest"});
  }

  async function readVetoes() {
    vetoes = (await api.get(`/trust/block?limit=${MOST_BLOCKED}`)).keys;
    noneBlocked.hidden = vetoes.length > 0;
    ui.keyed(blocked, vetoes, (each) => each, (/** @type {string} */ each) => element("li", {},
      ui.keyText(each, "public key"), ui.actionButton("Unblock", () => attempt(told, async () => {
        await api.send("DELETE", `/trust/block/${each}`);
        await refresh();
        return "The key can be trusted again.";
      }), {label: `Unblock ${ui.shortHex(each)}`})));
  }

  async function refresh() {
    await chain.refresh();
    const hasGraph = await api.has("trust");
    shown.show(hasGraph);
    if (!hasGraph) return;
    const statistics = await api.get("/trust/statistics");
    await readVetoes();
    const version = JSON.stringify([{...statistics, last_update_us: 0}, vetoes]);
    await Promise.all([graph.refresh(statistics, version), key.show(chosen, vetoes.includes(chosen))]);
    const query = String(new URLSearchParams({limit: String(MOST_TRUSTED),
      ...(score.value ? {name: score.value} : {})}));
    if (!isDue(query, version)) return;
    const {peers} = await api.get(`/trust/top?${query}`);
    ui.setText(explanation, SCORES[score.value]);
    ranks.update(peers);
  }

  return {refresh};
}
