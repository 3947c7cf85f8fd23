// Tests the browser runtime in headless Chromium on artifacts made by hand: results, counts after load, every failure and what it
// leaves behind.
//
//     node tests/web/odc_runtime.mjs [NAME...]        only the tests whose names contain one of the words
//
// Ends with "N passed, N failed". Needs tests/gpu/install.sh.
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, packageFile } from "../gpu/tools.mjs";
import { sample } from "./fake_artifact.mjs";
import { tests } from "./odc_cases.mjs";

const runtime = fileURLToPath(new URL("../../runtime/web/", import.meta.url));
console.log(execFileSync(process.execPath, ["build.mjs"], { cwd: runtime, encoding: "utf8" }).trim());

/** The types of dist/: what compiles, and what must not. */
function checkTypes() {
  const folder = mkdtempSync(join(tmpdir(), "odc-types-"));
  try {
    cpSync(new URL("odc_types.ts", import.meta.url), join(folder, "use.ts"));
    cpSync(join(runtime, "dist"), join(folder, "node_modules/odc-runtime-web/dist"), { recursive: true });
    cpSync(join(runtime, "package.json"), join(folder, "node_modules/odc-runtime-web/package.json"));
    const flags = "--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --target es2022 --module esnext --moduleResolution bundler --lib es2022,dom".split(" ");
    execFileSync(process.execPath, [packageFile("typescript", "bin/tsc"), ...flags, join(folder, "use.ts")], { encoding: "utf8", cwd: folder });
  } catch (e) {
    throw new Error(e.stdout || e.message);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const good = sample();
const flip = (at) => { const bytes = Buffer.from(good); bytes[at < 0 ? bytes.length + at : at] ^= 1; return bytes; };
const files = {
  "/": "<!doctype html><title>odc</title>",
  "/odc.js": readFileSync(`${runtime}dist/index.js`),
  "/count.js": readFileSync(new URL("count_webgpu.js", import.meta.url)),
  "/good.odc": good,
  "/bad-magic.odc": flip(0),
  "/bad-version.odc": flip(4),
  "/bad-code.odc": flip(good.indexOf("fn row_sum") + 3),
  "/bad-chunk.odc": flip(-2000),
  "/short.odc": good.subarray(0, good.length - 30_000),
  "/short-head.odc": good.subarray(0, 70),
  "/long.odc": Buffer.concat([good, Buffer.from("x")]),
  "/page.odc": "<!doctype html>not here",
  "/f16.odc": sample((m) => { m.targets[0].features = ["shader-f16"]; }),
  "/limit.odc": sample((m) => { m.targets[0].limits[2] = 4096; }),
  "/huge-weight.odc": sample((m) => { m.targets[0].limits[1] = 2 ** 45; }),
  "/second.odc": sample((m) => { m.targets.unshift({ ...m.targets[0], target: "wgsl:f16", features: ["shader-f16"] }); }),
  "/subgroups.odc": sample((m) => { m.targets[0].features = ["subgroups"]; m.targets[0].kernels[1].code = m.targets[0].kernels[1].code.replace("let r =", "let none = subgroupAdd(0u); let r = none +"); }),
  "/both.odc": sample((m) => { m.targets.unshift({ ...m.targets[0], target: "wgsl:subgroups", features: ["subgroups"] }); }),
  "/named.odc": sample((m) => { m.targets[0].target = "wgsl:subgroups"; }),
  "/sizes.odc": sample((m) => { m.instrs.push(["said", 0, 0]); }),
  "/cpu.odc": sample((m) => { Object.assign(m.targets[0], { cpu: true, commands: [], outputs: m.outputs.map(() => ["input", 0]) }); }),
  "/strings.odc": sample((m) => { m.strings = ["", "cat"]; for (const t of [m.inputs[0], m.outputs[2]]) t.dtype = "str"; }),
  "/alias.odc": sample((m) => { const { buffers } = m.targets[0].commands[2]; buffers[1] = buffers[0]; }),
  "/bad-wgsl.odc": sample((m) => { m.targets[0].kernels[1].code = "@compute fn row_sum() { oops }"; }),
};

/** What no artifact may say, and what the runtime answers before it makes anything. The same holds natively (runtime/format/src/validate.rs). */
const hostile = [
  ["arena: slot 999", (m) => { m.targets[0].arena = 999; }],
  ["slot 999 of a shape", (m) => { m.inputs[0].shape[0] = 999; }],
  ["rank 70", (m) => { Object.assign(m.inputs[1], { shape: Array(70).fill(0), text: Array(70).fill("n") }); }],
  ["not earlier", (m) => { m.instrs.unshift(["add", 0, 0]); }],
  ["has no axis 9", (m) => { m.instrs.push(["dim", 0, 9]); }],
  ["aligns to 0", (m) => { m.instrs.push(["align", 0, 0]); }],
  ["bounds 5..3", (m) => { Object.assign(m.symbols[0], { lo: 5, hi: 3 }); }],
  ["multiple of 0", (m) => { m.symbols[0].multipleOf = 0; }],
  ["a name is there twice", (m) => { m.outputs[1].name = m.outputs[0].name; }],
  ["a name is empty", (m) => { m.inputs[0].name = ""; }],
  ["no input 9", (m) => { m.targets[0].commands[0].buffers[0] = ["input", 9]; }],
  ["weight 9 has no byte", (m) => { m.targets[0].commands[0].buffers[1] = ["weight", 9]; }],
  ["weight 1 has no byte 4096", (m) => { m.targets[0].commands[0].buffers[1] = ["weight", 1, 4096]; }],
  ["no kernel 7", (m) => { m.targets[0].commands[0].kernel = 7; }],
  ["slot 999", (m) => { m.targets[0].commands[0].grid = 999; }],
  ["differ in number", (m) => { m.targets[0].commands[0].bytes.pop(); }],
  ["writes to an input or a weight", (m) => { m.targets[0].kernels[0].access = "wrrw"; }],
  ["copies into an input or a weight", (m) => { m.targets[0].commands[1].dst = ["weight", 0]; }],
  ["has no invocations", (m) => { m.targets[0].kernels[0].workgroup = [0, 1, 1]; }],
  ["5 output places for 6", (m) => { m.targets[0].outputs.pop(); }],
  ["no output 6", (m) => { m.targets[0].outputs[0] = ["output", 6]; }],
  ["there are none", (m) => { m.targets = []; }],
];
hostile.forEach(([, change], k) => { files[`/hostile-${k}.odc`] = sample(change); });
files["/hostile.json"] = JSON.stringify(hostile.map(([answer]) => answer));

/** Besides the files: /slow.odc stops half-way until the client goes, /broken.odc is cut off in the middle of its promised length, /broken-head.odc before its first byte. */
const server = createServer((request, reply) => {
  const path = new URL(request.url, "http://host").pathname;
  if (path === "/slow.odc" || path === "/broken.odc") {
    reply.writeHead(200, { "content-length": good.length }).write(good.subarray(0, 80_000));
    if (path === "/broken.odc") setTimeout(() => reply.destroy(), 50);
    return;
  }
  if (path === "/broken-head.odc") {
    reply.writeHead(200, { "content-length": good.length }).flushHeaders();
    setTimeout(() => reply.destroy(), 50);
    return;
  }
  const body = files[path];
  if (body === undefined) return reply.writeHead(404).end("no");
  const type = path.endsWith(".js") ? "text/javascript" : path === "/" ? "text/html" : "application/octet-stream";
  reply.writeHead(200, { "content-type": type, "content-length": Buffer.byteLength(body) }).end(body);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}/`;

let passed = 0;
let failed = 0;
const words = process.argv.slice(2);
const browser = await chromium();
try {
  if (words.length === 0) {
    try {
      checkTypes();
      passed++;
    } catch (e) {
      failed++;
      console.log(`FAILED  the types\n${e.message}`);
    }
  }
  for (const [name, test] of Object.entries(tests)) {
    if (words.length > 0 && !words.some((w) => name.includes(w))) continue;
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      const complaints = [];
      page.on("pageerror", (e) => complaints.push(`uncaught: ${e.message}`));
      page.on("console", (m) => { if (process.env.V) console.log(m.text()); if (/error|warning/.test(m.type()) && !/Failed to load resource|Error while parsing WGSL: :1:30|Instance reference no longer exists/.test(m.text())) complaints.push(`console: ${m.text()}`); });
      await page.goto(url);
      await page.addScriptTag({ url: "/count.js" });
      await page.evaluate(prepare);
      await within(60, test(page, context));
      if (complaints.length > 0) throw new Error(complaints.join("\n"));
      passed++;
    } catch (e) {
      failed++;
      console.log(`FAILED  ${name}\n        ${String(e.message).replaceAll("\n", "\n        ")}`);
    } finally {
      await context.close();
    }
  }
} finally {
  await browser.close();
  server.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

async function within(seconds, work) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000)));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** In the page: what all tests use. */
async function prepare() {
  const { load, OdcError } = await import("/odc.js");
  globalThis.load = load;
  globalThis.counter = countWebGPU();
  globalThis.equal = (a, b, what) => {
    const text = (v) => JSON.stringify(v, (_, x) => (typeof x === "bigint" ? `${x}n` : ArrayBuffer.isView(x) ? [...x].map(String) : x));
    if (text(a) !== text(b)) throw new Error(`${what ?? "value"}: ${text(a)?.slice(0, 300)} is not ${text(b)?.slice(0, 300)}`);
  };
  globalThis.feeds = (n) => ({
    x: Float32Array.from({ length: 3 * n }, (_, i) => (i % 17) - 5),
    u: Uint8Array.of(1, 2, 3, 4, 250),
    i: BigInt64Array.from({ length: n }, (_, i) => BigInt(i) * -10_000_000_000n),
  });
  globalThis.check = (out, n) => {
    const { x, u, i } = feeds(n);
    const scaled = x.map((v, k) => v * [2, -1, 0.5][k % 3] + [1, 2, 3][k % 3]);
    const sum = Float32Array.from({ length: n }, (_, r) => scaled[3 * r] + scaled[3 * r + 1] + scaled[3 * r + 2]);
    const big = Float32Array.from({ length: 25_001 }, (_, k) => (k * 2654435761) % 1000);
    equal(out, { scaled, sum, again: x, big, bytes: u, ids: i }, `results for n = ${n}`);
  };
  /** The error of a promise: an OdcError of this code with an answer in its text, and nothing left on the device. */
  globalThis.fails = async (promise, code, pattern) => {
    const error = await promise.then(() => undefined, (e) => e);
    if (!(error instanceof OdcError)) throw new Error(`expected an OdcError ${code}, got ${error}`);
    equal(error.code, code, `code of "${error.message}"`);
    if (pattern && !new RegExp(pattern).test(error.message)) throw new Error(`"${error.message}" does not match ${pattern}`);
    return error.message;
  };
  globalThis.nothingLeft = () => {
    const { liveBytes, buffers, destroys } = counter.read();
    equal([liveBytes, destroys >= buffers], [0, true], "live bytes, all destroyed");
  };
}
