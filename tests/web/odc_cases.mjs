// The tests of odc_runtime.mjs: name to what is done with a page in which `load`, `counter`, `feeds`, `check`, `fails` are there.

const ORDINARY = ["pipelines", "shaderModules", "buffers", "bindGroups", "bindGroupLayouts", "pipelineLayouts"];

/** A test whose body runs in the page. */
const inPage = (body, argument) => (page) => page.evaluate(body, argument);

export const tests = {
  "results for several shapes": inPage(async () => {
    const progress = [];
    const model = await load("good.odc", { onProgress: (p) => progress.push(p) });
    equal([model.name, model.target, model.dims], ["sample", "wgsl", [{ name: "n", min: 1, max: 200_000, multipleOf: 1 }]]);
    equal(model.inputs[0], { name: "x", dtype: "f32", shape: ["n", 3] });
    equal(progress.at(-1).loaded, progress.at(-1).total, "progress at the end");
    for (const n of [4, 1, 7, 4, 70_000, 4]) check(await model.run(feeds(n)), n);
    const { x, u, i } = feeds(4);
    check(await model.run({ x: { data: x, shape: [4, 3] }, u, i: { data: i, shape: [4] } }), 4);
    equal(Object.keys(await model.run(feeds(2), { outputs: ["sum"] })), ["sum"]);
    equal(model.shapes({ i: [9] }).scaled, [9, 3]);
    equal(model.shapes({ x: [9, 3] }), { scaled: [9, 3], sum: [9], again: [9, 3], big: [25001], bytes: [5], ids: [9] });
    const together = await Promise.all([3, 5, 3].map((n) => model.run(feeds(n))));
    [3, 5, 3].forEach((n, k) => check(together[k], n));
    model.destroy();
    nothingLeft();
  }),

  "strings come back": inPage(async () => {
    const model = await load("strings.odc");
    const { strings } = model;
    const x = strings.numbers(["cat", "fox", "", "fox", "cat", "owl"]);
    equal([...x], [1, 2, 0, 2, 1, 3]);
    const { again } = await model.run({ ...feeds(2), x });
    equal(strings.texts(again), ["cat", "fox", "", "fox", "cat", "owl"]);
    strings.clear();
    equal([...strings.numbers(["owl", "cat"])], [2, 1]);
    await fails((async () => strings.texts(again))(), "binding", "number of no string");
    await fails(model.run({ ...feeds(2), x: new Float32Array(6) }), "binding", "give a Int32Array");
    model.destroy();
  }),

  "nothing is created after the first run of a shape": inPage(async (names) => {
    const model = await load("good.odc");
    const { device } = model;
    const at_load = counter.read();
    await model.run(feeds(4));
    equal(counter.read().pipelines, at_load.pipelines, "pipelines after the first run");
    const buffer = (usage, size) => device.createBuffer({ usage, size });
    const own = { x: buffer(GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST, 48), sum: buffer(GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, 16) };
    const ownInputs = { ...feeds(4), x: { data: own.x, shape: [4, 3] } };
    await model.run(ownInputs, { into: { sum: own.sum } });
    await model.run(feeds(9)); // larger buffers
    for (const run of [() => model.run(feeds(4)), () => model.run(feeds(9)), () => model.run(ownInputs, { into: { sum: own.sum } })]) {
      counter.reset();
      await run();
      const counts = counter.read();
      for (const name of names) equal(counts[name], 0, name);
      equal([counts.submits, counts.passes, counts.maps, counts.dispatches], [1, 1, 1, 9], "submits, passes, maps, dispatches");
    }
    counter.reset();
    await model.run(feeds(4), { keep: "gpu" });
    equal([counter.read().submits, counter.read().maps], [1, 0], "submits and maps of a run without read-back");
  }, ORDINARY),

  "prepared shapes need nothing in their first run": inPage(async (names) => {
    for (const model of [await load("good.odc", { prepare: { x: [6, 3] } }), await load("good.odc")]) {
      if (model.memory.arena === 0) await model.prepare({ i: [6] });
      counter.reset();
      check(await model.run(feeds(6)), 6);
      for (const name of names) equal(counter.read()[name], 0, name);
    }
    const aborter = new AbortController();
    const reason = new Error("the user left");
    const loading = load("good.odc", { prepare: { x: [100_000, 3] }, signal: aborter.signal });
    const timer = setInterval(() => counter.read().submits > 1 && aborter.abort(reason), 0);
    const error = await loading.then((model) => model.destroy(), (e) => e);
    clearInterval(timer);
    if (error && error !== reason) throw error;
    await fails(load("good.odc", { prepare: { x: [0, 3] } }), "shape", 'Dim "n" is 0');
    await fails(load("good.odc", { prepare: { z: [1] } }), "binding", 'no input "z"');
  }, ORDINARY),

  "memory is what was created": inPage(async () => {
    const model = await load("good.odc");
    equal(model.memory, { weights: 256 + 100_096 + 256, arena: 0, inputs: 0, outputs: 0, dims: 0, staging: 0, total: model.memory.weights });
    equal(model.memory.total, counter.read().liveBytes, "after load");
    await model.run(feeds(4));
    await model.run(feeds(40));
    equal(model.memory.total, counter.read().liveBytes, "after runs");
    equal([model.memory.arena, model.memory.inputs, model.memory.dims], [512 * 2 + 256 + 256, 480 + 16 + 320, 2 * 16]);
    for (let n = 1; n < 30; n++) await model.run(feeds(n));
    equal([model.memory.total, model.memory.dims], [counter.read().liveBytes, 8 * 16], "after many shapes");
  }),

  "the caller's encoder and buffers": inPage(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice();
    const model = await load("good.odc", { device });
    if (model.device !== device) throw new Error("not the caller's device");
    const { x, u, i } = feeds(4);
    const make = (size, usage) => device.createBuffer({ size, usage: usage | GPUBufferUsage.STORAGE });
    const input = make(48, GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(input, 0, x);
    const sum = make(16, GPUBufferUsage.COPY_SRC);
    const read = device.createBuffer({ size: 64, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const encoder = device.createCommandEncoder();
    counter.reset();
    const outputs = model.encode(encoder, { inputs: { x: { data: input, shape: [4, 3] }, u, i }, outputs: { sum } });
    equal([counter.read().passes, counter.read().submits, counter.read().copies], [1, 0, 0], "passes, submits, copies");
    if (outputs.sum !== sum || !(outputs.scaled instanceof GPUBuffer)) throw new Error("not the buffers");
    // The same encoder again with larger inputs: the first recording must stay valid.
    model.encode(encoder, { inputs: feeds(300) });
    encoder.copyBufferToBuffer(sum, 0, read, 0, 16);
    encoder.copyBufferToBuffer(outputs.scaled, 0, read, 16, 48);
    device.pushErrorScope("validation");
    device.queue.submit([encoder.finish()]);
    equal((await device.popErrorScope())?.message, undefined, "validation");
    await read.mapAsync(GPUMapMode.READ);
    const floats = new Float32Array(read.getMappedRange());
    const scaled = [...x].map((v, k) => v * [2, -1, 0.5][k % 3] + [1, 2, 3][k % 3]);
    equal([...floats], [...[0, 1, 2, 3].map((r) => scaled[3 * r] + scaled[3 * r + 1] + scaled[3 * r + 2]), ...scaled]);
    // Outputs of one run as inputs of the next.
    const kept = await model.run(feeds(4), { keep: "gpu", outputs: ["scaled"] });
    await fails(model.run({ x: { data: kept.scaled, shape: [4, 3] }, u, i }, { into: { again: kept.scaled } }), "binding", "its own");
    const copy = make(48, GPUBufferUsage.COPY_DST);
    const move = device.createCommandEncoder();
    move.copyBufferToBuffer(kept.scaled, 0, copy, 0, 48);
    device.queue.submit([move.finish()]);
    const twice = await model.run({ x: { data: copy, shape: [4, 3] }, u, i }, { outputs: ["again"] });
    equal([...twice.again], scaled);
    model.destroy();
    device.queue.submit([]); // the device stays
    const own = [input, sum, read, copy];
    own.forEach((b) => b.destroy());
    nothingLeft();
  }),

  "inputs that do not fit": inPage(async () => {
    const model = await load("good.odc");
    const { x, u, i } = feeds(4);
    await fails(model.run({ x, u }), "binding", 'Input "i", i64\\[n\\], is missing');
    await fails(model.run({ x, u, i, z: x }), "binding", 'no input "z"');
    await fails(model.run({ x: [1, 2, 3], u, i }), "binding", "neither");
    await fails(model.run({ x: new Float64Array(12), u, i }), "binding", "give a Float32Array, not a Float64Array");
    await fails(model.run({ x, u, i: i.subarray(1) }), "shape", '"i"');
    await fails(model.run({ x: x.subarray(1), u, i }), "shape", "11 elements");
    await fails(model.run({ x, u, i: BigInt64Array.of(0n, 1n, 1n << 41n, 0n) }), "value", 'Element 2 of input "i" is 2199023255552, which Gather /rows cannot use');
    await fails(model.run({ x: { data: x, shape: [4, 3, 1] }, u, i }), "shape", "rank 3");
    await fails(model.run({ x: { data: x, shape: [4, 2] }, u, i }), "shape", "axis 1 is 2, not 3");
    await fails(model.run({ x: { data: x, shape: [200_001, 3] }, u, i: { data: i, shape: [200_001] } }), "shape", 'Dim "n" is 200001, not 1\\.\\.200000');
    await fails(model.run({ x: { data: x, shape: [190_000, 3] }, u, i: { data: i, shape: [190_000] } }), "shape", "x has too many elements");
    await fails(model.run(feeds(4), { outputs: ["nope"] }), "binding", 'no output "nope"');
    const { device } = model;
    const small = device.createBuffer({ size: 32, usage: GPUBufferUsage.STORAGE });
    await fails(model.run({ x: { data: small, shape: [4, 3] }, u, i }), "binding", "has 32 bytes; this shape needs 48");
    await fails(model.run({ x: small, u: small, i: small }), "shape", "give \\{ data, shape \\}");
    const other = device.createBuffer({ size: 64, usage: GPUBufferUsage.COPY_DST });
    await fails(model.run({ x: { data: other, shape: [4, 3] }, u, i }), "binding", "STORAGE");
    check(await model.run(feeds(4)), 4);
  }),

  "what the device refuses is an error of the run, every time": inPage(async () => {
    const model = await load("alias.odc");
    for (const n of [4, 4, 7]) await fails(model.run(feeds(n)), "run", "refused to run \"sample\".*aliasing");
    model.destroy();
    nothingLeft();
  }),

  "downloads that are not what was compiled": inPage(async () => {
    await fails(load("nowhere.odc"), "http", "404");
    await fails(load("http://127.0.0.1:1/x.odc"), "http", "fetch");
    await fails(load("page.odc"), "not-an-artifact");
    await fails(load("bad-magic.odc"), "not-an-artifact");
    await fails(load("bad-version.odc"), "version", "version (\\d+), this runtime reads (?!\\1\\b)\\d+");
    await fails(load("short-head.odc"), "truncated");
    await fails(load("short.odc"), "truncated", "ended after \\d+ of \\d+ bytes");
    await fails(load("broken.odc"), "truncated", "the connection broke");
    await fails(load("broken-head.odc"), "truncated", "after 0 bytes: the connection broke");
    await fails(load("long.odc"), "bad-artifact", "after its last section");
    await fails(load("bad-code.odc"), "damaged", "the code");
    await fails(load("bad-chunk.odc"), "damaged", "chunk \\d+ of the weights");
    await fails(load("bad-wgsl.odc"), "pipeline", '"row_sum" \\(computes /row_sum\\): line 1');
    await fails(load("cpu.odc"), "no-target", "only for wgsl");
    await fails(load("sizes.odc"), "no-target", "decides a size");
    nothingLeft();
  }),

  "an artifact that contradicts itself is refused before anything is made": inPage(async () => {
    const answers = await (await fetch("hostile.json")).json();
    for (const [k, answer] of answers.entries()) await fails(load(`hostile-${k}.odc`), "bad-artifact", answer.replace(/\./g, "\\."));
    equal([answers.length > 20, counter.read().buffers, counter.read().shaderModules], [true, 0, 0], "answers, buffers, modules");
    nothingLeft();
  }),

  "what the device lacks is said before a weight is uploaded": inPage(async () => {
    await fails(load("f16.odc"), "missing-feature", '"shader-f16"');
    await fails(load("limit.odc"), "missing-limit", "maxComputeInvocationsPerWorkgroup = 4096, this adapter has \\d+");
    await fails(load("huge-weight.odc"), "missing-limit", "maxStorageBufferBindingSize");
    await fails(load("good.odc", { target: "wgsl:f16" }), "no-target", "no program for wgsl:f16");
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    await fails(load("subgroups.odc", { device }), "missing-feature", "this device does not have");
    equal([counter.read().buffers, counter.read().bufferWrites, counter.read().shaderModules], [0, 0, 0], "buffers, writes, modules");
    const second = await load("second.odc");
    equal(second.target, "wgsl");
    check(await second.run(feeds(4)), 4);
    await fails(load("second.odc", { target: "wgsl:f16" }), "missing-feature", '"wgsl:f16" needs');
    // The first that runs; by name just this one, or one in that language.
    const names = [["both.odc"], ["both.odc", { target: "wgsl" }], ["named.odc", { target: "wgsl" }]];
    const chosen = [];
    for (const [file, options] of names) chosen.push((await load(file, options)).target);
    equal(chosen, ["wgsl:subgroups", "wgsl", "wgsl:subgroups"]);
    const subgroups = await load("subgroups.odc");
    equal([...subgroups.device.features].filter((f) => f === "subgroups").length, 1);
    check(await subgroups.run(feeds(4)), 4);
    Object.defineProperty(navigator, "gpu", { value: undefined });
    await fails(load("good.odc"), "no-webgpu");
  }),

  "the device has the limits that the program needs, and no more": inPage(async () => {
    const asked = [];
    const original = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = function (d) { asked.push(d); return original.call(this, d); };
    await load("good.odc");
    equal([asked[0].requiredFeatures, Object.keys(asked[0].requiredLimits).sort()], [[], ["maxBufferSize", "maxStorageBufferBindingSize"]], "dims that inputs decide");
  }),

  "an abort ends the load with its reason and frees all": inPage(async () => {
    const late = new AbortController();
    const reason = new Error("the user left");
    let uploading;
    const started = new Promise((done) => (uploading = done));
    const load1 = load("slow.odc", { signal: late.signal, onProgress: (p) => p.loaded >= 80_000 && uploading() });
    await started;
    await new Promise((done) => setTimeout(done, 100));
    if (counter.read().bufferWrites === 0) throw new Error("no weight was uploaded before the abort");
    late.abort(reason);
    const error = await load1.then(() => undefined, (e) => e);
    if (error !== reason) throw new Error(`rejected with ${error}`);
    const early = await load("good.odc", { signal: AbortSignal.abort(reason) }).then(() => undefined, (e) => e);
    if (early !== reason) throw new Error(`rejected with ${early}`);
    nothingLeft();
    // At every point of a load.
    for (let delay = 0; delay < 60; delay += 4) {
      const aborter = new AbortController();
      setTimeout(() => aborter.abort(reason), delay);
      const model = await load("good.odc", { signal: aborter.signal }).catch((e) => { if (e !== reason) throw e; });
      model?.destroy();
    }
    await new Promise((done) => setTimeout(done, 200));
    nothingLeft();
  }),

  "destroy frees all": inPage(async () => {
    const model = await load("good.odc");
    await model.run(feeds(4));
    await model.run(feeds(400));
    const running = model.run(feeds(4));
    model.destroy();
    model.destroy();
    await fails(running, "destroyed");
    await fails(model.run(feeds(4)), "destroyed");
    await fails(model.resume(), "destroyed");
    equal(model.memory.total, 0);
    equal((await model.lost).reason, "destroyed");
    nothingLeft();
  }),

  "a lost device": inPage(async () => {
    const model = await load("good.odc", { autoResume: false });
    await model.run(feeds(4));
    const running = model.run(feeds(4));
    model.device.destroy();
    await fails(running, "device-lost");
    await model.lost;
    await fails(model.run(feeds(4)), "device-lost", "resume");
    await model.resume();
    check(await model.run(feeds(4)), 4);
    equal(model.memory.total, counter.read().liveBytes, "the buffers of the lost device are freed");
    model.destroy();
    nothingLeft();

    const again = await load("good.odc");
    again.device.destroy();
    await again.lost;
    check(await again.run(feeds(4)), 4);
    again.destroy();

    const adapter = () => navigator.gpu.requestAdapter();
    const mine = await (await adapter()).requestDevice();
    const lent = await load("good.odc", { device: mine });
    mine.destroy();
    await lent.lost;
    await fails(lent.run(feeds(4)), "device-lost");
    await fails(lent.resume(), "device-lost", "resume\\(device\\)");
    await lent.resume(await (await adapter()).requestDevice());
    check(await lent.run(feeds(4)), 4);
    lent.destroy();
    nothingLeft();

    // Lost while the weights arrive.
    const original = GPUAdapter.prototype.requestDevice;
    let device;
    GPUAdapter.prototype.requestDevice = async function (d) { return (device = await original.call(this, d)); };
    await fails(load("slow.odc", { onProgress: (p) => p.loaded >= 80_000 && setTimeout(() => device.destroy(), 50) }), "device-lost");
    nothingLeft();
  }),

  "the GPU process crashes": async (page, context) => {
    await page.evaluate(async () => {
      globalThis.model = await load("good.odc");
      check(await model.run(feeds(4)), 4);
    });
    const control = await context.browser().newBrowserCDPSession();
    await control.send("Browser.crashGpuProcess");
    await page.evaluate(async () => {
      await model.lost;
      check(await model.run(feeds(4)), 4);
    });
  },
};
