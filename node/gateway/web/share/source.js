// Fetches segments from the gateway and checks them: every chunk against its id (spec/links.md, section 5).
//
// Invariant: what `lease` gives out is the segment's ciphertext, each of its data chunks verified. Memory: a
// few segments, by a bound in bytes, and those that somebody reads; buffers are used again, since browsers
// are slow to free what is thrown away. Who is told to wait waits. Not here: keys.

import { Refused, equal, need } from './bytes.js';
import { chunkId } from './sha256.js';

/** Ciphertext that is kept for the next call, bytes. Of a range of a film the same segment is asked for often. */
const KEPT_MAX = 8 * 1_048_576;
/** Buffers that wait to be used again. */
const SPARE_MAX = 2;
/** Attempts for one segment when the connection breaks or the gateway cannot find enough providers now. */
const ATTEMPTS = 4;
/** How long somebody waits for a gateway that says that the budget is used up, milliseconds. */
const WAIT_MAX = 30_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The word for a status that is not 200, with what the gateway said. */
export async function fault(response) {
  const words = { 404: 'not-found', 403: 'forbidden', 409: 'no-drop-box', 410: 'gone', 413: 'too-large-here', 429: 'busy', 451: 'blocked', 503: 'unavailable', 507: 'full' };
  const text = await response.text().catch(() => '');
  let said;
  try {
    said = String(JSON.parse(text).error.message);
  } catch {
    said = '';
  }
  return new Refused(words[response.status] ?? 'gateway', said.slice(0, 300));
}

/** Seconds that an answer asks to wait, in milliseconds. */
export function retryAfter(response) {
  const seconds = Number(response.headers.get('Retry-After'));
  return Math.min(WAIT_MAX, Math.max(250, (Number.isFinite(seconds) ? seconds : 1) * 1000));
}

/** Segments of one link, from one gateway. */
export class Source {
  /**
   * @param {string} url where segments are asked for
   * @param {typeof fetch} send
   * @param {(arrived: number) => void} onBytes told of bytes as they arrive
   */
  constructor(url, send = (...args) => fetch(...args), onBytes = () => {}) {
    Object.assign(this, { url, send, onBytes });
    /** Verified segments by id, `{ bytes, users }`; the one that was used longest ago first. */
    this.kept = new Map();
    this.keptLen = 0;
    /** Segments on their way, by id. */
    this.coming = new Map();
    this.spare = [];
  }

  /**
   * The ciphertext of a segment: `bytes`, which may be read until `release` is called.
   */
  async lease(segment, signal = undefined) {
    for (;;) {
      signal?.throwIfAborted();
      const kept = this.kept.get(segment.id);
      if (kept) {
        this.kept.delete(segment.id);
        this.kept.set(segment.id, kept);
        kept.users++;
        return {
          bytes: kept.bytes,
          release: () => {
            kept.users--;
            this.evict();
          },
        };
      }
      let coming = this.coming.get(segment.id);
      if (!coming) {
        coming = this.fetch(segment, signal).finally(() => this.coming.delete(segment.id));
        this.coming.set(segment.id, coming);
      }
      try {
        await coming;
      } catch (error) {
        // Somebody else asked first and gave up: ask again.
        if (error?.name !== 'AbortError' || signal?.aborted) throw error;
      }
    }
  }

  /** Calls `read` with a segment's ciphertext. What it returns must not share memory with that. */
  async with(segment, signal, read) {
    const { bytes, release } = await this.lease(segment, signal);
    try {
      return read(bytes);
    } finally {
      release();
    }
  }

  /** Begins to fetch what will be needed next; how it ends is told to whoever asks for it. */
  prefetch(segment, signal) {
    this.with(segment, signal, () => {}).catch(() => {});
  }

  async fetch(segment, signal) {
    for (let attempt = 1; ; attempt++) {
      try {
        const bytes = await this.fetchOnce(segment, signal);
        this.kept.set(segment.id, { bytes, users: 0 });
        this.keptLen += bytes.buffer.byteLength;
        this.evict(segment.id);
        return;
      } catch (error) {
        if (error.wait) {
          await sleep(error.wait);
          attempt--;
        } else {
          const again = error instanceof TypeError || error.code === 'unavailable' || error.code === 'cut';
          if (signal?.aborted || !again) throw error;
          if (attempt === ATTEMPTS) throw error instanceof TypeError ? new Refused('offline') : error;
          await sleep(300 * 2 ** attempt);
        }
        signal?.throwIfAborted();
      }
    }
  }

  async fetchOnce(segment, signal) {
    const headers = { 'Content-Type': 'application/cbor' };
    const response = await this.send(this.url, { method: 'POST', headers, body: segment.encode(), signal });
    if (response.status === 429) {
      await response.body?.cancel();
      throw Object.assign(new Refused('busy'), { wait: retryAfter(response) });
    }
    if (response.status !== 200) throw await fault(response);
    return this.receive(segment, response, signal);
  }

  /** Reads the k data chunks, each checked as soon as it is there; never more bytes than they have. */
  async receive(segment, response, signal) {
    const { k, chunkLen } = segment;
    const length = k * chunkLen;
    const body = new Body(response.body, this.buffer(length));
    let verified = 0;
    try {
      while (await body.more()) {
        for (; verified < k && body.at >= (verified + 1) * chunkLen; verified++) {
          const chunk = new Uint8Array(body.buffer, verified * chunkLen, chunkLen);
          need(equal(chunkId(chunk), segment.chunk(verified)), 'chunk');
        }
      }
    } catch (error) {
      await body.reader.cancel().catch(() => {});
      throw error;
    }
    signal?.throwIfAborted();
    need(verified === k, 'cut');
    return new Uint8Array(body.buffer, 0, segment.len);
  }

  /** A buffer of this length, an old one if there is one. */
  buffer(length) {
    const at = this.spare.findIndex((buffer) => buffer.byteLength === length);
    return at >= 0 ? this.spare.splice(at, 1)[0] : new ArrayBuffer(length);
  }

  /** Gives up what is too much, but nothing that is being read, and not the segment that just came. */
  evict(fresh = undefined) {
    for (const [id, { bytes, users }] of this.kept) {
      if (this.keptLen <= KEPT_MAX) break;
      if (users > 0 || id === fresh) continue;
      this.kept.delete(id);
      this.keptLen -= bytes.buffer.byteLength;
      if (this.spare.length === SPARE_MAX) this.spare.shift();
      this.spare.push(bytes.buffer);
    }
  }
}

/** A body that is read into one buffer: by the browser itself where it can, else piece by piece. */
class Body {
  constructor(stream, buffer) {
    this.buffer = buffer;
    /** Bytes that have come. */
    this.at = 0;
    try {
      this.reader = stream.getReader({ mode: 'byob' });
      this.byob = true;
    } catch {
      this.reader = stream.getReader();
      this.byob = false;
    }
  }

  /** Waits for more; false at the end. Refuses more than there is room for. */
  async more() {
    if (!this.byob || this.at === this.buffer.byteLength) {
      const { done, value } = await this.reader.read(...(this.byob ? [new Uint8Array(1)] : []));
      if (done) return false;
      need(this.at + value.length <= this.buffer.byteLength, 'chunk');
      new Uint8Array(this.buffer).set(value, this.at);
      this.at += value.length;
      return true;
    }
    const { done, value } = await this.reader.read(new Uint8Array(this.buffer, this.at));
    // A reader that has ended gives the buffer back, one that was cancelled does not.
    if (value) this.buffer = value.buffer;
    if (done) return false;
    this.at += value.length;
    return true;
  }
}
