// What must hold of a manifest before anything is made from it: every index, slot, range and alignment. Mirrors runtime/format/src/validate.rs;
// sizes that input shapes decide are checked when a plan is made.

import { bad } from "./error.js";
import type { BufferRef, Manifest, Program, Slot, Tensor } from "./manifest.js";

const MAX_RANK = 64;
const WEIGHT_ALIGN = 256;
const KERNEL_ALIGN = 16;

const must = (holds: boolean, at: string, why: string): void => {
  if (!holds) throw bad(`${at}: ${why}`);
};

/** Against the lengths of the code sections and of the weights section. */
export function validate(m: Manifest, code: readonly number[], weights: number): void {
  shapes(m);
  for (const s of m.symbols) {
    const here = `symbol "${s.name}"`;
    slot(m, s.slot, here);
    must(s.lo >= 0 && s.lo <= s.hi, here, `bounds ${s.lo}..${s.hi} are not in order`);
    must(s.multipleOf >= 1, here, `multiple of ${s.multipleOf} is not positive`);
  }
  unique(m.symbols, "symbols");
  unique(m.inputs, "inputs");
  unique(m.outputs, "outputs");
  for (const t of m.inputs) tensor(m, t, `input "${t.name}"`);
  for (const t of m.outputs) tensor(m, t, `output "${t.name}"`);
  for (const r of m.inRange) {
    const here = `range of ${r.what}`;
    must(/^[iu]\d/.test(m.inputs[r.input]?.dtype ?? ""), here, `input ${r.input} holds no integers`);
    must(r.ranges.length > 0, here, "there is none");
    for (const s of r.ranges.flat()) slot(m, s, here);
  }
  let end = 0;
  m.weights.forEach((w, i) => {
    must(w.offset % WEIGHT_ALIGN === 0, `weight ${i}`, `offset ${w.offset} is not aligned`);
    must(w.offset >= end, `weight ${i}`, `offset ${w.offset} overlaps the weight before`);
    end = w.offset + w.len;
    must(end <= weights, `weight ${i}`, `${w.len} bytes at ${w.offset} of ${weights}`);
  });
  const { chunkBytes, chunks, code: digests } = m.digests;
  const wanted = chunkBytes === 0 ? 0 : Math.ceil(weights / chunkBytes);
  must(chunks.length === wanted, "digests", `${chunks.length} for ${wanted} chunks`);
  must(digests.length === 0 || digests.length === code.length, "digests", "not one a code section");
  must(m.targets.length > 0, "targets", "there are none");
  for (const t of m.targets) program(m, t, `target "${t.target}"`, code);
}

function unique(list: readonly { name: string }[], what: string): void {
  must(list.every((x) => x.name !== ""), what, "a name is empty");
  must(new Set(list.map((x) => x.name)).size === list.length, what, "a name is there twice");
}

function slot(m: Manifest, s: Slot, here: string): void {
  const count = m.shapes.instrs.length;
  must(s < count, here, `slot ${s} of a shape program with ${count}`);
}

function shapes(m: Manifest): void {
  m.shapes.instrs.forEach(({ op, a, b }, k) => {
    const here = `shape program instruction ${k}`;
    if (op === "dim") must(b < (m.inputs[a]?.shape.length ?? 0), here, `input ${a} has no axis ${b}`);
    else if (op !== "const") must(a < k && (op === "align" || b < k), here, "reads a slot that is not earlier");
    if (op === "align") must(b > 0, here, "aligns to 0");
  });
  for (const c of m.shapes.checks) {
    slot(m, c.a, `check "${c.what}"`);
    if (c.relation === "equal") slot(m, c.b, `check "${c.what}"`);
    if (c.relation === "multiple-of") must(c.b > 0, `check "${c.what}"`, `multiple of ${c.b}`);
  }
}

function tensor(m: Manifest, t: Tensor, here: string): void {
  must(t.shape.length <= MAX_RANK, here, `rank ${t.shape.length} is more than ${MAX_RANK}`);
  for (const s of t.shape) slot(m, s, here);
}

function buffer(m: Manifest, b: BufferRef, gpu: boolean, here: string): void {
  if (b.kind === "arena") return slot(m, b.at, here);
  if (b.kind === "weight") return must(b.offset <= (m.weights[b.at]?.len ?? -1), here, `weight ${b.at} has no byte ${b.offset}`);
  const list = b.kind === "input" ? m.inputs : m.outputs;
  must(b.at < list.length && (gpu || b.kind === "input"), here, `there is no ${b.kind} ${b.at}`);
}

function program(m: Manifest, t: Program, here: string, code: readonly number[]): void {
  const gpu = t.gpu !== undefined;
  const length = t.section === undefined ? undefined : code[t.section];
  must(t.section === undefined || length !== undefined, here, `there is no code section ${t.section}`);
  slot(m, t.arenaBytes, `${here} arena`);
  for (const k of t.kernels) {
    const at = `${here} kernel "${k.name}"`;
    must((k.workgroup.length > 0) === gpu, at, "how it is bound does not fit the device");
    must(k.workgroup.every((n) => n > 0), at, "a workgroup has no invocations");
    if (length === undefined) continue;
    must(k.len > 0 && k.offset + k.len <= length, at, `${k.len} bytes at ${k.offset} of ${length}`);
    must(k.offset % KERNEL_ALIGN === 0, at, `offset ${k.offset} is not aligned`);
  }
  t.commands.forEach((c, n) => {
    const at = `${here} command ${n}`;
    if ("kernel" in c) {
      const kernel = t.kernels[c.kernel];
      must(kernel !== undefined, at, `there is no kernel ${c.kernel}`);
      for (const b of c.buffers) buffer(m, b, gpu, at);
      if (gpu && kernel) {
        must(c.bytes.length === c.buffers.length && kernel.writable.length === c.buffers.length, at, "buffers, sizes and bindings differ in number");
        const fixed = c.buffers.filter((b, k) => (b.kind === "input" || b.kind === "weight") && kernel.writable[k]);
        must(fixed.length === 0, at, "writes to an input or a weight");
      }
      for (const s of [...c.dims, ...c.bytes, c.grid]) slot(m, s, at);
    } else if ("src" in c) {
      buffer(m, c.src, gpu, at);
      buffer(m, c.dst, gpu, at);
      slot(m, c.bytes, at);
      must(c.dst.kind === "arena" || c.dst.kind === "output", at, "copies into an input or a weight");
    }
  });
  must(t.outputs.length === m.outputs.length, here, `${t.outputs.length} output places for ${m.outputs.length} outputs`);
  for (const b of t.outputs) buffer(m, b, gpu, here);
}
