// What peers ask the pseudonyms for, with a decision for each request.

import {accepted, asText, attempt, base64OfText, hexOfBase64, notice} from "../panels.js";

const RANGE = "pengbaorange";

/** The base64 of a number, the highest byte first. @param {number} number */
export function base64OfNumber(number) {
  const digits = number.toString(16);
  const pairs = digits.padStart(digits.length + digits.length % 2, "0").match(/../g) ?? [];
  return btoa(String.fromCharCode(...pairs.map((pair) => parseInt(pair, 16))));
}

/** @param {{api: any, ui: any, pathOf: (...parts: string[]) => string, refresh: () => Promise<void>}} context */
export function requestsPart({api, ui, pathOf, refresh}) {
  const {element, card} = ui;
  const told = notice();
  const none = ui.emptyState("No request waits for a decision.",
    "Requests for an attestation or a verification appear here as they come, for pseudonyms that run.");
  const list = element("ul", {class: "requests"});

  /**
   * @param {string} text @param {string} label @param {any} request @param {string} action
   * @param {() => object} body @param {string} done
   *
   * The decision is about the request that is shown: if another one waits now, the node refuses it.
   */
  function button(text, label, request, action, body, done) {
    return ui.actionButton(text, () => attempt(told, async () => {
      accepted(await api.send("PUT", pathOf(request.pseudonym, action, request.peer),
        {...body(), request_id: request.request_id}));
      await refresh();
      return done;
    }), {label, class: ["attest", "allow"].includes(action) ? "primary" : undefined});
  }

  /** @param {any} request */
  function item(request) {
    const {pseudonym, name, peer, kind} = request;
    const who = element("p", {}, ui.keyText(hexOfBase64(peer), "public key"));
    if (kind === "verification") {
      return element("li", {"aria-label": `Verification of ${name}`},
        element("p", {}, "A peer asks to verify ", element("strong", {text: name}), " of ",
          element("strong", {text: pseudonym}), ". If you accept, it learns whether the value is the one it expects."),
        who, ui.facts([["Hash of the attribute", request.hash && ui.keyText(hexOfBase64(request.hash), "hash")]]),
        element("div", {class: "decision"},
          button("Accept", `Accept: let it verify ${name}`, request, "allow", () => ({name}),
            `${name} may be verified.`),
          button("Refuse", `Refuse: do not let it verify ${name}`, request, "disallow", () => ({name}),
            `${name} is refused.`)));
    }
    const {format, metadata} = request;
    const found = request.formats.find((/** @type {any} */ known) => known.name === format);
    const isNumber = found?.algorithm === RANGE;
    const value = element("input", {type: isNumber ? "number" : "text", min: 0, step: 1, autocomplete: "off"});
    const body = () => {
      if (!value.value) throw new Error("Enter the value that you attest.");
      if (isNumber && !(Number.isSafeInteger(value.valueAsNumber) && value.valueAsNumber >= 0)) {
        throw new Error("Enter a whole number.");
      }
      return {name, value: isNumber ? base64OfNumber(Number(value.value)) : base64OfText(value.value)};
    };
    return element("li", {"aria-label": `Attestation of ${name}`},
      element("p", {}, "A peer asks ", element("strong", {text: pseudonym}), " to attest its attribute ",
        element("strong", {text: name}), "."), who,
      ui.facts([["Format", format && element("code", {text: format})],
        ...Object.entries(metadata).map(([key, entry]) => [key, asText(entry)])]),
      found?.weakness && element("p", {class: "weak"}, ui.badge("warning", "weak format"), ` ${found.weakness}`),
      element("div", {class: "decision"}, ui.field(`Value that you attest for ${name}`, value),
        button("Accept", `Accept: attest ${name}`, request, "attest", body, `${name} is attested.`),
        button("Refuse", `Refuse: do not attest ${name}`, request, "refuse", () => ({name}), `${name} is refused.`)));
  }

  return {
    element: card("Requests that wait", told.element, none, list),
    /** @param {any[]} pseudonyms */
    update(pseudonyms) {
      const requests = pseudonyms.filter(({loaded}) => loaded).flatMap(({name: pseudonym, formats, requests: own}) =>
        own.map((/** @type {any} */ entry) => ({...entry, pseudonym, formats, name: entry.attribute_name})));
      none.hidden = requests.length > 0;
      ui.keyed(list, requests, (request) =>
        JSON.stringify([request.pseudonym, request.kind, request.peer, request.name, request.metadata,
          request.request_id]), item);
    },
  };
}
