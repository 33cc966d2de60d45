"use strict";
// Every page works without this script; it only saves steps.
(() => {
  // a page that was not told where it is reads it off the address bar
  for (const place of document.querySelectorAll("[data-root]")) {
    place.textContent = new URL(place.dataset.root, location.href).href.split("?")[0];
  }
  const box = document.getElementById("search");
  if (!box) return;
  const count = document.getElementById("count");
  const items = [...document.querySelectorAll(".names li")];
  const folded = (text) => text.toLowerCase().replace(/[-_.]+/g, "-");
  const rows = items.map((item) => {
    const name = item.textContent.trim();
    return { item, name, text: name };
  });
  let asked = false;

  function learn(found) {
    const known = new Map(found.map(([name, ...rest]) => [name, rest]));
    for (const row of rows) {
      const [version, summary] = known.get(row.name) ?? ["", ""];
      row.text = folded(`${row.name} ${summary}`);
      const note = document.createElement("span");
      note.className = "soft";
      note.textContent = [version, summary].filter(Boolean).join(" · ");
      row.item.append(" ", note);
    }
    show();
  }

  function show() {
    const words = folded(box.value).split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { item, text } of rows) {
      item.hidden = !words.every((word) => text.includes(word));
      shown += item.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} found` : "";
  }

  box.hidden = false;
  box.addEventListener("input", () => {
    if (!asked) {
      asked = true; // names are searched meanwhile, and if it cannot be had
      fetch("search.json").then((answer) => answer.json()).then(learn).catch(() => {});
    }
    show();
  });
})();
