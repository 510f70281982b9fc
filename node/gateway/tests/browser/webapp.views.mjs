// Every view of the web app at three widths, light and dark: looked at for what reaches beyond the screen,
// contrast and names, and kept as screenshots for people. In the end the drive is emptied.
import { join } from 'node:path';
import { same } from './chrome.mjs';
import {
  base,
  shots,
  api,
  browser,
  open,
  withToken,
  row,
  dialogGone,
  faint,
  unnamed,
  step,
  quiet,
  clean,
} from './webapp.kit.mjs';

const VIEWS = [
  ['files', '#/files', 'Documents'],
  ['folder', '#/files/Documents', 'Budget 2026.csv'],
  ['transfers', '#/transfers', 'Wedding.mp4'],
  ['shares', '#/shares', 'Recipes.txt'],
  ['bin', '#/bin', 'Blurred.bmp'],
  ['health', '#/health', 'Check everything'],
  ['credits', '#/credits', 'Balance'],
  ['node', '#/node', 'Traffic'],
];

step('screenshots', async () => {
  for (const [width, height] of [
    [360, 740],
    [768, 1024],
    [1280, 800],
  ]) {
    for (const dark of [false, true]) {
      const name = (view) => join(shots, `${view}-${width}${dark ? '-dark' : ''}.png`);
      const page = await withToken({ width, height, dark, touch: width < 500 });
      for (const [view, hash, text] of VIEWS) {
        await open(page, hash);
        await page.waitForText(text);
        await page.screenshot(name(view));
        same(await page.overflow(), [], `${view} at ${width} px reaches beyond the screen`);
        same(await faint(page), [], `${view} at ${width} px${dark ? ', dark' : ''}: contrast`);
        same(await unnamed(page), [], `${view} at ${width} px: names`);
        if (view !== 'credits') continue;
        // Tables do not have to be scrolled sideways.
        const wide = await page.eval(
          () =>
            [...document.querySelectorAll('.table-wrap')].filter((it) => it.scrollWidth > it.clientWidth + 1).length,
        );
        same(wide, 0, `tables of ${view} at ${width} px`);
        await page.eval(() => document.querySelector('.page').scrollTo(0, 330));
        await page.screenshot(name('credits-tables'));
      }
      await open(page, '#/files/Documents');
      await row(page, 'Letter.txt');
      await page.click(`${await row(page, 'Letter.txt')} .cell-check input`);
      await page.click(`${await row(page, 'Budget 2026.csv')} .cell-check input`);
      await page.waitForText('2 selected');
      same(await faint(page), [], `selection at ${width} px: contrast`);
      await page.screenshot(name('selection'));
      same(await page.overflow(), [], `a selection at ${width} px reaches beyond the screen`);
      await page.click('[aria-label="Clear selection"]');
      await page.click(`${await row(page, 'Letter.txt')} .cell-check input`);
      if (width < 640) {
        await page.click('.selection [aria-label="More"]');
        await page.click('[role=menuitem]', 'Details');
      } else {
        await page.click('[aria-label="Details"]');
      }
      await page.waitForText('Earlier versions');
      same(await faint(page), [], `details at ${width} px: contrast`);
      await page.screenshot(name('details'));
      await page.click('[aria-label="Close details"]');
      await page.click('.selection [aria-label="Share"]');
      await page.click('dialog button[type=submit]');
      await page.waitFor(() => document.querySelector('.share-result .qr'));
      await page.eval(() => new Promise((done) => setTimeout(done, 100)));
      same(await faint(page), [], `sharing at ${width} px: contrast`);
      same(await unnamed(page), [], `sharing at ${width} px: names`);
      await page.screenshot(name('share'));
      same(await page.overflow(), [], `sharing at ${width} px reaches beyond the screen`);
      await page.press('Escape');
      await dialogGone(page);
      await page.click('.selection [aria-label="Move"]');
      await page.waitFor(() => document.querySelectorAll('.tree [role=treeitem]').length > 4);
      await page.screenshot(name('move'));
      await page.press('Escape');
      await dialogGone(page);
      await open(page, '#/files/Photos/Summer%202026');
      await page.click(`${await row(page, 'IMG_1204.bmp')} .name`);
      await page.waitFor(() => document.querySelector('.picture')?.naturalWidth === 480);
      await page.screenshot(name('preview'));
      await page.press('Escape');
      await dialogGone(page);
      await open(page, '#/files/Hostile');
      await row(page, 'page.html');
      await page.screenshot(name('hostile'));
      same(await page.overflow(), [], `long names at ${width} px reach beyond the screen`);
      await open(page, '#/files/Nowhere');
      await page.waitForText('not there any more');
      quiet(page, '404');
      await page.screenshot(name('missing'));
      await open(page, '#/search?q=zzz');
      await page.waitForText('Nothing was found');
      if (width < 640) {
        await page.click('.nav-more');
        await page.waitFor(() => document.querySelector('.nav-health').checkVisibility());
        await page.screenshot(name('more'));
        await page.click('.nav-node');
        await page.waitForText('Traffic');
      }
      clean(page, `looking at ${width} px`);
      await page.close();
      const stranger = await browser.page({ width, height, dark, touch: width < 500 });
      await stranger.goto(`${base}/`);
      await stranger.waitForText('Open your drive');
      same(await faint(stranger), [], `the gate at ${width} px: contrast`);
      await stranger.screenshot(name('gate'));
      same(await stranger.overflow(), [], `the gate at ${width} px reaches beyond the screen`);
      await stranger.close();
    }
  }
});

step('an empty drive', async () => {
  for (const entry of (await api('GET', '/v1/files?path=/')).entries)
    await api('DELETE', `/v1/files?path=${encodeURIComponent(entry.path)}`);
  await api('POST', '/v1/bin/empty', {});
  for (const { id } of (await api('GET', '/v1/shares')).shares) await api('DELETE', `/v1/shares/${id}`);
  for (const { id } of (await api('GET', '/v1/uploads')).uploads) await api('DELETE', `/v1/uploads/${id}`);
  for (const [width, height, dark] of [
    [1280, 800, false],
    [360, 740, true],
  ]) {
    const page = await withToken({ width, height, dark, touch: width < 500 });
    for (const [view, text] of [
      ['files', 'Your drive is empty'],
      ['bin', 'The bin is empty'],
      ['shares', 'Nothing is shared'],
      ['transfers', 'Nothing is on its way'],
    ]) {
      await open(page, `#/${view}`);
      await page.waitForText(text);
      await page.screenshot(join(shots, `${view}-empty-${width}${dark ? '-dark' : ''}.png`));
      same(await faint(page), [], `${view}, empty: contrast`);
      same(await page.overflow(), [], `${view}, empty, at ${width} px reaches beyond the screen`);
    }
    clean(page, 'empty views');
    await page.close();
  }
});
