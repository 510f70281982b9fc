// The app: its frame, where it is, and what happens when the node or the token is gone.

import * as api from "./api.js";
import * as transfers from "./transfers.js";
import { button, fill, h, icon } from "./dom.js";
import { FilesView } from "./files.js";
import { counted } from "./format.js";
import { helpDialog } from "./help.js";
import { announce, mountMessages, toast } from "./overlay.js";
import { BinView } from "./binview.js";
import { CreditsView } from "./credits.js";
import { HealthView } from "./health.js";
import { NodeView } from "./nodeview.js";
import { SearchView } from "./search.js";
import { SharesView } from "./sharesview.js";
import { TransfersView } from "./transfersview.js";
import { go, read, searchHash } from "./router.js";

const VIEWS = {
  files: FilesView,
  search: SearchView,
  transfers: TransfersView,
  bin: BinView,
  shares: SharesView,
  health: HealthView,
  credits: CreditsView,
  node: NodeView,
};
const PLACES = [
  ["files", "Files", "files"],
  ["transfers", "Transfers", "transfers"],
  ["shares", "Shared", "shares"],
  ["bin", "Bin", "bin"],
  ["health", "Health", "health"],
  ["credits", "Credits", "credits"],
  ["node", "Node", "node"],
];
// How often the node is asked whether all is well.
const LOOK_MS = 20_000;

let view = null;
let started = false;
const links = new Map();
const main = h("main", { id: "main", tabindex: "-1" });
const banner = h("div", { class: "banner", role: "alert", hidden: true });
const search = h("input", {
  class: "input search-input",
  type: "search",
  placeholder: "Search",
  "aria-label": "Search files and folders",
  autocomplete: "off",
  spellcheck: "false",
  enterkeyhint: "search",
});

function navigation() {
  const items = PLACES.map(([key, label, name]) => {
    const badge = h("span", { class: "badge", hidden: true });
    const link = h(
      "a",
      { href: `#/${key}`, class: `nav-link nav-${key}` },
      icon(name),
      h("span", { class: "nav-label" }, label),
      badge,
    );
    links.set(key, { link, badge });
    return h("li", {}, link);
  });
  const more = button(
    "More",
    { icon: "more", kind: "nav-link nav-more", "aria-haspopup": "true", "aria-expanded": "false" },
    () => {
      const open = nav.classList.toggle("more-open");
      more.setAttribute("aria-expanded", String(open));
    },
  );
  const nav = h(
    "nav",
    { class: "nav", "aria-label": "Main" },
    h("ul", {}, items, h("li", { class: "more-item" }, more)),
  );
  const shut = () => {
    nav.classList.remove("more-open");
    more.setAttribute("aria-expanded", "false");
  };
  addEventListener("hashchange", shut);
  nav.addEventListener("keydown", (event) => event.key === "Escape" && shut());
  document.addEventListener("pointerdown", (event) => !nav.contains(event.target) && shut());
  return nav;
}

function frame() {
  const form = h(
    "form",
    {
      class: "search",
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          if (search.value.trim() === "") return;
          const now = read(location.hash);
          const folder =
            now.view === "files" ? now.path : now.view === "search" ? now.query.get("in") || "/" : "/";
          go(searchHash(search.value.trim(), folder));
        },
      },
    },
    icon("search"),
    search,
  );
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      search.value = "";
      view?.focus();
    }
  });
  document.body.replaceChildren(
    h(
      "a",
      { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), view?.focus()) } },
      "Skip to the content",
    ),
    h(
      "div",
      { class: "app" },
      h(
        "header",
        { class: "top" },
        h("a", { class: "brand", href: "#/files" }, icon("logo"), h("span", {}, "Commonhold")),
        form,
        button("Keyboard shortcuts", { icon: "help", iconOnly: true, kind: "quiet" }, helpDialog),
      ),
      navigation(),
      h("div", { class: "content" }, banner, main),
    ),
  );
  mountMessages();
}

function show() {
  const at = read(location.hash);
  if (!VIEWS[at.view]) return go("#/files");
  const inside = document.activeElement?.closest("main, body") !== null;
  view?.destroy();
  view = new VIEWS[at.view](at);
  fill(main, view.element);
  document.title = `${view.title} – Commonhold`;
  search.value = at.view === "search" ? (at.query.get("q") ?? "") : "";
  for (const [key, { link }] of links) {
    const here = key === at.view || (key === "files" && at.view === "search");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (inside || document.activeElement === document.body) view.focus();
  if (started) announce(view.title);
  started = true;
}

// What the navigation says beside its words.
function badge(key, count, words, warn = false) {
  const { badge: element } = links.get(key);
  element.hidden = count === 0;
  element.className = warn ? "badge warn" : "badge";
  fill(
    element,
    count === 0
      ? null
      : [
          h("span", { "aria-hidden": "true" }, count > 99 ? "99+" : String(count)),
          h("span", { class: "sr-only" }, words),
        ],
  );
}

async function look() {
  if (document.hidden && !api.isGone()) return;
  try {
    const status = await api.status();
    const count = status.problems.length;
    badge("health", count, counted(count, "problem"), true);
  } catch {
    // A node that is gone is told by the banner.
  }
}

function countTransfers() {
  const count = transfers.active().length;
  badge("transfers", count, `${counted(count, "transfer")} under way`);
}

// Says that the node is away, until it is back.
function watchNode() {
  api.node.addEventListener("gone", async () => {
    fill(
      banner,
      icon("warn"),
      h(
        "div",
        {},
        h("p", {}, h("b", {}, "The node does not answer.")),
        h(
          "p",
          {},
          "It may have been stopped or restarted. Start it with ",
          h("code", {}, "commonhold up"),
          "; this page goes on by itself.",
        ),
      ),
    );
    banner.hidden = false;
    try {
      await api.untilThere();
    } catch {
      // It is there and refuses the token, which is told elsewhere.
    }
  });
  api.node.addEventListener("back", () => {
    banner.hidden = true;
    toast("The node is back.");
    look();
  });
  api.node.addEventListener("unauthorized", () =>
    tokenPage("The node no longer takes this page's token. It may have been made anew."),
  );
}

function shortcuts() {
  let went = 0;
  // The active row is marked for those who use keys.
  addEventListener(
    "keydown",
    (event) => event.key.length > 1 && document.documentElement.classList.add("keys"),
    true,
  );
  addEventListener("pointerdown", () => document.documentElement.classList.remove("keys"), true);
  document.addEventListener(
    "keydown",
    (event) => {
      const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
      if (
        typing ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        document.querySelector("dialog[open], .menu")
      )
        return;
      if (Date.now() - went < 1500) {
        went = 0;
        const target = {
          f: "files",
          t: "transfers",
          s: "shares",
          b: "bin",
          h: "health",
          c: "credits",
          n: "node",
        }[event.key];
        if (target) {
          event.preventDefault();
          event.stopPropagation();
          go(`#/${target}`);
          return;
        }
      }
      if (event.key === "?") {
        event.preventDefault();
        helpDialog();
      } else if (event.key === "/") {
        event.preventDefault();
        search.focus();
        search.select();
      } else if (event.key === "g") {
        went = Date.now();
      }
      // Before the list sees it: `g` makes the next key a place.
    },
    true,
  );
}

// What a page without a token says: how to get one.
function tokenPage(why) {
  view?.destroy();
  view = null;
  const problem = h("p", { class: "field-problem", id: "token-why", role: "alert" });
  const input = h("input", {
    class: "input mono",
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "token-why",
  });
  document.title = "Commonhold";
  document.body.replaceChildren(
    h(
      "main",
      { class: "gate" },
      h("div", { class: "gate-brand" }, icon("logo"), h("span", {}, "Commonhold")),
      h(
        "div",
        { class: "card gate-card" },
        h("h1", {}, "Open your drive"),
        why && h("div", { class: "note warn" }, icon("warn"), h("p", {}, why)),
        h(
          "p",
          {},
          "This page is for the owner of this node. Other programs and pages on this machine cannot use it, so it needs the node's token.",
        ),
        h(
          "div",
          { class: "command" },
          h("p", { class: "hint" }, "In a terminal, run"),
          h("pre", {}, "commonhold web"),
          h("p", { class: "hint" }, "and open the link that it prints."),
        ),
        h(
          "form",
          {
            class: "gate-form",
            on: {
              submit: async (event) => {
                event.preventDefault();
                problem.textContent = "";
                if (!api.useToken(input.value)) {
                  problem.textContent = "This is neither the link nor a token.";
                  return input.focus();
                }
                try {
                  await api.status();
                  location.reload();
                } catch (error) {
                  const words = error.status === 401 ? "The node does not take this token." : error.message;
                  queueMicrotask(() => {
                    const place = document.getElementById("token-why");
                    if (place) place.textContent = words;
                    document.getElementById("token")?.focus();
                  });
                }
              },
            },
          },
          h(
            "div",
            { class: "field" },
            h("label", { class: "label", for: "token" }, "Or paste the link or the token here"),
            input,
            problem,
          ),
          button("Open", { kind: "primary", type: "submit" }),
        ),
        h("p", { class: "hint" }, "The token stays in this tab and is forgotten when you close it."),
      ),
    ),
  );
}

function start() {
  api.takeToken();
  if (!api.hasToken()) return tokenPage();
  frame();
  watchNode();
  shortcuts();
  addEventListener("hashchange", () => {
    // Another link of `commonhold web` in a tab that is open already.
    if (location.hash.startsWith("#token=")) {
      api.takeToken();
      location.reload();
    } else if (view) {
      show();
    }
  });
  transfers.events.addEventListener("change", countTransfers);
  transfers.events.addEventListener("stored", countTransfers);
  transfers.followDownloads().catch(() => {
    // They go on without being shown here.
  });
  if (location.hash === "") history.replaceState(null, "", `${location.pathname}#/files`);
  show();
  look();
  setInterval(look, LOOK_MS);
}

start();
