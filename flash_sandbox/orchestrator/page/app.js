// The page: signs in, keeps the list of sandboxes as events tell, and shows the one that is selected.

import { call, hasKey, of, setKey, whenUnauthorized } from "./api.js";
import { Details } from "./details.js";
import { el, setText } from "./dom.js";
import { EventList, follow } from "./events.js";
import { SandboxList } from "./list.js";
import { SnapshotList } from "./snapshots.js";

const SAMPLE_MS = 5000;
const PAGE_SIZE = 1000;
// Where more than these have changed at a time, one list costs less.
const SINGLE_ASKS = 8;
const STATES = ["running", "paused", "creating", "stopped", "error"];

const $ = (id) => document.getElementById(id);
const sandboxes = new Map();
const changed = new Set();
let details = null;
let drawing = null;
let asking = false;

const list = new SandboxList({
  body: $("rows"),
  pager: $("pager"),
  empty: $("empty"),
  nothing: $("nothing"),
  onSelect: (id) => (location.hash = id),
});
const snapshots = new SnapshotList({
  body: $("snapshots"),
  ask,
  notify,
  onStart: (id) => (location.hash = id),
});
const events = new EventList($("events"), (id) => sandboxes.get(id)?.name || id.slice(0, 12));

// The list

function drawSoon() {
  drawing ??= requestAnimationFrame(() => {
    drawing = null;
    draw();
  });
}

function draw() {
  const wanted = $("filter").value.trim().toLowerCase();
  const state = $("state").value;
  const matches = (info) =>
    (!state || info.status === state) &&
    (!wanted || [info.id, info.name, info.type, info.image, ...info.labels].some((text) => text.toLowerCase().includes(wanted)));
  const all = [...sandboxes.values()].sort((one, other) => other.created_at - one.created_at);
  list.show(all.filter(matches), all.length);
  const counts = STATES.map((name) => [name, all.filter((info) => info.status === name).length]);
  $("counts").replaceChildren(
    el("li", {}, el("b", { text: all.length }), ` ${all.length === 1 ? "sandbox" : "sandboxes"}`),
    ...counts.filter(([, count]) => count).map(([name, count]) => el("li", { class: `is-${name}` }, el("b", { text: count }), ` ${name}`)),
  );
  events.rename();
  const info = details && sandboxes.get(details.id);
  if (info) details.update(info);
  else select(location.hash.slice(1));
}

async function loadAll() {
  const found = new Map();
  let token = "";
  do {
    const page = await call("GET", "sandboxes", { query: { page_size: PAGE_SIZE, page_token: token } });
    page.sandboxes.forEach((info) => found.set(info.id, info));
    token = page.next_page_token;
  } while (token);
  sandboxes.clear();
  found.forEach((info, id) => sandboxes.set(id, info));
  $("main").setAttribute("aria-busy", "false");
  draw();
  snapshots.load();
  list.sample();
}

async function askForChanged() {
  if (asking) return;
  asking = true;
  while (changed.size) {
    const ids = [...changed];
    changed.clear();
    if (ids.length > SINGLE_ASKS) await loadAll().catch(() => {});
    else await Promise.all(ids.map(askForOne));
    drawSoon();
    // What comes at the same time is asked for together.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  asking = false;
}

async function askForOne(id) {
  try {
    sandboxes.set(id, (await call("GET", of(id, "info"))).sandbox);
  } catch (error) {
    if (error.status === 404) sandboxes.delete(id);
  }
}

function onEvent(event) {
  events.add(event);
  if (event.type === "removed") sandboxes.delete(event.id);
  else changed.add(event.id);
  askForChanged();
  drawSoon();
}

function onState(state) {
  $("live").className = state;
  setText($("live"), state);
}

// The one that is selected

function select(id) {
  if (details?.id !== id) {
    details?.close();
    details?.node.remove();
    details = null;
    const info = sandboxes.get(id);
    if (info) {
      details = new Details(info, {
        onClose: () => (location.hash = ""),
        onSnapshot: () => snapshots.load(),
        ask,
        notify,
      });
      $("aside").prepend(details.node);
      details.title.focus({ preventScroll: true });
      if (matchMedia("(max-width: 60rem)").matches) details.node.scrollIntoView();
    }
  }
  document.body.classList.toggle("with-details", details !== null);
  list.select(details ? id : "");
}

function ask(question, explanation, yes) {
  const dialog = $("ask");
  setText($("question"), question);
  setText($("explanation"), explanation);
  setText($("yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

let silence = 0;

function notify(text) {
  setText($("notice"), text);
  $("notice").hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => ($("notice").hidden = true), 6000);
}

// The key

function askForKey() {
  if ($("sign-in").open) return;
  setText($("sign-in-error"), hasKey() ? "That key is wrong." : "");
  setKey("");
  $("key").value = "";
  $("sign-in").showModal();
}

async function signIn(event) {
  event.preventDefault();
  setKey($("key").value.trim());
  $("sign-in").close();
  await begin();
}

async function begin() {
  $("sign-out").hidden = !hasKey();
  await follow(onEvent, loadAll, onState);
}

whenUnauthorized(askForKey);
$("sign-in-form").addEventListener("submit", signIn);
$("sign-in").addEventListener("cancel", (event) => event.preventDefault());
$("sign-out").addEventListener("click", () => {
  setKey("");
  location.reload();
});
$("filter").addEventListener("input", drawSoon);
$("state").addEventListener("change", drawSoon);
$("no").addEventListener("click", () => $("ask").close(""));
$("yes").addEventListener("click", () => $("ask").close("yes"));
addEventListener("hashchange", () => select(location.hash.slice(1)));
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "Escape" && !isTyping && details) location.hash = "";
});
setInterval(() => {
  list.tick(Date.now() / 1000);
  const info = details && sandboxes.get(details.id);
  if (info) details.update(info);
}, 1000);
setInterval(() => {
  // What nobody looks at is not asked for.
  if (document.hidden) return;
  list.sample();
  snapshots.load();
  details?.refresh();
}, SAMPLE_MS);

call("GET", "healthz").then(({ version }) => setText($("version"), version), () => {});
begin();
