// The one name that the scripts share, and how data reach them.
//
// An atlas is opened from the disk as well as from a server. There a page's origin is "null", and
// Chromium refuses it both modules and fetch(); a script, though, it loads. So the scripts are
// classic ones, and each file of data is a script that calls `atlas.receive`.
"use strict";
const atlas = {};
{
  const waiting = new Map(); // What was asked for or has come, by key.

  const entry = (key) => {
    if (!waiting.has(key)) {
      const made = {};
      made.value = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
      made.value.catch(() => {}); // Whoever asks is told; nobody else has to listen.
      waiting.set(key, made);
    }
    return waiting.get(key);
  };

  atlas.receive = (key, value) => {
    const received = entry(key);
    received.asked = true;
    received.resolve(value);
  };

  // The promise of what data/KEY.js holds, which is loaded when it is first asked for.
  atlas.data = (key) => {
    const wanted = entry(key);
    if (!wanted.asked) {
      wanted.asked = true;
      const script = document.createElement("script");
      script.src = `data/${key}.js`;
      script.addEventListener("error", () => {
        waiting.delete(key); // So that it is tried again.
        wanted.reject(new Error(`data/${key}.js could not be read`));
      });
      script.addEventListener("load", () => {
        script.remove();
        wanted.reject(new Error(`data/${key}.js holds something else`)); // Unless it has come.
      });
      document.head.append(script);
    }
    return wanted.value;
  };

  // What a browser remembers for us, where it is allowed to.
  atlas.remember = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(`atlas-${key}`);
      else localStorage.setItem(`atlas-${key}`, value);
    } catch {
      // It lasts as long as the page, then.
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
