// Compiled by odc_runtime.mjs against the package's declarations, never run: what a caller may write, and what is refused.
import { load, OdcError, type Model } from "odc-runtime-web";

export type Unet = {
  inputs: {
    /** f32[batch, 4, h, w] */
    "sample": Float32Array;
    /** i64[1] */
    "timestep": BigInt64Array;
  };
  outputs: {
    /** f32[batch, 4, h, w] */
    "noise": Float32Array;
    "mask": Uint8Array;
  };
};

export async function typed(buffer: GPUBuffer, encoder: GPUCommandEncoder): Promise<number> {
  const model: Model<Unet> = await load<Unet>("unet.odc", { signal: new AbortController().signal });
  const sample = { data: new Float32Array(4), shape: [1, 4, 1, 1] };
  const timestep = BigInt64Array.of(1n);
  const both: { noise: Float32Array; mask: Uint8Array } = await model.run({ sample, timestep });
  const one = await model.run({ sample: buffer, timestep }, { outputs: ["mask"] });
  one.mask satisfies Uint8Array;
  // @ts-expect-error: it was not asked for
  one.noise;
  const rest = await model.run({ sample, timestep }, { into: { noise: buffer } });
  rest.mask satisfies Uint8Array;
  // @ts-expect-error: it is in the caller's buffer
  rest.noise;
  const kept = await model.run({ sample, timestep }, { keep: "gpu" });
  kept.noise satisfies GPUBuffer;
  // @ts-expect-error: an input is missing
  await model.run({ sample });
  // @ts-expect-error: of another type
  await model.run({ sample: new Float64Array(4), timestep });
  // @ts-expect-error: no such output
  await model.run({ sample, timestep }, { outputs: ["nose"] });
  model.encode(encoder, { inputs: { sample, timestep }, outputs: { noise: buffer } }).mask satisfies GPUBuffer;
  model.shapes({ sample: [1, 4, 8, 8] }).noise satisfies number[];
  await model.lost.then(() => model.resume());
  return both.noise.length + model.memory.total;
}

export async function untyped(): Promise<string> {
  try {
    const model = await load(new URL("https://example.org/m.odc"));
    const { y } = await model.run({ x: Float32Array.of(1) });
    return String(y?.[0]);
  } catch (e) {
    return e instanceof OdcError && e.code === "device-lost" ? e.message : "other";
  }
}
