// What visitors of share pages see and do, in a real browser. The plan comes from tests/share_browser.rs.

import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, check, same, sleep, until } from './chrome.mjs';

const plan = JSON.parse(readFileSync(process.env.PLAN, 'utf8'));
const scratch = process.env.SCRATCH;
const shots = plan.screenshots;
if (shots) mkdirSync(shots, { recursive: true });

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
const browser = await Browser.launch();
let folders = 0;

/** A tab with a folder of its own for what it downloads. */
async function visit(url, options = {}) {
  const downloads = join(scratch, `downloads-${folders++}`);
  mkdirSync(downloads);
  const page = await browser.page({ downloads, ...options });
  page.folder = downloads;
  await page.goto(url);
  return page;
}

/** The bytes of the next download. */
async function saved(page, known = new Set()) {
  const { state, name, path } = await page.download(known);
  same(state, 'completed', `the download of ${name}`);
  return { name, bytes: readFileSync(path ?? join(page.folder, name)) };
}

/** Takes pictures of what a page shows, in the sizes and schemes that there are. */
async function picture(page, name) {
  for (const width of [360, 768, 1280]) {
    await page.resize(width, width === 360 ? 740 : 900, { touch: width === 360 });
    same(await page.overflow(), [], `${name} at ${width} px reaches beyond the edge`);
    if (!shots) continue;
    for (const dark of [false, true]) {
      await page.scheme(dark);
      await sleep(120);
      await page.screenshot(join(shots, `${name}-${width}-${dark ? 'dark' : 'light'}.png`));
    }
  }
  await page.scheme(false);
  await page.resize(1280, 900);
}

/** Names of the rows that are shown. */
const rows = (page) => page.eval(() => [...document.querySelectorAll('.row-name')].map((it) => it.textContent));

const tests = {
  async 'a file is shown and saved, byte for byte'() {
    const page = await visit(plan.file.url);
    await page.waitForText(plan.file.name);
    await picture(page, 'file');
    await page.click('button', 'Download');
    const { name, bytes } = await saved(page);
    same([name, hash(bytes)], [plan.file.name, plan.file.sha256], 'the file');
    await page.waitForText('Done · 5.0 MiB');
    await picture(page, 'file-done');
    check(await page.eval(() => location.hash.length === 44), 'the secret stays in the address bar');
    // Attack 19: the secret is in no request, whatever its form.
    const secret = plan.file.url.split('#')[1];
    const forms = [secret, Buffer.from(secret, 'base64url').toString('hex'), Buffer.from(secret, 'base64url').toString('base64')];
    check(page.requests.length > 10, 'requests were seen');
    for (const { url, headers } of page.requests) {
      // What the protocol calls a URL has its fragment; only what is before it is sent.
      const sent = `${url.split('#')[0]} ${JSON.stringify(headers)}`;
      for (const form of forms) check(!sent.includes(form), `the secret is in a request: ${sent}`);
      check(!headers.Referer && !headers.referer, `a request has a Referer: ${sent}`);
      check(!url || url.startsWith(plan.base) || url.startsWith('about:'), `a request to others: ${url}`);
    }
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'the same without a service worker'() {
    const page = await browser.page({ downloads: join(scratch, `downloads-${folders}`) });
    page.folder = join(scratch, `downloads-${folders++}`);
    mkdirSync(page.folder);
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: 'delete Navigator.prototype.serviceWorker; delete globalThis.showSaveFilePicker;' });
    await page.goto(plan.file.url);
    await page.waitForText(plan.file.name);
    await page.click('button', 'Download');
    const { bytes } = await saved(page);
    same(hash(bytes), plan.file.sha256, 'the file');
    await page.close();
  },

  async 'a small text is previewed, and its link tells when it ends'() {
    const page = await visit(plan.small);
    await page.waitForText('Hello, Grüße!');
    await page.click('summary');
    await page.waitForText('signed by its owner');
    await page.waitForText('open until');
    await page.waitForText('commonhold open LINK');
    await picture(page, 'trust');
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'a folder is walked by mouse, keyboard, and the browser’s own back'() {
    const page = await visit(plan.folder);
    await page.waitForText('fjord.png');
    const names = await rows(page);
    same(names.slice(0, 4), ['Deep', 'Empty folder', 'Letters, 2024', 'Notes'], 'folders first');
    same(names.length, 15, 'entries');
    await picture(page, 'folder');
    await page.click('.row-name', 'Letters');
    await page.waitForText('scan 0001.bin');
    await until('all rows', async () => {
      await page.eval(() => scrollTo(0, document.body.scrollHeight));
      return (await rows(page)).length === 230;
    });
    await page.eval(() => scrollTo(0, 0));
    await picture(page, 'folder-below');
    await page.eval(() => history.back());
    await page.waitForText('fjord.png');
    await page.eval(() => document.querySelector('.row-name').focus());
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowUp', 'Enter']) await page.press(key);
    await page.waitForText('This folder is empty.');
    await picture(page, 'folder-empty');
    await page.press('Escape');
    await page.waitForText('fjord.png');
    await page.click('.row-name', 'Deep');
    await page.click('.row-name', 'er');
    await page.click('.row-name', 'still');
    await page.click('.row-name', 'here.txt');
    await page.waitForText('found');
    // Where one was is there again after a reload.
    await page.send('Page.reload');
    await sleep(300);
    await page.waitForText('found');
    await page.click('.crumb', 'Holiday');
    await page.waitForText('fjord.png');
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'a folder of thousands comes a screenful at a time'() {
    const page = await visit(plan.folder);
    await page.click('.row-name', 'Notes');
    await page.waitForText('note 0.txt');
    const first = (await rows(page)).length;
    check(first <= 600, `${first} rows at first`);
    await until('more rows', async () => {
      await page.eval(() => scrollTo(0, document.body.scrollHeight));
      return (await rows(page)).length >= first + 600;
    });
    await page.close();
  },

  async 'files in a folder: several parts, strange names, and previews'() {
    const page = await visit(plan.folder);
    const known = () => new Set(page.downloads.keys());
    const take = async (name) => {
      const before = known();
      await page.click(`[aria-label="Download ${name.replaceAll('\\', '\\\\')}"]`);
      return saved(page, before);
    };
    same(hash((await take('in two parts.bin')).bytes), hash(Buffer.concat(plan.parts.map((part) => Buffer.from(part, 'base64')))), 'a file in parts');
    const strange = await take('Grüße 日本語 (1).bin');
    same([strange.name, hash(strange.bytes)], ['Grüße 日本語 (1).bin', hash(Buffer.from(plan.unicode, 'base64'))], 'a strange name');
    same((await take('empty.txt')).bytes.length, 0, 'an empty file');
    await page.click('.row-name', 'fjord.png');
    await page.waitFor(() => document.querySelector('.stage img')?.naturalWidth === 960);
    await picture(page, 'image');
    // The arrows turn to the files beside it.
    await page.press('ArrowRight');
    await page.waitFor(() => document.querySelector('h1').textContent.startsWith('Grüße'));
    await page.press('ArrowLeft');
    await page.waitFor(() => document.querySelector('h1').textContent === 'fjord.png');
    await page.click('[aria-label="File before"]');
    await page.waitFor(() => document.querySelector('h1').textContent === 'film.webm');
    await page.press('Escape');
    await page.click('.row-name', 'itinerary.md');
    await page.waitForText('Bergen, two nights');
    await picture(page, 'text');
    await page.press('Escape');
    await page.click('.row-name', 'page.html');
    await page.waitForText('can hold code');
    check((await page.eval(() => document.title)).startsWith('page.html'), 'HTML did not run');
    await picture(page, 'html');
    await page.press('Escape');
    await page.click('.row-name', 'drawing.svg');
    await page.waitForText('can hold code');
    same(await page.eval(() => document.querySelectorAll('.stage img').length), 0, 'SVG is not shown');
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'sound and film play, and are sought by ranges'() {
    const page = await visit(plan.folder);
    await page.click('.row-name', 'waves.wav');
    await page.waitFor(() => document.querySelector('audio')?.duration === 40);
    await picture(page, 'audio');
    await page.eval(() => (document.querySelector('audio').currentTime = 33));
    await page.waitFor(() => {
      const audio = document.querySelector('audio');
      return !audio.seeking && audio.currentTime >= 33 && audio.readyState >= 2;
    });
    await page.eval(() => document.querySelector('audio').play());
    await page.waitFor(() => document.querySelector('audio').currentTime > 33.2);
    const ranges = page.requests.filter(({ url, headers }) => url.includes('/~/') && headers.Range);
    check(ranges.length >= 1, 'the player asked for ranges');
    await page.press('Escape');
    await page.click('.row-name', 'film.webm');
    await page.waitFor(() => document.querySelector('video')?.videoWidth === 320);
    await page.eval(() => document.querySelector('video').play());
    await page.waitFor(() => document.querySelector('video').currentTime > 0.3);
    await picture(page, 'video');
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'a folder is saved as a zip archive that others can open'() {
    const page = await visit(plan.folder);
    await page.click('button', 'Download all');
    const { name, bytes } = await saved(page);
    same(name, 'Holiday in Norway.zip', 'the name');
    const archive = join(page.folder, 'check.zip');
    writeFileSync(archive, bytes);
    // Another implementation reads it, checks every checksum, and unpacks it.
    const script = `
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
z.extractall(sys.argv[2])
print(len(z.namelist()))`;
    const to = join(page.folder, 'unpacked');
    const count = execFileSync('python3', ['-c', script, archive, to]).toString().trim();
    same(count, '5249', 'entries');
    const root = join(to, 'Holiday in Norway');
    same(hash(readFileSync(join(root, 'in two parts.bin'))), hash(Buffer.concat(plan.parts.map((part) => Buffer.from(part, 'base64')))), 'a file in parts');
    same(readFileSync(join(root, 'Deep/er/still/here.txt'), 'utf8'), 'found', 'a deep file');
    check(existsSync(join(root, 'a_b_c.bin')), 'no separator of another system');
    check(statSync(join(root, 'Empty folder')).isDirectory(), 'an empty folder');
    same(readdirSync(join(root, 'Notes')).length, 5000, 'many files');
    await page.close();
  },

  async 'a budget that is used up is waited for'() {
    const page = await visit(plan.slow);
    await page.waitForText(plan.file.name);
    const begun = Date.now();
    await page.click('button', 'Download');
    const { bytes } = await saved(page);
    same(hash(bytes), plan.file.sha256, 'the file');
    // A second is the least that a gateway asks for.
    check(Date.now() - begun >= 1000, 'nothing was waited for');
    same(page.complaints.filter((it) => !it.includes('429')), [], 'complaints');
    await page.close();
  },

  async 'a password is asked for until it is right'() {
    const page = await visit(plan.password);
    await page.waitForText('needs a password');
    await picture(page, 'password');
    check(await page.eval(() => document.activeElement.id === 'password'), 'the field has the focus');
    await page.press('Enter');
    await page.waitForText('Type the password.');
    await page.type('wrong');
    await page.press('Enter');
    await page.waitForText('does not open the link');
    await picture(page, 'password-wrong');
    await page.fill('#password', 'correct horse');
    await page.press('Enter');
    await page.waitForText(plan.file.name);
    check(!page.requests.some(({ url }) => url.includes('horse')), 'the password is sent nowhere');
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'a drop box seals and sends what is chosen and dropped'() {
    const files = [['Application Müller.pdf', 3_000_000], ['empty.txt', 0], ['exact.bin', 65_520 * 2]].map(([name, length]) => {
      const path = join(scratch, name);
      const bytes = randomBytes(length);
      writeFileSync(path, bytes);
      return { path, name, sha256: hash(bytes) };
    });
    const page = await visit(plan.dropBox);
    await page.waitForText('Send files to “Applications”');
    await picture(page, 'drop-box');
    await page.chooseFiles('#files', files.slice(0, 2).map(({ path }) => path));
    await page.waitFor(() => [...document.querySelectorAll('.transfer .hint')].filter((it) => it.textContent.startsWith('Sent')).length === 2);
    await page.dropFiles('.drop-zone', [files[2].path]);
    await page.waitFor(() => [...document.querySelectorAll('.transfer .hint')].filter((it) => it.textContent.startsWith('Sent')).length === 3);
    await picture(page, 'drop-box-sent');
    // Nothing is left behind.
    same(await page.eval(async () => {
      const names = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
      return names;
    }), [], 'what the browser keeps');
    writeFileSync(join(scratch, 'sent.json'), JSON.stringify(files.map(({ name, sha256 }) => [name, sha256]).sort()));
    same(page.complaints, [], 'complaints');
    await page.close();
  },

  async 'links that lead nowhere say so'() {
    for (const [name, url, words] of [
      ['unknown', plan.unknown, 'This link leads nowhere'],
      ['over', plan.over, 'This link is no longer open'],
      ['cut', plan.file.url.slice(0, -1), 'This is not a whole link'],
      ['no-secret', plan.file.url.split('#')[0], 'This is not a whole link'],
      ['wrong-secret', plan.wrongSecret, 'This does not open'],
    ]) {
      const page = await visit(url);
      await page.waitForText(words);
      check(await page.eval(() => document.activeElement.tagName === 'H1'), 'the focus is on what went wrong');
      if (name === 'unknown' || name === 'over') await picture(page, `error-${name}`);
      await page.close();
    }
  },

  async 'plain http from elsewhere is refused with the reason'() {
    const page = await browser.page();
    // This name leads to this machine, but is not one of those that browsers take for secure.
    const url = plan.file.url.replace('127.0.0.1', 'files.example');
    const other = await Browser.launch({ flags: ['--host-resolver-rules=MAP files.example 127.0.0.1'] });
    try {
      const there = await other.page();
      await there.goto(url);
      await there.waitForText('not secure enough');
      await there.waitForText('commonhold open LINK');
      await picture(there, 'error-insecure');
    } finally {
      await other.close();
    }
    await page.close();
  },

  async 'attacks 1 to 16, 20 and 22: what a dishonest node sends is refused'() {
    for (const [what, [url, words]] of Object.entries(plan.refused)) {
      const page = await visit(url);
      await page.waitForText(words);
      same(await page.eval(() => document.querySelectorAll('.row, .file, .drop-zone').length), 0, `${what}: nothing is shown`);
      if (what.startsWith('the link segment')) await picture(page, 'error-altered');
      same(page.downloads.size, 0, `${what}: nothing is saved`);
      await page.close();
    }
    for (const url of plan.flips) {
      const page = await visit(url);
      await page.waitFor(() => document.querySelector('.message h1'));
      same(await page.eval(() => document.querySelectorAll('.row, .file, .drop-zone').length), 0, 'a flipped record: nothing is shown');
      await page.close();
    }
    // A record that is older than the one that was seen.
    const page = await visit(plan.older);
    await page.waitForText(plan.file.name);
    await page.send('Page.reload');
    await page.waitForText('older state');
    await page.close();
  },

  async 'attacks 1 to 4: a bad download ends, and nothing of it is released'() {
    for (const [what, url] of Object.entries(plan.badDownloads)) {
      const page = await visit(url);
      await page.click('button', 'Download');
      await page.waitForText('not what was shared');
      await sleep(200);
      same([...page.downloads.values()].map(({ state }) => state).filter((state) => state !== 'canceled'), [], `${what}: no download is complete`);
      same(readdirSync(page.folder), [], `${what}: no file is left`);
      check(await page.eval(() => document.body.innerText.includes('Download')), `${what}: the page is still there`);
      if (what === 'exchanged') await picture(page, 'download-failed');
      await page.close();
    }
  },
};

let failed = 0;
const only = process.env.ONLY;
try {
  for (const [name, test] of Object.entries(tests)) {
    if (only && !name.includes(only)) continue;
    const begun = Date.now();
    try {
      await test();
      console.log(`ok ${name} (${Date.now() - begun} ms)`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
} finally {
  await browser.close();
}
process.exitCode = failed ? 1 : 0;
