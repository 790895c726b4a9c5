// The ways by which packets reach a peer (doc/nat.md, section "How peers reach each other").

/** Each way in the order in which they are shown, and what it means. */
export const PATHS = new Map([
  ["direct", "At the address under which the peer was introduced."],
  ["LAN", "At an address of the local network that both are in."],
  ["observed", "Through a NAT, at the address from which the peer has sent."],
  ["predicted", "Through a NAT, at a port that was guessed."],
  ["mapped", "The peer came through a port that is forwarded to this node."],
  ["relayed", "Another peer carries the packets."],
  ["unknown", "The peer has not answered yet."],
]);

/**
 * How many peers are reached by each way, for a chart.
 * @param {Record<string, number>} counts
 */
export function byPath(counts) {
  return [...PATHS.keys()].filter((path) => counts[path]).map((path) =>
    ({name: path, value: counts[path], class: `path-${path}`}));
}

/**
 * The name of a way with its colour.
 * @param {typeof import("./ui.js")} ui @param {string} path
 */
export function pathText(ui, path) {
  const known = PATHS.has(path) ? path : "unknown";
  return ui.element("span", {class: "path", title: PATHS.get(known)},
    ui.element("span", {class: `swatch path-${known}`}), path);
}
