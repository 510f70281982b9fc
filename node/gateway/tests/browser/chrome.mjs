// Drives a real headless Chromium over the DevTools protocol, by the pipe on file descriptors 3 and 4
// that `--remote-debugging-pipe` gives: no port, no library.
//
// What is clicked and typed goes through the browser's own input events, so a page that only works for
// scripts fails here. Every wait has an end, and says what it waited for. Not here: what is tested.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How long a wait may take, milliseconds. Only a failing test comes near it. */
export const WAIT_MAX = Number(process.env.WAIT_MAX ?? 60_000);

const BINARIES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The browser's binary: CHROMIUM, or where Debian and others put it; undefined if there is none. */
export function findChromium() {
  const named = process.env.CHROMIUM;
  return named ? (existsSync(named) ? named : undefined) : BINARIES.find(existsSync);
}

/** Ends a test with a sentence. */
export function check(holds, sentence) {
  if (!holds) throw new Error(sentence);
}

/** Compares by JSON and shows both. */
export function same(actual, expected, sentence) {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  check(a === e, `${sentence}: ${a} instead of ${e}`);
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until the answer is truthy, and returns it. */
export async function until(what, ask, { timeout = WAIT_MAX, every = 30 } = {}) {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${timeout} ms in vain for ${what}`);
    await sleep(every);
  }
}

/** A running browser with a profile of its own, which is removed in the end. */
export class Browser {
  /** Starts one. `flags` are added to the command line. */
  static async launch({ flags = [] } = {}) {
    const binary = findChromium();
    check(binary, 'no Chromium on this machine');
    const profile = mkdtempSync(join(tmpdir(), 'commonhold-chromium-'));
    const args = [
      '--headless=new',
      '--remote-debugging-pipe',
      `--user-data-dir=${profile}`,
      '--no-first-run',
      '--no-default-browser-check',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--mute-audio',
      '--autoplay-policy=no-user-gesture-required',
      '--font-render-hinting=none',
      '--force-color-profile=srgb',
      // Chromium's sandbox refuses to run as root, as which containers of tests run.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      ...flags,
      'about:blank',
    ];
    const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
    const browser = new Browser(child, profile);
    await browser.send('Browser.getVersion');
    return browser;
  }

  constructor(child, profile) {
    this.child = child;
    this.profile = profile;
    this.next = 1;
    this.waiting = new Map();
    this.listeners = new Set();
    this.ended = false;
    this.log = '';
    child.stderr.on('data', (part) => (this.log = (this.log + part).slice(-4000)));
    let rest = [];
    child.stdio[4].on('data', (part) => {
      let start = 0;
      for (let end; (end = part.indexOf(0, start)) >= 0; start = end + 1) {
        rest.push(part.subarray(start, end));
        this.receive(JSON.parse(Buffer.concat(rest).toString()));
        rest = [];
      }
      rest.push(part.subarray(start));
    });
    child.on('exit', (code) => {
      this.ended = true;
      for (const { fail } of this.waiting.values()) fail(new Error(`the browser ended (${code}): ${this.log}`));
      this.waiting.clear();
    });
    child.stdio[3].on('error', () => {});
  }

  receive(message) {
    if (message.id === undefined) {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const { done, fail, method } = this.waiting.get(message.id) ?? {};
    this.waiting.delete(message.id);
    if (message.error) fail?.(new Error(`${method}: ${message.error.message}`));
    else done?.(message.result);
  }

  /** Calls a method of the DevTools protocol. */
  send(method, params = {}, sessionId = undefined) {
    if (this.ended) return Promise.reject(new Error(`the browser has ended: ${this.log}`));
    const id = this.next++;
    this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((done, fail) => this.waiting.set(id, { done, fail, method }));
  }

  /**
   * Opens a tab. Of its own context (cookies, storage, service workers, downloads) unless `context` is
   * that of another page.
   */
  async page({ width = 1280, height = 900, dark = false, downloads = undefined, context = undefined, touch = false } = {}) {
    const browserContextId =
      context ?? (await this.send('Target.createBrowserContext', { disposeOnDetach: false })).browserContextId;
    if (downloads) {
      await this.send('Browser.setDownloadBehavior', {
        behavior: 'allow', browserContextId, downloadPath: downloads, eventsEnabled: true,
      });
    }
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const page = await this.attach({ targetId, browserContextId });
    await page.resize(width, height, { touch });
    await page.scheme(dark);
    return page;
  }

  /** A tab that is there already, as `Target.getTargets` lists it. */
  async attach({ targetId, browserContextId }) {
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, { targetId, sessionId, context: browserContextId });
    await Promise.all(['Page', 'Runtime', 'Network', 'Log', 'DOM'].map((domain) => page.send(`${domain}.enable`)));
    return page;
  }

  /** Process ids and types: `browser`, `renderer`, … */
  async processes() {
    return (await this.send('SystemInfo.getProcessInfo')).processInfo;
  }

  /** Ends it and removes its profile. */
  async close() {
    if (!this.ended) {
      const gone = new Promise((done) => this.child.once('exit', done));
      await this.send('Browser.close').catch(() => {});
      await Promise.race([gone, new Promise((done) => setTimeout(done, 5000).unref())]);
      if (!this.ended) this.child.kill('SIGKILL');
    }
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Keys that are no characters. */
const KEYS = {
  Enter: { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
  Tab: { key: 'Tab', code: 'Tab', windowsVirtualKeyCode: 9 },
  Escape: { key: 'Escape', code: 'Escape', windowsVirtualKeyCode: 27 },
  Space: { key: ' ', code: 'Space', windowsVirtualKeyCode: 32, text: ' ' },
  Backspace: { key: 'Backspace', code: 'Backspace', windowsVirtualKeyCode: 8 },
  Delete: { key: 'Delete', code: 'Delete', windowsVirtualKeyCode: 46 },
  ArrowLeft: { key: 'ArrowLeft', code: 'ArrowLeft', windowsVirtualKeyCode: 37 },
  ArrowUp: { key: 'ArrowUp', code: 'ArrowUp', windowsVirtualKeyCode: 38 },
  ArrowRight: { key: 'ArrowRight', code: 'ArrowRight', windowsVirtualKeyCode: 39 },
  ArrowDown: { key: 'ArrowDown', code: 'ArrowDown', windowsVirtualKeyCode: 40 },
  Home: { key: 'Home', code: 'Home', windowsVirtualKeyCode: 36 },
  End: { key: 'End', code: 'End', windowsVirtualKeyCode: 35 },
  F2: { key: 'F2', code: 'F2', windowsVirtualKeyCode: 113 },
};
const MODIFIERS = { Alt: 1, Control: 2, Meta: 4, Shift: 8 };

/** One tab. */
export class Page {
  constructor(browser, { targetId, sessionId, context }) {
    this.browser = browser;
    this.targetId = targetId;
    this.sessionId = sessionId;
    this.context = context;
    /** What the page complained about: exceptions, console errors, CSP violations, failed loads. */
    this.complaints = [];
    /** Every request that left: { url, method, headers }. */
    this.requests = [];
    /** Downloads by id: { name, state, path }. */
    this.downloads = new Map();
    this.hear = (message) => this.receive(message);
    browser.listeners.add(this.hear);
  }

  receive({ method, params, sessionId }) {
    if (method === 'Browser.downloadWillBegin') {
      this.downloads.set(params.guid, { name: params.suggestedFilename, url: params.url, state: 'inProgress' });
    } else if (method === 'Browser.downloadProgress') {
      const download = this.downloads.get(params.guid);
      if (download) Object.assign(download, { state: params.state, received: params.receivedBytes, path: params.filePath });
    }
    if (sessionId !== this.sessionId) return;
    if (method === 'Runtime.exceptionThrown') {
      const { exceptionDetails: details } = params;
      this.complaints.push(details.exception?.description ?? details.text);
    } else if (method === 'Runtime.consoleAPICalled' && params.type === 'error') {
      this.complaints.push(params.args.map((arg) => arg.value ?? arg.description).join(' '));
    } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
      this.complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`.trim());
    } else if (method === 'Network.requestWillBeSent') {
      const { url, method: verb, headers } = params.request;
      this.requests.push({ url, method: verb, headers });
    } else if (method === 'Network.requestWillBeSentExtraInfo') {
      this.requests.push({ url: '', method: '', headers: params.headers });
    }
  }

  send(method, params) {
    return this.browser.send(method, params, this.sessionId);
  }

  /** Viewport in CSS pixels. */
  async resize(width, height, { touch = false } = {}) {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: touch });
    await this.send('Emulation.setTouchEmulationEnabled', { enabled: touch });
  }

  /** Light or dark, as the system would say. */
  async scheme(dark) {
    await this.send('Emulation.setEmulatedMedia', {
      features: [
        { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' },
        { name: 'prefers-reduced-motion', value: 'reduce' },
      ],
    });
  }

  /** Goes to an address and waits until it is loaded. */
  async goto(url) {
    let loaded = false;
    const listener = ({ method, sessionId }) => (loaded ||= method === 'Page.loadEventFired' && sessionId === this.sessionId);
    this.browser.listeners.add(listener);
    try {
      const went = await this.send('Page.navigate', { url });
      check(!went.errorText, `${url}: ${went.errorText}`);
      // Another fragment of the same page loads nothing.
      if (went.loaderId) await until(`${url} to load`, async () => loaded);
    } finally {
      this.browser.listeners.delete(listener);
    }
  }

  /** Evaluates an expression, or a function with arguments, in the page; waits for its promise. */
  async eval(what, ...args) {
    const expression = typeof what === 'function' ? `(${what})(...${JSON.stringify(args)})` : what;
    const answer = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (answer.exceptionDetails) {
      const { exceptionDetails: details } = answer;
      throw new Error(`in the page: ${details.exception?.description ?? details.text}\n${expression.slice(0, 200)}`);
    }
    return answer.result.value;
  }

  /** Waits until an expression or function holds in the page. */
  async waitFor(what, ...args) {
    const asked = typeof what === 'function' ? what.toString() : what;
    try {
      return await until(asked.slice(0, 300), () => this.eval(what, ...args).catch(() => undefined));
    } catch (error) {
      const text = await this.eval(() => document.body?.innerText.slice(0, 1500)).catch(() => '');
      throw new Error(`${error.message}\nargs: ${JSON.stringify(args)}\ncomplaints: ${this.complaints.join('\n')}\nThe page says:\n${text}`);
    }
  }

  /** Waits until the page shows a text. */
  waitForText(text) {
    return this.waitFor((text) => document.body.innerText.includes(text), text);
  }

  /**
   * Waits for an element that can be seen and hit, scrolls it in, and says where its middle is, once that
   * stays the same: a click goes to what the last frame shows there.
   */
  async middle(selector, text = undefined) {
    return this.waitFor(async (selector, text) => {
      const seen = (element) => element.checkVisibility() && (!text || element.innerText.trim().includes(text));
      const element = [...document.querySelectorAll(selector)].find(seen);
      if (!element || element.disabled) return null;
      element.scrollIntoView({ block: 'center', behavior: 'instant' });
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      const box = () => {
        const { x, y, width, height } = element.getBoundingClientRect();
        return width && height ? { x: x + width / 2, y: y + height / 2 } : null;
      };
      await frame();
      const before = box();
      await frame();
      await frame();
      const at = box();
      if (!at || at.x !== before?.x || at.y !== before?.y) return null;
      const hit = document.elementFromPoint(at.x, at.y);
      return hit && (element.contains(hit) || hit.contains(element)) ? at : null;
    }, selector, text);
  }

  /** Clicks with the mouse on an element; with `text`, on the first that contains it. */
  async click(selector, text = undefined, { count = 1, modifiers = [], button = 'left' } = {}) {
    const at = await this.middle(selector, text);
    const how = { ...at, button, modifiers: sum(modifiers) };
    await this.send('Input.dispatchMouseEvent', { ...how, type: 'mouseMoved', button: 'none' });
    for (let clickCount = 1; clickCount <= count; clickCount++) {
      await this.send('Input.dispatchMouseEvent', { ...how, type: 'mousePressed', clickCount });
      await this.send('Input.dispatchMouseEvent', { ...how, type: 'mouseReleased', clickCount });
    }
  }

  /** Types into whatever has the focus. */
  async type(text) {
    await this.send('Input.insertText', { text });
  }

  /** Clicks on a field, empties it, and types. */
  async fill(selector, text) {
    await this.click(selector);
    await this.eval((selector) => document.querySelector(selector).select?.(), selector);
    await this.type(text);
  }

  /** Presses a key: one of KEYS or a character, with modifiers before it: `Control+a`. */
  async press(combination) {
    const parts = combination.split('+');
    const name = parts.pop() || '+';
    const modifiers = sum(parts);
    const plain = { key: name, text: name, code: /^[a-z]$/i.test(name) ? `Key${name.toUpperCase()}` : '', windowsVirtualKeyCode: name.toUpperCase().charCodeAt(0) };
    const { text, ...key } = KEYS[name] ?? plain;
    const typed = text !== undefined && !(modifiers & ~MODIFIERS.Shift);
    await this.send('Input.dispatchKeyEvent', { type: typed ? 'keyDown' : 'rawKeyDown', ...key, ...(typed ? { text } : {}), modifiers });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...key, modifiers });
  }

  /** Gives files to an `<input type=file>`, as a person would in its dialog. */
  async chooseFiles(selector, files) {
    const { root } = await this.send('DOM.getDocument');
    const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector });
    check(nodeId, `no ${selector}`);
    await this.send('DOM.setFileInputFiles', { nodeId, files });
  }

  /** Drops files from outside of the browser on an element. */
  async dropFiles(selector, files) {
    const at = await this.middle(selector);
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await this.send('Input.dispatchDragEvent', { type, ...at, data });
    }
  }

  /** Writes what is seen, or with `full` the whole page, into a PNG file. */
  async screenshot(path, { full = false } = {}) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: full });
    writeFileSync(path, Buffer.from(data, 'base64'));
  }

  /** Waits for the next download that is not in `known` (ids) to end, and returns it. */
  async download(known = new Set(), { timeout = WAIT_MAX } = {}) {
    const ended = () => [...this.downloads].find(([id, it]) => !known.has(id) && it.state !== 'inProgress');
    const [id, it] = await until('a download', async () => ended(), { timeout }).catch(async (error) => {
      const text = await this.eval(() => document.body?.innerText.slice(-1500)).catch(() => '');
      throw new Error(`${error.message}; there are ${JSON.stringify([...this.downloads.values()])}\nThe page says:\n${text}`);
    });
    return { id, ...it };
  }

  /** What reaches beyond the right edge of the viewport, as a person would have to scroll for it. */
  overflow() {
    return this.eval(() => {
      const width = document.documentElement.clientWidth;
      return document.documentElement.scrollWidth > width
        ? [...document.querySelectorAll('body *')]
            .filter((it) => it.checkVisibility() && it.getBoundingClientRect().right > width + 1)
            .slice(0, 5)
            .map((it) => `${it.tagName}.${it.className}`)
        : [];
    });
  }

  /** Renderers' ids of processes and their peak and present memory (kB), by /proc. */
  async memory() {
    const renderers = (await this.browser.processes()).filter(({ type }) => type === 'renderer');
    const number = (text, field) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    return renderers.map(({ id }) => {
      const status = readFileSync(`/proc/${id}/status`, 'utf8');
      return { pid: id, peak: number(status, 'VmHWM'), now: number(status, 'VmRSS'), anonymous: number(status, 'RssAnon') };
    });
  }

  async close() {
    this.browser.listeners.delete(this.hear);
    await this.send('Page.close').catch(() => {});
  }
}

function sum(names) {
  return names.reduce((all, name) => all | (MODIFIERS[name] ?? 0), 0);
}
