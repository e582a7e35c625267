// A picture as large as the window and larger, to move about in; with others beside it to go on to.
"use strict";
{
  const { make, style } = atlas;
  const STEP = 1.25;
  const MOST = 32; // Times the picture's own size.

  // Each of `sights` has a title, a width, a height and `show`, which makes what fills the frame.
  atlas.look = (sights, at = 0) => {
    const stage = make("div", {
      class: "stage-of-view",
      tabindex: "0",
      autofocus: true,
      role: "group",
      "aria-label": "The picture, which arrow keys move",
    });
    const title = make("h2", { class: "name", id: "viewed" });
    const percent = make("output", { "aria-label": "Zoom" });
    let frame, scale, fitting;

    const zoom = (wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) => {
      const { width, height } = sights[at];
      const next = Math.min(Math.max(wanted, fitting / 2), MOST);
      // What is under the pointer stays there.
      const [left, top] = [stage.scrollLeft + x, stage.scrollTop + y].map(
        (place) => (place * next) / (scale ?? next),
      );
      scale = next;
      style(frame, { width: `${width * scale}px`, height: `${height * scale}px` });
      stage.scrollTo(left - x, top - y);
      percent.textContent = `${Math.round(scale * 100)} %`;
    };
    const fit = () => {
      const { width, height } = sights[at];
      const room = Math.min(stage.clientWidth / width, stage.clientHeight / height);
      fitting = Math.min(room * 0.94, MOST);
      zoom(fitting);
    };
    const show = (which) => {
      at = (which + sights.length) % sights.length;
      title.textContent = sights[at].title;
      frame = make("div", { class: "frame" }, sights[at].show());
      stage.replaceChildren(frame);
      scale = undefined;
      fit();
    };

    // To another picture, unless there is none, or these keys move about in a larger one.
    const go = (step, most = Infinity) =>
      sights.length > 1 && scale <= most ? show(at + step) : false;

    const button = (label, text, click, key) =>
      make(
        "button",
        { type: "button", "aria-label": label, "aria-keyshortcuts": key, click },
        text,
      );
    const larger = () => zoom(scale * STEP);
    const smaller = () => zoom(scale / STEP);
    const others =
      sights.length > 1
        ? [
            button("Previous picture", "\u2190", () => go(-1), "k"),
            button("Next picture", "\u2192", () => go(1), "j"),
          ]
        : [];
    stage.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const box = stage.getBoundingClientRect();
        zoom(
          scale * STEP ** Math.max(-1, Math.min(1, -event.deltaY / 100)),
          event.clientX - box.left,
          event.clientY - box.top,
        );
      },
      { passive: false },
    );
    stage.addEventListener("pointermove", (event) => {
      // Fingers scroll by themselves.
      if (event.pointerType === "mouse" && event.buttons === 1)
        stage.scrollBy(-event.movementX, -event.movementY);
    });
    atlas.open({ class: "viewer", "aria-labelledby": "viewed" }, (closing, close) => ({
      content: [
        make(
          "div",
          { class: "dialog-head" },
          title,
          make(
            "div",
            { class: "tools" },
            others,
            button("Smaller", "\u2212", smaller, "-"),
            percent,
            button("Larger", "+", larger, "+"),
            button("Fit to the window", "Fit", fit, "0"),
            closing,
          ),
        ),
        stage,
      ],
      keys: {
        "+": larger,
        "=": larger,
        "-": smaller,
        0: fit,
        z: close,
        j: () => go(1),
        k: () => go(-1),
        ArrowRight: () => go(1, fitting),
        ArrowLeft: () => go(-1, fitting),
      },
    }));
    show(at);
  };
}
