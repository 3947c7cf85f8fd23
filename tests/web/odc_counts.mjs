// odc's browser runtime on a real model in headless Chromium: results against the goldens, nothing created after load, and the figures
// that ort_counts.mjs prints of ONNX Runtime Web, as one line of JSON.
//
//     node tests/web/odc_counts.mjs MODEL.odc --data DIR [--golden FILE] [--rel 2e-3] [--runs 9] [--target NAME]
//
// DIR is a model's folder: test_data_set_0, ... and golden.json with tolerances (without it: 1e-4 + 1e-3 of the value; with --rel: that
// part of the largest value). Figures are those of test_data_set_0; all sets are checked, each twice. Exit code 1 if a result or a count
// is wrong. Needs runtime/web/dist.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve, basename } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { chromium, stop } from "../gpu/tools.mjs";
import { elements, readCase } from "./tensors.mjs";
import { serve } from "./serve.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { data: { type: "string" }, golden: { type: "string" }, rel: { type: "string" }, runs: { type: "string", default: "9" }, target: { type: "string" } },
});
const [model] = positionals;
if (!model || !options.data) stop("usage: node tests/web/odc_counts.mjs MODEL.odc --data DIR [--golden FILE] [--rel 2e-3] [--runs 9] [--target NAME]");
const module = fileURLToPath(new URL("../../runtime/web/dist/index.js", import.meta.url));
if (!existsSync(module)) stop(`${module} is missing: run node runtime/web/build.mjs, or tests/web/odc_runtime.mjs`);
const sets = readdirSync(options.data).filter((n) => /^test_data_set_\d+$/.test(n)).sort();
const cases = (sets.length > 0 ? sets.map((n) => join(options.data, n)) : [options.data]).map(readCase);
const goldenFile = options.golden ?? join(options.data, "golden.json");
const golden = existsSync(goldenFile) ? JSON.parse(readFileSync(goldenFile, "utf8")) : undefined;

const server = await serve({
  "/": "<!doctype html><title>odc</title>",
  "/odc.js": module,
  "/model.odc": resolve(model),
  ...Object.fromEntries(cases.flatMap(({ inputs }, c) => inputs.map(({ bytes }, i) => [`/input_${c}_${i}`, Buffer.from(bytes)]))),
});

/** Runs in the page. */
async function measure({ cases, names, runs, target }) {
  const counter = countWebGPU();
  const { load } = await import("/odc.js");
  let start = performance.now();
  const model = await load("/model.odc", target ? { target } : {});
  const session_ms = performance.now() - start;
  const at_load = counter.read();
  const arrays = {
    f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, i8: Int8Array, i16: Int16Array, i32: Int32Array,
    i64: BigInt64Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array, bool: Uint8Array,
  };
  const found = [];
  for (const [c, inputs] of cases.entries()) {
    const feeds = {};
    for (const [i, { name, dims }] of inputs.entries()) {
      const info = model.inputs.find((t) => t.name === (name || names?.[i])) ?? model.inputs[i];
      feeds[info.name] = { data: new arrays[info.dtype](await (await fetch(`/input_${c}_${i}`)).arrayBuffer()), shape: dims };
    }
    const [times, counted] = [[], []];
    let result;
    for (let k = 0; k <= (c === 0 ? runs : 1); k++) {
      counter.reset();
      start = performance.now();
      result = await model.run(feeds);
      times.push(performance.now() - start);
      counted.push(counter.read());
    }
    const outputs = Object.entries(result).map(([name, data]) => ({ name, dtype: model.outputs.find((t) => t.name === name).dtype, values: Array.from(data, Number) }));
    found.push({ times, counted, outputs, memory: model.memory });
  }
  return { session_ms, at_load, found, target: model.target };
}

/** The value of a float16's bits. */
function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

const problems = [];
const browser = await chromium();
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(`the page failed: ${error.message}`));
  page.on("console", (m) => { if (/^(error|warning)$/.test(m.type()) && !/404/.test(m.text())) problems.push(`console: ${m.text()}`); });
  await page.addInitScript({ path: fileURLToPath(new URL("count_webgpu.js", import.meta.url)) });
  await page.goto(server.url);
  const { session_ms, at_load, found, target } = await page.evaluate(measure, {
    cases: cases.map(({ inputs }) => inputs.map(({ name, dims }) => ({ name, dims }))), names: golden?.inputs, runs: Number(options.runs), target: options.target,
  });

  const worst = [];
  for (const [c, { outputs }] of found.entries()) {
    for (const [i, want] of cases[c].outputs.entries()) {
      const name = want.name || golden?.outputs?.[i];
      const got = outputs.find((o) => o.name === name) ?? outputs[i];
      const expected = Array.from(elements(want), want.dtype === "float16" ? half : Number);
      const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      const given = options.rel && { atol: Number(options.rel) * largest, rtol: 0 };
      const tolerance = given ?? golden?.cases?.[c]?.find((o) => o.name === got.name) ?? { atol: 1e-4, rtol: 1e-3 };
      const values = got.dtype === "f16" ? got.values.map(half) : got.values;
      if (values.length !== expected.length) { problems.push(`set ${c}: "${got.name}" has ${values.length} elements, not ${expected.length}`); continue; }
      let [most, wrong] = [0, 0];
      expected.forEach((e, k) => {
        const off = Object.is(values[k], e) || values[k] === e ? 0 : Math.abs(values[k] - e);
        if (!(off <= tolerance.atol + tolerance.rtol * Math.abs(e)) && !(Number.isNaN(e) && Number.isNaN(values[k]))) wrong++;
        most = Math.max(most, off);
      });
      if (c === 0) worst.push(most);
      if (wrong > 0) problems.push(`set ${c}: ${wrong} of ${expected.length} elements of "${got.name}" are off, by up to ${most}`);
    }
  }
  for (const [c, { counted, memory }] of found.entries()) {
    for (const [k, counts] of counted.entries()) {
      for (const n of ["pipelines", "shaderModules"]) if (counts[n] > 0) problems.push(`set ${c} run ${k}: ${counts[n]} ${n} after load`);
      if (k > 0) for (const n of ["bindGroups", "buffers"]) if (counts[n] > 0) problems.push(`set ${c} run ${k}: ${counts[n]} ${n}`);
      for (const n of ["submits", "passes", "maps"]) if (counts[n] !== 1) problems.push(`set ${c} run ${k}: ${counts[n]} ${n}, not 1`);
    }
    if (counted.at(-1).liveBytes !== memory.total) problems.push(`set ${c}: ${counted.at(-1).liveBytes} bytes live, ${memory.total} stated`);
  }
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const round = (ms) => Math.round(ms * 10) / 10;
  const [{ times, counted, memory }] = found;
  const last = counted.at(-1);
  const code = readFileSync(module);
  console.log(JSON.stringify({
    peer: "odc",
    model: basename(resolve(options.data)),
    target,
    browser: `Chromium ${browser.version()} on SwiftShader (a software device)`,
    download_bytes: code.length,
    download_gzip_bytes: gzipSync(code).length,
    model_bytes: server.sent.get("/model.odc"),
    session_ms: round(session_ms),
    first_ms: round(times[0]),
    steady_ms: round(median(times.slice(1))),
    pipelines: at_load.pipelines,
    pipelines_in_first_run: counted[0].pipelines,
    shader_chars: at_load.shaderChars,
    per_run: Object.fromEntries(["dispatches", "submits", "passes", "pipelines", "bindGroups", "buffers", "bufferWrites", "copies", "maps"].map((n) => [n, last[n]])),
    peak_buffer_bytes: Math.max(at_load.peakBytes, ...counted.map((c) => c.peakBytes)),
    live_buffer_bytes: last.liveBytes,
    memory,
    sets: cases.length,
    max_abs_err: worst,
  }));
} catch (e) {
  problems.push(e.message);
} finally {
  await browser.close();
  server.close();
}
for (const p of problems) console.log(`FAILED  ${basename(resolve(options.data))}: ${p}`);
process.exit(problems.length > 0 ? 1 : 0);
