// The picture of a channel, loaded when it comes into view.
"use strict";
{
  const { make } = atlas;

  const placeholder = (alt) =>
    alt
      ? make(
          "span",
          { class: "placeholder", role: "img", "aria-label": `${alt}: no picture` },
          "no picture",
        )
      : make("span", { class: "placeholder", "aria-hidden": "true" }, "no picture");

  atlas.picture = (layer, index, alt = `Picture of ${layer.title(index)}`, loading = "lazy") => {
    const [height, width] = layer.picture_size;
    const image = make("img", { alt, width, height, loading, decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(placeholder(alt)), { once: true });
    image.src = layer.pictureOf(index);
    return image;
  };
}
