"use strict";
// The theme of a page: the system's, or the one that was chosen with the button #theme. Loaded in the head without `defer`, so that
// a page never flashes in the other theme. A change is told as the event "podium-theme" on the document.
{
  const root = document.documentElement, night = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("podium-theme"); } catch { return null; } };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : night.matches;
  if (["dark", "light"].includes(stored())) root.dataset.theme = stored();
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const changed = () => {
      button?.setAttribute("aria-pressed", isDark());
      document.dispatchEvent(new Event("podium-theme"));
    };
    button?.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("podium-theme", root.dataset.theme); } catch { /* a page that may not store forgets */ }
      changed();
    });
    night.addEventListener("change", changed);
    changed();
  });
}
