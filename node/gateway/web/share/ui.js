// Elements without markup, and numbers and times for people.
//
// Invariant: what others wrote becomes text and attribute values, never markup (attack 23).

const SVG = 'http://www.w3.org/2000/svg';

const ICONS = {
  folder: 'M3 7.5A1.5 1.5 0 0 1 4.5 6h4.600l2 2.500h8.400A1.5 1.5 0 0 1 21 10v7.500a1.5 1.5 0 0 1-1.5 1.500h-15A1.5 1.5 0 0 1 3 17.500z',
  file: 'M6 3.500h7.500l5 5v12H6zM13.5 3.500v5h5',
  image: 'M4.5 5h15v14h-15zM4.5 16l4.3-4.5 3.7 3.7 2.2-2.2 4.8 4.500M15.5 8.800h.01',
  video: 'M4 6.500h11.500v11H4zM15.5 10.5 20 8v8l-4.5-2.5',
  audio: 'M9 17.500v-11l9.5-2v11M9 17.500a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0M18.5 15.500a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0',
  text: 'M6 3.500h7.500l5 5v12H6zM13.5 3.500v5h5M9 12.500h6.500M9 16h6.5',
  document: 'M6 3.500h7.500l5 5v12H6zM13.5 3.500v5h5M9 12.500h6.500M9 16h4',
  archive: 'M4.5 5h15v4h-15zM5.5 9v10.500h13V9M10 12.500h4',
  active: 'M8.5 8 4.5 12l4 4M15.5 8l4 4-4 4M13.5 5.500l-3 13',
  other: 'M6 3.500h7.500l5 5v12H6zM13.5 3.500v5h5',
  download: 'M12 4.500v11M7.5 11l4.5 4.5 4.5-4.500M4.5 16v3.500h15V16',
  upload: 'M12 16V5M7.5 9.5 12 5l4.5 4.500M4.5 16v3.500h15V16',
  close: 'M6 6l12 12M18 6 6 18',
  up: 'M12 19V5M6 11l6-6 6 6',
  left: 'M14.5 6l-6 6 6 6',
  right: 'M9.5 6l6 6-6 6',
  check: 'M5 12.500l5 5L19 7',
  warn: 'M12 4.5 21 19.500H3zM12 10v4.500M12 17h.01',
  lock: 'M6 11h12v8.500H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  shield: 'M12 3.5 19 6v5.500c0 4.3-2.9 7.4-7 9-4.1-1.6-7-4.7-7-9V6zM9 12l2.2 2.2 4-4.2',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 8v4.300l3 1.7',
  inbox: 'M4.5 13.5 7 5h10l2.5 8.500v6h-15zM4.5 13.500h4.300L10 16h4l1.2-2.500h4.3',
  unlink: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.300l-1.2 1.200M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.700l1.2-1.200M4 4l16 16',
};

/** An element with attributes; `on` has listeners, `text` its text; children that are null or false are left out. */
export function el(tag, { on = {}, text = undefined, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  if (text !== undefined) element.textContent = text;
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A picture beside words: hidden from those who listen. */
export function icon(name, classes = '') {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon-svg ${classes}`.trim());
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name] ?? ICONS.other);
  svg.append(path);
  return svg;
}

/** A button with a picture and words. */
export function button(label, { icon: picture = undefined, kind = '', on, ...rest } = {}) {
  return el('button', { type: 'button', class: `button ${kind}`.trim(), on: { click: on }, ...rest }, picture && icon(picture), label);
}

/** Says something to those who listen. */
export function announce(sentence) {
  document.getElementById('live').textContent = sentence;
}

/** Replaces what the page shows, and puts the focus there. */
export function show(...children) {
  const main = document.getElementById('main');
  main.replaceChildren(...children.filter(Boolean));
  return main;
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** 1536 → "1.5 KiB". */
export function size(count) {
  if (count === 1) return '1 byte';
  let unit = 0;
  let value = count;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${UNITS[unit]}`;
}

/** "1 file", "2,000 files". */
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

/** Milliseconds since 1970 as a date, or nothing for a time that no calendar has. */
export function day(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

/** The same with the time of the day. */
export function moment(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}

/** Seconds as "40 s", "3 min", "2 h 5 min". */
export function duration(seconds) {
  const s = Math.max(1, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const min = Math.round(s / 60);
  return min < 60 ? `${min} min` : `${Math.floor(min / 60)} h${min % 60 ? ` ${min % 60} min` : ''}`;
}
