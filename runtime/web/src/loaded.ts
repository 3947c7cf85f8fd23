// From an address to a model on a device: download, checks, pipelines and weights at the same time. Frees everything on failure.

import { choose, usedWeights, type Chosen } from "./device.js";
import { CODE, Download, verify, type Progress, type Section } from "./download.js";
import { at, bad, OdcError } from "./error.js";
import { makeKernels, type Kernels } from "./kernels.js";
import { validate } from "./validate.js";
import { decodeManifest, type Gpu, type Manifest, type Program } from "./manifest.js";
import { alignUp, Memory } from "./memory.js";

export interface LoadOptions {
  /** Run on this device, which stays the caller's. Without it the model makes its own. */
  device?: GPUDevice;
  /** Ends the load, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Called as bytes arrive. */
  onProgress?: (progress: Progress) => void;
  /** The name of the program in the artifact, as it was given to `odc compile -t`. Without it the first that the device can run. */
  target?: string;
  /** After the loss of its own device, a model makes a new one and loads itself again at the next run. Default: true. */
  autoResume?: boolean;
  /**
   * The input shapes for which `load` prepares the first run (see `Model.prepare`); `false`: none. Without it, the shapes of a model
   * whose dims are all static.
   */
  prepare?: false | Readonly<Record<string, readonly number[]>>;
  powerPreference?: GPUPowerPreference;
  /** Headers, credentials, cache: handed to `fetch`. */
  request?: RequestInit;
}

/** Where a weight lies on the device. */
export interface Place {
  buffer: GPUBuffer;
  offset: number;
}

export interface Loaded extends Chosen {
  url: string;
  manifest: Manifest;
  program: Program;
  gpu: Gpu;
  kernels: Kernels;
  /** By index in the manifest; only those that the program reads. */
  weights: Map<number, Place>;
  memory: Memory;
  /** Set when the device was lost. */
  lost: GPUDeviceLostInfo | undefined;
}

const MOST_MANIFEST = 2 ** 28;
const MOST_CHUNK = 2 ** 28;
/** Weights are gathered into buffers of at most this, WebGPU's default maximum; one that is larger has its own. */
const WEIGHT_BUFFER = 2 ** 28;
/** A browser keeps what is written until the device has it: wait so often that this stays small. */
const FLUSH = 2 ** 26;

export async function open(url: string, options: LoadOptions): Promise<Loaded> {
  const { signal, onProgress, request } = options;
  signal?.throwIfAborted();
  let stop: ((reason: unknown) => void) | undefined;
  const failed = new Promise<never>((_, reject) => (stop = reject));
  failed.catch(() => {});
  const abort = (): void => stop?.(signal?.reason);
  signal?.addEventListener("abort", abort);
  /** What fails elsewhere (a pipeline, the device, an abort) ends every wait. */
  const or = <T>(wait: Promise<T>): Promise<T> => Promise.race([wait, failed]);

  let source: Download | undefined;
  let choosing: Promise<Chosen> | undefined;
  let memory: Memory | undefined;
  try {
    source = await Download.open(url, signal ? { ...request, signal } : { ...request }, onProgress);
    const sections = await or(source.sections());
    const [first, last] = [at(sections, 0, "section"), at(sections, sections.length - 1, "section")];
    if (first.length > MOST_MANIFEST) throw bad(`its manifest has ${first.length} bytes`);
    let end = 64 + 32 * sections.length;
    const enter = async (from: Download, s: Section): Promise<void> => {
      await from.skip(s.offset - end);
      end = s.offset + s.length;
    };
    await or(enter(source, first));
    const manifest = decodeManifest(await or(source.read(first.length)));
    validate(manifest, sections.flatMap((s) => (s.kind === CODE ? [s.length] : [])), last.length);

    choosing = choose(manifest, url, options.target, options.device, options.powerPreference);
    const chosen = await or(choosing);
    const { device, program, gpu } = chosen;
    memory = new Memory(device);
    const loaded: Partial<Loaded> = { ...chosen, url, manifest, weights: new Map(), memory, lost: undefined };
    device.lost.then((info) => {
      loaded.lost = info;
      stop?.(lostError(info));
    });

    const code = sections.flatMap((s, i) => (s.kind === CODE ? [i] : []));
    const wanted = program.section === undefined ? undefined : code[program.section];
    if (wanted === undefined) throw bad(`the code of the program "${program.target}" is not in it`);
    let kernels: Promise<Kernels> | undefined;
    for (const index of code) {
      const section = at(sections, index, "section");
      await or(enter(source, section));
      if (index !== wanted) {
        await or(source.skip(section.length));
        continue;
      }
      const bytes = await or(source.read(section.length));
      await or(verify(bytes, at(manifest.digests.code, program.section ?? 0, "digest of code section"), `the code of "${program.target}"`, url));
      kernels = makeKernels(device, program, gpu, bytes);
      kernels.catch((e) => stop?.(e));
    }

    device.pushErrorScope("out-of-memory");
    try {
      loaded.weights = place(manifest, program, device, memory);
    } finally {
      const refused = device.popErrorScope();
      refused.catch(() => {});
      const error = await or(refused);
      if (error) throw new OdcError("out-of-memory", `The device has no room for ${memory.use.weights} bytes of weights: ${error.message}. Close other pages, or compile a smaller model.`);
    }
    await or(enter(source, last));
    await stream(source, manifest, last.length, loaded.weights, memory, device, or);
    await or(source.end());
    if (kernels) loaded.kernels = await or(kernels);
    // The first run must not wait for the last weights.
    device.queue.submit([]);
    await or(device.queue.onSubmittedWorkDone());
    return loaded as Loaded;
  } catch (e) {
    source?.cancel();
    memory?.destroyAll();
    // Also one that comes after an abort.
    choosing?.then(({ device, owned }) => owned && device.destroy(), () => {});
    throw signal?.aborted ? signal.reason : e;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

export function lostError(info: GPUDeviceLostInfo): OdcError {
  return new OdcError("device-lost", `The GPU device was lost (${info.reason ?? "unknown"}: ${info.message || "no message"}). Call model.resume(), or load the model again.`);
}

/** Buffers for the weights that the program reads: each weight whole, in file order, at multiples of 256. */
function place(m: Manifest, program: Program, device: GPUDevice, memory: Memory): Map<number, Place> {
  const most = Math.min(device.limits.maxBufferSize, WEIGHT_BUFFER);
  const weights = new Map<number, Place>();
  let group: number[] = [];
  let size = 0;
  const flush = (): void => {
    if (group.length === 0) return;
    const buffer = memory.create("weights", size, `${m.name} weights`);
    let offset = 0;
    for (const index of group) {
      weights.set(index, { buffer, offset });
      offset += alignUp(at(m.weights, index, "weight").len, 256);
    }
    group = [];
    size = 0;
  };
  for (const index of usedWeights(program)) {
    const bytes = Math.max(256, alignUp(at(m.weights, index, "weight").len, 256));
    if (size + bytes > most) flush();
    group.push(index);
    size += bytes;
  }
  flush();
  return weights;
}

/** The weights section in chunks, each checked before it is used. One chunk of it is in memory at a time. */
async function stream(
  source: Download,
  m: Manifest,
  length: number,
  places: Map<number, Place>,
  memory: Memory,
  device: GPUDevice,
  or: <T>(wait: Promise<T>) => Promise<T>,
): Promise<void> {
  const { chunkBytes, chunks } = m.digests;
  if (length === 0) return;
  if (chunkBytes < 4 || chunkBytes > MOST_CHUNK || chunkBytes % 4 !== 0) throw bad(`its weights are in chunks of ${chunkBytes} bytes`);
  const buffer = new Uint8Array(Math.min(chunkBytes, length));
  const order = [...places.keys()];
  let next = 0;
  let written = 0;
  for (let start = 0, k = 0; start < length; start += chunkBytes, k++) {
    const chunk = buffer.subarray(0, Math.min(chunkBytes, length - start));
    await or(source.fill(chunk));
    await or(verify(chunk, at(chunks, k, "digest of weight chunk"), `chunk ${k} of the weights`, source.url));
    const end = start + chunk.length;
    for (; next < order.length; next++) {
      const index = order[next] ?? 0;
      const { offset, len } = at(m.weights, index, "weight");
      if (offset + len > length) throw bad(`weight ${index} ends past the weights`);
      if (offset >= end) break;
      const from = Math.max(offset, start);
      const to = Math.min(offset + len, end);
      const place = places.get(index);
      if (place && to > from) memory.write(place.buffer, place.offset + from - offset, chunk.subarray(from - start, to - start));
      if (offset + len > end) break;
    }
    written += chunk.length;
    if (written < FLUSH) continue;
    written = 0;
    device.queue.submit([]);
    await or(device.queue.onSubmittedWorkDone());
  }
}
