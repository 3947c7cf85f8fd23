// The manifest of an artifact, decoded from postcard. Mirrors runtime/format/src/manifest.rs and shape.rs field by field.

import { bad, OdcError } from "./error.js";

export type DType = "f32" | "f64" | "f16" | "bf16" | "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "bool"
  | "f8e4m3fn" | "f8e4m3fnuz" | "f8e5m2" | "f8e5m2fnuz" | "f8e8m0" | "f6e2m3" | "f6e3m2" | "f4e2m1" | "i4" | "u4" | "i2" | "u2" | "str";

/** An index of a shape program's instruction, which defines it. */
export type Slot = number;

export type Op = "const" | "dim" | "add" | "sub" | "mul" | "floordiv" | "ceildiv" | "mod" | "min" | "max" | "align";
/** `const`: a is the value. `dim`: a is the input, b the axis. `align`: b is the number. Else both are slots. */
export interface Instr {
  op: Op;
  a: number;
  b: number;
}
export type Relation = "at-least" | "at-most" | "equal" | "multiple-of";
/** `equal`: b is a slot. Else b is a number. */
export interface Check {
  relation: Relation;
  a: Slot;
  b: number;
  what: string;
}
export interface ShapeProgram {
  instrs: Instr[];
  checks: Check[];
}
export interface SymbolInfo {
  name: string;
  lo: number;
  /** Infinity: no upper bound. */
  hi: number;
  multipleOf: number;
  slot: Slot;
}
export interface Tensor {
  name: string;
  dtype: DType;
  shape: Slot[];
  text: string[];
}
/** Element k of an integer input lies in the range k modulo their number, both ends included. */
export interface InRange {
  input: number;
  ranges: [Slot, Slot][];
  what: string;
}
export interface Weight {
  offset: number;
  len: number;
}
export interface Digests {
  code: Uint8Array[];
  chunkBytes: number;
  chunks: Uint8Array[];
}
export interface Limits {
  storageBuffers: number;
  bindingBytes: number;
  invocations: number;
  workgroupBytes: number;
}
export interface Gpu {
  language: "wgsl" | "spirv" | "msl";
  features: string[];
  limits: Limits;
}
export interface Kernel {
  name: string;
  offset: number;
  len: number;
  /** Names of the ONNX nodes. */
  source: string[];
  workgroup: number[];
  /** One a buffer: is it written? */
  writable: boolean[];
}
/** `arena`: at is a slot, the offset. Else at is an index. */
export interface BufferRef {
  kind: "input" | "weight" | "arena" | "output" | "local";
  at: number;
  offset: number;
}
export interface Dispatch {
  kernel: number;
  buffers: BufferRef[];
  dims: Slot[];
  bytes: Slot[];
  grid: Slot;
}
export interface Copy {
  src: BufferRef;
  dst: BufferRef;
  bytes: Slot;
}
export interface Program {
  target: string;
  /** Undefined for programs that no GPU runs. */
  gpu: Gpu | undefined;
  /** Undefined for linked code. */
  section: number | undefined;
  kernels: Kernel[];
  commands: (Dispatch | Copy)[];
  outputs: BufferRef[];
  arenaBytes: Slot;
  /** `arenaBytes` for people. */
  peak: string;
}
export interface Manifest {
  name: string;
  producer: string;
  symbols: SymbolInfo[];
  inputs: Tensor[];
  outputs: Tensor[];
  /** By their numbers. */
  strings: string[];
  shapes: ShapeProgram;
  inRange: InRange[];
  weights: Weight[];
  digests: Digests;
  targets: Program[];
}

const DTYPES: DType[] = ["f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool",
  "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f6e2m3", "f6e3m2", "f4e2m1", "i4", "u4", "i2", "u2", "str"];
const OPS: (Op | "said")[] = ["const", "dim", "add", "sub", "mul", "floordiv", "ceildiv", "mod", "min", "max", "align", "said"];
const RELATIONS: Relation[] = ["at-least", "at-most", "equal", "multiple-of"];
const KINDS: BufferRef["kind"][] = ["input", "weight", "arena", "output", "local"];
const COMMANDS = ["dispatch", "copy", "size", "if", "else", "loop", "end"] as const;
const LANGUAGES: Gpu["language"][] = ["wgsl", "spirv", "msl"];

export const BYTES: Record<DType, number> = {
  f32: 4, f64: 8, f16: 2, bf16: 2, i8: 1, i16: 2, i32: 4, i64: 8, u8: 1, u16: 2, u32: 4, u64: 8, bool: 1,
  f8e4m3fn: 1, f8e4m3fnuz: 1, f8e5m2: 1, f8e5m2fnuz: 1, f8e8m0: 1, f6e2m3: 1, f6e3m2: 1, f4e2m1: 1, i4: 1, u4: 1, i2: 1, u2: 1, str: 4,
};

/** Postcard 1.x: integers are LEB128 (signed ones in zigzag), strings and lists have their length before them. */
class Reader {
  private at = 0;
  private readonly text = new TextDecoder("utf-8", { fatal: true });

  constructor(private readonly data: Uint8Array<ArrayBuffer>) {}

  get rest(): number {
    return this.data.length - this.at;
  }

  byte(): number {
    const value = this.data[this.at++];
    if (value === undefined) throw bad("the manifest is cut short");
    return value;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (length > this.rest) throw bad("the manifest is cut short");
    return this.data.subarray(this.at, (this.at += length));
  }

  /** Past 2^53 it is inexact, and no safe integer. */
  private varint(): number {
    let value = 0;
    for (let scale = 1, count = 0; count < 10; count++, scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw bad("an integer in the manifest has too many bytes");
  }

  uint(): number {
    const value = this.varint();
    if (!Number.isSafeInteger(value)) throw bad("a number in the manifest is 2^53 or more");
    return value;
  }

  /** Past 2^53 it is an infinity: `i64::MAX` stands for "no bound". */
  int(): number {
    const negative = ((this.data[this.at] ?? 0) & 1) === 1;
    const value = this.varint();
    if (!Number.isSafeInteger(value)) return negative ? -Infinity : Infinity;
    return negative ? -(value + 1) / 2 : value / 2;
  }

  string(): string {
    const bytes = this.bytes(this.uint());
    try {
      return this.text.decode(bytes);
    } catch {
      throw bad("a name in the manifest is not UTF-8");
    }
  }

  variant<T>(names: readonly T[]): T {
    const value = names[this.uint()];
    if (value === undefined) throw bad("the manifest has something that this runtime does not know");
    return value;
  }

  list<T>(item: (r: Reader) => T): T[] {
    const length = this.uint();
    // Nothing in a manifest takes less than a byte, so that a hostile length ends here and not in memory.
    if (length > this.rest) throw bad("the manifest is cut short");
    return Array.from({ length }, () => item(this));
  }
}

const uint = (r: Reader): number => r.uint();
const string = (r: Reader): string => r.string();
const hash = (r: Reader): Uint8Array => r.bytes(32);

function instr(r: Reader): Instr {
  const op = r.variant(OPS);
  if (op === "said") {
    throw new OdcError("no-target", "The data that this model is given decides a size in it, which no GPU runs. Run it with the native runtime, on a CPU.");
  }
  return op === "const" ? { op, a: r.int(), b: 0 } : { op, a: r.uint(), b: r.uint() };
}

function check(r: Reader): Check {
  const relation = r.variant(RELATIONS);
  return { relation, a: r.uint(), b: relation === "equal" ? r.uint() : r.int(), what: r.string() };
}

const symbol = (r: Reader): SymbolInfo => ({ name: r.string(), lo: r.int(), hi: r.int(), multipleOf: r.int(), slot: r.uint() });

function tensor(r: Reader): Tensor {
  const t = { name: r.string(), dtype: r.variant(DTYPES), shape: r.list(uint), text: r.list(string) };
  if (t.shape.length !== t.text.length) throw bad(`"${t.name}" has ${t.text.length} dim texts for rank ${t.shape.length}`);
  return t;
}

const inRange = (r: Reader): InRange => ({ input: r.uint(), ranges: r.list((r) => [r.uint(), r.uint()]), what: r.string() });

function weight(r: Reader): Weight {
  r.bytes(32);
  return { offset: r.uint(), len: r.uint() };
}

function device(r: Reader): Gpu | undefined {
  if (r.variant([false, true])) {
    return {
      language: r.variant(LANGUAGES),
      features: r.list(string),
      limits: { storageBuffers: r.uint(), bindingBytes: r.uint(), invocations: r.uint(), workgroupBytes: r.uint() },
    };
  }
  r.uint(); // the CPU's architecture
  r.list(string);
  return undefined;
}

function kernel(r: Reader): Kernel {
  const k: Kernel = { name: r.string(), offset: r.uint(), len: r.uint(), source: [], workgroup: [], writable: [] };
  r.uint(); // scratch
  k.source = r.list(string);
  if (r.variant([false, true])) {
    k.workgroup = [r.uint(), r.uint(), r.uint()];
    k.writable = r.list((r) => r.variant([false, true]));
  }
  return k;
}

function bufferRef(r: Reader): BufferRef {
  const kind = r.variant(KINDS);
  return { kind, at: r.uint(), offset: kind === "weight" ? r.uint() : 0 };
}

const optional = <T>(r: Reader, item: (r: Reader) => T): T | undefined => (r.variant([false, true]) ? item(r) : undefined);

/** Control flow is in programs for CPUs only, which are read over. */
function command(r: Reader): Dispatch | Copy | undefined {
  const what = r.variant(COMMANDS);
  if (what === "copy") return { src: bufferRef(r), dst: bufferRef(r), bytes: r.uint() };
  if (what === "else" || what === "end") return undefined;
  if (what === "size" || what === "if") {
    bufferRef(r);
    return undefined;
  }
  if (what === "loop") {
    r.uint(); // trips
    optional(r, bufferRef); // limit
    optional(r, (r) => [bufferRef(r), bufferRef(r)]); // condition
    optional(r, bufferRef); // iteration
    r.list((r) => [bufferRef(r), bufferRef(r), bufferRef(r), r.uint()]);
    r.list((r) => [bufferRef(r), r.uint(), r.variant([false, true])]);
    return undefined;
  }
  const d = { kernel: r.uint(), buffers: r.list(bufferRef), dims: r.list(uint), bytes: r.list(uint), grid: r.uint() };
  r.uint(); // grain
  return d;
}

function program(r: Reader): Program {
  const [target, gpu] = [r.string(), device(r)];
  const section = r.variant([true, false]) ? r.uint() : undefined;
  const kernels = r.list(kernel);
  const all = r.list(command);
  const commands = all.filter((c) => c !== undefined);
  if (gpu && commands.length !== all.length) throw bad(`the program "${target}" has control flow, which no GPU runs`);
  const p = { target, gpu, section, kernels, commands, outputs: r.list(bufferRef), arenaBytes: r.uint(), peak: r.string() };
  r.list((r) => [r.string(), r.uint(), r.uint(), r.string(), r.uint(), r.uint()]); // what lives in the arena, for people
  return p;
}

export function decodeManifest(bytes: Uint8Array<ArrayBuffer>): Manifest {
  const r = new Reader(bytes);
  const manifest: Manifest = {
    name: r.string(),
    producer: r.string(),
    symbols: r.list(symbol),
    inputs: r.list(tensor),
    outputs: r.list(tensor),
    strings: r.list(string),
    shapes: { instrs: r.list(instr), checks: r.list(check) },
    inRange: r.list(inRange),
    weights: r.list(weight),
    digests: { code: r.list(hash), chunkBytes: r.uint(), chunks: r.list(hash) },
    targets: r.list(program),
  };
  if (r.rest > 0) throw bad(`the manifest has ${r.rest} bytes too many`);
  return manifest;
}
