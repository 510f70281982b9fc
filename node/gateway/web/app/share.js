// The dialog that gives out links to a file or folder, and the one that shows a link.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { button, fill, h, icon, prose } from "./dom.js";
import { exactly, parent, relative, shown } from "./format.js";
import { attempt, confirm, copyField, dialog, toast } from "./overlay.js";
import { svg } from "./qr.js";

const DAY = 86_400;
const TERMS = [
  ["", "Never"],
  [String(DAY), "After 1 day"],
  [String(7 * DAY), "After 7 days"],
  [String(30 * DAY), "After 30 days"],
  [String(365 * DAY), "After a year"],
  ["date", "On a day of my choice"],
];

// A link as words: what it needs and how long it works.
export function shareWords(share) {
  const words = [
    share.drop_box ? "Drop box" : null,
    share.password ? "password" : null,
    share.expires_ms
      ? `${share.expires_ms < Date.now() ? "ended" : "ends"} ${relative(share.expires_ms)}`
      : "no end date",
  ];
  return words.filter(Boolean).join(" · ");
}

// A link with its QR code.
function linkView(share) {
  const code = (() => {
    try {
      return svg(share.link, "QR code of the link");
    } catch {
      return null;
    }
  })();
  return h(
    "div",
    { class: "link-view" },
    share.problem && h("div", { class: "note warn" }, icon("warn"), h("p", {}, prose(share.problem))),
    copyField(share.link, "Link"),
    h(
      "div",
      { class: "link-more" },
      code,
      h(
        "div",
        { class: "link-words" },
        h(
          "p",
          {},
          share.drop_box
            ? "Whoever has this link can put files into the folder, and sees nothing of it."
            : `Whoever has this link${share.password ? " and the password" : ""} can read what it shows.`,
        ),
        h(
          "p",
          { class: "hint" },
          "The part after # is the secret. Browsers do not send it to any server, but it is in the link: pass it on only where it may be read.",
        ),
        h(
          "p",
          { class: "hint" },
          share.expires_ms ? `It ends ${exactly(share.expires_ms)}.` : "It works until you revoke it.",
        ),
      ),
    ),
  );
}

export function linkDialog(share) {
  return dialog((close) => ({
    title: h("span", { dir: "auto" }, `Link to ${shown(share.path)}`),
    body: linkView(share),
    actions: [button("Done", { kind: "primary" }, () => close())],
    wide: true,
  }));
}

// Asks first, then revokes. Answers whether it was done.
export async function revoke(share) {
  const sure = await confirm({
    title: "Revoke this link?",
    text: "It stops working for everybody who has not opened it. Whoever has opened it may have kept what they saw.",
    action: "Revoke link",
    danger: true,
  });
  if (!sure) return false;
  return attempt(async () => {
    await api.unshare(share.id);
    toast("The link was revoked.");
    actions.driveChanged([parent(share.path)]);
  });
}

export async function shareDialog(entry) {
  // Before the dialog opens, so that nothing in it moves under the pointer. The list is an extra here: the
  // view of shares says what is wrong with it.
  const given = await api.shares().catch(() => ({ shares: [] }));
  return dialog((close) => {
    const folder = entry.kind === "folder";
    const term = h(
      "select",
      { class: "input", id: "share-term", on: { change: () => (day.hidden = term.value !== "date") } },
      TERMS.map(([value, label]) => h("option", { value }, label)),
    );
    const soon = new Date(Date.now() + 14 * DAY * 1000).toISOString().slice(0, 10);
    const day = h("input", {
      class: "input",
      type: "date",
      value: soon,
      min: new Date(Date.now() + DAY * 1000).toISOString().slice(0, 10),
      "aria-label": "Last day",
      hidden: true,
    });
    const password = h("input", {
      class: "input",
      type: "password",
      id: "share-password",
      autocomplete: "new-password",
      maxlength: "1024",
    });
    const seen = button("Show", { kind: "quiet", "aria-pressed": "false" }, () => {
      const show = password.type === "password";
      password.type = show ? "text" : "password";
      seen.querySelector(".button-text").textContent = show ? "Hide" : "Show";
      seen.setAttribute("aria-pressed", String(show));
    });
    const box = h("input", { type: "checkbox", id: "share-box" });
    const why = h("p", { class: "field-problem", role: "alert" });
    const result = h("div", { class: "share-result", "aria-live": "polite" });
    const existing = h("div", { class: "share-existing" });
    const create = button("Create link", { icon: "shares", kind: "primary", type: "submit" });
    const form = h(
      "form",
      {
        class: "share-form",
        id: "share-form",
        on: {
          submit: async (event) => {
            event.preventDefault();
            why.textContent = "";
            const request = { path: entry.path, drop_box: box.checked };
            if (term.value === "date") {
              // To the end of that day, by this machine's clock.
              const end = new Date(`${day.value}T23:59:59`).getTime();
              const seconds = Math.floor((end - Date.now()) / 1000);
              if (!(seconds > 0)) return (why.textContent = "Choose a day that is still to come.");
              request.expires_seconds = seconds;
            } else if (term.value) {
              request.expires_seconds = Number(term.value);
            }
            if (password.value !== "") request.password = password.value;
            create.disabled = true;
            try {
              const share = await api.share(request);
              password.value = "";
              fill(result, h("h3", {}, "The new link"), linkView(share));
              result.querySelector("input").focus();
              actions.driveChanged([parent(entry.path)]);
              await load(share.id);
            } catch (error) {
              why.textContent = error.message;
            }
            create.disabled = false;
          },
        },
      },
      h(
        "div",
        { class: "share-fields" },
        h("div", { class: "field" }, h("label", { class: "label", for: "share-term" }, "Ends"), term, day),
        h(
          "div",
          { class: "field" },
          h("label", { class: "label", for: "share-password" }, "Password (optional)"),
          h("div", { class: "copy-field" }, password, seen),
        ),
      ),
      folder &&
        h(
          "label",
          { class: "check", for: "share-box" },
          box,
          h(
            "span",
            {},
            "Drop box",
            h("span", { class: "hint block" }, "Others can put files in and see nothing of what is there."),
          ),
        ),
      why,
    );
    create.setAttribute("form", "share-form");

    const list = (shares, fresh) => {
      const here = shares.filter((share) => share.path === entry.path && share.id !== fresh);
      fill(
        existing,
        here.length > 0 && h("h3", {}, "Links that were given out"),
        here.length > 0 &&
          h(
            "ul",
            { class: "lines" },
            here.map((share) =>
              h(
                "li",
                { class: "line" },
                h(
                  "div",
                  { class: "line-words" },
                  h("p", { class: "line-title" }, `Made ${exactly(share.created_ms)}`),
                  h("p", { class: "hint" }, shareWords(share)),
                ),
                h(
                  "div",
                  { class: "line-tools" },
                  button("Show link", { icon: "eye" }, () => linkDialog(share)),
                  button(
                    "Revoke",
                    { icon: "bin", iconOnly: true, kind: "quiet" },
                    async () => (await revoke(share)) && load(),
                  ),
                ),
              ),
            ),
          ),
      );
    };
    const load = async (fresh) => {
      const { shares } = await api.shares().catch(() => given);
      list(shares, fresh);
    };
    list(given.shares);
    return {
      title: h("span", { dir: "auto" }, `Share ${shown(entry.name)}`),
      body: [form, result, existing],
      actions: [button("Done", {}, () => close()), create],
      wide: true,
    };
  });
}
