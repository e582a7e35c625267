// Shows the page for an address: `#/`, `#/LAYER` or `#/LAYER/INDEX`.
"use strict";
{
  const { make } = atlas;
  const main = document.getElementById("main");

  const pageFor = (network, hash) => {
    const [key, index, ...rest] = hash.replace(/^#?\/?/, "").split("/");
    if (key === "" && index === undefined) return atlas.mapPage(network);
    let name;
    try {
      name = decodeURIComponent(key);
    } catch {
      return atlas.notFoundPage("The address is incomplete or mistyped.");
    }
    const layer = network.byKey.get(name);
    if (!layer) {
      const matches = atlas.search(name).filter(({ index: channel }) => channel === undefined);
      const suggestions = matches.slice(0, 3).map((match) => match.layer);
      return atlas.notFoundPage(`There is no layer \u201c${name}\u201d.`, { suggestions });
    }
    if (index === undefined || (index === "" && !rest.length)) {
      return atlas.layerPage(network, layer);
    }
    if (!/^\d+$/.test(index) || rest.length || !layer.has(Number(index))) {
      const message = `This atlas has no channel \u201c${[index, ...rest].join("/")}\u201d of ${layer.name}.`;
      return atlas.notFoundPage(message, { layer });
    }
    return atlas.channelPage(network, layer, Number(index));
  };

  const unfinishedNote = () =>
    make(
      "p",
      { class: "note" },
      "This atlas is not finished yet. Reload the page to see new pictures.",
    );

  let previousAddress = null;

  // Back on a page, the focus goes to the item that was left. On a new page, to the heading.
  const restorePosition = (view, heading, from, scroll) => {
    const rank = view.items?.rank(from) ?? -1;
    scrollTo(0, scroll ?? 0);
    const target = rank < 0 ? heading : view.items.show(rank);
    target.focus({ preventScroll: true });
    if (scroll === undefined && rank >= 0) target.scrollIntoView({ block: "center" });
  };

  const show = async (network) => {
    document.querySelector("dialog[open]")?.remove();
    const view = { ...pageFor(network, location.hash), address: location.hash };
    atlas.view = view;
    document.title = [...view.title, network.title].join(" \u00b7 ");
    main.replaceChildren(
      ...(network.finished ? [] : [unfinishedNote()]),
      ...view.content.filter(Boolean),
    );
    view.attached?.();
    const heading = main.querySelector("h1");
    heading.tabIndex = -1;
    const from = previousAddress;
    previousAddress = location.hash;
    const { scroll } = history.state ?? {};
    if (from !== null) restorePosition(view, heading, from, scroll);
    if (scroll === undefined) return;
    scrollTo(0, scroll);
    await view.ready;
    // Again once the page has its full height, unless the reader has moved on.
    if (atlas.view === view) scrollTo(0, scroll);
  };

  atlas.go = (address) => {
    location.hash = address;
  };

  const start = async () => {
    let network;
    try {
      network = atlas.buildNetwork(await atlas.data("atlas"));
    } catch (error) {
      main.replaceChildren(
        make("h1", {}, "No atlas"),
        make("p", { class: "note" }, `${error.message}. Is the folder complete?`),
      );
      return;
    }
    atlas.network = network;
    document.getElementById("brand").textContent = network.title;
    // Pages differ in height, so restoring the scroll position is left to `show`.
    history.scrollRestoration = "manual";
    let timer;
    addEventListener("scroll", () => {
      clearTimeout(timer);
      timer = setTimeout(() => history.replaceState({ scroll: scrollY }, ""), 100);
    });
    addEventListener("hashchange", () => show(network));
    await show(network);
  };
  start();
}
