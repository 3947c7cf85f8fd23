// Every GPU buffer that the runtime makes, counted by what it is for, so that nothing is left behind and the sums are exact.

export type Purpose = "weights" | "arena" | "inputs" | "outputs" | "dims" | "staging";

/** Bytes of GPU buffers that exist now. */
export type MemoryUse = Record<Purpose | "total", number>;

export const USAGE = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128 } as const;

const USAGES: Record<Purpose, number> = {
  weights: USAGE.STORAGE | USAGE.COPY_DST,
  arena: USAGE.STORAGE,
  inputs: USAGE.STORAGE | USAGE.COPY_DST,
  outputs: USAGE.STORAGE | USAGE.COPY_SRC,
  dims: USAGE.UNIFORM | USAGE.COPY_DST,
  staging: USAGE.MAP_READ | USAGE.COPY_DST,
};

export const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;
/** What a binding of so many bytes takes. */
export const bindingSize = (bytes: number): number => Math.max(16, alignUp(bytes, 16));

export class Memory {
  private readonly live = new Map<GPUBuffer, Purpose>();
  readonly use: MemoryUse = { weights: 0, arena: 0, inputs: 0, outputs: 0, dims: 0, staging: 0, total: 0 };

  constructor(private readonly device: GPUDevice) {}

  create(purpose: Purpose, size: number, label: string): GPUBuffer {
    const buffer = this.device.createBuffer({ label, size, usage: USAGES[purpose] });
    this.live.set(buffer, purpose);
    this.use[purpose] += size;
    this.use.total += size;
    return buffer;
  }

  destroy(buffer: GPUBuffer | undefined): void {
    const purpose = buffer && this.live.get(buffer);
    if (!buffer || !purpose) return;
    this.live.delete(buffer);
    this.use[purpose] -= buffer.size;
    this.use.total -= buffer.size;
    buffer.destroy();
  }

  destroyAll(): void {
    for (const buffer of [...this.live.keys()]) this.destroy(buffer);
  }

  /** Any number of bytes: a queue writes multiples of 4, so that a tail goes with zeros behind it. */
  write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    const whole = bytes.length & ~3;
    if (whole > 0) this.device.queue.writeBuffer(buffer, offset, bytes, 0, whole);
    if (whole === bytes.length) return;
    const tail = new Uint8Array(4);
    tail.set(bytes.subarray(whole));
    this.device.queue.writeBuffer(buffer, offset + whole, tail);
  }
}
