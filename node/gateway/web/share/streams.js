// How the worker's bytes reach the browser through the service worker: headers, and parcels over a port.
//
// Invariant: a parcel is sent only when it is asked for, so no more than one waits anywhere.

import { Refused } from './bytes.js';

/** What the first piece of an iteration is, and then the whole of it. */
export async function begun(pieces) {
  const iterator = pieces[Symbol.asyncIterator]();
  let first = await iterator.next();
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        const next = first ?? (await iterator.next());
        first = null;
        return next;
      },
      return: async (value) => (await iterator.return?.(value)) ?? { done: true, value },
    }),
  };
}

/** A header that names a file for saving. */
export function attachment(name) {
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename*=UTF-8''${encoded}`;
}

// What answers of the service worker carry: nothing that was shared runs as a page of this site.
export const SAFE = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** As much goes over a port at a time, bytes. */
const PARCEL = 1_048_576;

/** Sends pieces over a port, a parcel of them when it is asked for. */
export async function pump(port, pieces, signal, progress) {
  let wake;
  let asked = 0;
  let cancelled = false;
  port.onmessage = ({ data }) => {
    if (data === 'cancel') cancelled = true;
    else asked++;
    wake?.();
  };
  signal.addEventListener('abort', () => wake?.(), { once: true });
  let parcel = [];
  let length = 0;
  const send = async () => {
    while (asked === 0 && !cancelled && !signal.aborted) await new Promise((done) => (wake = done));
    signal.throwIfAborted();
    if (cancelled) throw new Refused('cancelled');
    asked--;
    port.postMessage({ parcel }, parcel.map(({ buffer }) => buffer));
    progress(length);
    parcel = [];
    length = 0;
  };
  for await (const piece of pieces) {
    parcel.push(piece);
    length += piece.length;
    if (length >= PARCEL) await send();
  }
  if (parcel.length > 0) await send();
  port.postMessage({ end: true });
}
