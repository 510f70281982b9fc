// The links that were given out.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, failure, fill, h, icon, loading, placeholder, prose } from "./dom.js";
import { base, exactly, parent, shown } from "./format.js";
import { entryIcon } from "./entries.js";
import { copyText } from "./overlay.js";
import { fileHash, go } from "./router.js";
import { linkDialog, revoke, shareWords } from "./share.js";

export class SharesView {
  constructor() {
    this.title = "Shared";
    this.stop = new AbortController();
    this.body = h("div", { class: "page-body" }, loading());
    this.element = h(
      "div",
      { class: "view page" },
      h(
        "div",
        { class: "view-head" },
        h(
          "div",
          { class: "view-words" },
          h("h1", { class: "view-title", tabindex: "-1", "data-home": true }, "Shared"),
          h(
            "p",
            { class: "hint" },
            "Links that you have given out. Whoever has one can open it in a browser.",
          ),
        ),
      ),
      this.body,
    );
    const { signal } = this.stop;
    actions.drive.addEventListener("changed", () => this.load(), { signal });
    api.node.addEventListener("back", () => this.load(), { signal });
    this.load();
  }

  destroy() {
    this.stop.abort();
  }

  focus() {
    this.element.querySelector("h1").focus({ preventScroll: true });
  }

  async load() {
    try {
      const { shares } = await api.shares(this.stop.signal);
      if (shares.length === 0) {
        fill(
          this.body,
          placeholder({
            icon: "shares",
            title: "Nothing is shared",
            text: "Select a file or folder and choose Share to make a link that opens in a browser.",
            actions: [button("Go to my files", { kind: "primary" }, () => go("#/files"))],
          }),
        );
      } else {
        fill(
          this.body,
          h(
            "ul",
            { class: "lines" },
            shares.map((share) => this.line(share)),
          ),
        );
      }
    } catch (error) {
      if (error.code !== "cancelled")
        fill(
          this.body,
          failure(error, () => this.load()),
        );
    }
  }

  line(share) {
    const name = base(share.path) || "My drive";
    return h(
      "li",
      { class: "line" },
      entryIcon({ kind: share.kind, name }),
      h(
        "div",
        { class: "line-words" },
        h(
          "p",
          { class: "line-title" },
          h(
            "a",
            {
              class: "name",
              dir: "auto",
              href:
                share.path === "/"
                  ? "#/files"
                  : `${fileHash(parent(share.path))}?${new URLSearchParams({ show: name })}`,
            },
            shown(name),
          ),
          share.drop_box && h("span", { class: "tag" }, "Drop box"),
          share.password && h("span", { class: "tag quiet" }, icon("lock"), "Password"),
        ),
        h(
          "p",
          { class: "hint" },
          `${shareWords({ ...share, drop_box: false, password: false })} · made ${exactly(share.created_ms)}`
            .replace(/^no end/, "Has no end")
            .replace(/^ends/, "Ends")
            .replace(/^ended/, "Ended"),
        ),
        share.problem && h("p", { class: "hint problem" }, icon("warn"), h("span", {}, prose(share.problem))),
      ),
      h(
        "div",
        { class: "line-tools" },
        button("Copy link", { icon: "copy" }, () => copyText(share.link, "The link was copied.")),
        button(`Show the link to ${shown(name)}`, { icon: "eye", iconOnly: true, kind: "quiet" }, () =>
          linkDialog(share),
        ),
        button(`Revoke the link to ${shown(name)}`, { icon: "bin", iconOnly: true, kind: "quiet" }, () =>
          revoke(share),
        ),
      ),
    );
  }
}
