// The map: the layers from the image to the classes, and which comes before which.
"use strict";
{
  const { make, makeSvg } = atlas;
  const SAMPLE = 8; // Pictures of a layer; style sheets show fewer where there is less room.

  const sample = (all) => {
    const many = Math.min(SAMPLE, all.length);
    return Array.from({ length: many }, (_, at) => all[Math.floor((at * all.length) / many)]);
  };

  // A half of a row: lines between its edge, where they are in lanes, and the height of its node.
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

  const track = ({ lane, lines }, width, kind) => {
    const above = lines
      .filter(([top]) => top !== null)
      .map(([top, bottom]) => [top, bottom ?? lane]);
    const below = lines
      .filter(([, bottom]) => bottom !== null)
      .map(([top, bottom]) => [bottom, top ?? lane]);
    const stop = atlas.style(make("span", { class: `stop ${kind}` }), { "--at": lane });
    return make(
      "div",
      { class: "track" },
      half("above", above, width),
      half("below", below, width),
      stop,
    );
  };

  // Which layers come before, in words, where it is not simply the row above.
  const origin = (layer, layers) => {
    const { before, position } = layer;
    if (before.length === 1 && before[0] === position - 1) return null;
    if (before.length === 0)
      return position === 0 ? null : make("p", { class: "facts" }, "from the image");
    const names = before.map((at) =>
      make("a", { href: layers[at].address, class: "name" }, layers[at].name),
    );
    const joined = names.flatMap((name, at) =>
      at ? [at === names.length - 1 ? " and " : ", ", name] : [name],
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

  const row = (layer, place, width, layers) => {
    const kind = layer.failed !== null ? "broken" : layer.is_classes ? "classes" : "";
    return make(
      "li",
      { class: `stage ${kind}` },
      track(place, width, kind),
      make(
        "div",
        { class: "what" },
        make("h3", {}, make("a", { href: layer.address, class: "name" }, layer.name)),
        atlas.factsOf([...atlas.facts(layer), atlas.extent(layer)]),
        origin(layer, layers),
        layer.failed === null && layer.lacks !== null
          ? make("p", { class: "note" }, `Not whole: ${layer.lacks}`)
          : null,
      ),
      layer.failed !== null
        ? make("p", { class: "note" }, `Could not be drawn: ${layer.failed}`)
        : make(
            "ul",
            { class: "strip", "aria-label": `Some of ${layer.name}` },
            sample(layer.drawn).map((index) => tile(layer, index)),
          ),
    );
  };

  const about = (network) => {
    const said = [
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
        said.map(([term, text]) =>
          make("div", {}, make("dt", {}, term), make("dd", { class: "name" }, String(text))),
        ),
      ),
    );
  };

  atlas.map = (network) => {
    const { layers } = network;
    // The image is the first row; layers with none before them come right behind it.
    const before = [
      [],
      ...layers.map((layer) => (layer.before.length ? layer.before.map((at) => at + 1) : [0])),
    ];
    const { rows, width } = atlas.lanes(before);
    const drawn = layers.reduce((sum, layer) => sum + layer.drawn.length, 0);
    const numbers = [atlas.count(layers.length, "layer"), atlas.count(drawn, "picture")];
    if (network.photographs) numbers.push(atlas.count(network.photographs, "photograph"));
    const list = make(
      "ol",
      { class: "map" },
      make(
        "li",
        { class: "stage start" },
        track(rows[0], width, "start"),
        make("p", { class: "facts" }, "The image comes in here"),
      ),
      layers.map((layer, at) => row(layer, rows[at + 1], width, layers)),
    );
    const links = [...list.querySelectorAll("h3 a")];
    return {
      title: [],
      up: null,
      steps: {
        many: links.length,
        columns: () => 1,
        now: () =>
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
      },
      content: [
        make("h1", { class: "name" }, network.model),
        make(
          "p",
          { class: "lead" },
          "Each picture is drawn so that one channel of the network answers to it as strongly ",
          "as it can. Follow the layers from the image down to the classes, and choose a picture ",
          "to see what excites its channel and what the channel speaks to.",
        ),
        atlas.factsOf(numbers),
        make(
          "section",
          { "aria-labelledby": "layers" },
          make("h2", { id: "layers", class: "unseen" }, "Layers"),
          atlas.style(list, { "--lanes": width }),
        ),
        about(network),
      ],
    };
  };
}
