// Pipelines: one a kernel, created before the model counts as loaded, while the weights arrive.

import { bad, OdcError, reason } from "./error.js";
import type { BufferRef, Gpu, Kernel, Program } from "./manifest.js";

/** A pipeline and what its bind groups are made from. */
export interface Ready {
  name: string;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  /** One a buffer. */
  writable: boolean[];
}

export interface Kernels {
  /** In the order of the program. */
  ready: Ready[];
  /** Copies whose source is read (an input, a weight), or bound as writable (the arena, an output). */
  copy: Map<boolean, Ready>;
}

/** A copy within the compute pass, since one between ranges of one buffer does not exist. Words of 4 bytes. */
const copyText = (writable: boolean): string => `@group(0) @binding(0) var<storage, ${writable ? "read_write" : "read"}> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(${COPY_WORDS})
fn copy(@builtin(workgroup_id) g: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let i = (g.x + g.y * n.x) * ${COPY_WORDS} + l.x;
  if (i < arrayLength(&dst)) { dst[i] = src[i]; }
}
`;
/** Of a workgroup. */
export const COPY_WORDS = 64;

class Maker {
  private readonly layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();

  constructor(private readonly device: GPUDevice) {}

  /** Explicit layouts: a kernel may leave a binding unused, and equal ones are shared. */
  private layout(writable: boolean[], uniform: boolean): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    const types: GPUBufferBindingType[] = writable.map((w) => (w ? "storage" : "read-only-storage"));
    if (uniform) types.push("uniform");
    const key = types.join();
    let known = this.layouts.get(key);
    if (!known) {
      const entries = types.map((type, binding) => ({ binding, visibility: 4, buffer: { type } }));
      const group = this.device.createBindGroupLayout({ entries });
      known = { group, pipeline: this.device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.layouts.set(key, known);
    }
    return known;
  }

  async make(name: string, code: string, writable: boolean[], uniform: boolean, about: string): Promise<Ready> {
    const layout = this.layout(writable, uniform);
    const module = this.device.createShaderModule({ label: name, code });
    try {
      const pipeline = await this.device.createComputePipelineAsync({ label: name, layout: layout.pipeline, compute: { module, entryPoint: name } });
      return { name, pipeline, layout: layout.group, writable };
    } catch (e) {
      const info = await module.getCompilationInfo().catch(() => undefined);
      const first = info?.messages.find((m) => m.type === "error");
      const why = first ? `line ${first.lineNum}: ${first.message}` : reason(e);
      throw new OdcError("pipeline", `The browser refuses the kernel "${name}"${about}: ${why}. Report it with the browser's version.`, e);
    }
  }
}

/** Starts all of them; `code` is the program's section. */
export async function makeKernels(device: GPUDevice, program: Program, gpu: Gpu, code: Uint8Array<ArrayBuffer>): Promise<Kernels> {
  const maker = new Maker(device);
  const utf8 = new TextDecoder();
  const prefix = gpu.features.includes("subgroups") ? "enable subgroups; " : "";
  const uniform = new Set(program.commands.flatMap((c) => ("kernel" in c && c.dims.length > 0 ? [c.kernel] : [])));
  const one = async (k: Kernel, index: number): Promise<Ready> => {
    if (k.offset + k.len > code.length) throw bad(`the kernel "${k.name}" ends past the code`);
    const text = prefix + utf8.decode(code.subarray(k.offset, k.offset + k.len));
    return maker.make(k.name, text, k.writable, uniform.has(index), k.source.length > 0 ? ` (computes ${k.source.join(", ")})` : "");
  };
  const copies = new Set(program.commands.flatMap((c) => ("src" in c ? [isWritable(c.src.kind)] : [])));
  const copy = (writable: boolean): Promise<Ready> => maker.make("copy", copyText(writable), [writable, true], false, "");
  const [ready, copiers] = await Promise.all([Promise.all(program.kernels.map(one)), Promise.all([...copies].map(copy))]);
  return { ready, copy: new Map([...copies].map((writable, i) => [writable, copiers[i] as Ready])) };
}

export function isWritable(kind: BufferRef["kind"]): boolean {
  return kind === "arena" || kind === "output";
}
