// The owner's web app in a real browser, by mouse and keys, with screenshots of every view.
import { mkdirSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, check, same, until } from './chrome.mjs';
import {
  base,
  token,
  shots,
  scratch,
  node,
  api,
  info,
  there,
  content,
  browser,
  open,
  withToken,
  row,
  gone,
  select,
  openRow,
  dialogGone,
  dragOnto,
  focusList,
  step,
  quiet,
  clean,
  finish,
} from './webapp.kit.mjs';

step('open', async () => {
  const page = await browser.page();
  await page.goto(`${base}/`);
  await page.waitForText('commonhold web');
  await page.fill('#token', 'not a token');
  await page.press('Enter');
  await page.waitForText('neither the link nor a token');
  await page.fill('#token', 'f'.repeat(64));
  await page.press('Enter');
  await page.waitForText('does not take this token');
  quiet(page, '401');
  await page.fill('#token', `${base}/#token=${token}`);
  await page.press('Enter');
  await page.waitForText('My drive');
  await row(page, 'Documents');
  check(!(await page.eval(() => location.href)).includes(token), 'the token is out of the address');
  await page.send('Page.reload');
  await row(page, 'Documents');
  const headers = page.requests.filter(({ url }) => url.includes('/v1/'));
  check(
    headers.every(({ url }) => !url.includes(token)),
    'no address has the token',
  );
  check(
    page.requests.every(
      ({ headers: all }) =>
        !Object.entries(all).some(([name, value]) => /referer|cookie/i.test(name) && value.includes(token)),
    ),
    'no Referer or cookie has the token',
  );
  clean(page, 'opening');
  await page.close();

  const linked = await withToken();
  check(
    !(await linked.eval(() => JSON.stringify([location.href, document.documentElement.outerHTML]))).includes(token),
    'the token is nowhere in the page',
  );
  const { entries } = await linked.send('Page.getNavigationHistory');
  check(
    entries.every(({ url }) => !url.includes(token)),
    'the token is not in the history',
  );
  await linked.close();
});

step('upload', async () => {
  const page = await withToken();
  const folder = join(scratch, 'holiday');
  mkdirSync(join(folder, 'day 1', 'empty'), { recursive: true });
  writeFileSync(join(folder, 'plan.txt'), 'plan');
  writeFileSync(join(folder, 'day 1', 'ü 文件.txt'), 'unicode');
  const old = join(scratch, 'old.txt');
  writeFileSync(old, 'by input');
  utimesSync(old, 1_700_000_000, 1_700_000_000);
  writeFileSync(join(scratch, 'empty.bin'), '');
  await page.chooseFiles('#upload-files', [old, join(scratch, 'empty.bin')]);
  await row(page, 'old.txt');
  await row(page, 'empty.bin');
  same(await content('/old.txt'), 'by input', 'the uploaded bytes');
  same((await info('/old.txt')).modified_ms, 1_700_000_000_000, 'the time of modification');
  same((await info('/empty.bin')).bytes, 0, 'the empty file');
  await page.dropFiles('.status-line', [folder]);
  await openRow(page, 'holiday');
  await openRow(page, 'day 1');
  await row(page, 'ü 文件.txt');
  await row(page, 'empty');
  same(await content('/holiday/day 1/ü 文件.txt'), 'unicode', 'a dropped file');
  same(await content('/holiday/plan.txt'), 'plan', 'another one');
  same((await info('/holiday/day 1/empty')).kind, 'folder', 'an empty folder');
  await page.eval(() => history.back());
  await row(page, 'plan.txt');
  await page.click('.nav-transfers');
  await page.waitForText('stored');
  clean(page, 'uploading');
  await page.close();
});

await import('./webapp.transfers.mjs');

step('10,000 entries', async () => {
  const page = await withToken({}, '#/files/Large');
  await page.waitForText('10,000 files');
  const rows = () => page.eval(() => document.querySelectorAll('.grid-body .grid-row').length);
  check((await rows()) < 80, 'only rows in sight are in the page');
  await page.eval(() => {
    document.querySelector('.grid').scrollTop = 200_000;
  });
  await row(page, 'entry 04550.txt');
  await focusList(page);
  await page.press('End');
  await row(page, 'entry 09999.txt');
  await page.press('Home');
  await row(page, 'entry 00000.txt');
  check((await rows()) < 80, 'still only rows in sight');
  same(await page.eval(() => document.querySelector('.grid').getAttribute('aria-rowcount')), '10001', 'aria-rowcount');
  await page.press('Control+a');
  await page.waitForText('10,000 selected');
  await page.press('Escape');
  await page.click('.sort', 'Name');
  await row(page, 'entry 09999.txt');
  await page.click('.sort', 'Name');
  clean(page, 'a large folder');
  await page.close();
});

step('rename, move, copy, delete, restore', async () => {
  const page = await withToken({}, '#/files/Documents');
  await row(page, 'Lease.pdf');
  const order = await page.eval(() => [...document.querySelectorAll('.grid-body .name')].map((it) => it.textContent));
  same(order.slice(0, 2), ['Contracts', 'Thesis'], 'folders stand first');
  check(order.indexOf('Minutes 2.md') < order.indexOf('Minutes 10.md'), 'numbers in names are numbers');
  await select(page, 'Lease.pdf');
  await page.press('F2');
  await page.waitFor(() => document.activeElement?.id === 'ask-input');
  same(
    await page.eval(
      () =>
        getSelection().toString() ||
        document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd),
    ),
    'Lease',
    'the name without its ending is selected',
  );
  await page.fill('#ask-input', 'a/b');
  await page.press('Enter');
  await page.waitForText('cannot contain');
  await page.fill('#ask-input', 'Recipe');
  await page.fill('#ask-input', 'Letter.txt');
  await page.press('Enter');
  await page.waitFor(() => document.querySelector('#ask-why')?.textContent.length > 10);
  quiet(page, '409');
  await page.screenshot(join(shots, 'error-in-dialog.png'));
  await page.fill('#ask-input', 'Lease 2026.pdf');
  await page.press('Enter');
  await row(page, 'Lease 2026.pdf');
  check((await there('/Documents/Lease 2026.pdf')) && !(await there('/Documents/Lease.pdf')), 'it was renamed');

  // Move by the dialog and its tree.
  await select(page, 'Lease 2026.pdf');
  await page.press('m');
  await page.waitFor(() => document.querySelectorAll('.tree [role=treeitem]').length > 5);
  await page.click('.tree [role=treeitem] .name', 'Contracts');
  await page.click('.dialog-actions .primary');
  await gone(page, 'Lease 2026.pdf');
  check(await there('/Documents/Contracts/Lease 2026.pdf'), 'it was moved');
  await page.click('.toast:last-child .button', 'Undo');
  await row(page, 'Lease 2026.pdf');

  // A folder cannot go into itself.
  await select(page, 'Contracts');
  await page.press('m');
  await page.waitFor(() => document.querySelectorAll('.tree [role=treeitem]').length > 5);
  await page.click('.tree [role=treeitem] .name', 'Contracts');
  await page.waitForText('cannot go into itself');
  check(await page.eval(() => document.querySelector('.dialog-actions .primary').disabled), 'the button is off');
  await page.press('Escape');
  await dialogGone(page);

  // Several at once: cut and paste, then Shift.
  await select(page, 'Minutes 2.md');
  await select(page, 'Minutes 10.md', ['Shift']);
  await page.waitForText('2 selected');
  await page.press('Control+x');
  await openRow(page, 'Thesis');
  await row(page, 'Thesis.tex');
  await page.press('Control+v');
  await row(page, 'Minutes 10.md');
  check(
    (await there('/Documents/Thesis/Minutes 2.md')) && !(await there('/Documents/Minutes 2.md')),
    'both were moved',
  );
  await page.press('Control+a');
  await page.press('Control+c');
  await page.press('Control+v');
  await row(page, 'Minutes 2 (copy).md');
  await row(page, 'Figures (copy)');

  // Drag a row onto a folder, and another one onto a crumb.
  await dragOnto(page, `${await row(page, 'Notes.txt')} .cell-size`, await row(page, 'Figures'));
  await gone(page, 'Notes.txt');
  check(await there('/Documents/Thesis/Figures/Notes.txt'), 'a row was dragged into a folder');
  await dragOnto(page, `${await row(page, 'Thesis (copy).tex')} .cell-size`, '.crumbs li:first-child a');
  await gone(page, 'Thesis (copy).tex');
  check(await there('/Thesis (copy).tex'), 'a row was dragged onto a crumb');

  // To the bin, back, for good.
  await select(page, 'Figures (copy)');
  await page.press('Delete');
  await gone(page, 'Figures (copy)');
  check(!(await there('/Documents/Thesis/Figures (copy)')), 'it is in the bin');
  await page.click('.toast:last-child .button', 'Undo');
  await row(page, 'Figures (copy)');
  await select(page, 'Minutes 2 (copy).md');
  await page.press('Delete');
  await gone(page, 'Minutes 2 (copy).md');
  await page.click('.nav-bin');
  await page.click(`${await row(page, 'Minutes 2 (copy).md')} .cell-date`);
  await page.press('r');
  await gone(page, 'Minutes 2 (copy).md');
  check(await there('/Documents/Thesis/Minutes 2 (copy).md'), 'it is back');
  await page.click(`${await row(page, 'Old draft.txt')} .cell-date`);
  await page.press('Delete');
  await page.waitForText('cannot be undone');
  await page.screenshot(join(shots, 'confirm.png'));
  await page.click('dialog .danger');
  await gone(page, 'Old draft.txt');
  check(!(await api('GET', '/v1/bin')).items.some((it) => it.path.endsWith('Old draft.txt')), 'it is gone for good');
  clean(page, 'changing the tree');
  await page.close();
});

step('preview and versions', async () => {
  const downloads = join(scratch, 'downloads');
  mkdirSync(downloads, { recursive: true });
  const page = await withToken({ downloads }, '#/files/Documents');
  await select(page, 'Letter.txt');
  await page.press('v');
  await page.waitFor(() => document.querySelectorAll('dialog .line').length === 3);
  await page.screenshot(join(shots, 'versions.png'));
  await page.click('dialog .line:nth-child(3) .button', undefined);
  await page.waitForText('Draft 1');
  await page.press('Escape');
  await page.click('dialog .line:nth-child(3) .button:last-child');
  await page.waitFor(() => document.querySelectorAll('dialog .line').length === 4);
  same(await content('/Documents/Letter.txt'), 'Draft 1\n', 'the first version is the current one');
  await page.click('dialog .line:nth-child(2) [aria-label^=Download]');
  const version = await page.download();
  same(readFileSync(join(downloads, version.name), 'utf8'), 'Draft 3\n', 'an earlier version was downloaded');
  await page.press('Escape');
  await dialogGone(page);
  await openRow(page, 'Letter.txt');
  await page.waitFor(() => document.querySelector('.text-preview')?.textContent === 'Draft 1\n');
  await page.press('Escape');
  await dialogGone(page);

  const known = new Set(page.downloads.keys());
  await select(page, 'Contracts');
  await page.press('d');
  const folder = await page.download(known);
  same(folder.name, 'Contracts.tar', 'a folder comes as an archive');

  await open(page, '#/files/Photos/Summer%202026');
  await openRow(page, 'IMG_1201.bmp');
  await page.waitFor(() => document.querySelector('.picture')?.naturalWidth === 480);
  await page.press('ArrowRight');
  await page.waitFor(
    () =>
      document.querySelector('dialog .name')?.textContent === 'IMG_1202.bmp' &&
      document.querySelector('.picture')?.naturalWidth === 480,
  );
  await page.press('Escape');
  await dialogGone(page);
  await open(page, '#/files/Music');
  await openRow(page, 'Interval.wav');
  await page.waitFor(() => document.querySelector('audio')?.duration > 0.9);
  await page.press('Escape');
  clean(page, 'previews');
  await page.close();
});

step('hostile names and files', async () => {
  const page = await withToken({}, '#/files/Hostile');
  await row(page, '<img src=x onerror=top.pwned=1>.txt');
  await row(page, 'invoice\u{fffd}.txt');
  await row(page, 'a%2Fb%00?#&+ ü 文件 🎉');
  same(
    await page.eval(() => document.querySelectorAll('main img, main b, main script').length),
    0,
    'names made no elements',
  );
  for (const name of ['page.html', 'drawing.svg']) {
    await openRow(page, name);
    await page.waitForText('There is no preview');
    await page.press('Escape');
    await dialogGone(page);
  }
  await openRow(page, '<img src=x onerror=top.pwned=1>.txt');
  await page.waitFor(() => document.querySelector('.text-preview')?.textContent.startsWith('<script>'));
  await page.press('Escape');
  await dialogGone(page);
  await select(page, '<img src=x onerror=top.pwned=1>.txt');
  await page.press('i');
  await page.waitFor(() => document.querySelector('.details-name')?.textContent.startsWith('<img'));
  await select(page, '<img src=x onerror=top.pwned=1>.txt');
  await page.press('Delete');
  await page.waitForText('is in the bin');
  await page.click('.toast:last-child .button', 'Undo');
  await row(page, '<img src=x onerror=top.pwned=1>.txt');
  // A file that a browser would run is saved, even by its ticket for showing.
  for (const path of ['/Hostile/page.html', '/Hostile/drawing.svg']) {
    const { url } = await api('POST', '/v1/tickets', { path, inline: true });
    const answer = await fetch(base + url);
    check(
      answer.headers.get('content-disposition').startsWith('attachment') &&
        answer.headers.get('content-type') === 'application/octet-stream',
      `${path} is saved, not shown`,
    );
  }
  // What the policy and trusted types stop.
  await page.eval(() => {
    window.stopped = [];
    document.addEventListener('securitypolicyviolation', (event) => window.stopped.push(event.effectiveDirective));
  });
  same(
    await page.eval(() => {
      try {
        document.body.insertAdjacentHTML('beforeend', '<p>');
        return 'made';
      } catch (error) {
        return error.name;
      }
    }),
    'TypeError',
    'markup from a text',
  );
  await page.eval(() => {
    const script = document.createElement('img');
    script.src = 'http://127.0.0.1:9/x.png';
    document.body.append(script);
  });
  await page.waitFor(() => window.stopped.includes('img-src') && window.stopped.includes('require-trusted-types-for'));
  quiet(page, 'Content Security Policy', 'TrustedHTML', 'Trusted');
  same(await page.eval(() => window.pwned ?? 0), 0, 'nothing ran');
  clean(page, 'hostile names');
  await page.close();
});

step('share', async () => {
  const page = await withToken();
  await browser.send('Browser.grantPermissions', {
    origin: base,
    permissions: ['clipboardReadWrite', 'clipboardSanitizedWrite'],
    browserContextId: page.context,
  });
  await select(page, 'Photos');
  await page.press('s');
  await page.waitFor(() => document.activeElement?.closest('dialog'));
  await page.eval(() => {
    const it = document.querySelector('#share-term');
    it.value = '604800';
    it.dispatchEvent(new Event('change'));
  });
  await page.fill('#share-password', 'open sesame');
  await page.click('#share-box');
  await page.click('dialog button[type=submit]');
  await page.waitFor(() => document.querySelector('.share-result .qr path')?.getAttribute('d').length > 1000);
  const [share] = (await api('GET', '/v1/shares')).shares;
  same([share.path, share.password, share.drop_box], ['/Photos', true, true], 'the link is as asked for');
  check(Math.abs(share.expires_ms - Date.now() - 604_800_000) < 60_000, 'it ends in a week');
  await page.click('.share-result .button', 'Copy');
  await page.waitForText('Copied');
  same(await page.eval(() => navigator.clipboard.readText()), share.link, 'the copied link');
  await page.screenshot(join(shots, 'share-dialog.png'));
  check(
    page.requests.every(({ url }) => !url.includes(share.link.split('#')[1])),
    'no request has the secret',
  );
  await page.press('Escape');
  await dialogGone(page);
  await page.click('.nav-shares');
  await page.waitFor(() => [...document.querySelectorAll('.line .name')].some((it) => it.textContent === 'Photos'));
  await page.click('[aria-label="Revoke the link to Photos"]');
  await page.waitForText('It stops working');
  await page.click('dialog .danger');
  await page.waitForText('The link was revoked');
  check(!(await api('GET', '/v1/shares')).shares.some((it) => it.id === share.id), 'it is revoked');
  clean(page, 'sharing');
  await page.close();
});

step('search', async () => {
  const page = await withToken();
  await page.press('/');
  await page.type('minutes');
  await page.press('Enter');
  await row(page, 'Minutes 10.md');
  await page.waitFor(() => /\d hits?$/.test(document.querySelector('.status-line').textContent));
  await page.screenshot(join(shots, 'search.png'));
  await page.fill('.search-input', 'no such thing');
  await page.press('Enter');
  await page.waitForText('Nothing was found');
  await page.screenshot(join(shots, 'search-nothing.png'));
  await page.eval(() => history.back());
  await row(page, 'Minutes 10.md');
  await page.fill('.search-input', 'entry 0');
  await page.press('Enter');
  await page.waitForText('The first 5,000 hits');
  clean(page, 'searching');
  await page.close();
});

step('keys alone', async () => {
  const page = await withToken();
  await row(page, 'Documents');
  await page.waitFor(() => document.activeElement?.getAttribute('role') === 'grid');
  await page.press('n');
  await page.waitFor(() => document.activeElement?.id === 'ask-input');
  await page.type('Made by keys');
  await page.press('Enter');
  await row(page, 'Made by keys');
  await dialogGone(page);
  await page.waitFor(() => document.querySelector('.grid-row.selected .name')?.textContent === 'Made by keys');
  await page.press('Enter');
  await page.waitForText('This folder is empty');
  await page.screenshot(join(shots, 'folder-empty.png'));
  await page.press('Backspace');
  await page.waitFor(() => document.querySelector('.grid-row.selected .name')?.textContent === 'Made by keys');
  await page.press('F2');
  await page.waitFor(() => document.activeElement?.id === 'ask-input');
  await page.press('Control+a');
  await page.type('Named by keys');
  await page.press('Enter');
  await page.waitFor(() => document.querySelector('.grid-row.selected .name')?.textContent === 'Named by keys');
  await page.press('m');
  await page.waitFor(
    () =>
      document.querySelectorAll('.tree [role=treeitem]').length > 4 &&
      document.activeElement?.getAttribute('role') === 'treeitem',
  );
  await page.press('ArrowDown');
  await page.press('Enter');
  await gone(page, 'Named by keys');
  await dialogGone(page);
  check(await there('/Backups/Named by keys'), 'moved into the first folder');
  // The menu of actions, by its key.
  await page.waitFor(() => document.activeElement?.getAttribute('role') === 'grid');
  await page.press('Home');
  await page.send('Input.dispatchKeyEvent', {
    type: 'rawKeyDown',
    key: 'F10',
    code: 'F10',
    windowsVirtualKeyCode: 121,
    modifiers: 8,
  });
  await page.waitFor(() => document.activeElement?.getAttribute('role') === 'menuitem');
  await page.screenshot(join(shots, 'menu.png'));
  await page.press('Escape');
  await page.waitFor(() => document.activeElement?.getAttribute('role') === 'grid');
  await page.press('?');
  await page.waitForText('Keyboard shortcuts');
  await page.screenshot(join(shots, 'help.png'));
  await page.press('Escape');
  await dialogGone(page);
  await page.press('g');
  await page.press('h');
  await page.waitFor(() => location.hash === '#/health');
  await page.waitForText('Check now');
  // Tab reaches every control of the frame, and what has the focus can be seen.
  const reached = new Set();
  for (let i = 0; i < 40; i++) {
    await page.press('Tab');
    reached.add(
      await page.eval(() => {
        const it = document.activeElement;
        const style = getComputedStyle(it);
        const ring =
          it === document.body ||
          style.outlineStyle !== 'none' ||
          style.boxShadow !== 'none' ||
          it.matches(':focus-within *:focus-visible');
        return `${it.getAttribute('aria-label') ?? it.textContent.trim().slice(0, 40)}${ring ? '' : ' (no ring)'}`;
      }),
    );
  }
  for (const label of ['Files', 'Bin', 'Credits', 'Check now', 'Search files and folders'])
    check(
      [...reached].some((it) => it.startsWith(label)),
      `Tab reaches ${label}: ${[...reached].join(', ')}`,
    );
  check(
    ![...reached].some((it) => it.endsWith('(no ring)') && it !== ' (no ring)' && !it.startsWith('Commonhold')),
    `the focus shows: ${[...reached].join(', ')}`,
  );
  clean(page, 'keys');
  await page.close();
});

step('health: check, merge', async () => {
  const page = await withToken({}, '#/health');
  await page.waitForText('Something needs a look');
  const repairs = ['label.check', 'Make missing pieces again'];
  await page.click(...repairs);
  await page.click('.button', 'Check now');
  await page.waitForText('1 file at risk');
  await page.waitForText('10 of 12 pieces were shown to be there.');
  await page.waitForText('Providers that did not show everything');
  const said = await page.eval(() => document.body.innerText);
  check(said.includes('1 piece lost: it does not show chunks that it signed for'), `who lost it is said: ${said}`);
  check(said.includes('1 piece out of reach: it cannot be reached'), `who is away is said: ${said}`);
  check(said.includes('Pieces missing, nothing at risk yet'), `what lacks pieces is said: ${said}`);
  await page.screenshot(join(shots, 'health-checked.png'), { full: true });
  await page.click(...repairs);
  await page.click('.button', 'Check now');
  await page.waitForText('1 piece made again.');
  await page.waitFor(() => !document.body.innerText.includes('1 file at risk'));
  await page.click('.button', 'Merge');
  await page.waitForText('Both held the same');
  await page.press('Escape');
  await page.waitFor(() => !document.body.innerText.includes('Other histories'));
  clean(page, 'health');
  await page.close();
});

step('other sites', async () => {
  // A page of another origin: it can neither read the app, nor frame it, nor call the API.
  const page = await browser.page();
  const port = new URL(base).port;
  await page.goto('data:text/html,<title>evil</title><body>evil');
  const tried = await page.eval(
    async (base, token) => {
      const call = (init) =>
        fetch(`${base}/v1/status`, init).then(
          (it) => it.status,
          (error) => error.name,
        );
      const plain = await fetch(`${base}/`).then(
        (it) => it.status,
        (error) => error.name,
      );
      return [
        await call({}),
        await call({ headers: { authorization: `Bearer ${token}` } }),
        await call({ method: 'POST', mode: 'no-cors' }),
        plain,
      ];
    },
    base,
    token,
  );
  same([tried[0], tried[1], tried[3]], ['TypeError', 'TypeError', 'TypeError'], 'another site reads nothing');
  await page.eval((base) => {
    const frame = document.createElement('iframe');
    frame.src = `${base}/`;
    document.body.append(frame);
    const script = document.createElement('script');
    script.src = `${base}/app/api.js`;
    script.type = 'module';
    document.body.append(script);
    return new Promise((done) => setTimeout(done, 500));
  }, base);
  check(page.complaints.length > 0, 'the browser says that it was refused');
  await page.close();
  // A name that resolves to this machine: refused whatever it resolves to.
  const rebound = await Browser.launch({ flags: ['--host-resolver-rules=MAP evil.example 127.0.0.1'] });
  try {
    const evil = await rebound.page();
    await evil.goto(`http://evil.example:${port}/#token=${token}`);
    await evil.waitForText('wrong_host');
    check(!(await evil.eval(() => document.querySelector('script'))), 'no script of the app came');
  } finally {
    await rebound.close();
  }
});

step('the node goes and comes back', async () => {
  const downloads = join(scratch, 'cut');
  mkdirSync(downloads);
  const page = await withToken({ downloads }, '#/files/Videos');
  await node(`hold ${5 << 20} /Videos/Concert.mkv`);
  await select(page, 'Concert.mkv');
  await page.press('d');
  await until('a download to be under way', async () =>
    (await api('GET', '/v1/downloads')).downloads.some((it) => it.state === 'sending' && it.sent_bytes >= 5 << 20),
  );
  await open(page, '#/health');
  await page.waitForText('Your drive');
  await node('stop');
  await page.click('.nav-bin');
  await page.waitForText('The node does not answer');
  await page.screenshot(join(shots, 'node-gone.png'));
  await page.resize(360, 740, { touch: true });
  await page.screenshot(join(shots, 'node-gone-360.png'));
  await page.resize(1280, 900);
  // Bytes that are on their way wait for it.
  await page.click('.nav-files');
  const file = join(scratch, 'waits.txt');
  writeFileSync(file, 'patience');
  await page.waitFor(() => document.querySelector('#upload-files'));
  await page.chooseFiles('#upload-files', [file]);
  await page.click('.nav-transfers');
  await page.waitForText('waits.txt');
  await node('start');
  await page.waitForText('The node is back');
  await until('the file', () => there('/waits.txt'));
  // The download ended with the node that sent it, and can be tried again.
  await page.waitForText('The node was restarted');
  same(
    readdirSync(downloads).filter((name) => name === 'Concert.mkv'),
    [],
    'no half file is left under its name',
  );
  await node('free /Videos/Concert.mkv');
  await page.click('[aria-label="Try again"]');
  await page.waitForText('12.0 MiB · downloaded');
  await page.click('.nav-files');
  await row(page, 'waits.txt');
  quiet(page, 'ERR_CONNECTION_REFUSED', 'ERR_CONNECTION_RESET', 'ERR_EMPTY_RESPONSE');
  clean(page, 'the node away');
  await page.close();
});

await import('./webapp.views.mjs');
await finish();
