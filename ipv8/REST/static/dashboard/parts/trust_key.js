// Why a key has its score, and the veto against it.

import {attempt, notice} from "../panels.js";

const PATHS = 5;

/** @param {{api: any, ui: any, select: (key: string) => Promise<void>, scoreName: () => string}} context */
export function keyPart({api, ui, select, scoreName}) {
  const {element, keyText, percent} = ui;
  const told = notice();
  const content = element("div");
  const made = element("section", {class: "explanation", "aria-label": "Why a key has its score", hidden: true},
    element("h3", {text: "Why a key has its score"}), content, told.element);
  let last = "";

  /** @param {any} found @param {boolean} isBlocked */
  function draw(found, isBlocked) {
    const {key, score, rank, confidence: [low, high], paths, dominator, direct, fraud} = found;
    const kinds = Object.entries(direct);
    const isOwn = paths.length === 0 && rank === null && score === 1;
    content.replaceChildren(
      ui.facts([
        ["Public key", keyText(key, "public key")],
        ["Score", `${score.toPrecision(3)} (${found.name})`],
        ["Rank", rank === null ? "none, as its score is not above 0" : rank],
        ["Walks that visit it", `${percent(low)} to ${percent(high)} (with a probability of 95 %)`],
        ["This node says", kinds.length ? kinds.map(([kind, weight]) => `${kind || "endorsed"}: `
          + `${Number(weight).toPrecision(3)}`).join(", ") : "nothing of it"],
        ["Nearly all by way of", dominator && keyText(dominator, "public key")],
        ["State", (fraud || isBlocked) && element("span", {}, fraud && ui.badge("problem", "fraud"),
          fraud && " It signed two blocks for one place in its chain. ",
          isBlocked && ui.badge("problem", "blocked by you"))],
      ]),
      element("h4", {text: "The ways by which trust reaches it"}),
      paths.length ? element("ol", {class: "ways"}, ...paths.map(way)) : element("p", {class: "muted",
        text: isBlocked ? "None: it is blocked." : isOwn ? "It is the key of this node." : "None: it is not trusted."}),
      veto(key, isBlocked));
  }

  /** @param {{nodes: string[], share: number}} path */
  function way({nodes, share}) {
    const steps = nodes.map((node, place) => {
      if (place === 0) return element("li", {class: "step own", text: "this node"});
      const name = ui.shortHex(node, 8);
      if (place === nodes.length - 1) return element("li", {class: "step"}, element("code", {title: node, text: name}));
      return element("li", {class: "step"}, element("button", {type: "button", class: "link", title: node,
        onclick: () => attempt(told, () => select(node))}, element("code", {text: name})));
    });
    return element("li", {}, element("span", {class: "way-share", text: percent(share)}),
      element("ol", {class: "way", "aria-label": `${percent(share)} of the walks`}, ...steps));
  }

  /** @param {string} key @param {boolean} isBlocked */
  function veto(key, isBlocked) {
    if (isBlocked) {
      return ui.actionButton("Unblock this key", () => attempt(told, async () => {
        await api.send("DELETE", `/trust/block/${key}`);
        await select(key);
        return "The key can be trusted again.";
      }));
    }
    return ui.actionButton("Block this key", async () => {
      if (!await ui.confirm("Trust this key no more, whatever others say of it? You can unblock it later; what others "
        + "lose by it until then does not come back.", "Block it")) return;
      await attempt(told, async () => {
        await api.send("POST", `/trust/block/${key}`);
        await select(key);
        return "The key is blocked.";
      });
    });
  }

  return {
    element: made,
    /** @param {string} key none if empty @param {boolean} isBlocked */
    async show(key, isBlocked) {
      made.hidden = !key;
      if (!key) return;
      const query = new URLSearchParams({paths: String(PATHS), ...(scoreName() ? {name: scoreName()} : {})});
      const found = await api.get(`/trust/explain/${encodeURIComponent(key)}?${query}`);
      const text = JSON.stringify([found, isBlocked]);
      if (text === last) return;
      last = text;
      draw(found, isBlocked);
    },
  };
}
