"use strict";
// Every page works without this script; it only saves steps.
(() => {
  // a page that was not told where it is reads it off the address bar
  for (const place of document.querySelectorAll("[data-root]")) {
    const url = new URL(place.dataset.root, location.href).href.split("?")[0];
    const [, host, path] = url.match(/^([^:]*:\/\/[^/]*)(.*)$/);
    const whole = document.createElement("span"); // which is never broken into two lines
    whole.className = "host";
    whole.textContent = host.replace("://", () => `://${place.dataset.login ?? ""}`);
    place.replaceChildren(whole, path);
  }
  for (const place of document.querySelectorAll("[data-host]")) place.textContent = location.hostname;

  // a browser keeps whole pages for its back button, and after a sign-out they would come back with
  // what was private; without the fragment they are loaded anew, and never as a form sent again
  addEventListener("pageshow", (event) => {
    if (event.persisted && document.querySelector(".top a[href$='-/account/']")) {
      document.documentElement.hidden = true;
      location.replace(location.href.split("#")[0]);
    }
  });

  // where tabs are one row that scrolls, the open one is in view
  const tab = document.querySelector(".tabs [aria-current]");
  if (tab) tab.parentNode.scrollLeft = tab.offsetLeft - tab.parentNode.offsetLeft - 48;

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

  // the client whose commands were chosen last: where no server has read the cookie, as in a static
  // site or behind a shared cache, it counts all the same
  const COOKIE = "wheelyard-client";
  for (const choices of document.querySelectorAll("[data-remember]")) {
    const chosen = document.cookie.match(`(?:^|; )${COOKIE}=([a-z-]+)`)?.[1];
    const button = choices.querySelector(`input[value="${chosen}"]`);
    if (button && choices.dataset.remember) button.checked = true;
    choices.addEventListener("change", (event) => {
      const root = new URL(choices.dataset.remember, location.href).pathname;
      document.cookie = `${COOKIE}=${event.target.value}; path=${root}; max-age=31536000; samesite=lax`;
    });
  }

  // the extras and the version that the install lines ask for; InstallLine says the same
  for (const chips of document.querySelectorAll("[data-chips]")) {
    const update = () => {
      const extras = [...chips.querySelectorAll("[name=extras]:checked")].map((box) => box.value).join();
      const whole = chips.dataset.chips + (extras && `[${extras}]`);
      const { pin } = chips.querySelector("[name=pin]:checked").dataset;
      const text = whole + pin;
      const quote = text.includes("!") ? "'" : /[[~]/.test(text) ? '"' : "";
      for (const place of document.querySelectorAll("[data-requirement]")) place.textContent = quote + text + quote;
      for (const place of document.querySelectorAll("[data-package]")) place.textContent = whole;
      for (const file of document.querySelectorAll("[data-extras]")) file.search = extras && `extras=${extras}`;
    };
    chips.addEventListener("change", update);
    chips.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("pageshow", update); // a browser may have kept what was ticked
  }

  // a link to a client on the page with all of them
  for (const choices of document.querySelectorAll("[data-anchors]")) {
    const choose = () => {
      const button = document.getElementById(`client-${location.hash.slice(1)}`);
      if (button) button.checked = true;
    };
    addEventListener("hashchange", choose);
    choose();
  }

  // a box in the head of a table that ticks those of all rows
  for (const cell of document.querySelectorAll("[data-tick-all]")) {
    const boxes = cell.closest("table").querySelectorAll("tbody input[type=checkbox]");
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "All");
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
    });
    cell.append(all);
  }

  // a form that is sent once a field is changed, which has the focus again afterwards. Arrow keys that
  // go through the values of a closed list send nothing: the button comes back, and Enter sends it
  const FIELD = "wheelyard-field";
  const storage = (() => {
    try {
      return sessionStorage;
    } catch {
      return undefined; // the browser may keep nothing
    }
  })();
  const changed = storage?.getItem(FIELD);
  storage?.removeItem(FIELD);
  for (const form of document.querySelectorAll("form[data-apply]")) {
    const button = form.querySelector("button");
    if (!button) continue; // on a static site
    const rest = () => {
      form.reset();
      button.hidden = true;
    };
    const apply = (field) => {
      storage?.setItem(FIELD, field.name);
      form.requestSubmit();
    };
    let key = ""; // the last one in a field
    form.addEventListener("pointerdown", () => (key = ""));
    form.addEventListener("keydown", (event) => {
      key = event.altKey ? "" : event.key;
      if (key !== "Enter" || button.hidden || !event.target.matches("select")) return;
      event.preventDefault();
      apply(event.target);
    });
    form.addEventListener("change", (event) => {
      if (!event.target.matches("select")) return;
      if (/^(Arrow|Home|End|Page|\S$)/.test(key)) button.hidden = false;
      else apply(event.target);
    });
    form.addEventListener("input", (event) => {
      if (!event.target.matches("input")) return;
      const isTyped = event.inputType && event.inputType !== "insertReplacementText"; // not one of the offered
      if (isTyped) button.hidden = false;
      else apply(event.target);
    });
    addEventListener("pageshow", (event) => event.persisted && rest());
    rest();
    form.elements[changed]?.focus();
  }

  // where all files of a release, or all releases, are on one page, its form filters them as one types
  const form = document.querySelector("form[data-filter]");
  if (form) {
    const note = document.querySelector("[data-count]");
    const rows = [...document.querySelectorAll(":is(.file-table, .releases) tbody tr")];
    const text = (row) => {
      const cells = [...row.cells].filter((each) => each.className !== "actions");
      return [...cells.map((each) => each.textContent), row.dataset.words].join(" ").toLowerCase();
    };
    let texts; // of a thousand rows, which nobody may filter
    const whole = note.textContent;
    const filter = () => {
      const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      texts ??= rows.map(text);
      rows.forEach((row, at) => {
        row.hidden = !words.every((word) => texts[at].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      for (const table of document.querySelectorAll(".file-table")) {
        const isEmpty = !table.querySelector("tbody tr:not([hidden])");
        table.hidden = table.previousElementSibling.hidden = isEmpty;
      }
      note.textContent = words.length ? `${shown} of ${rows.length} ${note.dataset.count}` : whole;
    };
    form.hidden = false;
    form.elements.q.addEventListener("input", filter);
    if (form.hasAttribute("data-static")) {
      // nobody answers the form
      form.addEventListener("submit", (event) => event.preventDefault());
      for (const part of form.querySelectorAll("label, button")) part.remove();
    }
  }
})();
