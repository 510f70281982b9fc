// The keys that do something.

import { button, h } from "./dom.js";
import { dialog } from "./overlay.js";

const GROUPS = [
  [
    "Anywhere",
    [
      ["?", "This list"],
      ["/", "Search"],
      ["G, then a letter", "F files, T transfers, S shared, B bin, H health, C credits, N node"],
      ["Esc", "Close, or clear the selection"],
    ],
  ],
  [
    "In a list",
    [
      ["↑ ↓", "Move"],
      ["Shift ↑ ↓", "Extend the selection"],
      ["Space", "Select or not"],
      ["Ctrl A", "Select all"],
      ["Home End", "First, last"],
      ["Page ↑ ↓", "A page up or down"],
      ["Shift F10", "Menu of actions"],
    ],
  ],
  [
    "Files",
    [
      ["Enter", "Open"],
      ["Backspace", "Folder above"],
      ["N", "New folder"],
      ["U", "Upload files"],
      ["D", "Download"],
      ["S", "Share"],
      ["F2", "Rename"],
      ["M", "Move"],
      ["C", "Copy"],
      ["V", "Versions"],
      ["I", "Details"],
      ["Del", "Move to bin"],
      ["Ctrl X", "Cut"],
      ["Ctrl C", "Copy to paste elsewhere"],
      ["Ctrl V", "Paste"],
    ],
  ],
  [
    "Bin",
    [
      ["R", "Restore"],
      ["Del", "Remove for good"],
    ],
  ],
  [
    "Preview",
    [
      ["← →", "Previous, next file"],
      ["D", "Download"],
    ],
  ],
];

export function helpDialog() {
  if (document.querySelector(".help")) return;
  dialog((close) => ({
    title: "Keyboard shortcuts",
    wide: true,
    kind: "help",
    body: h(
      "div",
      { class: "help-groups" },
      GROUPS.map(([title, keys]) =>
        h(
          "section",
          {},
          h("h3", {}, title),
          h(
            "dl",
            { class: "key-list" },
            keys.map(([key, words]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, words))),
          ),
        ),
      ),
    ),
    actions: [button("Done", { kind: "primary", "data-first": true }, () => close())],
  }));
}
