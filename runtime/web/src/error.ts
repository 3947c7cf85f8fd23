// The one error class of the runtime. `code` is stable; the message says what, where, why and what to do.

export type OdcErrorCode =
  /** The server did not answer with the file. */
  | "http"
  /** The download ended before the file did. */
  | "truncated"
  /** Not an artifact at all. */
  | "not-an-artifact"
  /** An artifact of another format version. */
  | "version"
  /** An artifact with parts that contradict each other. */
  | "bad-artifact"
  /** A part of the download is not what the compiler wrote. */
  | "damaged"
  /** This browser or page has no WebGPU. */
  | "no-webgpu"
  /** WebGPU is there, but no adapter. */
  | "no-adapter"
  /** The artifact has no program for WebGPU. */
  | "no-target"
  | "missing-feature"
  | "missing-limit"
  /** The browser refuses a kernel. */
  | "pipeline"
  | "out-of-memory"
  | "device-lost"
  /** The model was destroyed by its owner. */
  | "destroyed"
  /** An input or output that is missing, unknown or of the wrong kind. */
  | "binding"
  /** An index or a length in an input that points outside of what it is for. */
  | "value"
  /** Dims for which the model was not compiled. */
  | "shape"
  /** Dims with which the model is too large for the device. */
  | "too-large"
  /** The browser refused the run. */
  | "run";

export class OdcError extends Error {
  readonly code: OdcErrorCode;

  constructor(code: OdcErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "OdcError";
    this.code = code;
  }
}

/** For artifacts that contradict themselves; the file is wrong, not the caller. */
export function bad(what: string): OdcError {
  return new OdcError("bad-artifact", `The artifact is wrong: ${what}. Compile the model again; report it if it stays.`);
}

/** The element at an index that comes from the file. */
export function at<T>(list: readonly T[], index: number, what: string): T {
  const item = list[index];
  if (item === undefined) throw bad(`there is no ${what} ${index}`);
  return item;
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
