// Follows what happens to sandboxes, and goes on where it was after a connection is lost.

import { clock, el, setText } from "./dom.js";
import { stream } from "./api.js";

const SHOWN = 200;
const PAUSE_MS = { first: 500, most: 15000 };

/** Wait until the page can be seen. */
function untilSeen() {
  if (!document.hidden) return null;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Tell `onEvent` of everything, and `onRestart` where something may have been missed; for ever. */
export async function follow(onEvent, onRestart, onState) {
  let token = "";
  let pause = PAUSE_MS.first;
  for (;;) {
    await untilSeen();
    const ending = new AbortController();
    // A browser has six connections for one origin, all tabs and pages gone back from together: what nobody looks
    // at needs none. It goes on later with what it has missed.
    const end = () => document.hidden && ending.abort();
    document.addEventListener("visibilitychange", end);
    try {
      for await (const event of stream("GET", "events", { query: { token }, signal: ending.signal })) {
        // What is known may be old, unless this goes on exactly where it was.
        if (event.type === "watching" && !token) await onRestart();
        token = event.token || token;
        pause = PAUSE_MS.first;
        onState("live");
        if (event.type !== "watching" && event.type !== "keepalive") onEvent(event);
      }
    } catch (error) {
      if (error.status === 401) return;
      if (error.status === 409 || error.status === 400) token = "";
    } finally {
      document.removeEventListener("visibilitychange", end);
    }
    if (document.hidden) continue;
    onState("reconnecting");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, PAUSE_MS.most);
  }
}

/** The list of what has happened, the latest first. */
export class EventList {
  constructor(node, nameOf) {
    this.node = node;
    this.nameOf = nameOf;
  }

  /** Show the names of sandboxes that were not known yet when something happened to them. */
  rename() {
    for (const link of this.node.querySelectorAll(".who")) {
      const name = this.nameOf(link.title);
      // One that is gone keeps the name that it had.
      if (!link.title.startsWith(name)) setText(link, name);
    }
  }

  add(event) {
    this.node.querySelector(".nothing")?.remove();
    const what = event.type.replaceAll("_", " ");
    const item = el(
      "li",
      {},
      el("time", { text: clock(event.at), datetime: new Date(event.at * 1000).toISOString() }),
      el("span", { class: `what is-${event.type}`, text: what }),
      el("a", { class: "who", href: `#${event.id}`, text: this.nameOf(event.id), title: event.id }),
      event.detail ? el("span", { class: "detail", text: event.detail, title: event.detail }) : null,
    );
    this.node.prepend(item);
    while (this.node.children.length > SHOWN) this.node.lastChild.remove();
  }
}
