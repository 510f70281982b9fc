// What the node owes and is owed, by the receipts that both sides signed.

import * as api from "./api.js";
import { button, h, placeholder, prose } from "./dom.js";
import { bytes, counted, credits, duration, number, short } from "./format.js";
import { copyText, dialog } from "./overlay.js";
import { card, figure, Page } from "./page.js";

// Signed statements that are shown of a ledger.
const ENTRIES = 25;
// What one can be in a contract.
const ROLES = { owner: "the owner", provider: "the provider" };

export class CreditsView extends Page {
  constructor() {
    super(
      "Credits",
      "What follows from receipts that both sides signed. 1 credit is a million microcredits.",
    );
  }

  async ask(signal) {
    const [{ storage }, ledger] = await Promise.all([api.status(signal), api.ledger(0, 0, signal)]);
    // Only who lends disk gives credit.
    const credit = storage ? await api.credit(signal) : null;
    const from = Math.max(0, ledger.size - ENTRIES);
    const { entries } = ledger.size > 0 ? await api.ledger(from, ENTRIES, signal) : { entries: [] };
    return { credit, balances: ledger.balances, size: ledger.size, entries };
  }

  draw({ credit, balances, size, entries }) {
    const owed = balances.reduce((sum, it) => sum + BigInt(it.owed_to_me_microcredits), 0n);
    const owes = balances
      .filter((it) => it.owed_to_me_microcredits < 0)
      .reduce((sum, it) => sum - BigInt(it.owed_to_me_microcredits), 0n);
    const earns = balances
      .filter((it) => it.owed_to_me_microcredits > 0)
      .reduce((sum, it) => sum + BigInt(it.owed_to_me_microcredits), 0n);
    if (balances.length === 0 && size === 0) {
      return placeholder({
        icon: "credits",
        title: "There is no account yet",
        text: "When you store something with a provider, or lend disk to an owner, both sides sign what is owed, and it stands here.",
      });
    }
    return [
      card(
        "Balance",
        h(
          "div",
          { class: "figures" },
          figure("In all", credits(owed), owed < 0n ? "you owe" : "owed to you"),
          figure("Owed to you", credits(earns)),
          figure("You owe", credits(owes)),
          figure("Contracts", number(balances.length)),
        ),
      ),
      balances.length > 0 &&
        card(
          "By contract",
          h(
            "div",
            { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Balances by contract" },
            h(
              "table",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  h("th", { scope: "col" }, "With"),
                  h("th", { scope: "col", class: "wide-only" }, "You are"),
                  h("th", { scope: "col", class: "number" }, "Audits"),
                  h("th", { scope: "col", class: "number wide-only" }, "Sent"),
                  h("th", { scope: "col", class: "number" }, "Credits"),
                ),
              ),
              h(
                "tbody",
                {},
                balances.map((it) =>
                  h(
                    "tr",
                    {},
                    h(
                      "td",
                      {},
                      h("span", { class: "mono", title: it.counterparty }, short(it.counterparty)),
                      h("p", { class: "hint narrow-only" }, `as ${it.role}`),
                      h("p", { class: "hint narrow-only" }, `${bytes(it.egress_bytes)} sent`),
                    ),
                    h("td", { class: "wide-only" }, ROLES[it.role] ?? it.role),
                    h(
                      "td",
                      { class: "number" },
                      h("span", { class: "whole" }, `${number(it.audits_passed)} passed`),
                      it.audits_failed > 0 && ", ",
                      it.audits_failed > 0 &&
                        h("span", { class: "whole" }, `${number(it.audits_failed)} failed`),
                    ),
                    h("td", { class: "number wide-only" }, bytes(it.egress_bytes)),
                    h("td", { class: "number" }, credits(it.owed_to_me_microcredits, true)),
                  ),
                ),
              ),
            ),
          ),
        ),
      credit && credit.parties.length > 0 && this.parties(credit),
      entries.length > 0 &&
        card(
          "Newest entries of the ledger",
          h("p", { class: "muted" }, `${counted(size, "signed statement")} in all. Anybody can check them.`),
          h(
            "ul",
            { class: "lines" },
            [...entries].reverse().map((entry) =>
              h(
                "li",
                { class: "line" },
                h(
                  "div",
                  { class: "line-words" },
                  h("p", { class: "line-title plain" }, entry.summary),
                  h("p", { class: "hint" }, `${entry.kind} · entry ${number(entry.index)}`),
                ),
                h(
                  "div",
                  { class: "line-tools" },
                  button(`Show note ${entry.index}`, { icon: "eye", iconOnly: true, kind: "quiet" }, () =>
                    noteDialog(entry),
                  ),
                ),
              ),
            ),
          ),
        ),
    ];
  }

  parties(credit) {
    return card(
      "Who may owe you how much",
      h(
        "p",
        { class: "muted" },
        `Newcomers share a gift of ${credits(credit.gift_microcredits)} credits in ${duration(credit.epoch_seconds)}; ${credits(credit.gift_used_microcredits)} of it are used.`,
      ),
      h(
        "div",
        { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Credit of parties" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "Party"),
              h("th", { scope: "col", class: "number" }, "Owes"),
              h("th", { scope: "col", class: "number wide-only" }, "May come to owe"),
              h("th", { scope: "col", class: "number" }, "Room left"),
            ),
          ),
          h(
            "tbody",
            {},
            credit.parties.map((it) =>
              h(
                "tr",
                {},
                h(
                  "td",
                  {},
                  h("span", { class: "mono", title: it.party }, short(it.party)),
                  h(
                    "p",
                    { class: "hint narrow-only" },
                    `may come to owe ${credits(it.exposure_microcredits, true)}`,
                  ),
                  it.stopped.map((stop) => h("p", { class: "hint" }, prose(stop.why))),
                ),
                h("td", { class: "number" }, credits(it.account_microcredits, true)),
                h("td", { class: "number wide-only" }, credits(it.exposure_microcredits, true)),
                h("td", { class: "number" }, credits(it.headroom_microcredits, true)),
              ),
            ),
          ),
        ),
      ),
    );
  }
}

function noteDialog(entry) {
  return dialog((close) => ({
    title: `Entry ${number(entry.index)}: ${entry.kind}`,
    wide: true,
    body: [
      h("p", { class: "muted" }, "Word for word, as both sides signed it."),
      h("pre", { class: "text-preview", tabindex: "0" }, entry.note),
    ],
    actions: [
      button("Copy", { icon: "copy" }, () => copyText(entry.note)),
      button("Done", { kind: "primary" }, () => close()),
    ],
  }));
}
