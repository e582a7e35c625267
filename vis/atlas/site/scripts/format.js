// Formats numbers and facts about layers as text.
"use strict";
{
  const digits = { maximumSignificantDigits: 3 };
  const plain = new Intl.NumberFormat("en", digits);
  const scientific = new Intl.NumberFormat("en", { ...digits, notation: "scientific" });

  // Three digits, with a minus sign as wide as a plus sign.
  atlas.number = (value) => {
    if (!Number.isFinite(value)) return "not a number";
    const size = Math.abs(value);
    const format = size !== 0 && (size < 1e-3 || size >= 1e5) ? scientific : plain;
    return format.format(value).replaceAll("-", "\u2212");
  };

  atlas.count = (number, singular, plural = `${singular}s`) =>
    `${number.toLocaleString("en")} ${number === 1 ? singular : plural}`;

  const times = (sizes) => sizes.map((size) => size ?? "?").join(" \u00d7 ");

  atlas.facts = (layer) =>
    [
      layer.class_name,
      layer.output_shape?.length > 1 && times(layer.output_shape),
      layer.receptive_field && `receptive field ${times(layer.receptive_field)} px`,
    ].filter(Boolean);

  // Facts in a line, which breaks only between them.
  atlas.factList = (facts) =>
    atlas.make(
      "p",
      { class: "facts fact-list" },
      facts.map((fact) => atlas.make("span", {}, fact, " ")),
    );

  // The number of channels, and how many of them are in the atlas.
  atlas.filterCount = (layer) => {
    const total = atlas.count(
      layer.filter_count,
      ...(layer.is_classes ? ["class", "classes"] : ["channel"]),
    );
    return layer.filters.length === layer.filter_count
      ? total
      : `${layer.filters.length.toLocaleString("en")} of ${total}`;
  };
}
