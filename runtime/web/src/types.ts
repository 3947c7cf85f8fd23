// The types that callers see. `odc compile -o unet.ts` writes a Signature for its model.

import type { DType } from "./manifest.js";

export type TypedArray =
  | Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** The arrays of a model's inputs and outputs by name. */
export interface Signature {
  inputs: Record<string, TypedArray>;
  outputs: Record<string, TypedArray>;
}

/** An input with its shape, for models with dims that their inputs decide. */
export interface Shaped<T> {
  data: T;
  shape: readonly number[];
}

/** A GPUBuffer is read in place: usage STORAGE, at least the tensor's bytes rounded up to 4. */
export type Input<A extends TypedArray = TypedArray> = A | GPUBuffer | Shaped<A | GPUBuffer>;

export type Inputs<M extends Signature> = { [K in keyof M["inputs"]]: Input<M["inputs"][K]> };

export type OutputName<M extends Signature> = keyof M["outputs"] & string;

export interface RunOptions<M extends Signature, K extends OutputName<M> = OutputName<M>, I extends OutputName<M> = never> {
  /** The outputs to read back; without it all that are not in `into`. */
  outputs?: readonly K[];
  /** Buffers of the caller into which outputs are computed; they are not read back. Usage STORAGE, size as for inputs. */
  into?: { [N in I]: GPUBuffer };
}

export interface Bindings<M extends Signature> {
  inputs: Inputs<M>;
  /** Outputs without a buffer go to buffers of the model. */
  outputs?: { [N in OutputName<M>]?: GPUBuffer };
}

export interface TensorInfo {
  name: string;
  dtype: DType;
  /** Numbers, and expressions of the dims that inputs decide: ["batch", 3, "2*h"]. */
  shape: (number | string)[];
}

/** A size that inputs decide. */
export interface DimInfo {
  name: string;
  min: number;
  /** Infinity: no upper bound. */
  max: number;
  multipleOf: number;
}

type Arrays = Record<DType, { new (data: ArrayBuffer): TypedArray }>;
export const ARRAYS: Arrays = {
  f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, i8: Int8Array, i16: Int16Array, i32: Int32Array,
  i64: BigInt64Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array, bool: Uint8Array,
  f8e4m3fn: Uint8Array, f8e4m3fnuz: Uint8Array, f8e5m2: Uint8Array, f8e5m2fnuz: Uint8Array, f8e8m0: Uint8Array,
  f6e2m3: Uint8Array, f6e3m2: Uint8Array, f4e2m1: Uint8Array, i4: Int8Array, u4: Uint8Array, i2: Int8Array, u2: Uint8Array,
  str: Int32Array,
};

/** Also these arrays hold elements of the type. */
export const ALSO: Partial<Record<DType, string>> = { u8: "Uint8ClampedArray", bool: "Uint8ClampedArray", f16: "Float16Array" };
