// What opens over a page. It has the keyboard to itself, and is gone once it is closed.
"use strict";
{
  const { make } = atlas;

  // Runs what `keys` has for a key, unless it belongs to the browser or to a field one types in.
  atlas.press = (event, keys, typing = false) => {
    const inField = event.target.matches("input, textarea, select") && !typing;
    const run = !event.ctrlKey && !event.metaKey && !event.altKey && !inField && keys[event.key];
    if (run && run() !== false) event.preventDefault();
  };

  atlas.isOpen = () => document.querySelector("dialog[open]") !== null;

  // `fill` makes the content of what closes it, and may tell of `keys` of its own.
  atlas.open = (attributes, fill) => {
    const dialog = make("dialog", attributes);
    const close = () => {
      dialog.close(); // Gives the focus back,
      dialog.remove(); // and leaves none behind where there was none.
    };
    const button = make(
      "button",
      { type: "button", "aria-label": "Close", "aria-keyshortcuts": "Escape", click: close },
      "\u2715",
    );
    const { content, keys = {} } = fill(button, close);
    dialog.append(...content);
    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation();
      atlas.press(event, { ...keys, Escape: close }, true);
    });
    dialog.addEventListener("click", ({ target, clientX: x, clientY: y }) => {
      const { left, right, top, bottom } = dialog.getBoundingClientRect();
      const outside = x < left || x > right || y < top || y > bottom;
      if (target === dialog && outside) close();
    });
    dialog.addEventListener("close", close);
    document.body.append(dialog);
    dialog.showModal();
  };
}
