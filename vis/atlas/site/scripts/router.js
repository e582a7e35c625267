// From the address to the page: `#/`, `#/LAYER` and `#/LAYER/INDEX`.
"use strict";
{
  const { make } = atlas;
  const main = document.getElementById("main");

  const find = (network, hash) => {
    const [key, index, ...more] = hash.replace(/^#?\/?/, "").split("/");
    if (key === "" && index === undefined) return atlas.map(network);
    let name;
    try {
      name = decodeURIComponent(key);
    } catch {
      return atlas.lost("The address was cut off or mistyped.");
    }
    const layer = network.byKey.get(name);
    if (!layer) {
      const near = atlas.find(name).filter(({ index: channel }) => channel === undefined);
      const layers = near.slice(0, 3).map((found) => found.layer);
      return atlas.lost(`There is no layer \u201c${name}\u201d.`, { near: layers });
    }
    if (index === undefined || (index === "" && !more.length)) return atlas.grid(network, layer);
    if (!/^\d+$/.test(index) || more.length || !layer.has(Number(index))) {
      return atlas.lost(`Of ${layer.name}, this atlas has nothing with that number.`, { layer });
    }
    return atlas.channel(network, layer, Number(index));
  };

  const unfinished = () =>
    make(
      "p",
      { class: "note" },
      "This atlas is still being drawn. Load the page again for what has come since.",
    );

  let came = null; // The address of the page before this one.

  const show = async (network) => {
    document.querySelector("dialog[open]")?.remove();
    const view = { ...find(network, location.hash), address: location.hash };
    atlas.view = view;
    document.title = [...view.title, network.model].join(" \u00b7 ");
    main.replaceChildren(
      ...(network.finished ? [] : [unfinished()]),
      ...view.content.filter(Boolean),
    );
    view.attached?.();
    const heading = main.querySelector("h1");
    heading.tabIndex = -1;
    const before = came;
    came = location.hash;
    const { scroll } = history.state ?? {};
    if (before !== null) {
      // Who goes back up finds the focus where it came from; others begin with the heading.
      const rank = view.steps?.rank(before) ?? -1;
      scrollTo(0, scroll ?? 0);
      const from = rank < 0 ? heading : view.steps.show(rank);
      from.focus({ preventScroll: true });
      if (scroll === undefined && rank >= 0) from.scrollIntoView({ block: "center" });
    }
    if (scroll === undefined) return;
    scrollTo(0, scroll);
    await view.ready;
    // Once the page is as long as it was, and nobody has scrolled meanwhile.
    if (atlas.view === view) scrollTo(0, scroll);
  };

  atlas.go = (address) => {
    location.hash = address;
  };

  const start = async () => {
    let network;
    try {
      network = atlas.understand(await atlas.data("atlas"));
    } catch (error) {
      main.replaceChildren(
        make("h1", {}, "No atlas"),
        make("p", { class: "note" }, `${error.message}. Is the folder whole?`),
      );
      return;
    }
    atlas.network = network;
    document.getElementById("brand").textContent = network.model;
    // Pages differ in length, so that we know better than the browser where one was.
    history.scrollRestoration = "manual";
    let resting;
    addEventListener("scroll", () => {
      clearTimeout(resting);
      resting = setTimeout(() => history.replaceState({ scroll: scrollY }, ""), 100);
    });
    addEventListener("hashchange", () => show(network));
    await show(network);
  };
  start();
}
