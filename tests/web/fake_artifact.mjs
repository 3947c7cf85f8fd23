// Writes artifacts by hand, for tests of the browser runtime that need no compiler: the mirror of runtime/format in JavaScript.
// Checksums for the native reader (xxh3) are left zero; the browser runtime checks SHA-256.
import { createHash } from "node:crypto";

const sha = (bytes) => createHash("sha256").update(bytes).digest();
const I64_MAX = 2n ** 63n - 1n;

class Postcard {
  out = [];
  uint(value) {
    for (let v = BigInt(value); ; v >>= 7n) {
      if (v < 128n) return void this.out.push(Number(v));
      this.out.push(Number(v & 127n) | 128);
    }
  }
  int(value) {
    const v = value === Infinity ? I64_MAX : BigInt(value);
    this.uint(v < 0n ? -2n * v - 1n : 2n * v);
  }
  raw(bytes) { for (const b of bytes) this.out.push(b); }
  string(text) { const bytes = Buffer.from(text); this.uint(bytes.length); this.raw(bytes); }
  list(items, item) { this.uint(items.length); for (const i of items) item(i); }
}

const DTYPES = ["f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool", ...Array(12).fill(""), "str"];
const INSTRS = ["const", "dim", "add", "sub", "mul", "floordiv", "ceildiv", "mod", "min", "max", "align", "said"];
const CHECKS = ["at-least", "at-most", "equal", "multiple-of"];
const REFS = ["input", "weight", "arena", "output"];

/** A shape program without duplicates: `b("mul", n, three)` gives a slot. */
export function shapeBuilder() {
  const instrs = [];
  const build = (op, ...args) => {
    const known = instrs.findIndex((i) => JSON.stringify(i) === JSON.stringify([op, ...args]));
    return known >= 0 ? known : instrs.push([op, ...args]) - 1;
  };
  build.instrs = instrs;
  return build;
}

/** Offsets of weights, as the compiler places them: `weights` are Buffers. */
function place(weights) {
  let end = 0;
  return weights.map((bytes) => {
    const offset = Math.ceil(end / 256) * 256;
    end = offset + bytes.length;
    return { bytes, offset };
  });
}

/**
 * `model`: { name, symbols: [{ name, lo, hi, multipleOf, slot }], inputs and outputs: [{ name, dtype, shape: slots, text }], instrs,
 * checks: [[relation, a, b, what]], inRange: [{ input, ranges: [[slot, slot]], what }], weights: [Buffer], chunkBytes, targets: [{ target, features, limits: [4 numbers],
 * kernels: [{ name, code, workgroup, access: "rw…" one letter a buffer }], commands: [{ kernel, buffers, dims, bytes, grid } |
 * { src, dst, bytes }], outputs, arena }] }; a buffer is ["input" | "weight" | "arena" | "output", index or slot].
 */
export function encodeArtifact(model) {
  const p = new Postcard();
  const placed = place(model.weights);
  const last = placed.at(-1);
  const weights = Buffer.alloc(last ? last.offset + last.bytes.length : 0);
  for (const { bytes, offset } of placed) bytes.copy(weights, offset);
  const chunks = [];
  for (let at = 0; at < weights.length; at += model.chunkBytes) chunks.push(sha(weights.subarray(at, at + model.chunkBytes)));
  const sections = model.targets.map((t) => {
    let code = Buffer.alloc(0);
    for (const k of t.kernels) {
      k.offset = Math.ceil(code.length / 16) * 16;
      const text = Buffer.from(k.code);
      k.len = text.length;
      code = Buffer.concat([code, Buffer.alloc(k.offset - code.length), text]);
    }
    return code;
  });

  const ref = ([kind, at, offset = 0]) => {
    p.uint(REFS.indexOf(kind));
    p.uint(at);
    if (kind === "weight") p.uint(offset);
  };
  const uint = (v) => p.uint(v);
  const tensor = (t) => {
    p.string(t.name);
    p.uint(DTYPES.indexOf(t.dtype));
    p.list(t.shape, uint);
    p.list(t.text, (s) => p.string(s));
  };
  p.string(model.name);
  p.string("by hand");
  p.list(model.symbols, (s) => { p.string(s.name); p.int(s.lo); p.int(s.hi); p.int(s.multipleOf); p.uint(s.slot); });
  p.list(model.inputs, tensor);
  p.list(model.outputs, tensor);
  p.list(model.strings ?? [], (s) => p.string(s));
  p.list(model.instrs, ([op, ...args]) => { p.uint(INSTRS.indexOf(op)); for (const a of args) op === "const" ? p.int(a) : p.uint(a); });
  p.list(model.checks, ([relation, a, b, what]) => {
    p.uint(CHECKS.indexOf(relation));
    p.uint(a);
    relation === "equal" ? p.uint(b) : p.int(b);
    p.string(what);
  });
  p.list(model.inRange ?? [], (r) => { p.uint(r.input); p.list(r.ranges, (pair) => pair.forEach(uint)); p.string(r.what); });
  p.list(placed, (w) => { p.raw(sha(w.bytes)); p.uint(w.offset); p.uint(w.bytes.length); });
  p.list(sections, (s) => p.raw(sha(s)));
  p.uint(model.chunkBytes);
  p.list(chunks, (c) => p.raw(c));
  p.list(model.targets, (t) => {
    p.string(t.target);
    p.uint(t.cpu ? 0 : 1);
    if (t.cpu) {
      p.uint(0);
      p.list([], uint);
    } else {
      p.uint(0); // wgsl
      p.list(t.features, (f) => p.string(f));
      for (const limit of t.limits) p.uint(limit);
    }
    p.uint(0);
    p.uint(model.targets.indexOf(t)); // its code section
    p.list(t.kernels, (k) => {
      p.string(k.name);
      p.uint(k.offset);
      p.uint(k.len);
      p.uint(0);
      p.list([`/${k.name}`], (s) => p.string(s));
      p.uint(t.cpu ? 0 : 1);
      if (t.cpu) return;
      k.workgroup.forEach(uint);
      p.list([...k.access], (a) => p.uint(a === "w" ? 1 : 0));
    });
    p.list(t.commands, (c) => {
      p.uint("kernel" in c ? 0 : 1);
      if ("kernel" in c) {
        p.uint(c.kernel);
        p.list(c.buffers, ref);
        p.list(c.dims, uint);
        p.list(c.bytes, uint);
        p.uint(c.grid);
        p.uint(c.grid); // grain
      } else {
        ref(c.src);
        ref(c.dst);
        p.uint(c.bytes);
      }
    });
    p.list(t.outputs, ref);
    p.uint(t.arena);
    p.string("arena");
    p.list([], () => {}); // what lives in the arena
  });

  const parts = [[1, Buffer.from(p.out)], ...sections.map((s) => [2, s]), [3, weights]];
  const head = Buffer.alloc(64 + 32 * parts.length);
  let end = head.length;
  const pieces = [head];
  parts.forEach(([kind, bytes], k) => {
    const offset = Math.ceil(end / 4096) * 4096;
    pieces.push(Buffer.alloc(offset - end), bytes);
    end = offset + bytes.length;
    const at = 64 + 32 * k;
    head.writeUInt32LE(kind, at);
    head.writeBigUInt64LE(BigInt(offset), at + 8);
    head.writeBigUInt64LE(BigInt(bytes.length), at + 16);
  });
  head.write("ODCA", 0, "latin1");
  head.writeUInt32LE(5, 4);
  head.writeBigUInt64LE(BigInt(end), 8);
  head.writeUInt32LE(parts.length, 16);
  return Buffer.concat(pieces);
}

const SCALE = `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> dims: array<vec4<i32>, 1>;
@compute @workgroup_size(64)
fn scale(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let i = i32(g.x * 64u + l.x);
  if (i < dims[0].x * 3) { y[i] = x[i] * w[i % 3] + b[i % 3]; }
}
`;
const ROW_SUM = `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1)
fn row_sum(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
  let r = g.x + g.y * n.x;
  if (r < arrayLength(&y)) { y[r] = x[r * 3] + x[r * 3 + 1] + x[r * 3 + 2]; }
}
`;

/**
 * `scaled[n,3] = x[n,3] * w + b` through the arena, `sum[n]` its row sums, `again` = x, `big` = a weight of many chunks, `bytes` = u
 * (five bytes, copied through the arena), `ids` = i (i64). A weight that no kernel reads comes first.
 */
export function sample(change = (model) => model) {
  const b = shapeBuilder();
  const c = (v) => b("const", v);
  const n = b("dim", 0, 0);
  const [three, four, five] = [c(3), c(4), c(5)];
  const items = b("mul", n, three);
  const itemBytes = b("mul", items, four);
  const rowBytes = b("mul", n, four);
  const idBytes = b("mul", n, c(8));
  const y2 = b("align", itemBytes, 256);
  const u = b("add", y2, y2);
  const arena = b("add", u, c(256));
  const wBytes = c(12);
  const floats = (...v) => Buffer.from(Float32Array.from(v).buffer);
  const big = Float32Array.from({ length: 25_001 }, (_, i) => (i * 2654435761) % 1000);
  const tensor = (name, dtype, shape, text) => ({ name, dtype, shape, text });
  const model = {
    name: "sample",
    symbols: [{ name: "n", lo: 1, hi: 200_000, multipleOf: 1, slot: n }],
    inputs: [tensor("x", "f32", [n, three], ["n", "3"]), tensor("u", "u8", [five], ["5"]), tensor("i", "i64", [n], ["n"])],
    outputs: [
      tensor("scaled", "f32", [n, three], ["n", "3"]), tensor("sum", "f32", [n], ["n"]), tensor("again", "f32", [n, three], ["n", "3"]),
      tensor("big", "f32", [c(big.length)], [`${big.length}`]), tensor("bytes", "u8", [five], ["5"]), tensor("ids", "i64", [n], ["n"]),
    ],
    inRange: [{ input: 2, ranges: [[c(-1e15), c(2 ** 40)]], what: "Gather /rows" }],
    checks: [["at-most", items, 450_000, "x has too many elements"]],
    weights: [Buffer.alloc(50_000, 7), floats(2, -1, 0.5), Buffer.from(big.buffer), floats(1, 2, 3)],
    chunkBytes: 4096,
    targets: [{
      target: "wgsl",
      features: [],
      limits: [4, 2 ** 20, 64, 0],
      kernels: [
        { name: "scale", code: SCALE, workgroup: [64, 1, 1], access: "rrrw" },
        { name: "row_sum", code: ROW_SUM, workgroup: [1, 1, 1], access: "ww" },
      ],
      commands: [
        { kernel: 0, buffers: [["input", 0], ["weight", 1], ["weight", 3], ["arena", c(0)]], dims: [n], bytes: [itemBytes, wBytes, wBytes, itemBytes], grid: b("ceildiv", items, c(64)) },
        { src: ["arena", c(0)], dst: ["arena", y2], bytes: itemBytes },
        { kernel: 1, buffers: [["arena", y2], ["output", 1]], dims: [], bytes: [itemBytes, rowBytes], grid: n },
        { src: ["arena", y2], dst: ["output", 0], bytes: itemBytes },
        { src: ["input", 0], dst: ["output", 2], bytes: itemBytes },
        { src: ["weight", 2], dst: ["output", 3], bytes: c(big.byteLength) },
        { src: ["input", 1], dst: ["arena", u], bytes: five },
        { src: ["arena", u], dst: ["output", 4], bytes: five },
        { src: ["input", 2], dst: ["output", 5], bytes: idBytes },
      ],
      outputs: [0, 1, 2, 3, 4, 5].map((k) => ["output", k]),
      arena,
    }],
  };
  model.instrs = b.instrs;
  return encodeArtifact(change(model) ?? model);
}
