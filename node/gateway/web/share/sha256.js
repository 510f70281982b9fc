// SHA-256 (FIPS 180-4), synchronous, and the tree over a chunk's leaves (spec/chunk-tree.md).
//
// The browser's own SHA-256 answers with a promise, which costs more than hashing a leaf of 1 KiB does;
// a chunk of 1 MiB has 1,024 leaves and 1,023 nodes. Not here: anything secret. What is hashed is ciphertext.

const K = new Int32Array(64);
const INITIAL = new Int32Array(8);
{
  // First 32 bits of the fractional parts of the cube and square roots of the first primes.
  let found = 0;
  for (let candidate = 2; found < 64; candidate++) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) prime &&= candidate % divisor !== 0;
    if (!prime) continue;
    if (found < 8) INITIAL[found] = fraction(Math.sqrt(candidate));
    K[found++] = fraction(Math.cbrt(candidate));
  }
}

function fraction(root) {
  return ((root - Math.floor(root)) * 0x1_0000_0000) | 0;
}

const W = new Int32Array(64);
const H = new Int32Array(8);
const block = new Uint8Array(128);
const blockView = new DataView(block.buffer);

/** One block of 64 bytes: `view` from `at` on. */
function compress(view, at) {
  for (let i = 0; i < 16; i++) W[i] = view.getInt32(at + i * 4, false);
  rounds();
}

/** The rounds over the sixteen words in W. */
function rounds() {
  for (let i = 16; i < 64; i++) {
    const x = W[i - 15];
    const y = W[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    W[i] = (W[i - 16] + s0 + W[i - 7] + s1) | 0;
  }
  let a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + (g ^ (e & (f ^ g))) + K[i] + W[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  H[0] = (H[0] + a) | 0;
  H[1] = (H[1] + b) | 0;
  H[2] = (H[2] + c) | 0;
  H[3] = (H[3] + d) | 0;
  H[4] = (H[4] + e) | 0;
  H[5] = (H[5] + f) | 0;
  H[6] = (H[6] + g) | 0;
  H[7] = (H[7] + h) | 0;
}

/** Hashes the `rest` bytes that stand in `block`, the end of a message of `length` bytes. */
function finish(rest, length) {
  const end = rest < 56 ? 64 : 128;
  block[rest] = 0x80;
  block.fill(0, rest + 1, end);
  blockView.setUint32(end - 8, Math.floor(length / 0x2000_0000), false);
  blockView.setUint32(end - 4, (length << 3) >>> 0, false);
  compress(blockView, 0);
  if (end === 128) compress(blockView, 64);
}

function put(out, at) {
  for (let i = 0; i < 8; i++) {
    const word = H[i];
    out[at++] = word >>> 24;
    out[at++] = word >>> 16;
    out[at++] = word >>> 8;
    out[at++] = word;
  }
}

/** SHA-256 of bytes. */
export function sha256(bytes) {
  H.set(INITIAL);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length - (bytes.length % 64);
  for (let at = 0; at < whole; at += 64) compress(view, at);
  block.set(bytes.subarray(whole));
  finish(bytes.length - whole, bytes.length);
  const out = new Uint8Array(32);
  put(out, 0);
  return out;
}

const LEAF_LEN = 1024;

/** Writes SHA-256(`00` ‖ the bytes from `start` to `end`) to `out` at `to`. */
function leaf(bytes, view, start, end, out, to) {
  H.set(INITIAL);
  let at = start;
  if (end - at >= 63) {
    // The first block begins with the prefix, so all others are read one byte off.
    W[0] = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    for (let i = 1; i < 16; i++) W[i] = view.getInt32(at - 1 + i * 4, false);
    rounds();
    at += 63;
    for (; end - at >= 64; at += 64) compress(view, at);
    block.set(bytes.subarray(at, end));
    finish(end - at, end - start + 1);
  } else {
    block[0] = 0;
    block.set(bytes.subarray(at, end), 1);
    finish(end - start + 1, end - start + 1);
  }
  put(out, to);
}

/** The id of a chunk: the root of the tree over its leaves. At least one byte. */
export function chunkId(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let count = Math.ceil(bytes.length / LEAF_LEN);
  const level = new Uint8Array(count * 32);
  for (let i = 0; i < count; i++) {
    leaf(bytes, view, i * LEAF_LEN, Math.min(bytes.length, (i + 1) * LEAF_LEN), level, i * 32);
  }
  for (; count > 1; count = Math.ceil(count / 2)) {
    for (let i = 0; i + 1 < count; i += 2) {
      H.set(INITIAL);
      block[0] = 1;
      block.set(level.subarray(i * 32, i * 32 + 63), 1);
      compress(blockView, 0);
      block[0] = level[i * 32 + 63];
      finish(1, 65);
      put(level, i * 16);
    }
    // A lone last node moves up unchanged.
    if (count % 2 === 1) level.copyWithin((count - 1) * 16, (count - 1) * 32, count * 32);
  }
  return level.slice(0, 32);
}
