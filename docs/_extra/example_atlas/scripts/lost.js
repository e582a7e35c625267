// A page that is not there, with the way back.
"use strict";
{
  const { make } = atlas;

  atlas.lost = (said, { layer = null, near = [] } = {}) => ({
    title: ["Not here"],
    up: layer?.address ?? "#/",
    content: [
      make("h1", {}, "This page is not in the atlas"),
      make("p", { class: "lead name" }, said),
      near.length
        ? make(
            "p",
            {},
            "Perhaps you mean ",
            near.flatMap((other, at) => [
              at ? " or " : "",
              make("a", { href: other.address, class: "name" }, other.name),
            ]),
            ".",
          )
        : null,
      make(
        "p",
        {},
        layer && [
          make("a", { href: layer.address, class: "name" }, `All of ${layer.name}`),
          " \u00b7 ",
        ],
        make("a", { href: "#/" }, "The map of all layers"),
        " \u00b7 ",
        make(
          "button",
          { type: "button", class: "plain", click: () => atlas.openSearch() },
          "Search",
        ),
      ),
    ],
  });
}
