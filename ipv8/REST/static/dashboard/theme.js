// Sets the colours before anything is drawn, and when the choice changes. The choice is kept for the session.
"use strict";

(() => {
  const KEY = "ipv8-theme";
  const root = document.documentElement;

  /** @param {string} theme "auto", "light" or "dark" */
  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  apply(sessionStorage.getItem(KEY) ?? "auto");
  document.addEventListener("DOMContentLoaded", () => {
    const choice = /** @type {HTMLSelectElement} */ (document.getElementById("theme"));
    choice.value = root.dataset.theme ?? "auto";
    choice.addEventListener("change", () => {
      sessionStorage.setItem(KEY, choice.value);
      apply(choice.value);
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
