// The page for a wrong address.
"use strict";
{
  const { make } = atlas;

  atlas.notFoundPage = (message, { layer = null, suggestions = [] } = {}) => ({
    title: ["Not found"],
    up: layer?.address ?? "#/",
    content: [
      make("h1", {}, "Page not found"),
      make("p", { class: "lead name" }, message),
      suggestions.length
        ? make(
            "p",
            {},
            "Did you mean ",
            suggestions.flatMap((other, i) => [
              i ? " or " : "",
              make("a", { href: other.address, class: "name" }, other.name),
            ]),
            "?",
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
