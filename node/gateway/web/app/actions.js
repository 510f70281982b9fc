// What can be done with files and folders, from whichever view.
//
// Invariant: nothing here replaces a file that stands in the way without being asked to: the node
// answers `exists`, and its sentence is shown.

import * as api from "./api.js";
import * as transfers from "./transfers.js";
import { base, bytes, counted, join, nameProblem, parent, shown, within } from "./format.js";
import { ask, attempt, confirm, toast } from "./overlay.js";
import { chooseFolder } from "./picker.js";
import { go, fileHash } from "./router.js";

const quoted = (path) => `“${shown(base(path)) || "My drive"}”`;
const what = (entries) => (entries.length === 1 ? quoted(entries[0].path) : counted(entries.length, "item"));

// "changed" when an action changed the drive (detail: the folders).
export const drive = new EventTarget();

export function driveChanged(folders) {
  drive.dispatchEvent(new CustomEvent("changed", { detail: folders }));
}

// Has the browser fetch files, and folders as tar archives.
export function download(entries, version) {
  transfers.startDownloads(entries, version);
  toast(
    entries.length === 1
      ? `Downloading ${quoted(entries[0].path)}.`
      : `Downloading ${counted(entries.length, "item")}.`,
    { action: { label: "Show", run: () => go("#/transfers") } },
  );
}

// Whether a folder has an entry of this name. Asked with a listing, because a miss is no error.
async function has(folder, name) {
  // A prefix stands before the name in the drive's order.
  let after = [...name].slice(0, -1).join("") || undefined;
  do {
    const page = await api.list(folder, after, 1_000);
    if (page.entries.some((entry) => entry.name === name)) return true;
    const last = page.entries.at(-1);
    if (!last || !before(last.name, name)) return false;
    after = page.next ?? undefined;
  } while (after !== undefined);
  return false;
}

// The drive's order: by the bytes of UTF-8, which is that of code points.
function before(a, b) {
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < x.length && i < y.length; i += 1) {
    if (x[i] !== y[i]) return x[i].codePointAt(0) < y[i].codePointAt(0);
  }
  return x.length < y.length;
}

// `made` is told the name before the views look again.
export function newFolder(folder, made = () => {}) {
  return ask({
    title: "New folder",
    label: "Name",
    action: "Create",
    problem: nameProblem,
    run: async (name) => {
      if (await has(folder, name))
        throw new api.ApiError("exists", "There is a file or folder of this name already.");
      await api.makeFolder(join(folder, name));
      made(name);
      driveChanged([folder]);
      toast(`The folder “${shown(name)}” was made.`);
    },
  });
}

export function rename(entry, made = () => {}) {
  const dot = entry.kind === "file" ? entry.name.lastIndexOf(".") : -1;
  return ask({
    title: entry.kind === "folder" ? "Rename folder" : "Rename file",
    label: "Name",
    value: entry.name,
    select: dot > 0 ? dot : undefined,
    action: "Rename",
    problem: nameProblem,
    run: async (name) => {
      if (name === entry.name) return;
      await api.move(entry.path, join(parent(entry.path), name));
      made(name);
      driveChanged([parent(entry.path)]);
      toast(`It is called “${shown(name)}” now.`);
    },
  });
}

// Moves or copies into a folder, one after the other; what fails stays where it is and is told.
async function transfer(entries, folder, call) {
  let done = 0;
  for (const entry of entries) {
    const fine = await attempt(() => call(entry.path, join(folder, entry.name)));
    if (!fine) break;
    done += 1;
  }
  if (done > 0) driveChanged([folder, ...entries.map((entry) => parent(entry.path))]);
  return done;
}

export async function moveInto(entries, folder) {
  const moved = entries.filter((entry) => parent(entry.path) !== folder);
  if (moved.length === 0) return;
  const inside = moved.find((entry) => entry.kind === "folder" && within(folder, entry.path));
  if (inside) return toast(`${quoted(inside.path)} cannot be moved into itself.`, { failed: true });
  const done = await transfer(moved, folder, (from, to) => api.move(from, to));
  if (done === 0) return;
  const back = moved.slice(0, done);
  toast(`${done === 1 ? quoted(back[0].path) : counted(done, "item")} moved to ${quoted(folder)}.`, {
    action: {
      label: "Undo",
      run: () =>
        attempt(async () => {
          for (const entry of back) await api.move(join(folder, entry.name), entry.path);
          driveChanged([folder, ...back.map((entry) => parent(entry.path))]);
        }),
    },
  });
}

export async function copyInto(entries, folder) {
  const done = await transfer(entries, folder, async (from, to) => {
    await api.copy(from, await freeName(to, from === to));
  });
  if (done > 0)
    toast(`${done === 1 ? quoted(entries[0].path) : counted(done, "item")} copied to ${quoted(folder)}.`);
}

// A name that nothing has, for a copy beside its original.
async function freeName(path, beside) {
  if (!beside) return path;
  const [folder, name] = [parent(path), base(path)];
  const dot = name.lastIndexOf(".");
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  for (let n = 1; n < 1000; n += 1) {
    const candidate = `${stem} (copy${n > 1 ? ` ${n}` : ""})${extension}`;
    if (!(await has(folder, candidate))) return join(folder, candidate);
  }
  return path;
}

export async function move(entries) {
  const folder = await chooseFolder({
    title: `Move ${what(entries)}`,
    action: "Move here",
    start: parent(entries[0].path),
    without: entries,
  });
  if (folder !== undefined) await moveInto(entries, folder);
}

export async function copy(entries) {
  const folder = await chooseFolder({
    title: `Copy ${what(entries)}`,
    action: "Copy here",
    start: parent(entries[0].path),
  });
  if (folder !== undefined) await copyInto(entries, folder);
}

// To the bin: nothing is asked, because it can be undone.
export async function remove(entries) {
  const gone = [];
  for (const entry of entries) {
    const fine = await attempt(() => api.remove(entry.path));
    if (!fine) break;
    gone.push(entry);
  }
  if (gone.length === 0) return;
  driveChanged(gone.map((entry) => parent(entry.path)));
  toast(
    gone.length === 1
      ? `${quoted(gone[0].path)} is in the bin.`
      : `${counted(gone.length, "item")} are in the bin.`,
    {
      action: { label: "Undo", run: () => attempt(() => undo(gone)) },
    },
  );
}

async function undo(gone) {
  const { items } = await api.bin();
  for (const entry of gone) {
    // The newest item of this path is the one just removed.
    const item = items.find((it) => it.path === entry.path);
    if (item) await api.restoreFromBin(item.id);
  }
  driveChanged(gone.map((entry) => parent(entry.path)));
}

export async function restoreFromBin(items) {
  let done = 0;
  for (const item of items) {
    try {
      await api.restoreFromBin(item.id);
      done += 1;
    } catch (error) {
      if (error.code !== "exists") {
        toast(error.message, { failed: true });
        break;
      }
      // Something else stands there by now: another name is asked for.
      const to = await ask({
        title: "Restore under another name",
        label: `Something stands at ${shown(item.path)} by now. New name`,
        value: base(item.path),
        action: "Restore",
        problem: nameProblem,
        run: (name) => api.restoreFromBin(item.id, join(parent(item.path), name)),
      });
      if (to === undefined) break;
      done += 1;
    }
  }
  if (done === 0) return;
  const folders = items.map((item) => parent(item.path));
  driveChanged(folders);
  toast(
    done === 1
      ? `${quoted(items[0].path)} is back in the drive.`
      : `${counted(done, "item")} are back in the drive.`,
    {
      action: { label: "Show", run: () => go(fileHash(folders[0])) },
    },
  );
}

export async function removeForGood(items) {
  const all = items === undefined;
  const count = all
    ? "Everything in the bin"
    : items.length === 1
      ? `${quoted(items[0].path)}`
      : counted(items.length, "item");
  const sure = await confirm({
    title: all ? "Empty the bin?" : "Remove for good?",
    text: `${count} will be gone for good. This cannot be undone.`,
    action: all ? "Empty bin" : "Remove for good",
    danger: true,
  });
  if (!sure) return;
  await attempt(async () => {
    const emptied = await api.emptyBin(all ? undefined : items.map((item) => item.id));
    driveChanged([]);
    toast(`${counted(emptied.items, "item")} gone for good, ${bytes(emptied.bytes)}.`);
    for (const warning of emptied.warnings ?? []) toast(warning, { failed: true });
  });
}

export { what };
