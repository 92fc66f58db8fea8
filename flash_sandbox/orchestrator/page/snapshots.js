// The list of snapshots: a sandbox can be started from each, and each can be removed.

import { call } from "./api.js";
import { bytes, duration, el } from "./dom.js";

export class SnapshotList {
  constructor({ body, ask, notify, onStart }) {
    Object.assign(this, { body, ask, notify, onStart });
    this.drawn = "";
  }

  /** Ask for the snapshots, and show them, the newest first. */
  async load() {
    const { snapshots } = await call("GET", "snapshots").catch(() => ({ snapshots: null }));
    if (!snapshots) return;
    const told = JSON.stringify(snapshots);
    // What did not change stays: its buttons may be in use.
    if (told !== this.drawn) this.body.replaceChildren(...snapshots.reverse().map((info) => this.item(info)));
    this.drawn = told;
    this.body.closest("section").hidden = snapshots.length === 0;
  }

  item(info) {
    const name = info.name || info.id;
    const age = duration(Date.now() / 1000 - info.created_at);
    const about = `${info.type}, ${info.image || "no image"}, ${bytes(info.size_bytes)}, made ${age} ago`;
    return el(
      "li",
      {},
      el("span", { class: "name", text: name, title: info.id }),
      el("span", { class: "about", text: about }),
      el("span", { class: "labels" }, ...info.labels.map((text) => el("span", { class: "label", text, title: text }))),
      el(
        "span",
        { class: "actions" },
        this.button("Restore", name, () => this.restore(info, name)),
        this.button("Remove", name, () => this.remove(info, name), "danger"),
      ),
    );
  }

  button(text, name, act, kind = "") {
    const button = el("button", {
      type: "button",
      class: kind || null,
      text,
      "aria-label": `${text} ${name}`,
      onclick: async () => {
        button.disabled = true;
        try {
          await act();
        } catch (error) {
          this.notify(error.message);
        }
        button.disabled = false;
      },
    });
    return button;
  }

  async restore(info, name) {
    const { id } = await call("POST", "sandboxes", { body: { type: info.type, snapshot_path: info.id } });
    this.notify(`A sandbox was started from ${name}.`);
    this.onStart(id);
  }

  async remove(info, name) {
    if (!(await this.ask(`Remove ${name}?`, "No sandbox can be started from it any more. Those that were go on.", "Remove"))) return;
    await call("DELETE", "snapshots", { query: { snapshot_path: info.id } });
    this.notify(`${name} was removed.`);
    await this.load();
  }
}
