// Asks for the API key, which is kept until the tab is closed.

import {element, field} from "./ui.js";

export class KeyDialog {
  /** @param {import("./api.js").Api} api @param {() => void} onKey called when a key was given */
  constructor(api, onKey) {
    this.api = api;
    this.onKey = onKey;
    this.input = element("input", {type: "password", name: "key", autocomplete: "off", spellcheck: "false"});
    this.message = element("p", {role: "alert"});
    const form = element("form", {method: "dialog"}, element("h2", {text: "API key"}), this.message,
      element("p", {}, "The node wrote it into the file ", element("code", {text: "rest.key"}),
        " of its working directory, or you gave it with ", element("code", {text: "--api-key"}),
        ". It is kept until you close this tab."),
      field("Key", this.input),
      element("div", {class: "buttons"},
        element("button", {type: "button", text: "Cancel", onclick: () => this.dialog.close()}),
        element("button", {type: "submit", class: "primary", text: "Use this key"})));
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#use();
    });
    this.dialog = element("dialog", {class: "dialog", "aria-label": "API key"}, form);
    document.body.append(this.dialog);
    /** Whether somebody has closed it without a key: it is opened again only on request. */
    this.isRefused = false;
    this.dialog.addEventListener("close", () => { this.isRefused = !this.api.key; });
  }

  /** @param {string} [reason] why it is opened; without one, somebody wants it */
  open(reason) {
    if (this.dialog.open || (reason && this.isRefused)) return;
    this.message.textContent = reason ?? "";
    this.dialog.showModal();
    this.input.select();
  }

  async #use() {
    const key = this.input.value.trim();
    try {
      await (await this.api.request("GET", "/", {key})).text();
    } catch (error) {
      this.message.textContent = error.message;
      this.input.select();
      return;
    }
    this.api.key = key;
    this.dialog.close();
    this.api.stream.restart();
    this.onKey();
  }
}
