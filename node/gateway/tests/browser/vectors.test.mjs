// The page's readers against spec/vectors, by `node --test`: what is good opens to the same values, and
// what is bad is refused, as by the node.

import assert from 'node:assert/strict';
import { createCipheriv, createHash, webcrypto } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

globalThis.crypto ??= webcrypto;

const { concat, equal, hex, utf8 } = await import('../../web/share/bytes.js');
const { chunkId, sha256 } = await import('../../web/share/sha256.js');
const seal = await import('../../web/share/seal.js');
const drive = await import('../../web/share/drive.js');
const link = await import('../../web/share/link.js');
const { parseRange } = await import('../../web/share/objects.js');
const { DropSealer, allowedName } = await import('../../web/share/drop.js');
const { kindOf } = await import('../../web/share/kinds.js');
const { crc32, safeName, zip } = await import('../../web/share/zip.js');

const bytes = (digits) => new Uint8Array(Buffer.from(digits, 'hex'));

/** Cases of a topic, at least one. */
function cases(topic) {
  const folder = new URL(`../../../../spec/vectors/${topic}/`, import.meta.url);
  const found = readdirSync(folder).filter((name) => name.endsWith('.json'));
  assert(found.length > 0, topic);
  return found.sort().map((name) => ({ name: `${topic}/${name}`, ...JSON.parse(readFileSync(new URL(name, folder))) }));
}

/** A refusal of ours; a bug in the code would be another error. */
const refused = (error) => error.constructor.name === 'Refused';

/** Leaf i is i as four bytes and then the bytes 4, 5, … of the place in the leaf. */
function pattern(length) {
  return Uint8Array.from({ length }, (_, at) => (at % 1024 < 4 ? (Math.floor(at / 1024) >>> (8 * (3 - (at % 1024)))) & 255 : at % 1024 & 255));
}

test('SHA-256 is the one of everybody else', () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 65_537]) {
    const message = pattern(length);
    assert.equal(hex(sha256(message)), createHash('sha256').update(message).digest('hex'), `${length} bytes`);
  }
});

test('chunk ids', () => {
  for (const it of cases('chunk-tree')) {
    if (it.expect === 'not-a-chunk') continue;
    const id = hex(chunkId(it.bytes !== undefined ? bytes(it.bytes) : pattern(Number(it.pattern_len))));
    assert.equal(id === it.id, it.expect === 'ok', it.name);
  }
});

test('the length of chunks', () => {
  for (const it of cases('erasure')) {
    const [k, n, length] = [Number(it.k), Number(it.n), it.segment ? it.segment.length / 2 : Number(it.segment_len)];
    const segment = () => new drive.Segment(k, n, length, new Uint8Array(n * 32), () => new Uint8Array(n * 32));
    if (it.expect === 'ok') assert.equal(segment().chunkLen, Number(it.chunk_len), it.name);
    if (it.expect === 'bounds' || it.expect === 'segment-length') assert.throws(segment, refused, it.name);
  }
});

/** Seals records as the specification says, with another implementation of AES-GCM. */
function sealRecords(kind, it, plain) {
  const padded = concat(plain, new Uint8Array(seal.paddedLen(plain.length) - plain.length));
  const count = seal.recordCount(plain.length);
  const records = [];
  for (let i = 0; i < count; i++) {
    const cipher = createCipheriv('aes-256-gcm', bytes(it.content_key), seal.nonce(i, i + 1 === count));
    cipher.setAAD(concat(Uint8Array.of(1, 1, kind), bytes(it.id), new Uint8Array(4)));
    records.push(cipher.update(padded.subarray(i * 65_520, (i + 1) * 65_520)), cipher.final(), cipher.getAuthTag());
  }
  return concat(...records);
}

test('sealed objects and records', async () => {
  for (const it of cases('sealing')) {
    const kind = Number(it.kind);
    const reference = it.key && { id: bytes(it.id), key: bytes(it.key), commitment: bytes(it.commitment) };
    if (it.of === 'lengths') {
      for (const { len, padded, records, sealed } of it.lengths) {
        if (Number(len) > 2 ** 52) {
          assert(Number.isNaN(seal.sealedLen(Number(len))), len);
          continue;
        }
        const ours = [seal.paddedLen, seal.recordCount, seal.sealedLen].map((of) => of(Number(len)));
        assert.deepEqual(ours, [padded, records, sealed].map(Number), `${it.name}: ${len}`);
      }
    } else if (it.of === 'object' && it.expect === 'ok') {
      const text = Uint8Array.from({ length: Number(it.text_len ?? 0) }, (_, at) => (at % 255) + 1);
      const plain = it.plain !== undefined ? bytes(it.plain) : text;
      const sealed = it.sealed !== undefined ? bytes(it.sealed) : sealRecords(kind, it, plain);
      if (it.sealed_sha256) assert.equal(hex(sha256(sealed)), it.sealed_sha256, it.name);
      const opened = await seal.openWhole(kind, { ...reference, len: plain.length }, sealed);
      assert(equal(opened, plain), it.name);
    } else if (it.of === 'object') {
      const open = () => seal.openWhole(kind, { ...reference, len: Number(it.len) }, bytes(it.sealed));
      await assert.rejects(open, { code: 'sealed' }, it.name);
    } else if (it.of === 'records') {
      const sealing = await seal.Sealing.of(kind, reference);
      for (const { segment, record, last, plain, sealed } of it.records) {
        // Beyond what a file of 2^52 bytes has.
        if (!Number.isSafeInteger(Number(record))) continue;
        const opened = await sealing.open(Number(segment), Number(record), last === 'yes', bytes(sealed));
        assert.equal(hex(opened), plain, `${it.name}: ${record}`);
      }
    } else if (it.of === 'record') {
      const open = async () => {
        const sealing = await seal.Sealing.of(kind, reference);
        await sealing.open(Number(it.segment), Number(it.record), it.last === 'yes', bytes(it.sealed));
      };
      await assert.rejects(open, { code: 'sealed' }, it.name);
    } else {
      // Opens under two keys; each reference commits to one.
      assert.equal(it.of, 'two-keys');
      const [a, b] = it.keys;
      const crossed = { id: bytes(it.id), key: bytes(a.key), commitment: bytes(b.commitment) };
      await assert.rejects(() => seal.Sealing.of(kind, crossed), { code: 'sealed' }, it.name);
    }
  }
});

/** A reference as the vectors have it: its extents by place in the table. */
function plainReference(reference, table) {
  const extents = reference.extents.map(({ segment, offset, length }) => `${table.indexOf(segment.id)},${offset},${length}`);
  return { id: hex(reference.id), key: hex(reference.key), commitment: hex(reference.commitment), len: String(reference.len), extents };
}

function plainContent(content, table) {
  if (content.inline) return { inline: hex(content.inline) };
  if (content.direct) return { direct: plainReference(content.direct, table) };
  return { manifest: plainReference(content.manifest, table), len: content.len };
}

test('pages and manifests', () => {
  let good = 0;
  for (const it of cases('drive')) {
    const decode = { page: drive.decodePage, manifest: drive.decodeManifest }[it.of];
    if (!decode) continue;
    if (it.expect === 'refused') {
      assert.throws(() => decode(bytes(it.encoded)), refused, it.name);
      continue;
    }
    good++;
    const decoded = decode(bytes(it.encoded));
    if (it.of === 'manifest') {
      assert.deepEqual(decoded.map((part) => plainReference(part, it.segments)), it.value.parts, it.name);
      continue;
    }
    assert.equal(decoded.level, Number(it.value.level), it.name);
    for (const [i, entry] of (decoded.entries ?? []).entries()) {
      const { name, modified_ms, executable, attributes, folder, inline, direct, manifest, len, history } = it.value.entries[i];
      assert.equal(entry.name, name, it.name);
      assert.equal(entry.modified, Number(modified_ms), it.name);
      assert.deepEqual([...entry.attributes], attributes.map(({ key, value }) => [key, value]), it.name);
      if (folder) {
        assert.deepEqual(entry.folder.totals, Object.fromEntries(['entries', 'files', 'bytes'].map((sum) => [sum, Number(folder[sum])])), it.name);
        assert.deepEqual(entry.folder.page && plainReference(entry.folder.page, it.segments), folder.page ?? null, it.name);
      } else {
        assert.equal(entry.executable, executable === 'yes', it.name);
        assert.equal(entry.hasHistory, history !== undefined, it.name);
        const content = inline !== undefined ? { inline } : direct ? { direct } : { manifest, len: Number(len) };
        assert.deepEqual(plainContent(entry.content, it.segments), content, it.name);
      }
    }
    for (const [i, page] of (decoded.pages ?? []).entries()) {
      assert.deepEqual(plainReference(page.page, it.segments), it.value.pages[i].page, it.name);
    }
  }
  assert(good >= 10);
});

test('a segment is described to a gateway as its table has it', () => {
  for (const it of cases('drive').filter(({ of, expect }) => of === 'manifest' && expect === 'ok')) {
    const [segment] = drive.decodeManifest(bytes(it.encoded))[0].extents.map(({ segment }) => segment);
    const { k, n, len, chunks, holders } = it.value.table[it.segments.indexOf(segment.id)];
    const unsigned = (number) => (number < 24 ? Uint8Array.of(number) : number < 256 ? Uint8Array.of(24, number) : number < 65_536 ? Uint8Array.of(25, number >> 8, number & 255) : Uint8Array.of(26, ...new Uint8Array(new Uint32Array([number]).buffer).reverse()));
    const string = (digits) => {
      const head = unsigned(digits.length / 2);
      head[0] |= 0x40;
      return concat(head, bytes(digits));
    };
    const expected = concat(Uint8Array.of(0x84, 0x82), unsigned(Number(k)), unsigned(Number(n)), unsigned(Number(len)), string(chunks.join('')), string(holders.join('')));
    assert.equal(hex(segment.encode()), hex(expected), it.name);
  }
});

/** What becomes of a record on the page: its content, or the word of the refusal. */
async function useRecord(it) {
  const record = link.decodeRecord(bytes(it.record));
  assert.equal(await link.verify(record), true, 'this machine has Ed25519');
  const dhtKey = sha256(concat(utf8('commonhold/v1/link'), record.id));
  if (hex(dhtKey) !== it.key) return { refused: 'key' };
  link.admit(record, record.id, Number(it.now));
  if (record.password && it.password === undefined) return { refused: 'password-needed' };
  return { record, content: await link.openRecord(record, bytes(it.secret), it.password) };
}

test('link records', async () => {
  for (const it of cases('link').filter(({ of }) => of === 'record')) {
    const outcome = await useRecord(it).catch((error) => {
      if (!refused(error)) throw error;
      return { refused: error.code };
    });
    assert.equal(outcome.refused ?? 'ok', it.expect, it.name);
    if (it.expect !== 'ok') continue;
    const { record, content } = outcome;
    assert.deepEqual([record.sequence, record.expires, record.coverLen], [it.sequence, it.expires, it.place.cover_len].map(Number), it.name);
    const value = it.content;
    assert.deepEqual(content.root && plainReference(content.root, [record.segment.id]), value.root ?? null, it.name);
    assert.equal(content.drop ? hex(content.drop) : undefined, value.drop_box ?? value.drop ?? undefined, it.name);
  }
});

test('an older record and another link’s are refused', () => {
  const it = cases('link').find(({ of, expect }) => of === 'record' && expect === 'ok');
  const record = link.decodeRecord(bytes(it.record));
  assert.throws(() => link.admit(record, record.id, Number(it.now), record.sequence + 1), { code: 'older' });
  assert.throws(() => link.admit(record, new Uint8Array(32), Number(it.now)), { code: 'foreign' });
});

test('addresses of links', () => {
  for (const it of cases('link').filter(({ of }) => of === 'url')) {
    const [, base, id, secret] = /^(.*)\/s\/([^#]*)(#.*)$/s.exec(it.text) ?? [];
    if (it.expect === 'ok' && base !== undefined) {
      const parsed = link.parseAddress(`/s/${id}`, secret);
      assert.deepEqual([hex(parsed.id), hex(parsed.secret)], [it.id, it.secret], it.name);
    } else if (/-(id|secret)/.test(it.name) && base !== undefined) {
      assert.throws(() => link.parseAddress(`/s/${id}`, secret), refused, it.name);
    }
  }
});

test('drop boxes: what is sealed is what the vectors have, byte for byte', async () => {
  for (const it of cases('link').filter(({ of, expect }) => of === 'drop' && expect === 'ok')) {
    const scalar = (digits) => concat(bytes('302e020100300506032b656e04220420'), bytes(digits));
    const key = (digits) => crypto.subtle.importKey('pkcs8', scalar(digits), 'X25519', true, ['deriveBits']);
    const publicOf = async (privateKey) => {
      const { kty, crv, x } = await crypto.subtle.exportKey('jwk', privateKey);
      return crypto.subtle.importKey('jwk', { kty, crv, x }, 'X25519', true, []);
    };
    const privateKey = await key(it.sender_private);
    const box = new Uint8Array(await crypto.subtle.exportKey('raw', await publicOf(await key(it.drop_private))));
    const text = Uint8Array.from({ length: Number(it.text_len ?? 0) }, (_, at) => (at % 255) + 1);
    const plain = it.content !== undefined ? bytes(it.content) : text;
    const about = { name: it.file_name, len: plain.length, modified: Number(it.modified_ms) };
    const pair = { privateKey, publicKey: await publicOf(privateKey) };
    const sealer = await DropSealer.start(bytes(it.id), box, about, pair);
    const parts = [];
    for await (const part of sealer.pieces(async (from, to) => plain.subarray(from, to))) parts.push(part);
    const sealed = concat(...parts);
    assert.equal(sealed.length, sealer.sealedLen, it.name);
    if (it.sealed) assert.equal(hex(sealed), it.sealed, it.name);
    else assert.equal(hex(sha256(sealed)), it.sealed_sha256, it.name);
  }
});

test('ranges of a player', () => {
  assert.equal(parseRange(null, 100), null);
  assert.equal(parseRange('bytes=5-2', 100), null);
  assert.equal(parseRange('bytes=0-1,5-6', 100), null);
  assert.deepEqual(parseRange('bytes=0-', 100), [0, 100]);
  assert.deepEqual(parseRange('bytes=10-19', 100), [10, 20]);
  assert.deepEqual(parseRange('bytes=90-1000', 100), [90, 100]);
  assert.deepEqual(parseRange('bytes=-30', 100), [70, 100]);
  for (const beyond of ['bytes=100-', 'bytes=-0']) assert.throws(() => parseRange(beyond, 100), { code: 'range' }, beyond);
});

test('attack 23: nothing that could hold code is ever shown', () => {
  const shown = ['image', 'video', 'audio', 'text'];
  for (const name of ['a.html', 'a.HTM', 'a.svg', 'a.png.svg', 'a.xhtml', 'a.xml', 'a.pdf', 'a.exe', 'a', 'constructor', 'a.__proto__', 'a.toString']) {
    assert(!shown.includes(kindOf(name).kind), name);
    assert.equal(kindOf(name).type, 'application/octet-stream', name);
  }
  assert.deepEqual(kindOf('a.svg.PNG'), { kind: 'image', type: 'image/png' });
  assert.deepEqual(kindOf('README'), { kind: 'text', type: 'text/plain' });
});

test('attack 24: names that lie or escape are refused, and made harmless before they are sent', () => {
  for (const bad of ['', '.', '..', 'a/b', '/', 'nul\0', 'line\nfeed', 'del\u007f', 'exe.\u202egpj', '\u2066x', '\u061c', 'x'.repeat(256)]) {
    assert(!drive.isName(bad, utf8(bad)), JSON.stringify(bad));
  }
  for (const good of ['a', '...', '.hidden', ' ', 'Grüße ☀', '日本語', 'a\\b', 'x'.repeat(255)]) assert(drive.isName(good, utf8(good)), good);
  assert.equal(allowedName('a/b\u202egpj.exe'), 'a_b_gpj.exe');
  assert.equal(allowedName('..'), null);
  assert.equal(safeName('..\\..\\c:x'), '.._.._c_x');
});

test('an archive counts right, whoever takes its pieces', async () => {
  assert.equal(crc32(crc32(0, utf8('1234')), utf8('56789')), 0xcbf4_3926);
  async function* entries() {
    yield { path: 'a', folder: true, modified: 0 };
    for (const name of ['b', 'c']) {
      const read = async function* () {
        yield utf8('123456789');
      };
      yield { path: `a/${name}`, folder: false, modified: 1e12, len: 9, read };
    }
  }
  const parts = [];
  for await (const piece of zip(entries())) {
    parts.push(piece.slice());
    // As when a piece is handed to another thread.
    structuredClone(piece.buffer, { transfer: [piece.buffer] });
  }
  const archive = Buffer.from(concat(...parts));
  const end = archive.length - 22;
  assert.equal(archive.readUInt32LE(end), 0x0605_4b50);
  assert.equal(archive.readUInt16LE(end + 10), 3, 'entries');
  let at = archive.readUInt32LE(end + 16);
  for (const name of ['a/', 'a/b', 'a/c']) {
    assert.equal(archive.readUInt32LE(at), 0x0201_4b50);
    const length = archive.readUInt16LE(at + 28);
    assert.equal(archive.toString('utf8', at + 46, at + 46 + length), name);
    const header = archive.readUInt32LE(at + 42);
    assert.equal(archive.readUInt32LE(header), 0x0403_4b50, `${name} is where the directory says`);
    if (name !== 'a/') assert.equal(archive.readUInt32LE(at + 16), 0xcbf4_3926);
    at += 46 + length + archive.readUInt16LE(at + 30);
  }
});
