"use strict";
// Without this script the upload page sends one file. With it, several can be chosen, or dropped
// anywhere on the page. The server is asked what would become of them, and what it would take is
// sent, one file after another, each with its own progress.
(() => {
  const form = document.getElementById("upload");
  const input = form.elements.content;
  const button = form.querySelector("button");
  const list = form.querySelector("[data-queue]");
  const summary = form.querySelector("[data-summary]");
  const rights = form.querySelector("[data-rights]");
  const zone = input.closest("label");
  const AT_ONCE = 10; // files of one question
  const DIGEST_LIMIT = 256 * (1 << 20); // bytes: to compute a digest, a browser reads the whole file into memory
  const GOOD = ["uploaded", "was there already"];
  const BAD = ["refused", "failed"];
  const OPEN = ["checking", "ready", "would be refused", "is there already"];
  let queue = [];
  let running = null;
  let questions = 0;
  let isAsking = false;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const link = (path, text) => {
    const made = element("a", text);
    made.href = form.dataset.home + path;
    return made;
  };
  const size = (bytes) => (bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`);
  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return {}; // what is in between has answered, such as a proxy
    }
  };
  const reason = (status, answer) => (status === 401 ? "You are not signed in any more. Sign in again, in another tab, and load this page again." : (answer.message ?? `The answer was ${status}.`));

  class Row {
    constructor(file) {
      this.file = file;
      this.digest = "";
      this.canDigest = Boolean(globalThis.crypto?.subtle) && file.size <= DIGEST_LIMIT; // plain http has none
      this.item = element("li");
      this.mark = element("span", "", "mark");
      this.progress = element("progress");
      this.progress.max = 1;
      this.progress.setAttribute("aria-label", `Progress of ${file.name}`);
      this.facts = element("p", "", "soft");
      this.text = element("p");
      this.stop = element("button", "", "plain");
      this.stop.type = "button";
      this.stop.addEventListener("click", () => this.press());
      this.item.append(element("strong", file.name), " ", element("span", size(file.size), "soft"), " ", this.mark, " ", this.progress, " ", this.stop, this.facts, this.text);
      list.append(this.item);
      this.show("checking", "Remove");
    }

    show(state, action = "") {
      this.state = state;
      this.mark.textContent = state;
      this.mark.classList.toggle("danger", BAD.includes(state) || state === "would be refused");
      this.progress.hidden = state !== "sending";
      this.stop.hidden = !action;
      this.stop.textContent = action;
      this.stop.setAttribute("aria-label", `${action} ${this.file.name}`);
    }

    say(className, ...parts) {
      this.text.className = className;
      this.text.replaceChildren(...parts);
    }

    async compute() {
      this.canDigest = false; // once is enough
      const bytes = await crypto.subtle.digest("SHA-256", await this.file.arrayBuffer());
      this.digest = Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
    }

    // what the server says before the file is sent
    take(answer) {
      this.lacksRight = answer.lacks_right;
      this.facts.textContent = [`${answer.project ?? ""} ${answer.version ?? ""}`.trim(), answer.kind].filter(Boolean).join(" · ");
      if (answer.is_first) this.facts.append(" ", element("span", "new project", "mark"));
      const why = [answer.message ?? ""];
      if (answer.remedy) why.push(" ", link(answer.remedy.path, answer.remedy.text));
      if (answer.status === "named") why.push("A file of this name is there already. This one is taken only if it has the same content.");
      this.say(answer.status === "refused" ? "error" : "", ...why);
      if (answer.status === "there") this.say("", link(`project/${answer.project}/`, `Project page of ${answer.project}`));
      this.show({ refused: "would be refused", there: "is there already" }[answer.status] ?? "ready", "Remove");
    }

    press() {
      if (this.state === "sending") {
        this.request.abort();
      } else if (OPEN.includes(this.state)) {
        this.remove();
        input.focus();
        check();
      } else {
        this.say("");
        this.show("ready", "Remove");
        next();
      }
    }

    remove() {
      queue = queue.filter((row) => row !== this);
      this.item.remove();
    }

    send(done) {
      const body = new FormData();
      body.append("csrf_token", form.elements.csrf_token.value); // it has to come first
      body.append("content", this.file, this.file.name);
      const request = new XMLHttpRequest();
      this.request = request;
      this.show("sending", "Cancel");
      this.progress.value = 0;
      request.upload.addEventListener("progress", (event) => {
        this.progress.value = event.loaded / Math.max(event.total, 1);
      });
      request.addEventListener("load", () => this.answer(request));
      request.addEventListener("abort", () => this.fail("failed", true, this.progress.value < 1 ? "You have cancelled it. Nothing of it was stored." : "You have cancelled it when all of it was sent already: look at the page of its project."));
      request.addEventListener("error", () => this.fail("failed", true, "The connection broke off. Try again: a file that has arrived meanwhile is not stored twice."));
      request.addEventListener("loadend", done);
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    }

    fail(state, mayHelp, message) {
      this.say("error", message);
      this.show(state, mayHelp ? "Try again" : "");
    }

    answer(request) {
      const stored = parsed(request.responseText);
      if (!stored.project) {
        // what is refused for what it is stays so
        const mayHelp = request.status >= 500 || [408, 429].includes(request.status);
        this.fail("refused", mayHelp, reason(request.status, stored));
        return;
      }
      this.say("", link(`project/${encodeURIComponent(stored.project)}/`, `Project page of ${stored.project}`));
      if (stored.promotion) this.text.append(" · ", link(stored.promotion, "Promote"));
      for (const warning of stored.warnings ?? []) this.text.append(element("br"), warning);
      this.show(stored.status === "there" ? "was there already" : "uploaded");
    }
  }

  function count() {
    const number = (...states) => queue.filter((row) => states.includes(row.state)).length;
    const ready = number("ready");
    const there = number("was there already", "is there already");
    const out = number("would be refused");
    const parts = [
      [number("uploaded"), "uploaded"],
      [there, there > 1 ? "were there already" : "was there already"],
      [number(...BAD), "not uploaded"],
      [out, "left out"],
      [ready, "ready"],
    ];
    const said = parts.filter((part) => part[0]).map((part) => part.join(" "));
    summary.textContent = said.length ? `${said.join(", ")}.${out ? " What would be refused is not sent." : ""}` : "";
    button.textContent = ready ? `Upload ${ready} file${ready > 1 ? "s" : ""}` : "Upload";
    button.disabled = Boolean(running) || isAsking || !ready;
    rights.hidden = !queue.some((row) => row.lacksRight && row.state === "would be refused");
  }

  async function ask(rows) {
    const body = new URLSearchParams({ csrf_token: form.elements.csrf_token.value });
    for (const row of rows) {
      body.append("filename", row.file.name);
      body.append("size", row.file.size);
      body.append("sha256", row.digest);
    }
    const response = await fetch(new URL("check/", form.action), { method: "POST", body, headers: { Accept: "application/json" } });
    const answers = parsed(await response.text());
    if (!response.ok || !Array.isArray(answers)) throw new Error(reason(response.status, answers));
    return answers;
  }

  async function preview(rows) {
    try {
      const answers = await ask(rows);
      const unsure = rows.filter((row, at) => answers[at].needs_digest && row.canDigest);
      for (const row of unsure) await row.compute();
      return unsure.length ? await ask(rows) : answers;
    } catch (error) {
      return rows.map(() => ({ status: "unknown", message: `This could not be checked before: ${error.message}` }));
    }
  }

  // all that is not sent is asked for each time: the files of one project share its quota
  async function check() {
    const question = ++questions;
    const rows = queue.filter((row) => OPEN.includes(row.state));
    isAsking = true;
    count();
    for (let at = 0; at < rows.length; at += AT_ONCE) {
      const part = rows.slice(at, at + AT_ONCE);
      const answers = await preview(part);
      if (question !== questions) return; // other files have come meanwhile
      part.forEach((row, place) => row.take(answers[place]));
    }
    isAsking = false;
    count();
  }

  function next() {
    if (running) return;
    running = queue.find((row) => row.state === "ready") ?? null;
    if (running) {
      running.send(() => {
        running = null;
        next();
      });
    }
    count();
  }

  function add(files) {
    for (const file of files) {
      // a file that was built anew takes the place of the one before
      queue.find((row) => row.file.name === file.name && OPEN.includes(row.state))?.remove();
      queue.push(new Row(file));
    }
    check();
  }

  const mark = (event) => {
    const isOver = Boolean(event.dataTransfer?.types.includes("Files"));
    const isLeaving = event.type === "drop" || (event.type === "dragleave" && !event.relatedTarget);
    if (isOver && event.type !== "dragleave") event.preventDefault();
    zone.classList.toggle("near", isOver && !isLeaving);
    zone.classList.toggle("over", isOver && !isLeaving && zone.contains(event.target));
    return isOver;
  };
  for (const type of ["dragenter", "dragover", "dragleave"]) document.addEventListener(type, mark);
  document.addEventListener("drop", (event) => {
    if (mark(event)) add(event.dataTransfer.files);
  });

  for (const each of form.querySelectorAll("[data-scripted], [data-plain]")) each.hidden = "plain" in each.dataset;
  input.required = false;
  input.multiple = true;
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!isAsking) next();
  });
  addEventListener("beforeunload", (event) => {
    if (running) event.preventDefault();
  });
  count();
})();
