// A channel or a class: its picture, what excites it and what it speaks to.
"use strict";
{
  const { make } = atlas;

  const beside = (layer, index, step) => {
    const other = layer.neighbour(index, step);
    if (other === undefined) return null;
    const text = make("span", { class: "name" }, layer.label(other) ?? String(other));
    const label = `${step < 0 ? "Previous" : "Next"}: ${layer.title(other)}`;
    return make(
      "a",
      { href: layer.addressOf(other), rel: step < 0 ? "prev" : "next", "aria-label": label },
      step < 0 ? ["\u2190 ", text] : [text, " \u2192"],
    );
  };

  const portrait = (layer, index, look) =>
    make(
      "button",
      { type: "button", class: "portrait tile", "aria-keyshortcuts": "z", click: look },
      atlas.picture(
        layer,
        index,
        `Picture of ${layer.title(index)} of ${layer.name}; makes it larger`,
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

  const photographs = (network, channel, seen, heat) => {
    if (!network.photographs) {
      return section(
        "photographs",
        "In photographs",
        null,
        make("p", { class: "note" }, "This atlas was made without photographs."),
      );
    }
    const title = "Photographs that excite it most";
    if (!channel.strongest.length) {
      return section(
        "photographs",
        title,
        null,
        make(
          "p",
          { class: "note" },
          channel.spread === null
            ? "It has no finite numbers for these photographs."
            : "None of the photographs excites it.",
        ),
      );
    }
    return section(
      "photographs",
      title,
      "Cropped to what the channel sees there, with its activation. Choose one to see the whole.",
      make("div", { class: "heating" }, heat.button, atlas.heatLegend()),
      atlas.strongest(channel.strongest, seen),
    );
  };

  // What its layer's file tells of a channel.
  const told = (network, layer, channel, seen, heat) => {
    const links = (id, title, hint, found, nothing) =>
      section(
        id,
        title,
        hint,
        found.length ? atlas.links(network, found) : make("p", { class: "note" }, nothing),
      );
    return [
      links(
        "excited",
        "Excited by",
        "Channels before it, by gradient times activation.",
        channel.excited_by,
        "Nothing in this atlas comes before it.",
      ),
      links(
        "speaks",
        "Speaks to",
        "Channels and classes behind it, by gradient times activation.",
        channel.speaks_to,
        layer.is_classes
          ? "A class is what the network answers: nothing comes behind it."
          : "Nothing in this atlas comes behind it.",
      ),
      photographs(network, channel, seen, heat),
      channel.spread &&
        section(
          "spreads",
          "How it is spread",
          `The strongest activation in each of ${atlas.count(network.photographs, "photograph")}.`,
          atlas.spread(channel.spread),
        ),
    ];
  };

  atlas.channel = (network, layer, index) => {
    const look = () => {
      if (!figure.querySelector("img")) return; // There is no picture.
      atlas.look([
        {
          title: `${layer.title(index)} of ${layer.name}`,
          width: layer.size[1],
          height: layer.size[0],
          show: () => atlas.picture(layer, index, `Picture of ${layer.title(index)}`, "eager"),
        },
      ]);
    };
    const heat = atlas.heatButton();
    const figure = make("div", { class: "figure" }, portrait(layer, index, look));
    const body = make("div", { class: "walk" }, figure);
    const key = `layers/${layer.file}`;

    const failed = (why) => {
      figure.replaceChildren(make("p", { class: "note" }, why));
    };
    const fill = ({ channels, photographs: seen }) => {
      const channel =
        channels.find((one) => one.index === index) ?? channels[layer.ranks.get(index)];
      if (!channel) return failed("Nothing is told of this channel yet.");
      if (channel.failed !== null) failed(`This channel could not be drawn: ${channel.failed}`);
      body.append(...told(network, layer, channel, seen, heat).filter(Boolean));
    };
    // The picture is there at once; what is told of it comes with the layer's file.
    const ready = atlas.data(key).then(fill, (error) => {
      body.append(
        make(
          "p",
          { class: "note" },
          network.finished
            ? `${error.message}. Is the folder whole?`
            : "What is told of this layer is still being drawn.",
        ),
      );
    });

    const previous = beside(layer, index, -1);
    const next = beside(layer, index, 1);
    return {
      title: [layer.title(index), layer.key],
      up: layer.address,
      previous: previous?.getAttribute("href"),
      next: next?.getAttribute("href"),
      keys: { h: heat.toggle, z: look },
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
              { class: "trail", "aria-label": "Where you are" },
              make("a", { href: "#/" }, "Map"),
              " / ",
              make("a", { href: layer.address, class: "name" }, layer.name),
            ),
            make("h1", { class: "name" }, layer.title(index)),
            atlas.factsOf([
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
