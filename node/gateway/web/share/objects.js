// Reads objects through a source of segments: folders page by page, files by ranges of bytes.
//
// Invariant: as in sealing.md, section 5: commitment, exact length, every record with its place, padding of
// zeros. A file's last bytes are given out only when its padding was looked at. Not here: HTTP, the page.

import { Refused, compare, need } from './bytes.js';
import { OBJECT_LEN_MAX, decodeManifest, decodePage } from './drive.js';
import { KIND, RECORD_LEN, RECORD_PLAIN_LEN, Sealing, allZero, openWhole, recordCount, sealedLen } from './seal.js';

/** Records that are opened at a time. */
const BATCH = 16;
/** Segments that are fetched ahead of the one that is read, as long as they are of ordinary size. */
const AHEAD_LEN_MAX = 6 * 1_048_576;

/** The plaintext of a page or manifest. */
export async function readObject(source, kind, reference, signal) {
  const length = sealedLen(reference.len);
  need(length <= OBJECT_LEN_MAX, 'shape');
  const sealed = new Uint8Array(length);
  let at = 0;
  for (const { segment, offset, length } of reference.extents) {
    const to = at;
    await source.with(segment, signal, (bytes) => sealed.set(bytes.subarray(offset, offset + length), to));
    at += length;
  }
  return openWhole(kind, reference, sealed);
}

/** One page of a folder. */
export async function readPage(source, reference, signal) {
  return decodePage(await readObject(source, KIND.folder, reference, signal));
}

/**
 * The entries of a folder in the order of their names, a page at a time. Refuses pages that are not where
 * their parent says, or of another level.
 */
export async function* entryPages(source, folder, signal) {
  if (folder.page) yield* pagesBelow(source, folder.page, null, null, null, signal);
}

async function* pagesBelow(source, reference, level, low, high, signal) {
  const page = await readPage(source, reference, signal);
  need(level === null || page.level === level, 'shape');
  const items = page.entries ?? page.pages;
  const bound = (item) => item.nameBytes ?? item.first;
  need(low === null || compare(bound(items[0]), low) >= 0, 'shape');
  need(high === null || compare(bound(items[items.length - 1]), high) < 0, 'shape');
  if (page.entries) {
    yield page.entries;
    return;
  }
  for (const [i, below] of page.pages.entries()) {
    const next = page.pages[i + 1]?.first ?? high;
    yield* pagesBelow(source, below.page, page.level - 1, below.first, next, signal);
  }
}

/** A file whose bytes can be read by ranges. */
export class FileReader {
  /** Opens the manifest, if there is one. */
  static async open(source, content, signal) {
    if (content.inline) return new FileReader(source, content.len, [], content.inline);
    const references = content.direct
      ? [content.direct]
      : decodeManifest(await readObject(source, KIND.manifest, content.manifest, signal));
    const parts = [];
    let start = 0;
    for (const reference of references) {
      parts.push({ start, reference, records: extentsOf(reference) });
      start += reference.len;
    }
    need(start === content.len, 'shape');
    return new FileReader(source, start, parts, null);
  }

  constructor(source, len, parts, inline) {
    Object.assign(this, { source, len, parts, inline, sealings: new Map() });
  }

  /**
   * The bytes from `start` up to `end`, in pieces of one record, each of a buffer of its own. The padding of
   * parts that are read to their end is checked before their last piece is given.
   */
  async *read(start = 0, end = this.len, signal = undefined) {
    if (this.inline) {
      if (end > start) yield this.inline.slice(start, end);
      return;
    }
    for (const part of this.parts) {
      const from = Math.max(0, start - part.start);
      const to = Math.min(part.reference.len, end - part.start);
      // An empty part has a record too, which has to open where its place is read over.
      if (from < to || (part.reference.len === 0 && start <= part.start && part.start <= end)) {
        yield* this.readPart(part, from, to, signal);
      }
    }
  }

  async *readPart({ reference, records }, from, to, signal) {
    const sealing = await this.sealingOf(reference);
    const count = recordCount(reference.len);
    const first = Math.floor(from / RECORD_PLAIN_LEN);
    // A part that is read to its end is read on through its padding.
    const stop = to === reference.len ? count : Math.ceil(to / RECORD_PLAIN_LEN);
    let held = null;
    for (let place = records.findIndex(({ end }) => first < end); place < records.length && records[place].first < stop; place++) {
      const extent = records[place];
      const lease = await this.source.lease(extent.segment, signal);
      const next = records[place + 1];
      if (next && next.first < stop && next.segment.len <= AHEAD_LEN_MAX) this.source.prefetch(next.segment, signal);
      try {
        const end = Math.min(stop, extent.end);
        for (let record = Math.max(first, extent.first); record < end; record += BATCH) {
          signal?.throwIfAborted();
          const pieces = await this.openBatch(sealing, { reference, extent, bytes: lease.bytes, record, end: Math.min(end, record + BATCH), count });
          for (const [i, plain] of pieces.entries()) {
            // What of it was asked for: padding was checked by then.
            const base = (record + i) * RECORD_PLAIN_LEN;
            const piece = plain.subarray(Math.max(0, from - base), Math.max(0, Math.min(plain.length, to - base)));
            if (piece.length === 0) continue;
            if (held) yield held;
            held = piece;
          }
        }
      } finally {
        lease.release();
      }
    }
    if (held) yield held;
  }

  sealingOf(reference) {
    let sealing = this.sealings.get(reference);
    if (!sealing) {
      sealing = Sealing.of(KIND.file, reference);
      this.sealings.set(reference, sealing);
    }
    return sealing;
  }

  /** Opens records that lie in one extent: the plaintext of each, with its padding. */
  async openBatch(sealing, { reference, extent, bytes, record, end, count }) {
    const opened = await Promise.all(
      Array.from({ length: end - record }, (_, i) => {
        const number = record + i;
        const at = extent.offset + (number - extent.first) * RECORD_LEN;
        const sealed = bytes.subarray(at, Math.min(at + RECORD_LEN, extent.offset + extent.length));
        return sealing.open(extent.index, number, number + 1 === count, sealed);
      }),
    );
    for (const [i, plain] of opened.entries()) {
      const text = reference.len - (record + i) * RECORD_PLAIN_LEN;
      if (text < plain.length) need(allZero(plain.subarray(Math.max(0, text))), 'sealed');
    }
    return opened;
  }
}

/** The extents of a file's object with the records that lie in them: `first` and the one after the last. */
function extentsOf(reference) {
  let first = 0;
  const last = reference.extents.length - 1;
  const extents = reference.extents.map(({ segment, offset, length }, index) => {
    need(index === last || length % RECORD_LEN === 0, 'sealed');
    const extent = { segment, offset, length, index, first, end: first + Math.ceil(length / RECORD_LEN) };
    first = extent.end;
    return extent;
  });
  need(first === recordCount(reference.len), 'sealed');
  return extents;
}

/**
 * The range that a `Range` header asks for, as [start, end); null for none, or one that is not understood;
 * refuses with `range` what lies beyond the end.
 */
export function parseRange(header, len) {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (from === undefined || (from === '' && to === '')) return null;
  const start = from === '' ? Math.max(0, len - Number(to)) : Number(from);
  const end = from === '' || to === '' ? len : Math.min(len, Number(to) + 1);
  if (from !== '' && to !== '' && Number(to) < start) return null;
  if (start >= len || end <= start) throw new Refused('range');
  return [start, end];
}
