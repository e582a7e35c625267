// The picture of a channel, which is loaded when it comes into view.
"use strict";
{
  const { make } = atlas;

  // In place of what could not be drawn, or is not there yet.
  const absent = (alt) =>
    alt
      ? make(
          "span",
          { class: "absent", role: "img", "aria-label": `${alt}: no picture` },
          "no picture",
        )
      : make("span", { class: "absent", "aria-hidden": "true" }, "no picture");

  atlas.picture = (layer, index, alt = `Picture of ${layer.title(index)}`, loading = "lazy") => {
    const [height, width] = layer.size;
    const image = make("img", { alt, width, height, loading, decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(absent(alt)), { once: true });
    image.src = layer.pictureOf(index);
    return image;
  };
}
