// What went wrong, in words: one title, one sentence, and what can be done.

import { button, el, icon, announce, show } from './ui.js';

const OWN_PROGRAM = 'The program does the same on your own computer:';

/** By code: [title, sentence, what to offer]. */
const WORDS = {
  link: ['This is not a whole link', 'Part of it is missing, perhaps because it was cut where it was copied from. A link has 43 letters, a # sign, and 43 more letters. Ask for it again, or copy it anew with everything after the # sign.', {}],
  insecure: ['This address is not secure enough to open links', 'Browsers only decrypt on pages that came over https, or from your own computer. This page came over plain http. Ask whoever runs the node for an https address.', { command: true }],
  old: ['This browser cannot open links', 'It is too old, or it has encryption switched off. Try a current version of Firefox, Chrome, Safari or Edge.', { command: true }],
  'not-found': ['This link leads nowhere', 'The node found nothing under it. It may be mistyped, or its owner may have taken it back long ago. If the link is new, try again in a minute.', { retry: true, icon: 'unlink' }],
  gone: ['This link is no longer open', 'It has expired, or its owner has taken it back. Ask them for a new one.', { icon: 'clock' }],
  revoked: ['This link was taken back', 'Its owner has closed it. Ask them for a new one.', { icon: 'unlink' }],
  expired: ['This link has expired', 'Its time is over. Ask its owner for a new one.', { icon: 'clock' }],
  blocked: ['This node does not serve this link', 'Its operator has blocked it. What it shows lies with other nodes: open the link through one of these, or with the program:', { command: true, icon: 'unlink' }],
  unavailable: ['Not enough providers can be reached', 'The pieces of this file lie with several providers, and too many of them are away. Nothing is lost: try again later.', { retry: true }],
  busy: ['This node is busy', 'Much was drawn through this link or from your address of late. Wait a little and try again.', { retry: true, icon: 'clock' }],
  offline: ['The node does not answer', 'Your connection or the node is down. Check your connection and try again.', { retry: true }],
  chunk: ['What the node sent is not what was shared', 'A piece failed its check, so nothing of it was used. The node may be broken or dishonest. Open the link through another node, or with the program:', { retry: true, command: true }],
  cut: ['The answer of the node broke off', 'A piece came incomplete, so nothing of it was used. Try again.', { retry: true }],
  signature: ['The record of this link is forged', 'It is not signed by the link’s owner, so nothing of it was used. Open the link through another node, or with the program:', { command: true }],
  foreign: ['The node answered with another link', 'What it sent belongs to something else, so nothing of it was used. Open the link through another node, or with the program:', { command: true }],
  older: ['The node answered with an older state', 'This browser has already seen a newer one of this link, so the old one was not used. Try again later, or open the link through another node:', { retry: true, command: true }],
  sealed: ['This does not open', 'The secret in the link does not fit, or what the node sent was altered. Nothing of it was used. Check that the link is whole; else open it through another node, or with the program:', { command: true }],
  name: ['A name in this folder is not allowed', 'It has characters that hide or disguise what a file is, so the folder is not shown.', {}],
  shape: ['What was shared is not valid', 'It opened, but it is not what Commonhold writes. Nothing of it was used.', {}],
  disk: ['There is no room left', 'Your disk, or what the browser may use of it, is full.', {}],
  changed: ['The file changed while it was read', 'Choose it again.', {}],
  full: ['There is no room left', 'The owner’s node can take no more at the moment.', {}],
  'no-drop-box': ['This box takes no files here', 'Files go to the owner’s own node. Open the link as you were given it.', {}],
  'too-large-here': ['This file is too large', 'The node takes no file of this size.', {}],
  'no-streaming': ['This browser cannot save a file of this size', 'It cannot write downloads to disk while they are decrypted; in private windows, many cannot. Use an ordinary window, another browser, or the program:', { command: true }],
  forbidden: ['The node refused a piece', 'It says that the link does not reach this piece. What was shared may just have changed: load the page again.', { retry: true }],
  'too-deep': ['This folder is nested too deeply', 'Download its parts one by one.', {}],
};
WORDS['too-large'] = WORDS.shape;

/** Words for an error: `{ title, sentence, offer, said }`. */
export function wordsFor({ code, said = '' }) {
  const [title, sentence, offer] = WORDS[code] ?? ['Something went wrong', 'Try again. If it happens again, open the link with the program:', { retry: true, command: true }];
  return { title, sentence, offer, said };
}

/** A line that can be copied. */
export function command() {
  return el('p', { class: 'command' }, el('code', { text: 'commonhold open LINK' }));
}

/** Shows an error in the place of everything else. */
export function showError(error, retry) {
  const { title, sentence, offer, said } = wordsFor(error);
  const heading = el('h1', { text: title, tabindex: '-1' });
  const card = el('div', { class: 'card message' },
    el('div', { class: 'medallion' }, icon(offer.icon ?? 'warn')),
    heading,
    el('p', { text: sentence }),
    offer.command && !sentence.endsWith(':') && el('p', { text: OWN_PROGRAM }),
    offer.command && command(),
    said && el('p', { class: 'hint', text: `The node says: “${said}”` }),
    offer.retry && el('div', { class: 'actions' }, button('Try again', { kind: 'primary', on: retry })),
  );
  document.title = `${title} · Commonhold`;
  show(card);
  heading.focus();
  announce(`${title}. ${sentence}`);
}
