// Heat: where in a photograph a channel is excited, painted over it.
"use strict";
{
  const { make } = atlas;
  // Matplotlib's "inferno" (CC0) at nine places: equal steps of value are equal steps to the eye.
  const RAMP = [
    [0, 0, 4],
    [31, 12, 72],
    [85, 15, 109],
    [136, 34, 106],
    [186, 54, 85],
    [227, 89, 51],
    [249, 140, 10],
    [249, 201, 50],
    [252, 255, 164],
  ];
  const OPACITY = 0.8; // Of the hottest place; the coldest is the photograph itself.

  const colour = (byte) => {
    const at = (byte / 255) * (RAMP.length - 1);
    const low = Math.min(Math.floor(at), RAMP.length - 2);
    return RAMP[low].map((from, channel) => from + (at - low) * (RAMP[low + 1][channel] - from));
  };

  const paint = (canvas, bytes) => {
    const pixels = new ImageData(canvas.width, canvas.height);
    bytes.forEach((byte, at) => pixels.data.set([...colour(byte), byte * OPACITY], 4 * at));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };

  // A canvas of one pixel for each value, which style sheets lay smoothly over its photograph.
  atlas.heat = ({ rows, columns, values }) => {
    const canvas = make("canvas", {
      class: "heat",
      width: columns,
      height: rows,
      "aria-hidden": "true",
    });
    const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
    return paint(canvas, bytes.subarray(0, rows * columns));
  };

  atlas.heatLegend = () => {
    const canvas = make("canvas", { class: "ramp", width: 64, height: 1, "aria-hidden": "true" });
    return make(
      "span",
      { class: "legend" },
      "weak ",
      paint(
        canvas,
        Array.from({ length: 64 }, (_, at) => at * 4),
      ),
      " strong",
    );
  };

  let shown = true;
  // A button that hides the heat of all photographs, and says whether it is seen.
  atlas.heatButton = () => {
    const button = make(
      "button",
      { type: "button", "aria-keyshortcuts": "h" },
      "Heat ",
      make("kbd", {}, "h"),
    );
    const show = () => {
      document.documentElement.classList.toggle("cold", !shown);
      button.setAttribute("aria-pressed", String(shown));
    };
    const toggle = () => {
      shown = !shown;
      show();
    };
    button.addEventListener("click", toggle);
    show();
    return { button, toggle };
  };
}
