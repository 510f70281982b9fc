// A dialog that chooses a folder from a tree. Folders open as they are asked for.

import * as api from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { base, join, nameProblem, parent, placeName, shown, within } from "./format.js";
import { ask, dialog } from "./overlay.js";

// Folders of one folder that are listed: more than anybody scrolls through.
const FOLDERS_MAX = 2_000;

async function folders(path) {
  const found = [];
  let after;
  do {
    const page = await api.list(path, after, 5_000);
    found.push(...page.entries.filter((entry) => entry.kind === "folder"));
    after = page.next;
  } while (after !== undefined && after !== null && found.length < FOLDERS_MAX);
  const order = new Intl.Collator(undefined, { numeric: true });
  return found.sort((a, b) => order.compare(a.name, b.name));
}

// Answers the chosen folder's path, or undefined. What is in `without` cannot be chosen.
export function chooseFolder({ title, action, start = "/", without = [] }) {
  return dialog((close) => {
    const barred = (path) => without.some((entry) => entry.kind === "folder" && within(path, entry.path));
    let chosen = start;
    const accept = button(action, { kind: "primary" }, () => close(chosen));
    const where = h("p", { class: "hint", "aria-live": "polite" });
    const tree = h("ul", { class: "tree", role: "tree", "aria-label": "Folders" });
    const nodes = new Map();

    const choose = (path, focus = true) => {
      chosen = path;
      for (const [key, node] of nodes) {
        node.item.setAttribute("aria-selected", String(key === path));
        node.item.tabIndex = key === path ? 0 : -1;
      }
      accept.disabled = barred(path);
      where.textContent = barred(path) ? "A folder cannot go into itself." : `Into ${placeName(path)}`;
      if (focus) nodes.get(path)?.item.focus();
    };

    const expand = async (path, wanted) => {
      const node = nodes.get(path);
      if (!node || node.open === wanted) return;
      node.open = wanted;
      node.item.setAttribute("aria-expanded", String(wanted));
      node.group.hidden = !wanted;
      if (!wanted || node.loaded) return;
      node.loaded = true;
      fill(node.group, h("li", { class: "tree-note", role: "none" }, "Loading…"));
      try {
        const list = await folders(path);
        fill(
          node.group,
          list.map((entry) => branch(entry.path, node.depth + 1)),
        );
        if (list.length === 0) node.item.removeAttribute("aria-expanded");
        if (list.length === 0) node.item.classList.add("leaf");
      } catch (error) {
        node.loaded = false;
        node.open = false;
        fill(node.group, h("li", { class: "tree-note", role: "none" }, error.message));
      }
    };

    const branch = (path, depth) => {
      const group = h("ul", { role: "group", hidden: true });
      const line = h(
        "div",
        { class: "tree-line" },
        h(
          "span",
          {
            class: "tree-twist",
            on: { click: (event) => (event.stopPropagation(), expand(path, !nodes.get(path).open)) },
          },
          icon("right"),
        ),
        icon(path === "/" ? "logo" : "files"),
        h("span", { class: "name", dir: "auto" }, path === "/" ? "My drive" : shown(base(path))),
      );
      line.style.paddingInlineStart = `${8 + depth * 20}px`;
      const item = h(
        "li",
        { role: "treeitem", "aria-expanded": "false", "aria-selected": "false", tabindex: "-1" },
        line,
        group,
      );
      item.addEventListener("click", (event) => {
        event.stopPropagation();
        choose(path);
      });
      item.addEventListener("dblclick", (event) => {
        event.stopPropagation();
        expand(path, true);
      });
      nodes.set(path, { item, group, depth, open: false, loaded: false });
      return item;
    };

    tree.addEventListener("keydown", (event) => {
      const visible = [...tree.querySelectorAll("[role=treeitem]")].filter(
        (item) => item.offsetParent !== null,
      );
      const at = visible.indexOf(document.activeElement);
      const pathOf = (item) => [...nodes].find(([, node]) => node.item === item)?.[0];
      const node = nodes.get(chosen);
      let to;
      if (event.key === "ArrowDown") to = visible[at + 1];
      else if (event.key === "ArrowUp") to = visible[at - 1];
      else if (event.key === "Home") to = visible[0];
      else if (event.key === "End") to = visible.at(-1);
      else if (event.key === "ArrowRight") {
        if (node?.open) to = visible[at + 1];
        else expand(chosen, true);
      } else if (event.key === "ArrowLeft") {
        if (node?.open) expand(chosen, false);
        else if (chosen !== "/") to = nodes.get(parent(chosen))?.item;
      } else if (event.key === "Enter") {
        if (!accept.disabled) close(chosen);
      } else return;
      event.preventDefault();
      event.stopPropagation();
      if (to) choose(pathOf(to));
    });

    const make = button("New folder", { icon: "folderNew", kind: "quiet" }, async () => {
      const into = chosen;
      const name = await ask({
        title: "New folder",
        label: "Name",
        action: "Create",
        problem: nameProblem,
        run: (text) => api.makeFolder(join(into, text)),
      });
      if (name === undefined) return;
      const node = nodes.get(into);
      node.open = false;
      node.loaded = false;
      node.item.classList.remove("leaf");
      await expand(into, true);
      choose(join(into, name));
    });

    (async () => {
      tree.append(branch("/", 0));
      choose("/", false);
      await expand("/", true);
      choose("/");
      let path = "/";
      for (const name of start.split("/").filter(Boolean)) {
        path = join(path, name);
        if (!nodes.has(path)) break;
        choose(path);
        await expand(path, true);
      }
    })();

    return {
      title,
      body: [tree, where],
      actions: [make, h("span", { class: "spring" }), button("Cancel", {}, () => close()), accept],
      kind: "picker",
    };
  });
}
