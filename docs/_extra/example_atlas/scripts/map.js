// The map: all layers from the image to the classes, and their connections.
"use strict";
{
  const { make, makeSvg } = atlas;
  const SAMPLE = 8; // Pictures of a layer. Narrow windows show fewer.

  const sample = (items) => {
    const count = Math.min(SAMPLE, items.length);
    return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)]);
  };

  // Half of a row: lines from lanes at its edge to lanes at the height of its node.
  const half = (side, ends, width) => {
    const x = (lane) => lane + 0.5;
    const paths = ends.map(
      ([edge, inside]) => `M${x(edge)} 0C${x(edge)} .6 ${x(inside)} .4 ${x(inside)} 1`,
    );
    return makeSvg(
      "svg",
      {
        class: side,
        viewBox: `0 0 ${width} 1`,
        preserveAspectRatio: "none",
        "aria-hidden": "true",
        focusable: "false",
      },
      [...new Set(paths)].map((d) => makeSvg("path", { d })),
    );
  };

  const lanes = ({ lane, lines }, width, kind) => {
    const above = lines
      .filter(([top]) => top !== null)
      .map(([top, bottom]) => [top, bottom ?? lane]);
    const below = lines
      .filter(([, bottom]) => bottom !== null)
      .map(([top, bottom]) => [bottom, top ?? lane]);
    const node = atlas.style(make("span", { class: `node ${kind}` }), { "--at": lane });
    return make(
      "div",
      { class: "lanes" },
      half("above", above, width),
      half("below", below, width),
      node,
    );
  };

  // The predecessors as text, unless that is just the row above.
  const predecessorText = (layer, layers) => {
    const { predecessors, position } = layer;
    if (predecessors.length === 1 && predecessors[0] === position - 1) return null;
    if (predecessors.length === 0)
      return position === 0 ? null : make("p", { class: "facts" }, "from the image");
    const names = predecessors.map((i) =>
      make("a", { href: layers[i].address, class: "name" }, layers[i].name),
    );
    const joined = names.flatMap((name, i) =>
      i ? [i === names.length - 1 ? " and " : ", ", name] : [name],
    );
    return make("p", { class: "facts" }, "from ", joined);
  };

  const tile = (layer, index) =>
    make(
      "li",
      {},
      make(
        "a",
        { href: layer.addressOf(index), class: "tile" },
        atlas.picture(layer, index, `${layer.title(index)} of ${layer.name}`),
        layer.labels && make("span", { class: "name", "aria-hidden": "true" }, layer.title(index)),
      ),
    );

  const layerRow = (layer, row, width, layers) => {
    const kind = layer.error !== null ? "failed" : layer.is_classes ? "classes" : "";
    return make(
      "li",
      { class: `layer ${kind}` },
      lanes(row, width, kind),
      make(
        "div",
        { class: "description" },
        make("h3", {}, make("a", { href: layer.address, class: "name" }, layer.name)),
        atlas.factList([...atlas.facts(layer), atlas.filterCount(layer)]),
        predecessorText(layer, layers),
        layer.error === null && layer.warning !== null
          ? make("p", { class: "note" }, `Incomplete: ${layer.warning}`)
          : null,
      ),
      layer.error !== null
        ? make("p", { class: "note" }, `This layer could not be drawn: ${layer.error}`)
        : make(
            "ul",
            { class: "strip", "aria-label": `Channels of ${layer.name}` },
            sample(layer.active).map((index) => tile(layer, index)),
          ),
    );
  };

  const about = (network) => {
    const entries = [
      ["Model", network.model],
      ["Made with", network.made_with],
      ...Object.entries(network.settings),
    ];
    return make(
      "section",
      { class: "about", "aria-labelledby": "about" },
      make("h2", { id: "about" }, "About this atlas"),
      make(
        "dl",
        {},
        entries.map(([term, text]) =>
          make("div", {}, make("dt", {}, term), make("dd", { class: "name" }, String(text))),
        ),
      ),
    );
  };

  // What the keyboard and the router need to focus a layer.
  const items = (links, layers) => ({
    count: links.length,
    columns: () => 1,
    focused: () =>
      links.includes(document.activeElement) ? links.indexOf(document.activeElement) : null,
    firstInView: () =>
      Math.max(
        0,
        links.findIndex((link) => link.getBoundingClientRect().top >= 0),
      ),
    rank: (address) =>
      layers.findIndex(
        (layer) => address === layer.address || address.startsWith(`${layer.address}/`),
      ),
    show: (rank) => links[rank],
  });

  atlas.mapPage = (network) => {
    const { layers } = network;
    // The image is row 0, and the predecessor of layers without another.
    const predecessors = [
      [],
      ...layers.map((layer) =>
        layer.predecessors.length ? layer.predecessors.map((i) => i + 1) : [0],
      ),
    ];
    const { rows, width } = atlas.lanes(predecessors);
    const pictures = layers.reduce((sum, layer) => sum + layer.filters.length, 0);
    const counts = [atlas.count(layers.length, "layer"), atlas.count(pictures, "picture")];
    if (network.images) counts.push(atlas.count(network.images, "dataset image"));
    const list = make(
      "ol",
      { class: "map" },
      make(
        "li",
        { class: "layer start" },
        lanes(rows[0], width, "start"),
        make("p", { class: "facts" }, "Input image"),
      ),
      layers.map((layer, i) => layerRow(layer, rows[i + 1], width, layers)),
    );
    return {
      title: [],
      up: null,
      items: items([...list.querySelectorAll("h3 a")], layers),
      content: [
        make("h1", { class: "name" }, network.title),
        make(
          "p",
          { class: "lead" },
          "Each picture is optimized to activate one channel of the network. The layers are in ",
          "order from the input image to the classes. Select a picture to see which channels ",
          "excite its channel, and which ones it excites.",
        ),
        atlas.factList(counts),
        make(
          "section",
          { "aria-labelledby": "layers" },
          make("h2", { id: "layers", class: "visually-hidden" }, "Layers"),
          atlas.style(list, { "--lanes": width }),
        ),
        about(network),
      ],
    };
  };
}
