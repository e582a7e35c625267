// The top-activating images of a channel: crops, and a viewer for the whole images.
"use strict";
{
  const { make, style } = atlas;
  const SMOOTH_SIZE = 48; // Pixels. Smaller crops are shown with visible pixels.

  const percent = (part, whole) => `${(100 * part) / whole}%`;
  const rectangle = ([top, left, bottom, right]) => ({
    top,
    left,
    height: Math.max(1, bottom - top),
    width: Math.max(1, right - left),
  });

  const imageElement = ({ file, width, height }, alt, loading) =>
    make("img", { src: `images/${file}`, width, height, alt, loading, decoding: "async" });

  const covers = ({ top, left, height, width }, info) =>
    top === 0 && left === 0 && height >= info.height && width >= info.width;
  const hasValues = (heatmap) => heatmap.rows * heatmap.columns > 1;

  // The image is scaled and moved behind a frame that cuts off all but the box.
  const crop = (info, { box, heatmap }) => {
    const { top, left, height, width } = rectangle(box);
    const alt = covers(rectangle(box), info) ? info.name : `Crop of ${info.name}`;
    const image = style(imageElement(info, alt, "lazy"), {
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
      hasValues(heatmap) && atlas.heatmap(heatmap),
    );
    style(frame, { width: percent(width, longer), height: percent(height, longer) });
    return make("span", { class: "crop" }, frame);
  };

  const wholeImage = (info, { box, heatmap }) => {
    const { top, left, height, width } = rectangle(box);
    const isWhole = covers(rectangle(box), info);
    const marker = make(
      "span",
      { class: isWhole ? "box whole" : "box" },
      hasValues(heatmap) && atlas.heatmap(heatmap),
    );
    style(marker, {
      top: percent(top, info.height),
      left: percent(left, info.width),
      width: percent(width, info.width),
      height: percent(height, info.height),
    });
    const alt = isWhole ? info.name : `${info.name}, with the receptive field marked`;
    return [imageElement(info, alt, "eager"), marker];
  };

  // The true label and, if it is another one, the predicted one.
  const labelText = ({ label, predicted }) =>
    [label, predicted !== label && predicted !== null && `predicted: ${predicted}`]
      .filter(Boolean)
      .join(", ");
  const labels = (info) => {
    const isWrong = info.label !== null && info.predicted !== null && info.label !== info.predicted;
    const text = labelText(info);
    return text && make("span", { class: isWrong ? "label wrong" : "label" }, text);
  };

  // What the images show: whether they are crops, and whether they have heat maps.
  atlas.describeTopImages = (entries, images) => ({
    areCrops: entries.some(({ image, box }) => !covers(rectangle(box), images[image])),
    haveHeatmaps: entries.some(({ heatmap }) => hasValues(heatmap)),
  });

  atlas.topImages = (entries, images) => {
    const views = entries.map((entry) => {
      const info = images[entry.image];
      return {
        title: [info.name, labelText(info), atlas.number(entry.value)].filter(Boolean).join(" \u00b7 "),
        width: info.width,
        height: info.height,
        show: () => wholeImage(info, entry),
      };
    });
    return make(
      "ol",
      { class: "crops" },
      entries.map((entry, rank) =>
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              class: "tile",
              title: images[entry.image].name,
              click: () => atlas.openViewer(views, rank),
            },
            crop(images[entry.image], entry),
            labels(images[entry.image]),
            make("span", { class: "value" }, atlas.number(entry.value)),
          ),
        ),
      ),
    );
  };
}
