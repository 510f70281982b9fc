// The worker that holds an opened link: it fetches, checks, decrypts and streams, so that the page stays
// quick. Secrets live here and in the page, and go nowhere.
//
// The page calls `{ call, id, … }` and gets `{ id, value }` or `{ id, error }`. Streams to the service
// worker run over a port of their own, one piece for each that is asked for.

import { Refused, compare, key32, need, utf8 } from './bytes.js';
import { WHOLE_MAX, post, shelf, tidy } from './deposit.js';
import { DropSealer } from './drop.js';
import { kindOf } from './kinds.js';
import { admit, decodeRecord, openRecord, sharedEntry, verify } from './link.js';
import { FileReader, entryPages, parseRange, readPage } from './objects.js';
import { Source, fault, retryAfter } from './source.js';
import { SAFE, attachment, begun, pump } from './streams.js';
import { safeName, zip } from './zip.js';

/** Deepest folder that is archived: a drive has no deeper ones. */
const DEPTH_MAX = 64;
/** Bytes between two reports of progress of the same transfer, at least this many milliseconds apart. */
const REPORT_EVERY = 150;

let address;
let record;
let secret;
let drop = null;
let source;
/** Everything that the page was told of, by number: entries, and how far folders have been listed. */
const nodes = [];
/** Transfers that run, by the page's number. */
const running = new Map();

function register(entry) {
  const { name, modified, folder, content, executable } = entry;
  nodes.push({ entry, listing: null });
  const about = folder
    ? { folder: true, entries: folder.totals.entries, files: folder.totals.files, bytes: folder.totals.bytes }
    : { folder: false, bytes: content.len, executable, ...kindOf(name) };
  return { node: nodes.length - 1, name, modified, ...about };
}

const entryOf = (node) => nodes[node].entry;
const now = () => Math.floor(Date.now() / 1000);

/** Fetches, checks and keeps the record. `seen` is the highest sequence that this browser has seen. */
async function load({ base, link, key, seen }) {
  address = `${base}/s/${link}`;
  secret = key;
  const response = await patiently(() => fetch(`${address}/record`, { cache: 'no-store' }));
  if (response.status !== 200) throw await fault(response);
  const bytes = new Uint8Array(await bounded(response, 8192));
  const found = decodeRecord(bytes);
  const signed = await verify(found);
  admit(found, key32(link), now(), seen);
  record = found;
  return { password: Boolean(found.password), expires: found.expires, sequence: found.sequence, signed };
}

/** Waits as long as a gateway says that it is busy, at most a few times. */
async function patiently(ask) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await ask();
    } catch (error) {
      throw error instanceof TypeError ? new Refused('offline') : error;
    }
    if (response.status !== 429 || attempt === 5) return response;
    await new Promise((done) => setTimeout(done, retryAfter(response)));
  }
}

/** A body of at most `max` bytes. */
async function bounded(response, max) {
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    length += value.length;
    if (length > max) {
      await reader.cancel();
      throw new Refused('too-large');
    }
    parts.push(value);
  }
}

/** Opens the record and what is shared. */
async function unlock({ password }) {
  let content;
  try {
    content = await openRecord(record, secret, password);
  } catch (error) {
    // With a password a wrong one is by far the likeliest reason.
    throw error.code === 'sealed' && record.password ? new Refused('password') : error;
  }
  drop = content.drop;
  source = new Source(`${address}/segment`);
  if (!content.root) return { drop: true, shared: null };
  const page = await readPage(source, content.root);
  return { drop: Boolean(drop), shared: register(sharedEntry(page, Boolean(drop))) };
}

/** The next entries of a folder, at most `limit`; from the beginning with `again`. */
async function list({ node, limit, again }) {
  const state = nodes[node];
  if (again || !state.listing) state.listing = { pages: entryPages(source, state.entry.folder), buffer: [], done: false };
  const { listing } = state;
  while (listing.buffer.length < limit && !listing.done) {
    const { value, done } = await listing.pages.next();
    if (done) listing.done = true;
    else listing.buffer.push(...value);
  }
  const entries = listing.buffer.splice(0, limit).map(register);
  return { entries, more: !listing.done || listing.buffer.length > 0 };
}

/** One entry of a folder by its name, or null. */
async function find({ node, name }) {
  const wanted = utf8(name);
  let reference = entryOf(node).folder?.page;
  while (reference) {
    const page = await readPage(source, reference);
    if (page.entries) {
      const entry = page.entries.find((entry) => compare(entry.nameBytes, wanted) === 0);
      return entry ? register(entry) : null;
    }
    reference = page.pages.findLast(({ first }) => compare(first, wanted) <= 0)?.page;
  }
  return null;
}

/** Runs something that can be cancelled and reports how far it is. */
async function transferring(transfer, work) {
  const controller = new AbortController();
  running.set(transfer, controller);
  let done = 0;
  let reported = 0;
  const progress = (bytes) => {
    done += bytes;
    if (performance.now() - reported < REPORT_EVERY) return;
    reported = performance.now();
    postMessage({ transfer, done });
  };
  try {
    const value = await work(controller.signal, progress);
    postMessage({ transfer, done, state: 'done' });
    return value;
  } catch (error) {
    const cancelled = controller.signal.aborted;
    postMessage({ transfer, done, state: cancelled ? 'cancelled' : 'failed', error: cancelled ? undefined : plainError(error) });
    throw error;
  } finally {
    running.delete(transfer);
  }
}

function cancel({ transfer }) {
  running.get(transfer)?.abort();
}

/** Entries of a folder and all below it, with their paths. */
async function* walk(entry, path, signal, depth = 0) {
  need(depth <= DEPTH_MAX, 'too-deep');
  yield { path, folder: true, modified: entry.modified };
  const taken = new Set();
  for await (const entries of entryPages(source, entry.folder, signal)) {
    for (const below of entries) {
      let name = safeName(below.name);
      for (let i = 2; taken.has(name); i++) name = `${safeName(below.name)} (${i})`;
      taken.add(name);
      const to = `${path}/${name}`;
      if (below.folder) yield* walk(below, to, signal, depth + 1);
      else yield { path: to, folder: false, modified: below.modified, executable: below.executable, len: below.content.len, read: () => readFile(below, signal) };
    }
  }
}

async function* readFile(entry, signal) {
  const file = await FileReader.open(source, entry.content, signal);
  yield* file.read(0, file.len, signal);
}

/** The bytes that a download has: a file's, or a folder's as a zip archive. */
function downloadOf(entry, signal) {
  return entry.folder ? zip(walk(entry, safeName(entry.name), signal)) : readFile(entry, signal);
}

/** A download through the service worker: as one file, to be saved. */
async function streamDownload({ port, node, transfer }) {
  const entry = entryOf(node);
  await transferring(transfer, async (signal, progress) => {
    let pieces;
    try {
      // The first piece is opened before anything is promised.
      pieces = await begun(downloadOf(entry, signal));
    } catch (error) {
      // "No content": the browser stays where it is.
      port.postMessage({ status: 204, headers: {} });
      throw error;
    }
    const name = entry.folder ? `${entry.name}.zip` : entry.name;
    const headers = {
      ...SAFE,
      'Content-Type': entry.folder ? 'application/zip' : 'application/octet-stream',
      'Content-Disposition': attachment(name),
      ...(entry.folder ? {} : { 'Content-Length': String(entry.content.len) }),
    };
    port.postMessage({ status: 200, headers });
    postMessage({ transfer, done: 0, state: 'started' });
    try {
      await pump(port, pieces, signal, progress);
    } catch (error) {
      port.postMessage({ error: true });
      throw error;
    }
  }).catch(() => {});
}

/** Sound or film for the page's player, by ranges. */
async function streamMedia({ port, node, range }) {
  const entry = entryOf(node);
  const signal = new AbortController().signal;
  try {
    const file = await FileReader.open(source, entry.content);
    const found = parseRange(range, file.len);
    const [start, end] = found ?? [0, file.len];
    const pieces = await begun(file.read(start, end, signal));
    const headers = { ...SAFE, 'Content-Type': kindOf(entry.name).type, 'Accept-Ranges': 'bytes', 'Content-Length': String(end - start) };
    if (found) headers['Content-Range'] = `bytes ${start}-${end - 1}/${file.len}`;
    port.postMessage({ status: found ? 206 : 200, headers });
    await pump(port, pieces, signal, () => {});
  } catch (error) {
    if (error.code === 'range') {
      port.postMessage({ status: 416, headers: { ...SAFE, 'Content-Range': `bytes */${entry.content.len}` } });
    } else if (error.code !== 'cancelled') {
      port.postMessage({ status: 404, headers: {}, error: true });
      postMessage({ media: node, error: plainError(error) });
    }
  }
}

/** A file, or the first `max` bytes of it, as one buffer. */
async function whole({ node, max = WHOLE_MAX, cut = false }) {
  const { content } = entryOf(node);
  const file = await FileReader.open(source, content);
  need(cut || file.len <= max, 'too-large-here');
  const length = Math.min(max, file.len);
  const bytes = new Uint8Array(length);
  let at = 0;
  for await (const piece of file.read(0, length)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { bytes: bytes.buffer, type: kindOf(entryOf(node).name).type };
}

/** Writes a download into a file that the visitor chose. */
async function save({ node, transfer, handle }) {
  const writable = await handle.createWritable();
  try {
    await transferring(transfer, async (signal, progress) => {
      for await (const piece of downloadOf(entryOf(node), signal)) {
        await writable.write(piece);
        progress(piece.length);
      }
      await writable.close();
    });
  } catch (error) {
    // What was written goes to a file beside it, which is thrown away.
    await writable.abort().catch(() => {});
    throw error;
  }
}

/** A download as a Blob, for browsers that can do nothing better. */
async function collect({ node, transfer }) {
  return transferring(transfer, async (signal, progress) => {
    const parts = [];
    let length = 0;
    for await (const piece of downloadOf(entryOf(node), signal)) {
      length += piece.length;
      need(length <= WHOLE_MAX, 'no-streaming');
      parts.push(piece);
      progress(piece.length);
    }
    return new Blob(parts, { type: 'application/octet-stream' });
  });
}

/** Seals a file for the drop box and sends it. */
async function deposit({ file, name, transfer, link }) {
  await transferring(transfer, async (signal, progress) => {
    const about = { name, len: file.size, modified: file.lastModified };
    const sealer = await DropSealer.start(key32(link), drop, about);
    const place = await shelf();
    try {
      const slice = async (from, to) => new Uint8Array(await file.slice(from, to).arrayBuffer());
      for await (const piece of sealer.pieces(slice)) {
        signal.throwIfAborted();
        place.write(piece);
        postMessage({ transfer, sealing: true });
      }
      const sealed = await place.finish();
      need(sealed.size === sealer.sealedLen, 'changed');
      await post(`${address}/drop`, sealed, signal, progress);
    } finally {
      await place.remove();
    }
  });
}

function plainError(error) {
  if (error instanceof Refused) return { code: error.code, said: error.message === error.code ? '' : error.message };
  return { code: error?.name === 'QuotaExceededError' ? 'disk' : 'failed', said: String(error?.message ?? error).slice(0, 200) };
}

const CALLS = { load, unlock, list, find, whole, save, collect, deposit, cancel, tidy, streamDownload, streamMedia };

onmessage = async ({ data: { id, call, ...args } }) => {
  try {
    const value = await CALLS[call](args);
    postMessage({ id, value }, value?.bytes instanceof ArrayBuffer ? [value.bytes] : []);
  } catch (error) {
    postMessage({ id, error: plainError(error) });
  }
};
