// Light or dark theme: the system's, unless the reader chooses the other.
"use strict";
{
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const systemTheme = () => (dark.matches ? "dark" : "light");
  let chosen = atlas.remembered("theme");

  const show = () => {
    const theme = chosen ?? systemTheme();
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = theme === "dark" ? "Light" : "Dark";
    button?.setAttribute("aria-label", `${theme === "dark" ? "Light" : "Dark"} theme`);
  };

  atlas.switchTheme = () => {
    const other = root.dataset.theme === "dark" ? "light" : "dark";
    // Back at the system's theme, follow the system again.
    chosen = other === systemTheme() ? null : other;
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
