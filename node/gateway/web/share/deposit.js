// Sending a sealed file to a drop box: where it lies until it is sent, and the request.
//
// Browsers send streams only over HTTP/2, so a file is sealed first, to a place on disk, and sent then. What
// lies there is ciphertext, and is removed afterwards.

import { Refused, need } from './bytes.js';
import { fault } from './source.js';

/** Largest file that is held in memory, bytes. */
export const WHOLE_MAX = 256 * 1_048_576;

/** Somewhere to put a sealed file before it is sent: on disk where the browser has that, else in a Blob. */
export async function shelf() {
  try {
    const folder = await navigator.storage.getDirectory();
    const name = `commonhold-${crypto.randomUUID()}`;
    const handle = await folder.getFileHandle(name, { create: true });
    const access = await handle.createSyncAccessHandle();
    return {
      write: (bytes) => access.write(bytes),
      finish: async () => {
        access.close();
        return handle.getFile();
      },
      remove: async () => {
        access.close();
        await folder.removeEntry(name).catch(() => {});
      },
    };
  } catch {
    const parts = [];
    let length = 0;
    return {
      write: (bytes) => {
        length += bytes.length;
        need(length <= WHOLE_MAX, 'no-streaming');
        parts.push(new Blob([bytes]));
      },
      finish: async () => new Blob(parts),
      remove: async () => parts.splice(0),
    };
  }
}

/** Removes what tabs that were closed early have left behind. */
export async function tidy() {
  try {
    const folder = await navigator.storage.getDirectory();
    for await (const name of folder.keys()) {
      // One that another tab writes is locked, and stays.
      if (name.startsWith('commonhold-')) await folder.removeEntry(name).catch(() => {});
    }
  } catch {
    // Nothing is kept where nothing can be.
  }
}

/** Sends a body with progress, which fetch does not have. */
export function post(url, body, signal, progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    let sent = 0;
    request.upload.onprogress = ({ loaded }) => {
      progress(loaded - sent);
      sent = loaded;
    };
    request.onload = async () => {
      if (request.status === 201) done();
      else fail(await fault(new Response(request.responseText || null, { status: Math.max(200, request.status) })));
    };
    request.onerror = () => fail(new Refused('offline'));
    request.onabort = () => fail(new Refused('cancelled'));
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.open('POST', url);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.send(body);
  });
}
