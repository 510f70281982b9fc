// Bytes and texts: comparing, joining, base64url, UTF-8, and the one error of everything that is refused.

/** What was received is not what it must be. `code` is a word for the page, which has sentences for it. */
export class Refused extends Error {
  constructor(code, message) {
    super(message ?? code);
    this.code = code;
  }
}

/** Ends with a refusal unless `holds`. */
export function need(holds, code, message) {
  if (!holds) throw new Refused(code, message);
}

const encoder = new TextEncoder();

/** UTF-8. */
export const utf8 = (text) => encoder.encode(text);

/** The text of UTF-8 bytes; throws for anything that is not UTF-8. A byte order mark is a character. */
export function text(bytes) {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** Joins byte arrays. */
export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Orders byte arrays as numbers and then lengths do: negative, 0 or positive. */
export function compare(a, b) {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    if (a[i] !== b[i]) return a[i] - b[i];
  }
  return a.length - b.length;
}

/** Same bytes? */
export const equal = (a, b) => a.length === b.length && compare(a, b) === 0;

/** Lower-case hexadecimal digits. */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** `count` bytes of a number below 2^53, big-endian. */
export function bigEndian(number, count) {
  const bytes = new Uint8Array(count);
  for (let i = count - 1, rest = number; i >= 0; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** base64url without padding. */
export function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** The 32 bytes of 43 characters of base64url; refuses every other text, other spellings too. */
export function key32(spelt) {
  need(/^[A-Za-z0-9_-]{43}$/.test(spelt), 'link');
  const binary = atob(`${spelt.replaceAll('-', '+').replaceAll('_', '/')}=`);
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  need(bytes.length === 32 && base64url(bytes) === spelt, 'link');
  return bytes;
}
