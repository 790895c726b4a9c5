// Draws the buckets of a routing table over the space of ids.

const HEIGHT = 34;
const CELL = 22;

/** The number of equal bits from the left. @param {string} a hexadecimal digits @param {string} b */
export function sharedBits(a, b) {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const difference = parseInt(a[index], 16) ^ parseInt(b[index], 16);
    if (difference) return 4 * index + Math.clz32(difference) - 28;
  }
  return 4 * length;
}

/** The bits of hexadecimal digits. @param {string} hex */
export function bitsOf(hex) {
  return [...hex].map((digit) => parseInt(digit, 16).toString(2).padStart(4, "0")).join("");
}

/**
 * The depth of each bucket relative to an id: how many bits of its prefix the id has.
 * @template {{prefix: string}} B
 * @param {B[]} buckets @param {string} bits of the id
 * @returns {{bucket: B, shared: number, owns: boolean}[]} those that are further away first
 */
export function byDepth(buckets, bits) {
  return buckets.map((bucket) => {
    let shared = 0;
    while (shared < bucket.prefix.length && bucket.prefix[shared] === bits[shared]) shared += 1;
    return {bucket, shared, owns: shared === bucket.prefix.length};
  }).sort((a, b) => a.shared - b.shared || Number(a.owns) - Number(b.owns)
    || a.bucket.prefix.localeCompare(b.bucket.prefix));
}

/**
 * Buckets in columns, one for each depth: the furthest half of the space at the left, the own part at the right.
 * @param {any} ui @param {string} family @param {string} ownId @param {any[]} buckets
 */
export function spaceDrawing(ui, family, ownId, buckets) {
  const {element, drawing} = ui;
  const ordered = byDepth(buckets, bitsOf(ownId));
  const label = `${family}: ${ui.plural(buckets.length, "bucket")}, from those of ids far away to that of this node`;
  return element("div", {class: "space"}, element("h3", {text: family}),
    element("ol", {class: "space-buckets", "aria-label": label}, ...ordered.map(({bucket, shared, owns}) => {
      const good = bucket.peers.filter((/** @type {any} */ peer) => peer.status === "good").length;
      const text = `${ui.plural(bucket.peers.length, "node")}, of which ${good} ${good === 1 ? "answers" : "answer"}`;
      const where = owns ? "with this node" : `${shared} bits as here`;
      const full = HEIGHT * Math.min(1, bucket.peers.length / 8);
      const bar = drawing("svg", {class: "bucket", viewBox: `0 0 ${CELL} ${HEIGHT}`, width: CELL, height: HEIGHT,
        "aria-hidden": "true"}, drawing("rect", {class: "bucket-room", width: CELL, height: HEIGHT, rx: 3}),
      drawing("rect", {class: owns ? "bucket-own" : "bucket-full", y: HEIGHT - full, width: CELL, height: full,
        rx: 3}));
      return element("li", {title: `${bucket.prefix || "all ids"}: ${text}`}, bar, element("span", {
        class: "bucket-count", "aria-hidden": "true", text: bucket.peers.length}),
      element("span", {class: "bucket-depth", "aria-hidden": "true", text: owns ? "own" : shared}),
      element("span", {class: "hidden", text: `${where}: ${text}`}));
    })), element("p", {class: "muted small", text: "Above: how many nodes. Below: how many bits of their ids are as "
      + "those of this node. Far away is left, near is right."}));
}
