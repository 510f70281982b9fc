// A list of any length with columns: only the rows in sight are in the page. One focus for the whole
// list; arrow keys move, Shift extends, as in a file manager.
//
// Invariant: what is selected is kept by id, so that it survives sorting and loading.

import { h, icon } from "./dom.js";
import { number } from "./format.js";

const OVERSCAN = 10;

export class Grid {
  // options: label, columns [{key, label, class, sortable}], id(item), cells(item) → nodes per column,
  // name(item), open(item), menu(items, at), changed(), sort(key), near(index), keys(event), draggable,
  // drop(item) → bool
  constructor(options) {
    this.options = options;
    this.items = [];
    this.total = 0;
    this.ordered = null;
    this.selected = new Map();
    this.active = -1;
    this.anchor = -1;
    this.rows = new Map();
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.header = h("div", { class: "grid-row grid-header", role: "row", "aria-rowindex": "1" });
    this.element = h(
      "div",
      {
        class: `grid ${options.class ?? ""}`.trim(),
        role: "grid",
        tabindex: "0",
        "aria-label": options.label,
        "aria-multiselectable": "true",
        "data-home": true,
      },
      h("div", { class: "grid-head", role: "rowgroup" }, this.header),
      this.body,
    );
    this.headers();
    const draw = () => this.draw();
    this.element.addEventListener("scroll", draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("focus", () => {
      if (this.active < 0 && this.items.length > 0) this.active = 0;
      this.draw(true);
    });
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("dblclick", (event) => {
      if (event.target.closest(".cell-check, .cell-menu")) return;
      const at = this.indexOf(event.target);
      if (at >= 0) options.open?.(this.items[at]);
    });
    this.body.addEventListener("contextmenu", (event) => {
      const at = this.indexOf(event.target);
      if (at < 0 || !options.menu) return;
      event.preventDefault();
      event.stopPropagation();
      if (!this.isSelected(at)) this.choose(at);
      options.menu(this.chosen(), { x: event.clientX, y: event.clientY });
    });
    this.watch = new ResizeObserver(() => {
      this.measure();
      this.draw(true);
    });
    this.watch.observe(this.element);
    this.measure();
  }

  destroy() {
    this.watch.disconnect();
  }

  // Row height follows the stylesheet, so that narrow screens have higher rows.
  measure() {
    this.rowHeight = Number.parseInt(getComputedStyle(this.element).getPropertyValue("--row"), 10) || 44;
    this.headHeight = this.header.offsetHeight;
  }

  headers() {
    const { columns, sorted } = this.options;
    const [key, up] = sorted?.() ?? [];
    if (this.ordered === `${key} ${up}`) return;
    this.ordered = `${key} ${up}`;
    const cells = columns.map((column) => {
      const label = h("span", {}, column.label);
      const ordered = column.key === key ? (up ? "ascending" : "descending") : undefined;
      const inside = column.sortable
        ? h(
            "button",
            {
              type: "button",
              class: "sort",
              tabindex: "-1",
              on: { click: () => this.options.sort(column.key) },
            },
            label,
            ordered && icon(up ? "up" : "down"),
          )
        : label;
      return h(
        "div",
        { class: `cell ${column.class ?? ""}`, role: "columnheader", "aria-sort": ordered },
        inside,
      );
    });
    this.all = h("input", {
      type: "checkbox",
      tabindex: "-1",
      "aria-label": "Select all",
      on: { click: () => (this.selected.size > 0 ? this.clear() : this.selectAll()) },
    });
    this.header.replaceChildren(
      h(
        "div",
        { class: "cell cell-check", role: "columnheader" },
        h("label", { class: "check-area" }, this.all),
      ),
      ...cells,
      h("div", { class: "cell cell-menu", role: "columnheader" }, h("span", { class: "sr-only" }, "Actions")),
    );
  }

  // Puts other items in. `total`: how many there are, loaded or not.
  set(items, total = items.length) {
    const before = this.items[this.active];
    this.items = items;
    this.total = Math.max(total, items.length);
    if (before) {
      const id = this.options.id(before);
      const at =
        items[this.active] && this.options.id(items[this.active]) === id
          ? this.active
          : items.findIndex((item) => this.options.id(item) === id);
      this.active = at >= 0 ? at : Math.min(this.active, items.length - 1);
    } else {
      this.active = Math.min(this.active, items.length - 1);
    }
    if (this.active < 0 && items.length > 0 && document.activeElement === this.element) this.active = 0;
    this.anchor = this.active;
    const ids = new Set(items.map(this.options.id));
    let lost = false;
    for (const id of this.selected.keys()) {
      if (!ids.has(id)) lost = this.selected.delete(id) || lost;
    }
    this.element.setAttribute("aria-rowcount", String(this.total + 1));
    // Rows that stay as they are stay in the page: somebody may be clicking on one.
    for (const [at, row] of this.rows) {
      if (items[at] && row.mark === JSON.stringify(items[at])) continue;
      row.remove();
      this.rows.delete(at);
    }
    this.headers();
    this.draw(true);
    if (lost) this.options.changed?.();
  }

  // Makes the rows in sight, and only these.
  draw(marks = false) {
    const height = this.total * this.rowHeight;
    if (this.body.style.height !== `${height}px`) this.body.style.height = `${height}px`;
    const top = this.element.scrollTop;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const last = Math.min(
      this.total,
      Math.ceil((top + this.element.clientHeight) / this.rowHeight) + OVERSCAN,
    );
    for (const [at, row] of this.rows) {
      if (at < first || at >= last) {
        row.remove();
        this.rows.delete(at);
      }
    }
    for (let at = first; at < last; at += 1) {
      const item = this.items[at];
      let row = this.rows.get(at);
      if (row && item && row.classList.contains("waiting")) {
        row.remove();
        row = undefined;
      }
      if (!row) {
        row = item
          ? this.row(item, at)
          : h(
              "div",
              { class: "grid-row waiting", role: "row", "aria-rowindex": String(at + 2) },
              h("div", { class: "cell", role: "gridcell" }, h("span", { class: "bone" })),
            );
        this.rows.set(at, row);
        this.body.append(row);
        this.mark(at, row);
      }
      const y = `${at * this.rowHeight}px`;
      if (row.style.top !== y) row.style.top = y;
    }
    if (marks) this.marks();
    if (this.items.length < this.total) this.options.near?.(last);
  }

  row(item, at) {
    const name = this.options.name(item);
    const box = h("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${name}` });
    const { columns } = this.options;
    const row = h(
      "div",
      {
        class: "grid-row",
        role: "row",
        id: `row-${at}`,
        "aria-rowindex": String(at + 2),
        data: { at: String(at) },
      },
      h("div", { class: "cell cell-check", role: "gridcell" }, h("label", { class: "check-area" }, box)),
      this.options
        .cells(item)
        .map((cell, index) =>
          h("div", { class: `cell ${columns[index].class ?? ""}`, role: "gridcell" }, cell),
        ),
      h(
        "div",
        { class: "cell cell-menu", role: "gridcell" },
        this.options.menu &&
          h(
            "button",
            {
              type: "button",
              tabindex: "-1",
              class: "button quiet icon",
              "aria-label": `Actions for ${name}`,
              "aria-haspopup": "menu",
            },
            icon("more"),
          ),
      ),
    );
    row.mark = JSON.stringify(item);
    if (this.options.drag) {
      row.draggable = true;
      row.addEventListener("dragstart", (event) => {
        if (!this.isSelected(at)) this.choose(at);
        this.options.drag(event, this.chosen());
      });
    }
    this.options.rowMade?.(row, item);
    return row;
  }

  marks() {
    for (const [at, row] of this.rows) this.mark(at, row);
    const shown = this.items.length;
    this.all.checked = shown > 0 && this.selected.size >= shown;
    this.all.indeterminate = this.selected.size > 0 && this.selected.size < shown;
    if (this.rows.has(this.active) && this.items[this.active])
      this.element.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  mark(at, row) {
    const item = this.items[at];
    if (!item) return;
    const chosen = this.selected.has(this.options.id(item));
    row.classList.toggle("selected", chosen);
    row.classList.toggle("active", at === this.active);
    row.setAttribute("aria-selected", String(chosen));
    const box = row.querySelector("input[type=checkbox]");
    if (box) box.checked = chosen;
  }

  indexOf(target) {
    const at = Number(target.closest?.(".grid-row")?.dataset.at ?? -1);
    return this.items[at] ? at : -1;
  }

  isSelected(at) {
    return this.items[at] !== undefined && this.selected.has(this.options.id(this.items[at]));
  }

  // The selected items, in their order.
  chosen() {
    return this.items.filter((item) => this.selected.has(this.options.id(item)));
  }

  click(event) {
    const at = this.indexOf(event.target);
    if (at < 0) return;
    if (event.target.closest(".cell-menu button")) {
      if (!this.isSelected(at)) this.choose(at);
      this.options.menu(this.chosen(), { from: event.target.closest("button") });
      return;
    }
    if (event.target.closest(".cell-check")) {
      // A label passes its click on to its box; one of the two counts.
      if (event.target.tagName !== "INPUT") return;
      if (event.shiftKey && this.anchor >= 0) this.extend(at);
      else this.toggle(at);
    } else if (event.shiftKey && this.anchor >= 0) {
      this.extend(at);
    } else if (event.ctrlKey || event.metaKey) {
      this.toggle(at);
    } else if (event.target.closest("[data-open]") || matchMedia("(pointer: coarse)").matches) {
      if (this.selected.size > 1 && matchMedia("(pointer: coarse)").matches) this.toggle(at);
      else this.options.open?.(this.items[at]);
      return;
    } else {
      this.choose(at);
    }
    this.element.focus({ preventScroll: true });
  }

  pick(at) {
    const item = this.items[at];
    if (item) this.selected.set(this.options.id(item), item);
  }

  // Selects one item alone.
  choose(at) {
    this.selected.clear();
    this.pick(at);
    this.active = at;
    this.anchor = at;
    this.told();
  }

  toggle(at) {
    const id = this.options.id(this.items[at]);
    if (!this.selected.delete(id)) this.pick(at);
    this.active = at;
    this.anchor = at;
    this.told();
  }

  // Selects from the anchor to here.
  extend(at) {
    this.selected.clear();
    const [from, to] = [Math.min(at, this.anchor), Math.max(at, this.anchor)];
    for (let index = from; index <= to; index += 1) this.pick(index);
    this.active = at;
    this.told();
  }

  selectAll() {
    this.items.forEach((_, at) => this.pick(at));
    this.told();
    this.options.all?.();
  }

  clear() {
    this.selected.clear();
    this.told();
  }

  told() {
    this.marks();
    this.options.changed?.();
  }

  reveal(at) {
    const top = at * this.rowHeight;
    const room = this.element.clientHeight - this.headHeight;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > this.element.scrollTop + room)
      this.element.scrollTop = top + this.rowHeight - room;
    this.draw(true);
  }

  // Goes to the item with this id.
  goTo(id) {
    const at = this.items.findIndex((item) => this.options.id(item) === id);
    if (at < 0) return false;
    this.choose(at);
    this.reveal(at);
    return true;
  }

  key(event) {
    if (event.target !== this.element) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const last = this.items.length - 1;
    const to = {
      ArrowDown: Math.min(last, this.active + 1),
      ArrowUp: Math.max(0, this.active - 1),
      PageDown: Math.min(last, this.active + page),
      PageUp: Math.max(0, this.active - page),
      Home: 0,
      End: last,
    }[event.key];
    if (to !== undefined && !event.altKey && last >= 0) {
      event.preventDefault();
      if (event.shiftKey) {
        if (this.anchor < 0) this.anchor = Math.max(0, this.active);
        this.extend(to);
      } else if (event.ctrlKey || event.metaKey) {
        this.active = to;
        this.marks();
      } else {
        this.choose(to);
      }
      this.reveal(to);
      return;
    }
    if (event.key === " " && this.items[this.active]) {
      event.preventDefault();
      this.toggle(this.active);
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.selectAll();
    } else if (event.key === "Escape" && this.selected.size > 0) {
      event.preventDefault();
      this.clear();
    } else if (event.key === "Enter" && this.items[this.active] && !event.altKey) {
      event.preventDefault();
      this.options.open?.(this.items[this.active]);
    } else if (
      (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) &&
      this.options.menu &&
      this.items[this.active]
    ) {
      event.preventDefault();
      if (!this.isSelected(this.active)) this.choose(this.active);
      const row = this.rows.get(this.active);
      this.options.menu(this.chosen(), { from: row?.querySelector(".cell-menu button") ?? this.element });
    } else {
      this.options.keys?.(event);
    }
  }

  // What is selected, in words.
  selectionWords() {
    return this.selected.size === 1 ? "1 selected" : `${number(this.selected.size)} selected`;
  }
}
