// The page of a layer: a grid of its channels, with pictures of adjustable size.
"use strict";
{
  const { make } = atlas;
  const SIZES = [72, 96, 128, 176, 240];
  const GAP = 18;
  const CAPTION = 24;
  // Three in a row on a phone.
  const defaultSize = matchMedia("(max-width: 40rem)").matches ? 96 : 128;
  let size = SIZES.indexOf(Number(atlas.remembered("tile")));
  if (size < 0) size = SIZES.indexOf(defaultSize);

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

  const resizableGrid = (layer) => {
    const aspect = layer.picture_size[0] / layer.picture_size[1];
    const list = make("ul", { class: layer.labels ? "grid labelled" : "grid" });
    const grid = atlas.virtualGrid(
      list,
      layer.filters.length,
      (rank) => tile(layer, layer.filters[rank]),
      aspect,
      () => ({ tile: SIZES[size], gap: GAP, caption: CAPTION }),
    );
    const resize = (step) => {
      size = Math.min(SIZES.length - 1, Math.max(0, size + step));
      atlas.remember("tile", SIZES[size]);
      grid.layout();
    };
    const button = (text, label, step) =>
      make("button", { type: "button", "aria-label": label, click: () => resize(step) }, text);
    const buttons = make(
      "div",
      { class: "sizes", role: "group", "aria-label": "Picture size" },
      button("\u2212", "Smaller pictures", -1),
      button("+", "Larger pictures", 1),
    );
    return { list, buttons, resize, grid };
  };

  const neighbours = (network, layer) => {
    const link = (step, text) => {
      const neighbour = network.layers[layer.position + step];
      return (
        neighbour &&
        make(
          "a",
          {
            href: neighbour.address,
            rel: step < 0 ? "prev" : "next",
            "aria-label": `${text} layer: ${neighbour.name}`,
          },
          step < 0 ? "\u2190 " : "",
          make("span", { class: "name" }, neighbour.name),
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

  atlas.layerPage = (network, layer) => {
    const head = [
      make(
        "nav",
        { class: "breadcrumb", "aria-label": "Breadcrumb" },
        make("a", { href: "#/" }, "Map"),
      ),
      make("h1", { class: "name" }, layer.name),
      atlas.factList([...atlas.facts(layer), atlas.filterCount(layer)]),
      layer.by_relevance
        ? make("p", { class: "facts" }, "The channels that the classes depend on most.")
        : null,
    ];
    const page = { title: [layer.key], up: "#/" };
    if (layer.error !== null || layer.filters.length === 0) {
      const message =
        layer.error === null
          ? "No channel of this layer was drawn."
          : `This layer could not be drawn: ${layer.error}`;
      return {
        ...page,
        content: [...head, make("p", { class: "note" }, message), neighbours(network, layer)],
      };
    }
    const { list, buttons, resize, grid } = resizableGrid(layer);
    return {
      ...page,
      items: {
        ...grid,
        count: layer.filters.length,
        rank: (address) => layer.filters.findIndex((index) => layer.addressOf(index) === address),
        show: (rank) => grid.show(rank).querySelector("a"),
      },
      attached: grid.layout,
      content: [
        make("div", { class: "head" }, make("div", {}, head.filter(Boolean)), buttons),
        list,
        neighbours(network, layer),
      ],
      keys: { "+": () => resize(1), "=": () => resize(1), "-": () => resize(-1) },
    };
  };
}
