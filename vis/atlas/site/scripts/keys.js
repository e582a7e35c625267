// The keyboard: one key for each thing that is done often, and a page that tells of them.
"use strict";
{
  const { make } = atlas;
  const TOLD = [
    ["/", "Search"],
    ["\u2190 \u2192 or k j", "The layer, channel or picture before, and the next"],
    ["\u2191 \u2193", "The row above, and below, in a grid"],
    ["Enter", "Open it"],
    ["Esc", "Back up: from a channel to its layer, to the map"],
    ["z", "Make the picture of a channel larger"],
    ["+ \u2212", "Larger and smaller pictures"],
    ["h", "Show and hide the heat"],
    ["t", "Light or dark"],
    ["?", "These keys"],
  ];

  // Runs what `keys` has for a key, unless it belongs to the browser or to a field one types in.
  atlas.press = (event, keys, typing = false) => {
    const inField = event.target.matches("input, textarea, select") && !typing;
    const run = !event.ctrlKey && !event.metaKey && !event.altKey && !inField && keys[event.key];
    if (run && run() !== false) event.preventDefault();
  };

  atlas.openKeys = () => {
    if (document.querySelector("dialog[open]")) return;
    const dialog = make(
      "dialog",
      { class: "keys", "aria-labelledby": "keys" },
      make("div", { class: "dialog-head" }, make("h2", { id: "keys" }, "Keys"), make("button", { type: "button", "aria-label": "Close", click: () => dialog.close() }, "\u2715")),
      make("dl", {}, TOLD.map(([key, does]) => make("div", {}, make("dt", {}, key.split(" ").map((part) => (part === "or" ? " or " : make("kbd", {}, part)))), make("dd", {}, does)))),
    );
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };

  const steps = () => [...document.querySelectorAll("#main [data-step]")];

  // The focus goes from one layer or channel to another; from none, to the first in view.
  const move = (by) => {
    const all = steps();
    const now = all.indexOf(document.activeElement);
    const visible = () => Math.max(0, all.findIndex((one) => one.getBoundingClientRect().top >= 0));
    const next = all[now < 0 ? visible() : now + by];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  // Rows are moved by where the focus is in one; elsewhere these keys scroll.
  const moveRow = (sign) => {
    const all = steps();
    const now = all.indexOf(document.activeElement);
    if (now < 0) return false;
    const top = all[0].getBoundingClientRect().top;
    const columns = all.findIndex((one) => one.getBoundingClientRect().top > top + 1);
    move(sign * (columns > 0 ? columns : all.length));
  };

  const besides = (view, by) => {
    if (!view.content || !("previous" in view)) return move(by);
    const address = by < 0 ? view.previous : view.next;
    if (address) atlas.go(address);
  };

  document.addEventListener("keydown", (event) => {
    const view = atlas.view;
    if (!view || document.querySelector("dialog[open]")) return;
    const next = () => besides(view, 1);
    const previous = () => besides(view, -1);
    atlas.press(event, {
      "/": atlas.openSearch,
      "?": atlas.openKeys,
      t: atlas.switchTheme,
      j: next,
      ArrowRight: next,
      k: previous,
      ArrowLeft: previous,
      ArrowDown: () => moveRow(1),
      ArrowUp: () => moveRow(-1),
      Escape: () => (view.up ? atlas.go(view.up) : false),
      ...view.keys,
    });
  });
  document.getElementById("search-opens").addEventListener("click", atlas.openSearch);
  document.getElementById("keys-open").addEventListener("click", atlas.openKeys);
  document.getElementById("skip").addEventListener("click", () => document.querySelector("h1").focus());
}
