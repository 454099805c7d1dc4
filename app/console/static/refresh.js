// Keeps a page that says data-live up to date while somebody looks at it. Everything works without.
"use strict";
(function () {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  async function refresh() {
    if (document.hidden || main.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (fresh) main.replaceChildren(...fresh.childNodes);
    } catch {
      // the hub is away: what is shown stays
    }
  }
  setInterval(refresh, 5000);
})();
