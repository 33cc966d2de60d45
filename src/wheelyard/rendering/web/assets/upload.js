"use strict";
// Without this script the upload page sends one file. With it, several can be chosen, or dropped
// anywhere on the page, and are sent one after another, each with its own progress.
(() => {
  const form = document.getElementById("upload");
  const input = form.elements.content;
  const button = form.querySelector("button");
  const list = form.querySelector("[data-queue]");
  const summary = form.querySelector("[data-summary]");
  const queue = [];
  let running = null;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const size = (bytes) => (bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`);

  class Row {
    constructor(file) {
      this.file = file;
      this.state = "waiting";
      this.item = element("li");
      this.mark = element("span", "", "mark");
      this.progress = element("progress");
      this.progress.max = 1;
      this.progress.setAttribute("aria-label", `Progress of ${file.name}`);
      this.text = element("p");
      this.stop = element("button", "", "plain");
      this.stop.type = "button";
      this.stop.addEventListener("click", () => this.press());
      this.item.append(element("strong", file.name), " ", element("span", size(file.size), "soft"), " ", this.mark, " ", this.progress, " ", this.stop, this.text);
      list.append(this.item);
      this.show("waiting", "Remove");
    }

    show(state, action = "") {
      this.state = state;
      this.mark.textContent = state;
      this.mark.classList.toggle("danger", state === "refused" || state === "failed");
      this.progress.hidden = state !== "sending";
      this.stop.hidden = !action;
      this.stop.textContent = action;
      this.stop.setAttribute("aria-label", `${action} ${this.file.name}`);
    }

    press() {
      if (this.state === "sending") {
        this.request.abort();
      } else if (this.state === "waiting") {
        queue.splice(queue.indexOf(this), 1);
        this.item.remove();
        input.focus();
        count();
      } else {
        this.text.replaceChildren();
        this.show("waiting", "Remove");
        next();
      }
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
      request.addEventListener("abort", () => this.fail(this.progress.value < 1 ? "You have cancelled it. Nothing of it was stored." : "You have cancelled it when all of it was sent already: look at the page of its project."));
      request.addEventListener("error", () => this.fail("The connection broke off. Try again: a file that has arrived meanwhile is not stored twice."));
      request.addEventListener("loadend", done);
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    }

    fail(message) {
      this.text.className = "error";
      this.text.textContent = message;
      this.show("failed", "Try again");
    }

    answer(request) {
      let found = {};
      try {
        found = JSON.parse(request.responseText);
      } catch {
        // what is in between has answered, such as a proxy
      }
      if (!found.project) {
        const message = found.message ?? `The answer was ${request.status} ${request.statusText}.`;
        this.text.className = "error";
        this.text.textContent = request.status === 401 ? "You are not signed in any more. Sign in again, in another tab, and load this page again." : message;
        this.show("refused", "Try again");
        return;
      }
      const link = element("a", `Project page of ${found.project}`);
      link.href = `${form.dataset.home}project/${encodeURIComponent(found.project)}/`;
      this.text.className = "";
      this.text.replaceChildren(link);
      for (const warning of found.warnings ?? []) this.text.append(element("br"), warning);
      this.show(found.status === "there" ? "was there already" : "uploaded");
    }
  }

  function count() {
    const waiting = queue.filter((row) => row.state === "waiting").length;
    const good = queue.filter((row) => row.state === "uploaded" || row.state === "was there already").length;
    const bad = queue.filter((row) => row.state === "refused" || row.state === "failed").length;
    button.disabled = Boolean(running) || !waiting;
    summary.textContent = queue.length ? `${good} uploaded, ${bad} not uploaded, ${waiting} waiting.` : "";
  }

  function next() {
    if (running) return;
    running = queue.find((row) => row.state === "waiting") ?? null;
    if (running) {
      running.send(() => {
        running = null;
        next();
      });
    }
    count();
  }

  function add(files) {
    for (const file of files) queue.push(new Row(file));
    count();
  }

  for (const each of form.querySelectorAll("[data-scripted]")) each.hidden = false;
  input.required = false;
  input.multiple = true;
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    next();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    add(event.dataTransfer.files);
  });
  addEventListener("beforeunload", (event) => {
    if (running) event.preventDefault();
  });
  count();
})();
