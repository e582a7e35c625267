// Search for layers, channels and classes, with results while typing.
"use strict";
{
  const { make } = atlas;
  const MAX_RESULTS = 40;

  // How well a word of the query matches a name, from 0 (not at all) to 4 (equal).
  const match = (name, word) => {
    if (name === word) return 4;
    let best = 0;
    for (let i = name.indexOf(word); i >= 0; i = name.indexOf(word, i + 1)) {
      const starts = i === 0 || /[\s_/.-]/.test(name[i - 1]);
      const ends = i + word.length === name.length || /[\s_/.,-]/.test(name[i + word.length]);
      best = Math.max(best, starts && ends ? 3 : starts ? 2 : 1);
    }
    return best;
  };

  const entriesOf = (network) =>
    network.layers.flatMap((layer) => {
      const name = layer.name.toLowerCase();
      const layerEntry = { layer, name, className: layer.class_name.toLowerCase() };
      const channels = layer.filters.map((index) => ({
        layer,
        index,
        name,
        number: String(index),
        label: layer.label(index)?.toLowerCase() ?? "",
      }));
      return [layerEntry, ...channels];
    });

  // Every word must match. An entry's own name counts more than the name of its layer.
  const score = (entry, words) => {
    let sum = 0;
    for (const word of words) {
      const best =
        entry.index === undefined
          ? Math.max(12 * match(entry.name, word), match(entry.className, word))
          : Math.max(
              13 * match(entry.label, word),
              entry.number === word ? 20 : 0,
              4 * match(entry.name, word),
            );
      if (best === 0) return 0;
      sum += best;
    }
    return sum;
  };

  let entries = null;
  // Entries that match a query, best first.
  atlas.search = (query) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    entries ??= entriesOf(atlas.network);
    const matches = entries
      .map((entry) => [score(entry, words), entry])
      .filter(([sum]) => sum > 0);
    return matches.sort(([first], [second]) => second - first).map(([, entry]) => entry);
  };

  const option = ({ layer, index }, i) => {
    const shown = index ?? layer.filters[0];
    const isLayer = index === undefined;
    return make(
      "li",
      {
        role: "option",
        id: `result-${i}`,
        "aria-selected": "false",
        "data-address": isLayer ? layer.address : layer.addressOf(index),
      },
      shown === undefined || layer.error !== null
        ? make("span", { class: "placeholder" })
        : atlas.picture(layer, shown, ""),
      make(
        "span",
        { class: "caption" },
        make("span", { class: "name" }, isLayer ? layer.name : layer.title(index)),
        make(
          "span",
          { class: "facts name" },
          isLayer ? `Layer \u00b7 ${atlas.filterCount(layer)}` : layer.name,
        ),
      ),
    );
  };

  const statusText = (query, count) => {
    if (query.trim() === "") return "Examples: hen, block2, block2 12";
    if (count === 0) return "No results";
    const results = atlas.count(count, "result");
    return count > MAX_RESULTS ? `The first ${MAX_RESULTS} of ${results}` : results;
  };

  atlas.openSearch = () => {
    if (atlas.isDialogOpen()) return;
    const status = make("p", { role: "status", class: "hint" });
    const list = make("ul", { role: "listbox", id: "results", "aria-label": "Results" });
    const input = make("input", {
      type: "text",
      role: "combobox",
      "aria-label": "Search for layers, channels and classes",
      "aria-expanded": "false",
      "aria-controls": "results",
      "aria-autocomplete": "list",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      placeholder: "Layer, class, or layer and number",
    });
    let active = -1;

    const choose = (i) => {
      list.children[active]?.setAttribute("aria-selected", "false");
      const count = list.children.length;
      active = count ? (i + count) % count : -1;
      const option = list.children[active];
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", option?.id ?? "");
    };
    const update = () => {
      const results = atlas.search(input.value);
      list.replaceChildren(...results.slice(0, MAX_RESULTS).map(option));
      input.setAttribute("aria-expanded", String(results.length > 0));
      choose(0);
      status.textContent = statusText(input.value, results.length);
    };

    input.addEventListener("input", update);
    update();
    atlas.openDialog({ class: "search", "aria-label": "Search" }, (closeButton, close) => {
      const open = (option) => {
        if (!option) return;
        close();
        atlas.go(option.dataset.address);
      };
      list.addEventListener("click", (event) => open(event.target.closest("[role=option]")));
      return {
        content: [make("div", { class: "dialog-head" }, input, closeButton), status, list],
        keys: {
          ArrowDown: () => choose(active + 1),
          ArrowUp: () => choose(active - 1),
          // On the close button, Enter closes.
          Enter: () => (document.activeElement === input ? open(list.children[active]) : false),
        },
      };
    });
  };
}
