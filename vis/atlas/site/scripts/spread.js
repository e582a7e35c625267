// A histogram: how strongly each of the photographs excites a channel.
"use strict";
{
  const { make, makeSvg } = atlas;
  const HEIGHT = 40;

  atlas.spread = ({ low, high, counts }) => {
    const most = Math.max(...counts, 1);
    const bars = counts.map((count, at) => {
      // A single photograph is still seen beside thousands.
      const height = count && Math.max(1, (count / most) * HEIGHT);
      return makeSvg("rect", { x: at + 0.06, y: HEIGHT - height, width: 0.88, height });
    });
    const peak = counts.indexOf(Math.max(...counts));
    const edge = (at) => atlas.number(low + ((high - low) * at) / counts.length);
    const said = `From ${atlas.number(low)} to ${atlas.number(high)}; most photographs between ${edge(peak)} and ${edge(peak + 1)}.`;
    const zero = low < 0 && high > 0 && (counts.length * -low) / (high - low);
    return make(
      "figure",
      { class: "spread" },
      makeSvg(
        "svg",
        {
          viewBox: `0 0 ${counts.length} ${HEIGHT}`,
          preserveAspectRatio: "none",
          role: "img",
          "aria-label": `How strongly it is excited. ${said}`,
        },
        bars,
        zero ? makeSvg("line", { x1: zero, x2: zero, y1: 0, y2: HEIGHT }) : null,
      ),
      make(
        "div",
        { class: "ends", "aria-hidden": "true" },
        make("span", {}, atlas.number(low)),
        make("span", {}, atlas.number(high)),
      ),
      make("figcaption", {}, said),
    );
  };
}
