// ONNX Runtime Web beside odc in the same browser: times and counts of one model in headless Chromium, as one line of JSON.
//
//     node tests/web/ort_counts.mjs MODEL.onnx --data DIR [--runs 9] [--compressed]
//
// DIR holds input_0.pb or .npy, ..., and output_0, or is a model's folder with test_data_set_0. --compressed adds the runtime's
// download after gzip. Counts are those of one steady run (the median of the runs, which are all the same or `uneven` is true).
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { chromium, packageFile, stop } from "../gpu/tools.mjs";
import { elements, readCase } from "./tensors.mjs";
import { serve } from "./serve.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { data: { type: "string" }, runs: { type: "string", default: "9" }, compressed: { type: "boolean" } },
});
const [model] = positionals;
if (!model || !options.data) stop("usage: node tests/web/ort_counts.mjs MODEL.onnx --data DIR [--runs 9] [--compressed]");
const { inputs, outputs } = readCase(options.data);

const dist = packageFile("onnxruntime-web", "dist/");
const server = await serve({
  "/": "<!doctype html><title>ONNX Runtime Web</title>",
  "/ort/": resolve(dist),
  "/model.onnx": resolve(model),
  ...Object.fromEntries(inputs.map(({ bytes }, i) => [`/input_${i}`, Buffer.from(bytes)])),
});

/** Runs in the page. */
async function measure({ inputs, runs }) {
  const counter = countWebGPU();
  const ort = await import("/ort/ort.webgpu.min.mjs");
  ort.env.wasm.numThreads = 1; // a plain host sends no isolation headers
  ort.env.logLevel = "error";
  let start = performance.now();
  const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["webgpu"] });
  const session_ms = performance.now() - start;
  const at_load = counter.read();
  const feeds = {};
  for (const [i, { name, dtype, dims }] of inputs.entries()) {
    const buffer = await (await fetch(`/input_${i}`)).arrayBuffer();
    const types = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, int8: Int8Array, bool: Uint8Array, float16: Uint16Array };
    feeds[name || session.inputNames[i]] = new ort.Tensor(dtype, new types[dtype](buffer), dims);
  }
  const times = [];
  const counted = [];
  let result;
  for (let i = 0; i <= runs; i++) {
    counter.reset();
    start = performance.now();
    result = await session.run(feeds);
    for (const tensor of Object.values(result)) if (tensor.location !== "cpu") await tensor.getData();
    times.push(performance.now() - start);
    counted.push(counter.read());
  }
  return {
    session_ms, times, at_load, counted,
    outputs: session.outputNames.map((name) => ({ name, values: Array.from(result[name].data, Number) })),
  };
}

const browser = await chromium();
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.addInitScript({ path: fileURLToPath(new URL("count_webgpu.js", import.meta.url)) });
  await page.goto(server.url);
  const shapes = inputs.map(({ name, dtype, dims }) => ({ name, dtype, dims }));
  const found = await page.evaluate(measure, { inputs: shapes, runs: Number(options.runs) });
  if (errors.length) stop(`ort_counts: the page failed: ${errors.join("; ")}`);

  const worst = outputs.map((want, i) => {
    const expected = elements(want);
    const got = found.outputs[i].values;
    if (got.length !== expected.length) stop(`ort_counts: output ${i} has ${got.length} elements, not ${expected.length}`);
    return got.reduce((most, value, k) => Math.max(most, Math.abs(value - Number(expected[k]))), 0);
  });
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const round = (ms) => Math.round(ms * 10) / 10;
  const [first, ...steady] = found.counted;
  const last = steady.at(-1);
  const runtime = [...server.sent].filter(([path]) => path.startsWith("/ort/"));
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  console.log(JSON.stringify({
    peer: `onnxruntime-web ${JSON.parse(readFileSync(packageFile("onnxruntime-web", "package.json"))).version}`,
    model: basename(resolve(model, "..")),
    browser: `Chromium ${browser.version()} on SwiftShader (a software device)`,
    download_bytes: sum(runtime.map(([, bytes]) => bytes)),
    ...(options.compressed && { download_gzip_bytes: sum(runtime.map(([path]) => gzipSync(readFileSync(dist + path.slice(5))).length)) }),
    model_bytes: server.sent.get("/model.onnx"),
    session_ms: round(found.session_ms),
    first_ms: round(found.times[0]),
    steady_ms: round(median(found.times.slice(1))),
    pipelines: found.at_load.pipelines + sum(found.counted.map((c) => c.pipelines)),
    pipelines_in_first_run: first.pipelines,
    shader_chars: found.at_load.shaderChars + sum(found.counted.map((c) => c.shaderChars)),
    per_run: Object.fromEntries(["dispatches", "submits", "passes", "pipelines", "bindGroups", "buffers", "bufferWrites", "copies", "maps"].map((n) => [n, last[n]])),
    uneven: steady.some((c) => ["dispatches", "submits", "passes", "bindGroups", "buffers"].some((n) => c[n] !== last[n])),
    peak_buffer_bytes: Math.max(found.at_load.peakBytes, ...found.counted.map((c) => c.peakBytes)),
    steady_peak_buffer_bytes: last.peakBytes,
    live_buffer_bytes: last.liveBytes,
    max_abs_err: worst,
  }));
} finally {
  await browser.close();
  server.close();
}
process.exit();
