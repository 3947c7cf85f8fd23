// A loaded model: runs one after the other, and what happens when it or its device ends.

import { OdcError, reason } from "./error.js";
import { lostError, open, type Loaded, type LoadOptions } from "./loaded.js";
import type { Tensor } from "./manifest.js";
import type { MemoryUse } from "./memory.js";
import { Session, type AnyInputs, type Bound, type Buffers, type Shapes } from "./session.js";
import { evaluate } from "./shape.js";
import { Strings } from "./strings.js";
import type { Bindings, DimInfo, Inputs, OutputName, RunOptions, Signature, TensorInfo } from "./types.js";

export class Model<M extends Signature = Signature> {
  #session: Session;
  #strings: Strings | undefined;
  #destroyed = false;
  #resuming: Promise<void> | undefined;
  /** Ends when the run before has ended: runs share the arena. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #options: LoadOptions;

  /** Use `load`. */
  constructor(loaded: Loaded, options: LoadOptions) {
    this.#session = new Session(loaded);
    this.#options = options;
  }

  get #loaded(): Loaded {
    return this.#session.model;
  }

  get name(): string {
    return this.#loaded.manifest.name;
  }
  /** The name of the program that runs, as it was given to `odc compile -t`. */
  get target(): string {
    return this.#loaded.program.target;
  }
  get device(): GPUDevice {
    return this.#loaded.device;
  }
  /** Ends when the device is lost; of the device that is used now. */
  get lost(): Promise<GPUDeviceLostInfo> {
    return this.#loaded.device.lost;
  }
  /** Bytes of the GPU buffers that the model has now: exactly what it created. */
  get memory(): Readonly<MemoryUse> {
    return { ...this.#loaded.memory.use };
  }
  get inputs(): TensorInfo[] {
    return this.#describe(this.#loaded.manifest.inputs);
  }
  get outputs(): TensorInfo[] {
    return this.#describe(this.#loaded.manifest.outputs);
  }
  /** The numbers of strings, for inputs and outputs of type "str". */
  get strings(): Strings {
    return (this.#strings ??= new Strings(this.#loaded.manifest.strings));
  }
  /** The sizes that inputs decide. */
  get dims(): DimInfo[] {
    return this.#loaded.manifest.symbols.map((s) => ({ name: s.name, min: s.lo, max: s.hi, multipleOf: s.multipleOf }));
  }

  #describe(tensors: readonly Tensor[]): TensorInfo[] {
    const { slots } = evaluate(this.#loaded.manifest, () => undefined);
    return tensors.map(({ name, dtype, shape, text }) => ({ name, dtype, shape: shape.map((slot, i) => slots[slot] ?? text[i] ?? "?") }));
  }

  /** The shapes of the outputs for these shapes of the inputs. Inputs whose shape follows may be left out. */
  shapes(inputs: { [K in keyof M["inputs"]]?: readonly number[] } = {}): Record<OutputName<M>, number[]> {
    return this.#session.outputShapes(inputs) as Record<OutputName<M>, number[]>;
  }

  /**
   * Makes what runs with these input shapes need, and runs once on what its input buffers hold (zeros, at first), for drivers that
   * put work off until a kernel first runs.
   * Shapes that follow may be left out. `load` does it for models whose dims are all static.
   */
  async prepare(shapes: { [K in keyof M["inputs"]]?: readonly number[] } = {}): Promise<void> {
    await this.#inTurn(() => this.#attempt((session) => this.#go(session, () => session.prepare(shapes as Shapes), [...session.model.manifest.outputs.keys()])));
  }

  /** Runs the model: one submit, with the read-back in it. Runs that are started together follow each other. */
  run<K extends OutputName<M> = OutputName<M>, I extends OutputName<M> = never>(
    inputs: Inputs<M>,
    options?: RunOptions<M, K, I> & { keep?: undefined },
  ): Promise<{ [N in Exclude<K, I>]: M["outputs"][N] }>;
  /** Nothing is read back: the outputs stay in buffers of the model until the next run. Ends when the work is submitted. */
  run<K extends OutputName<M> = OutputName<M>, I extends OutputName<M> = never>(
    inputs: Inputs<M>,
    options: RunOptions<M, K, I> & { keep: "gpu" },
  ): Promise<{ [N in K]: GPUBuffer }>;
  async run(inputs: Inputs<M>, options: { outputs?: readonly string[]; into?: object; keep?: "gpu" | undefined } = {}): Promise<never> {
    const run = this.#inTurn(() => this.#run(inputs as AnyInputs, options.outputs, (options.into ?? {}) as Buffers, options.keep === "gpu"));
    return run as Promise<never>; // as the overloads say
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => {});
    return run;
  }

  #run(inputs: AnyInputs, wanted: readonly string[] | undefined, into: Buffers, keep: boolean): Promise<Record<string, unknown>> {
    return this.#attempt((session) => {
      const { outputs } = session.model.manifest;
      const named = (wanted ?? outputs.map((t) => t.name).filter((name) => keep || !into[name])).map((name) => {
        const k = outputs.findIndex((t) => t.name === name);
        if (k < 0) throw new OdcError("binding", `The model has no output "${name}"; it has ${outputs.map((t) => t.name).join(", ")}.`);
        return k;
      });
      const read = keep ? [] : named.filter((k) => !into[outputs[k]?.name ?? ""]);
      return this.#go(session, () => session.bind(inputs, into, read), read, keep ? named : undefined);
    });
  }

  /** One submit. Reads back, or gives the buffers of the outputs to `keep`. */
  async #go(session: Session, bind: () => Bound, read: readonly number[], keep?: readonly number[]): Promise<Record<string, unknown>> {
    const { device, manifest } = session.model;
    const bound = await this.#refusable(session, bind);
    // What a device refuses in a submit it leaves undone, and only a scope tells: the first run of every shape and set of buffers asks.
    const { made } = session;
    if (made) device.pushErrorScope("validation");
    let reading: (() => Promise<Record<string, unknown>>) | undefined;
    try {
      const encoder = device.createCommandEncoder({ label: manifest.name });
      session.upload(bound);
      session.record(encoder, bound);
      reading = keep ? undefined : session.readBack(encoder, bound, read);
      device.queue.submit([encoder.finish()]);
    } finally {
      const error = made ? await device.popErrorScope() : null;
      if (error) {
        session.reset(); // so that the next run asks again
        throw new OdcError("run", `The device refused to run "${manifest.name}": ${error.message}. If the buffers are yours, see their usage; else report it.`);
      }
    }
    return reading ? await reading() : this.#named(bound, keep ?? []);
  }

  /** On a device that is there; tells why when it goes away. */
  async #attempt<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#alive();
    if (this.#loaded.lost) {
      if (!this.#loaded.owned || this.#options.autoResume === false) throw lostError(this.#loaded.lost);
      await this.resume();
    }
    const session = this.#session;
    const { device, manifest } = session.model;
    try {
      return await work(session);
    } catch (e) {
      if (e instanceof OdcError) throw e;
      this.#alive();
      // The loss of a device is told in two places, in any order.
      const lost = session.model.lost ?? (await Promise.race([device.lost, new Promise<undefined>((done) => setTimeout(done, 200))]));
      this.#alive();
      if (lost) throw lostError(lost);
      throw new OdcError("run", `The browser refused the run of "${manifest.name}": ${reason(e)}. Report it with the browser's version.`, e);
    }
  }

  /** Where memory may be refused, it is waited for; a shape that is known waits for nothing. */
  async #refusable(session: Session, bind: () => Bound): Promise<Bound> {
    const { device } = session.model;
    device.pushErrorScope("out-of-memory");
    let refused: Promise<GPUError | null>;
    let bound: Bound;
    try {
      bound = bind();
    } finally {
      refused = device.popErrorScope();
      refused.catch(() => {});
    }
    if (!session.made) return bound;
    const error = await refused;
    if (!error) return bound;
    session.reset();
    throw new OdcError("out-of-memory", `The device has no room for a run with these input shapes: ${error.message}. Run it on smaller inputs, or close other pages.`);
  }

  #named(bound: Bound, which: readonly number[]): Record<string, GPUBuffer> {
    const { outputs } = this.#loaded.manifest;
    return Object.fromEntries(which.flatMap((k) => (outputs[k] && bound.outputs[k] ? [[outputs[k].name, bound.outputs[k]]] : [])));
  }

  /**
   * Records one compute pass into the caller's encoder, on the model's device. Buffers of the caller are read and written in
   * place. Typed arrays are written to the queue now: give each only once before the submit. Gives all outputs.
   */
  encode(encoder: GPUCommandEncoder, bindings: Bindings<M>): { [N in OutputName<M>]: GPUBuffer } {
    this.#alive();
    const session = this.#session;
    if (session.model.lost) throw lostError(session.model.lost);
    session.lend();
    const bound = session.bind(bindings.inputs as AnyInputs, bindings.outputs ?? {});
    session.upload(bound);
    session.record(encoder, bound);
    return this.#named(bound, session.model.manifest.outputs.map((_, k) => k)) as { [N in OutputName<M>]: GPUBuffer };
  }

  /** After the loss of the device: loads the model again, from the browser's cache where it can, on `device` or one of its own. */
  resume(device?: GPUDevice): Promise<void> {
    this.#resuming ??= this.#resume(device).finally(() => (this.#resuming = undefined));
    return this.#resuming;
  }

  async #resume(device: GPUDevice | undefined): Promise<void> {
    this.#alive();
    const { device: own, signal: _, ...options } = this.#options;
    if (!device && own) throw new OdcError("device-lost", "The model ran on a device of the caller: make a new one and give it to resume(device).");
    const loaded = await open(this.#loaded.url, device ? { ...options, device } : options);
    if (this.#destroyed) free(loaded);
    this.#alive();
    free(this.#loaded);
    this.#session = new Session(loaded);
  }

  #alive(): void {
    if (this.#destroyed) throw new OdcError("destroyed", "The model was destroyed: load it again.");
  }

  /** Frees all that the model made; a device of the caller stays. Runs that are under way fail. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    free(this.#loaded);
  }
}

function free(loaded: Loaded): void {
  loaded.memory.destroyAll();
  if (loaded.owned) loaded.device.destroy();
}
