// Which program of the artifact runs, and on which device: decided before a weight is downloaded.

import { bad, OdcError } from "./error.js";
import { ARENA_SLACK } from "./plan.js";
import { evaluate } from "./shape.js";
import type { Gpu, Manifest, Program } from "./manifest.js";

export interface Chosen {
  device: GPUDevice;
  /** Made here, so ended here. */
  owned: boolean;
  program: Program;
  gpu: Gpu;
}

type Limits = Record<string, number>;

/** What WebGPU promises on every device. */
const DEFAULTS: Limits = {
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 2 ** 27,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupStorageSize: 2 ** 14,
  maxBufferSize: 2 ** 28,
};

/** The weights that a program reads, in the order of the file. */
export function usedWeights(program: Program): number[] {
  const refs = program.commands.flatMap((c) => ("kernel" in c ? c.buffers : [c.src]));
  const used = new Set(refs.flatMap((b) => (b.kind === "weight" ? [b.at] : [])));
  return [...used].sort((a, b) => a - b);
}

function needs(m: Manifest, program: Program, gpu: Gpu): { limits: Limits; dynamic: boolean } {
  const arena = evaluate(m, () => undefined).slots[program.arenaBytes];
  const largest = Math.max(0, ...usedWeights(program).map((w) => m.weights[w]?.len ?? 0));
  const size = (axis: number) => Math.max(1, ...program.kernels.map((k) => k.workgroup[axis] ?? 1));
  return {
    limits: {
      maxStorageBuffersPerShaderStage: gpu.limits.storageBuffers,
      maxStorageBufferBindingSize: gpu.limits.bindingBytes,
      maxComputeInvocationsPerWorkgroup: gpu.limits.invocations,
      maxComputeWorkgroupSizeX: size(0),
      maxComputeWorkgroupSizeY: size(1),
      maxComputeWorkgroupSizeZ: size(2),
      maxComputeWorkgroupStorageSize: gpu.limits.workgroupBytes,
      maxBufferSize: Math.max((arena ?? 0) + ARENA_SLACK, largest, gpu.limits.bindingBytes),
    },
    // Sizes that inputs decide: as much as the adapter has.
    dynamic: m.symbols.some((s) => s.lo !== s.hi),
  };
}

/** Does WGSL have it, whatever the device? Those are written with underscores. */
function ofLanguage(feature: string): boolean {
  return feature.includes("_");
}

/** Does this browser's WGSL have it? */
function speaks(feature: string): boolean {
  return (globalThis.navigator as Navigator | undefined)?.gpu?.wgslLanguageFeatures?.has(feature) ?? false;
}

/** What `has` lacks for the program; undefined if nothing. */
function lack(program: Program, gpu: Gpu, limits: Limits, has: GPUAdapter | GPUDevice, who: string): OdcError | undefined {
  const feature = gpu.features.find((f) => !(ofLanguage(f) ? speaks(f) : has.features.has(f)));
  const hint = `Compile the model with another -t wgsl beside it, which this ${who} can run`;
  if (feature !== undefined) {
    const own = who === "device" ? ", or create the device with it in requiredFeatures" : "";
    return new OdcError("missing-feature", `The program "${program.target}" needs the WebGPU feature "${feature}", which this ${who} does not have. ${hint}${own}.`);
  }
  for (const [name, value] of Object.entries(limits)) {
    const limit = (has.limits as unknown as Limits)[name] ?? 0;
    if (value > limit) {
      const own = who === "device" ? ", or create the device with it in requiredLimits" : "";
      return new OdcError("missing-limit", `The program "${program.target}" needs ${name} = ${value}, this ${who} has ${limit}. ${hint}${own}.`);
    }
  }
  return undefined;
}

export async function choose(m: Manifest, url: string, target: string | undefined, given: GPUDevice | undefined, power: GPUPowerPreference | undefined): Promise<Chosen> {
  // A name is a program's own ("wgsl:f16"), or that of the language if no program has just this one. The most capable come first.
  const exact = m.targets.some((t) => t.target === target);
  const programs = m.targets.flatMap((program) => {
    const named = program.target === target || (!exact && program.target.split(":")[0] === target);
    const fits = program.gpu?.language === "wgsl" && (target === undefined || named);
    return fits && program.gpu ? [{ program, gpu: program.gpu, ...needs(m, program, program.gpu) }] : [];
  });
  if (programs.length === 0) {
    const there = m.targets.map((t) => t.target).join(", ");
    throw new OdcError("no-target", `${url} has no program for ${target ?? "wgsl"}, only for ${there}. Compile the model with -t ${target ?? "wgsl"}.`);
  }
  let adapter: GPUAdapter | undefined;
  if (!given) {
    const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
    if (!gpu) {
      const page = globalThis.isSecureContext === false ? "this page is not secure: serve it over https or from localhost" : "use a browser that has it";
      throw new OdcError("no-webgpu", `WebGPU is not available: ${page}.`);
    }
    adapter = (await gpu.requestAdapter(power ? { powerPreference: power } : {})) ?? undefined;
    if (!adapter) throw new OdcError("no-adapter", "WebGPU found no adapter: the GPU is blocked or its driver too old. See the browser's GPU page.");
  }
  const has = given ?? adapter;
  let first: OdcError | undefined;
  for (const { program, gpu, limits, dynamic } of programs) {
    const missing = has && lack(program, gpu, limits, has, given ? "device" : "adapter");
    if (missing) {
      first ??= missing;
      continue;
    }
    if (given) return { device: given, owned: false, program, gpu };
    if (!adapter) break;
    if (dynamic) {
      limits["maxBufferSize"] = adapter.limits.maxBufferSize;
      limits["maxStorageBufferBindingSize"] = adapter.limits.maxStorageBufferBindingSize;
    }
    const beyond = Object.entries(limits).filter(([name, value]) => value > (DEFAULTS[name] ?? 0));
    try {
      const device = await adapter.requestDevice({
        label: m.name,
        requiredFeatures: gpu.features.filter((f) => !ofLanguage(f)) as GPUFeatureName[],
        requiredLimits: Object.fromEntries(beyond),
      });
      return { device, owned: true, program, gpu };
    } catch (e) {
      throw new OdcError("no-adapter", `The adapter gives no device: ${e instanceof Error ? e.message : e}. Reload the page.`, e);
    }
  }
  throw first ?? bad("no program was chosen");
}
