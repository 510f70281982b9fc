// Files and folders as lists show them, and what can be done with them there.

import * as actions from "./actions.js";
import { h, icon } from "./dom.js";
import { kindOf, shown } from "./format.js";
import { preview } from "./preview.js";
import { fileHash, go } from "./router.js";
import { shareDialog } from "./share.js";
import { versionsDialog } from "./versions.js";

export function entryIcon(entry) {
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
  return h("span", { class: `entry-icon ${kind}` }, icon(name));
}

// The name of an entry, which opens it; `below` is a second line for narrow screens.
export function nameCell(entry, below) {
  return [
    entryIcon(entry),
    h(
      "span",
      { class: "name-lines" },
      h(
        "span",
        { class: "name", dir: "auto", title: shown(entry.name), data: { open: "true" } },
        shown(entry.name),
      ),
      h("span", { class: "name-below" }, below),
    ),
  ];
}

// Shows a file, or goes into a folder.
export function openEntry(entry, siblings) {
  if (entry.kind === "folder") go(fileHash(entry.path));
  else preview(entry, siblings);
}

// What can be done with what is selected, for the menu and the bar.
export function entryActions(entries, view) {
  const [entry] = entries;
  const one = entries.length === 1;
  const file = one && entry.kind === "file";
  return [
    one && {
      label: "Open",
      icon: file ? "eye" : "files",
      keys: "Enter",
      run: () => openEntry(entry, view.siblings?.()),
    },
    { label: "Download", icon: "download", keys: "D", bar: true, run: () => actions.download(entries) },
    one && { label: "Share…", icon: "shares", keys: "S", bar: true, run: () => shareDialog(entry) },
    null,
    one && { label: "Rename…", icon: "rename", keys: "F2", bar: true, run: () => view.rename(entry) },
    { label: "Move…", icon: "move", keys: "M", bar: true, run: () => actions.move(entries) },
    { label: "Copy…", icon: "copy", keys: "C", run: () => actions.copy(entries) },
    file && { label: "Versions…", icon: "versions", keys: "V", run: () => versionsDialog(entry) },
    one && { label: "Details", icon: "details", keys: "I", run: () => view.details(entry) },
    view.reveal && one && { label: "Show in its folder", icon: "up", run: () => view.reveal(entry) },
    null,
    {
      label: "Move to bin",
      icon: "bin",
      keys: "Del",
      danger: true,
      bar: true,
      run: () => actions.remove(entries),
    },
  ].filter((item) => item !== false && item !== undefined);
}

// Single keys that act on the selection, in any list of entries.
export function entryKeys(event, entries, view) {
  if (event.ctrlKey || event.metaKey || event.altKey || entries.length === 0) return false;
  const wanted = {
    d: "Download",
    s: "Share…",
    m: "Move…",
    c: "Copy…",
    v: "Versions…",
    i: "Details",
    F2: "Rename…",
    Delete: "Move to bin",
  }[event.key];
  const action = wanted && entryActions(entries, view).find((item) => item?.label === wanted);
  if (!action) return false;
  event.preventDefault();
  action.run();
  return true;
}
