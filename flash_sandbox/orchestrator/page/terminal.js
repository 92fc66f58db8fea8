// A terminal in a sandbox: shows a screen, sends what is typed, and follows the size of its place.

import { call, fromBase64, of, stream, toBase64 } from "./api.js";
import { el, setText } from "./dom.js";
import { Screen } from "./screen.js";

// The best shell that the sandbox has.
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"];
const ENV = ["TERM=xterm-256color", "COLORTERM=truecolor"];
const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const KEYS = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: "\x1b",
  Insert: "\x1b[2~",
  Delete: "\x1b[3~",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
  F1: "\x1bOP",
  F2: "\x1bOQ",
  F3: "\x1bOR",
  F4: "\x1bOS",
  ...Object.fromEntries([15, 17, 18, 19, 20, 21, 23, 24].map((code, index) => [`F${index + 5}`, `\x1b[${code}~`])),
};

export class Terminal {
  constructor(sandbox) {
    this.sandbox = sandbox;
    this.input = el("textarea", {
      class: "keys",
      "aria-label": "Terminal input",
      autocapitalize: "off",
      autocomplete: "off",
      spellcheck: "false",
      rows: 1,
      onkeydown: (event) => this.key(event),
      oninput: () => this.typed(),
      onpaste: (event) => this.paste(event),
      onfocus: () => this.node.classList.add("focused"),
      onblur: () => this.node.classList.remove("focused"),
    });
    this.text = el("div", { class: "screen" });
    this.probe = el("span", { class: "probe", text: "0".repeat(10), "aria-hidden": "true" });
    this.view = el("div", { class: "view", role: "log", "aria-label": "Terminal" }, this.text, this.input, this.probe);
    this.status = el("p", { class: "hint", role: "status", text: "Shift+Tab leaves the terminal." });
    this.again = el("button", { type: "button", text: "New shell", hidden: true, onclick: () => this.begin() });
    this.node = el("div", { class: "terminal" }, this.view, el("div", { class: "bar" }, this.status, this.again));
    this.view.addEventListener("mouseup", () => {
      if (document.getSelection().isCollapsed) this.input.focus({ preventScroll: true });
    });
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.view);
    // A page that one may go back to keeps its connections; the shell of one that was left is to end.
    this.left = () => this.ending.abort();
    addEventListener("pagehide", this.left);
    this.lineNodes = [];
    this.process = null;
    this.unsent = "";
    this.begin();
  }

  close() {
    this.observer.disconnect();
    removeEventListener("pagehide", this.left);
    this.ending.abort();
  }

  focus() {
    this.input.focus();
  }

  async begin() {
    this.again.hidden = true;
    setText(this.status, "Shift+Tab leaves the terminal.");
    const { rows, columns } = this.size() ?? { rows: 24, columns: 80 };
    this.screen = new Screen(rows, columns, (text) => this.send(text));
    this.ending = new AbortController();
    const decoder = new TextDecoder();
    const body = { command: SHELL, env: ENV, tty: true, keep_stdin: true, rows, columns };
    let end = "the connection was lost";
    try {
      const frames = stream("POST", of(this.sandbox, "exec", "stream"), { body, signal: this.ending.signal });
      for await (const frame of frames) {
        if (frame.type === "started") {
          this.process = frame.process_id;
          this.fit();
          this.send("");
        } else if (frame.type === "stdout") {
          this.screen.write(decoder.decode(fromBase64(frame.data), { stream: true }));
          this.drawSoon();
        } else if (frame.type === "exit") end = frame.signal ? `ended by signal ${frame.signal}` : `ended with exit code ${frame.exit_code}`;
      }
    } catch (error) {
      end = error.name === "AbortError" ? "it was left" : error.message;
    }
    this.process = null;
    this.unsent = "";
    this.again.hidden = false;
    setText(this.status, `The shell is gone: ${end}.`);
  }

  // What is typed

  key(event) {
    if (event.isComposing || event.metaKey || (event.key === "Tab" && event.shiftKey)) return;
    // As browsers have it: copies what is selected, and pastes.
    if (event.ctrlKey && event.shiftKey) return;
    const text = this.sequence(event);
    if (text === null) return;
    event.preventDefault();
    this.send(event.altKey && !text.startsWith("\x1b") ? `\x1b${text}` : text);
  }

  sequence({ key, ctrlKey, altKey, shiftKey }) {
    if (ARROWS[key]) {
      const modifier = 1 + shiftKey + 2 * altKey + 4 * ctrlKey;
      if (modifier > 1) return `\x1b[1;${modifier}${ARROWS[key]}`;
      return (this.screen.applicationKeys ? "\x1bO" : "\x1b[") + ARROWS[key];
    }
    if (KEYS[key]) return KEYS[key];
    if (key.length !== 1) return null;
    if (ctrlKey && /[a-z@[\\\]^_ ]/i.test(key)) return key === " " ? "\0" : String.fromCharCode(key.toUpperCase().charCodeAt(0) & 31);
    return altKey && !ctrlKey ? key : null;
  }

  typed() {
    this.send(this.input.value);
    this.input.value = "";
  }

  paste(event) {
    event.preventDefault();
    const text = event.clipboardData.getData("text").replaceAll(/\r?\n/g, "\r");
    // Else what is pasted could end the paste, and go on as if it were typed.
    const safe = text.replaceAll("\x1b", "");
    this.send(this.screen.bracketedPaste ? `\x1b[200~${safe}\x1b[201~` : safe);
  }

  /** Send input in the order in which it came, one request at a time. */
  async send(text) {
    this.unsent += text;
    if (this.sending || !this.process) return;
    this.sending = true;
    while (this.unsent && this.process) {
      const data = toBase64(this.unsent);
      this.unsent = "";
      try {
        await call("POST", of(this.sandbox, "processes", this.process, "stdin"), { body: { data } });
      } catch (error) {
        if (this.process) setText(this.status, `What was typed did not arrive: ${error.message}.`);
      }
    }
    this.sending = false;
  }

  // How large it is

  size() {
    const cell = this.probe.getBoundingClientRect();
    const style = getComputedStyle(this.view);
    const room = (name, ends) => this.view[name] - ends.reduce((sum, end) => sum + parseFloat(style[`padding${end}`]), 0);
    const columns = Math.floor(room("clientWidth", ["Left", "Right"]) / (cell.width / 10));
    const rows = Math.floor(room("clientHeight", ["Top", "Bottom"]) / cell.height);
    if (!cell.width || columns < 2 || rows < 2) return null;
    return { rows: Math.min(rows, 300), columns: Math.min(columns, 500) };
  }

  fit() {
    const size = this.size();
    if (!size) return;
    if (size.rows !== this.screen.rows || size.columns !== this.screen.columns) {
      this.screen.resize(size.rows, size.columns);
      this.drawSoon();
    }
    clearTimeout(this.resizing);
    this.resizing = setTimeout(() => this.tellSize(size), 100);
  }

  async tellSize(size) {
    const told = JSON.stringify([this.process, size]);
    if (!this.process || told === this.told) return;
    this.told = told;
    // A process that has ended meanwhile has no size.
    await call("POST", of(this.sandbox, "processes", this.process, "resize"), { body: size }).catch(() => {});
  }

  // What it shows

  drawSoon() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  draw() {
    const { screen, view } = this;
    const atEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - 4;
    const kept = screen.other === null ? screen.history : [];
    const lines = [...kept, ...screen.lines];
    const cursor = screen.cursorShown ? kept.length + screen.row : -1;
    while (this.lineNodes.length > lines.length) this.lineNodes.pop().node.remove();
    lines.forEach((line, index) => {
      const runs = runsOf(line, index === cursor ? screen.column : -1);
      const key = JSON.stringify(runs);
      let drawn = this.lineNodes[index];
      if (!drawn) {
        drawn = this.lineNodes[index] = { node: el("div"), key: null };
        this.text.append(drawn.node);
      }
      if (drawn.key !== key) drawn.node.replaceChildren(...runs.map(spanOf));
      drawn.key = key;
    });
    const place = this.lineNodes[kept.length + screen.row].node;
    this.input.style.top = `${place.offsetTop}px`;
    if (atEnd) view.scrollTop = view.scrollHeight;
  }
}

/** Return a line as runs of cells that look the same: text, style, and whether the cursor is on it. */
function runsOf(line, cursor) {
  const runs = [];
  let end = line.length;
  // Else what is copied would be filled with blanks.
  while (end - 1 > cursor && line[end - 1].text === " " && !line[end - 1].style.flags && line[end - 1].style.bg === null) end -= 1;
  line.slice(0, end).forEach((cell, column) => {
    const last = runs.at(-1);
    const isCursor = column === cursor;
    if (last && last[1] === cell.style && !last[2] && !isCursor) last[0] += cell.text;
    else runs.push([cell.text, cell.style, isCursor]);
  });
  return runs;
}

function spanOf([text, { fg, bg, flags }, isCursor]) {
  const names = flags ? flags.split(" ") : [];
  if (typeof fg === "number") names.push(`f${fg}`);
  if (typeof bg === "number") names.push(`b${bg}`);
  if (isCursor) names.push("cursor");
  const span = el("span", { class: names.join(" ") || null, text });
  if (typeof fg === "string") span.style.setProperty("--fg", fg);
  if (typeof bg === "string") span.style.setProperty("--bg", bg);
  return span;
}
