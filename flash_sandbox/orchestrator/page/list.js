// The list of sandboxes: one row each, a page of them at a time, updated in place.

import { call, of } from "./api.js";
import { duration, el, setText } from "./dom.js";
import { PLOTS, sparkline } from "./plots.js";

const PAGE_SIZE = 20;
const SPARK_POINTS = 60;
const SPARKS = PLOTS.filter(({ title }) => ["Memory", "CPU"].includes(title));

export class SandboxList {
  constructor({ body, pager, empty, nothing, onSelect }) {
    Object.assign(this, { body, pager, empty, nothing, onSelect });
    this.rows = new Map();
    this.page = 0;
    this.selected = "";
    this.shown = [];
    this.back = el("button", { type: "button", text: "Previous", onclick: () => this.turn(-1) });
    this.next = el("button", { type: "button", text: "Next", onclick: () => this.turn(1) });
    this.where = el("span", { role: "status" });
    pager.append(this.back, this.where, this.next);
    body.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show a page of those that match, of all that there are. */
  show(matching, all) {
    this.matching = matching;
    this.all = all;
    this.draw();
  }

  select(id) {
    this.selected = id;
    const place = this.matching?.findIndex((info) => info.id === id) ?? -1;
    if (place >= 0) this.page = Math.floor(place / PAGE_SIZE);
    if (this.matching) this.draw();
  }

  turn(pages) {
    this.page += pages;
    this.draw();
    this.body.closest(".list").scrollIntoView({ block: "nearest" });
  }

  draw() {
    const pages = Math.max(1, Math.ceil(this.matching.length / PAGE_SIZE));
    this.page = Math.max(0, Math.min(this.page, pages - 1));
    const first = this.page * PAGE_SIZE;
    this.shown = this.matching.slice(first, first + PAGE_SIZE);
    const ids = new Set(this.shown.map((info) => info.id));
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) {
        row.node.remove();
        this.rows.delete(id);
      }
    }
    this.shown.forEach((info, index) => {
      let row = this.rows.get(info.id);
      if (!row) this.rows.set(info.id, (row = new Row(info, this.onSelect)));
      row.update(info, info.id === this.selected);
      if (this.body.children[index] !== row.node) this.body.insertBefore(row.node, this.body.children[index] ?? null);
    });
    this.empty.hidden = this.all > 0;
    this.nothing.hidden = this.all === 0 || this.matching.length > 0;
    this.body.closest("table").hidden = this.matching.length === 0;
    this.pager.hidden = pages === 1;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    setText(this.where, `${first + 1} to ${first + this.shown.length} of ${this.matching.length}`);
  }

  tick(now) {
    for (const info of this.shown) this.rows.get(info.id).tick(now);
  }

  /** Ask for the samples of what is shown, and draw them; four at a time, so that other calls have their turn. */
  async sample() {
    const waiting = this.shown.filter((info) => info.status !== "creating").map((info) => info.id);
    const work = async () => {
      for (let id = waiting.shift(); id; id = waiting.shift()) {
        const query = { max_points: SPARK_POINTS };
        const { points } = await call("GET", of(id, "metrics", "history"), { query }).catch(() => ({ points: null }));
        if (points) this.rows.get(id)?.sparks.forEach((spark) => spark.draw(points));
      }
    };
    await Promise.all([work(), work(), work(), work()]);
  }

  key(event) {
    const row = event.target.closest("tr");
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!row || !step || !row[step]) return;
    event.preventDefault();
    row[step].querySelector("a").focus();
  }
}

class Row {
  constructor(info, onSelect) {
    this.link = el("a", { class: "name", href: `#${info.id}` });
    this.id = el("span", { class: "id", text: info.id });
    this.state = el("span");
    this.image = el("span", { class: "image" });
    this.type = el("span");
    this.labels = el("span", { class: "labels" });
    this.age = el("span");
    this.expiry = el("span");
    this.sparks = SPARKS.map(sparkline);
    const cell = (name, ...children) => el("td", { class: name, "data-name": name }, ...children);
    this.node = el(
      "tr",
      { onclick: (event) => event.target.closest("a") || onSelect(info.id) },
      cell("state", this.state),
      cell("sandbox", this.link, this.id),
      cell("runtime", this.type, this.image),
      cell("labels", this.labels),
      cell("age", this.age),
      cell("expires", this.expiry),
      cell("memory", this.sparks[0].node),
      cell("cpu", this.sparks[1].node),
    );
  }

  update(info, isSelected) {
    this.info = info;
    setText(this.link, info.name || info.id.slice(0, 12));
    this.id.hidden = !info.name;
    this.state.className = `badge is-${info.status}`;
    setText(this.state, info.status);
    setText(this.type, info.type);
    setText(this.image, info.image || "—");
    this.image.title = info.image;
    const labels = info.labels.join("\0");
    if (this.drawnLabels !== labels) this.labels.replaceChildren(...info.labels.map((text) => el("span", { class: "label", text, title: text })));
    this.drawnLabels = labels;
    this.node.classList.toggle("selected", isSelected);
    if (isSelected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    this.tick(Date.now() / 1000);
  }

  tick(now) {
    setText(this.age, duration(now - this.info.created_at));
    setText(this.expiry, this.info.expires_at ? `in ${duration(this.info.expires_at - now)}` : "never");
  }
}
