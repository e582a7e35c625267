// A histogram of a channel's maximum activations in the images.
"use strict";
{
  const { make, makeSvg } = atlas;
  const HEIGHT = 40;

  atlas.histogram = ({ low, high, counts }) => {
    const highest = Math.max(...counts, 1);
    const bars = counts.map((count, bin) => {
      // A single image stays visible beside thousands.
      const height = count && Math.max(1, (count / highest) * HEIGHT);
      return makeSvg("rect", { x: bin + 0.06, y: HEIGHT - height, width: 0.88, height });
    });
    const peak = counts.indexOf(Math.max(...counts));
    const edge = (bin) => atlas.number(low + ((high - low) * bin) / counts.length);
    const summary = `From ${atlas.number(low)} to ${atlas.number(high)}; most images between ${edge(peak)} and ${edge(peak + 1)}.`;
    const zero = low < 0 && high > 0 && (counts.length * -low) / (high - low);
    return make(
      "figure",
      { class: "histogram" },
      makeSvg(
        "svg",
        {
          viewBox: `0 0 ${counts.length} ${HEIGHT}`,
          preserveAspectRatio: "none",
          role: "img",
          "aria-label": `Histogram of activations. ${summary}`,
        },
        bars,
        zero ? makeSvg("line", { x1: zero, x2: zero, y1: 0, y2: HEIGHT }) : null,
      ),
      make(
        "div",
        { class: "axis", "aria-hidden": "true" },
        make("span", {}, atlas.number(low)),
        make("span", {}, atlas.number(high)),
      ),
      make("figcaption", {}, summary),
    );
  };
}
