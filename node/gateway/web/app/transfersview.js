// Transfers: what is on its way, what has ended, and what waits for its file to be chosen again.

import * as api from "./api.js";
import * as transfers from "./transfers.js";
import { button, fill, h, icon, placeholder } from "./dom.js";
import { base, bytes, counted, duration, exactly, parent, placeName, rate, shown } from "./format.js";
import { attempt, confirm } from "./overlay.js";
import { fileHash, go } from "./router.js";

// What a batch is doing, in words.
export function batchWords(batch) {
  const files = batch.items.length;
  const done = batch.count("done");
  const many = files > 1 ? `${done.toLocaleString("en")} of ${counted(files, "file")} · ` : "";
  if (batch.state === "done")
    return `${files > 1 ? `${counted(files, "file")} · ` : ""}${bytes(batch.bytes)} · stored`;
  if (batch.state === "cancelled") return `${many}cancelled`;
  if (batch.state === "failed") return `${many}${counted(batch.count("failed"), "file")} failed`;
  const speed = batch.rate;
  const left = batch.left;
  const all = batch.bytes > 0 && batch.sent >= batch.bytes;
  const pace = all
    ? "waiting for providers to sign"
    : speed > 0
      ? `${rate(speed)}${left === undefined ? "" : ` · ${duration(left)} left`}`
      : api.isGone()
        ? "waiting for the node"
        : "starting";
  return `${many}${bytes(batch.sent)} of ${bytes(batch.bytes)} · ${pace}`;
}

class Line {
  constructor(batch) {
    this.batch = batch;
    this.words = h("p", { class: "hint" });
    this.fill = h("span");
    this.bar = h(
      "div",
      {
        class: "bar",
        role: "progressbar",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        "aria-label": `Progress of ${shown(batch.title)}`,
      },
      this.fill,
    );
    this.tools = h("div", { class: "line-tools" });
    this.problems = h("ul", { class: "transfer-problems" });
    this.symbol = h("span", { class: "transfer-icon" }, icon("upload"));
    this.element = h(
      "li",
      { class: "line transfer" },
      this.symbol,
      h(
        "div",
        { class: "line-words" },
        h(
          "p",
          { class: "line-title" },
          h("span", { class: "name", dir: "auto" }, shown(batch.title)),
          h(
            "a",
            { class: "hint to", href: fileHash(batch.folder), dir: "auto" },
            `to ${placeName(batch.folder)}`,
          ),
        ),
        this.bar,
        this.words,
        this.problems,
      ),
      this.tools,
    );
  }

  update() {
    const { batch } = this;
    const { state } = batch;
    const done = batch.bytes > 0 ? batch.sent / batch.bytes : state === "done" ? 1 : 0;
    const percent = Math.floor((state === "done" ? 1 : done) * 100);
    this.fill.style.width = `${percent}%`;
    this.bar.setAttribute("aria-valuenow", String(percent));
    this.bar.className = state === "failed" ? "bar danger" : "bar";
    this.bar.hidden = state === "done" || state === "cancelled";
    this.words.textContent = batchWords(batch);
    if (state === this.state && batch.count("failed") === this.failed && batch.note === this.note) return;
    this.state = state;
    this.failed = batch.count("failed");
    this.note = batch.note;
    const symbol = { active: "upload", done: "check", failed: "warn", cancelled: "close" }[state];
    this.symbol.className = `transfer-icon ${state}`;
    fill(this.symbol, icon(symbol));
    fill(
      this.tools,
      state === "active" &&
        button("Cancel", { icon: "close", iconOnly: true, kind: "quiet" }, () => batch.cancel()),
      (state === "failed" || state === "cancelled") &&
        button("Try again", { icon: "retry", iconOnly: true, kind: "quiet" }, () => batch.retry()),
      state !== "active" &&
        button("Take off the list", { icon: "close", iconOnly: true, kind: "quiet" }, () =>
          transfers.removeBatch(batch),
        ),
    );
    const failed = batch.items.filter((item) => item.state === "failed");
    fill(
      this.problems,
      batch.note && h("li", {}, batch.note),
      failed
        .slice(0, 5)
        .map((item) =>
          h(
            "li",
            {},
            failed.length > 1 || batch.items.length > 1
              ? h("b", { dir: "auto" }, `${shown(base(item.path))}: `)
              : null,
            item.error?.message ?? "It failed.",
          ),
        ),
      failed.length > 5 && h("li", {}, `and ${counted(failed.length - 5, "more file")}`),
    );
  }
}

export class TransfersView {
  constructor() {
    this.title = "Transfers";
    this.stop = new AbortController();
    this.lines = new Map();
    this.list = h("ul", { class: "lines" });
    this.waiting = h("div", { class: "stack" });
    this.none = h("div");
    this.clear = button("Clear ended", { icon: "check" }, () => transfers.clearEnded());
    this.element = h(
      "div",
      { class: "view page" },
      h(
        "div",
        { class: "view-head" },
        h("h1", { class: "view-title", tabindex: "-1", "data-home": true }, "Transfers"),
        h("div", { class: "head-tools" }, this.clear),
      ),
      h("div", { class: "page-body stack" }, this.list, this.none, this.waiting),
    );
    const { signal } = this.stop;
    transfers.events.addEventListener("change", () => this.update(), { signal });
    transfers.events.addEventListener("stored", () => this.load(), { signal });
    api.node.addEventListener("back", () => this.load(), { signal });
    this.timer = setInterval(() => this.update(), 1000);
    this.ended = 0;
    this.update();
    this.load();
  }

  destroy() {
    this.stop.abort();
    clearInterval(this.timer);
  }

  focus() {
    this.element.querySelector("h1").focus({ preventScroll: true });
  }

  update() {
    const { batches } = transfers;
    for (const [batch, line] of this.lines) {
      if (batches.includes(batch)) continue;
      line.element.remove();
      this.lines.delete(batch);
    }
    for (const batch of [...batches].reverse()) {
      if (!this.lines.has(batch)) {
        const line = new Line(batch);
        this.lines.set(batch, line);
        this.list.prepend(line.element);
      }
      this.lines.get(batch).update();
    }
    // What was cut short may be among the unfinished ones now.
    const ended = batches.filter((batch) => batch.state === "failed" || batch.state === "cancelled").length;
    if (ended !== this.ended) {
      this.ended = ended;
      this.load();
    }
    this.list.hidden = batches.length === 0;
    this.clear.hidden = !batches.some((batch) => batch.state !== "active");
    const empty = batches.length === 0 && this.waiting.childElementCount === 0;
    if (empty !== this.empty) {
      this.empty = empty;
      fill(
        this.none,
        empty &&
          placeholder({
            icon: "transfers",
            title: "Nothing is on its way",
            text: "Uploads are listed here with their progress. Downloads are with the browser's own.",
            actions: [button("Go to my files", { kind: "primary" }, () => go("#/files"))],
          }),
      );
    }
  }

  // Uploads that were begun, here or elsewhere, and that nobody is sending from this page.
  async load() {
    try {
      const { uploads } = await api.uploads(this.stop.signal);
      const waiting = uploads.filter((upload) => !transfers.isSending(upload.id));
      fill(
        this.waiting,
        waiting.length > 0 && h("h2", {}, "Begun and not finished"),
        waiting.length > 0 &&
          h("p", { class: "hint" }, "Choose the same file again: only what is missing is sent."),
        waiting.length > 0 &&
          h(
            "ul",
            { class: "lines" },
            waiting.map((upload) => this.unfinished(upload)),
          ),
      );
      this.update();
    } catch {
      // The list of what this page sends is there all the same.
      fill(this.waiting);
    }
  }

  unfinished(upload) {
    const name = base(upload.path);
    const input = h("input", { type: "file", class: "sr-only", tabindex: "-1", "aria-hidden": "true" });
    input.addEventListener("change", () => {
      const file = input.files[0];
      if (file) transfers.start(name, parent(upload.path), [{ file, path: upload.path }]);
      this.load();
    });
    const stored = upload.parts.reduce((sum, part) => sum + part.bytes, 0);
    return h(
      "li",
      { class: "line transfer" },
      h("span", { class: "transfer-icon" }, icon("inbox")),
      h(
        "div",
        { class: "line-words" },
        h(
          "p",
          { class: "line-title" },
          h("span", { class: "name", dir: "auto" }, shown(name)),
          h(
            "a",
            { class: "hint to", href: fileHash(parent(upload.path)), dir: "auto" },
            `to ${placeName(parent(upload.path))}`,
          ),
        ),
        h("p", { class: "hint" }, `${bytes(stored)} stored · begun ${exactly(upload.begun_ms)}`),
      ),
      h(
        "div",
        { class: "line-tools" },
        button("Choose file", { icon: "upload" }, () => input.click()),
        button("Give up", { icon: "bin", iconOnly: true, kind: "quiet" }, async () => {
          const sure = await confirm({
            title: "Give up this upload?",
            text: `What was stored of “${shown(name)}” so far is thrown away.`,
            action: "Give up",
            danger: true,
          });
          if (sure && (await attempt(() => api.abortUpload(upload.id)))) this.load();
        }),
        input,
      ),
    );
  }
}
