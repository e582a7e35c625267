// A layer: all of its channels that were drawn, as a grid whose pictures can be made larger.
"use strict";
{
  const { make } = atlas;
  const SIZES = [72, 96, 128, 176, 240];
  const GAP = 18;
  const CAPTION = 24;
  // Three in a row on a telephone.
  const usual = matchMedia("(max-width: 40rem)").matches ? 96 : 128;
  let size = SIZES.indexOf(Number(atlas.remembered("tile")));
  if (size < 0) size = SIZES.indexOf(usual);

  const tile = (layer, index) => {
    const title = layer.title(index);
    return make(
      "li",
      {},
      make(
        "a",
        { href: layer.addressOf(index), class: "tile" },
        atlas.picture(layer, index, title),
        make("span", { class: "name", "aria-hidden": "true" }, layer.label(index) ?? String(index)),
      ),
    );
  };

  const sized = (layer) => {
    const tall = layer.size[0] / layer.size[1];
    const list = make("ul", { class: layer.labels ? "grid labelled" : "grid" });
    const rows = atlas.rows(
      list,
      layer.drawn.length,
      (rank) => tile(layer, layer.drawn[rank]),
      tall,
      () => ({ tile: SIZES[size], gap: GAP, below: CAPTION }),
    );
    const resize = (step) => {
      size = Math.min(SIZES.length - 1, Math.max(0, size + step));
      atlas.remember("tile", SIZES[size]);
      rows.layout();
    };
    const button = (text, label, step) =>
      make("button", { type: "button", "aria-label": label, click: () => resize(step) }, text);
    const buttons = make(
      "div",
      { class: "sizes", role: "group", "aria-label": "Size of the pictures" },
      button("\u2212", "Smaller pictures", -1),
      button("+", "Larger pictures", 1),
    );
    return { list, buttons, resize, rows };
  };

  const neighbours = (network, layer) => {
    const link = (step, text) => {
      const other = network.layers[layer.position + step];
      return (
        other &&
        make(
          "a",
          {
            href: other.address,
            rel: step < 0 ? "prev" : "next",
            "aria-label": `${text} layer: ${other.name}`,
          },
          step < 0 ? "\u2190 " : "",
          make("span", { class: "name" }, other.name),
          step > 0 ? " \u2192" : "",
        )
      );
    };
    return make(
      "nav",
      { class: "neighbours", "aria-label": "Layers" },
      link(-1, "Previous"),
      link(1, "Next"),
    );
  };

  atlas.grid = (network, layer) => {
    const head = [
      make(
        "nav",
        { class: "trail", "aria-label": "Where you are" },
        make("a", { href: "#/" }, "Map"),
      ),
      make("h1", { class: "name" }, layer.name),
      atlas.factsOf([...atlas.facts(layer), atlas.extent(layer)]),
    ];
    const page = { title: [layer.key], up: "#/" };
    if (layer.failed !== null || layer.drawn.length === 0) {
      const why =
        layer.failed === null
          ? "No channel of this layer was drawn."
          : `This layer could not be drawn: ${layer.failed}`;
      return {
        ...page,
        content: [...head, make("p", { class: "note" }, why), neighbours(network, layer)],
      };
    }
    const { list, buttons, resize, rows } = sized(layer);
    return {
      ...page,
      steps: {
        ...rows,
        many: layer.drawn.length,
        rank: (address) => layer.drawn.findIndex((index) => layer.addressOf(index) === address),
        show: (rank) => rows.show(rank).querySelector("a"),
      },
      attached: rows.layout,
      content: [
        make("div", { class: "head" }, make("div", {}, head), buttons),
        list,
        neighbours(network, layer),
      ],
      keys: { "+": () => resize(1), "=": () => resize(1), "-": () => resize(-1) },
    };
  };
}
