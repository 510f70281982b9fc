// How safe what is stored is: problems, redundancy, checks, other histories, providers to watch.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, fill, h, icon, loading, prose } from "./dom.js";
import { bytes, counted, duration, exactly, number, short, shown } from "./format.js";
import { attempt, confirm, dialog, toast } from "./overlay.js";
import { card, figure, Page } from "./page.js";
import { fileHash } from "./router.js";

const STATES = {
  good: "In good standing",
  probation: "On probation",
  suspended: "Suspended",
  quarantined: "Quarantined",
  absent: "Absent",
  lost: "Lost",
};
const OUTCOMES = {
  passed: "Passed",
  "wrong-bytes": "Wrong bytes",
  "no-answer": "No answer",
  offline: "Offline",
  quarantined: "Quarantined",
};

export class HealthView extends Page {
  constructor() {
    super("Health", "How safe what you have stored is, and what to look at.");
    this.result = h("div", { class: "stack", "aria-live": "polite" });
  }

  async ask(signal) {
    const status = await api.status(signal);
    const { problems, drive, standings, quarantine, storage, audits_here } = status;
    const heads = drive ? await api.heads(signal) : null;
    if (drive && !this.usage) this.sum(signal);
    return {
      problems,
      drive,
      standings: standings ?? [],
      quarantine,
      storage,
      audits_here,
      heads,
      usage: this.usage,
      missing: this.missing ?? 0,
    };
  }

  // Once, and without waiting: of a large drive this takes a while.
  async sum(signal) {
    this.usage = {};
    try {
      this.usage = await api.usage("/", signal);
      this.load();
    } catch {
      // Its figures are left out.
    }
  }

  draw({ problems, drive, standings, quarantine, storage, audits_here: audits, heads, usage, missing }) {
    const degraded = drive?.degraded_segments ?? 0;
    const forks = heads?.forks ?? [];
    const fine = problems.length + degraded + forks.length + missing === 0 && !quarantine;
    return [
      h(
        "div",
        { class: fine ? "note good headline" : "note warn headline" },
        icon(fine ? "health" : "warn"),
        h(
          "div",
          {},
          h("h2", {}, fine ? "All is well" : "Something needs a look"),
          h(
            "p",
            {},
            fine
              ? "Every piece of your drive is where it should be."
              : problems.length > 0
                ? counted(problems.length, "thing to look at", "things to look at")
                : degraded + missing > 0
                  ? "Some pieces of your drive are missing."
                  : "See below.",
          ),
        ),
      ),
      problems.length > 0 &&
        card(
          "To look at",
          h(
            "ul",
            { class: "problems" },
            problems.map((problem) => h("li", {}, icon("warn"), h("span", {}, prose(problem)))),
          ),
        ),
      forks.length > 0 && this.histories(heads),
      drive && this.redundancy(drive, heads.current ?? { files: 0, bytes: 0 }, usage ?? {}),
      drive && this.checking(),
      standings.length > 0 && this.providers(standings),
      storage && this.disk(storage, audits, quarantine),
    ];
  }

  redundancy(drive, head, usage) {
    const whole = drive.segments - drive.degraded_segments;
    const part = drive.segments > 0 ? whole / drive.segments : 1;
    const bar = h("span");
    bar.style.width = `${part * 100}%`;
    return card(
      "Your drive",
      h(
        "div",
        { class: "figures" },
        figure(
          "Files",
          number(head.files),
          usage.folders === undefined ? "" : counted(usage.folders, "folder"),
        ),
        figure("Size", bytes(head.bytes), "current versions"),
        usage.versions !== undefined &&
          figure("Earlier versions", number(usage.versions), bytes(usage.versions_bytes)),
        figure(
          "Complete segments",
          drive.segments > 0 ? `${Math.floor(part * 1000) / 10} %` : "–",
          `${number(whole)} of ${number(drive.segments)}`,
        ),
      ),
      drive.segments > 0 &&
        h(
          "div",
          {
            class: drive.degraded_segments > 0 ? "bar warn" : "bar",
            role: "img",
            "aria-label": `${whole} of ${drive.segments} segments have all their pieces`,
          },
          bar,
        ),
      h(
        "p",
        { class: "hint" },
        drive.degraded_segments > 0
          ? `${counted(drive.degraded_segments, "segment")} lack at least one piece. They can be read; the node makes the pieces again.`
              .replace("1 segment lack", "1 segment lacks")
              .replace("They can", drive.degraded_segments === 1 ? "It can" : "They can")
          : "Each file lies in coded pieces on several providers: any few of them are enough to read it.",
      ),
    );
  }

  checking() {
    // The card is drawn anew after a check, and keeps what was chosen.
    const repair = h("input", { type: "checkbox", id: "check-repair", checked: this.repair ?? true });
    repair.addEventListener("change", () => {
      this.repair = repair.checked;
    });
    const run = button("Check now", { icon: "health", kind: "primary" }, async () => {
      run.disabled = true;
      fill(this.result, loading("Asking providers what they hold…"));
      try {
        const found = await api.check(repair.checked, this.stop.signal);
        fill(this.result, report(found, repair.checked));
        // The node may not know yet what the check saw.
        this.missing = found.missing_chunks;
        this.load();
      } catch (error) {
        fill(
          this.result,
          error.code === "cancelled"
            ? null
            : h("div", { class: "note danger", role: "alert" }, icon("warn"), h("p", {}, error.message)),
        );
      }
      run.disabled = false;
    });
    return card(
      "Check everything",
      h(
        "p",
        { class: "muted" },
        "Asks every provider for a small part of each piece that it should have. No whole file is downloaded.",
      ),
      h("label", { class: "check", for: "check-repair" }, repair, h("span", {}, "Make missing pieces again")),
      h("div", {}, run),
      this.result,
    );
  }

  histories({ current, forks }) {
    const line = (head, tools) =>
      h(
        "li",
        { class: "line" },
        h(
          "div",
          { class: "line-words" },
          h(
            "p",
            { class: "line-title" },
            `Written ${exactly(head.written_ms)}`,
            h("span", { class: "mono hint" }, head.hash.slice(0, 12)),
          ),
          h(
            "p",
            { class: "hint" },
            `${counted(head.files, "file")} · ${bytes(head.bytes)} · number ${number(head.sequence)}`,
          ),
        ),
        tools,
      );
    return card(
      "Other histories of this drive",
      h(
        "p",
        { class: "muted" },
        "Another device wrote to the drive without knowing of the newest state. Nothing is lost: merge takes over what the other history has, and keeps both versions where they differ.",
      ),
      h(
        "ul",
        { class: "lines" },
        current && line(current, h("span", { class: "tag" }, "This one")),
        forks.map((head) =>
          line(
            head,
            h(
              "div",
              { class: "line-tools" },
              button("Merge", { icon: "check" }, () =>
                attempt(async () => {
                  const merged = await api.merge(head.hash);
                  actions.driveChanged([]);
                  await this.load();
                  mergedDialog(merged);
                }),
              ),
              button("Give up this history", { icon: "bin", iconOnly: true, kind: "quiet" }, async () => {
                const sure = await confirm({
                  title: "Give up this history?",
                  text: "What only this history has can then not be reached any more.",
                  action: "Give up",
                  danger: true,
                });
                if (sure && (await attempt(() => api.forget(head.hash)))) {
                  toast("The other history was given up.");
                  this.load();
                }
              }),
            ),
          ),
        ),
      ),
    );
  }

  providers(standings) {
    return card(
      "Providers to watch",
      h(
        "ul",
        { class: "lines" },
        standings.map((it) =>
          h(
            "li",
            { class: "line tall" },
            h(
              "div",
              { class: "line-words" },
              h(
                "p",
                { class: "line-title" },
                h("span", { class: "mono", title: it.provider }, short(it.provider, 10, 6)),
                h("span", { class: it.state === "good" ? "tag" : "tag warn" }, STATES[it.state] ?? it.state),
              ),
              h("p", {}, prose(it.reason)),
              it.what_to_do && h("p", { class: "hint" }, prose(it.what_to_do)),
              h(
                "p",
                { class: "hint" },
                `Last audit: ${OUTCOMES[it.outcome] ?? it.outcome}${it.since > 0 ? ` · since ${exactly(it.since * 1000)}` : ""}`,
              ),
            ),
          ),
        ),
      ),
    );
  }

  disk(storage, audits, quarantine) {
    const used = storage.used_bytes;
    const bar = h("span");
    bar.style.width = `${storage.allotted_bytes > 0 ? Math.min(100, (used / storage.allotted_bytes) * 100) : 0}%`;
    return card(
      "The disk that you lend",
      quarantine && h("div", { class: "note danger" }, icon("warn"), h("p", {}, prose(quarantine))),
      h(
        "div",
        { class: "figures" },
        figure("Lent", bytes(storage.allotted_bytes)),
        figure("Used", bytes(used), counted(storage.chunks, "chunk")),
        figure("Free", bytes(storage.free_bytes)),
        audits && figure("Audits passed", number(audits.passed), `in ${counted(audits.days, "day")}`),
      ),
      h(
        "div",
        {
          class: "bar",
          role: "img",
          "aria-label": `${bytes(used)} of ${bytes(storage.allotted_bytes)} are used`,
        },
        bar,
      ),
      audits?.last_failed &&
        h(
          "p",
          { class: "hint" },
          `Last audit that was not passed: ${exactly(audits.last_failed.time * 1000)}, ${OUTCOMES[audits.last_failed.outcome] ?? audits.last_failed.outcome}. ${audits.last_failed.what_to_do}`,
        ),
    );
  }
}

function report(found, repair) {
  const fine = found.at_risk_total === 0 && found.missing_chunks === 0;
  const words = [
    `${counted(found.files, "file")} in ${counted(found.segments, "segment")} were looked at in ${found.seconds < 1 ? "less than a second" : duration(found.seconds)}, with earlier versions and the bin; ${bytes(found.fetched_bytes)} were fetched for it.`,
    `${number(found.chunks_proven)} of ${counted(found.chunks, "piece")} were shown to be there.`,
    found.chunks_counted > 0 &&
      `${counted(found.chunks_counted, "piece")} could only be counted, because their providers run an older version.`,
    found.chunks_lost > 0 && `${counted(found.chunks_lost, "piece")} lost.`,
    found.chunks_unreachable > 0 &&
      `${counted(found.chunks_unreachable, "piece")} with providers that cannot be reached now.`,
    found.missing_chunks === 0 && "No piece is missing.",
    found.repaired_chunks > 0 && `${counted(found.repaired_chunks, "piece")} made again.`,
    repair && found.missing_chunks > 0 &&
      "What is still missing could not be made again: other providers have to take it.",
  ];
  return [
    h(
      "div",
      { class: fine ? "note good" : "note warn" },
      icon(fine ? "check" : "warn"),
      h("p", {}, words.filter(Boolean).join(" ")),
    ),
    found.at_risk_total > 0 && h("h3", {}, `${counted(found.at_risk_total, "file")} at risk`),
    found.at_risk_total > 0 &&
      h(
        "ul",
        { class: "lines" },
        found.at_risk.map((file) =>
          h(
            "li",
            { class: "line tall" },
            h(
              "div",
              { class: "line-words" },
              h(
                "p",
                { class: "line-title" },
                file.path.startsWith("bin:")
                  ? h("span", { class: "name" }, "A file in the bin")
                  : h("a", { class: "name", dir: "auto", href: fileHash(file.path) }, shown(file.path)),
                h(
                  "span",
                  { class: file.margin < 0 ? "tag danger" : "tag warn" },
                  file.margin < 0 ? "Cannot be read now" : `${number(file.margin)} to spare`,
                ),
              ),
              h("p", { class: "hint" }, prose(file.advice)),
            ),
          ),
        ),
      ),
    found.at_risk_total > found.at_risk.length &&
      h("p", { class: "hint" }, `and ${counted(found.at_risk_total - found.at_risk.length, "more file")}.`),
    ...lacking(found),
  ];
}

/** Files that lack pieces and are not at risk, and the providers that did not show them. */
function lacking(found) {
  const risky = new Set(found.at_risk.map((file) => file.path));
  const files = found.incomplete.filter((file) => !risky.has(file.path));
  const silent = found.providers.filter((provider) => provider.why !== "");
  const words = (it) =>
    [
      it.chunks_lost > 0 && `${counted(it.chunks_lost, "piece")} lost`,
      it.chunks_unreachable > 0 && `${counted(it.chunks_unreachable, "piece")} out of reach`,
      it.chunks_counted > 0 && `${counted(it.chunks_counted, "piece")} only counted`,
    ]
      .filter(Boolean)
      .join(", ");
  const line = (title, hint) =>
    h(
      "li",
      { class: "line tall" },
      h("div", { class: "line-words" }, title, h("p", { class: "hint" }, hint)),
    );
  return [
    files.length > 0 && h("h3", {}, "Pieces missing, nothing at risk yet"),
    files.length > 0 &&
      h(
        "ul",
        { class: "lines" },
        files.map((file) =>
          line(
            h("p", { class: "line-title" }, h("span", { class: "name", dir: "auto" }, shown(file.path))),
            words(file),
          ),
        ),
      ),
    silent.length > 0 && h("h3", {}, "Providers that did not show everything"),
    silent.length > 0 &&
      h(
        "ul",
        { class: "lines" },
        silent.map((provider) =>
          line(
            h(
              "p",
              { class: "line-title" },
              h("span", { class: "mono", title: provider.peer_id }, short(provider.peer_id, 10, 6)),
            ),
            [words(provider), provider.why].filter(Boolean).join(": "),
          ),
        ),
      ),
  ];
}

function mergedDialog(merged) {
  const part = (title, paths) =>
    paths.length > 0 && [
      h("h3", {}, title),
      h(
        "ul",
        { class: "paths" },
        paths.map((path) => h("li", { dir: "auto" }, shown(path))),
      ),
    ];
  return dialog((close) => ({
    title: "The histories were merged",
    wide: true,
    body: [
      !merged.with_ancestor &&
        h(
          "p",
          { class: "muted" },
          "The state from which both went on is not known any more: what only one of them has counts as added.",
        ),
      part(`${counted(merged.added.length, "path")} taken over`, merged.added),
      part(`${counted(merged.conflicts.length, "path")} with two versions, both kept`, merged.conflicts),
      part(`${counted(merged.removed.length, "path")} moved to the bin`, merged.removed),
      merged.added.length + merged.conflicts.length + merged.removed.length === 0 &&
        h("p", {}, "Both held the same."),
      (merged.warnings ?? []).map((warning) => h("p", { class: "hint" }, prose(warning))),
    ],
    actions: [button("Done", { kind: "primary" }, () => close())],
  }));
}
