// Dialogs over a page. An open dialog receives all key presses, and is removed when it closes.
"use strict";
{
  const { make } = atlas;

  // Runs the function in `keys` for a key press, unless it belongs to the browser or a text field.
  atlas.press = (event, keys, typing = false) => {
    const inField = event.target.matches("input, textarea, select") && !typing;
    const run = !event.ctrlKey && !event.metaKey && !event.altKey && !inField && keys[event.key];
    if (run && run() !== false) event.preventDefault();
  };

  atlas.isDialogOpen = () => document.querySelector("dialog[open]") !== null;

  // `fill` gets the close button and a function that closes, and returns `content` and `keys`.
  atlas.openDialog = (attributes, fill) => {
    const dialog = make("dialog", attributes);
    const close = () => {
      dialog.close(); // Restores the focus.
      dialog.remove();
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
