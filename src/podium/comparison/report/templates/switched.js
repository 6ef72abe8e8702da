// The language and the theme of a page, each switched by a button.
const byId = id => document.getElementById(id);
const remember = (key, text) => { try { localStorage.setItem(key, text); } catch { /* a page that may not store forgets */ } };

function speak(language) {
  root.lang = language;
  for (const e of all("[data-zh]")) { e.dataset.en ??= e.textContent; e.textContent = isChinese() ? e.dataset.zh : e.dataset.en; }
  for (const e of all("[data-zh-label]")) {
    e.dataset.enLabel ??= e.getAttribute("aria-label");
    e.setAttribute("aria-label", isChinese() ? e.dataset.zhLabel : e.dataset.enLabel);
  }
  byId("language").lang = isChinese() ? "en" : "zh-Hans"; // the button names the other language
  document.title = document.querySelector("h1").textContent + " · Podium";
}
byId("language").addEventListener("click", () => {
  speak(isChinese() ? "en" : "zh-Hans");
  remember("podium-language", root.lang);
  drawAll();
});
byId("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember("podium-theme", root.dataset.theme);
  byId("theme").setAttribute("aria-pressed", isDark());
  drawAll();
});
byId("theme").setAttribute("aria-pressed", isDark());
if (root.lang !== "en") speak(root.lang);
