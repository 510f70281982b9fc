// The service worker of share pages: turns what a page decrypts into answers to requests, so that a browser
// streams a download to disk and a player asks for ranges.
//
// Invariant: it answers addresses under `~/` alone, and keeps nothing: no key, no file, no list. It may be
// stopped and started at any time; whom to ask it learns from the pages that are open.

const PREFIX = new URL('~/', self.registration.scope).pathname;
/** How long a page may take to open the first piece, milliseconds. */
const HEAD_WAIT_MAX = 120_000;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('message', (event) => {
  // Pages say "stay" every few seconds while something streams, and "claim" when they are not controlled.
  if (event.data === 'claim') event.waitUntil(self.clients.claim());
});
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (url.origin === self.location.origin && url.pathname.startsWith(PREFIX)) event.respondWith(answer(event.request, url));
});

async function answer(request, url) {
  const token = url.pathname.slice(PREFIX.length).split('/')[0];
  const navigation = request.mode === 'navigate';
  const found = await ask({ token, range: request.headers.get('Range') });
  if (!found) return new Response(null, { status: navigation ? 204 : 404 });
  const { port, status, headers } = found;
  // What is opened as a page of its own is saved, never shown.
  if (navigation && status === 200 && !headers['Content-Disposition']) headers['Content-Disposition'] = 'attachment';
  if (status !== 200 && status !== 206) return new Response(null, { status, headers });
  return new Response(stream(port), { status, headers });
}

/** Asks all pages; the one that knows the token answers. */
async function ask(question) {
  const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  return new Promise((done) => {
    let left = pages.length;
    const none = () => --left <= 0 && done(null);
    if (left === 0) done(null);
    setTimeout(() => done(null), HEAD_WAIT_MAX);
    for (const page of pages) {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => (data.none ? none() : done({ port: port1, ...data }));
      page.postMessage({ stream: question }, [port2]);
    }
  });
}

/**
 * The pieces that come over a port, asked for when the browser wants them.
 *
 * Nothing is asked for before all that came is taken, so what came before that is of no more use. It is given
 * up at once: browsers free what is thrown away much later, and a large download would fill the memory.
 */
function stream(port) {
  let waiting;
  let last = [];
  let before = [];
  return new ReadableStream(
    {
      start(controller) {
        const settle = () => {
          waiting?.();
          waiting = null;
        };
        port.onmessage = ({ data }) => {
          if (data.parcel) {
            discard(before);
            [before, last] = [last, data.parcel];
            for (const piece of data.parcel) controller.enqueue(piece);
          } else if (data.end) controller.close();
          else controller.error(new Error('the page could not go on'));
          settle();
        };
        // Where browsers tell: the page is gone.
        port.onclose = () => {
          try {
            controller.error(new Error('the page was closed'));
          } catch {
            // It had ended.
          }
          settle();
        };
      },
      pull() {
        port.postMessage('pull');
        return new Promise((done) => (waiting = done));
      },
      cancel() {
        port.postMessage('cancel');
      },
    },
    { highWaterMark: 1 },
  );
}

/** Frees buffers now: they go with a message that nobody will read. */
function discard(pieces) {
  if (pieces.length === 0) return;
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, pieces.map(({ buffer }) => buffer));
  port1.close();
  port2.close();
}
