// Events of the node, read from GET /events (doc/rest_api.md).
// They are read by fetch(), which sends the key in a header and tells the status; EventSource does neither.

const RETRY = 2_000;
const LONGEST_RETRY = 30_000;
/** There are no events. */
const NONE = 404;
const SETTLE = 50;

/**
 * @typedef {{id: number, topic: string, time: number, data: any}} NodeEvent
 * @typedef {{topics: string[], callback: (event: NodeEvent) => void}} Subscription
 */

/** Splits what a server sends into events (HTML, section 9.2). */
export class EventParser {
  /** @param {(data: string) => void} deliver gets the data of each event */
  constructor(deliver) {
    this.deliver = deliver;
    this.rest = "";
    /** @type {string[]} */
    this.data = [];
  }

  /** @param {string} text the next part */
  feed(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data:")) {
        this.data.push(line.slice(line[5] === " " ? 6 : 5));
      } else if (line === "" && this.data.length) {
        this.deliver(this.data.join("\n"));
        this.data = [];
      }
    }
  }
}

/** Whether a topic is one of these, or below one of them. @param {string} topic @param {string[]} wanted */
export function matches(topic, wanted) {
  return wanted.some((name) => topic === name || topic.startsWith(`${name}.`));
}

/** One connection for all who want events. It is closed while the page is hidden. */
export class EventStream {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    this.isOpen = false;
    /** @type {Set<Subscription>} */
    this.subscriptions = new Set();
    /** @type {AbortController | null} */
    this.connection = null;
    this.timer = 0;
    this.retry = RETRY;
    this.lastId = 0;
    document.addEventListener("visibilitychange", () => this.restart());
  }

  /**
   * @param {string[]} topics @param {(event: NodeEvent) => void} callback
   * @returns {() => void}
   */
  subscribe(topics, callback) {
    if (!topics.length) return () => {};
    const subscription = {topics, callback};
    this.subscriptions.add(subscription);
    this.restart();
    return () => {
      this.subscriptions.delete(subscription);
      this.restart();
    };
  }

  /** Connect again soon, for the topics that are wanted then. */
  restart() {
    this.connection?.abort();
    this.connection = null;
    this.isOpen = false;
    this.retry = RETRY;
    this.#later(SETTLE);
  }

  /** @param {number} delay */
  #later(delay) {
    clearTimeout(this.timer);
    if (this.subscriptions.size && !document.hidden) this.timer = setTimeout(() => this.#run(), delay);
  }

  async #run() {
    const connection = new AbortController();
    this.connection = connection;
    let status = 0;
    try {
      if (await this.api.has("events")) await this.#read(connection.signal);
      else status = NONE;
    } catch (error) {
      status = error.status;
    }
    if (this.connection !== connection) return;
    this.connection = null;
    this.isOpen = false;
    if (this.api.state === "live") this.api.setState("polling");
    // Without events, pages still ask for everything in turn. So it is tried again less and less often.
    const delay = status === NONE ? LONGEST_RETRY : this.retry;
    this.retry = Math.min(2 * this.retry, LONGEST_RETRY);
    this.#later(delay);
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    const topics = [...new Set([...this.subscriptions].flatMap((subscription) => subscription.topics))];
    const headers = {Accept: "text/event-stream", ...(this.lastId ? {"Last-Event-ID": String(this.lastId)} : {})};
    const response = await this.api.request("GET", `/events?${new URLSearchParams({topics: topics.join(",")})}`,
      {signal, headers});
    const parser = new EventParser((data) => this.#deliver(JSON.parse(data)));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    this.isOpen = true;
    this.retry = RETRY;
    this.api.setState("live");
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      this.api.lastAnswer = Date.now();
      parser.feed(part.value);
    }
  }

  /** @param {NodeEvent} event */
  #deliver(event) {
    if (event.id) this.lastId = event.id;
    for (const {topics, callback} of this.subscriptions) if (matches(event.topic, topics)) callback(event);
  }
}
