// The picture of a channel, loaded when it comes into view.
"use strict";
{
  const { make } = atlas;

  const placeholder = (alt, reason) =>
    alt
      ? make(
          "span",
          { class: "placeholder", role: "img", "aria-label": `${alt}: ${reason}` },
          reason,
        )
      : make("span", { class: "placeholder", "aria-hidden": "true" }, reason);

  atlas.picture = (layer, index, alt = `Picture of ${layer.title(index)}`, loading = "lazy") => {
    if (layer.inactive.has(index)) return placeholder(alt, "inactive");
    const [height, width] = layer.picture_size;
    const image = make("img", { alt, width, height, loading, decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(placeholder(alt, "no picture")), { once: true });
    image.src = layer.pictureOf(index);
    return image;
  };
}
