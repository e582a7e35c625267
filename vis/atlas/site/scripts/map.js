// The map: the layers from the image to the classes, and which comes before which.
"use strict";
{
  const { make, makeSvg } = atlas;
  const SAMPLE = 8; // Pictures of a layer; style sheets show fewer where there is less room.

  const sample = (all) => {
    const many = Math.min(SAMPLE, all.length);
    return Array.from({ length: many }, (_, at) => all[Math.floor((at * all.length) / many)]);
  };

  // The lines through one row, which stretch with it.
  const lines = ({ lane, lines }, width) => {
    const middle = (at) => at + 0.5;
    const paths = lines.map(([top, bottom]) => {
      if (top !== null && bottom !== null) return `M${middle(top)} 0V2`;
      if (top === null) {
        return `M${middle(lane)} 1C${middle(lane)} 1.6 ${middle(bottom)} 1.4 ${middle(bottom)} 2`;
      }
      return `M${middle(top)} 0C${middle(top)} .6 ${middle(lane)} .4 ${middle(lane)} 1`;
    });
    return makeSvg(
      "svg",
      { viewBox: `0 0 ${width} 2`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      [...new Set(paths)].map((d) => makeSvg("path", { d })),
    );
  };

  const track = (row, width, kind) =>
    make(
      "div",
      { class: "track" },
      lines(row, width),
      atlas.style(make("span", { class: `stop ${kind}` }), { "--at": row.lane }),
    );

  // Which layers come before, in words, where it is not simply the row above.
  const origin = (layer, layers) => {
    const { before, position } = layer;
    if (before.length === 1 && before[0] === position - 1) return null;
    if (before.length === 0) return position === 0 ? null : make("p", { class: "facts" }, "from the image");
    const names = before.map((at) =>
      make("a", { href: layers[at].address, class: "name" }, layers[at].name),
    );
    const joined = names.flatMap((name, at) => (at ? [at === names.length - 1 ? " and " : ", ", name] : [name]));
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

  const row = (layer, place, width, layers) => {
    const kind = layer.failed !== null ? "broken" : layer.is_classes ? "classes" : "";
    return make(
      "li",
      { class: `stage ${kind}` },
      track(place, width, kind),
      make(
        "div",
        { class: "what" },
        make("h3", {}, make("a", { href: layer.address, class: "name", "data-step": true }, layer.name)),
        make("p", { class: "facts" }, atlas.facts(layer).join(" \u00b7 ")),
        make("p", { class: "facts" }, atlas.extent(layer)),
        origin(layer, layers),
      ),
      layer.failed !== null
        ? make("p", { class: "note" }, `Could not be drawn: ${layer.failed}`)
        : make("ul", { class: "strip", "aria-label": `Some of ${layer.name}` }, sample(layer.drawn).map((index) => tile(layer, index))),
    );
  };

  const about = (network) => {
    const said = [["Model", network.model], ["Made with", network.made_with], ...Object.entries(network.settings)];
    return make(
      "section",
      { class: "about", "aria-labelledby": "about" },
      make("h2", { id: "about" }, "About this atlas"),
      make("dl", {}, said.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", { class: "name" }, String(text))))),
    );
  };

  atlas.map = (network) => {
    const { layers } = network;
    // The image is the first row; layers with none before them come right behind it.
    const before = [[], ...layers.map((layer) => (layer.before.length ? layer.before.map((at) => at + 1) : [0]))];
    const { rows, width } = atlas.lanes(before);
    const drawn = layers.reduce((sum, layer) => sum + layer.drawn.length, 0);
    const numbers = [atlas.count(layers.length, "layer"), atlas.count(drawn, "picture")];
    if (network.photographs) numbers.push(atlas.count(network.photographs, "photograph"));
    const list = make(
      "ol",
      { class: "map" },
      make("li", { class: "stage start" }, track(rows[0], width, "start"), make("p", { class: "facts" }, "The image comes in here")),
      layers.map((layer, at) => row(layer, rows[at + 1], width, layers)),
    );
    return {
      title: [],
      up: null,
      content: [
        make("h1", { class: "name" }, network.model),
        make("p", { class: "lead" },
          "Each picture is drawn so that one channel of the network answers to it as strongly as it can. ",
          "Follow the layers from the image down to the classes, and choose a picture to see what excites its channel and what the channel speaks to."),
        make("p", { class: "facts" }, numbers.join(" \u00b7 ")),
        make("section", { "aria-labelledby": "layers" }, make("h2", { id: "layers", class: "unseen" }, "Layers"), atlas.style(list, { "--lanes": width })),
        about(network),
      ],
    };
  };
}
