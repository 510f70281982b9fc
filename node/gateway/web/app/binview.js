// The bin: what was removed, until it is gone for good.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, failure, fill, h, loading, placeholder } from "./dom.js";
import { base, bytes, counted, duration, exactly, parent, placeName, shown, when } from "./format.js";
import { entryIcon } from "./entries.js";
import { Grid } from "./grid.js";
import { menu } from "./overlay.js";

export class BinView {
  constructor() {
    this.title = "Bin";
    this.stop = new AbortController();
    this.words = h("p", { class: "status-line" });
    this.keep = h("p", { class: "hint" });
    this.under = h("div", { class: "under", hidden: true });
    this.grid = new Grid({
      label: "Bin",
      class: "files-grid bin-grid",
      columns: [
        { key: "name", label: "Name", class: "cell-name" },
        { key: "folder", label: "Was in", class: "cell-folder" },
        { key: "bytes", label: "Size", class: "cell-size" },
        { key: "removed", label: "Removed", class: "cell-date" },
      ],
      id: (item) => item.id,
      name: (item) => shown(base(item.path)),
      cells: (item) => {
        const name = base(item.path);
        return [
          [
            entryIcon({ kind: item.kind, name }),
            h(
              "span",
              { class: "name-lines" },
              h("span", { class: "name", dir: "auto", title: shown(item.path) }, shown(name)),
              h(
                "span",
                { class: "name-below" },
                `${placeName(parent(item.path))} · ${when(item.removed_ms)}`,
              ),
            ),
          ],
          h("span", { dir: "auto" }, placeName(parent(item.path))),
          h("span", {}, bytes(item.bytes)),
          h("span", { title: exactly(item.removed_ms) }, when(item.removed_ms)),
        ];
      },
      menu: (items, at) => menu(this.itemActions(items), at),
      open: (item) =>
        this.grid.isSelected(this.grid.active) &&
        menu(this.itemActions([item]), { from: this.grid.rows.get(this.grid.active) ?? this.grid.element }),
      changed: () => this.selectionChanged(),
      keys: (event) => {
        const items = this.grid.chosen();
        if (items.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.key === "r") actions.restoreFromBin(items);
        else if (event.key === "Delete") actions.removeForGood(items);
        else return;
        event.preventDefault();
      },
    });
    this.emptyButton = button("Empty bin", { icon: "bin", disabled: true }, () => actions.removeForGood());
    this.bar = h("div", {
      class: "tools selection",
      role: "toolbar",
      "aria-label": "Actions for the selection",
      hidden: true,
    });
    this.element = h(
      "div",
      { class: "view files" },
      h(
        "div",
        { class: "view-head" },
        h("div", { class: "view-words" }, h("h1", { class: "view-title" }, "Bin"), this.keep),
        h("div", { class: "head-tools" }, h("div", { class: "tools" }, this.emptyButton), this.bar),
      ),
      h(
        "div",
        { class: "split" },
        h("div", { class: "list-side" }, this.grid.element, this.under, this.words),
      ),
    );
    const { signal } = this.stop;
    actions.drive.addEventListener("changed", () => this.load(), { signal });
    api.node.addEventListener("back", () => this.load(), { signal });
    this.cover(loading());
    this.load();
  }

  destroy() {
    this.stop.abort();
    this.grid.destroy();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  itemActions(items) {
    return [
      { label: "Restore", icon: "restore", keys: "R", run: () => actions.restoreFromBin(items) },
      null,
      {
        label: "Remove for good…",
        icon: "bin",
        keys: "Del",
        danger: true,
        run: () => actions.removeForGood(items),
      },
    ];
  }

  selectionChanged() {
    const items = this.grid.chosen();
    this.bar.hidden = items.length === 0;
    this.emptyButton.parentElement.hidden = items.length > 0;
    if (items.length === 0) return;
    fill(
      this.bar,
      h("span", { class: "selection-count", "aria-live": "polite" }, this.grid.selectionWords()),
      button("Restore", { icon: "restore" }, () => actions.restoreFromBin(items)),
      button("Remove for good", { icon: "bin", iconOnly: true, kind: "quiet" }, () =>
        actions.removeForGood(items),
      ),
      button("Clear selection", { icon: "close", iconOnly: true, kind: "quiet" }, () => {
        this.grid.clear();
        this.focus();
      }),
    );
  }

  cover(what) {
    this.under.hidden = !what;
    fill(this.under, what);
  }

  async load() {
    try {
      const { items, keep_seconds: keep } = await api.bin(this.stop.signal);
      this.keep.textContent = keep
        ? `What is removed is kept for ${duration(keep)}.`
        : "What is removed is kept until the bin is emptied.";
      this.grid.set(items);
      this.selectionChanged();
      this.emptyButton.disabled = items.length === 0;
      this.words.textContent =
        items.length === 0
          ? ""
          : `${counted(items.length, "item")} · ${bytes(items.reduce((sum, item) => sum + item.bytes, 0))}`;
      this.cover(
        items.length > 0
          ? null
          : placeholder({
              icon: "bin",
              title: "The bin is empty",
              text: "What you remove from the drive comes here first, and can be restored.",
            }),
      );
    } catch (error) {
      if (error.code !== "cancelled") this.cover(failure(error, () => this.load()));
    }
  }
}
