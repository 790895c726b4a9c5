// Requests to the REST API of the node, its events, and what is known of the connection.

import {EventStream} from "./stream.js";

const KEY = "ipv8-api-key";
const TIMEOUT = 15_000;
const JSON_TYPE = {"Content-Type": "application/json"};
/** What is said if there is no answer, by what fetch() throws. */
const SILENT = {
  TimeoutError: "The node did not answer in time.",
  TypeError: "The node does not answer. It may have stopped.",
};

/** An answer that says no, or none at all: `status` is 0 then. */
export class RequestError extends Error {
  /** @param {number} status @param {string} message @param {string} [code] */
  constructor(status, message, code = "") {
    super(message);
    this.name = "RequestError";
    this.status = status;
    this.code = code;
  }
}

/**
 * The node as it is reached by HTTP. Sends the event "state" when `state` changes.
 *
 * States: "connecting" (nothing has been answered yet), "live" (events come), "polling" (it answers, but there are no
 * events), "locked" (it wants a key), "lost" (it does not answer).
 */
export class Api extends EventTarget {
  constructor() {
    super();
    this.state = "connecting";
    /** When the last answer came, in milliseconds since the Unix epoch. @type {number | null} */
    this.lastAnswer = null;
    /** Whether the node refuses requests without a key; null as long as nobody has asked. @type {boolean | null} */
    this.needsKey = null;
    /** What the node has, while it is asked for that. @type {Promise<{parts: string[]}> | null} */
    this.parts = null;
    this.stream = new EventStream(this);
  }

  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  }

  /**
   * Read something.
   * @param {string} path with its query
   * @returns {Promise<any>} what the JSON says
   */
  async get(path) {
    return this.#whole((await this.request("GET", path)).json());
  }

  /**
   * Change something.
   * @param {string} method @param {string} path with its query
   * @param {any} [body] sent as JSON, unless it is a text or bytes
   * @returns {Promise<any>} what the JSON says; the text if it is no JSON
   */
  async send(method, path, body) {
    const response = await this.request(method, path, {body});
    const text = await this.#whole(response.text());
    return response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : text;
  }

  /**
   * Whether the node has something now. Ask this first: browsers write each response with an error on their console.
   * @param {string} part the first part of its paths, as in "dht"
   * @returns {Promise<boolean>}
   */
  async has(part) {
    this.parts ??= this.get("/dashboard/parts").finally(() => { this.parts = null; });
    return (await this.parts).parts.includes(part);
  }

  /**
   * Send a request with the key.
   * @param {string} method @param {string} path
   * @param {{body?: any, signal?: AbortSignal, headers?: Record<string, string>, key?: string}} [options] a signal of
   * the caller is used in the place of the limit of time, and a key in the place of the one that is kept
   * @returns {Promise<Response>} with a status of success
   * @throws {RequestError} for any other status, or without an answer
   */
  async request(method, path, {body, signal = AbortSignal.timeout(TIMEOUT), headers = {}, key = this.key} = {}) {
    if (!key && await this.#wantsKey(signal)) throw this.#locked(key);
    const isJson = body !== undefined && typeof body !== "string" && !(body instanceof Uint8Array);
    const response = await this.#fetch(path, {method, signal, body: isJson ? JSON.stringify(body) : body,
      headers: {...headers, ...(isJson ? JSON_TYPE : {}), ...(key ? {"X-Api-Key": key} : {})}});
    if (response.status === 401) {
      await response.text(); // else the browser counts the request as one that failed
      throw this.#locked(key);
    }
    if (this.state !== "live") this.setState(this.stream.isOpen ? "live" : "polling");
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /**
   * Whether the node refuses requests without a key. While it does, it is asked again: it may have been started anew.
   * @param {AbortSignal} signal
   */
  async #wantsKey(signal) {
    if (this.needsKey !== false) {
      this.needsKey = (await this.#whole((await this.#fetch("/dashboard/access", {signal})).json())).needs_key;
    }
    return this.needsKey;
  }

  /** @param {string} key that was not taken @returns {RequestError} */
  #locked(key) {
    this.needsKey = true;
    if (key === this.key) this.key = ""; // the node counts wrong keys, and refuses everything after some
    this.setState("locked");
    return new RequestError(401, key ? "The key is wrong." : "The node asks for its API key.");
  }

  /** @param {string} path @param {RequestInit} options @returns {Promise<Response>} with any status */
  async #fetch(path, options) {
    try {
      const response = await fetch(path, options);
      this.lastAnswer = Date.now();
      return response;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.setState("lost");
      throw new RequestError(0, SILENT[error.name] ?? SILENT.TypeError);
    }
  }

  /** @template T @param {Promise<T>} content of a response @returns {Promise<T>} */
  async #whole(content) {
    try {
      return await content;
    } catch {
      this.setState("lost");
      throw new RequestError(0, "The answer of the node broke off.");
    }
  }

  /**
   * Get events as they happen. There are none while the page is hidden.
   * @param {string[]} topics the beginnings of topics, as in "peer" for "peer.added"
   * @param {(event: {id: number, topic: string, time: number, data: any}) => void} callback
   * @returns {() => void} ends it
   */
  events(topics, callback) {
    return this.stream.subscribe(topics, callback);
  }

  /** @param {string} state */
  setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/** @param {Response} response */
async function errorOf(response) {
  const text = await response.text();
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    error = response.statusText;
  }
  const message = typeof error === "string" ? error : error?.message;
  return new RequestError(response.status, message || `The node answered with status ${response.status}.`, error?.code);
}
