// The page of a channel or class: its picture, links, top-activating images and histogram.
"use strict";
{
  const { make } = atlas;

  const neighbourLink = (layer, index, step) => {
    const neighbour = layer.neighbour(index, step);
    if (neighbour === undefined) return null;
    const name = make("span", { class: "name" }, layer.label(neighbour) ?? String(neighbour));
    const label = `${step < 0 ? "Previous" : "Next"}: ${layer.title(neighbour)}`;
    return make(
      "a",
      {
        href: layer.addressOf(neighbour),
        rel: step < 0 ? "prev" : "next",
        "aria-label": label,
      },
      step < 0 ? ["\u2190 ", name] : [name, " \u2192"],
    );
  };

  const pictureButton = (layer, index, enlarge) =>
    make(
      "button",
      { type: "button", class: "picture tile", "aria-keyshortcuts": "z", click: enlarge },
      atlas.picture(
        layer,
        index,
        `Picture of ${layer.title(index)} of ${layer.name}; enlarge`,
        "eager",
      ),
    );

  const section = (id, title, hint, ...content) =>
    make(
      "section",
      { class: id, "aria-labelledby": id },
      make("h2", { id }, title),
      hint && make("p", { class: "hint" }, hint),
      content,
    );

  const note = (text) => make("p", { class: "note" }, text);

  const topImages = (network, channel, images, heatmaps) => {
    const id = "top-images";
    const title = "Top-activating images";
    if (!network.images) return section(id, title, null, note("This atlas has no images."));
    if (!channel.top_images.length) {
      const reason =
        channel.histogram === null
          ? "Its activations are not finite."
          : "The activation of this channel is the same in all images.";
      return section(id, title, null, note(reason));
    }
    const { areCrops, haveHeatmaps } = atlas.describeTopImages(channel.top_images, images);
    const shown = [
      areCrops && "cropped to the receptive field",
      haveHeatmaps && "with the activation as a heat map",
    ].filter(Boolean);
    const hint = shown.length ? `Images ${shown.join(", ")}. ` : "";
    const action = areCrops ? "see the whole image" : "enlarge it";
    return section(
      id,
      title,
      `${hint}Select one to ${action}.`,
      haveHeatmaps
        ? make("div", { class: "heatmap-controls" }, heatmaps.button, atlas.heatmapLegend())
        : [],
      atlas.topImages(channel.top_images, images),
    );
  };

  // The sections for which the data of the layer are needed.
  const sections = (network, layer, channel, images, heatmaps) => {
    const links = (id, title, hint, entries, empty) =>
      section(id, title, hint, entries.length ? atlas.links(network, entries) : note(empty));
    return [
      links(
        "excited-by",
        "Excited by",
        "Channels of earlier layers, by gradient times activation.",
        channel.excited_by,
        "This atlas has no earlier layer.",
      ),
      links(
        "excites",
        "Excites",
        "Channels of later layers and classes, by gradient times activation.",
        channel.excites,
        layer.is_classes
          ? "The classes are the output of the network."
          : "This atlas has no later layer.",
      ),
      topImages(network, channel, images, heatmaps),
      channel.histogram &&
        section(
          "activations",
          "Distribution of activations",
          `The maximum activation in each of ${atlas.count(network.images, "image")}.`,
          atlas.histogram(channel.histogram),
        ),
    ];
  };

  atlas.channelPage = (network, layer, index) => {
    const enlarge = () => {
      if (!figure.querySelector("img")) return; // The picture is missing.
      atlas.openViewer([
        {
          title: `${layer.title(index)} of ${layer.name}`,
          width: layer.picture_size[1],
          height: layer.picture_size[0],
          show: () => atlas.picture(layer, index, `Picture of ${layer.title(index)}`, "eager"),
        },
      ]);
    };
    const heatmaps = atlas.heatmapButton();
    const figure = make("div", { class: "figure" }, pictureButton(layer, index, enlarge));
    const body = make("div", { class: "channel" }, figure);

    const fail = (message) => {
      figure.replaceChildren(note(message));
    };
    const fill = ([{ channels }, images]) => {
      const channel =
        channels.find((candidate) => candidate.index === index) ??
        channels[layer.ranks.get(index)];
      if (!channel) return fail("This channel has no data yet.");
      if (layer.inactive.has(index)) {
        fail("This channel is inactive: no image was found that activates it.");
      }
      if (channel.error !== null) fail(`This channel could not be drawn: ${channel.error}`);
      body.append(...sections(network, layer, channel, images, heatmaps).filter(Boolean));
    };
    // The picture appears at once, the rest when the layer's data are loaded.
    const data = Promise.all([atlas.data(`layers/${layer.file}`), atlas.data("images")]);
    const ready = data.then(fill, (error) => {
      body.append(
        note(
          network.finished
            ? `${error.message}. Is the folder complete?`
            : "The data of this layer are not ready yet.",
        ),
      );
    });

    const previous = neighbourLink(layer, index, -1);
    const next = neighbourLink(layer, index, 1);
    return {
      title: [layer.title(index), layer.key],
      up: layer.address,
      previous: previous?.getAttribute("href"),
      next: next?.getAttribute("href"),
      keys: { h: heatmaps.toggle, z: enlarge },
      ready,
      content: [
        make(
          "div",
          { class: "head" },
          make(
            "div",
            {},
            make(
              "nav",
              { class: "breadcrumb", "aria-label": "Breadcrumb" },
              make("a", { href: "#/" }, "Map"),
              " / ",
              make("a", { href: layer.address, class: "name" }, layer.name),
            ),
            make("h1", { class: "name" }, layer.title(index)),
            atlas.factList([
              ...(layer.label(index) === null ? [] : [`Class ${index}`]),
              ...atlas.facts(layer),
            ]),
          ),
          make("nav", { class: "neighbours", "aria-label": "Channels" }, previous, next),
        ),
        body,
      ],
    };
  };
}
