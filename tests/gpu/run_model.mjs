// Runs a whole artifact with Dawn on the Vulkan driver that env.sh chose, through the browser runtime, and compares: the way to run f16
// and subgroups in WGSL, which the native runtime's naga and headless Chromium do not take.
//
//     tests/gpu/env.sh lavapipe node tests/gpu/run_model.mjs MODEL.odc --data DIR [--target NAME] [--rel 2e-2]
//
// DIR is a model's folder with test_data_set_0, ... and golden.json with its tolerances; --rel takes instead a largest error in parts of an
// output's largest value. One line an output; exit code 1 if any is wrong. Needs runtime/web/dist: node runtime/web/build.mjs.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath, pathToFileURL } from "node:url";
import { elements, readCase } from "../web/tensors.mjs";
import { serve } from "../web/serve.mjs";
import { dawn, fullDevice, stop } from "./tools.mjs";

const { values: options, positionals: [file] } = parseArgs({
  allowPositionals: true,
  options: { data: { type: "string" }, target: { type: "string" }, rel: { type: "string" } },
});
if (!file || !options.data) stop("usage: tests/gpu/env.sh lavapipe node tests/gpu/run_model.mjs MODEL.odc --data DIR [--target NAME] [--rel 2e-2]");
const module = fileURLToPath(new URL("../../runtime/web/dist/index.js", import.meta.url));
if (!existsSync(module)) stop(`${module} is missing: run node runtime/web/build.mjs`);
const { load } = await import(pathToFileURL(module));

const ARRAYS = {
  f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, i8: Int8Array, i16: Int16Array, i32: Int32Array,
  i64: BigInt64Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array, bool: Uint8Array,
};

/** The value of a float16's bits. */
function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

const adapter = await dawn("vulkan");
const device = await fullDevice(adapter);
// What the device refuses it does not do: results of it are nobody's.
const refused = [];
device.addEventListener("uncapturederror", (event) => refused.push(event.error.message));
const server = await serve({ "/model.odc": resolve(file) });
let wrong = 0;
let compared = 0;
try {
  const model = await load(`${server.url.replace(/\/$/, "")}/model.odc`, { device, ...(options.target && { target: options.target }) });
  const sets = readdirSync(options.data).filter((n) => /^test_data_set_\d+$/.test(n)).sort();
  const goldenFile = join(options.data, "golden.json");
  const golden = existsSync(goldenFile) ? JSON.parse(readFileSync(goldenFile, "utf8")) : undefined;
  for (const [c, set] of sets.entries()) {
    const { inputs, outputs } = readCase(join(options.data, set));
    const feeds = Object.fromEntries(inputs.map(({ name, dims, bytes }, i) => {
      const info = model.inputs.find((t) => t.name === (name || golden?.inputs?.[i])) ?? model.inputs[i];
      return [info.name, { data: new ARRAYS[info.dtype](bytes.slice().buffer), shape: dims }];
    }));
    const results = await model.run(feeds);
    for (const [i, want] of outputs.entries()) {
      const info = model.outputs.find((t) => t.name === (want.name || golden?.outputs?.[i])) ?? model.outputs[i];
      const got = Array.from(results[info.name], info.dtype === "f16" ? half : Number);
      const expected = Array.from(elements(want), want.dtype === "float16" ? half : Number);
      if (got.length !== expected.length) stop(`${set}: "${info.name}" has ${got.length} elements, not ${expected.length}`);
      const { atol, rtol } = golden?.cases?.[c]?.find((o) => o.name === info.name) ?? { atol: 1e-4, rtol: 1e-3 };
      const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      let [most, bad] = [0, 0];
      expected.forEach((e, k) => {
        const off = Object.is(got[k], e) ? 0 : Math.abs(got[k] - e);
        if (!(off <= (options.rel ? Number(options.rel) * largest : atol + rtol * Math.abs(e)))) bad++;
        most = Math.max(most, off);
      });
      compared++;
      if (bad > 0) wrong++;
      console.log(`${bad > 0 ? "DIFFER" : "ok    "} ${set}: ${info.name}: largest error ${most.toExponential(3)} (${(most / largest).toExponential(1)} of the largest value)${bad > 0 ? `, ${bad} of ${expected.length} elements` : ""}`);
    }
  }
  model.destroy();
  await device.queue.onSubmittedWorkDone();
} catch (e) {
  console.log(`FAILED  ${e.message}`);
  wrong++;
}
for (const message of new Set(refused)) console.log(`FAILED  the device refused: ${message}`);
wrong += refused.length;
server.close();
if (compared === 0) console.log("FAILED  nothing was compared");
process.exit(wrong > 0 || compared === 0 ? 1 : 0);
