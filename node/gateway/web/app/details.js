// The pane beside a list: what is selected, in full.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { bytes, counted, exactly, kindOf, kindWords, number, parent, placeName, shown } from "./format.js";
import { fileHash } from "./router.js";
import { shareDialog } from "./share.js";
import { versionsDialog } from "./versions.js";

function bigIcon(entry) {
  const kind = entry.kind === "folder" ? "folder" : kindOf(entry.name);
  const name =
    {
      folder: "files",
      image: "image",
      video: "video",
      audio: "audio",
      text: "text",
      pdf: "text",
      archive: "archive",
    }[kind] ?? "file";
  return h("div", { class: `details-icon ${kind}` }, icon(name));
}

export class Details {
  constructor(close) {
    this.isOpen = false;
    this.content = h("div", { class: "details-content", "aria-live": "polite" });
    this.element = h(
      "aside",
      { class: "details", "aria-label": "Details", hidden: true },
      h(
        "div",
        { class: "details-head" },
        h("h2", {}, "Details"),
        button("Close details", { icon: "close", iconOnly: true, kind: "quiet" }, close),
      ),
      this.content,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
    });
  }

  destroy() {
    this.stop?.abort();
  }

  open(open) {
    this.isOpen = open;
    this.element.hidden = !open;
    if (!open) this.shown = undefined;
  }

  // `folder` is what is shown when nothing is selected.
  show(entries, folder) {
    if (!this.isOpen) return;
    if (entries.length > 1) {
      this.stop?.abort();
      this.shown = undefined;
      const size = entries.reduce((sum, entry) => sum + entry.bytes, 0);
      fill(
        this.content,
        h("p", { class: "details-name" }, counted(entries.length, "item")),
        facts([["Size", bytes(size)]]),
      );
      return;
    }
    const path = entries[0]?.path ?? folder;
    if (path === undefined)
      return fill(this.content, h("p", { class: "muted" }, "Select a file or folder to see its details."));
    const mark = JSON.stringify([path, entries[0]?.modified_ms, entries[0]?.bytes]);
    if (mark === this.shown) return;
    this.shown = mark;
    this.load(path);
  }

  async load(path) {
    this.stop?.abort();
    this.stop = new AbortController();
    const { signal } = this.stop;
    try {
      const [info, given] = await Promise.all([
        api.info(path, signal),
        api.shares(signal).catch(() => ({ shares: [] })),
      ]);
      const links = given.shares.filter((share) => share.path === path);
      const file = info.kind === "file";
      const name = path === "/" ? "My drive" : shown(info.name);
      fill(
        this.content,
        bigIcon({ ...info, name: info.name || "drive" }),
        h("p", { class: "details-name", dir: "auto" }, name),
        facts([
          ["Kind", path === "/" ? "Drive" : kindWords(info)],
          ["Size", `${bytes(info.bytes)}${info.bytes >= 1024 ? ` (${number(info.bytes)} bytes)` : ""}`],
          !file && [
            "Holds",
            `${counted(info.files, "file")}, ${counted(info.children, "entry", "entries")} here`,
          ],
          path !== "/" && ["Modified", exactly(info.modified_ms)],
          file && ["Stored", exactly(info.version)],
          path !== "/" && [
            "In",
            h("a", { href: fileHash(parent(path)), dir: "auto" }, placeName(parent(path))),
          ],
          file && ["Earlier versions", info.versions === 0 ? "None" : number(info.versions)],
          links.length > 0 && ["Shared", counted(links.length, "link")],
          file && info.executable && ["Executable", "Yes"],
          ...Object.entries(info.attributes ?? {})
            .filter(([key]) => !key.startsWith("s3-"))
            .map(([key, value]) => [
              { "content-type": "Content type", etag: "MD5" }[key] ?? shown(key),
              h("span", { class: key === "etag" ? "mono wrap" : "wrap", dir: "auto" }, shown(value)),
            ]),
        ]),
        path !== "/" &&
          h(
            "div",
            { class: "details-actions" },
            button("Download", { icon: "download" }, () => actions.download([info])),
            button("Share", { icon: "shares" }, () => shareDialog(info)),
            file && button("Versions", { icon: "versions" }, () => versionsDialog(info)),
          ),
      );
    } catch (error) {
      if (error.code !== "cancelled") fill(this.content, h("p", { class: "muted" }, error.message));
    }
  }
}

// A list of facts: [[what, value]], false ones left out.
export function facts(list) {
  return h(
    "dl",
    { class: "facts" },
    list.filter(Boolean).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
  );
}
