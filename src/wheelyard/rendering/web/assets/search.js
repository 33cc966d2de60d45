"use strict";
// Search as one types, in the box at the top of every page. Without this script, or if it fails,
// the form of the box asks for a page of results.
(() => {
  const form = document.querySelector("form.search");
  if (!form) return;
  const box = form.querySelector("input");
  const PAUSE = 20; // milliseconds without a key before the search
  const SHOWN = 20;

  const status = document.createElement("p");
  status.className = "unseen";
  status.setAttribute("role", "status");
  const panel = document.createElement("div");
  panel.className = "results";
  panel.hidden = true;
  form.append(status, panel);

  let timer; // runs until the next search
  let request; // the search that was asked for last
  let everything; // all projects, if the server does not search by itself, as for a static site

  const fold = (text) => text.toLowerCase().replace(/[-_.]+/g, "-");

  function close() {
    clearTimeout(timer);
    request?.abort();
    request = undefined;
    panel.hidden = true;
    panel.replaceChildren();
    status.textContent = "";
  }

  const NAME = "[\\p{L}\\p{N}_]+(?:\\.[\\p{L}\\p{N}_]+)*";
  const DOTTED_NAME = new RegExp(`^${NAME}$`, "u");
  const IMPORT = new RegExp(`^import\\s+(${NAME})(?:\\s*,.*|\\s+as\\s.*)?$`, "su");
  const FROM_IMPORT = new RegExp(`^from\\s+(${NAME})\\s+import(?![\\p{L}\\p{N}_])[\\s(]*([\\p{L}\\p{N}_]*).*$`, "su");

  // what is imported by a name has declared it, a namespace of that name, or a name above it
  function declarations(name) {
    const parts = name.toLowerCase().split(".");
    const [whole, ...above] = parts.map((_, at) => parts.slice(0, parts.length - at).join("."));
    return [whole, `${whole}.*`, ...above];
  }

  // words, or what a line of Python imports, as `parse_query` of the server
  function parse(asked) {
    const [, module, member] = IMPORT.exec(asked) ?? FROM_IMPORT.exec(asked) ?? [];
    if (module) {
      const imports = declarations(member ? `${module}.${member}` : module);
      return { words: [fold(module)], imports, isStatement: true };
    }
    const words = fold(asked).split(/\s+/).filter(Boolean);
    return { words, imports: DOTTED_NAME.test(asked) ? declarations(asked) : [], isStatement: false };
  }

  // as the server does: the name, what is imported so, names that begin so, names that contain it,
  // the rest; in each of these groups private projects before public ones
  function filter(asked) {
    const { words, imports, isStatement } = parse(asked);
    const wanted = words.join("-");
    // the name and each import name, private ones and public ones apart, then the other groups
    const best = [0, 1].map(() => [...imports, wanted].map(() => []));
    const groups = [[], [], [], [], [], []];
    const named = [];
    for (const { entry, declared, text } of everything) {
      const name = entry[0];
      const isPublic = entry[5] ? 1 : 0;
      const rank = imports.findIndex((each) => declared.includes(each));
      if (name === wanted && !isStatement) named.push(entry);
      else if (rank >= 0) best[isPublic][rank].push(entry);
      else if (name === wanted) best[isPublic].at(-1).push(entry);
      else if (words.every((word) => text.includes(word))) {
        const group = name.startsWith(wanted) ? 0 : name.includes(wanted) ? 1 : 2;
        groups[2 * group + isPublic].push(entry);
      }
    }
    const found = [named, ...best.flat(), ...groups].flat();
    return { total: found.length, projects: found.slice(0, SHOWN) };
  }

  async function search() {
    const asked = box.value.trim();
    request?.abort();
    const own = (request = new AbortController());
    if (!asked) return close();
    try {
      if (!everything) {
        const url = new URL(`search.json?q=${encodeURIComponent(asked)}`, form.action);
        const answer = await fetch(url, { signal: own.signal });
        if (!answer.ok) throw new Error(answer.statusText);
        const found = await answer.json();
        if (own !== request) return;
        if (!Array.isArray(found)) return show(asked, found);
        everything = found.map((entry) => {
          const [name, , summary, keywords = "", , , imports = ""] = entry;
          const text = fold(`${name} ${summary} ${keywords} ${imports}`);
          return { entry, declared: imports.split(" "), text };
        });
      }
      show(asked, filter(asked));
    } catch {
      if (own === request) close(); // Enter still asks for the page of results
    }
  }

  function show(asked, found) {
    const list = document.createElement("ul");
    list.setAttribute("aria-label", "Projects found");
    for (const [name, version, summary, , state, origin] of found.projects) {
      const link = document.createElement("a");
      link.href = new URL(`project/${encodeURIComponent(name)}/`, form.action);
      link.textContent = name;
      const item = document.createElement("li");
      const note = document.createElement("span");
      note.className = "soft";
      note.textContent = [version, summary].filter(Boolean).join(" · ");
      item.append(link, " ", note);
      const kind = state === "quarantined" ? "danger" : "warning";
      const where = origin ? ["public", "mark"] : ["public" in form.dataset && "private", "mark lock"];
      for (const [text, style] of [[state, `mark ${kind}`], where]) {
        if (!text) continue;
        const mark = document.createElement("span");
        mark.className = style;
        mark.textContent = text;
        note.before(mark, " ");
      }
      list.append(item);
    }
    const count = `${found.total.toLocaleString("en")} project${found.total === 1 ? "" : "s"} found`;
    const foot = document.createElement("p");
    foot.className = "soft";
    // a static site has nobody who would answer
    foot.textContent = found.total || everything ? count : `${count}. Press Enter for similar names.`;
    if (found.total > found.projects.length && !everything) {
      const all = document.createElement("a");
      all.href = new URL(`?q=${encodeURIComponent(asked)}`, form.action);
      all.textContent = `Show all ${count.replace(" found", "")}`;
      foot.replaceChildren(all);
    }
    const further = document.createElement("p");
    further.className = "soft";
    if (found.upstream) {
      const indexes = `the upstream index${found.upstream.length > 1 ? "es" : ""} ${found.upstream.join(", ")}`;
      further.textContent = found.total ? `Enter looks up ${asked} in ${indexes}, too.` : `Enter looks it up in ${indexes}.`;
    }
    const lines = found.total ? [list, foot, further] : [found.upstream ? further : foot];
    panel.replaceChildren(...lines.filter((line) => line.textContent));
    panel.hidden = false;
    status.textContent = [foot, further].filter((line) => panel.contains(line)).map((line) => line.textContent).join(". ");
  }

  function move(event) {
    const stops = [box, ...panel.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement);
    const next = at + { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (at < 0 || panel.hidden || !stops[next]) return;
    event.preventDefault();
    stops[next].focus();
  }

  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event);
    else if (event.key === "Escape" && !panel.hidden) {
      event.preventDefault();
      close();
      box.focus();
    }
  });
  form.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !form.contains(event.relatedTarget)) close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!form.contains(event.target)) close();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
    event.preventDefault();
    box.focus();
    box.select();
  });

  // a static site answers the form with its home page, which knows nothing of the words; the query
  // of any other page is for its own form
  const isAnswer = location.pathname === new URL(form.action).pathname;
  const asked = isAnswer && new URLSearchParams(location.search).get("q");
  if (asked && !box.value && !document.getElementById("found")) {
    box.value = asked;
    box.focus();
    search();
  }
})();
