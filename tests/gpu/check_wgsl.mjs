// Checks every WGSL file with Tint, the compiler of Chromium, and its compute pipelines against WebGPU's default limits.
//
//     node tests/gpu/check_wgsl.mjs [--no-limits] FILE.wgsl|DIR...
//
// Needs no driver (Dawn's null backend). One line a failure; the exit code is 1 if there is any, or if there is no file.
// With --no-limits only the text is checked: for kernels made for a device that has more than the defaults.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { dawn, entryPoints, forTint, fullDevice, stop } from "./tools.mjs";

const args = process.argv.slice(2);
const limits = !args.includes("--no-limits");
const files = args.filter((a) => a !== "--no-limits").flatMap(wgslFiles);
if (files.length === 0) stop("check_wgsl: no .wgsl file; usage: node tests/gpu/check_wgsl.mjs [--no-limits] FILE.wgsl|DIR...");

function wgslFiles(path) {
  if (!statSync(path, { throwIfNoEntry: false })) stop(`check_wgsl: ${path} does not exist`);
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().map((name) => join(path, name)).flatMap((p) => (statSync(p).isDirectory() || p.endsWith(".wgsl") ? wgslFiles(p) : []));
}

const device = await fullDevice(await dawn("null"));

/** What is wrong with one file: a list of messages. */
async function check(file) {
  const wgsl = readFileSync(file, "utf8");
  device.pushErrorScope("validation"); // what follows is also told by the compilation info
  const module = device.createShaderModule({ label: file, code: forTint(wgsl) });
  const scope = device.popErrorScope();
  const { messages } = await module.getCompilationInfo();
  await scope;
  const wrong = messages.filter((m) => m.type === "error").map((m) => `${m.lineNum}:${m.linePos}: ${m.message}`);
  if (wrong.length) return wrong;
  const entries = entryPoints(wgsl);
  if (entries.length === 0) return ["no @compute entry point"];
  if (!limits) return [];
  const made = entries.map((entryPoint) => device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint } }).then(
    () => [],
    (error) => [`${entryPoint}: ${error.message}`],
  ));
  return (await Promise.all(made)).flat();
}

let failed = 0;
for (const [i, wrong] of (await Promise.all(files.map(check))).entries()) {
  if (wrong.length) failed++;
  for (const message of wrong) console.log(`${files[i]}: ${message.trim().replace(/\s*\n\s*/g, " | ").slice(0, 400)}`);
}
console.log(`${files.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
