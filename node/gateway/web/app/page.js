// What the pages have in common that tell how things are: each asks the node when it opens and every half
// minute, and shows the last answer until there is a newer one.

import * as api from "./api.js";
import { button, failure, fill, h, loading } from "./dom.js";
import { copyText } from "./overlay.js";

const EVERY_MS = 30_000;

// A page with a title, whose body `draw` makes from what `ask` answered.
export class Page {
  constructor(title, about) {
    this.title = title;
    this.stop = new AbortController();
    this.body = h("div", { class: "page-body stack" }, loading());
    this.tools = h("div", { class: "tools" });
    this.element = h(
      "div",
      { class: "view page" },
      h(
        "div",
        { class: "view-head" },
        h(
          "div",
          { class: "view-words" },
          h("h1", { class: "view-title", tabindex: "-1", "data-home": true }, title),
          h("p", { class: "hint" }, about),
        ),
        h("div", { class: "head-tools" }, this.tools),
      ),
      this.body,
    );
    api.node.addEventListener("back", () => this.load(), { signal: this.stop.signal });
    this.timer = setInterval(() => !document.hidden && this.load(), EVERY_MS);
    queueMicrotask(() => this.load());
  }

  destroy() {
    this.stop.abort();
    clearInterval(this.timer);
  }

  focus() {
    this.element.querySelector("h1").focus({ preventScroll: true });
  }

  async load() {
    try {
      const answer = await this.ask(this.stop.signal);
      // Nothing is drawn anew under somebody's hands.
      const mark = JSON.stringify(answer);
      if (mark === this.mark) return;
      this.mark = mark;
      fill(this.body, this.draw(answer));
    } catch (error) {
      if (error.code === "cancelled") return;
      if (error.code === "gone_node" && this.mark) return;
      this.mark = undefined;
      fill(
        this.body,
        failure(error, () => this.load()),
      );
    }
  }
}

export function card(title, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), ...content);
}

export function figure(label, value, more) {
  return h(
    "div",
    { class: "figure" },
    h("p", { class: "figure-label" }, label),
    h("p", { class: "figure-value" }, value),
    more && h("p", { class: "hint" }, more),
  );
}

export function copyable(text, shownText = text) {
  return h(
    "span",
    { class: "copyable" },
    h("span", { class: "mono wrap" }, shownText),
    button("Copy", { icon: "copy", iconOnly: true, kind: "quiet" }, () => copyText(text)),
  );
}
