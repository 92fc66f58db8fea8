// Calls the orchestrator. The key, where one is asked for, is kept for this tab alone.

const KEY = "flash-sandbox.key";

/** An answer that is not 2xx, or none at all (status 0). */
export class ApiError extends Error {
  constructor(status, detail, reason = "") {
    super(detail);
    this.status = status;
    this.reason = reason;
  }
}

let onUnauthorized = () => {};

/** Call `handler` whenever the key is missing or wrong. */
export function whenUnauthorized(handler) {
  onUnauthorized = handler;
}

export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function hasKey() {
  return Boolean(sessionStorage.getItem(KEY));
}

async function send(method, path, { body, query = {}, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const search = new URLSearchParams(given).toString();
  const headers = {};
  if (hasKey()) headers.authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  if (body !== undefined) options.body = JSON.stringify(body);
  let response;
  try {
    // Relative, so that it goes where the page came from, be that under a path of a proxy.
    response = await fetch(search ? `${path}?${search}` : path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the orchestrator does not answer");
  }
  if (response.ok) return response;
  const text = await response.text();
  let error;
  try {
    const { detail, reason } = JSON.parse(text);
    error = new ApiError(response.status, detail, reason);
  } catch {
    error = new ApiError(response.status, text.slice(0, 300) || response.statusText);
  }
  if (error.status === 401) onUnauthorized();
  throw error;
}

/** Return what a call answers; null where that is nothing. */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

/** Yield what a streamed answer tells, line by line; an error in it is thrown. */
export async function* stream(method, path, options) {
  const response = await send(method, path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const piece = JSON.parse(line);
      if (piece.error) throw new ApiError(piece.error.status_code ?? 500, piece.error.detail, piece.error.reason);
      yield piece;
    }
  }
}

/** Return the path of a sandbox, or of something in it. */
export function of(id, ...rest) {
  return ["sandboxes", id, ...rest].map(encodeURIComponent).join("/");
}

/** Return the bytes that base64 tells. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Return the base64 of a text's UTF-8. */
export function toBase64(text) {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}
