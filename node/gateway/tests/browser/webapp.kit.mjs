// What the steps of the web app's test share: a browser, the API beside it, lists and dialogs of the app,
// and how steps are run. Arguments: folder for screenshots, scratch folder. COMMONHOLD_WEB_LINK is the link to
// the app: it has the token, which stands on no command line.
import { createInterface } from 'node:readline';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, same, until } from './chrome.mjs';

export const [base, token] = process.env.COMMONHOLD_WEB_LINK.split('/#token=');
export const [shots, scratch] = process.argv.slice(2);
const wanted = process.env.COMMONHOLD_WEB_STEPS?.split(',');
const answers = createInterface({ input: process.stdin });

/** Has the test's other half stop or start the node. */
export function node(what) {
  const answered = new Promise((done) => answers.once('line', done));
  console.log(`@${what}`);
  return answered;
}

/** Calls the API from here, as another program would. */
export async function api(method, path, json) {
  const headers = { authorization: `Bearer ${token}`, ...(json ? { 'content-type': 'application/json' } : {}) };
  const answer = await fetch(`${base}${path}`, { method, headers, body: json && JSON.stringify(json) });
  const text = await answer.text();
  return { status: answer.status, text, ...(text.startsWith('{') ? JSON.parse(text) : {}) };
}
export const info = (path) => api('GET', `/v1/files/info?path=${encodeURIComponent(path)}`);
export const there = async (path) => (await info(path)).status === 200;
export const content = async (path) => (await api('GET', `/v1/file?path=${encodeURIComponent(path)}`)).text;

export const browser = await Browser.launch();
export const open = async (page, hash) => {
  await page.goto(`${base}/${hash}`);
};
let latest;
export const withToken = async (options, hash = '#/files') => {
  const page = await browser.page(options);
  latest = page;
  await page.goto(process.env.COMMONHOLD_WEB_LINK);
  await page.waitFor(() => location.hash === '#/files' && document.querySelector('.grid'));
  if (hash !== '#/files') await open(page, hash);
  return page;
};
/** Waits for a row of the list, and answers its index. */
export const row = (page, name) =>
  page.waitFor((name) => {
    const rows = [...document.querySelectorAll('.grid-body .grid-row')];
    const found = rows.find((it) => it.querySelector('.name')?.textContent === name);
    return found ? `[data-at="${found.dataset.at}"]` : null;
  }, name);
export const gone = (page, name) =>
  page.waitFor(
    (name) => ![...document.querySelectorAll('.grid-body .name')].some((it) => it.textContent === name),
    name,
  );
/** Selects the row of this name with the mouse, not on its name, which would open it. */
export const select = async (page, name, modifiers = []) =>
  page.click(`${await row(page, name)} .cell-size`, undefined, { modifiers });
export const openRow = async (page, name) => page.click(`${await row(page, name)} .name`);
export const dialogGone = (page) => page.waitFor(() => !document.querySelector('dialog[open]'));
export const focusList = (page) => page.eval(() => document.querySelector('.grid').focus());

/** Drags what is at one selector onto another, as a hand would. */
export async function dragOnto(page, from, to) {
  const [start, end] = [await page.middle(from), await page.middle(to)];
  let caught;
  const hear = ({ method, sessionId, params }) => {
    if (method === 'Input.dragIntercepted' && sessionId === page.sessionId) caught = params.data;
  };
  browser.listeners.add(hear);
  try {
    await page.send('Input.setInterceptDrags', { enabled: true });
    await page.send('Input.dispatchMouseEvent', { type: 'mousePressed', ...start, button: 'left', clickCount: 1 });
    await page.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x: start.x, y: start.y + 15, button: 'left' });
    await until('the drag to begin', async () => caught);
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await page.send('Input.dispatchDragEvent', { type, ...end, data: caught });
    }
    await page.send('Input.dispatchMouseEvent', { type: 'mouseReleased', ...end, button: 'left', clickCount: 1 });
  } finally {
    browser.listeners.delete(hear);
    await page.send('Input.setInterceptDrags', { enabled: false });
  }
}

/** Text whose contrast with what is behind it is too low. */
export const faint = (page) =>
  page.eval(() => {
    const parse = (text) => {
      const numbers = text.match(/[\d.]+/g).map(Number);
      if (text.startsWith('color(')) return [numbers[0] * 255, numbers[1] * 255, numbers[2] * 255, numbers[3] ?? 1];
      return [numbers[0], numbers[1], numbers[2], numbers[3] ?? 1];
    };
    const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
    const light = (c) =>
      c
        .map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
      const layers = [];
      for (let it = element; it; it = it.parentElement) layers.unshift(parse(getComputedStyle(it).backgroundColor));
      return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
    };
    const bad = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (
        !walker.currentNode.textContent.trim() ||
        !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
      )
        continue;
      if (element.closest('[disabled], [aria-disabled=true], .sr-only')) continue;
      const style = getComputedStyle(element);
      const under = ground(element);
      const [a, b] = [light(over(parse(style.color), under)), light(under)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5)
        bad.push(`${walker.currentNode.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)} (${style.color})`);
    }
    return bad;
  });
/** Controls without a name for those who cannot see them, and ids that stand twice. */
export const unnamed = (page) =>
  page.eval(() => {
    const bad = [];
    for (const it of document.querySelectorAll(
      'button, a, input:not([type=hidden]), select, [role=grid], dialog, img',
    )) {
      if (!it.checkVisibility() || it.getAttribute('aria-hidden') === 'true') continue;
      const label =
        it.getAttribute('aria-label') ||
        it.getAttribute('alt') ||
        it.labels?.[0]?.textContent ||
        document.getElementById(it.getAttribute('aria-labelledby'))?.textContent ||
        (it.matches('button, a') ? it.textContent : '');
      if (!label?.trim()) bad.push(it.outerHTML.slice(0, 120));
    }
    const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);
    for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) bad.push(`id ${id} twice`);
    return bad;
  });

let failed = 0;
const steps = [];
export const step = (name, run) => steps.push([name, run]);

/** What the browser said about failures that a step caused on purpose is struck out. */
export function quiet(page, ...allowed) {
  page.complaints = page.complaints.filter((it) => !allowed.some((part) => it.includes(part)));
}
export function clean(page, when) {
  same(page.complaints, [], `${when}: errors or violations of the policy`);
}

/** Runs the steps, says how each went, and ends the process. */
export async function finish() {
  try {
    for (const [name, run] of steps) {
      if (wanted && !wanted.some((part) => name.includes(part))) continue;
      const begun = Date.now();
      try {
        await run();
        console.log(`ok: ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
      } catch (error) {
        failed += 1;
        await latest?.screenshot(join(shots, `FAILED-${name.replaceAll(/\W+/g, '-')}.png`)).catch(() => {});
        console.log(`FAILED: ${name}: ${error.message}`);
      }
    }
  } finally {
    await browser.close();
    answers.close();
  }
  console.log(`${readdirSync(shots).length} screenshots in ${shots}`);
  process.exit(failed ? 1 : 0);
}
