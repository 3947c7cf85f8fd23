"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.dispatches, memory = data.memory;
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; text is only ever text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "path", "line", "text", "title"].includes(name);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}
function bytes(n) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (n >= size) return `${(n / size).toFixed(n >= 100 * size ? 0 : 1)} ${unit}`;
  return `${n} bytes`;
}
const short = (text, most) => (text.length <= most ? text : `…${text.slice(text.length - most + 1)}`);
const node = (r) => r.nodes[r.nodes.length - 1] ?? r.kernel;

// ---- memory over time: x is the command, y the offset ----

const madeAt = new Map(rows.map((r, n) => [r.command, n]));
function drawMemory() {
  const panel = byId("memory");
  panel.replaceChildren();
  const [left, top, right, bottom] = [64, 14, 14, 34];
  const width = Math.max(480, panel.clientWidth - 18), height = 380;
  const most = Math.max(memory.arena_bytes, 1), steps = Math.max(memory.commands, 1) + 1;
  const x = (c) => left + (c / steps) * (width - left - right);
  const y = (b) => height - bottom - (b / most) * (height - top - bottom);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Tensors in the arena over time" });
  for (let k = 0; k <= 4; k++) {
    const at = (most * k) / 4;
    svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: y(at), y2: y(at) }));
    svg.append(make("text", { class: "soft", x: left - 8, y: y(at) + 4, "text-anchor": "end" }, bytes(Math.round(at))));
  }
  const stride = Math.max(1, Math.ceil(rows.length / 12));
  rows.forEach((r, n) => {
    if (n % stride === 0) svg.append(make("text", { class: "soft", x: x(r.command + 0.5), y: height - bottom + 17, "text-anchor": "middle" }, String(n)));
  });
  svg.append(make("text", { class: "soft", x: width - right, y: height - 3, "text-anchor": "end" }, "dispatch"));
  for (const b of memory.buffers) {
    if (b.bytes <= 0) continue;
    const [x0, x1, y0, y1] = [x(b.start), x(b.end + 1), y(b.offset + b.bytes), y(b.offset)];
    const maker = madeAt.get(b.start);
    const live = b.start <= memory.peak_command && memory.peak_command <= b.end;
    const bar = make("rect", { class: `buffer ${maker === undefined ? "other" : rows[maker].kind}${live ? " live" : ""}`, x: x0, y: y0, width: Math.max(x1 - x0, 1), height: Math.max(y1 - y0, 1), rx: 2 });
    bar.append(make("title", {}, `${b.name}\n${bytes(b.bytes)} at ${bytes(b.offset)}${b.formula === String(b.bytes) ? "" : `\n= ${b.formula}`}\ncommands ${b.start} to ${b.end}`));
    if (maker !== undefined) bar.addEventListener("click", () => select(maker, true));
    svg.append(bar);
    const letters = Math.floor((x1 - x0 - 8) / 7);
    if (letters >= 4 && y1 - y0 >= 15) svg.append(make("text", { class: "label", x: x0 + 4, y: (y0 + y1) / 2 + 4 }, short(b.name, letters)));
  }
  const peak = make("rect", { class: "peak", x: x(memory.peak_command), y: top, width: Math.max(x(1) - x(0), 2), height: height - top - bottom, "pointer-events": "none" });
  svg.append(peak);
  svg.append(make("line", { class: "bound", x1: left, x2: width - right, y1: y(memory.lower_bound_bytes), y2: y(memory.lower_bound_bytes) }));
  const kinds = [...new Set(rows.map((r) => r.kind))];
  const legend = make("div", { class: "legend" }, ...kinds.map((k) => make("span", {}, make("i", { class: `dot ${k}` }), `made by ${k}`)));
  legend.append(make("span", {}, `peak ${bytes(memory.lower_bound_bytes)} alive, arena ${bytes(memory.arena_bytes)}: ${memory.peak}`));
  panel.append(svg, legend);
}

// ---- the graph: layers by longest path, lanes by the mean of neighbours ----

const BOX = 216, TALL = 46, GAP_X = 26, GAP_Y = 34;
function layout() {
  const rank = rows.map(() => 0);
  rows.forEach((r, n) => { for (const p of r.after) rank[n] = Math.max(rank[n], rank[p] + 1); });
  // What nothing precedes stands just above its first reader.
  const first = rows.map(() => Infinity);
  rows.forEach((r, n) => { for (const p of r.after) first[p] = Math.min(first[p], rank[n]); });
  rows.forEach((r, n) => { if (r.after.length === 0 && first[n] < Infinity) rank[n] = first[n] - 1; });
  const layers = [];
  const put = (v) => ((layers[v.rank] ??= []).push(v), v);
  const boxes = rows.map((r, n) => put({ n, rank: rank[n], wide: BOX, up: [], down: [], x: 0 }));
  const edges = [];
  rows.forEach((r, n) => {
    for (const p of r.after) {
      // A long edge goes through a narrow place in each layer that it passes.
      let from = boxes[p];
      const path = [from];
      for (let k = rank[p] + 1; k <= rank[n]; k++) {
        const to = k === rank[n] ? boxes[n] : put({ rank: k, wide: 14, up: [], down: [], x: 0 });
        from.down.push(to);
        to.up.push(from);
        path.push((from = to));
      }
      edges.push({ from: p, to: n, path });
    }
  });
  for (let k = 0; k < layers.length; k++) layers[k] ??= [];
  const mean = (list) => list.reduce((sum, v) => sum + v.x, 0) / list.length;
  const spread = (layer) => {
    // Wanted places, made disjoint from left to right, then centred on the mean of what was wanted.
    const wanted = layer.map((v) => v.x);
    let edge = -Infinity;
    for (const v of layer) {
      v.x = Math.max(v.x, edge + v.wide / 2);
      edge = v.x + v.wide / 2 + GAP_X;
    }
    const shift = layer.reduce((sum, v, k) => sum + v.x - wanted[k], 0) / Math.max(layer.length, 1);
    for (const v of layer) v.x -= shift;
  };
  for (const layer of layers) {
    layer.forEach((v, k) => { v.x = k; });
    spread(layer);
  }
  for (let sweep = 0; sweep < 8; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const v of layer) {
        const near = down ? v.up : v.down;
        if (near.length > 0) v.x = mean(near);
      }
      layer.sort((a, b) => a.x - b.x);
      spread(layer);
    }
  }
  return { layers, boxes, edges };
}

const view = { x: 0, y: 0, scale: 1 };
let places, boxOf = [], edgeOf = [], scene;
function drawGraph() {
  const panel = byId("graph");
  places = layout();
  const y = (v) => v.rank * (TALL + GAP_Y);
  scene = make("g");
  for (const e of places.edges) {
    let d = "";
    e.path.forEach((v, k) => {
      if (k === 0) return void (d = `M${v.x} ${y(v) + TALL}`);
      const before = e.path[k - 1], from = y(before) + TALL, to = y(v);
      d += ` C${before.x} ${from + GAP_Y * 0.6} ${v.x} ${to - GAP_Y * 0.6} ${v.x} ${to}`;
      if (v.n === undefined) d += ` L${v.x} ${to + TALL}`;
    });
    const path = make("path", { class: "edge", d });
    edgeOf.push({ e, path });
    scene.append(path);
  }
  for (const v of places.boxes) {
    const r = rows[v.n];
    const g = make("g", { class: `box ${r.kind}`, transform: `translate(${v.x - BOX / 2} ${y(v)})`, tabindex: "0", role: "button", "aria-label": `dispatch ${v.n}, ${r.kind}` });
    g.append(make("rect", { width: BOX, height: TALL, rx: 7 }), make("rect", { class: "kind", width: 5, height: TALL, rx: 2.5 }));
    g.append(make("text", { x: 14, y: 19 }, short(node(r), 29)));
    g.append(make("text", { class: "soft", x: 14, y: 36 }, `${v.n} · ${r.kind} · ${share(r)}`));
    g.append(make("title", {}, r.nodes.join("\n")));
    g.addEventListener("click", () => select(v.n, false));
    g.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); select(v.n, false); } });
    boxOf[v.n] = g;
    scene.append(g);
  }
  const svg = make("svg", {}, scene);
  const button = (text, label, act) => { const b = make("button", { "aria-label": label }, text); b.addEventListener("click", act); return b; };
  panel.append(svg, make("div", { class: "zoom" }, button("+", "Larger", () => zoom(1.3)), button("−", "Smaller", () => zoom(1 / 1.3)), button("All", "Show all", fit)));
  let held;
  svg.addEventListener("pointerdown", (e) => { held = { x: e.clientX - view.x, y: e.clientY - view.y, moved: false, id: e.pointerId }; });
  svg.addEventListener("pointermove", (e) => {
    if (!held) return;
    if (!held.moved && Math.hypot(e.clientX - held.x - view.x, e.clientY - held.y - view.y) < 4) return;
    if (!held.moved) { held.moved = true; svg.setPointerCapture(held.id); panel.classList.add("moving"); }
    [view.x, view.y] = [e.clientX - held.x, e.clientY - held.y];
    place();
  });
  const let_go = () => { held = undefined; panel.classList.remove("moving"); };
  svg.addEventListener("pointerup", let_go);
  svg.addEventListener("pointercancel", let_go);
  panel.addEventListener("wheel", (e) => {
    e.preventDefault();
    const box = panel.getBoundingClientRect();
    if (e.ctrlKey || e.metaKey) return zoom(Math.exp(-e.deltaY * 0.01), e.clientX - box.left, e.clientY - box.top);
    view.x -= e.deltaX;
    view.y -= e.deltaY;
    place();
  }, { passive: false });
  const box = places.boxes[0];
  if (box) [view.x, view.y] = [panel.clientWidth / 2 - box.x, 18 - box.rank * (TALL + GAP_Y)];
  place();
}
const place = () => scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
function zoom(by, x = byId("graph").clientWidth / 2, y = byId("graph").clientHeight / 2) {
  const scale = Math.min(3, Math.max(0.02, view.scale * by));
  [view.x, view.y] = [x - ((x - view.x) * scale) / view.scale, y - ((y - view.y) * scale) / view.scale];
  view.scale = scale;
  place();
}
function fit() {
  const panel = byId("graph"), box = scene.getBBox();
  view.scale = Math.min(1, (panel.clientWidth - 30) / Math.max(box.width, 1), (panel.clientHeight - 30) / Math.max(box.height, 1));
  [view.x, view.y] = [panel.clientWidth / 2 - (box.x + box.width / 2) * view.scale, panel.clientHeight / 2 - (box.y + box.height / 2) * view.scale];
  place();
}
const total = rows.reduce((sum, r) => sum + r.us, 0) || 1;
const share = (r) => `${((r.us / total) * 100).toFixed(1)} %`;

// ---- one dispatch in words ----

function select(n, move) {
  const r = rows[n], panel = byId("graph");
  boxOf.forEach((g, k) => g.classList.toggle("on", k === n));
  edgeOf.forEach(({ e, path }) => path.classList.toggle("on", e.from === n || e.to === n));
  document.querySelectorAll("#cost tbody tr").forEach((tr) => tr.classList.toggle("on", Number(tr.dataset.n) === n));
  if (move) {
    const v = places.boxes[n];
    [view.x, view.y] = [panel.clientWidth / 2 - v.x * view.scale, panel.clientHeight / 2 - v.rank * (TALL + GAP_Y) * view.scale];
    place();
  }
  const facts = [["Time", `${r.us.toFixed(1)} µs (${share(r)})`], ["Arithmetic", `${(r.flops / 1e6).toFixed(2)} Mflop`], ["Read", bytes(r.read)], ["Written", bytes(r.written)], ["Kernel", r.kernel]];
  const detail = byId("detail");
  detail.replaceChildren(make("h3", {}, make("i", { class: `dot ${r.kind}` }), `${n} · ${r.kind}`));
  detail.append(make("dl", {}, ...facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)])));
  if (r.note) detail.append(make("p", { class: "note" }, r.note));
  detail.append(make("h4", {}, r.nodes.length === 1 ? "ONNX node" : `${r.nodes.length} ONNX nodes`), make("ul", {}, ...r.nodes.map((x) => make("li", {}, x))));
  for (const [title, list, other] of [["Not merged with what reads it", data.refused.filter((p) => p.from === n), "to"], ["Not merged with what it reads", data.refused.filter((p) => p.to === n), "from"]]) {
    if (list.length === 0) continue;
    detail.append(make("h4", {}, title));
    for (const p of list) detail.append(make("ul", {}, make("li", {}, `${p[other]}: ${p.reasons.map(([way, why]) => `${way}, ${why}`).join("; ")}`)));
  }
}

// ---- the table ----

const keys = { n: (r, n) => n, kind: (r) => r.kind, us: (r) => r.us, flops: (r) => r.flops, read: (r) => r.read, written: (r) => r.written, nodes: (r) => r.nodes.join(" ") };
const body = document.querySelector("#cost tbody");
for (const button of document.querySelectorAll("#cost th button")) {
  button.addEventListener("click", () => {
    const th = button.closest("th"), key = keys[button.dataset.key];
    // Numbers start with the largest.
    const now = th.getAttribute("aria-sort"), numbers = !["n", "kind", "nodes"].includes(button.dataset.key);
    const order = now ? (now === "ascending" ? -1 : 1) : numbers ? -1 : 1;
    for (const other of document.querySelectorAll("#cost th")) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
    const of = (tr) => key(rows[Number(tr.dataset.n)], Number(tr.dataset.n));
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    body.append(...[...body.rows].sort((a, b) => order * compare(of(a), of(b)) || a.dataset.n - b.dataset.n));
  });
}
body.addEventListener("click", (e) => { const tr = e.target.closest("tr"); if (tr) select(Number(tr.dataset.n), true); });

drawMemory();
drawGraph();
if (rows.length > 0) select(rows.reduce((best, r, n) => (r.us > rows[best].us ? n : best), 0), false);
let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawMemory, 120); });
