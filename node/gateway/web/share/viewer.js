// One file: what it is, a preview where that is safe, and the button that saves it.

import { wordsFor } from './errors.js';
import { KIND_WORDS } from './kinds.js';
import { address, call, forget, listen, streaming } from './session.js';
import { download } from './transfers.js';
import { button, el, icon, moment, size } from './ui.js';

/** Largest picture that is shown, and largest film or sound that is shown without streaming, bytes. */
const WHOLE_MAX = 96 * 1_048_576;
/** As much of a text is shown, bytes. */
const TEXT_MAX = 256 * 1024;

/** A view of a file; `close` ends what it holds. */
export class Viewer {
  constructor(item) {
    this.item = item;
    this.endings = [];
    this.stage = el('div', { class: 'stage' });
    const facts = [KIND_WORDS[item.kind], size(item.bytes), moment(item.modified)].filter(Boolean).join(' · ');
    this.heading = el('h1', { class: 'file-name', text: item.name, tabindex: '-1' });
    this.element = el('article', { class: 'card file' },
      this.stage,
      el('div', { class: 'file-about' },
        el('div', { class: 'file-words' }, this.heading, el('p', { class: 'hint', text: facts })),
        button('Download', { icon: 'download', kind: 'primary', on: () => download(item) }),
      ),
    );
    this.preview().catch((error) => this.failed(error));
  }

  close() {
    this.closed = true;
    for (const end of this.endings) end();
  }

  /** A line in the place of a preview. */
  say(sentence, picture = this.item.kind) {
    this.stage.className = 'stage bare';
    this.stage.replaceChildren(icon(picture), el('p', { class: 'hint', text: sentence }));
  }

  failed(error) {
    const { title, sentence } = wordsFor(error);
    this.stage.className = 'stage bare';
    this.stage.replaceChildren(el('div', { class: 'note danger', role: 'alert' }, icon('warn'), el('div', {}, el('p', { class: 'strong', text: title }), el('p', { text: sentence }))));
  }

  async preview() {
    const { kind, bytes } = this.item;
    this.say('Opening…');
    if (bytes === 0) return this.say('This file is empty.');
    if (kind === 'image' && bytes <= WHOLE_MAX) return this.image();
    if (kind === 'video' || kind === 'audio') return this.media();
    if (kind === 'text') return this.text();
    if (kind === 'active') return this.say('Files of this kind can hold code, so they are not shown here. Download it to look at it.', 'active');
    if (kind === 'image') return this.say('This picture is too large to be shown here. Download it to look at it.');
    return this.say('There is no preview for this kind of file.');
  }

  /** The whole file as the address of a Blob of this type. */
  async blobUrl() {
    const { bytes, type } = await call('whole', { node: this.item.node });
    const url = URL.createObjectURL(new Blob([bytes], { type }));
    this.endings.push(() => URL.revokeObjectURL(url));
    return url;
  }

  place(element) {
    if (this.closed) return;
    this.stage.className = `stage ${this.item.kind}`;
    this.stage.replaceChildren(element);
  }

  async image() {
    const image = el('img', { src: await this.blobUrl(), alt: this.item.name });
    image.addEventListener('error', () => this.say('This picture cannot be shown. Download it to look at it.'));
    this.place(image);
  }

  async media() {
    const { kind, node, name, bytes } = this.item;
    let src;
    if (await streaming) {
      const { token, url } = address('streamMedia', { node }, name);
      // A request may still be on its way when the view is left.
      this.endings.push(() => setTimeout(() => forget(token), 10_000));
      src = url;
    } else if (bytes <= WHOLE_MAX) {
      src = await this.blobUrl();
    } else {
      return this.say('This browser cannot play it while it is decrypted. Download it, or use an ordinary window.');
    }
    const player = el(kind, { controls: true, preload: 'metadata', playsinline: true, 'aria-label': name });
    let told = false;
    this.endings.push(listen((report) => {
      if (report.media !== node) return;
      told = true;
      this.failed(report.error);
    }));
    // What the worker refused is told in its words; else the browser does not know the format.
    player.addEventListener('error', () => setTimeout(() => told || this.say('This browser cannot play it. Download it to play it with another program.'), 200));
    player.src = src;
    this.endings.push(() => {
      player.removeAttribute('src');
      player.load();
    });
    this.place(player);
    return undefined;
  }

  async text() {
    const { bytes } = await call('whole', { node: this.item.node, max: TEXT_MAX, cut: true });
    const cut = this.item.bytes > TEXT_MAX;
    let text;
    try {
      // A character may be cut at the end of the part.
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut });
    } catch {
      return this.say('This file has no text that can be shown.');
    }
    if (text.includes('\0')) return this.say('This file has no text that can be shown.');
    this.place(el('pre', { tabindex: '0', 'aria-label': this.item.name, text }));
    if (cut) this.stage.append(el('p', { class: 'hint cut', text: `The first ${size(TEXT_MAX)} are shown.` }));
    return undefined;
  }
}
