// Executes WGSL kernels with Dawn on the Vulkan driver that env.sh chose: the way to run f16 and subgroups, which naga does not take.
//
//     tests/gpu/env.sh lavapipe node tests/gpu/run_wgsl.mjs JOB.json
//
// The job; file names are relative to it, sizes and offsets are bytes, bindings are numbered in order in group 0:
//     { "kernels":    [{ "file": "k.wgsl", "entry": "k" }],
//       "buffers":    [{ "size": 1024, "init": "in.bin" }],               init may be left out (zeros) or shorter
//       "dispatches": [{ "kernel": 0, "bindings": [{ "buffer": 0, "offset": 0, "size": 1024, "type": "storage" }], "grid": [4, 1, 1] }],
//       "read":       [{ "buffer": 0, "offset": 0, "size": 1024, "file": "out.bin" }] }
// type is storage, read-only-storage or uniform. One pass, one submit. Prints one line of JSON: adapter, ms to compile, ms to run.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { dawn, forTint, fullDevice, stop } from "./tools.mjs";

const [jobFile] = process.argv.slice(2);
if (!jobFile) stop("usage: tests/gpu/env.sh lavapipe node tests/gpu/run_wgsl.mjs JOB.json");
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const at = (file) => resolve(dirname(jobFile), file);
const fail = (what) => stop(`run_wgsl: ${jobFile}: ${what}`);
const words = (bytes) => Math.ceil(bytes / 4) * 4; // copies want multiples of 4

const adapter = await dawn("vulkan");
const device = await fullDevice(adapter);
device.addEventListener("uncapturederror", (event) => fail(event.error.message));
device.lost.then(({ reason, message }) => reason === "destroyed" || fail(`the device was lost: ${message}`));

/** Runs `body` and ends the program with the device's message if it did something invalid. */
async function checked(what, body) {
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  const result = await body();
  for (const error of [await device.popErrorScope(), await device.popErrorScope()]) if (error) fail(`${what}: ${error.message}`);
  return result;
}

const buffers = await checked("buffers", () => job.buffers.map(({ size, init }) => {
  const { COPY_SRC, COPY_DST, STORAGE, UNIFORM } = GPUBufferUsage;
  const buffer = device.createBuffer({ size: words(size), usage: COPY_SRC | COPY_DST | STORAGE | UNIFORM });
  if (init) {
    const bytes = readFileSync(at(init));
    if (bytes.length > size) fail(`${init} has ${bytes.length} bytes, its buffer ${size}`);
    const padded = new Uint8Array(words(bytes.length));
    padded.set(bytes);
    device.queue.writeBuffer(buffer, 0, padded);
  }
  return buffer;
}));

const compileStart = performance.now();
const kernels = await Promise.all(job.kernels.map(async ({ file, entry }, index) => {
  const first = job.dispatches.find((d) => d.kernel === index);
  if (!first) fail(`no dispatch of kernel ${index} (${entry})`);
  const entries = first.bindings.map(({ type = "storage" }, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
  const layout = device.createBindGroupLayout({ entries });
  const module = device.createShaderModule({ label: file, code: forTint(readFileSync(at(file), "utf8")) });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: entry },
  }).catch((error) => fail(`${file}: ${entry}: ${error.message}`));
  return { layout, pipeline };
}));
const compiled = performance.now();

const staging = await checked("dispatches", () => {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { kernel, bindings, grid } of job.dispatches) {
    const { layout, pipeline } = kernels[kernel] ?? fail(`a dispatch names kernel ${kernel}`);
    const entries = bindings.map(({ buffer, offset = 0, size }, binding) => ({
      binding,
      resource: { buffer: buffers[buffer] ?? fail(`a binding names buffer ${buffer}`), offset, size: size ?? job.buffers[buffer].size - offset },
    }));
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(...grid);
  }
  pass.end();
  const staging = job.read.map(({ buffer, offset = 0, size }) => {
    const copy = device.createBuffer({ size: words(size), usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    encoder.copyBufferToBuffer(buffers[buffer] ?? fail(`read names buffer ${buffer}`), offset, copy, 0, words(size));
    return copy;
  });
  device.queue.submit([encoder.finish()]);
  return staging;
});
for (const [i, { size, file }] of job.read.entries()) {
  await staging[i].mapAsync(GPUMapMode.READ);
  writeFileSync(at(file), new Uint8Array(staging[i].getMappedRange()).subarray(0, size));
}
const [compile_ms, run_ms] = [compiled - compileStart, performance.now() - compiled].map((ms) => Math.round(ms * 10) / 10);
console.log(JSON.stringify({ adapter: adapter.info.description, compile_ms, run_ms }));
process.exit();
