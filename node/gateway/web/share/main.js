// A share page: reads the link from its own address, opens it, and shows what was shared.
//
// The secret stays in the address bar, so that reloading and bookmarks work; it is in the fragment, which
// browsers send to nobody, and the page asks for no referrer. Where the visitor is within a folder stands in
// the history's state, not in the address.

import { Refused, base64url, hex } from './bytes.js';
import { showDropBox } from './dropbox.js';
import { showError } from './errors.js';
import { parseAddress } from './link.js';
import { Listing } from './listing.js';
import { call, start } from './session.js';
import { sha256 } from './sha256.js';
import { announce, button, el, icon, moment, show } from './ui.js';
import { Viewer } from './viewer.js';

/** Links of which this browser remembers the newest record. */
const SEEN_MAX = 200;

let link;
let shared;
let current;
/** The entries on the way to what is shown, the shared one first. */
let trail = [];
/** Files beside the one that is shown, as far as its folder was listed. */
let beside = [];

async function main() {
  try {
    await open();
  } catch (error) {
    showError(error instanceof Refused ? { code: error.code } : { code: error.code ?? 'failed', said: error.said ?? '' }, () => location.reload());
  }
}

async function open() {
  show(el('div', { class: 'card message' }, el('div', { class: 'spinner', 'aria-hidden': 'true' }), el('p', { class: 'muted', text: 'Opening the link…' })));
  if (!isSecureContext) throw new Refused('insecure');
  if (!crypto?.subtle || !globalThis.Worker) throw new Refused('old');
  const { id, secret } = parseAddress(location.pathname, location.hash);
  link = base64url(id);
  start();
  const base = location.href.slice(0, location.href.lastIndexOf('/s/'));
  const record = await call('load', { base, link, key: secret, seen: seen(id) });
  remember(id, record.sequence);
  tell(record);
  const opened = record.password ? await withPassword() : await call('unlock');
  shared = opened.shared;
  if (opened.drop) {
    badge('inbox', 'Drop box');
    document.title = `${shared ? `${shared.name} · ` : ''}Commonhold`;
    await showDropBox(link, shared?.name);
    return;
  }
  addEventListener('popstate', () => follow());
  addEventListener('keydown', keys);
  await follow();
}

// Another link in the same tab is another page.
addEventListener('hashchange', () => location.reload());

/** The highest sequence that this browser has seen of a link. */
function seen(id) {
  try {
    return Number(JSON.parse(localStorage.getItem('commonhold-seen') ?? '{}')[mark(id)]) || 0;
  } catch {
    return 0;
  }
}

/** A name for a link that does not give it away. */
const mark = (id) => hex(sha256(id).subarray(0, 12));

function remember(id, sequence) {
  try {
    const { [mark(id)]: _, ...others } = JSON.parse(localStorage.getItem('commonhold-seen') ?? '{}');
    const kept = Object.entries(others).slice(-(SEEN_MAX - 1));
    localStorage.setItem('commonhold-seen', JSON.stringify(Object.fromEntries([...kept, [mark(id), sequence]])));
  } catch {
    // Without storage, as in some private windows, nothing is remembered.
  }
}

function badge(picture, words, title) {
  const element = document.getElementById('badge');
  element.replaceChildren(icon(picture), words);
  element.title = title ?? '';
  element.hidden = false;
}

/** What was checked, for those who want to know. */
function tell({ signed, expires }) {
  const line = (good, sentence) => el('li', { class: good ? 'good' : 'open' }, icon(good ? 'check' : 'warn'), el('span', { text: sentence }));
  document.getElementById('checks').replaceChildren(
    signed
      ? line(true, 'The link’s record is signed by its owner’s key.')
      : line(false, 'This browser cannot check the signature of the link’s record (it has no Ed25519). What the record seals, it checks all the same.'),
    line(true, 'Every piece is checked against its id before it is opened, and opens only with its key and in its place.'),
    expires ? line(true, `The link is open until ${moment(expires * 1000)}.`) : line(true, 'The link is open until its owner takes it back.'),
  );
  badge('lock', 'Encrypted', 'Opened here, in your browser');
}

/** Asks for the password until it is right. */
function withPassword() {
  return new Promise((done, fail) => {
    const field = el('input', { type: 'password', class: 'input', id: 'password', autocomplete: 'off', maxlength: '1024', required: true, 'aria-describedby': 'password-error' });
    const wrong = el('p', { id: 'password-error', class: 'wrong', role: 'alert' });
    const reveal = el('input', { type: 'checkbox', id: 'reveal', on: { change: () => (field.type = reveal.checked ? 'text' : 'password') } });
    const go = el('button', { type: 'submit', class: 'button primary wide', text: 'Open' });
    const form = el('form', { class: 'card message narrow', novalidate: true },
      el('div', { class: 'medallion' }, icon('lock')),
      el('h1', { text: 'This link needs a password' }),
      el('p', { class: 'muted', text: 'You should have got it from whoever sent you the link. It is not sent anywhere.' }),
      el('div', { class: 'field' }, el('label', { class: 'label', for: 'password', text: 'Password' }), field, el('label', { class: 'check' }, reveal, 'Show it')),
      wrong,
      go,
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (go.disabled) return;
      const refuse = (sentence) => {
        wrong.textContent = sentence;
        field.setAttribute('aria-invalid', 'true');
        field.focus();
        field.select();
      };
      if (!field.value) {
        refuse('Type the password.');
        return;
      }
      go.disabled = true;
      go.textContent = 'Opening…';
      wrong.textContent = '';
      try {
        done(await call('unlock', { password: field.value }));
      } catch (error) {
        if (error.code === 'password') refuse('This password does not open the link. Check capital letters and spaces.');
        else fail(error);
      } finally {
        go.disabled = false;
        go.textContent = 'Open';
      }
    });
    show(form);
    field.focus();
  });
}

/** Shows what the history's state says: a way of names below what is shared. */
async function follow() {
  const names = Array.isArray(history.state?.names) ? history.state.names : [];
  try {
    const way = [shared];
    for (const name of names) {
      const parent = way[way.length - 1];
      const known = trail.length > way.length && trail[way.length - 1] === parent && trail[way.length]?.name === name ? trail[way.length] : null;
      const next = known ?? (parent.folder ? await call('find', { node: parent.node, name: String(name) }) : null);
      // What was there when the page was left may be gone.
      if (!next) break;
      way.push(next);
    }
    trail = way;
    render();
  } catch (error) {
    showError({ code: error.code ?? 'failed', said: error.said }, () => location.reload());
  }
}

/** Goes to an entry of the folder that is shown. */
function enter(entry) {
  if (current instanceof Listing) beside = current.files();
  trail = [...trail, entry];
  history.pushState({ names: trail.slice(1).map(({ name }) => name) }, '');
  render();
}

/** The file before the one that is shown, or with 1 the one behind it. */
function neighbour(step) {
  const at = beside.indexOf(trail[trail.length - 1]);
  return at < 0 ? undefined : beside[at + step];
}

/** Shows a file beside the one that is shown, in its place. */
function turn(step) {
  const next = neighbour(step);
  if (!next) return;
  trail = [...trail.slice(0, -1), next];
  history.replaceState({ names: trail.slice(1).map(({ name }) => name) }, '');
  render();
}

/** Goes up to a folder of the trail. */
function up(depth) {
  trail = trail.slice(0, depth + 1);
  history.pushState({ names: trail.slice(1).map(({ name }) => name) }, '');
  render();
}

function render() {
  current?.close();
  const item = trail[trail.length - 1];
  current = item.folder ? new Listing(item, enter) : new Viewer(item);
  document.title = `${item.name} · Commonhold`;
  show(crumbs(), current.element);
  scrollTo(0, 0);
  current.heading.focus({ preventScroll: true });
  announce(item.name);
}

/** The way back. */
function crumbs() {
  if (trail.length === 1) return null;
  const links = trail.slice(0, -1).map((item, depth) => el('li', {}, el('button', { type: 'button', class: 'crumb', text: item.name, title: item.name, on: { click: () => up(depth) } }), icon('right')));
  return el('nav', { class: 'crumbs', 'aria-label': 'Folders' },
    button('', { icon: 'up', kind: 'quiet icon', title: 'Folder above (Escape)', 'aria-label': 'Back to the folder above', on: () => up(trail.length - 2) }),
    el('ol', {}, ...links, el('li', { class: 'here', 'aria-current': 'page', text: trail[trail.length - 1].name })),
    beside.includes(trail[trail.length - 1]) && el('span', { class: 'turn' },
      button('', { icon: 'left', kind: 'icon', 'aria-label': 'File before', title: 'File before (left arrow)', disabled: !neighbour(-1), on: () => turn(-1) }),
      button('', { icon: 'right', kind: 'icon', 'aria-label': 'Next file', title: 'Next file (right arrow)', disabled: !neighbour(1), on: () => turn(1) }),
    ),
  );
}

/** Escape and Backspace go up, as in a file manager; arrows turn to the files beside. */
function keys(event) {
  const typing = event.target.closest?.('input, textarea, video, audio');
  if (typing || event.altKey || event.ctrlKey || event.metaKey || trail.length < 2) return;
  if (event.key === 'Escape' || event.key === 'Backspace') {
    event.preventDefault();
    up(trail.length - 2);
  } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
    turn(event.key === 'ArrowLeft' ? -1 : 1);
  }
}

main();
