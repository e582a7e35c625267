// Light or dark: as the system has it, until the reader chooses otherwise.
"use strict";
{
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ofSystem = () => (dark.matches ? "dark" : "light");
  let chosen = atlas.remembered("theme");

  const show = () => {
    const now = chosen ?? ofSystem();
    root.dataset.theme = now;
    const button = document.getElementById("theme");
    if (button) button.textContent = now === "dark" ? "Light" : "Dark";
    button?.setAttribute("aria-label", `${now === "dark" ? "Light" : "Dark"} theme`);
  };

  atlas.switchTheme = () => {
    const other = root.dataset.theme === "dark" ? "light" : "dark";
    // Who comes back to what the system has goes on with the system.
    chosen = other === ofSystem() ? null : other;
    atlas.remember("theme", chosen);
    show();
  };

  dark.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", atlas.switchTheme);
  });
  show();
}
