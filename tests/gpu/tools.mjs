// What the drivers in this folder share: packages out of $ODC_GPU_TOOLS, Dawn in Node, Chromium, plain errors.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const toolsDir = process.env.ODC_GPU_TOOLS ?? join(root, "target", "gpu-tools");

/** Ends the program with a message and no stack trace. */
export function stop(message) {
  console.error(message);
  process.exit(1);
}

/** The path of a file of an installed package. */
export const packageFile = (name, file = "") => join(toolsDir, "node_modules", name, file);

/** Imports a package that tests/gpu/install.sh put there. */
export async function load(name) {
  if (!existsSync(packageFile(name))) stop(`${name} is not in ${toolsDir}: run tests/gpu/install.sh`);
  const require = createRequire(join(toolsDir, "index.js"));
  return import(pathToFileURL(require.resolve(name)));
}

const instances = []; // Dawn aborts when an instance is collected before what it made

/** Dawn: `backend` is "null" (compiles, runs nothing) or "vulkan" (the driver that env.sh chose). Gives its adapter. */
export async function dawn(backend) {
  const { create, globals } = await load("webgpu");
  Object.assign(globalThis, globals);
  const gpu = create([`backend=${backend}`]);
  instances.push(gpu);
  const adapter = await gpu.requestAdapter();
  if (!adapter) stop(`Dawn found no ${backend} adapter: run this with tests/gpu/env.sh lavapipe (Mesa 25 or newer)`);
  return adapter;
}

/** A device with everything that the adapter has, so that only the WGSL decides. */
export function fullDevice(adapter) {
  const requiredLimits = {};
  for (const name of Object.keys(Object.getPrototypeOf(adapter.limits)).concat(Object.keys(adapter.limits))) {
    if (typeof adapter.limits[name] === "number") requiredLimits[name] = adapter.limits[name];
  }
  const wanted = ["shader-f16", "subgroups", "timestamp-query"];
  return adapter.requestDevice({ requiredLimits, requiredFeatures: wanted.filter((f) => adapter.features.has(f)) });
}

/** Headless Chromium with WebGPU on SwiftShader, as playwright's Browser. */
export async function chromium() {
  const { default: { chromium } } = await load("playwright-core");
  return chromium.launch({
    executablePath: process.env.ODC_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    ],
  });
}

/**
 * WGSL as Tint wants it: odc writes no `enable subgroups;`, since naga refuses the line, and Tint refuses the built-ins without it.
 * It goes before the first line's text, so that line numbers stay.
 */
export function forTint(wgsl) {
  const uses = /\bsubgroup(?:[A-Z]\w*\s*\(|_size\b|_invocation_id\b|_id\b)|\bnum_subgroups\b|\bquad(?:Broadcast|Swap[XYD])/.test(wgsl);
  return uses && !/^\s*enable\s[^;]*\bsubgroups\b/m.test(wgsl) ? `enable subgroups; ${wgsl}` : wgsl;
}

/** The names of a module's compute entry points. */
export const entryPoints = (wgsl) => [...wgsl.matchAll(/@compute[^{;]*?\bfn\s+(\w+)/g)].map((m) => m[1]);
