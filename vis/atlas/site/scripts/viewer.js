// A viewer with zoom and pan for one picture or several.
"use strict";
{
  const { make, style } = atlas;
  const ZOOM_STEP = 1.25;
  const MAX_ZOOM = 32; // Times the picture's own size.

  // Each of `views` has a title, a width, a height, and `show`, which creates the content.
  atlas.openViewer = (views, current = 0) => {
    const viewport = make("div", {
      class: "viewport",
      tabindex: "0",
      autofocus: true,
      role: "group",
      "aria-label": "Picture; arrow keys move it",
    });
    const title = make("h2", { class: "name", id: "viewer-title" });
    const percent = make("output", { "aria-label": "Zoom" });
    let frame, scale, fittingScale;

    const zoom = (target, x = viewport.clientWidth / 2, y = viewport.clientHeight / 2) => {
      const { width, height } = views[current];
      const next = Math.min(Math.max(target, fittingScale / 2), MAX_ZOOM);
      // The point under the pointer stays in place.
      const [left, top] = [viewport.scrollLeft + x, viewport.scrollTop + y].map(
        (position) => (position * next) / (scale ?? next),
      );
      scale = next;
      style(frame, { width: `${width * scale}px`, height: `${height * scale}px` });
      viewport.scrollTo(left - x, top - y);
      percent.textContent = `${Math.round(scale * 100)} %`;
    };
    const fit = () => {
      const { width, height } = views[current];
      const room = Math.min(viewport.clientWidth / width, viewport.clientHeight / height);
      fittingScale = Math.min(room * 0.94, MAX_ZOOM);
      zoom(fittingScale);
    };
    const show = (i) => {
      current = (i + views.length) % views.length;
      title.textContent = views[current].title;
      frame = make("div", { class: "frame" }, views[current].show());
      viewport.replaceChildren(frame);
      scale = undefined;
      fit();
    };

    // False leaves the key to the browser: there is one picture, or arrow keys pan a larger one.
    const go = (step, maxScale = Infinity) =>
      views.length > 1 && scale <= maxScale ? show(current + step) : false;

    const button = (label, text, click, key) =>
      make(
        "button",
        { type: "button", "aria-label": label, "aria-keyshortcuts": key, click },
        text,
      );
    const zoomIn = () => zoom(scale * ZOOM_STEP);
    const zoomOut = () => zoom(scale / ZOOM_STEP);
    const neighbourButtons =
      views.length > 1
        ? [
            button("Previous picture", "\u2190", () => go(-1), "k"),
            button("Next picture", "\u2192", () => go(1), "j"),
          ]
        : [];
    viewport.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const box = viewport.getBoundingClientRect();
        zoom(
          scale * ZOOM_STEP ** Math.max(-1, Math.min(1, -event.deltaY / 100)),
          event.clientX - box.left,
          event.clientY - box.top,
        );
      },
      { passive: false },
    );
    viewport.addEventListener("pointermove", (event) => {
      // Touch scrolls without this.
      if (event.pointerType === "mouse" && event.buttons === 1)
        viewport.scrollBy(-event.movementX, -event.movementY);
    });
    const attributes = { class: "viewer", "aria-labelledby": "viewer-title" };
    atlas.openDialog(attributes, (closeButton, close) => ({
      content: [
        make(
          "div",
          { class: "dialog-head" },
          title,
          make(
            "div",
            { class: "tools" },
            neighbourButtons,
            button("Zoom out", "\u2212", zoomOut, "-"),
            percent,
            button("Zoom in", "+", zoomIn, "+"),
            button("Fit to the window", "Fit", fit, "0"),
            closeButton,
          ),
        ),
        viewport,
      ],
      keys: {
        "+": zoomIn,
        "=": zoomIn,
        "-": zoomOut,
        0: fit,
        z: close,
        j: () => go(1),
        k: () => go(-1),
        ArrowRight: () => go(1, fittingScale),
        ArrowLeft: () => go(-1, fittingScale),
      },
    }));
    show(current);
  };
}
