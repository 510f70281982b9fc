// QR codes (ISO/IEC 18004): a text as bytes, error correction level M, versions 1 to 40.
//
// Invariant: `encode` answers a square of booleans that any reader decodes to the same text, or throws
// when the text is too long. Pure.

// For level M, versions 1 to 40: error correction bytes of a block, and number of blocks.
const EC_BYTES = [
  10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
];
const BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29,
  31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
];

// GF(256) with the polynomial x⁸ + x⁴ + x³ + x² + 1.
const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let i = 0, value = 1; i < 255; i += 1) {
  EXP[i] = value;
  EXP[i + 255] = value;
  LOG[value] = i;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

const times = (a, b) => (a === 0 || b === 0 ? 0 : EXP[LOG[a] + LOG[b]]);

// The error correction bytes of a block.
function correction(data, count) {
  const generator = new Uint8Array(count);
  generator[count - 1] = 1;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      generator[j] = times(generator[j], EXP[i]) ^ (j + 1 < count ? generator[j + 1] : 0);
    }
  }
  const rest = new Uint8Array(count);
  for (const byte of data) {
    const factor = byte ^ rest[0];
    rest.copyWithin(0, 1);
    rest[count - 1] = 0;
    for (let i = 0; i < count; i += 1) rest[i] ^= times(generator[i], factor);
  }
  return rest;
}

// Bytes that a version holds, data and correction.
function capacity(version) {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const patterns = Math.floor(version / 7) + 2;
    modules -= (25 * patterns - 10) * patterns - 55;
    if (version >= 7) modules -= 36;
  }
  return Math.floor(modules / 8);
}

const dataBytes = (version) => capacity(version) - EC_BYTES[version - 1] * BLOCKS[version - 1];

// Data and correction, interleaved over the blocks.
function codewords(bytes, version) {
  const room = dataBytes(version);
  const bits = [];
  const put = (value, count) => {
    for (let i = count - 1; i >= 0; i -= 1) bits.push((value >>> i) & 1);
  };
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  put(0, Math.min(4, room * 8 - bits.length));
  while (bits.length % 8) bits.push(0);
  for (let pad = 0xec; bits.length < room * 8; pad ^= 0xec ^ 0x11) put(pad, 8);
  const data = new Uint8Array(room);
  bits.forEach((bit, i) => {
    data[i >> 3] |= bit << (7 - (i & 7));
  });

  const [count, extra] = [BLOCKS[version - 1], EC_BYTES[version - 1]];
  const shortLength = Math.floor(room / count);
  const longBlocks = room % count;
  const blocks = [];
  for (let i = 0, at = 0; i < count; i += 1) {
    const length = shortLength + (i >= count - longBlocks ? 1 : 0);
    const part = data.subarray(at, at + length);
    blocks.push([part, correction(part, extra)]);
    at += length;
  }
  const out = [];
  for (let i = 0; i <= shortLength; i += 1) {
    for (const [part] of blocks) if (i < part.length) out.push(part[i]);
  }
  for (let i = 0; i < extra; i += 1) for (const [, ec] of blocks) out.push(ec[i]);
  return out;
}

// Where the middles of alignment patterns lie.
function alignments(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = version === 32 ? 26 : Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const places = [6];
  for (let i = count - 2, at = version * 4 + 10; i >= 0; i -= 1, at -= step) places.splice(1, 0, at);
  return places;
}

// A remainder of BCH code, for format and version.
function remainder(value, polynomial, bits) {
  let rest = value;
  for (let i = 0; i < bits; i += 1) rest = (rest << 1) ^ ((rest >>> (bits - 1)) * polynomial);
  return rest;
}

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

class Square {
  constructor(version) {
    this.version = version;
    this.size = version * 4 + 17;
    this.dark = Array.from({ length: this.size }, () => new Uint8Array(this.size));
    this.fixed = Array.from({ length: this.size }, () => new Uint8Array(this.size));
  }

  set(x, y, dark) {
    this.dark[y][x] = dark ? 1 : 0;
    this.fixed[y][x] = 1;
  }

  patterns() {
    const { size } = this;
    for (let i = 0; i < size; i += 1) {
      this.set(6, i, i % 2 === 0);
      this.set(i, 6, i % 2 === 0);
    }
    for (const [cx, cy] of [
      [3, 3],
      [size - 4, 3],
      [3, size - 4],
    ]) {
      for (let dy = -4; dy <= 4; dy += 1) {
        for (let dx = -4; dx <= 4; dx += 1) {
          const [x, y, ring] = [cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy))];
          if (x >= 0 && x < size && y >= 0 && y < size) this.set(x, y, ring !== 2 && ring !== 4);
        }
      }
    }
    const places = alignments(this.version);
    const last = places.length - 1;
    places.forEach((cx, i) => {
      places.forEach((cy, j) => {
        if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
        for (let dy = -2; dy <= 2; dy += 1) {
          for (let dx = -2; dx <= 2; dx += 1)
            this.set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
        }
      });
    });
    this.format(0);
    if (this.version >= 7) {
      const bits = (this.version << 12) | remainder(this.version, 0x1f25, 12);
      for (let i = 0; i < 18; i += 1) {
        const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
        this.set(a, b, (bits >>> i) & 1);
        this.set(b, a, (bits >>> i) & 1);
      }
    }
  }

  // Level M and the mask, twice.
  format(mask) {
    const { size } = this;
    const bits = ((mask << 10) | remainder(mask, 0x537, 10)) ^ 0x5412;
    const bit = (i) => (bits >>> i) & 1;
    for (let i = 0; i <= 5; i += 1) this.set(8, i, bit(i));
    this.set(8, 7, bit(6));
    this.set(8, 8, bit(7));
    this.set(7, 8, bit(8));
    for (let i = 9; i < 15; i += 1) this.set(14 - i, 8, bit(i));
    for (let i = 0; i < 8; i += 1) this.set(size - 1 - i, 8, bit(i));
    for (let i = 8; i < 15; i += 1) this.set(8, size - 15 + i, bit(i));
    this.set(8, size - 8, 1);
  }

  // Fills in the codewords, two columns at a time, up and down.
  data(words) {
    const { size } = this;
    let i = 0;
    for (let right = size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5;
      for (let step = 0; step < size; step += 1) {
        for (const x of [right, right - 1]) {
          const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
          if (this.fixed[y][x] || i >= words.length * 8) continue;
          this.dark[y][x] = (words[i >> 3] >>> (7 - (i & 7))) & 1;
          i += 1;
        }
      }
    }
  }

  mask(index) {
    const rule = MASKS[index];
    for (let y = 0; y < this.size; y += 1) {
      for (let x = 0; x < this.size; x += 1) {
        if (!this.fixed[y][x] && rule(x, y) === 0) this.dark[y][x] ^= 1;
      }
    }
  }

  // How hard it is to read: long runs, blocks, what looks like a finder pattern, imbalance.
  penalty() {
    const { size, dark } = this;
    let sum = 0;
    let count = 0;
    for (let turn = 0; turn < 2; turn += 1) {
      const at = turn === 0 ? (x, y) => dark[y][x] : (x, y) => dark[x][y];
      for (let y = 0; y < size; y += 1) {
        let run = 0;
        let window = 0;
        for (let x = 0; x < size; x += 1) {
          run = x > 0 && at(x, y) === at(x - 1, y) ? run + 1 : 1;
          if (run === 5) sum += 3;
          else if (run > 5) sum += 1;
          window = ((window << 1) | at(x, y)) & 0x7ff;
          if (x >= 10 && (window === 0x5d0 || window === 0x05d)) sum += 40;
        }
      }
    }
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1) {
        count += dark[y][x];
        if (
          x > 0 &&
          y > 0 &&
          dark[y][x] === dark[y][x - 1] &&
          dark[y][x] === dark[y - 1][x] &&
          dark[y][x] === dark[y - 1][x - 1]
        )
          sum += 3;
      }
    }
    return sum + Math.floor(Math.abs((count * 20) / (size * size) - 10)) * 10;
  }
}

// The code of a text: rows of booleans, true is dark. Without the quiet border of four.
export function encode(text) {
  const bytes = new TextEncoder().encode(text);
  let version = 1;
  const fits = (v) => bytes.length + (v < 10 ? 2 : 3) <= dataBytes(v);
  while (version <= 40 && !fits(version)) version += 1;
  if (version > 40) throw new RangeError("the text is too long for a QR code");
  const words = codewords(bytes, version);
  let best;
  for (let index = 0; index < 8; index += 1) {
    const square = new Square(version);
    square.patterns();
    square.data(words);
    square.mask(index);
    square.format(index);
    const penalty = square.penalty();
    if (!best || penalty < best.penalty) best = { penalty, square };
  }
  return best.square.dark.map((row) => Array.from(row, (dark) => dark === 1));
}

// The same as an SVG element with its border, dark on white in either colour scheme.
export function svg(text, label) {
  const rows = encode(text);
  const size = rows.length + 8;
  const space = "http://www.w3.org/2000/svg";
  const element = document.createElementNS(space, "svg");
  element.setAttribute("viewBox", `0 0 ${size} ${size}`);
  element.setAttribute("class", "qr");
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  element.setAttribute("shape-rendering", "crispEdges");
  const ground = document.createElementNS(space, "rect");
  ground.setAttribute("width", String(size));
  ground.setAttribute("height", String(size));
  ground.setAttribute("fill", "#fff");
  const path = document.createElementNS(space, "path");
  path.setAttribute("fill", "#000");
  let d = "";
  rows.forEach((row, y) => {
    row.forEach((dark, x) => {
      if (dark) d += `M${x + 4} ${y + 4}h1v1h-1z`;
    });
  });
  path.setAttribute("d", d);
  element.append(ground, path);
  return element;
}
