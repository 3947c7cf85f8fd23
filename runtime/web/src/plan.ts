// A plan: everything about running one set of input shapes, as checked numbers. Made once; a run of it creates nothing.

import { at, bad, OdcError } from "./error.js";
import { COPY_WORDS, isWritable, type Ready } from "./kernels.js";
import type { Loaded } from "./loaded.js";
import { BYTES, type BufferRef, type Slot, type Tensor } from "./manifest.js";
import { alignUp, bindingSize } from "./memory.js";
import { bindShapes } from "./shape.js";

/** A range of a buffer. `at` is the index of an input, output or weight. */
export interface Binding {
  kind: BufferRef["kind"] | "dims";
  at: number;
  offset: number;
  size: number;
}

export interface Step {
  kernel: Ready;
  bindings: Binding[];
  x: number;
  y: number;
}

export interface Plan {
  key: string;
  inputs: { shape: number[]; bytes: number }[];
  outputs: { shape: number[]; bytes: number }[];
  /** What the manifest's `inRange` is for these shapes. */
  ranges: [number, number][][];
  /** 0: no arena. */
  arena: number;
  steps: Step[];
  /** All dims of all dispatches as the uniform buffer has them. */
  dims: Int32Array<ArrayBuffer>;
  /** The uniform buffer; undefined without dims, or until the plan runs. */
  buffer: GPUBuffer | undefined;
  /** Bind groups of the steps that touch neither inputs nor outputs. */
  fixed: (GPUBindGroup | undefined)[];
  /** Bind groups of all steps, for the latest sets of input and output buffers. */
  sets: Map<string, GPUBindGroup[]>;
}

const MOST_WORKGROUPS = 65535;
/** WebGPU's strictest alignment of offsets. */
const ALIGN = 256;
/** Bindings are rounded up, also the last one of the arena and one of nothing at its end. */
export const ARENA_SLACK = 256;

export const planKey = (shapes: readonly (readonly number[])[]): string => shapes.map((s) => s.join()).join(";");

export function makePlan(model: Loaded, shapes: readonly (readonly number[])[]): Plan {
  const { manifest: m, program, device } = model;
  const slots = bindShapes(m, shapes);
  const size = (slot: Slot, what: string): number => {
    const value = at(slots, slot, "slot");
    if (value < 0) throw bad(`${what} has the size ${value}`);
    return value;
  };
  const room = (bytes: number, limit: "maxBufferSize" | "maxStorageBufferBindingSize", what: string): number => {
    if (bytes > device.limits[limit]) {
      throw new OdcError("too-large", `With these input shapes ${what} takes ${bytes} bytes, the device's ${limit} is ${device.limits[limit]}. Run it on smaller inputs.`);
    }
    return bytes;
  };
  const tensor = (t: Tensor): { shape: number[]; bytes: number } => {
    const shape = t.shape.map((slot) => size(slot, `"${t.name}"`));
    const bytes = shape.reduce((n, d) => n * d, BYTES[t.dtype]);
    return { shape, bytes: room(bytes, "maxStorageBufferBindingSize", `"${t.name}"`) };
  };
  const inputs = m.inputs.map(tensor);
  const outputs = m.outputs.map(tensor);
  const arena = room(size(program.arenaBytes, "the arena") + ARENA_SLACK, "maxBufferSize", `the arena (${program.peak})`);
  program.outputs.forEach((o, k) => {
    if (o.kind !== "output" || o.at !== k) throw bad(`output ${k} has no memory of its own`);
  });

  const place = (ref: BufferRef, bytes: number): Binding => {
    if (ref.kind === "local") throw bad("a loop's buffer in a program for GPUs");
    const offset = ref.kind === "arena" ? size(ref.at, "an offset") : ref.offset;
    const has =
      ref.kind === "arena" ? arena
      : ref.kind === "weight" ? alignUp(at(m.weights, ref.at, "weight").len, ALIGN)
      : bindingSize(at(ref.kind === "input" ? inputs : outputs, ref.at, ref.kind).bytes);
    if (offset % ALIGN !== 0) throw bad(`a binding lies at ${offset} of the ${ref.kind}`);
    if (offset + bytes > has) throw bad(`a binding of ${bytes} bytes at ${offset} of the ${ref.kind}, which has ${has}`);
    room(bytes, "maxStorageBufferBindingSize", "a binding");
    const weight = ref.kind === "weight" ? model.weights.get(ref.at) : undefined;
    return { kind: ref.kind, at: ref.at, offset: offset + (weight?.offset ?? 0), size: bytes };
  };
  const grid = (workgroups: number, what: string): { x: number; y: number } => {
    const x = Math.min(workgroups, MOST_WORKGROUPS);
    const y = Math.ceil(workgroups / x);
    if (y > MOST_WORKGROUPS) throw new OdcError("too-large", `With these input shapes ${what} has ${workgroups} workgroups, more than 65535 x 65535. Run it on smaller inputs.`);
    return { x, y };
  };
  const words: number[] = [];
  const uniform = (dims: Slot[], what: string): Binding => {
    while (words.length % (ALIGN / 4) !== 0) words.push(0);
    const offset = words.length * 4;
    for (const slot of dims) {
      const value = at(slots, slot, "slot");
      if (value !== (value | 0)) throw new OdcError("too-large", `With these input shapes a size of ${what} is ${value}, past 32 bits. Run it on smaller inputs.`);
      words.push(value);
    }
    while (words.length % 4 !== 0) words.push(0);
    return { kind: "dims", at: 0, offset, size: alignUp(dims.length * 4, 16) };
  };

  const steps: Step[] = [];
  for (const c of program.commands) {
    if ("kernel" in c) {
      const kernel = at(model.kernels.ready, c.kernel, "kernel");
      if (c.bytes.length !== c.buffers.length || kernel.writable.length !== c.buffers.length) throw bad(`"${kernel.name}" is not called as it is bound`);
      const workgroups = size(c.grid, `the grid of "${kernel.name}"`);
      if (workgroups === 0) continue;
      const bindings = c.buffers.map((ref, k) => place(ref, bindingSize(size(at(c.bytes, k, "size"), `a buffer of "${kernel.name}"`))));
      if (c.dims.length > 0) bindings.push(uniform(c.dims, `"${kernel.name}"`));
      steps.push({ kernel, bindings, ...grid(workgroups, `"${kernel.name}"`) });
    } else {
      const bytes = alignUp(size(c.bytes, "a copy"), 4);
      const kernel = model.kernels.copy.get(isWritable(c.src.kind));
      if (!kernel) throw bad("a copy has no kernel");
      if (bytes > 0) steps.push({ kernel, bindings: [place(c.src, bytes), place(c.dst, bytes)], ...grid(Math.ceil(bytes / 4 / COPY_WORDS), "a copy") });
    }
  }
  const used = steps.some((s) => s.bindings.some((b) => b.kind === "arena"));
  const ranges = m.inRange.map((r) => r.ranges.map(([lo, hi]): [number, number] => [at(slots, lo, "slot"), at(slots, hi, "slot")]));
  return { key: planKey(shapes), inputs, outputs, ranges, arena: used ? arena : 0, steps, dims: Int32Array.from(words), buffer: undefined, fixed: [], sets: new Map() };
}

/** Bind groups for these buffers; those that do not touch them are shared by all sets. */
export function bindGroups(model: Loaded, plan: Plan, arena: GPUBuffer | undefined, inputs: readonly GPUBuffer[], outputs: readonly GPUBuffer[]): GPUBindGroup[] {
  return plan.steps.map(({ kernel, bindings }, k) => {
    const varies = bindings.some((b) => b.kind === "input" || b.kind === "output");
    const known = plan.fixed[k];
    if (known) return known;
    const entries = bindings.map((b, binding) => {
      const buffer =
        b.kind === "arena" ? arena
        : b.kind === "dims" ? plan.buffer
        : b.kind === "weight" ? model.weights.get(b.at)?.buffer
        : (b.kind === "input" ? inputs : outputs)[b.at];
      if (!buffer) throw bad(`"${kernel.name}" reads memory that is not there`);
      // A buffer of the caller may end with the tensor.
      return { binding, resource: { buffer, offset: b.offset, size: Math.min(b.size, Math.floor((buffer.size - b.offset) / 4) * 4) } };
    });
    const group = model.device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries });
    if (!varies) plan.fixed[k] = group;
    return group;
  });
}
