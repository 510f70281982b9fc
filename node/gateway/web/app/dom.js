// Elements, made without markup.
//
// Invariant: what others wrote (names, messages, sentences of the node) becomes text nodes and
// attribute values, never markup: nothing here or elsewhere in this app parses HTML.

import { sentence } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

// An element. `props`: `on` holds listeners, `class`, `data` (data-… attributes); booleans are
// set or left out, everything else is an attribute. Children: nodes, texts, arrays, or nothing.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") {
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (key === "data") {
      for (const [name, text] of Object.entries(value)) element.dataset[name] = text;
    } else if (
      key === "value" ||
      key === "checked" ||
      key === "disabled" ||
      key === "hidden" ||
      key === "open"
    ) {
      element[key] = value;
    } else if (key.startsWith("on") || key === "style") {
      throw new Error(`not an attribute to set here: ${key}`);
    } else {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child);
  }
}

// Puts `children` in the place of what `element` has.
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

// A sentence of the node, whose `commands` are set as such.
export function prose(text) {
  return sentence(text)
    .split("`")
    .map((part, at) => (at % 2 === 1 ? h("code", {}, part) : part));
}

const PATHS = {
  logo: "M12 3.5 19.5 7.7v8.6L12 20.5l-7.5-4.2V7.7zM4.5 7.7 12 12l7.5-4.3M12 12v8.5",
  files:
    "M3 7.5A1.5 1.5 0 0 1 4.5 6h4.6l2 2.5h8.4A1.5 1.5 0 0 1 21 10v7.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5z",
  transfers: "M8 20V5M4.5 8.5 8 5l3.5 3.5M16 4v15M12.5 15.5 16 19l3.5-3.5",
  bin: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10 10.5v6M14 10.5v6",
  shares:
    "M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1.2 1.2M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1.2-1.2",
  health: "M12 3.5 19 6v5.5c0 4.3-2.9 7.4-7 9-4.1-1.6-7-4.7-7-9V6zM9 12l2.2 2.2L15.2 10",
  credits: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M14.8 9.6A3.6 3.6 0 1 0 14.8 14.4",
  node: "M4.5 5h15v5.5h-15zM4.5 13.5h15V19h-15zM8 7.8h.01M8 16.3h.01M12 7.8h4M12 16.3h4",
  more: "M11.9 5.5h.2M11.9 12h.2M11.9 18.5h.2",
  upload: "M12 16V5M7.5 9.5 12 5l4.5 4.5M4.5 16v3.5h15V16",
  download: "M12 4.5v11M7.5 11 12 15.5l4.5-4.5M4.5 16v3.5h15V16",
  folderNew:
    "M3 7.5A1.5 1.5 0 0 1 4.5 6h4.6l2 2.5h8.4A1.5 1.5 0 0 1 21 10v7.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5zM12 11v5M9.5 13.5h5",
  rename: "M4.5 19.5l.8-3.8L15.9 5.1a1.5 1.5 0 0 1 2.1 0l.9.9a1.5 1.5 0 0 1 0 2.1L8.3 18.7zM14 7l3 3",
  move: "M3 7.5A1.5 1.5 0 0 1 4.5 6h4.6l2 2.5h8.4A1.5 1.5 0 0 1 21 10v7.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5zM9 13.5h6M12.7 11l2.5 2.5-2.5 2.5",
  copy: "M9 9h10.5v10.5H9zM15 9V4.5H4.5V15H9",
  details: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 11v5M12 8h.01",
  versions: "M4.5 12a7.5 7.5 0 1 0 2.3-5.4L4.5 8.8M4.5 4.5v4.3h4.3M12 8v4.3l3 1.7",
  restore: "M9 14.5 4.5 10 9 5.5M4.5 10H14a5.5 5.5 0 0 1 0 11h-3",
  search: "M11 4.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M15.8 15.8 20 20",
  close: "M6 6l12 12M18 6 6 18",
  up: "M12 19V5M6 11l6-6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M6 9.5l6 6 6-6",
  left: "M14.5 6l-6 6 6 6",
  check: "M5 12.5 10 17.5 19 7",
  warn: "M12 4.5 21 19.5H3zM12 10v4.5M12 17h.01",
  help: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M9.7 9.7a2.4 2.4 0 1 1 3.4 2.2c-.7.3-1.1.9-1.1 1.6v.5M12 16.5h.01",
  lock: "M6 11h12v8.5H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  inbox: "M4.5 13.5 7 5h10l2.5 8.5v6h-15zM4.5 13.5h4.3l1.2 2.5h4l1.2-2.5h4.3",
  retry: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4l2.3 2.2M19.5 4.5v4.3h-4.3",
  eye: "M3 12s3.3-6 9-6 9 6 9 6-3.3 6-9 6-9-6-9-6M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  file: "M6 3.5h7.5L18.5 8.5v12H6zM13.5 3.5v5h5",
  image: "M4.5 5h15v14h-15zM4.5 16l4.3-4.5 3.7 3.7 2.2-2.2 4.8 4.5M15.5 8.8h.01",
  video: "M4 6.5h11.5v11H4zM15.5 10.5 20 8v8l-4.5-2.5",
  audio:
    "M9 17.5V6.5l9.5-2v11M9 17.5a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0M18.5 15.5a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0",
  text: "M6 3.5h7.5L18.5 8.5v12H6zM13.5 3.5v5h5M9 12.5h6.5M9 16h6.5",
  archive: "M4.5 4.5h15v4h-15zM5.5 8.5v11h13v-11M10 12h4",
};

// An icon, for the eye only: its control carries the words.
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon-svg icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.file);
  svg.append(path);
  return svg;
}

// A button with words, an icon, or both; `label` alone is read out when `quietLabel` is set.
export function button(label, { icon: name, kind = "", iconOnly = false, ...rest } = {}, click) {
  const props = { type: "button", class: `button ${kind}${iconOnly ? " icon" : ""}`.trim(), ...rest };
  if (iconOnly) Object.assign(props, { "aria-label": label, title: label });
  if (click) props.on = { ...(rest.on ?? {}), click };
  return h("button", props, name && icon(name), !iconOnly && h("span", { class: "button-text" }, label));
}

// What an empty, failed or waiting view says in the middle of its place.
export function placeholder({ icon: name, title, text, actions = [], role }) {
  return h(
    "div",
    { class: "placeholder", role },
    h("div", { class: "placeholder-icon" }, icon(name)),
    h("h2", {}, title),
    text && h("p", { class: "muted" }, Array.isArray(text) ? text : prose(text)),
    actions.length > 0 && h("div", { class: "actions" }, actions),
  );
}

// The same for something that failed: the node's own words, and a way to try again.
export function failure(error, retry) {
  return placeholder({
    icon: "warn",
    title: "That did not work",
    text: error?.message ?? String(error),
    actions: retry ? [button("Try again", { icon: "retry" }, retry)] : [],
    role: "alert",
  });
}

let waitings = 0;

// A quiet sign that something is loading; it shows only when it takes a moment.
export function loading(words = "Loading…") {
  waitings += 1;
  return h(
    "div",
    { class: "loading", role: "status", data: { n: waitings } },
    h("span", { class: "spinner" }),
    h("span", {}, words),
  );
}

// Calls `action` at most once in `wait` milliseconds, and once after the last call.
export function throttled(action, wait) {
  let timer = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      action();
    }, wait);
  };
}
