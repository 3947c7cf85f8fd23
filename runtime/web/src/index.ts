// odc-runtime-web: loads what `odc compile -t wgsl` wrote and runs it over WebGPU.

import { open, type LoadOptions } from "./loaded.js";
import { Model } from "./model.js";
import type { Signature } from "./types.js";

export { OdcError, type OdcErrorCode } from "./error.js";
export type { DType } from "./manifest.js";
export type { LoadOptions } from "./loaded.js";
export type { MemoryUse } from "./memory.js";
export type { Progress } from "./download.js";
export type { Model } from "./model.js";
export type { Strings } from "./strings.js";
export type { Bindings, DimInfo, Input, Inputs, OutputName, RunOptions, Shaped, Signature, TensorInfo, TypedArray } from "./types.js";

/** Loads a model; when this ends, its weights are on the device and its kernels are compiled. */
export async function load<M extends Signature = Signature>(url: string | URL, options: LoadOptions = {}): Promise<Model<M>> {
  const base = (globalThis.document as Document | undefined)?.baseURI ?? globalThis.location?.href;
  const address = new URL(url, base).href;
  const { signal, prepare } = options;
  const model = new Model<M>(await open(address, options), options);
  if (prepare === false || (!prepare && model.inputs.some((t) => t.shape.some((dim) => typeof dim === "string")))) return model;
  const abort = (): void => model.destroy();
  signal?.addEventListener("abort", abort);
  try {
    await model.prepare(prepare as { [K in keyof M["inputs"]]?: readonly number[] } | undefined);
    signal?.throwIfAborted();
    return model;
  } catch (e) {
    model.destroy();
    throw signal?.aborted ? signal.reason : e;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
