// Keyboard shortcuts, and a dialog that lists them.
"use strict";
{
  const { make } = atlas;
  const SHORTCUTS = [
    ["/", "Search"],
    ["\u2190 \u2192 or k j", "Previous and next layer, channel or picture"],
    ["\u2191 \u2193", "Row above and below in a grid"],
    ["Enter", "Open"],
    ["Esc", "Up: from a channel to its layer, then to the map"],
    ["z", "Enlarge the picture of a channel"],
    ["+ \u2212", "Larger and smaller pictures"],
    ["h", "Show or hide heat maps"],
    ["t", "Light or dark theme"],
    ["?", "Keyboard shortcuts"],
  ];

  atlas.openShortcuts = () => {
    if (atlas.isDialogOpen()) return;
    const keys = (text) =>
      text.split(" ").map((part) => (part === "or" ? " or " : make("kbd", {}, part)));
    atlas.openDialog({ class: "shortcuts", "aria-labelledby": "shortcuts" }, (closeButton) => ({
      content: [
        make(
          "div",
          { class: "dialog-head" },
          make("h2", { id: "shortcuts" }, "Keyboard shortcuts"),
          closeButton,
        ),
        make(
          "dl",
          {},
          SHORTCUTS.map(([key, action]) =>
            make("div", {}, make("dt", {}, keys(key)), make("dd", {}, action)),
          ),
        ),
      ],
    }));
  };

  // Goes to the neighbour of a channel. On other pages, moves the focus to a layer or channel.
  const move = (view, step) => {
    if ("previous" in view) {
      const address = step < 0 ? view.previous : view.next;
      if (address) atlas.go(address);
      return;
    }
    const current = view.items?.focused() ?? null;
    const next = current === null ? view.items?.firstInView() : current + step;
    if (next >= 0 && next < view.items.count) focus(view.items.show(next));
  };
  const focus = (element) => {
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  };
  // Without a focused item, these keys scroll.
  const moveRow = (view, sign) => {
    if ((view.items?.focused() ?? null) === null) return false;
    move(view, sign * view.items.columns());
  };

  document.addEventListener("keydown", (event) => {
    const view = atlas.view;
    if (!view) return;
    const next = () => move(view, 1);
    const previous = () => move(view, -1);
    atlas.press(event, {
      "/": atlas.openSearch,
      "?": atlas.openShortcuts,
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
  document.getElementById("open-search").addEventListener("click", atlas.openSearch);
  document.getElementById("open-shortcuts").addEventListener("click", atlas.openShortcuts);
  document
    .getElementById("skip")
    .addEventListener("click", () => document.querySelector("h1").focus());
}
