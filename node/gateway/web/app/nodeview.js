// The node itself: who it is, what it sends, whom it knows.

import * as api from "./api.js";
import { facts } from "./details.js";
import { h } from "./dom.js";
import { bytes, counted, credits, duration, number, rate, short } from "./format.js";
import { card, copyable, figure, Page } from "./page.js";

export class NodeView extends Page {
  constructor() {
    super("Node", "The program on this machine that keeps your keys and talks to the others.");
  }

  async ask(signal) {
    const [status, peers] = await Promise.all([api.status(signal), api.peers(signal)]);
    return {
      status: {
        ...status,
        uptime_seconds: status.uptime_seconds - (status.uptime_seconds % 60),
        stage_milliseconds: undefined,
      },
      peers,
    };
  }

  draw({ status, peers }) {
    const { traffic } = status;
    return [
      card(
        "This node",
        facts([
          ["Version", status.version],
          [
            "Role",
            status.storage ? (status.drive ? "Keeps files and lends disk" : "Lends disk") : "Keeps files",
          ],
          ["Running for", duration(status.uptime_seconds)],
          ["Connected peers", number(status.peers_connected)],
          ["Contracts", number(status.contracts)],
          ["Local API", h("span", { class: "mono" }, status.api)],
          ["Peer id", copyable(status.peer_id, status.peer_id)],
          ["Party", copyable(status.party, short(status.party, 16, 8))],
          [
            "Listens on",
            h(
              "ul",
              { class: "plain-list" },
              status.addresses.map((address) => h("li", { class: "mono wrap" }, address)),
            ),
          ],
          [
            "Ledger",
            `${counted(status.ledger.size, "entry", "entries")}, cosigned by ${number(status.ledger.cosigners)}`,
          ],
          status.gateway && ["Share pages are served at", h("span", { class: "mono wrap" }, status.gateway)],
          status.s3 && ["S3 is served at", h("span", { class: "mono wrap" }, status.s3)],
          status.ledger.url && ["Ledger is served at", h("span", { class: "mono wrap" }, status.ledger.url)],
        ]),
      ),
      card(
        "Traffic",
        h(
          "div",
          { class: "figures" },
          figure("Sent today", bytes(traffic.sent_today_bytes)),
          figure("Received today", bytes(traffic.received_today_bytes)),
          figure("Sent this month", bytes(traffic.sent_this_month_bytes)),
          figure("Received this month", bytes(traffic.received_this_month_bytes)),
        ),
        (traffic.upload_limit_bytes_per_second || traffic.download_limit_bytes_per_second) &&
          h("p", { class: "hint" }, [
            "The transport policy limits ",
            [
              traffic.upload_limit_bytes_per_second &&
                `sending to ${rate(traffic.upload_limit_bytes_per_second)}`,
              traffic.download_limit_bytes_per_second &&
                `receiving to ${rate(traffic.download_limit_bytes_per_second)}`,
            ]
              .filter(Boolean)
              .join(" and "),
            ".",
          ]),
      ),
      card(
        `Peers`,
        peers.length === 0
          ? h("p", { class: "muted" }, "No other node is known yet.")
          : h(
              "div",
              { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Peers" },
              h(
                "table",
                {},
                h(
                  "thead",
                  {},
                  h(
                    "tr",
                    {},
                    h("th", { scope: "col" }, "Peer"),
                    h("th", { scope: "col" }, "State"),
                    h("th", { scope: "col", class: "number" }, "Round trip"),
                    h("th", { scope: "col", class: "number" }, "Lends"),
                    h("th", { scope: "col", class: "number" }, "Credits per GiB and month"),
                  ),
                ),
                h(
                  "tbody",
                  {},
                  peers.map((peer) =>
                    h(
                      "tr",
                      {},
                      h(
                        "td",
                        {},
                        h("span", { class: "mono", title: peer.peer_id }, short(peer.peer_id, 10, 6)),
                        peer.region && h("span", { class: "tag quiet" }, peer.region),
                      ),
                      h(
                        "td",
                        {},
                        h(
                          "span",
                          { class: peer.connected ? "state on" : "state" },
                          peer.connected
                            ? `Connected${peer.transport ? ` (${peer.transport})` : ""}`
                            : "Not connected",
                        ),
                      ),
                      h(
                        "td",
                        { class: "number" },
                        peer.round_trip_ms === null || peer.round_trip_ms === undefined
                          ? "–"
                          : `${number(peer.round_trip_ms)} ms`,
                      ),
                      h(
                        "td",
                        { class: "number" },
                        peer.free_bytes === null || peer.free_bytes === undefined
                          ? "–"
                          : bytes(peer.free_bytes),
                      ),
                      h(
                        "td",
                        { class: "number" },
                        peer.prices ? credits(peer.prices.storage_microcredits_per_gib_month, true) : "–",
                      ),
                    ),
                  ),
                ),
              ),
            ),
      ),
    ];
  }
}
