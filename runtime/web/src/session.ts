// What belongs to one device: plans by input shapes, the buffers that all plans share, and the recording of a run.

import { OdcError } from "./error.js";
import type { Loaded } from "./loaded.js";
import { BYTES, type Tensor } from "./manifest.js";
import { alignUp, bindingSize, USAGE, type Purpose } from "./memory.js";
import { bindGroups, makePlan, planKey, type Plan } from "./plan.js";
import { inferShapes } from "./shape.js";
import { ALSO, ARRAYS, type Shaped, type TypedArray } from "./types.js";

/** Input shapes whose plans are kept; a longer cycle of shapes plans anew each time. */
const PLANS = 8;
/** Sets of the caller's buffers whose bind groups are kept, a plan. */
const SETS = 8;

type Data = TypedArray | GPUBuffer;
export type AnyInput = Data | Shaped<Data>;
export type AnyInputs = Readonly<Record<string, AnyInput | undefined>>;
export type Shapes = Readonly<Record<string, readonly number[] | undefined>>;
export type Buffers = Readonly<Record<string, GPUBuffer | undefined>>;

/** A run, ready to be recorded. */
export interface Bound {
  plan: Plan;
  groups: GPUBindGroup[];
  /** By index in the manifest. */
  outputs: GPUBuffer[];
  /** Host data and the buffers that it goes to. */
  uploads: [GPUBuffer, TypedArray][];
}

/** Without data: what the model's own buffer holds. */
interface Given {
  data?: Data;
  shape?: readonly number[];
}

const isArray = (data: Data): data is TypedArray => ArrayBuffer.isView(data);

export class Session {
  private readonly plans = new Map<string, Plan>();
  /** The model's own buffers: made when first needed, as large as the largest shapes so far. */
  private arena: GPUBuffer | undefined;
  private readonly inputs: (GPUBuffer | undefined)[] = [];
  private readonly outputs: (GPUBuffer | undefined)[] = [];
  private staging: GPUBuffer | undefined;
  /** What replaced buffers that were too small, during `bind`. */
  private grown = new Map<GPUBuffer, GPUBuffer>();
  private readonly buffersOf = new WeakMap<GPUBindGroup[], { inputs: GPUBuffer[]; outputs: GPUBuffer[] }>();
  private readonly ids = new WeakMap<GPUBuffer, number>();
  private nextId = 0;
  /** An encoder of the caller may hold our buffers, so that they are left to the end. */
  private lent = false;
  /** Whether the latest `bind` made buffers or bind groups: a device may refuse them. */
  made = false;

  constructor(readonly model: Loaded) {}

  private buffer(purpose: Purpose, size: number, label: string): GPUBuffer {
    this.made = true;
    return this.model.memory.create(purpose, size, label);
  }

  private retire(buffer: GPUBuffer | undefined): void {
    if (!this.lent) this.model.memory.destroy(buffer);
  }

  private grow(old: GPUBuffer | undefined, purpose: Purpose, size: number, label: string): GPUBuffer {
    if (old && old.size >= size) return old;
    const buffer = this.buffer(purpose, size, label);
    if (old) {
      this.grown.set(old, buffer);
      this.retire(old);
    }
    return buffer;
  }

  /** After memory was refused: nothing but the weights stays, so that a smaller run can follow. */
  reset(): void {
    const { memory } = this.model;
    for (const buffer of [this.arena, this.staging, ...this.inputs, ...this.outputs]) memory.destroy(buffer);
    for (const plan of this.plans.values()) memory.destroy(plan.buffer);
    this.plans.clear();
    this.arena = this.staging = undefined;
    this.inputs.length = this.outputs.length = 0;
  }

  /** The shapes of all inputs, from data and from what is stated. */
  private shapes(given: readonly Given[]): number[][] {
    return inferShapes(this.model.manifest, given.map((g) => g.shape ?? { elements: g.data && isArray(g.data) ? g.data.length : undefined }));
  }

  outputShapes(inputs: Shapes): Record<string, number[]> {
    const { manifest: m } = this.model;
    known(inputs, m.inputs, "input");
    const shapes = inferShapes(m, m.inputs.map((t) => inputs[t.name] ?? { elements: undefined }));
    const { outputs } = makePlan(this.model, shapes);
    return Object.fromEntries(m.outputs.map((t, k) => [t.name, outputs[k]?.shape ?? []]));
  }

  private plan(shapes: number[][]): Plan {
    const key = planKey(shapes);
    const plan = this.plans.get(key) ?? makePlan(this.model, shapes);
    this.plans.delete(key);
    this.plans.set(key, plan); // the latest is the last
    for (const [old, { buffer }] of this.plans) {
      if (this.plans.size <= PLANS) break;
      this.plans.delete(old);
      this.retire(buffer);
    }
    if (plan.dims.length > 0 && !plan.buffer) {
      plan.buffer = this.buffer("dims", plan.dims.byteLength, `${this.model.manifest.name} dims`);
      this.model.device.queue.writeBuffer(plan.buffer, 0, plan.dims);
    }
    return plan;
  }

  /** `read`: outputs that will be read back. */
  bind(values: AnyInputs, into: Buffers, read: readonly number[] = []): Bound {
    const { manifest: m } = this.model;
    known(values, m.inputs, "input");
    known(into, m.outputs, "output");
    return this.make(m.inputs.map((t) => input(t, values[t.name])), into, read);
  }

  /** For a run whose inputs do not matter, with all outputs read back. */
  prepare(shapes: Shapes): Bound {
    const { manifest: m } = this.model;
    known(shapes, m.inputs, "input");
    return this.make(m.inputs.map(({ name }) => (shapes[name] ? { shape: shapes[name] } : {})), {}, [...m.outputs.keys()]);
  }

  private make(given: readonly Given[], into: Buffers, read: readonly number[]): Bound {
    const { manifest: m } = this.model;
    this.made = false;
    const plan = this.plan(this.shapes(given));

    given.forEach(({ data }, i) => data && checkInput(data, m.inputs[i], plan.inputs[i]?.bytes ?? 0));
    m.inRange.forEach((r, k) => checkValues(given[r.input]?.data, m.inputs[r.input], plan.ranges[k] ?? [], r.what));
    m.outputs.forEach((t, k) => into[t.name] && checkBuffer(into[t.name], t, plan.outputs[k]?.bytes ?? 0, "output"));
    const taken = new Set<Data | undefined>(given.map((g) => g.data));
    for (const [name, buffer] of Object.entries(into)) {
      if (buffer && taken.has(buffer)) throw new OdcError("binding", `The buffer of output "${name}" is also that of another input or output. Give each output its own.`);
      if (buffer) taken.add(buffer);
    }

    this.grown = new Map();
    if (plan.arena > 0) this.arena = this.grow(this.arena, "arena", plan.arena, `${m.name} arena`);
    const uploads: [GPUBuffer, TypedArray][] = [];
    const inputs = given.map(({ data }, i) => {
      if (data && !isArray(data)) return data;
      const own = this.grow(this.inputs[i], "inputs", bindingSize(plan.inputs[i]?.bytes ?? 0), m.inputs[i]?.name ?? "");
      this.inputs[i] = own;
      if (data) uploads.push([own, data]);
      return own;
    });
    const outputs = m.outputs.map((t, k) => {
      const own = into[t.name] ?? this.grow(this.outputs[k], "outputs", bindingSize(plan.outputs[k]?.bytes ?? 0), t.name);
      if (own !== into[t.name]) this.outputs[k] = own;
      return own;
    });
    const staging = read.reduce((n, k) => n + alignUp(plan.outputs[k]?.bytes ?? 0, 16), 0);
    if (staging > 0) this.staging = this.grow(this.staging, "staging", staging, `${m.name} staging`);
    if (this.grown.size > 0) for (const other of this.plans.values()) this.rebind(other);
    return { plan, groups: this.groups(plan, inputs, outputs), outputs, uploads };
  }

  private id(buffer: GPUBuffer): number {
    let id = this.ids.get(buffer);
    if (id === undefined) this.ids.set(buffer, (id = this.nextId++));
    return id;
  }

  private groups(plan: Plan, inputs: GPUBuffer[], outputs: GPUBuffer[]): GPUBindGroup[] {
    const key = [...inputs, ...outputs].map((b) => this.id(b)).join();
    let groups = plan.sets.get(key);
    if (groups) return groups;
    this.made = true;
    groups = bindGroups(this.model, plan, this.arena, inputs, outputs);
    this.buffersOf.set(groups, { inputs, outputs });
    plan.sets.set(key, groups);
    for (const old of plan.sets.keys()) {
      if (plan.sets.size <= SETS) break;
      plan.sets.delete(old);
    }
    return groups;
  }

  /** Buffers were replaced by larger ones: other shapes must not pay for it in their next run. */
  private rebind(plan: Plan): void {
    const now = (buffers: GPUBuffer[]): GPUBuffer[] => buffers.map((b) => this.grown.get(b) ?? b);
    const old = [...plan.sets.values()];
    plan.sets.clear();
    plan.fixed = [];
    for (const groups of old) {
      const buffers = this.buffersOf.get(groups);
      if (buffers) this.groups(plan, now(buffers.inputs), now(buffers.outputs));
    }
  }

  upload({ uploads }: Bound): void {
    for (const [buffer, data] of uploads) {
      this.model.memory.write(buffer, 0, new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength));
    }
  }

  /** One compute pass. */
  record(encoder: GPUCommandEncoder, { plan, groups }: Bound): void {
    const pass = encoder.beginComputePass({ label: this.model.manifest.name });
    let last: GPUComputePipeline | undefined;
    plan.steps.forEach(({ kernel, x, y }, k) => {
      if (kernel.pipeline !== last) pass.setPipeline((last = kernel.pipeline));
      pass.setBindGroup(0, groups[k] ?? null);
      pass.dispatchWorkgroups(x, y);
    });
    pass.end();
  }

  lend(): void {
    this.lent = true;
  }

  /** Copies outputs where the host can read them, in the same submit; gives what reads them when it has run. */
  readBack(encoder: GPUCommandEncoder, bound: Bound, which: readonly number[]): () => Promise<Record<string, TypedArray>> {
    const { manifest: m } = this.model;
    let total = 0;
    const parts = which.flatMap((k) => {
      const [t, buffer, bytes] = [m.outputs[k], bound.outputs[k], bound.plan.outputs[k]?.bytes ?? 0];
      if (!t || !buffer) return [];
      const part = { t, buffer, at: total, bytes };
      total += alignUp(bytes, 16);
      return [part];
    });
    const { staging } = this;
    for (const { buffer, at, bytes } of parts) {
      if (staging && bytes > 0) encoder.copyBufferToBuffer(buffer, 0, staging, at, alignUp(bytes, 4));
    }
    return async () => {
      if (staging && total > 0) await staging.mapAsync(1, 0, total);
      try {
        const all = total > 0 ? staging?.getMappedRange(0, total) : undefined;
        return Object.fromEntries(parts.map(({ t, at, bytes }) => [t.name, new ARRAYS[t.dtype]((all ?? new ArrayBuffer(0)).slice(at, at + bytes))]));
      } finally {
        if (total > 0) staging?.unmap();
      }
    };
  }
}

export const describe = (t: Tensor): string => `${t.dtype}[${t.text.join(", ")}]`;

function known(names: Readonly<Record<string, unknown>>, tensors: readonly Tensor[], what: string): void {
  for (const name of Object.keys(names)) {
    if (!tensors.some((t) => t.name === name)) {
      throw new OdcError("binding", `The model has no ${what} "${name}"; it has ${tensors.map((t) => `${t.name}: ${describe(t)}`).join("; ")}.`);
    }
  }
}

function input(t: Tensor, value: AnyInput | undefined): Given {
  if (value && "shape" in value && "data" in value) return { data: value.data, shape: value.shape };
  if (value && (isArray(value as Data) || "mapAsync" in value)) return { data: value as Data };
  const missing = value === undefined ? "is missing" : "is neither a typed array nor a GPUBuffer nor { data, shape }";
  throw new OdcError("binding", `Input "${t.name}", ${describe(t)}, ${missing}.`);
}

function checkInput(data: Data, t: Tensor | undefined, bytes: number): void {
  if (!t) return;
  if (!isArray(data)) return checkBuffer(data, t, bytes, "input");
  const wanted = ARRAYS[t.dtype].name;
  const found = data[Symbol.toStringTag];
  if (found !== wanted && found !== ALSO[t.dtype]) {
    throw new OdcError("binding", `Input "${t.name}" is ${describe(t)}: give a ${wanted}, not a ${found}.`);
  }
  if (data.byteLength !== bytes) {
    throw new OdcError("shape", `Input "${t.name}" needs ${bytes / BYTES[t.dtype]} elements for this shape, ${data.length} were given.`);
  }
}

/** Indices and lengths in host memory; a buffer's are not seen, and clamped by the kernels. */
function checkValues(data: Data | undefined, t: Tensor | undefined, ranges: readonly [number, number][], what: string): void {
  if (!data || !t || !isArray(data)) return;
  for (let k = 0; k < data.length; k++) {
    const [lo, hi] = ranges[k % ranges.length] ?? [-Infinity, Infinity];
    const value = data[k] ?? lo;
    if (value < lo || value > hi) {
      const possible = lo > hi ? "none, for the axis has no elements" : `${lo} to ${hi}`;
      throw new OdcError("value", `Element ${k} of input "${t.name}" is ${value}, which ${what} cannot use; possible are ${possible}.`);
    }
  }
}

function checkBuffer(buffer: GPUBuffer | undefined, t: Tensor, bytes: number, what: string): void {
  if (!buffer || !(buffer.usage & USAGE.STORAGE)) throw new OdcError("binding", `The buffer of ${what} "${t.name}" lacks the usage GPUBufferUsage.STORAGE.`);
  const need = Math.max(4, alignUp(bytes, 4));
  if (buffer.size < need) {
    throw new OdcError("binding", `The buffer of ${what} "${t.name}" has ${buffer.size} bytes; this shape needs ${need}.`);
  }
}
