// The top-activating images of a channel: crops, and a viewer for the whole images.
"use strict";
{
  const { make, style } = atlas;
  const SMOOTH_SIZE = 48; // Pixels. Smaller crops are shown with visible pixels.

  const file = (number) => `images/${String(number).padStart(5, "0")}.jpg`;
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  const rectangle = ([top, left, bottom, right]) => ({
    top,
    left,
    height: Math.max(1, bottom - top),
    width: Math.max(1, right - left),
  });

  const imageElement = (number, { width, height }, alt, loading) =>
    make("img", { src: file(number), width, height, alt, loading, decoding: "async" });

  // The image is scaled and moved behind a frame that cuts off all but the box.
  const crop = (number, info, box, heatmap, alt) => {
    const { top, left, height, width } = rectangle(box);
    const image = style(imageElement(number, info, alt, "lazy"), {
      width: percent(info.width, width),
      height: percent(info.height, height),
      left: percent(-left, width),
      top: percent(-top, height),
    });
    const longer = Math.max(height, width);
    const frame = make(
      "span",
      { class: longer < SMOOTH_SIZE ? "crop-frame pixelated" : "crop-frame" },
      image,
      heatmap && atlas.heatmap(heatmap),
    );
    style(frame, { width: percent(width, longer), height: percent(height, longer) });
    return make("span", { class: "crop" }, frame);
  };

  const wholeImage = (number, info, box, heatmap) => {
    const { top, left, height, width } = rectangle(box);
    const marker = style(make("span", { class: "box" }, heatmap && atlas.heatmap(heatmap)), {
      top: percent(top, info.height),
      left: percent(left, info.width),
      width: percent(width, info.width),
      height: percent(height, info.height),
    });
    const alt = `${info.name}, with the receptive field marked`;
    return [imageElement(number, info, alt, "eager"), marker];
  };

  atlas.topImages = (entries, images) => {
    const known = entries.filter(({ image }) => images[image]);
    const views = known.map(({ image, value, box, heatmap }) => {
      const info = images[image];
      return {
        title: `${info.name}: ${atlas.number(value)}`,
        width: info.width,
        height: info.height,
        show: () => wholeImage(image, info, box, heatmap),
      };
    });
    return make(
      "ol",
      { class: "crops" },
      known.map(({ image, value, box, heatmap }, rank) =>
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              class: "tile",
              title: images[image].name,
              click: () => atlas.openViewer(views, rank),
            },
            crop(image, images[image], box, heatmap, `Crop of ${images[image].name}, activation`),
            make("span", { class: "value" }, atlas.number(value)),
          ),
        ),
      ),
    );
  };
}
