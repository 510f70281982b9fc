// The versions of a file: look at one, download it, make it the current one again.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, failure, fill, h, loading } from "./dom.js";
import { bytes, exactly, parent, shown } from "./format.js";
import { attempt, dialog, toast } from "./overlay.js";
import { preview } from "./preview.js";

export function versionsDialog(entry) {
  const list = h("div", {}, loading());
  const load = async () => {
    try {
      const { versions } = await api.versions(entry.path);
      fill(
        list,
        h(
          "ul",
          { class: "lines" },
          versions.map((version) => line(version)),
        ),
        versions.length === 1 &&
          h(
            "p",
            { class: "hint" },
            "There are no earlier versions. When the file is stored again, this one is kept.",
          ),
      );
    } catch (error) {
      fill(list, failure(error, load));
    }
  };
  const line = (version) =>
    h(
      "li",
      { class: "line" },
      h(
        "div",
        { class: "line-words" },
        h(
          "p",
          { class: "line-title" },
          exactly(version.version),
          version.current && h("span", { class: "tag" }, "Current"),
        ),
        h("p", { class: "hint" }, `${bytes(version.bytes)} · modified ${exactly(version.modified_ms)}`),
      ),
      h(
        "div",
        { class: "line-tools" },
        button(
          `Show the version of ${exactly(version.version)}`,
          { icon: "eye", iconOnly: true, kind: "quiet" },
          () =>
            preview(
              { ...entry, bytes: version.bytes, modified_ms: version.modified_ms },
              [],
              version.version,
            ),
        ),
        button(
          `Download the version of ${exactly(version.version)}`,
          { icon: "download", iconOnly: true, kind: "quiet" },
          () => actions.download([entry], version.version),
        ),
        !version.current &&
          button("Restore", { icon: "restore" }, () =>
            attempt(async () => {
              await api.restoreVersion(entry.path, version.version);
              toast(
                `The version of ${exactly(version.version)} is the current one again. The one before it is kept.`,
              );
              actions.driveChanged([parent(entry.path)]);
              await load();
            }),
          ),
      ),
    );
  load();
  return dialog((close) => ({
    title: h("span", { dir: "auto" }, `Versions of ${shown(entry.name)}`),
    body: list,
    actions: [button("Done", { kind: "primary", "data-first": true }, () => close())],
    wide: true,
  }));
}
