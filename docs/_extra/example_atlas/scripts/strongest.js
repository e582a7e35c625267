// The photographs that excite a channel most: the place where they do, and the whole of each.
"use strict";
{
  const { make, style } = atlas;
  const COARSE = 48; // Pixels; a smaller place is shown as the pixels that it is made of.

  const file = (number) => `photographs/${String(number).padStart(5, "0")}.jpg`;
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  const sides = ([top, left, bottom, right]) => ({
    top,
    left,
    height: Math.max(1, bottom - top),
    width: Math.max(1, right - left),
  });

  const photograph = (number, { width, height }, alt, loading) =>
    make("img", { src: file(number), width, height, alt, loading, decoding: "async" });

  // The place alone, as large as its frame: the photograph behind it is moved and cut off.
  const crop = (number, seen, box, heat, alt) => {
    const { top, left, height, width } = sides(box);
    const image = style(photograph(number, seen, alt, "lazy"), {
      width: percent(seen.width, width),
      height: percent(seen.height, height),
      left: percent(-left, width),
      top: percent(-top, height),
    });
    const longer = Math.max(height, width);
    const inner = make(
      "span",
      { class: longer < COARSE ? "place coarse" : "place" },
      image,
      heat && atlas.heat(heat),
    );
    style(inner, { width: percent(width, longer), height: percent(height, longer) });
    return make("span", { class: "crop" }, inner);
  };

  const whole = (number, seen, box, heat) => {
    const { top, left, height, width } = sides(box);
    const place = style(make("span", { class: "box" }, heat && atlas.heat(heat)), {
      top: percent(top, seen.height),
      left: percent(left, seen.width),
      width: percent(width, seen.width),
      height: percent(height, seen.height),
    });
    return [photograph(number, seen, `${seen.name}, with the place marked`, "eager"), place];
  };

  atlas.strongest = (found, photographs) => {
    const known = found.filter(({ photograph: number }) => photographs[number]);
    const sights = known.map(({ photograph: number, value, box, heat }) => {
      const seen = photographs[number];
      return {
        title: `${seen.name}: ${atlas.number(value)}`,
        width: seen.width,
        height: seen.height,
        show: () => whole(number, seen, box, heat),
      };
    });
    return make(
      "ol",
      { class: "strongest" },
      known.map(({ photograph: number, value, box, heat }, at) => {
        const seen = photographs[number];
        return make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              class: "tile",
              title: seen.name,
              click: () => atlas.look(sights, at),
            },
            crop(number, seen, box, heat, `Place in ${seen.name}, activation`),
            make("span", { class: "value" }, atlas.number(value)),
          ),
        );
      }),
    );
  };
}
