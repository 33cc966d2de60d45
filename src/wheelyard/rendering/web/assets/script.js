"use strict";
// Every page works without this script; it only saves steps.
(() => {
  // a page that was not told where it is reads it off the address bar
  for (const place of document.querySelectorAll("[data-root]")) {
    place.textContent = new URL(place.dataset.root, location.href).href.split("?")[0];
  }

  // a browser keeps whole pages for its back button, and after a sign-out they would come back with
  // what was private; without the fragment they are loaded anew, and never as a form sent again
  addEventListener("pageshow", (event) => {
    if (event.persisted && document.querySelector(".top a[href$='-/account/']")) {
      document.documentElement.hidden = true;
      location.replace(location.href.split("#")[0]);
    }
  });

  async function copy(element) {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(element.textContent.trim());
      return;
    }
    getSelection().selectAllChildren(element); // on plain http there is only the old way
    document.execCommand("copy");
  }

  // a button beside each text that people copy; data-copy says what the text is
  const said = document.createElement("span");
  said.className = "unseen";
  said.setAttribute("role", "status");
  document.body.append(said);
  for (const text of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy the ${text.dataset.copy}`);
    button.addEventListener("click", async () => {
      await copy(text);
      button.textContent = "Copied";
      said.textContent = `Copied the ${text.dataset.copy}`;
      setTimeout(() => {
        button.textContent = "Copy";
        said.textContent = "";
      }, 2000);
    });
    const block = text.closest("pre");
    if (block) block.before(button);
    else text.after(" ", button);
  }

  // a box that filters the rows of a long table of files
  const table = document.querySelector(".file-table");
  if (table && table.tBodies[0].rows.length > 10) {
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const isPart = document.querySelector(".page-numbers") !== null;
    const box = document.createElement("input");
    box.type = "search";
    box.size = 30;
    box.placeholder = "Filter, such as 3.12 Linux";
    box.setAttribute("aria-label", isPart ? "Filter the files of this page" : "Filter these files");
    const note = document.createElement("span");
    note.className = "soft";
    note.setAttribute("role", "status");
    const hint = isPart ? "It filters this page only." : "";
    note.textContent = hint;
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      const count = isPart ? `the ${rows.length} files of this page` : `${rows.length} files`;
      note.textContent = words.length ? `${shown} of ${count}` : hint;
    });
    const line = document.createElement("p");
    line.append(box, " ", note);
    table.before(line);
  }
})();
