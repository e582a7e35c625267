// The global `atlas` that the scripts share, and how data are loaded.
//
// Pages work from the disk as well as from a server. With a `file:` address, Chromium refuses
// modules and fetch(), but loads scripts. So these are classic scripts, and each data file is a
// script that calls `atlas.receive`.
"use strict";
const atlas = {};
{
  const entries = new Map(); // Requested and received data, by key.

  const entryOf = (key) => {
    if (!entries.has(key)) {
      const entry = {};
      entry.value = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      entry.value.catch(() => {}); // Callers handle rejections.
      entries.set(key, entry);
    }
    return entries.get(key);
  };

  atlas.receive = (key, value) => {
    const entry = entryOf(key);
    entry.requested = true;
    entry.resolve(value);
  };

  // A promise of the data in data/KEY.js, which is loaded on the first request.
  atlas.data = (key) => {
    const entry = entryOf(key);
    if (!entry.requested) {
      entry.requested = true;
      const script = document.createElement("script");
      script.src = `data/${key}.js`;
      script.addEventListener("error", () => {
        entries.delete(key); // The next request tries again.
        entry.reject(new Error(`Cannot read data/${key}.js`));
      });
      script.addEventListener("load", () => {
        script.remove();
        entry.reject(new Error(`Wrong content in data/${key}.js`)); // No effect if received.
      });
      document.head.append(script);
    }
    return entry.value;
  };

  // Settings in localStorage, which a browser may forbid.
  atlas.remember = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(`atlas-${key}`);
      else localStorage.setItem(`atlas-${key}`, value);
    } catch {
      // The setting lasts as long as the page.
    }
  };
  atlas.remembered = (key) => {
    try {
      return localStorage.getItem(`atlas-${key}`);
    } catch {
      return null;
    }
  };
}
