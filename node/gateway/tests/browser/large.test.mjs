// One large file, streamed to disk by a tab and sent to a drop box by another: its bytes, and how much memory
// the tabs took.

import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, check, same, sleep, until } from './chrome.mjs';

const plan = JSON.parse(readFileSync(process.env.PLAN, 'utf8'));
/** What a tab may take, KiB. */
const MEMORY_MAX = 300 * 1024;

const downloads = join(process.env.SCRATCH, 'downloads');
mkdirSync(downloads);

/** Runs something and says how long it took and what the largest renderer had at most, KiB. */
async function measured(page, work) {
  const before = Math.max(...(await page.memory()).map(({ now }) => now));
  const begun = Date.now();
  let watching = true;
  let peak = 0;
  const watch = (async () => {
    while (watching) {
      for (const process of await page.memory().catch(() => [])) peak = Math.max(peak, process.peak);
      await sleep(100);
    }
  })();
  const value = await work();
  watching = false;
  await watch;
  const seconds = (Date.now() - begun) / 1000;
  return { value, peak, words: `${plan.mib} MiB in ${seconds.toFixed(1)} s (${(plan.mib / seconds).toFixed(0)} MiB/s); the tab's renderer had ${Math.round(before / 1024)} MiB before and ${Math.round(peak / 1024)} MiB at most` };
}

let file;
let browser = await Browser.launch();
try {
  const page = await browser.page({ downloads });
  await page.goto(plan.large);
  await page.waitForText('large.bin');
  const { value, peak, words } = await measured(page, async () => {
    await page.click('button', 'Download');
    return page.download(new Set(), { timeout: 600_000 });
  });
  same(value.state, 'completed', 'the download');
  file = value.path ?? join(downloads, value.name);
  same(statSync(file).size, plan.mib * 1_048_576, 'its length');
  const hash = createHash('sha256');
  for await (const part of createReadStream(file)) hash.update(part);
  same(hash.digest('hex'), plan.sha256, 'its bytes');
  console.log(`download: ${words}`);
  check(peak < MEMORY_MAX, `the tab took ${peak} KiB of memory`);
  await page.waitForText('Done');
  const hashed = await page.eval(async () => {
    const { chunkId } = await import(new URL('sha256.js', document.querySelector('script').src));
    const chunk = crypto.getRandomValues(new Uint8Array(65_536));
    for (let i = 0; i < 100; i++) chunkId(chunk);
    const begun = performance.now();
    for (let i = 0; i < 800; i++) chunkId(chunk);
    return 50_000 / (performance.now() - begun);
  });
  console.log(`chunk ids: ${hashed.toFixed(0)} MiB/s`);
  same(page.complaints, [], 'complaints');
} finally {
  await browser.close();
}

// The same file on its way up, in a browser of its own: peaks are those of a process's whole life.
browser = await Browser.launch();
try {
  const own = join(process.env.SCRATCH, 'to send.bin');
  renameSync(file, own);
  const page = await browser.page();
  await page.goto(plan.dropBox);
  await page.waitForText('Send files to');
  const { peak, words } = await measured(page, async () => {
    await page.chooseFiles('#files', [own]);
    await until('the file to be sent', () => page.eval(() => document.querySelector('.transfer .hint')?.textContent.startsWith('Sent')), { timeout: 600_000 });
  });
  console.log(`drop box: ${words}`);
  check(peak < MEMORY_MAX, `the tab took ${peak} KiB of memory`);
  same(page.complaints, [], 'complaints');
} finally {
  await browser.close();
}
