// One pseudonym: its attributes, its peers, what it has verified; and forms to ask peers.

import {accepted, asText, attempt, base64OfText, choices, form, hexOfBase64, notice, optional} from "../panels.js";

const RANGE = "pengbaorange";
const IN_RANGE = btoa("\x01");

/** @param {{api: any, ui: any, pathOf: (...parts: string[]) => string, refresh: () => Promise<void>}} context */
export function detailsPart({api, ui, pathOf, refresh}) {
  const {element, keyText, percent} = ui;
  const own = element("div");
  const attributes = attributesTable(ui, "Attributes", ui.emptyState("This pseudonym has no attribute.",
    "Ask a peer to attest one, below."));
  const verified = ui.table({
    caption: "Verified attributes", key: (/** @type {any} */ row) => row.hash,
    empty: ui.emptyState("Nothing was verified yet.", "Ask for a verification below; the result appears here."),
    columns: [
      {name: "hash", title: "Attribute", cell: (/** @type {any} */ row) => keyText(hexOfBase64(row.hash), "hash")},
      {name: "reference", title: "Expected value", value: (/** @type {any} */ row) => textOfBase64(row.reference)},
      {name: "match", title: "Certainty", numeric: true, cell: (/** @type {any} */ row) => percent(row.match)},
      {name: "result", title: "Result", value: (/** @type {any} */ row) => row.match > 0.9 ? "proven" : "not proven",
        cell: (/** @type {any} */ row) => row.match > 0.9 ? ui.badge("ok", "proven")
          : ui.badge("problem", "not proven")},
    ],
  });
  const weak = element("ul", {class: "formats"});
  const ask = askPart({api, ui, pathOf, refresh});
  const peers = element("ul", {class: "keys"});
  const noPeers = ui.emptyState("It knows no peer.", "Peers are found in its overlay. Is the node online?");
  return {
    element: element("div", {}, own, element("h3", {text: "Attributes"}), attributes.element,
      element("h3", {text: "What it has verified"}), verified.element,
      element("h3", {text: "Peers"}), noPeers, peers, ask.element,
      element("h3", {text: "Formats"}), element("p", {class: "muted", text: "The formats that attestations of "
        + "this pseudonym can have. For new programs there are credentials, which are secure."}), weak),
    /** @param {any} state */
    async update(state) {
      ui.keyed(own, [state], ({key}) => key, () => ui.facts([["Public key", keyText(state.key, "public key")]]));
      attributes.update(state.credentials);
      verified.update(state.outputs);
      noPeers.hidden = state.known.length > 0;
      ui.keyed(peers, state.known, (peer) => peer, (/** @type {string} */ peer) =>
        element("li", {}, keyText(hexOfBase64(peer), "public key")));
      ui.keyed(weak, byWeakness(state.formats), ([weakness, names]) => `${weakness} ${names}`, ([weakness, names]) =>
        element("li", {}, ...names.map((/** @type {string} */ name) => element("code", {text: name})),
          ui.badge(weakness ? "warning" : "ok", weakness ? "weak" : "no known weakness"),
          weakness && element("p", {class: "muted", text: weakness})));
      await ask.update(state);
    },
  };
}

/** The names of formats by what is weak in them. @param {any[]} formats @returns {[string, string[]][]} */
function byWeakness(formats) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const {name, weakness} of formats) found.set(weakness ?? "", [...(found.get(weakness ?? "") ?? []), name]);
  return [...found];
}

/** @param {string} text */
function textOfBase64(text) {
  try {
    return new TextDecoder("utf-8", {fatal: true}).decode(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)))
      .replace(/[\p{Cc}]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
  } catch {
    return hexOfBase64(text);
  }
}

/** @param {any} ui @param {string} caption @param {Node} empty */
function attributesTable(ui, caption, empty) {
  const {element, keyText} = ui;
  return ui.table({
    caption, empty, key: (/** @type {any} */ row) => row.hash, sort: "name",
    columns: [
      {name: "name", title: "Name"},
      {name: "attesters", title: "Attested by", value: (/** @type {any} */ row) => row.attesters.join(),
        cell: (/** @type {any} */ row) => row.attesters.length ? element("span", {class: "keys"},
          ...row.attesters.map((/** @type {string} */ key) => keyText(hexOfBase64(key), "public key"))) : "nobody yet"},
      {name: "metadata", title: "Described as", value: (/** @type {any} */ row) => described(ui, row.metadata)},
      {name: "hash", title: "Hash", cell: (/** @type {any} */ row) => keyText(hexOfBase64(row.hash), "hash")},
    ],
  });
}

/** @param {any} ui @param {Record<string, any>} metadata */
function described(ui, metadata) {
  return Object.entries(metadata).filter(([name]) => name !== "name").map(([name, value]) =>
    `${name}: ${name === "date" ? ui.date(value) : asText(value)}`).join(", ");
}

/**
 * Forms to ask a peer for an attestation, and to verify an attribute of it.
 * @param {{api: any, ui: any, pathOf: (...parts: string[]) => string, refresh: () => Promise<void>}} context
 */
function askPart({api, ui, pathOf, refresh}) {
  const {element, field} = ui;
  const told = notice();
  /** @type {any} */
  let state = null;
  const authority = element("select", {required: true});
  const format = element("select", {required: true});
  const name = element("input", {type: "text", required: true, autocomplete: "off"});
  const subject = element("select", {required: true});
  const hash = element("select", {required: true});
  const wanted = element("input", {type: "text", autocomplete: "off"});
  const none = element("p", {class: "muted", text: "No attribute of this peer is known."});

  const request = form({label: "Ask for an attestation", button: "Ask", work: () => attempt(told, async () => {
    accepted(await api.send("PUT", pathOf(state.name, "request", authority.value),
      {name: name.value.trim(), schema: format.value, metadata: {}}));
    return "The peer was asked. The attribute appears above when the peer has attested it.";
  }, "The peer is asked …")}, field("Attribute", name), field("Format", format), field("Authority", authority));
  const verify = form({label: "Verify an attribute of a peer", button: "Verify", work: () => attempt(told, async () => {
    const [attribute, schema] = hash.value.split(" ");
    if (!attribute) throw new Error("This peer has no known attribute that could be verified.");
    const isRange = isRangeFormat(schema);
    if (!isRange && !wanted.value) throw new Error("Enter the value that the attribute should have.");
    const value = isRange ? IN_RANGE : base64OfText(wanted.value);
    accepted(await api.send("PUT", pathOf(state.name, "verify", subject.value), {hash: attribute, schema, value}));
    await refresh();
    return "The peer was asked. The result appears above when the peer has agreed and proven it.";
  }, "The peer is asked …")}, field("Peer", subject), field("Its attribute", hash),
  field("Expected value (not for a range)", wanted));

  /** @param {string} schema */
  function isRangeFormat(schema) {
    return state.formats.find((/** @type {any} */ known) => known.name === schema)?.algorithm === RANGE;
  }

  async function readAttributes() {
    const path = pathOf(state.name, "credentials", subject.value);
    const found = subject.value ? await optional(api.get(`${path}?load=false`)) : null;
    const rows = found?.names ?? [];
    none.hidden = rows.length > 0;
    choices(hash, rows.map((/** @type {any} */ row) => ({value: `${row.hash} ${row.metadata.schema ?? "id_metadata"}`,
      text: `${row.name} (${row.metadata.schema ?? "id_metadata"})`})));
  }

  subject.addEventListener("change", () => attempt(told, readAttributes));
  const part = element("div", {}, element("h3", {text: "Ask a peer to attest an attribute"}), request,
    element("h3", {text: "Verify an attribute of a peer"}), verify, none, told.element);
  return {
    element: part,
    /** @param {any} next */
    async update(next) {
      state = next;
      part.hidden = !state.known.length;
      const peers = state.known.map((/** @type {string} */ key) => ({value: key, text: ui.shortHex(hexOfBase64(key))}));
      choices(authority, peers);
      choices(subject, peers);
      choices(format, state.formats.map((/** @type {any} */ known) => ({value: known.name, text: known.name})));
      if (!part.hidden) await readAttributes();
    },
  };
}
