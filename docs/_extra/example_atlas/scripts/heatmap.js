// Heat maps of a channel's activation over an image.
"use strict";
{
  const { make } = atlas;
  // Matplotlib's perceptually uniform "inferno" (CC0) at nine points.
  const COLORMAP = [
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
  const OPACITY = 0.8; // Of the highest value. The lowest is transparent.

  const color = (byte) => {
    const position = (byte / 255) * (COLORMAP.length - 1);
    const low = Math.min(Math.floor(position), COLORMAP.length - 2);
    return COLORMAP[low].map(
      (start, channel) => start + (position - low) * (COLORMAP[low + 1][channel] - start),
    );
  };

  const paint = (canvas, bytes) => {
    const pixels = new ImageData(canvas.width, canvas.height);
    bytes.forEach((byte, i) => pixels.data.set([...color(byte), byte * OPACITY], 4 * i));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };

  // A canvas with one pixel for each value, which CSS stretches over the image.
  atlas.heatmap = ({ rows, columns, values }) => {
    const canvas = make("canvas", {
      class: "heatmap",
      width: columns,
      height: rows,
      "aria-hidden": "true",
    });
    const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
    return paint(canvas, bytes.subarray(0, rows * columns));
  };

  atlas.heatmapLegend = () => {
    const canvas = make("canvas", {
      class: "colormap",
      width: 64,
      height: 1,
      "aria-hidden": "true",
    });
    const bytes = Array.from({ length: 64 }, (_, i) => Math.round((i * 255) / 63));
    return make("span", { class: "legend" }, "weak ", paint(canvas, bytes), " strong");
  };

  let visible = true;
  // A button that shows or hides all heat maps.
  atlas.heatmapButton = () => {
    const button = make(
      "button",
      { type: "button", "aria-keyshortcuts": "h" },
      "Heat maps ",
      make("kbd", {}, "h"),
    );
    const update = () => {
      document.documentElement.classList.toggle("hide-heatmaps", !visible);
      button.setAttribute("aria-pressed", String(visible));
    };
    const toggle = () => {
      visible = !visible;
      update();
    };
    button.addEventListener("click", toggle);
    update();
    return { button, toggle };
  };
}
