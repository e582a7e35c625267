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

  atlas.openKeys = () => {
    if (atlas.isOpen()) return;
    const keys = (text) =>
      text.split(" ").map((part) => (part === "or" ? " or " : make("kbd", {}, part)));
    atlas.open({ class: "keys", "aria-labelledby": "keys" }, (closing) => ({
      content: [
        make("div", { class: "dialog-head" }, make("h2", { id: "keys" }, "Keys"), closing),
        make(
          "dl",
          {},
          TOLD.map(([key, does]) =>
            make("div", {}, make("dt", {}, keys(key)), make("dd", {}, does)),
          ),
        ),
      ],
    }));
  };

  // From channel to channel; on other pages the focus goes from one layer or channel to another.
  const move = (view, by) => {
    if ("previous" in view) {
      const address = by < 0 ? view.previous : view.next;
      if (address) atlas.go(address);
      return;
    }
    const now = view.steps?.now() ?? null;
    const next = now === null ? view.steps?.firstInView() : now + by;
    if (next >= 0 && next < view.steps.many) focus(view.steps.show(next));
  };
  const focus = (one) => {
    one.focus({ preventScroll: true });
    one.scrollIntoView({ block: "nearest" });
  };
  // Rows are moved by where the focus is in one; elsewhere these keys scroll.
  const moveRow = (view, sign) => {
    if ((view.steps?.now() ?? null) === null) return false;
    move(view, sign * view.steps.columns());
  };

  document.addEventListener("keydown", (event) => {
    const view = atlas.view;
    if (!view) return;
    const next = () => move(view, 1);
    const previous = () => move(view, -1);
    atlas.press(event, {
      "/": atlas.openSearch,
      "?": atlas.openKeys,
      t: atlas.switchTheme,
      j: next,
      ArrowRight: next,
      k: previous,
      ArrowLeft: previous,
      ArrowDown: () => moveRow(view, 1),
      ArrowUp: () => moveRow(view, -1),
      Escape: () => (view.up ? atlas.go(view.up) : false),
      ...view.keys,
    });
  });
  document.getElementById("search-opens").addEventListener("click", atlas.openSearch);
  document.getElementById("keys-open").addEventListener("click", atlas.openKeys);
  document
    .getElementById("skip")
    .addEventListener("click", () => document.querySelector("h1").focus());
}
