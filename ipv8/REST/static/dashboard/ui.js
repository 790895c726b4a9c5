// Parts that all pages are made of. What peers sent is set as text, never as HTML.

import {bytes, count, percent, shortHex} from "./format.js";

export * from "./format.js";
export {table} from "./table.js";

const SVG = "http://www.w3.org/2000/svg";
const COPIED = 1_500;

/**
 * @param {Element} made @param {Record<string, any>} properties
 * @param {(Node | string | number | null | undefined | false)[]} children
 */
function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = String(value);
    else if (name.startsWith("on") && typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== undefined && child !== null && child !== false) {
      made.append(child instanceof Node ? child : String(child));
    }
  }
}

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [properties] its attributes; "text" is its text, and "onclick" or the like a listener.
 * Those that are null, undefined or false are left out.
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {any} the element
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  fill(made, properties, children);
  return made;
}

/**
 * Make an element of a drawing, in the same way.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string | null)} children
 * @returns {any} the element
 */
export function drawing(tag, properties = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  fill(made, properties, children);
  return made;
}

/**
 * Set the text of an element, if it is another one.
 * @param {Node} node @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A part of a page with a heading.
 * @param {string} title @param {...(Node | string | null | undefined | false)} children
 */
export function card(title, ...children) {
  const heading = element("h2", {text: title});
  return element("section", {class: "card", "aria-label": title}, heading, ...children);
}

/**
 * What is shown if there is nothing to show.
 * @param {string} title what is missing
 * @param {string} text what to do
 * @param {string} [command] to be copied
 */
export function emptyState(title, text, command) {
  return element("div", {class: "empty"}, element("p", {class: "empty-title", text: title}), element("p", {text}),
    command && element("p", {class: "command"}, element("code", {text: command}), copyButton(command)));
}

/**
 * A list of names and values.
 * @param {[string, Node | string | number | null | undefined | false][]} entries those without a value are left out
 */
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return element("dl", {class: "facts"}, ...shown.map(([name, value]) =>
    element("div", {}, element("dt", {text: name}), element("dd", {}, value))));
}

/**
 * Copy a text to the clipboard, also where browsers offer no clipboard, which is on addresses without HTTPS.
 * @param {string} text
 */
async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = element("textarea", {class: "hidden", readonly: true});
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

/**
 * A button that copies a text.
 * @param {string | (() => string)} text or what gives it when it is needed
 * @param {string} [name] what is copied
 */
export function copyButton(text, name = "") {
  const label = name ? `Copy ${name}` : "Copy";
  const button = element("button", {type: "button", class: "copy", "aria-label": label, title: label, text: "Copy"});
  button.addEventListener("click", async (/** @type {Event} */ event) => {
    event.stopPropagation();
    try {
      await copy(typeof text === "string" ? text : text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Failed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, COPIED);
  });
  return button;
}

/**
 * A key or hash: its first digits, and a button that copies it.
 * @param {string | null | undefined} hex @param {string} [name] what it is, as in "public key"
 */
export function keyText(hex, name = "") {
  if (!hex) return element("span", {text: "–"});
  return element("span", {class: "key"}, element("code", {title: hex, text: shortHex(hex)}), copyButton(hex, name));
}

/**
 * A word that stands out.
 * @param {"ok" | "warning" | "problem" | "info"} level @param {string} text
 */
export function badge(level, text) {
  return element("span", {class: `badge ${level}`, text});
}

/**
 * How full something is.
 * @param {number} size @param {number} capacity
 * @param {{inBytes?: boolean, name?: string}} [options]
 */
export function meter(size, capacity, {inBytes = false, name = ""} = {}) {
  const share = capacity > 0 ? size / capacity : 0;
  const format = inBytes ? bytes : count;
  const text = `${format(size)} of ${format(capacity)} (${percent(share)})`;
  const level = share >= 0.9 ? "problem" : share >= 0.7 ? "warning" : "ok";
  const bar = drawing("svg", {class: `bar ${level}`, "aria-hidden": "true"},
    drawing("rect", {class: "bar-full", width: "100%", height: "100%"}),
    drawing("rect", {class: "bar-part", width: `${Math.min(100, 100 * share)}%`, height: "100%"}));
  return element("span", {class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": capacity,
    "aria-valuenow": size, "aria-valuetext": text, "aria-label": name || "how full"}, bar,
  element("span", {class: "meter-text", "aria-hidden": "true", text}));
}

/**
 * Ask before something that cannot be undone.
 * @param {string} question @param {string} [action] the text of the button that does it
 * @returns {Promise<boolean>} whether to do it
 */
export function confirm(question, action = "Yes") {
  const dialog = element("dialog", {class: "dialog", "aria-label": question});
  return new Promise((resolve) => {
    dialog.append(element("p", {text: question}), element("div", {class: "buttons"},
      element("button", {type: "button", text: "Cancel", onclick: () => dialog.close("no")}),
      element("button", {type: "button", class: "primary", text: action, onclick: () => dialog.close("yes")})));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * A button that is disabled while what it does runs.
 * @param {string} text @param {() => Promise<any>} action
 * @param {{class?: string, label?: string}} [options]
 */
export function actionButton(text, action, {class: className, label} = {}) {
  const button = element("button", {type: "button", class: className, "aria-label": label, text});
  button.addEventListener("click", async (/** @type {Event} */ event) => {
    event.stopPropagation();
    button.disabled = true;
    try {
      await action();
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/**
 * A field for input with its name.
 * @param {string} name @param {HTMLElement} input
 */
export function field(name, input) {
  return element("label", {class: "field"}, element("span", {text: name}), input);
}

/**
 * Fill an element with rows, and keep those that are there already: what has the focus keeps it.
 * @template T
 * @param {Element} parent @param {T[]} items @param {(item: T) => string} keyOf
 * @param {(item: T) => Element} make @param {(made: any, item: T) => void} [update]
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [/** @type {any} */ (child).itemKey, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child) {
      known.delete(key);
    } else {
      child = make(item);
      /** @type {any} */ (child).itemKey = key;
    }
    update?.(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}
