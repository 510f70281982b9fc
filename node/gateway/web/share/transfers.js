// Downloads: how a browser is brought to save what the worker decrypts, and the list that shows how far
// they are.
//
// In the order of preference: a stream through the service worker, which the browser saves like any other
// download, in bounded memory; a file that the visitor chooses; for small ones, a Blob.

import { wordsFor } from './errors.js';
import { address, call, forget, listen, stayAwake, streaming } from './session.js';
import { announce, button, duration, el, icon, size } from './ui.js';

/** How long a download that is complete stays on the list, milliseconds. */
const DONE_SHOWN = 8000;

const panel = document.getElementById('transfers');
const transfers = new Map();
let nextTransfer = 1;
let asleep;
/** While a download begins the browser believes that the page is left. */
let beginning = 0;

addEventListener('beforeunload', (event) => {
  if (beginning === 0 && [...transfers.values()].some(({ state }) => state === 'running')) event.preventDefault();
});

listen((report) => {
  const transfer = transfers.get(report.transfer);
  if (transfer) transfer.report(report);
});

/** One line of the list. */
export class Transfer {
  /** @param {{ name: string, total?: number, picture: string, verb: string }} about */
  constructor({ name, total, picture, verb, list = panel }) {
    Object.assign(this, { id: nextTransfer++, name, total, verb, state: 'running', begun: performance.now(), done: 0, waiting: [] });
    this.bar = el('span');
    this.meter = el('div', { class: 'bar', role: 'progressbar', 'aria-label': `${verb} ${name}`, 'aria-valuemin': 0, 'aria-valuemax': 100 }, this.bar);
    this.words = el('p', { class: 'hint', text: 'Waiting…' });
    this.stop = button('', { icon: 'close', kind: 'quiet icon', 'aria-label': `Cancel ${name}`, on: () => this.close() });
    this.element = el('div', { class: 'transfer' },
      icon(picture),
      el('div', { class: 'transfer-body' }, el('p', { class: 'transfer-name', text: name, title: name }), this.meter, this.words),
      this.stop,
    );
    transfers.set(this.id, this);
    list.append(this.element);
    list.hidden = false;
    asleep ??= stayAwake();
  }

  /** Cancels it, or takes it off the list. */
  close() {
    if (this.state === 'running') {
      call('cancel', { transfer: this.id }).catch(() => {});
      this.report({ state: 'cancelled', done: this.done });
      return;
    }
    if (!this.element.isConnected) return;
    this.element.remove();
    transfers.delete(this.id);
    if (!panel.querySelector('.transfer')) panel.hidden = true;
  }

  report({ done = this.done, state, sealing, error }) {
    if (this.state !== 'running') return;
    this.done = done;
    if (state === 'started') this.waiting.forEach((go) => go(true));
    if (state === 'done' || state === 'failed' || state === 'cancelled') this.end(state, error);
    else if (sealing && done === 0) this.words.textContent = 'Encrypting…';
    else this.progress();
  }

  progress() {
    const seconds = (performance.now() - this.begun) / 1000;
    const rate = this.done / Math.max(seconds, 0.5);
    const share = this.total ? Math.min(1, this.done / this.total) : undefined;
    if (share === undefined) {
      this.meter.classList.add('endless');
      this.meter.removeAttribute('aria-valuenow');
    } else {
      this.bar.style.width = `${share * 100}%`;
      this.meter.setAttribute('aria-valuenow', Math.round(share * 100));
    }
    const left = share === undefined || rate === 0 ? '' : ` · ${duration((this.total - this.done) / rate)} left`;
    const of = this.total ? `${size(this.done)} of ${size(this.total)}` : size(this.done);
    this.words.textContent = `${of} · ${size(Math.round(rate))}/s${left}`;
  }

  end(state, error) {
    this.state = state;
    this.waiting.forEach((go) => go(false));
    this.element.classList.add(state);
    this.meter.classList.remove('endless');
    this.stop.setAttribute('aria-label', `Remove ${this.name} from the list`);
    if (state === 'done') {
      // The browser has a list of its own; what failed stays until it was seen.
      if (this.element.parentElement === panel) setTimeout(() => this.close(), DONE_SHOWN);
      this.bar.style.width = '100%';
      this.meter.setAttribute('aria-valuenow', 100);
      this.words.textContent = `${this.verb === 'Sending' ? 'Sent' : 'Done'} · ${size(this.total ?? this.done)}`;
      announce(`${this.name}: ${this.verb === 'Sending' ? 'sent' : 'downloaded'}.`);
    } else if (state === 'cancelled') {
      this.words.textContent = 'Cancelled';
    } else {
      const { title, sentence, said } = wordsFor(error ?? {});
      this.words.textContent = `${title}. ${sentence.replace(/ (Open|Else|If it happens)[^.]*:$/, '').replace(/; else open[^.]*:$/, '.')}${said ? ` (${said})` : ''}`;
      announce(`${this.name}: ${title}.`);
    }
    if (![...transfers.values()].some((it) => it.state === 'running')) {
      asleep?.();
      asleep = undefined;
    }
  }

  /** Whether it has begun; false when it failed first, or after a time. */
  started(ms) {
    return new Promise((done) => {
      this.waiting.push(done);
      setTimeout(() => done(false), ms);
    });
  }
}

/** Downloads a file, or a folder as a zip archive. */
export async function download(item) {
  const name = item.folder ? `${item.name}.zip` : item.name;
  const transfer = new Transfer({ name, total: item.folder ? undefined : item.bytes, picture: item.folder ? 'archive' : item.kind, verb: 'Downloading' });
  const args = { node: item.node, transfer: transfer.id };
  try {
    if (await streaming) return await throughBrowser(transfer, args, name);
    if (globalThis.showSaveFilePicker) {
      const handle = await showSaveFilePicker({ suggestedName: name });
      return await call('save', { ...args, handle });
    }
    const blob = await call('collect', args);
    const url = URL.createObjectURL(blob);
    el('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    // The visitor closed the dialog; all else the worker has reported.
    if (error?.name === 'AbortError') transfer.report({ state: 'cancelled' });
    else transfer.report({ state: 'failed', error });
  }
  return undefined;
}

async function throughBrowser(transfer, args, name) {
  const { token, url } = address('streamDownload', args, name);
  beginning++;
  try {
    el('a', { href: url }).click();
    await transfer.started(120_000);
    // A moment later the browser has understood that it is a download.
    await new Promise((done) => setTimeout(done, 300));
  } finally {
    beginning--;
    forget(token);
  }
}
