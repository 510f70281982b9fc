// What is dragged: rows of a list onto folders, files and folders from outside onto a view.

import * as actions from "./actions.js";
import * as transfers from "./transfers.js";
import { h, icon } from "./dom.js";
import { shown } from "./format.js";
import { toast } from "./overlay.js";
import { fileHash } from "./router.js";

// What rows are dragged as. Only this app puts it there; what it says is checked by the node.
const DRAG_TYPE = "application/x-commonhold-paths";

// A drag of rows begins.
export function drag(event, entries) {
  event.dataTransfer.setData(DRAG_TYPE, JSON.stringify(entries));
  event.dataTransfer.effectAllowed = "copyMove";
}

// Stores what was dropped from outside.
export async function dropped(folder, transfer) {
  try {
    await transfers.startDropped(folder, transfer);
  } catch {
    toast("What was dropped could not be read.", { failed: true });
  }
}

// Takes in files that are dropped anywhere on `element`; `cover` says so meanwhile.
export function takeDrops(element, cover, take) {
  let depth = 0;
  const files = (event) => event.dataTransfer?.types.includes("Files");
  element.addEventListener("dragenter", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    depth += 1;
    cover.hidden = false;
  });
  element.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  element.addEventListener("dragleave", (event) => {
    if (!files(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) cover.hidden = true;
  });
  // Before whatever stands in it takes the drop for itself.
  element.addEventListener("drop", () => (depth = 0), true);
  element.addEventListener("drop", (event) => {
    cover.hidden = true;
    if (!files(event)) return;
    event.preventDefault();
    take(event.dataTransfer);
  });
}

// Makes a row or a crumb take in what is dragged onto it: rows of a list, or files from outside.
export function dropTarget(element, folder, cover) {
  const outside = (event) => event.dataTransfer.types.includes("Files");
  const takes = (event) => outside(event) || event.dataTransfer.types.includes(DRAG_TYPE);
  element.addEventListener("dragover", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    event.stopPropagation();
    event.dataTransfer.dropEffect = outside(event) || event.ctrlKey ? "copy" : "move";
    element.classList.add("drop-here");
  });
  element.addEventListener("dragleave", () => element.classList.remove("drop-here"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("drop-here");
    if (!takes(event)) return;
    event.preventDefault();
    event.stopPropagation();
    cover.hidden = true;
    if (outside(event)) {
      dropped(folder, event.dataTransfer);
      return;
    }
    const entries = JSON.parse(event.dataTransfer.getData(DRAG_TYPE)).filter(
      (entry) => entry.path !== folder,
    );
    if (entries.length > 0) (event.ctrlKey ? actions.copyInto : actions.moveInto)(entries, folder);
  });
}

// Links from the drive's root to a folder.
export function crumbs(path, made) {
  const names = path.split("/").filter(Boolean);
  const paths = names.map((_, i) => `/${names.slice(0, i + 1).join("/")}`);
  const all = [["/", "My drive"], ...paths.map((at, i) => [at, shown(names[i])])];
  return h(
    "ol",
    {},
    all.map(([at, label], i) => {
      const last = i === all.length - 1;
      const link = h(
        "a",
        { href: fileHash(at), "aria-current": last ? "page" : undefined, dir: "auto", title: label },
        label,
      );
      if (!last) made(link, at);
      return h("li", {}, i > 0 && icon("right"), link);
    }),
  );
}
