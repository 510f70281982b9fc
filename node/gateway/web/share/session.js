// The page's side of the worker and of the service worker: calls, transfers, and addresses under `~/` that
// the browser can ask for.

const calls = new Map();
const listeners = new Set();
/** What an address under `~/` stands for, by its token. */
const tokens = new Map();
let nextCall = 1;
let worker;

/** A refusal of the worker. */
export class CallError extends Error {
  constructor({ code, said }) {
    super(code);
    this.code = code;
    this.said = said;
  }
}

/** Starts the worker. */
export function start() {
  worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }) => {
    if (data.id === undefined) {
      for (const listener of listeners) listener(data);
      return;
    }
    const { done, fail } = calls.get(data.id);
    calls.delete(data.id);
    if (data.error) fail(new CallError(data.error));
    else done(data.value);
  };
  worker.onerror = (event) => {
    event.preventDefault?.();
    for (const { fail } of calls.values()) fail(new CallError({ code: 'failed', said: '' }));
    calls.clear();
  };
}

/** Calls the worker. */
export function call(name, args = {}, transfer = []) {
  const id = nextCall++;
  return new Promise((done, fail) => {
    calls.set(id, { done, fail });
    worker.postMessage({ ...args, id, call: name }, transfer);
  });
}

/** Hears what the worker reports of itself; returns how to stop. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The service worker, once it answers for this page; null where there is none. */
export const streaming = startStreaming();

async function startStreaming() {
  const container = navigator.serviceWorker;
  if (!container || !isSecureContext) return null;
  container.addEventListener('message', ({ data, ports: [port] }) => {
    const known = port && data.stream && tokens.get(data.stream.token);
    if (known) call(known.call, { ...known.args, range: data.stream.range, port }, [port]).catch(() => {});
    else port?.postMessage({ none: true });
  });
  container.startMessages();
  try {
    const registration = await container.register(new URL('sw.js', location.href), { scope: './', updateViaCache: 'none' });
    await container.ready;
    const controlled = new Promise((done) => container.addEventListener('controllerchange', () => done(true), { once: true }));
    if (!container.controller) {
      registration.active.postMessage('claim');
      await Promise.race([controlled, new Promise((done) => setTimeout(done, 4000))]);
    }
    return container.controller ? registration : null;
  } catch {
    return null;
  }
}

/** An address that `call` with `args` answers, ending in a name. */
export function address(callName, args, name) {
  const token = crypto.randomUUID();
  tokens.set(token, { call: callName, args });
  return { token, url: new URL(`~/${token}/${encodeURIComponent(name)}`, location.href).href };
}

/** Forgets an address. */
export function forget(token) {
  tokens.delete(token);
}

/** Keeps the service worker awake while something streams: browsers stop idle ones. */
export function stayAwake() {
  const timer = setInterval(async () => (await streaming)?.active?.postMessage('stay'), 8000);
  return () => clearInterval(timer);
}
