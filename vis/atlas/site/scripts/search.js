// Search for layers, channels and classes: a line to type in, and what is found while one types.
"use strict";
{
  const { make } = atlas;
  const MOST = 40; // Results that are shown.

  // How well one word of the query fits a name, from 0, not at all, to 4, the name itself.
  const fit = (name, word) => {
    if (name === word) return 4;
    let best = 0;
    for (let at = name.indexOf(word); at >= 0; at = name.indexOf(word, at + 1)) {
      const starts = at === 0 || /[\s_/.-]/.test(name[at - 1]);
      const ends = at + word.length === name.length || /[\s_/.,-]/.test(name[at + word.length]);
      best = Math.max(best, starts && ends ? 3 : starts ? 2 : 1);
    }
    return best;
  };

  const entries = (network) =>
    network.layers.flatMap((layer) => {
      const name = layer.name.toLowerCase();
      const own = { layer, name, kind: layer.kind.toLowerCase() };
      const channels = layer.drawn.map((index) => ({
        layer,
        index,
        name,
        number: String(index),
        label: layer.label(index)?.toLowerCase() ?? "",
      }));
      return [own, ...channels];
    });

  // Each word has to fit; what is a layer's or a class's own counts more than where it belongs.
  const score = (entry, words) => {
    let sum = 0;
    for (const word of words) {
      const best =
        entry.index === undefined
          ? Math.max(12 * fit(entry.name, word), fit(entry.kind, word))
          : Math.max(
              13 * fit(entry.label, word),
              entry.number === word ? 20 : 0,
              4 * fit(entry.name, word),
            );
      if (best === 0) return 0;
      sum += best;
    }
    return sum;
  };

  let all = null;
  // What fits a query, best first.
  atlas.find = (query) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    all ??= entries(atlas.network);
    const found = all.map((entry) => [score(entry, words), entry]).filter(([sum]) => sum > 0);
    return found.sort(([one], [other]) => other - one).map(([, entry]) => entry);
  };

  const option = ({ layer, index }, at) => {
    const shown = index ?? layer.drawn[0];
    const isLayer = index === undefined;
    return make(
      "li",
      {
        role: "option",
        id: `found-${at}`,
        "aria-selected": "false",
        "data-address": isLayer ? layer.address : layer.addressOf(index),
      },
      shown === undefined || layer.failed !== null
        ? make("span", { class: "absent" })
        : atlas.picture(layer, shown, ""),
      make(
        "span",
        { class: "who" },
        make("span", { class: "name" }, isLayer ? layer.name : layer.title(index)),
        make(
          "span",
          { class: "facts name" },
          isLayer ? `Layer \u00b7 ${atlas.extent(layer)}` : layer.name,
        ),
      ),
    );
  };

  atlas.openSearch = () => {
    if (atlas.isOpen()) return;
    const live = make("p", { role: "status", class: "hint" });
    const list = make("ul", { role: "listbox", id: "found", "aria-label": "Found" });
    const input = make("input", {
      type: "text",
      role: "combobox",
      "aria-label": "Search for layers, channels and classes",
      "aria-expanded": "false",
      "aria-controls": "found",
      "aria-autocomplete": "list",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      placeholder: "A layer, a class, or a layer and a number",
    });
    let active = -1;

    const choose = (at) => {
      list.children[active]?.setAttribute("aria-selected", "false");
      const many = list.children.length;
      active = many ? (at + many) % many : -1;
      const option = list.children[active];
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", option?.id ?? "");
    };
    const update = () => {
      const found = atlas.find(input.value);
      list.replaceChildren(...found.slice(0, MOST).map(option));
      input.setAttribute("aria-expanded", String(found.length > 0));
      choose(0);
      const number = found.length ? atlas.count(found.length, "result") : "Nothing is called that";
      live.textContent =
        input.value.trim() === ""
          ? "For example a class, \u201cblock2\u201d, or \u201cblock2 12\u201d."
          : found.length > MOST
            ? `The first ${MOST} of ${number}`
            : number;
    };

    input.addEventListener("input", update);
    update();
    atlas.open({ class: "search", "aria-label": "Search" }, (closing, close) => {
      const go = (option) => {
        if (!option) return;
        close();
        atlas.go(option.dataset.address);
      };
      list.addEventListener("click", (event) => go(event.target.closest("[role=option]")));
      return {
        content: [make("div", { class: "dialog-head" }, input, closing), live, list],
        keys: {
          ArrowDown: () => choose(active + 1),
          ArrowUp: () => choose(active - 1),
          // On the button beside the field it closes.
          Enter: () => (document.activeElement === input ? go(list.children[active]) : false),
        },
      };
    });
  };
}
