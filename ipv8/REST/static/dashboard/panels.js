// What the pages of overlays have in common: empty states, messages, keys in base64.

import {element} from "./ui.js";

/** What pages need that show what was observed of the node. @type {import("./main.js").Needs} */
export const OBSERVED = {part: "node", title: "This node is not observed.",
  text: "It was started with observe=False. Start it without, or by the command line.", command: "ipv8 run"};

/**
 * What a request answers; null if the node has nothing of that kind.
 * @template T
 * @param {Promise<T>} request
 * @returns {Promise<T | null>}
 */
export async function optional(request) {
  try {
    return await request;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/**
 * Shows either the content of a part of a page or its empty state.
 * @param {HTMLElement} root @param {HTMLElement} empty
 */
export function choice(root, empty) {
  const content = element("div", {class: "panels", hidden: true});
  const missing = element("div", {class: "card", hidden: true}, empty);
  root.append(missing, content);
  return {
    content,
    /** @param {boolean} isLoaded whether there is something to show */
    show(isLoaded) {
      content.hidden = !isLoaded;
      missing.hidden = isLoaded;
    },
  };
}

/**
 * Numbers that stand out, for a list of the class "tiles".
 * @param {[string, Node | string | number][]} entries
 * @returns {HTMLElement[]}
 */
export function tiles(entries) {
  return entries.map(([name, value]) =>
    element("div", {class: "tile"}, element("dt", {text: name}), element("dd", {}, value)));
}

/**
 * Says whether something costly is to be read again: if what it depends on is another one, and not too often.
 * @param {number} interval milliseconds between two readings of something whose choice did not change
 */
export function seldom(interval) {
  let [lastChoice, lastVersion] = ["", ""];
  let next = 0;
  return (/** @type {string} */ choice, /** @type {string} */ version) => {
    if (choice === lastChoice && (version === lastVersion || Date.now() < next)) return false;
    [lastChoice, lastVersion] = [choice, version];
    next = Date.now() + interval;
    return true;
  };
}

/** A line that tells how an action ended. */
export function notice() {
  const made = element("p", {class: "notice", role: "status"});
  return {
    element: made,
    /** @param {"ok" | "problem" | "info" | ""} level @param {string} text */
    show(level, text) {
      made.className = `notice ${level}`;
      made.textContent = text;
    },
    clear() {
      made.className = "notice";
      made.textContent = "";
    },
  };
}

/**
 * Do something, and tell what went wrong.
 * @param {ReturnType<typeof notice>} told @param {() => Promise<string | void>} work gives what to tell at the end
 * @param {string} [during] what is told while it runs
 */
export async function attempt(told, work, during = "") {
  if (during) told.show("info", during);
  else told.clear();
  try {
    const text = await work();
    if (text) told.show("ok", text);
    else told.clear();
  } catch (error) {
    told.show("problem", inWords(error));
  }
}

/** What went wrong, as a sentence. @param {any} error */
export function inWords(error) {
  const text = String(error.message || error);
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** Throw what an answer with status 200 refuses. @template T @param {T} answer @returns {T} */
export function accepted(answer) {
  const {success, error} = /** @type {any} */ (answer);
  if (success === false) throw new Error(error?.message ?? error ?? "The node refused it.");
  return answer;
}

/**
 * A form whose button is disabled while its work runs.
 * @param {object} options
 * @param {string} options.label what it is for
 * @param {string} options.button
 * @param {() => Promise<any>} options.work
 * @param {...Node} fields
 */
export function form({label, button, work}, ...fields) {
  const submit = element("button", {type: "submit", class: "primary", text: button});
  const made = element("form", {class: "fields", "aria-label": label}, ...fields, submit);
  made.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await work();
    } finally {
      submit.disabled = false;
    }
  });
  return made;
}

/**
 * Set the choices of a list, and keep what is chosen.
 * @param {HTMLSelectElement} list @param {{value: string, text: string}[]} entries
 */
export function choices(list, entries) {
  const before = list.value;
  const wanted = JSON.stringify(entries);
  if (list.dataset.choices === wanted) return;
  list.dataset.choices = wanted;
  list.replaceChildren(...entries.map(({value, text}) => element("option", {value, text})));
  if (entries.some(({value}) => value === before)) list.value = before;
}

/**
 * Tell entries of the same name apart: each gets a `number`, and a `key` of its own.
 * @template T
 * @param {T[]} entries @param {(entry: T) => string} nameOf
 * @returns {(T & {number: number, key: string})[]}
 */
export function numbered(entries, nameOf) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return entries.map((entry) => {
    const name = nameOf(entry);
    const number = seen.get(name) ?? 0;
    seen.set(name, number + 1);
    return {...entry, number, key: `${name} ${number}`};
  });
}

/** The hexadecimal digits of bytes in base64. @param {string} text */
export function hexOfBase64(text) {
  return hexOf(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
}

/** @param {Uint8Array} data */
export function hexOf(data) {
  return [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of hexadecimal digits. @param {string} hex */
export function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** The base64 of a text in UTF-8. @param {string} text */
export function base64OfText(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/**
 * The text that bytes are the UTF-8 of; null if they are none, or have characters that cannot be shown.
 * @param {string} hex
 */
export function textOf(hex) {
  try {
    const text = new TextDecoder("utf-8", {fatal: true}).decode(bytesOf(hex));
    return /[\p{Cc}\p{Cn}\p{Co}]/u.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** What a value of JSON is as a text. @param {any} value */
export function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Seconds since a time of the node's clock. @param {number} time seconds since the Unix epoch */
export function since(time) {
  return Math.max(0, Date.now() / 1000 - time);
}
