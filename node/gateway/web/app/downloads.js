// Downloads: the browser fetches them by itself, under a ticket; the node tells how far it is.
//
// Invariant: no byte of a download passes through this page. One counts as done when the node has handed over
// all of it, and only then.

import * as api from "./api.js";
import { sentence } from "./format.js";

// How often the node is asked.
const LOOK_MS = 400;
// Browsers drop downloads that begin in the same moment.
const APART_MS = 300;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
// By id: {item, resolve, reject}.
const followed = new Map();
let looking = false;
let begun = Promise.resolve();

function save(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.rel = "noreferrer";
  document.body.append(link);
  link.click();
  link.remove();
}

// Has the browser fetch what `item` names, unless it does already, and completes when it has all of it.
export async function fetchItem(item, signal) {
  if (!item.download) {
    const { url, download } = await api.ticket(item.path, { version: item.version });
    item.download = download;
    if (signal.aborted) {
      giveUp(item.download);
    } else {
      const name = item.path.slice(item.path.lastIndexOf("/") + 1);
      begun = begun.then(() => {
        if (!signal.aborted) save(url, item.folder ? `${name || "drive"}.tar` : name);
        return sleep(APART_MS);
      });
    }
  }
  await follow(item, signal);
}

// What the browser began to fetch before this page was loaded.
export async function underWay() {
  const { downloads } = await api.downloads();
  return downloads.filter(
    ({ id, state }) => (state === "waiting" || state === "sending") && !followed.has(id),
  );
}

function giveUp(id) {
  api.cancelDownload(id).catch(() => {
    // It has ended by itself, or the node is away and with it the download.
  });
}

function follow(item, signal) {
  const cancelled = () => new api.ApiError("cancelled", "It was cancelled.");
  if (signal.aborted) return Promise.reject(cancelled());
  const id = item.download;
  return new Promise((resolve, reject) => {
    followed.set(id, { item, resolve, reject });
    signal.addEventListener("abort", () => {
      if (followed.delete(id)) giveUp(id);
      reject(cancelled());
    });
    look();
  });
}

async function look() {
  if (looking) return;
  looking = true;
  while (followed.size > 0) {
    const asked = [...followed];
    try {
      const views = new Map((await api.downloads()).downloads.map((view) => [view.id, view]));
      for (const [id, one] of asked) note(id, one, views.get(id));
    } catch (error) {
      // While the node is away, nothing moves; anything else ends the looking, not the downloads.
      if (error.code !== "gone_node") for (const [id, one] of asked) settle(id, () => one.reject(error));
    }
    await sleep(LOOK_MS);
  }
  looking = false;
}

function settle(id, how) {
  if (followed.delete(id)) how();
}

function note(id, { item, resolve, reject }, view) {
  const fail = (code, words) => settle(id, () => reject(new api.ApiError(code, words)));
  if (!view) {
    return fail("cut", "The node was restarted. The browser's own list says whether the file is whole.");
  }
  item.sent = view.sent_bytes;
  if (view.bytes !== undefined) item.size = view.bytes;
  item.asked = view.state === "waiting";
  item.batch.progress();
  if (view.state === "done") settle(id, resolve);
  else if (view.state === "failed") fail("cut", sentence(view.reason ?? "it broke off"));
  else if (view.state === "cancelled") fail("cancelled", "It was cancelled.");
}
