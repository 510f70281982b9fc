// The app's QR encoder against zbarimg, its MD5 and its words against Node's own.
import { strictEqual as same, ok } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const app = new URL('../../web/app/', import.meta.url);
const { encode } = await import(new URL('qr.js', app));
const { Md5, md5 } = await import(new URL('md5.js', app));
const format = await import(new URL('format.js', app));
const router = await import(new URL('router.js', app));
const [scratch] = process.argv.slice(2);

// A grey picture of a code, four pixels a module.
function picture(rows) {
  const [scale, width] = [4, (rows.length + 8) * 4];
  const pixels = Buffer.alloc(width * width, 255);
  rows.forEach((row, y) =>
    row.forEach((dark, x) => {
      if (!dark) return;
      for (let i = 0; i < scale; i++)
        pixels.fill(
          0,
          ((y + 4) * scale + i) * width + (x + 4) * scale,
          ((y + 4) * scale + i) * width + (x + 5) * scale,
        );
    }),
  );
  return Buffer.concat([Buffer.from(`P5 ${width} ${width} 255\n`), pixels]);
}

const sample = `https://drive.example.org/s/${'aB3-'.repeat(700)}`;
for (const length of [1, 14, 15, 26, 27, 61, 62, 86, 122, 150, 213, 300, 500, 900, 1500, 2000, 2331]) {
  const file = join(scratch, 'code.pgm');
  writeFileSync(file, picture(encode(sample.slice(0, length))));
  const read = execFileSync('zbarimg', ['-q', '--raw', file], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  same(read.replace(/\n$/, ''), sample.slice(0, length), `a code of ${length} bytes`);
}
let refused = false;
try {
  encode('a'.repeat(2332));
} catch {
  refused = true;
}
ok(refused, 'a text that is too long is refused');

for (const length of [0, 1, 55, 56, 63, 64, 65, 1000, 3_000_001]) {
  const bytes = randomBytes(length);
  const sum = createHash('md5').update(bytes).digest('hex');
  const cut = Math.floor(length / 3);
  same(new Md5().update(bytes.subarray(0, cut)).update(bytes.subarray(cut)).hex(), sum, `MD5 of ${length} bytes`);
  same(await md5(new Blob([bytes])), sum, `MD5 of a blob of ${length} bytes`);
}

same(format.bytes(0), '0 bytes');
same(format.bytes(1), '1 byte');
same(format.bytes(1536), '1.5 KiB');
same(format.bytes(1024 ** 3 * 150), '150 GiB');
same(format.credits(-1_250_000), '−1.25');
same(format.credits('170141183460469231731687303715884105727').slice(0, 5), '170,1');
same(format.duration(59), '59 s');
same(format.duration(7500), '2 h 5 min');
same(format.shown('a\u202eb\u0000c'), 'a\u{fffd}b\u{fffd}c');
same(format.nameProblem('ok'), '');
for (const bad of ['', '.', '..', 'a/b', 'a\0', 'ü'.repeat(128)]) ok(format.nameProblem(bad), JSON.stringify(bad));
same(format.nameProblem('a'.repeat(255)), '');
for (const name of ['x.html', 'x.svg', 'x.xhtml', 'x.xml', '.png', 'png', 'x.'])
  same(format.kindOf(name), 'file', name);
ok(format.within('/a/b', '/a') && format.within('/a', '/a') && !format.within('/ab', '/a') && format.within('/a', '/'));
for (const path of ['/', '/a', '/a/b c/ü', '/?&#/%2F/100 %', '/"<>', '/q?x=1'])
  same(router.read(router.fileHash(path)).path, path);
same(router.read('#/files/%E0%A4%A').path, '/');
console.log('units: QR codes, MD5, words and addresses hold');
