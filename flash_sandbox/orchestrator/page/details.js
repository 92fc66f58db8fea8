// One sandbox: what is known of it, its plots, a terminal, what its main process printed, and what can be done.

import { call, fromBase64, of } from "./api.js";
import { clock, duration, el, setText } from "./dom.js";
import { Plot, PLOTS } from "./plots.js";
import { Terminal } from "./terminal.js";

const PLOT_POINTS = 240;
const TABS = ["Usage", "Terminal", "Output"];

export class Details {
  constructor(info, { onClose, onSnapshot, ask, notify }) {
    this.id = info.id;
    Object.assign(this, { ask, notify });
    this.title = el("h2", { tabindex: -1 });
    this.badge = el("span");
    this.facts = el("dl");
    this.actions = {
      pause: this.action("Pause", "POST", "pause", () => "All of its processes are frozen."),
      resume: this.action("Resume", "POST", "resume", () => "It runs on."),
      snapshot: this.action("Snapshot", "POST", "snapshot", (answer) => {
        onSnapshot();
        return `It is paused; the snapshot is ${answer.id}`;
      }),
      fork: this.action("Fork", "POST", "fork", (answer) => `Its copy is ${answer.ids[0]}`, { count: 1 }),
      stop: el("button", { type: "button", class: "danger", text: "Stop", onclick: () => this.stop() }),
    };
    this.message = el("p", { class: "message", role: "status", hidden: true });
    this.plots = PLOTS.map((plot) => new Plot(plot));
    this.panels = {
      Usage: el("div", { class: "plots" }, ...this.plots.map((plot) => plot.node)),
      Terminal: el("div"),
      Output: el("div", {}, (this.output = el("pre", { class: "output", tabindex: 0 }))),
    };
    this.tabs = TABS.map((name) => this.tab(name));
    const close = el("button", { type: "button", class: "close", "aria-label": "Close", text: "×", onclick: onClose });
    this.node = el(
      "section",
      { class: "details", "aria-label": "Sandbox" },
      el("header", {}, el("div", {}, this.title, this.badge), close),
      this.facts,
      el("div", { class: "actions" }, ...Object.values(this.actions)),
      this.message,
      el("div", { class: "tabs", role: "tablist", onkeydown: (event) => this.key(event) }, ...this.tabs),
      ...Object.values(this.panels),
    );
    Object.entries(this.panels).forEach(([name, panel]) => {
      panel.id = `panel-${name}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", `tab-${name}`);
    });
    this.update(info);
    this.open("Usage");
  }

  close() {
    this.terminal?.close();
    this.plots.forEach((plot) => plot.close());
  }

  update(info) {
    this.info = info;
    setText(this.title, info.name || info.id);
    this.badge.className = `badge is-${info.status}`;
    setText(this.badge, info.status === "stopped" ? `stopped, exit code ${info.exit_code}` : info.status);
    const now = Date.now() / 1000;
    const expiry = info.expires_at ? `in ${duration(info.expires_at - now)}, at ${clock(info.expires_at)}` : "never";
    const facts = {
      ID: info.id,
      Runtime: info.type,
      Image: info.image || "—",
      Command: info.command.join(" ") || "idle",
      Labels: info.labels.join(", ") || "none",
      Limits: `${info.memory_mb} MiB, ${info.cpu_cores} CPU, ${info.pids || "any number of"} processes, ${info.disk_mb ? `${info.disk_mb} MiB of disk, ` : ""}network ${info.network || "none"}`,
      Age: `${duration(now - info.created_at)}, since ${clock(info.created_at)}`,
      Expires: expiry,
    };
    const told = JSON.stringify(facts);
    if (this.told !== told) {
      const pairs = Object.entries(facts).map(([name, text]) => el("div", {}, el("dt", { text: name }), el("dd", { text, title: text })));
      this.facts.replaceChildren(...pairs);
    }
    this.told = told;
    this.actions.pause.hidden = info.status !== "running";
    this.actions.resume.hidden = info.status !== "paused";
    for (const action of [this.actions.snapshot, this.actions.fork]) action.disabled = !["running", "paused"].includes(info.status);
  }

  /** Ask for what the open panel shows. */
  async refresh() {
    try {
      if (this.opened === "Usage") {
        const query = { max_points: PLOT_POINTS };
        const { points } = await call("GET", of(this.id, "metrics", "history"), { query });
        this.plots.forEach((plot) => plot.show(points));
      } else if (this.opened === "Output") {
        const { output, dropped } = await call("GET", of(this.id, "logs"));
        const text = new TextDecoder().decode(fromBase64(output));
        setText(this.output, (dropped ? `(${dropped} bytes before this are not kept)\n` : "") + (text || "It has printed nothing."));
      }
    } catch (error) {
      if (this.opened === "Output") setText(this.output, error.message);
    }
  }

  // Tabs (WAI-ARIA Authoring Practices, tabs)

  tab(name) {
    const properties = { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, text: name };
    return el("button", { ...properties, onclick: () => this.open(name) });
  }

  open(name) {
    this.opened = name;
    this.tabs.forEach((tab, index) => {
      const isOpen = TABS[index] === name;
      tab.setAttribute("aria-selected", isOpen);
      tab.tabIndex = isOpen ? 0 : -1;
      this.panels[TABS[index]].hidden = !isOpen;
    });
    if (name === "Terminal") {
      if (!this.terminal) this.panels.Terminal.append((this.terminal = new Terminal(this.id)).node);
      this.terminal.focus();
    }
    this.refresh();
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const index = (TABS.indexOf(this.opened) + step + TABS.length) % TABS.length;
    // The terminal takes the keyboard when it is opened: that is for Enter alone.
    this.tabs[index].focus();
    if (TABS[index] !== "Terminal") this.open(TABS[index]);
  }

  // What can be done

  action(text, method, name, told, body) {
    const button = el("button", {
      type: "button",
      text,
      onclick: async () => {
        button.disabled = true;
        try {
          this.tell(told(await call(method, of(this.id, name), { body })));
        } catch (error) {
          this.tell(error.message, true);
        }
        button.disabled = false;
        this.update(this.info);
      },
    });
    return button;
  }

  async stop() {
    const name = this.info.name || this.id;
    if (!(await this.ask(`Stop ${name}?`, "All of its processes end, and what it holds is removed.", "Stop"))) return;
    this.actions.stop.disabled = true;
    try {
      await call("DELETE", of(this.id));
      this.notify(`${name} was stopped.`);
    } catch (error) {
      this.tell(error.message, true);
      this.actions.stop.disabled = false;
    }
  }

  tell(text, isError = false) {
    this.message.hidden = false;
    this.message.classList.toggle("error", isError);
    setText(this.message, text);
  }
}
