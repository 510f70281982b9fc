// Shows a file: raster pictures, sound, video and plain text. Everything else is said to be what it is,
// with a way to download it.
//
// Invariant: nothing that was stored runs or is read as markup. Pictures, sound and video come under a
// ticket into elements that only draw and play; text becomes a text node. HTML and SVG are never shown.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, fill, h, icon, loading, placeholder } from "./dom.js";
import { bytes, kindOf, kindWords, shown, when } from "./format.js";
import { dialog } from "./overlay.js";

// Bytes of a text that are shown.
const TEXT_MAX = 256 * 1024;

export function isPreviewable(entry) {
  return ["image", "video", "audio", "text", "pdf"].includes(kindOf(entry.name));
}

// `version` shows an earlier one. `siblings`: entries that the arrow keys go through.
export function preview(first, siblings = [], version) {
  const files = siblings.filter((entry) => entry.kind === "file" && isPreviewable(entry));
  let entry = first;
  let stop = new AbortController();
  const stage = h("div", { class: "stage" });
  const name = h("span", { class: "name", dir: "auto" });
  const about = h("p", { class: "hint" });
  const at = () => files.findIndex((file) => file.path === entry.path);
  const step = (by) => {
    const next = files[at() + by];
    if (!next) return;
    entry = next;
    show();
  };
  const before = button("Previous file", { icon: "left", iconOnly: true, kind: "quiet" }, () => step(-1));
  const after = button("Next file", { icon: "right", iconOnly: true, kind: "quiet" }, () => step(1));

  const show = () => {
    stop.abort();
    stop = new AbortController();
    name.textContent = shown(entry.name);
    about.textContent = `${kindWords(entry)} · ${bytes(entry.bytes)} · ${version === undefined ? when(entry.modified_ms) : `version of ${when(version)}`}`;
    before.disabled = at() <= 0;
    after.disabled = at() < 0 || at() >= files.length - 1;
    const hide = files.length < 2 || version !== undefined;
    before.hidden = hide;
    after.hidden = hide;
    render(stage, entry, version, stop.signal);
  };

  const closed = dialog((close) => ({
    title: name,
    kind: "preview",
    wide: true,
    header: h(
      "div",
      { class: "preview-tools" },
      before,
      after,
      button("Download", { icon: "download", iconOnly: true, kind: "quiet" }, () =>
        actions.download([entry], version),
      ),
    ),
    body: h(
      "div",
      {
        class: "preview-body",
        tabindex: "-1",
        "data-first": true,
        on: {
          keydown: (event) => {
            if (event.target.closest("video, audio, pre")) return;
            if (event.key === "ArrowLeft") step(-1);
            else if (event.key === "ArrowRight") step(1);
            else if (event.key === "d" && !event.ctrlKey && !event.metaKey)
              actions.download([entry], version);
            else if (event.key === "Backspace") close();
            else return;
            event.preventDefault();
          },
        },
      },
      stage,
      about,
    ),
  }));
  show();
  return closed.finally(() => {
    stop.abort();
    fill(stage);
  });
}

async function render(stage, entry, version, signal) {
  const kind = kindOf(entry.name);
  const cannot = (why) => {
    if (signal.aborted) return;
    fill(
      stage,
      placeholder({
        icon: "file",
        title: "There is no preview",
        text: why,
        actions: [
          button("Download", { icon: "download", kind: "primary" }, () => actions.download([entry], version)),
        ],
      }),
    );
  };
  fill(stage, loading());
  try {
    if (entry.bytes === 0) return cannot("The file is empty.");
    if (kind === "text") {
      const data = await api.beginning(entry.path, version, TEXT_MAX, signal);
      if (signal.aborted) return;
      const text = new TextDecoder().decode(data);
      fill(
        stage,
        h(
          "pre",
          { class: "text-preview", tabindex: "0", "aria-label": "Text of the file" },
          text.replaceAll("\0", "\u{fffd}"),
        ),
        entry.bytes > TEXT_MAX &&
          h("p", { class: "hint cut" }, `These are the first ${bytes(TEXT_MAX)} of ${bytes(entry.bytes)}.`),
      );
      return;
    }
    if (kind === "pdf") {
      fill(
        stage,
        placeholder({
          icon: "text",
          title: "PDF document",
          text: "It opens in a tab of its own, in the browser's own reader.",
          actions: [
            button("Open in a new tab", { kind: "primary", icon: "eye" }, async () => {
              const { url } = await api.ticket(entry.path, { version, inline: true });
              window.open(url, "_blank", "noopener,noreferrer");
            }),
          ],
        }),
      );
      return;
    }
    if (!["image", "video", "audio"].includes(kind)) {
      return cannot("Files of this kind are not shown in the browser, so that nothing in them can run here.");
    }
    const { url: address } = await api.ticket(entry.path, { version, inline: true });
    if (signal.aborted) return;
    if (kind === "image") {
      const image = h("img", { class: "picture", alt: shown(entry.name), decoding: "async", hidden: true });
      image.addEventListener("load", () => {
        if (signal.aborted) return;
        image.hidden = false;
        fill(stage, image);
      });
      image.addEventListener("error", () => cannot("The browser could not read it as a picture."));
      image.src = address;
      return;
    }
    const player = h(kind, {
      controls: true,
      preload: "metadata",
      class: "player",
      "aria-label": shown(entry.name),
      src: address,
    });
    player.addEventListener("error", () => cannot("The browser cannot play it."));
    signal.addEventListener("abort", () => {
      player.pause();
      player.removeAttribute("src");
      player.load();
    });
    fill(stage, kind === "audio" && h("div", { class: "audio-icon" }, icon("audio")), player);
  } catch (error) {
    if (error.code !== "cancelled") cannot(error.message);
  }
}
