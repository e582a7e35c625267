// A list of links to channels, with bars for their values.
"use strict";
{
  const { make, style } = atlas;

  atlas.links = (network, links) => {
    const sizes = links.map(([, , value]) => Math.abs(value)).filter(Number.isFinite);
    const largest = Math.max(...sizes, Number.MIN_VALUE);
    const known = links.filter(([position, index]) => network.layers[position]?.has(index));
    return make(
      "ol",
      { class: "links" },
      known.map(([position, index, value]) => {
        const layer = network.layers[position];
        const share = Number.isFinite(value) ? Math.abs(value) / largest : 0;
        const bar = style(make("span", { class: value < 0 ? "bar negative" : "bar" }), {
          "--share": share,
        });
        return make(
          "li",
          {},
          make(
            "a",
            { href: layer.addressOf(index), class: "tile" },
            atlas.picture(layer, index, ""),
            make(
              "span",
              { class: "caption" },
              make("span", { class: "name" }, layer.title(index)),
              make("span", { class: "facts name" }, layer.name),
              make(
                "span",
                { class: "link-value" },
                bar,
                make("span", { class: "value" }, atlas.number(value)),
              ),
            ),
          ),
        );
      }),
    );
  };
}
