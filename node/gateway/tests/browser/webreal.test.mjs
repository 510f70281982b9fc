// The owner's app and the pages of links over a real network, which node/app/tests/web.rs starts: what goes in
// by one page comes out by another, byte for byte, also when two of six providers are gone. PLAN names a file
// with the program, the owner's data directory, the gateway and the processes of two providers.
//
// Each step goes on from where the one before it ended.

import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, same, until } from './chrome.mjs';
import {
  base,
  shots,
  scratch,
  api,
  info,
  there,
  browser,
  open,
  withToken,
  row,
  gone,
  select,
  openRow,
  dialogGone,
  step,
  quiet,
  clean,
  finish,
} from './webapp.kit.mjs';

const plan = JSON.parse(readFileSync(process.env.PLAN, 'utf8'));
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
const commonhold = (...args) =>
  execFileSync(plan.program, ['--data-dir', plan.dir, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }).toString();

/** Random files of this machine: path, bytes, hash. */
const made = new Map();
function make(name, length) {
  const path = join(scratch, name);
  mkdirSync(join(path, '..'), { recursive: true });
  const bytes = randomBytes(length);
  writeFileSync(path, bytes);
  made.set(name, { path, bytes, sha256: hash(bytes) });
  return path;
}
const sha256 = (name) => made.get(name).sha256;

let folders = 0;
/** A browser tab that shares nothing with others, and the folder that it saves into. */
async function visit(url) {
  const downloads = join(scratch, `downloads-${folders++}`);
  mkdirSync(downloads);
  const page = await browser.page({ downloads });
  page.folder = downloads;
  await page.goto(url);
  return page;
}
/** The bytes of the next download, from the disk. */
async function saved(page, known = new Set()) {
  const { state, name, path } = await page.download(known);
  same(state, 'completed', `the download of ${name}`);
  return readFileSync(path ?? join(page.folder, name));
}

const links = {};
/** Gives out a link by the app's dialog. */
async function share(page, name, password) {
  await select(page, name);
  await page.press('s');
  await page.waitFor(() => document.querySelector('#share-form'));
  if (password) await page.fill('#share-password', password);
  await page.click('dialog button[type=submit]');
  await page.waitFor(() => document.querySelector('.share-result .qr path'));
  const link = await page.waitFor(() => document.querySelector('.share-result input')?.value);
  await page.screenshot(join(shots, `share-${name}.png`));
  await page.press('Escape');
  await dialogGone(page);
  await page.press('Escape');
  return link;
}

let page;

step('the printed link opens an empty drive', async () => {
  const downloads = join(scratch, 'downloads-app');
  mkdirSync(downloads);
  page = await withToken({ downloads });
  page.folder = downloads;
  await page.waitForText('Your drive is empty');
});

step('files and folders go in', async () => {
  await page.chooseFiles('#upload-files', [
    make('report.bin', 5 * 1024 * 1024 + 321),
    make('unread.bin', 3 * 1024 * 1024 + 7),
    make('unread by the owner.bin', 2 * 1024 * 1024),
    make('notes.txt', 1000),
  ]);
  for (const name of ['report.bin', 'unread.bin', 'unread by the owner.bin', 'notes.txt']) await row(page, name);
  make('album/one.bin', 700_000);
  make('album/deep/two ü 文件.bin', 1_300_000);
  make('album/unread.bin', 900_000);
  mkdirSync(join(scratch, 'album', 'empty'));
  await page.dropFiles('.status-line', [join(scratch, 'album')]);
  await row(page, 'album');
  await page.click('.nav-transfers');
  await page.waitFor(
    () =>
      document.querySelectorAll('.transfer').length === 2 &&
      [...document.querySelectorAll('.transfer .hint:not(.to)')].every((it) => it.textContent.includes('stored')),
  );
  await page.screenshot(join(shots, 'transfers.png'));
  same((await info('/album')).files, 3, 'files of the folder');
  same((await info('/album/empty')).kind, 'folder', 'an empty folder');
  same((await info('/report.bin')).bytes, made.get('report.bin').bytes.length, 'the size');
});

step('folders are made, things are renamed, moved, removed and brought back', async () => {
  await open(page, '#/files');
  await row(page, 'notes.txt');
  await page.waitFor(() => document.activeElement?.getAttribute('role') === 'grid');
  await page.press('n');
  await page.waitFor(() => document.activeElement?.id === 'ask-input');
  await page.type('Papers');
  await page.press('Enter');
  await row(page, 'Papers');
  await dialogGone(page);
  await select(page, 'notes.txt');
  await page.press('F2');
  await page.waitFor(() => document.activeElement?.id === 'ask-input');
  await page.fill('#ask-input', 'minutes.txt');
  await page.press('Enter');
  await row(page, 'minutes.txt');
  await dialogGone(page);
  await select(page, 'minutes.txt');
  await page.press('m');
  await page.click('.tree [role=treeitem] .name', 'Papers');
  await page.click('.dialog-actions .primary');
  await gone(page, 'minutes.txt');
  check(await there('/Papers/minutes.txt'), 'it was moved');
  await openRow(page, 'Papers');
  await select(page, 'minutes.txt');
  await page.press('Delete');
  await gone(page, 'minutes.txt');
  check(!(await there('/Papers/minutes.txt')), 'it was removed');
  await page.click('.nav-bin');
  await page.click(`${await row(page, 'minutes.txt')} .cell-date`);
  await page.press('r');
  await gone(page, 'minutes.txt');
  check(await there('/Papers/minutes.txt'), 'it is back');
});

step('a second version, and the first again', async () => {
  await open(page, '#/files/Papers');
  await row(page, 'minutes.txt');
  const second = join(scratch, 'minutes.txt');
  writeFileSync(second, 'the second version');
  await page.chooseFiles('#upload-files', [second]);
  await until('two versions', async () => (await info('/Papers/minutes.txt')).versions === 1);
  same(commonhold('cat', '/Papers/minutes.txt'), 'the second version', 'what the command line reads');
  await page.click('.nav-transfers');
  await page.waitForText('stored as a new version');
  await page.screenshot(join(shots, 'transfers-version.png'));
  await open(page, '#/files/Papers');
  await select(page, 'minutes.txt');
  await page.press('v');
  await page.waitFor(() => document.querySelectorAll('dialog .line').length === 2);
  await page.click('dialog .line:nth-child(2) .button:last-child', 'Restore');
  await page.waitFor(() => document.querySelectorAll('dialog .line').length === 3);
  await page.press('Escape');
  await dialogGone(page);
  commonhold('get', '/Papers/minutes.txt', join(scratch, 'first.txt'));
  same(hash(readFileSync(join(scratch, 'first.txt'))), sha256('notes.txt'), 'the first version is the current one');
});

step('links are given out and opened by others', async () => {
  await open(page, '#/files');
  links.report = await share(page, 'report.bin');
  links.unread = await share(page, 'unread.bin');
  links.secret = await share(page, 'unread by the owner.bin', 'correct horse');
  links.album = await share(page, 'album');
  for (const link of Object.values(links)) {
    check(
      link.startsWith(`${plan.gateway}/s/`) && !link.startsWith(base),
      `a link leads to the gateway: ${link.split('#')[0]}`,
    );
  }
  const visitor = await visit(links.report);
  await visitor.waitForText('report.bin');
  await visitor.click('button', 'Download');
  same(hash(await saved(visitor)), sha256('report.bin'), 'the file that was shared');
  await visitor.screenshot(join(shots, 'visitor-file.png'));
  clean(visitor, 'the page of a file');
  await visitor.close();

  const guest = await visit(links.secret);
  await guest.waitForText('needs a password');
  await guest.type('wrong');
  await guest.press('Enter');
  await guest.waitForText('does not open the link');
  await guest.fill('#password', 'correct horse');
  await guest.press('Enter');
  await guest.waitForText('unread by the owner.bin');
  clean(guest, 'the page of a link with a password');
  await guest.close();

  const friend = await visit(links.album);
  await friend.waitForText('one.bin');
  await friend.screenshot(join(shots, 'visitor-folder.png'));
  await friend.click('[aria-label="Download one.bin"]');
  same(hash(await saved(friend)), sha256('album/one.bin'), 'a file of a folder');
  await friend.click('.row-name', 'deep');
  await friend.waitForText('two ü 文件.bin');
  const known = new Set(friend.downloads.keys());
  await friend.click('[aria-label="Download two ü 文件.bin"]');
  same(hash(await saved(friend, known)), sha256('album/deep/two ü 文件.bin'), 'a file below it');
  clean(friend, 'the page of a folder');
  await friend.close();
  clean(page, 'the app, until providers end');
});

step('a link that was taken back says so', async () => {
  commonhold('unshare', links.report);
  const visitor = await visit(links.report);
  await visitor.waitForText('This link is no longer open');
  await visitor.waitForText('its owner has taken it back');
  same(await visitor.eval(() => document.querySelectorAll('.row, .file').length), 0, 'nothing is shown');
  await visitor.screenshot(join(shots, 'visitor-revoked.png'));
  quiet(visitor, '410');
  clean(visitor, 'the page of a link that is gone');
  await visitor.close();
  await open(page, '#/shares');
  await page.waitFor(() => document.querySelectorAll('.view .line').length === 3);
});

step('two of six providers end', async () => {
  for (const pid of plan.victims) process.kill(pid, 'SIGKILL');
  // What nobody read before comes from those that are left.
  const visitor = await visit(links.unread);
  await visitor.waitForText('unread.bin');
  await visitor.click('button', 'Download');
  same(hash(await saved(visitor)), sha256('unread.bin'), 'a file that was not read before');
  clean(visitor, 'the page of a file, with two providers less');
  await visitor.close();

  const guest = await visit(links.secret);
  await guest.waitForText('needs a password');
  await guest.type('correct horse');
  await guest.press('Enter');
  await guest.click('button', 'Download');
  same(hash(await saved(guest)), sha256('unread by the owner.bin'), 'one behind a password');
  clean(guest, 'the page of a password, with two providers less');
  await guest.close();

  const friend = await visit(links.album);
  await friend.click('[aria-label="Download unread.bin"]');
  same(hash(await saved(friend)), sha256('album/unread.bin'), 'one in a folder');
  clean(friend, 'the page of a folder, with two providers less');
  await friend.close();

  const got = join(scratch, 'got.bin');
  commonhold('get', '/unread.bin', got);
  same(hash(readFileSync(got)), sha256('unread.bin'), 'what the command line fetches');
  const opened = join(scratch, 'opened.bin');
  commonhold('open', links.unread, opened);
  same(hash(readFileSync(opened)), sha256('unread.bin'), 'what `open` fetches');

  // The owner's own downloads: a file and a folder.
  await open(page, '#/files');
  // The browser tells every tab of all downloads.
  let known = new Set(page.downloads.keys());
  await select(page, 'report.bin');
  await page.press('d');
  same(hash(await saved(page, known)), sha256('report.bin'), 'what the app downloads');
  known = new Set(page.downloads.keys());
  await select(page, 'album');
  await page.press('d');
  writeFileSync(join(scratch, 'album.tar'), await saved(page, known));
  const unpacked = join(scratch, 'unpacked');
  mkdirSync(unpacked);
  execFileSync('tar', ['-xf', join(scratch, 'album.tar'), '-C', unpacked]);
  for (const name of ['album/one.bin', 'album/deep/two ü 文件.bin', 'album/unread.bin'])
    same(hash(readFileSync(join(unpacked, name))), sha256(name), `${name} from the archive`);
  await page.click('.nav-transfers');
  await page.waitFor(
    () =>
      [...document.querySelectorAll('.transfer .hint:not(.to)')].filter((it) => it.textContent.includes('downloaded'))
        .length === 2,
  );
  await page.screenshot(join(shots, 'transfers-down.png'));
});

step('health and credits are those of the node', async () => {
  const figure = (label) =>
    page.waitFor((label) => {
      const found = [...document.querySelectorAll('.figure')].find((it) => it.textContent.startsWith(label));
      return found?.innerText.replaceAll(/\s+/g, ' ');
    }, label);
  await open(page, '#/health');
  // What the page shows was true at some moment: asked until both agree.
  await until('the figures of the drive', async () => {
    const { drive } = JSON.parse(commonhold('status', '--json'));
    const { current } = await api('GET', '/v1/drive/heads');
    const whole = drive.segments - drive.degraded_segments;
    const shown = await figure('Complete segments');
    const files = await figure('Files');
    check(current.files === 7, `the drive has ${current.files} files`);
    if (shown.includes(`${whole} of ${drive.segments}`) && files.startsWith('Files 7')) return true;
    await open(page, '#/credits');
    await open(page, '#/health');
    return false;
  });
  await page.screenshot(join(shots, 'health.png'), { full: true });
  await page.click('.button', 'Check now');
  const words = await page.waitFor(() => {
    const note = [...document.querySelectorAll('.card .note')].find((it) => it.innerText.includes('were looked at'));
    return note?.innerText;
  });
  check(/^\d+ files in \d+ segments? were looked at in /.test(words), `the check says: ${words}`);
  check(/[1-9]\d* pieces with providers that cannot be reached now\..*could not be made again/.test(words), `the check says: ${words}`);
  // The page does not say that all is well beside it.
  await page.waitForText('Something needs a look');
  await page.screenshot(join(shots, 'health-checked.png'), { full: true });

  // Receipts come with audits.
  same((await api('POST', '/v1/audits', {})).status, 200, 'an audit of all providers');
  await open(page, '#/credits');
  await until('the balance', async () => {
    const { balances } = await api('GET', '/v1/ledger?count=1');
    const sum = balances.reduce((all, it) => all + it.owed_to_me_microcredits, 0);
    const shown = await figure('In all');
    const digits = shown.replaceAll(/[^\d.]/g, '');
    if (sum !== 0 && Number(digits) === Math.abs(sum) / 1e6) return true;
    await open(page, '#/health');
    await open(page, '#/credits');
    return false;
  });
  await page.screenshot(join(shots, 'credits.png'), { full: true });
});

step('nothing was refused or broke on the way', async () => {
  clean(page, 'the app');
  await page.close();
});

await finish();
