// A terminal's screen as data: takes what a program prints, with the control sequences of xterm that matter
// (ECMA-48, and DEC's private ones), and keeps cells, colours and the cursor. It draws nothing.

const KEPT_LINES = 1000;
const PLAIN = Object.freeze({ fg: null, bg: null, flags: "" });
// DEC special graphics, from "`" on.
const LINES = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1f64f}\u{1f680}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const COMBINING = /^[\p{Mn}\p{Me}\u200d\ufe0f]$/u;
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 8: "hidden", 9: "strike" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 28: ["hidden"], 29: ["strike"] };

export class Screen {
  /** `answer` is called with what the terminal itself says to the program. */
  constructor(rows, columns, answer = () => {}) {
    this.rows = rows;
    this.columns = columns;
    this.answer = answer;
    this.reset();
  }

  reset() {
    this.history = [];
    this.style = PLAIN;
    this.lines = this.blankLines(this.rows);
    this.other = null;
    this.row = this.column = 0;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.saved = { row: 0, column: 0, style: PLAIN };
    this.wraps = true;
    this.pendingWrap = false;
    this.cursorShown = true;
    this.applicationKeys = this.bracketedPaste = false;
    this.graphics = false;
    this.state = "text";
    this.sequence = "";
    this.last = " ";
  }

  blankCell() {
    // What is erased has the colour of the background (xterm's bce).
    return { text: " ", style: this.style.bg === null ? PLAIN : { ...PLAIN, bg: this.style.bg } };
  }

  blankLine() {
    return Array.from({ length: this.columns }, () => this.blankCell());
  }

  blankLines(count) {
    return Array.from({ length: count }, () => this.blankLine());
  }

  resize(rows, columns) {
    const fit = (line) => line.slice(0, columns).concat(Array.from({ length: Math.max(0, columns - line.length) }, () => this.blankCell()));
    this.columns = columns;
    const resized = (lines, keep) => {
      lines = lines.map(fit);
      // Empty lines below go first, then those above, which are kept.
      while (lines.length > rows && lines.length - 1 > this.row) lines.pop();
      while (lines.length > rows) {
        const line = lines.shift();
        if (keep) this.keep(line);
        this.row = Math.max(0, this.row - 1);
      }
      return lines.concat(this.blankLines(rows - lines.length));
    };
    this.lines = resized(this.lines, this.other === null);
    if (this.other) this.other = resized(this.other, false);
    this.rows = rows;
    this.top = 0;
    this.bottom = rows - 1;
    this.move(this.row, this.column);
  }

  keep(line) {
    this.history.push(line);
    if (this.history.length > KEPT_LINES) this.history.shift();
  }

  write(text) {
    for (const character of text) this.take(character);
  }

  take(character) {
    const code = character.codePointAt(0);
    if (this.state === "string") {
      // OSC, DCS and the like end with BEL, ST or CAN; what they say is not for us.
      if ([7, 24, 26].includes(code) || (character === "\\" && this.sequence.endsWith("\x1b"))) this.state = "text";
      this.sequence = character;
    } else if (code === 0x1b) {
      this.state = "escape";
      this.sequence = "";
    } else if (code < 0x20 || code === 0x7f) this.control(code);
    else if (this.state === "text") this.print(character);
    else if (this.state === "escape") this.escape(character);
    else if (code >= 0x40 && code <= 0x7e) {
      this.state = "text";
      this.csi(character, this.sequence);
    } else if (this.sequence.length < 100) this.sequence += character;
  }

  control(code) {
    if (code === 8) this.move(this.row, this.column - 1);
    else if (code === 9) this.move(this.row, Math.min((Math.floor(this.column / 8) + 1) * 8, this.columns - 1));
    else if (code >= 10 && code <= 12) this.lineFeed();
    else if (code === 13) this.move(this.row, 0);
    else if (code === 14 || code === 15) this.graphics = code === 14;
    else if (code === 24 || code === 26) this.state = "text";
  }

  print(character) {
    if (this.graphics) character = LINES[character.codePointAt(0) - 0x60] ?? character;
    if (COMBINING.test(character)) {
      const cell = this.lines[this.row][Math.max(0, this.column - (this.pendingWrap ? 0 : 1))];
      if (cell.text.length < 16) cell.text += character;
      return;
    }
    const width = WIDE.test(character) ? 2 : 1;
    if (this.pendingWrap || this.column + width > this.columns) {
      if (this.wraps) {
        this.lineFeed();
        this.column = 0;
      } else this.column = this.columns - width;
      this.pendingWrap = false;
    }
    const line = this.lines[this.row];
    line[this.column] = { text: character, style: this.style };
    if (width === 2) line[this.column + 1] = { text: "", style: this.style };
    this.last = character;
    if (this.column + width >= this.columns) this.pendingWrap = true;
    this.column = Math.min(this.column + width, this.columns - 1);
  }

  move(row, column) {
    this.row = Math.max(0, Math.min(row, this.rows - 1));
    this.column = Math.max(0, Math.min(column, this.columns - 1));
    this.pendingWrap = false;
  }

  lineFeed() {
    if (this.row === this.bottom) this.scroll(1);
    else this.move(this.row + 1, this.column);
    this.pendingWrap = false;
  }

  scroll(count, top = this.top) {
    for (let times = Math.min(Math.abs(count), this.rows); times > 0; times -= 1) {
      const [gone] = this.lines.splice(count > 0 ? top : this.bottom, 1);
      this.lines.splice(count > 0 ? this.bottom : top, 0, this.blankLine());
      if (count > 0 && top === 0 && this.other === null) this.keep(gone);
    }
  }

  escape(character) {
    this.state = "text";
    if (this.sequence) {
      if (this.sequence === "(") this.graphics = character === "0";
    } else if ("()*+#%".includes(character)) {
      this.sequence = character;
      this.state = "escape";
    } else if (character === "[") {
      this.state = "csi";
    } else if ("]PX^_".includes(character)) this.state = "string";
    else if (character === "7") this.save();
    else if (character === "8") this.restore();
    else if (character === "D") this.lineFeed();
    else if (character === "E") {
      this.lineFeed();
      this.column = 0;
    } else if (character === "M") {
      if (this.row === this.top) this.scroll(-1);
      else this.move(this.row - 1, this.column);
    } else if (character === "c") this.reset();
  }

  save() {
    this.saved = { row: this.row, column: this.column, style: this.style };
  }

  restore() {
    this.style = this.saved.style;
    this.move(this.saved.row, this.saved.column);
  }

  csi(final, sequence) {
    const isPrivate = /^[?>=<]/.test(sequence);
    const numbers = sequence.replace(/[^0-9;:]/g, "").split(/[;:]/).map((text) => Number(text || 0));
    const [first, second = 0] = numbers;
    const count = Math.min(Math.max(first, 1), 10000);
    if (isPrivate) {
      if (sequence[0] === "?" && "hl".includes(final)) numbers.forEach((mode) => this.mode(mode, final === "h"));
      return;
    }
    const line = this.lines[this.row];
    const moves = {
      A: () => this.move(this.row - count, this.column),
      B: () => this.move(this.row + count, this.column),
      C: () => this.move(this.row, this.column + count),
      D: () => this.move(this.row, this.column - count),
      E: () => this.move(this.row + count, 0),
      F: () => this.move(this.row - count, 0),
      G: () => this.move(this.row, count - 1),
      "`": () => this.move(this.row, count - 1),
      H: () => this.move(count - 1, Math.max(second, 1) - 1),
      f: () => this.move(count - 1, Math.max(second, 1) - 1),
      d: () => this.move(count - 1, this.column),
      J: () => this.eraseScreen(first),
      K: () => this.erase(line, first === 0 ? this.column : 0, first === 1 ? this.column + 1 : this.columns),
      X: () => this.erase(line, this.column, this.column + count),
      L: () => this.inRegion() && this.scroll(-count, this.row),
      M: () => this.inRegion() && this.removeLines(count),
      P: () => this.shift(line, 0, count),
      "@": () => this.shift(line, count, 0),
      S: () => this.scroll(count),
      T: () => this.scroll(-count),
      b: () => this.write(this.last.repeat(Math.min(count, this.columns))),
      r: () => this.setRegion(Math.max(first, 1) - 1, (second || this.rows) - 1),
      s: () => this.save(),
      u: () => this.restore(),
      m: () => this.colour(numbers),
      c: () => this.answer("\x1b[?62;22c"),
      n: () => this.report(first),
    };
    moves[final]?.();
  }

  mode(mode, on) {
    if (mode === 1) this.applicationKeys = on;
    else if (mode === 7) this.wraps = on;
    else if (mode === 25) this.cursorShown = on;
    else if (mode === 2004) this.bracketedPaste = on;
    else if ([47, 1047, 1049].includes(mode) && on !== (this.other !== null)) {
      if (on && mode === 1049) this.save();
      if (on) [this.other, this.lines] = [this.lines, this.blankLines(this.rows)];
      else [this.lines, this.other] = [this.other, null];
      if (!on && mode === 1049) this.restore();
    }
  }

  report(what) {
    if (what === 5) this.answer("\x1b[0n");
    if (what === 6) this.answer(`\x1b[${this.row + 1};${this.column + 1}R`);
  }

  inRegion() {
    return this.row >= this.top && this.row <= this.bottom;
  }

  removeLines(count) {
    const other = this.other;
    // What is removed from amid the screen is not scrolled away.
    this.other = other ?? [];
    this.scroll(count, this.row);
    this.other = other;
  }

  setRegion(top, bottom) {
    if (top >= bottom || bottom >= this.rows) return;
    [this.top, this.bottom] = [top, bottom];
    this.move(0, 0);
  }

  erase(line, from, to) {
    for (let column = from; column < Math.min(to, this.columns); column += 1) line[column] = this.blankCell();
  }

  eraseScreen(what) {
    if (what === 3) this.history = [];
    this.lines.forEach((line, row) => {
      const all = what === 2 || (what === 0 && row > this.row) || (what === 1 && row < this.row);
      if (all) this.erase(line, 0, this.columns);
      else if (row === this.row && what < 2) this.erase(line, what ? 0 : this.column, what ? this.column + 1 : this.columns);
    });
  }

  shift(line, inserted, removed) {
    const blanks = Array.from({ length: Math.min(inserted + removed, this.columns) }, () => this.blankCell());
    if (inserted) line.splice(this.column, 0, ...blanks);
    else {
      line.splice(this.column, removed);
      line.push(...blanks);
    }
    while (line.length < this.columns) line.push(this.blankCell());
    line.length = this.columns;
  }

  colour(numbers) {
    const set = (changes) => (this.style = Object.freeze({ ...this.style, ...changes }));
    for (let place = 0; place < numbers.length; place += 1) {
      const number = numbers[place];
      const flags = new Set(this.style.flags.split(" ").filter(Boolean));
      if (number === 0) this.style = PLAIN;
      else if (FLAGS[number]) set({ flags: [...flags.add(FLAGS[number])].join(" ") });
      else if (ENDS[number]) set({ flags: [...flags].filter((flag) => !ENDS[number].includes(flag)).join(" ") });
      else if (number === 38 || number === 48) {
        const rgb = numbers[place + 1] === 2;
        const value = rgb ? `rgb(${numbers.slice(place + 2, place + 5).join(",")})` : indexed(numbers[place + 2] ?? 0);
        set(number === 38 ? { fg: value } : { bg: value });
        place += rgb ? 4 : 2;
      } else if (number === 39) set({ fg: null });
      else if (number === 49) set({ bg: null });
      else if (number >= 30 && number <= 37) set({ fg: number - 30 });
      else if (number >= 40 && number <= 47) set({ bg: number - 40 });
      else if (number >= 90 && number <= 97) set({ fg: number - 82 });
      else if (number >= 100 && number <= 107) set({ bg: number - 92 });
    }
  }
}

/** Return a colour of xterm's 256: the number of one of the first 16, else its value. */
function indexed(number) {
  if (number < 16) return number;
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return `rgb(${grey},${grey},${grey})`;
  }
  const level = (part) => (part ? 55 + part * 40 : 0);
  const cube = number - 16;
  return `rgb(${level(Math.floor(cube / 36))},${level(Math.floor(cube / 6) % 6)},${level(cube % 6)})`;
}
