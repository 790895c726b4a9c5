// Chains of TrustChain: each author has a lane, each half block a place on it, and partners are connected.

import {choice, choices} from "../panels.js";

const COLUMN = 52;
const LANE = 44;
const BLOCK = 26;
const LANES = 5;
const BLOCKS = 40;
const USERS = 20;
const OTHERS = "others";

/** Whether a half block proposes something; the other one agrees. @param {any} block */
function isProposal(block) {
  return block.link_sequence_number === 0;
}

/**
 * The lanes below that of the author: the most frequent partners, and one for all others.
 * @param {any[]} blocks
 * @returns {string[]} their keys
 */
export function lanesOf(blocks) {
  /** @type {Map<string, number>} */
  const counted = new Map();
  for (const {public_key: own, link_public_key: key} of blocks) {
    if (key !== own && !/^0*$/.test(key)) counted.set(key, (counted.get(key) ?? 0) + 1);
  }
  const keys = [...counted].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([key]) => key);
  return keys.length > LANES ? [...keys.slice(0, LANES - 1), OTHERS] : keys;
}

/** @param {any} context */
export function chainPart({api, ui, select}) {
  const {element, card, count, date, keyText} = ui;
  const author = element("select", {onchange: () => refresh()});
  const picture = element("div", {class: "lanes"});
  const details = element("div", {class: "details", "aria-live": "polite", hidden: true});
  const none = ui.emptyState("There is no block yet.",
    "Blocks appear when the node signs with a peer, or hears of blocks of others.");
  const recent = ui.table({
    caption: "Recent blocks", key: (/** @type {any} */ row) => row.hash, sort: "-timestamp", page: 10,
    onSelect: (/** @type {any} */ row) => show(row),
    empty: ui.emptyState("No block is stored yet.", "Blocks of this node and of others are listed here."),
    columns: [
      {name: "type", title: "Type", value: typeOf},
      {name: "public_key", title: "Author", cell: (/** @type {any} */ row) => keyText(row.public_key, "public key")},
      {name: "sequence_number", title: "Number", numeric: true},
      {name: "link_public_key", title: "Partner",
        cell: (/** @type {any} */ row) => keyText(row.link_public_key, "public key")},
      {name: "half", title: "Half", value: (/** @type {any} */ row) => isProposal(row) ? "proposes" : "agrees"},
      {name: "timestamp", title: "Made", numeric: true,
        cell: (/** @type {any} */ row) => date(row.timestamp / 1000)},
    ],
  });
  const lanes = element("div", {}, ui.field("Chain of", author), picture,
    element("p", {class: "muted small", text: "A filled square proposes a transaction, an outlined one agrees to it. A "
      + "dashed one is not known here: the partner has not signed, or its block has not arrived."}));
  const root = element("div");
  const shown = choice(root, ui.emptyState("This node runs no TrustChain.",
    "Add the overlay TrustChainCommunity to its configuration. The demonstration has it.", "ipv8 demo --serve"));
  shown.content.append(card("Chains", none, lanes, details), card("Recent blocks", recent.element));
  let last = "";

  /** @param {any} block */
  function show(block) {
    details.hidden = false;
    details.replaceChildren(element("h3", {text: `Block ${block.sequence_number} of type ${typeOf(block)}`}),
      ui.facts([
        ["Author", element("span", {class: "key"}, keyText(block.public_key, "public key"), why(block.public_key))],
        ["Partner", element("span", {class: "key"}, keyText(block.link_public_key, "public key"),
          why(block.link_public_key))],
        ["Half", isProposal(block) ? "proposes" : `agrees to number ${block.link_sequence_number} of its partner`],
        ["Transaction", element("code", {class: "wrap", text: JSON.stringify(block.transaction)})],
        ["Made", date(block.timestamp / 1000)],
        ["Hash", keyText(block.hash, "hash")],
        ["Hash before", keyText(block.previous_hash, "hash")],
      ]));
  }

  /** @param {string} key */
  function why(key) {
    return element("button", {type: "button", class: "copy", text: "Trust",
      "aria-label": "Trust: show how far it is trusted", onclick: () => select(key)});
  }

  /** @param {any[]} blocks the oldest first */
  function draw(blocks) {
    const keys = lanesOf(blocks);
    const names = [blocks[0].public_key, ...keys].map((key, lane) => element("li", {class: lane ? "" : "own",
      title: key, text: key === OTHERS ? "others" : ui.shortHex(key, 8)}));
    const width = COLUMN * blocks.length + BLOCK;
    const height = LANE * (keys.length + 1);
    const x = (/** @type {number} */ column) => COLUMN * column + COLUMN / 2;
    const y = (/** @type {number} */ lane) => LANE * lane + LANE / 2;
    const laneLines = [0, ...keys.keys()].map((_, lane) =>
      ui.drawing("line", {class: "lane", x1: 0, x2: width, y1: y(lane), y2: y(lane)}));
    const parts = blocks.flatMap((block, column) => {
      const found = keys.indexOf(block.link_public_key);
      const hasPartner = !/^0*$/.test(block.link_public_key) && block.link_public_key !== block.public_key;
      const lane = hasPartner ? 1 + (found < 0 ? keys.length - 1 : found) : 0;
      const before = blocks[column - 1];
      const follows = before && before.sequence_number === block.sequence_number - 1;
      return [
        before && ui.drawing("line", {class: follows ? "follows" : "follows gap", x1: x(column - 1) + BLOCK / 2,
          x2: x(column) - BLOCK / 2, y1: y(0), y2: y(0)}),
        lane > 0 && ui.drawing("line", {class: `pair ${block.linked ? "" : "open"}`, x1: x(column), x2: x(column),
          y1: y(0) + BLOCK / 2, y2: y(lane) - BLOCK / 2}),
        square(block, x(column), y(0)),
        lane > 0 && (block.linked ? square(block.linked, x(column), y(lane))
          : ui.drawing("rect", {class: "block missing", x: x(column) - BLOCK / 2, y: y(lane) - BLOCK / 2, width: BLOCK,
            height: BLOCK, rx: 4})),
      ];
    }).filter(Boolean);
    const drawn = ui.drawing("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
      "aria-label": `${ui.plural(blocks.length, "block")} of one author, with those of its partners`},
    ...laneLines, ...parts);
    const scroll = element("div", {class: "lanes-scroll", tabindex: 0, role: "region", "aria-label": "Chain"}, drawn);
    picture.replaceChildren(element("ul", {class: "lane-names"}, ...names), scroll);
    scroll.scrollLeft = scroll.scrollWidth;
  }

  /** @param {any} block @param {number} x @param {number} y */
  function square(block, x, y) {
    const half = isProposal(block) ? "proposes" : "agrees";
    const label = `Block ${block.sequence_number} of ${ui.shortHex(block.public_key)}, ${half}, type ${typeOf(block)}`;
    return ui.drawing("g", {role: "button", tabindex: 0, "aria-label": label, class: `block ${half}`,
      onclick: () => show(block), onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        show(block);
      }}, ui.drawing("title", {text: label}), ui.drawing("rect", {x: x - BLOCK / 2, y: y - BLOCK / 2, width: BLOCK,
      height: BLOCK, rx: 4}), ui.drawing("text", {x, y: y + 4, text: block.sequence_number}));
  }

  async function refresh() {
    const [hasChain, isObserved] = await Promise.all([api.has("trustchain"), api.has("node")]);
    shown.show(hasChain);
    if (!hasChain) return;
    const [answer, {users}, overview] = await Promise.all([api.get("/trustchain/recent?limit=100"),
      api.get(`/trustchain/users?limit=${USERS}`), isObserved && api.get("/node/overview")]);
    const keys = isObserved ? overview.keys : [];
    const own = new Set(keys.map((/** @type {any} */ key) => key.public_key));
    const authors = users.map((/** @type {any} */ user) => ({value: user.public_key,
      text: `${own.has(user.public_key) ? "this node" : ui.shortHex(user.public_key)}: ${count(user.blocks)}`}));
    authors.sort((/** @type {any} */ a, /** @type {any} */ b) => Number(own.has(b.value)) - Number(own.has(a.value)));
    choices(author, authors);
    recent.update(answer.blocks);
    const {blocks} = author.value ? await api.get(`/trustchain/users/${author.value}/blocks?limit=${BLOCKS}`)
      : {blocks: []};
    none.hidden = blocks.length > 0;
    lanes.hidden = !blocks.length;
    const text = JSON.stringify(blocks);
    if (text === last || !blocks.length) return;
    last = text;
    draw(blocks.reverse());
  }

  return {element: root, refresh};
}

/** @param {any} block */
function typeOf(block) {
  return block.type || "none";
}
