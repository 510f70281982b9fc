// Transfers of the web app: large uploads, what fails and is cancelled, new versions, drops on a folder, downloads
// with their progress, film and documents.
import { randomFillSync } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, same, sleep, until } from './chrome.mjs';
import {
  base,
  token,
  shots,
  scratch,
  node,
  api,
  there,
  content,
  browser,
  open,
  withToken,
  row,
  select,
  openRow,
  dialogGone,
  faint,
  step,
  unnamed,
  quiet,
  clean,
} from './webapp.kit.mjs';

step('large upload, cut and resumed', async () => {
  const page = await withToken();
  const file = join(scratch, 'large.bin');
  const bytes = randomFillSync(Buffer.alloc(90 * 1024 * 1024 + 123));
  writeFileSync(file, bytes);
  await page.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: 12 * 1024 * 1024,
  });
  await page.chooseFiles('#upload-files', [file]);
  await page.click('.nav-transfers');
  await until('two parts', async () =>
    (await api('GET', '/v1/uploads')).uploads.some((it) => it.path === '/large.bin' && it.parts.length >= 2),
  );
  await page.waitFor(() => /MiB\/s/.test(document.querySelector('.transfer')?.textContent));
  await page.screenshot(join(shots, 'transfers-running.png'));
  // A reload asks first, because something is on its way.
  const asked = new Promise((done) => {
    const hear = ({ method, sessionId, params }) => {
      if (method !== 'Page.javascriptDialogOpening' || sessionId !== page.sessionId) return;
      browser.listeners.delete(hear);
      page.send('Page.handleJavaScriptDialog', { accept: true }).then(() => done(params.type));
    };
    browser.listeners.add(hear);
  });
  page.send('Page.reload');
  same(await asked, 'beforeunload', 'leaving asks');
  await page.waitForText('Begun and not finished');
  const stored = (await api('GET', '/v1/uploads')).uploads.find((it) => it.path === '/large.bin').parts.length;
  check(stored >= 2 && stored < 6, `some parts are stored, not all: ${stored}`);
  await page.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: -1,
  });
  const sentBefore = page.requests.length;
  await page.waitFor(() =>
    [...document.querySelectorAll('.transfer input[type=file]')]
      .find((it) => it.closest('li').textContent.includes('large.bin'))
      ?.toggleAttribute('data-test', true),
  );
  await page.chooseFiles('[data-test]', [file]);
  await page.waitForText('stored');
  await until('the file', () => there('/large.bin'));
  const parts = page.requests
    .slice(sentBefore)
    .filter(({ method, url }) => method === 'PUT' && url.includes('/parts/'));
  same(parts.length, 6 - stored, 'only missing parts were sent');
  const answer = await fetch(`${base}/v1/file?path=/large.bin`, { headers: { authorization: `Bearer ${token}` } });
  check(Buffer.from(await answer.arrayBuffer()).equals(bytes), 'the bytes are those of the file');
  same(
    (await api('GET', '/v1/uploads')).uploads.filter((it) => it.path === '/large.bin').length,
    0,
    'the upload is gone',
  );
  truncateSync(file, 0);
  await api('DELETE', '/v1/files?path=/large.bin');
  clean(page, 'resuming');
  await page.close();
});

step('uploads that fail, are cancelled, tried again', async () => {
  const page = await withToken({}, '#/files/Documents');
  await row(page, 'Budget 2026.csv');
  const [inTheWay, slow] = [join(scratch, 'Thesis'), join(scratch, 'slow.bin')];
  writeFileSync(inTheWay, 'a file where a folder stands');
  await page.chooseFiles('#upload-files', [inTheWay]);
  await page.click('.nav-transfers');
  await page.waitFor(() => document.querySelector('.transfer .line-words > .hint')?.textContent === 'failed');
  await page.waitFor(() => document.querySelector('.transfer-problems').textContent.length > 10);
  quiet(page, '409', '400');
  await page.screenshot(join(shots, 'transfers-failed.png'));
  await api('POST', '/v1/files/move', { from: '/Documents/Thesis', to: '/Thesis of before' });
  await page.click('[aria-label="Try again"]');
  await until('the file', () => there('/Documents/Thesis'));
  same(
    await content('/Documents/Thesis'),
    'a file where a folder stands',
    'it was stored when nothing stood in the way',
  );
  await api('DELETE', '/v1/files?path=/Documents/Thesis');
  await api('POST', '/v1/files/move', { from: '/Thesis of before', to: '/Documents/Thesis' });
  await page.click('.button', 'Clear ended');

  writeFileSync(slow, Buffer.alloc(80 * 1024 * 1024));
  await page.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: 12 * 1024 * 1024,
  });
  await open(page, '#/files/Documents');
  await row(page, 'Budget 2026.csv');
  await page.chooseFiles('#upload-files', [slow]);
  await page.click('.nav-transfers');
  const upload = async () => (await api('GET', '/v1/uploads')).uploads.find((it) => it.path.endsWith('slow.bin'));
  await until('a part', async () => (await upload())?.parts.length >= 1);
  await page.click('[aria-label="Cancel"]');
  await page.waitForText('cancelled');
  check(!(await there('/Documents/slow.bin')), 'nothing of it is in the drive');
  // What was sent waits for the file, or is given up.
  await page.waitFor(() => document.querySelectorAll('[aria-label="Give up"]').length === 2);
  await page.click('.transfer:has(input[type=file]) [aria-label="Give up"]');
  await page.click('dialog .danger');
  await until('the upload to be gone', async () => (await api('GET', '/v1/uploads')).uploads.length === 1);
  await page.close();
  truncateSync(slow, 0);
});

step('a file that is there already gets a new version', async () => {
  const page = await withToken({}, '#/files/Documents');
  await row(page, 'Letter.txt');
  const [letter, other] = [join(scratch, 'Letter.txt'), join(scratch, 'New beside it.txt')];
  writeFileSync(letter, 'Draft 4\n');
  writeFileSync(other, 'new');
  await page.chooseFiles('#upload-files', [letter]);
  await page.click('.nav-transfers');
  await page.waitForText('stored as a new version; the earlier one is kept');
  await page.screenshot(join(shots, 'transfers-version.png'));
  await page.click('.transfer [aria-label="Versions"]');
  await page.waitFor(() => document.querySelectorAll('dialog .line').length === 4);
  await page.press('Escape');
  await dialogGone(page);
  await open(page, '#/files/Documents');
  await row(page, 'Letter.txt');
  await page.chooseFiles('#upload-files', [letter, other]);
  await page.click('.nav-transfers');
  await page.waitForText('stored, 1 as a new version');
  await api('DELETE', '/v1/files?path=/Documents/New%20beside%20it.txt');
  const { versions } = await api('GET', '/v1/versions?path=/Documents/Letter.txt');
  await api('POST', '/v1/versions/restore', { path: '/Documents/Letter.txt', version: versions[2].version });
  for (const { version } of versions.slice(0, 3))
    await api('DELETE', `/v1/versions?path=/Documents/Letter.txt&version=${version}`);
  clean(page, 'a new version');
  await page.close();
});

step('files dropped on a folder go into it', async () => {
  const page = await withToken();
  const [file, folder] = [join(scratch, 'dropped.txt'), join(scratch, 'dropped')];
  writeFileSync(file, 'on a row');
  mkdirSync(folder);
  writeFileSync(join(folder, 'inside.txt'), 'in a folder on a row');
  await page.dropFiles(await row(page, 'Music'), [file, folder]);
  await until('the file', () => there('/Music/dropped.txt'));
  await until('the folder', () => there('/Music/dropped/inside.txt'));
  same(await content('/Music/dropped.txt'), 'on a row', 'what was dropped');
  check(!(await there('/dropped.txt')), 'it is nowhere else');
  same(await page.eval(() => location.hash), '#/files', 'the view stays');
  await page.waitFor(() => document.querySelector('.drop-cover').hidden && !document.querySelector('.drop-here'));
  // A row that is a file takes nothing: it goes into the folder that is shown.
  await page.dropFiles(await row(page, 'Recipes.txt'), [file]);
  await until('the file', () => there('/dropped.txt'));
  for (const path of ['/dropped.txt', '/Music/dropped.txt', '/Music/dropped'])
    await api('DELETE', `/v1/files?path=${encodeURIComponent(path)}`);
  for (const { id, path } of (await api('GET', '/v1/bin')).items)
    if (path.includes('dropped') || path.includes('beside')) await api('POST', '/v1/bin/empty', { ids: [id] });
  clean(page, 'dropping');
  await page.close();
});

/** Screenshots of downloads on a phone and a desk, light and dark: all fits and can be read. */
async function looked(page, name) {
  for (const [width, height] of [
    [360, 740],
    [1280, 800],
  ]) {
    await page.resize(width, height, { touch: width < 500 });
    for (const dark of [false, true]) {
      await page.scheme(dark);
      await page.screenshot(join(shots, `${name}-${width}${dark ? '-dark' : ''}.png`));
      same(await page.overflow(), [], `downloads at ${width} px reach beyond the screen`);
      same(await faint(page), [], `downloads at ${width} px: contrast`);
    }
  }
  await page.scheme(false);
}

step('downloads are listed with their progress', async () => {
  const downloads = join(scratch, 'down');
  mkdirSync(downloads, { recursive: true });
  const page = await withToken({ downloads }, '#/files/Videos');
  const words = (name) =>
    page.eval(
      (name) =>
        [...document.querySelectorAll('.transfer')].find((it) => it.querySelector('.name').textContent === name)
          ?.innerText ?? '',
      name,
    );
  const says = (name, text) => until(`${name}: ${text}`, async () => (await words(name)).includes(text));
  // A file and an archive, both in the middle; one that fails.
  await node(`hold ${5 << 20} /Videos/Concert.mkv`);
  await node(`hold ${3 << 20} /Photos`);
  await node('break 1000 /Documents/Lease.pdf');
  await row(page, 'Concert.mkv');
  await select(page, 'Concert.mkv');
  await page.press('d');
  await page.waitForText('Downloading “Concert.mkv”');
  await page.click('.toast:last-child .button', 'Show');
  await says('Concert.mkv', '5.0 MiB of 12.0 MiB · ');
  // The rate and the time left stand there while something comes, which may be over by now.
  const told = await words('Concert.mkv');
  check(/(\/s · .* left|nothing comes at the moment)$/m.test(told), `how fast it comes is told: ${told}`);
  same(
    await page.eval(() => document.querySelector('.nav-transfers .badge [aria-hidden]').textContent),
    '1',
    'the badge',
  );
  await open(page, '#/files');
  await select(page, 'Photos');
  await page.press('d');
  // Two at once: the third one waits.
  await open(page, '#/files/Documents');
  await select(page, 'Lease.pdf');
  await page.press('d');
  await page.click('.nav-transfers');
  await says('Photos.tar', '3.0 MiB so far · ');
  await says('Lease.pdf', 'waiting for its turn');
  await looked(page, 'downloads-running');
  same(await unnamed(page), [], 'downloads: names');
  // A page that is loaded again finds what its browser fetches.
  await page.click('.transfer:first-child [aria-label="Cancel"]');
  await says('Lease.pdf', 'cancelled');
  await page.send('Page.reload');
  await says('Concert.mkv', '5.0 MiB of 12.0 MiB · nothing comes at the moment');
  await says('Photos.tar', '3.0 MiB so far · nothing comes at the moment');
  same(await words('Lease.pdf'), '', 'what had ended is not listed again');
  const known = new Set(page.downloads.keys());
  const ended = (name, state) =>
    until(`${name} ${state}`, async () =>
      [...page.downloads.values()].some((it) => it.name === name && it.state === state),
    );
  await node('free /Videos/Concert.mkv');
  await says('Concert.mkv', '12.0 MiB · downloaded');
  await ended('Concert.mkv', 'completed');
  same(readFileSync(join(downloads, 'Concert.mkv')).length, 12 << 20, 'the bytes on the disk');
  // What is cancelled here is cut in the browser, and is no file.
  await page.click('[aria-label="Cancel"]');
  await says('Photos.tar', 'cancelled');
  await ended('Photos.tar', 'canceled');
  check(!readdirSync(downloads).includes('Photos.tar'), 'no half archive is left');
  await node('free /Photos');
  await page.click('[aria-label="Try again"]');
  await says('Photos.tar', '20.0 MiB · downloaded');
  await until('the archive', async () =>
    [...page.downloads].some(([id, it]) => !known.has(id) && it.name.startsWith('Photos') && it.state === 'completed'),
  );
  // What the node cannot read says why.
  await open(page, '#/files/Documents');
  await select(page, 'Lease.pdf');
  await page.press('d');
  await page.click('.nav-transfers');
  await says('Lease.pdf', 'failed');
  await says('Lease.pdf', 'oo few chunks can be fetched');
  await looked(page, 'downloads-ended');
  await page.resize(1280, 900);
  await node('break 99999999 /Documents/Lease.pdf');
  await page.click('.button', 'Clear ended');
  await page.waitForText('Wedding.mp4');
  // One that the browser ends says so.
  await node(`hold ${5 << 20} /Videos/Concert.mkv`);
  await open(page, '#/files/Videos');
  const before = new Set(page.downloads.keys());
  await select(page, 'Concert.mkv');
  await page.press('d');
  await page.click('.nav-transfers');
  await says('Concert.mkv', '5.0 MiB of 12.0 MiB');
  const guid = [...page.downloads.keys()].find((id) => !before.has(id));
  await browser.send('Browser.cancelDownload', { guid, browserContextId: page.context });
  await says('Concert.mkv', 'failed');
  await says('Concert.mkv', 'The browser ended it');
  await node('free /Videos/Concert.mkv');
  quiet(page, 'ERR_', 'Failed to load resource');
  clean(page, 'downloads');
  await page.close();
});

step('film and documents', async () => {
  const page = await withToken({}, '#/files/Videos');
  await openRow(page, 'film.webm');
  await page.waitFor(() => document.querySelector('video')?.videoWidth === 320);
  await page.eval(() => document.querySelector('video').play());
  await page.waitFor(() => document.querySelector('video').currentTime > 0.2);
  await page.eval(() => document.querySelector('video').pause());
  await page.screenshot(join(shots, 'video.png'));
  const end = await page.eval(
    () => (document.querySelector('video').currentTime = document.querySelector('video').duration * 0.8),
  );
  await page.waitFor((end) => {
    const video = document.querySelector('video');
    return !video.seeking && Math.abs(video.currentTime - end) < 0.01 && video.readyState >= 2;
  }, end);
  const media = page.requests.filter(({ url, headers }) => url.includes('/v1/tickets/') && headers.Range);
  check(media.length >= 1, 'the player asks for ranges');
  await page.press('Escape');
  await dialogGone(page);

  // Documents open in a tab of their own, which knows nothing of the app and runs nothing of theirs.
  for (const [folder, name] of [
    ['Documents', 'Lease.pdf'],
    ['Hostile', 'page.pdf'],
  ]) {
    await open(page, `#/files/${folder}`);
    await openRow(page, name);
    await page.waitForText('in a tab of its own');
    if (folder === 'Documents') await page.screenshot(join(shots, 'pdf.png'));
    const known = new Set((await browser.send('Target.getTargets')).targetInfos.map((it) => it.targetId));
    await page.click('.button', 'Open in a new tab');
    const fresh = await until('the tab', async () =>
      (await browser.send('Target.getTargets')).targetInfos.find(
        (it) => !known.has(it.targetId) && it.type === 'page' && it.url.includes('/v1/tickets/'),
      ),
    );
    const tab = await browser.attach(fresh);
    await tab.waitFor(() => document.readyState === 'complete');
    const facts = await tab.eval(() => ({
      type: document.contentType,
      opener: window.opener,
      stored: sessionStorage.length + localStorage.length,
      title: document.querySelector('script') ? 'a script' : '',
      pwned: window.pwned ?? 0,
    }));
    same(facts, { type: 'application/pdf', opener: null, stored: 0, title: '', pwned: 0 }, `${name} in its tab`);
    // The browser's own reader, which is another origin, has it.
    const reader = async () =>
      (await browser.send('Target.getTargets')).targetInfos.some(
        (it) => it.type === 'iframe' && it.url === fresh.url && it.browserContextId === fresh.browserContextId,
      );
    await until('the reader', reader);
    await tab.resize(1280, 800);
    await sleep(300);
    if (folder === 'Documents') await tab.screenshot(join(shots, 'pdf-tab.png'));
    same(await page.eval(() => window.pwned ?? 0), 0, `${name} reaches nothing of the app`);
    check(!tab.requests.some(({ url }) => url.includes(':9/')), `${name} calls nobody`);
    await tab.close();
    await page.press('Escape');
    await dialogGone(page);
  }
  clean(page, 'film and documents');
  await page.close();
});
