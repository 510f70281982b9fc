// What a search found, as it is found.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, failure, fill, h, loading, placeholder } from "./dom.js";
import { base, bytes, counted, exactly, parent, placeName, shown, when } from "./format.js";
import { entryActions, entryKeys, nameCell, openEntry } from "./entries.js";
import { Details } from "./details.js";
import { Grid } from "./grid.js";
import { menu } from "./overlay.js";
import { fileHash, go, searchHash } from "./router.js";

// Results that are listed; more than this asks for a better word.
const FOUND_MAX = 5_000;

export class SearchView {
  constructor({ query }) {
    this.text = query.get("q") ?? "";
    this.folder = query.get("in") || "/";
    this.title = `Search: ${shown(this.text)}`;
    this.stop = new AbortController();
    this.words = h("p", { class: "status-line", "aria-live": "polite" });
    this.under = h("div", { class: "under", hidden: true });
    this.grid = new Grid({
      label: "Found files and folders",
      class: "files-grid search-grid",
      columns: [
        { key: "name", label: "Name", class: "cell-name" },
        { key: "folder", label: "In", class: "cell-folder" },
        { key: "bytes", label: "Size", class: "cell-size" },
        { key: "modified", label: "Modified", class: "cell-date" },
      ],
      id: (entry) => entry.path,
      name: (entry) => shown(entry.name),
      cells: (entry) => [
        nameCell(entry, placeName(parent(entry.path))),
        h(
          "a",
          { href: fileHash(parent(entry.path)), tabindex: "-1", dir: "auto" },
          placeName(parent(entry.path)),
        ),
        h("span", {}, entry.kind === "folder" ? "" : bytes(entry.bytes)),
        h("span", { title: exactly(entry.modified_ms) }, when(entry.modified_ms)),
      ],
      open: (entry) => openEntry(entry, this.grid.items),
      menu: (entries, at) => menu(entryActions(entries, this), at),
      changed: () => this.pane.show(this.grid.chosen()),
      keys: (event) => entryKeys(event, this.grid.chosen(), this),
    });
    this.pane = new Details(() => this.pane.open(false));
    const scope = this.folder === "/" ? "the whole drive" : `“${shown(base(this.folder))}”`;
    this.element = h(
      "div",
      { class: "view files" },
      h(
        "div",
        { class: "view-head" },
        h(
          "h1",
          { class: "view-title", dir: "auto" },
          this.text ? `“${shown(this.text)}” in ${scope}` : "Search",
        ),
        this.folder !== "/" &&
          h("a", { class: "button", href: searchHash(this.text) }, "Search the whole drive"),
      ),
      h(
        "div",
        { class: "split" },
        h("div", { class: "list-side" }, this.grid.element, this.under, this.words),
        this.pane.element,
      ),
    );
    actions.drive.addEventListener("changed", () => this.load(), { signal: this.stop.signal });
    this.load();
  }

  destroy() {
    this.stop.abort();
    this.run?.abort();
    this.grid.destroy();
    this.pane.destroy();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  siblings() {
    return this.grid.items;
  }

  rename(entry) {
    return actions.rename(entry);
  }

  details(entry) {
    this.pane.open(true);
    this.pane.show([entry]);
  }

  reveal(entry) {
    go(`${fileHash(parent(entry.path))}?${new URLSearchParams({ show: entry.name })}`);
  }

  cover(what) {
    this.under.hidden = !what;
    fill(this.under, what);
  }

  async load() {
    this.run?.abort();
    this.run = new AbortController();
    const { signal } = this.run;
    if (this.text.trim() === "") {
      return this.cover(
        placeholder({
          icon: "search",
          title: "What are you looking for?",
          text: "Type a part of a name into the field above.",
        }),
      );
    }
    this.cover(loading("Searching…"));
    const found = [];
    try {
      let after;
      do {
        const page = await api.find(this.folder, this.text, after, 500, signal);
        found.push(...page.entries);
        after = page.next ?? undefined;
        if (found.length > 0) {
          this.cover(null);
          this.grid.set(found.slice());
        }
        this.words.textContent = `Searching… ${counted(found.length, "hit")} so far`;
      } while (after !== undefined && found.length < FOUND_MAX);
      this.words.textContent =
        after === undefined
          ? counted(found.length, "hit")
          : `The first ${counted(found.length, "hit")}: a longer word finds fewer.`;
      if (found.length === 0) {
        this.words.textContent = "";
        this.cover(
          placeholder({
            icon: "search",
            title: "Nothing was found",
            text: `No name contains “${shown(this.text)}”.`,
            actions:
              this.folder === "/"
                ? []
                : [button("Search the whole drive", { kind: "primary" }, () => go(searchHash(this.text)))],
          }),
        );
      }
    } catch (error) {
      if (error.code !== "cancelled") this.cover(failure(error, () => this.load()));
    }
  }
}
