// A folder: its entries, a screenful at a time however many there are.

import { wordsFor } from './errors.js';
import { call } from './session.js';
import { download } from './transfers.js';
import { announce, button, counted, day, el, icon, size } from './ui.js';

/** Folders up to so many entries are read whole, and sorted as people expect: folders first, 2 before 10. */
const SORTED_MAX = 2000;
/** Entries that are added at a time. */
const STEP = 200;

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** The list of one folder; `open` is told which entry was chosen. */
export class Listing {
  constructor(item, open) {
    this.item = item;
    this.open = open;
    this.rest = [];
    /** Entries that are shown, in their order. */
    this.shown = [];
    this.list = el('ul', { class: 'rows', role: 'list', 'aria-label': item.name, on: { keydown: (event) => this.key(event) } });
    this.more = el('div', { class: 'more' });
    this.heading = el('h1', { text: item.name, tabindex: '-1' });
    const sums = [counted(item.entries, 'item'), item.files !== item.entries && item.files > 0 && `${counted(item.files, 'file')} in all`, size(item.bytes)];
    this.element = el('section', { class: 'folder' },
      el('div', { class: 'folder-about' },
        el('div', { class: 'file-words' }, this.heading, el('p', { class: 'hint', text: sums.filter(Boolean).join(' · ') })),
        item.entries > 0 && button('Download all', { icon: 'download', kind: 'primary', title: 'As a zip archive', on: () => download(item) }),
      ),
      el('div', { class: 'card list' }, this.list, this.more),
    );
    this.watch = new IntersectionObserver((seen) => seen.some((it) => it.isIntersecting) && this.step());
    this.load();
  }

  close() {
    this.watch.disconnect();
  }

  /** The files that are known of, in the order in which they are shown. */
  files() {
    return [...this.shown, ...this.rest].filter(({ folder }) => !folder);
  }

  async load() {
    this.rest = [];
    this.shown = [];
    this.list.replaceChildren();
    this.more.replaceChildren(el('p', { class: 'hint loading', text: 'Opening…' }));
    this.unread = true;
    this.again = true;
    if (this.item.entries <= SORTED_MAX) {
      try {
        // The number is only the writer's word.
        for (let count = 0; this.unread && count <= SORTED_MAX; count = this.rest.length) await this.read(SORTED_MAX);
        if (!this.unread) this.rest.sort((a, b) => b.folder - a.folder || collator.compare(a.name, b.name));
      } catch (error) {
        this.failed(error);
        return;
      }
    }
    await this.step();
  }

  async read(limit) {
    const { entries, more } = await call('list', { node: this.item.node, limit, again: this.again });
    this.again = false;
    this.unread = more;
    this.rest.push(...entries);
  }

  /** Shows the next entries. */
  async step() {
    if (this.stepping) return;
    this.stepping = true;
    this.watch.disconnect();
    try {
      if (this.rest.length < STEP && this.unread) await this.read(STEP);
      const next = this.rest.splice(0, STEP);
      this.shown.push(...next);
      this.list.append(...next.map((entry) => this.row(entry)));
      this.end();
    } catch (error) {
      this.failed(error);
    } finally {
      this.stepping = false;
    }
  }

  end() {
    const shown = this.list.childElementCount;
    if (shown === 0) {
      this.more.replaceChildren(el('div', { class: 'empty' }, icon('folder'), el('p', { text: 'This folder is empty.' })));
    } else if (this.rest.length > 0 || this.unread) {
      const next = button('Show more', { on: () => this.step() });
      this.more.replaceChildren(el('p', { class: 'hint', text: `${shown.toLocaleString('en')} shown` }), next);
      this.watch.observe(next);
    } else {
      this.more.replaceChildren();
      announce(`${this.item.name}: ${counted(shown, 'item')}.`);
    }
  }

  failed(error) {
    // What is not known to be whole is not shown as if it were.
    this.list.replaceChildren();
    const { title, sentence } = wordsFor(error);
    this.more.replaceChildren(
      el('div', { class: 'note danger', role: 'alert' }, icon('warn'), el('div', {}, el('p', { class: 'strong', text: title }), el('p', { text: sentence }))),
      button('Try again', { on: () => this.load() }),
    );
  }

  row(entry) {
    const about = entry.folder ? counted(entry.entries, 'item') : size(entry.bytes);
    return el('li', { class: 'row' },
      icon(entry.folder ? 'folder' : entry.kind, entry.folder ? 'is-folder' : ''),
      el('button', { type: 'button', class: 'row-name', text: entry.name, title: entry.name, on: { click: () => this.open(entry) } }),
      el('span', { class: 'row-about' }, el('span', { text: about }), el('span', { text: day(entry.modified) })),
      button('', { icon: 'download', kind: 'quiet icon', 'aria-label': `Download ${entry.name}`, title: entry.folder ? 'Download as a zip archive' : 'Download', on: () => download(entry) }),
    );
  }

  /** Arrow keys go from name to name. */
  key(event) {
    const names = [...this.list.querySelectorAll('.row-name')];
    const at = names.indexOf(document.activeElement?.closest('.row')?.querySelector('.row-name'));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (at < 0 || to === undefined || !names[to]) return;
    event.preventDefault();
    names[to].focus();
  }
}
