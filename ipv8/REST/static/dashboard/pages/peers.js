// All peers in a table, and the details of one.

import {OBSERVED} from "../panels.js";
import {PATHS, pathText} from "../paths.js";

export const title = "Peers";
export const topics = ["peer", "session"];
export const needs = OBSERVED;

const AFTER_TYPING = 200;
/** Characters that the node looks for. */
const LONGEST = 200;

/**
 * @typedef {object} Peer
 * @property {string} mid
 * @property {string} public_key
 * @property {{ip: string, port: number}} address
 * @property {string} path
 * @property {number | null} round_trip
 * @property {boolean} encrypted
 * @property {string[]} overlays
 * @property {number} services
 * @property {number | null} last_heard
 * @property {number | null} trust
 * @property {number | null} bytes_up
 * @property {number | null} bytes_down
 */

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 */
export function mount(root, {api, ui, parameters, setParameters}) {
  let chosen = parameters.get("peer") ?? "";
  let wait = 0;
  const filter = ui.element("input", {class: "find", type: "search", placeholder: "Name, key, address, overlay",
    maxlength: LONGEST, oninput: () => {
      clearTimeout(wait);
      wait = setTimeout(() => peers.find(filter.value), AFTER_TYPING);
    }});
  const number = ui.element("p", {class: "muted", role: "status"});
  const details = ui.element("div");
  const peers = ui.table({
    caption: "Peers", key: (/** @type {Peer} */ peer) => peer.mid, sort: "round_trip", columns: columns(ui),
    empty: ui.emptyState("There are no peers yet.",
      "A node finds its first peers by bootstrap servers, or by peers in the same network. See what hinders it:",
      "python -m ipv8 netcheck"),
    onSelect: (/** @type {Peer} */ peer) => choose(peer.mid === chosen ? "" : peer.mid),
    load: () => { refresh(); },
  });
  peers.select(chosen);
  root.append(ui.element("div", {class: "controls"}, ui.field("Find", filter), number), details,
    ui.element("section", {class: "card", "aria-label": "Table of peers"}, peers.element));

  /** @param {string} mid */
  function choose(mid) {
    chosen = mid;
    setParameters({peer: mid});
    peers.select(mid);
    refresh();
  }

  let turn = 0;

  async function refresh() {
    const {sort, offset, limit, text} = peers.query;
    const now = ++turn;
    const query = new URLSearchParams({sort, offset: String(offset), limit: String(limit), filter: text});
    const [answer, one] = await Promise.all([api.get(`/node/peers?${query}`), chosen && peerOf(api, chosen)]);
    if (now !== turn) return;
    peers.update(answer.peers, answer.total);
    ui.setText(number, ui.plural(answer.total, "peer") + (text ? " found" : ""));
    details.replaceChildren(...(chosen ? [describe(ui, one, chosen, () => choose(""))] : []));
  }
  return {refresh, unmount: () => clearTimeout(wait)};
}

/** @param {import("../api.js").Api} api @param {string} mid @returns {Promise<Peer | undefined>} */
export async function peerOf(api, mid) {
  const {peers} = await api.get(`/node/peers?${new URLSearchParams({filter: mid.slice(0, LONGEST), limit: "1"})}`);
  return peers.find((/** @type {Peer} */ peer) => peer.mid === mid);
}

/** @param {import("../main.js").Context["ui"]} ui */
function columns(ui) {
  return [
    {name: "mid", title: "Peer", cell: (/** @type {Peer} */ peer) => ui.element("code", {text: ui.shortHex(peer.mid)})},
    {name: "path", title: "Path", hint: "The way by which packets reach it",
      cell: (/** @type {Peer} */ peer) => pathText(ui, peer.path)},
    {name: "round_trip", title: "Round trip", numeric: true,
      cell: (/** @type {Peer} */ peer) => ui.seconds(peer.round_trip)},
    {name: "encrypted", title: "Packets", fixed: true, hint: "Signed packets can be read by others on the way",
      cell: (/** @type {Peer} */ peer) => peer.encrypted ? "encrypted" : "signed"},
    {name: "trust", title: "Trust", numeric: true,
      cell: (/** @type {Peer} */ peer) => peer.trust === null ? ui.UNKNOWN : peer.trust.toPrecision(2)},
    {name: "last_heard", title: "Last heard", numeric: true,
      cell: (/** @type {Peer} */ peer) => ui.ago(peer.last_heard)},
    {name: "overlays", title: "Overlays in common", fixed: true,
      cell: (/** @type {Peer} */ peer) => overlayNames(ui, peer)},
    {name: "address", title: "Address", value: (/** @type {Peer} */ peer) => ui.address(peer.address),
      cell: (/** @type {Peer} */ peer) => ui.element("span", {class: "cut", title: ui.address(peer.address),
        text: ui.address(peer.address)})},
    {name: "public_key", title: "Key", fixed: true,
      cell: (/** @type {Peer} */ peer) => ui.copyButton(peer.public_key, `the key of ${ui.shortHex(peer.mid)}`)},
  ];
}

/** @param {import("../main.js").Context["ui"]} ui @param {Peer} peer */
function overlayNames(ui, {overlays}) {
  const [first, ...others] = overlays;
  if (!first) return "none";
  return ui.element("span", {title: overlays.join(", ")}, ui.element("span", {class: "cut", text: first}),
    others.length > 0 && ` + ${others.length}`);
}

/**
 * What is known of a peer.
 * @param {import("../main.js").Context["ui"]} ui @param {Peer | undefined} peer @param {string} mid
 * @param {() => void} [close]
 */
export function describe(ui, peer, mid, close) {
  const button = close && ui.element("button", {type: "button", text: "Close", onclick: close});
  const heading = ui.element("div", {class: "card-head"}, ui.element("h2", {}, "Peer ",
    ui.element("code", {text: ui.shortHex(mid)})), button);
  if (!peer) {
    return ui.element("section", {class: "card", "aria-label": "One peer"}, heading,
      ui.emptyState("This peer is not there.", "The node has removed it, or has never known it."));
  }
  return ui.element("section", {class: "card", "aria-label": "One peer"}, heading, ui.facts([
    ["Public key", ui.keyText(peer.public_key, "the public key")],
    ["Short name (mid)", ui.keyText(peer.mid, "the mid")],
    ["Address", ui.address(peer.address)],
    ["Path", ui.element("span", {}, pathText(ui, peer.path), `: ${PATHS.get(peer.path) ?? ""}`)],
    ["Round trip", ui.seconds(peer.round_trip)],
    ["Packets", peer.encrypted ? "encrypted, in a session" : "signed; others on the way can read them"],
    ["Overlays in common", peer.overlays.join(", ") || "none"],
    ["Services", ui.plural(peer.services, "service")],
    ["Last heard", ui.ago(peer.last_heard)],
    ["Trust", peer.trust === null ? "not known" : peer.trust.toPrecision(3)],
    ["Received", peer.bytes_down === null ? null : ui.bytes(peer.bytes_down)],
    ["Sent", peer.bytes_up === null ? null : ui.bytes(peer.bytes_up)],
  ]));
}
