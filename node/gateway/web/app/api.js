// Calls of the local API (spec/api.md): one function for each, the token, and whether the node is
// there.
//
// Invariant: the token lives in this tab's session storage and in the Authorization header of
// requests to this very origin, and nowhere else. An error is always an ApiError whose message is a
// sentence for people.

import { sentence } from "./format.js";

const TOKEN_KEY = "commonhold.token";
const TOKEN_FORM = /^[0-9A-Za-z_-]{32,128}$/;

export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
  }
}

// "gone" when the node no longer answers, "back" when it does again, "unauthorized" when it does
// not take the token.
export const node = new EventTarget();
let gone = false;

export function isGone() {
  return gone;
}

// Takes the token out of the address, `#token=…`, and cleans the address bar and this entry of
// the history of it.
export function takeToken() {
  const match = /^#token=([^&]*)$/.exec(location.hash);
  if (!match) return;
  if (TOKEN_FORM.test(match[1])) sessionStorage.setItem(TOKEN_KEY, match[1]);
  history.replaceState(null, "", `${location.pathname}#/files`);
}

// Reads a token, or a link that has one, from what somebody pasted.
export function useToken(text) {
  const token = /#token=([^&\s]*)/.exec(text)?.[1] ?? text.trim();
  if (!TOKEN_FORM.test(token)) return false;
  sessionStorage.setItem(TOKEN_KEY, token);
  return true;
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN_KEY) !== null;
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

function authorization() {
  return `Bearer ${sessionStorage.getItem(TOKEN_KEY) ?? ""}`;
}

function url(path, query) {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) params.set(key, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

function noteGone() {
  if (gone) return;
  gone = true;
  node.dispatchEvent(new Event("gone"));
}

function noteThere() {
  if (!gone) return;
  gone = false;
  node.dispatchEvent(new Event("back"));
}

const GONE = () =>
  new ApiError("gone_node", "The node does not answer. It may have been stopped or restarted.");
const CANCELLED = () => new ApiError("cancelled", "It was cancelled.");

// What an answer that is not a success says.
function refusal(status, text) {
  try {
    const { error } = JSON.parse(text);
    if (typeof error.code === "string" && typeof error.message === "string") {
      return new ApiError(error.code, sentence(error.message), status);
    }
  } catch {
    // Not from this API: said in our own words.
  }
  return new ApiError("http", `The node answered with status ${status} and no explanation.`, status);
}

function told(error) {
  if (error.status === 401) {
    forgetToken();
    node.dispatchEvent(new Event("unauthorized"));
  }
  return error;
}

async function request(method, path, { query, json, signal, headers = {} } = {}) {
  const options = {
    method,
    signal,
    headers: { authorization: authorization(), ...headers },
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    referrerPolicy: "no-referrer",
  };
  if (json !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(url(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw CANCELLED();
    noteGone();
    throw GONE();
  }
  noteThere();
  if (response.ok) return response;
  throw told(refusal(response.status, await response.text().catch(() => "")));
}

async function call(method, path, options) {
  const response = await request(method, path, options);
  try {
    const text = await response.text();
    return text === "" ? null : JSON.parse(text);
  } catch (error) {
    if (error.name === "AbortError") throw CANCELLED();
    throw new ApiError("cut", "The answer broke off. Try again.");
  }
}

const get = (path, query, signal) => call("GET", path, { query, signal });
const post = (path, json, signal) => call("POST", path, { json, signal });

export const status = (signal) => get("/v1/status", {}, signal);
export const peers = (signal) => get("/v1/peers", {}, signal);
export const credit = (signal) => get("/v1/credit", {}, signal);
export const ledger = (from, count, signal) => get("/v1/ledger", { from, count }, signal);

export const list = (path, after, limit, signal) => get("/v1/files", { path, after, limit }, signal);
export const info = (path, signal) => get("/v1/files/info", { path }, signal);
export const find = (path, name, after, limit, signal) =>
  get("/v1/files/find", { path, name, after, limit }, signal);
export const usage = (path, signal) => get("/v1/files/usage", { path }, signal);
export const makeFolder = (path) => post("/v1/folders", { path });
export const move = (from, to, replace = false) => post("/v1/files/move", { from, to, replace });
export const copy = (from, to, replace = false) => post("/v1/files/copy", { from, to, replace });
export const remove = (path) => call("DELETE", "/v1/files", { query: { path } });

export const versions = (path, signal) => get("/v1/versions", { path }, signal);
export const restoreVersion = (path, version) => post("/v1/versions/restore", { path, version });

export const bin = (signal) => get("/v1/bin", {}, signal);
export const restoreFromBin = (id, to) => post("/v1/bin/restore", to === undefined ? { id } : { id, to });
export const emptyBin = (ids) => post("/v1/bin/empty", ids === undefined ? {} : { ids });

export const heads = (signal) => get("/v1/drive/heads", {}, signal);
export const merge = (hash) => post("/v1/drive/merge", { hash });
export const forget = (hash) => post("/v1/drive/forget", { hash });
export const check = (repair, signal) => post("/v1/drive/check", { repair }, signal);

export const shares = (signal) => get("/v1/shares", {}, signal);
export const share = (request) => post("/v1/shares", request);
export const unshare = (id) => call("DELETE", `/v1/shares/${encodeURIComponent(id)}`);

// An address that this browser may fetch without the token, {url, download}: to show it, or once to save it.
export async function ticket(path, { version, inline = false } = {}) {
  const given = await post(
    "/v1/tickets",
    version === undefined ? { path, inline } : { path, version, inline },
  );
  // An answer decides where the browser goes: only to this API.
  if (!/^\/v1\/[^\\]*$/.test(given.url))
    throw new ApiError("cut", "The node gave an address that is none of its own.");
  return given;
}

// How far the browser is with what it fetches under tickets.
export const downloads = (signal) => get("/v1/downloads", {}, signal);
export const cancelDownload = (id) => call("DELETE", `/v1/downloads/${encodeURIComponent(id)}`);

// The first bytes of a file that is not empty.
export async function beginning(path, version, count, signal) {
  const response = await request("GET", "/v1/file", {
    query: { path, version },
    signal,
    headers: { range: `bytes=0-${count - 1}` },
  });
  return new Uint8Array(await response.arrayBuffer());
}

export const uploads = (signal) => get("/v1/uploads", {}, signal);
export const beginUpload = (path, attributes) => post("/v1/uploads", { path, attributes });
export const completeUpload = (id, parts, modified_ms) =>
  post(`/v1/uploads/${encodeURIComponent(id)}/complete`, { parts, modified_ms });
export const abortUpload = (id) => call("DELETE", `/v1/uploads/${encodeURIComponent(id)}`);

// Sends bytes and tells `progress` how many are on their way. fetch cannot tell that.
function send(method, address, body, { progress, signal, type }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(CANCELLED());
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal?.addEventListener("abort", abort);
    request.open(method, address);
    request.setRequestHeader("authorization", authorization());
    request.setRequestHeader("content-type", type || "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", abort));
    request.addEventListener("abort", () => reject(CANCELLED()));
    request.addEventListener("error", () => {
      // Also when a file cannot be read any more; the next look at the node tells which.
      reject(
        new ApiError("gone_node", "The connection to the node broke off, or the file could not be read."),
      );
    });
    request.addEventListener("load", () => {
      noteThere();
      if (request.status < 200 || request.status > 299) {
        return reject(told(refusal(request.status, request.responseText)));
      }
      try {
        resolve(request.responseText === "" ? null : JSON.parse(request.responseText));
      } catch {
        reject(new ApiError("cut", "The answer broke off. Try again."));
      }
    });
    request.send(body);
  });
}

// Stores a whole file.
export function putFile(path, file, options) {
  return send("PUT", url("/v1/file", { path, modified_ms: file.lastModified }), file, {
    ...options,
    type: file.type,
  });
}

// Stores a part of a file that comes in parts.
export function putPart(id, number, blob, options) {
  return send("PUT", `/v1/uploads/${encodeURIComponent(id)}/parts/${number}`, blob, options);
}

// Completes when the node answers; rejects when `signal` says so.
export async function untilThere(signal) {
  for (;;) {
    if (signal?.aborted) throw CANCELLED();
    try {
      return await status(signal);
    } catch (error) {
      if (error.code !== "gone_node") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}
