// What is on its way to the drive and from it: batches of files, a bounded number at a time; large uploads in
// parts, which are found again after a reload when the same file is chosen again.
//
// Invariant: an upload counts as done only when the node has answered that it is in the drive. Nothing of a
// file is held in memory beyond the part that is being sent. Not here: how a download goes (downloads.js).

import * as api from "./api.js";
import { fetchItem, underWay } from "./downloads.js";
import { md5 } from "./md5.js";
import { base, counted, join, parent } from "./format.js";

// Uploads, and transfers in all, at the same time. A browser opens six connections to one address; two are
// left for everything else.
const UP_MAX = 3;
const ALL_MAX = 4;
const DOWN_MAX = 2;
// A larger file goes in parts of PART bytes, or of more if it would have more than PARTS_MAX.
const LARGE = 64 * 1024 * 1024;
const PART = 16 * 1024 * 1024;
const PARTS_MAX = 9_000;
// The rate is that of the last seconds.
const WINDOW_MS = 8_000;

const partSize = (size) => Math.max(PART, Math.ceil(size / PARTS_MAX / PART) * PART);

// "change" when anything here changed, "stored" (detail: folders) when files came into the drive.
export const events = new EventTarget();
export const batches = [];
let serial = 0;
const running = { up: 0, down: 0 };
const queues = { up: [], down: [] };
let told = 0;
const stored = new Set();
let storedTimer = 0;

function changed() {
  if (told) return;
  told = setTimeout(() => {
    told = 0;
    events.dispatchEvent(new Event("change"));
  }, 100);
}

function noteStored(path) {
  stored.add(parent(path));
  if (storedTimer) return;
  storedTimer = setTimeout(() => {
    storedTimer = 0;
    const folders = [...stored];
    stored.clear();
    events.dispatchEvent(new CustomEvent("stored", { detail: folders }));
  }, 400);
}

// Files that were put into the drive together ("up"), or are taken out of it together ("down").
class Batch {
  constructor(title, folder, items, way = "up") {
    serial += 1;
    this.id = serial;
    this.title = title;
    this.folder = folder;
    this.items = items;
    this.way = way;
    this.marks = [];
    this.cancelled = false;
    this.note = "";
    for (const item of items) item.batch = this;
  }

  // Of all items; undefined while that of one is not known.
  get bytes() {
    return this.items.reduce(
      (sum, { size }) => (sum === undefined || size === undefined ? undefined : sum + size),
      0,
    );
  }

  get sent() {
    return this.items.reduce((sum, item) => sum + item.sent, 0);
  }

  count(state) {
    return this.items.reduce((sum, item) => sum + (item.state === state ? 1 : 0), 0);
  }

  // "active", "done", "failed" or "cancelled".
  get state() {
    if (this.items.some((item) => item.state === "waiting" || item.state === "sending")) return "active";
    if (this.items.some((item) => item.state === "failed")) return "failed";
    return this.cancelled ? "cancelled" : "done";
  }

  // Bytes a second over the last seconds; 0 when nothing moves.
  get rate() {
    const now = performance.now();
    this.marks = this.marks.filter(([time]) => now - time < WINDOW_MS);
    if (this.marks.length < 2) return 0;
    const [[from, first], [, last]] = [this.marks[0], this.marks.at(-1)];
    return now - from < 500 ? 0 : Math.max(0, ((last - first) * 1000) / (now - from));
  }

  // Seconds, if it goes on like this; undefined when nobody can tell.
  get left() {
    const rate = this.rate;
    return rate > 0 && this.bytes !== undefined ? (this.bytes - this.sent) / rate : undefined;
  }

  progress() {
    this.marks.push([performance.now(), this.sent]);
    if (this.marks.length > 400) this.marks.splice(0, 100);
    changed();
  }

  cancel() {
    this.cancelled = true;
    for (const item of this.items) {
      if (item.state === "waiting") item.state = "cancelled";
      item.abort?.abort();
    }
    changed();
  }

  retry() {
    this.cancelled = false;
    for (const item of this.items) {
      if (item.state === "failed" || item.state === "cancelled") enqueue(item);
    }
    next();
    changed();
  }
}

function enqueue(item) {
  item.state = "waiting";
  item.sent = 0;
  item.error = null;
  item.download = undefined;
  queues[item.batch.way].push(item);
}

function next() {
  const all = () => running.up + running.down;
  while (all() < ALL_MAX && running.down < DOWN_MAX && launch(queues.down.shift()));
  while (all() < UP_MAX && launch(queues.up.shift()));
}

// Answers whether there was something to begin.
function launch(item) {
  if (!item) return false;
  if (item.state !== "waiting") return true;
  const { way } = item.batch;
  running[way] += 1;
  run(item).finally(() => {
    running[way] -= 1;
    next();
  });
  return true;
}

async function run(item) {
  item.state = "sending";
  item.abort = new AbortController();
  const { signal } = item.abort;
  const { batch } = item;
  try {
    if (batch.way === "down") {
      await fetchItem(item, signal);
      item.size = item.sent;
    } else {
      const stored = item.size > LARGE ? await sendParts(item, signal) : await whole(item, signal);
      item.replaced = stored.versions > 0;
      item.sent = item.size;
      noteStored(item.path);
    }
    item.state = "done";
  } catch (error) {
    item.state =
      batch.cancelled || error.code === "cancelled" || error.name === "AbortError" ? "cancelled" : "failed";
    item.error = error;
    if (item.state === "cancelled") item.sent = 0;
  }
  item.abort = null;
  batch.progress();
}

// Sends again after the node was away; gives up on whatever else is wrong.
async function persistently(signal, action) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await action();
    } catch (error) {
      const passing = error.code === "gone_node" || error.code === "busy" || error.code === "interrupted";
      if (!passing || tries >= 5 || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries));
      await api.untilThere(signal);
    }
  }
}

// Fails when a file cannot be read, so that this is told from a node that is away.
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new api.ApiError(
      "unreadable",
      `“${file.name}” cannot be read any more: it was changed, moved or removed since it was chosen.`,
    );
  }
}

async function whole(item, signal) {
  return persistently(signal, async () => {
    await readable(item.file);
    return api.putFile(item.path, item.file, {
      signal,
      progress: (sent) => {
        item.sent = Math.min(sent, item.file.size);
        item.batch.progress();
      },
    });
  });
}

async function sendParts(item, signal) {
  const { file, path } = item;
  const size = partSize(file.size);
  const count = Math.ceil(file.size / size);
  await readable(file);
  const begun = (await api.uploads(signal)).uploads.find((upload) => upload.path === path);
  const upload = begun ?? (await api.beginUpload(path, file.type ? { "content-type": file.type } : {}));
  item.upload = upload.id;
  const there = new Map(upload.parts.map((part) => [part.number, part]));
  let done = 0;
  for (let number = 1; number <= count; number += 1) {
    const part = file.slice((number - 1) * size, Math.min(number * size, file.size));
    const before = there.get(number);
    if (before?.bytes === part.size && before.md5 === (await md5(part, signal))) {
      item.resumed = true;
    } else {
      await persistently(signal, async () => {
        await readable(file);
        await api.putPart(upload.id, number, part, {
          signal,
          progress: (sent) => {
            item.sent = done + Math.min(sent, part.size);
            item.batch.progress();
          },
        });
      });
    }
    done += part.size;
    item.sent = done;
    item.batch.progress();
  }
  const parts = Array.from({ length: count }, (_, i) => i + 1);
  return persistently(signal, () => api.completeUpload(upload.id, parts, file.lastModified));
}

// Begins to store `files`, [{file, path}] with paths below `folder`. `title` says what they are.
export function start(title, folder, files, emptyFolders = []) {
  const items = files.map(({ file, path }) => ({ file, path, size: file.size, state: "waiting", sent: 0 }));
  const batch = new Batch(title, folder, items);
  for (const path of emptyFolders) {
    api
      .makeFolder(path)
      .then(() => noteStored(path))
      .catch((error) => {
        batch.note = error.message;
        changed();
      });
  }
  if (items.length > 0) {
    batches.unshift(batch);
    for (const item of items) enqueue(item);
    next();
  }
  changed();
  return batch;
}

// Has the browser fetch `entries`; `version`: that one of the only file.
export function startDownloads(entries, version) {
  const items = entries.map((entry) => ({
    path: entry.path,
    version,
    folder: entry.kind === "folder",
    // An archive is longer than what is in it, and how much nobody knows before.
    size: entry.kind === "folder" || version !== undefined ? undefined : entry.bytes,
  }));
  const title = items.length === 1 ? titleDown(items[0]) : counted(items.length, "item");
  const batch = new Batch(title, parent(entries[0].path), items, "down");
  batches.unshift(batch);
  for (const item of items) enqueue(item);
  next();
  changed();
}

const titleDown = ({ path, folder }) => (folder ? `${base(path) || "drive"}.tar` : base(path));

// Follows what the browser began to fetch before this page was loaded.
export async function followDownloads() {
  for (const { id, path, version, kind, bytes, sent_bytes } of await underWay()) {
    const item = {
      path,
      version,
      folder: kind === "folder",
      size: bytes,
      state: "waiting",
      sent: sent_bytes,
    };
    item.download = id;
    batches.unshift(new Batch(titleDown(item), parent(path), [item], "down"));
    launch(item);
  }
  changed();
}

// Files and folders that were chosen with an input.
export function startChosen(folder, list) {
  const files = [...list].map((file) => ({ file, path: join(folder, file.webkitRelativePath || file.name) }));
  if (files.length > 0) start(titleOf(files, folder), folder, files);
}

function titleOf(files, folder, folders = []) {
  const tops = new Set(
    [...files.map(({ path }) => path), ...folders].map(
      (path) => path.slice(folder === "/" ? 1 : folder.length + 1).split("/")[0],
    ),
  );
  if (tops.size === 1) return [...tops][0];
  return files.length > 0 ? counted(files.length, "file") : counted(folders.length, "folder");
}

// What was dropped, folders walked through. Must be called while the event is dispatched.
export async function startDropped(folder, transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return startChosen(folder, transfer.files);
  const files = [];
  const folders = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      files.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path });
      return;
    }
    const reader = entry.createReader();
    let any = false;
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      any = true;
      for (const child of some) await walk(child, join(path, child.name));
    }
    if (!any) folders.push(path);
  };
  for (const entry of entries) await walk(entry, join(folder, entry.name));
  start(titleOf(files, folder, folders), folder, files, folders);
}

export function active() {
  return batches.filter((batch) => batch.state === "active");
}

// Takes what has ended off the list.
export function clearEnded() {
  for (let i = batches.length - 1; i >= 0; i -= 1) {
    if (batches[i].state !== "active") batches.splice(i, 1);
  }
  changed();
}

export function removeBatch(batch) {
  const at = batches.indexOf(batch);
  if (at >= 0) batches.splice(at, 1);
  changed();
}

// Whether this page is sending to the upload with this id.
export function isSending(id) {
  return batches.some((batch) => batch.items.some((item) => item.upload === id && item.state === "sending"));
}

// Leaving the page ends uploads, and downloads that have not begun: the browser asks first.
addEventListener("beforeunload", (event) => {
  const ends = (batch) => batch.way === "up" || batch.count("waiting") > 0;
  if (active().some(ends)) event.preventDefault();
});
