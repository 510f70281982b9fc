// Transfers: what is on its way, what has ended, and what waits for its file to be chosen again.

import * as api from "./api.js";
import * as transfers from "./transfers.js";
import { button, fill, h, icon, placeholder } from "./dom.js";
import { base, bytes, counted, duration, exactly, number, parent, placeName, rate, shown } from "./format.js";
import { attempt, confirm } from "./overlay.js";
import { fileHash, go } from "./router.js";
import { versionsDialog } from "./versions.js";

// What a batch is doing, in words.
export function batchWords(batch) {
  const files = batch.items.length;
  const done = batch.count("done");
  const down = batch.way === "down";
  const what = down ? "item" : "file";
  const many = files > 1 ? `${number(done)} of ${counted(files, what)} · ` : "";
  if (batch.state === "done")
    return `${files > 1 && batch.title !== counted(files, what) ? `${counted(files, what)} · ` : ""}${bytes(batch.bytes)} · ${down ? "downloaded" : storedWords(batch)}`;
  if (batch.state === "cancelled") return `${many}cancelled`;
  if (batch.state === "failed")
    return files > 1 ? `${many}${number(batch.count("failed"))} failed` : "failed";
  const speed = batch.rate;
  const left = batch.left;
  const all = batch.bytes > 0 && batch.sent >= batch.bytes;
  if (batch.count("sending") === 0) {
    const much = batch.bytes === undefined ? "" : `${bytes(batch.bytes)} · `;
    return `${many}${much}waiting for its turn`;
  }
  const still = () => {
    if (api.isGone()) return "waiting for the node";
    if (!down) return "starting";
    if (batch.sent > 0) return "nothing comes at the moment";
    return batch.items.some((item) => item.asked) ? "waiting for the browser" : "starting";
  };
  const pace =
    all && !down
      ? "waiting for providers to sign"
      : speed > 0
        ? `${rate(speed)}${left === undefined ? "" : ` · ${duration(left)} left`}`
        : still();
  const far =
    batch.bytes === undefined
      ? `${bytes(batch.sent)} so far`
      : `${bytes(batch.sent)} of ${bytes(batch.bytes)}`;
  return `${many}${far} · ${pace}`;
}

// A file that stood there already is not gone: its earlier content is kept.
function storedWords(batch) {
  const replaced = batch.items.filter((item) => item.replaced).length;
  if (replaced === 0) return "stored";
  if (batch.items.length === 1) return "stored as a new version; the earlier one is kept";
  if (replaced === batch.items.length) return "stored as new versions; the earlier ones are kept";
  return `stored, ${number(replaced)} as ${replaced === 1 ? "a new version" : "new versions"}`;
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
    this.symbol = h("span", { class: "transfer-icon" });
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
            `${batch.way === "down" ? "from" : "to"} ${placeName(batch.folder)}`,
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
    const { bytes: total, sent } = batch;
    const done = state === "done" ? 1 : total > 0 ? sent / total : 0;
    const unknown = total === undefined && state === "active";
    const percent = Math.floor(done * 100);
    this.fill.style.width = unknown ? "" : `${percent}%`;
    if (unknown) this.bar.removeAttribute("aria-valuenow");
    else this.bar.setAttribute("aria-valuenow", String(percent));
    this.bar.className = state === "failed" ? "bar danger" : unknown ? "bar unknown" : "bar";
    this.bar.hidden = state === "done" || state === "cancelled";
    this.words.textContent = batchWords(batch);
    if (state === this.state && batch.count("failed") === this.failed && batch.note === this.note) return;
    this.state = state;
    this.failed = batch.count("failed");
    this.note = batch.note;
    const symbol = {
      active: batch.way === "down" ? "download" : "upload",
      done: "check",
      failed: "warn",
      cancelled: "close",
    }[state];
    this.symbol.className = `transfer-icon ${state}`;
    fill(this.symbol, icon(symbol));
    fill(
      this.tools,
      state === "active" &&
        button("Cancel", { icon: "close", iconOnly: true, kind: "quiet" }, () => batch.cancel()),
      state === "done" &&
        batch.items.length === 1 &&
        batch.items[0].replaced &&
        button("Versions", { icon: "versions", iconOnly: true, kind: "quiet" }, () =>
          versionsDialog({ ...batch.items[0], name: base(batch.items[0].path), kind: "file" }),
        ),
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
    this.none = h("div", { class: "middle" });
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
    const cut = (batch) => batch.way === "up" && (batch.state === "failed" || batch.state === "cancelled");
    const ended = batches.filter(cut).length;
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
            text: "Uploads and downloads are listed here with their progress.",
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
        waiting.length > 0 &&
          h(
            "div",
            {},
            h("h2", {}, "Begun and not finished"),
            h("p", { class: "hint" }, "Choose the same file again: only what is missing is sent."),
          ),
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
