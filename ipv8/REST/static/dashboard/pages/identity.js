// The pseudonyms of the node: what they are asked for, what they have, and what they have verified.

import {accepted, attempt, choices, form, hexOfBase64, notice, optional} from "../panels.js";
import {detailsPart} from "../parts/pseudonym.js";
import {requestsPart} from "../parts/requests.js";

export const title = "Identity";
export const topics = ["identity"];
export const needs = {part: "identity", title: "This node has no identity service.",
  text: "Its REST API was started without one. Start the node by the command line.", command: "ipv8 run"};

/** The path of a pseudonym. @param {string} name @param {string[]} parts */
function pathOf(name, ...parts) {
  return ["/identity", name, ...parts].map((part, index) => index ? encodeURIComponent(part) : part).join("/");
}

/**
 * Read parts of a pseudonym. A request must not start it, or make it anew: it may have been removed just now.
 * @param {any} api @param {string} name @param {string[]} parts
 * @returns {Promise<any[] | null>} null if it does not run
 */
async function readParts(api, name, parts) {
  const found = await Promise.all(parts.map((part) => optional(api.get(`${pathOf(name, part)}?load=false`))));
  return found.includes(null) ? null : found;
}

/**
 * What is read of every pseudonym whose overlays run.
 * @param {any} api @param {any} state
 */
async function readRequests(api, state) {
  const found = state.loaded ? await readParts(api, state.name, ["requests", "formats"]) : null;
  return found ? {...state, requests: found[0].requests, formats: found[1].formats} : {...state, loaded: false};
}

/**
 * What is read of the pseudonym that is shown, besides that.
 * @param {any} api @param {any} state
 */
async function readDetails(api, state) {
  const found = await readParts(api, state.name, ["credentials", "verifications", "peers"]);
  if (!found) return null;
  const [credentials, outputs, peers] = found;
  return {...state, key: hexOfBase64(state.public_key), credentials: credentials.names, outputs: outputs.outputs,
    known: peers.peers};
}

/** @param {HTMLElement} root @param {import("../main.js").Context} context */
export function mount(root, {api, ui, parameters, setParameters}) {
  const {element, card} = ui;
  const told = notice();
  const none = ui.emptyState("There is no pseudonym.",
    "Make one below. It has a key of its own, which nobody can connect with the key of the node.");
  const list = element("ul", {class: "pseudonyms"});
  const requests = requestsPart({api, ui, pathOf, refresh});
  const details = detailsPart({api, ui, pathOf, refresh});
  const name = element("input", {type: "text", required: true, maxlength: 100, autocomplete: "off"});
  const chosen = element("select", {onchange: () => {
    setParameters({pseudonym: chosen.value});
    attempt(told, show);
  }});
  choices(chosen, [{value: parameters.get("pseudonym") ?? "", text: ""}]);
  /** @type {any[]} */
  let all = [];
  const create = form({label: "Make a pseudonym", button: "Make it", work: () => attempt(told, async () => {
    const made = name.value.trim();
    accepted(await api.send("PUT", pathOf(made)));
    name.value = "";
    await refresh();
    return `The pseudonym ${made} is there, and its overlays run.`;
  }, "It is made …")}, ui.field("Name", name));
  const detailsCard = card("Attributes and peers", ui.field("Of the pseudonym", chosen), details.element);
  root.append(requests.element, card("Pseudonyms", none, list, create, told.element), detailsCard);

  /** @param {any} state */
  function item(state) {
    const load = ui.actionButton("Start", () => attempt(told, async () => {
      accepted(await api.send("PUT", pathOf(state.name)));
      await refresh();
    }), {label: `Start the overlays of ${state.name}`});
    const unload = ui.actionButton("Stop", () => attempt(told, async () => {
      accepted(await api.send("POST", pathOf(state.name, "unload")));
      await refresh();
    }), {label: `Stop the overlays of ${state.name}`});
    const remove = ui.actionButton("Delete", async () => {
      if (!await ui.confirm(`Delete the pseudonym ${state.name}, with its key and all its attributes? This cannot be `
        + "undone.", "Delete it")) return;
      await attempt(told, async () => {
        accepted(await api.send("DELETE", pathOf(state.name)));
        await refresh();
        return `The pseudonym ${state.name} is deleted.`;
      });
    }, {label: `Delete ${state.name}`});
    load.classList.add("load");
    unload.classList.add("unload");
    return element("li", {"aria-label": state.name}, element("strong", {text: state.name}),
      element("span", {class: "pseudonym-state"}), element("span", {class: "muted pseudonym-facts"}),
      element("span", {class: "pseudonym-buttons"}, load, unload, remove));
  }

  /** @param {HTMLElement} line @param {any} state */
  function fill(line, state) {
    const badge = line.querySelector(".pseudonym-state");
    const word = state.loaded ? "running" : "stopped";
    if (badge.textContent !== word) badge.replaceChildren(ui.badge(state.loaded ? "ok" : "info", word));
    ui.setText(line.querySelector(".pseudonym-facts"), state.loaded
      ? `${ui.plural(state.attributes, "attribute")}, ${ui.plural(state.peers, "peer")}`
      : "Start it to see its attributes and to get requests.");
    /** @type {HTMLElement} */ (line.querySelector(".load")).hidden = state.loaded;
    /** @type {HTMLElement} */ (line.querySelector(".unload")).hidden = !state.loaded;
  }

  async function show() {
    const running = all.filter(({loaded}) => loaded);
    detailsCard.hidden = !running.length;
    if (!running.length) return;
    choices(chosen, running.map((state) => ({value: state.name, text: state.name})));
    const state = running.find(({name: each}) => each === chosen.value) ?? running[0];
    const read = await readDetails(api, state);
    if (read) await details.update(read);
  }

  async function refresh() {
    const answer = await api.get("/identity");
    const states = await Promise.all(answer.names.map((/** @type {string} */ each) => optional(api.get(pathOf(each)))));
    all = await Promise.all(states.filter(Boolean).map((state) => readRequests(api, state)));
    none.hidden = all.length > 0;
    ui.keyed(list, all, (state) => state.name, item, fill);
    requests.update(all);
    await show();
  }

  return {refresh};
}
