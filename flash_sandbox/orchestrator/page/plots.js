// Draws what a sandbox has used: a small line in a row, and plots with axes.

import { bytes, clock, duration, setText, svg } from "./dom.js";

const SPARK = { width: 112, height: 26 };
const PAD = { left: 8, right: 8, top: 10, bottom: 20 };
// Samples are five seconds apart, and are asked for as often.
const CURRENT_SECONDS = 12;
const STEPS = [1, 2, 4, 5, 8, 10];

/** What is plotted: of each, how its lines come from a point and the one before. */
export const PLOTS = [
  {
    title: "Memory",
    lines: [{ name: "in use", of: (point) => point.memory_usage_bytes }],
    limit: (point) => point.memory_limit_bytes,
    show: bytes,
    base: 1024 * 1024,
  },
  {
    title: "CPU",
    lines: [{ name: "of one core", of: (point) => point.cpu_percent }],
    show: (value) => `${Number(value.toFixed(value < 10 ? 1 : 0))} %`,
    base: 5,
  },
  {
    title: "Network",
    lines: [
      { name: "in", of: rate("net_rx_bytes") },
      { name: "out", of: rate("net_tx_bytes") },
    ],
    show: (value) => `${bytes(value)}/s`,
    base: 1024,
  },
  {
    title: "Disk",
    lines: [
      { name: "read", of: rate("block_read_bytes") },
      { name: "written", of: rate("block_write_bytes") },
    ],
    show: (value) => `${bytes(value)}/s`,
    base: 1024,
  },
];

function rate(field) {
  return (point, before) =>
    before && point.at > before.at ? Math.max(0, point[field] - before[field]) / (point.at - before.at) : 0;
}

/** Return the path of one line, and of the area under it. */
function paths(values, x, y, floor) {
  if (!values.length) return { line: "", area: "" };
  const places = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  const line = places.length === 1 ? `M${places[0]}h2` : `M${places.join("L")}`;
  const last = x(values.length - 1).toFixed(1);
  return { line, area: `M${x(0).toFixed(1)},${floor}L${places.join("L")}L${last},${floor}Z` };
}

/** Return an element that shows one figure of the last samples as a line, and a function that draws it. */
export function sparkline(plot) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const { width, height } = SPARK;
  const node = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" }, area, line);
  const draw = (points) => {
    const values = points.map((point, index) => plot.lines[0].of(point, points[index - 1]));
    const most = Math.max(plot.base, ...values);
    const x = (index) => 1 + (index / Math.max(values.length - 1, 1)) * (width - 2);
    const y = (value) => height - 2 - (value / most) * (height - 5);
    const drawn = paths(values, x, y, height);
    line.setAttribute("d", drawn.line);
    area.setAttribute("d", drawn.area);
    node.setAttribute("aria-label", values.length ? `${plot.title}: ${plot.show(values.at(-1))}` : plot.title);
  };
  return { node, draw };
}

/** One plot with its title, its axes, and what is under the pointer. */
export class Plot {
  constructor(plot) {
    this.plot = plot;
    this.points = [];
    this.value = document.createElement("span");
    this.value.className = "now";
    this.drawing = svg("svg", { class: "plot", role: "img" });
    this.node = document.createElement("figure");
    const title = document.createElement("figcaption");
    const name = document.createElement("span");
    name.textContent = plot.title;
    title.append(name, this.value);
    this.node.append(title, this.drawing);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.drawing);
    this.drawing.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
  }

  close() {
    this.observer.disconnect();
  }

  show(points) {
    this.points = points;
    this.draw();
  }

  draw() {
    const { width, height } = this.drawing.getBoundingClientRect();
    if (!width) return;
    const { plot, points } = this;
    const series = plot.lines.map((line) => points.map((point, index) => line.of(point, points[index - 1])));
    const limit = points.length && plot.limit ? plot.limit(points.at(-1)) : 0;
    const peak = Math.max(0, ...series.flat());
    // A limit that is far away would press the line flat.
    const most = niceMost(Math.max(plot.base, peak * 1.1, limit && peak > limit / 4 ? limit * 1.05 : 0), plot.base);
    const floor = height - PAD.bottom;
    const start = points[0]?.at ?? 0;
    const span = Math.max((points.at(-1)?.at ?? 0) - start, 1);
    this.x = (index) => PAD.left + ((points[index].at - start) / span) * (width - PAD.left - PAD.right);
    this.y = (value) => floor - (value / most) * (floor - PAD.top);
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawing.setAttribute("aria-label", `${plot.title}: ${this.told(points.length - 1)}`);
    const parts = [0, 0.5, 1].map((part) => this.gridLine(part * most, width));
    if (limit && limit <= most) parts.push(svg("line", { ...this.across(limit, width), class: "limit" }));
    series.forEach((values, index) => {
      const { line, area } = paths(values, this.x, this.y, floor);
      const second = index ? " second" : "";
      parts.push(svg("path", { d: area, class: `area${second}` }), svg("path", { d: line, class: `line${second}` }));
    });
    if (points.length > 1) {
      parts.push(svg("text", { x: PAD.left, y: height - 5, text: ago(start) }));
      parts.push(svg("text", { x: width - PAD.right, y: height - 5, class: "end", text: ago(points.at(-1).at) }));
    }
    this.marker = svg("line", { class: "marker", y1: PAD.top, y2: floor, visibility: "hidden" });
    this.drawing.replaceChildren(...parts, this.marker);
    setText(this.value, points.length ? this.told(points.length - 1) : "no samples yet");
  }

  across(value, width) {
    return { x1: PAD.left, x2: width - PAD.right, y1: this.y(value), y2: this.y(value) };
  }

  gridLine(value, width) {
    const line = svg("line", { ...this.across(value, width), class: "grid" });
    if (!value) return line;
    const text = this.plot.show(value);
    return svg("g", {}, line, svg("text", { x: width - PAD.right, y: this.y(value) + 11, class: "end", text }));
  }

  told(index) {
    const point = this.points[index];
    if (!point) return "";
    const named = this.plot.lines.length > 1;
    const figures = this.plot.lines.map((line) => {
      const value = this.plot.show(line.of(point, this.points[index - 1]));
      return named ? `${line.name} ${value}` : value;
    });
    const limit = this.plot.limit?.(point);
    return figures.join(" · ") + (limit ? ` of ${this.plot.show(limit)}` : "");
  }

  point(offset) {
    const last = this.points.length - 1;
    if (last < 0 || !this.x) return;
    let index = last;
    if (offset !== null) {
      const away = (place) => Math.abs(this.x(place) - offset);
      for (let place = 0; place < last; place += 1) if (away(place) < away(index)) index = place;
    }
    this.marker.setAttribute("visibility", offset === null ? "hidden" : "visible");
    this.marker.setAttribute("x1", this.x(index));
    this.marker.setAttribute("x2", this.x(index));
    setText(this.value, this.told(index) + (offset === null ? "" : ` at ${clock(this.points[index].at)}`));
  }
}

function ago(moment) {
  const seconds = Date.now() / 1000 - moment;
  return seconds < CURRENT_SECONDS ? "now" : `${duration(seconds)} ago`;
}

/** Return the next round number: a small multiple of a power of ten (of 1024, for bytes). */
function niceMost(value, base) {
  const power = base % 1024 ? 10 : 1024;
  let unit = 1;
  while (unit * power <= value) unit *= power;
  const steps = power === 10 ? STEPS : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  return unit * (steps.find((step) => unit * step >= value) ?? power);
}
