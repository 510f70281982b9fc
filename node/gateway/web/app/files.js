// A folder of the drive: the view that people are in most of the time.

import * as actions from "./actions.js";
import * as api from "./api.js";
import * as transfers from "./transfers.js";
import { Details } from "./details.js";
import { crumbs, drag, dropped, dropTarget, takeDrops } from "./dropping.js";
import { button, failure, fill, h, icon, loading, placeholder } from "./dom.js";
import { entryActions, entryKeys, nameCell, openEntry } from "./entries.js";
import { base, bytes, counted, exactly, join, number, parent, shown, when, within } from "./format.js";
import { Grid } from "./grid.js";
import { announce, menu, toast } from "./overlay.js";
import { fileHash, go } from "./router.js";

// Entries of the first request, so that something is there soon, and of the ones after it.
const FIRST = 300;
const PAGE = 10_000;
// A folder of up to so many entries is loaded whole and sorted as people sort; a larger one comes in the
// drive's order, as far as somebody scrolls.
const WHOLE_MAX = 20_000;

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const ORDERS = {
  name: (a, b) => collator.compare(a.name, b.name),
  bytes: (a, b) => a.bytes - b.bytes,
  modified: (a, b) => a.modified_ms - b.modified_ms,
};

// What was cut or copied, until it is pasted: {entries, cut}.
let clipboard = null;
// How every folder is sorted, in this tab.
let order = { key: "name", up: true };

export class FilesView {
  constructor({ path, query }) {
    this.path = path;
    this.wanted = query.get("show");
    this.title = path === "/" ? "My drive" : shown(base(path));
    this.stop = new AbortController();
    this.entries = [];
    this.after = undefined;
    this.complete = false;
    this.busy = false;
    this.total = 0;
    this.build();
    this.load();
    const { signal } = this.stop;
    const touched = (event) => {
      if (event.detail.includes(this.path) || event.detail.length === 0) this.refresh();
      // A folder made on the way to a stored file lies above it.
      else if (event.detail.some((folder) => within(folder, this.path))) this.refresh();
    };
    actions.drive.addEventListener("changed", touched, { signal });
    transfers.events.addEventListener("stored", touched, { signal });
    api.node.addEventListener("back", () => this.refresh(), { signal });
  }

  destroy() {
    this.stop.abort();
    this.grid.destroy();
    this.pane.destroy();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  build() {
    const upload = h("input", {
      type: "file",
      multiple: true,
      class: "sr-only",
      id: "upload-files",
      tabindex: "-1",
      "aria-hidden": "true",
    });
    const uploadFolder = h("input", {
      type: "file",
      webkitdirectory: true,
      class: "sr-only",
      id: "upload-folder",
      tabindex: "-1",
      "aria-hidden": "true",
    });
    for (const input of [upload, uploadFolder]) {
      input.addEventListener("change", () => {
        transfers.startChosen(this.path, input.files);
        input.value = "";
      });
    }
    this.chooseFiles = () => upload.click();
    const uploadButton = button("Upload", { icon: "upload", kind: "primary", "aria-haspopup": "menu" }, () =>
      menu(
        [
          { label: "Files…", icon: "file", keys: "U", run: () => upload.click() },
          { label: "A folder…", icon: "files", run: () => uploadFolder.click() },
        ],
        { from: uploadButton },
      ),
    );
    const folderButton = button("New folder", { icon: "folderNew" }, () => this.newFolder());
    this.detailsButton = button(
      "Details",
      { icon: "details", iconOnly: true, kind: "quiet", "aria-pressed": "false" },
      () => this.toggleDetails(),
    );
    this.cover = h(
      "div",
      { class: "drop-cover", hidden: true },
      h("div", { class: "drop-words" }, icon("upload"), h("span", {}, `Drop here to store in ${this.title}`)),
    );
    this.crumbs = h(
      "nav",
      { class: "crumbs", "aria-label": "Folder" },
      crumbs(this.path, (crumb, folder) => dropTarget(crumb, folder, this.cover)),
    );
    this.plain = h("div", { class: "tools" }, folderButton, uploadButton);
    this.bar = h("div", {
      class: "tools selection",
      role: "toolbar",
      "aria-label": "Actions for the selection",
      hidden: true,
    });
    this.count = h("p", { class: "status-line" });
    this.grid = new Grid({
      label: this.title,
      class: "files-grid",
      columns: [
        { key: "name", label: "Name", class: "cell-name", sortable: true },
        { key: "bytes", label: "Size", class: "cell-size", sortable: true },
        { key: "modified", label: "Modified", class: "cell-date", sortable: true },
      ],
      sorted: () => [order.key, order.up],
      sort: (key) => this.sort(key),
      id: (entry) => entry.path,
      name: (entry) => shown(entry.name),
      cells: (entry) => [
        nameCell(entry, `${bytes(entry.bytes)} · ${when(entry.modified_ms)}`),
        h("span", {}, bytes(entry.bytes)),
        h("span", { title: exactly(entry.modified_ms) }, when(entry.modified_ms)),
      ],
      open: (entry) => openEntry(entry, this.entries),
      menu: (entries, at) => menu(entryActions(entries, this), at),
      changed: () => this.selectionChanged(),
      near: (index) => this.near(index),
      all: () => this.loadAll(),
      keys: (event) => this.key(event),
      drag: (event, entries) => {
        drag(event, entries);
      },
      rowMade: (row, entry) => entry.kind === "folder" && dropTarget(row, entry.path, this.cover),
    });
    this.under = h("div", { class: "under", hidden: true });
    this.pane = new Details(() => this.toggleDetails(false));
    this.element = h(
      "div",
      { class: "view files" },
      h("h1", { class: "sr-only" }, this.title),
      h(
        "div",
        { class: "view-head" },
        this.crumbs,
        h("div", { class: "head-tools" }, this.plain, this.bar, this.detailsButton),
      ),
      h(
        "div",
        { class: "split" },
        h("div", { class: "list-side" }, this.grid.element, this.under, this.cover, this.count),
        this.pane.element,
      ),
      upload,
      uploadFolder,
    );
    this.element.addEventListener("contextmenu", (event) => {
      if (!event.target.closest(".grid-body, .grid") || event.target.closest(".grid-row")) return;
      event.preventDefault();
      menu(
        [
          { label: "New folder…", icon: "folderNew", keys: "N", run: () => this.newFolder() },
          { label: "Upload files…", icon: "upload", keys: "U", run: () => upload.click() },
          clipboard && {
            label: `Paste ${counted(clipboard.entries.length, "item")}`,
            icon: "inbox",
            keys: "Ctrl V",
            run: () => this.paste(),
          },
          null,
          { label: "Load again", icon: "retry", run: () => this.refresh() },
        ].filter((item, at) => item !== null || at === 3),
        { x: event.clientX, y: event.clientY },
      );
    });
    takeDrops(this.element, this.cover, (transfer) => dropped(this.path, transfer));
  }

  siblings() {
    return this.entries;
  }

  newFolder() {
    return actions.newFolder(this.path, (name) => (this.wanted = name));
  }

  rename(entry) {
    return actions.rename(entry, (name) => (this.wanted = name));
  }

  async load() {
    const { signal } = this.stop;
    this.show(loading());
    try {
      const [info, first] = await Promise.all([
        api.info(this.path, signal),
        api.list(this.path, undefined, FIRST, signal),
      ]);
      if (info.kind === "file") {
        // A link to a file: its folder, with the file in focus.
        location.replace(`${fileHash(parent(this.path))}?${new URLSearchParams({ show: base(this.path) })}`);
        return;
      }
      this.total = info.children;
      this.take(first, []);
      if (this.total <= WHOLE_MAX) await this.loadAll();
      else this.present();
      this.look();
    } catch (error) {
      if (error.code === "cancelled") return;
      if (error.code === "not_found") {
        // Storing something here would make the folder again.
        this.plain.hidden = true;
        this.detailsButton.hidden = true;
        this.show(
          placeholder({
            icon: "files",
            title: "This folder is not there any more",
            text: "It was moved, renamed or removed.",
            actions: [button("Go to my drive", { kind: "primary" }, () => go("#/files"))],
            role: "alert",
          }),
        );
      } else {
        this.show(failure(error, () => this.load()));
      }
    }
  }

  // Adds a page of the listing.
  take(page, before) {
    this.entries = before.concat(page.entries);
    this.after = page.next ?? undefined;
    this.complete = this.after === undefined;
    if (this.complete) this.total = this.entries.length;
    this.total = Math.max(this.total, this.entries.length);
  }

  async more() {
    this.take(await api.list(this.path, this.after, PAGE, this.stop.signal), this.entries);
  }

  // Loads the rest. The first entries are shown meanwhile.
  async loadAll() {
    if (this.busy || this.complete) return this.present();
    this.busy = true;
    this.present();
    try {
      while (!this.complete) await this.more();
    } catch (error) {
      if (error.code !== "cancelled")
        toast(error.message, { failed: true, action: { label: "Try again", run: () => this.loadAll() } });
      return;
    } finally {
      this.busy = false;
    }
    this.present();
  }

  // Loads on when somebody scrolls to where nothing is yet.
  async near(index) {
    if (this.busy || this.complete || index < this.entries.length - 200) return;
    this.busy = true;
    try {
      while (!this.complete && this.entries.length < index + 500) await this.more();
    } catch (error) {
      if (error.code !== "cancelled") toast(error.message, { failed: true });
      return;
    } finally {
      this.busy = false;
    }
    this.present();
  }

  async refresh() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      // As much as was there before, so that nothing jumps.
      const many = Math.min(PAGE, Math.max(FIRST, this.entries.length));
      const [info, first] = await Promise.all([
        api.info(this.path, this.stop.signal),
        api.list(this.path, undefined, many, this.stop.signal),
      ]);
      this.total = info.children;
      this.take(first, []);
      while (!this.complete && this.total <= WHOLE_MAX) await this.more();
      this.present();
      this.look();
    } catch (error) {
      if (error.code === "not_found") this.load();
    } finally {
      this.busy = false;
      if (this.again) {
        this.again = false;
        this.refresh();
      }
    }
  }

  sort(key) {
    order = { key, up: order.key === key ? !order.up : key === "name" };
    announce(`Sorted by ${key === "bytes" ? "size" : key}, ${order.up ? "ascending" : "descending"}.`);
    if (!this.complete) this.loadAll();
    else this.present();
  }

  present() {
    if (this.complete) {
      const compare = ORDERS[order.key];
      const sign = order.up ? 1 : -1;
      this.entries.sort((a, b) =>
        a.kind === b.kind ? sign * compare(a, b) || ORDERS.name(a, b) : a.kind === "folder" ? -1 : 1,
      );
    }
    this.grid.set(this.entries, this.total);
    if (this.total === 0) this.show(this.empty());
    else this.show(null);
    const folders = this.entries.filter((entry) => entry.kind === "folder").length;
    const size = this.entries.reduce((sum, entry) => sum + entry.bytes, 0);
    this.count.textContent = this.complete
      ? [
          folders > 0 && counted(folders, "folder"),
          this.total - folders > 0 && counted(this.total - folders, "file"),
          bytes(size),
        ]
          .filter(Boolean)
          .join(" · ")
      : `${number(this.total)} items`;
    this.count.hidden = this.total === 0;
  }

  // Puts the focus on what was just made or asked for.
  look() {
    if (this.wanted && this.grid.goTo(join(this.path, this.wanted))) this.wanted = null;
  }

  // Shows something in the list's place, or the list.
  show(what) {
    this.under.hidden = !what;
    fill(this.under, what);
    if (what) this.count.hidden = true;
  }

  empty() {
    return placeholder({
      icon: this.path === "/" ? "logo" : "files",
      title: this.path === "/" ? "Your drive is empty" : "This folder is empty",
      text: "Drop files or folders here. They are encrypted on this machine before any piece of them leaves it.",
      actions: [
        button("Upload files", { icon: "upload", kind: "primary" }, () => this.chooseFiles()),
        button("New folder", { icon: "folderNew" }, () => this.newFolder()),
      ],
    });
  }

  selectionChanged() {
    const entries = this.grid.chosen();
    const any = entries.length > 0;
    this.plain.hidden = any;
    this.bar.hidden = !any;
    if (any) {
      const items = entryActions(entries, this).filter((item) => item?.bar);
      fill(
        this.bar,
        h("span", { class: "selection-count", "aria-live": "polite" }, this.grid.selectionWords()),
        items.map((item) =>
          button(item.label.replace("…", ""), { icon: item.icon, iconOnly: true, kind: "quiet" }, item.run),
        ),
        button("More", { icon: "more", iconOnly: true, kind: "quiet", "aria-haspopup": "menu" }, (event) =>
          menu(entryActions(entries, this), { from: event.currentTarget }),
        ),
        button("Clear selection", { icon: "close", iconOnly: true, kind: "quiet" }, () => {
          this.grid.clear();
          this.focus();
        }),
      );
    }
    this.pane.show(entries, this.path);
  }

  details(entry) {
    this.grid.goTo(entry.path);
    this.toggleDetails(true);
  }

  toggleDetails(open = !this.pane.isOpen) {
    this.pane.open(open);
    this.detailsButton.setAttribute("aria-pressed", String(open));
    this.pane.show(this.grid.chosen(), this.path);
    this.grid.measure();
    if (!open) this.focus();
  }

  async paste() {
    if (!clipboard) return;
    const { entries, cut } = clipboard;
    if (cut) {
      clipboard = null;
      await actions.moveInto(entries, this.path);
    } else {
      await actions.copyInto(entries, this.path);
    }
  }

  key(event) {
    const entries = this.grid.chosen();
    if (event.ctrlKey || event.metaKey) {
      if ((event.key === "c" || event.key === "x") && entries.length > 0) {
        clipboard = { entries, cut: event.key === "x" };
        toast(
          `${counted(entries.length, "item")} ready to ${clipboard.cut ? "move" : "copy"}: go to another folder and press Ctrl V.`,
        );
        event.preventDefault();
      } else if (event.key === "v" && clipboard) {
        event.preventDefault();
        this.paste();
      }
      return;
    }
    const up = event.key === "Backspace" || (event.key === "ArrowUp" && event.altKey);
    if (up && this.path !== "/") {
      event.preventDefault();
      go(`${fileHash(parent(this.path))}?${new URLSearchParams({ show: base(this.path) })}`);
    } else if (event.key === "n" && !event.altKey) {
      event.preventDefault();
      this.newFolder();
    } else if (event.key === "u" && !event.altKey) {
      event.preventDefault();
      this.chooseFiles();
    } else if (event.key === "i" && !event.altKey) {
      event.preventDefault();
      this.toggleDetails();
    } else {
      entryKeys(event, entries, this);
    }
  }
}
