// Looks up and stores values in the DHT, and shows those that this node stores for others.

import {accepted, attempt, base64OfText, form, hexOf, hexOfBase64, notice, seldom, textOf} from "../panels.js";

const KEY_DIGITS = 40;
const MOST_KEYS = 500;

/** Milliseconds between two readings of what is stored. */
const INTERVAL = 5_000;

/**
 * The key of the DHT for what somebody enters: 40 hexadecimal digits, or any text, whose SHA-1 is taken.
 * @param {string} text
 * @returns {Promise<string>}
 */
export async function keyOf(text) {
  const entered = text.trim();
  if (new RegExp(`^[0-9a-f]{${KEY_DIGITS}}$`, "i").test(entered)) return entered.toLowerCase();
  if (!entered) throw new Error("Enter a key.");
  if (!crypto.subtle) {
    throw new Error(`Enter ${KEY_DIGITS} hexadecimal digits: on this address, browsers compute no hash of a text.`);
  }
  return hexOf(new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(entered))));
}

/** @param {string} text */
function hexOfText(text) {
  return hexOfBase64(base64OfText(text));
}

/** @param {{api: any, ui: any}} context */
export function valuesPart({api, ui}) {
  const {element, card} = ui;
  const told = notice();
  const key = element("input", {type: "text", required: true, autocomplete: "off", spellcheck: "false"});
  const value = element("input", {type: "text", required: true, autocomplete: "off"});
  const results = valuesTable(ui, "Values found");
  results.element.hidden = true;
  const entered = ui.field("Key: 40 hexadecimal digits, or a text whose SHA-1 is taken", key);
  entered.classList.add("wide");

  const look = form({label: "Look up a key", button: "Look up", work: () => attempt(told, async () => {
    const wanted = await keyOf(key.value);
    const {values, debug} = await api.get(`/dht/values/${wanted}`);
    results.element.hidden = !values.length;
    results.update(rowsOf(wanted, values));
    return `${wanted}: ${values.length ? ui.plural(values.length, "value") : "no value"}, by `
      + `${ui.plural(debug.requests, "request")} and ${ui.plural(debug.responses, "response")} in `
      + `${ui.seconds(debug.time)}.`;
  }, "The nodes are asked …")}, entered);
  const store = form({label: "Store a value", button: "Store", work: async () => {
    if (!await ui.confirm("Store this value in the DHT? Everybody can read it, it is signed by this node, and it "
      + "cannot be taken back before it expires.", "Store it")) return;
    await attempt(told, async () => {
      const wanted = await keyOf(key.value);
      accepted(await api.send("PUT", `/dht/values/${wanted}`, {value: hexOfText(value.value)}));
      return `Stored under ${wanted}.`;
    }, "The value is stored …");
  }}, ui.field("Value to store under this key", value));
  const stored = valuesTable(ui, "Values stored here");
  const about = element("p", {class: "muted"});
  const isDue = seldom(INTERVAL);
  const search = element("input", {type: "search", oninput: () => stored.find(search.value)});
  return {
    form: card("Look up a key", look, store, told.element, results.element),
    stored: card("Values stored here", about, ui.field("Find a value", search), stored.element),
    /** @param {number} count of the keys that are stored */
    async refresh(count) {
      if (!isDue("", String(count))) return;
      const all = await api.get(`/dht/values?limit=${MOST_KEYS}`);
      ui.setText(about, count > MOST_KEYS ? `The first ${MOST_KEYS} of ${ui.count(count)} keys.` : "");
      stored.update(Object.entries(all).flatMap(([name, entries]) => rowsOf(name, entries)));
    },
  };
}

/** @param {string} key @param {any[]} values */
function rowsOf(key, values) {
  return values.map((entry, index) => ({...entry, key, index, size: entry.value.length / 2,
    signer: entry.public_key && hexOfBase64(entry.public_key), text: textOf(entry.value)}));
}

/** @param {any} ui @param {string} caption */
function valuesTable(ui, caption) {
  return ui.table({
    caption, page: 20, key: (/** @type {any} */ row) => `${row.key} ${row.index} ${row.endpoint ?? ""}`,
    filter: (/** @type {any} */ row, /** @type {string} */ text) =>
      `${row.key} ${row.value} ${row.signer ?? ""} ${row.text ?? ""}`.toLowerCase().includes(text),
    empty: ui.emptyState("No value is stored here.", "Others store values at the nodes whose ids are next to the key."),
    columns: [
      {name: "key", title: "Key", cell: (/** @type {any} */ row) => ui.keyText(row.key, "key")},
      {name: "value", title: "Value", cell: (/** @type {any} */ row) => row.text === null
        ? ui.keyText(row.value, "value") : ui.element("span", {class: "wrap value", text: row.text})},
      {name: "size", title: "Size", numeric: true, cell: (/** @type {any} */ row) => ui.bytes(row.size)},
      {name: "signer", title: "Signed by", cell: (/** @type {any} */ row) => row.signer
        ? ui.keyText(row.signer, "public key") : "nobody"},
    ],
  });
}
