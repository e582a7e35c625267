// Numbers and facts in words.
"use strict";
{
  const digits = { maximumSignificantDigits: 3 };
  const plain = new Intl.NumberFormat("en", digits);
  const scientific = new Intl.NumberFormat("en", { ...digits, notation: "scientific" });

  // Three digits, with a minus that is as wide as a plus.
  atlas.number = (value) => {
    if (!Number.isFinite(value)) return "not a number";
    const size = Math.abs(value);
    const format = size !== 0 && (size < 1e-3 || size >= 1e5) ? scientific : plain;
    return format.format(value).replaceAll("-", "\u2212");
  };

  atlas.count = (number, one, many = `${one}s`) =>
    `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

  atlas.times = (sizes) => sizes.map((size) => size ?? "?").join(" \u00d7 ");

  // What is known of a layer, in the words of its line on the map and of its page.
  atlas.facts = (layer) =>
    [
      layer.kind,
      layer.shape?.length > 1 && atlas.times(layer.shape),
      layer.sees && `sees ${atlas.times(layer.sees)} px`,
    ].filter(Boolean);

  // Facts in a line, which breaks between them alone.
  atlas.factsOf = (facts) =>
    atlas.make(
      "p",
      { class: "facts listed" },
      facts.map((fact) => atlas.make("span", {}, fact, " ")),
    );

  atlas.extent = (layer) => {
    const all = atlas.count(
      layer.channels,
      ...(layer.is_classes ? ["class", "classes"] : ["channel"]),
    );
    return layer.drawn.length === layer.channels
      ? all
      : `${layer.drawn.length.toLocaleString("en")} of ${all}`;
  };
}
